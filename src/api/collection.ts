/**
 * The contract between operator, collector and analyser: the plan a collector gets, and the records it writes.
 * A pack is a folder of parts; `manifest.json` is the last of them. The same pack comes from a cluster and from one machine.
 * All sizes are bytes, all times milliseconds unless a name says otherwise.
 */
import { z } from "zod";
import { ContextClocks, ContextEvent, ContextRevision, ContextSnapshot, LogTail, TimelineMoment } from "./context.ts";
import { ProfileFrame } from "./profile.ts";

/** Version of the pack's format. Readers refuse a newer one. */
export const PACK_SCHEMA = 1;

const Count = z.int().nonnegative();
const Size = z.int();

/**
 * What is measured on one machine, without a cluster: a memory cgroup with everything below it, or one process with its descendants. A
 * process is its pid and its start, so that another one that gets the pid is never taken for it.
 */
export const LocalTarget = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("Cgroup"),
    /** Below the root of the hierarchy that accounts memory, as in oom_memcg of the kernel's report. */
    path: z.string().startsWith("/").max(4096),
    /** What people call it; hostile text, escaped by whoever shows it. */
    name: z.string().max(256),
  }),
  z.object({ kind: z.literal("Process"), pid: Count, startTicks: Count, name: z.string().max(256) }),
]);
export type LocalTarget = z.infer<typeof LocalTarget>;

/** What one collector is told to do. It gets this as JSON and has no other input and no rights in the Kubernetes API. */
export const CollectionPlan = z.object({
  schema: z.literal(PACK_SCHEMA),
  collection: z.string().max(63),
  purpose: z.enum(["Diagnose", "Validate"]),
  investigation: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }).optional(),
  node: z.string().optional(),
  pods: z.array(
    z.object({
      namespace: z.string(),
      name: z.string(),
      uid: z.string(),
      role: z.enum(["Preserved", "Serving"]),
      /** Containers as the API server knew them when the plan was made. One that restarts gets a new id: its name stays unknown to the collector. */
      containers: z.array(z.object({ name: z.string(), id: z.string(), limitBytes: Size.optional() })),
    }),
  ),
  /** On one machine, in the place of pods. */
  local: LocalTarget.optional(),
  intervalMs: Count,
  durationMs: Count,
  /** Reads that may stall the target for longer, all together, are left out. */
  stallBudgetMs: Count,
  /** Only with this a profile is taken, and only then the collector gets what it needs for one. */
  profile: z.object({ durationMs: Count, frequencyHz: Count.positive() }).optional(),
});
export type CollectionPlan = z.infer<typeof CollectionPlan>;

/** The kinds of memory a cgroup is charged for; disjoint (`file` without shmem). A kind the kernel does not tell is absent, never 0. */
export const MEMORY_KINDS = ["anon", "file", "shmem", "kernel", "sock", "swap"] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

export const Pressure = z.object({
  some: z.object({ avg10: z.number(), avg60: z.number(), avg300: z.number(), totalUs: Count }),
  full: z.object({ avg10: z.number(), avg60: z.number(), avg300: z.number(), totalUs: Count }).optional(),
});
export type Pressure = z.infer<typeof Pressure>;

/** Who else holds memory on the node. Absent in samples that follow another within ten seconds. */
export const NodeCgroups = z.object({
  /** The cgroups directly below the root of the memory hierarchy, the largest first: `system.slice`, `kubepods`, … At most 16. */
  top: z.array(z.object({ name: z.string(), usageBytes: Size, kinds: z.partialRecord(z.enum(MEMORY_KINDS), Size) })),
  /** What is directly below the root and not in `top`, together. */
  others: z.object({ cgroups: Count, usageBytes: Size }),
  /** The pods of the node by their class, summed: no tenant is named. */
  pods: z.array(z.object({ class: z.enum(["Guaranteed", "Burstable", "BestEffort"]), pods: Count, usageBytes: Size })),
  /** The largest pods by their uid, which means something only to those who may list the pods of the cluster. At most 8. */
  largestPods: z.array(z.object({ uid: z.string(), usageBytes: Size })),
  /** Pods beyond the cap; not in the sums. */
  podsOmitted: Count,
});
export type NodeCgroups = z.infer<typeof NodeCgroups>;

export const NodeReading = z.object({
  /** /proc/meminfo in bytes, by the kernel's own names (MemTotal, MemAvailable, AnonPages, …). */
  meminfo: z.record(z.string(), Size),
  /** The fields of /proc/vmstat that bear on memory (pgfault, pgmajfault, pswpin, oom_kill, workingset_refault_*, …). */
  vmstat: z.record(z.string(), Size),
  pressure: Pressure.optional(),
  /** Socket buffers of the whole machine, from /proc/net/sockstat: TCP_mem and UDP_mem in pages, TCP_alloc and TCP_orphan in sockets. cgroup v1 charges them to nobody. */
  sockets: z.record(z.string(), Size).optional(),
  cgroups: NodeCgroups.optional(),
});
export type NodeReading = z.infer<typeof NodeReading>;

