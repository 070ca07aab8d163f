/**
 * Reads the metrics API for the triggers that look at it, and knows which workloads call for an investigation. Only pods are kept that a policy with such a trigger is
 * in force for, a bounded number of them with a bounded number of readings each; where no policy has one, nothing is asked and nothing is kept.
 */
import type { Logger } from "pino";
import { durationMs } from "../api/fields.ts";
import type { MemoryPolicySpec } from "../api/memorypolicy.ts";
import type { CensusEntry } from "../cluster/census.ts";
import { metricsProblem, type NodeUsage, type PodUsage } from "../cluster/metricsreads.ts";
import { keyText, type ContainerView, type WorkloadKey } from "../incident/observation.ts";
import type { TriggerFact } from "../incident/policystatus.ts";
import { alarmOf, heldAfter, type Alarm, type ContainerReading, type NodeReading } from "../incident/triggers.ts";
import type { Clock } from "../seams.ts";
import { newHistory, take, type ContainerHistory } from "./readings.ts";
import { containerReadings, nodeReadings, type NodeState, type Watched } from "./suspects.ts";

export interface SamplerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly census: () => readonly CensusEntry[];
  /** Readings of pods in these namespaces; undefined: everywhere. Throws what the API server says. */
  readonly readPods: (namespaces: readonly string[] | undefined) => AsyncIterable<PodUsage>;
  readonly readNodes: () => AsyncIterable<NodeUsage>;
  /** Memory of a node in bytes. */
  readonly capacity: (node: string) => number | undefined;
  /** Look at this workload: it has an alarm. */
  readonly enqueue: (key: string) => void;
  /** Pods that are watched at most; default 10,000. */
  readonly maxPods?: number;
}

export interface Sampler {
  /** Reads once, if it is time, and decides anew. Never throws. */
  pass(): Promise<void>;
  alarm(key: WorkloadKey): Alarm | undefined;
  /** How the triggers of a policy are doing; undefined where it has none that look at readings. */
  fact(policy: { readonly uid: string; readonly spec: Pick<MemoryPolicySpec, "triggers"> }): TriggerFact | undefined;
  stats(): { readonly pods: number; readonly alarms: number };
}

const MAX_PODS = 10_000;
/** Up to so many namespaces are asked one by one; beyond that the whole cluster is asked once. */
const MAX_NAMESPACES = 8;
/** A metrics API that fails is asked again after this. */
const RETRY_MS = 60_000;
/** The ring covers a third of the time that growth is projected over, so that what reaches the limit in that time has grown by a measurable part of it. */
const SPACINGS = 150;
const DEFAULT_SPACING_MS = 12_000;

interface Outcome {
  readonly podsProblem: string | undefined;
  readonly nodesProblem: string | undefined;
  readonly truncated: boolean;
  /** Policies in force for something, by uid: whether anything of it has a limit. */
  readonly limits: ReadonlyMap<string, boolean>;
}

