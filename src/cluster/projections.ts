/**
 * What do we keep of each object? A few fields of pods, ReplicaSets and workloads, taken out as they are parsed; a pod of ten kilobytes becomes
 * a few hundred bytes.
 */
import { quantityBytes } from "../api/fields.ts";
import type {
  ContainerState,
  ContainerView,
  PodView,
  ReplicaSetView,
  TargetKind,
  WorkloadView,
} from "../incident/observation.ts";
import { createInterner, type Interner } from "./interning.ts";
import type {
  RawContainer,
  RawContainerStatus,
  RawMeta,
  RawPod,
  RawPodSpec,
  RawResources,
  RawState,
  RawWorkload,
} from "./rawobjects.ts";
import type { Tracked } from "./store.ts";

/** A ReplicaSet with what else the roll-back looks at. */
export interface TrackedReplicaSet extends ReplicaSetView, Tracked {
  /** Value of the label pod-template-hash. */
  readonly podTemplateHash?: string;
  readonly readyReplicas: number;
}

export interface TrackedWorkload extends WorkloadView, Tracked {
  readonly labels: Readonly<Record<string, string>>;
  /** Only keys of ours (`oomscope.dev/…`). */
  readonly annotations: Readonly<Record<string, string>>;
  readonly readyReplicas: number;
  /** StatefulSet only. */
  readonly currentRevision?: string;
  readonly updateRevision?: string;
}

/** An object kept whole, as for our own kinds. */
export interface TrackedRaw extends Tracked {
  readonly raw: unknown;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const OUR_PREFIX = "oomscope.dev/";
const MESSAGE_LIMIT = 1024;
const NOTHING: readonly never[] = [];

interface Identity extends Tracked {
  readonly meta: RawMeta;
}

function identity(raw: { readonly metadata?: RawMeta }, intern: Interner): Identity | undefined {
  const meta = raw.metadata;
  if (meta?.uid === undefined || meta.name === undefined) return undefined;
  return {
    uid: meta.uid,
    namespace: intern.text(meta.namespace ?? ""),
    name: meta.name,
    resourceVersion: meta.resourceVersion ?? "",
    meta,
  };
}

/** Keeps the object as it is; for kinds of which there are few. */
export function wholeObject(raw: unknown): TrackedRaw | undefined {
  const { metadata } = raw as { readonly metadata?: RawMeta };
  if (metadata?.uid === undefined || metadata.name === undefined) return undefined;
  return {
    uid: metadata.uid,
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    resourceVersion: metadata.resourceVersion ?? "",
    raw,
  };
}

/** Only keys of ours (`oomscope.dev/…`). */
export function ourAnnotations({ annotations }: RawMeta): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => key.startsWith(OUR_PREFIX)));
}

function memory(resources: RawResources | undefined, which: "limits" | "requests"): number | undefined {
  const value = resources?.[which]?.["memory"];
  return value === undefined ? undefined : quantityBytes(String(value));
}

// "containerd://0123…" -> "0123…"
function bareId(id: string | undefined): string | undefined {
  if (id === undefined || id === "") return undefined;
  const scheme = id.indexOf("://");
  return scheme === -1 ? id : id.slice(scheme + 3);
}

function terminated(state: NonNullable<RawState["terminated"]>, intern: Interner): ContainerState {
  const view: Mutable<ContainerState> = { kind: "terminated" };
  const containerId = bareId(state.containerID);
  if (state.reason !== undefined) view.reason = intern.text(state.reason);
  if (state.exitCode !== undefined) view.exitCode = state.exitCode;
  if (state.startedAt !== undefined) view.startedAt = state.startedAt;
  if (state.finishedAt !== undefined) view.finishedAt = state.finishedAt;
  if (containerId !== undefined) view.containerId = containerId;
  return view;
}

const WAITING: ContainerState = { kind: "waiting" };

function stateOf(raw: RawState | undefined, intern: Interner): ContainerState {
  if (raw?.terminated !== undefined) return terminated(raw.terminated, intern);
  if (raw?.running !== undefined) {
    const { startedAt } = raw.running;
    return startedAt === undefined ? { kind: "running" } : { kind: "running", startedAt };
  }
  // No state at all is what the API calls waiting.
  const reason = raw?.waiting?.reason;
  return reason === undefined ? WAITING : { kind: "waiting", reason: intern.text(reason) };
}

