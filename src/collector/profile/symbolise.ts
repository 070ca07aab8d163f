/**
 * The step without rights: `perf script` unwinds stacks and finds names in files that the target chose. It is a process of its own, with a user
 * id that nobody else has and therefore no capability, with limits on memory, time and files, and with no variable of ours. Whatever happens to
 * it, the recording is worth something: then the innermost place of each sample is told as library and offset.
 */
import { chmod } from "node:fs/promises";
import type { Clock, Random } from "../../seams.ts";
import { runChild, type ChildEnd } from "./child.ts";
import type { Executable } from "./mappings.ts";
import { createScriptParser, lostSamples, type RawSample } from "./script.ts";

export interface SymboliseOptions {
  /** Holds perf.data and the copies of the target's files. */
  readonly folder: string;
  /** Of the copies, relative to the folder. */
  readonly symbols: string;
  /** Whether we may become another user. A person who runs this without root has no rights to lose. */
  readonly root: boolean;
  readonly deadlineMs: number;
  readonly executables: ReadonlyMap<number, readonly Executable[]>;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

export interface Symbolised {
  readonly lost: number;
  /** Lines that made no sense. */
  readonly unread: number;
  /** Why there are no stacks and no names; absent when there are. */
  readonly failure?: string;
}

/** Of symbol tables and unwind tables of the target; perf itself needs about 60 MiB of address space. */
const ADDRESS_SPACE_BYTES = 512 * 2 ** 20;
const CPU_SECONDS = 30;
/** Pipes are not counted; perf writes nothing else. */
const FILE_BYTES = 4096;
/** User ids from here on belong to nobody: containers and systemd take theirs below (systemd's docs/UIDS-GIDS.md). */
const FIRST_UID = 1_879_048_192;

/** Hands each sample to `onSample`, after a failure from the start again, with `restart` called before. */
export async function symbolise(
  options: SymboliseOptions,
  onSample: (sample: RawSample) => void,
  restart: () => void,
): Promise<Symbolised> {
  if (options.root) {
    // The folder can be passed but not listed, and its name is random: the raw stacks are for this one process.
    await chmod(`${options.folder}/perf.data`, 0o644);
    await chmod(options.folder, 0o711);
  }
  const full = await script(options, ["--symfs", options.symbols], onSample);
  if (full.end.code === 0) return { lost: lostSamples(full.end.stderr), unread: full.unread };
  restart();
  const failure = failureOf(full.end);
  // No stacks, no file of the target: only where the processor was, which the recording itself says.
  const bare = await script(options, ["--symfs", "/nonexistent", "-G"], (sample) =>
    onSample(relative(sample, options.executables)),
  );
  return { lost: lostSamples(bare.end.stderr), unread: bare.unread, failure };
}

async function script(
  options: SymboliseOptions,
  how: readonly string[],
  onSample: (sample: RawSample) => void,
): Promise<{ readonly end: ChildEnd; readonly unread: number }> {
  const parser = createScriptParser(onSample);
  const seconds = Math.ceil(options.deadlineMs / 1000);
  const perf = [
    "perf",
    "script",
    "-f",
    "-i",
    "perf.data",
    "--no-inline",
    ...how,
    "-F",
    "pid,tid,event,period,ip,sym,dso",
  ];
  const end = await runChild({
    command: ["setpriv", ...identity(options), "timeout", "-s", "KILL", String(seconds), "prlimit", ...LIMITS, ...perf],
    cwd: options.folder,
    // Somewhat later than its own, which it cannot fail to hear: we may not kill another user's process.
    deadlineMs: options.deadlineMs + 2_000,
    clock: options.clock,
    signal: options.signal,
    onLine: (line) => parser.line(line),
  });
  return { end, unread: parser.end().unread };
}

const LIMITS = [
  `--as=${ADDRESS_SPACE_BYTES}`,
  `--cpu=${CPU_SECONDS}`,
  `--fsize=${FILE_BYTES}`,
  "--nofile=256",
  "--core=0",
  "--nproc=8",
];

/** A user that is not root has no capability in any set that counts; with no_new_privs no program can give it one. */
function identity(options: SymboliseOptions): string[] {
  if (!options.root) return ["--no-new-privs"];
  const id = FIRST_UID + Math.floor(options.random.next() * 2 ** 24);
  return [`--reuid=${id}`, `--regid=${id}`, "--clear-groups", "--no-new-privs", "--inh-caps=-all"];
}

function failureOf(end: ChildEnd): string {
  if (end.timedOut || end.code === 137 || end.code === undefined) return "it took too long, or was killed";
  if (end.code === 127) return "setpriv, prlimit, timeout or perf is not installed";
  return `perf script ended with code ${end.code}`;
}

/** Addresses become places in files, by the mappings as they were when the recording ended. */
function relative(sample: RawSample, executables: SymboliseOptions["executables"]): RawSample {
  const frames = sample.frames.flatMap(({ ip }) => {
    const at = Number.parseInt(ip, 16);
    const mapping = executables.get(sample.pid)?.find(({ start, end }) => at >= start && at < end);
    const place = mapping === undefined ? ip : (at - mapping.start + mapping.offset).toString(16);
    return [{ ip: place, symbol: undefined, dso: mapping?.path }];
  });
  return { ...sample, frames };
}
