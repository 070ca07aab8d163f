import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { NodeCgroups } from "../../src/api/collection.ts";
import { createNeighbours } from "../../src/collector/neighbours.ts";
import { kubepodsRoots, memoryHierarchy } from "../../src/collector/podcgroups.ts";
import { type Clock, systemClock } from "../../src/seams.ts";
import { createNodeTree, type NodeTree, OTHER_POD, POD } from "./nodetree.ts";

const MIB = 2 ** 20;
const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

async function node(version: 1 | 2) {
  const tree = await createNodeTree(version);
  trees.push(tree);
  const hierarchy = await memoryHierarchy(tree.roots.cgroup);
  if (hierarchy === undefined) throw new Error("the tree has no memory hierarchy");
  const set = async (path: string, mib: number): Promise<void> => {
    await tree.cgroup(path, []);
    const file = version === 2 ? "memory.current" : "memory.usage_in_bytes";
    await writeFile(join(hierarchy.root, path, file), `${mib * MIB}\n`);
  };
  const clock: Clock & { at: number } = { ...systemClock, at: 0, monotonicMs: () => clock.at };
  const open = async () => createNeighbours(hierarchy, await kubepodsRoots(hierarchy), clock);
  return { set, open, clock, root: hierarchy.root };
}

const uid = (i: number): string => `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`;

test.each([1, 2] as const)("v%i: the largest by name, pods by class, and the largest pods by uid", async (version) => {
  const { set, open } = await node(version);
  await set("/system.slice", 300);
  await set("/user.slice", 40);
  await set(`/kubepods/burstable/pod${POD}`, 500);
  await set(`/kubepods/burstable/pod${OTHER_POD}`, 100);
  await set(`/kubepods/besteffort/pod${uid(1)}`, 70);
  await set(`/kubepods/pod${uid(2)}`, 30);
  await set("/kubepods", 700);
  const cgroups = NodeCgroups.parse(await (await open()).read());
  expect(cgroups.top.map(({ name, usageBytes }) => [name, usageBytes / MIB])).toEqual([
    ["kubepods", 700],
    ["system.slice", 300],
    ["user.slice", 40],
  ]);
  expect(cgroups.top[0]?.kinds.anon).toBeGreaterThan(0);
  expect(cgroups.others).toEqual({ cgroups: 0, usageBytes: 0 });
  expect(cgroups.pods).toEqual([
    { class: "Guaranteed", pods: 1, usageBytes: 30 * MIB },
    { class: "Burstable", pods: 2, usageBytes: 600 * MIB },
    { class: "BestEffort", pods: 1, usageBytes: 70 * MIB },
  ]);
  expect(cgroups.largestPods.map((pod) => pod.uid)).toEqual([POD, OTHER_POD, uid(1), uid(2)]);
});

test("a node of hundreds of pods and cgroups: what is listed is bounded, and the rest is counted", async () => {
  const { open, root } = await node(2);
  const hold = async (path: string, mib: number): Promise<void> => {
    await mkdir(join(root, path), { recursive: true });
    await writeFile(join(root, path, "memory.current"), `${mib * MIB}\n`);
  };
  for (let i = 0; i < 20; i++) await hold(`service-${i}.slice`, 20 - i);
  await hold("with a space", 1000);
  for (let i = 0; i < 260; i++) await hold(`kubepods/besteffort/pod${uid(i)}`, 1);
  await hold("kubepods", 260);
  const cgroups = NodeCgroups.parse(await (await open()).read());
  expect(cgroups.top).toHaveLength(16);
  expect(cgroups.others.cgroups).toBe(20 + 1 + 1 - 16);
  expect(cgroups.others.usageBytes).toBeGreaterThanOrEqual(1000 * MIB);
  expect(cgroups.largestPods).toHaveLength(8);
  expect(cgroups.pods).toEqual([{ class: "BestEffort", pods: 256, usageBytes: 256 * MIB }]);
  expect(cgroups.podsOmitted).toBe(4);
  expect(JSON.stringify(cgroups)).not.toContain("space");
});

test("the node's other cgroups are read at most every ten seconds, and may go while they are", async () => {
  const { set, open, clock, root } = await node(2);
  await set("/system.slice", 300);
  const neighbours = await open();
  expect((await neighbours.read())?.top).toHaveLength(1);
  clock.at = 9000;
  expect(await neighbours.read()).toBeUndefined();
  clock.at = 10_000;
  await rm(join(root, "system.slice"), { recursive: true });
  await mkdir(join(root, "empty.slice"));
  expect(await neighbours.read()).toEqual({
    top: [],
    others: { cgroups: 0, usageBytes: 0 },
    pods: [],
    largestPods: [],
    podsOmitted: 0,
  });
});
