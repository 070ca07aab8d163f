/**
 * May this process's memory map be walked now? A read of smaps_rollup or smaps walks page tables under the target's mmap lock, and whoever maps
 * memory, starts a thread or frees a large block meanwhile waits for it. The gate predicts what a read costs, refuses what is too dear, never
 * lets two readers at one process, leaves alone who may hold the lock for long, and keeps account of what was paid.
 *
 * Every threshold stands in COST, with where it comes from. Measured: Linux 6.18, 4 KiB pages, 0.1 to 8 GiB, 200 to 20,000 mappings.
 */
const GIB = 2 ** 30;
const MIB = 2 ** 20;

export const COST = {
  /** Walking the page tables of 1 GiB of resident memory: 15 to 20 ms measured; the larger. */
  walkMsPerGib: 20,
  /** The same in transparent huge pages: 3 ms measured. */
  walkMsPerHugeGib: 3,
  /** smaps_rollup, for each mapping: 0.7 microseconds measured. */
  rollupMsPerMapping: 0.0007,
  /** smaps formats about 725 bytes for each mapping: 4 microseconds measured. */
  smapsMsPerMapping: 0.004,
  /** Where mappings could not be counted; most processes have fewer. At most there are 65,530 (vm.max_map_count). */
  assumedMappings: 1000,
  /** A machine may be slower than the one of these measurements by so much; what a read took beyond that was our own waiting for a CPU. */
  slowMachine: 4,
  /** One hold of the lock that is predicted to be longer is not begun: what latency-bound services bear, and the aim of the whole collection. */
  singleHoldMs: 50,
  /** A policy that allows a larger budget allows longer holds: one may take this share of the budget. The default budget of 1 s changes nothing. */
  singleHoldShare: 1 / 20,
  /** The growth of a process is seen from its first and its last reading, so the first ones may not spend everything. */
  atStart: 0.4,
  /** Below this the node is about to kill, and a reader in reclaim holds the target's lock for seconds. The kubelet evicts at 100 MiB. */
  minAvailableBytes: 128 * MIB,
  /** The same, as a share of MemTotal. Evidence is wanted below the 8 % of the alert, so this is far below. */
  minAvailableShare: 0.02,
  /** The kernel may hold a read for as long as it likes, on one of few threads of ours: with this many held, no more are begun. */
  maxHeld: 2,
} as const;

export interface Footprint {
  readonly rssBytes: number;
  /** Of these in transparent huge pages, where an earlier read told. */
  readonly hugeBytes?: number | undefined;
  readonly mappings?: number | undefined;
  /** Size of the largest mapping that has memory: the lock is given up between mappings. */
  readonly largestBytes?: number | undefined;
}

/** What an earlier read of the same process took. */
export interface EarlierRead {
  readonly ms: number;
  readonly rssBytes: number;
}

export interface Prediction {
  /** Of all the time under the lock, which counts against the budget. */
  readonly totalMs: number;
  /** Of the longest time without giving it up. */
  readonly holdMs: number;
}

/** smaps_rollup: one walk; it gives the lock up only where somebody is seen to wait, and only between mappings. */
export function predictRollup(footprint: Footprint, before?: EarlierRead): Prediction {
  const { rssBytes, mappings = COST.assumedMappings } = footprint;
  const model = walkMs(rssBytes, footprint.hugeBytes) + mappings * COST.rollupMsPerMapping;
  const scaled = before === undefined ? model : before.ms * Math.max(1, rssBytes / Math.max(1, before.rssBytes));
  const ms = Math.min(scaled, model * COST.slowMachine);
  return { totalMs: ms, holdMs: ms };
}

/** smaps: the kernel takes the lock anew for each few KiB of text, so the longest hold is the walk of the largest mapping. */
export function predictSmaps(footprint: Footprint): Prediction {
  const { rssBytes, mappings = COST.assumedMappings, largestBytes = rssBytes } = footprint;
  return {
    totalMs: walkMs(rssBytes, footprint.hugeBytes) + mappings * COST.smapsMsPerMapping,
    holdMs: walkMs(Math.min(rssBytes, largestBytes), footprint.hugeBytes),
  };
}

