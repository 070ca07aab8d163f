/**
 * Beside the tools that an engineer would use: are our numbers those of free, smem, pmap -x and the kernel's own files, read at the same
 * moment of the same process? Needs root, procps, smem and gcc; no cluster.
 */
import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Sample } from "../../src/api/collection.ts";
import type { MappingClass, MappingSnapshot, ProcessMappings, SmapsField } from "../../src/api/mappings.ts";
import { collect } from "../../src/collector/collect.ts";
import { createDirectorySink } from "../../src/collector/directorysink.ts";
import { readNode } from "../../src/collector/procfs.ts";
import { mappingGrowth } from "../../src/diagnosis/mappinggrowth.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { FIXTURES, planOf } from "./nodetree.ts";

const KIB = 1024;
const MIB = 2 ** 20;
const run = promisify(execFile);
const memory = existsSync("/sys/fs/cgroup/memory/memory.stat") ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
const hex = systemRandom.hex(16);
const uid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
const id = systemRandom.hex(32);
const top = join(memory, `oomscope-tools-${hex.slice(0, 8)}`);
const levels = [top, join(top, "kubepods"), join(top, "kubepods", `pod${uid}`), join(top, "kubepods", `pod${uid}`, id)];
const container = levels.at(-1) ?? "";
const children: ChildProcessByStdio<Writable, Readable, null>[] = [];
let folder = "";
let program = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-tools-"));
  program = join(folder, `allocations-${hex.slice(0, 6)}`);
  await run("gcc", ["-O1", "-pthread", "-o", program, join(FIXTURES, "smaps", "allocations.c")]);
  for (const [i, level] of levels.entries()) {
    if (memory === "/sys/fs/cgroup" && i > 0)
      await writeFile(join(levels[i - 1] ?? "", "cgroup.subtree_control"), "+memory");
    await mkdir(level);
  }
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  for (const level of levels.toReversed()) {
    // The kernel lets go of a cgroup a moment after its last process.
    for (let i = 0; i < 50 && existsSync(level); i++) {
      await rmdir(level).catch(() => undefined);
      await systemClock.sleep(20);
    }
  }
  await rm(folder, { recursive: true, force: true });
});

