/**
 * Targets that want to harm the collector or to be taken for somebody else, on the real kernel of this machine, without a cluster. Beside each stands a
 * victim, another tenant's pod full of canaries: nothing of it may get into the attacker's pack, and its own numbers must stay right. Needs root, perf
 * and gcc. The attacks are in fixtures/hostile/hostile.c; docs/security.md has a row for each.
 */
import { type ChildProcessByStdio, execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, writeSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { performance } from "node:perf_hooks";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { CollectionPlan, Manifest, ProcessReading, Sample } from "../../src/api/collection.ts";
import type { MappingSnapshot } from "../../src/api/mappings.ts";
import { Profile } from "../../src/api/profile.ts";
import { collect } from "../../src/collector/collect.ts";
import { createDirectorySink } from "../../src/collector/directorysink.ts";
import { createMembership } from "../../src/collector/membership.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { FIXTURES, planOf } from "./nodetree.ts";

const KIB = 1024;
const MIB = 2 ** 20;
const run = promisify(execFile);
const v1 = existsSync("/sys/fs/cgroup/memory/memory.stat");
const memory = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
const top = join(memory, `oomscope-hostile-${systemRandom.hex(4)}`);
/** In the victim's name, memory, files, arguments and environment. */
const CANARY = "canary";
/**
 * What a collection may take longer than planned, whatever the target does: 512 processes at 2 ms, one snapshot at its patience of 2 s, another at
 * 20 s at most, and as much again for a machine with two busy CPUs.
 */
const SLACK_MS = 30_000;

let folder = "";
let program = "";
let tests = 0;
let attacker: Container;
let victim: Container;
let victimPid = 0;
const children: ChildProcessByStdio<Writable, Readable, null>[] = [];

interface Container {
  readonly uid: string;
  readonly id: string;
  /** Its cgroup. */
  readonly path: string;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-hostile-"));
  program = join(folder, "hostile");
  await run("gcc", ["-O1", "-static", "-pthread", "-o", program, join(FIXTURES, "hostile", "hostile.c")]);
});

beforeEach(async () => {
  tests += 1;
  [attacker, victim] = [await newContainer(), await newContainer()];
  const files = join(folder, `victim-${tests}`);
  await mkdir(files);
  victimPid = (await start(victim, ["victim", files], { API_TOKEN: `${CANARY}-environ` })).pid ?? 0;
});

afterEach(async () => {
  children.splice(0);
  for (const { path } of [attacker, victim]) await clear(path);
});

afterAll(async () => {
  await clear(top);
  await rm(folder, { recursive: true, force: true });
});

async function newContainer(): Promise<Container> {
  const hex = systemRandom.hex(16);
  const uid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  const id = systemRandom.hex(32);
  const path = join(top, "kubepods", "burstable", `pod${uid}`, id);
  await makeCgroup(path);
  return { uid, id, path };
}

async function makeCgroup(path: string): Promise<void> {
  const levels: string[] = [];
  for (let at = path; at !== memory; at = dirname(at)) levels.unshift(at);
  for (const level of levels) {
    if (!v1) await writeFile(join(dirname(level), "cgroup.subtree_control"), "+memory");
    if (!existsSync(level)) await mkdir(level);
  }
}

/** Kills all that is in a cgroup and below it, however fast it forks, and removes the folders. By relative paths: some are too deep for others. */
async function clear(path: string): Promise<void> {
  const script = `find . -name cgroup.procs -execdir sh -c 'while read -r pid; do kill -9 "$pid"; done < cgroup.procs' \\; 2>/dev/null
    find . -depth -mindepth 1 -type d -execdir rmdir {} \\; 2>/dev/null; true`;
  for (let i = 0; i < 200 && existsSync(path); i++) {
    await run("sh", ["-c", script], { cwd: path });
    await rmdir(path).catch(() => undefined);
    if (existsSync(path)) await systemClock.sleep(20);
  }
}

