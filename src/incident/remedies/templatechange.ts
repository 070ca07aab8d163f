/**
 * Where does a change of a workload's template stand: not done, under way, complete, put back, or replaced by somebody else's? What
 * runs is told by the hash of the template, how far it is by the workload's own controller. The same for every action that rolls out.
 */
import type { MitigationRecord, TemplateFacts } from "../../api/mitigation.ts";
import type { Action, Errand, Refusal } from "../actions.ts";
import { clip } from "../conditions.ts";
import { bearsMark } from "../marks.ts";
import type { Observation, RevisionView, TargetKind, TargetState } from "../observation.ts";
import { refusal, touchedOf, type MitigationQuestion, type Standing } from "./remedy.ts";

/** The kinds that have a template and roll it out. */
export const ROLLS_OUT: ReadonlySet<TargetKind> = new Set(["Deployment", "StatefulSet", "DaemonSet"]);

/** A revision as records keep it. */
export function templateFacts(revision: RevisionView): TemplateFacts {
  return {
    revision: revision.name,
    uid: revision.uid,
    ...(revision.number === undefined ? {} : { number: revision.number }),
    templateHash: revision.templateHash,
    images: revision.images.slice(0, 16).map((image) => clip(image, 512)),
  };
}

/** By hand. A revision that is left keeps its number; one that is taken up gets a new one. */
export function undoCommand(namespace: string, target: TargetState, number: number | undefined): string | undefined {
  if (number === undefined) return undefined;
  return `kubectl -n ${namespace} rollout undo ${target.kind.toLowerCase()}/${target.name} --to-revision=${number}`;
}

/** The words of one action: `going` while it rolls out, `ended` when all pods run it. */
export interface RolloutWords {
  readonly going: (record: MitigationRecord) => string;
  readonly ended: (record: MitigationRecord) => string;
}

export function standsTemplate(
  { targetState: state }: Observation,
  record: MitigationRecord,
  uid: string,
  words: RolloutWords,
): Standing {
  if (state !== undefined && "problem" in state) return { at: "Unreadable", message: state.problem };
  if (state === undefined || state.uid !== record.target?.uid) {
    const gone = `${record.target?.kind ?? "The workload"} ${record.target?.name ?? ""} is gone, or was made anew`;
    return { at: "Gone", message: gone };
  }
  if (state.templateHash === record.after?.templateHash) return rollingOut(state, record, words);
  if (state.templateHash === record.before?.templateHash) {
    const marked = bearsMark(state.annotations, uid, record.action);
    return {
      at: "Before",
      marked,
      what: `The template of ${record.before.revision ?? "before"}`,
      touched: touchedOf(state),
    };
  }
  return {
    at: "Other",
    reason: "TemplateReplaced",
    message: "Somebody has given the workload another template since",
  };
}

function rollingOut({ rollout }: TargetState, record: MitigationRecord, words: RolloutWords): Standing {
  const { observed, desired, updated, total, available, stuck } = rollout;
  const ended = observed && updated >= desired && total <= updated && available >= desired;
  const of = `${updated} of ${desired} pods run it, ${available} are available, ${Math.max(0, total - updated)} old ones are left`;
  const message = ended
    ? `${words.ended(record)}; all ${desired} pods run it and are available`
    : `${words.going(record)}: ${of}`;
  return { at: "After", ended, message, ...(observed && stuck !== undefined ? { stuck } : {}) };
}

/** Gives the workload the template that the record names. Throws TypeError on a record without its facts. */
export function templateAction(
  record: MitigationRecord,
  errand: Errand,
  from: Extract<Action, { kind: "ChangeTemplate" }>["after"]["from"],
): Action {
  const { action, target, before, after } = record;
  if (target === undefined || before === undefined || after === undefined)
    throw new TypeError("An intent without its target and templates");
  return {
    kind: "ChangeTemplate",
    mitigation: action,
    ...errand,
    target: { kind: target.kind, name: target.name, uid: target.uid },
    before: { templateHash: before.templateHash },
    after: { templateHash: after.templateHash, from },
  };
}

/** What people were shown is what is meant. */
export function proposedTemplateStale({ record, proposal }: MitigationQuestion): Refusal | undefined {
  const after = proposal?.facts?.after;
  if (record?.target === undefined || after === undefined || record.after?.templateHash === after.templateHash)
    return undefined;
  return refusal("ProposalStale", "Another template was proposed than would be rolled out now");
}

/** Back to the template that was there, by the record that its controller keeps of it. */
export function reverseTemplate(record: MitigationRecord): MitigationRecord | Refusal {
  const { before, after } = record;
  if (before?.revision === undefined || before.uid === undefined || after === undefined)
    return refusal("NothingToUndo", "Nobody knows which revision was there before");
  return { ...record, before: after, after: before };
}

/** The revision that a record's new template is that of. */
export function revisionAfter({ after }: MitigationRecord): { readonly revision: string; readonly uid: string } {
  if (after?.revision === undefined || after.uid === undefined) throw new TypeError("A template of no revision");
  return { revision: after.revision, uid: after.uid };
}
