/**
 * MemoryInvestigation: one memory incident of one workload. A person or the operator creates it;
 * its status is the story of the incident. This file is the only definition: types, CRD, docs and parsing come from it.
 */
import { z } from "zod";
import {
  ContainerName,
  Int,
  LabelValue,
  type LongDuration,
  Message,
  ObjectName,
  Reason,
  ShortHash,
  Time,
  entries,
  listAtomic,
  listMap,
  listSet,
  rules,
} from "./fields.ts";
import { MitigationAction, MitigationRecord } from "./mitigation.ts";
import { Validation } from "./validation.ts";

/** API group of all three kinds. */
export const GROUP = "oomscope.dev";
/** The only served version. */
export const VERSION = "v1alpha1";
/** The field manager of every write. */
export const FIELD_MANAGER = "oomscope";

/** Which object the investigation is about. Same namespace by construction: there is no namespace field. */
export const TargetRef = z.object({
  apiVersion: z
    .enum(["apps/v1", "batch/v1", "v1"])
    .describe("API version of the target: `apps/v1`, `batch/v1` or `v1`."),
  kind: z
    .enum(["Deployment", "StatefulSet", "DaemonSet", "Job", "Pod"])
    .describe("Kind of the target: Deployment, StatefulSet, DaemonSet, Job or Pod."),
  name: ObjectName.describe("Name of the target, in the namespace of this investigation."),
});
export type TargetRef = z.infer<typeof TargetRef>;

export const PolicyRef = z.object({
  kind: z.enum(["MemoryPolicy", "ClusterMemoryPolicy"]).default("MemoryPolicy").describe("Kind of the policy."),
  name: ObjectName.describe("Name of the policy. A MemoryPolicy is looked for in the namespace of this investigation."),
});
export type PolicyRef = z.infer<typeof PolicyRef>;

export const ApprovedAction = z.object({
  action: MitigationAction.describe("The action that is approved."),
  finding: ShortHash.describe(
    "`status.finding.id` that the approval was given for. It is void when the finding changes.",
  ),
});

export const DeniedAction = z.object({
  action: MitigationAction.describe("The action that is denied."),
  finding: ShortHash.describe(
    "`status.finding.id` that the denial was given for. It is void when the finding changes.",
  ),
});

export const MemoryInvestigationSpec = z
  .object({
    targetRef: TargetRef.describe(
      "The workload under investigation. It cannot be changed: make another investigation.",
    ).meta({
      "x-kubernetes-map-type": "atomic",
      ...rules(
        {
          rule: "self == oldSelf",
          message: "targetRef cannot be changed; create another MemoryInvestigation instead",
        },
        {
          rule: "self.apiVersion == (self.kind == 'Pod' ? 'v1' : self.kind == 'Job' ? 'batch/v1' : 'apps/v1')",
          message:
            "apiVersion must be v1 for a Pod, batch/v1 for a Job and apps/v1 for a Deployment, StatefulSet or DaemonSet",
        },
      ),
    }),
    container: ContainerName.optional().describe(
      "The container to look at. Default: the one that was killed, or all of the pod.",
    ),
    policyRef: PolicyRef.optional().describe(
      "The policy to follow. Default: the most specific policy that selects the target.",
    ),
    approvedActions: z
      .array(ApprovedAction)
      .max(6)
      .optional()
      .describe("Actions a person has approved, each bound to the finding it was given for.")
      .meta(listMap("action")),
    undoActions: z
      .array(
        z.object({
          action: MitigationAction.describe("The action that is to be put back."),
          finding: ShortHash.describe("`finding` of its entry in `status.mitigations`."),
        }),
      )
      .max(6)
      .optional()
      .describe(
        "Actions that are to be put back. What somebody else has changed since stays as it is; `status.mitigations[].undo` says what came of it. Take the entry away and put it there again to ask once more.",
      )
      .meta(listMap("action")),
    deniedActions: z
      .array(DeniedAction)
      .max(6)
      .optional()
      .describe(
        "Actions a person has said no to, each bound to the finding it was proposed for. What has not been begun is refused then, also where the policy needs no approval; it stays refused for that finding.",
      )
      .meta(listMap("action")),
    release: z
      .boolean()
      .default(false)
      .describe("Ends the preservation of the pod now, before its ttl. What was changed on the pod is put back."),
    suspend: z
      .boolean()
      .default(false)
      .describe("Stops the investigation where it is: nothing new is started until it is false again."),
  })
  .meta(
    rules(
      {
        rule: "has(self.container) == has(oldSelf.container) && (!has(self.container) || self.container == oldSelf.container)",
        message: "container cannot be changed; create another MemoryInvestigation instead",
      },
      {
        rule: "has(self.policyRef) == has(oldSelf.policyRef) && (!has(self.policyRef) || self.policyRef == oldSelf.policyRef)",
        message: "policyRef cannot be changed; create another MemoryInvestigation instead",
      },
      {
        rule: "!has(self.approvedActions) || !has(self.deniedActions) || !self.approvedActions.exists(a, self.deniedActions.exists(d, d.action == a.action && d.finding == a.finding))",
        message: "an action is either approved or denied for one finding; leave it in one of the two lists",
      },
    ),
  );
