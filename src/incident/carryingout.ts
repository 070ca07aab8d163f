/**
 * From an intent to its end, pass by pass: done while the world does not show it, followed while it takes its course, and over when that was
 * seen, has failed, or somebody else has put it back or gone further.
 */
import type { Condition } from "../api/memoryinvestigation.ts";
import type { MitigationRecord, ValueChange } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice, Refusal } from "./actions.ts";
import { clip, timeText } from "./conditions.ts";
import { changed, refused } from "./decided.ts";
import { gitOpsOwner } from "./gitops.ts";
import { firstRefusal, guardsOf } from "./guards.ts";
import type { EffectivePolicy, Refused } from "./observation.ts";
import { questionOf, remedyFor, remedyOf } from "./remedies/remedies.ts";
import type { Course, MitigationQuestion, Remedy, Standing } from "./remedies/remedy.ts";

/** A roll-out that takes longer is given up on: it is told of, not undone. */
const ROLLOUT_MS = 15 * 60_000;
/** How soon a guard that said "not yet" is asked again. */
export const AGAIN_MS = 10_000;
/** What is changed may be something that nobody watches, so the change is looked for soon. */
const SOON_MS = 1_000;
/** How often a roll-out is looked at beside what the watch tells. */
const WATCH_MS = 5_000;

/** What one pass says about the mitigation, and what is to be done for it. */
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

/**
 * One step of what has been intended.
 * @param record as it was when that was written down
 */
export function follow(course: Course, policy: EffectivePolicy | undefined, record: MitigationRecord): MitigationStep {
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
export function undone(course: Course, record: MitigationRecord): MitigationStep | undefined {
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
export function settled(course: Course, record: MitigationRecord): MitigationStep {
  const unhelpful = whyUnhelpful(record);
  if (unhelpful !== undefined) return { ...replaced(course, record, "Failed"), why: unhelpful };
  if (record.state === "Done") return replaced(course, record, "Done");
  // Somebody who rolled out a third template, or set a third value, has taken the matter over: nothing failed.
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
