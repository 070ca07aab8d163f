import { describe, expect, test } from "vitest";
import type { Context, OomReports } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import type { Surroundings } from "../../src/diagnosis/case.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { type ContainerPlan, type Curve, MIB, random, samplesOf, stream } from "./samples.ts";

/** A repeatable wobble of ± `size` MiB. */
function wobble(size: number, seed = 1): Curve {
  const next = random(seed);
  const seen = new Map<number, number>();
  return (_, index) => {
    const known = seen.get(index) ?? (next() * 2 - 1) * size;
    seen.set(index, known);
    return known;
  };
}

async function findingOf(
  containers: readonly ContainerPlan[],
  timing: { count?: number; interval?: number } = {},
  surroundings: Surroundings = {},
): Promise<Finding> {
  const finding = diagnose(await record(stream(samplesOf(containers, timing))), surroundings);
  // Whatever the verdict, it must fit the API.
  expect(Finding.parse(finding)).toEqual(finding);
  return finding;
}

const one = (anon: Curve, more: Partial<ContainerPlan> = {}): ContainerPlan[] => [
  { processes: [{ pid: 4711, anon }], ...more },
];

const leak: Curve = (t) => 40 + 1.2 * t;

const pods: Context["pods"] = [
  {
    name: "thumbnail-svc-a",
    uid: "pod-1",
    role: "Preserved",
    revision: "2",
    containers: [{ name: "thumbnail", id: "c1" }],
  },
  {
    name: "thumbnail-svc-b",
    uid: "pod-2",
    role: "Serving",
    revision: "2",
    containers: [{ name: "thumbnail", id: "c2" }],
  },
];
const context: Context = {
  target: { kind: "Deployment", namespace: "media", name: "thumbnail-svc" },
  kills: [],
  revisions: [],
  pods,
};