export type MemoryInvestigationSpec = z.infer<typeof MemoryInvestigationSpec>;

/** How the investigation ended. Empty until then. */
export const Result = z.enum(["Resolved", "Mitigated", "Recommended", "Inconclusive", "Failed"]);
export type Result = z.infer<typeof Result>;

/** What kind of kill it was; see docs/spec for how each is told apart. */
export const KillClassification = z.enum([
  "ContainerKilled",
  "ChildKilled",
  "PodLimit",
  "NodeKilled",
  "Evicted",
  "Unconfirmed",
  "NotAKill",
]);
export type KillClassification = z.infer<typeof KillClassification>;

export const KillSource = z.enum(["PodStatus", "KernelLog", "CgroupEvents", "Eviction"]);

export const Kill = z.object({
  id: ShortHash.describe(
    "Identity of the kill: a hash of pod uid, container, container id (or restart count) and finish time; where only the kernel told of it, of pod uid, container id, pid and time after boot.",
  ),
  pod: z
    .object({ name: ObjectName.describe("Its name."), uid: z.string().max(64).describe("Its uid.") })
    .describe("The pod, by name and uid."),
  container: z
    .string()
    .max(63)
    .optional()
    .describe(
      "The container that was killed; absent for an eviction, and where only the kernel's log tells of a container whose name is not known any more.",
    ),
  containerType: z
    .enum(["Container", "InitContainer", "Sidecar", "EphemeralContainer"])
    .optional()
    .describe("Where the container stands in the pod. A Sidecar is an init container that restarts always."),
  containerId: z.string().max(128).optional().describe("The runtime's id of the container, without its scheme."),
  node: z.string().max(253).optional().describe("The node it ran on."),
  time: Time.describe(
    "When the container ended, by the clock of the node; where pod status does not tell of it, when the kernel killed.",
  ),
  restartCount: Int.optional().describe("Restart count of the container after the kill."),
  exitCode: Int.optional().describe("Exit code of the container; absent where it went on or pod status does not tell."),
  limitBytes: Int.optional().describe("Memory limit of the container in bytes; absent where there is none."),
  revision: z.string().max(128).optional().describe("The workload's revision that the pod belongs to."),
  classification: KillClassification.describe("What kind of kill it was."),
  sources: z.array(KillSource).max(4).describe("The witnesses that agree.").meta(listSet),
  victim: z
    .object({
      pid: Int.describe("Process id in the node's namespace."),
      comm: z.string().max(64).describe("Name of the process as the kernel had it."),
      anonBytes: Int.optional().describe("Its anonymous resident memory when it was killed, in bytes."),
      bootMs: Int.optional().describe("Milliseconds after the node's boot at which the kernel named it."),
      time: Time.optional().describe("The same moment, computed from the boot time of the node."),
    })
    .optional()
    .describe("The process that the kernel chose, from its own report."),
});
export type Kill = z.infer<typeof Kill>;

