/**
 * A read of smaps_rollup walks the target's page tables under its mmap lock and can stall it. The gate predicts the stall, skips
 * what is over the budget, and keeps account of what was paid.
 *
 * First prediction, from measurements on 4 KiB pages: 20 ms for each GiB of resident memory and 0.7 microseconds for each mapping, of
 * which there are at most 65,530 (vm.max_map_count) and mostly few. After that, what the last read of the same process took counts.
 */
const MS_PER_GIB = 20;
const GIB = 2 ** 30;
/** One read that would stall for longer is taken only where the whole budget can bear it five times. */
const SINGLE_READ_MS = 50;
/** The growth of a process is seen from its first and its last reading, so the first ones may not spend everything. */
const AT_START = 0.4;

export interface CostGate {
  /** Whether this read fits what may be spent by now. @param elapsedMs since the collection began */
  admits(predictedMs: number, elapsedMs: number): boolean;
  paid(ms: number): void;
  readonly totalMs: () => number;
}

export interface EarlierRead {
  readonly ms: number;
  readonly rssBytes: number;
}

export function predictStallMs(rssBytes: number, before?: EarlierRead): number {
  if (before === undefined) return (rssBytes / GIB) * MS_PER_GIB;
  return before.ms * Math.max(1, rssBytes / Math.max(1, before.rssBytes));
}

/** @param budgetMs for the whole collection  @param durationMs of the collection, over which the budget is spread */
export function createCostGate(budgetMs: number, durationMs: number): CostGate {
  let total = 0;
  return {
    admits: (predictedMs, elapsedMs) => {
      if (predictedMs > SINGLE_READ_MS && predictedMs * 5 > budgetMs) return false;
      const progress = durationMs <= 0 ? 1 : Math.min(1, elapsedMs / durationMs);
      return total + predictedMs <= budgetMs * (AT_START + (1 - AT_START) * progress);
    },
    paid: (ms) => {
      total += ms;
    },
    totalMs: () => total,
  };
}
