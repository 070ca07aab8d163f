/** Is every kill counted once, whichever witness tells of it first and however often? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endId } from "../../src/api/identity.ts";
import type { Kill, MemoryInvestigation, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import { MemoryInvestigationStatus as Contract } from "../../src/api/memoryinvestigation.ts";
import { freshKills } from "../../src/incident/ledger.ts";
import type { ContainerState, KernelVictim, Observation, PodView } from "../../src/incident/observation.ts";
import { plan } from "../../src/incident/plan.ts";
import { aContainer, anInvestigation, anObservation, aPod, at, killedContainer, NOW } from "./builders.ts";

const BOOT_MS = Date.parse(at(100_000));
const POD = "uid-a";

/** A report of the kernel about pod a; the clock of its log may be off. */
function report(containerId: string, secondsAgo: number, over: Partial<KernelVictim> = {}, driftMs = 0): KernelVictim {
  const atMs = NOW.getTime() - secondsAgo * 1000 + 345;
  return {
    podUid: POD,
    containerId,
    pid: 4711,
    comm: "worker",
    anonBytes: 90 << 20,
    limitBytes: 100 << 20,
    podLimit: false,
    global: false,
    group: false,
    bootMs: atMs - BOOT_MS,
    time: new Date(atMs + driftMs).toISOString(),
    ...over,
  };
}

const COLLECTED: MemoryInvestigationStatus = {
  collections: ["c1", "c2"].map((id) => ({
    id,
    purpose: "Diagnose" as const,
    attempt: 1,
    state: "Running" as const,
    job: id,
    node: "n1",
    pods: [{ name: "a", uid: POD, role: "Serving" as const }],
    requested: at(400),
  })),
};

/** Active, and stopped by a person: it counts kills and does nothing else. */
function stopped(over: Partial<MemoryInvestigation> = {}): MemoryInvestigation {
  const base = anInvestigation("i", { status: COLLECTED, ...over });
  return { ...base, spec: { ...base.spec, suspend: true } };
}

function seenWith(pods: readonly PodView[], victims: readonly KernelVictim[], over: Partial<Observation> = {}) {
  return anObservation({ pods, investigations: [stopped()], kernelVictims: { c1: victims }, ...over });
}

/** The statuses after one pass, and the observation of the next one. */
function pass(seen: Observation): Observation {
  const next = plan(seen, NOW);
  return {
    ...seen,
    investigations: seen.investigations.map((i): MemoryInvestigation => {
      const step = next.investigations.find((p) => p.investigation.metadata.uid === i.metadata.uid);
      return step?.status === undefined ? i : { ...i, status: step.status };
    }),
  };
}

function statusOf(seen: Observation): MemoryInvestigationStatus {
  return Contract.parse(pass(seen).investigations[0]?.status ?? {});
}

const dead = (containerId: string, secondsAgo: number, reason = "OOMKilled", exitCode = 137): ContainerState => ({
  kind: "terminated",
  reason,
  exitCode,
  finishedAt: at(secondsAgo),
  containerId,
});

describe("one kill that both witnesses tell of", () => {
  const pods = [aPod("a", { containers: [killedContainer(20)] })];

  test("is one, with what each of them knows", () => {
    const status = statusOf(seenWith(pods, [report("c1", 20)]));
    expect(status.killCount).toBe(1);
    expect(status.kills).toMatchObject([
      {
        classification: "ContainerKilled",
        sources: ["PodStatus", "KernelLog"],
        exitCode: 137,
        time: at(20),
        victim: { pid: 4711, comm: "worker", anonBytes: 90 << 20 },
      },
    ]);
  });

  test("is confirmed where the runtime said Error 137", () => {
    const error = [aPod("a", { containers: [killedContainer(20, { last: dead("c1", 20, "Error") })] })];
    expect(statusOf(seenWith(error, [])).kills?.[0]?.classification).toBe("Unconfirmed");
    const status = statusOf(seenWith(error, [report("c1", 20)]));
    expect([status.killCount, status.kills?.[0]?.classification]).toEqual([1, "ContainerKilled"]);
  });

  const limits: [string, Partial<KernelVictim>, string][] = [
    ["the limit of the pod, which is larger", { podLimit: true, limitBytes: 300 << 20 }, "PodLimit"],
    ["the limit of the pod, which is the container's own", { podLimit: true }, "ContainerKilled"],
    ["no limit: the node was short", { global: true }, "NodeKilled"],
  ];
  test.each(limits)("is told apart by whose limit it was: %s", (_name, over, expected) => {
    const status = statusOf(seenWith(pods, [report("c1", 20, over)]));
    expect([status.killCount, status.kills?.[0]?.classification]).toEqual([1, expected]);
  });
});