/** metav1.Condition */
export const Condition = z.object({
  type: z.string().max(64).describe("Name of the fact."),
  status: z.enum(["True", "False", "Unknown"]).describe("Whether it holds."),
  observedGeneration: Int.optional().describe("Generation of the spec it was judged from."),
  lastTransitionTime: Time.describe("When `status` last changed."),
  reason: Reason.describe("Why, as a token that machines may compare."),
  message: Message.describe("Why, for people."),
});
export type Condition = z.infer<typeof Condition>;

/** The condition types of an investigation, in the order of its life; `Succeeded` is computed from the others. */
export const CONDITION_TYPES = [
  "Succeeded",
  "PodPreserved",
  "EvidenceCollected",
  "Diagnosed",
  "Mitigated",
  "Validated",
  "Reconciling",
  "Stalled",
] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

export const PreservedPod = z.object({
  pod: ObjectName.describe("Name of the preserved pod."),
  uid: z.string().max(64).describe("Its uid."),
  node: z.string().max(253).optional().describe("The node it runs on."),
  how: z
    .enum(["Isolate", "Hold"])
    .describe("Isolate: taken out of its selectors. Hold: labels untouched, guarded from eviction."),
  state: z
    .enum(["Intended", "Preserved", "Released", "Lost"])
    .describe(
      "Intended: written down before the change. Preserved: seen on the pod. Released: put back. Lost: the pod is gone.",
    ),
  since: Time.describe("When it was intended."),
  until: Time.optional().describe("When it is released by itself."),
  why: Message.describe("Why this pod and not another."),
  cannotShow: Message.optional().describe("What this pod can no longer show."),
  owner: z
    .object({
      kind: z.string().max(63).describe("Kind of the controller that owned the pod."),
      name: z.string().max(253).describe("Its name."),
      uid: z.string().max(64).describe("Its uid."),
    })
    .optional()
    .describe("The controller that the pod was taken from; it gets the pod back on release."),
  originalLabels: z
    .record(z.string(), LabelValue)
    .optional()
    .describe("The labels that were taken away, as they were; put back on release.")
    .meta(entries(64)),
  candidates: z
    .array(
      z.object({
        pod: ObjectName.describe("Name of the pod."),
        score: Int.describe("Rank; the higher the more evidence it holds."),
        reason: Message.describe("Why it stands where it stands."),
      }),
    )
    .max(8)
    .optional()
    .describe("The best candidates in order, with the reason for each.")
    .meta(listMap("pod")),
});
export type PreservedPod = z.infer<typeof PreservedPod>;

export const Collection = z.object({
  id: z.string().max(63).describe("Identity of the attempt: also the name of its Job."),
  purpose: z.enum(["Diagnose", "Validate"]).describe("What it is for."),
  attempt: Int.describe("Counts from 1; a new attempt gets a new Job."),
  state: z
    .enum(["Intended", "Running", "Complete", "Partial", "Failed", "Lost"])
    .describe("Intended: written down before the Job is made. Lost: the Job is gone although it was made."),
  job: ObjectName.describe("Name of the Job in the collectors' namespace."),
  jobUid: z.string().max(64).optional().describe("Uid of the Job, once seen."),
  node: z.string().max(253).describe("The node it runs on."),
  pods: z
    .array(
      z.object({
        name: ObjectName.describe("Name of a pod that is measured."),
        uid: z.string().max(64).describe("Its uid."),
        role: z.enum(["Preserved", "Serving"]).describe("Serving: still under load, so that growth can be seen."),
      }),
    )
    .max(4)
    .describe("The pods that are measured.")
    .meta(listMap("uid")),
  requested: Time.describe("When it was intended."),
  started: Time.optional().describe("When its first part arrived."),
  finished: Time.optional().describe("When it ended."),
  samples: Int.optional().describe("Samples received so far."),
  samplesExpected: Int.optional().describe("Samples planned."),
  cost: z
    .object({
      stallMs: Int.describe("Milliseconds for which the reads may have stalled the target."),
      cpuMs: Int.describe("CPU time of the collector in milliseconds."),
    })
    .optional()
    .describe("What the collection cost the node and the target."),
  reason: Reason.optional().describe("Why it ended as it did."),
  message: Message.optional().describe("The same, for people."),
});
export type Collection = z.infer<typeof Collection>;

