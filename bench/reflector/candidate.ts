/**
 * What does a process cost? Runs one candidate of the bench as a child, talks to it by lines, and reads its peak of resident memory and its
 * CPU time from /proc, where the kernel counts both for all threads alike, whatever the language.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export interface CandidateSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Cost {
  /** Largest resident set so far, in bytes. */
  readonly peakBytes: number;
  /** Resident set now, in bytes. */
  readonly rssBytes: number;
  /** User and system time of all threads, in seconds. */
  readonly cpuSeconds: number;
  /** The same of those of its children that have ended. */
  readonly childrenCpuSeconds: number;
}

export interface Candidate {
  readonly name: string;
  /** Waits for a line "WORD rest" and returns the rest. Throws when the process ends first or `timeoutMs` pass. */
  expect(word: string, timeoutMs: number): Promise<string>;
  say(line: string): void;
  cost(): Cost;
  stop(): Promise<void>;
}

const STOP_TIMEOUT_MS = 5_000;

/** Linux has counted in hundredths for /proc on every machine that Node 24 runs on. */
const TICKS_PER_SECOND = 100;

/** Throws when the process is gone. */
export function costOf(pid: number): Cost {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold spaces. utime to cstime are fields 14 to 17 of proc_pid_stat(5).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    peakBytes: Math.max(kib("VmHWM"), kib("VmRSS")) * 1024,
    rssBytes: kib("VmRSS") * 1024,
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    childrenCpuSeconds: (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND,
  };
}

function whyItEnded(spec: CandidateSpec, child: ChildProcess, errors: readonly string[]): Error {
  const how = child.signalCode ?? `status ${child.exitCode}`;
  return new Error(`${spec.name} ended with ${how}:\n${errors.slice(-20).join("\n")}`);
}

export function startCandidate(spec: CandidateSpec): Candidate {
  const child = spawn(spec.command, spec.args, {
    env: { PATH: process.env["PATH"] ?? "", ...spec.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const errors: string[] = [];
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  createInterface({ input: child.stderr }).on("line", (line) => errors.push(line));
  createInterface({ input: child.stdout }).on("line", (line) => {
    lines.push(line);
    wake();
  });
  child.stdin.on("error", () => undefined);
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => {
      resolve();
      wake();
    });
    child.on("error", (error) => {
      errors.push(String(error));
      resolve();
      wake();
    });
  });

  function take(word: string): string | undefined {
    const index = lines.findIndex((line) => line.startsWith(`${word} `));
    return index === -1 ? undefined : lines.splice(index, 1)[0]?.slice(word.length + 1);
  }

  return {
    name: spec.name,
    async expect(word, timeoutMs) {
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        wake();
      }, timeoutMs);
      try {
        for (;;) {
          const rest = take(word);
          if (rest !== undefined) return rest;
          if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
            throw whyItEnded(spec, child, errors);
          if (late) throw new Error(`${spec.name} did not say "${word}" within ${timeoutMs / 1000} s`);
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        clearTimeout(timer);
      }
    },
    say: (line) => void child.stdin.write(`${line}\n`),
    cost: () => costOf(child.pid ?? 0),
    async stop() {
      // The end of its input ends it, and lets Node write a profile when it was asked for one.
      child.stdin.end();
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}
