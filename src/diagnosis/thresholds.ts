/**
 * Every number that a verdict turns on, and where it comes from. Bytes, seconds and shares (0 to 1) unless a name says otherwise.
 * "Measured" means on recordings of small programs on Linux 6.18 (cgroup v1) and 6.1 (cgroup v2, swap, huge pages always); "judged" means that
 * physics gives the direction and a person the number.
 */

const KIB = 1024;
const MIB = 2 ** 20;

/** Below either of these nothing is said about a trend: with fewer points, or less time, Mann-Kendall cannot tell a rise from chance. */
export const ENOUGH = { points: 12, spanSeconds: 60 } as const;

/** Below either of these a trend is provisional: what still rises in its first minutes can be a warm-up (measured: 41 of 500 prefixes of harmless recordings). */
export const CONFIRMED = { points: 24, spanSeconds: 300 } as const;

/**
 * The least growth that matters: the largest of 8 MiB, 2 % of the limit and 5 % of the level (judged). Below it lie the batches in which the
 * kernel counts (64 pages for each CPU), thread caches and work in flight.
 */
export const GATE = { bytes: 8 * MIB, ofLimit: 0.02, ofLevel: 0.05 } as const;

/** Shape of a rise. */
export const RISE = {
  /** Runs of which the floor is made; tau of six minima at 0.8 has a one-sided p of 0.008 (Kendall 1975). */
  blocks: 6,
  leastTau: 0.8,
  /** A saw-tooth falls by more than this share of what it rises, and is judged by its valleys alone (measured on a garbage-collected heap). */
  sawToothFalls: 0.3,
  leastValleys: 5,
  /** Slope of the last third over that of the first: below 0.1 a plateau, below 0.5 decelerating (measured: copy-on-write, arenas and caches all end below 0.01). */
  plateau: 0.1,
  decelerating: 0.5,
  /** The floor must rise at this share of the slope of the whole. */
  floorShare: 0.5,
  /** One step of this share of the growth is no line. */
  stepShare: 0.5,
  /** Mann-Kendall takes differences below this, or below three times the noise, for ties. */
  deadBand: 64 * KIB,
} as const;

/** A burst that goes away: its height over the median, how near it comes back, for how many samples, and its part of the window (judged). */
export const SPIKE = { overMedian: 1.5, returnsWithin: 0.1, samplesAfter: 3, ofWindow: 0.2 } as const;

/** One changepoint: its share of the growth, the samples that must lie on either side, and what may still move there as a share of the step (judged). */
export const STEP = { share: 0.7, samplesBeside: 3, stillMoves: 0.2 } as const;

/** A plateau: range of the last third over the level (as for copy-on-write and caches, measured), and the start-up that is no warm-up yet. */
export const PLATEAU = {
  lastThirdRange: 0.05,
  startUpShare: 0.1,
  startUpEnds: 0.2,
  betterBic: 10,
  ofLimit: 0.9,
} as const;

/** What follows the load: r² of levels, or correlation of the differences between samples; how far the load must move, and come back (judged). */
export const LOAD = { levels: 0.9, differences: 0.8, units: 4, range: 0.2, comesBack: 0.3, costStays: 0.2 } as const;

/** Memory that stays after the demand for it has gone: what is left of a burst, and of the growth (judged). Arenas: glibc makes at most 8 for each CPU. */
export const RETENTION = {
  keeps: 0.3,
  demandFalls: 0.3,
  arenasForEachCpu: 8,
  leastArenas: 4,
  arenaShare: 0.8,
} as const;

/** Who grows: one process must hold 70 % of it to be blamed, and 80 % to make the verdict surer (judged). */
export const SHARE = { leader: 0.7, sure: 0.8, kernel: 0.2, part: 0.5, identity: 0.05 } as const;

/** One more thread costs at least two pages of stack, and at most what glibc reserves for one; its kernel stack is 16 KiB on x86-64 and arm64. */
export const THREADS = {
  more: 8,
  leastEach: 8 * KIB,
  mostEach: 8 * MIB,
  kernelStackBytes: 16 * KIB,
  correlation: 0.95,
  stackShare: 0.5,
} as const;

/**
 * Sharing: copies are made when RssAnon of each process stands still (here: moves by less than 30 % of the growth) while what they share becomes their own
 * (measured: RSS of six processes flat at 363 MiB, the cgroup's anon from 82 to 360 MiB). The sum of RSS lies when 30 % of it is counted twice.
 */
export const SHARING = { resident: 0.3, exchanged: 0.5, artefact: 0.3 } as const;

/** Huge pages: their share of anonymous memory and of its growth; the address space that may grow with it (judged: an allocation maps, a huge page only fills). */
export const HUGE = { share: 0.5, ofGrowth: 0.8, addressSpace: 0.2 } as const;

/** Page tables take 1/512 of what is mapped densely; more than 1/64 of it is a finding of its own. */
export const PAGE_TABLES = { ofResident: 1 / 64 } as const;

/** Who holds kernel memory: descriptors, or page tables, that it must have gained to be named (judged; below it every program moves). */
export const HOLDER = { descriptors: 8, tables: 2 * MIB } as const;

/** Files: growth that is mapped, growth that is or was dirty, dirty pages of the limit at which writers are throttled (vm.dirty_ratio 20). */
export const FILES = { mapped: 0.5, dirty: 0.2, dirtyOfLimit: 0.2 } as const;

/**
 * A working set that does not fit: usage at the limit, file pages read again each second, and time lost to it (judged; 5 % is where Meta's oomd and
 * the kernel's own documentation of PSI see trouble).
 */
export const THRASH = { atLimit: 0.95, samplesAtLimit: 0.8, refaultsPerSecond: 100, stall: 0.05 } as const;

/**
 * Kills soon after each start: how many, how alike (coefficient of variation), and how soon; later than that a slope would show which it is. Of two processes of one
 * name that live together, one that never holds this share of the other (`worker`) is its helper (judged).
 */
export const LOOP = {
  lives: 3,
  alike: 0.25,
  startUpSeconds: 20,
  frontLoaded: 0.8,
  points: 4,
  ofLimit: 0.8,
  worker: 0.1,
} as const;

/** Held at memory.high (measured: a 3 MiB/s allocator at high = 60 MiB stalls for 30 to 63 % of the time and goes on at 0.07 MiB/s). */
export const HIGH = { near: 0.95, samplesNear: 0.5, events: 10, stall: 0.1, growthLeft: 0.5 } as const;

/** Pages that went to swap and are not missed. */
export const SWAP = { ofHeld: 0.1, insPerSecond: 10 } as const;

/** The machine runs short: what was lost, or what is left, of its memory; the most of it that the suspect may have taken; the rest that nobody accounts for. */
export const NODE = { lost: 0.05, left: 0.08, suspect: 0.2, unaccounted: 0.2 } as const;

/** A gap of this many intervals between samples hides what happened in it. */
export const GAPS = { intervals: 3 } as const;
