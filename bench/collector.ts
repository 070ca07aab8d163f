/**
 * What does the collector cost its target, and what itself? A service under steady load is read by each stage alone, by all together, and by the
 * tools that an engineer would use; then large ones are, whose memory maps are dear; then collections of many processes are weighed.
 * `make bench-collector` runs it; bench/README.md says how to read it.
 */
import { cpus, loadavg, release, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { readFileSync } from "node:fs";
import { COST, createCostGate, predictRollup, predictSmaps, type Prediction } from "../src/collector/costgate.ts";
import { type Collection, imageFlags, runCollection } from "./collector/collection.ts";
import { markdown, measurePair, type Pair, PAIR_HEAD, pairRow, lossVerdict, stallVerdict } from "./collector/pairs.ts";
import {
  CAT,
  DEFAULT_BUDGET_MS,
  DEFAULT_DURATION_MS,
  DEFAULT_INTERVAL_MS,
  footprintOf,
  installed,
  PMAP,
  processOf,
  profileFor,
  quickStages,
  type Reader,
  ROLLUP,
  SMAPS,
  SMEM,
} from "./collector/readers.ts";
import { buildTarget, type Load, type Shape, startTarget, type Target } from "./collector/target.ts";

const PARTS = ["stages", "maps", "itself"] as const;
/** Of one reading at the default interval. */
const STRETCH_MS = DEFAULT_INTERVAL_MS;
/** In which a whole collection with a profile fits, its start and its finding included. */
const LONG_MS = 14_000;
const LONG_COLLECTION_MS = 10_000;
const PROFILE_MS = 8_000;
const READINGS_OF_MAPS = 3;
const EVERY_MS = 1_000;

const { values } = parseArgs({
  options: {
    parts: { type: "string", default: PARTS.join(",") },
    pairs: { type: "string", default: "3" },
    "long-pairs": { type: "string", default: "2" },
    rate: { type: "string", default: "1000" },
    mib: { type: "string", default: "512" },
    mappings: { type: "string", default: "1000" },
    // Of the collections that are weighed, in seconds.
    duration: { type: "string", default: "120" },
  },
});

function count(name: Exclude<keyof typeof values, "parts">): number {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} must be a whole number of 1 or more`);
  return value;
}

function say(text: string): void {
  process.stderr.write(`==> ${text}\n`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

async function withTarget<T>(shape: Shape, work: (target: Target) => Promise<T>): Promise<T> {
  const target = await startTarget(shape);
  try {
    return await work(target);
  } finally {
    await target.stop();
  }
}

interface Task {
  readonly name: string;
  readonly stretch: () => Promise<Load>;
  readonly pairs: number;
  readonly work: () => Promise<unknown>;
}

/** Throws when the pack lacks what the stages are there for. */
async function collectWhole(pid: number, profile: boolean): Promise<void> {
  const spec = { pid, intervalMs: DEFAULT_INTERVAL_MS, durationMs: LONG_COLLECTION_MS, profile, nodeFlags: [] };
  const { manifest } = await runCollection(spec);
  const missing = (["readings", "mappings", ...(profile ? (["profile"] as const) : [])] as const).filter(
    (kind) => !manifest.parts.some((part) => part.kind === kind),
  );
  if (missing.length > 0)
    throw new Error(`The collection has no ${missing.join(", ")}: ${JSON.stringify(manifest.skipped)}`);
}

/** What was measured before is worth telling; but the bench has failed. */
function fail(what: string, error: unknown): void {
  process.exitCode = 1;
  say(`FAILED: ${what}: ${error instanceof Error ? error.message : String(error)}`);
}

/** Pairs of all tasks, round by round, so that a bad minute of the machine falls on all of them. A pair whose work failed does not count. */
async function pairsOf(tasks: readonly Task[]): Promise<ReadonlyMap<string, readonly Pair[]>> {
  const results = new Map(tasks.map(({ name }) => [name, [] as Pair[]]));
  for (let round = 0; round < Math.max(...tasks.map(({ pairs }) => pairs)); round++) {
    say(`Round ${round + 1}`);
    for (const { name, stretch, pairs, work } of tasks)
      if (round < pairs)
        await measurePair(stretch, work, round % 2 === 0).then(
          (pair) => results.get(name)?.push(pair),
          (error: unknown) => fail(`${name}, round ${round + 1}`, error),
        );
  }
  return new Map([...results].filter(([, pairs]) => pairs.length > 0));
}

const ALL = [
  { name: "all default stages (`oomscope collect`)", profile: false },
  { name: "all default stages and a profile", profile: true },
];

function showPairs(title: string, results: ReadonlyMap<string, readonly Pair[]>, aim: typeof stallVerdict): void {
  const rows = [...results].map(([name, pairs]) => pairRow(name, pairs));
  console.log(`\n### ${title}\n\n${markdown(PAIR_HEAD, rows)}\n`);
  for (const { name } of ALL) {
    const pairs = results.get(name);
    console.log(`- ${pairs === undefined ? `${name}: not measured` : aim(name, pairs)}`);
  }
}

