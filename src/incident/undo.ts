/**
 * Putting back what an action has changed: because a person has asked for it, or because it was seen not to help. It is the action the
 * other way round, with the same care: written down first, done only while everything is as the action left it, claimed when seen.
 */
import type { Condition, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MitigationAction, MitigationRecord, UndoRecord } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice, Refusal } from "./actions.ts";
import { clip, timeText } from "./conditions.ts";
import { optedOut } from "./marks.ts";
import { remedyOf } from "./remedies/remedies.ts";
import { refusal, targetOf, type Course, type Remedy, type Standing } from "./remedies/remedy.ts";

/** What only has to be waited for is waited for this long; then it has to be asked for anew. */
const WAIT_MS = 10 * 60_000;
/** A course that takes longer is given up on. */
const COURSE_MS = 15 * 60_000;
const AGAIN_MS = 5_000;
/** What is put back may be something that nobody watches, so the change is looked for soon. */
const SOON_MS = 1_000;

export interface UndoRequest {
  readonly action: MitigationAction;
  /** The finding that its record names; anything else is refused. */
  readonly finding: string;
  readonly by: UndoRecord["askedBy"];
}

export interface UndoStep {
  readonly records: readonly MitigationRecord[];
  /** For the condition Mitigated. */
  readonly fact: { readonly status: Condition["status"]; readonly reason: Reason; readonly message: string };
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly againMs?: number;
  /** Working: ask again. Undone: it was seen as it was before. Refused: not begun. Failed: begun, and not seen to its end. */
  readonly outcome: "Working" | "Undone" | "Refused" | "Failed";
}

/** What an undo looks at: it needs no finding, because it does not depend on what was found. */
export type UndoCourse = Pick<Course, "seen" | "investigation" | "now">;

/** What is to be put back now: what has been begun, or what a person has asked for and nobody has answered. */
export function askedUndo({ spec, status }: MemoryInvestigation): UndoRequest | undefined {
  if (spec.suspend) return undefined;
  const records = status?.mitigations ?? [];
  const begun = records.find(({ undo }) => undo !== undefined && isOpen(undo));
  if (begun?.undo !== undefined) return { action: begun.action, finding: begun.finding, by: begun.undo.askedBy };
  const asked = (spec.undoActions ?? []).find(({ action }) =>
    records.some((record) => record.action === action && record.intended !== undefined && mayBeAsked(record, status)),
  );
  return asked === undefined ? undefined : { ...asked, by: "Person" };
}

/** What a validation could not have put back a person may ask for, once the investigation has ended. */
function mayBeAsked({ undo }: MitigationRecord, status: MemoryInvestigation["status"]): boolean {
  if (undo === undefined) return true;
  return undo.askedBy === "Validation" && isAnswered(undo) && status?.result !== undefined;
}

/** Without success. */
function isAnswered({ state }: UndoRecord): boolean {
  return state === "Refused" || state === "Failed";
}

function isOpen({ state }: UndoRecord): boolean {
  return state === "Waiting" || state === "Intended" || state === "Applied";
}

/** Answers of requests that a person has withdrawn go, so that they may ask anew. */
export function withoutOldAnswers({ spec, status }: MemoryInvestigation): readonly MitigationRecord[] | undefined {
  const asked = new Set((spec.undoActions ?? []).map(({ action }) => action));
  const old = (status?.mitigations ?? []).some((record) => isOld(record, asked));
  if (!old) return undefined;
  return status?.mitigations?.map((record) => {
    if (!isOld(record, asked)) return record;
    const { undo: _answer, ...rest } = record;
    return rest;
  });
}

function isOld({ action, undo }: MitigationRecord, asked: ReadonlySet<MitigationAction>): boolean {
  return undo !== undefined && isAnswered(undo) && undo.askedBy === "Person" && !asked.has(action);
}

/**
 * One step of putting an action back. Pure; called pass after pass until its outcome is no longer Working, with `records` written to
 * status before `actions` are performed. The observation must have the target's state.
 */