/** The vocabulary of verdicts. */
export const Verdict = z.enum([
  "AnonHeapLeak",
  "ManagedHeapGrowth",
  "NativeLeakInManagedRuntime",
  "ThreadStackGrowth",
  "ShmemGrowth",
  "KernelMemoryGrowth",
  "PageCacheGrowth",
  "MappedDirtyFile",
  "SharedPageArtefact",
  "CowUnsharing",
  "AllocatorRetention",
  "ThpBloat",
  "TransientSpike",
  "StepChange",
  "LoadProportional",
  "WarmupPlateau",
  "LimitTooLow",
  "ThrottledAtMemoryHigh",
  "SwapColdPages",
  "NodePressureVictim",
  "BoundedSteady",
  "Inconclusive",
]);
export type Verdict = z.infer<typeof Verdict>;

export const EvidenceLine = z.object({
  signal: z.string().max(128).describe("What was measured, by the kernel's own name where there is one."),
  value: z.string().max(64).describe("Its value."),
  unit: z.string().max(24).describe("Its unit."),
  threshold: z.string().max(64).optional().describe("What it was compared with."),
  part: z.string().max(128).describe("Where in the pack it stands."),
});
export type EvidenceLine = z.infer<typeof EvidenceLine>;

/** Lines for a verdict, and as many against it. */
export const MAX_EVIDENCE = 24;

