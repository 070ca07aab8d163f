/** What the operator counts, by the conventions of Prometheus. No label carries an id, a pod, a node or an image. */
import { Counter, Gauge, Histogram, Registry } from "@prometheus-io/client";
import { KillClassification } from "../api/memoryinvestigation.ts";
import type { Removal } from "./retention.ts";
import type { WorkQueueStats } from "./workqueue.ts";

export interface Metrics {
  readonly registry: Registry;
  reconciled(outcome: "done" | "failed", seconds: number): void;
  acted(action: string, outcome: "done" | "refused"): void;
  kill(classification: string): void;
  mitigation(action: string, state: string, reason: string): void;
  ended(result: string): void;
  packRemoved(why: Removal): void;
  uploaded(outcome: "done" | "failed"): void;
  notified(receiver: string, outcome: string): void;
}

export function createMetrics(
  queue: () => WorkQueueStats,
  investigations: () => number,
  storeBytes: () => number,
): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const reconciles = new Counter({
    name: "oomscope_reconciles_total",
    help: "Passes over a workload, by outcome.",
    labelNames: ["outcome"],
    registers,
  });
  const duration = new Histogram({
    name: "oomscope_reconcile_duration_seconds",
    help: "Time of one pass over a workload.",
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers,
  });
  const actions = new Counter({
    name: "oomscope_actions_total",
    help: "Actions, by kind and outcome.",
    labelNames: ["action", "outcome"],
    registers,
  });
  const kills = new Counter({
    name: "oomscope_oom_kills_total",
    help: "Kills that were counted into an investigation, by class.",
    labelNames: ["classification"],
    registers,
  });
  // A series that begins with 1 has not increased for anybody who looks: the first kill would alert nobody.
  for (const classification of KillClassification.options) kills.inc({ classification }, 0);
  const mitigations = new Counter({
    name: "oomscope_mitigations_total",
    help: "Steps of mitigations: what was refused, proposed, intended, done, and why.",
    labelNames: ["action", "state", "reason"],
    registers,
  });
  const results = new Counter({
    name: "oomscope_investigations_total",
    help: "Investigations that have ended, by result.",
    labelNames: ["result"],
    registers,
  });
  const removals = new Counter({
    name: "oomscope_evidence_removed_total",
    help: "Packs deleted from the evidence directory: at their time, for retention.maxBytes of their policy, or because the directory was full.",
    labelNames: ["why"],
    registers,
  });
  const uploads = new Counter({
    name: "oomscope_evidence_uploads_total",
    help: "Attempts to upload a pack to the bucket, by outcome.",
    labelNames: ["outcome"],
    registers,
  });
  for (const outcome of ["done", "failed"]) uploads.inc({ outcome }, 0);
  for (const why of ["Expired", "PolicyFull", "StoreFull"]) removals.inc({ why }, 0);
  const notifications = new Counter({
    name: "oomscope_notifications_total",
    help: "Messages to people, by receiver and what came of them.",
    labelNames: ["receiver", "outcome"],
    registers,
  });
  registry.registerMetric(
    new Gauge({
      name: "oomscope_investigations_active",
      help: "Investigations that have not ended.",
      registers: [],
      collect() {
        this.set(investigations());
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "oomscope_evidence_bytes",
      help: "Bytes in the evidence store.",
      registers: [],
      collect() {
        this.set(storeBytes());
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "oomscope_queue_keys",
      help: "Workloads in the queue, by state.",
      labelNames: ["state"],
      registers: [],
      collect() {
        for (const [state, count] of Object.entries(queue())) this.set({ state }, count as number);
      },
    }),
  );
  return {
    registry,
    reconciled: (outcome, seconds) => {
      reconciles.inc({ outcome });
      duration.observe(seconds);
    },
    acted: (action, outcome) => actions.inc({ action, outcome }),
    kill: (classification) => kills.inc({ classification }),
    mitigation: (action, state, reason) => mitigations.inc({ action, state, reason }),
    ended: (result) => results.inc({ result }),
    packRemoved: (why) => removals.inc({ why }),
    uploaded: (outcome) => uploads.inc({ outcome }),
    notified: (receiver, outcome) => notifications.inc({ receiver, outcome }),
  };
}