export function createSampler(options: SamplerOptions): Sampler {
  const { clock, log, maxPods = MAX_PODS } = options;
  const histories = new Map<string, Map<string, ContainerHistory>>();
  const nodes = new Map<string, NodeState>();
  const alarms = new Map<string, Alarm>();
  let outcome: Outcome | undefined;
  let dueMs = Number.NEGATIVE_INFINITY;
  let running: Promise<void> | undefined;

  async function pass(): Promise<void> {
    if (clock.monotonicMs() < dueMs) return;
    const entries = options.census().filter(hasTrigger);
    const watched = new Map<string, Watched>();
    let truncated = false;
    for (const { key, pods, policy } of entries) {
      for (const pod of pods) {
        if (policy === undefined || "problem" in policy) continue;
        if (watched.size < maxPods)
          watched.set(`${pod.namespace}/${pod.name}`, { key, pod, triggers: policy.spec.triggers });
        else truncated = true;
      }
    }
    forget(watched);
    if (watched.size === 0) {
      alarms.clear();
      nodes.clear();
      outcome = undefined;
      return;
    }
    const podsProblem = await attempt(() => samplePods(watched));
    const percents = lowPercents(watched.values());
    const nodesProblem = percents.size === 0 ? undefined : await attempt(() => sampleNodes(percents));
    if (percents.size === 0) nodes.clear();
    const before = outcome;
    outcome = { podsProblem, nodesProblem, truncated, limits: limitsOf(entries) };
    const problem = podsProblem ?? nodesProblem;
    if (podsProblem !== undefined) dueMs = clock.monotonicMs() + RETRY_MS;
    if (problem !== undefined && (before?.podsProblem ?? before?.nodesProblem) !== problem)
      log.warn({ problem }, "Could not read metrics");
    decide(watched, podsProblem === undefined, nodesProblem === undefined);
  }

  function forget(watched: ReadonlyMap<string, Watched>): void {
    const uids = new Set([...watched.values()].map(({ pod }) => pod.uid));
    for (const uid of histories.keys()) if (!uids.has(uid)) histories.delete(uid);
  }

  async function samplePods(watched: ReadonlyMap<string, Watched>): Promise<void> {
    const namespaces = [...new Set([...watched.values()].map(({ pod }) => pod.namespace))];
    for await (const usage of options.readPods(namespaces.length <= MAX_NAMESPACES ? namespaces : undefined)) {
      const entry = watched.get(`${usage.namespace}/${usage.name}`);
      if (entry !== undefined) note(entry, usage);
    }
  }

  function note({ pod, triggers }: Watched, usage: PodUsage): void {
    const known = histories.get(pod.uid) ?? new Map<string, ContainerHistory>();
    histories.set(pod.uid, known);
    for (const { name, bytes } of usage.containers) {
      const view = pod.containers.find((container) => container.name === name);
      // Metrics lag: a reading from before the start is of the incarnation, or of the pod of this name, before.
      if (view === undefined || !(usage.atMs > startOf(view))) continue;
      const before = known.get(name);
      const history =
        before?.containerId === view.containerId && before !== undefined ? before : newHistory(view.containerId);
      known.set(name, history);
      take(history, usage.atMs, bytes, {
        limitBytes: view.limitBytes,
        percentOfLimit: triggers.memoryUsage?.percentOfLimit,
        spacingMs: spacingOf(triggers),
      });
    }
  }

  async function sampleNodes(percents: ReadonlySet<number>): Promise<void> {
    const seen = new Set<string>();
    for await (const { name, atMs, bytes } of options.readNodes()) {
      const capacity = options.capacity(name);
      if (capacity === undefined || capacity <= 0) continue;
      seen.add(name);
      const state = nodes.get(name) ?? { atMs: 0, availablePercent: 100, low: new Map(), chosen: new Map() };
      nodes.set(name, state);
      if (atMs <= state.atMs) continue;
      state.atMs = atMs;
      state.availablePercent = (100 * Math.max(0, capacity - bytes)) / capacity;
      for (const percent of percents) {
        const low = heldAfter(state.low.get(percent), atMs, state.availablePercent < percent);
        if (low === undefined) state.low.delete(percent);
        else state.low.set(percent, low);
      }
    }
    for (const name of nodes.keys()) if (!seen.has(name)) nodes.delete(name);
  }

  function decide(watched: ReadonlyMap<string, Watched>, podsRead: boolean, nodesRead: boolean): void {
    alarms.clear();
    const containers = podsRead
      ? containerReadings(watched.values(), histories)
      : new Map<string, ContainerReading[]>();
    const short =
      podsRead && nodesRead ? nodeReadings(watched.values(), histories, nodes) : new Map<string, NodeReading[]>();
    for (const { key, triggers } of watched.values()) {
      const workload = keyText(key);
      if (alarms.has(workload)) continue;
      const alarm = alarmOf(triggers, containers.get(workload) ?? [], short.get(workload) ?? []);
      if (alarm !== undefined) alarms.set(workload, alarm);
    }
    for (const workload of alarms.keys()) options.enqueue(workload);
  }

  return {
    // A metrics API that hangs may take longer than the time between two passes: then they are one.
    pass: () =>
      (running ??= pass()
        .catch((err: unknown) => log.error({ err }, "Could not look at readings"))
        .finally(() => (running = undefined))),
    alarm: (key) => alarms.get(keyText(key)),
    fact: (policy) => factOf(policy, outcome),
    stats: () => ({ pods: histories.size, alarms: alarms.size }),
  };
}

