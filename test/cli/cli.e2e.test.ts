/**
 * The command line as it ships, on real processes and a real cgroup of this machine: what it finds, how it ends, and what it does where it may not
 * read, cannot write, or is stopped. Needs root and the staged build (`make stage`); no cluster. Everything lies in folders of its own.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Manifest, Sample } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { EXIT } from "../../src/cli/command.ts";
import type { Scene } from "../../src/cli/scenecommand.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

const MIB = 2 ** 20;
const NOBODY = 65_534;
const root = join(import.meta.dirname, "..", "..");
const v1 = existsSync("/sys/fs/cgroup/memory/memory.stat");
const memory = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
const cgroupName = `oomscope-cli-${systemRandom.hex(4)}`;
const cgroup = join(memory, cgroupName);
const shell = promisify(execFile);

/** Takes 1 MiB of anonymous memory each second, and touches it. */
const LEAK = "const kept = []; setInterval(() => kept.push(Buffer.alloc(128 * 1024, 1)), 125);";
const IDLE = "setInterval(() => undefined, 1000);";

const children: ChildProcess[] = [];
let folder = "";
let node = "";
let main = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-cli-"));
  await chmod(folder, 0o755);
  const staged = join(root, "build", "collector");
  if (!existsSync(join(staged, "dist", "cli", "main.js"))) throw new Error("there is no staged build: run make stage");
  // Where any user can read it, unlike perhaps the checkout.
  await cp(staged, join(folder, "oomscope"), { recursive: true });
  node = join(folder, "node");
  await cp(process.execPath, node);
  main = join(folder, "oomscope", "dist", "cli", "main.js");
  await mkdir(cgroup);
  if (!v1) await writeFile(join(memory, "cgroup.subtree_control"), "+memory");
  await writeFile(join(cgroup, v1 ? "memory.limit_in_bytes" : "memory.max"), String(512 * MIB));
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  // The kernel lets go of a cgroup a moment after its last process.
  for (let i = 0; i < 50 && existsSync(cgroup); i++) {
    await rmdir(cgroup).catch(() => undefined);
    await systemClock.sleep(100);
  }
  await rm(folder, { recursive: true, force: true });
  expect(existsSync(cgroup)).toBe(false);
});

/** A process of ours, which is ended with the tests. @param into the cgroup that it is in from its first instruction on */
async function start(script: string, into?: string): Promise<ChildProcess & { readonly pid: number }> {
  const move = into === undefined ? "" : `echo $$ > ${into}/cgroup.procs && `;
  const child = spawn("sh", ["-c", `${move}exec "$@"`, "sh", node, "-e", `${script} process.stdout.write("ready");`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  await once(child.stdout, "data");
  if (child.pid === undefined) throw new Error("the process could not be started");
  return Object.assign(child, { pid: child.pid });
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when this was said on standard error. */
  said(pattern: RegExp): Promise<void>;
}

function launch(command: string, args: readonly string[]): Running {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "" },
    cwd: folder,
  });
  children.push(child);
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, out, err }));
  return {
    child,
    ended,
    said: async (pattern) => {
      const end = async (): Promise<void> => {
        const { code } = await ended;
        if (!pattern.test(err)) throw new Error(`it ended with ${code} and never said ${pattern.source}: ${err}`);
      };
      const early = end();
      while (!pattern.test(err)) await Promise.race([once(child.stderr, "data"), early]);
    },
  };
}

const oomscope = (...args: string[]): Running => launch(node, [main, ...args]);
/** As a user without any right. */
const asNobody = (...args: string[]): Running =>
  launch("setpriv", [
    `--reuid=${NOBODY}`,
    `--regid=${NOBODY}`,
    "--clear-groups",
    "--inh-caps=-all",
    node,
    main,
    ...args,
  ]);

interface Opened {
  readonly manifest: Manifest | undefined;
  readonly samples: readonly Sample[];
  readonly intact: boolean;
}

async function open(directory: string): Promise<Opened> {
  const pack = await openPack(directory);
  const samples: Sample[] = [];
  for await (const sample of pack.samples()) samples.push(sample);
  expect(pack.problems).toEqual([]);
  return { manifest: pack.manifest, samples, intact: (await pack.verify()).ok };
}

