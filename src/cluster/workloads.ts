/** Which workload does a pod belong to, and which pods belong to a workload? By controller uids, never by labels or names. */
import type { PodView, ReplicaSetView, TargetKind, WorkloadKey, WorkloadView } from "../incident/observation.ts";
import { PRESERVED_LABEL } from "../incident/preservation.ts";
import type { Store, Tracked } from "./store.ts";

export interface WorkloadStores {
  readonly pods: Store<PodView & Tracked>;
  readonly replicaSets: Store<ReplicaSetView & Tracked & { readonly podTemplateHash?: string }>;
  readonly workloads: Readonly<
    Record<"Deployment" | "StatefulSet" | "DaemonSet" | "Job", Store<WorkloadView & Tracked>>
  >;
}

const DIRECT_OWNERS: ReadonlySet<string> = new Set<TargetKind>(["StatefulSet", "DaemonSet", "Job"]);

/**
 * The workload of a pod: the Deployment behind its ReplicaSet, or its StatefulSet, DaemonSet or Job. A pod of a controller that we do
 * not know (an Argo Rollout, say) is a workload of its own, like a bare pod. A pod that was taken out of its workload is found
 * through the investigation, not here. Undefined: its ReplicaSet has not been seen (yet).
 */
export function workloadOf(pod: PodView, stores: Pick<WorkloadStores, "replicaSets">): WorkloadKey | undefined {
  const { namespace, ownerKind, ownerName, ownerUid } = pod;
  if (ownerKind === "ReplicaSet" && ownerUid !== undefined) {
    const replicaSet = stores.replicaSets.byUid(ownerUid);
    if (replicaSet === undefined) return undefined;
    if (replicaSet.ownerKind === "Deployment" && replicaSet.ownerName !== undefined) {
      return { namespace, kind: "Deployment", name: replicaSet.ownerName };
    }
  } else if (ownerKind !== undefined && ownerName !== undefined && DIRECT_OWNERS.has(ownerKind)) {
    return { namespace, kind: ownerKind as TargetKind, name: ownerName };
  }
  // Taken out of its workload by us: its kills belong to the investigation that did so, and to no workload of the pod's own.
  if (ownerUid === undefined && pod.labels[PRESERVED_LABEL] !== undefined) return undefined;
  const hash = pod.labels[TEMPLATE_HASH];
  if (ownerUid === undefined && hash !== undefined) return ownerByHash(namespace, hash, stores);
  return { namespace, kind: "Pod", name: pod.name };
}

/** Label that a Deployment puts on its ReplicaSets and their pods. */
const TEMPLATE_HASH = "pod-template-hash";

/**
 * A pod that a ReplicaSet made and that has no owner is between two: it was just released and is about to be adopted again. It is no workload of
 * its own, and if nobody adopts it, it is nobody's.
 */
function ownerByHash(
  namespace: string,
  hash: string,
  stores: Pick<WorkloadStores, "replicaSets">,
): WorkloadKey | undefined {
  for (const rs of stores.replicaSets.list(namespace)) {
    if (rs.podTemplateHash === hash && rs.ownerKind === "Deployment" && rs.ownerName !== undefined) {
      return { namespace, kind: "Deployment", name: rs.ownerName };
    }
  }
  return undefined;
}

/** The target itself, as the watches know it. */
export function targetOf(key: WorkloadKey, stores: WorkloadStores): WorkloadView | undefined {
  if (key.kind !== "Pod") return stores.workloads[key.kind].get(key.namespace, key.name);
  const pod = stores.pods.get(key.namespace, key.name);
  if (pod === undefined) return undefined;
  return {
    uid: pod.uid,
    namespace: pod.namespace,
    kind: "Pod",
    name: pod.name,
    generation: 1,
    replicas: 1,
    images: [],
    ...(pod.deletionTimestamp === undefined ? {} : { deletionTimestamp: pod.deletionTimestamp }),
  };
}

/** ReplicaSets that the Deployment owns now. */
export function replicaSetsOf(
  key: WorkloadKey,
  target: WorkloadView | undefined,
  stores: WorkloadStores,
): ReplicaSetView[] {
  if (key.kind !== "Deployment" || target === undefined) return [];
  return [...stores.replicaSets.list(key.namespace)].filter((rs) => rs.ownerUid === target.uid);
}

/**
 * Pods of the workload: those whose controller chain ends at it, those that one of its investigations took out of it, and those
 * that its investigations name by uid.
 */
export function podsOf(
  key: WorkloadKey,
  target: WorkloadView | undefined,
  replicaSets: readonly ReplicaSetView[],
  stores: WorkloadStores,
  investigationUids: ReadonlySet<string>,
): PodView[] {
  const owners = new Set(replicaSets.map((rs) => rs.uid));
  if (target !== undefined) owners.add(target.uid);
  return [...stores.pods.list(key.namespace)].filter(
    (pod) =>
      (pod.ownerUid !== undefined && owners.has(pod.ownerUid)) ||
      (key.kind === "Pod" && pod.name === key.name) ||
      investigationUids.has(pod.labels[PRESERVED_LABEL] ?? ""),
  );
}