function walkMs(bytes: number, hugeBytes = 0): number {
  const huge = Math.min(bytes, hugeBytes);
  return ((bytes - huge) / GIB) * COST.walkMsPerGib + (huge / GIB) * COST.walkMsPerHugeGib;
}

/**
 * Why a read is not begun, for the pack. Stopped: the task waits without interruption, and may hold the lock that we would wait for. LowMemory:
 * the node has too little left. TooLong: one hold of the lock would be. OverBudget: the collection's budget does not bear it, or not yet.
 * TimedOut: earlier reads have not come back. Busy: another read of this process is on its way.
 */
export type Refusal = "Stopped" | "LowMemory" | "TooLong" | "OverBudget" | "TimedOut" | "Busy";

export interface IntendedRead {
  /** (pid, start time) of the process whose memory is read. */
  readonly process: string;
  /** State of the process in /proc/PID/stat. */
  readonly state: string;
  readonly predicted: Prediction;
  /** Since the collection began. */
  readonly elapsedMs: number;
}

export interface CostGate {
  /** What /proc/meminfo says now; without it memory is not looked at. */
  node(meminfo: Readonly<Record<string, number>>): void;
  /** Why nothing of the process's memory map may be read now, whatever it costs: ask before its mappings are counted. */
  closed(process: string, state: string): Refusal | undefined;
  /** The same, and whether the cost can be borne; undefined: begin it now, and call `begin`. */
  refuses(read: IntendedRead): Refusal | undefined;
  /** A read of this process has begun: until it has ended no other is let in. */
  begin(process: string, predicted: Prediction): ReadInProgress;
  /** All that was paid: what reads took, but of each no more than a slow machine would have needed for it. */
  readonly totalMs: () => number;
}

export interface ReadInProgress {
  /** It has ended and took so long. */
  end(ms: number): void;
  /** It was not answered in time and was left behind; the process stays closed until `ending` resolves. */
  leave(ms: number, ending: Promise<unknown>): void;
}

/** @param budgetMs for the whole collection  @param durationMs of the collection, over which the budget is spread */
export function createCostGate(budgetMs: number, durationMs: number): CostGate {
  const reading = new Set<string>();
  const longestHoldMs = Math.max(COST.singleHoldMs, budgetMs * COST.singleHoldShare);
  let total = 0;
  let held = 0;
  let lowMemory = false;

  function closed(process: string, state: string): Refusal | undefined {
    if (state === "D") return "Stopped";
    if (lowMemory) return "LowMemory";
    if (reading.has(process)) return "Busy";
    return held >= COST.maxHeld ? "TimedOut" : undefined;
  }

  return {
    node: (meminfo) => {
      const available = meminfo["MemAvailable"];
      const floor = Math.max(COST.minAvailableBytes, COST.minAvailableShare * (meminfo["MemTotal"] ?? 0));
      lowMemory = available !== undefined && available < floor;
    },
    closed,
    refuses: ({ process, state, predicted, elapsedMs }) => {
      const reason = closed(process, state);
      if (reason !== undefined) return reason;
      if (predicted.holdMs > longestHoldMs) return "TooLong";
      const progress = durationMs <= 0 ? 1 : Math.min(1, elapsedMs / durationMs);
      const affordable = budgetMs * (COST.atStart + (1 - COST.atStart) * progress);
      return total + predicted.totalMs > affordable ? "OverBudget" : undefined;
    },
    begin: (process, predicted) => {
      reading.add(process);
      return {
        end: (ms) => {
          // On a busy node most of a long read is our own waiting for a CPU, between two holds of the lock.
          total += Math.min(ms, predicted.totalMs * COST.slowMachine);
          reading.delete(process);
        },
        leave: (ms, ending) => {
          total += ms;
          held += 1;
          const gone = (): void => {
            held -= 1;
            reading.delete(process);
          };
          void ending.then(gone, gone);
        },
      };
    },
    totalMs: () => total,
  };
}
