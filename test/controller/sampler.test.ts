/** Does the sampler watch what policies ask for, and no more; and when does it raise an alarm? Readings are documents as metrics-server writes them. */
import { pino } from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import type { CensusEntry } from "../../src/cluster/census.ts";
import { ApiError } from "../../src/cluster/errors.ts";
import { nodeUsage, podUsage } from "../../src/cluster/metricsreads.ts";
import { createSampler, type Sampler, type SamplerOptions } from "../../src/controller/sampler.ts";
import type { EffectivePolicy, PodView, PolicyView, WorkloadKey } from "../../src/incident/observation.ts";
import { type ManualClock, manualClock } from "../cluster-door/manualclock.ts";
import { aContainer, aPod, aPolicy } from "../incident/builders.ts";

const MIB = 2 ** 20;
const LIMIT = 256 * MIB;

let clock: ManualClock;
let sampler: Sampler;
let entries: CensusEntry[];
/** Usage in bytes by `namespace/pod`, and of nodes. */
let usage: Record<string, number>;
let nodes: Record<string, number>;
let fail: { pods?: ApiError; nodes?: ApiError };
let asked: (readonly string[] | undefined)[];
let enqueued: string[];

beforeEach(() => {
  clock = manualClock();
  entries = [];
  usage = {};
  nodes = {};
  fail = {};
  asked = [];
  enqueued = [];
  start();
});

function start(over: Partial<SamplerOptions> = {}): void {
  sampler = createSampler({
    clock,
    log: pino({ level: "silent" }),
    census: () => entries,
    readPods,
    readNodes,
    capacity: () => 1000 * MIB,
    enqueue: (key) => enqueued.push(key),
    ...over,
  });
}

async function* readPods(
  namespaces: readonly string[] | undefined,
): AsyncGenerator<NonNullable<ReturnType<typeof podUsage>>> {
  asked.push(namespaces);
  await Promise.resolve();
  if (fail.pods !== undefined) throw fail.pods;
  for (const [path, bytes] of Object.entries(usage)) {
    const [namespace, name] = path.split("/");
    const containers = [{ name: "app", usage: { cpu: "1n", memory: `${Math.round(bytes / 1024)}Ki` } }];
    const read = podUsage({
      metadata: { namespace, name },
      timestamp: clock.now().toISOString(),
      window: "15s",
      containers,
    });
    if (read !== undefined) yield read;
  }
}

async function* readNodes(): AsyncGenerator<NonNullable<ReturnType<typeof nodeUsage>>> {
  await Promise.resolve();
  if (fail.nodes !== undefined) throw fail.nodes;
  for (const [name, bytes] of Object.entries(nodes)) {
    const read = nodeUsage({
      metadata: { name },
      timestamp: clock.now().toISOString(),
      usage: { memory: String(bytes) },
    });
    if (read !== undefined) yield read;
  }
}

const BEFORE = "2025-12-31T00:00:00Z";

function running(name: string, over: Partial<PodView> = {}): PodView {
  const container = aContainer({ limitBytes: LIMIT, state: { kind: "running", startedAt: BEFORE } });
  return aPod(name, { containers: [container], ...over });
}

function workload(name: string, triggers: object, pods: readonly PodView[]): CensusEntry {
  const policy: EffectivePolicy = aPolicy("Observe", { triggers });
  const view: PolicyView = { ...policy, uid: "uid-p", created: BEFORE };
  return { key: { namespace: "media", kind: "Deployment", name }, pods, ranked: [view], policy };
}

const key = (name: string): WorkloadKey => ({ namespace: "media", kind: "Deployment", name });
const fact = (triggers: object) => sampler.fact({ uid: "uid-p", spec: aPolicy("Observe", { triggers }).spec });

/** So many passes, 15 s apart; `each` sets the readings of the n-th. */
async function passes(count: number, each: (n: number) => void = () => undefined): Promise<void> {
  for (let n = 0; n < count; n++) {
    each(n);
    await sampler.pass();
    await clock.advance(15_000);
  }
}