function container(
  spec: RawContainer,
  type: ContainerView["type"],
  status: RawContainerStatus | undefined,
  intern: Interner,
): ContainerView {
  const view: Mutable<ContainerView> = {
    name: intern.text(spec.name),
    type,
    restartCount: status?.restartCount ?? 0,
    ready: status?.ready ?? false,
    state: stateOf(status?.state, intern),
  };
  // After a resize in place the status has what the node enforces, the spec only what was asked for.
  const enforced = memory(status?.resources, "limits");
  const asked = { limit: memory(spec.resources, "limits"), request: memory(spec.resources, "requests") };
  const limit = enforced ?? asked.limit;
  const request = memory(status?.resources, "requests") ?? asked.request;
  const containerId = bareId(status?.containerID);
  if (limit !== undefined) view.limitBytes = limit;
  if (request !== undefined) view.requestBytes = request;
  if (enforced !== undefined) view.enforcedLimitBytes = enforced;
  if (asked.limit !== undefined && asked.limit !== limit) view.specLimitBytes = asked.limit;
  if (asked.request !== undefined && asked.request !== request) view.specRequestBytes = asked.request;
  if (
    spec.resizePolicy?.some((one) => one.resourceName === "memory" && one.restartPolicy === "RestartContainer") === true
  )
    view.restartsOnResize = true;
  if (containerId !== undefined) view.containerId = containerId;
  if (status?.lastState?.terminated !== undefined) view.last = terminated(status.lastState.terminated, intern);
  return view;
}

function containers({ spec, status }: RawPod, intern: Interner): ContainerView[] {
  const views: ContainerView[] = [];
  const add = (
    specs: readonly RawContainer[] | undefined,
    statuses: readonly RawContainerStatus[] | undefined,
    typeOf: (raw: RawContainer) => ContainerView["type"],
  ): void => {
    for (const raw of specs ?? NOTHING) {
      const found = statuses?.find((candidate) => candidate.name === raw.name);
      views.push(container(raw, typeOf(raw), found, intern));
    }
  };
  add(spec?.containers, status?.containerStatuses, () => "Container");
  // A native sidecar is an init container that keeps running.
  add(spec?.initContainers, status?.initContainerStatuses, (raw) =>
    raw.restartPolicy === "Always" ? "Sidecar" : "InitContainer",
  );
  add(spec?.ephemeralContainers, status?.ephemeralContainerStatuses, () => "EphemeralContainer");
  return views;
}

function claimsOf(pod: string, spec: RawPodSpec | undefined, intern: Interner): readonly string[] {
  const names: string[] = [];
  for (const volume of spec?.volumes ?? NOTHING) {
    if (volume.persistentVolumeClaim !== undefined) names.push(volume.persistentVolumeClaim.claimName);
    // A generic ephemeral volume is a claim of that name.
    else if (volume.ephemeral !== undefined) names.push(`${pod}-${volume.name}`);
  }
  return intern.list(names);
}

function controllerOf(meta: RawMeta, intern: Interner): Pick<PodView, "ownerKind" | "ownerName" | "ownerUid"> {
  const owner = meta.ownerReferences?.find((reference) => reference.controller === true);
  if (owner === undefined) return {};
  return { ownerKind: intern.text(owner.kind), ownerName: intern.text(owner.name), ownerUid: intern.text(owner.uid) };
}

/** KEP-1287: Pending is Deferred or Infeasible; InProgress says only something while the kubelet is at it, or cannot. */
function resizeOf(status: RawPod["status"]): PodView["resize"] {
  for (const type of ["Pending", "InProgress"] as const) {
    const found = status?.conditions?.find((c) => c.type === `PodResize${type}` && c.status === "True");
    if (found === undefined) continue;
    const { reason = "", message = "" } = found;
    return { type, reason: reason.slice(0, 128), message: message.slice(0, 256) };
  }
  return undefined;
}

function podOf(raw: RawPod, intern: Interner): PodView | undefined {
  const known = identity(raw, intern);
  if (known === undefined) return undefined;
  const { meta } = known;
  const { spec, status } = raw;
  const view: Mutable<PodView> = {
    uid: known.uid,
    namespace: known.namespace,
    name: known.name,
    resourceVersion: known.resourceVersion,
    labels: intern.record(meta.labels ?? {}),
    annotations: intern.record(ourAnnotations(meta)),
    phase: intern.text(status?.phase ?? "Unknown"),
    ready: status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") ?? false,
    restartPolicy: intern.text(spec?.restartPolicy ?? "Always"),
    claims: claimsOf(known.name, spec, intern),
    containers: containers(raw, intern),
    ...controllerOf(meta, intern),
  };
  if (spec?.nodeName !== undefined && spec.nodeName !== "") view.node = intern.text(spec.nodeName);
  if (status?.reason !== undefined) view.reason = intern.text(status.reason);
  if (status?.message !== undefined) view.message = status.message.slice(0, MESSAGE_LIMIT);
  const resize = resizeOf(status);
  if (resize !== undefined) view.resize = resize;
  if (status?.qosClass !== undefined) view.qosClass = intern.text(status.qosClass);
  if (status?.startTime !== undefined) view.startTime = intern.text(status.startTime);
  if (meta.creationTimestamp !== undefined) view.creationTimestamp = intern.text(meta.creationTimestamp);
  if (meta.deletionTimestamp !== undefined) view.deletionTimestamp = meta.deletionTimestamp;
  return view;
}