/** One attack, in the container from its first instruction on, once it says that it stands; `ready` times. */
async function start(
  { path }: Pick<Container, "path">,
  attack: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  ready = 1,
) {
  const script = `echo $$ > cgroup.procs && cd / && exec "$@"`;
  const child = spawn("sh", ["-c", script, "sh", program, ...attack], {
    cwd: path,
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"], ...environment },
  });
  children.push(child);
  await new Promise<void>((resolve, reject) => {
    let lines = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      lines += chunk.toString().split("\n").length - 1;
      if (lines >= ready) resolve();
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`${attack.join(" ")} did not stand`)));
  });
  return child;
}

const podOf = ({ uid, id }: Container): CollectionPlan["pods"][number] => ({
  namespace: "n",
  name: "p",
  uid,
  role: "Preserved",
  containers: [{ name: "app", id }],
});

interface Collected {
  readonly manifest: Manifest;
  readonly samples: readonly Sample[];
  readonly snapshots: readonly MappingSnapshot[];
  readonly profiles: readonly Profile[];
  readonly text: string;
}

/** A collection of the containers, opened and verified as any reader would. */
async function collected(
  containers: readonly Container[],
  changes: Partial<CollectionPlan> = {},
  onSample: (sample: Sample) => void = () => undefined,
): Promise<Collected> {
  const directory = await mkdtemp(join(folder, "pack-"));
  const from = performance.now();
  await collect({
    plan: planOf({
      intervalMs: 200,
      durationMs: 400,
      stallBudgetMs: 5000,
      pods: containers.map(podOf),
      ...changes,
    }),
    roots: { proc: "/proc", cgroup: "/sys/fs/cgroup", kmsg: "/dev/kmsg" },
    sink: await createDirectorySink(directory),
    clock: systemClock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal: new AbortController().signal,
    usage: () => ({ cpuMs: 0, peakRssBytes: 0 }),
    onSample,
    profiling: { random: systemRandom, workFolder: folder },
  });
  return opened(directory, performance.now() - from);
}

async function opened(directory: string, tookMs: number): Promise<Collected> {
  const pack = await openPack(directory);
  const samples: Sample[] = [];
  for await (const sample of pack.samples()) samples.push(sample);
  const snapshots: MappingSnapshot[] = [];
  for await (const snapshot of pack.mappings()) snapshots.push(snapshot);
  expect(pack.problems).toEqual([]);
  expect(await pack.verify()).toEqual({ ok: true, problems: [] });
  const { manifest } = pack;
  if (manifest === undefined) throw new Error("the pack has no manifest");
  expect(tookMs).toBeLessThan(manifest.plan.durationMs + SLACK_MS);
  const names = await readdir(directory);
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), "utf8")));
  const profiles = texts.filter((_, i) => names[i]?.startsWith("profile-") === true);
  return {
    manifest,
    samples,
    snapshots,
    profiles: profiles.map((text) => Profile.parse(JSON.parse(text))),
    text: texts.join("\n"),
  };
}

/** It has gone to its end and lost nothing. On a busy machine fewer samples fit into the time, which the manifest tells. */
function expectUnhindered({ samples, samplesExpected, skipped, outcome, parts }: Manifest): void {
  expect(outcome).toBe(samples < samplesExpected ? "Partial" : "Complete");
  expect(samples).toBeGreaterThan(0);
  expect(parts.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["readings", "mappings", "oom-reports"]));
  expect(skipped.filter(({ reason }) => reason === "Interrupted")).toEqual([]);
}

function processesOf(sample: Sample | undefined, { uid, id }: Container): readonly ProcessReading[] {
  const pod = sample?.pods.find((each) => each.uid === uid);
  return pod?.containers.find((each) => each.id === id)?.processes ?? [];
}

/** The victim alone is in its container, with the memory that it took: by its cgroup, its status, and its page tables. */
function expectVictimWhole(sample: Sample | undefined): void {
  const pod = sample?.pods.find(({ uid }) => uid === victim.uid);
  expect(pod?.containers.map(({ id }) => id)).toEqual([victim.id]);
  const [only, ...others] = processesOf(sample, victim);
  expect(others).toEqual([]);
  expect(only).toMatchObject({ pid: victimPid, comm: "canary-victim" });
  const anon = pod?.containers[0]?.cgroup.kinds.anon ?? 0;
  for (const bytes of [anon, only?.status["RssAnon"], only?.rollup?.["Pss_Anon"]])
    expect(Math.abs((bytes ?? 0) - 16 * MIB)).toBeLessThan(MIB);
}

