/**
 * MemoryPolicy and ClusterMemoryPolicy: what oomscope may do, to which workloads, and how. Plain declarative
 * objects that Git can own: the operator never writes their spec.
 */
import { z } from "zod";
import {
  Bytes,
  ContainerName,
  Duration,
  Int,
  LabelKey,
  LabelValue,
  LongDuration,
  ObjectName,
  entries,
  listAtomic,
  listMap,
  listSet,
  longerThanZero,
  rules,
} from "./fields.ts";
import { Condition, GROUP, ObjectMeta, VERSION, Verdict } from "./memoryinvestigation.ts";
import { MitigationAction } from "./mitigation.ts";

export const LabelSelector = z
  .object({
    matchLabels: z
      .record(z.string(), LabelValue)
      .optional()
      .describe("Labels that must all be there with these values.")
      .meta({
        ...entries(32),
        ...rules({
          rule: "self.all(key, key.size() <= 317 && key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
          message: "each key must be a label such as app or app.kubernetes.io/name",
        }),
      }),
    matchExpressions: z
      .array(
        z
          .object({
            key: LabelKey.describe("The label."),
            operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]).describe("How it is compared."),
            values: z.array(LabelValue).max(32).optional().describe("Values for In and NotIn.").meta(listAtomic),
          })
          .meta(
            rules({
              rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
              message: "values are needed for In and NotIn, and must be left out for Exists and DoesNotExist",
            }),
          ),
      )
      .max(16)
      .optional()
      .describe("Expressions that must all hold.")
      .meta(listAtomic),
  })
  .meta({ "x-kubernetes-map-type": "atomic" });
export type LabelSelector = z.infer<typeof LabelSelector>;

export const Mode = z.enum(["Observe", "Recommend", "Enforce"]);
export type Mode = z.infer<typeof Mode>;

export const Triggers = z.object({
  oomKilled: z
    .object({
      count: Int.min(1).max(100).default(1).describe("This many kills …"),
      within: Duration.default("15m").describe("… within this time open an investigation.").meta(rules(longerThanZero)),
    })
    .default({ count: 1, within: "15m" })
    .describe("Open an investigation when containers are OOMKilled."),
  memoryUsage: z
    .object({
      percentOfLimit: Int.min(1).max(100).default(90).describe("Percent of the memory limit."),
      for: Duration.default("2m").describe("For this long.").meta(rules(longerThanZero)),
    })
    .optional()
    .describe("Open an investigation before the kill, when usage stays near the limit (metrics.k8s.io)."),
  growth: z
    .object({
      projectedOOMWithin: Duration.default("30m")
        .describe("The limit would be reached within this time.")
        .meta(rules(longerThanZero)),
    })
    .optional()
    .describe("Open an investigation before the kill, when memory grows steadily."),
  nodeMemAvailable: z
    .object({
      percent: Int.min(1).max(100).default(8).describe("MemAvailable below this percent of the total."),
      for: Duration.default("10m").describe("For this long.").meta(rules(longerThanZero)),
    })
    .optional()
    .describe("Open an investigation when a node runs out of memory."),
});

export const PreserveSpec = z.object({
  strategy: z
    .enum(["Isolate", "Hold", "None"])
    .default("Isolate")
    .describe(
      "Isolate: take the pod out of every selector, so that it is replaced and keeps its memory. Hold: leave its labels, guard it from eviction. None: preserve nothing.",
    ),
  minAvailable: Int.min(0).max(1000).default(1).describe("Never isolate when fewer ready pods than this would remain."),
  ttl: LongDuration.default("24h").describe("The pod is released after this time.").meta(rules(longerThanZero)),
});

/**
 * A rule over fields that hold durations. Where one of them is malformed the rule holds: CEL's `duration()` would fail, and its
 * complaint would stand between the reader and the message that says what is wrong.
 */
function overDurations(fields: readonly string[], rule: string): string {
  return `!(${fields.map((field) => `self.${field}.matches('^([0-9]+[hms])+$')`).join(" && ")}) || ${rule}`;
}

