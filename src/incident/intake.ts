/** What becomes of kills that no investigation has counted, and of alarms: they join the active investigation, or open one, or wait. */
import { investigationName } from "../api/identity.ts";
import { durationMs } from "../api/fields.ts";
import type { Kill, MemoryInvestigation, TargetRef, TimelineEntry } from "../api/memoryinvestigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice } from "./actions.ts";
import { clip } from "./conditions.ts";
import { killsOf, opensInvestigation } from "./kills.ts";
import { knownKills, toldByKernel } from "./ledger.ts";
import type { EffectivePolicy, Observation, TargetKind } from "./observation.ts";
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
  const byKills = intakeOfKills(seen, active, now);
  const idle = byKills.join === undefined && byKills.actions.length === 0 && byKills.againMs === undefined;
  return idle && active === undefined ? (intakeOfAlarm(seen, now) ?? byKills) : byKills;
}

function intakeOfKills(seen: Observation, active: MemoryInvestigation | undefined, now: Date): Intake {
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
  return open(seen, policy, {
    what: "An OOM kill",
    id: first.id,
    text: `${first.classification}: ${first.container ?? "pod"} of ${first.pod.name} at ${first.time}`,
    notices: [],
  });
}

/** An alarm has the same limits as a kill, and its name is made anew once a day: what is steadily near its limit opens no second investigation on that day. */
function intakeOfAlarm(seen: Observation, now: Date): Intake | undefined {
  const { alarm, policy, key } = seen;
  if (alarm === undefined || "problem" in policy || policy.spec.triggers[alarm.trigger] === undefined) return undefined;
  if (inCooldown(seen, durationMs(policy.spec.budget.cooldown), now) !== undefined) return undefined;
  const name = investigationName(key.name, alarm.id);
  const known = seen.settled.has(`${key.namespace}/${name}`);
  if (known || seen.investigations.some(({ metadata }) => metadata.name === name)) return undefined;
  const { reason, message } = alarm;
  return open(seen, policy, {
    what: "An alarm",
    id: alarm.id,
    text: `${reason}: ${message}`,
    suspect: alarm.pod.name,
    ...(alarm.container === undefined ? {} : { container: alarm.container }),
    notices: [{ type: "Warning", reason, message: `${message}; it is investigated`, also: ["Target"] }],
  });
}

/** What opens an investigation. */
interface Cause {
  readonly what: string;
  /** Twelve hex digits; the investigation's name is made from it. */
  readonly id: string;
  readonly text: string;
  /** Name of the pod, and the container of it, that were seen before anything was killed. */
  readonly suspect?: string;
  readonly container?: string;
  readonly notices: readonly Notice[];
}

function open(seen: Observation, policy: EffectivePolicy, cause: Cause): Intake {
  const { maxActive } = policy.spec.budget;
  const { suspect, container } = cause;
  if (seen.active.policy >= maxActive) {
    return deferred(
      "BudgetSpent",
      `${cause.what} waits for its investigation: ${maxActive} investigations under ${policy.kind} ${policy.name} are active, which is its budget.maxActive`,
    );
  }
  if (seen.active.cluster >= policy.cluster.maxActive) {
    return deferred(
      "BudgetSpent",
      `${cause.what} waits for its investigation: ${policy.cluster.maxActive} investigations are active in the cluster, which is its clusterBudget.maxActive`,
    );
  }
  return {
    actions: [
      {
        kind: "OpenInvestigation",
        name: investigationName(seen.key.name, cause.id),
        spec: {
          targetRef: targetRef(seen),
          suspend: false,
          release: false,
          ...(container === undefined ? {} : { container }),
        },
        policy: { kind: policy.kind, name: policy.name, maxActive, clusterMaxActive: policy.cluster.maxActive },
        preserves: policy.mode !== "Observe" && policy.spec.preserve.strategy !== "None",
        because: cause.text,
        ...(suspect === undefined ? {} : { suspect }),
      },
    ],
    notices: cause.notices,
    againMs: 0,
  };
}

/** Annotations of an investigation that the operator opened: why, and the pod that a trigger points at. */
export const OPENED_BECAUSE = "oomscope.dev/opened-because";
export const SUSPECT_POD = "oomscope.dev/suspect-pod";

/** Name of the pod that a trigger points at. A hint, no proof: only pods of the workload itself are looked for by it. */
export function suspectOf({ metadata }: MemoryInvestigation): string | undefined {
  return metadata.annotations?.[SUSPECT_POD];
}

/** How the story of an investigation begins that no kill has opened. */
export function openedEntries(investigation: MemoryInvestigation): TimelineEntry[] {
  const { annotations, creationTimestamp } = investigation.metadata;
  const because = annotations?.[OPENED_BECAUSE];
  if (investigation.status?.conditions !== undefined || suspectOf(investigation) === undefined) return [];
  if (because === undefined || creationTimestamp === undefined) return [];
  return [{ time: creationTimestamp, event: "InvestigationOpened", message: clip(because, 256) }];
}

function deferred(reason: Reason, message: string): Intake {
  return {
    actions: [],
    notices: [{ type: "Warning", reason, message, also: ["Target"] }],
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
