/**
 * When does memory call for an investigation before anything is killed? Pure: readings of the metrics API and what a policy's triggers say of them. Times are those
 * of the readings, in milliseconds since the epoch, so that a late answer counts for when it was measured.
 */
import { durationMs } from "../api/fields.ts";
import { alarmId } from "../api/identity.ts";
import type { MemoryPolicySpec } from "../api/memorypolicy.ts";
import type { Reason } from "../api/reasons.ts";

type Triggers = MemoryPolicySpec["triggers"];

/** A condition that has held without a break, from the first reading that showed it to the last. */
export interface Held {
  readonly sinceMs: number;
  readonly lastMs: number;
}

/** Readings further apart than this say nothing of what was between them: metrics-server scrapes every 15 to 60 s. */
export const GAP_MS = 3 * 60_000;

/** The condition after one more reading. Undefined: it does not hold. */
export function heldAfter(before: Held | undefined, atMs: number, holds: boolean): Held | undefined {
  if (!holds) return undefined;
  const unbroken = before !== undefined && atMs - before.lastMs <= GAP_MS;
  return { sinceMs: unbroken ? before.sinceMs : atMs, lastMs: atMs };
}

/** One container as it was read last. */
export interface ContainerReading {
  readonly pod: { readonly name: string; readonly uid: string; readonly node?: string };
  /** Identity of the revision: the uid of the pod's owner, or its own. */
  readonly revision: string;
  readonly container: string;
  /** Working set: what the kubelet counts against the limit, page cache in use included. */
  readonly usageBytes: number;
  readonly limitBytes: number;
  /** When it was measured. */
  readonly atMs: number;
  /** How long it has been above the policy's percentOfLimit. */
  readonly near: Held | undefined;
  /** Sustained growth only: undefined when the trend test does not say that it grows, or cannot say yet. */
  readonly growth: { readonly bytesPerSecond: number; readonly spanSeconds: number } | undefined;
}

/** A node that is short of memory, with the pod on it that grew most meanwhile. */
export interface NodeReading {
  readonly node: string;
  /** Capacity less working set, in percent of the capacity. */
  readonly availablePercent: number;
  readonly low: Held;
  readonly suspect: {
    readonly pod: { readonly name: string; readonly uid: string };
    readonly revision: string;
    readonly usageBytes: number;
    /** Over the time for which it was watched; undefined when there was none. */
    readonly grownBytes: number | undefined;
  };
}

/** Why a workload should be investigated although nothing was killed. */
export interface Alarm {
  /** The field of `triggers` that it comes from. */
  readonly trigger: "memoryUsage" | "growth" | "nodeMemAvailable";
  readonly reason: Extract<Reason, "MemoryNearLimit" | "OOMProjected" | "NodeMemoryLow">;
  /**
   * Twelve hex digits, the same for the same trigger, revision and day (UTC): what is steadily near its limit is investigated once a day, however often the operator
   * starts anew.
   */
  readonly id: string;
  readonly message: string;
  readonly pod: { readonly name: string; readonly uid: string };
  /** Absent where it is the node that is short. */
  readonly container?: string;
}

/** The alarm that a workload's readings raise: nearest to its limit first, then soonest there, then its node. */
export function alarmOf(
  triggers: Triggers,
  containers: readonly ContainerReading[],
  nodes: readonly NodeReading[],
): Alarm | undefined {
  return nearLimit(triggers, containers) ?? projected(triggers, containers) ?? nodeLow(triggers, nodes);
}

function nearLimit({ memoryUsage }: Triggers, containers: readonly ContainerReading[]): Alarm | undefined {
  if (memoryUsage === undefined) return undefined;
  const forMs = durationMs(memoryUsage.for);
  const [first] = containers
    .filter(({ near }) => near !== undefined && near.lastMs - near.sinceMs >= forMs)
    .toSorted((a, b) => share(b) - share(a) || a.pod.name.localeCompare(b.pod.name));
  if (first?.near === undefined) return undefined;
  const { near, pod, container } = first;
  const message = `${container} of ${pod.name} uses ${Math.floor(share(first))} % of its limit, and has been at ${memoryUsage.percentOfLimit} % or above for ${spanText(near)}`;
  return {
    trigger: "memoryUsage",
    reason: "MemoryNearLimit",
    ...identity("memoryUsage", first, near.lastMs),
    message,
    container,
  };
}

function projected({ growth }: Triggers, containers: readonly ContainerReading[]): Alarm | undefined {
  if (growth === undefined) return undefined;
  const within = durationMs(growth.projectedOOMWithin) / 1000;
  const [first] = containers
    .filter((reading) => secondsToLimit(reading) <= within)
    .toSorted((a, b) => secondsToLimit(a) - secondsToLimit(b) || a.pod.name.localeCompare(b.pod.name));
  if (first?.growth === undefined) return undefined;
  const { pod, container, atMs } = first;
  const rate = (first.growth.bytesPerSecond * 60) / 2 ** 20;
  const message = `${container} of ${pod.name} has grown by ${rate.toFixed(1)} MiB a minute for ${minutes(first.growth.spanSeconds)}; at this rate its limit is reached in ${minutes(secondsToLimit(first))}`;
  return { trigger: "growth", reason: "OOMProjected", ...identity("growth", first, atMs), message, container };
}

function nodeLow({ nodeMemAvailable }: Triggers, nodes: readonly NodeReading[]): Alarm | undefined {
  if (nodeMemAvailable === undefined) return undefined;
  const forMs = durationMs(nodeMemAvailable.for);
  const [first] = nodes
    .filter(({ low }) => low.lastMs - low.sinceMs >= forMs)
    .toSorted((a, b) => a.availablePercent - b.availablePercent || a.node.localeCompare(b.node));
  if (first === undefined) return undefined;
  const { suspect, low, node, availablePercent } = first;
  const grown = suspect.grownBytes === undefined ? "uses most" : `grew most (${mebibytes(suspect.grownBytes)})`;
  const message = `Node ${node} has had less than ${nodeMemAvailable.percent} % of its memory available for ${spanText(low)} (${Math.floor(availablePercent)} % now); of the pods that this trigger watches on it ${suspect.pod.name} ${grown}`;
  return {
    trigger: "nodeMemAvailable",
    reason: "NodeMemoryLow",
    ...identity("nodeMemAvailable", suspect, low.lastMs),
    message,
  };
}

function share({ usageBytes, limitBytes }: ContainerReading): number {
  return (100 * usageBytes) / limitBytes;
}

/** Infinity when it does not grow. */
function secondsToLimit({ usageBytes, limitBytes, growth }: ContainerReading): number {
  if (growth === undefined || growth.bytesPerSecond <= 0) return Number.POSITIVE_INFINITY;
  return Math.max(0, limitBytes - usageBytes) / growth.bytesPerSecond;
}

function identity(
  trigger: Alarm["trigger"],
  of: { readonly pod: { readonly name: string; readonly uid: string }; readonly revision: string },
  atMs: number,
): Pick<Alarm, "id" | "pod"> {
  const day = new Date(atMs).toISOString().slice(0, 10);
  const { name, uid } = of.pod;
  return { id: alarmId(trigger, of.revision, day), pod: { name, uid } };
}

function spanText({ sinceMs, lastMs }: Held): string {
  return minutes((lastMs - sinceMs) / 1000);
}

function minutes(seconds: number): string {
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