describe("kills that only the kernel tells of", () => {
  const running = [aPod("a", { containers: [aContainer()] })];

  test("of a container that goes on are ChildKilled, told apart by pid and time", () => {
    const status = statusOf(
      seenWith(running, [report("c1", 50), report("c1", 50, { pid: 4712 }), report("c1", 30), report("c1", 30)]),
    );
    expect(status.killCount).toBe(3);
    expect(new Set(status.kills?.map((k) => k.id)).size).toBe(3);
    expect(status.kills?.map((k) => [k.classification, k.sources, k.container, k.time])).toEqual([
      ["ChildKilled", ["KernelLog"], "app", at(50)],
      ["ChildKilled", ["KernelLog"], "app", at(50)],
      ["ChildKilled", ["KernelLog"], "app", at(30)],
    ]);
    expect(status.timeline?.filter((e) => e.event === "ChildKilled")).toHaveLength(3);
    expect(status.killsByPod).toBe("3 kills in 1 pod on 1 node");
  });

  test("of incarnations before those that pod status shows are counted one by one", () => {
    const pods = [aPod("a", { containers: [killedContainer(20, { last: dead("c3", 20), containerId: "c4" })] })];
    const victims = [report("c1", 200), report("c2", 100), report("c3", 20)];
    const status = statusOf(seenWith(pods, victims));
    expect(status.killCount).toBe(3);
    expect(status.kills?.map((k) => [k.containerId, k.classification, k.sources.length])).toEqual([
      ["c1", "ContainerKilled", 1],
      ["c2", "ContainerKilled", 1],
      ["c3", "ContainerKilled", 2],
    ]);
  });

  test("a whole container killed is its end, though pod status still shows it running", () => {
    const seen = seenWith(running, [report("c1", 1, { group: true })]);
    expect(statusOf(seen).kills?.[0]?.classification).toBe("ContainerKilled");
    const later = { ...pass(seen), pods: [aPod("a", { containers: [killedContainer(1)] })] };
    expect(statusOf(later)).toMatchObject({ killCount: 1, kills: [{ sources: ["PodStatus", "KernelLog"] }] });
  });

  test("of a container that then ended of something else are ChildKilled, and its end is no kill", () => {
    const pods = [aPod("a", { containers: [killedContainer(20, { last: dead("c1", 20, "OOMKilled", 143) })] })];
    const status = statusOf(seenWith(pods, [report("c1", 21)]));
    expect(status.killCount).toBe(1);
    expect(status.kills?.map((k) => k.classification)).toEqual(["ChildKilled", "NotAKill"]);
  });

  test("of another container of the pod, or of one that nobody can name, are counted too", () => {
    const pods = [aPod("a", { containers: [aContainer(), aContainer({ name: "proxy", containerId: "p1" })] })];
    const status = statusOf(seenWith(pods, [report("p1", 40), report("p0", 80, { group: true })]));
    expect(status.kills?.map((k) => [k.container, k.containerId, k.classification])).toEqual([
      [undefined, "p0", "ContainerKilled"],
      ["proxy", "p1", "ChildKilled"],
    ]);
  });

  test("a later kill of the container, long after a child's, is another and opens the next investigation", () => {
    const first = pass(seenWith(running, [report("c1", 1000)]));
    const ended = first.investigations.map((i): MemoryInvestigation => {
      const succeeded = { type: "Succeeded", status: "True" as const, reason: "Diagnosed", message: "" };
      const conditions = [{ ...succeeded, lastTransitionTime: at(900) }];
      return { ...i, status: { ...i.status, result: "Recommended", conditions } };
    });
    const policy = first.policy;
    if ("problem" in policy) throw new Error(policy.message);
    const now = {
      ...first,
      policy: { ...policy, spec: { ...policy.spec, budget: { ...policy.spec.budget, cooldown: "1m" } } },
      investigations: ended,
      kernelVictims: {},
      pods: [aPod("a", { containers: [killedContainer(20)] })],
    };
    expect(plan(now, NOW).actions.map((a) => a.kind)).toEqual(["OpenInvestigation"]);
    const soon = { ...now, pods: [aPod("a", { containers: [killedContainer(995)] })] };
    expect(plan(soon, NOW).actions).toEqual([]);
    expect(pass(soon).investigations[0]?.status).toMatchObject({
      killCount: 1,
      kills: [{ classification: "ContainerKilled", sources: ["PodStatus", "KernelLog"] }],
    });
  });

  test("open nothing, and join no investigation that has ended", () => {
    expect(plan(seenWith(running, [report("c1", 50)], { investigations: [] }), NOW).actions).toEqual([]);
    const ended = stopped({ status: { ...COLLECTED, result: "Inconclusive" } });
    expect(statusOf(seenWith(running, [report("c1", 50)], { investigations: [ended] })).killCount).toBeUndefined();
  });
});

