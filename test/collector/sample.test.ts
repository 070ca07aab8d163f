import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type CollectionPlan, type ProcessReading, Sample } from "../../src/api/collection.ts";
import { createCostGate } from "../../src/collector/costgate.ts";
import { kubepodsRoots, memoryHierarchy } from "../../src/collector/podcgroups.ts";
import { createSampler, type Sampler } from "../../src/collector/sample.ts";
import { type Clock, systemClock } from "../../src/seams.ts";
import { CONTAINER, createNodeTree, type NodeTree, OTHER_CONTAINER, OTHER_POD, planOf, POD } from "./nodetree.ts";

const PATH = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

/** Each look at this clock takes `costMs`: a read that looks before and after itself has taken that long. */
interface CostlyClock extends Clock {
  at: number;
  costMs: number;
}

function costlyClock(costMs: number): CostlyClock {
  const clock = {
    ...systemClock,
    at: 0,
    costMs,
    monotonicMs: () => (clock.at += clock.costMs),
  };
  return clock;
}

interface Setup {
  readonly tree: NodeTree;
  readonly clock: CostlyClock;
  readonly sampler: Sampler;
  readonly take: (atMs: number) => Promise<Sample>;
}

async function setup(changes: Partial<CollectionPlan> = {}, costMs = 1): Promise<Setup> {
  const tree = await createNodeTree(2);
  trees.push(tree);
  await tree.cgroup(PATH, [42]);
  await tree.process(42, PATH);
  const plan = planOf({ durationMs: 60_000, ...changes });
  const hierarchy = await memoryHierarchy(tree.roots.cgroup);
  if (hierarchy === undefined) throw new Error("the tree has no memory hierarchy");
  const clock = costlyClock(costMs);
  const sampler = createSampler({
    plan,
    proc: tree.roots.proc,
    hierarchy,
    kubepods: await kubepodsRoots(hierarchy),
    gate: createCostGate(plan.stallBudgetMs, plan.durationMs),
    clock,
  });
  let index = 0;
  const take = async (atMs: number): Promise<Sample> => {
    clock.at = atMs;
    return Sample.parse(await sampler.take(index++, atMs));
  };
  return { tree, clock, sampler, take };
}

const processOf = (sample: Sample): ProcessReading | undefined => sample.pods[0]?.containers[0]?.processes[0];

async function setState(tree: NodeTree, state: string): Promise<void> {
  const file = join(tree.roots.proc, "42", "stat");
  await writeFile(file, (await readFile(file, "utf8")).replace(/\) [A-Z] /, `) ${state} `));
}

test("a cheap rollup is taken in each sample, and what it took is told", async () => {
  const { take } = await setup();
  for (const at of [0, 5000, 10_000]) {
    const process = processOf(await take(at));
    expect(process?.rollup?.["Pss_Anon"]).toBe(27_344 * 1024);
    expect(process?.rollupMs).toBe(1);
    expect(process).not.toHaveProperty("rollupSkipped");
  }
});

test("a dear rollup is taken every 30 seconds only; what costs nothing is read each time", async () => {
  const { take } = await setup({}, 8);
  const taken: (string | undefined)[] = [];
  for (const at of [0, 5000, 25_000, 31_000, 36_000]) {
    const process = processOf(await take(at));
    expect(process?.status["RssAnon"]).toBe(27_344 * 1024);
    taken.push(process?.rollup === undefined ? process?.rollupSkipped : "taken");
  }
  expect(taken).toEqual(["taken", "NotDue", "NotDue", "taken", "NotDue"]);
});

test("a pid that was given to a new process is a new process: its rollup is due", async () => {
  const { tree, take } = await setup({}, 8);
  await take(0);
  const file = join(tree.roots.proc, "42", "stat");
  await writeFile(file, (await readFile(file, "utf8")).replace("593600", "700000"));
  expect(processOf(await take(5000))).toMatchObject({ startTicks: 700_000, rollupMs: 8 });
});

test("without a budget no rollup is taken, and the manifest will say so", async () => {
  const { take, sampler } = await setup({ stallBudgetMs: 0 });
  for (const at of [0, 5000]) {
    const process = processOf(await take(at));
    expect(process).toMatchObject({ rollupSkipped: "OverBudget", status: { RssAnon: 27_344 * 1024 } });
    expect(process).not.toHaveProperty("rollup");
  }
  expect(sampler.notes()).toEqual([
    { what: "smaps_rollup of thumbnail-svc (42)", reason: "OverBudget", detail: "2 times" },
  ]);
});

