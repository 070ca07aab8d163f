import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CgroupReading } from "../../src/api/collection.ts";
import { inNamesOfV2, readCgroup } from "../../src/collector/cgroup.ts";
import { FIXTURES } from "./nodetree.ts";

const MIB = 2 ** 20;
const V1 = join(FIXTURES, "host", "v1-6.18", "cgroup");
/** The statistics that a 6.1 kernel printed when it killed. */
const V2_STAT = (
  /-;(anon \d+.*)$/m.exec(readFileSync(join(FIXTURES, "kmsg", "v2-6.1-memcg.kmsg.txt"), "utf8"))?.[1] ?? ""
).replaceAll("\\x0a", "\n");

let folder = "";
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-cgroup-"));
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

/** A cgroup's files; those of `without` do not exist on that kernel. */
async function directory(files: Readonly<Record<string, string>>, without: readonly string[] = []): Promise<string> {
  const path = join(folder, String(count++));
  await mkdir(path);
  for (const [name, text] of Object.entries(files))
    if (!without.includes(name)) await writeFile(join(path, name), text);
  return path;
}

const V2_FILES = {
  "memory.current": "100663296\n",
  "memory.max": "100663296\n",
  "memory.high": "max\n",
  "memory.peak": "100667392\n",
  "memory.swap.current": "4096\n",
  "memory.stat": `${V2_STAT}\n`,
  "memory.events": "low 0\nhigh 3\nmax 73\noom 2\noom_kill 1\noom_group_kill 0\n",
  "memory.pressure":
    "some avg10=1.50 avg60=0.75 avg300=0.10 total=123456\nfull avg10=0.50 avg60=0.25 avg300=0.00 total=23456\n",
};

async function v1Files(changes: Readonly<Record<string, string>> = {}): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of [
    "memory.usage_in_bytes",
    "memory.limit_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.kmem.usage_in_bytes",
    "memory.kmem.tcp.usage_in_bytes",
    "memory.memsw.usage_in_bytes",
    "memory.failcnt",
    "memory.stat",
    "memory.oom_control",
  ])
    files[name] = await readFile(join(V1, name), "utf8");
  return { ...files, ...changes };
}

const read = async (path: string, version: 1 | 2) => CgroupReading.parse(await readCgroup(path, "/p", version));

test("cgroup v1, as recorded: limits, kinds and events in the words of v2", async () => {
  const reading = await read(await directory(await v1Files({ "memory.failcnt": "12\n" })), 1);
  expect(reading).toMatchObject({
    path: "/p",
    version: 1,
    usageBytes: 28_155_904,
    limitBytes: 64 * MIB,
    peakBytes: 28_426_240,
    kinds: { anon: 28_000_256, file: 4096, shmem: 0, kernel: 151_552, swap: 0 },
    stat: { anon: 28_000_256, file: 4096, inactive_anon: 27_996_160, active_file: 4096, pgfault: 14_488 },
    events: { max: 12, oom_kill: 0 },
  });
  // v1 tells nothing of these.
  expect(reading).not.toHaveProperty("pressure");
  expect(reading).not.toHaveProperty("highBytes");
  expect(reading.events).not.toHaveProperty("oom");
  // Its own names, and those of the cgroup without its children, are not v2's.
  for (const name of ["rss", "cache", "total_rss", "hierarchical_memory_limit"])
    expect(reading.stat).not.toHaveProperty(name);
});

test("cgroup v2: limits, kinds, events and pressure", async () => {
  const reading = await read(await directory(V2_FILES), 2);
  expect(reading).toMatchObject({
    version: 2,
    usageBytes: 96 * MIB,
    limitBytes: 96 * MIB,
    peakBytes: 100_667_392,
    kinds: { anon: 100_200_448, file: 8192, shmem: 0, kernel: 450_560, sock: 0, swap: 4096 },
    events: { low: 0, high: 3, max: 73, oom: 2, oom_kill: 1, oom_group_kill: 0 },
    pressure: {
      some: { avg10: 1.5, avg60: 0.75, avg300: 0.1, totalUs: 123_456 },
      full: { avg10: 0.5, avg60: 0.25, avg300: 0, totalUs: 23_456 },
    },
  });
  expect(reading).not.toHaveProperty("highBytes");
});

