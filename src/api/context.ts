/**
 * What the `context` part of a pack holds beside the names: pods, revisions, node, events, metrics and log tails as the API server showed them when
 * the collection began and when it ended. Everything here was shaped, capped and redacted by `src/context` before it was written.
 * Sizes are bytes, times RFC 3339. A fact that could not be read is absent, and `skipped` says why.
 */
import { z } from "zod";

const Count = z.int().nonnegative();
const Size = z.int();

/**
 * Whose clock a time is of. Node: kubelet, runtime, kernel, collector and metrics of one node share it. Server: the API server's.
 * Cluster: a controller's, wherever that runs. Operator: our own.
 */
export const ContextClock = z.enum(["Node", "Server", "Cluster", "Operator"]);
export type ContextClock = z.infer<typeof ContextClock>;

const Reference = z.object({ kind: z.string(), name: z.string(), uid: z.string().optional() });

const Incarnation = z.object({
  kind: z.enum(["running", "waiting", "terminated"]),
  reason: z.string().optional(),
  exitCode: z.int().optional(),
  startedAt: z.string().optional(),
  finishedAt: z.string().optional(),
  /** Without the runtime's scheme. */
  containerId: z.string().optional(),
});
export type Incarnation = z.infer<typeof Incarnation>;

/**
 * Where a container's memory limit comes from. ContainerSpec: the workload's template has it. LimitRange: the namespace's default, set at
 * admission. Admission: not in the template, set by something else at admission. ChangedOnPod: the template has another one (a resize in
 * place, a mutating webhook). PodLevel: the container has none, the pod has. None: neither has.
 */
export const LimitSource = z.enum(["ContainerSpec", "LimitRange", "Admission", "ChangedOnPod", "PodLevel", "None"]);
export type LimitSource = z.infer<typeof LimitSource>;

export const ContainerFacts = z.object({
  name: z.string(),
  type: z.enum(["Container", "InitContainer", "Sidecar", "EphemeralContainer"]),
  image: z.string().optional(),
  /** What the runtime really runs, by digest where it has one. */
  imageId: z.string().optional(),
  restartCount: Count,
  ready: z.boolean(),
  state: Incarnation,
  /** The incarnation before this one. */
  last: Incarnation.optional(),
  requests: z.object({ memoryBytes: Size.optional(), cpuMilli: Size.optional() }),
  cpuLimitMilli: Size.optional(),
  memoryLimit: z.object({
    /** The limit that binds: what the node enforces where it says so, otherwise what was asked for. Absent: none. */
    bytes: Size.optional(),
    from: LimitSource,
    /** In the workload's template. */
    templateBytes: Size.optional(),
    /** In the pod's spec. */
    specBytes: Size.optional(),
    /** What the node says it enforces; differs from `specBytes` while a resize is under way. */
    actualBytes: Size.optional(),
  }),
  probes: z.array(
    z.object({
      kind: z.enum(["Liveness", "Readiness", "Startup"]),
      handler: z.enum(["Exec", "HttpGet", "TcpSocket", "Grpc", "Unknown"]),
      periodSeconds: Count.optional(),
      timeoutSeconds: Count.optional(),
      failureThreshold: Count.optional(),
    }),
  ),
});
export type ContainerFacts = z.infer<typeof ContainerFacts>;

export const PodFacts = z.object({
  name: z.string(),
  uid: z.string(),
  /** Absent: it belongs to the workload, but is not measured. */
  role: z.enum(["Preserved", "Serving"]).optional(),
  phase: z.string(),
  reason: z.string().optional(),
  node: z.string().optional(),
  qosClass: z.string().optional(),
  created: z.string().optional(),
  started: z.string().optional(),
  deleted: z.string().optional(),
  ready: z.boolean(),
  /** From the direct controller upwards. Empty: it has none (a bare pod, or one that was taken out of its workload). */
  owners: z.array(Reference),
  /** Pod-level resources. */
  podLimitBytes: Size.optional(),
  podRequestBytes: Size.optional(),
  /** A resize in place that has not come to its end, as the kubelet says. */
  resize: z
    .array(z.object({ type: z.string(), reason: z.string().optional(), message: z.string().optional() }))
    .optional(),
  containers: z.array(ContainerFacts),
});
export type PodFacts = z.infer<typeof PodFacts>;

export const NodeFacts = z.object({
  name: z.string(),
  uid: z.string().optional(),
  allocatableMemoryBytes: Size.optional(),
  capacityMemoryBytes: Size.optional(),
  swapBytes: Size.optional(),
  unschedulable: z.boolean(),
  /** Keys of taints in the kubernetes.io domain. */
  taints: z.array(z.string()),
  conditions: z.array(
    z.object({
      type: z.string(),
      status: z.string(),
      reason: z.string().optional(),
      since: z.string().optional(),
      heartbeat: z.string().optional(),
    }),
  ),
  kubelet: z.string().optional(),
  runtime: z.string().optional(),
  kernel: z.string().optional(),
  os: z.string().optional(),
});
export type NodeFacts = z.infer<typeof NodeFacts>;