test("on a node that is about to die no page table is walked, and the rest is read", async () => {
  const { tree, take } = await setup();
  const file = join(tree.roots.proc, "meminfo");
  const meminfo = await readFile(file, "utf8");
  await writeFile(file, meminfo.replace(/^MemAvailable: .*$/m, "MemAvailable:     90000 kB"));
  expect(processOf(await take(0))).toMatchObject({ rollupSkipped: "LowMemory", status: { RssAnon: 27_344 * 1024 } });
  await writeFile(file, meminfo);
  expect(processOf(await take(5000))).toHaveProperty("rollup");
});

test("a process of many mappings is dearer than its size says", async () => {
  const { tree, take } = await setup({ stallBudgetMs: 40, durationMs: 0 });
  const maps = join(tree.roots.proc, "42", "maps");
  await writeFile(maps, "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n".repeat(65_000));
  expect(processOf(await take(0))?.rollupSkipped).toBe("OverBudget");
  await writeFile(maps, "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n".repeat(50));
  expect(processOf(await take(5000))).toHaveProperty("rollup");
});

test("who else is on the node, what the process has open, and the sockets of its network are in the sample", async () => {
  const { tree, take } = await setup();
  const process = join(tree.roots.proc, "42");
  for (const folder of ["fd", "ns", "net"]) await mkdir(join(process, folder));
  for (const [fd, target] of ["/dev/null", "pipe:[1]", "socket:[2]", "/srv/customers.db"].entries())
    await symlink(target, join(process, "fd", String(fd)));
  await symlink("net:[4026532900]", join(process, "ns", "net"));
  await writeFile(join(process, "net", "sockstat"), "sockets: used 5\nTCP: inuse 3 orphan 0 tw 1 alloc 9 mem 7\n");
  const first = await take(0);
  expect(first.node.cgroups?.top.map(({ name }) => name)).toEqual(["kubepods"]);
  expect(first.networks).toEqual([{ namespace: 4_026_532_900, sockets: { used: 5, TCP_inuse: 3, TCP_tw: 1 } }]);
  expect(processOf(first)).toMatchObject({
    descriptors: { open: 4, looked: 4, kinds: { device: 1, pipe: 1, socket: 1, file: 1 } },
    networkNamespace: 4_026_532_900,
  });
  expect(JSON.stringify(first)).not.toContain("customers");
  expect((await take(5000)).node).not.toHaveProperty("cgroups");
});

test("when the budget is used up, rollups end and samples go on", async () => {
  const { take } = await setup({ stallBudgetMs: 8, durationMs: 0 }, 4);
  const rollups: boolean[] = [];
  for (const at of [0, 1000, 2000]) rollups.push(processOf(await take(at))?.rollup !== undefined);
  expect(rollups).toEqual([true, true, false]);
});

test("a task that waits without interruption is left alone, a dead one has nothing to read", async () => {
  const { tree, take } = await setup();
  await setState(tree, "D");
  expect(processOf(await take(0))).toMatchObject({ rollupSkipped: "Stopped" });
  await setState(tree, "Z");
  const dead = processOf(await take(5000));
  expect(dead).not.toHaveProperty("rollup");
  expect(dead).not.toHaveProperty("rollupSkipped");
  await setState(tree, "S");
  expect(processOf(await take(10_000))).toHaveProperty("rollup");
});

test("a pod that is gone is told of, and the others are read", async () => {
  const gone = { namespace: "media", name: "gone", uid: OTHER_POD, role: "Serving" as const, containers: [] };
  const { take, sampler } = await setup({ pods: [gone, ...planOf().pods] });
  const { pods } = await take(0);
  expect(pods[0]).toEqual({ uid: OTHER_POD, containers: [] });
  expect(pods[1]?.containers).toHaveLength(1);
  expect(sampler.notes()).toEqual([{ what: `pod ${OTHER_POD}`, reason: "Gone", detail: "1 times" }]);
});

test("a container that restarted has a new id and no name; what its dead forerunner left is not read", async () => {
  const { tree, take } = await setup();
  await tree.cgroup(PATH, []);
  await rm(join(tree.roots.proc, "42"), { recursive: true });
  const restarted = PATH.replace(CONTAINER, OTHER_CONTAINER);
  await tree.cgroup(restarted, [43]);
  await tree.process(43, restarted);
  const containers = (await take(0)).pods[0]?.containers;
  expect(containers?.map(({ id, name }) => [id, name])).toEqual([[OTHER_CONTAINER, undefined]]);
});

test("a container of very many processes is read in part, and says how many are missing", async () => {
  const { tree, take } = await setup();
  await tree.cgroup(PATH, [42, ...Array.from({ length: 999 }, (_, i) => 100_000 + i)]);
  const container = (await take(0)).pods[0]?.containers[0];
  expect(container?.processesOmitted).toBe(1000 - 512);
  expect(container?.processes.map((process) => process.pid)).toEqual([42]);
});