/** What keeps the readings away, for people. */
async function attempt(read: () => Promise<void>): Promise<string | undefined> {
  try {
    await read();
    return undefined;
  } catch (error) {
    return metricsProblem(error);
  }
}

function looksAtReadings({ memoryUsage, growth, nodeMemAvailable }: MemoryPolicySpec["triggers"]): boolean {
  return memoryUsage !== undefined || growth !== undefined || nodeMemAvailable !== undefined;
}

function hasTrigger({ policy }: CensusEntry): boolean {
  return policy !== undefined && !("problem" in policy) && looksAtReadings(policy.spec.triggers);
}

function startOf({ state }: ContainerView): number {
  return state.kind === "running" ? Date.parse(state.startedAt ?? "") : Number.NaN;
}

function spacingOf({ growth, nodeMemAvailable }: MemoryPolicySpec["triggers"]): number | undefined {
  if (growth !== undefined) return durationMs(growth.projectedOOMWithin) / SPACINGS;
  return nodeMemAvailable === undefined ? undefined : DEFAULT_SPACING_MS;
}

function lowPercents(watched: Iterable<Watched>): ReadonlySet<number> {
  const percents = new Set<number>();
  for (const { triggers } of watched)
    if (triggers.nodeMemAvailable !== undefined) percents.add(triggers.nodeMemAvailable.percent);
  return percents;
}

function limitsOf(entries: readonly CensusEntry[]): ReadonlyMap<string, boolean> {
  const limits = new Map<string, boolean>();
  for (const { ranked, pods } of entries) {
    const [policy] = ranked;
    if (policy === undefined || limits.get(policy.uid) === true) continue;
    limits.set(
      policy.uid,
      pods.some((pod) => pod.containers.some(({ limitBytes }) => limitBytes !== undefined)),
    );
  }
  return limits;
}

function factOf(
  { uid, spec: { triggers } }: { readonly uid: string; readonly spec: Pick<MemoryPolicySpec, "triggers"> },
  outcome: Outcome | undefined,
): TriggerFact | undefined {
  if (!looksAtReadings(triggers)) return undefined;
  const limited = outcome?.limits.get(uid);
  if (outcome === undefined || limited === undefined) {
    return {
      status: "Unknown",
      reason: "MetricsPending",
      message: "No readings have been asked for: the policy is in force for no workload, or was not a moment ago",
    };
  }
  const ofPods = (["memoryUsage", "growth"] as const).filter((name) => triggers[name] !== undefined);
  const idle = [
    ...(outcome.podsProblem === undefined ? [] : ofPods),
    ...((outcome.podsProblem ?? outcome.nodesProblem) === undefined || triggers.nodeMemAvailable === undefined
      ? []
      : ["nodeMemAvailable"]),
  ];
  if (idle.length > 0) {
    const message = `Doing nothing: ${idle.join(", ")}, because ${outcome.podsProblem ?? outcome.nodesProblem}`;
    return { status: "False", reason: "MetricsUnavailable", message };
  }
  if (ofPods.length > 0 && !limited) {
    const message = `Doing nothing: ${ofPods.join(", ")}, because no container that the policy is in force for has a memory limit`;
    return { status: "False", reason: "NoLimits", message };
  }
  if (outcome.truncated) {
    return {
      status: "False",
      reason: "TooManyPods",
      message: "More pods are selected by such policies than are watched, so some are not",
    };
  }
  return { status: "True", reason: "MetricsRead", message: "Readings of metrics.k8s.io arrive" };
}