test("a process and a bare cgroup that leak: whole packs, true numbers, and the leak named", async () => {
  const plain = await start(LEAK);
  const inside = await start(LEAK, cgroup);
  const times = ["--interval", "5s", "--duration", "75s"];
  const [ofProcess, ofCgroup] = [join(folder, "of-process"), join(folder, "of-cgroup")];
  const runs = [
    oomscope("collect", "--pid", String(plain.pid), ...times, "--output", ofProcess),
    oomscope("collect", "--cgroup", cgroupName, ...times, "--output", ofCgroup),
  ] as const;
  const [first, second] = await Promise.all([runs[0].ended, runs[1].ended]);
  const usageNow = Number(await readFile(join(cgroup, v1 ? "memory.usage_in_bytes" : "memory.current"), "utf8"));
  // Buffers lie beside the heap of V8, and its own mapping stands still.
  for (const { out } of [first, second]) expect(out).toContain("NativeLeakInManagedRuntime (V8)");
  expect(first.code).toBe(EXIT.done);
  expect(second).toMatchObject({ code: EXIT.done, out: expect.stringContaining(`Cgroup ${cgroupName} gains`) });
  // oxlint-disable-next-line no-control-regex
  for (const { out, err } of [first, second]) expect(`${out}${err}`).not.toMatch(/\u001b/);

  const pack = await open(ofCgroup);
  expect(pack.intact).toBe(true);
  expect(pack.manifest).toMatchObject({
    outcome: "Complete",
    samples: 16,
    plan: { local: { kind: "Cgroup", path: `/${cgroupName}` } },
  });
  const last = pack.samples.at(-1)?.local;
  expect(last?.processes.map(({ pid }) => pid)).toEqual([inside.pid]);
  expect(last?.cgroup?.limitBytes).toBe(512 * MIB);
  // The leak went on for a moment after the last sample.
  expect(Math.abs(usageNow - (last?.cgroup?.usageBytes ?? 0))).toBeLessThan(16 * MIB);
  // Pss is not read in every sample where that is dear.
  const read = pack.samples.findLast(({ local }) => local?.processes[0]?.rollup !== undefined)?.local;
  const [anon, mapped] = [read?.cgroup?.kinds.anon ?? 0, read?.processes[0]?.rollup?.["Pss_Anon"] ?? 0];
  expect(Math.abs(anon - mapped) / anon).toBeLessThan(0.1);

  const found = Finding.parse(JSON.parse((await oomscope("analyze", ofCgroup, "--output", "json").ended).out));
  expect(found.culprit).toMatchObject({ container: cgroupName, process: { pid: inside.pid } });
  expect(found.growth?.bytesPerSecond).toBeGreaterThan(0.7 * MIB);
  expect(found.growth?.bytesPerSecond).toBeLessThan(1.3 * MIB);
  expect(found.timeToOOMSeconds?.mid).toBeGreaterThan(60);

  const alone = await open(ofProcess);
  expect(alone.intact).toBe(true);
  expect(
    alone.samples.every(({ local }) => local?.processes.length === 1 && local.life.startsWith(`${plain.pid}/`)),
  ).toBe(true);
});

test("one file holds it all, with a profile where perf may run, and says when it is broken", async () => {
  const leaking = await start(LEAK, cgroup);
  const file = join(folder, "all.tar.zst");
  const times = ["--interval", "1s", "--duration", "6s"];
  const run = oomscope("pack", "--pid", String(leaking.pid), ...times, "--profile", "--file", file);
  const { code, err } = await run.ended;
  expect(err).toMatch(/all\.tar\.zst: \d+ parts/);
  expect(code).toBe(EXIT.inconclusive);
  const { manifest, samples, intact } = await open(file);
  expect(intact).toBe(true);
  expect(samples).toHaveLength(7);
  const kinds = new Set(manifest?.parts.map(({ kind }) => kind));
  expect([...kinds]).toEqual(expect.arrayContaining(["host", "readings", "mappings", "oom-reports"]));
  // A profile, or the reason why there is none.
  expect(kinds.has("profile") || manifest?.skipped.some(({ what }) => what === "profile")).toBe(true);
  expect(await oomscope("pack", "verify", file).ended).toMatchObject({ code: EXIT.done });
  expect(await oomscope("growth", file).ended).toMatchObject({
    code: EXIT.done,
    out: expect.stringMatching(/\+\d+(\.\d)? MiB of memory that it holds, in \d+ s/),
  });
  await writeFile(file, (await readFile(file)).subarray(0, 2000));
  expect(await oomscope("pack", "verify", file).ended).toMatchObject({ code: EXIT.failed });
  leaking.kill("SIGKILL");
});

