/**
 * Every kind the operator watches, what is kept of it, and which workloads must be looked at when it changes. Callbacks only
 * note keys: they never wait and never decide.
 */
import type { Logger } from "pino";
import { quantityBytes } from "../api/fields.ts";
import { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { PolicyStatus } from "../api/memorypolicy.ts";
import { parsePolicySpec } from "../api/parse.ts";
import { WORKLOAD_ANNOTATION } from "../incident/collectorjob.ts";
import { killsOf } from "../incident/kills.ts";
import { keyText, type JobView, type PodView, type PolicyView, type WorkloadKey } from "../incident/observation.ts";
import { unreadableSpec } from "../incident/policy.ts";
import { PRESERVED_LABEL } from "../incident/preservation.ts";
import type { Clock, Random } from "../seams.ts";
import type { NamespaceView, NodeView, Stores, TrackedInvestigation, TrackedPolicy } from "./observe.ts";
import { createOwnWrites, type OwnWrites } from "./ownwrites.ts";
import {
  projectPod,
  projectReplicaSet,
  projectWorkload,
  wholeObject,
  type TrackedWorkload,
  ourAnnotations,
} from "./projections.ts";
import type { RawMeta } from "./rawobjects.ts";
import { createReflector, type ChangeEvent, type Reflector, type ReflectorHealth } from "./reflector.ts";
import * as kinds from "./resources.ts";
import type { Resource } from "./resources.ts";
import type { Tracked } from "./store.ts";
import type { Transport } from "./transport.ts";
import { workloadOf } from "./workloads.ts";

export interface WatchOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly collectorNamespace: string;
  /** Look at this workload. */
  readonly enqueue: (key: string) => void;
}

export interface Watches {
  readonly stores: Stores;
  readonly ownWrites: OwnWrites<TrackedInvestigation>;
  /** Investigations as they are known now, our own writes included. */
  investigations(namespace?: string): readonly TrackedInvestigation[];
  /** Kills of investigations that were deleted while this process watched, and their names as `namespace/name`. */
  readonly settled: ReadonlySet<string>;
  /** Turns an investigation from the API server into what the stores hold; undefined and a log line when it is none. */
  readInvestigation(raw: unknown): TrackedInvestigation | undefined;
  start(signal: AbortSignal): void;
  /** Resolves when every kind has been listed once. */
  readonly synced: Promise<void>;
  health(): Readonly<Record<string, ReflectorHealth>>;
  /** Every workload that has a kill to show or an investigation to its name. */
  keysAtHand(): string[];
  stop(): Promise<void>;
}

