/**
 * A queue of keys. A key is worked on by one worker at a time; a key that is added while it is worked on is worked on once more
 * afterwards; failures back off with full jitter, for each key on its own. Nothing but keys is held: the world is read again each time.
 */
import type { Clock, Random, Timer } from "../seams.ts";

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Keys worked on at once. */
  readonly workers: number;
  /** Cap of the first retry's delay, in milliseconds; doubles with each failure. */
  readonly baseMs?: number;
  readonly maxMs?: number;
  /** Works on a key. Returns when to look at it again, in milliseconds. What it throws makes the key back off. */
  readonly work: (key: string) => Promise<number | undefined>;
  readonly onError: (key: string, error: unknown, retryInMs: number) => void;
}

export interface WorkQueue {
  /** Work on the key soon. Adding it twice is adding it once. */
  add(key: string): void;
  /** Work on the key after `ms`, or sooner when it is added meanwhile. */
  addAfter(key: string, ms: number): void;
  /** Takes no more work and resolves when the work under way is done. */
  stop(): Promise<void>;
  readonly stats: () => WorkQueueStats;
}

export interface WorkQueueStats {
  readonly waiting: number;
  readonly working: number;
  readonly delayed: number;
  readonly failing: number;
}

const DEFAULT_BASE_MS = 250;
const DEFAULT_MAX_MS = 60_000;

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { clock, random, workers, work, onError, baseMs = DEFAULT_BASE_MS, maxMs = DEFAULT_MAX_MS } = options;
  const waiting = new Set<string>(); // A Set keeps the order of arrival and holds a key once.
  const working = new Set<string>();
  const again = new Set<string>();
  const delayed = new Map<string, { readonly timer: Timer; readonly dueMs: number }>();
  const failures = new Map<string, number>();
  let stopping = false;
  let idle: (() => void) | undefined;

  function add(key: string): void {
    if (stopping) return;
    delayed.get(key)?.timer.cancel();
    delayed.delete(key);
    if (working.has(key)) {
      again.add(key);
      return;
    }
    waiting.add(key);
    next();
  }

  function addAfter(key: string, ms: number): void {
    if (stopping) return;
    if (ms <= 0) {
      add(key);
      return;
    }
    const dueMs = clock.monotonicMs() + ms;
    const before = delayed.get(key);
    if (before !== undefined && before.dueMs <= dueMs) return;
    before?.timer.cancel();
    delayed.set(key, { dueMs, timer: clock.after(ms, () => add(key)) });
  }

  function next(): void {
    if (stopping) return;
    while (working.size < workers) {
      const [key] = waiting;
      if (key === undefined) return;
      waiting.delete(key);
      working.add(key);
      void run(key);
    }
  }

  async function run(key: string): Promise<void> {
    let afterMs: number | undefined;
    try {
      afterMs = await work(key);
      failures.delete(key);
    } catch (error) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      // Full jitter: anywhere between nothing and the cap, so that keys that failed together do not come back together.
      afterMs = Math.max(1, random.next() * Math.min(maxMs, baseMs * 2 ** Math.min(count - 1, 20)));
      onError(key, error, afterMs);
    }
    working.delete(key);
    if (again.delete(key)) add(key);
    else if (afterMs !== undefined) addAfter(key, afterMs);
    if (stopping && working.size === 0) idle?.();
    next();
  }

  async function stop(): Promise<void> {
    stopping = true;
    for (const { timer } of delayed.values()) timer.cancel();
    delayed.clear();
    waiting.clear();
    again.clear();
    if (working.size > 0) await new Promise<void>((resolve) => (idle = resolve));
  }

  return {
    add,
    addAfter,
    stop,
    stats: () => ({ waiting: waiting.size, working: working.size, delayed: delayed.size, failing: failures.size }),
  };
}
