/**
 * What a decision may rest on: one snapshot of a workload and everything around it, as plain data.
 * The views hold only the fields that decisions read; `cluster/projections.ts` makes them from the API server's JSON.
 */
import type { Finding, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { ClusterMemoryPolicySpec, LabelSelector, MemoryPolicySpec, Mode } from "../api/memorypolicy.ts";
import type { MitigationAction } from "../api/mitigation.ts";
import type { ValidationCheck } from "../api/validation.ts";
import type { Json } from "./templates.ts";
import type { Alarm } from "./triggers.ts";

export type TargetKind = "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "Pod";

/** One workload; the unit of ordering: everything about it happens one after the other. */
export interface WorkloadKey {
  readonly namespace: string;
  readonly kind: TargetKind;
  readonly name: string;
}

export interface ContainerState {
  readonly kind: "running" | "waiting" | "terminated";
  readonly reason?: string;
  readonly exitCode?: number;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  /** Without the runtime's scheme. */
  readonly containerId?: string;
}

export interface ContainerView {
  readonly name: string;
  readonly type: "Container" | "InitContainer" | "Sidecar" | "EphemeralContainer";
  readonly limitBytes?: number;
  readonly requestBytes?: number;
  /** Limit that the node says it enforces; absent where it does not say. */
  readonly enforcedLimitBytes?: number;
  /** Limit and request of the spec, where they are not those above: a resize in place has not come to its end. */
  readonly specLimitBytes?: number;
  readonly specRequestBytes?: number;
  /** A resize of its memory in place would restart it. */
  readonly restartsOnResize?: true;
  readonly containerId?: string;
  readonly restartCount: number;
  readonly ready: boolean;
  readonly state: ContainerState;
  /** lastState.terminated: the incarnation before this one. It stays until the next one ends. */
  readonly last?: ContainerState;
}

export interface PodView {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Only keys of ours (`oomscope.dev/…`). */
  readonly annotations: Readonly<Record<string, string>>;
  readonly ownerKind?: string;
  readonly ownerName?: string;
  readonly ownerUid?: string;
  readonly node?: string;
  readonly phase: string;
  readonly reason?: string;
  readonly message?: string;
  readonly deletionTimestamp?: string;
  readonly creationTimestamp?: string;
  readonly startTime?: string;
  readonly qosClass?: string;
  readonly ready: boolean;
  readonly restartPolicy: string;
  /** PersistentVolumeClaims it mounts. */
  readonly claims: readonly string[];
  readonly containers: readonly ContainerView[];
  /** What the node says about a resize that it has not done yet, such as `Infeasible: Node didn't have enough capacity`. */
  readonly resize?: { readonly type: "Pending" | "InProgress"; readonly reason: string; readonly message: string };
}

export interface ReplicaSetView {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly ownerKind?: string;
  readonly ownerName?: string;
  readonly ownerUid?: string;
  readonly revision?: string;
  readonly selector?: LabelSelector;
  readonly replicas: number;
  readonly images: readonly string[];
  readonly creationTimestamp?: string;
}

export interface WorkloadView {
  readonly uid: string;
  readonly namespace: string;
  readonly kind: TargetKind;
  readonly name: string;
  readonly generation: number;
  readonly replicas: number;
  readonly selector?: LabelSelector;
  readonly images: readonly string[];
  readonly deletionTimestamp?: string;
}

/** A selector of something that would still count, route to or evict the pod. */
export interface SelectorView {
  /** For people, such as `Service/thumbnail-svc`. */
  readonly owner: string;
  readonly kind: "ReplicaSet" | "Service" | "PodDisruptionBudget" | "NetworkPolicy";
  readonly selector: LabelSelector;
}

export interface JobView {
  readonly uid: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly created: string;
  readonly active: number;
  readonly complete: boolean;
  readonly failed: boolean;
  /** Reason of the Failed condition, such as DeadlineExceeded or BackoffLimitExceeded. */
  readonly failedReason?: string;
  readonly failedMessage?: string;
}

export interface PolicyView {
  readonly kind: "MemoryPolicy" | "ClusterMemoryPolicy";
  readonly name: string;
  readonly uid: string;
  readonly namespace?: string;
  readonly generation: number;
  readonly created: string;
  readonly spec: MemoryPolicySpec | ClusterMemoryPolicySpec;
  /** Why its spec cannot be read, a sentence that names the field. `spec` is then what is safe to assume instead: see `unreadableSpec`. */
  readonly problem?: string;
}

/** The policy in force for a workload, after selection and narrowing. */
export interface EffectivePolicy {
  readonly kind: "MemoryPolicy" | "ClusterMemoryPolicy";
  readonly name: string;
  readonly generation: number;
  /** The policy's mode, lowered to what the cluster's policies allow. */
  readonly mode: Mode;
  readonly spec: MemoryPolicySpec;
  /** ClusterMemoryPolicies whose maxMode lowers the mode, for people. Absent: it is the policy's own. */
  readonly loweredBy?: readonly string[];
  /** Policies that match as well and lose, for people. */
  readonly losers: readonly string[];
  /** What the ClusterMemoryPolicies that match allow, all of them. */
  readonly allowedActions: readonly MitigationAction[];
  /** Why no mitigation may begin now, for people; from this policy and from every ClusterMemoryPolicy that matches. */
  readonly pauses: readonly string[];
  /** The tightest that a ClusterMemoryPolicy sets. */
  readonly cluster: {
    readonly maxActive: number;
    readonly maxMitigationsPerDay: number;
    readonly storm: { readonly investigations: number; readonly withinMs: number };
  };
}

/** A revision of a workload: a ReplicaSet of a Deployment, a ControllerRevision of a StatefulSet or DaemonSet. */
export interface RevisionView {
  readonly name: string;
  readonly uid: string;
  /** By which kills and pods name it: its name, and the hash in a pod's label. */
  readonly marks: readonly string[];
  /** Its number, as `kubectl rollout history` shows it. */
  readonly number?: number;
  readonly created: string;
  readonly images: readonly string[];
  readonly template: Json;
  readonly templateHash: string;
}

/** How far a workload's roll-out is, and what it may cost. Pods are counted by the workload's own controller. */
export interface RolloutView {
  /** The controller has seen the newest spec, so that the counts speak of it. */
  readonly observed: boolean;
  readonly desired: number;
  /** Pods of the newest template. */
  readonly updated: number;
  readonly total: number;
  readonly ready: number;
  readonly available: number;
  /** Pods that a roll-out may take away at once. */
  readonly mayBeUnavailable: number;
  /** Why a change of the template would not roll out by itself, for people. */
  readonly heldBy?: string;
  /** The controller has given up on it (progressDeadlineSeconds). */
  readonly stuck?: string;
}

export interface BudgetView {
  readonly name: string;
  readonly selector: LabelSelector;
  /** Undefined while its controller has not computed it. */
  readonly desiredHealthy: number | undefined;
}

/** A ConfigMap that a throttle names, read live. */
export interface ConfigMapView {
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly immutable: boolean;
  readonly deleting: boolean;
  readonly data: Readonly<Record<string, string>>;
  readonly binaryKeys: readonly string[];
}

/** An autoscaler that owns the number of the workload's replicas. */
export interface AutoscalerView {
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** What holds it to its values, such as `ScaledObject thumbs`. */
  readonly controller?: string;
}

/** What stands beside a workload and may be changed instead of it. Only what was asked for is there. */
export interface Beside {
  /** By name. Undefined: there is none. */
  readonly configMaps: Readonly<Record<string, ConfigMapView | { readonly problem: string } | undefined>>;
  readonly autoscalers: readonly AutoscalerView[] | { readonly problem: string };
}

/** A workload whose template may be changed, read live, with everything that such a change rests on. */
export interface TargetState {
  readonly uid: string;
  readonly kind: "Deployment" | "StatefulSet" | "DaemonSet";
  readonly name: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly deleting: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly templateLabels: Readonly<Record<string, string>>;
  readonly templateHash: string;
  readonly template: Json;
  /** As its spec has it; undefined for a DaemonSet. */
  readonly replicas?: number;
  readonly rollout: RolloutView;
  readonly revisions: readonly RevisionView[];
  readonly budgets: readonly BudgetView[];
  /** Undefined where no action asks for it. */
  readonly beside?: Beside;
}

/** A mitigation of any workload that was intended, for budgets. */
export interface PastMitigation {
  readonly investigationUid: string;
  readonly workload: string;
  /** `Kind/namespace/name`; the namespace is empty for a ClusterMemoryPolicy. */
  readonly policy: string;
  readonly action: MitigationAction;
  readonly intended: string;
}

/** How far the evidence of one collection has come, as the store knows it. */
export interface SessionView {
  readonly collection: string;
  readonly started?: string;
  readonly samples: number;
  readonly parts: number;
  readonly bytes: number;
  readonly closed: boolean;
  /** Which look at the surroundings the newest context part holds. Absent: there is none. Unread: it is not known yet. */
  readonly context?: "Start" | "End" | "Unread";
  /** From the manifest, once it is there. */
  readonly manifest?: {
    readonly outcome: "Complete" | "Partial";
    readonly samples: number;
    readonly stallMs: number;
    readonly cpuMs: number;
    readonly sha256: string;
    readonly skipped: readonly string[];
  };
}

/** Where a finished pack lies beside the operator's own directory. */
export interface ArchiveView {
  /** Absent while it is not there. */
  readonly pack?: {
    readonly location: string;
    readonly bytes: number;
    readonly sha256: string;
    readonly expires: string;
  };
  /** What keeps it from getting there, for people. */
  readonly problem?: string;
}

/** What is known of the active investigation's surroundings; read live when the plan may need it. */
export interface Surroundings {
  /** Every selector of the namespace that matches a pod of the workload. Undefined: could not be read. */
  readonly selectors?: readonly SelectorView[];
  /** Why the namespace's quota would not let a replacement pod start, for people. */
  readonly quotaTight?: string;
  /** Names of PersistentVolumeClaims that only one node may mount. */
  readonly exclusiveClaims: readonly string[];
  /** Memory usage by pod uid in bytes, from metrics.k8s.io, where it answers. */
  readonly usageBytes: Readonly<Record<string, number>>;
}

export interface NodeState {
  readonly uid: string;
  readonly ready: boolean;
  /** Cordoned, by whomever. */
  readonly unschedulable: boolean;
  /** Only keys of ours (`oomscope.dev/…`). */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Observation {
  readonly key: WorkloadKey;
  readonly target: WorkloadView | undefined;
  /** Pods whose controller chain leads to the target, and the pods that we took out of it, by uid. */
  readonly pods: readonly PodView[];
  readonly replicaSets: readonly ReplicaSetView[];
  /** Every investigation of this target, oldest first. */
  readonly investigations: readonly MemoryInvestigation[];
  /** The policy that selects the workload, or why there is none. */
  readonly policy: EffectivePolicy | NoPolicy;
  /** Policies by "kind/name", for investigations that name one. */
  readonly namedPolicies: Readonly<Record<string, EffectivePolicy | NoPolicy>>;
  readonly jobs: Readonly<Record<string, JobView>>;
  /** Pods of collection Jobs, by Job name. */
  readonly collectorPods: Readonly<Record<string, readonly PodView[]>>;
  readonly sessions: Readonly<Record<string, SessionView>>;
  /** By collection; also of investigations that have ended, because an upload may take longer than a diagnosis. */
  readonly archives: Readonly<Record<string, ArchiveView>>;
  /** Findings by collection, for packs that are closed; undefined while one is read. */
  readonly findings: Readonly<Record<string, Finding>>;
  /** What became of each thing since the first collection, by the second one; undefined while the packs are read. */
  readonly comparisons: Readonly<Record<string, readonly ValidationCheck[]>>;
  /** Kills that the kernel's own report names, by collection. */
  readonly kernelVictims: Readonly<Record<string, readonly KernelVictim[]>>;
  readonly nodes: Readonly<Record<string, NodeState>>;
  readonly surroundings: Surroundings;
  /** The target, when a mitigation may be decided or followed; undefined when it is gone or nobody asks. */
  readonly targetState?: TargetState | { readonly problem: string };
  /** Everything intended in the whole cluster, and when each investigation was made; only read together with the target. */
  readonly mitigated: readonly PastMitigation[];
  readonly begun: readonly string[];
  /** Kills that ended before this are history: they open nothing. */
  readonly horizon: string;
  /** Other active investigations: under the same policy, and in the whole cluster. */
  readonly active: { readonly policy: number; readonly cluster: number };
  readonly epoch: number;
  /** What the workload's readings call for, where a trigger of its policy looks at them. */
  readonly alarm?: Alarm;
  /** Kills of investigations that a person has deleted: pod status still shows them, but they are settled. So are their names, as `namespace/name`. */
  readonly settled: ReadonlySet<string>;
  /** What the door refused when the last plan was carried out, by investigation uid. */
  readonly refused: Readonly<Record<string, Refused>>;
  /** Messages that were delivered to people in this life of the operator, by investigation uid; absent where nobody is told. */
  readonly notified?: Readonly<Record<string, readonly string[]>>;
}

/** A guard that was checked again at the moment of the act, on live reads, and said no. */
export interface Refused {
  readonly action: string;
  readonly reason: Reason;
  readonly message: string;
}

/** Why no policy can be followed. */
export interface NoPolicy {
  readonly problem: "NoPolicy" | "PolicyNotFound" | "PolicyInvalid";
  readonly message: string;
}

/** A victim of the kernel's OOM killer, as a collection has seen it in the kernel's log. */
export interface KernelVictim {
  readonly podUid: string;
  readonly containerId: string;
  readonly pid: number;
  readonly comm: string;
  readonly anonBytes?: number;
  readonly limitBytes?: number;
  /** The limit belonged to the pod or to something above it, not to the container. */
  readonly podLimit: boolean;
  readonly global: boolean;
  /** All of the container was killed with it (memory.oom.group). */
  readonly group: boolean;
  /** Whole milliseconds after boot. A report without both times is too little to count a kill by. */
  readonly bootMs?: number;
  /** RFC 3339 with milliseconds, by the clock of the node, as good as its boot time. */
  readonly time?: string;
}

/** `namespace/Kind/name`, as used for the queue. */
export function keyText(key: WorkloadKey): string {
  return `${key.namespace}/${key.kind}/${key.name}`;
}

/** The reverse of {@link keyText}. Throws RangeError on text that is no key. */
export function parseKey(text: string): WorkloadKey {
  const [namespace, kind, name, ...rest] = text.split("/");
  if (namespace === undefined || kind === undefined || name === undefined || rest.length > 0) {
    throw new RangeError(`"${text}" is not namespace/Kind/name`);
  }
  return { namespace, kind: kind as TargetKind, name };
}
