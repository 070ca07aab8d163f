/** Which actions can this version carry out? The table of them, and an entry of the policy as a question to the guards. */
import type { Mitigation } from "../../api/memorypolicy.ts";
import type { MitigationRecord } from "../../api/mitigation.ts";
import { targetOf, type Entry, type MitigationQuestion, type Remedy } from "./remedy.ts";
import { cordonNode } from "./cordonnode.ts";
import { resize } from "./resize.ts";
import { restart } from "./restart.ts";
import { rollback } from "./rollback.ts";
import { throttleConfigMap } from "./throttleconfigmap.ts";
import { throttleEnv } from "./throttleenv.ts";
import { throttleReplicas } from "./throttlereplicas.ts";

/** The action of a policy's entry; undefined: this version cannot take it. */
export function remedyFor({ action, throttle }: Mitigation): Remedy | undefined {
  switch (action) {
    case "Rollback":
      return rollback;
    case "Restart":
      return restart;
    case "Resize":
      return resize;
    case "Throttle":
      if (throttle?.configMap !== undefined) return throttleConfigMap;
      return throttle?.replicas === undefined ? throttleEnv : throttleReplicas;
    case "CordonNode":
      return cordonNode;
    case "DrainNode":
      return undefined;
  }
}

/** The action that a record is of, whatever the policy says by now. */
export function remedyOf({ action, changes }: MitigationRecord): Remedy | undefined {
  switch (action) {
    case "Rollback":
      return rollback;
    case "Restart":
      return restart;
    case "Resize":
      return resize;
    case "Throttle":
      if (changes === undefined) return throttleEnv;
      return changes[0]?.kind === "ConfigMap" ? throttleConfigMap : throttleReplicas;
    case "CordonNode":
      return cordonNode;
    case "DrainNode":
      return undefined;
  }
}

/** The reasons of actions that take their course: they belong to the story. */
export const BEGUN: ReadonlySet<string> = new Set(
  [rollback, restart, resize, throttleEnv, cordonNode].map(({ begun }) => begun).concat("Undoing"),
);

/** An entry of the policy, with what would be done now. */
export function questionOf(entry: Entry): MitigationQuestion {
  const remedy = remedyFor(entry.mitigation);
  const state = targetOf(entry);
  return { ...entry, remedy, proposal: state === undefined ? undefined : remedy?.propose(entry, state) };
}
