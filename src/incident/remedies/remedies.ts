/** Which actions can this version carry out? The table of them, and an entry of the policy as a question to the guards. */
import type { MitigationAction } from "../../api/mitigation.ts";
import { targetOf, type Entry, type MitigationQuestion, type Remedy } from "./remedy.ts";
import { rollback } from "./rollback.ts";

const REMEDIES: Readonly<Partial<Record<MitigationAction, Remedy>>> = { Rollback: rollback };

/** The action behind its name; undefined: this version cannot take it. */
export function remedyOf(action: MitigationAction): Remedy | undefined {
  return REMEDIES[action];
}

/** An entry of the policy, with what would be done now. */
export function questionOf(entry: Entry): MitigationQuestion {
  const remedy = remedyOf(entry.mitigation.action);
  const state = targetOf(entry);
  return { ...entry, remedy, proposal: state === undefined ? undefined : remedy?.propose(entry, state) };
}
