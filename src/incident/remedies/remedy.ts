/**
 * What must be known of an action so that it can be proposed, done once, followed to its end and taken back? One small interface;
 * each action is one file behind it. The life of an action is the same for all, and is told in `mitigation.ts` and `undo.ts`.
 */
import type { Finding, MemoryInvestigation } from "../../api/memoryinvestigation.ts";
import type { Mitigation } from "../../api/memorypolicy.ts";
import type { MitigationRecord, ValueChange } from "../../api/mitigation.ts";
import type { Reason } from "../../api/reasons.ts";
import type { Action, Errand, Refusal } from "../actions.ts";
import type { EffectivePolicy, Observation, RevisionView, TargetKind, TargetState } from "../observation.ts";

/** An investigation with its finding, as it stands. */
export interface Course {
  readonly seen: Observation;
  readonly investigation: MemoryInvestigation;
  readonly finding: Finding;
  readonly now: Date;
}

/** An entry of the policy that is asked about. */
export interface Entry extends Course {
  readonly policy: EffectivePolicy;
  readonly mitigation: Mitigation;
  /** What status has of this action so far. */
  readonly record: MitigationRecord | undefined;
}

/** Everything that a guard may look at. */
export interface MitigationQuestion extends Entry {
  /** Undefined: this version cannot take the action. */
  readonly remedy: Remedy | undefined;
  /** Undefined where the target could not be read. */
  readonly proposal: Proposal | undefined;
}

export interface MitigationGuard {
  /** What a refusal means. No: not for this finding. Ask: a person may give leave. NotYet: it may pass by itself. */
  readonly means: "No" | "Ask" | "NotYet";
  readonly refuse: (question: MitigationQuestion) => Refusal | undefined;
}

/** What is written down of an action: what it changes, from what to what, and how that is done and undone by hand. */
export type Facts = Pick<
  MitigationRecord,
  "target" | "before" | "after" | "changes" | "why" | "command" | "patch" | "undoCommand" | "undoPatch"
>;

type Texts = Readonly<Record<string, string>>;

/** An object that an action changes, as its owners have marked it. */
export interface Touched {
  readonly labels: Texts;
  readonly annotations: Texts;
}

/** What would be done now. */
export interface Proposal {
  /** The revision whose template the workload has; undefined while its controller has made none. */
  readonly current: RevisionView | undefined;
  /** Absent: nothing can be done. */
  readonly facts?: Facts;
  /** In a few words that go on after the action's name, such as `to go back from a to b`. */
  readonly words: string;
  /** Why it can never be done for this finding. */
  readonly blocked?: Refusal;
  /** What could not be read, in words: it may be asked again. */
  readonly unread?: string;
  /** What a GitOps controller might put back. */
  readonly touched: Touched;
}

/** How the world stands beside a record. */
export type Standing =
  | { readonly at: "Unreadable"; readonly message: string }
  | { readonly at: "Gone"; readonly message: string }
  /** Neither as it was nor as it is to be: somebody has taken the matter over. */
  | { readonly at: "Other"; readonly reason: Reason; readonly message: string }
  | {
      readonly at: "Before";
      /** Some of what is to be changed shows the change, some does not. */
      readonly partly?: boolean;
      readonly changes?: readonly ValueChange[];
      /** The thing bears our mark, so it had been done, and somebody has put it back. */
      readonly marked: boolean;
      /** What is there, such as `The template of thumbs-h2`. */
      readonly what: string;
      readonly touched: Touched;
    }
  | {
      readonly at: "After";
      /** All of its course was seen. */
      readonly ended: boolean;
      readonly changes?: readonly ValueChange[];
      /** For people: what it came to, or how far it is. */
      readonly message: string;
      /** Its course will not end by itself. */
      readonly stuck?: string;
    };

export interface Remedy {
  readonly kinds: ReadonlySet<TargetKind>;
  /** The reason while it takes its course, and when that has ended. */
  readonly begun: Reason;
  readonly done: Reason;
  readonly stuck: Reason;
  /** Guards of its own: what can never be, and what may pass. */
  readonly never: readonly MitigationGuard["refuse"][];
  readonly wait: readonly MitigationGuard["refuse"][];
  /** What would be done as things stand. */
  readonly propose: (entry: Entry, state: TargetState) => Proposal;
  /** How the world stands beside the record; `uid` is the investigation's, as marks name it. */
  readonly stand: (seen: Observation, record: MitigationRecord, uid: string, now: Date) => Standing;
  /** The act, with what it rests on. Throws TypeError on a record without its facts. */
  readonly act: (record: MitigationRecord, errand: Errand, mitigation: Mitigation | undefined) => Action;
  /** The record of putting it back: what it changed, the other way round. Or why there is nothing to put back. */
  readonly reverse: (record: MitigationRecord) => MitigationRecord | Refusal;
  /** Why pods must not be lost now by putting it back; undefined: none are, or they may be. */
  readonly undoGuards: readonly ((state: TargetState) => Refusal | undefined)[];
}

export function refusal(reason: Reason, message: string): Refusal {
  return { reason, message };
}

/** The workload as it was read; undefined where it was not. */
export function targetOf({ seen }: Pick<Course, "seen">): TargetState | undefined {
  return seen.targetState === undefined || "problem" in seen.targetState ? undefined : seen.targetState;
}

/** Of an object that a GitOps controller may own. */
export function touchedOf({ labels, annotations }: Touched): Touched {
  return { labels, annotations };
}

/** What every record says of the workload. */
export function targetFacts(target: TargetState): NonNullable<MitigationRecord["target"]> {
  const { kind, name, uid, resourceVersion, generation } = target;
  return { kind, name, uid, resourceVersion, generation };
}

/** The revision that the workload runs, by its template. */
export function currentRevision(target: TargetState): RevisionView | undefined {
  return target.revisions.find((revision) => revision.templateHash === target.templateHash);
}