test("v2: what happened by its own limit, its swap's limit and events, and whether a kill takes all of it", async () => {
  const files = {
    ...V2_FILES,
    "memory.events.local": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n",
    "memory.swap.events": "high 0\nmax 4\nfail 4\n",
    "memory.swap.max": "2097152\n",
    "memory.oom.group": "1\n",
  };
  expect(await read(await directory(files), 2)).toMatchObject({
    events: { max: 73 },
    eventsLocal: { max: 7, oom_kill: 1 },
    swapEvents: { max: 4, fail: 4 },
    swapLimitBytes: 2 * MIB,
    oomGroup: true,
  });
  const older = await read(await directory({ ...V2_FILES, "memory.swap.max": "max\n", "memory.oom.group": "0\n" }), 2);
  for (const name of ["eventsLocal", "swapEvents", "swapLimitBytes"]) expect(older).not.toHaveProperty(name);
  expect(older.oomGroup).toBe(false);
});

test("v1: the same as far as it has it", async () => {
  const oomControl = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n";
  const swap = { "memory.memsw.limit_in_bytes": String(96 * MIB), "memory.memsw.failcnt": "5\n" };
  const reading = await read(await directory(await v1Files({ ...swap, "memory.oom_control": oomControl })), 1);
  expect(reading).toMatchObject({
    eventsLocal: { oom_kill: 3 },
    swapEvents: { max: 5 },
    swapLimitBytes: 32 * MIB,
    underOom: true,
  });
  expect(reading.eventsLocal).toEqual(reading.events);
  expect(reading).not.toHaveProperty("oomGroup");
  const unlimited = { "memory.memsw.limit_in_bytes": "9223372036854771712\n" };
  expect(await read(await directory(await v1Files(unlimited)), 1)).not.toHaveProperty("swapLimitBytes");
});

test("no limit is no limit, in the words of either version", async () => {
  const v1 = await read(await directory(await v1Files({ "memory.limit_in_bytes": "9223372036854771712\n" })), 1);
  expect(v1).not.toHaveProperty("limitBytes");
  // With pages of 64 KiB the largest multiple is another.
  const large = await read(await directory(await v1Files({ "memory.limit_in_bytes": "9223372036854710272\n" })), 1);
  expect(large).not.toHaveProperty("limitBytes");
  const v2 = await read(await directory({ ...V2_FILES, "memory.max": "max\n", "memory.high": "1048576\n" }), 2);
  expect(v2).not.toHaveProperty("limitBytes");
  expect(v2.highBytes).toBe(MIB);
});

test("kinds are disjoint: shared memory is not counted as file too", async () => {
  const v2 = V2_STAT.replace("file 8192", "file 1000000").replace("shmem 0", "shmem 600000");
  expect((await read(await directory({ ...V2_FILES, "memory.stat": v2 }), 2)).kinds).toMatchObject({
    file: 400_000,
    shmem: 600_000,
  });
  const v1 = (await v1Files())["memory.stat"]
    ?.replace("total_cache 4096", "total_cache 1000000")
    .replace("total_shmem 0", "total_shmem 600000");
  expect((await read(await directory(await v1Files({ "memory.stat": v1 ?? "" })), 1)).kinds).toMatchObject({
    file: 400_000,
    shmem: 600_000,
  });
  // The counters are not read at one moment.
  const late = V2_STAT.replace("file 8192", "file 5").replace("shmem 0", "shmem 6");
  expect((await read(await directory({ ...V2_FILES, "memory.stat": late }), 2)).kinds.file).toBe(0);
});

