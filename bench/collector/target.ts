/** The service that is measured: builds it, starts it, and asks it how a stretch of its load went. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { startCandidate } from "../reflector/candidate.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Others find it by this name: `smem -P`. */
export const TARGET_BINARY = join(ROOT, "build/bench/collector-target");
const FILL_TIMEOUT_MS = 120_000;
const THREADS = 2;

export interface Shape {
  /** Resident, of each process. */
  readonly mib: number;
  readonly mappings: number;
  readonly processes: number;
  /** Operations in a second. */
  readonly rate: number;
}

/** How one stretch of load went. Latencies are in milliseconds and count from when an operation was due. */
export interface Load {
  /** Operations that were due and have been done. */
  readonly operations: number;
  /** Of these a second, those that were done before the stretch was over. */
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** CPU of the target for each operation, in microseconds. */
  readonly cpuUs: number;
}

interface Target {
  readonly pid: number;
  /** At its rate. */
  readonly load: (ms: number) => Promise<Load>;
  /** One thread at full speed; latency is the time that an operation takes. */
  readonly flood: (ms: number) => Promise<Load>;
  stop(): Promise<void>;
}

/** Throws when there is no gcc or it complains; it says why on standard error. */
export function buildTarget(): void {
  mkdirSync(join(TARGET_BINARY, ".."), { recursive: true });
  const source = join(import.meta.dirname, "target.c");
  execFileSync("gcc", ["-O2", "-g", "-pthread", "-Wall", "-Wextra", "-o", TARGET_BINARY, source], { stdio: "inherit" });
}

/** Starts one, gives it to the work when its memory is there, and ends it. */
export async function withTarget<T>(shape: Shape, work: (target: Target) => Promise<T>): Promise<T> {
  const target = await startTarget(shape);
  try {
    return await work(target);
  } finally {
    await target.stop();
  }
}

async function startTarget(shape: Shape): Promise<Target> {
  const args = [shape.mib, shape.mappings, shape.processes, shape.rate, THREADS].map(String);
  const child = startCandidate({ name: "The target", command: TARGET_BINARY, args, env: {} });
  try {
    const pid = Number(await child.expect("ready", FILL_TIMEOUT_MS));
    return {
      pid,
      stop: () => child.stop(),
      load: (ms) => ask(child, "run", ms),
      flood: (ms) => ask(child, "flood", ms),
    };
  } catch (error) {
    await child.stop();
    throw error;
  }
}

async function ask(child: ReturnType<typeof startCandidate>, what: "run" | "flood", ms: number): Promise<Load> {
  child.say(`${what} ${ms}`);
  const figures = (await child.expect("done", ms + 30_000)).split(" ").map(Number);
  const [operations = 0, inTime = 0, p50 = 0, p99 = 0, max = 0, cpu = 0] = figures;
  if (!(operations > 0 && max > 0 && cpu > 0)) throw new Error("The target took no operations: nothing was measured");
  return {
    operations,
    perSecond: (inTime * 1000) / ms,
    p50: p50 / 1e6,
    p99: p99 / 1e6,
    max: max / 1e6,
    cpuUs: cpu / 1e3 / operations,
  };
}