export const Finding = z.object({
  id: ShortHash.describe("Hash of the finding's substance; approvals are bound to it."),
  verdict: Verdict.describe("What it is."),
  subKind: z.string().max(64).optional().describe("A finer kind of the verdict."),
  confidencePercent: Int.min(0).max(100).describe("How sure, in percent."),
  summary: Message.describe("The finding in a sentence or two."),
  culprit: z
    .object({
      container: z.string().max(63).optional().describe("The container."),
      pod: ObjectName.optional().describe("The pod it was seen in."),
      process: z
        .object({
          pid: Int.describe("Process id in the node's namespace."),
          comm: z.string().max(64).describe("Name of the process."),
          startTicks: Int.optional().describe(
            "When it started, in clock ticks after the node's boot: with the pid, this is the process; a pid alone is used again.",
          ),
          parents: z
            .array(
              z.object({
                pid: Int.describe("Process id in the node's namespace."),
                comm: z.string().max(64).describe("Name of the process."),
              }),
            )
            .max(8)
            .optional()
            .describe("Its parents in the same container, the nearest first, as far as they were measured.")
            .meta(listAtomic),
        })
        .optional()
        .describe("The process."),
      mapping: z.string().max(256).optional().describe("The mapping or class of mapping."),
      library: z
        .string()
        .max(256)
        .optional()
        .describe(
          "The file whose code makes the memory resident; only where a profile of the process, or of a sibling, may be believed and one place has a clear majority.",
        ),
      function: z
        .string()
        .max(256)
        .optional()
        .describe(
          "The function of it that touches the memory first: never an allocator, libc or a language's runtime.",
        ),
      functionSource: z
        .enum(["SymbolTable", "ClaimedByTarget"])
        .optional()
        .describe(
          "Where the function's name is from: the file's symbols, or a map that the program wrote itself (just-in-time code), which is a claim.",
        ),
      revision: z.string().max(128).optional().describe("The workload's revision that brought it."),
    })
    .optional()
    .describe("Who it is; only what could be shown."),
  growth: z
    .object({
      series: z.string().max(128).describe("The series that grows."),
      bytesPerSecond: Int.describe("Its slope (Theil-Sen)."),
      low: Int.describe("Lower end of the 95 % interval."),
      high: Int.describe("Upper end of the 95 % interval."),
    })
    .optional()
    .describe("How fast it grows."),
  growthByKind: z
    .array(
      z.object({
        kind: z
          .enum(["anon", "file", "shmem", "kernel", "sock", "swap"])
          .describe("Kind of memory, as the kernel charges it."),
        bytes: Int.describe("Growth over the window in bytes; negative when it shrank."),
        bytesPerSecond: Int.describe("Its slope (Theil-Sen)."),
        trend: z.enum(["Growing", "Flat", "Shrinking", "Unknown"]).describe("What the trend test says."),
      }),
    )
    .max(6)
    .optional()
    .describe("Growth of each kind of memory over the same window.")
    .meta(listMap("kind")),
  growthByProcess: z
    .array(
      z.object({
        pid: Int.describe("Process id in the node's namespace."),
        comm: z.string().max(64).describe("Name of the process."),
        container: z.string().max(63).optional().describe("Its container."),
        bytes: Int.describe("Growth of its anonymous memory over the window in bytes."),
        bytesPerSecond: Int.describe("Its slope (Theil-Sen)."),
        sharePercent: Int.describe("Its share of the growth of all processes."),
      }),
    )
    .max(8)
    .optional()
    .describe("The processes that grew most.")
    .meta(listAtomic),
  timeToOOMSeconds: z
    .object({
      low: Int.optional().describe("Soonest, in seconds."),
      mid: Int.optional().describe("Most likely, in seconds."),
      high: Int.optional().describe("Latest, in seconds."),
    })
    .optional()
    .describe("When the limit is reached at this rate, as a range; absent where no projection can be made."),
  evidence: z.array(EvidenceLine).max(MAX_EVIDENCE).describe("What speaks for the verdict.").meta(listAtomic),
  counterEvidence: z.array(EvidenceLine).max(MAX_EVIDENCE).describe("What speaks against it.").meta(listAtomic),
  runnerUp: z
    .object({
      verdict: Verdict.describe("What it would be."),
      confidencePercent: Int.min(0).max(100).describe("How sure, in percent."),
    })
    .optional()
    .describe("The next best verdict."),
  limits: z.array(Message).max(16).optional().describe("What could not be seen.").meta(listAtomic),
});
export type Finding = z.infer<typeof Finding>;

export const TimelineEntry = z.object({
  time: Time.describe("When it happened."),
  event: Reason.describe("What happened, as a token."),
  message: Message.describe("What happened, for people."),
});
export type TimelineEntry = z.infer<typeof TimelineEntry>;

/** How many kills status keeps in full; the ledger of identities is longer. */
export const MAX_KILLS = 64;
/** How many identities of kills status keeps. Those of pods that are gone leave first. */
export const MAX_LEDGER = 1024;
export const MAX_TIMELINE = 48;
/** Two attempts for the finding, and two to validate each of six actions. */
export const MAX_COLLECTIONS = 14;
export const MAX_NOTIFIED = 64;

