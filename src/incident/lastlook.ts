/**
 * What is written into a pack beside what the collector measures: what is asked of the API server when a collection begins and once more when it
 * has ended, and what the watches know already. The second look comes before the collection counts as over, so that a finding never rests on half of it.
 */
import type { Context } from "../api/collection.ts";
import type { Collection, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { MAX_CONTEXT_PODS, MAX_LOGS, type ContextQuestion, type ContextStage } from "../context/question.ts";
import type { Action } from "./actions.ts";
import type { EffectivePolicy, Observation, PodView, SessionView } from "./observation.ts";
import { PRESERVED_LABEL } from "./preservation.ts";
import { revisionOf } from "./revisions.ts";

export function roleOf(pod: PodView): "Preserved" | "Serving" {
  return pod.labels[PRESERVED_LABEL] === undefined ? "Serving" : "Preserved";
}

/** The write of a collection's context at one of its ends. Safe to repeat: a later one knows more. */
export function writeContextAction(
  seen: Observation,
  investigation: MemoryInvestigation,
  policy: EffectivePolicy,
  collection: Collection,
  stage: ContextStage,
): Action {
  const pods = collection.pods.flatMap(({ uid }) => seen.pods.filter((pod) => pod.uid === uid));
  return {
    kind: "WriteContext",
    collection: collection.id,
    base: contextOf(seen, investigation, pods),
    question: questionOf(seen, investigation, policy, collection, stage),
  };
}

/** What is left to do before the collection may count as over. Undefined: nothing, or it could not be done and is left out. */
export function lastLook(
  seen: Observation,
  investigation: MemoryInvestigation,
  session: SessionView | undefined,
): "Write" | "Wait" | undefined {
  // A store that has lost the pack gets no new one with nothing but a context in it.
  if (session === undefined || session.context === "End") return undefined;
  if (seen.refused[investigation.metadata.uid]?.action === "WriteContext") return undefined;
  return session.context === "Unread" ? "Wait" : "Write";
}

function questionOf(
  seen: Observation,
  investigation: MemoryInvestigation,
  policy: EffectivePolicy,
  collection: Collection,
  stage: ContextStage,
): ContextQuestion {
  const { previousLog } = policy.spec.collect;
  const measured = collection.pods.map(({ name, uid, role }) => ({ name, uid, role }));
  const killed = new Set((investigation.status?.kills ?? []).map((kill) => kill.pod.uid));
  const others = seen.pods
    .filter((pod) => !measured.some(({ uid }) => uid === pod.uid))
    .toSorted((a, b) => Number(killed.has(b.uid)) - Number(killed.has(a.uid)) || a.name.localeCompare(b.name))
    .map(({ name, uid }) => ({ name, uid }));
  const pods = [...measured, ...others];
  const { kind, name } = investigation.spec.targetRef;
  return {
    stage,
    namespace: seen.key.namespace,
    target: { kind, name, ...(seen.target === undefined ? {} : { uid: seen.target.uid }) },
    node: collection.node,
    pods: pods.slice(0, MAX_CONTEXT_PODS),
    podsOmitted: Math.max(0, pods.length - MAX_CONTEXT_PODS),
    logs: previousLog.enabled ? logsOf(seen, investigation) : [],
    logLines: previousLog.enabled ? previousLog.lines : 0,
  };
}

/** The newest kills whose pods still exist: the runtime keeps the log of one incarnation before the present one. */
function logsOf(seen: Observation, investigation: MemoryInvestigation): ContextQuestion["logs"] {
  const alive = new Map(seen.pods.map((pod) => [pod.uid, pod]));
  const wanted = new Map<string, ContextQuestion["logs"][number]>();
  for (const { pod, container } of (investigation.status?.kills ?? []).toReversed()) {
    const view = alive.get(pod.uid);
    if (view === undefined || container === undefined) continue;
    if (view.containers.find((c) => c.name === container)?.last === undefined) continue;
    wanted.set(`${pod.uid} ${container}`, { pod: view.name, uid: view.uid, container });
  }
  return [...wanted.values()].slice(0, MAX_LOGS);
}

function contextOf(seen: Observation, investigation: MemoryInvestigation, pods: readonly PodView[]): Context {
  const { kind, name } = investigation.spec.targetRef;
  return {
    target: {
      kind,
      namespace: seen.key.namespace,
      name,
      ...(seen.target === undefined ? {} : { uid: seen.target.uid }),
    },
    ...(investigation.spec.container === undefined ? {} : { container: investigation.spec.container }),
    kills: (investigation.status?.kills ?? []).map((kill) => ({ ...kill })),
    revisions: seen.replicaSets.map((rs) => ({
      name: rs.name,
      ...(rs.revision === undefined ? {} : { revision: rs.revision }),
      ...(rs.creationTimestamp === undefined ? {} : { created: rs.creationTimestamp }),
      images: [...rs.images],
    })),
    pods: pods.map((pod) => {
      const revision = revisionOf(pod, seen);
      return {
        name: pod.name,
        uid: pod.uid,
        role: roleOf(pod),
        ...(revision === undefined ? {} : { revision }),
        containers: pod.containers.map((c) => ({
          name: c.name,
          ...(c.containerId === undefined ? {} : { id: c.containerId }),
          ...(c.limitBytes === undefined ? {} : { limitBytes: c.limitBytes }),
        })),
      };
    }),
  };
}