describe("a leak", () => {
  test("is named with its process, rate, share and the time that is left", async () => {
    const noisy = wobble(1);
    const finding = await findingOf(
      one((t, i) => leak(t, i) / 2 + noisy(t, i), { limit: 512 * MIB }),
      { count: 72 },
    );
    expect(finding).toMatchObject({
      verdict: "AnonHeapLeak",
      culprit: { container: "thumbnail", process: { pid: 4711, comm: "thumbnail-svc" } },
    });
    expect(finding.growth?.bytesPerSecond).toBeGreaterThan(0.58 * MIB);
    expect(finding.growth?.bytesPerSecond).toBeLessThan(0.62 * MIB);
    expect(finding.growthByProcess?.[0]).toMatchObject({ pid: 4711, sharePercent: 100 });
    // 512 - (20 + 0.6 * 355 + 2) = 277 MiB at 0.6 MiB/s.
    expect(finding.timeToOOMSeconds?.mid).toBeGreaterThan(440);
    expect(finding.timeToOOMSeconds?.mid).toBeLessThan(485);
    expect(finding.timeToOOMSeconds?.low).toBeLessThanOrEqual(finding.timeToOOMSeconds?.mid ?? 0);
    expect(finding.confidencePercent).toBeGreaterThanOrEqual(80);
    expect(finding.summary).toMatch(
      /gains .* [KM]iB\/s of anonymous memory \(anon\), 100 % of it in process thumbnail-svc \(pid 4711\)/,
    );
  });

  test("seen in twelve samples is provisional and at most 75 % sure", async () => {
    const finding = await findingOf(one(leak), { count: 13 });
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.confidencePercent).toBeLessThanOrEqual(75);
    expect(finding.limits?.join(" ")).toContain("Provisional");
  });

  test("is never named from eleven samples, however steep", async () => {
    const finding = await findingOf(
      one((t) => 10 + 20 * t),
      { count: 11, interval: 30 },
    );
    expect(finding.verdict).toBe("Inconclusive");
    expect(finding.growthByKind?.every(({ trend }) => trend === "Unknown")).toBe(true);
    expect(finding.culprit).toBeUndefined();
  });

  test("is never named from less than a minute", async () => {
    expect((await findingOf(one(leak), { count: 40, interval: 1 })).verdict).toBe("Inconclusive");
  });

  test("shows under cache noise although usage stands still at the limit", async () => {
    const anon: Curve = (t) => 40 + 0.4 * t;
    const finding = await findingOf(one(anon, { kinds: { file: (t) => 210 - 0.4 * t } }), { count: 72 });
    expect(finding).toMatchObject({ verdict: "AnonHeapLeak", subKind: "HiddenByCache" });
    // 256 - (anon 182 + kernel 2) = 72 MiB, not the 4 MiB that usage leaves.
    expect(finding.timeToOOMSeconds?.mid).toBeGreaterThan(150);
  });

  test("shows although it goes to swap, and then no time is promised", async () => {
    const swapped: ContainerPlan[] = [
      {
        kinds: { anon: (t) => Math.min(200, 40 + 0.8 * t), swap: (t) => Math.max(0, 0.8 * t - 160) },
        processes: [{ pid: 1, anon: (t) => 40 + 0.8 * t }],
      },
    ];
    const finding = await findingOf(swapped, { count: 72 });
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.timeToOOMSeconds).toBeUndefined();
  });

  test("of a serving sibling is the story, not the preserved pod that stands still without traffic", async () => {
    const finding = await findingOf(
      [
        { pod: "pod-1", id: "c1", processes: [{ pid: 10, anon: () => 90 }] },
        { pod: "pod-2", id: "c2", processes: [{ pid: 20, anon: (t) => 20 + 0.5 * t }] },
      ],
      { count: 60 },
      { context },
    );
    expect(finding.culprit).toMatchObject({ pod: "thumbnail-svc-b", process: { pid: 20 }, revision: "2" });
    expect(finding.summary).toContain("thumbnail-svc-b (serving)");
    expect(finding.counterEvidence.some(({ signal }) => signal.includes("preserved pod without traffic"))).toBe(true);
  });

  test("in a sidecar is laid to the sidecar", async () => {
    const finding = await findingOf([
      { id: "c1", processes: [{ pid: 10, anon: () => 60 }] },
      { id: "c2", name: "log-shipper", processes: [{ pid: 20, comm: "shipper", anon: (t) => 10 + 0.4 * t }] },
    ]);
    expect(finding.culprit).toMatchObject({ container: "log-shipper", process: { pid: 20 } });
  });

  test("of a child is laid to the child, not to PID 1", async () => {
    const plan: ContainerPlan = {
      processes: [
        { pid: 10, comm: "init", anon: () => 30 },
        { pid: 11, ppid: 10, comm: "worker", anon: (t) => 10 + 0.5 * t },
      ],
    };
    expect((await findingOf([plan])).culprit?.process).toMatchObject({
      pid: 11,
      comm: "worker",
      parents: [{ pid: 10, comm: "init" }],
    });
  });

  test("spread evenly over four processes of different programs names nobody", async () => {
    const plan: ContainerPlan = {
      processes: [1, 2, 3, 4].map((pid) => ({ pid, comm: `worker-${pid}`, anon: (t: number) => 10 + 0.15 * t })),
    };
    const finding = await findingOf([plan]);
    expect(finding.verdict).toBe("Inconclusive");
    expect(finding.limits?.join(" ")).toContain("25 %");
  });

  test("in each of four workers of one program is one leak, less sure than in one process", async () => {
    const plan: ContainerPlan = {
      processes: [1, 2, 3, 4].map((pid) => ({ pid, anon: (t: number) => 10 + 0.15 * t })),
    };
    const finding = await findingOf([plan]);
    expect(finding).toMatchObject({ verdict: "AnonHeapLeak", subKind: "EveryWorker" });
    expect(finding.confidencePercent).toBeLessThan((await findingOf(one((t) => 40 + 0.6 * t))).confidencePercent);
  });

  test("that the processes do not account for names nobody", async () => {
    const plan: ContainerPlan = {
      kinds: { anon: (t) => 40 + 1 * t },
      processes: [{ pid: 1, anon: (t) => 20 + 0.3 * t }],
      limit: 1024 * MIB,
    };
    expect((await findingOf([plan])).verdict).toBe("Inconclusive");
  });

  test("of a process that grew in one step, while others make the sum a line, names nobody", async () => {
    const plan: ContainerPlan = {
      limit: 1024 * MIB,
      processes: [
        { pid: 1, anon: (t) => (t < 150 ? 10 : 140) },
        { pid: 2, anon: (t) => 160 + 0.5 * t - (t < 150 ? 0 : 130) },
      ],
    };
    const finding = await findingOf([plan]);
    expect(finding.verdict).toBe("Inconclusive");
    expect(finding.limits?.join(" ")).toContain("not one process by the whole test");
  });

  test("seen in two pods at once is surer, but stays below 75 % while it is provisional", async () => {
    const pod = (n: number): ContainerPlan => ({ pod: `pod-${n}`, id: `c${n}`, processes: [{ pid: n, anon: leak }] });
    expect((await findingOf([pod(1), pod(2)], { count: 20 }, { context })).confidencePercent).toBe(75);
  });

  test("with many new threads of a stack's size each is one of threads", async () => {
    const plan: ContainerPlan = {
      processes: [{ pid: 1, anon: (t) => 20 + 0.5 * t, threads: (t) => 5 + Math.floor(t / 2) }],
    };
    const finding = await findingOf([plan]);
    expect(finding.verdict).toBe("ThreadStackGrowth");
    expect(finding.evidence.some(({ signal }) => signal.startsWith("Threads"))).toBe(true);
  });

  test("in every life of a restarting container is found, and each life counts for the others", async () => {
    const lives = [0, 1, 2].map((n): ContainerPlan => ({
      id: `life-${n}`,
      from: n * 100,
      until: n * 100 + 100,
      processes: [{ pid: 100 + n, startTicks: n, anon: (t) => 20 + 1.5 * (t - n * 100) }],
    }));
    const finding = await findingOf(lives, { count: 60 });
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.growth?.bytesPerSecond).toBeCloseTo(1.5 * MIB, -4);
    expect(finding.confidencePercent).toBe(65);
    expect(finding.evidence.find(({ signal }) => signal.includes("other pods and lives"))?.value).toBe("2");
    expect(finding.limits?.join(" ")).toContain("restarted 2 times");
    // One long life and a short one: the restart counts against it, and nothing makes up for it.
    const [first, second] = lives;
    const alone = await findingOf([first ?? {}, { ...second, until: 130 }], { count: 26 });
    expect(alone.verdict).toBe("Inconclusive");
    expect(alone.runnerUp).toEqual({ verdict: "AnonHeapLeak", confidencePercent: 45 });
  });

  test("in lives too short to judge is inconclusive, and says so", async () => {
    const lives = Array.from({ length: 6 }, (_, n): ContainerPlan => ({
      id: `life-${n}`,
      from: n * 50,
      until: n * 50 + 50,
      processes: [{ pid: 100 + n, startTicks: n, anon: (t) => 20 + 4 * (t - n * 50) }],
    }));
    const finding = await findingOf(lives, { count: 60 });
    expect(finding.verdict).toBe("Inconclusive");
    expect(finding.limits?.join(" ")).toContain("6 incarnations");
  });

  test("that is a rising floor under a saw-tooth is found", async () => {
    const finding = await findingOf(
      one((t) => 40 + 0.3 * t + 2 * (t % 30), { limit: 512 * MIB }),
      { count: 72 },
    );
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.growth?.bytesPerSecond).toBeGreaterThan(0.25 * MIB);
    expect(finding.growth?.bytesPerSecond).toBeLessThan(0.35 * MIB);
  });

  test("shows in RssAnon where no rollup was due", async () => {
    const plan: ContainerPlan = { processes: [{ pid: 1, anon: (t) => 20 + 0.5 * t, rollup: false }] };
    const finding = await findingOf([plan]);
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.limits?.join(" ")).toContain("RssAnon");
  });
});

