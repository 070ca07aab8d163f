/**
 * What is done about a finding: the policy's actions in their order, each with its guards, its intent, its course and its end. An
 * intent is in status before anything is changed; a roll-out is called complete when it was seen so; nothing is done twice.
 */
import type { Condition, Finding, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Mitigation } from "../api/memorypolicy.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice } from "./actions.ts";
import { clip, timeText } from "./conditions.ts";
import { firstRefusal, isApproved, isDenied, leaveOf, type GuardAnswer, type MitigationQuestion } from "./guards.ts";
import { gitOpsOwner } from "./gitops.ts";
import { markOf } from "./marks.ts";
import type { EffectivePolicy, Observation, Refused, TargetState } from "./observation.ts";
import { chooseRevision, rollbackFacts } from "./rollback.ts";

/** What only has to be waited for is waited for this long; then the action is proposed, and a person may take it up. */
const WAIT_MS = 10 * 60_000;
/** A roll-out that takes longer is given up on: it is told of, not undone. */
const ROLLOUT_MS = 15 * 60_000;
/** How soon a guard that said "not yet" is asked again. */
const AGAIN_MS = 10_000;
/** How often a roll-out is looked at beside what the watch tells. */
const WATCH_MS = 5_000;

export interface MitigationStep {
  readonly records: readonly MitigationRecord[];
  readonly fact: { readonly status: Condition["status"]; readonly reason: Reason; readonly message: string };
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly againMs?: number;
  /** Working: it goes on. Nothing: nothing is done now. Done: seen complete. Failed: begun, but it did not come to its end. */
  readonly outcome: "Working" | "Nothing" | "Done" | "Failed";
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

export interface Course {
  readonly seen: Observation;
  readonly investigation: MemoryInvestigation;
  readonly finding: Finding;
  readonly now: Date;
}

/**
 * One step of the mitigation.
 * @param policy undefined while there is none that can be used: nothing is begun then, but what has begun is followed to its end
 */
export function planMitigation(course: Course, policy: EffectivePolicy | undefined): MitigationStep {
  const records = course.investigation.status?.mitigations ?? [];
  const begun = underWay(course.investigation);
  if (begun !== undefined) return follow(course, policy, begun);
  const over = records.find(({ state }) => state === "Done" || state === "Failed" || state === "Reverted");
  if (over !== undefined) return settled(course, over);
  if (policy === undefined) return nothing(records, "PolicyNotFound", "There is no policy to act by");
  return choose(course, policy);
}

function nothing(records: readonly MitigationRecord[], reason: Reason, message: string): MitigationStep {
  return { records, fact: { status: "False", reason, message }, actions: [], notices: [], outcome: "Nothing" };
}

/** Asks the guards of each action in turn, until one may be taken or has to be waited for. */
function choose(course: Course, policy: EffectivePolicy): MitigationStep {
  const entries = policy.spec.mitigate ?? [];
  if (entries.length === 0) return nothing([], "NoActionNamed", `Policy ${policy.name} names no action`);
  const decided: MitigationRecord[] = [];
  const notices: Notice[] = [];
  for (const mitigation of entries) {
    const before = recordOf(course, mitigation);
    if (before?.state === "Refused") {
      decided.push(before);
      continue;
    }
    const question = questionOf(course, policy, mitigation, before);
    const answer = firstRefusal(question);
    const next = answer === undefined ? intended(question) : refused(question, answer);
    decided.push(next);
    notices.push(...noticesOf(before, next));
    if (next.state === "Intended" || next.state === "Waiting") {
      const message = `${next.action}: ${next.message}`;
      return {
        records: [...decided, ...notYetAsked(course, entries, decided)],
        fact: { status: "Unknown", reason: next.reason as Reason, message },
        // The act comes with the next pass: by then the intent is in status, and everybody's budgets count it.
        actions: [],
        notices,
        againMs: next.state === "Intended" ? 0 : AGAIN_MS,
        outcome: "Working",
      };
    }
  }
  return { ...left(decided), notices };
}

function notYetAsked(
  course: Course,
  entries: readonly Mitigation[],
  decided: readonly MitigationRecord[],
): MitigationRecord[] {
  return entries.slice(decided.length).flatMap((mitigation) => recordOf(course, mitigation) ?? []);
}

function recordOf({ investigation, finding }: Course, mitigation: Mitigation): MitigationRecord | undefined {
  return investigation.status?.mitigations?.find((r) => r.action === mitigation.action && r.finding === finding.id);
}

/** Nothing is to be done now: what waits for a person is told first, otherwise why the first action is refused. */
function left(records: readonly MitigationRecord[]): MitigationStep {
  const first = records.find(({ state }) => state === "Proposed") ?? records[0];
  if (first === undefined) return nothing(records, "NoActionNamed", "No action is left");
  return nothing(records, first.reason as Reason, `${first.action}: ${first.message}`);
}

/** What the guards of one action are asked. */
export function questionOf(
  course: Course,
  policy: EffectivePolicy,
  mitigation: Mitigation,
  record: MitigationRecord | undefined,
): MitigationQuestion {
  const state = course.seen.targetState;
  const readable = state !== undefined && !("problem" in state) && mitigation.action === "Rollback";
  const choice = readable ? chooseRevision(course.seen, state, mitigation) : undefined;
  return { ...course, policy, mitigation, record, choice };
}

/** What is known of the action, whatever becomes of it: what would be done is shown also where it waits. */
function described(
  { seen, finding, mitigation, record, choice }: MitigationQuestion,
  moment: "Shown" | "Done",
): Partial<MitigationRecord> & Pick<MitigationRecord, "action" | "finding"> {
  const base = { action: mitigation.action, finding: finding.id };
  // What people were shown stays as it is while it waits; when it is done it is written down as it stands then.
  if (record?.after !== undefined && moment === "Shown") return { ...record, ...base };
  const state = seen.targetState;
  if (state === undefined || "problem" in state || choice?.current === undefined || choice.healthy === undefined)
    return base;
  return { ...base, ...rollbackFacts(seen.key.namespace, state, choice.current, choice.healthy), why: choice.why };
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
  const { record, now } = question;
  const facts = described(question, "Done");
  const message = `to go back from ${facts.before?.revision ?? ""} to ${facts.after?.revision ?? ""}`;
  return changed(
    record,
    {
      ...facts,
      state: "Intended",
      reason: "RollingBack",
      message,
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
  if (next.state === "Intended") return [{ type: "Normal", reason: "RollingBack", message, also }];
  return [];
}

/** @param record as it was when something had been intended */
function follow(course: Course, policy: EffectivePolicy | undefined, record: MitigationRecord): MitigationStep {
  const state = course.seen.targetState;
  if (state !== undefined && "problem" in state) return working(course, record, state.problem);
  if (state === undefined || state.uid !== record.target?.uid) {
    const gone = `${record.target?.kind ?? "The workload"} ${record.target?.name ?? ""} is gone, or was made anew`;
    return over(course, record, "Failed", "TargetReplaced", gone);
  }
  if (state.templateHash === record.after?.templateHash) return rollingOut(course, state, record);
  if (state.templateHash !== record.before?.templateHash) {
    const other = "Somebody has given the workload another template since";
    return over(course, record, record.state === "Intended" ? "Refused" : "Reverted", "TemplateReplaced", other);
  }
  const mark = markOf(state.annotations);
  const done = record.state === "RollingOut" || mark?.investigation === course.investigation.metadata.uid;
  if (done) {
    const owner = gitOpsOwner(state.labels, state.annotations);
    const who = owner === undefined ? "somebody else" : `somebody else; ${owner.owner} owns the workload`;
    const fought = `The template of ${record.before.revision} is back, put there by ${who}; it is not rolled back again`;
    const gitOps = owner?.change === "Reverts";
    return over(course, record, "Reverted", gitOps ? "RevertedByGitOps" : "RevertedByOther", fought);
  }
  return act(course, policy, record);
}

/** The intent is on record and the workload does not show it: the guards are asked once more, then it is done, or done again after a lost reply. */
function act(course: Course, policy: EffectivePolicy | undefined, record: MitigationRecord): MitigationStep {
  const mitigation = policy?.spec.mitigate?.find((m) => m.action === record.action);
  if (policy === undefined || mitigation === undefined)
    return over(course, record, "Refused", "PolicyChanged", "The policy no longer names the action");
  const declined = declinedAtDoor(course);
  if (declined !== undefined) return over(course, record, "Refused", declined.reason, declined.message);
  const question = questionOf(course, policy, mitigation, record);
  const answer = firstRefusal(question);
  if (answer !== undefined) {
    // The intent goes: whoever counts budgets must not count what was not done.
    const { intended: _intended, approvedBy: _leave, ...rest } = refused(question, answer);
    return replaced(course, rest, "Working");
  }
  return { ...working(course, record, record.message), actions: [rollBackAction(course, policy, record)] };
}

/** A door that found the policy changed only asks for another decision, which this is. */
function declinedAtDoor({ seen, investigation }: Course): Refused | undefined {
  const declined = seen.refused[investigation.metadata.uid];
  return declined?.action === "RollBack" && declined.reason !== "PolicyChanged" ? declined : undefined;
}

function rollBackAction({ investigation }: Course, policy: EffectivePolicy, record: MitigationRecord): Action {
  const { target, before, after, intended: since } = record;
  if (target === undefined || before === undefined || after === undefined)
    throw new TypeError("An intent without its target and revisions");
  const { name, uid } = investigation.metadata;
  return {
    kind: "RollBack",
    investigation: { name, uid },
    policy: { kind: policy.kind, name: policy.name, generation: policy.generation },
    target: { kind: target.kind, name: target.name, uid: target.uid },
    before: { templateHash: before.templateHash },
    after: { revision: after.revision, uid: after.uid, templateHash: after.templateHash },
    intended: since ?? record.since,
  };
}

function rollingOut(course: Course, state: TargetState, record: MitigationRecord): MitigationStep {
  const { observed, desired, updated, total, available, stuck } = state.rollout;
  const applied = record.applied ?? timeText(course.now);
  const of = `${updated} of ${desired} pods run it, ${available} are available, ${Math.max(0, total - updated)} old ones are left`;
  const after = record.after?.revision ?? "";
  const rolling: MitigationRecord = {
    ...changed(record, { ...record, state: "RollingOut", message: `going back to ${after}: ${of}` }, course.now),
    applied,
  };
  if (observed && updated >= desired && total <= updated && available >= desired) {
    const message = `went back from ${record.before?.revision ?? ""} to ${after}; all ${desired} pods run it and are available`;
    return over(course, rolling, "Done", "RolledBack", message);
  }
  const late = course.now.getTime() - Date.parse(applied) > ROLLOUT_MS;
  if ((observed && stuck !== undefined) || late) {
    const why = stuck ?? `it has taken more than ${ROLLOUT_MS / 60_000} minutes`;
    return over(course, rolling, "Failed", "RolloutStuck", `The roll-out to ${after} does not end: ${why}; ${of}`);
  }
  return working(course, rolling, rolling.message);
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
  // Somebody who rolled out a third template has taken the matter over: nothing failed.
  const outcome = record.state === "Done" ? "Done" : record.reason === "TemplateReplaced" ? "Nothing" : "Failed";
  return replaced(course, record, outcome);
}

function replaced(course: Course, record: MitigationRecord, outcome: MitigationStep["outcome"]): MitigationStep {
  const before = course.investigation.status?.mitigations ?? [];
  const status = outcome === "Done" ? "True" : outcome === "Working" ? "Unknown" : "False";
  return {
    records: before.map((r) => (r.action === record.action ? record : r)),
    fact: { status, reason: record.reason as Reason, message: clip(`${record.action}: ${record.message}`, 1024) },
    actions: [],
    notices: [],
    outcome,
    ...(outcome === "Working" ? { againMs: AGAIN_MS } : {}),
  };
}
