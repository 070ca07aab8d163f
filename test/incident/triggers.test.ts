/** When do readings call for an investigation, and what does the intake make of it? */
import { describe, expect, test } from "vitest";
import { MemoryPolicySpec } from "../../src/api/memorypolicy.ts";
import { openedEntries, planIntake, SUSPECT_POD, OPENED_BECAUSE } from "../../src/incident/intake.ts";
import type { Observation } from "../../src/incident/observation.ts";
import { plan } from "../../src/incident/plan.ts";
import { podsToMeasure } from "../../src/incident/collecting.ts";
import {
  alarmOf,
  GAP_MS,
  heldAfter,
  type Alarm,
  type ContainerReading,
  type Held,
  type NodeReading,
} from "../../src/incident/triggers.ts";
import { aPod, aPolicy, anInvestigation, anObservation, at, killedContainer, NOW } from "./builders.ts";

const MIB = 2 ** 20;
const T0 = Date.parse("2026-11-23T11:00:00Z");
const minutes = (from: number, to: number): Held => ({ sinceMs: T0 + from * 60_000, lastMs: T0 + to * 60_000 });

function triggers(over: object): MemoryPolicySpec["triggers"] {
  return MemoryPolicySpec.parse({ triggers: over }).triggers;
}

function reading(pod: string, over: Partial<ContainerReading> = {}): ContainerReading {
  return {
    pod: { name: pod, uid: `uid-${pod}` },
    revision: "rs-1",
    container: "app",
    usageBytes: 95 * MIB,
    limitBytes: 100 * MIB,
    atMs: T0,
    near: undefined,
    growth: undefined,
    ...over,
  };
}

describe("a condition", () => {
  test("holds from the first reading that shows it, through readings that come often enough", () => {
    const first = heldAfter(undefined, 1000, true);
    expect(heldAfter(first, 1000 + GAP_MS, true)).toEqual({ sinceMs: 1000, lastMs: 1000 + GAP_MS });
  });
  test("begins anew after a pause that nothing is known of, and ends with one reading that denies it", () => {
    const first = heldAfter(undefined, 1000, true);
    expect(heldAfter(first, 1001 + GAP_MS, true)).toEqual({ sinceMs: 1001 + GAP_MS, lastMs: 1001 + GAP_MS });
    expect(heldAfter(first, 2000, false)).toBeUndefined();
  });
});

describe("memoryUsage", () => {
  const spec = triggers({ memoryUsage: { percentOfLimit: 90, for: "2m" } });
  test("speaks after its time, of the container nearest to its limit", () => {
    const readings = [
      reading("a", { near: minutes(0, 2) }),
      reading("b", { near: minutes(0, 3), usageBytes: 97 * MIB }),
    ];
    expect(alarmOf(spec, readings, [])).toMatchObject({
      trigger: "memoryUsage",
      reason: "MemoryNearLimit",
      pod: { name: "b", uid: "uid-b" },
      container: "app",
      message: "app of b uses 97 % of its limit, and has been at 90 % or above for 3 min",
    });
  });
  test.each([
    ["before its time", { near: { sinceMs: T0, lastMs: T0 + 119_000 } }],
    ["of what is not near", {}],
  ])("is silent %s", (_, over) => {
    expect(alarmOf(spec, [reading("a", over)], [])).toBeUndefined();
  });
  test("is silent where the policy does not ask", () => {
    expect(alarmOf(triggers({}), [reading("a", { near: minutes(0, 60) })], [])).toBeUndefined();
  });
});

describe("growth", () => {
  const spec = triggers({ growth: { projectedOOMWithin: "30m" } });
  const growing = (pod: string, mibPerMinute: number, usageMiB: number): ContainerReading =>
    reading(pod, {
      usageBytes: usageMiB * MIB,
      growth: { bytesPerSecond: (mibPerMinute * MIB) / 60, spanSeconds: 600 },
    });
  test("speaks of the container that reaches its limit first, within the time", () => {
    const alarm = alarmOf(spec, [growing("a", 1, 75), growing("b", 4, 60), growing("c", 1, 60)], []);
    expect(alarm).toMatchObject({ trigger: "growth", pod: { name: "b" } });
    expect(alarm?.message).toBe(
      "app of b has grown by 4.0 MiB a minute for 10 min; at this rate its limit is reached in 10 min",
    );
  });
  test("is silent of what would take longer, and of what is not known to grow", () => {
    expect(alarmOf(spec, [growing("c", 1, 60), reading("d", { usageBytes: 99 * MIB })], [])).toBeUndefined();
  });
});