describe("what looks like a leak and is none", () => {
  const steady = ["BoundedSteady"];
  const unsure = ["Inconclusive"];
  const noisy = wobble(2, 5);
  test.each<[string, Curve, readonly string[]]>([
    ["a level line", () => 80, steady],
    ["noise around a level", (t, i) => 80 + noisy(t, i), steady],
    ["a plateau after a warm-up", (t) => Math.min(150, 30 + 2 * t), ["WarmupPlateau"]],
    ["a spike that goes away", (_, i) => (i >= 20 && i < 24 ? 200 : 60), ["TransientSpike"]],
    ["a spike at the very end", (_, i) => (i === 59 ? 200 : 60), unsure],
    ["one step", (_, i) => (i < 30 ? 60 : 140), ["StepChange"]],
    ["growth that slows down", (t) => 30 + 120 * (1 - Math.exp(-t / 120)), ["WarmupPlateau"]],
    ["a saw-tooth above a flat floor", (t) => 60 + 3 * (t % 30), steady],
    ["memory that falls", (t) => 200 - 0.4 * t, steady],
    ["a climb that comes down again", (t) => 40 + 1.2 * Math.min(t, 295 - t), [...steady, ...unsure]],
  ])("%s", async (_, anon, verdicts) => {
    const finding = await findingOf(one(anon));
    expect(verdicts).toContain(finding.verdict);
    expect(finding.culprit).toBeUndefined();
    expect(finding.timeToOOMSeconds).toBeUndefined();
  });

  test("a steady container says how small a leak it would have shown", async () => {
    const finding = await findingOf(one(() => 80));
    expect(finding.summary).toMatch(/A leak below .* per hour would not have been seen/);
  });

  test("a preserved pod alone, without traffic, proves nothing", async () => {
    const finding = await findingOf(
      one(() => 80),
      {},
      { context: { ...context, pods: pods.slice(0, 1) } },
    );
    expect(finding.verdict).toBe("Inconclusive");
    expect(finding.limits?.join(" ")).toContain("without traffic");
  });
});