const byName = (processes: readonly ProcessReading[], comm: string): readonly ProcessReading[] =>
  processes.filter((process) => process.comm === comm);

test("names that break parsers, stopped and dead processes, a main thread that has ended: each is told as what it is", async () => {
  await start(attacker, ["names"], {}, 15);
  const states = await start(attacker, ["states"]);
  const leader = await start(attacker, ["leader"]);
  const { samples, snapshots, manifest, text } = await collected([attacker]);
  expectUnhindered(manifest);
  expect(text).not.toContain(CANARY);
  const processes = processesOf(samples[0], attacker);

  // The kernel keeps 15 bytes of a name; half a character becomes the sign for one that cannot be read.
  const odd = [
    ") R 1 (",
    "x) Z 1 1 1 (y",
    "a\nVmRSS: 9 kB",
    "\u001b[31mred\u001b[0m",
    "a\r\nNSpid:\t7",
    "((((",
    "))))",
    "",
  ];
  odd.push("ééééééé�", "���", "7f00-8000 rw-p", "</script>", "=cmd|'/C'!A0", "\u202eevil", "a;b;c 7");
  for (const comm of odd.map((name) => (name === "���" ? /^�{3,4}$/ : name))) {
    const found = processes.filter((process) =>
      typeof comm === "string" ? process.comm === comm : comm.test(process.comm),
    );
    expect(found, JSON.stringify(String(comm))).toHaveLength(1);
    const [process] = found;
    for (const bytes of [process?.status["RssAnon"], process?.rollup?.["Pss_Anon"]]) {
      expect(bytes).toBeGreaterThanOrEqual(MIB);
      expect(bytes).toBeLessThan(2 * MIB);
    }
    expect(process?.innerPid).toBe(process?.pid);
  }

  // Memory outlives the thread that gave the process its number.
  const headless = processes.find(({ pid }) => pid === leader.pid);
  expect(readFileSync(`/proc/${leader.pid}/stat`, "utf8")).toContain(") Z ");
  for (const bytes of [headless?.status["RssAnon"], headless?.rollup?.["Pss_Anon"]])
    expect(bytes).toBeGreaterThanOrEqual(24 * MIB);
  const mapped = snapshots[0]?.processes.find(({ pid }) => pid === leader.pid);
  expect(mapped?.totals.Anonymous).toBeGreaterThanOrEqual(24 * MIB);
  expect(headless?.descriptors?.open).toBeGreaterThanOrEqual(3);

  const [stopped, ...rest] = processes.filter(
    ({ ppid, status }) => ppid === states.pid && status["VmRSS"] !== undefined,
  );
  expect(rest).toEqual([]);
  expect(stopped?.rollup?.["Pss_Anon"]).toBeGreaterThanOrEqual(4 * MIB);
  // A zombie has no memory. Cgroup v1 does not list it any more, v2 does.
  const zombies = processes.filter(({ ppid, status }) => ppid === states.pid && status["VmRSS"] === undefined);
  expect(zombies.length).toBeLessThanOrEqual(1);
  for (const zombie of zombies) expect(zombie).toMatchObject({ threads: 1, status: {} });
  expect(snapshots[0]?.processes.every(({ totals }) => (totals.Rss ?? 0) > 0)).toBe(true);
});