describe("nodeMemAvailable", () => {
  const spec = triggers({ nodeMemAvailable: { percent: 8, for: "10m" } });
  const short = (to: number, grownBytes: number | undefined): NodeReading => ({
    node: "n1",
    availablePercent: 5.7,
    low: minutes(0, to),
    suspect: { pod: { name: "a", uid: "uid-a" }, revision: "rs-1", usageBytes: 900 * MIB, grownBytes },
  });
  test("speaks after its time, and says what is known of the pod", () => {
    expect(alarmOf(spec, [], [short(10, 120 * MIB)])?.message).toBe(
      "Node n1 has had less than 8 % of its memory available for 10 min (5 % now); of the pods that this trigger watches on it a grew most (120.0 MiB)",
    );
    expect(alarmOf(spec, [], [short(10, undefined)])).toMatchObject({
      message: expect.stringMatching(/ a uses most$/) as string,
    });
    expect(alarmOf(spec, [], [short(9, undefined)])).toBeUndefined();
  });
});

describe("an alarm", () => {
  const spec = triggers({ memoryUsage: {}, growth: {} });
  const id = (over: Partial<ContainerReading>): string | undefined => alarmOf(spec, [reading("a", over)], [])?.id;
  test("is the same for all pods of a revision on one day, and another on the next", () => {
    const near = minutes(0, 5);
    expect(id({ near })).toBe(id({ near: minutes(30, 90), pod: { name: "z", uid: "z" } }));
    expect(id({ near })).not.toBe(id({ near, revision: "rs-2" }));
    expect(id({ near })).not.toBe(id({ near: minutes(0, 24 * 60) }));
    expect(id({ near })).not.toBe(id({ growth: { bytesPerSecond: MIB, spanSeconds: 1 } }));
  });
});

const ALARM: Alarm = {
  trigger: "memoryUsage",
  reason: "MemoryNearLimit",
  id: "0123456789ab",
  message: "app of b uses 97 % of its limit",
  pod: { name: "b", uid: "uid-b" },
  container: "app",
};
const POLICY = aPolicy("Observe", { triggers: { memoryUsage: {} } });

function alarmed(over: Partial<Observation> = {}): Observation {
  return anObservation({ alarm: ALARM, policy: POLICY, ...over });
}