export function createWatches(options: WatchOptions): Watches {
  const { transport, clock, random, log, enqueue } = options;
  const ownWrites = createOwnWrites<TrackedInvestigation>(clock);
  const reflectors: Record<string, Reflector<Tracked>> = {};

  function follow<T extends Tracked>(
    resource: Resource,
    project: (raw: unknown) => T | undefined,
    onChange: (event: ChangeEvent<T>) => void,
  ): Reflector<T> {
    const reflector = createReflector<T>({ transport, resource, project, onChange, clock, random, log });
    reflectors[resource.plural] = reflector;
    return reflector;
  }

  const pods = follow<PodView>(
    kinds.pods,
    (raw) => projectPod(raw),
    ({ object }) => podChanged(object),
  );
  const replicaSets = follow(
    kinds.replicasets,
    (raw) => projectReplicaSet(raw),
    () => undefined,
  );
  const deployments = follow(
    kinds.deployments,
    (raw) => projectWorkload("Deployment", raw),
    ({ object }) => targetChanged({ ...object, kind: "Deployment" }),
  );
  const statefulSets = follow(
    kinds.statefulsets,
    (raw) => projectWorkload("StatefulSet", raw),
    ({ object }) => targetChanged({ ...object, kind: "StatefulSet" }),
  );
  const daemonSets = follow(
    kinds.daemonsets,
    (raw) => projectWorkload("DaemonSet", raw),
    ({ object }) => targetChanged({ ...object, kind: "DaemonSet" }),
  );
  const jobs = follow(kinds.jobs, projectJob, ({ object }) => jobChanged(object));
  const nodes = follow(kinds.nodes, projectNode, nodeChanged);
  const namespaces = follow(kinds.namespaces, projectNamespace, () => undefined);
  const policies = follow(kinds.memorypolicies, (raw) => projectPolicy(raw, "MemoryPolicy", log), policyChanged);
  const clusterPolicies = follow(
    kinds.clustermemorypolicies,
    (raw) => projectPolicy(raw, "ClusterMemoryPolicy", log),
    policyChanged,
  );
  const investigationWatch = follow(kinds.memoryinvestigations, readInvestigation, ({ type, object }) => {
    if (type === "Deleted") {
      ownWrites.forget(object.uid);
      settle([...(object.investigation.status?.ledger ?? []), `${object.namespace}/${object.name}`]);
    }
    enqueue(keyText(keyOf(object)));
  });

  const settled = new Set<string>();
  function settle(kills: readonly string[]): void {
    for (const id of kills) settled.add(id);
    for (const oldest of settled) {
      if (settled.size <= MAX_SETTLED) return;
      settled.delete(oldest);
    }
  }

  const stores: Stores = {
    pods: pods.store,
    replicaSets: replicaSets.store,
    workloads: {
      Deployment: deployments.store,
      StatefulSet: statefulSets.store,
      DaemonSet: daemonSets.store,
      Job: jobs.store,
    },
    collectionJobs: jobs.store,
    nodes: nodes.store,
    namespaces: namespaces.store,
    policies: policies.store,
    clusterPolicies: clusterPolicies.store,
  };

  function investigations(namespace?: string): readonly TrackedInvestigation[] {
    return ownWrites.overlay(investigationWatch.store.list(namespace), namespace);
  }

  function readInvestigation(raw: unknown): TrackedInvestigation | undefined {
    const parsed = MemoryInvestigation.safeParse(raw);
    const identity = wholeObject(raw);
    if (!parsed.success || identity === undefined) {
      log.warn(
        { investigation: identity?.name, problem: parsed.error?.issues[0]?.message },
        "Could not read a MemoryInvestigation",
      );
      return undefined;
    }
    const { uid, namespace, name, resourceVersion } = identity;
    return { uid, namespace, name, resourceVersion, investigation: parsed.data };
  }

  function podChanged(pod: PodView): void {
    const key = keyOfPod(pod);
    if (key === undefined) return;
    // Most changes of most pods are nobody's business: a kill must show, or somebody must be investigating.
    if (killsOf(pod).length > 0 || pod.labels[PRESERVED_LABEL] !== undefined || isInvestigated(key))
      enqueue(keyText(key));
  }

  function keyOfPod(pod: PodView): WorkloadKey | undefined {
    const collectorOf = pod.namespace === options.collectorNamespace ? pod.annotations[WORKLOAD_ANNOTATION] : undefined;
    if (collectorOf !== undefined) {
      enqueue(collectorOf);
      return undefined;
    }
    const preservedFor = pod.labels[PRESERVED_LABEL];
    if (preservedFor !== undefined) {
      const owner = investigations(pod.namespace).find((i) => i.uid === preservedFor);
      if (owner !== undefined) return keyOf(owner);
    }
    const key = workloadOf(pod, { replicaSets: replicaSets.store });
    // Its ReplicaSet comes by another stream: ask again in a moment.
    if (key === undefined) clock.after(REPLICASET_LAG_MS, () => retryPod(pod.uid));
    return key;
  }

  function retryPod(uid: string): void {
    const pod = pods.store.byUid(uid);
    if (pod === undefined) return;
    const key = workloadOf(pod, { replicaSets: replicaSets.store });
    if (key === undefined)
      log.debug({ pod: pod.name, namespace: pod.namespace }, "ReplicaSet of a pod is still unknown");
    else if (killsOf(pod).length > 0) enqueue(keyText(key));
  }

  function isInvestigated(key: WorkloadKey): boolean {
    return investigations(key.namespace).some((i) => keyText(keyOf(i)) === keyText(key));
  }

  function targetChanged(key: WorkloadKey): void {
    if (isInvestigated(key)) enqueue(keyText(key));
  }

  function jobChanged(job: JobView & Tracked & { readonly workload?: string }): void {
    if (job.namespace === options.collectorNamespace && job.workload !== undefined) enqueue(job.workload);
    else targetChanged({ namespace: job.namespace, kind: "Job", name: job.name });
  }

  function nodeChanged({ object, previous }: ChangeEvent<NodeView>): void {
    if (previous?.ready === object.ready) return;
    for (const entry of investigations()) {
      if (entry.investigation.status?.collections?.some((c) => c.node === object.name)) enqueue(keyText(keyOf(entry)));
    }
  }

  function policyChanged({ type, object, previous }: ChangeEvent<TrackedPolicy>): void {
    // Most changes are our own, of its status.
    const same = previous?.uid === object.uid && previous.generation === object.generation;
    if (type === "Modified" && same) return;
    for (const key of keysAtHand()) enqueue(key);
  }

  function keysAtHand(): string[] {
    const keys = new Set(investigations().map((i) => keyText(keyOf(i))));
    for (const pod of pods.store.list()) {
      if (killsOf(pod).length === 0) continue;
      const key = workloadOf(pod, { replicaSets: replicaSets.store });
      if (key !== undefined) keys.add(keyText(key));
    }
    return [...keys];
  }

  const synced = Promise.all(Object.values(reflectors).map((r) => r.synced)).then(() => undefined);
  // Whoever stops before the first lists does not wait for them any more, and must not die of it.
  synced.catch(() => undefined);

  return {
    stores,
    ownWrites,
    investigations,
    settled,
    readInvestigation,
    start: (signal) => {
      for (const reflector of Object.values(reflectors)) reflector.start(signal);
    },
    synced,
    health: () => Object.fromEntries(Object.entries(reflectors).map(([name, r]) => [name, r.health()])),
    keysAtHand,
    stop: async () => {
      await Promise.all(Object.values(reflectors).map((r) => r.stop()));
    },
  };
}