/** A process in our cgroup from its first instruction on, once it has all its memory. */
async function start(command: readonly string[]): Promise<ChildProcessByStdio<Writable, Readable, null>> {
  const script = `echo $$ > ${container}/cgroup.procs && exec "$@"`;
  const child = spawn("sh", ["-c", script, "sh", ...command], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  await once(child.stdout, "data");
  return child;
}

async function pack(name: string, durationMs: number) {
  const directory = join(folder, name);
  await collect({
    plan: planOf({
      intervalMs: 100,
      durationMs,
      stallBudgetMs: 30_000,
      pods: [{ namespace: "n", name: "p", uid, role: "Preserved", containers: [{ name: "app", id }] }],
    }),
    roots: { proc: "/proc", cgroup: "/sys/fs/cgroup", kmsg: "/dev/kmsg" },
    sink: await createDirectorySink(directory),
    clock: systemClock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal: new AbortController().signal,
    usage: () => ({ cpuMs: 0, peakRssBytes: 0 }),
  });
  const opened = await openPack(directory);
  const samples: Sample[] = [];
  for await (const sample of opened.samples()) samples.push(sample);
  const snapshots: MappingSnapshot[] = [];
  for await (const snapshot of opened.mappings()) snapshots.push(snapshot);
  expect(opened.problems).toEqual([]);
  expect((await opened.verify()).ok).toBe(true);
  return { samples, snapshots, manifest: opened.manifest };
}

const off = (a: number, b: number): number => Math.abs(a - b) / Math.max(1, b);

/** The sum of a field over the kernel's own smaps, in bytes. */
async function kernelSum(pid: number, field: SmapsField): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps`, "utf8");
  return [...text.matchAll(new RegExp(`^${field}: +(\\d+) kB$`, "gm"))].reduce(
    (sum, [, kb]) => sum + Number(kb) * KIB,
    0,
  );
}

function classSum(process: ProcessMappings, classes: readonly MappingClass[], field: SmapsField): number {
  return process.classes
    .filter((row) => classes.includes(row.class))
    .reduce((sum, { sizes }) => sum + (sizes[field] ?? 0), 0);
}

test("smem, pmap -x and the kernel's smaps of a process with one of each kind of memory", async () => {
  const { pid = 0 } = await start([program]);
  const { samples, snapshots } = await pack("one", 0);
  const [{ stdout: pmap }, { stdout: smem }] = await Promise.all([
    run("pmap", ["-x", String(pid)]),
    run("smem", ["-H", "-c", "pid uss pss rss", "-P", program]),
  ]);
  const reading = samples[0]?.pods[0]?.containers[0]?.processes.find((process) => process.pid === pid);
  const mapped = snapshots[0]?.processes.find((process) => process.pid === pid);
  if (reading?.rollup === undefined || mapped === undefined) throw new Error("the process was not read");

  // smem: pid, USS, PSS and RSS in KiB. What other processes share of the C library changes while we look.
  const line = smem.split("\n").find((text) => text.trim().startsWith(`${pid} `));
  const [, uss = 0, pss = 0, rss = 0] =
    line
      ?.trim()
      .split(/\s+/)
      .map((text) => Number(text) * KIB) ?? [];
  const { Private_Clean = 0, Private_Dirty = 0, Pss = 0, Rss = 0 } = reading.rollup;
  expect(rss).toBeGreaterThan(40 * MIB);
  for (const ours of [{ Private_Clean, Private_Dirty, Pss, Rss }, mapped.totals]) {
    expect(off((ours.Private_Clean ?? 0) + (ours.Private_Dirty ?? 0), uss)).toBeLessThan(0.02);
    expect(off(ours.Pss ?? 0, pss)).toBeLessThan(0.02);
    expect(off(ours.Rss ?? 0, rss)).toBeLessThan(0.01);
  }

  // pmap -x: address, Kbytes, RSS, Dirty, mode, mapping; a total at the end.
  const rows = pmap.split("\n").flatMap((text) => {
    const [, size, resident, dirty, name] = /^[0-9a-f]{8,16} +(\d+) +(\d+) +(\d+) \S+ +(.*)$/.exec(text) ?? [];
    return name === undefined ? [] : [{ size: Number(size), resident: Number(resident), dirty: Number(dirty), name }];
  });
  const [, allKb, residentKb, dirtyKb] = /^total kB +(\d+) +(\d+) +(\d+)/m.exec(pmap) ?? [];
  expect(rows).toHaveLength(mapped.mappings);
  expect(mapped.totals.Size).toBe(Number(allKb) * KIB);
  expect(off(mapped.totals.Rss ?? 0, Number(residentKb) * KIB)).toBeLessThan(0.01);
  const dirty = (mapped.totals.Private_Dirty ?? 0) + (mapped.totals.Shared_Dirty ?? 0);
  expect(off(dirty, Number(dirtyKb) * KIB)).toBeLessThan(0.01);
  // What S5 looks at by hand: the lines `[ anon ]` with much Dirty.
  const anon = rows.filter(({ name }) => name === "[ anon ]");
  const unnamed = ["Heap", "Arena", "Anonymous", "ThreadStack", "Jit", "Reserved", "Kernel"] as const;
  expect(off(classSum(mapped, unnamed, "Rss"), anon.reduce((sum, row) => sum + row.resident, 0) * KIB)).toBeLessThan(
    0.01,
  );
  expect(
    off(classSum(mapped, unnamed, "Private_Dirty"), anon.reduce((sum, row) => sum + row.dirty, 0) * KIB),
  ).toBeLessThan(0.01);

  for (const field of ["Size", "Rss", "Pss", "Private_Dirty", "Anonymous", "Private_Clean", "Shared_Clean"] as const)
    expect(off(mapped.totals[field] ?? 0, await kernelSum(pid, field))).toBeLessThan(0.02);
  const file = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  expect(mapped.totals.Anonymous).toBe(Number(/^Anonymous: +(\d+) kB$/m.exec(file)?.[1]) * KIB);

  // As in the program's source.
  const resident = (kind: MappingClass): number => classSum(mapped, [kind], "Rss") / MIB;
  expect(resident("Memfd")).toBe(7);
  expect(resident("SysV")).toBe(9);
  expect(resident("Tmpfs")).toBe(10);
  expect(resident("SharedAnonymous")).toBe(6);
  expect(resident("Jit")).toBe(2);
  expect(resident("Arena")).toBeCloseTo(6, 0);
  expect(resident("ThreadStack")).toBeCloseTo(2, 0);
  expect(mapped.classes.find((row) => row.class === "ThreadStack")?.mappings).toBe(4);
});

test("free: the node's memory", async () => {
  // Others allocate between two reads; a wrong unit or field would never come near.
  let closest = 1;
  for (let i = 0; i < 10 && closest > 0.01; i++) {
    const [{ stdout }, { meminfo }] = await Promise.all([run("free", ["-b", "-w"]), readNode("/proc")]);
    const [total = 0, , free = 0, shared = 0, , , available = 0] = (/^Mem: +(.*)$/m.exec(stdout)?.[1] ?? "")
      .split(/\s+/)
      .map(Number);
    expect(meminfo["MemTotal"]).toBe(total);
    const fields = [
      [meminfo["MemFree"], free],
      [meminfo["Shmem"], shared],
      [meminfo["MemAvailable"], available],
    ] as const;
    closest = Math.max(...fields.map(([ours = 0, theirs]) => Math.abs(ours - theirs) / total));
  }
  expect(closest).toBeLessThan(0.01);
});

test("which kind of mapping grows, between the snapshots of one collection", async () => {
  const grow = `const kept = [];
    process.stdin.once("data", () => {
      for (let i = 0; i < 40; i++) kept.push(Buffer.alloc(1 << 20, 1));
      process.stdout.write("done");
    });
    process.stdout.write("ready");`;
  const child = await start([process.execPath, "-e", grow]);
  const collected = pack("growing", 4000);
  for (let i = 0; i < 1500 && !existsSync(join(folder, "growing", "mappings-0000.json")); i++)
    await systemClock.sleep(20);
  child.stdin.write("go");
  await once(child.stdout, "data");
  const { snapshots } = await collected;
  expect([snapshots[0]?.moment, snapshots.at(-1)?.moment]).toEqual(["Start", "End"]);
  const growth = (await mappingGrowth(snapshots)).find(({ pid }) => pid === child.pid);
  // Buffers are outside V8's own heap.
  expect(growth?.runtimes).toEqual(["V8"]);
  expect(growth?.dominant?.class).toBe("Anonymous");
  expect(growth?.heldDelta).toBeGreaterThan(36 * MIB);
  const text = (
    await Promise.all(
      (await readdir(join(folder, "growing"))).map((name) => readFile(join(folder, "growing", name), "utf8")),
    )
  ).join("\n");
  expect(text).not.toContain(process.execPath);
});

test("20,000 mappings are read in the memory of 500", async () => {
  const grown: number[] = [];
  for (const count of [500, 20_000]) {
    const { pid = 0 } = await start([program, String(count), "240"]);
    const { stdout } = await run(process.execPath, [join(import.meta.dirname, "mapreader.child.ts"), String(pid)]);
    const result = JSON.parse(stdout) as {
      ended: string;
      mappings: number;
      unparsedLines: number;
      rss: number;
      grownKib: number;
    };
    expect(result).toMatchObject({ ended: "Whole", unparsedLines: 0 });
    expect(result.mappings).toBeGreaterThan(count);
    expect(result.rss).toBeGreaterThan(230 * MIB);
    grown.push(result.grownKib * KIB);
    process.kill(pid, "SIGKILL");
  }
  const [few = 0, many = 0] = grown;
  expect(many - few).toBeLessThan(32 * MIB);
});

const NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

test.each([
  ["both", "+sys_ptrace,+dac_read_search", true, true, true],
  ["SYS_PTRACE alone", "+sys_ptrace", true, false, true],
  ["DAC_READ_SEARCH alone", "+dac_read_search", false, true, false],
  ["neither", "", false, false, false],
])(
  "with %s of its capabilities, what cannot be read is skipped and says so",
  async (_what, kept, maps, list, links) => {
    const target = spawn("setpriv", [...NOBODY, "cat"], { stdio: ["pipe", "pipe", "inherit"] });
    children.push(target);
    // What answers is the other user's, has loaded its libraries, and opens nothing more.
    target.stdin.write("ready");
    await once(target.stdout, "data");
    const open = (await readdir(`/proc/${target.pid}/fd`)).length;
    const bounds = ["--inh-caps=-all", `--bounding-set=-all${kept === "" ? "" : `,${kept}`}`];
    const reader = join(import.meta.dirname, "rights.child.ts");
    const { stdout } = await run("setpriv", [...bounds, process.execPath, reader, String(target.pid)]);
    const read = JSON.parse(stdout) as Record<string, unknown>;
    expect(read).toMatchObject({ rss: true, processes: maps ? 1 : 0, skipped: maps ? [] : ["NoPermission"] });
    expect(read["rollup"]).toMatchObject(maps ? { sizes: { Swap: 0 } } : { skipped: "NoPermission" });
    expect(typeof read["namespace"]).toBe(links ? "number" : "undefined");
    if (list && links) expect(read["descriptors"]).toMatchObject({ open, looked: open });
    else expect(read["descriptorsSkipped"]).toBe("NoPermission");
    // The list tells how many there are also where the links may not be read.
    if (list && !links) expect(read["descriptors"]).toEqual({ open, looked: 0, kinds: {} });
  },
);