test("a nested cgroup with the victim's uid and container id stays the attacker's, and the victim's numbers stay its own", async () => {
  const inside = ["kubepods", "burstable", `pod${victim.uid}`, victim.id];
  const pretended: (number | undefined)[] = [];
  for (const path of [join(attacker.path, ...inside), join(dirname(attacker.path), `pod${victim.uid}`, victim.id)]) {
    await makeCgroup(path);
    pretended.push((await start({ path }, ["names"], {}, 15)).pid);
  }
  const of = await collected([attacker, victim]);
  expect(of.samples.length).toBeGreaterThan(1);
  expectVictimWhole(of.samples[0]);
  const pids = processesOf(of.samples[0], attacker).map(({ pid }) => pid);
  expect(pids).toContain(pretended[0]);
  expect(pids).not.toContain(victimPid);
  // Beside the container, in the pod's own cgroup, is no container.
  expect(pids).not.toContain(pretended[1]);
  for (const snapshot of of.snapshots)
    for (const process of snapshot.processes) expect(process.podUid === victim.uid).toBe(process.pid === victimPid);
  expect((await collected([attacker])).text).not.toContain(CANARY);
  await clear(join(dirname(attacker.path), `pod${victim.uid}`));
});

test("cgroups nested beyond the longest path hide their process, which is told, and stop nobody else's collection", async () => {
  // Its path is cut off in /proc/PID/cgroup, or cannot be read there at all, of whatever process of the node it is asked.
  await start(attacker, ["deep", attacker.path]);
  await start(attacker, ["names"], {}, 15);

  const both = await collected([attacker, victim]);
  expectUnhindered(both.manifest);
  expectVictimWhole(both.samples[0]);
  expect(processesOf(both.samples[0], attacker)).toHaveLength(16);
  expect(both.manifest.skipped).toContainEqual(
    expect.objectContaining({ what: `cgroups in container ${attacker.id}`, reason: "TooMany" }),
  );
  // A collector with a pid namespace of its own finds its processes by asking all of the node.
  const membership = createMembership("/proc", { version: v1 ? 1 : 2, root: memory }, systemClock);
  const owner = { podUid: victim.uid, containerId: victim.id };
  expect(await membership.pidsOf("/no/such/cgroup", owner)).toMatchObject({ pids: [victimPid] });
});

test("20,000 mappings, and files under the kernel's own names: the sums are those of the kernel, and no name gets out", async () => {
  const files = join(folder, `maps-${tests}`);
  await mkdir(files);
  const { pid = 0 } = await start(attacker, ["maps", files, "20000"]);
  const times = { intervalMs: 2000, durationMs: 2000 };
  const { snapshots, samples, text, manifest } = await collected([attacker], times);
  expectUnhindered(manifest);
  const mapped = snapshots[0]?.processes.find((process) => process.pid === pid);
  if (mapped === undefined) throw new Error("the map was not read");
  const smaps = await readFile(`/proc/${pid}/smaps`, "utf8");
  const headers = smaps.split("\n").filter((line) => /^[0-9a-f]+-[0-9a-f]+ /.test(line));
  expect(mapped.mappings).toBe(headers.length);
  expect(mapped.mappings).toBeGreaterThan(20_000);
  expect(mapped.unparsedLines).toBe(0);
  const kernelRss = [...smaps.matchAll(/^Rss: +(\d+) kB$/gm)].reduce((sum, [, kb]) => sum + Number(kb) * KIB, 0);
  expect(mapped.totals.Rss).toBe(kernelRss);
  expect(samples[0]?.pods[0]?.containers[0]?.processes[0]?.rollup?.["Rss"]).toBe(kernelRss);
  // Those that the kernel itself calls so, and none of the files.
  const rows = (kind: string): number => mapped.classes.find((row) => row.class === kind)?.mappings ?? 0;
  const named = (name: string): number =>
    headers.filter((line) => line.endsWith(` ${name}`) && !line.includes("/")).length;
  expect(rows("Heap")).toBe(named("[heap]"));
  expect(rows("MainStack")).toBe(named("[stack]"));
  expect(mapped.names.filter(({ class: kind }) => kind === "File" || kind === "Library").length).toBeGreaterThanOrEqual(
    12,
  );
  for (const { name } of mapped.names) expect(name).toMatch(/^(?:~[0-9a-f]{12}|lib\.so)$/);
  for (const word of [CANARY, "title", "a;b", "x\\ny", "[heap]", "99999999", "/maps-"])
    expect(text).not.toContain(word);
});