describe("nothing is asked", () => {
  test("where no policy has such a trigger", async () => {
    entries = [workload("thumbs", {}, [running("a")])];
    await passes(3);
    expect(asked).toEqual([]);
    expect(fact({})).toBeUndefined();
  });
  test("where such a policy is in force for nothing, and it says so", async () => {
    await passes(3);
    expect(asked).toEqual([]);
    expect(fact({ growth: {} })).toMatchObject({ status: "Unknown", reason: "MetricsPending" });
  });
});

describe("memoryUsage", () => {
  const TRIGGER = { memoryUsage: { percentOfLimit: 90, for: "2m" } };
  beforeEach(() => {
    entries = [workload("thumbs", TRIGGER, [running("a"), running("b")])];
    usage = { "media/a": 100 * MIB, "media/b": 240 * MIB, "media/stranger": 999 * MIB };
  });

  test("raises an alarm after its time, of the workload, and looks at it", async () => {
    await passes(8);
    expect(sampler.alarm(key("thumbs"))).toBeUndefined();
    await passes(1);
    expect(sampler.alarm(key("thumbs"))).toMatchObject({
      trigger: "memoryUsage",
      pod: { name: "b" },
      container: "app",
    });
    expect(enqueued).toEqual(["media/Deployment/thumbs"]);
    expect(asked[0]).toEqual(["media"]);
    expect(sampler.stats()).toEqual({ pods: 2, alarms: 1 });
    expect(fact(TRIGGER)).toMatchObject({ status: "True", reason: "MetricsRead" });
    usage["media/b"] = 100 * MIB;
    await passes(1);
    expect(sampler.alarm(key("thumbs"))).toBeUndefined();
  });

  test("counts nothing of the incarnation before", async () => {
    await passes(8);
    const startedAt = clock.now().toISOString();
    const again = aContainer({ limitBytes: LIMIT, containerId: "c2", state: { kind: "running", startedAt } });
    entries = [workload("thumbs", TRIGGER, [running("b", { containers: [again] })])];
    await passes(8);
    expect(sampler.alarm(key("thumbs"))).toBeUndefined();
    await passes(2);
    expect(sampler.alarm(key("thumbs"))).toBeDefined();
  });

  test("forgets pods that are gone, and everything when the policy goes", async () => {
    await passes(2);
    entries = [workload("thumbs", TRIGGER, [running("a")])];
    await passes(1);
    expect(sampler.stats()).toEqual({ pods: 1, alarms: 0 });
    entries = [];
    await passes(1);
    expect(sampler.stats()).toEqual({ pods: 0, alarms: 0 });
  });

  test("says when nothing has a limit", async () => {
    entries = [
      workload("thumbs", TRIGGER, [
        aPod("a", {
          containers: [
            {
              name: "app",
              type: "Container",
              restartCount: 0,
              ready: true,
              state: { kind: "running", startedAt: BEFORE },
            },
          ],
        }),
      ]),
    ];
    await passes(1);
    expect(fact(TRIGGER)).toMatchObject({ status: "False", reason: "NoLimits" });
  });
});

describe("growth", () => {
  const TRIGGER = { growth: { projectedOOMWithin: "30m" } };
  test("raises an alarm while there is still time, and not for what stands still", async () => {
    entries = [workload("leaky", TRIGGER, [running("l")]), workload("flat", TRIGGER, [running("f")])];
    const flatAt = 230 * MIB;
    let at = -1;
    await passes(40, (n) => {
      usage = { "media/l": 60 * MIB + n * 2 * MIB, "media/f": flatAt };
      if (at < 0 && sampler.alarm(key("leaky")) !== undefined) at = n;
    });
    expect(sampler.alarm(key("leaky"))).toMatchObject({
      trigger: "growth",
      reason: "OOMProjected",
      pod: { name: "l" },
    });
    expect(sampler.alarm(key("flat"))).toBeUndefined();
    // 24 readings at least: what rises in its first minutes may be a warm-up.
    expect(at).toBe(24);
  });
});