describe("reports that are no news", () => {
  const running = [aPod("a", { containers: [aContainer()] })];

  test("from before the horizon and the beginning of the incident", () => {
    const victims = [report("c1", 500), report("c1", 90)];
    expect(statusOf(seenWith(running, victims, { horizon: at(10) })).killCount).toBeUndefined();
    expect(statusOf(seenWith(running, victims, { horizon: at(100) })).killCount).toBe(1);
    const older = stopped({ metadata: { ...anInvestigation("i").metadata, creationTimestamp: at(600) } });
    expect(statusOf(seenWith(running, victims, { horizon: at(10), investigations: [older] })).killCount).toBe(2);
  });

  test("of an end that pod status shows and that is history itself", () => {
    const pods = [aPod("a", { containers: [killedContainer(102)] })];
    const drifted = report("c1", 102, {}, 5_000);
    expect(statusOf(seenWith(pods, [drifted], { horizon: at(100) })).killCount).toBeUndefined();
  });

  test("of another pod, without a container, or without a time", () => {
    const undated = report("c1", 50);
    const { time: _time, ...rest } = undated;
    const victims = [report("c1", 50, { podUid: "uid-x" }), report("", 50), report("x".repeat(129), 50), rest];
    expect(statusOf(seenWith(running, victims)).killCount).toBeUndefined();
  });

  test("that an earlier investigation has counted, lived through, or a person has deleted", () => {
    const victims = [report("c1", 500), report("c1", 90)];
    const first = pass(seenWith(running, victims)).investigations[0];
    const ids = first?.status?.ledger ?? [];
    const second = stopped({ metadata: { ...anInvestigation("j").metadata, creationTimestamp: at(60) } });
    const over = (endedAt: string, status: MemoryInvestigationStatus | undefined): MemoryInvestigation => {
      const condition = { type: "Succeeded", status: "True" as const, reason: "Diagnosed", message: "" };
      const conditions = [{ ...condition, lastTransitionTime: endedAt }];
      return anInvestigation("old", { status: { ...status, result: "Recommended", conditions } });
    };
    const counts = (seen: Partial<Observation>): number | undefined =>
      pass(seenWith(running, victims, seen)).investigations.at(-1)?.status?.killCount;
    expect(ids).toHaveLength(2);
    expect(counts({ investigations: [over(at(1000), first?.status), second] })).toBeUndefined();
    expect(counts({ investigations: [over(at(400), {}), second] })).toBe(1);
    expect(counts({ investigations: [second], settled: new Set(ids) })).toBeUndefined();
    expect(counts({ investigations: [second], settled: new Set(ids.slice(0, 1)) })).toBe(1);
  });

  test("of an end that an earlier investigation has counted from pod status, whose log came too late", () => {
    const pods = [aPod("a", { containers: [killedContainer(50)] })];
    const kills = pass(seenWith(pods, [])).investigations[0]?.status;
    const old = anInvestigation("old", { status: { ...kills, result: "Recommended", conditions: [] } });
    const seen = seenWith(pods, [report("c1", 50)], { investigations: [old, stopped()] });
    expect(pass(seen).investigations.at(-1)?.status?.killCount).toBeUndefined();
    const gone = { ...seen, pods: [aPod("a", { containers: [aContainer({ containerId: "c9" })] })] };
    expect(pass(gone).investigations.at(-1)?.status?.killCount).toBeUndefined();
  });

  test("but the report of an end that is counted is wanted, though its clock puts it before the horizon", () => {
    const pods = [aPod("a", { containers: [killedContainer(98)] })];
    const seen = seenWith(pods, [report("c1", 98, {}, -5_000)], { horizon: at(100) });
    expect(statusOf(seen)).toMatchObject({ killCount: 1, kills: [{ sources: ["PodStatus", "KernelLog"] }] });
  });

  test("of a kill whose entry had to make room for newer ones", () => {
    const victims = Array.from({ length: 90 }, (_, i) => report("c1", 300 - i, { pid: 100 + i }));
    const seen = pass(seenWith(running, victims));
    expect(seen.investigations[0]?.status).toMatchObject({ killCount: 90 });
    expect(statusOf(seen).kills).toHaveLength(64);
    expect(statusOf(seen).killCount).toBe(90);
  });

  test("of an end whose entry had to make room for newer ones", () => {
    const storm = Array.from({ length: 80 }, (_, i) => aPod(`p${i}`, { containers: [killedContainer(20)] }));
    const before = pass(seenWith([aPod("a", { containers: [killedContainer(60)] }), ...storm], []));
    const status = before.investigations[0]?.status;
    expect(status?.kills?.some((k) => k.pod.uid === POD)).toBe(false);
    expect(status?.ledger).toContain(endId(POD, "c1"));
    const after = { ...before, kernelVictims: { c1: [report("c1", 60)] } };
    expect(statusOf(after).killCount).toBe(81);
    const forgotten = { ...after, pods: [aPod("a", { containers: [aContainer({ containerId: "c9" })] }), ...storm] };
    expect(statusOf(forgotten).killCount).toBe(81);
  });
});

