import { readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { NodeReading } from "../../src/api/collection.ts";
import {
  parseFields,
  parseFlat,
  parsePressure,
  parseRollup,
  parseStat,
  parseStatus,
  readNode,
  readProcess,
  readRollup,
} from "../../src/collector/procfs.ts";
import { type Clock, systemClock } from "../../src/seams.ts";
import { FIXTURES } from "./nodetree.ts";

const KIB = 1024;
const recorded = (name: string): string => readFileSync(join(FIXTURES, "host", "v1-6.18", name), "utf8");
const STAT = recorded("process/stat");
const STATUS = recorded("process/status");

let proc = "";
beforeAll(async () => {
  proc = await mkdtemp(join(tmpdir(), "oomscope-proc-"));
});
afterAll(async () => rm(proc, { recursive: true, force: true }));

async function process(pid: number, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(join(proc, String(pid)), { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(proc, String(pid), name), text);
}

test("the state of the node, as recorded", async () => {
  const root = join(proc, "node");
  await mkdir(join(root, "pressure"), { recursive: true });
  for (const name of ["meminfo", "vmstat"]) await writeFile(join(root, name), recorded(name));
  const without = NodeReading.parse(await readNode(root));
  expect(without).not.toHaveProperty("pressure");
  await writeFile(join(root, "pressure", "memory"), recorded("pressure-memory"));
  const node = NodeReading.parse(await readNode(root));
  const kb = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(recorded("meminfo"))?.[1]);
  for (const name of ["MemTotal", "MemAvailable", "AnonPages", "Shmem"]) {
    expect(kb(name)).toBeGreaterThanOrEqual(0);
    expect(node.meminfo[name]).toBe(kb(name) * KIB);
  }
  expect(node.vmstat["oom_kill"]).toBe(Number(/^oom_kill (\d+)$/m.exec(recorded("vmstat"))?.[1]));
  expect(node.vmstat).not.toHaveProperty("nr_zone_active_anon");
  expect(node.pressure?.some.totalUs).toBe(Number(/^some .* total=(\d+)$/m.exec(recorded("pressure-memory"))?.[1]));
});

test("fields with kB are bytes, fields without are what they are, all else is left out", () => {
  const text =
    "MemTotal:       16 kB\nHugePages_Total:       3\nActive(anon):  2 kB\nno colon 5 kB\nBad:  7 MB\nNeg: -1 kB\n";
  expect(parseFields(text)).toEqual({ MemTotal: 16 * KIB, HugePages_Total: 3, "Active(anon)": 2 * KIB });
});

test("flat files: what does not fit into a number is the largest safe one", () => {
  expect(parseFlat("a 1\nhierarchical_memsw_limit 9223372036854771712\nA 2\nb  3\nc -4\nd 5 \n")).toEqual({
    a: 1,
    hierarchical_memsw_limit: Number.MAX_SAFE_INTEGER,
  });
});

test.each([
  ["both lines", "some avg10=0.10 avg60=1.00 avg300=2.50 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n", 3],
  ["some alone, as on older kernels for CPU", "some avg10=0.10 avg60=1.00 avg300=2.50 total=7\n", undefined],
])("pressure: %s", (_name, text, full) => {
  const pressure = parsePressure(text);
  expect(pressure?.some).toEqual({ avg10: 0.1, avg60: 1, avg300: 2.5, totalUs: 7 });
  expect(pressure?.full?.totalUs).toBe(full);
});

test("pressure that is switched off is absent", () => {
  expect(parsePressure("")).toBeUndefined();
  expect(parsePressure("full avg10=0.00 avg60=0.00 avg300=0.00 total=3\n")).toBeUndefined();
});

test.each([
  ["an ordinary name", "python3"],
  ["a name that looks like the rest", ") R 1 ("],
  ["a name with a line's end", "a\nb"],
  ["a name that looks like a whole line", "x) S 1 2 3 4 5"],
  ["no name", ""],
])("stat: %s does not shift the fields", (_what, comm) => {
  expect(parseStat(STAT.replace("(python3)", () => `(${comm})`))).toEqual({
    pid: 6652,
    comm,
    state: "S",
    ppid: 6641,
    threads: 1,
    startTicks: 593_600,
    utime: 3,
  });
});

test.each([
  ["nothing", ""],
  ["no parentheses", "1 x S 2"],
  ["a cut line", "6652 (python3) S 6641 6641"],
  ["parentheses the wrong way round", ")("],
  ["words for numbers", "6652 (a) S one 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"],
])("stat: %s is no process", (_what, text) => {
  expect(parseStat(text)).toBeUndefined();
});

test("status: sizes in bytes and the pid in the innermost namespace", () => {
  expect(parseStatus(STATUS)).toEqual({
    sizes: {
      VmSize: 37_048 * KIB,
      VmRSS: 34_068 * KIB,
      VmHWM: 34_068 * KIB,
      RssAnon: 27_344 * KIB,
      RssFile: 6724 * KIB,
      RssShmem: 0,
      VmPTE: 108 * KIB,
      VmSwap: 0,
    },
    innerPid: 6652,
  });
  expect(parseStatus(STATUS.replace(/^NSpid:.*$/m, "NSpid:\t31932\t170\t17")).innerPid).toBe(17);
  expect(parseStatus(STATUS.replace(/^NSpid:.*\n/m, "")).innerPid).toBeUndefined();
});

test.each(["VmRSS:\t1 kB", "VmRSS:\\n1 kB", "\\nNSpid:\t1", "NSpid:\t1"])(
  "status: the name %j sets no field",
  (name) => {
    // The kernel writes a line's end in a name as \n (proc_task_name).
    expect(parseStatus(STATUS.replace("Name:\tpython3", () => `Name:\t${name}`))).toEqual(parseStatus(STATUS));
  },
);

test("rollup: the sizes that are told of, in bytes, without the addresses of its first line", () => {
  const rollup = parseRollup(recorded("process/smaps_rollup"));
  expect(rollup).toMatchObject({
    Pss: 29_891 * KIB,
    Pss_Anon: 27_344 * KIB,
    Pss_File: 2547 * KIB,
    Pss_Shmem: 0,
    Shared_Clean: 6656 * KIB,
    Private_Dirty: 27_344 * KIB,
    Anonymous: 27_344 * KIB,
    Swap: 0,
    SwapPss: 0,
  });
  expect(Object.keys(rollup).every((name) => /^[A-Z]/.test(name))).toBe(true);
});

test("a process whose pid is given to another between two reads is not read", async () => {
  await process(7000, { stat: STAT, status: STATUS });
  let reads = 0;
  const clock: Clock = {
    ...systemClock,
    after: (ms, fn) => {
      reads += 1;
      if (reads === 2) writeFileSync(join(proc, "7000", "stat"), STAT.replace("593600", "700000"));
      return systemClock.after(ms, fn);
    },
  };
  expect(await readProcess(proc, 7000, clock)).toBeUndefined();
  expect(await readProcess(proc, 7000, systemClock)).toMatchObject({ startTicks: 700_000 });
});

test("a process is read whole; a rollup only of exactly the process that was asked for", async () => {
  await process(6652, { stat: STAT, status: STATUS, smaps_rollup: recorded("process/smaps_rollup") });
  expect(await readProcess(proc, 6652, systemClock)).toMatchObject({ pid: 6652, startTicks: 593_600, innerPid: 6652 });
  expect(await readProcess(proc, 1, systemClock)).toBeUndefined();
  const rollup = await readRollup(proc, { pid: 6652, startTicks: 593_600 }, systemClock);
  expect(rollup).toMatchObject({ sizes: { Pss: 29_891 * KIB } });
  const other = await readRollup(proc, { pid: 6652, startTicks: 593_601 }, systemClock);
  expect(other).toMatchObject({ skipped: "Gone" });
  expect(await readRollup(proc, { pid: 1, startTicks: 1 }, systemClock)).toMatchObject({ skipped: "Gone" });
});