async function measureStages(): Promise<void> {
  const shape = { mib: count("mib"), mappings: count("mappings"), processes: 1, rate: count("rate") };
  await withTarget(shape, async (target) => {
    const { pid } = target;
    const quick = (reader: Reader): Task => ({
      name: reader.name,
      stretch: () => target.load(STRETCH_MS),
      pairs: count("pairs"),
      // Not in the moment in which the load begins.
      work: () => pause(EVERY_MS).then(() => reader.read(pid)),
    });
    const long = { stretch: () => target.load(LONG_MS), pairs: count("long-pairs") };
    const profile = profileFor(PROFILE_MS);
    const whole = ALL.map((all) => ({ ...long, ...all, work: () => collectWhole(pid, all.profile) }));
    const tools = await installed([SMEM, PMAP, CAT], say);
    const stages = (await quickStages()).map(quick);
    const profiling = { ...long, name: profile.name, work: () => profile.read(pid) };
    const warm = await target.load(STRETCH_MS);
    const results = await pairsOf([...stages, profiling, ...whole, ...tools.map(quick)]);
    const size = `One process, ${shape.mib} MiB in ${shape.mappings} mappings`;
    showPairs(`${size}, ${shape.rate} operations a second`, results, stallVerdict);
    const flooded = await pairsOf(whole.map((task) => ({ ...task, stretch: () => target.flood(LONG_MS) })));
    showPairs(`The same, one thread at full speed`, flooded, lossVerdict);
    console.log(
      `\nAt rest: ${warm.perSecond.toFixed(0)} operations a second, p50 ${warm.p50.toFixed(3)} ms, p99 ${warm.p99.toFixed(2)} ms, ${warm.cpuUs.toFixed(0)} microseconds of CPU each.`,
    );
  });
}

/** What the gate of a collection with default settings says to such a read at its beginning. */
function decision(pid: number, state: string, predicted: Prediction): string {
  const gate = createCostGate(DEFAULT_BUDGET_MS, DEFAULT_DURATION_MS);
  return gate.refuses({ process: String(pid), state, predicted, elapsedMs: 0 }) ?? "read";
}

function availableMib(): number {
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) / 1024;
}

async function measureMaps(gib: number, mappings: number): Promise<readonly (readonly string[])[]> {
  const size = `${gib} GiB, ${mappings} mappings`;
  if (availableMib() < gib * 1024 * 1.25) {
    say(`${size} is left out: only ${availableMib().toFixed(0)} MiB are available`);
    return [];
  }
  say(`Memory maps: ${size}`);
  const shape = { mib: gib * 1024, mappings, processes: 1, rate: count("rate") };
  return withTarget(shape, async (target) => {
    const { pid } = target;
    const { status, state } = await processOf(pid);
    const footprint = { rssBytes: status["VmRSS"] ?? 0, ...(await footprintOf(pid)) };
    const predictions = new Map([
      [ROLLUP, predictRollup(footprint)],
      [SMAPS, predictSmaps(footprint)],
    ]);
    const idle = await target.load(EVERY_MS * READINGS_OF_MAPS);
    const rows = [[size, "nobody", "-", "-", "-", "-", idle.p99.toFixed(2), idle.max.toFixed(1)]];
    for (const reader of [ROLLUP, SMAPS, ...(await installed([CAT, PMAP, SMEM], say))]) {
      const times: number[] = [];
      const read = async (): Promise<void> => {
        for (let turn = 0; turn < READINGS_OF_MAPS; turn++) {
          await pause(EVERY_MS / 4);
          times.push(await reader.read(pid));
          await pause(Math.max(0, (EVERY_MS * 3) / 4 - (times.at(-1) ?? 0)));
        }
      };
      const [load] = await Promise.all([target.load(EVERY_MS * READINGS_OF_MAPS), read()]);
      const predicted = predictions.get(reader);
      const [total, hold, says] =
        predicted === undefined
          ? ["-", "-", "-"]
          : [predicted.totalMs.toFixed(0), predicted.holdMs.toFixed(1), decision(pid, state, predicted)];
      const took = `${times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]?.toFixed(1)}`;
      rows.push([size, reader.name, took, total, hold, says, load.p99.toFixed(2), load.max.toFixed(1)]);
    }
    return rows;
  });
}