export function planUndo(course: UndoCourse, request: UndoRequest): UndoStep {
  const records = course.investigation.status?.mitigations ?? [];
  const record = records.find(({ action }) => action === request.action);
  const remedy = record === undefined ? undefined : remedyOf(record);
  if (record === undefined || remedy === undefined) {
    const message = `${request.action} is not among what was done`;
    return { ...nothingDone(records, message), outcome: "Refused" };
  }
  if (record.state === "Undone") return answered(course, record, "Undone");
  const { undo: before } = record;
  // An answer is one to whoever asked.
  const mine = before === undefined || (isAnswered(before) && before.askedBy !== request.by) ? undefined : before;
  if (mine?.state === "Refused" || mine?.state === "Failed") return answered(course, record, mine.state);
  const undo = mine ?? { askedBy: request.by };
  const reversed = whyNotAtAll(record, request) ?? remedy.reverse(record);
  if (!("action" in reversed)) return settle(course, record, undo, "Refused", reversed);
  return advance(course, remedy, record, reversed, undo);
}

type Asked = Pick<UndoRecord, "askedBy"> & Partial<UndoRecord>;

function nothingDone(records: readonly MitigationRecord[], message: string): Omit<UndoStep, "outcome"> {
  return { records, fact: { status: "False", reason: "NothingToUndo", message }, actions: [], notices: [] };
}

function whyNotAtAll(record: MitigationRecord, request: UndoRequest): Refusal | undefined {
  if (record.finding !== request.finding)
    return refusal("NothingToUndo", `It was done for finding ${record.finding}, not for ${request.finding}`);
  const isDone = record.state === "Done" || (record.state === "Failed" && record.applied !== undefined);
  // A change of several things that failed half way is noted on each of them.
  const inPart = record.state === "Failed" && (record.changes ?? []).some(({ applied }) => applied !== undefined);
  if (isDone || inPart) return undefined;
  return refusal("NothingToUndo", `${record.action} is ${record.state}, so there is nothing to put back`);
}

function advance(
  course: UndoCourse,
  remedy: Remedy,
  record: MitigationRecord,
  reversed: MitigationRecord,
  undo: Asked,
): UndoStep {
  const begun = undo.state === "Intended" || undo.state === "Applied";
  const standing = remedy.stand(course.seen, reversed, course.investigation.metadata.uid, course.now);
  switch (standing.at) {
    case "Unreadable":
      return waiting(course, record, undo, refusal("WorkloadUnreadable", standing.message));
    case "Gone":
      return settle(course, record, undo, begun ? "Failed" : "Refused", refusal("TargetReplaced", standing.message));
    case "Other":
      return settle(course, record, undo, begun ? "Failed" : "Refused", standing);
    case "After":
      return takesItsCourse(course, record, undo, standing);
    case "Before": {
      if (undo.state !== "Applied") return act(course, remedy, record, reversed, undo);
      const again = `${standing.what} was set once more by somebody else after it had been put back`;
      return settle(course, record, undo, "Failed", refusal("RevertedByOther", again));
    }
  }
}

/** Everything is as the action left it. */
function act(
  course: UndoCourse,
  remedy: Remedy,
  record: MitigationRecord,
  reversed: MitigationRecord,
  undo: Asked,
): UndoStep {
  const { seen, investigation, now } = course;
  const { name, uid } = investigation.metadata;
  const declined = seen.refused[uid];
  const intended = undo.intended ?? timeText(now);
  const action = remedy.act(reversed, { investigation: { name, uid }, purpose: "Undo", intended }, undefined);
  if (undo.state === "Intended" && declined?.action === action.kind && declined.reason !== "PolicyChanged")
    return settle(course, record, undo, "Refused", declined);
  const target = targetOf(course);
  if (target !== undefined && optedOut(target.annotations, record.action)) {
    const message = `The workload's annotation oomscope.dev/do-not-mitigate speaks against ${record.action}`;
    return settle(course, record, undo, "Refused", refusal("OptedOut", message));
  }
  const notYet = remedy.undoGuards.flatMap((guard) => (target === undefined ? [] : (guard(target) ?? [])))[0];
  if (notYet !== undefined) return waiting(course, record, undo, notYet);
  const next = changed(undo, now, { state: "Intended", reason: "Undoing", message: "to be put back", intended });
  // The act comes with the next pass: by then the intent is in status.
  if (undo.state !== "Intended") {
    const message = clip(`${record.action} is put back`, 1024);
    const notices: Notice[] = [{ type: "Normal", reason: "Undoing", message, also: ["Target"] }];
    return { ...working(course, record, next, 0), notices };
  }
  return { ...working(course, record, next, SOON_MS), actions: [action] };
}

