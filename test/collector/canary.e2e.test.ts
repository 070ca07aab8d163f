/**
 * Real processes in real cgroups of this machine. Are the numbers those of the memory that was touched, is the report that of the process that
 * was killed, and does none of what the pack must not hold get into it? Needs root. All cgroups lie below one of our own, which is removed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OomReports, type ProcessReading, Sample } from "../../src/api/collection.ts";
import { collect } from "../../src/collector/collect.ts";
import { createDirectorySink } from "../../src/collector/directorysink.ts";
import { readKernelLog } from "../../src/collector/kernellog.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { planOf } from "./nodetree.ts";

const MIB = 2 ** 20;
const LIMIT = 160 * MIB;
const TOUCHED = 48 * MIB;
const v1 = existsSync("/sys/fs/cgroup/memory/memory.stat");
const memory = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
const run = systemRandom.hex(4);
const top = join(memory, `oomscope-canary-${run}`);
const secrets = ["environ", "argument", "tenant"].map((name) => `canary-${name}`);

interface Container {
  readonly uid: string;
  readonly id: string;
  readonly path: string;
}

function newContainer(): Container {
  const hex = systemRandom.hex(16);
  const uid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  const id = systemRandom.hex(32);
  return { uid, id, path: join(top, "kubepods", "burstable", `pod${uid}`, id) };
}

const ours = newContainer();
const others = newContainer();
const children: ChildProcess[] = [];
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-canary-"));
  for (const [{ path }, limit] of [
    [ours, LIMIT],
    [others, 48 * MIB],
  ] as const) {
    await mkdir(path, { recursive: true });
    if (!v1)
      for (const level of levels(path).toReversed()) await writeFile(join(level, "cgroup.subtree_control"), "+memory");
    await writeFile(join(path, v1 ? "memory.limit_in_bytes" : "memory.max"), String(limit));
  }
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  for (const { path } of [ours, others])
    for (const level of [path, ...levels(path)]) if (level !== memory) await removeCgroup(level);
  await rm(folder, { recursive: true, force: true });
});

/** The folders above, from the nearest to the root of the hierarchy. */
function levels(path: string): string[] {
  const above: string[] = [];
  for (let at = dirname(path); at.startsWith(memory); at = dirname(at)) above.push(at);
  return above;
}

/** The kernel lets go of a cgroup a moment after its last process. */
async function removeCgroup(path: string): Promise<void> {
  for (let i = 0; i < 50; i++) {
    const code = await rmdir(path).then(
      () => "",
      (error: NodeJS.ErrnoException) => error.code ?? "",
    );
    if (code !== "EBUSY") return;
    await systemClock.sleep(20);
  }
}

/** Runs a program in the cgroup from its first instruction on. */
function start(container: Container, command: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const script = `echo $$ > ${container.path}/cgroup.procs && exec "$@"`;
  const child = spawn("sh", ["-c", script, "sh", ...command], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"], ...environment },
  });
  children.push(child);
  return child;
}

async function pack(name: string) {
  const directory = join(folder, name);
  const manifest = await collect({
    plan: planOf({
      intervalMs: 100,
      durationMs: 300,
      stallBudgetMs: 5000,
      pods: [
        { namespace: "n", name: "p", uid: ours.uid, role: "Preserved", containers: [{ name: "app", id: ours.id }] },
      ],
    }),
    roots: { proc: "/proc", cgroup: "/sys/fs/cgroup", kmsg: "/dev/kmsg" },
    sink: await createDirectorySink(directory),
    clock: systemClock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal: new AbortController().signal,
    usage: () => ({ cpuMs: 0, peakRssBytes: 0 }),
  });
  const texts = new Map<string, string>();
  for (const part of await readdir(directory)) texts.set(part, await readFile(join(directory, part), "utf8"));
  const samples = (texts.get("readings-0000.ndjson") ?? "")
    .trimEnd()
    .split("\n")
    .map((line) => Sample.parse(JSON.parse(line)));
  const reports = OomReports.parse(JSON.parse(texts.get("oom-reports.json") ?? ""));
  return { manifest, samples, reports, text: [...texts.values()].join("\n") };
}

