/**
 * What is done about a finding: the policy's actions in their order, each with its guards, its intent, its course and its end. An
 * intent is in status before anything is changed; a roll-out is called complete when it was seen so; nothing is done twice.
 */
import type { Condition, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Mitigation } from "../api/memorypolicy.ts";
import type { MitigationRecord, ValueChange } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice, Refusal } from "./actions.ts";
import { clip, timeText } from "./conditions.ts";
import { firstRefusal, guardsOf, isApproved, isDenied, leaveOf, type GuardAnswer } from "./guards.ts";
import { gitOpsOwner } from "./gitops.ts";
import type { EffectivePolicy, Refused } from "./observation.ts";
import { questionOf, remedyFor, remedyOf } from "./remedies/remedies.ts";
import type { Course, MitigationQuestion, Remedy, Standing } from "./remedies/remedy.ts";
import { afterFailure } from "./validation.ts";

/** What only has to be waited for is waited for this long; then the action is proposed, and a person may take it up. */
const WAIT_MS = 10 * 60_000;
/** A roll-out that takes longer is given up on: it is told of, not undone. */
const ROLLOUT_MS = 15 * 60_000;
/** How soon a guard that said "not yet" is asked again. */
const AGAIN_MS = 10_000;
/** What is changed may be something that nobody watches, so the change is looked for soon. */
const SOON_MS = 1_000;
/** How often a roll-out is looked at beside what the watch tells. */
const WATCH_MS = 5_000;

export interface MitigationStep {
  readonly records: readonly MitigationRecord[];
  readonly fact: { readonly status: Condition["status"]; readonly reason: Reason; readonly message: string };
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly againMs?: number;
  /** Working: it goes on. Nothing: nothing is done now. Done: seen complete. Failed: begun, but it did not come to its end, or did not help. */
  readonly outcome: "Working" | "Nothing" | "Done" | "Failed";
  /** Why it has failed, where `fact` does not say so. */
  readonly why?: Refusal;
}

/** Something has been intended, and its end has not been seen. */
export function underWay(investigation: MemoryInvestigation): MitigationRecord | undefined {
  return investigation.status?.mitigations?.find(({ state }) => state === "Intended" || state === "RollingOut");
}

/** An investigation that has ended with a proposal, and a person has said yes or no to it since: it is taken up again. */
export function takenUp(investigation: MemoryInvestigation): boolean {
  const { spec, status } = investigation;
  if (spec.suspend || status?.result !== "Recommended") return false;
  return (status.mitigations ?? []).some(
    (record) => record.state === "Proposed" && (isApproved(investigation, record) || isDenied(investigation, record)),
  );
}

/** What has come further, or stands where it stands for another reason. */
export function freshSteps(
  before: readonly MitigationRecord[] | undefined,
  after: readonly MitigationRecord[] | undefined,
): readonly MitigationRecord[] {
  return (after ?? []).filter((record) => {
    const old = before?.find(({ action }) => action === record.action);
    return old?.state !== record.state || old.reason !== record.reason;
  });
}

/**
 * One step of the mitigation.
 * @param policy undefined while there is none that can be used: nothing is begun then, but what has begun is followed to its end
 */
export function planMitigation(course: Course, policy: EffectivePolicy | undefined): MitigationStep {
  const records = course.investigation.status?.mitigations ?? [];
  const begun = underWay(course.investigation);
  if (begun !== undefined) return goneOn(course, policy, begun.action, follow(course, policy, begun));
  const over = records.find(isTheEnd);
  if (over !== undefined) return undone(course, over) ?? settled(course, over);
  const unhelpful = records.filter(({ validated }) => validated === "Fail");
  const last = unhelpful.at(-1);
  if (last !== undefined && !(afterFailure(policy) === "Escalate" && unhelpful.every(leavesNothing)))
    return settled(course, last);
  if (policy !== undefined) return choose(course, policy);
  const failed = records.find(({ state }) => state === "Failed");
  return failed === undefined
    ? nothing(records, "PolicyNotFound", "There is no policy to act by")
    : settled(course, failed);
}

/** What has failed is gone on from at once: the next action of the policy is asked about, as far as the budgets go. */
function goneOn(
  course: Course,
  policy: EffectivePolicy | undefined,
  action: MitigationRecord["action"],
  step: MitigationStep,
): MitigationStep {
  const failed = step.records.some((record) => record.action === action && record.state === "Failed");
  if (!failed || policy === undefined) return step;
  const { investigation } = course;
  const status = { ...investigation.status, mitigations: [...step.records] };
  const next = choose({ ...course, investigation: { ...investigation, status } }, policy);
  return { ...next, notices: [...step.notices, ...next.notices] };
}