export const CollectSpec = z
  .object({
    interval: Duration.default("10s").describe(
      "Time between two samples; at least 5s. A verdict on a trend takes twelve samples, a confirmed one 24 over five minutes.",
    ),
    duration: Duration.default("5m").describe("Time over which samples are taken; at most 1h."),
    profile: z
      .object({
        enabled: z.boolean().default(false).describe("Whether a profile is taken."),
        duration: Duration.default("30s").describe("How long the profile runs; at most 60s."),
        frequencyHz: Int.min(1).max(999).default(99).describe("Samples per second on each CPU."),
      })
      .default({ enabled: false, duration: "30s", frequencyHz: 99 })
      .describe("The profile of the suspect."),
    stallBudget: Duration.default("1s").describe(
      "Reads that may stall the target for longer, all together, are left out; so is one read that may stall it for more than a twentieth of this, but 50ms are always allowed.",
    ),
    previousLog: z
      .object({
        enabled: z
          .boolean()
          .default(false)
          .describe(
            "Whether the last lines of a killed container's log are kept in the pack. Secrets are looked for and taken out, but a log may hold what nobody recognises. The operator needs leave to read logs in the namespace: see the page of the kind.",
          ),
        lines: Int.min(1).max(500).default(50).describe("How many lines at most."),
      })
      .default({ enabled: false, lines: 50 })
      .describe("The log of the container that was killed."),
  })
  .meta(
    rules(
      {
        rule: overDurations(["interval"], "duration(self.interval) >= duration('5s')"),
        message: "interval must be at least 5s",
        fieldPath: ".interval",
      },
      {
        rule: overDurations(["duration"], "duration(self.duration) <= duration('1h')"),
        message: "duration must be at most 1h",
        fieldPath: ".duration",
      },
      {
        rule: overDurations(["interval", "duration"], "duration(self.interval) < duration(self.duration)"),
        message: "interval must be shorter than duration, so that there are at least two samples",
        fieldPath: ".interval",
      },
      {
        rule: overDurations(
          ["profile.duration"],
          "(duration(self.profile.duration) >= duration('1s') && duration(self.profile.duration) <= duration('60s'))",
        ),
        message: "profile.duration must be between 1s and 60s",
        fieldPath: ".profile.duration",
      },
      {
        rule: overDurations(
          ["profile.duration", "duration"],
          "!self.profile.enabled || duration(self.profile.duration) <= duration(self.duration)",
        ),
        message: "profile.duration must not be longer than duration while profile.enabled is true",
        fieldPath: ".profile.duration",
      },
      {
        rule: overDurations(["stallBudget"], "duration(self.stallBudget) <= duration('30s')"),
        message: "stallBudget must be at most 30s",
        fieldPath: ".stallBudget",
      },
    ),
  );
export type CollectSpec = z.infer<typeof CollectSpec>;

export const Mitigation = z
  .object({
    action: MitigationAction.describe("What to do."),
    when: z
      .object({
        verdicts: z
          .array(Verdict)
          .max(22)
          .optional()
          .describe("Only for these verdicts. Default: any but Inconclusive and BoundedSteady.")
          .meta(listSet),
        minConfidencePercent: Int.min(50).max(100).default(80).describe("Only when the finding is at least this sure."),
        onsetAfterRollout: z
          .boolean()
          .default(false)
          .describe("Only when the growth began with the revision that runs now."),
      })
      .default({ minConfidencePercent: 80, onsetAfterRollout: false })
      .describe("When this action may be taken."),
    approval: z
      .enum(["Automatic", "Manual"])
      .default("Manual")
      .describe("Manual: wait until a person approves this finding. Automatic needs mode Enforce."),
    minAvailable: Int.min(0)
      .max(1000)
      .default(1)
      .describe(
        "Ready pods that must remain while the action takes its course; where fewer are ready already, none of them may be lost.",
      ),
    rollback: z
      .object({
        healthyFor: Duration.default("10m").describe(
          "A revision counts as healthy only when it was the newest for at least this long and no kill of it is on record.",
        ),
      })
      .optional()
      .describe("How to roll back; only with action Rollback."),
    throttle: z
      .object({
        configMap: z
          .object({
            name: ObjectName.describe("A ConfigMap in the workload's namespace."),
            set: z
              .record(z.string(), z.string().max(1024))
              .describe("Keys and the values they get.")
              .meta({
                ...entries(32),
                ...rules({
                  rule: "self.size() > 0 && self.all(key, key.matches('^[-._A-Za-z0-9]{1,253}$'))",
                  message: "set needs at least one key, of letters, digits, -, _ and . only",
                }),
              }),
          })
          .optional()
          .describe("Set keys of a ConfigMap that the workload reads."),
        env: z
          .object({
            container: ContainerName.describe("The container whose environment is changed."),
            set: z
              .record(z.string(), z.string().max(1024))
              .describe("Variables and the values they get.")
              .meta({
                ...entries(32),
                ...rules({
                  rule: "self.size() > 0 && self.all(key, key.matches('^[A-Za-z_][A-Za-z0-9_]{0,252}$'))",
                  message: "set needs at least one variable, named with letters, digits and _ only",
                }),
              }),
          })
          .optional()
          .describe("Set environment variables of a container; the workload rolls out."),
        replicas: z
          .object({ max: Int.min(1).max(10000).describe("The most replicas the workload may have.") })
          .optional()
          .describe("Lower the number of replicas."),
      })
      .optional()
      .describe("How to throttle; only with action Throttle.")
      .meta(
        rules({
          rule: "[has(self.configMap), has(self.env), has(self.replicas)].filter(x, x).size() == 1",
          message: "throttle needs exactly one of configMap, env or replicas",
        }),
      ),
    resize: z
      .object({
        maxBytes: Bytes.describe("The memory limit is never raised above this."),
        factorPercent: Int.min(101).max(400).default(150).describe("The new limit in percent of the old one."),
      })
      .optional()
      .describe("How to raise the limit; only with action Resize."),
  })
  .meta(
    rules(
      {
        rule: "(self.action == 'Throttle') == has(self.throttle)",
        message: "action Throttle needs the field throttle, and no other action may have it",
      },
      {
        rule: "self.action == 'Rollback' || !has(self.rollback)",
        message: "only action Rollback may have the field rollback",
      },
      {
        rule: "(self.action == 'Resize') == has(self.resize)",
        message: "action Resize needs the field resize, and no other action may have it",
      },
    ),
  );