export const CgroupReading = z.object({
  /** Path below the hierarchy's root, as in oom_memcg of the kernel's report. */
  path: z.string(),
  version: z.union([z.literal(1), z.literal(2)]),
  usageBytes: Size,
  /** Absent: no limit. */
  limitBytes: Size.optional(),
  highBytes: Size.optional(),
  peakBytes: Size.optional(),
  kinds: z.partialRecord(z.enum(MEMORY_KINDS), Size),
  /** memory.stat by the names of cgroup v2 (v1's total_* keys are translated), bytes or counts as the kernel has them. */
  stat: z.record(z.string(), Size),
  /** memory.events by the names of cgroup v2: low, high, max, oom, oom_kill, oom_group_kill. v1: max = failcnt, oom_kill from oom_control. */
  events: z.record(z.string(), Size),
  /** memory.events.local: what happened by this cgroup's own limit, not by one below it. v1 counts nothing else, so there it equals `events`. */
  eventsLocal: z.record(z.string(), Size).optional(),
  /** memory.swap.events (high, max, fail). v1: max = memory.memsw.failcnt, of memory and swap together. */
  swapEvents: z.record(z.string(), Size).optional(),
  /** memory.swap.max. v1: memory.memsw.limit_in_bytes less the limit of memory. Absent: no limit. */
  swapLimitBytes: Size.optional(),
  /** memory.oom.group: a kill takes the whole cgroup. Absent on v1. */
  oomGroup: z.boolean().optional(),
  /** v1's memory.oom_control: tasks of the cgroup wait for memory. */
  underOom: z.boolean().optional(),
  pressure: Pressure.optional(),
});
export type CgroupReading = z.infer<typeof CgroupReading>;

export const ProcessReading = z.object({
  pid: Count,
  /** Field 22 of /proc/PID/stat, clock ticks after boot. (pid, startTicks) is the process; pid alone is not. */
  startTicks: Count,
  ppid: Count,
  /** Pid in the innermost pid namespace. */
  innerPid: Count.optional(),
  /** At most 15 bytes, as the kernel has it; hostile text, escaped by whoever shows it. */
  comm: z.string(),
  threads: Count,
  /**
   * Field 14 of /proc/PID/stat: time of all its threads in user mode since it began, in ticks of 10 ms. Work that is done for somebody costs it, and a
   * page that is made resident hardly does: it stands for the load.
   */
  utime: Count.optional(),
  /** From /proc/PID/status: VmSize, VmRSS, RssAnon, RssFile, RssShmem, VmSwap, VmPTE, in bytes. */
  status: z.record(z.string(), Size),
  /** From /proc/PID/smaps_rollup: Pss, Pss_Anon, Pss_File, Pss_Shmem, Private_Clean, Private_Dirty, Shared_Clean, Shared_Dirty, Anonymous, AnonHugePages, Swap, SwapPss, in bytes. */
  rollup: z.record(z.string(), Size).optional(),
  /** Why there is no rollup: OverBudget, TooLong, LowMemory, Busy, NoPermission, Gone, TimedOut, Stopped, NotDue. */
  rollupSkipped: z.string().optional(),
  /** How long the read of smaps_rollup took, in milliseconds. */
  rollupMs: z.number().optional(),
  /**
   * Open descriptors, how many of them were looked at, and those by kind: socket, pipe, file, deleted (a file that has no name any more), memfd, tmpfs,
   * device, `anon_inode:eventpoll` and its like, other. Never what they lead to.
   */
  descriptors: z.object({ open: Count, looked: Count, kinds: z.record(z.string(), Count) }).optional(),
  /** Why there are none, or none by kind: NoPermission, TooMany (the sample has looked at enough). */
  descriptorsSkipped: z.string().optional(),
  /** Inode number of its network namespace; `networks` of the sample tells of that. */
  networkNamespace: Count.optional(),
});
export type ProcessReading = z.infer<typeof ProcessReading>;

/** The sockets of one network namespace, from its sockstat and sockstat6: used, TCP_inuse, TCP_tw, UDP_inuse, TCP6_inuse, UDP6_inuse. */
export const NetworkReading = z.object({ namespace: Count, sockets: z.record(z.string(), Size) });
export type NetworkReading = z.infer<typeof NetworkReading>;