/** What becomes of one incarnation: its children die some seconds before its end. */
interface Life {
  readonly children: readonly { readonly gap: 5 | 200; readonly pod: boolean }[];
  readonly gap: 5 | 200;
  readonly end: "Oom" | "OomGroup" | "OomError" | "Unreported" | "Exit" | "Graceful";
}

interface Step {
  readonly stage: number;
  readonly packs: 0 | 1 | 2;
}

const life: fc.Arbitrary<Life> = fc.record({
  children: fc.array(fc.record({ gap: fc.constantFrom(5, 200), pod: fc.boolean() }), { maxLength: 3 }),
  gap: fc.constantFrom(5, 200),
  end: fc.constantFrom("Oom", "OomGroup", "OomError", "Unreported", "Exit", "Graceful"),
});
const steps = fc.array(fc.record({ stage: fc.nat(4), packs: fc.constantFrom(0, 1, 2) }), { maxLength: 8 });

interface World {
  readonly ends: readonly ContainerState[];
  readonly reports: readonly KernelVictim[];
  readonly first: readonly KernelVictim[];
}

/** The container's whole story, as each of the witnesses could tell it; the first collection has only part of the log. */
function worldOf(lives: readonly Life[], driftMs: number, inFirst: readonly boolean[]): World {
  let ago = 7000;
  let pid = 100;
  const ends: ContainerState[] = [];
  const reports: KernelVictim[] = [];
  lives.forEach(({ children, gap, end }, n) => {
    const id = `x${n}`;
    for (const child of children) {
      ago -= child.gap;
      const over = { pid: pid++, podLimit: child.pod, ...(child.pod ? { limitBytes: 900 << 20 } : {}) };
      reports.push(report(id, ago, over, driftMs));
    }
    ago -= gap;
    const killed = end === "Oom" || end === "OomGroup" || end === "OomError";
    if (killed) reports.push(report(id, ago, { pid: pid++, group: end === "OomGroup" }, driftMs));
    ago -= 1;
    const code = end === "Exit" ? 1 : end === "Graceful" ? 143 : 137;
    ends.push(dead(id, ago, end === "Exit" || end === "OomError" ? "Error" : "OOMKilled", code));
  });
  return { ends, reports, first: reports.filter((_, i) => inFirst[i % inFirst.length] === true) };
}

