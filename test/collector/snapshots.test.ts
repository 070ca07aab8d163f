import { writeFileSync } from "node:fs";
import { cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { MappingSnapshot } from "../../src/api/mappings.ts";
import type { Sample } from "../../src/api/collection.ts";
import { createCostGate, type CostGate } from "../../src/collector/costgate.ts";
import { memoryDevices, surveyMappings } from "../../src/collector/mapfiles.ts";
import { type Candidate, createSnapshots, takeSnapshot } from "../../src/collector/snapshots.ts";
import { type Clock, systemClock } from "../../src/seams.ts";
import { CONTAINER, createNodeTree, FIXTURES, type NodeTree, POD } from "./nodetree.ts";
import type { RECORDED } from "./smapstext.ts";

const MIB = 2 ** 20;
const START = 593_600;
const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

async function newTree(): Promise<NodeTree> {
  const tree = await createNodeTree(2);
  trees.push(tree);
  return tree;
}

/** A process whose map is recorded; its maps are the headers of its smaps, as the kernel has it. */
async function addProcess(tree: NodeTree, pid: number, map: (typeof RECORDED)[number]): Promise<string> {
  const directory = join(tree.roots.proc, String(pid));
  await tree.process(pid, "/");
  await cp(join(FIXTURES, "smaps", `${map}.smaps`), join(directory, "smaps"));
  const text = await readFile(join(directory, "smaps"), "utf8");
  await writeFile(join(directory, "maps"), `${(text.match(/^[0-9a-f]+-.*$/gm) ?? []).join("\n")}\n`);
  await writeFile(
    join(directory, "mountinfo"),
    "30 28 0:47 / /cache rw - tmpfs tmpfs rw\n31 28 254:0 / /data rw - ext4 /dev/vda rw\n",
  );
  return directory;
}

const candidate = (pid: number, rssMib = 50): Candidate => ({
  podUid: POD,
  containerId: CONTAINER,
  process: { pid, startTicks: START, comm: "thumbnail-svc", status: { VmRSS: rssMib * MIB } },
});

interface Options {
  readonly gate?: CostGate;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
}

async function take(tree: NodeTree, candidates: readonly Candidate[], options: Options = {}): Promise<MappingSnapshot> {
  const { gate = createCostGate(5000, 0), clock = systemClock, signal = new AbortController().signal } = options;
  return MappingSnapshot.parse(
    await takeSnapshot({ proc: tree.roots.proc, gate, clock, signal, nameKey: "key" }, "Start", 0, candidates, 0),
  );
}

const reasons = ({ skipped }: MappingSnapshot): [number, string][] => skipped.map(({ pid, reason }) => [pid, reason]);

test("the largest processes first, each with its container, its sums and what it cost", async () => {
  const tree = await newTree();
  await addProcess(tree, 41, "go");
  await addProcess(tree, 42, "java");
  const gate = createCostGate(5000, 0);
  const snapshot = await take(tree, [candidate(41, 40), candidate(42, 120)], { gate });
  expect(
    snapshot.processes.map(({ pid, runtimes, podUid, containerId }) => [pid, runtimes, podUid, containerId]),
  ).toEqual([
    [42, ["JVM"], POD, CONTAINER],
    [41, ["Go"], POD, CONTAINER],
  ]);
  const java = snapshot.processes[0];
  expect(java?.totals).toMatchObject({ Rss: 124_720 * 1024 });
  for (const field of ["Size", "Pss", "Private_Dirty", "Anonymous"] as const)
    expect(java?.totals[field]).toBeGreaterThan(0);
  expect(java?.longestCallMs).toBeLessThanOrEqual(java?.readMs ?? 0);
  expect(gate.totalMs()).toBeGreaterThan(0);
  expect(snapshot.skipped).toEqual([]);
  expect(JSON.stringify(snapshot)).not.toMatch(/\/usr|\/srv|hsperf|7f49|f0000000/);
});

test("who ended, who is somebody else now, who may not be read: skipped, each with its reason", async () => {
  const tree = await newTree();
  await addProcess(tree, 42, "go");
  const dead = await addProcess(tree, 43, "go");
  await writeFile(join(dead, "stat"), (await readFile(join(dead, "stat"), "utf8")).replace(") S ", ") Z "));
  const other = await addProcess(tree, 44, "go");
  await writeFile(join(other, "stat"), (await readFile(join(other, "stat"), "utf8")).replace("593600", "700000"));
  const waits = await addProcess(tree, 45, "go");
  await writeFile(join(waits, "stat"), (await readFile(join(waits, "stat"), "utf8")).replace(") S ", ") D "));
  const empty = await addProcess(tree, 46, "go");
  await writeFile(join(empty, "smaps"), "");
  const snapshot = await take(
    tree,
    [42, 43, 44, 45, 46, 47].map((pid) => candidate(pid)),
  );
  expect(snapshot.processes.map(({ pid }) => pid)).toEqual([42]);
  expect(reasons(snapshot)).toEqual([
    [43, "Gone"],
    [44, "Gone"],
    [45, "Stopped"],
    [46, "Gone"],
    [47, "Gone"],
  ]);
});

test("half of one program and half of another is no reading", async () => {
  const tree = await newTree();
  const directory = await addProcess(tree, 42, "go");
  const stat = await readFile(join(directory, "stat"), "utf8");
  const fields = stat.split(" ");
  // startstack: it has called execve, or is giving its memory back.
  const replaced = [...fields.slice(0, 27), "0", ...fields.slice(28)].join(" ");
  expect(replaced).not.toBe(stat);
  let looks = 0;
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => {
      if (++looks === 8) writeFileSync(join(directory, "stat"), replaced);
      return systemClock.monotonicMs();
    },
  };
  expect(reasons(await take(tree, [candidate(42)], { clock }))).toEqual([[42, "Replaced"]]);
  expect(looks).toBeGreaterThan(8);
});

