/** Which workloads are there, and which policies speak about each? From the watches alone, for what looks at all of them: policies' status and triggers. */
import { keyText, type Observation, type PodView, type PolicyView, type WorkloadKey } from "../incident/observation.ts";
import { inForce, rankedPolicies, type PolicyQuestion } from "../incident/policy.ts";
import { PRESERVED_LABEL } from "../incident/preservation.ts";
import type { Stores } from "./observe.ts";
import { workloadOf } from "./workloads.ts";

/** A workload that has at least one pod which has not ended. */
export interface CensusEntry {
  readonly key: WorkloadKey;
  /** Pods that have not ended and were not taken out of it. */
  readonly pods: readonly PodView[];
  /** Every policy that selects it, the one in force first. */
  readonly ranked: readonly PolicyView[];
  /** Undefined: no policy selects it. */
  readonly policy: Observation["policy"] | undefined;
}

/** A moment's view. Takes about 20 ms for 10,000 pods of 2,500 workloads under 205 policies. */
export function census(stores: Stores, exempt: readonly string[]): CensusEntry[] {
  const workloads = new Map<string, { readonly key: WorkloadKey; readonly pods: PodView[] }>();
  // Siblings have one owner, whose workload is looked for once.
  const byOwner = new Map<string, PodView[]>();
  for (const pod of stores.pods.list()) {
    if (pod.phase === "Succeeded" || pod.phase === "Failed" || pod.deletionTimestamp !== undefined) continue;
    if (pod.labels[PRESERVED_LABEL] !== undefined) continue;
    const siblings = pod.ownerUid === undefined ? undefined : byOwner.get(pod.ownerUid);
    if (siblings !== undefined) {
      siblings.push(pod);
      continue;
    }
    const key = workloadOf(pod, stores);
    if (key === undefined) continue;
    const text = keyText(key);
    const known = workloads.get(text) ?? { key, pods: [] };
    known.pods.push(pod);
    workloads.set(text, known);
    // A controller that we do not know has no workload of its own: each of its pods is one.
    if (pod.ownerUid !== undefined && key.kind !== "Pod") byOwner.set(pod.ownerUid, known.pods);
  }
  const everywhere = [...stores.clusterPolicies.list()];
  const policiesOf = new Map<string, readonly PolicyView[]>();
  return [...workloads.values()].map(({ key, pods }) => {
    const { namespace } = key;
    const policies = policiesOf.get(namespace) ?? [...stores.policies.list(namespace), ...everywhere];
    policiesOf.set(namespace, policies);
    const question: PolicyQuestion = {
      namespace,
      namespaceLabels: stores.namespaces.get("", namespace)?.labels ?? {},
      podLabels: pods[0]?.labels ?? {},
      exempt,
    };
    const ranked = rankedPolicies(policies, question);
    return { key, pods, ranked, policy: inForce(ranked) };
  });
}