test("1,000 processes and a fork storm: bounded, counted, and the victim beside them is measured as ever", async () => {
  await start(attacker, ["crowd", "1000"]);
  await start(attacker, ["storm"]);
  const { samples, snapshots, manifest } = await collected([attacker, victim], { durationMs: 1000, intervalMs: 500 });
  for (const sample of samples) {
    const container = sample.pods[0]?.containers[0];
    expect(container?.processes.length).toBeLessThanOrEqual(512);
    expect(container?.processesOmitted).toBeGreaterThanOrEqual(488);
    // In a pid namespace of their own they have numbers of their own, and none of those is taken for a pid.
    expect(container?.processes.some(({ pid, innerPid }) => innerPid !== undefined && innerPid < pid)).toBe(true);
    expect(processesOf(sample, victim).map(({ pid }) => pid)).toEqual([victimPid]);
  }
  expectVictimWhole(samples[0]);
  for (const snapshot of snapshots) expect(snapshot.processes.length).toBeLessThanOrEqual(32);
  expect(snapshots[0]?.processesOmitted).toBeGreaterThan(400);
  expect(snapshots[0]?.processes.some(({ pid }) => pid === victimPid)).toBe(true);
  // What is told of single processes is bounded as well.
  expect(manifest.skipped.length).toBeLessThan(80);
  expect(manifest.skipped).toContainEqual(expect.objectContaining({ what: "mappings", reason: "TooMany" }));
  expect(manifest.cost.stallMs).toBeLessThan(5000);
});

test("a process that calls execve all the time is read whole or not at all", async () => {
  const { pid = 0 } = await start(attacker, ["execs"]);
  const { samples, snapshots } = await collected([attacker], { durationMs: 2000, intervalMs: 100 });
  for (const sample of samples) for (const process of processesOf(sample, attacker)) expect(process.pid).toBe(pid);
  for (const { processes, skipped, processesOmitted } of snapshots) {
    expect(processes.length + skipped.length + processesOmitted).toBeLessThanOrEqual(1);
    for (const { reason } of skipped) expect(["Replaced", "Gone"]).toContain(reason);
    // Both images are a static program, and no more than 8 MiB of one of them.
    for (const { totals, unparsedLines } of processes) {
      expect(unparsedLines).toBe(0);
      expect(totals.Anonymous).toBeLessThan(9 * MIB);
    }
  }
});

test("a pid that is given to the victim between sample and snapshot: not one word of the victim is read for it", async () => {
  const procs = join(victim.path, "cgroup.procs");
  const files = join(folder, `reused-${tests}`);
  await mkdir(files);
  const child = await start(attacker, ["reuse", procs, program, "victim", files]);
  let pid = 0;
  const { samples, snapshots, text } = await collected([attacker], { durationMs: 600 }, (sample) => {
    if (pid !== 0) return;
    pid = byName(processesOf(sample, attacker), "shortlived")[0]?.pid ?? 0;
    // The snapshot of this sample comes next, and nothing else may come before: so the exchange is made here and now.
    const stdin = (child.stdin as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
    writeSync(stdin, "x");
    for (let i = 0; i < 5000 && commOf(pid) !== "canary-victim\n"; i++) execFileSync("true");
  });
  expect(pid).toBeGreaterThan(0);
  expect(commOf(pid)).toBe("canary-victim\n");
  expect(await readFile(procs, "utf8")).toMatch(new RegExp(`^${pid}$`, "m"));
  expect(samples.length).toBeGreaterThan(1);
  for (const sample of samples.slice(1))
    expect(processesOf(sample, attacker).map((process) => process.pid)).toEqual([child.pid]);
  expect(snapshots[0]?.skipped).toContainEqual(expect.objectContaining({ pid, reason: "Gone" }));
  for (const snapshot of snapshots) expect(snapshot.processes.every((process) => process.pid !== pid)).toBe(true);
  expect(text).not.toContain(CANARY);
});

function commOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8");
  } catch {
    return "";
  }
}

