/**
 * Programs that we start: with an environment of our own, output that is bounded, and an end that does not depend on them. A program that does not
 * stop when it should is killed with all that it started; one that may not be killed (it has another user) is left behind.
 */
import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import type { Clock } from "../../seams.ts";

export interface ChildOptions {
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Each line of standard output. Without it the first bytes of the output are kept. */
  readonly onLine?: (line: string) => void;
}

export interface ChildEnd {
  /** Undefined: it was killed, or is left behind. */
  readonly code: number | undefined;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** No variable of ours reaches a program that reads what others wrote; perf in particular reads settings, and elfutils may ask the network for files. */
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/nonexistent",
  LC_ALL: "C.UTF-8",
  PERF_CONFIG: "/dev/null",
  PERF_BUILDID_DIR: "/nonexistent",
};
const KEPT_CHARACTERS = 64 * 1024;
const MAX_LINE = 8192;
/** Between being asked to stop, being killed, and being left behind. */
const GRACE_MS = 2_000;

/** Never rejects: a program that cannot be started ends with code 127, as a shell has it. */
export async function runChild(options: ChildOptions): Promise<ChildEnd> {
  const [program, ...args] = options.command;
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: ENVIRONMENT,
    // A group of its own, so that what it starts is stopped with it.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let timedOut = false;
  const timers: { cancel(): void }[] = [];
  const after = (ms: number, fn: () => void): void => void timers.push(options.clock.after(ms, fn));
  let leave = (): void => undefined;
  const ended = new Promise<number | undefined>((resolve) => {
    leave = () => resolve(undefined);
    child.once("error", () => resolve(127));
    child.once("close", (code) => resolve(code ?? undefined));
  });
  const stop = (): void => {
    endGroup(child.pid, "SIGINT");
    after(GRACE_MS, () => endGroup(child.pid, "SIGKILL"));
    after(2 * GRACE_MS, () => {
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      leave();
    });
  };
  after(options.deadlineMs, () => {
    timedOut = true;
    stop();
  });
  if (options.signal.aborted) stop();
  else options.signal.addEventListener("abort", stop, { once: true });
  const stderr = keep(child.stderr);
  const stdout = options.onLine === undefined ? keep(child.stdout) : eachLine(child.stdout, options.onLine);
  const code = await ended;
  options.signal.removeEventListener("abort", stop);
  for (const timer of timers) timer.cancel();
  return { code, timedOut, stdout: stdout(), stderr: stderr() };
}

function endGroup(pid: number | undefined, signal: "SIGINT" | "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended, or is another user's now: its own `timeout` and limits end it.
  }
}

/** Reads all, keeps the beginning. */
function keep(stream: Readable): () => string {
  let text = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    if (text.length < KEPT_CHARACTERS) text += chunk.slice(0, KEPT_CHARACTERS - text.length);
  });
  stream.on("error", () => undefined);
  return () => text;
}

/** Calls `onLine` for each line, cut to a length that a parser can bear. A line without an end is cut where it is. */
function eachLine(stream: Readable, onLine: (line: string) => void): () => string {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = (lines.pop() ?? "").slice(0, MAX_LINE);
    for (const line of lines) onLine(line.slice(0, MAX_LINE));
  });
  stream.on("end", () => {
    if (rest !== "") onLine(rest);
  });
  stream.on("error", () => undefined);
  return () => "";
}
