import { describe, expect, test } from "vitest";
import { ObjectStore } from "../../src/cluster/store.ts";
import { workloadOf } from "../../src/cluster/workloads.ts";
import type { ReplicaSetView } from "../../src/incident/observation.ts";
import { aPod } from "../incident/builders.ts";

function replicaSets(...views: readonly Partial<ReplicaSetView & { podTemplateHash: string }>[]) {
  const store = new ObjectStore<ReplicaSetView & { resourceVersion: string; podTemplateHash?: string }>();
  for (const view of views) {
    store.put({
      uid: "rs-1",
      namespace: "media",
      name: "thumbs-h1",
      resourceVersion: "1",
      replicas: 1,
      images: [],
      ...view,
    });
  }
  return { replicaSets: store };
}

const bare = (over: Parameters<typeof aPod>[1] = {}) => {
  const { ownerKind: _kind, ownerName: _name, ownerUid: _uid, ...pod } = aPod("a", over);
  return pod;
};

describe("the workload of a pod", () => {
  const deployment = { ownerKind: "Deployment", ownerName: "thumbs", ownerUid: "d-1", podTemplateHash: "h1" };

  test("is the Deployment behind its ReplicaSet", () => {
    expect(workloadOf(aPod("a"), replicaSets(deployment))).toEqual({
      namespace: "media",
      kind: "Deployment",
      name: "thumbs",
    });
  });

  test("is not known before its ReplicaSet is", () => {
    expect(workloadOf(aPod("a"), replicaSets())).toBeUndefined();
  });

  test("is the pod itself where a controller owns it that we do not know", () => {
    expect(workloadOf(aPod("a"), replicaSets({ ownerKind: "Rollout", ownerName: "r" }))).toMatchObject({
      kind: "Pod",
      name: "a",
    });
    expect(workloadOf(aPod("a", { ownerKind: "CloneSet" }), replicaSets())).toMatchObject({ kind: "Pod", name: "a" });
  });

  test("is the pod itself when nobody owns it", () => {
    expect(workloadOf(bare({ labels: {} }), replicaSets())).toMatchObject({ kind: "Pod", name: "a" });
  });

  test("stays its Deployment while it is between two owners, and is none when that is gone", () => {
    expect(workloadOf(bare(), replicaSets(deployment))).toMatchObject({ kind: "Deployment", name: "thumbs" });
    expect(workloadOf(bare(), replicaSets())).toBeUndefined();
  });

  test("of a pod that was taken out of it is found through the investigation, and is never the pod itself", () => {
    expect(
      workloadOf(bare({ labels: { "oomscope.dev/preserved": "uid-i" } }), replicaSets(deployment)),
    ).toBeUndefined();
  });

  test("of a pod that still has its owner does not change for a label that anybody could set", () => {
    const pod = aPod("a", { labels: { "oomscope.dev/preserved": "forged" } });
    expect(workloadOf(pod, replicaSets(deployment))).toMatchObject({ kind: "Deployment" });
  });

  test.each(["StatefulSet", "DaemonSet", "Job"])("is its %s", (kind) => {
    expect(workloadOf(aPod("a", { ownerKind: kind, ownerName: "w" }), replicaSets())).toMatchObject({
      kind,
      name: "w",
    });
  });
});
