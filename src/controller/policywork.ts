/** What is done for policies as a whole, beside the work on single workloads: their triggers look at readings, and their status is kept true. */
import type { Logger } from "pino";
import type { Api } from "../cluster/api.ts";
import { census } from "../cluster/census.ts";
import type { EventRecorder } from "../cluster/events.ts";
import { readNodeUsage, readPodUsage } from "../cluster/metricsreads.ts";
import type { Watches } from "../cluster/watches.ts";
import type { Clock } from "../seams.ts";
import { createPolicyReports, type PolicyReports } from "./policyreports.ts";
import { createSampler, type Sampler } from "./sampler.ts";

/** How often the metrics API is asked: metrics-server has news every 15 s by default. */
export const SAMPLE_MS = 15_000;
/** How often the status of policies is compared with what it should be. */
export const REPORT_MS = 5_000;

export interface PolicyWorkOptions {
  readonly api: Api;
  readonly watches: Watches;
  readonly events: EventRecorder;
  readonly exemptNamespaces: readonly string[];
  readonly enqueue: (key: string) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export function createPolicyWork(options: PolicyWorkOptions): {
  readonly sampler: Sampler;
  readonly reports: PolicyReports;
} {
  const { api, watches, events, exemptNamespaces, enqueue, clock, log } = options;
  const { stores } = watches;
  const sampler = createSampler({
    clock,
    log,
    enqueue,
    census: () => census(stores, exemptNamespaces),
    readPods: (namespaces) => readPodUsage(api, namespaces),
    readNodes: () => readNodeUsage(api),
    capacity: (node) => stores.nodes.get("", node)?.capacityBytes,
  });
  const reports = createPolicyReports({
    api,
    clock,
    log,
    policies: () => [...stores.policies.list(), ...stores.clusterPolicies.list()],
    census: () => census(stores, exemptNamespaces),
    investigations: () => watches.investigations().map(({ investigation }) => investigation),
    triggers: (policy) => sampler.fact(policy),
    announce: (note) => events.record(note),
  });
  return { sampler, reports };
}