test("the collector's image writes a report, and says that it has no code for clusters", async () => {
  const pack = join(root, "test", "fixtures", "report", "kills.tar.zst");
  const report = await oomscope("report", pack, "--output", "-").ended;
  expect(report).toMatchObject({ code: EXIT.done, out: expect.stringMatching(/^<!doctype html>/) });
  const list = await oomscope("list").ended;
  expect(list).toMatchObject({
    code: EXIT.failed,
    err: expect.stringContaining("This oomscope has no code for clusters"),
  });
});

test("cgroup shows the kernel's own numbers", async () => {
  const idle = await start(IDLE, cgroup);
  const { code, out } = await oomscope("cgroup", "--cgroup", cgroup, "--output", "json").ended;
  expect(code).toBe(EXIT.done);
  const shown = JSON.parse(out) as { stat: Record<string, number>; limitBytes: number; workingSetBytes: number };
  const stat = await readFile(join(cgroup, "memory.stat"), "utf8");
  expect(shown.limitBytes).toBe(512 * MIB);
  // What no process gives back while nothing else runs in it.
  expect(shown.stat["anon"]).toBeGreaterThan(0);
  expect(
    Math.abs(
      (shown.stat["anon"] ?? 0) - Number(new RegExp(`^${v1 ? "total_rss" : "anon"} (\\d+)$`, "m").exec(stat)?.[1]),
    ),
  ).toBeLessThan(32 * MIB);
  idle.kill("SIGKILL");
});

test("Ctrl-C ends early, with a pack that is valid and says so", async () => {
  const idle = await start(IDLE);
  const output = join(folder, "interrupted");
  const run = oomscope(
    "collect",
    "--pid",
    String(idle.pid),
    "--interval",
    "1s",
    "--duration",
    "10m",
    "--output",
    output,
  );
  await run.said(/3\/601/);
  run.child.kill("SIGINT");
  const { code, err } = await run.ended;
  expect(err).toContain("Ended early: ended by SIGINT.");
  expect(code).toBe(EXIT.partial);
  const { manifest, samples, intact } = await open(output);
  expect(intact).toBe(true);
  expect(samples.length).toBeGreaterThanOrEqual(3);
  expect(manifest).toMatchObject({ outcome: "Partial", samples: samples.length });
  expect(manifest?.skipped).toContainEqual(expect.objectContaining({ reason: "Interrupted" }));
  // What is there is not mixed with another collection.
  const again = await oomscope("collect", "--pid", String(idle.pid), "--output", output).ended;
  expect(again).toMatchObject({ code: EXIT.failed, err: expect.stringContaining("holds a pack already") });
});

test("a target that ends in the middle ends the collection, and one that never was is refused", async () => {
  const brief = await start(IDLE);
  const output = join(folder, "vanished");
  const run = oomscope(
    "collect",
    "--pid",
    String(brief.pid),
    "--interval",
    "1s",
    "--duration",
    "10m",
    "--output",
    output,
  );
  await run.said(/2\/601/);
  brief.kill("SIGKILL");
  const { code, err } = await run.ended;
  expect(err).toContain("Ended early: the target has ended.");
  expect(code).toBe(EXIT.partial);
  const { samples, intact } = await open(output);
  expect(intact).toBe(true);
  expect(samples.at(0)?.local).toBeDefined();
  expect(samples.at(-1)?.local).toBeUndefined();
  const gone = await oomscope("collect", "--pid", String(brief.pid)).ended;
  expect(gone).toMatchObject({ code: EXIT.failed, err: expect.stringContaining(`There is no process ${brief.pid}`) });
});

