/**
 * When may the next request go out? The API server's word counts for the whole process: a Retry-After given to one request holds back
 * all of them, each by a slightly different time. Watches and lease renewals do not pass here.
 */
import type { Clock, Random } from "../seams.ts";
import type { ApiError } from "./errors.ts";

export interface Limiter {
  /** Waits until the server wants to hear from us again; rejects with the signal's reason. */
  ready(signal?: AbortSignal): Promise<void>;
  /** Takes note of an answer that asks for patience (429, 503). */
  note(error: ApiError): void;
}

/** Whether the server asked for patience. The eviction API's 429 is about one pod, not about our rate. */
export function asksForPatience(error: ApiError): boolean {
  return error.reason === "Throttled" || error.status === 503;
}

const DEFAULT_PAUSE_MS = 1_000;

export function createLimiter(clock: Clock, random: Random): Limiter {
  let pausedUntil = 0;
  return {
    async ready(signal) {
      for (;;) {
        const wait = pausedUntil - clock.monotonicMs();
        if (wait <= 0) return;
        // At least what was asked for; the jitter on top spreads those who wait together.
        await clock.sleep(wait + random.next() * Math.min(wait, 5_000), signal);
      }
    },
    note(error) {
      if (!asksForPatience(error)) return;
      pausedUntil = Math.max(pausedUntil, clock.monotonicMs() + (error.retryAfterMs ?? DEFAULT_PAUSE_MS));
    },
  };
}
