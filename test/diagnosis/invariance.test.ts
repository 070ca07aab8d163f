/** What must not matter to any verdict: a constant, the unit, the order, half of the samples, the clock, where a recording ends; and what noise may do. */
import { describe, expect, test } from "vitest";
import type { CgroupReading, ProcessReading, Sample } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { CLASSES, type ClassCase } from "./classes.ts";
import { MIB, random, samplesOf, stream } from "./samples.ts";

/** Enough samples that half of them are still many. */
const samples = ({ plan, count = 100, interval = 3.3, node = {} }: ClassCase): Sample[] => [
  ...samplesOf(plan, { count, interval, node }),
];

async function findingOf(list: readonly Sample[], { surroundings = {} }: ClassCase): Promise<Finding> {
  return diagnose(await record(stream(list)), surroundings);
}

/** Changes every cgroup and every process of a sample. */
function changed(
  sample: Sample,
  cgroup: (reading: CgroupReading) => CgroupReading,
  process: (reading: ProcessReading, index: number) => ProcessReading,
): Sample {
  const pods = sample.pods.map((pod) => ({
    ...pod,
    containers: pod.containers.map((one) => ({
      ...one,
      cgroup: cgroup(one.cgroup),
      processes: one.processes.map(process),
    })),
  }));
  return { ...sample, pods };
}

const mapValues = (values: Readonly<Record<string, number>>, change: (value: number, name: string) => number) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value, name)]));

/** Names in stat that are counts and not bytes. */
const COUNTS = /^(workingset|pg)/;

/** Every size by the same function. */
function everySize(sample: Sample, size: (bytes: number) => number): Sample {
  const node = {
    ...sample.node,
    meminfo: mapValues(sample.node.meminfo, size),
    ...(sample.node.cgroups === undefined
      ? {}
      : {
          cgroups: {
            ...sample.node.cgroups,
            top: sample.node.cgroups.top.map((one) => ({ ...one, usageBytes: size(one.usageBytes) })),
          },
        }),
  };
  const next = changed(
    sample,
    (cgroup) => ({
      ...cgroup,
      usageBytes: size(cgroup.usageBytes),
      ...(cgroup.limitBytes === undefined ? {} : { limitBytes: size(cgroup.limitBytes) }),
      ...(cgroup.highBytes === undefined ? {} : { highBytes: size(cgroup.highBytes) }),
      kinds: mapValues(cgroup.kinds, size),
      stat: mapValues(cgroup.stat, (value, name) => (COUNTS.test(name) ? value : size(value))),
    }),
    (process) => ({
      ...process,
      status: mapValues(process.status, size),
      ...(process.rollup === undefined ? {} : { rollup: mapValues(process.rollup, size) }),
    }),
  );
  return { ...next, node };
}

/** A heap of `bytes` more, which was there before and stays, in the process that holds most; with room for it in the limit. */
function withConstant(sample: Sample, bytes: number): Sample {
  return changed(
    sample,
    (cgroup) => ({
      ...cgroup,
      usageBytes: cgroup.usageBytes + bytes,
      kinds: { ...cgroup.kinds, anon: (cgroup.kinds.anon ?? 0) + bytes },
      ...(cgroup.limitBytes === undefined ? {} : { limitBytes: cgroup.limitBytes + bytes }),
      ...(cgroup.highBytes === undefined ? {} : { highBytes: cgroup.highBytes + bytes }),
    }),
    (process, index) => (index > 0 ? process : withAnon(process, bytes)),
  );
}

function withAnon(process: ProcessReading, bytes: number): ProcessReading {
  const plus = (values: Readonly<Record<string, number>>, names: RegExp) =>
    mapValues(values, (value, name) => (names.test(name) ? value + bytes : value));
  return {
    ...process,
    status: plus(process.status, /^(VmRSS|RssAnon|VmSize)$/),
    ...(process.rollup === undefined
      ? {}
      : { rollup: plus(process.rollup, /^(Pss|Pss_Anon|Anonymous|Private_Dirty)$/) }),
  };
}