describe("growth of other kinds", () => {
  const still: Curve = () => 40;
  test.each<[string, Partial<ContainerPlan>, string, string | undefined]>([
    ["page cache", { kinds: { file: (t) => 10 + 0.5 * t } }, "PageCacheGrowth", undefined],
    ["tmpfs that no process maps", { kinds: { shmem: (t) => 0.5 * t } }, "ShmemGrowth", "Unmapped"],
    [
      "a mapped memfd",
      { kinds: { shmem: (t) => 0.5 * t }, processes: [{ pid: 1, anon: still, shmem: (t) => 0.5 * t }] },
      "ShmemGrowth",
      "Mapped",
    ],
    [
      "slab",
      { kinds: { kernel: (t) => 2 + 0.5 * t }, stat: { slab_unreclaimable: (t) => 0.45 * t } },
      "KernelMemoryGrowth",
      "SlabUnreclaimable",
    ],
    ["socket buffers", { kinds: { sock: (t) => 0.5 * t } }, "KernelMemoryGrowth", "SocketBuffers"],
  ])("%s", async (_, more, verdict, subKind) => {
    const finding = await findingOf(one(still, more));
    expect(finding.verdict).toBe(verdict);
    expect(finding.subKind).toBe(subKind);
    // Who holds it is named only where its own numbers show it: here those of the memfd alone.
    expect(finding.culprit?.process === undefined).toBe(subKind !== "Mapped");
    expect(finding.timeToOOMSeconds === undefined).toBe(verdict === "PageCacheGrowth");
  });

  test("kernel memory that rises a little with the page cache is not the finding", async () => {
    const finding = await findingOf(one(still, { kinds: { file: (t) => 10 + 0.6 * t, kernel: (t) => 2 + 0.05 * t } }));
    expect(finding.verdict).toBe("PageCacheGrowth");
  });
});