/** After these nothing more is done: it worked, or somebody has taken the matter over. What failed or did not help is gone on from. */
function isTheEnd({ state, undo, validated }: MitigationRecord): boolean {
  if (state === "Done") return validated !== "Fail";
  return state === "Reverted" || (state === "Undone" && undo?.askedBy === "Person");
}

/** What did not help was put back, or there is nothing of it: the next action finds the workload as it was. */
function leavesNothing({ state, undo }: MitigationRecord): boolean {
  return state === "Undone" || undo?.reason === "NothingToUndo";
}

/** Guards have spoken about it for good, or it has been tried. */
function isTried({ state, validated }: MitigationRecord): boolean {
  return state === "Refused" || state === "Failed" || state === "Undone" || validated === "Fail";
}

function nothing(records: readonly MitigationRecord[], reason: Reason, message: string): MitigationStep {
  return { records, fact: { status: "False", reason, message }, actions: [], notices: [], outcome: "Nothing" };
}

/** Asks the guards of each action in turn, until one may be taken or has to be waited for. */
function choose(course: Course, policy: EffectivePolicy): MitigationStep {
  const entries = policy.spec.mitigate ?? [];
  // What was done stays on record, also where the policy no longer names it.
  const decided = (course.investigation.status?.mitigations ?? []).filter(
    (record) => record.intended !== undefined && !entries.some(({ action }) => action === record.action),
  );
  if (entries.length === 0 && decided.length === 0)
    return nothing([], "NoActionNamed", `Policy ${policy.name} names no action`);
  const notices: Notice[] = [];
  for (const [index, mitigation] of entries.entries()) {
    const before = recordOf(course, mitigation);
    if (before !== undefined && isTried(before)) {
      decided.push(before);
      continue;
    }
    const question = questionOf({ ...course, policy, mitigation, record: before });
    const answer = firstRefusal(question);
    const next = answer === undefined ? intended(question) : refused(question, answer);
    decided.push(next);
    notices.push(...noticesOf(before, next));
    if (next.state === "Intended" || next.state === "Waiting") {
      const message = `${next.action}: ${next.message}`;
      return {
        records: [...decided, ...notYetAsked(course, entries.slice(index + 1))],
        fact: { status: "Unknown", reason: next.reason as Reason, message },
        // The act comes with the next pass: by then the intent is in status, and everybody's budgets count it.
        actions: [],
        notices,
        againMs: next.state === "Intended" ? 0 : AGAIN_MS,
        outcome: "Working",
      };
    }
  }
  return { ...left(course, decided), notices };
}

function notYetAsked(course: Course, entries: readonly Mitigation[]): MitigationRecord[] {
  return entries.flatMap((mitigation) => recordOf(course, mitigation) ?? []);
}

function recordOf({ investigation, finding }: Course, mitigation: Mitigation): MitigationRecord | undefined {
  return investigation.status?.mitigations?.find((r) => r.action === mitigation.action && r.finding === finding.id);
}

/** Nothing is to be done now: what waits for a person is told first, then what has failed or did not help, otherwise why the first action is refused. */
function left(course: Course, records: readonly MitigationRecord[]): MitigationStep {
  const proposed = records.find(({ state }) => state === "Proposed");
  const failed = records.findLast(({ state, validated }) => state === "Failed" || validated === "Fail");
  if (proposed === undefined && failed !== undefined) return { ...settled(course, failed), records };
  const first = proposed ?? records[0];
  if (first === undefined) return nothing(records, "NoActionNamed", "No action is left");
  return nothing(records, first.reason as Reason, `${first.action}: ${first.message}`);
}

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

function changed(
  record: MitigationRecord | undefined,
  next: Omit<MitigationRecord, "since">,
  now: Date,
): MitigationRecord {
  const since = record !== undefined && record.state === next.state ? record.since : timeText(now);
  return { ...next, message: clip(next.message, 1024), since };
}