/** One reading of metrics.k8s.io: the working set over `windowMs` before `time`. */
export const MetricsReading = z.object({
  pod: z.string(),
  uid: z.string(),
  time: z.string(),
  windowMs: Count.optional(),
  containers: z.array(z.object({ name: z.string(), memoryBytes: Size, cpuMilli: Size.optional() })),
});
export type MetricsReading = z.infer<typeof MetricsReading>;

export const Skipped = z.object({ what: z.string(), reason: z.string(), detail: z.string().optional() });
export type Skipped = z.infer<typeof Skipped>;

/** The world at one moment of the collection. */
export const ContextSnapshot = z.object({
  stage: z.enum(["Start", "End"]),
  /** When the reads began, by the operator's clock. */
  time: z.string(),
  pods: z.array(PodFacts),
  podsOmitted: Count,
  node: NodeFacts.optional(),
  metrics: z.array(MetricsReading),
  autoscalers: z.array(
    z.object({
      name: z.string(),
      minReplicas: z.int().optional(),
      maxReplicas: z.int().optional(),
      currentReplicas: z.int().optional(),
      desiredReplicas: z.int().optional(),
      /** What it scales on, such as `Resource/memory`. */
      metrics: z.array(z.string()),
    }),
  ),
  budgets: z.array(
    z.object({
      name: z.string(),
      minAvailable: z.string().optional(),
      maxUnavailable: z.string().optional(),
      disruptionsAllowed: z.int().optional(),
      currentHealthy: z.int().optional(),
      desiredHealthy: z.int().optional(),
    }),
  ),
  /** LimitRanges of the namespace that bear on containers' memory. */
  limitRanges: z.array(
    z.object({ name: z.string(), defaultBytes: Size.optional(), maxBytes: Size.optional(), minBytes: Size.optional() }),
  ),
  skipped: z.array(Skipped),
});
export type ContextSnapshot = z.infer<typeof ContextSnapshot>;

export const ContextEvent = z.object({
  about: Reference,
  container: z.string().optional(),
  type: z.string(),
  reason: z.string(),
  message: z.string(),
  count: Count,
  first: z.string(),
  last: z.string(),
  reporter: z.string(),
  clock: ContextClock,
});
export type ContextEvent = z.infer<typeof ContextEvent>;

/** The end of the log of the incarnation before this one. Only where a policy asks for it and the operator may read it. */
export const LogTail = z.object({
  pod: z.string(),
  uid: z.string(),
  container: z.string(),
  containerId: z.string().optional(),
  /** Each begins with the time that the node's runtime gave it. */
  lines: z.array(z.string()),
  /** Lines that were read and left out. */
  linesOmitted: Count,
  /** How many secrets were taken out. Zero does not prove that none is left. */
  redactions: Count,
});
export type LogTail = z.infer<typeof LogTail>;

export const ContextClocks = z.object({
  /**
   * By how much the node's clock is ahead of the API server's, in milliseconds: the true value lies between. Known from one write of the
   * kubelet that carries both clocks.
   */
  nodeAheadOfServerMs: z.object({ low: z.int(), high: z.int() }).optional(),
  /** Why it is not known. */
  unknown: z.string().optional(),
});
export type ContextClocks = z.infer<typeof ContextClocks>;

export const TimelineMoment = z.object({
  time: z.string(),
  clock: ContextClock,
  kind: z.enum(["Kill", "Rollout", "Restart", "Event", "Metrics", "NodeCondition", "Snapshot"]),
  about: Reference,
  container: z.string().optional(),
  text: z.string(),
  /** Memory, where the moment is about an amount of it. */
  bytes: Size.optional(),
});
export type TimelineMoment = z.infer<typeof TimelineMoment>;

/** One revision of the workload: a ReplicaSet or a ControllerRevision. */
export const ContextRevision = z.object({
  name: z.string(),
  revision: z.string().optional(),
  created: z.string().optional(),
  images: z.array(z.string()),
  uid: z.string().optional(),
  /** The one that the workload runs, or is rolling out to. */
  current: z.boolean().optional(),
  replicas: Count.optional(),
  readyReplicas: Count.optional(),
  /** When it last became current; `from` says how that is known. Absent: it was taken up again, and nothing tells when. */
  currentSince: z.object({ time: z.string(), clock: ContextClock, from: z.enum(["Created", "ScaledUp"]) }).optional(),
  containers: z
    .array(
      z.object({
        name: z.string(),
        image: z.string().optional(),
        /** Of its pods, by digest where the runtime has one. */
        imageIds: z.array(z.string()),
        limitBytes: Size.optional(),
      }),
    )
    .optional(),
});
export type ContextRevision = z.infer<typeof ContextRevision>;