describe("the intake of an alarm", () => {
  const opened = (over: Partial<Observation> = {}) => planIntake(alarmed(over), over.investigations?.[0], NOW);

  test("opens an investigation of the container, with the reason told to people", () => {
    const { actions, notices } = planIntake(alarmed(), undefined, NOW);
    expect(actions).toMatchObject([
      {
        kind: "OpenInvestigation",
        spec: { targetRef: { kind: "Deployment", name: "thumbs" }, container: "app" },
        because: "MemoryNearLimit: app of b uses 97 % of its limit",
        suspect: "b",
        preserves: false,
      },
    ]);
    expect(notices).toMatchObject([{ type: "Warning", reason: "MemoryNearLimit", also: ["Target"] }]);
  });

  test("does nothing while one is active, and leaves kills their way", () => {
    const active = anInvestigation("i");
    expect(planIntake(alarmed({ investigations: [active] }), active, NOW).actions).toEqual([]);
    const killed = alarmed({ pods: [aPod("a", { containers: [killedContainer(5)] })] });
    expect(planIntake(killed, undefined, NOW).actions).toMatchObject([
      { because: expect.stringContaining("ContainerKilled") as string },
    ]);
  });

  test("waits for a place of the policy's budget", () => {
    const { actions, notices, againMs } = planIntake(alarmed({ active: { policy: 1, cluster: 1 } }), undefined, NOW);
    expect(actions).toEqual([]);
    expect(notices).toMatchObject([
      { reason: "BudgetSpent", message: expect.stringMatching(/^An alarm waits/) as string },
    ]);
    expect(againMs).toBe(30_000);
  });

  test("waits for a place of the cluster's budget, as a kill does", () => {
    const spent = { active: { policy: 0, cluster: 10 } };
    const message =
      "An alarm waits for its investigation: 10 investigations are active in the cluster, which is its clusterBudget.maxActive";
    expect(planIntake(alarmed(spent), undefined, NOW)).toMatchObject({
      actions: [],
      notices: [{ reason: "BudgetSpent", message }],
    });
    const killed = alarmed({ ...spent, pods: [aPod("a", { containers: [killedContainer(5)] })] });
    expect(planIntake(killed, undefined, NOW)).toMatchObject({ actions: [], againMs: 30_000 });
  });

  test.each<[string, Partial<Observation>]>([
    ["in the cool-down of an earlier one", { investigations: [ended(60)] }],
    ["when the policy names the trigger no more", { policy: aPolicy("Observe") }],
    ["without a policy", { policy: { problem: "NoPolicy", message: "none" } }],
  ])("does nothing %s", (_, over) => {
    expect(planIntake(alarmed(over), undefined, NOW)).toEqual({ actions: [], notices: [] });
  });

  test("opens no second one under the same name, also when a person has deleted the first", () => {
    const [action] = planIntake(alarmed(), undefined, NOW).actions;
    const name = action?.kind === "OpenInvestigation" ? action.name : "";
    const first = { ...ended(86_000), metadata: { ...ended(86_000).metadata, name } };
    expect(planIntake(alarmed({ investigations: [first] }), undefined, NOW).actions).toEqual([]);
    expect(planIntake(alarmed({ settled: new Set([`media/${name}`]) }), undefined, NOW).actions).toEqual([]);
    expect(opened({ investigations: [] }).actions).toHaveLength(1);
  });
});

function ended(secondsAgo: number) {
  const condition = {
    type: "Succeeded",
    status: "True",
    lastTransitionTime: at(secondsAgo),
    reason: "Diagnosed",
    message: "",
  } as const;
  return anInvestigation("before", { status: { result: "Recommended", conditions: [condition] } });
}

describe("an investigation that an alarm opened", () => {
  const fresh = anInvestigation("i");
  fresh.metadata.annotations = { [OPENED_BECAUSE]: "MemoryNearLimit: b is full", [SUSPECT_POD]: "b" };

  test("begins its timeline with the reason, once", () => {
    expect(openedEntries(fresh)).toEqual([
      { time: fresh.metadata.creationTimestamp, event: "InvestigationOpened", message: "MemoryNearLimit: b is full" },
    ]);
    const [step] = plan(alarmed({ investigations: [fresh] }), NOW).investigations;
    expect(step?.status?.timeline?.[0]).toMatchObject({ event: "InvestigationOpened" });
    const next = { ...fresh, status: step?.status ?? {} };
    expect(plan(alarmed({ investigations: [next] }), NOW).investigations[0]?.status?.timeline).toEqual(
      step?.status?.timeline,
    );
  });

  test("keeps the pod that raised it, though a sibling is further from being killed", () => {
    const surroundings = {
      exclusiveClaims: [],
      usageBytes: { "uid-a": 60 * MIB, "uid-b": 97 * MIB, "uid-c": 80 * MIB },
    };
    const seen = alarmed({
      investigations: [fresh],
      policy: aPolicy("Recommend", { triggers: { memoryUsage: {} } }),
      surroundings,
    });
    const kept = plan(seen, NOW).investigations[0]?.status?.preserved;
    expect(kept).toMatchObject({
      pod: "b",
      why: expect.stringContaining("it raised the alarm; it uses 97 %") as string,
    });
  });

  test("measures the pod that raised it first, if it is one of the workload's", () => {
    expect(podsToMeasure(alarmed(), fresh).map(({ name }) => name)[0]).toBe("b");
    const other = { ...fresh, metadata: { ...fresh.metadata, annotations: { [SUSPECT_POD]: "of-somebody-else" } } };
    expect(podsToMeasure(alarmed(), other).map(({ name }) => name)[0]).toBe("a");
  });
});
