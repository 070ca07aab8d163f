/**
 * Which OOM kills does a pod's status tell of? Pod status is a witness, not the truth: exit code 137 alone
 * proves nothing, and reason OOMKilled with another exit code is an old kill of a child, not an incident.
 */
import { killId } from "../api/identity.ts";
import type { Kill, KillClassification } from "../api/memoryinvestigation.ts";
import type { ContainerState, ContainerView, PodView } from "./observation.ts";

/** Exit code of a process that died of SIGKILL: 128 + 9. */
const EXIT_SIGKILL = 137;

/** Phrase of the kubelet's eviction manager; its other evictions (disk, pids) name another resource. */
const MEMORY_EVICTION = /low on resource: memory\b/;

/**
 * All kills that a pod's status still shows, newest incarnation last. A pure reading: the same status gives the same
 * kills with the same identities, however often it is read. Kills that happened while nobody watched are found the same way.
 *
 * @param revision the workload's revision that the pod belongs to, for the ledger
 */
export function killsOf(pod: PodView, revision?: string): Kill[] {
  const kills: Kill[] = [];
  for (const container of pod.containers) {
    for (const [state, restartsAfter] of [
      [container.last, container.restartCount],
      [container.state, container.restartCount + 1],
    ] as const) {
      const kill = killOf(pod, container, state, restartsAfter, revision);
      if (kill !== undefined) kills.push(kill);
    }
  }
  const eviction = evictionOf(pod, revision);
  if (eviction !== undefined) kills.push(eviction);
  return kills;
}

function killOf(
  pod: PodView,
  container: ContainerView,
  state: ContainerState | undefined,
  restartsAfter: number,
  revision: string | undefined,
): Kill | undefined {
  if (state?.kind !== "terminated" || state.finishedAt === undefined) return undefined;
  const classification = classify(state);
  if (classification === undefined) return undefined;
  return {
    // The container id is new with each incarnation, so that lastState and state of one death agree on the identity.
    id: killId({
      podUid: pod.uid,
      container: container.name,
      ...(state.containerId === undefined ? { restartCount: restartsAfter } : { containerId: state.containerId }),
      finishedAt: state.finishedAt,
    }),
    pod: { name: pod.name, uid: pod.uid },
    container: container.name,
    containerType: container.type,
    ...(state.containerId === undefined ? {} : { containerId: state.containerId }),
    ...(pod.node === undefined ? {} : { node: pod.node }),
    time: state.finishedAt,
    restartCount: restartsAfter,
    ...(state.exitCode === undefined ? {} : { exitCode: state.exitCode }),
    ...(container.limitBytes === undefined ? {} : { limitBytes: container.limitBytes }),
    ...(revision === undefined ? {} : { revision }),
    classification,
    sources: ["PodStatus"],
  };
}

/**
 * The exit-code rules. The runtime derives OOMKilled from a counter that never goes back, so a child killed hours ago
 * makes a graceful stop (143, 0) read OOMKilled: that is no incident, above all when our own eviction stopped the pod.
 */
function classify(state: ContainerState): KillClassification | undefined {
  if (state.reason === "OOMKilled") return state.exitCode === EXIT_SIGKILL ? "ContainerKilled" : "NotAKill";
  if (state.exitCode === EXIT_SIGKILL && state.reason === "Error") return "Unconfirmed";
  return undefined;
}

function evictionOf(pod: PodView, revision: string | undefined): Kill | undefined {
  if (pod.phase !== "Failed" || pod.reason !== "Evicted" || !MEMORY_EVICTION.test(pod.message ?? "")) return undefined;
  const ended = pod.containers.flatMap((c) => (c.state.finishedAt === undefined ? [] : [c.state.finishedAt]));
  // The kubelet does not say when it evicted; the last container's end is as close as status comes.
  const time = ended.toSorted().at(-1) ?? pod.startTime ?? pod.creationTimestamp;
  if (time === undefined) return undefined;
  return {
    // One eviction ends the pod, so its uid alone is the identity: times that are filled in later change nothing.
    id: killId({ podUid: pod.uid, container: "", restartCount: 0, finishedAt: "evicted" }),
    pod: { name: pod.name, uid: pod.uid },
    ...(pod.node === undefined ? {} : { node: pod.node }),
    time,
    ...(revision === undefined ? {} : { revision }),
    classification: "Evicted",
    sources: ["Eviction"],
  };
}

/** Whether a kill of this class is an incident by itself. The others only join one that is open. */
export function opensInvestigation(kill: Kill): boolean {
  switch (kill.classification) {
    case "ContainerKilled":
    case "ChildKilled":
    case "PodLimit":
    case "NodeKilled":
    case "Evicted":
      return true;
    case "Unconfirmed":
    case "NotAKill":
      return false;
  }
}
