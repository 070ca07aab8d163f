/**
 * Who goes next, and what time is it? One queue of tasks in virtual time, and one seed for every choice. Between two tasks all promises that can run do
 * run, so that the order of everything follows from the seed alone. No task may wait for the machine: no disk, no socket, no timer of Node.
 */
import type { Clock, Random } from "../../src/seams.ts";

interface Task {
  readonly atMs: number;
  readonly order: number;
  readonly owner: object | undefined;
  readonly run: () => void;
  cancelled: boolean;
}

export interface Handle {
  cancel(): void;
}

/** Virtual time begins here. */
const EPOCH_MS = Date.UTC(2026, 0, 1, 12);

export class Scheduler {
  #nowMs = 0;
  #order = 0;
  /** The next one is last. */
  readonly #tasks: Task[] = [];
  readonly #frozen = new Map<object, Task[]>();
  readonly #dead = new WeakSet<object>();
  readonly random: SeededRandom;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get date(): Date {
    return new Date(EPOCH_MS + this.#nowMs);
  }

  /** Runs a task after so many milliseconds. One with an owner waits while that is frozen, and goes when it is dropped. */
  after(ms: number, run: () => void, owner?: object): Handle {
    const task: Task = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order++, owner, run, cancelled: false };
    this.#insert(task);
    return { cancel: () => (task.cancelled = true) };
  }

  #insert(task: Task): void {
    let low = 0;
    let high = this.#tasks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#tasks[middle];
      // A later task never goes before an earlier one of the same moment.
      if (other !== undefined && other.atMs > task.atMs) low = middle + 1;
      else high = middle;
    }
    this.#tasks.splice(low, 0, task);
  }

  /** A process that dies: nothing of it runs any more. */
  drop(owner: object): void {
    this.#frozen.delete(owner);
    this.#dead.add(owner);
  }

  isDead(owner: object): boolean {
    return this.#dead.has(owner);
  }

  /** A process that is stopped: what falls due for it waits until it is thawed. */
  freeze(owner: object): void {
    if (!this.#frozen.has(owner)) this.#frozen.set(owner, []);
  }

  thaw(owner: object): void {
    const waiting = this.#frozen.get(owner) ?? [];
    this.#frozen.delete(owner);
    for (const task of waiting) this.#insert({ ...task, atMs: this.#nowMs, order: this.#order++ });
  }

  /** Runs until `done` holds or the time is up. @returns whether it came to hold */
  async run(untilMs: number, done: () => boolean = () => false): Promise<boolean> {
    await settled();
    for (;;) {
      if (done()) return true;
      const task = this.#tasks.at(-1);
      if (task === undefined || task.atMs > untilMs) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return false;
      }
      this.#tasks.pop();
      // An answer may have been on its way to a process when it died.
      if (task.cancelled || (task.owner !== undefined && this.#dead.has(task.owner))) continue;
      this.#nowMs = Math.max(this.#nowMs, task.atMs);
      const frozen = task.owner === undefined ? undefined : this.#frozen.get(task.owner);
      if (frozen !== undefined) {
        frozen.push(task);
        continue;
      }
      task.run();
      await settled();
    }
  }

  /** The clock of one process. */
  clockOf(owner: object): Clock {
    return {
      now: () => this.date,
      monotonicMs: () => this.#nowMs,
      after: (ms, fn) => this.after(ms, fn, owner),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted === true) {
            reject(signal.reason as Error);
            return;
          }
          const onAbort = (): void => {
            handle.cancel();
            reject(signal?.reason as Error);
          };
          const handle = this.after(
            ms,
            () => {
              signal?.removeEventListener("abort", onAbort);
              resolve();
            },
            owner,
          );
          signal?.addEventListener("abort", onAbort, { once: true });
        }),
    };
  }
}

/** Lets every promise that can run do so: the machine turns to this only when none is left. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Chance that can be had again: mulberry32. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 0x9e3779b1 + 0x85ebca6b) >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  hex(bytes: number): string {
    return Array.from({ length: bytes * 2 }, () => Math.floor(this.next() * 16).toString(16)).join("");
  }

  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[Math.floor(this.next() * items.length)] ?? items[0];
  }
}
