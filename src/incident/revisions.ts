/** Which revision of its workload does a pod belong to? By the controller's own marks, never by image names. */
import type { Observation, PodView } from "./observation.ts";

/** Labels that StatefulSet and DaemonSet controllers put on their pods. */
const REVISION_LABEL = "controller-revision-hash";

/**
 * The name of the ReplicaSet of a Deployment's pod, the ControllerRevision hash of a StatefulSet's or DaemonSet's,
 * undefined for a bare pod or a Job's. A preserved pod has no owner any more: its marks stay in our annotation.
 */
export function revisionOf(pod: PodView, seen: Pick<Observation, "replicaSets">): string | undefined {
  if (pod.ownerKind === "ReplicaSet") {
    return seen.replicaSets.find((rs) => rs.uid === pod.ownerUid)?.name ?? pod.ownerName;
  }
  return pod.labels[REVISION_LABEL] ?? pod.annotations["oomscope.dev/revision"];
}
