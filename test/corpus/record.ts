/**
 * `make corpus`: runs the cases and records each as a pack, two at a time, with the collector as it ships. `make corpus CASES="idle thrash"`
 * records only those. Root, gcc and a memory hierarchy are needed: those of v1 go into packs/, those of v2 into packs-v2/ (`make corpus-v2`
 * runs it in a guest). `--packs=FOLDER` puts them elsewhere.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { hostname, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { openPack } from "../../src/evidence/pack.ts";
import { systemClock as clock, systemRandom } from "../../src/seams.ts";
import { CASES } from "./cases.ts";
import { type Case, USUAL } from "./case.ts";
import { textOf } from "./packs.ts";
import { HOME, type Lane, MEMORY, openLane, PROGRAMS, removeLeftCgroups, V2 } from "./lane.ts";

/** Cases that run beside each other; more of them disturb each other on a small machine. A guest under software emulation has no time to spare. */
const LANES = V2 ? 1 : Number(process.env["LANES"] ?? 2);
/** Half as many samples in such a guest. */
const SLOWER = V2 ? 2 : 1;
const LEAST_SAMPLES = 0.9;
const here = import.meta.dirname;
const FOLDER = process.argv.find((word) => word.startsWith("--packs="))?.slice("--packs=".length);
const PACKS = FOLDER ?? join(here, V2 ? "packs-v2" : "packs");
const C_PROGRAMS = ["heap", "shapes", "sharing", "kernel", "files", "variants", "unseen"] as const;
const SCRIPTS = ["heap.mjs", "worker.py", "variants.mjs", "variants.py"] as const;
/** Frame pointers and no inlining: a function of the label is a function of the program. */
const C_FLAGS = ["-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-inline", "-fno-omit-frame-pointer"];

function build(): void {
  rmSync(PROGRAMS, { recursive: true, force: true });
  mkdirSync(PROGRAMS, { recursive: true });
  for (const name of C_PROGRAMS) {
    const source = join(here, "programs", `${name}.c`);
    execFileSync("gcc", [...C_FLAGS, "-pthread", source, "-o", join(PROGRAMS, name), "-lm"], { stdio: "inherit" });
  }
  for (const script of SCRIPTS) copyFileSync(join(here, "programs", script), join(PROGRAMS, script));
  const source = (name: string): string => join(here, "programs", name);
  // With its debug information a Go program holds the path of whoever built it.
  if (has("go"))
    execFileSync("go", [
      "build",
      "-trimpath",
      "-ldflags=-s -w",
      "-o",
      join(PROGRAMS, "variants.go"),
      source("variants.go"),
    ]);
  if (has("javac")) execFileSync("javac", ["-d", PROGRAMS, source("Variants.java")]);
  place(process.execPath, "node");
  const python = pythonBinary();
  if (python !== undefined) place(python, "python3");
  for (const { as, run } of CASES.flatMap(({ programs }) => programs))
    if (as !== undefined && !/\.(?:mjs|py|java)$/.test(run) && existsSync(join(PROGRAMS, run)))
      place(join(PROGRAMS, run), as);
}

function has(tool: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, tool)));
}

/** Under a neutral path, without a second copy where that can be. */
function place(file: string, name: string): void {
  const at = join(PROGRAMS, name);
  if (existsSync(at)) return;
  try {
    linkSync(file, at);
  } catch {
    copyFileSync(file, at);
  }
}

/** Debian's own: it finds its library wherever its binary lies, and its paths are everybody's. */
function pythonBinary(): string | undefined {
  return existsSync("/usr/bin/python3") ? realpathSync("/usr/bin/python3") : undefined;
}

/** Undefined: the machine has it. */
function missing({ needs }: Case): string | undefined {
  if (needs === "swap" && readFileSync("/proc/swaps", "utf8").trim().split("\n").length < 2) return "no swap is on";
  if (needs === "cgroup v2" && !V2) return "the memory hierarchy is of cgroup v1";
  if (needs === "python3" && pythonBinary() === undefined) return "there is no /usr/bin/python3";
  if ((needs === "go" || needs === "java") && V2) return "a guest is too slow to build it";
  if (needs === "go" && !has("go")) return "there is no Go toolchain";
  if (needs === "java" && !has("javac")) return "there is no JDK";
  const huge = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (needs === "huge pages" && (!existsSync(huge) || readFileSync(huge, "utf8").includes("[never]")))
    return "transparent huge pages are off";
  return undefined;
}

