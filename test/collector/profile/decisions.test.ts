/** What may be captured, how often, of whom, and what perf's own failures are called: pure decisions, as tables. */
import { expect, test } from "vitest";
import type { Sample } from "../../../src/api/collection.ts";
import { chooseSuspect } from "../../../src/collector/profile/during.ts";
import { decidePreflight, Preflight, type ProfileFacts } from "../../../src/collector/profile/preflight.ts";
import { parseCounts, ratesFor, refusalOf } from "../../../src/collector/profile/record.ts";

const FACTS: ProfileFacts = {
  perfVersion: "6.1.187",
  kernel: "6.18.44",
  paranoid: 2,
  uid: 0,
  capabilities: ["SETGID", "SETUID", "SYS_PTRACE", "PERFMON"],
  hostPids: true,
  pmu: false,
  tracefs: "/sys/kernel/tracing",
  uprobes: true,
  transparentHugepage: "madvise",
  setpriv: true,
  target: { pids: 1, threads: 5, runtimes: ["native"], files: 4, stripped: 0, perfMaps: 0 },
};
const TARGET = FACTS.target ?? { pids: 1, threads: 1, runtimes: [], files: 1, stripped: 0, perfMaps: 0 };

function without(...names: string[]): string[] {
  return FACTS.capabilities.filter((name) => !names.includes(name));
}

test.each<[string, Partial<ProfileFacts>, Record<string, string>]>([
  ["everything is there", {}, {}],
  ["no perf", { perfVersion: undefined }, { OnCpu: "NoPerf", Growth: "NoPerf" }],
  ["no perf events", { paranoid: undefined }, { OnCpu: "NoPerfEvents", Growth: "NoPerfEvents" }],
  ["without PERFMON", { capabilities: without("PERFMON") }, { OnCpu: "NoPermission", Growth: "NoPermission" }],
  ["SYS_ADMIN does for PERFMON", { capabilities: [...without("PERFMON"), "SYS_ADMIN"] }, {}],
  ["a machine that lets everybody", { capabilities: without("PERFMON"), paranoid: -1 }, {}],
  ["without SYS_PTRACE", { capabilities: without("SYS_PTRACE") }, { OnCpu: "NoPermission", Growth: "NoPermission" }],
  ["without hostPID", { hostPids: false }, { OnCpu: "NoHostPids", Growth: "NoHostPids" }],
  ["a dead target", { target: { ...TARGET, pids: 0 } }, { OnCpu: "NoProcess", Growth: "NoProcess" }],
  ["too many threads", { target: { ...TARGET, threads: 5000 } }, { OnCpu: "TooManyThreads", Growth: "TooManyThreads" }],
  ["no tracefs", { tracefs: undefined }, {}],
  ["without SETUID", { capabilities: without("SETUID") }, { Symbols: "NoPermission" }],
  ["no setpriv", { setpriv: false }, { Symbols: "NoSetpriv" }],
  ["not root", { uid: 1000, capabilities: ["SYS_PTRACE", "PERFMON"] }, {}],
])("preflight, %s", (_what, changes, refused) => {
  const preflight = decidePreflight({ ...FACTS, ...changes });
  const found = preflight.captures.flatMap((c) => (c.available ? [] : [[c.what, c.reason]]));
  expect(Object.fromEntries(found)).toEqual(refused);
  for (const capture of preflight.captures) expect(capture.detail).not.toBe("");
  // What the command line prints is exactly this.
  expect(Preflight.parse(JSON.parse(JSON.stringify(preflight)))).toEqual(JSON.parse(JSON.stringify(preflight)));
});

test("generated code is unwound by frame pointers; a runtime without a map is told of, and so are huge pages and stripped files", () => {
  const target = { ...TARGET, runtimes: ["node" as const], stripped: 2 };
  const preflight = decidePreflight({ ...FACTS, target, transparentHugepage: "always" });
  expect(preflight.unwinding).toBe("fp");
  expect(preflight.warnings.join("\n")).toMatch(/huge pages[\s\S]*2 of 4 files[\s\S]*--perf-basic-prof/);
  expect(decidePreflight({ ...FACTS, target: { ...target, perfMaps: 1 } }).warnings.join()).not.toContain("basic-prof");
  expect(decidePreflight(FACTS)).toMatchObject({ unwinding: "dwarf", warnings: [] });
});

