/**
 * Where does a change of single values stand: of a number of replicas, of keys of a ConfigMap, of limits of pods? Each is compared
 * with what was there and with what is to be there. The same for every action that changes no template.
 */
import type { MitigationRecord, ValueChange } from "../../api/mitigation.ts";
import type { Action, Errand, Refusal } from "../actions.ts";
import { refusal, type MitigationQuestion, type Standing, type Touched } from "./remedy.ts";

/** What a value is now. */
export type Reading =
  | { readonly gone: true }
  | { readonly unreadable: string }
  /** Undefined: nothing is there. */
  | { readonly value: string | undefined };

type Where = "Before" | "After" | "Other" | "Gone";

export interface Values {
  readonly read: (change: ValueChange) => Reading;
  /** What is changed bears the mark of this investigation. */
  readonly marked: boolean;
  readonly touched: Touched;
  /** Once everything shows the change: how far its course is. */
  readonly course: (changes: readonly ValueChange[]) => Omit<Extract<Standing, { at: "After" }>, "at" | "changes">;
  /** When a change is seen for the first time, RFC 3339. */
  readonly now: string;
}

/** A change whose object is gone counts no more, as long as another is left; nor does a pod that somebody else has given another value. */
export function standsValues(record: MitigationRecord, values: Values): Standing {
  const changes = record.changes ?? [];
  const readings = changes.map((change) => ({ change, reading: values.read(change) }));
  const unreadable = readings.flatMap(({ reading }) => ("unreadable" in reading ? [reading.unreadable] : []));
  if (unreadable[0] !== undefined) return { at: "Unreadable", message: unreadable[0] };
  const seen = readings.map(({ change, reading }) => ({ change, where: whereOf(change, reading) }));
  const count = (where: Where): number => seen.filter((one) => one.where === where).length;
  const [first] = changes;
  const name = first === undefined ? "What was to be changed" : `${first.kind} ${first.name}`;
  if (count("Gone") === seen.length) return { at: "Gone", message: `${name} is gone, or was made anew` };
  if (count("Other") > 0 && (first?.kind !== "Pod" || count("Before") + count("After") === 0))
    return { at: "Other", reason: "ValueReplaced", message: `Somebody has given ${name} another value since` };
  const noted = seen.map(({ change, where }) =>
    where === "After" && change.applied === undefined ? { ...change, applied: values.now } : change,
  );
  if (count("Before") === 0) return { at: "After", changes: noted, ...values.course(noted) };
  const undone = seen.some(({ change, where }) => where === "Before" && change.applied !== undefined);
  return {
    at: "Before",
    partly: count("After") > 0,
    changes: noted,
    marked: values.marked || undone,
    what: `The value of ${name}`,
    touched: values.touched,
  };
}

function whereOf({ before, after }: ValueChange, reading: Reading): Where {
  if (!("value" in reading)) return "Gone";
  if (reading.value === after) return "After";
  return reading.value === before ? "Before" : "Other";
}

/** The same the other way round. */
export function reverseValues(record: MitigationRecord): MitigationRecord {
  const changes = (record.changes ?? []).map(({ applied: _seen, before, after, ...change }): ValueChange => ({
    ...change,
    ...(after === undefined ? {} : { before: after }),
    ...(before === undefined ? {} : { after: before }),
  }));
  return { ...record, changes };
}

/** What people were shown is what is meant. */
export function proposedValuesStale({ record, proposal }: MitigationQuestion): Refusal | undefined {
  const shown = record?.changes ?? [];
  const now = proposal?.facts?.changes;
  if (record?.target === undefined || now === undefined) return undefined;
  const text = (changes: readonly ValueChange[]): string =>
    JSON.stringify(changes.map(({ uid, field, before, after }) => [uid, field, before, after]));
  if (text(shown) === text(now)) return undefined;
  return refusal("ProposalStale", "What would be changed is no longer what was proposed");
}

/** All changes are of one object. Throws TypeError on a record without its facts. */
export function valuesAction(record: MitigationRecord, errand: Errand): Action {
  const { action, target, changes = [] } = record;
  const [first] = changes;
  if (target === undefined || first === undefined || first.kind === "Pod")
    throw new TypeError("An intent without what it changes");
  return {
    kind: "SetValues",
    mitigation: action,
    ...errand,
    target: { kind: target.kind, name: target.name, uid: target.uid },
    object: { kind: first.kind, name: first.name, uid: first.uid },
    values: changes.map(({ field, before, after }) => ({
      field,
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    })),
  };
}
