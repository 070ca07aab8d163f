/** The real kernel of this machine: a cgroup with a limit, a program that leaks into it until it is killed, and a collection meanwhile. Needs root. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OomReports, Sample } from "../../src/api/collection.ts";
import { collect } from "../../src/collector/collect.ts";
import { createDirectorySink } from "../../src/collector/directorysink.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { planOf } from "./nodetree.ts";

const MIB = 2 ** 20;
const LIMIT = 96 * MIB;
const v1 = existsSync("/sys/fs/cgroup/memory/memory.stat");
const memory = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
const hex = systemRandom.hex(16);
const uid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
const id = systemRandom.hex(32);
const top = join(memory, `oomscope-test-${hex.slice(0, 8)}`);
const pod = join(top, "kubepods", "burstable", `pod${uid}`);
const container = join(pod, id);
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-kernel-"));
  await mkdir(container, { recursive: true });
  if (!v1)
    for (const level of [memory, top, join(top, "kubepods"), join(top, "kubepods", "burstable"), pod])
      await writeFile(join(level, "cgroup.subtree_control"), "+memory");
  await writeFile(join(container, v1 ? "memory.limit_in_bytes" : "memory.max"), String(LIMIT));
});

afterAll(async () => {
  for (const path of [container, pod, join(top, "kubepods", "burstable"), join(top, "kubepods"), top])
    await rmdir(path).catch(() => undefined);
  await rm(folder, { recursive: true, force: true });
});

/** Touches 1 MiB each 20 ms, in the cgroup from its first instruction on. */
function leak(): ReturnType<typeof spawn> {
  const program = `const kept=[];setInterval(()=>kept.push(Buffer.alloc(1048576,1)),20)`;
  const script = `echo $$ > ${container}/cgroup.procs && exec "$0" -e "$1"`;
  return spawn("sh", ["-c", script, process.execPath, program], { stdio: "ignore" });
}

async function run(name: string, durationMs: number, intervalMs: number) {
  const directory = join(folder, name);
  const manifest = await collect({
    plan: planOf({
      intervalMs,
      durationMs,
      stallBudgetMs: 2000,
      pods: [{ namespace: "media", name: "p", uid, role: "Preserved", containers: [{ name: "app", id }] }],
    }),
    roots: { proc: "/proc", cgroup: "/sys/fs/cgroup", kmsg: "/dev/kmsg" },
    sink: await createDirectorySink(directory),
    clock: systemClock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal: new AbortController().signal,
    usage: () => ({ cpuMs: 0, peakRssBytes: 0 }),
  });
  const names = (await readdir(directory)).filter((n) => n.startsWith("readings-")).toSorted();
  const lines: string[] = [];
  for (const n of names) lines.push(...(await readFile(join(directory, n), "utf8")).trimEnd().split("\n"));
  const reports = OomReports.parse(JSON.parse(await readFile(join(directory, "oom-reports.json"), "utf8")));
  return { manifest, samples: lines.map((line) => Sample.parse(JSON.parse(line))), reports };
}

test("a leak is seen growing in cgroup and process alike, and the kernel's report of its kill is found", async () => {
  const child = leak();
  const ended = new Promise<string | null>((resolve) => child.on("exit", (_code, signal) => resolve(signal)));
  const { samples, reports, manifest } = await run("while", 4000, 200);
  expect(await ended).toBe("SIGKILL");
  expect(manifest.outcome).toBe("Complete");

  const seen = samples.flatMap((sample) => sample.pods[0]?.containers ?? []).filter((c) => c.processes.length > 0);
  expect(seen.length).toBeGreaterThan(3);
  for (const { cgroup, processes } of seen) {
    const anon = cgroup.kinds.anon ?? 0;
    const ofProcesses = processes.reduce((sum, p) => sum + (p.status["RssAnon"] ?? 0), 0);
    // Read one after the other while it grows by a MiB each 20 ms.
    expect(Math.abs(anon - ofProcesses)).toBeLessThan(16 * MIB);
    expect(cgroup.limitBytes).toBe(LIMIT);
  }
  const anons = seen.map(({ cgroup }) => cgroup.kinds.anon ?? 0);
  expect((anons.at(-1) ?? 0) - (anons[0] ?? 0)).toBeGreaterThan(20 * MIB);
  expect(seen.some(({ processes }) => (processes[0]?.rollup?.["Pss_Anon"] ?? 0) > 0)).toBe(true);

  const own = reports.reports.length > 0 ? reports : (await run("after", 0, 1)).reports;
  expect(own.reports).toHaveLength(1);
  const report = own.reports[0];
  expect(report).toMatchObject({ podUid: uid, containerId: id, limitBytes: LIMIT, constraint: "CONSTRAINT_MEMCG" });
  expect(report?.victim?.pid).toBe(child.pid);
  expect(report?.victim?.anonRssBytes ?? 0).toBeGreaterThan(LIMIT / 2);
  expect(Math.abs(Date.parse(report?.time ?? "") - Date.now())).toBeLessThan(120_000);
});
