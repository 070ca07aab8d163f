/**
 * The privileged step: counts for a moment, then records with the real `perf`, bounded in time, rate and size. It opens no file of the target and
 * resolves no name (`-B -N`). What can go wrong with perf ends as a reason, never as an exception.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { plainName } from "../../api/profile.ts";
import type { Clock } from "../../seams.ts";
import { runChild, type ChildEnd } from "./child.ts";

export interface RecordOptions {
  /** Asked before each run of perf: between two of them a pid may be given to somebody else. */
  readonly pids: () => Promise<readonly number[]>;
  readonly durationMs: number;
  readonly frequencyHz: number;
  readonly unwinding: "dwarf" | "fp";
  /** Private to us; perf.data is written there. */
  readonly folder: string;
  /** A file of the node that every collector sees: whoever holds its lock profiles, the others leave it. */
  readonly lockFile: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Recording {
  readonly data: string;
  readonly bytes: number;
  readonly durationMs: number;
  readonly pagePeriod: number;
  readonly frequencyHz: number;
  /** Perf stopped at the size it may write. */
  readonly truncated: boolean;
}

export interface RecordRefusal {
  readonly reason: string;
  readonly detail: string;
}

/** Whatever a policy says. */
export const MAX_DURATION_MS = 60_000;
const COUNT_MS = 2_000;
const STACK_BYTES = 8192;
/** With registers and header. */
const SAMPLE_BYTES = STACK_BYTES + 512;
const MAX_DATA_BYTES = 64 * 2 ** 20;
/** For all samples of one event; leaves room for bursts, which the count before may not have seen. */
const DATA_BUDGET_BYTES = 20 * 2 ** 20;
const MAX_SAMPLES_PER_SECOND = 150;
/**
 * Page faults come in bursts: a new buffer of 1 MiB is 256 of them within a millisecond, and one ring holds 60 samples. Measured on the real node: where the
 * count before saw few, so that every fault was sampled, 44 % of the samples were lost. A thousand samples in a profile are plenty.
 */
const MAX_FAULT_SAMPLES_PER_SECOND = 50;
/** In pages, for each CPU: all that perf_event_mlock_kb (516) allows without IPC_LOCK. */
const RING_PAGES = 128;
/** Exit code of `flock` when another holds the lock. */
const LOCKED = 75;
const END_MS = 10_000;

/** How often to sample, from what a short count has seen. @param faultsPerSecond and @param busyCpus of all processes together */
export function ratesFor(
  faultsPerSecond: number,
  busyCpus: number,
  durationMs: number,
  wantedHz: number,
  unwinding: "dwarf" | "fp",
): { readonly pagePeriod: number; readonly frequencyHz: number } {
  const affordable = DATA_BUDGET_BYTES / SAMPLE_BYTES / Math.max(1, durationMs / 1000);
  const perSecond = Math.max(1, Math.min(MAX_SAMPLES_PER_SECOND, affordable));
  const dwarfHz = Math.max(1, Math.floor(perSecond / Math.max(1, busyCpus)));
  return {
    pagePeriod: Math.max(1, Math.ceil(faultsPerSecond / Math.min(perSecond, MAX_FAULT_SAMPLES_PER_SECOND))),
    // Without a copy of the stack a sample is a hundred bytes.
    frequencyHz: unwinding === "fp" ? wantedHz : Math.min(wantedHz, dwarfHz),
  };
}

/** Lines of `perf stat -x,`: value, unit, event, … A count that perf could not make is no number. */
export function parseCounts(text: string): { readonly faults: number; readonly cpuMs: number } {
  const value = (event: string): number => {
    const line = text.split("\n").find((candidate) => candidate.split(",")[2]?.startsWith(event) === true);
    const number = Number(line?.split(",")[0]);
    return Number.isFinite(number) && number > 0 ? number : 0;
  };
  return { faults: value("page-faults"), cpuMs: value("cpu-clock") };
}

const GONE: RecordRefusal = { reason: "ProcessGone", detail: "every process ended before perf could look at it" };

