import { describe, expect, test } from "vitest";
import { killsOf, opensInvestigation } from "../../src/incident/kills.ts";
import type { ContainerState } from "../../src/incident/observation.ts";
import { aContainer, aPod, at, killedContainer } from "./builders.ts";

function ended(reason: string, exitCode: number, containerId = "dead"): ContainerState {
  return { kind: "terminated", reason, exitCode, finishedAt: at(10), containerId };
}

describe("kills that a pod's status tells of", () => {
  const cases: [string, ContainerState, string | undefined][] = [
    ["OOMKilled with 137 is a kill", ended("OOMKilled", 137), "ContainerKilled"],
    ["OOMKilled with 143 after a graceful stop is the old kill of a child", ended("OOMKilled", 143), "NotAKill"],
    ["OOMKilled with 0 is the old kill of a child", ended("OOMKilled", 0), "NotAKill"],
    ["Error with 137 proves nothing by itself", ended("Error", 137), "Unconfirmed"],
    ["Error with 1 is a crash", ended("Error", 1), undefined],
    ["Completed is no kill", ended("Completed", 0), undefined],
    [
      "an end without a time cannot be told from another",
      { kind: "terminated", reason: "OOMKilled", exitCode: 137 },
      undefined,
    ],
  ];
  test.each(cases)("%s", (_name, state, expected) => {
    const kills = killsOf(aPod("a", { containers: [aContainer({ last: state })] }));
    expect(kills.map((k) => k.classification)).toEqual(expected === undefined ? [] : [expected]);
  });

  test("one death has one identity before and after the restart", () => {
    const before = aPod("a", { containers: [aContainer({ state: ended("OOMKilled", 137, "c1"), restartCount: 0 })] });
    const after = aPod("a", {
      containers: [aContainer({ last: ended("OOMKilled", 137, "c1"), restartCount: 1, containerId: "c2" })],
    });
    expect(killsOf(before).map((k) => k.id)).toEqual(killsOf(after).map((k) => k.id));
    expect(killsOf(before)[0]?.restartCount).toBe(killsOf(after)[0]?.restartCount);
  });

  test("without a container id the restart count tells deaths apart and keeps one death together", () => {
    const dead = (state: "state" | "last", restartCount: number): string[] => {
      const gone: ContainerState = { kind: "terminated", reason: "OOMKilled", exitCode: 137, finishedAt: at(10) };
      return killsOf(aPod("a", { containers: [aContainer({ restartCount, [state]: gone })] })).map((k) => k.id);
    };
    expect(dead("state", 0)).toEqual(dead("last", 1));
    expect(dead("last", 1)).not.toEqual(dead("last", 2));
  });

  test("a container that is killed again shows both deaths", () => {
    const pod = aPod("a", { containers: [killedContainer(60, { state: ended("OOMKilled", 137, "c2") })] });
    expect(new Set(killsOf(pod).map((k) => k.id)).size).toBe(2);
  });

  test.each(["InitContainer", "Sidecar", "EphemeralContainer"] as const)("a killed %s counts", (type) => {
    const pod = aPod("a", { containers: [aContainer({ type, state: ended("OOMKilled", 137) })] });
    expect(killsOf(pod)[0]).toMatchObject({ classification: "ContainerKilled", containerType: type });
  });

  test("a pod that never restarts and one that is in back-off show their kill in state or lastState", () => {
    const never = aPod("a", {
      restartPolicy: "Never",
      phase: "Failed",
      containers: [aContainer({ state: ended("OOMKilled", 137) })],
    });
    const backOff = aPod("b", {
      containers: [
        aContainer({ state: { kind: "waiting", reason: "CrashLoopBackOff" }, last: ended("OOMKilled", 137) }),
      ],
    });
    expect([...killsOf(never), ...killsOf(backOff)]).toHaveLength(2);
  });

  test("a memory eviction counts once, a disk eviction does not", () => {
    const evicted = (message: string): number =>
      killsOf(aPod("a", { phase: "Failed", reason: "Evicted", message, startTime: at(100) })).length;
    expect(evicted("The node was low on resource: memory. Threshold quantity: 100Mi")).toBe(1);
    expect(evicted("The node was low on resource: ephemeral-storage.")).toBe(0);
  });

  test("an eviction keeps its identity when the end of its containers is filled in later", () => {
    const pod = {
      phase: "Failed",
      reason: "Evicted",
      message: "The node was low on resource: memory.",
      startTime: at(100),
    };
    const early = killsOf(aPod("a", { ...pod, containers: [] }));
    const late = killsOf(aPod("a", { ...pod, containers: [aContainer({ state: ended("Error", 1) })] }));
    expect(early.map((k) => k.id)).toEqual(late.map((k) => k.id));
  });

  test("only real kills open an investigation", () => {
    const kill = (state: ContainerState) => killsOf(aPod("a", { containers: [aContainer({ last: state })] }))[0];
    const opens = [ended("OOMKilled", 137), ended("OOMKilled", 143), ended("Error", 137)].map((s) => {
      const found = kill(s);
      return found !== undefined && opensInvestigation(found);
    });
    expect(opens).toEqual([true, false, false]);
  });
});
