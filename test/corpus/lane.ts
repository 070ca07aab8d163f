/**
 * Where does one case run? In memory cgroups and a folder of its own, which are taken away again whatever happens. Needs root and a memory
 * hierarchy, of cgroup v1 or v2.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { systemClock as clock } from "../../src/seams.ts";
import { type Case, MAX_LIMIT_MIB, type Program } from "./case.ts";

/** Everything of the corpus that could show in a pack lies below this neutral path. */
export const HOME = "/opt/corpus";
export const PROGRAMS = join(HOME, "bin");
export const V2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
export const MEMORY = V2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
const SHARED_MEMORY = "/dev/shm";
const MIB = 1024 * 1024;
const GONE_WITHIN_MS = 20_000;
const BEGUN_WITHIN_MS = 30_000;

export interface Lane {
  /** Below the hierarchy's root: what is recorded. */
  readonly target: string;
  /** The top-level cgroups of this lane. */
  readonly cgroups: readonly string[];
  /** An empty folder for the recorder's view. */
  readonly hold: string;
  /** Why a program could not be started or ended by itself; kills are no reason. */
  readonly problems: readonly string[];
  /** Until every program has begun in its cgroup: on a slow machine it takes seconds to load one. */
  begun(): Promise<void>;
  /** Ends what runs in the lane, and takes its cgroups and files away. */
  close(): Promise<void>;
}

/**
 * @param id a new one each time: the kernel's log holds reports of kills for hours, and those of another recording are not of this one. Throws what the file system throws; nothing is left behind then
 */
export async function openLane(id: string, one: Case): Promise<Lane> {
  const { limitMiB, target, sharedLimit, programs } = one;
  if (limitMiB > MAX_LIMIT_MIB) throw new RangeError(`a limit of ${limitMiB} MiB is more than ${MAX_LIMIT_MIB} MiB`);
  const own = `corpus-${id}`;
  const neighbour = `neighbour-${id}`;
  const work = join(HOME, `work-${id}`);
  const memory = join(SHARED_MEMORY, own);
  const hold = join(HOME, `view-${id}`);
  const cgroupOf = ({ in: place }: Program): string =>
    place === "neighbour" ? neighbour : place === undefined ? own : join(own, place);
  const children = new Set<ChildProcess>();
  const problems: string[] = [];
  let open = true;

  function start(program: Program): void {
    const child = startIn(join(MEMORY, cgroupOf(program)), work, program, memory);
    children.add(child);
    child.on("error", ({ message }) => problems.push(`${program.run}: ${message}`));
    child.on("exit", (code, signal) => {
      children.delete(child);
      if (!open) return;
      // A killed child of a shell-less exec has a signal; an exit code is a program that gave up.
      if (signal === null) problems.push(`${program.run} ended with code ${code}`);
      const { restartAfterSeconds } = program;
      if (restartAfterSeconds !== undefined)
        clock.after(restartAfterSeconds * 1000, () => {
          if (open) start(program);
        });
    });
  }

  async function begun(): Promise<void> {
    const deadline = clock.monotonicMs() + BEGUN_WITHIN_MS;
    for (const place of new Set(programs.map(cgroupOf)))
      while (readFileSync(join(MEMORY, place, "cgroup.procs"), "utf8") === "") {
        if (clock.monotonicMs() > deadline) throw new Error(`nothing runs in ${place}`);
        await clock.sleep(50);
      }
  }

  async function close(): Promise<void> {
    open = false;
    for (const cgroup of [own, neighbour]) await removeCgroup(join(MEMORY, cgroup));
    for (const folder of [work, memory, hold]) rmSync(folder, { recursive: true, force: true });
  }

  try {
    for (const folder of [work, memory, hold]) mkdirSync(folder, { recursive: true });
    for (const cgroup of new Set([own, ...programs.map(cgroupOf)])) makeCgroup(cgroup);
    const limited = target === undefined || sharedLimit === true ? own : join(own, target);
    setLimit(join(MEMORY, limited), one);
    if (existsSync(join(MEMORY, neighbour))) setLimit(join(MEMORY, neighbour), { limitMiB: MAX_LIMIT_MIB });
    programs.forEach(start);
  } catch (error) {
    await close();
    throw error;
  }
  const cgroups = [own, neighbour].filter((cgroup) => existsSync(join(MEMORY, cgroup)));
  return { target: join("/", own, target ?? ""), cgroups, hold, problems, begun, close };
}

/** On v2 a cgroup has a controller only where its parent hands it down, and then no process of the parent's own. */
function makeCgroup(cgroup: string): void {
  mkdirSync(join(MEMORY, cgroup), { recursive: true });
  const parent = dirname(cgroup);
  if (V2 && parent !== ".") writeFileSync(join(MEMORY, parent, "cgroup.subtree_control"), "+memory");
}

/** Without a word on swap there is none, as Kubernetes has it. */
function setLimit(
  cgroup: string,
  { limitMiB, highMiB, swapMiB = 0 }: Pick<Case, "limitMiB" | "highMiB" | "swapMiB">,
): void {
  if (!V2) return writeFileSync(join(cgroup, "memory.limit_in_bytes"), String(limitMiB * MIB));
  writeFileSync(join(cgroup, "memory.max"), String(limitMiB * MIB));
  writeFileSync(join(cgroup, "memory.swap.max"), String(swapMiB * MIB));
  if (highMiB !== undefined) writeFileSync(join(cgroup, "memory.high"), String(highMiB * MIB));
}

/** The shell moves itself into the cgroup and becomes the program, so that no page of it is charged elsewhere. */
function startIn(cgroup: string, work: string, { run, as, args }: Program, memory: string): ChildProcess {
  const words = args.map((word) => word.replace(/^MEMORY\//, `${memory}/`));
  const command = [...commandOf(run, as), ...words];
  return spawn("sh", ["-c", 'echo $$ >"$0/cgroup.procs" && exec nice -n 19 "$@"', cgroup, ...command], {
    cwd: work,
    stdio: ["ignore", "ignore", "inherit"],
    env: { PATH: process.env["PATH"] ?? "" },
  });
}

/** A runtime with its script, a JVM with its class, or a program itself, under the name that it is to have. */
function commandOf(run: Program["run"], as: string | undefined): readonly string[] {
  // A JVM finds its library only beside its own binary, and has a heap of a size that is known.
  if (run === "Variants.java") return ["java", "-Xmx300m", "-XX:+UseSerialGC", "-cp", PROGRAMS, "Variants"];
  const isScript = run.endsWith(".mjs") || run.endsWith(".py");
  return [join(PROGRAMS, as ?? run), ...(isScript ? [join(PROGRAMS, run)] : [])];
}

/** What a recorder that was ended hard has left. */
export async function removeLeftCgroups(): Promise<void> {
  for (const name of readdirSync(MEMORY))
    if (/^(?:corpus|neighbour)-[0-9a-f]{8}$/.test(name)) await removeCgroup(join(MEMORY, name));
}

async function removeCgroup(cgroup: string): Promise<void> {
  if (!existsSync(cgroup)) return;
  const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of below) await removeCgroup(join(cgroup, name));
  const deadline = clock.monotonicMs() + GONE_WITHIN_MS;
  for (;;) {
    // Only those that are in this cgroup now, by their ids.
    for (const pid of readFileSync(join(cgroup, "cgroup.procs"), "utf8").split("\n").filter(Boolean)) kill(Number(pid));
    try {
      rmdirSync(cgroup);
      return;
    } catch (error) {
      if (clock.monotonicMs() > deadline) throw error;
      await clock.sleep(50);
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}