export type Mitigation = z.infer<typeof Mitigation>;

const policyFields = {
  selector: LabelSelector.optional().describe(
    "Workloads (by the labels of their pods) that the policy is for. Default: all of the namespace.",
  ),
  mode: Mode.default("Observe").describe(
    "Observe: collect and diagnose, touch nothing. Recommend: also preserve a pod; mitigation waits for approval. Enforce: also mitigate.",
  ),
  triggers: Triggers.default({ oomKilled: { count: 1, within: "15m" } }).describe("What opens an investigation."),
  preserve: PreserveSpec.default({ strategy: "Isolate", minAvailable: 1, ttl: "24h" }).describe(
    "How a pod is kept for evidence.",
  ),
  collect: CollectSpec.default({
    interval: "10s",
    duration: "5m",
    profile: { enabled: false, duration: "30s", frequencyHz: 99 },
    stallBudget: "1s",
    previousLog: { enabled: false, lines: 50 },
  }).describe("What is collected on the node, and how long."),
  mitigate: z
    .array(Mitigation)
    .max(6)
    .optional()
    .describe("Actions in order: the first whose conditions hold and which no guard refuses is taken.")
    .meta(listMap("action")),
  validate: z
    .object({
      window: Duration.default("1h").describe(
        "For this long after a mitigation its effect is watched, at most 6h. Samples are taken meanwhile, for 75s at least. 0s: nobody looks, and the investigation ends as Mitigated.",
      ),
      onFailure: z
        .enum(["Stop", "Revert", "Escalate"])
        .default("Stop")
        .describe(
          "What follows when it did not help. Stop: the investigation ends as Failed and says why. Revert: it puts back what it did, then ends so. Escalate: it puts back what it did, then asks the next action of mitigate, within all budgets; it ends as Failed where none is left.",
        ),
    })
    .default({ window: "1h", onFailure: "Stop" })
    .describe("How a mitigation is shown to have helped.")
    .meta(
      rules(
        {
          rule: overDurations(["window"], "duration(self.window) <= duration('6h')"),
          message: "window must be at most 6h",
          fieldPath: ".window",
        },
        {
          rule: overDurations(["window"], "self.onFailure == 'Stop' || duration(self.window) > duration('0s')"),
          message: "onFailure Revert and Escalate need a window longer than 0s: without one no failure is seen",
          fieldPath: ".onFailure",
        },
      ),
    ),
  pauseRequests: z
    .array(z.string().min(1).max(256))
    .max(8)
    .optional()
    .describe(
      "While this list has an entry, no mitigation begins; each entry says why. One of a ClusterMemoryPolicy holds for every policy in its namespaces.",
    )
    .meta(listSet),
  budget: z
    .object({
      cooldown: Duration.default("30m").describe(
        "No new investigation of the same workload for this long after one has ended, and no second mitigation of it for this long after one.",
      ),
      maxActive: Int.min(1)
        .max(100)
        .default(1)
        .describe("Investigations that may be active at once under this policy."),
      maxMitigationsPerDay: Int.min(0)
        .max(100)
        .default(2)
        .describe("Mitigations in 24 hours under this policy, and of one workload."),
    })
    .default({ cooldown: "30m", maxActive: 1, maxMitigationsPerDay: 2 })
    .describe("How much the policy may do."),
  retention: z
    .object({
      evidence: LongDuration.default("7d").describe("Packs are deleted after this time.").meta(rules(longerThanZero)),
      maxBytes: Bytes.default("2Gi").describe("Evidence of this policy never takes more than this."),
    })
    .default({ evidence: "7d", maxBytes: "2Gi" })
    .describe("How long evidence is kept."),
};