const REPLICASET_LAG_MS = 500;
/** Kills of deleted investigations that are remembered; older ones have left pod status or the horizon by then. */
const MAX_SETTLED = 10_000;

/** The queue's key of an investigation's target. */
export function keyOf(entry: TrackedInvestigation): WorkloadKey {
  const { kind, name } = entry.investigation.spec.targetRef;
  return { namespace: entry.namespace, kind, name };
}

type Json = Readonly<Record<string, unknown>>;

function projectNode(raw: unknown): NodeView | undefined {
  const whole = wholeObject(raw);
  if (whole === undefined) return undefined;
  const { metadata, spec, status } = raw as {
    metadata: RawMeta;
    spec?: { unschedulable?: boolean };
    status?: { conditions?: { type: string; status: string }[]; capacity?: { readonly memory?: unknown } };
  };
  const conditions = status?.conditions ?? [];
  const { memory } = status?.capacity ?? {};
  const capacityBytes = typeof memory === "string" ? quantityBytes(memory) : undefined;
  return {
    ...bare(whole),
    ready: conditions.some((c) => c.type === "Ready" && c.status === "True"),
    unschedulable: spec?.unschedulable === true,
    annotations: ourAnnotations(metadata),
    ...(capacityBytes === undefined ? {} : { capacityBytes }),
  };
}

export function projectNamespace(raw: unknown): NamespaceView | undefined {
  const whole = wholeObject(raw);
  if (whole === undefined) return undefined;
  return { ...bare(whole), labels: (raw as { metadata: { labels?: Record<string, string> } }).metadata.labels ?? {} };
}

function bare({ uid, namespace, name, resourceVersion }: Tracked): Tracked {
  return { uid, namespace, name, resourceVersion };
}

/** Undefined and a warning for one whose spec this version cannot read. */
export function projectPolicy(
  raw: unknown,
  kind: PolicyView["kind"],
  log: Pick<Logger, "warn">,
): TrackedPolicy | undefined {
  const whole = wholeObject(raw);
  if (whole === undefined) return undefined;
  const { spec, status, metadata } = raw as {
    spec?: unknown;
    status?: unknown;
    metadata: { generation?: number; creationTimestamp?: string };
  };
  const parsed = parsePolicySpec(kind, spec ?? {});
  if (!parsed.ok) log.warn({ kind, name: whole.name, problem: parsed.problem }, "Could not read a policy");
  return {
    ...bare(whole),
    kind,
    generation: metadata.generation ?? 0,
    created: metadata.creationTimestamp ?? "",
    ...(parsed.ok ? { spec: parsed.value } : { spec: unreadableSpec(kind, spec), problem: parsed.problem }),
    // A status that cannot be read is as good as none: it is written anew.
    status: PolicyStatus.safeParse(status ?? {}).data ?? {},
  };
}

type ProjectedJob = JobView & TrackedWorkload & { readonly workload?: string };

function projectJob(raw: unknown): ProjectedJob | undefined {
  const view = projectWorkload("Job", raw);
  if (view === undefined) return undefined;
  const { metadata, status } = raw as {
    metadata: { labels?: Record<string, string>; annotations?: Record<string, string>; creationTimestamp?: string };
    status?: { active?: number; conditions?: Json[] };
  };
  const condition = (type: string): Json | undefined =>
    status?.conditions?.find((c) => c["type"] === type && c["status"] === "True");
  const failed = condition("Failed");
  const key = metadata.annotations?.[WORKLOAD_ANNOTATION];
  return {
    ...view,
    labels: metadata.labels ?? {},
    created: metadata.creationTimestamp ?? "",
    active: status?.active ?? 0,
    complete: condition("Complete") !== undefined,
    failed: failed !== undefined,
    ...(typeof failed?.["reason"] === "string" ? { failedReason: failed["reason"] } : {}),
    ...(typeof failed?.["message"] === "string" ? { failedMessage: failed["message"] } : {}),
    ...(key === undefined ? {} : { workload: key }),
  };
}