function containerOf(sample: Sample | undefined) {
  const container = sample?.pods[0]?.containers[0];
  if (container === undefined) throw new Error("the sample has no container");
  const { cgroup, processes } = container;
  const sum = (of: (process: ProcessReading) => number | undefined): number =>
    processes.reduce((total, process) => total + (of(process) ?? 0), 0);
  return {
    anon: cgroup.kinds.anon ?? 0,
    rssAnon: sum((process) => process.status["RssAnon"]),
    pssAnon: sum((process) => process.rollup?.["Pss_Anon"]),
    processes,
  };
}

const off = (a: number, b: number): number => Math.abs(a - b) / b;

test("the numbers are those of the memory that was touched, the report is the victim's, and no secret gets out", async () => {
  const sibling = start(ours, ["sleep", "600"]);
  const program = `const kept = [];
    process.stdin.on("data", (order) => {
      if (String(order).startsWith("hold")) kept.push(Buffer.alloc(${TOUCHED}, 1));
      else setInterval(() => kept.push(Buffer.alloc(1048576, 1)), 1);
      process.stdout.write("done\\n");
    });
    process.stdout.write("ready\\n");`;
  const child = start(ours, [process.execPath, "-e", program, "canary-argument"], {
    API_TOKEN: "canary-environ",
  });
  await once(child.stdout, "data");
  const before = containerOf((await pack("before")).samples[0]);
  child.stdin.write("hold");
  await once(child.stdout, "data");
  const holding = await pack("holding");
  // On a busy machine a rollup is dear, and the samples after the first go without.
  const held = containerOf(holding.samples[0]);

  expect(holding.manifest.outcome).toBe("Complete");
  expect(held.processes.map((process) => process.pid)).toEqual([sibling.pid, child.pid]);
  // Counters of a cgroup are kept in batches of 64 pages for each CPU.
  expect(off(held.anon - before.anon, TOUCHED)).toBeLessThan(0.05);
  expect(off(held.rssAnon, held.anon)).toBeLessThan(0.05);
  expect(off(held.pssAnon, held.anon)).toBeLessThan(0.05);

  const leak = `process.title = "canary-tenant"; const kept = []; setInterval(() => kept.push(Buffer.alloc(1048576, 1)), 1);`;
  const foreign = start(others, [process.execPath, "-e", leak]);
  expect((await once(foreign, "exit"))[1]).toBe("SIGKILL");
  const killed = once(child, "exit");
  child.stdin.write("leak");
  expect((await killed)[1]).toBe("SIGKILL");
  const { reports, text } = await pack("after");

  expect(reports.reports).toHaveLength(1);
  expect(reports.othersDropped).toBeGreaterThanOrEqual(1);
  const report = reports.reports[0];
  expect(report).toMatchObject({ podUid: ours.uid, containerId: ours.id, limitBytes: LIMIT, global: false });
  expect(report?.victim?.pid).toBe(child.pid);
  expect(off(report?.stat["anon"] ?? 0, LIMIT)).toBeLessThan(0.05);
  expect(off(report?.victim?.anonRssBytes ?? 0, report?.stat["anon"] ?? 0)).toBeLessThan(0.05);

  // The secrets were there to be taken.
  const log: string[] = [];
  await readKernelLog("/dev/kmsg", (record) => log.push(record.text));
  expect(log.some((line) => line.includes("task=canary-tenant,"))).toBe(true);
  for (const secret of secrets) expect(holding.text + text).not.toContain(secret);
  // A short host name may be part of a word.
  expect(holding.text + text).not.toMatch(new RegExp(`\\b${hostname().replaceAll(/[^\w-]/g, ".")}\\b`));
});
