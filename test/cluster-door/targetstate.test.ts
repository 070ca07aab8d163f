/** How far is a roll-out, and what may it cost? By the counts that each kind's controller writes. */
import { describe, expect, test } from "vitest";
import type { ApiObject } from "../../src/cluster/api.ts";
import { stateOf, type TemplatedKind } from "../../src/cluster/targetstate.ts";
import type { RolloutView } from "../../src/incident/observation.ts";

function rollout(kind: TemplatedKind, spec: object, status: object, generation = 3): RolloutView {
  const object = { metadata: { name: "w", uid: "u", generation }, spec, status } as unknown as ApiObject;
  return stateOf(kind, object, [], []).rollout;
}

describe("a Deployment", () => {
  const status = { observedGeneration: 3, replicas: 5, updatedReplicas: 2, readyReplicas: 4, availableReplicas: 3 };

  test("is counted as its controller counts", () => {
    expect(rollout("Deployment", { replicas: 4 }, status)).toEqual({
      observed: true,
      desired: 4,
      updated: 2,
      total: 5,
      ready: 4,
      available: 3,
      mayBeUnavailable: 1,
    });
    expect(rollout("Deployment", { replicas: 4 }, status, 4).observed).toBe(false);
    expect(rollout("Deployment", {}, {})).toMatchObject({
      observed: false,
      desired: 1,
      updated: 0,
      total: 0,
      ready: 0,
    });
  });

  test.each([
    [{ type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } }, 10, 2],
    [{ type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } }, 3, 0],
    [{ type: "RollingUpdate", rollingUpdate: { maxUnavailable: 2, maxSurge: 0 } }, 3, 2],
    [{ type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%", maxSurge: 0 } }, 3, 1],
    [{ type: "Recreate" }, 3, 3],
    [undefined, 1, 0],
    [{ rollingUpdate: { maxUnavailable: "many" } }, 3, 3],
  ])("with strategy %j and %i pods may take away %i", (strategy, replicas, count) => {
    expect(rollout("Deployment", { replicas, strategy }, status).mayBeUnavailable).toBe(count);
  });

  test("is held when it is paused, and stuck when its deadline has passed", () => {
    expect(rollout("Deployment", { paused: true }, status).heldBy).toMatch(/paused/);
    const condition = (reason: string, of: string): object => ({
      ...status,
      conditions: [{ type: "Progressing", status: of, reason, message: "has timed out" }],
    });
    expect(rollout("Deployment", {}, condition("ProgressDeadlineExceeded", "False")).stuck).toBe("has timed out");
    expect(rollout("Deployment", {}, condition("ReplicaSetUpdated", "True")).stuck).toBeUndefined();
  });
});

describe("a StatefulSet", () => {
  const status = { observedGeneration: 3, replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1 };

  test("counts its updated pods while it rolls out, and all of them when it is over", () => {
    const under = { ...status, currentRevision: "w-1", updateRevision: "w-2" };
    expect(rollout("StatefulSet", { replicas: 3 }, under)).toMatchObject({ updated: 1, total: 3, mayBeUnavailable: 1 });
    const { updatedReplicas: _, ...over } = { ...under, currentRevision: "w-2" };
    expect(rollout("StatefulSet", { replicas: 3 }, over).updated).toBe(3);
  });

  test("is held by OnDelete and by a partition", () => {
    expect(rollout("StatefulSet", { updateStrategy: { type: "OnDelete" } }, status).heldBy).toMatch(/OnDelete/);
    const partition = { type: "RollingUpdate", rollingUpdate: { partition: 2 } };
    expect(rollout("StatefulSet", { updateStrategy: partition }, status).heldBy).toMatch(/partition of 2/);
    const none = { type: "RollingUpdate", rollingUpdate: { partition: 0 } };
    expect(rollout("StatefulSet", { updateStrategy: none }, status).heldBy).toBeUndefined();
  });
});

describe("a DaemonSet", () => {
  const status = {
    observedGeneration: 3,
    desiredNumberScheduled: 8,
    currentNumberScheduled: 8,
    updatedNumberScheduled: 5,
    numberReady: 7,
    numberAvailable: 6,
  };

  test("is counted by nodes", () => {
    expect(rollout("DaemonSet", {}, status)).toEqual({
      observed: true,
      desired: 8,
      updated: 5,
      total: 8,
      ready: 7,
      available: 6,
      mayBeUnavailable: 1,
    });
  });

  test("takes away what its strategy says, and nothing where it surges", () => {
    const strategy = (rollingUpdate: object): object => ({ updateStrategy: { type: "RollingUpdate", rollingUpdate } });
    expect(rollout("DaemonSet", strategy({ maxUnavailable: "30%" }), status).mayBeUnavailable).toBe(3);
    expect(rollout("DaemonSet", strategy({ maxUnavailable: 0, maxSurge: 1 }), status).mayBeUnavailable).toBe(0);
    expect(rollout("DaemonSet", { updateStrategy: { type: "OnDelete" } }, status).heldBy).toMatch(/OnDelete/);
  });
});

test("revisions and budgets: only its own, and only what has been computed", () => {
  const owned = (uid: string, controller: boolean): object => ({
    metadata: {
      name: `of-${uid}`,
      uid: `r-${uid}`,
      ownerReferences: [{ kind: "Deployment", name: "w", uid, controller }],
    },
    spec: { template: { spec: {} } },
  });
  const budget = (generation: number, observedGeneration: number): object => ({
    metadata: { name: "b", generation },
    spec: { selector: { matchLabels: { app: "w" } } },
    status: { observedGeneration, desiredHealthy: 2 },
  });
  const state = stateOf(
    "Deployment",
    { metadata: { name: "w", uid: "u" }, spec: {} },
    [owned("u", true), owned("other", true), owned("u", false)] as unknown as ApiObject[],
    [budget(1, 1), budget(2, 1), { metadata: { name: "fresh" } }] as unknown as ApiObject[],
  );
  expect(state.revisions.map(({ name }) => name)).toEqual(["of-u"]);
  expect(state.budgets.map(({ desiredHealthy }) => desiredHealthy)).toEqual([2, undefined, undefined]);
});