async function measureAllMaps(): Promise<void> {
  const rows: (readonly string[])[] = [];
  for (const gib of [1, 8])
    for (const mappings of [1_000, 20_000])
      await measureMaps(gib, mappings).then(
        (more) => rows.push(...more),
        (error: unknown) => fail(`${gib} GiB, ${mappings} mappings`, error),
      );
  if (rows.length === 0) throw new Error("No memory map was measured: there is too little memory");
  const head = ["target", "read", "took ms", "predicted ms", "predicted hold ms", "the gate", "p99 ms", "longest ms"];
  console.log(
    `\n### Memory maps, ${READINGS_OF_MAPS} readings, one a second (the gate refuses holds over ${COST.singleHoldMs} ms)\n`,
  );
  console.log(markdown(head, rows));
}

interface Weighed {
  readonly name: string;
  readonly processes: number;
  readonly profile: boolean;
  readonly flags: readonly string[];
}

async function weigh({ processes, profile, flags }: Weighed): Promise<Collection> {
  return withTarget({ mib: 16, mappings: 200, processes, rate: 100 }, async (target) => {
    const durationMs = count("duration") * 1000;
    const spec = { pid: target.pid, intervalMs: DEFAULT_INTERVAL_MS, durationMs, profile, nodeFlags: flags };
    // A profile of a process that does nothing has nothing to say.
    const [collection] = await Promise.all([runCollection(spec), target.load(durationMs)]);
    if (collection.processes !== processes)
      throw new Error(`${collection.processes} of ${processes} processes were measured`);
    return collection;
  });
}

/** At the same time: memory and CPU time bear that, and latencies are not looked at. */
async function measureItself(): Promise<void> {
  const image = imageFlags();
  const weighed: readonly Weighed[] = [1, 10, 100].flatMap((processes) => [
    { name: "as in the image", processes, profile: false, flags: image },
    { name: "as from a shell", processes, profile: false, flags: [] },
  ]);
  const all = [...weighed, { name: "as in the image, with a profile", processes: 1, profile: true, flags: image }];
  say(`The collector itself: ${all.length} collections of ${count("duration")} s at once`);
  const rows: (readonly string[])[] = [];
  const missed: string[] = [];
  for (const [index, result] of (await Promise.allSettled(all.map(weigh))).entries()) {
    const { name = "", processes = 0 } = all[index] ?? {};
    if (result.status === "rejected") {
      fail(`${processes} processes ${name}`, result.reason);
      continue;
    }
    const { manifest, cost } = result.value;
    const collecting = manifest.cost.peakRssBytes / 1e6;
    if (collecting >= 100) missed.push(`${processes} processes ${name}: ${collecting.toFixed(0)} MB`);
    const samples = `${manifest.samples} of ${manifest.samplesExpected}`;
    const [cpu, children] = [cost.cpuSeconds.toFixed(2), cost.childrenCpuSeconds.toFixed(2)];
    const peaks = [collecting.toFixed(0), (Math.max(cost.peakBytes, manifest.cost.peakRssBytes) / 1e6).toFixed(0)];
    rows.push([String(processes), name, samples, ...peaks, cpu, children, manifest.cost.stallMs.toFixed(1)]);
  }
  const head = [
    "processes",
    "Node's flags",
    "samples",
    "peak RSS MB",
    "with the finding MB",
    "CPU s",
    "its children's CPU s",
    "stall that it tells ms",
  ];
  console.log(`\n### The collector itself, ${count("duration")} s\n\n${markdown(head, rows)}\n`);
  if (rows.length > 0)
    console.log(`- Peak RSS under 100 MB: ${missed.length === 0 ? "met" : `MISSED by ${missed.join("; ")}`}`);
}

const parts = values.parts.split(",");
const unknown = parts.find((part) => !(PARTS as readonly string[]).includes(part));
if (unknown !== undefined) throw new Error(`No part ${unknown}; there are ${PARTS.join(", ")}`);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
const began = performance.now();
buildTarget();
console.log(
  `${cpus().length} CPUs (${cpus()[0]?.model}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}; Node ${process.version}; load average before: ${loadavg()[0]?.toFixed(2)}`,
);
const measure = { stages: measureStages, maps: measureAllMaps, itself: measureItself };
for (const part of PARTS) if (parts.includes(part)) await measure[part]().catch((error: unknown) => fail(part, error));
console.log(
  `\nIn ${Math.round((performance.now() - began) / 1000)} s; load average after: ${loadavg()[0]?.toFixed(2)}`,
);