const specRules = [
  {
    rule: "!has(self.mitigate) || self.mode == 'Enforce' || self.mitigate.all(m, m.approval == 'Manual')",
    message: "approval Automatic needs mode Enforce; set mode: Enforce, or approval: Manual",
    fieldPath: ".mode",
  },
] as const;

export const MemoryPolicySpec = z.object(policyFields).meta(rules(...specRules));
export type MemoryPolicySpec = z.infer<typeof MemoryPolicySpec>;

export const ClusterMemoryPolicySpec = z
  .object({
    ...policyFields,
    namespaceSelector: LabelSelector.optional().describe(
      "Namespaces that the policy is for. Default: all but kube-system and the operator's own.",
    ),
    allowedActions: z
      .array(MitigationAction)
      .max(6)
      .default(["Rollback", "Throttle", "Resize", "Restart"])
      .describe("The most that any policy in these namespaces may do. CordonNode and DrainNode only when named here.")
      .meta(listSet),
    maxMode: Mode.default("Enforce").describe("The furthest mode that a policy in these namespaces may have."),
    clusterBudget: z
      .object({
        maxActive: Int.min(1)
          .max(1000)
          .default(10)
          .describe("Investigations that may be active at once in the whole cluster."),
        maxMitigationsPerDay: Int.min(0)
          .max(1000)
          .default(10)
          .describe("Mitigations in 24 hours in the whole cluster."),
        storm: z
          .object({
            investigations: Int.min(1).max(1000).default(5).describe("When this many investigations …"),
            within: Duration.default("15m")
              .describe("… began within this time in the whole cluster, no mitigation begins.")
              .meta(rules(longerThanZero)),
          })
          .default({ investigations: 5, within: "15m" })
          .describe(
            "The storm brake: when many workloads are in trouble at once, the cause is hardly in each of them.",
          ),
      })
      .default({ maxActive: 10, maxMitigationsPerDay: 10, storm: { investigations: 5, within: "15m" } })
      .describe("Budgets over all namespaces."),
  })
  .meta(
    rules(
      ...specRules,
      {
        rule: "self.maxMode == 'Enforce' || self.mode == 'Observe' || (self.maxMode == 'Recommend' && self.mode == 'Recommend')",
        message: "mode must not go further than maxMode (Observe, then Recommend, then Enforce)",
        fieldPath: ".mode",
      },
      {
        rule: "!has(self.mitigate) || self.mitigate.all(m, m.action in self.allowedActions)",
        message: "mitigate may only use actions that allowedActions names",
        fieldPath: ".mitigate",
      },
    ),
  );
export type ClusterMemoryPolicySpec = z.infer<typeof ClusterMemoryPolicySpec>;

/** The condition types of a policy. TriggersReady is there only where a trigger looks at readings. */
export const POLICY_CONDITION_TYPES = ["Ready", "Shadowed", "TriggersReady"] as const;
export type PolicyConditionType = (typeof POLICY_CONDITION_TYPES)[number];

export const PolicyStatus = z.object({
  observedGeneration: Int.optional().describe("The generation of the spec that this status speaks of."),
  conditions: z.array(Condition).max(8).optional().describe("The facts, one by one.").meta(listMap("type")),
  matchedWorkloads: Int.optional().describe("Workloads with pods that the policy is in force for."),
  activeInvestigations: Int.optional().describe("Investigations that follow this policy and have not ended."),
  mitigationsLastDay: Int.optional().describe(
    "Mitigations begun under this policy in the last 24 hours; budget.maxMitigationsPerDay is their limit.",
  ),
});
export type PolicyStatus = z.infer<typeof PolicyStatus>;

export const MemoryPolicy = z.object({
  apiVersion: z.literal(`${GROUP}/${VERSION}`),
  kind: z.literal("MemoryPolicy"),
  metadata: ObjectMeta,
  spec: MemoryPolicySpec,
  status: PolicyStatus.optional(),
});
export type MemoryPolicy = z.infer<typeof MemoryPolicy>;

export const ClusterMemoryPolicy = z.object({
  apiVersion: z.literal(`${GROUP}/${VERSION}`),
  kind: z.literal("ClusterMemoryPolicy"),
  metadata: ObjectMeta,
  spec: ClusterMemoryPolicySpec,
  status: PolicyStatus.optional(),
});
export type ClusterMemoryPolicy = z.infer<typeof ClusterMemoryPolicy>;
