/** A clock that stands still until a test moves it, and chance that always says the same. */
import type { Clock, Random } from "../../src/seams.ts";

interface Waiter {
  readonly at: number;
  readonly run: () => void;
}

export interface ManualClock extends Clock {
  /** Moves time on, running what falls due in its order, with everything that follows from it. */
  advance(ms: number): Promise<void>;
  /** Timers that wait. */
  readonly pending: number;
}

/** Lets promises that are ready run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

/** `skewMs` shifts what people read, never the monotonic side. */
export function manualClock(skewMs = 0): ManualClock {
  let now = 0;
  const waiters = new Set<Waiter>();
  const add = (ms: number, run: () => void): Waiter => {
    const waiter = { at: now + ms, run };
    waiters.add(waiter);
    return waiter;
  };
  return {
    now: () => new Date(Date.UTC(2026, 0, 1) + now + skewMs),
    monotonicMs: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(signal.reason as Error);
          return;
        }
        const waiter = add(ms, resolve);
        signal?.addEventListener("abort", () => {
          waiters.delete(waiter);
          reject(signal.reason as Error);
        });
      }),
    after: (ms, run) => {
      const waiter = add(ms, run);
      return { cancel: () => waiters.delete(waiter) };
    },
    async advance(ms) {
      const until = now + ms;
      await settle();
      for (;;) {
        const due = [...waiters].filter((waiter) => waiter.at <= until).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        waiters.delete(due);
        now = Math.max(now, due.at);
        due.run();
        await settle();
      }
      now = until;
    },
    get pending() {
      return waiters.size;
    },
  };
}

export function fixedRandom(value = 0.5): Random {
  let count = 0;
  return { next: () => value, hex: (bytes) => (++count).toString(16).padStart(bytes * 2, "0") };
}
