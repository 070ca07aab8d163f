/**
 * Moves everything about one workload one step on. Level-triggered: it is told which workload, never what happened to it,
 * and may run at any time, twice, or after a crash between any two of its calls.
 */
import type { Logger } from "pino";
import type { MemoryInvestigation, MemoryInvestigationStatus } from "../api/memoryinvestigation.ts";
import type { Action, Notice } from "../incident/actions.ts";
import { keyText, type Observation, type Refused, type WorkloadKey } from "../incident/observation.ts";
import { plan, type Plan } from "../incident/plan.ts";
import { sameStatus } from "./samestatus.ts";

/** The world as the loop needs it: four verbs. `controller/world.ts` is the real one. */
export interface World {
  /** One snapshot. Throws when something that the decision needs could not be read. */
  observe(key: WorkloadKey): Promise<Observation>;
  /** Does one thing, or says why a guard refused it at the last moment. Throws on failure. */
  perform(key: WorkloadKey, action: Action): Promise<Refused | undefined>;
  /** Writes the status as it should be; throws when the investigation has changed since it was read. */
  writeStatus(investigation: MemoryInvestigation, status: MemoryInvestigationStatus): Promise<void>;
  /** Tells people. Never fails and never waits. */
  announce(key: WorkloadKey, investigation: MemoryInvestigation | undefined, notices: readonly Notice[]): void;
  /** Remembers a refusal for the next observation of that investigation. */
  remember(investigation: MemoryInvestigation, refused: Refused): void;
}

/** @returns when to look again, in milliseconds; undefined when only a change of the world brings news */
export async function reconcile(
  key: WorkloadKey,
  world: World,
  now: () => Date,
  log: Logger,
): Promise<number | undefined> {
  const seen = await world.observe(key);
  const next = plan(seen, now());
  let acted = await performAll(key, world, undefined, next.actions, log);
  world.announce(key, undefined, next.notices);

  for (const step of next.investigations) {
    // Status goes first: an intent is on record before the act, and what the status claims was seen before this pass.
    if (step.status !== undefined && !sameStatus(original(seen, step.investigation), step.status)) {
      await world.writeStatus(original(seen, step.investigation), step.status);
      acted = true;
    }
    world.announce(key, step.investigation, step.notices);
    acted = (await performAll(key, world, step.investigation, step.actions, log)) || acted;
  }
  if (acted) log.debug({ workload: keyText(key) }, "Moved on");
  return requeue(next, acted);
}

function original(seen: Observation, investigation: MemoryInvestigation): MemoryInvestigation {
  return seen.investigations.find((i) => i.metadata.uid === investigation.metadata.uid) ?? investigation;
}

/** After an act the world is looked at at once: the next step comes from what is seen, never from what was done. */
function requeue(next: Plan, acted: boolean): number | undefined {
  return acted && next.requeueAfterMs === undefined ? 0 : next.requeueAfterMs;
}

async function performAll(
  key: WorkloadKey,
  world: World,
  investigation: MemoryInvestigation | undefined,
  actions: readonly Action[],
  log: Logger,
): Promise<boolean> {
  for (const action of actions) {
    const refused = await world.perform(key, action);
    if (refused !== undefined && investigation !== undefined) {
      log.info({ workload: keyText(key), action: action.kind, reason: refused.reason }, "Guard refused an action");
      world.remember(investigation, refused);
      return true;
    }
    log.info({ workload: keyText(key), action: action.kind }, "Performed action");
  }
  return actions.length > 0;
}