/** The local target at one moment. */
export const LocalReading = z.object({
  kind: z.enum(["Cgroup", "Process"]),
  /** One life of the target: the inode number of the cgroup's folder, or `pid/startTicks`. Another life is another series. */
  life: z.string().max(64),
  name: z.string().max(256),
  /** Of a process: the cgroup that it runs in; absent where that is the root or cannot be read. */
  cgroup: CgroupReading.optional(),
  /** Of a process: how many processes in its cgroup are not among those measured. 0: the cgroup is all its own. */
  othersInCgroup: Count.optional(),
  processes: z.array(ProcessReading),
  /** Processes left out because of the cap. */
  processesOmitted: Count.optional(),
});
export type LocalReading = z.infer<typeof LocalReading>;

/** One line of a `readings` part. */
export const Sample = z.object({
  /** Counts from 0 over the whole collection. */
  index: Count,
  time: z.string(),
  /** Milliseconds since the first sample, by a clock that never jumps. */
  elapsedMs: z.number(),
  node: NodeReading,
  /** Each network namespace of the processes once; at most 16. */
  networks: z.array(NetworkReading).optional(),
  pods: z.array(
    z.object({
      uid: z.string(),
      /** The pod-level cgroup; absent when the pod is gone from the node. */
      cgroup: CgroupReading.optional(),
      containers: z.array(
        z.object({
          id: z.string(),
          name: z.string().optional(),
          cgroup: CgroupReading,
          processes: z.array(ProcessReading),
          /** Processes left out because of the cap. */
          processesOmitted: Count.optional(),
        }),
      ),
    }),
  ),
  /** Absent as well where the target was gone at that moment. */
  local: LocalReading.optional(),
});
export type Sample = z.infer<typeof Sample>;

export const OomTask = z.object({
  pid: Count,
  comm: z.string(),
  rssBytes: Size,
  rssAnonBytes: Size.optional(),
  rssFileBytes: Size.optional(),
  rssShmemBytes: Size.optional(),
  pgtablesBytes: Size,
  swapBytes: Size.optional(),
  oomScoreAdj: z.int(),
});

/** One kernel OOM report, as parsed from /dev/kmsg. Tasks of other tenants are dropped before it is written. */
export const OomReport = z.object({
  /** Milliseconds after boot of its first line. */
  bootMs: z.number(),
  /** Milliseconds after boot of the record that names the victim: the same in every reading of the log, also when the first lines are gone. */
  anchorMs: z.number().optional(),
  /** Wall-clock time, computed from the boot time; as good as the clock then was. */
  time: z.string().optional(),
  constraint: z
    .enum(["CONSTRAINT_NONE", "CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY", "CONSTRAINT_MEMCG"])
    .optional(),
  global: z.boolean(),
  /** Whose limit was hit. */
  oomMemcg: z.string().optional(),
  /** Where the victim ran. */
  taskMemcg: z.string().optional(),
  invokedBy: z.string().optional(),
  victim: z
    .object({
      pid: Count,
      comm: z.string(),
      uid: z.int().optional(),
      totalVmBytes: Size.optional(),
      anonRssBytes: Size.optional(),
      fileRssBytes: Size.optional(),
      shmemRssBytes: Size.optional(),
      pgtablesBytes: Size.optional(),
      oomScoreAdj: z.int().optional(),
    })
    .optional(),
  /** The whole cgroup was killed (memory.oom.group). */
  group: z.boolean(),
  usageBytes: Size.optional(),
  limitBytes: Size.optional(),
  failcnt: Count.optional(),
  /** memory.stat at the kill, as the report has it, in bytes. */
  stat: z.record(z.string(), Size),
  tasks: z.array(OomTask),
  tasksOmitted: Count,
  /** User-space instruction pointer of the task that hit the limit, as long as nobody knows its place. */
  userIp: z.string().optional(),
  /** Where that is in the files of the pod, when its code was found there in exactly one place: where the limit was hit, not who took the memory. */
  userPlace: ProfileFrame.optional(),
  /** Pod uid and container id found in taskMemcg by its form; absent for a cgroup that is no pod's. */
  podUid: z.string().optional(),
  containerId: z.string().optional(),
});
export type OomReport = z.infer<typeof OomReport>;

/** The `oom-reports` part. */
export const OomReports = z.object({
  reports: z.array(OomReport),
  /** Reports of cgroups that are not in the plan; only counted. */
  othersDropped: Count,
  /** "callbacks suppressed", a ring buffer that wrapped, no permission. */
  notes: z.array(z.string()),
});
export type OomReports = z.infer<typeof OomReports>;