/** The verdict and what it is of; the confidence may differ where the number of samples does. */
const substance = ({ verdict, subKind, culprit, runnerUp }: Finding) => ({
  verdict,
  subKind,
  container: culprit?.container,
  process: culprit?.process,
  runnerUp: runnerUp?.verdict,
});

describe.each(CLASSES)("$verdict of $name does not change", (one) => {
  const whole = samples(one);
  let known: Promise<Finding> | undefined;
  const unchanged = (): Promise<Finding> => (known ??= findingOf(whole, one));

  test("when a constant is added", async () => {
    const before = await unchanged();
    const after = await findingOf(
      whole.map((sample) => withConstant(sample, 16 * MIB)),
      one,
    );
    expect(after).toMatchObject({ verdict: before.verdict, confidencePercent: before.confidencePercent });
  });

  test("when sizes are told in whole pages, or all are four times as large", async () => {
    const before = substance(await unchanged());
    const pages = whole.map((sample) => everySize(sample, (bytes) => Math.floor(bytes / 4096) * 4096));
    expect(substance(await findingOf(pages, one))).toEqual(before);
    // What the machine's page size multiplies is not scaled.
    const larger = whole.map((sample) => everySize(sample, (bytes) => 4 * bytes));
    expect((await findingOf(larger, one)).verdict).toBe(before.verdict);
  });

  test("when processes are listed in another order: not by a byte", async () => {
    const turned = whole.map((sample) => ({
      ...sample,
      pods: sample.pods.map((pod) => ({
        ...pod,
        containers: pod.containers.map((container) => ({ ...container, processes: container.processes.toReversed() })),
      })),
    }));
    expect(await findingOf(turned, one)).toEqual(await unchanged());
  });

  test("when every second sample is dropped", async () => {
    const half = whole.filter((_, i) => i % 2 === 0);
    expect((await findingOf(half, one)).verdict).toBe((await unchanged()).verdict);
  });

  test("when the clock begins elsewhere: not by a byte", async () => {
    const later = whole.map((sample) => ({
      ...sample,
      elapsedMs: sample.elapsedMs + 86_400_000,
      time: new Date(1e12 + sample.elapsedMs).toISOString(),
    }));
    expect(await findingOf(later, one)).toEqual(await unchanged());
  });

  test("into something else than a finding, wherever the recording ends", async () => {
    for (const end of [0, 1, 2, 13, 25, 41, 73]) {
      const found = await findingOf(whole.slice(0, end), one);
      expect(Finding.parse(found)).toEqual(found);
      expect(JSON.stringify(found)).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
});

describe("noise", () => {
  test.each([
    ["a leak", (t: number) => 40 + 0.4 * t],
    ["a level line", () => 60],
    ["a full cache", (t: number) => 40 + 0.8 * Math.min(t, 150)],
  ])("makes the verdict on %s less sure, or undoes it, and never surer", async (_, anon) => {
    const sure: number[] = [];
    for (const size of [0, 4, 30, 90]) {
      let sum = 0;
      for (const seed of [1, 2, 3, 4]) {
        const next = random(seed);
        const wobble = Array.from({ length: 100 }, () => size * next());
        const plan = [
          { limit: 1024 * MIB, processes: [{ pid: 7, anon: (t: number, i: number) => anon(t) + (wobble[i] ?? 0) }] },
        ];
        const one: ClassCase = { name: "", verdict: "Inconclusive", plan };
        const [first, now] = [
          await findingOf(samples({ ...one, plan: [{ limit: 1024 * MIB, processes: [{ pid: 7, anon }] }] }), one),
          await findingOf(samples(one), one),
        ];
        sum += now.verdict === first.verdict ? now.confidencePercent : 0;
      }
      sure.push(sum / 4);
    }
    expect(sure).toEqual(sure.toSorted((a, b) => b - a));
    expect(sure.at(-1)).toBeLessThan(sure[0] ?? 0);
  });
});