/** Whether it was recorded, or cannot be on this machine; what went wrong is told. */
async function recorded(one: Case): Promise<boolean> {
  const lacking = missing(one);
  if (lacking !== undefined) {
    console.log(`  ${one.name}: skipped: ${lacking}`);
    return true;
  }
  try {
    await record(one);
    return true;
  } catch (error) {
    console.error(`  ${one.name}: failed: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

async function record(one: Case): Promise<void> {
  const lane = await openLane(systemRandom.hex(4), one);
  try {
    await lane.begun();
    await clock.sleep((one.settleSeconds ?? USUAL.settleSeconds) * 1000, stop.signal);
    const unfinished = join(HOME, `${one.name}.tar.zst`);
    await collect(one, lane, unfinished);
    await checkWhole(one, unfinished);
    if (lane.problems.length > 0) throw new Error(lane.problems.join("; "));
    const file = join(PACKS, `${one.name}.tar.zst`);
    copyFileSync(unfinished, file);
    chmodSync(file, 0o644);
    rmSync(unfinished);
    console.log(`  ${one.name}: ${Math.round(statSync(file).size / 1024)} KiB`);
  } finally {
    await lane.close();
  }
}

/** On a busy machine a sample may come too late and be left out, as in an incident. Throws where more than that is missing. */
async function checkWhole({ profile }: Case, file: string): Promise<void> {
  const pack = await openPack(file);
  const { ok, problems } = await pack.verify();
  if (!ok || pack.manifest === undefined) throw new Error(`the pack is not whole: ${problems.join("; ")}`);
  if (profile === true && !pack.parts.some(({ kind }) => kind === "profile"))
    throw new Error("there is no profile in it: see oomscope perf-check");
  const text = await textOf(file);
  // "root" is everybody's, and stands in every archive.
  for (const name of [hostname(), userInfo().username].filter((own) => own !== "root"))
    if (new RegExp(`\\b${name}\\b`).test(text)) throw new Error(`the pack names "${name}", and must not`);
  const { samples, samplesExpected, skipped } = pack.manifest;
  if (samples < LEAST_SAMPLES * samplesExpected)
    throw new Error(`${samples} of ${samplesExpected} samples: the machine was too busy; record it again`);
  for (const { what, reason, detail = "" } of skipped) console.log(`    left out: ${what}: ${reason} ${detail}`);
}

function collect(one: Case, { cgroups, hold, target }: Lane, file: string): Promise<void> {
  const { seconds = USUAL.seconds, intervalSeconds = USUAL.intervalSeconds } = one;
  const oomscope = [process.execPath, join(here, "../../src/cli/main.ts"), "pack", "--cgroup", target];
  const options = ["--interval", `${intervalSeconds * SLOWER}s`, "--duration", `${seconds}s`, "--file", file];
  // A guest has nothing to hide.
  const view = V2 ? [] : ["unshare", "--mount", join(here, "view.sh"), hold, MEMORY, ...cgroups, "--"];
  const command = ["-n", "19", ...view, ...oomscope, ...options];
  const child = spawn("nice", one.profile === true ? [...command, "--profile"] : command, {
    stdio: ["ignore", "ignore", process.env["VERBOSE"] === undefined ? "ignore" : "inherit"],
  });
  collectors.add(child);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    // Its exit code tells of the verdict as well; what counts is the pack.
    child.on("exit", () => {
      collectors.delete(child);
      resolve();
    });
  });
}

/** Collections that run now, and the word that everything is to end: each lane then closes itself. */
const collectors = new Set<ChildProcess>();
const stop = new AbortController();

function stopAll(): void {
  stop.abort(new Error("told to stop"));
  for (const child of collectors) child.kill("SIGKILL");
}

function choose(names: readonly string[]): readonly Case[] {
  const unknown = names.filter((name) => !CASES.some((one) => one.name === name));
  if (unknown.length > 0) throw new Error(`there is no case ${unknown.join(", ")}; test/corpus/cases has all of them`);
  return names.length === 0 ? CASES : CASES.filter(({ name }) => names.includes(name));
}

/** A node takes one profile at a time: where only cases that want one are left, the lane that takes one has them all. */
function next(queue: Case[], profiling: boolean): Case | undefined {
  const at = profiling ? queue.findIndex(({ profile }) => profile !== true) : 0;
  return at < 0 ? undefined : queue.splice(at, 1)[0];
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("root is needed: memory cgroups are made and removed");
  if (!V2 && !existsSync(join(MEMORY, "memory.limit_in_bytes")))
    throw new Error(`${MEMORY} is no memory hierarchy: the corpus is recorded on one`);
  if (existsSync(HOME))
    throw new Error(`${HOME} is there already: another recording runs, or one was ended hard; then remove it`);
  const queue = [...choose(process.argv.slice(2).filter((word) => !word.startsWith("--")))];
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, stopAll);
  mkdirSync(dirname(PROGRAMS), { recursive: true });
  mkdirSync(PACKS, { recursive: true });
  const failed: string[] = [];
  try {
    await removeLeftCgroups();
    build();
    const busy = new Set<Case>();
    const take = (): Case | undefined => {
      const profiling = [...busy].some(({ profile }) => profile === true);
      return stop.signal.aborted ? undefined : next(queue, profiling);
    };
    const lane = async (): Promise<void> => {
      for (let one = take(); one !== undefined; one = take()) {
        busy.add(one);
        if (!(await recorded(one))) failed.push(one.name);
        busy.delete(one);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  } finally {
    rmSync(HOME, { recursive: true, force: true });
  }
  if (stop.signal.aborted) process.exitCode = 130;
  else if (failed.length > 0) process.exitCode = 1;
}

await main().catch((error: unknown) => {
  console.error(`make corpus: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