test("a pod of very many containers and processes does not make a sample grow without bounds", async () => {
  const { tree, take } = await setup();
  await rm(join(tree.roots.cgroup, PATH), { recursive: true });
  const pids = Array.from({ length: 512 }, (_, i) => 100_000 + i);
  for (const digit of "12345") await tree.cgroup(PATH.replace(CONTAINER, digit.repeat(64)), pids);
  const containers = (await take(0)).pods[0]?.containers ?? [];
  expect(containers).toHaveLength(5);
  // Four are read whole, whichever they are, and of the fifth nothing.
  expect(containers.map((container) => container.processesOmitted ?? 0).toSorted((a, b) => a - b)).toEqual([
    0, 0, 0, 0, 512,
  ]);
});

test("without the host's pid namespace, a pid that comes to the container later is found within half a minute", async () => {
  const { tree, take } = await setup();
  await tree.cgroup(PATH, []);
  await tree.process(42, "/system.slice/other.service");
  const pids = (sample: Sample): number[] | undefined =>
    sample.pods[0]?.containers[0]?.processes.map((process) => process.pid);
  expect(pids(await take(0))).toBeUndefined();
  await tree.process(42, PATH);
  await tree.process(43, PATH);
  // A pid that nobody had is looked up at once.
  expect(pids(await take(5000))).toEqual([43]);
  expect(pids(await take(35_000))).toEqual([42, 43]);
});

test("processes by the hundred do not take the place of what else is to be told", async () => {
  const other = { namespace: "media", name: "gone", uid: OTHER_POD, role: "Serving" as const, containers: [] };
  const { tree, take, sampler } = await setup({ pods: [...planOf().pods, other] });
  const pids = Array.from({ length: 200 }, (_, i) => 1000 + i);
  await tree.cgroup(PATH, [42, ...pids]);
  for (const pid of pids) {
    await tree.process(pid, PATH);
    await rm(join(tree.roots.proc, String(pid), "smaps_rollup"));
  }
  await take(0);
  const notes = sampler.notes();
  expect(notes.length).toBeLessThan(64);
  expect(notes).toContainEqual({ what: `pod ${OTHER_POD}`, reason: "Gone", detail: "1 times" });
  const told = notes.filter(({ what }) => what.startsWith("smaps_rollup of "));
  expect(told.map(({ detail }) => Number(/^\d+/.exec(detail ?? "")?.[0])).reduce((sum, n) => sum + n, 0)).toBe(200);
  expect(told.at(-1)?.what).toBe("smaps_rollup of further processes");
});

test("a process that the cgroup lists and that says it is elsewhere is not read for it, and that is told", async () => {
  const { tree, take, sampler } = await setup();
  await tree.cgroup(PATH, [42, 43]);
  await tree.process(43, `/kubepods/burstable/pod${OTHER_POD}/${OTHER_CONTAINER}`);
  const sample = await take(0);
  expect(sample.pods[0]?.containers[0]?.processes.map(({ pid }) => pid)).toEqual([42]);
  expect(sampler.notes()).toEqual([{ what: "processes", reason: "Elsewhere", detail: "1 times" }]);
});

test("a main thread that has ended: the memory is that of a thread that lives, and without one there is none", async () => {
  const { tree, take } = await setup();
  const folder = join(tree.roots.proc, "42");
  const stat = (await readFile(join(folder, "stat"), "utf8")).replace(/\) [A-Z] (.*)$/m, (_, rest: string) => {
    const fields = rest.split(" ");
    // Field 20 of proc_pid_stat(5): threads.
    fields[16] = "2";
    return `) Z ${fields.join(" ")}`;
  });
  const status = await readFile(join(folder, "status"), "utf8");
  const thread = join(folder, "task", "44");
  for (const task of ["42", "44"]) await mkdir(join(folder, "task", task), { recursive: true });
  await writeFile(join(folder, "task", "42", "stat"), stat);
  await writeFile(join(thread, "stat"), stat.replace(") Z ", ") S ").replace(/^42/, "44"));
  await writeFile(join(thread, "status"), status);
  await writeFile(join(thread, "smaps_rollup"), await readFile(join(folder, "smaps_rollup")));
  const whole = processOf(await take(0));
  await writeFile(join(folder, "stat"), stat);
  await writeFile(join(folder, "status"), status.replaceAll(/^(?:Vm|Rss).*\n/gm, ""));
  await rm(join(folder, "smaps_rollup"));
  const headless = processOf(await take(5000));
  expect(headless?.status).toEqual(whole?.status);
  expect(headless?.rollup).toEqual(whole?.rollup);
  expect(headless).toMatchObject({ pid: 42, startTicks: whole?.startTicks, threads: 2 });
  await rm(thread, { recursive: true });
  const dead = processOf(await take(10_000));
  expect(dead?.status).toEqual({});
  expect(dead).not.toHaveProperty("rollup");
});