function imagesOf(raw: RawWorkload, intern: Interner): readonly string[] {
  return intern.list(imagesOfTemplate(raw.spec?.template));
}

/** Images of a pod template, those of init containers last. */
export function imagesOfTemplate(template: unknown): readonly string[] {
  const spec = (template as { readonly spec?: RawPodSpec } | null | undefined)?.spec;
  return [...(spec?.containers ?? NOTHING), ...(spec?.initContainers ?? NOTHING)].map((one) => one.image ?? "");
}

function replicaSetOf(raw: RawWorkload, intern: Interner): TrackedReplicaSet | undefined {
  const known = identity(raw, intern);
  if (known === undefined) return undefined;
  const { meta, uid, namespace, name, resourceVersion } = known;
  const revision = meta.annotations?.["deployment.kubernetes.io/revision"];
  const hash = meta.labels?.["pod-template-hash"];
  return {
    uid,
    namespace,
    name,
    resourceVersion,
    ...controllerOf(meta, intern),
    ...(revision === undefined ? {} : { revision }),
    ...(hash === undefined ? {} : { podTemplateHash: hash }),
    ...(raw.spec?.selector === undefined ? {} : { selector: raw.spec.selector }),
    replicas: raw.spec?.replicas ?? 1,
    readyReplicas: raw.status?.readyReplicas ?? 0,
    images: imagesOf(raw, intern),
    ...(meta.creationTimestamp === undefined ? {} : { creationTimestamp: meta.creationTimestamp }),
  };
}

function workloadOf(kind: Exclude<TargetKind, "Pod">, raw: RawWorkload, intern: Interner): TrackedWorkload | undefined {
  const known = identity(raw, intern);
  if (known === undefined) return undefined;
  const { meta, uid, namespace, name, resourceVersion } = known;
  const { spec, status } = raw;
  // A DaemonSet has no replicas of its own, a Job calls them parallelism.
  const replicas = kind === "DaemonSet" ? status?.desiredNumberScheduled : (spec?.replicas ?? spec?.parallelism);
  return {
    uid,
    namespace,
    name,
    resourceVersion,
    kind,
    generation: meta.generation ?? 0,
    labels: intern.record(meta.labels ?? {}),
    annotations: intern.record(ourAnnotations(meta)),
    replicas: replicas ?? (kind === "DaemonSet" ? 0 : 1),
    readyReplicas: status?.readyReplicas ?? status?.numberReady ?? status?.ready ?? 0,
    ...(spec?.selector === undefined ? {} : { selector: spec.selector }),
    images: imagesOf(raw, intern),
    ...(meta.deletionTimestamp === undefined ? {} : { deletionTimestamp: meta.deletionTimestamp }),
    ...(status?.currentRevision === undefined ? {} : { currentRevision: status.currentRevision }),
    ...(status?.updateRevision === undefined ? {} : { updateRevision: status.updateRevision }),
  };
}

/** What pods, ReplicaSets and workloads have in common is kept once for the whole process. A cache, no state: it changes no result. */
const shared = createInterner();

/** The view of a pod; undefined for an object without identity. */
export function projectPod(raw: unknown, intern: Interner = shared): PodView | undefined {
  return podOf(raw as RawPod, intern);
}

/** The view of a ReplicaSet; undefined for an object without identity. */
export function projectReplicaSet(raw: unknown, intern: Interner = shared): TrackedReplicaSet | undefined {
  return replicaSetOf(raw as RawWorkload, intern);
}

/** The view of a Deployment, StatefulSet, DaemonSet or Job; undefined for an object without identity. */
export function projectWorkload(
  kind: Exclude<TargetKind, "Pod">,
  raw: unknown,
  intern: Interner = shared,
): TrackedWorkload | undefined {
  return workloadOf(kind, raw as RawWorkload, intern);
}
