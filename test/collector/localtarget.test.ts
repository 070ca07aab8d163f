/** Who belongs to a target of one machine, as samples show it, on folders laid out as the kernel lays them out. */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type LocalReading, type LocalTarget, Sample } from "../../src/api/collection.ts";
import { createCostGate } from "../../src/collector/costgate.ts";
import { selectLocal } from "../../src/collector/localtarget.ts";
import { memoryHierarchy } from "../../src/collector/podcgroups.ts";
import { createSampler } from "../../src/collector/sample.ts";
import { systemClock } from "../../src/seams.ts";
import { createNodeTree, type NodeTree, planOf } from "./nodetree.ts";

const SERVICE = "/system.slice/thumbnail.service";
const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

interface Machine {
  readonly tree: NodeTree;
  /** A process of the service. @param startTicks hundredths of a second after boot */
  run(pid: number, ppid: number, startTicks: number, comm?: string, cgroup?: string): Promise<void>;
  end(pid: number): Promise<void>;
  uptime(seconds: number): Promise<void>;
  readonly clock: { at: number };
}

async function machine(version: 1 | 2 = 2): Promise<Machine> {
  const tree = await createNodeTree(version);
  trees.push(tree);
  await tree.cgroup(SERVICE, []);
  const clock = { at: 0 };
  const uptime = (seconds: number): Promise<void> =>
    writeFile(join(tree.roots.proc, "uptime"), `${seconds.toFixed(2)} 12.00\n`);
  await uptime(100);
  return {
    tree,
    clock,
    uptime,
    run: async (pid, ppid, startTicks, comm = "thumbnail-svc", cgroup = SERVICE) => {
      await tree.process(pid, cgroup, comm);
      const file = join(tree.roots.proc, String(pid), "stat");
      const text = await readFile(file, "utf8");
      const close = text.lastIndexOf(")");
      const fields = text.slice(close + 2).split(" ");
      fields[1] = String(ppid);
      fields[19] = String(startTicks);
      await writeFile(file, `${text.slice(0, close + 1)} ${fields.join(" ")}`);
    },
    end: (pid) => rm(join(tree.roots.proc, String(pid)), { recursive: true }),
  };
}

async function sampling(
  { tree, clock }: Machine,
  target: LocalTarget,
): Promise<{
  take: () => Promise<LocalReading | undefined>;
  notes: () => readonly { what: string; reason: string }[];
}> {
  const hierarchy = await memoryHierarchy(tree.roots.cgroup);
  const manual = { ...systemClock, monotonicMs: () => clock.at };
  const plan = planOf({ pods: [], local: target, durationMs: 60_000 });
  const sampler = createSampler({
    plan,
    proc: tree.roots.proc,
    hierarchy,
    local: selectLocal(target, tree.roots.proc, hierarchy, manual),
    kubepods: [],
    gate: createCostGate(500, 60_000),
    clock: manual,
  });
  return {
    take: async () => Sample.parse(JSON.parse(JSON.stringify(await sampler.take(0, clock.at)))).local,
    notes: () => sampler.notes(),
  };
}

const pidsOf = (reading: LocalReading | undefined): number[] | undefined => reading?.processes.map(({ pid }) => pid);
const process = (pid: number, startTicks: number): LocalTarget => ({
  kind: "Process",
  pid,
  startTicks,
  name: "thumbnail-svc",
});
const service: LocalTarget = { kind: "Cgroup", path: SERVICE, name: "thumbnail.service" };

test.each([1, 2] as const)("a cgroup of v%i: its numbers and every process in it and below it", async (version) => {
  const here = await machine(version);
  await here.tree.cgroup(SERVICE, [42]);
  await here.tree.cgroup(`${SERVICE}/a/b/c/d/e`, [43]);
  await here.tree.cgroup("/system.slice/other.service", [44]);
  await here.run(42, 1, 100);
  await here.run(43, 42, 100, "worker", `${SERVICE}/a/b/c/d/e`);
  await here.run(44, 1, 100, "other", "/system.slice/other.service");
  const { take } = await sampling(here, service);
  const reading = await take();
  expect(pidsOf(reading)).toEqual([42, 43]);
  expect(reading).toMatchObject({ kind: "Cgroup", name: "thumbnail.service", cgroup: { path: SERVICE, version } });
  expect(reading?.cgroup?.kinds.anon).toBeGreaterThan(0);
  expect(reading?.othersInCgroup).toBeUndefined();
});

test("a pid in the list of a cgroup that has been given to a process elsewhere is not counted", async () => {
  const here = await machine();
  await here.tree.cgroup(SERVICE, [42, 43]);
  await here.run(42, 1, 100);
  await here.run(43, 1, 100, "other", "/system.slice/thumbnail.service-of-another");
  const { take } = await sampling(here, service);
  expect(pidsOf(await take())).toEqual([42]);
});

test("a cgroup that is removed is gone, and one that is made again in its place is another life", async () => {
  const here = await machine();
  const { take, notes } = await sampling(here, service);
  const first = await take();
  const folder = join(here.tree.roots.cgroup, SERVICE);
  await rename(folder, `${folder}.old`);
  expect(await take()).toBeUndefined();
  expect(notes()).toMatchObject([{ what: "thumbnail.service", reason: "Gone" }]);
  await here.tree.cgroup(SERVICE, []);
  const second = await take();
  expect(second?.life).not.toBe(first?.life);
});