function refused(question: MitigationQuestion, answer: GuardAnswer): MitigationRecord {
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

function intended(question: MitigationQuestion): MitigationRecord {
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

function noticesOf(before: MitigationRecord | undefined, next: MitigationRecord): Notice[] {
  if (before?.state === next.state) return [];
  const also = ["Target"] as const;
  const message = clip(`${next.action}: ${next.message}`, 1024);
  if (next.state === "Proposed") return [{ type: "Normal", reason: next.reason as Reason, message, also }];
  if (next.state === "Intended") return [{ type: "Normal", reason: next.reason as Reason, message, also }];
  return [];
}

/** @param record as it was when something had been intended */
function follow(course: Course, policy: EffectivePolicy | undefined, record: MitigationRecord): MitigationStep {
  const remedy = remedyOf(record);
  if (remedy === undefined)
    return over(course, record, "Failed", "ActionNotSupported", `This version cannot carry out ${record.action}`);
  const standing = remedy.stand(course.seen, record, course.investigation.metadata.uid, course.now);
  switch (standing.at) {
    case "Unreadable":
      return working(course, record, standing.message);
    case "Gone":
      return over(course, record, "Failed", "TargetReplaced", standing.message);
    case "Other": {
      const state = record.state === "Intended" ? "Refused" : "Reverted";
      return over(course, record, state, standing.reason, standing.message);
    }
    case "After":
      return takesItsCourse(course, remedy, noted(record, standing), standing);
    case "Before":
      return record.state === "RollingOut" || standing.marked
        ? putBack(course, noted(record, standing), standing)
        : act(course, policy, remedy, noted(record, standing), standing.partly === true);
  }
}

/** What had been seen complete does not hold any more: all of it is as it was before. */
function undone(course: Course, record: MitigationRecord): MitigationStep | undefined {
  // What an undo of ours has done to it, be it only half, is nobody else's doing.
  if (record.state !== "Done" || record.undo?.state === "Failed") return undefined;
  const standing = remedyOf(record)?.stand(course.seen, record, course.investigation.metadata.uid, course.now);
  if (standing?.at !== "Before" || standing.partly === true) return undefined;
  return putBack(course, noted(record, standing), standing);
}

function noted(record: MitigationRecord, { changes }: { readonly changes?: readonly ValueChange[] }): MitigationRecord {
  return changes === undefined ? record : { ...record, changes: [...changes] };
}

/** Two that undo each other are worse than what either wanted. */
function putBack(
  course: Course,
  record: MitigationRecord,
  { what, touched }: Extract<Standing, { at: "Before" }>,
): MitigationStep {
  const owner = gitOpsOwner(touched.labels, touched.annotations);
  const who = owner === undefined ? "somebody else" : `somebody else; ${owner.owner} owns it`;
  const reason = owner?.change === "Reverts" ? "RevertedByGitOps" : "RevertedByOther";
  return over(course, record, "Reverted", reason, `${what} is back, put there by ${who}; it is not changed again`);
}

/** The intent is on record and the world does not show it: the guards are asked once more, then it is done, or done again after a lost reply. */
function act(
  course: Course,
  policy: EffectivePolicy | undefined,
  remedy: Remedy,
  record: MitigationRecord,
  partly: boolean,
): MitigationStep {
  // What has been changed in part is not "refused".
  const stop = partly ? "Failed" : "Refused";
  const mitigation = policy?.spec.mitigate?.find((m) => m.action === record.action);
  if (policy === undefined || mitigation === undefined || remedyFor(mitigation) !== remedy)
    return over(course, record, stop, "PolicyChanged", "The policy no longer names the action");
  const { name, uid } = course.investigation.metadata;
  const errand = {
    investigation: { name, uid },
    policy: { kind: policy.kind, name: policy.name, generation: policy.generation },
    purpose: "Do",
    intended: record.intended ?? record.since,
  } as const;
  const action = remedy.act(record, errand, mitigation);
  const declined = declinedAtDoor(course, action);
  if (declined !== undefined) return over(course, record, stop, declined.reason, declined.message);
  const question = questionOf({ ...course, policy, mitigation, record });
  if (partly) return actOnTheRest(course, record, question, action);
  const answer = firstRefusal(question);
  if (answer !== undefined) {
    // The intent goes: whoever counts budgets must not count what was not done.
    const { intended: _intended, approvedBy: _leave, ...rest } = refused(question, answer);
    return replaced(course, rest, "Working");
  }
  return { ...working(course, record, record.message), actions: [action], againMs: SOON_MS };
}

/** Of what is half done the rest is done as it was written down: only those are asked whom a half-done change concerns. */
function actOnTheRest(
  course: Course,
  record: MitigationRecord,
  question: MitigationQuestion,
  action: Action,
): MitigationStep {
  const answer = firstRefusal({ ...question, proposal: undefined }, guardsOf(undefined));
  if (answer === undefined) return { ...working(course, record, record.message), actions: [action], againMs: SOON_MS };
  if (answer.means === "NotYet") return working(course, record, answer.message);
  return over(course, record, "Failed", answer.reason, `It was done in part: ${answer.message}`);
}

/** A door that found the policy changed only asks for another decision, which this is. */
function declinedAtDoor({ seen, investigation }: Course, action: Action): Refused | undefined {
  const declined = seen.refused[investigation.metadata.uid];
  return declined?.action === action.kind && declined.reason !== "PolicyChanged" ? declined : undefined;
}

function takesItsCourse(
  course: Course,
  remedy: Remedy,
  record: MitigationRecord,
  { ended, message, stuck }: Extract<Standing, { at: "After" }>,
): MitigationStep {
  const applied = record.applied ?? timeText(course.now);
  const rolling: MitigationRecord = {
    ...changed(record, { ...record, state: "RollingOut", message }, course.now),
    applied,
  };
  if (ended) return over(course, rolling, "Done", remedy.done, message);
  const late = course.now.getTime() - Date.parse(applied) > ROLLOUT_MS;
  if (stuck === undefined && !late) return working(course, rolling, rolling.message);
  const why = stuck ?? `it has taken more than ${ROLLOUT_MS / 60_000} minutes`;
  return over(course, rolling, "Failed", remedy.stuck, `It does not come to its end: ${why}; ${message}`);
}

function working(course: Course, record: MitigationRecord, message: string): MitigationStep {
  return {
    ...replaced(course, record, "Working"),
    fact: { status: "Unknown", reason: record.reason as Reason, message: clip(`${record.action}: ${message}`, 1024) },
    againMs: WATCH_MS,
  };
}

function over(
  course: Course,
  record: MitigationRecord,
  state: "Done" | "Failed" | "Reverted" | "Refused",
  reason: Reason,
  message: string,
): MitigationStep {
  const ended: MitigationRecord = {
    ...changed(record, { ...record, state, reason, message }, course.now),
    finished: timeText(course.now),
  };
  if (state !== "Refused") return settled(course, ended);
  const { intended: _intended, approvedBy: _leave, ...rest } = ended;
  // The next pass asks the guards of the policy's other actions.
  return { ...replaced(course, rest, "Working"), againMs: 0 };
}

/** Begun and over, one way or the other. */
function settled(course: Course, record: MitigationRecord): MitigationStep {
  // Somebody who rolled out a third template, or set a third value, has taken the matter over: nothing failed.
  const unhelpful = whyUnhelpful(record);
  if (unhelpful !== undefined) return { ...replaced(course, record, "Failed"), why: unhelpful };
  if (record.state === "Done") return replaced(course, record, "Done");
  const takenOver = record.reason === "TemplateReplaced" || record.reason === "ValueReplaced";
  return replaced(course, record, takenOver || record.state === "Undone" ? "Nothing" : "Failed");
}

/** What did not help, or was left half way back, is over, however it stands now. */
function whyUnhelpful({ action, state, undo, validated }: MitigationRecord): Refusal | undefined {
  const left = undo === undefined ? "" : `. It was not put back: ${undo.message}`;
  const put = state === "Undone" ? ", and was put back" : left;
  if (validated === "Fail") return { reason: "ValidationFailed", message: `${action} did not help${put}` };
  if (state !== "Done" || undo?.state !== "Failed") return undefined;
  return { reason: undo.reason as Reason, message: `${action} was to be put back: ${undo.message}` };
}

function replaced(course: Course, record: MitigationRecord, outcome: MitigationStep["outcome"]): MitigationStep {
  const before = course.investigation.status?.mitigations ?? [];
  const holds = outcome === "Done" || record.state === "Done";
  const status = outcome === "Working" ? "Unknown" : holds ? "True" : "False";
  return {
    records: before.map((r) => (r.action === record.action ? record : r)),
    fact: { status, reason: record.reason as Reason, message: clip(`${record.action}: ${record.message}`, 1024) },
    actions: [],
    notices: [],
    outcome,
    ...(outcome === "Working" ? { againMs: AGAIN_MS } : {}),
  };
}
