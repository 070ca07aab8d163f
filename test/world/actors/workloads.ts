/** The controllers of Deployments and ReplicaSets, as far as an incident meets them: they roll out, number revisions, replace, adopt, release, and take one too many away. */
import { templateHash, type Json } from "../../../src/incident/templates.ts";
import { type Actor, type Hands, isReady, type Item, matches, ownedBy, ownerOf } from "./hands.ts";

const REVISION = "deployment.kubernetes.io/revision";
const HASH = "pod-template-hash";
const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";

interface DeploymentSpec {
  readonly replicas: number;
  readonly selector: { readonly matchLabels: Record<string, string> };
  readonly template: { readonly metadata: { readonly labels: Record<string, string> }; readonly spec: object };
}

export const deploymentController: Actor = {
  name: "deployment-controller",
  heeds: ["deployments", "replicasets"],
  step(hands) {
    for (const deployment of hands.list("deployments")) {
      const sets = hands
        .list("replicasets", deployment.metadata.namespace)
        .filter((s) => ownedBy(s, deployment.metadata.uid));
      const current = currentSet(hands, deployment, sets);
      if (current === undefined) continue;
      rollOut(
        hands,
        deployment,
        current,
        sets.filter((s) => s.metadata.uid !== current.metadata.uid),
      );
      tellRollout(hands, deployment, current);
    }
  },
};

const specOf = (deployment: Item): DeploymentSpec => deployment.spec as unknown as DeploymentSpec;
const replicasOf = (set: Item): number => Number(set.spec["replicas"] ?? 0);
const readyOf = (set: Item): number => Number(set.status?.["readyReplicas"] ?? 0);
const revisionOf = (set: Item): number => Number(set.metadata.annotations?.[REVISION] ?? 0);

/** The set of the newest template; an old one that is taken up again gets the next number. */
function currentSet(hands: Hands, deployment: Item, sets: readonly Item[]): Item | undefined {
  const { template, selector } = specOf(deployment);
  const hash = templateHash(template as unknown as Json).slice(0, 10);
  const newest = Math.max(0, ...sets.map(revisionOf));
  const found = sets.find((set) => set.metadata.labels?.[HASH] === hash);
  if (found !== undefined) {
    if (revisionOf(found) === newest) return found;
    return hands.patch("replicasets", found, { metadata: { annotations: { [REVISION]: String(newest + 1) } } });
  }
  const labels = { ...template.metadata.labels, [HASH]: hash };
  const { name, namespace } = deployment.metadata;
  // One of a Deployment that is gone still has the name: the garbage collector will take it.
  if (hands.list("replicasets", namespace).some((set) => set.metadata.name === `${name}-${hash}`)) return undefined;
  return hands.create("replicasets", {
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      labels,
      annotations: { [REVISION]: String(newest + 1) },
      ownerReferences: [ownerOf(deployment, "apps/v1", "Deployment")],
    },
    spec: {
      replicas: 0,
      selector: { matchLabels: { ...selector.matchLabels, [HASH]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  });
}

/** One more than wanted at most, and never fewer that are ready. */
function rollOut(hands: Hands, deployment: Item, current: Item, old: readonly Item[]): void {
  const { replicas } = specOf(deployment);
  const total = [current, ...old].reduce((sum, set) => sum + replicasOf(set), 0);
  const scale = (set: Item, to: number): void => void hands.patch("replicasets", set, { spec: { replicas: to } });
  const surge = old.some((set) => replicasOf(set) > 0) ? 1 : replicas;
  const next = Math.min(replicas, replicasOf(current) + Math.max(0, Math.min(surge, replicas + 1 - total)));
  if (next !== replicasOf(current)) scale(current, next);
  const ready = [current, ...old].reduce((sum, set) => sum + readyOf(set), 0);
  const spare = old.find((set) => replicasOf(set) > 0);
  if (spare !== undefined && ready > replicas) scale(spare, replicasOf(spare) - 1);
}

function tellRollout(hands: Hands, deployment: Item, current: Item): void {
  const sets = hands
    .list("replicasets", deployment.metadata.namespace)
    .filter((s) => ownedBy(s, deployment.metadata.uid));
  const sum = (of: (set: Item) => number): number => sets.reduce((total, set) => total + of(set), 0);
  const fresh = sets.find((set) => set.metadata.uid === current.metadata.uid);
  const ready = sum(readyOf);
  hands.status("deployments", deployment, {
    observedGeneration: deployment.metadata.generation,
    replicas: sum((set) => Number(set.status?.["replicas"] ?? 0)),
    updatedReplicas: Number(fresh?.status?.["replicas"] ?? 0),
    readyReplicas: ready,
    availableReplicas: ready,
  });
}

/** Pods made so far, by world: their names count. */
const made = new WeakMap<object, number>();

export const replicaSetController: Actor = {
  name: "replicaset-controller",
  heeds: ["replicasets", "pods"],
  step(hands) {
    for (const set of hands.list("replicasets")) {
      const { namespace, uid } = set.metadata;
      const { matchLabels } = set.spec["selector"] as unknown as { matchLabels: Record<string, string> };
      for (const pod of hands.list("pods", namespace)) claim(hands, set, pod, matchLabels);
      const pods = hands
        .list("pods", namespace)
        .filter((p) => ownedBy(p, uid) && p.metadata.deletionTimestamp === undefined);
      const missing = replicasOf(set) - pods.length;
      for (let i = 0; i < missing; i++) makePod(hands, set);
      for (const pod of pods.toSorted(firstToGo).slice(0, Math.max(0, -missing))) hands.remove("pods", pod);
      const left = hands
        .list("pods", namespace)
        .filter((p) => ownedBy(p, uid) && p.metadata.deletionTimestamp === undefined);
      hands.status("replicasets", set, { replicas: left.length, readyReplicas: left.filter(isReady).length });
    }
  },
};

/** Takes in pods that nobody owns, and lets those go that it no longer selects. */
function claim(hands: Hands, set: Item, pod: Item, labels: Readonly<Record<string, string>>): void {
  const { uid, resourceVersion, ownerReferences = [], deletionTimestamp } = pod.metadata;
  const own = ownedBy(pod, set.metadata.uid);
  const selected = matches(pod, labels);
  const free = !ownerReferences.some((owner) => owner.controller === true) && deletionTimestamp === undefined;
  if (own === selected || (!own && !free)) return;
  const next = own
    ? ownerReferences.filter((owner) => owner.uid !== set.metadata.uid)
    : [...ownerReferences, ownerOf(set, "apps/v1", "ReplicaSet")];
  hands.patch("pods", pod, { metadata: { uid, resourceVersion, ownerReferences: next.length === 0 ? null : next } });
}

function firstToGo(a: Item, b: Item): number {
  const cost = (pod: Item): number => Number(pod.metadata.annotations?.[DELETION_COST] ?? 0);
  return (
    Number(isReady(a)) - Number(isReady(b)) ||
    cost(a) - cost(b) ||
    b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp) ||
    b.metadata.name.localeCompare(a.metadata.name)
  );
}

function makePod(hands: Hands, set: Item): void {
  const count = (made.get(hands.server) ?? 0) + 1;
  made.set(hands.server, count);
  const { namespace, name } = set.metadata;
  const { metadata, spec } = set.spec["template"] as unknown as { metadata: object; spec: object };
  hands.create("pods", {
    metadata: {
      ...metadata,
      name: `${name}-${String(count).padStart(3, "0")}`,
      namespace,
      ownerReferences: [ownerOf(set, "apps/v1", "ReplicaSet")],
    },
    spec: { ...spec, nodeName: `n${1 + (count % 2)}` },
  });
}
