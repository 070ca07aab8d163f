/**
 * What /proc says of the node and of one process. The parsers take text and never throw: a line that they do not understand is left
 * out. Units of the kernel (kB, pages, ticks) become bytes or stay what their name says.
 */
import type { NodeReading, Pressure, ProcessReading } from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { isDenied, isGone, listFolder, readText, ReadTimedOut, tryReadText, within } from "./hostfiles.ts";

const SMALL = 64 * 1024;
const KIB = 1024;
/** A process whose status does not come within this time is in trouble that we must not share. */
const READ_TIMEOUT_MS = 2_000;

/** `Name:   123 kB` lines (meminfo, status, smaps_rollup) in bytes; lines without kB as the number they hold. */
export function parseFields(text: string): Record<string, number> {
  const fields: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z0-9_()]{1,40}):\s+(\d{1,15})(?: (kB))?\s*$/.exec(line);
    if (match?.[1] !== undefined) fields[match[1]] = clamp(Number(match[2]) * (match[3] === "kB" ? KIB : 1));
  }
  return fields;
}

/** `name 123` lines (vmstat, memory.stat, memory.events). */
export function parseFlat(text: string): Record<string, number> {
  const fields: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const match = /^([a-z0-9_.]{1,60}) (\d{1,19})$/.exec(line);
    if (match?.[1] !== undefined) fields[match[1]] = clamp(Number(match[2]));
  }
  return fields;
}

/** Numbers beyond 2^53 (limits that mean "none") are cut to the largest safe one. */
function clamp(value: number): number {
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

/** PSI, as in Documentation/accounting/psi.rst; undefined when the text has no `some` line. */
export function parsePressure(text: string): Pressure | undefined {
  const lines = new Map<string, Pressure["some"]>();
  for (const line of text.split("\n")) {
    const match = /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)/.exec(line);
    if (match?.[1] === undefined) continue;
    lines.set(match[1], {
      avg10: Number(match[2]),
      avg60: Number(match[3]),
      avg300: Number(match[4]),
      totalUs: clamp(Number(match[5])),
    });
  }
  const some = lines.get("some");
  const full = lines.get("full");
  if (some === undefined) return undefined;
  return full === undefined ? { some } : { some, full };
}

const VMSTAT =
  /^(pgfault|pgmajfault|pswpin|pswpout|oom_kill|workingset_|pgscan_|pgsteal_|allocstall|thp_fault_alloc|nr_free_pages)/;

export async function readNode(proc: string): Promise<NodeReading> {
  const [meminfo, vmstat, pressure] = await Promise.all([
    readText(`${proc}/meminfo`, SMALL),
    readText(`${proc}/vmstat`, SMALL),
    tryReadText(`${proc}/pressure/memory`, SMALL),
  ]);
  const psi = parsePressure(pressure ?? "");
  return {
    meminfo: parseFields(meminfo),
    vmstat: Object.fromEntries(Object.entries(parseFlat(vmstat)).filter(([name]) => VMSTAT.test(name))),
    ...(psi === undefined ? {} : { pressure: psi }),
  };
}

export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly ppid: number;
  readonly comm: string;
  readonly state: string;
  readonly threads: number;
  /** Time of all its threads in user mode, in ticks of 10 ms (USER_HZ); undefined: the line was cut off before. */
  readonly utime?: number;
}

/**
 * /proc/PID/stat (proc(5)). The name stands in parentheses and may hold anything, parentheses and newlines too: what follows is
 * counted from the last one.
 */
export function parseStat(text: string): ProcessIdentity | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < open) return undefined;
  const rest = text.slice(close + 2).split(" ");
  const pid = Number(text.slice(0, open).trim());
  const [state, ppid, threads, startTicks] = [rest[0], Number(rest[1]), Number(rest[17]), Number(rest[19])];
  if (state === undefined || ![pid, ppid, threads, startTicks].every(Number.isSafeInteger)) return undefined;
  const utime = Number(rest[11]);
  return {
    pid,
    ppid,
    state,
    threads,
    startTicks,
    ...(Number.isSafeInteger(utime) && utime >= 0 ? { utime } : {}),
    comm: text.slice(open + 1, close).slice(0, 64),
  };
}