test.each([
  ["a quiet target: every fault", 100, 0.1, 30_000, { pagePeriod: 2, frequencyHz: 79 }],
  ["20,700 faults a second", 20_700, 1, 30_000, { pagePeriod: 414, frequencyHz: 80 }],
  ["16 busy CPUs", 100, 16, 10_000, { pagePeriod: 2, frequencyHz: 9 }],
  ["nothing happens", 0, 0, 5_000, { pagePeriod: 1, frequencyHz: 99 }],
])("rates, %s", (_what, faults, cpus, durationMs, expected) => {
  const rates = ratesFor(faults, cpus, durationMs, 99, "dwarf");
  expect(rates.pagePeriod).toBeGreaterThanOrEqual(expected.pagePeriod * 0.9);
  expect(rates.pagePeriod).toBeLessThanOrEqual(expected.pagePeriod * 1.1);
  expect(Math.abs(rates.frequencyHz - expected.frequencyHz)).toBeLessThanOrEqual(2);
  // 20 MiB for the stacks of each event, whatever the load.
  expect((faults / rates.pagePeriod) * (durationMs / 1000) * 8704).toBeLessThanOrEqual(20.1 * 2 ** 20);
});

test("frame pointers cost nothing, so the frequency stays", () => {
  expect(ratesFor(0, 64, 60_000, 99, "fp").frequencyHz).toBe(99);
});

test("counts of perf stat, and none where it could not count", () => {
  const text =
    "2512,,page-faults,16048974,100.00,31.983,K/sec\n16.01,msec,cpu-clock,16048974,100.00,0.016,CPUs utilized\n";
  expect(parseCounts(text)).toEqual({ faults: 2512, cpuMs: 16.01 });
  expect(parseCounts("<not counted>,,page-faults,0,100.00,,\n")).toEqual({ faults: 0, cpuMs: 0 });
});

test.each([
  [{ code: 75, stderr: "" }, "Busy"],
  [{ code: 127, stderr: "" }, "NoPerf"],
  [
    { code: 255, stderr: "Error:\nAccess to performance monitoring and observability operations is limited.\n" },
    "NoPermission",
  ],
  [
    {
      code: 255,
      stderr: "Permission error mapping pages.\nConsider increasing /proc/sys/kernel/perf_event_mlock_kb,\n",
    },
    "MlockLimit",
  ],
  [{ code: 255, stderr: "Error:\nToo many events are opened.\n" }, "TooManyThreads"],
  [{ code: 129, stderr: "Couldn't create thread/CPU maps: No such process\n" }, "ProcessGone"],
  [{ code: 255, stderr: "failed to write perf data, error: No space left on device\n" }, "NoSpace"],
  [{ code: 1, stderr: "\u001b[31mwho knows" }, "RecordFailed"],
  [{ code: undefined, stderr: "", timedOut: true }, "TimedOut"],
])("perf ends with %o: %s", (end, reason) => {
  const refusal = refusalOf({ timedOut: false, stdout: "", ...end });
  expect(refusal.reason).toBe(reason);
  expect(refusal.detail).not.toMatch(/^$|\p{Cc}/u);
});

function sample(anon: Readonly<Record<string, number>>, processes: readonly string[] = Object.keys(anon)): Sample {
  const process = { pid: 1, startTicks: 1, ppid: 0, comm: "x", threads: 1, status: {} };
  const containers = Object.entries(anon).map(([id, bytes]) => ({
    id,
    cgroup: { path: "/", version: 1 as const, usageBytes: bytes, kinds: { anon: bytes }, stat: {}, events: {} },
    processes: processes.includes(id) ? [process] : [],
  }));
  return { index: 0, time: "", elapsedMs: 0, node: { meminfo: {}, vmstat: {} }, pods: [{ uid: "u", containers }] };
}

test.each([
  ["the one that grows", { big: 900, small: 10 }, { big: 900, small: 20 }, undefined, "small"],
  ["the largest when none grows", { big: 900, small: 10 }, { big: 890, small: 10 }, undefined, "big"],
  ["not one without processes", { gone: 10, here: 10 }, { gone: 500, here: 11 }, ["here"], "here"],
  ["not one that only came later", { old: 10 }, { old: 12, young: 11 }, undefined, "old"],
  ["nobody", {}, {}, undefined, undefined],
] as const)("who is profiled: %s", (_what, first, latest, processes, expected) => {
  expect(chooseSuspect(sample(first), sample(latest, processes))?.containerId).toBe(expected);
});