/** The `host` part: what a reader must know to understand the numbers. No host name, no addresses. */
export const Host = z.object({
  kernel: z.string(),
  architecture: z.string(),
  pageSizeBytes: Count,
  cpus: Count,
  memTotalBytes: Size,
  swapTotalBytes: Size,
  cgroup: z.enum(["v1", "v2", "hybrid"]),
  cgroupDriver: z.enum(["cgroupfs", "systemd", "none"]),
  runtime: z.enum(["containerd", "cri-o", "docker", "unknown", "none"]),
  transparentHugepage: z.string().optional(),
  /** What the kernel takes time from (tsc, kvm-clock, arm_arch_counter, …). */
  clocksource: z.string().max(64).optional(),
  /** When the kernel booted, by the wall clock as it is set now. */
  bootTime: z.string().optional(),
  /** What may be read here, and why not the rest. */
  capabilities: z.array(z.object({ name: z.string(), available: z.boolean(), detail: z.string().optional() })),
});
export type Host = z.infer<typeof Host>;

/**
 * The kinds of parts. A client never names a file: a part is a kind and a number.
 * `context` is the operator's own (workload, revisions, kills); a collector may not write it.
 */
export const PART_KINDS = ["host", "readings", "mappings", "profile", "oom-reports", "context", "manifest"] as const;
export type PartKind = (typeof PART_KINDS)[number];
export const COLLECTOR_PART_KINDS: readonly PartKind[] = PART_KINDS.filter((kind) => kind !== "context");

/** What the files of a kind end with, for the kinds that have more than one part; every other kind is one JSON file, number 0. */
export const NUMBERED_KINDS: Readonly<Partial<Record<PartKind, string>>> = {
  readings: "ndjson",
  mappings: "json",
  profile: "json",
};

/** File name of a part inside a pack, such as `readings-0003.ndjson`. */
export function partFileName(kind: PartKind, index: number): string {
  const ending = NUMBERED_KINDS[kind];
  return ending === undefined ? `${kind}.json` : `${kind}-${String(index).padStart(4, "0")}.${ending}`;
}

/** No kind has more parts than this in one collection. */
export const MAX_PART_INDEX = 999;
/** A larger part is refused. */
export const MAX_PART_BYTES = 16 * 2 ** 20;
/** A collection whose parts are larger together is refused. */
export const MAX_COLLECTION_BYTES = 256 * 2 ** 20;
/** A line of a `readings` part that is longer is skipped by readers, and counted. */
export const MAX_LINE_BYTES = 4 * 2 ** 20;

/** `manifest.json`: the last part. Its arrival ends the collection. */
export const Manifest = z.object({
  schema: z.literal(PACK_SCHEMA),
  collection: z.string(),
  tool: z.object({ name: z.literal("oomscope"), version: z.string() }),
  started: z.string(),
  finished: z.string(),
  /** `steppedMs`: wall time passed between `started` and `finished` minus time passed by a clock that is never set. How true the wall clock is, nobody can tell from here. */
  clock: z.object({ steppedMs: z.int() }).optional(),
  plan: CollectionPlan,
  samples: Count,
  samplesExpected: Count,
  /** Complete: all that was planned. Partial: `skipped` says what is missing. */
  outcome: z.enum(["Complete", "Partial"]),
  parts: z.array(
    z.object({ kind: z.enum(PART_KINDS), index: Count, bytes: Count, sha256: z.string(), lines: Count.optional() }),
  ),
  skipped: z.array(z.object({ what: z.string(), reason: z.string(), detail: z.string().optional() })),
  cost: z.object({ stallMs: z.number(), cpuMs: z.number(), peakRssBytes: Size }),
});
export type Manifest = z.infer<typeof Manifest>;

/** The `context` part, written by the operator beside what the collector sent. */
export const Context = z.object({
  target: z.object({ kind: z.string(), namespace: z.string(), name: z.string(), uid: z.string().optional() }),
  container: z.string().optional(),
  kills: z.array(z.record(z.string(), z.unknown())),
  revisions: z.array(ContextRevision),
  pods: z.array(
    z.object({
      name: z.string(),
      uid: z.string(),
      role: z.enum(["Preserved", "Serving"]),
      revision: z.string().optional(),
      /** Every incarnation that was seen: a container that restarted stands here more than once. */
      containers: z.array(z.object({ name: z.string(), id: z.string().optional(), limitBytes: Size.optional() })),
    }),
  ),
  /** One from the beginning of the collection, one from its end. */
  snapshots: z.array(ContextSnapshot).optional(),
  /** Of pods, workload and node; sorted by time. */
  events: z.array(ContextEvent).optional(),
  logs: z.array(LogTail).optional(),
  clocks: ContextClocks.optional(),
  /** Everything above that has a time, in order of time. */
  timeline: z.array(TimelineMoment).optional(),
  /** How many were left out because of a cap, by what they are. */
  omitted: z.record(z.string(), Count).optional(),
});
export type Context = z.infer<typeof Context>;
