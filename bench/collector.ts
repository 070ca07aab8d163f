/**
 * What does the collector cost its target, and what itself? A service under steady load is read by each stage alone, by all together, and by the
 * tools that an engineer would use; then large ones are, whose memory maps are dear; then collections of many processes are weighed.
 * `make bench-collector` runs it; bench/README.md says how to read it.
 */
import { cpus, loadavg, release, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { COST } from "../src/collector/costgate.ts";
import { type Collection, imageFlags, runCollection } from "./collector/collection.ts";
import { markdown, measurePair, type Pair, PAIR_HEAD, pairRow, lossVerdict, stallVerdict } from "./collector/pairs.ts";
import {
  CAT,
  DEFAULT_INTERVAL_MS,
  installed,
  PMAP,
  profileFor,
  quickStages,
  type Reader,
  SMEM,
} from "./collector/readers.ts";
import { MAPS_HEAD, measureMaps, READINGS_OF_MAPS } from "./collector/maps.ts";
import { buildTarget, type Load, type Shape, withTarget } from "./collector/target.ts";

const PARTS = ["stages", "speed", "maps", "itself"] as const;
/** Of one reading at the default interval. */
const STRETCH_MS = DEFAULT_INTERVAL_MS;
/** A whole collection with a profile ends so long after its readings at the latest: names, finding, and Node's start before. */
const AROUND_COLLECTION_MS = 4_000;
const PROFILE_MS = 8_000;
/** The same, with the two seconds in which perf only counts. */
const PROFILE_STRETCH_MS = 12_000;
/** Of load, before it is read. */
const QUIET_MS = 1_000;

const { values } = parseArgs({
  options: {
    parts: { type: "string", default: PARTS.join(",") },
    pairs: { type: "string", default: "3" },
    "long-pairs": { type: "string", default: "2" },
    rate: { type: "string", default: "1000" },
    mib: { type: "string", default: "512" },
    mappings: { type: "string", default: "1000" },
    // Of the whole collections beside which the target is measured, in seconds. The real one has 120, and does no more in them.
    collection: { type: "string", default: "10" },
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

interface Task {
  readonly name: string;
  readonly stretch: () => Promise<Load>;
  readonly pairs: number;
  readonly work: () => Promise<unknown>;
}

/** Throws when the pack lacks what the stages are there for. */
async function collectWhole(pid: number, profile: boolean): Promise<void> {
  const spec = { pid, intervalMs: DEFAULT_INTERVAL_MS, durationMs: count("collection") * 1000, profile, nodeFlags: [] };
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

function shapeOfService(): Shape {
  return { mib: count("mib"), mappings: count("mappings"), processes: 1, rate: count("rate") };
}

function wholeTasks(pid: number, stretch: (ms: number) => Promise<Load>): readonly Task[] {
  const ms = count("collection") * 1000 + AROUND_COLLECTION_MS;
  return ALL.map(({ name, profile }) => ({
    name,
    stretch: () => stretch(ms),
    pairs: count("long-pairs"),
    work: () => collectWhole(pid, profile),
  }));
}

async function measureStages(): Promise<void> {
  const shape = shapeOfService();
  await withTarget(shape, async (target) => {
    const { pid, load } = target;
    const quick = (reader: Reader, pairs: number): Task => ({
      name: reader.name,
      stretch: () => load(STRETCH_MS),
      pairs,
      // Not in the moment in which the load begins.
      work: () => sleep(QUIET_MS).then(() => reader.read(pid)),
    });
    const profile = profileFor(PROFILE_MS);
    const long = count("long-pairs");
    const profiling = { name: profile.name, stretch: () => load(PROFILE_STRETCH_MS), pairs: long };
    const tools = await installed([SMEM, PMAP, CAT], say);
    const stages = await quickStages();
    const rest = await load(STRETCH_MS);
    const results = await pairsOf([
      ...stages.map((stage) => quick(stage, count("pairs"))),
      { ...profiling, work: () => profile.read(pid) },
      ...wholeTasks(pid, load),
      ...tools.map((reader) => quick(reader, long)),
    ]);
    const size = `One process, ${shape.mib} MiB in ${shape.mappings} mappings`;
    showPairs(`${size}, ${shape.rate} operations a second`, results, stallVerdict);
    console.log(
      `\nAlone: ${rest.perSecond.toFixed(0)} operations a second, p50 ${rest.p50.toFixed(3)} ms, p99 ${rest.p99.toFixed(2)} ms, ${rest.cpuUs.toFixed(0)} microseconds of CPU each.`,
    );
  });
}

/** A fixed rate hides what is lost as long as there is room for more; at full speed it shows. */
async function measureSpeed(): Promise<void> {
  await withTarget(shapeOfService(), async ({ pid, flood }) => {
    await flood(STRETCH_MS);
    const results = await pairsOf(wholeTasks(pid, flood));
    showPairs(`One thread at full speed, collections of ${count("collection")} s`, results, lossVerdict);
  });
}

async function measureAllMaps(): Promise<void> {
  const rows: (readonly string[])[] = [];
  for (const gib of [1, 8])
    for (const mappings of [1_000, 20_000])
      await measureMaps({ mib: gib * 1024, mappings, processes: 1, rate: count("rate") }, say).then(
        (more) => rows.push(...more),
        (error: unknown) => fail(`${gib} GiB, ${mappings} mappings`, error),
      );
  if (rows.length === 0) throw new Error("No memory map was measured: there is too little memory");
  console.log(
    `\n### Memory maps, ${READINGS_OF_MAPS} readings, one a second (the gate refuses holds over ${COST.singleHoldMs} ms)\n`,
  );
  console.log(markdown(MAPS_HEAD, rows));
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
const measure = { stages: measureStages, speed: measureSpeed, maps: measureAllMaps, itself: measureItself };
for (const part of PARTS) if (parts.includes(part)) await measure[part]().catch((error: unknown) => fail(part, error));
console.log(
  `\nIn ${Math.round((performance.now() - began) / 1000)} s; load average after: ${loadavg()[0]?.toFixed(2)}`,
);