test("a plain user measures what he may, and is told before what will be missing", async () => {
  const idle = await start(IDLE);
  const home = join(folder, "home");
  await mkdir(home);
  await chown(home, NOBODY, NOBODY);
  const output = join(home, "pack");
  const { code, err } = await asNobody(
    "collect",
    "--pid",
    String(idle.pid),
    "--interval",
    "1s",
    "--duration",
    "3s",
    "--output",
    output,
  ).ended;
  expect(err).toMatch(/Missing: Pss and Uss of 1 of 1 processes/);
  expect(code).toBe(EXIT.inconclusive);
  const { samples } = await open(output);
  const process = samples.at(-1)?.local?.processes[0];
  expect(process).toMatchObject({ pid: idle.pid, rollupSkipped: "NoPermission" });
  expect(process?.status["RssAnon"]).toBeGreaterThan(0);
  const refused = await asNobody("collect", "--pid", String(idle.pid), "--output", join(folder, "not-mine")).ended;
  expect(refused).toMatchObject({
    code: EXIT.failed,
    err: expect.stringContaining("cannot be used as the pack's folder (EACCES)"),
  });
});

test("a full disk ends the collection, and what fits stays a valid pack", async () => {
  const idle = await start(IDLE);
  const disk = join(folder, "disk");
  await mkdir(disk);
  await shell("mount", ["-t", "tmpfs", "-o", "size=32k", "tmpfs", disk]);
  try {
    const output = join(disk, "pack");
    const run = oomscope(
      "collect",
      "--pid",
      String(idle.pid),
      "--interval",
      "1s",
      "--duration",
      "10m",
      "--output",
      output,
    );
    const { code, err } = await run.ended;
    expect(err).toContain("Ended early: there is no room left for the pack.");
    expect(code).toBe(EXIT.partial);
    const { manifest, intact } = await open(output);
    expect(intact).toBe(true);
    expect(manifest?.skipped).toContainEqual(expect.objectContaining({ what: "readings 0", reason: "StorageFull" }));
  } finally {
    await shell("umount", [disk]);
  }
});

test("scene runs for a plain user, and counts as free does", async () => {
  const { code, out } = await asNobody("scene", "--output", "json").ended;
  expect(code).toBe(EXIT.done);
  const scene = JSON.parse(out) as Scene;
  const { stdout } = await shell("free", ["-b"]);
  const [total, used] = (/^Mem:\s+(\d+)\s+(\d+)/m.exec(stdout) ?? []).slice(1).map(Number);
  expect(total).toBeGreaterThan(0);
  expect(scene.free.total).toBe(total);
  expect(Math.abs(scene.free.used - (used ?? 0)) / scene.free.total).toBeLessThan(0.1);
  expect(scene.crowd.withoutPss).toContain("run as root");
  expect((await asNobody("scene").ended).out).toContain("buff/cache");
});

test("on a terminal the view is drawn on a screen of its own, and the terminal is given back", async () => {
  const idle = await start(IDLE);
  const output = join(folder, "on-a-terminal");
  const command = `${node} ${main} collect --pid ${idle.pid} --interval 1s --duration 2s --output ${output}`;
  const { stdout } = await shell("script", ["-qec", command, "/dev/null"], {
    env: { PATH: process.env["PATH"], TERM: "xterm" },
  }).catch((error: unknown) => error as { stdout: string });
  const [enter, leave] = ["\u001b[?1049h", "\u001b[?1049l"];
  expect(stdout.split(enter)).toHaveLength(2);
  expect(stdout.split(leave)).toHaveLength(2);
  const picture = stdout.slice(stdout.indexOf(enter), stdout.indexOf(leave));
  expect(picture).toContain("Ctrl-C ends early");
  expect(picture).toMatch(/3 of 3 samples/);
  expect(stdout.slice(stdout.indexOf(leave))).toContain("The pack lies in");
});
