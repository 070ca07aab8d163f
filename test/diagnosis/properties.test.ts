import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Sample } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { stream } from "./samples.ts";

const size = fc.oneof(fc.integer({ min: 0, max: 2 ** 34 }), fc.maxSafeInteger());
/** Some of these keys, each with a size. */
const partial = <K extends string>(...keys: K[]): fc.Arbitrary<Partial<Record<K, number>>> =>
  fc.dictionary(fc.constantFrom(...keys), size, { maxKeys: keys.length }) as fc.Arbitrary<Partial<Record<K, number>>>;
const stall = fc.record({
  avg10: fc.constant(0),
  avg60: fc.constant(0),
  avg300: fc.constant(0),
  totalUs: fc.nat(),
});
const process = fc.record(
  {
    pid: fc.integer({ min: 0, max: 4 }),
    startTicks: fc.integer({ min: 0, max: 2 }),
    ppid: fc.constant(1),
    comm: fc.string({ unit: "binary", maxLength: 15 }),
    threads: fc.nat(),
    status: partial("VmRSS", "RssAnon", "RssFile", "RssShmem", "VmSwap", "VmSize", "VmPTE"),
    rollup: partial("Pss", "Pss_Anon", "Anonymous", "Private_Dirty", "Shared_Dirty", "Shared_Clean", "AnonHugePages"),
    descriptors: fc.record({ open: fc.nat(), looked: fc.nat(9), kinds: fc.constant({ socket: 3 }) }),
    rollupSkipped: fc.string({ unit: "binary", maxLength: 8 }),
  },
  { requiredKeys: ["pid", "startTicks", "ppid", "comm", "threads", "status"] },
);
const container = fc.record(
  {
    id: fc.constantFrom("c1", "c2", "c3"),
    name: fc.string({ unit: "binary", maxLength: 80 }),
    cgroup: fc.record(
      {
        path: fc.constant("/x"),
        version: fc.constantFrom(1 as const, 2 as const),
        usageBytes: size,
        limitBytes: size,
        kinds: partial("anon", "file", "shmem", "kernel", "sock", "swap"),
        highBytes: size,
        stat: partial("slab_reclaimable", "pagetables", "file_dirty", "file_mapped", "workingset_refault_file"),
        events: partial("oom_kill", "high", "max"),
        pressure: fc.record({ some: stall, full: stall }),
      },
      { requiredKeys: ["path", "version", "usageBytes", "kinds", "stat", "events"] },
    ),
    processes: fc.array(process, { maxLength: 3 }),
  },
  { requiredKeys: ["id", "cgroup", "processes"] },
);
const local = fc.record(
  {
    kind: fc.constantFrom("Cgroup" as const, "Process" as const),
    life: fc.constantFrom("1", "2"),
    name: fc.string({ unit: "binary", maxLength: 80 }),
    cgroup: fc.record(
      {
        path: fc.constant("/x"),
        version: fc.constantFrom(1 as const, 2 as const),
        usageBytes: size,
        limitBytes: size,
        kinds: partial("anon", "file", "shmem", "swap"),
        stat: fc.constant({}),
        events: fc.constant({}),
      },
      { requiredKeys: ["path", "version", "usageBytes", "kinds", "stat", "events"] },
    ),
    othersInCgroup: fc.constantFrom(0, 1),
    processes: fc.array(process, { maxLength: 3 }),
  },
  { requiredKeys: ["kind", "life", "name", "processes"] },
);
const sample = fc.record({
  local: fc.option(local, { nil: undefined }),
  elapsedMs: fc.oneof(fc.integer({ min: 0, max: 60_000 }), fc.double({ noNaN: true, noDefaultInfinity: true })),
  pods: fc.array(fc.record({ uid: fc.constantFrom("p1", "p2"), containers: fc.array(container, { maxLength: 3 }) }), {
    maxLength: 2,
  }),
});

/** A stream whose clock mostly goes forward and whose every sample the schema accepts. */
const samples = fc.array(sample, { maxLength: 30 }).map((list) =>
  list.map((one, index) =>
    Sample.parse({
      ...one,
      index,
      time: "",
      elapsedMs: index % 7 === 3 ? one.elapsedMs : index * 6000,
      node: { meminfo: {}, vmstat: {} },
    }),
  ),
);

async function finding(list: readonly Sample[]): Promise<Finding> {
  return diagnose(await record(stream(list)));
}

describe("diagnose", () => {
  test("makes a finding that fits the API of any valid stream of samples", async () => {
    await fc.assert(
      fc.asyncProperty(samples, async (list) => {
        const found = await finding(list);
        expect(Finding.parse(found)).toEqual(found);
        expect(JSON.stringify(found)).not.toMatch(/NaN|Infinity/);
      }),
      { numRuns: 300 },
    );
  });

  test("gives the same bytes for the same samples, and whatever the order of pods and containers", async () => {
    await fc.assert(
      fc.asyncProperty(samples, async (list) => {
        const distinct = list.map((s) => ({
          ...s,
          pods: s.pods
            .filter((pod, i) => s.pods.findIndex((p) => p.uid === pod.uid) === i)
            .map((pod) => ({
              ...pod,
              containers: pod.containers.filter((c, i) => pod.containers.findIndex((d) => d.id === c.id) === i),
            })),
        }));
        const turned = distinct.map((s) => ({
          ...s,
          pods: s.pods.map((pod) => ({ ...pod, containers: pod.containers.toReversed() })).toReversed(),
        }));
        const first = JSON.stringify(await finding(distinct));
        expect(JSON.stringify(await finding(distinct))).toBe(first);
        expect(JSON.stringify(await finding(turned))).toBe(first);
      }),
      { numRuns: 150 },
    );
  });

  test("names nothing that grows from fewer than twelve samples", async () => {
    await fc.assert(
      fc.asyncProperty(samples, async (list) => {
        const found = await finding(list.slice(0, 11));
        expect(found.verdict).toBe("Inconclusive");
      }),
      { numRuns: 100 },
    );
  });
});