describe("nodeMemAvailable", () => {
  const TRIGGER = { nodeMemAvailable: { percent: 8, for: "1m" } };
  beforeEach(() => {
    entries = [workload("big", TRIGGER, [running("big")]), workload("grows", TRIGGER, [running("grows")])];
  });

  test("points at the pod that grew most on the node that is short, and stays with its workload", async () => {
    await passes(8, (n) => {
      usage = { "media/big": 200 * MIB, "media/grows": (20 + 5 * n) * MIB };
      nodes = { n1: 950 * MIB, n2: 10 * MIB };
    });
    expect(sampler.alarm(key("grows"))).toMatchObject({ trigger: "nodeMemAvailable", pod: { name: "grows" } });
    expect(sampler.alarm(key("big"))).toBeUndefined();
    await passes(5, (n) => {
      usage = { "media/big": (200 + 20 * n) * MIB, "media/grows": 60 * MIB };
    });
    expect(sampler.alarm(key("big"))).toBeUndefined();
    nodes = { n1: 500 * MIB };
    await passes(1);
    expect(sampler.alarm(key("grows"))).toBeUndefined();
  });

  test("does nothing while the node is short for less than its time, or is no node of its pods", async () => {
    usage = { "media/big": 200 * MIB, "media/grows": 100 * MIB };
    nodes = { n1: 950 * MIB };
    await passes(4);
    nodes = { n1: 500 * MIB, n9: 999 * MIB };
    await passes(8);
    expect(sampler.stats().alarms).toBe(0);
  });
});

describe("a metrics API that fails", () => {
  const TRIGGER = { memoryUsage: { for: "15s" }, nodeMemAvailable: { for: "15s" } };
  beforeEach(() => {
    entries = [workload("thumbs", TRIGGER, [running("a")])];
    usage = { "media/a": 250 * MIB };
    nodes = { n1: 100 * MIB };
  });

  test("is named in what the policy says of itself, is asked more seldom, and raises no alarm", async () => {
    fail.pods = new ApiError("NotFound", "404");
    await passes(9);
    expect(asked).toHaveLength(3);
    expect(fact(TRIGGER)).toMatchObject({
      status: "False",
      reason: "MetricsUnavailable",
      message:
        "Doing nothing: memoryUsage, nodeMemAvailable, because the cluster has no metrics API (metrics.k8s.io); install metrics-server",
    });
    fail = {};
    await passes(8);
    expect(fact(TRIGGER)).toMatchObject({ status: "True" });
    expect(sampler.alarm(key("thumbs"))).toBeDefined();
    fail.pods = new ApiError("ServerError", "503");
    await passes(1);
    expect(sampler.alarm(key("thumbs"))).toBeUndefined();
  });

  test("for nodes alone leaves the other triggers their work", async () => {
    fail.nodes = new ApiError("Forbidden", "403");
    await passes(9);
    expect(fact(TRIGGER)).toMatchObject({
      reason: "MetricsUnavailable",
      message: expect.stringMatching(/^Doing nothing: nodeMemAvailable, because the operator may not/) as string,
    });
    expect(sampler.alarm(key("thumbs"))).toMatchObject({ trigger: "memoryUsage" });
  });
});

test("no more pods are kept than allowed, and the policy says so", async () => {
  start({ maxPods: 5 });
  entries = [
    workload(
      "many",
      { memoryUsage: {} },
      Array.from({ length: 9 }, (_, i) => running(`p${i}`)),
    ),
  ];
  for (let i = 0; i < 9; i++) usage[`media/p${i}`] = MIB;
  await passes(2);
  expect(sampler.stats().pods).toBe(5);
  expect(fact({ memoryUsage: {} })).toMatchObject({ status: "False", reason: "TooManyPods" });
});

test("a metrics API that hangs is not asked a second time meanwhile", async () => {
  let answer: () => void = () => undefined;
  const hanging = new Promise<void>((resolve) => (answer = resolve));
  start({
    readPods: async function* (namespaces) {
      asked.push(namespaces);
      await hanging;
      yield* [];
    },
  });
  entries = [workload("thumbs", { memoryUsage: {} }, [running("a")])];
  const both = Promise.all([sampler.pass(), sampler.pass()]);
  answer();
  await both;
  expect(asked).toHaveLength(1);
});

test("many namespaces are asked with one question", async () => {
  entries = Array.from({ length: 9 }, (_, i) =>
    workload(`w${i}`, { memoryUsage: {} }, [running(`p${i}`, { namespace: `ns${i}` })]),
  );
  await passes(1);
  expect(asked).toEqual([undefined]);
});
