/** What is written down of an action that its guards have been asked about: that it is refused, proposed, waited for, or intended. */
import type { MitigationRecord } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Notice } from "./actions.ts";
import { clip, timeText } from "./conditions.ts";
import { isApproved, leaveOf, type GuardAnswer } from "./guards.ts";
import type { MitigationQuestion } from "./remedies/remedy.ts";

/** What only has to be waited for is waited for this long; then the action is proposed, and a person may take it up. */
const WAIT_MS = 10 * 60_000;

/** What is known of the action, whatever becomes of it: what would be done is shown also where it waits. */
function described(
  { finding, mitigation, record, proposal }: MitigationQuestion,
  moment: "Shown" | "Done",
): Partial<MitigationRecord> & Pick<MitigationRecord, "action" | "finding"> {
  const base = { action: mitigation.action, finding: finding.id };
  // What people were shown stays as it is while it waits; when it is done it is written down as it stands then.
  if (record?.target !== undefined && moment === "Shown") return { ...record, ...base };
  return { ...base, ...proposal?.facts };
}

/** The record as it stands now; since when it stands there is kept where its state is the same. */
export function changed(
  record: MitigationRecord | undefined,
  next: Omit<MitigationRecord, "since">,
  now: Date,
): MitigationRecord {
  const since = record !== undefined && record.state === next.state ? record.since : timeText(now);
  return { ...next, message: clip(next.message, 1024), since };
}

/** A guard has spoken: what that makes of the record. */
export function refused(question: MitigationQuestion, answer: GuardAnswer): MitigationRecord {
  const { record, now } = question;
  const { reason, message } = answer;
  const waited = record?.state === "Waiting" && now.getTime() - Date.parse(record.since) >= WAIT_MS;
  const facts = described(question, "Shown");
  if (answer.means === "No") return changed(record, { ...facts, state: "Refused", reason, message }, now);
  if (answer.means === "Ask") return changed(record, { ...facts, state: "Proposed", reason, message }, now);
  if (!waited) return changed(record, { ...facts, state: "Waiting", reason, message }, now);
  const gaveUp = `${message}. It was waited for for ${WAIT_MS / 60_000} minutes`;
  return changed(record, { ...facts, state: isTold(question) ? "Refused" : "Proposed", reason, message: gaveUp }, now);
}

/** With the approval already there nobody can be asked once more. */
function isTold({ investigation, mitigation, finding }: MitigationQuestion): boolean {
  return isApproved(investigation, { action: mitigation.action, finding: finding.id });
}

/** No guard has spoken. Throws TypeError where nothing says what is to be done. */
export function intended(question: MitigationQuestion): MitigationRecord {
  const { record, now, proposal, remedy } = question;
  if (proposal?.facts === undefined || remedy === undefined)
    throw new TypeError(`${question.mitigation.action} is to be done, and nothing says what that is`);
  return changed(
    record,
    {
      ...described(question, "Done"),
      state: "Intended",
      reason: remedy.begun,
      message: proposal.words,
      intended: timeText(now),
      approvedBy: leaveOf(question),
    },
    now,
  );
}

/** What people are told of a decision that is new. */
export function noticesOf(before: MitigationRecord | undefined, next: MitigationRecord): Notice[] {
  if (before?.state === next.state) return [];
  const also = ["Target"] as const;
  const message = clip(`${next.action}: ${next.message}`, 1024);
  if (next.state === "Proposed") return [{ type: "Normal", reason: next.reason as Reason, message, also }];
  if (next.state === "Intended") return [{ type: "Normal", reason: next.reason as Reason, message, also }];
  return [];
}
