/**
 * What is done about a finding: the policy's actions in their order, each with its guards, its intent, its course and its end. An
 * intent is in status before anything is changed; a roll-out is called complete when it was seen so; nothing is done twice.
 */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Mitigation } from "../api/memorypolicy.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Notice } from "./actions.ts";
import { AGAIN_MS, follow, type MitigationStep, settled, undone } from "./carryingout.ts";
import { intended, noticesOf, refused } from "./decided.ts";
import { firstRefusal, isApproved, isDenied } from "./guards.ts";
import type { EffectivePolicy } from "./observation.ts";
import { questionOf } from "./remedies/remedies.ts";
import type { Course } from "./remedies/remedy.ts";
import { afterFailure } from "./validation.ts";

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
