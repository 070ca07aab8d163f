/** Growth that the sum hides, that ends with its program, or that no shape explains: never called steady. */
import { describe, expect, test } from "vitest";
import type { Finding } from "../../src/api/memoryinvestigation.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { mapped } from "./classes.ts";
import { type ContainerPlan, type Curve, MIB, random, samplesOf, stream } from "./samples.ts";

async function findingOf(plan: readonly ContainerPlan[], count = 72): Promise<Finding> {
  return diagnose(await record(stream(samplesOf(plan, { count }))));
}

/** The same at the same index: between `base` and `base` + `size` MiB, anywhere. */
function restless(base: number, size: number, seed: number): Curve {
  const next = random(seed);
  const values = Array.from({ length: 1000 }, () => base + size * next());
  return (_, index) => values[index] ?? base;
}

describe("a process that leaks beside one that is restless", () => {
  const service = { pid: 10, comm: "service", anon: restless(60, 60, 3) };

  test("is found although the sum shows no trend", async () => {
    const finding = await findingOf([{ processes: [service, { pid: 20, comm: "agent", anon: (t) => 4 + 0.06 * t }] }]);
    expect(finding).toMatchObject({ verdict: "AnonHeapLeak", culprit: { process: { pid: 20, comm: "agent" } } });
    expect(finding.summary).toContain("agent (pid 20)");
    expect(finding.counterEvidence.some(({ signal }) => signal === "anon of all, slope")).toBe(true);
  });

  test("is no leak where it takes what another gives back", async () => {
    const over = 355;
    const finding = await findingOf([
      {
        processes: [
          { pid: 10, comm: "old", anon: (t) => 90 - (80 * t) / over },
          { pid: 20, comm: "new", anon: (t) => 5 + (80 * t) / over },
        ],
      },
    ]);
    expect(finding.verdict).toBe("BoundedSteady");
  });

  test("is no leak where workers that grow are replaced, one after another", async () => {
    const worker = (pid: number, from: number): NonNullable<ContainerPlan["processes"]>[number] => ({
      pid,
      comm: "worker",
      startTicks: 100 + from,
      from,
      until: from + 120,
      anon: (t) => 10 + 0.3 * (t - from),
    });
    const processes = [-90, -60, -30, 0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330].map((from, i) =>
      worker(40 + i, from),
    );
    const finding = await findingOf([{ processes, limit: 512 * MIB }]);
    expect(["BoundedSteady", "Inconclusive", "LoadProportional"]).toContain(finding.verdict);
  });
});

describe("a heap that rises in uneven steps and stands still at the end", () => {
  /** As a JVM's does: the floor goes from 56 to 172 MiB. */
  const steps: Curve = (t) => (t < 50 ? 56 : t < 120 ? 85 : t < 200 ? 108 : t < 230 ? 125 : 172);

  test("is not called steady, whatever it is", async () => {
    const finding = await findingOf([{ processes: [{ pid: 7, comm: "java", anon: steps }], limit: 512 * MIB }]);
    expect(finding.verdict).not.toBe("BoundedSteady");
    expect(finding.verdict).not.toBe("SharedPageArtefact");
  });
});

describe("a plateau", () => {
  const full: Curve = (t) => 30 + Math.min(100, t);
  const of = async (heap: "GoHeap" | "Heap"): Promise<Finding> => {
    const surroundings = mapped({ [heap]: 100 }, heap === "GoHeap" ? ["Go"] : []);
    const plan = [{ processes: [{ pid: 7, anon: full }], limit: 512 * MIB }];
    return diagnose(await record(stream(samplesOf(plan, { count: 72 }))), surroundings);
  };

  test("of a collector's heap tells less than one of malloc's, and each says what it cannot tell", async () => {
    const [managed, native] = [await of("GoHeap"), await of("Heap")];
    expect([managed.verdict, native.verdict]).toEqual(["WarmupPlateau", "WarmupPlateau"]);
    expect(managed.confidencePercent).toBeLessThan(native.confidencePercent);
    expect(managed.limits?.join(" ")).toContain("The heap of Go takes its size in steps");
    expect(native.limits?.join(" ")).toContain("an allocator keeps what was freed, looks the same from outside");
  });
});

describe("page cache at the limit", () => {
  test("whose pages are read again and again is less sure to be harmless than one that is only read", async () => {
    const of = (refaults: number): Promise<Finding> =>
      findingOf([
        {
          limit: 128 * MIB,
          kinds: { file: (t) => 60 + Math.min(46, t) },
          processes: [{ pid: 7, anon: () => 20 }],
          counts: { workingset_refault_file: (t) => refaults * t },
        },
      ]);
    const [read, again] = [await of(0), await of(40)];
    expect([read.verdict, again.verdict]).toEqual(["PageCacheGrowth", "PageCacheGrowth"]);
    expect(again.confidencePercent).toBeLessThan(read.confidencePercent);
  });
});

describe("a program that was killed midway while its cgroup lives on", () => {
  const line: Curve = (t) => 20 + 0.6 * t;

  test("is judged by what was seen while it ran", async () => {
    const finding = await findingOf([
      {
        kinds: { anon: (t) => (t < 250 ? line(t, 0) : 0) },
        processes: [{ pid: 7, anon: line, until: 250 }],
      },
    ]);
    expect(finding).toMatchObject({ verdict: "AnonHeapLeak", culprit: { process: { pid: 7 } } });
    expect(finding.limits?.join(" ")).toMatch(
      /No process ran in the container for the last 1\d\d s: it was judged up to then/,
    );
    expect(finding.timeToOOMSeconds).toBeUndefined();
  });

  test("has not ended where one sample alone shows no process", async () => {
    const finding = await findingOf([{ kinds: { anon: line }, processes: [{ pid: 7, anon: line, until: 355 }] }]);
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.limits?.join(" ")).not.toContain("No process ran");
    expect(finding.timeToOOMSeconds).toBeDefined();
  });

  test("and stood still is not called steady", async () => {
    const finding = await findingOf([
      { kinds: { anon: (t) => (t < 250 ? 60 : 0) }, processes: [{ pid: 7, anon: () => 60, until: 250 }] },
    ]);
    expect(finding.verdict).toBe("Inconclusive");
  });
});

test("a sum of Rss that counts pages twice is not the story where memory itself comes and goes by as much", async () => {
  const swing: Curve = (t) => 45 * ((t % 40) / 40);
  const shared: Curve = (t, i) => 90 - swing(t, i);
  const finding = await findingOf([
    {
      kinds: { anon: (t, i) => 90 + swing(t, i) },
      processes: [10, 11].map((pid) => ({ pid, anon: (t, i) => 45 + swing(t, i) / 2, resident: () => 90, shared })),
    },
  ]);
  expect(finding.verdict).not.toBe("SharedPageArtefact");
});
