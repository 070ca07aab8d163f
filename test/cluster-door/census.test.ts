/** Which workloads are counted, with which pods, and under which policies? */
import { beforeEach, expect, test } from "vitest";
import { ClusterMemoryPolicySpec, MemoryPolicySpec } from "../../src/api/memorypolicy.ts";
import { census } from "../../src/cluster/census.ts";
import type { NamespaceView, NodeView, Stores, TrackedPolicy } from "../../src/cluster/observe.ts";
import { ObjectStore, type Tracked } from "../../src/cluster/store.ts";
import type { JobView, PodView, ReplicaSetView, WorkloadView } from "../../src/incident/observation.ts";
import { aPod } from "../incident/builders.ts";

const store = <T extends Tracked>(): ObjectStore<T> => new ObjectStore<T>();

let pods: ObjectStore<PodView & Tracked>;
let policies: ObjectStore<TrackedPolicy>;
let clusterPolicies: ObjectStore<TrackedPolicy>;
let stores: Stores;

beforeEach(() => {
  pods = store();
  policies = store();
  clusterPolicies = store();
  const replicaSets = store<ReplicaSetView & Tracked>();
  const workloads = {
    Deployment: store<WorkloadView & Tracked>(),
    StatefulSet: store<WorkloadView & Tracked>(),
    DaemonSet: store<WorkloadView & Tracked>(),
    Job: store<WorkloadView & Tracked>(),
  };
  for (const name of ["thumbs-h1", "thumbs-h2"]) {
    replicaSets.put({
      uid: `rs-${name}`,
      namespace: "media",
      name,
      resourceVersion: "1",
      ownerKind: "Deployment",
      ownerName: "thumbs",
      ownerUid: "d-1",
      replicas: 1,
      images: [],
    });
  }
  stores = {
    pods,
    replicaSets,
    workloads,
    policies,
    clusterPolicies,
    collectionJobs: store<JobView & Tracked>(),
    nodes: store<NodeView>(),
    namespaces: store<NamespaceView>(),
  };
});

function policy(kind: TrackedPolicy["kind"], name: string, spec: object): void {
  const schema = kind === "MemoryPolicy" ? MemoryPolicySpec : ClusterMemoryPolicySpec;
  const namespace = kind === "MemoryPolicy" ? "media" : "";
  const to = kind === "MemoryPolicy" ? policies : clusterPolicies;
  to.put({
    kind,
    name,
    namespace,
    uid: name,
    resourceVersion: "1",
    generation: 1,
    created: "",
    status: {},
    spec: schema.parse(spec),
  });
}

const told = (exempt: string[] = []): string[] =>
  census(stores, exempt).map(({ key, pods: own, ranked }) => {
    const names = own.map(({ name }) => name).join("+");
    return `${key.kind} ${key.name}: ${names} under ${ranked.map(({ name }) => name).join(" ")}`;
  });

test("pods of all revisions of a workload are one entry; those that have ended, go, or are kept are not counted", () => {
  pods.put(aPod("a", { ownerUid: "rs-thumbs-h1" }));
  pods.put(aPod("b", { ownerUid: "rs-thumbs-h2", ownerName: "thumbs-h2" }));
  pods.put(aPod("c", { ownerUid: "rs-thumbs-h2", ownerName: "thumbs-h2" }));
  pods.put(aPod("done", { ownerUid: "rs-thumbs-h1", phase: "Succeeded" }));
  pods.put(aPod("dead", { ownerUid: "rs-thumbs-h1", phase: "Failed" }));
  pods.put(aPod("going", { ownerUid: "rs-thumbs-h1", deletionTimestamp: "2026-01-01T00:00:00Z" }));
  pods.put(aPod("kept", { ownerUid: "rs-thumbs-h1", labels: { "oomscope.dev/preserved": "uid" } }));
  expect(told()).toEqual(["Deployment thumbs: a+b+c under "]);
});

test("each pod of a controller that is not known is a workload, as is a bare one; one whose ReplicaSet is not seen yet is none", () => {
  pods.put(aPod("r1", { ownerKind: "Rollout", ownerName: "r", ownerUid: "r" }));
  pods.put(aPod("r2", { ownerKind: "Rollout", ownerName: "r", ownerUid: "r" }));
  const { ownerUid: _u, ownerName: _n, ownerKind: _k, ...bare } = aPod("bare", { labels: {} });
  pods.put(bare);
  pods.put(aPod("early", { ownerUid: "rs-unseen" }));
  expect(told()).toEqual(["Pod r1: r1 under ", "Pod r2: r2 under ", "Pod bare: bare under "]);
});

test("policies are ranked as they are for a kill, and exempt namespaces are exempt", () => {
  pods.put(aPod("a", { ownerUid: "rs-thumbs-h1" }));
  policy("ClusterMemoryPolicy", "all", {});
  policy("MemoryPolicy", "namespace", {});
  policy("MemoryPolicy", "thumbs", { selector: { matchLabels: { app: "thumbs" } } });
  policy("MemoryPolicy", "others", { selector: { matchLabels: { app: "others" } } });
  expect(told()).toEqual(["Deployment thumbs: a under thumbs namespace all"]);
  expect(told(["media"])).toEqual(["Deployment thumbs: a under thumbs namespace"]);
  expect(census(stores, [])[0]?.policy).toMatchObject({
    name: "thumbs",
    losers: ["MemoryPolicy/namespace", "ClusterMemoryPolicy/all"],
  });
});
