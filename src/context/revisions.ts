/**
 * Which revisions has the workload had, with which images and limits, and since when is the current one current? From ReplicaSets and
 * ControllerRevisions; of their templates only container names, images and memory limits are read.
 */
import type { ContextEvent, ContextRevision, PodFacts } from "../api/context.ts";
import { at, bytesAt, controllerOf, countAt, listAt, nameOf, textAt, timeAt, uidOf } from "./untrusted.ts";

/** The newest are kept; a Deployment keeps 10 by default, a StatefulSet as well. */
export const MAX_REVISIONS = 32;
const MAX_CONTAINERS = 32;
const MAX_IMAGE = 512;
const REVISION = "deployment.kubernetes.io/revision";
/** Earlier numbers of a ReplicaSet that a roll-back took up again. */
const HISTORY = "deployment.kubernetes.io/revision-history";

/** Those of the target, newest first. */
export function revisionsOf(
  target: unknown,
  objects: readonly unknown[],
  pods: readonly PodFacts[],
  events: readonly ContextEvent[],
): ContextRevision[] {
  const owner = uidOf(target);
  const own = objects
    .filter((object) => owner !== undefined && controllerOf(object)?.uid === owner)
    .toSorted((a, b) => numberOf(b) - numberOf(a));
  const current = currentOf(target, own);
  return own.slice(0, MAX_REVISIONS).flatMap((object) => {
    const name = nameOf(object);
    if (name === undefined) return [];
    const containers = containersOf(object, pods);
    const number = numberOf(object);
    return [
      {
        name,
        revision: number < 0 ? undefined : String(number),
        created: timeAt(object, "metadata", "creationTimestamp"),
        images: containers.flatMap(({ image }) => (image === undefined ? [] : [image])),
        uid: uidOf(object),
        current: object === current,
        replicas: countAt(object, "status", "replicas"),
        readyReplicas: countAt(object, "status", "readyReplicas"),
        currentSince: sinceOf(object, own, name, events),
        containers,
      },
    ];
  });
}

/** A ReplicaSet's number stands in an annotation, a ControllerRevision's in a field. -1: it has none. */
function numberOf(object: unknown): number {
  const field = countAt(object, "revision");
  const text = at(object, "metadata", "annotations", REVISION);
  return field ?? (typeof text === "string" && /^\d{1,15}$/.test(text) ? Number(text) : -1);
}

function currentOf(target: unknown, own: readonly unknown[]): unknown {
  const number = at(target, "metadata", "annotations", REVISION);
  if (typeof number === "string") return own.find((object) => String(numberOf(object)) === number);
  const name = at(target, "status", "updateRevision");
  // A DaemonSet names no revision; its newest is the current one.
  return typeof name === "string" ? own.find((object) => nameOf(object) === name) : own[0];
}

/**
 * A revision became current when it was made, unless a roll-back took it up again: then only the event of its scaling up tells when,
 * and events live for an hour.
 */
function sinceOf(
  object: unknown,
  own: readonly unknown[],
  name: string,
  events: readonly ContextEvent[],
): ContextRevision["currentSince"] {
  const created = timeAt(object, "metadata", "creationTimestamp");
  if (!wasTakenUpAgain(object, own)) {
    return created === undefined ? undefined : { time: created, clock: "Server", from: "Created" };
  }
  const scaled = events.findLast(
    (e) => e.reason === "ScalingReplicaSet" && e.message.startsWith(`Scaled up replica set ${name} from 0 to `),
  );
  return scaled === undefined ? undefined : { time: scaled.last, clock: scaled.clock, from: "ScaledUp" };
}

/** A ReplicaSet says so itself; a ControllerRevision gets a new number, which then does not fit the order of creation. */
function wasTakenUpAgain(object: unknown, own: readonly unknown[]): boolean {
  if (typeof at(object, "metadata", "annotations", HISTORY) === "string") return true;
  const created = timeAt(object, "metadata", "creationTimestamp") ?? "";
  return own.some(
    (other) =>
      numberOf(other) < numberOf(object) &&
      Date.parse(timeAt(other, "metadata", "creationTimestamp") ?? "") > Date.parse(created),
  );
}

function containersOf(object: unknown, pods: readonly PodFacts[]): NonNullable<ContextRevision["containers"]> {
  const spec = at(object, "spec", "template", "spec") ?? at(object, "data", "spec", "template", "spec");
  const own = pods.filter((pod) => belongsTo(pod, object));
  return [...listAt(spec, "initContainers"), ...listAt(spec, "containers")].slice(0, MAX_CONTAINERS).flatMap((c) => {
    const name = textAt(c, ["name"], 63);
    if (name === undefined) return [];
    const ids = own.flatMap((pod) =>
      pod.containers.flatMap((one) => (one.name === name && one.imageId !== undefined ? [one.imageId] : [])),
    );
    return [
      {
        name,
        image: textAt(c, ["image"], MAX_IMAGE),
        imageIds: [...new Set(ids)].slice(0, 8),
        limitBytes: bytesAt(c, "resources", "limits", "memory"),
      },
    ];
  });
}

/** Pods of a ReplicaSet know its uid. Those of a ControllerRevision carry its hash in a label that their owner may write, so they are left out. */
function belongsTo(pod: PodFacts, revision: unknown): boolean {
  const uid = uidOf(revision);
  return uid !== undefined && pod.owners[0]?.uid === uid;
}