function takesItsCourse(
  course: UndoCourse,
  record: MitigationRecord,
  undo: Asked,
  { ended, message, stuck }: Extract<Standing, { at: "After" }>,
): UndoStep {
  const applied = undo.applied ?? timeText(course.now);
  const next = changed(undo, course.now, { state: "Applied", reason: "Undoing", message, applied });
  if (ended) return settle(course, record, next, "Undone", refusal("Undone", message));
  const late = course.now.getTime() - Date.parse(applied) > COURSE_MS;
  if (stuck === undefined && !late) return working(course, record, next, AGAIN_MS);
  const why = stuck ?? `it has taken more than ${COURSE_MS / 60_000} minutes`;
  return settle(
    course,
    record,
    next,
    "Failed",
    refusal("UndoStuck", `It does not come to its end: ${why}; ${message}`),
  );
}

function changed(undo: Asked, now: Date, next: Omit<UndoRecord, "askedBy" | "since">): UndoRecord {
  const since = undo.since !== undefined && undo.state === next.state ? undo.since : timeText(now);
  return { ...undo, ...next, message: clip(next.message, 1024), since };
}

function waiting(course: UndoCourse, record: MitigationRecord, undo: Asked, why: Refusal): UndoStep {
  // An intent or a course goes on as soon as it can be seen; only the beginning of one is given up on.
  if (undo.state === "Applied")
    return working(course, record, changed(undo, course.now, { ...undo, state: "Applied", ...why }), AGAIN_MS);
  const { intended: _intended, ...rest } = undo;
  const next = changed(rest, course.now, { state: "Waiting", ...why });
  const tired = undo.state === "Waiting" && course.now.getTime() - Date.parse(next.since) >= WAIT_MS;
  if (!tired) return working(course, record, next, AGAIN_MS);
  const message = `${why.message}. It was waited for for ${WAIT_MS / 60_000} minutes; ask again`;
  return settle(course, record, rest, "Refused", refusal(why.reason, message));
}

function working(course: UndoCourse, record: MitigationRecord, undo: UndoRecord, againMs: number): UndoStep {
  const { reason, message } = undo;
  return { ...told(course, { ...record, undo }, "Unknown", reason as Reason, message), againMs, outcome: "Working" };
}

function settle(
  course: UndoCourse,
  record: MitigationRecord,
  undo: Asked,
  state: "Undone" | "Refused" | "Failed",
  { reason, message }: Refusal,
): UndoStep {
  const ended = changed(undo, course.now, { state, reason, message });
  const next: MitigationRecord =
    state === "Undone"
      ? { ...record, state: "Undone", reason, message: ended.message, since: timeText(course.now), undo: ended }
      : { ...record, undo: ended };
  const text = clip(`${record.action}: ${message}`, 1024);
  const type = state === "Undone" ? "Normal" : "Warning";
  return { ...answered(course, next, state), notices: [{ type, reason, message: text, also: ["Target"] }] };
}

/** What was refused or has failed leaves the mitigation as it was: that is what the condition goes on to say. */
function answered(course: UndoCourse, record: MitigationRecord, outcome: "Undone" | "Refused" | "Failed"): UndoStep {
  const isDone = record.state === "Done";
  const { reason, message } = record;
  return { ...told(course, record, isDone ? "True" : "False", reason as Reason, message), outcome };
}

function told(
  { investigation }: UndoCourse,
  record: MitigationRecord,
  status: Condition["status"],
  reason: Reason,
  message: string,
): Omit<UndoStep, "outcome"> {
  const records = (investigation.status?.mitigations ?? []).map((r) => (r.action === record.action ? record : r));
  const fact = { status, reason, message: clip(`${record.action}: ${message}`, 1024) };
  return { records, fact, actions: [], notices: [] };
}