export const MemoryInvestigationStatus = z.object({
  observedGeneration: Int.optional().describe("The generation of the spec that this status speaks of."),
  leaderEpoch: Int.optional().describe("Counts the changes of leader; fences off an operator that lost its lease."),
  stage: z
    .enum(["Pending", "Preserving", "Collecting", "Diagnosing", "Mitigating", "Validating", "Done", "Suspended"])
    .optional()
    .describe("Where it stands, in one word for people. No code reads it."),
  result: Result.optional().describe(
    "How it ended: Resolved, Mitigated, Recommended, Inconclusive or Failed. Absent until then.",
  ),
  conditions: z.array(Condition).max(16).optional().describe("The facts, one by one.").meta(listMap("type")),
  policy: z
    .object({
      kind: z.enum(["MemoryPolicy", "ClusterMemoryPolicy"]).describe("Kind of the policy."),
      name: ObjectName.describe("Its name."),
      generation: Int.optional().describe("Its generation when it was read."),
      mode: z
        .enum(["Observe", "Recommend", "Enforce"])
        .describe("The mode in force: the policy's own, or a lower one that a ClusterMemoryPolicy's maxMode sets."),
    })
    .optional()
    .describe("The policy that it follows, and the mode that is in force."),
  targetUid: z.string().max(64).optional().describe("Uid of the target when the investigation began."),
  killCount: Int.optional().describe("Kills that were counted for this investigation."),
  killsByPod: z
    .string()
    .max(256)
    .optional()
    .describe("The kills in a sentence, for people: how many pods and nodes they hit."),
  kills: z.array(Kill).max(MAX_KILLS).optional().describe("The newest kills in full.").meta(listMap("id")),
  ledger: z
    .array(z.string().max(24))
    .max(MAX_LEDGER)
    .optional()
    .describe(
      "Identities of all kills counted here, and of the kernel's reports of them, whose pod still exists; a kill is counted once.",
    )
    .meta(listSet),
  preserved: PreservedPod.optional().describe("The pod that was kept for evidence."),
  collections: z
    .array(Collection)
    .max(MAX_COLLECTIONS)
    .optional()
    .describe("The collections on nodes, with what each cost.")
    .meta(listMap("id")),
  finding: Finding.optional().describe("What it is, who it is, how sure we are, and what speaks against it."),
  mitigations: z
    .array(MitigationRecord)
    .max(6)
    .optional()
    .describe("The policy's actions in its order: what was done, what would be done, and what a guard refused.")
    .meta(listMap("action")),
  validation: Validation.optional().describe("Whether the mitigation helped, check by check."),
  evidence: z
    .object({
      location: z
        .string()
        .max(512)
        .describe(
          "Where the pack lies: a folder of the evidence directory, or s3://BUCKET/KEY once it is in the bucket.",
        ),
      parts: Int.describe("How many parts it has."),
      bytes: Int.describe("Its size in bytes."),
      sha256: z.string().max(64).describe("SHA-256 of its manifest; in a bucket, of the whole archive."),
      expires: Time.optional().describe("When it is deleted."),
      message: z
        .string()
        .max(512)
        .optional()
        .describe("What keeps it from the bucket and what to do about it, or why it was deleted before its time."),
    })
    .optional()
    .describe("The evidence pack."),
  notified: z
    .array(z.string().max(128))
    .max(MAX_NOTIFIED)
    .optional()
    .describe("What people were told of it: receiver, state, and what it rests on. Nothing is told twice.")
    .meta(listSet),
  timeline: z
    .array(TimelineEntry)
    .max(MAX_TIMELINE)
    .optional()
    .describe("What happened, oldest first; bounded.")
    .meta(listAtomic),
});
export type MemoryInvestigationStatus = z.infer<typeof MemoryInvestigationStatus>;

/** The part of ObjectMeta that we read. */
export const ObjectMeta = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string(),
  resourceVersion: z.string(),
  generation: z.number().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  finalizers: z.array(z.string()).optional(),
});
export type ObjectMeta = z.infer<typeof ObjectMeta>;

/** A MemoryInvestigation as it comes from the API server. */
export const MemoryInvestigation = z.object({
  apiVersion: z.literal(`${GROUP}/${VERSION}`),
  kind: z.literal("MemoryInvestigation"),
  metadata: ObjectMeta,
  spec: MemoryInvestigationSpec,
  status: MemoryInvestigationStatus.optional(),
});
export type MemoryInvestigation = z.infer<typeof MemoryInvestigation>;

/** Time for which a pack is kept when no policy says otherwise. */
export const DEFAULT_RETENTION: z.infer<typeof LongDuration> = "7d";