const STATUS_FIELDS = ["VmSize", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmSwap", "VmPTE", "VmHWM"] as const;

export function parseStatus(text: string): {
  readonly sizes: Record<string, number>;
  readonly innerPid: number | undefined;
} {
  const fields = parseFields(text);
  const sizes: Record<string, number> = {};
  for (const name of STATUS_FIELDS) {
    const value = fields[name];
    if (value !== undefined) sizes[name] = value;
  }
  // The name of the process stands in the same file, so only a whole line counts.
  const inner = /^NSpid:((?:\t\d+)+)$/m.exec(text)?.[1]?.split("\t").at(-1);
  return { sizes, innerPid: inner === undefined ? undefined : Number(inner) };
}

const ROLLUP_FIELDS =
  /^(Pss|Pss_Anon|Pss_File|Pss_Shmem|Private_Clean|Private_Dirty|Shared_Clean|Shared_Dirty|Anonymous|AnonHugePages|Swap|SwapPss|Rss)$/;

export function parseRollup(text: string): Record<string, number> {
  return Object.fromEntries(Object.entries(parseFields(text)).filter(([name]) => ROLLUP_FIELDS.test(name)));
}

/** Where in /proc the memory of a process is told: its own folder, or that of a thread which lives on after the main thread has ended. */
export type ProcessFolder = string | number;

export type ReadProcess = ProcessReading & {
  /** Of the thread that was read. */
  readonly state: string;
  /** Below /proc. */
  readonly folder: ProcessFolder;
};

/** Threads that are looked at for one that lives. */
const MAX_THREADS = 64;

/**
 * A main thread that has ended is a zombie and tells no memory (proc(5)), while its threads still hold all of it. @returns the folder to read instead,
 * and the state of that thread; undefined: nobody lives
 */
export async function livingFolder(
  proc: string,
  main: Pick<ProcessIdentity, "pid" | "state" | "threads">,
): Promise<{ readonly folder: ProcessFolder; readonly state: string } | undefined> {
  if (main.state !== "Z") return { folder: main.pid, state: main.state };
  if (main.threads <= 1) return undefined;
  for (const name of (await listFolder(`${proc}/${main.pid}/task`)).slice(0, MAX_THREADS)) {
    if (!/^[1-9]\d{0,9}$/.test(name)) continue;
    const folder = `${main.pid}/task/${name}`;
    const state = parseStat((await tryReadText(`${proc}/${folder}/stat`, SMALL)) ?? "")?.state;
    if (state !== undefined && state !== "Z" && state !== "X") return { folder, state };
  }
  return undefined;
}

/** Whether a pid is still the same process's. One that has ended is nobody's. */
export async function isStill(proc: string, { pid, startTicks }: Pick<ProcessIdentity, "pid" | "startTicks">) {
  return parseStat((await tryReadText(`${proc}/${pid}/stat`, SMALL)) ?? "")?.startTicks === startTicks;
}

/** One process without its rollup; undefined when it is gone. A kernel thread or a zombie has no memory of its own, and no sizes. */
export async function readProcess(proc: string, pid: number, clock: Clock): Promise<ReadProcess | undefined> {
  try {
    const before = parseStat(await within(readText(`${proc}/${pid}/stat`, SMALL), READ_TIMEOUT_MS, clock));
    if (before === undefined) return undefined;
    const living = await livingFolder(proc, { ...before, pid });
    const folder = living?.folder ?? pid;
    const status = parseStatus(await within(readText(`${proc}/${folder}/status`, SMALL), READ_TIMEOUT_MS, clock));
    const after = parseStat(await within(readText(`${proc}/${pid}/stat`, SMALL), READ_TIMEOUT_MS, clock));
    // The pid was given to somebody else between the reads.
    if (after?.startTicks !== before.startTicks) return undefined;
    return {
      pid,
      startTicks: before.startTicks,
      ppid: before.ppid,
      // A thread has a number of its own.
      ...(status.innerPid === undefined || folder !== pid ? {} : { innerPid: status.innerPid }),
      comm: before.comm,
      threads: before.threads,
      ...(after.utime === undefined ? {} : { utime: after.utime }),
      status: status.sizes,
      state: living?.state ?? before.state,
      folder,
    };
  } catch (error) {
    if (isGone(error) || isDenied(error) || error instanceof ReadTimedOut) return undefined;
    throw error;
  }
}

export type Rollup =
  | { readonly sizes: Record<string, number>; readonly ms: number }
  | { readonly skipped: string; readonly ms: number };

/**
 * /proc/PID/smaps_rollup of exactly this incarnation. Walks the page tables under the target's mmap lock: ask the cost gate first.
 * @param onHeld gets a read that was not answered in time; it resolves when the kernel lets go of it
 */
export async function readRollup(
  proc: string,
  process: Pick<ReadProcess, "pid" | "startTicks"> & Partial<Pick<ReadProcess, "folder">>,
  clock: Clock,
  onHeld: (ending: Promise<unknown>) => void = () => undefined,
): Promise<Rollup> {
  const from = clock.monotonicMs();
  const reading = readText(`${proc}/${process.folder ?? process.pid}/smaps_rollup`, SMALL);
  const took = (): number => clock.monotonicMs() - from;
  try {
    const text = await within(reading, READ_TIMEOUT_MS, clock);
    const ms = took();
    const after = parseStat(await within(readText(`${proc}/${process.pid}/stat`, SMALL), READ_TIMEOUT_MS, clock));
    if (after?.startTicks !== process.startTicks) return { skipped: "Gone", ms };
    return { sizes: parseRollup(text), ms };
  } catch (error) {
    if (isGone(error)) return { skipped: "Gone", ms: took() };
    if (isDenied(error)) return { skipped: "NoPermission", ms: took() };
    if (error instanceof ReadTimedOut) {
      onHeld(reading.catch(() => undefined));
      return { skipped: "TimedOut", ms: took() };
    }
    throw error;
  }
}

/** When the machine was started, by its wall clock, in milliseconds since the epoch. */
export async function bootTimeMs(proc: string): Promise<number | undefined> {
  const match = /^btime (\d+)$/m.exec((await tryReadText(`${proc}/stat`, 4 * 1024 * KIB)) ?? "");
  return match === null ? undefined : Number(match[1]) * 1000;
}