test("a link in the place of the map is not followed", async () => {
  const tree = await newTree();
  const directory = await addProcess(tree, 42, "go");
  await rm(join(directory, "smaps"));
  await symlink(join(FIXTURES, "smaps", "java.smaps"), join(directory, "smaps"));
  await expect(take(tree, [candidate(42)])).rejects.toThrow("ELOOP");
});

test("over the budget, too long a hold, a node near its end: nothing is read, and the prediction is told", async () => {
  const tree = await newTree();
  const directory = await addProcess(tree, 42, "allocations");
  await writeFile(join(directory, "maps"), "7f0000000000-7f8000000000 rw-p 00000000 00:00 0 \n");
  const poor = await take(tree, [candidate(42)], { gate: createCostGate(0.1, 0) });
  expect(poor.skipped[0]).toMatchObject({ pid: 42, reason: "OverBudget" });
  const huge = await take(tree, [candidate(42, 8192)], { gate: createCostGate(1000, 0) });
  expect(huge.skipped[0]).toMatchObject({ reason: "TooLong", predictedMs: 160 });
  const gate = createCostGate(5000, 0);
  gate.node({ MemTotal: 2 ** 34, MemAvailable: 100 * MIB });
  const dying = await take(tree, [candidate(42)], { gate });
  expect(dying.skipped[0]).toMatchObject({ reason: "LowMemory" });
  expect(dying.skipped[0]).not.toHaveProperty("predictedMs");
});

test("at most 32 processes; the smaller ones are counted", async () => {
  const tree = await newTree();
  const pids = Array.from({ length: 40 }, (_, i) => 100 + i);
  for (const pid of pids) await addProcess(tree, pid, "go");
  const snapshot = await take(
    tree,
    pids.map((pid) => candidate(pid, pid)),
  );
  expect(snapshot.processes.map(({ pid }) => pid)).toEqual(pids.toReversed().slice(0, 32));
  expect(snapshot.processesOmitted).toBe(8);
});

test("a snapshot that takes long ends, and so does one that is stopped", async () => {
  const tree = await newTree();
  for (const pid of [41, 42, 43]) await addProcess(tree, pid, "go");
  let at = 0;
  const slow: Clock = { ...systemClock, monotonicMs: () => (at += 2600) };
  const late = await take(
    tree,
    [41, 42, 43].map((pid) => candidate(pid)),
    { clock: slow },
  );
  expect(late.processes).toHaveLength(1);
  expect(late.processesOmitted).toBe(2);
  const stopped = await take(tree, [candidate(41)], { signal: AbortSignal.abort() });
  expect(stopped).toMatchObject({ processes: [], processesOmitted: 1 });
});

