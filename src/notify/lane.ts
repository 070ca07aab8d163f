/**
 * One receiver's queue: what waits is sent in order, not faster than people can read, again after a failure, and never so that anybody has to wait
 * for it. What is overtaken by newer news of the same investigation is left out.
 */
import type { Clock, Random } from "../seams.ts";
import type { Outcome } from "./post.ts";

export interface Letter {
  /** A newer letter of the same subject takes the place of one that still waits. */
  readonly subject: string;
  /** What counts as told once this is delivered; those of the letters that it replaces are added. */
  readonly ids: readonly string[];
  readonly send: () => Promise<Outcome>;
}

export interface LaneLimits {
  /** So many at once, in milliseconds one more each `refillMs`. */
  readonly burst: number;
  readonly refillMs: number;
  /** First and longest wait after a failure, in milliseconds; the jitter is up to the whole of it. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** Tries of one letter before it is given up. */
  readonly tries: number;
  /** Letters that wait; further ones are not taken, and may be offered again. */
  readonly queued: number;
}

export const CHAT_LIMITS: LaneLimits = {
  burst: 20,
  refillMs: 10_000,
  baseMs: 1_000,
  maxMs: 300_000,
  tries: 12,
  queued: 500,
};
/** A machine reads these, and each investigation sends one every few minutes. */
export const ALERT_LIMITS: LaneLimits = { ...CHAT_LIMITS, burst: 100, refillMs: 500, tries: 4 };

/** A receiver that does not answer must not hold up the end of the process, nor the one who leads next. */
const STOP_MS = 2_000;

export type LetterOutcome = "Delivered" | "Refused" | "GivenUp" | "Dropped";

export interface LaneOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: LaneLimits;
  readonly onOutcome: (outcome: LetterOutcome, letter: Letter, why: string) => void;
  readonly onRetry: (why: string, inMs: number) => void;
}

export interface Lane {
  /** Returns at once. False: the queue is full. */
  add(letter: Letter): boolean;
  /** What will count as told once the letters of this subject that wait or are on their way are delivered. */
  pending(subject: string): readonly string[];
  /** Takes nothing more, and resolves when the letter on its way has its answer, or has waited for it too long. What waits is left. */
  stop(): Promise<void>;
}

export function createLane({ clock, random, limits, onOutcome, onRetry }: LaneOptions): Lane {
  const waiting: Letter[] = [];
  const stopped = new AbortController();
  let onItsWay: Letter | undefined;
  let running: Promise<void> | undefined;
  let tokens = limits.burst;
  let filledMs = clock.monotonicMs();

  /** Milliseconds until the next letter may go. */
  function takeToken(): number {
    const passed = clock.monotonicMs() - filledMs;
    const gained = Math.min(Math.floor(passed / limits.refillMs), limits.burst - tokens);
    tokens += gained;
    filledMs = tokens === limits.burst ? clock.monotonicMs() : filledMs + gained * limits.refillMs;
    if (tokens === 0) return limits.refillMs - (clock.monotonicMs() - filledMs);
    tokens -= 1;
    return 0;
  }

  async function sendOne(letter: Letter): Promise<void> {
    for (let failures = 1; ; failures++) {
      const outcome = await letter.send();
      if (outcome.kind === "Delivered") return onOutcome("Delivered", letter, "");
      if (outcome.kind === "Refused") return onOutcome("Refused", letter, outcome.why);
      if (failures >= limits.tries) return onOutcome("GivenUp", letter, outcome.why);
      const backoffMs = random.next() * Math.min(limits.maxMs, limits.baseMs * 2 ** (failures - 1));
      const inMs = Math.max(backoffMs, outcome.afterMs ?? 0);
      onRetry(outcome.why, inMs);
      await clock.sleep(inMs, stopped.signal);
    }
  }

  async function drain(): Promise<void> {
    while (!stopped.signal.aborted && waiting.length > 0) {
      const waitMs = takeToken();
      if (waitMs > 0) {
        await clock.sleep(waitMs, stopped.signal);
        continue;
      }
      onItsWay = waiting.shift();
      if (onItsWay !== undefined) await sendOne(onItsWay);
      onItsWay = undefined;
    }
  }

  return {
    add(letter) {
      if (stopped.signal.aborted) return false;
      const at = waiting.findIndex(({ subject }) => subject === letter.subject);
      const overtaken = waiting[at];
      if (overtaken !== undefined) waiting[at] = { ...letter, ids: [...new Set([...overtaken.ids, ...letter.ids])] };
      else if (waiting.length >= limits.queued) return false;
      else waiting.push(letter);
      running ??= drain()
        .catch(() => undefined) // Only a sleep that `stop` has ended rejects.
        .finally(() => (running = undefined));
      return true;
    },
    pending: (subject) =>
      [...waiting, ...(onItsWay === undefined ? [] : [onItsWay])]
        .filter((letter) => letter.subject === subject)
        .flatMap(({ ids }) => ids),
    stop: async () => {
      stopped.abort();
      if (running !== undefined) await Promise.race([running, clock.sleep(STOP_MS)]);
    },
  };
}