describe("the kernel's report", () => {
  const report = (anon: number): OomReports => ({
    reports: [
      {
        bootMs: 1,
        global: false,
        group: false,
        limitBytes: 96 * MIB,
        victim: { pid: 9, comm: "thumb\u001b[31m" },
        stat: { anon: anon * MIB },
        tasks: [],
        tasksOmitted: 0,
        podUid: "pod-1",
      },
    ],
    othersDropped: 0,
    notes: [],
  });

  test("is told in the summary when the heap filled the limit, and makes a short leak surer", async () => {
    const without = await findingOf(one(leak, { limit: 512 * MIB }), { count: 13 });
    const finding = await findingOf(one(leak, { limit: 512 * MIB }), { count: 13 }, { oomReports: report(94) });
    expect(finding.summary).toContain("80 % of the limit");
    expect(finding.evidence.some(({ part, value }) => part === "oom-reports.json" && value === "98")).toBe(true);
    expect(finding.confidencePercent).toBeGreaterThanOrEqual(without.confidencePercent);
  });

  test("of another pod, or of a small heap, is not held against anyone", async () => {
    const other = report(94).reports.map((r) => ({ ...r, podUid: "somebody-else" }));
    const finding = await findingOf(one(leak), { count: 13 }, { oomReports: { ...report(94), reports: other } });
    expect(finding.summary).not.toContain("The kernel reported");
    const small = await findingOf(one(leak), { count: 13 }, { oomReports: report(20) });
    expect(small.summary).not.toContain("The kernel reported");
  });

  test("cannot bring control characters into the finding", async () => {
    const hostile: ContainerPlan = { processes: [{ pid: 1, comm: "a\u001b[2J\nb", anon: (t) => 20 + 0.5 * t }] };
    const finding = await findingOf([hostile], {}, { oomReports: report(94) });
    // oxlint-disable-next-line no-control-regex
    expect(JSON.stringify(finding)).not.toMatch(/\\u001b|\\n|[\u0000-\u001f]/);
  });
});

describe("thin evidence", () => {
  test.each([
    ["no samples", [], 0],
    ["one sample", one(leak), 1],
    ["two samples", one(leak), 2],
    ["samples without a container", [{ from: 1e9 }], 20],
    ["a container without processes", [{ kinds: { anon: leak } }], 40],
  ] as const)("%s", async (_, plan, count) => {
    const finding = await findingOf(plan, { count });
    expect(finding.verdict).toBe("Inconclusive");
    expect(finding.limits?.length).toBeGreaterThan(0);
  });

  test("a container whose process has ended, or that never had one, is not called steady", async () => {
    const ended: ContainerPlan = {
      kinds: { anon: (t) => (t < 100 ? 60 : 0) },
      processes: [{ pid: 1, anon: () => 60, until: 100 }],
    };
    expect((await findingOf([ended])).limits?.join(" ")).toContain("No process ran in the container for the last");
    const empty = await findingOf([{ kinds: { anon: () => 0 } }]);
    expect(empty.verdict).toBe("Inconclusive");
    expect(empty.limits?.join(" ")).toContain("No process ran in the container while it was measured");
  });

  test("a pod that is gone midway is judged by what was seen, and no time is promised", async () => {
    const finding = await findingOf(
      one((t) => 20 + 1 * t, { until: 150 }),
      { count: 60 },
    );
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.limits?.join(" ")).toMatch(/ended \d+ s before/);
    expect(finding.timeToOOMSeconds).toBeUndefined();
  });
});