test("only the last snapshot may take longer than the readings can wait", async () => {
  const tree = await newTree();
  for (const pid of [41, 42]) await addProcess(tree, pid, "go");
  const emitted: MappingSnapshot[] = [];
  const options = { proc: tree.roots.proc, gate: createCostGate(5000, 0), clock: systemClock, nameKey: "key" };
  const snapshots = createSnapshots(
    { ...options, signal: new AbortController().signal, patienceMs: -1 },
    async (snapshot) => void emitted.push(snapshot),
  );
  await snapshots.follow(sampleAt(0), 0);
  await snapshots.follow(sampleAt(100), 0.9);
  await snapshots.finish(200);
  expect(emitted.map(({ moment, processes }) => [moment, processes.length])).toEqual([
    ["Start", 0],
    ["Middle", 0],
    ["End", 1],
  ]);
  expect(snapshots.notes()).toEqual([{ what: "mappings", reason: "TooMany", detail: "2 processes of all snapshots" }]);
});

test("mappings are counted without walking a page table; memory that may not be touched has no size", async () => {
  const tree = await newTree();
  await addProcess(tree, 42, "java");
  expect(await surveyMappings(tree.roots.proc, 42, systemClock)).toEqual({
    mappings: 204,
    largestBytes: 0xffe00000 - 0xf0000000,
  });
  expect(await surveyMappings(tree.roots.proc, 43, systemClock)).toBeUndefined();
});

test("tmpfs mounts are known by their device", async () => {
  const tree = await newTree();
  await addProcess(tree, 42, "go");
  expect([...(await memoryDevices(tree.roots.proc, 42, systemClock))]).toEqual(["00:2f"]);
  expect((await memoryDevices(tree.roots.proc, 43, systemClock)).size).toBe(0);
});

function sampleAt(elapsedMs: number): Sample {
  const { podUid = "", containerId = "", process } = candidate(42);
  const cgroup = { path: "/", version: 2 as const, usageBytes: 0, kinds: {}, stat: {}, events: {} };
  const reading = { ...process, ppid: 1, threads: 1 };
  const containers = [{ id: containerId, cgroup, processes: [reading] }];
  return { index: 0, time: "", elapsedMs, node: { meminfo: {}, vmstat: {} }, pods: [{ uid: podUid, containers }] };
}

test.each([
  ["one sample", [1], ["Start"]],
  ["two", [0, 1], ["Start", "End"]],
  ["three", [0, 0.5, 1], ["Start", "Middle", "End"]],
  ["many, some of them too late", [0, 0.1, 0.2, 0.7, 0.8, 0.9], ["Start", "Middle", "End"]],
])("snapshots of a collection of %s", async (_what, progress, moments) => {
  const tree = await newTree();
  await addProcess(tree, 42, "go");
  const emitted: MappingSnapshot[] = [];
  const options = { proc: tree.roots.proc, gate: createCostGate(5000, 0), clock: systemClock, nameKey: "key" };
  const snapshots = createSnapshots({ ...options, signal: new AbortController().signal }, async (snapshot) => {
    emitted.push(MappingSnapshot.parse(snapshot));
  });
  for (const share of progress) await snapshots.follow(sampleAt(share * 1000), share);
  await snapshots.finish(1500);
  expect(emitted.map(({ moment }) => moment)).toEqual(moments);
  expect(emitted.map(({ index }) => index)).toEqual(moments.map((_, i) => i));
  expect(emitted.every(({ processes }) => processes.length === 1)).toBe(true);
  expect(snapshots.notes()).toEqual([]);
});

test("an interrupted collection has no last snapshot and says so", async () => {
  const tree = await newTree();
  await mkdir(tree.roots.proc, { recursive: true });
  const stop = new AbortController();
  const emitted: MappingSnapshot[] = [];
  const options = { proc: tree.roots.proc, gate: createCostGate(5000, 0), clock: systemClock, nameKey: "key" };
  const snapshots = createSnapshots(
    { ...options, signal: stop.signal },
    async (snapshot) => void emitted.push(snapshot),
  );
  for (const share of [0, 0.2]) await snapshots.follow(sampleAt(share), share);
  stop.abort();
  await snapshots.finish(1);
  expect(emitted.map(({ moment }) => moment)).toEqual(["Start"]);
  expect(snapshots.notes()).toEqual([{ what: "mappings", reason: "Interrupted", detail: "the last snapshot" }]);
});