test("a process with its children and theirs, and how many others share its cgroup", async () => {
  const here = await machine();
  await here.tree.cgroup(SERVICE, [42, 43, 44, 50, 51]);
  await here.run(42, 1, 100);
  await here.run(43, 42, 110, "worker");
  await here.run(44, 43, 120, "convert");
  await here.run(50, 1, 90, "other");
  await here.run(51, 50, 90, "other");
  const { take } = await sampling(here, process(42, 100));
  const reading = await take();
  expect(pidsOf(reading)).toEqual([42, 43, 44]);
  expect(reading).toMatchObject({ kind: "Process", life: "42/100", othersInCgroup: 2, cgroup: { path: SERVICE } });
  await here.run(45, 43, 130, "convert");
  await here.tree.cgroup(SERVICE, [42, 43, 44, 45]);
  expect(await take()).toMatchObject({ othersInCgroup: 0 });
  expect(pidsOf(await take())).toEqual([42, 43, 44, 45]);
});

test("children that outlive their parent stay, whoever becomes their parent", async () => {
  const here = await machine();
  await here.run(42, 1, 100);
  await here.run(43, 42, 110, "worker");
  const { take } = await sampling(here, process(42, 100));
  expect(pidsOf(await take())).toEqual([42, 43]);
  await here.end(42);
  await here.run(43, 1, 110, "worker");
  expect(await take()).toMatchObject({ life: "42/100", processes: [{ pid: 43, ppid: 1 }] });
});

test("a process that gets the pid of a member is not taken for it", async () => {
  const here = await machine();
  await here.run(42, 1, 100);
  await here.run(43, 42, 110, "worker");
  const { take } = await sampling(here, process(42, 100));
  expect(pidsOf(await take())).toEqual([42, 43]);
  await here.run(43, 1, 20_000, "stranger");
  expect(pidsOf(await take())).toEqual([42]);
  await here.run(42, 7, 20_000, "stranger");
  expect(await take()).toMatchObject({ processes: [] });
  // Once everything is looked at again, nobody is left.
  here.clock.at += 31_000;
  expect(await take()).toBeUndefined();
});

test("the process that is started in the place of one that ended is its next life", async () => {
  const here = await machine();
  await here.run(7, 1, 10, "supervisor", "/init.scope");
  await here.run(42, 7, 100);
  const { take } = await sampling(here, process(42, 100));
  expect(await take()).toMatchObject({ life: "42/100" });
  await here.end(42);
  await here.uptime(110);
  await here.run(60, 7, 10_500);
  await here.run(61, 60, 10_600, "worker");
  const next = await take();
  expect(next).toMatchObject({ life: "60/10500" });
  expect(pidsOf(next)).toEqual([60, 61]);
});

test.each([
  ["a sibling that was there before", [[60, 7, 9_000, "thumbnail-svc", SERVICE]]],
  ["a child with another name", [[60, 7, 10_500, "other", SERVICE]]],
  ["a child of somebody else", [[60, 8, 10_500, "thumbnail-svc", SERVICE]]],
  ["one in another cgroup", [[60, 7, 10_500, "thumbnail-svc", "/system.slice/b.service"]]],
  [
    "one of two",
    [
      [60, 7, 10_500, "thumbnail-svc", SERVICE],
      [61, 7, 10_500, "thumbnail-svc", SERVICE],
    ],
  ],
] as const)("%s is not its next life", async (_name, started) => {
  const here = await machine();
  await here.run(42, 7, 100);
  const { take, notes } = await sampling(here, process(42, 100));
  await take();
  await here.end(42);
  for (const [pid, ppid, start, comm, cgroup] of started) await here.run(pid, ppid, start, comm, cgroup);
  expect(await take()).toBeUndefined();
  expect(notes()).toMatchObject([{ reason: "Gone" }]);
});

test("a zombie has ended; a process whose main thread has ended has not", async () => {
  const here = await machine();
  const stat = join(here.tree.roots.proc, "42", "stat");
  await here.run(42, 7, 100);
  const { take } = await sampling(here, process(42, 100));
  expect(pidsOf(await take())).toEqual([42]);
  const alive = await readFile(stat, "utf8");
  const zombie = (threads: number): string =>
    alive.replace(/\) \S /, ") Z ").replace(/^((?:\S+ ){19})\S+/, (_all, before: string) => `${before}${threads}`);
  await writeFile(stat, zombie(3));
  expect(pidsOf(await take())).toEqual([42]);
  await writeFile(stat, zombie(1));
  expect(await take()).toBeUndefined();
});

test.each(["/", "/../../elsewhere"])("a process in the cgroup %s is measured without one", async (cgroup) => {
  const here = await machine(1);
  await here.run(42, 1, 100, "thumbnail-svc", cgroup);
  const { take } = await sampling(here, process(42, 100));
  const reading = await take();
  expect(pidsOf(reading)).toEqual([42]);
  expect(reading?.cgroup).toBeUndefined();
  expect(reading?.othersInCgroup).toBeUndefined();
  expect(reading?.processes[0]?.rollup?.["Pss_Anon"]).toBeGreaterThan(0);
});

test("a process on a machine that accounts no memory to cgroups is measured all the same", async () => {
  const here = await machine();
  await rm(here.tree.roots.cgroup, { recursive: true });
  await mkdir(here.tree.roots.cgroup);
  await here.run(42, 1, 100);
  const { take } = await sampling(here, process(42, 100));
  expect(await take()).toMatchObject({ processes: [{ pid: 42 }] });
});