test("a profile of a static program in a root of its own: files that are not what they were, a map that lies, a link that flips", async () => {
  const root = join(folder, "root");
  const outside = join(folder, "outside");
  for (const path of [root, outside]) await mkdir(path, { mode: 0o755 });
  // If a link were followed, this is where it leads; its build-id would tell.
  const id = "feedfacecafebeef0123456789abcdef01234567";
  const source = "int canary_outside(int x) { return x + 1; }\n";
  await writeFile(join(outside, "lib.c"), source);
  const library = ["-shared", `-Wl,--build-id=0x${id}`, "-o", join(outside, "lib.so"), join(outside, "lib.c")];
  await run("gcc", library);
  // And these would leave a mark if anything of the target were executed.
  const mark = join(folder, "executed");
  await mkdir(join(root, "bin"));
  for (const name of ["perf", "sh", "addr2line", "objdump", "setpriv", "debuginfod-find"])
    await writeFile(join(root, "bin", name), `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });

  await run("chmod", ["0755", folder]);
  const { pid = 0 } = await start(attacker, ["root", root, outside]);
  const profile = { durationMs: 4000, frequencyHz: 99 };
  const changes = { durationMs: 6000, intervalMs: 500, profile };
  let of = await collected([attacker], changes);
  // A collector of a cluster on this machine may be taking a profile just now.
  for (let i = 0; i < 10 && of.manifest.skipped.some(({ reason }) => reason === "Busy"); i++)
    of = await collected([attacker], changes);

  expect(of.manifest.skipped.filter(({ what }) => what.startsWith("profile"))).toEqual([]);
  expect(of.text).not.toContain(CANARY);
  expect(of.text).not.toContain(id);
  expect(of.text).not.toContain(root);
  expect(existsSync(mark)).toBe(false);
  expect((await readdir(folder)).filter((name) => name.startsWith("oomscope-profile-"))).toEqual([]);

  const growth = of.profiles.find(({ kind }) => kind === "Growth");
  expect(growth?.processes.map((process) => process.pid)).toContain(pid);
  expect(growth?.samples).toBeGreaterThan(20);
  // Every place that memory was touched from is there; those in files as library and offset, that of the map as a claim.
  const libraries = new Set(growth?.frames.map(({ library: name }) => name));
  for (const name of ["bites.so", "link.so", "pipe.so", "huge.so"]) expect([...libraries]).toContain(name);
  const claims = growth?.frames.filter(({ claimed }) => claimed === true).map((frame) => frame.function);
  expect(claims).toContain("claimed\\x3bby\\x1b[31m\\x202ethe target");
  expect(growth?.notes).toContainEqual(expect.stringContaining("a map that the program wrote itself"));
  expect(growth?.notes).toContainEqual(expect.stringMatching(/lines of the perf map of process \d+ were not usable/));
  for (const reason of ["Link", "NotRegular", "TooLarge"])
    expect(growth?.notes).toContainEqual(expect.stringContaining(`files of the target were not read: ${reason}`));
});

test("all of it at once, by the command line as a process of its own: its memory and its time stay bounded", async () => {
  const files = join(folder, `maps-${tests}`);
  await mkdir(files);
  await start(attacker, ["maps", files, "20000"]);
  await start(attacker, ["names"], {}, 15);
  await start(attacker, ["leader"]);
  await start(attacker, ["crowd", "1000"]);
  await start(attacker, ["storm"]);
  const output = join(folder, "pack-cli");
  const main = join(import.meta.dirname, "..", "..", "src", "cli", "main.ts");
  const times = ["--interval", "1s", "--duration", "4s"];
  const from = performance.now();
  await run(process.execPath, [main, "collect", "--cgroup", attacker.path, ...times, "--output", output]).catch(
    // Inconclusive, or fewer samples than planned: both are honest.
    (error: { readonly code?: unknown }) => expect([3, 4]).toContain(error.code),
  );
  const { manifest, samples, text } = await opened(output, performance.now() - from);
  expect(text).not.toContain(CANARY);
  // What the storm ends between the listing and the reading is missing in it.
  const read = samples[0]?.local?.processes.length;
  expect(read).toBeLessThanOrEqual(512);
  expect(read).toBeGreaterThan(480);
  expect(samples[0]?.local?.processesOmitted).toBeGreaterThan(488);
  // What the Job without a profile may use.
  expect(manifest.cost.peakRssBytes).toBeLessThan(160 * MIB);
});