test("on v1 the whole tree below is counted, not the cgroup alone", async () => {
  const stat = (await v1Files())["memory.stat"]?.replace(/^rss \d+$/m, "rss 1").replace(/^cache \d+$/m, "cache 2");
  const reading = await read(await directory(await v1Files({ "memory.stat": stat ?? "" })), 1);
  expect(reading.kinds).toMatchObject({ anon: 28_000_256, file: 4096 });
});

test.each([
  ["v1 without kernel memory", 1, ["memory.kmem.usage_in_bytes"], "kernel"],
  ["v1 without TCP memory", 1, ["memory.kmem.tcp.usage_in_bytes"], "sock"],
  ["v2 without swap", 2, ["memory.swap.current"], "swap"],
] as const)("%s: the kind is absent, not zero", async (_name, version, without, kind) => {
  const files = version === 1 ? await v1Files() : V2_FILES;
  const reading = await read(await directory(files, without), version);
  expect(reading.kinds).not.toHaveProperty(kind);
  expect(reading.kinds).toHaveProperty("anon");
});

test("on v1 a counter of TCP memory that stands at zero tells nothing: mostly it was never switched on", async () => {
  const off = await read(await directory(await v1Files({ "memory.kmem.tcp.usage_in_bytes": "0\n" })), 1);
  expect(off.kinds).not.toHaveProperty("sock");
  const on = await read(await directory(await v1Files({ "memory.kmem.tcp.usage_in_bytes": "8192\n" })), 1);
  expect(on.kinds.sock).toBe(8192);
});

test("on v1 without swap accounting the kind is absent", async () => {
  const stat = (await v1Files())["memory.stat"]?.replaceAll(/^(total_)?swap \d+\n/gm, "") ?? "";
  const path = await directory(await v1Files({ "memory.stat": stat }), ["memory.memsw.usage_in_bytes"]);
  expect((await read(path, 1)).kinds).not.toHaveProperty("swap");
});

test("a kernel before 5.18 tells the parts of kernel memory, and they are added up", async () => {
  const old = V2_STAT.replace(/^kernel \d+\n/m, "");
  const reading = await read(await directory({ ...V2_FILES, "memory.stat": old }), 2);
  expect(reading.kinds.kernel).toBe(49_152 + 286_720 + 71_656);
  const older = V2_STAT.replaceAll(/^(kernel|kernel_stack|pagetables|slab|percpu|vmalloc) \d+\n/gm, "");
  const without = await read(await directory({ ...V2_FILES, "memory.stat": older }), 2);
  expect(without.kinds).not.toHaveProperty("kernel");
});

test("a cgroup that is gone, or goes while it is read, is no reading", async () => {
  for (const version of [1, 2] as const) {
    expect(await readCgroup(join(folder, "nowhere"), "/p", version)).toBeUndefined();
    const files = version === 1 ? await v1Files() : V2_FILES;
    expect(await readCgroup(await directory(files, ["memory.stat"]), "/p", version)).toBeUndefined();
    const usage = version === 1 ? "memory.usage_in_bytes" : "memory.current";
    expect(await readCgroup(await directory(files, [usage]), "/p", version)).toBeUndefined();
  }
});

test("files that make no sense give a reading within the contract, or none", async () => {
  const nines = `${"9".repeat(30)}\n`;
  const v2 = await directory({
    ...V2_FILES,
    "memory.current": nines,
    "memory.swap.current": nines,
    "memory.peak": "-1",
  });
  expect(CgroupReading.optional().safeParse(await readCgroup(v2, "/p", 2)).success).toBe(true);
  const v1 = await directory(await v1Files({ "memory.failcnt": nines, "memory.limit_in_bytes": "9007199254740993\n" }));
  expect(CgroupReading.optional().safeParse(await readCgroup(v1, "/p", 1)).success).toBe(true);
});

test("translating what is in the names of v2 already changes nothing", () => {
  const once = inNamesOfV2({ anon: 1, file: 2, kernel: 3, unknown: 4 });
  expect(once).toEqual({ anon: 1, file: 2, kernel: 3 });
  expect(inNamesOfV2(once)).toEqual(once);
});