/** Runs a history of passes, told by whichever witnesses are there, and then two that see everything that can still be seen. */
function run({ ends, reports, first }: World, history: readonly Step[]): MemoryInvestigationStatus {
  const sorted = history
    .map(({ stage, packs }) => ({ stage: Math.min(stage, ends.length), packs }))
    .toSorted((a, b) => a.stage - b.stage);
  const all: Step[] = [...sorted, { stage: ends.length, packs: 2 }, { stage: ends.length, packs: 2 }];
  let investigation = stopped({ metadata: { ...anInvestigation("i").metadata, creationTimestamp: at(9000) } });
  let metric = 0;
  for (const { stage, packs } of all) {
    const last = ends[stage - 1];
    const container = aContainer({
      containerId: `x${stage}`,
      restartCount: stage,
      ...(last === undefined ? {} : { last }),
    });
    const seen = anObservation({
      pods: [aPod("a", { containers: [container] })],
      investigations: [investigation],
      horizon: at(9000),
      kernelVictims: { ...(packs > 0 ? { c1: first } : {}), ...(packs > 1 ? { c2: reports } : {}) },
    });
    const after = pass(seen).investigations[0] ?? investigation;
    metric += countable(freshKills(investigation.status?.kills, after.status?.kills)).length;
    expect(after.status?.killCount ?? 0).toBeGreaterThanOrEqual(investigation.status?.killCount ?? 0);
    investigation = after;
  }
  const status = Contract.parse(investigation.status);
  expect(countable(status.kills ?? [])).toHaveLength(status.killCount ?? 0);
  expect(metric).toBe(status.killCount ?? 0);
  expect(new Set(status.kills?.map((k) => k.id)).size).toBe(status.kills?.length ?? 0);
  return status;
}

function countable(kills: readonly Kill[]): Kill[] {
  return kills.filter((kill) => kill.classification !== "NotAKill");
}

/** The truth: each report is a kill; an end that pod status calls a kill is one more only where no report is near it. */
function truth(lives: readonly Life[], seen: (n: number) => boolean): number {
  return lives.reduce((sum, { children, gap, end }, n) => {
    const killed = end === "Oom" || end === "OomGroup" || end === "OomError";
    const alone = end === "Unreported" && (children.length === 0 || gap === 200);
    return sum + children.length + (killed ? 1 : 0) + (alone && seen(n) ? 1 : 0);
  }, 0);
}

const story = fc.record({
  lives: fc.array(life, { minLength: 1, maxLength: 4 }),
  driftMs: fc.integer({ min: -40_000, max: 40_000 }),
  inFirst: fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }),
});

describe("whatever the order and however often the two witnesses are heard", () => {
  test("a kill is counted once, whether or not pod status was ever seen to tell of it", () => {
    fc.assert(
      fc.property(story, steps, ({ lives, driftMs, inFirst }, history) => {
        const stages = new Set([...history.map(({ stage }) => Math.min(stage, lives.length)), lives.length]);
        const status = run(worldOf(lives, driftMs, inFirst), history);
        expect(status.killCount ?? 0).toBe(truth(lives, (n) => stages.has(n + 1)));
      }),
    );
  });

  test("the ledger is the same", () => {
    const told = (status: MemoryInvestigationStatus): unknown => ({
      count: status.killCount,
      ledger: status.ledger?.toSorted(),
      // Of the last kill in a container whose end nobody saw, what became of the container is not told by either witness.
      kills: status.kills?.map(({ classification, ...kill }) =>
        kill.sources.includes("PodStatus") ? { ...kill, classification } : kill,
      ),
    });
    fc.assert(
      fc.property(story, steps, steps, ({ lives, driftMs, inFirst }, one, other) => {
        const world = worldOf(lives, driftMs, inFirst);
        const everyStage = lives.map((_, n): Step => ({ stage: n + 1, packs: 0 }));
        expect(told(run(world, [...one, ...everyStage]))).toEqual(told(run(world, [...other, ...everyStage])));
      }),
    );
  });
});