export async function record(options: RecordOptions): Promise<Recording | RecordRefusal> {
  const durationMs = Math.min(options.durationMs, MAX_DURATION_MS);
  const first = (await options.pids()).join(",");
  if (first === "") return GONE;
  const counted = await perf(
    options,
    ["stat", "-x,", "-e", "page-faults,cpu-clock", "-p", first, "--timeout", String(COUNT_MS)],
    COUNT_MS + END_MS,
  );
  if (counted.code !== 0) return refusalOf(counted);
  const { faults, cpuMs } = parseCounts(counted.stderr);
  const seconds = COUNT_MS / 1000;
  const rates = ratesFor(faults / seconds, cpuMs / COUNT_MS, durationMs, options.frequencyHz, options.unwinding);
  const pids = await options.pids();
  if (pids.length === 0) return GONE;
  const from = options.clock.monotonicMs();
  const ended = await perf(options, recordArguments(options, pids, rates, durationMs), durationMs + END_MS);
  const took = options.clock.monotonicMs() - from;
  const data = join(options.folder, "perf.data");
  const bytes = (await stat(data).catch(() => undefined))?.size ?? 0;
  if (ended.code !== 0 || bytes === 0) return refusalOf(ended);
  const truncated = bytes >= MAX_DATA_BYTES * 0.95 || took < durationMs * 0.9;
  return { data, bytes, durationMs: Math.min(took, durationMs), truncated, ...rates };
}

function recordArguments(
  options: RecordOptions,
  pids: readonly number[],
  rates: { readonly pagePeriod: number; readonly frequencyHz: number },
  durationMs: number,
): string[] {
  // No build-ids (-B) and no cache of them (-N): for both perf would open the target's files with all our rights.
  // Stacks for all events alike: perf unwinds nothing when only one of them copies stacks, because it then leaves data mappings out.
  const stacks = options.unwinding === "dwarf" ? `dwarf,${STACK_BYTES}` : "fp";
  const size = `${MAX_DATA_BYTES / 2 ** 20}M`;
  const events = [`cpu-clock/freq=${rates.frequencyHz}/`, `page-faults/period=${rates.pagePeriod}/`];
  return (
    `record -q -B -N -o perf.data --max-size ${size} -m ${RING_PAGES} -e ${events.join(" -e ")} --call-graph ${stacks} ` +
    `--user-callchains -p ${pids.join(",")} -- sleep ${durationMs / 1000}`
  ).split(" ");
}

async function perf(options: RecordOptions, args: readonly string[], deadlineMs: number): Promise<ChildEnd> {
  return runChild({
    command: [
      "flock",
      "--nonblock",
      "--close",
      "--conflict-exit-code",
      String(LOCKED),
      options.lockFile,
      "perf",
      ...args,
    ],
    cwd: options.folder,
    deadlineMs,
    clock: options.clock,
    signal: options.signal,
  });
}

const MESSAGES: readonly (readonly [RegExp, string])[] = [
  [/mlock|pinned memory/i, "MlockLimit"],
  [/permission|not permitted|paranoid|access to performance/i, "NoPermission"],
  [/too many (?:open files|events)/i, "TooManyThreads"],
  [
    /no such process|failed to (?:open|read) .*\/task|can't find task|Invalid.*-p|couldn't create thread/i,
    "ProcessGone",
  ],
  [/no space left/i, "NoSpace"],
  [/not supported/i, "NotSupported"],
];

/** Perf's own ways to fail, as reasons. The words of perf go with them: they name what it wanted. */
export function refusalOf(ended: ChildEnd): RecordRefusal {
  const words = ended.stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^[.-]*$/.test(line) && line !== "Error:")
    .slice(0, 3)
    .map(plainName)
    .join(" ");
  if (ended.code === LOCKED) return { reason: "Busy", detail: "another profile is being taken on this node" };
  if (ended.timedOut) return { reason: "TimedOut", detail: "perf did not end in time and was stopped" };
  if (ended.code === 127) return { reason: "NoPerf", detail: "perf, flock or sleep is not installed" };
  const reason = MESSAGES.find(([pattern]) => pattern.test(ended.stderr))?.[1] ?? "RecordFailed";
  return { reason, detail: words === "" ? `perf ended with code ${ended.code ?? "none"} and said nothing` : words };
}
