/** What becomes of kills that no investigation has counted: they join the active one, or open one, or wait. */
import { investigationName } from "../api/identity.ts";
import { durationMs } from "../api/fields.ts";
import type { Kill, MemoryInvestigation, TargetRef } from "../api/memoryinvestigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice } from "./actions.ts";
import { killsOf, opensInvestigation } from "./kills.ts";
import { knownKills, toldByKernel } from "./ledger.ts";
import type { Observation, TargetKind } from "./observation.ts";
import { revisionOf } from "./revisions.ts";

export interface Intake {
  /** Kills that the investigation they join has yet to count. */
  readonly join?: { readonly investigation: MemoryInvestigation; readonly kills: readonly Kill[] };
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  /** Kills wait for a place or for more of them: look again then. */
  readonly againMs?: number;
}

/** How soon kills that found no place are looked at again. */
const WAIT_FOR_PLACE_MS = 30_000;

/** All kills that pod status shows of the workload, counted or not. */
export function shownKills(seen: Observation): Kill[] {
  return seen.pods.flatMap((pod) => killsOf(pod, revisionOf(pod, seen)));
}

/** Kills that pod status shows and that nobody has counted yet, oldest first. */
function newKills(seen: Observation): Kill[] {
  const known = knownKills(seen.investigations);
  return shownKills(seen)
    .filter((kill) => !known.has(kill.id) && !seen.settled.has(kill.id) && kill.time >= seen.horizon)
    .filter((kill) => !seen.investigations.some((i) => toldByKernel(kill, i.status?.kills ?? [])))
    .toSorted((a, b) => a.time.localeCompare(b.time) || a.id.localeCompare(b.id));
}

/** @param active the workload's investigation that has not ended */
export function planIntake(seen: Observation, active: MemoryInvestigation | undefined, now: Date): Intake {
  const kills = newKills(seen);
  if (kills.length === 0) return { actions: [], notices: [] };
  if (active !== undefined) return { join: { investigation: active, kills }, actions: [], notices: [] };
  if ("problem" in seen.policy) return { actions: [], notices: [] };

  const { policy } = seen;
  const cooling = inCooldown(seen, durationMs(policy.spec.budget.cooldown), now);
  if (cooling !== undefined) return { join: { investigation: cooling, kills }, actions: [], notices: [] };

  const { count, within } = policy.spec.triggers.oomKilled;
  const withinMs = durationMs(within);
  const serious = kills.filter(opensInvestigation);
  const newest = serious.at(-1);
  if (newest === undefined) return { actions: [], notices: [] };
  const recent = serious.filter((kill) => Date.parse(newest.time) - Date.parse(kill.time) <= withinMs);
  const first = recent[0];
  if (first === undefined || recent.length < count) return { actions: [], notices: [] };
  return open(seen, policy, first);
}

function open(seen: Observation, policy: Exclude<Observation["policy"], { problem: unknown }>, first: Kill): Intake {
  const { maxActive } = policy.spec.budget;
  if (seen.active.policy >= maxActive) {
    return deferred(
      "BudgetSpent",
      `${maxActive} investigations under ${policy.kind} ${policy.name} are active, which is its budget.maxActive`,
    );
  }
  return {
    actions: [
      {
        kind: "OpenInvestigation",
        name: investigationName(seen.key.name, first.id),
        spec: { targetRef: targetRef(seen), suspend: false, release: false },
        policy: { kind: policy.kind, name: policy.name, maxActive },
        preserves: policy.mode !== "Observe" && policy.spec.preserve.strategy !== "None",
        because: first,
      },
    ],
    notices: [],
    againMs: 0,
  };
}

function deferred(reason: Reason, message: string): Intake {
  return {
    actions: [],
    notices: [
      { type: "Warning", reason, message: `An OOM kill waits for its investigation: ${message}`, also: ["Target"] },
    ],
    againMs: WAIT_FOR_PLACE_MS,
  };
}

function inCooldown(seen: Observation, cooldownMs: number, now: Date): MemoryInvestigation | undefined {
  return seen.investigations.findLast((investigation) => {
    const ended = endedAt(investigation);
    return (
      ended !== undefined &&
      now.getTime() - ended < cooldownMs &&
      investigation.metadata.deletionTimestamp === undefined
    );
  });
}

/** When an investigation ended, in milliseconds since the epoch. */
export function endedAt(investigation: MemoryInvestigation): number | undefined {
  if (investigation.status?.result === undefined) return undefined;
  const succeeded = investigation.status.conditions?.find((c) => c.type === "Succeeded");
  const time = Date.parse(succeeded?.lastTransitionTime ?? "");
  return Number.isNaN(time) ? 0 : time;
}

const API_VERSIONS: Readonly<Record<TargetKind, TargetRef["apiVersion"]>> = {
  Deployment: "apps/v1",
  StatefulSet: "apps/v1",
  DaemonSet: "apps/v1",
  Job: "batch/v1",
  Pod: "v1",
};

function targetRef(seen: Observation): TargetRef {
  return { apiVersion: API_VERSIONS[seen.key.kind], kind: seen.key.kind, name: seen.key.name };
}
