/** How long to wait after the n-th failure in a row, so that many clients do not come back at the same moment. */
import type { Random } from "../seams.ts";

export interface BackoffLimits {
  readonly baseMs: number;
  readonly maxMs: number;
}

export const RECONNECT_LIMITS: BackoffLimits = { baseMs: 500, maxMs: 30_000 };

/**
 * Full jitter: anything from 0 to min(max, base * 2^(failures-1)) milliseconds. 0 without a failure.
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function fullJitterMs(failures: number, random: Random, { baseMs, maxMs }: BackoffLimits): number {
  if (failures <= 0) return 0;
  // 2^30 is beyond every maximum; more would overflow to Infinity.
  return random.next() * Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
}
