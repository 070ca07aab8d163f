/** The single tools, on recorded files: what they print, as text and as JSON. */
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { CgroupReading } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { analyzeCommand } from "../../src/cli/analyzecommand.ts";
import { cgroupCommand } from "../../src/cli/cgroupcommand.ts";
import { type Command, EXIT, Failed } from "../../src/cli/command.ts";
import { type Scene, sceneCommand, sceneOf, sceneText } from "../../src/cli/scenecommand.ts";
import { readPack } from "../../src/controller/readpack.ts";
import { createNodeTree, type NodeTree } from "../collector/nodetree.ts";
import { MIB, samplesOf } from "../diagnosis/samples.ts";
import { type Ran, runCommand } from "./world.ts";

const trees: NodeTree[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function machine(version: 1 | 2): Promise<NodeTree> {
  const tree = await createNodeTree(version);
  trees.push(tree);
  return tree;
}

const run = (command: Command, tree: NodeTree, ...words: string[]): Promise<Ran> =>
  runCommand(command, tree.roots, words);

async function packFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oomscope-pack-"));
  folders.push(folder);
  return folder;
}

test.each([1, 2] as const)("cgroup of v%i: the same words, working_set and what it means", async (version) => {
  const tree = await machine(version);
  await tree.cgroup("/system.slice/a.service", []);
  const { code, printed } = await run(cgroupCommand, tree, "a.service");
  expect(code).toBe(EXIT.done);
  expect(printed).toMatchSnapshot();
  const json: unknown = JSON.parse((await run(cgroupCommand, tree, "a.service", "--output", "json")).printed);
  const reading = CgroupReading.parse(json);
  expect(json).toMatchObject({
    workingSetBytes: reading.usageBytes - (reading.stat["inactive_file"] ?? 0),
    meaning: expect.stringContaining("of working_set is"),
  });
});

test("cgroup of a process is the one that it is in", async () => {
  const tree = await machine(2);
  await tree.cgroup("/system.slice/a.service", [42]);
  await tree.process(42, "/system.slice/a.service");
  const { printed } = await run(cgroupCommand, tree, "--pid", "42", "--output", "json");
  expect(CgroupReading.parse(JSON.parse(printed)).path).toBe("/system.slice/a.service");
});

test("cgroup of a process in none that can be read is refused", async () => {
  const tree = await machine(2);
  await tree.process(42, "/elsewhere");
  await expect(run(cgroupCommand, tree, "--pid", "42")).rejects.toThrow(Failed);
});

test("scene: free as free counts it, rates, pressure, and processes by Pss", async () => {
  const tree = await machine(2);
  await tree.process(42, "/");
  await tree.process(43, "/", "\u001b[31mworker");
  const { code, printed } = await run(sceneCommand, tree, "--top", "1");
  expect(code).toBe(EXIT.done);
  expect(printed).toContain("the 1 largest of 2 processes");
  const scene = JSON.parse((await run(sceneCommand, tree, "--output", "json")).printed) as Scene;
  const { meminfo } = scene.node;
  expect(scene.free.used).toBe((meminfo["MemTotal"] ?? 0) - (meminfo["MemAvailable"] ?? 0));
  expect(scene.free.buffCache).toBe(
    (meminfo["Buffers"] ?? 0) + (meminfo["Cached"] ?? 0) + (meminfo["SReclaimable"] ?? 0),
  );
  const [first] = scene.crowd.processes;
  expect(first?.uss).toBeGreaterThan(0);
  expect(first?.pss).toBeGreaterThanOrEqual(first?.uss ?? 0);
  // oxlint-disable-next-line no-control-regex
  expect((await run(sceneCommand, tree)).printed).not.toMatch(/\u001b/);
});

test("scene as golden text: a machine in trouble", () => {
  const meminfo = {
    MemTotal: 8192 * MIB,
    MemFree: 200 * MIB,
    MemAvailable: 400 * MIB,
    Buffers: 10 * MIB,
    Cached: 300 * MIB,
    SReclaimable: 40 * MIB,
    Shmem: 64 * MIB,
    SwapTotal: 1024 * MIB,
    SwapFree: 100 * MIB,
    AnonPages: 7000 * MIB,
    Slab: 120 * MIB,
  };
  const pressure = {
    some: { avg10: 31.5, avg60: 22.25, avg300: 9, totalUs: 81_000_000 },
    full: { avg10: 12, avg60: 8, avg300: 3, totalUs: 22_000_000 },
  };
  const at = (pswpin: number): Parameters<typeof sceneOf>[1] => ({
    meminfo,
    vmstat: { pswpin, oom_kill: 3 },
    pressure,
  });
  const crowd = {
    processes: [
      {
        pid: 4711,
        comm: "thumbnail-svc",
        rss: 6100 * MIB,
        rssAnon: 6000 * MIB,
        swap: 500 * MIB,
        pss: 6050 * MIB,
        uss: 6040 * MIB,
        pssAnon: 6000 * MIB,
      },
      { pid: 12, comm: "other", rss: 90 * MIB, rssAnon: 80 * MIB, swap: 0 },
    ],
    total: 143,
    withoutPss: "Pss of 1 may not be read by this user: run as root for it.",
  };
  expect(sceneText(sceneOf("2026-11-29T02:03:15.000Z", at(100), at(1100), 2, crowd))).toMatchSnapshot();
});

test.each(["0", "101", "many", "-3"])("scene --top %s is refused", async (top) => {
  const tree = await machine(2);
  await expect(run(sceneCommand, tree, "--top", top)).rejects.toThrow("write a number from 1 to 100");
});

test("analyze prints exactly what the operator writes into status.finding", async () => {
  const tree = await machine(2);
  const folder = await packFolder();
  const samples = [...samplesOf([{ processes: [{ pid: 7, anon: (s) => 20 + s }] }])];
  await writeFile(join(folder, "readings-0000.ndjson"), samples.map((s) => `${JSON.stringify(s)}\n`).join(""));
  const { code, printed } = await run(analyzeCommand, tree, folder, "--output", "json");
  expect(code).toBe(EXIT.done);
  const finding = Finding.parse(JSON.parse(printed));
  expect(finding.verdict).toBe("AnonHeapLeak");
  expect(JSON.parse(printed)).toEqual(JSON.parse(JSON.stringify((await readPack(folder)).finding)));
  const text = await run(analyzeCommand, tree, folder);
  expect(text.printed).toContain("AnonHeapLeak, ");
  expect(text.printed).toContain("The collection was cut off: it has no manifest.");
});

test("analyze of a pack that says nothing ends as Inconclusive", async () => {
  const tree = await machine(2);
  const folder = await packFolder();
  await writeFile(join(folder, "readings-0000.ndjson"), "not json\n");
  expect((await run(analyzeCommand, tree, folder)).code).toBe(EXIT.inconclusive);
});

test("analyze of what is no pack is refused", async () => {
  const tree = await machine(2);
  const folder = await packFolder();
  await cp(tree.roots.kmsg, join(folder, "something-else"));
  await expect(run(analyzeCommand, tree, folder)).rejects.toThrow("holds no part of a pack");
  await expect(run(analyzeCommand, tree, join(folder, "nothing"))).rejects.toThrow("cannot be read as a pack (ENOENT)");
});
