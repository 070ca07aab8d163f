/**
 * The seams to the world that every part takes as an argument: time and chance. Nothing outside this file
 * asks the machine for either (a test reads the sources and enforces it), so that a deterministic world can drive all of it.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time, for what people read. Never for measuring how long something took. */
  now(): Date;
  /** Milliseconds of a clock that never jumps; only differences mean anything. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `fn` once after `ms`. Does not keep the process alive. */
  after(ms: number, fn: () => void): Timer;
}

export interface Random {
  /** A number in [0, 1), for jitter. */
  next(): number;
  /** Lower-case hex of `bytes` random bytes, for names and ids that must not be guessed. */
  hex(bytes: number): string;
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

export const systemRandom: Random = {
  next: () => Math.random(),
  hex: (bytes) => randomBytes(bytes).toString("hex"),
};
