/** What is kept of one reading of a process, and of all processes of a container together. */
import type { ProcessReading } from "../api/collection.ts";

/**
 * Of each process. shared and unshared: Shared_* and Private_Dirty of the rollup. dirtyFile: dirty pages that are neither anonymous nor shared memory, so
 * those of mapped files. hugePages: AnonHugePages. utime: ticks of 10 ms in user mode since its start. descriptors: open ones; sockets and pipes as far as they were looked at.
 */
export const PROCESS_FIELDS = [
  "pssAnon",
  "rssAnon",
  "rssShmem",
  "swap",
  "threads",
  "vmSize",
  "shared",
  "unshared",
  "hugePages",
  "pageTables",
  "descriptors",
  "utime",
] as const;

export const SUM_FIELDS = [
  "rss",
  "pss",
  "pssAnon",
  "rssAnon",
  "rssFile",
  "pssShmem",
  "shared",
  "unshared",
  "dirtyFile",
  "pageTables",
  "threads",
  "processes",
  "descriptors",
  "sockets",
  "pipes",
] as const;

export type SumField = (typeof SUM_FIELDS)[number];
export type ProcessField = (typeof PROCESS_FIELDS)[number];
/** A zombie has none, and takes nothing away from what is known of the rest. */
export function hasMemory({ status }: ProcessReading): boolean {
  return status["VmRSS"] !== undefined;
}

type Of = (reading: ProcessReading) => number | undefined;

/** Undefined when one of them does not tell. */
export function total(readings: readonly ProcessReading[], of: Of): number | undefined {
  let sum = 0;
  for (const reading of readings) {
    const one = of(reading);
    if (one === undefined) return undefined;
    sum += one;
  }
  return sum;
}

export const status =
  (name: string): Of =>
  (reading) =>
    reading.status[name];
export const rollup =
  (name: string): Of =>
  (reading) =>
    reading.rollup?.[name];

/** Descriptors of a kind, as many as there would be if the rest were like those that were looked at. */
const opened =
  (kind: string): Of =>
  ({ descriptors }) =>
    descriptors === undefined || (descriptors.looked === 0 && descriptors.open > 0)
      ? undefined
      : Math.round(((descriptors.kinds[kind] ?? 0) * descriptors.open) / Math.max(1, descriptors.looked));

function sharedOf({ rollup: sizes }: ProcessReading): number | undefined {
  const [clean, dirty] = [sizes?.["Shared_Clean"], sizes?.["Shared_Dirty"]];
  return clean === undefined || dirty === undefined ? undefined : clean + dirty;
}

/** Private_Dirty + Shared_Dirty, less what is anonymous and what is shared memory: pages of files, written to and not yet on disk. */
function dirtyFileOf({ rollup: sizes, status: own }: ProcessReading): number | undefined {
  const [unshared, shared, anonymous] = [sizes?.["Private_Dirty"], sizes?.["Shared_Dirty"], sizes?.["Anonymous"]];
  if (unshared === undefined || shared === undefined || anonymous === undefined) return undefined;
  return Math.max(0, unshared + shared - anonymous - (own["RssShmem"] ?? 0));
}

export const SUMS: Readonly<Record<SumField, Of>> = {
  rss: status("VmRSS"),
  pss: rollup("Pss"),
  pssAnon: rollup("Pss_Anon"),
  rssAnon: status("RssAnon"),
  rssFile: status("RssFile"),
  pssShmem: rollup("Pss_Shmem"),
  shared: sharedOf,
  unshared: rollup("Private_Dirty"),
  dirtyFile: dirtyFileOf,
  pageTables: status("VmPTE"),
  threads: ({ threads }) => threads,
  processes: () => 1,
  descriptors: ({ descriptors }) => descriptors?.open,
  sockets: opened("socket"),
  pipes: opened("pipe"),
};

export const PROCESS: Readonly<Record<ProcessField, Of>> = {
  pssAnon: rollup("Pss_Anon"),
  rssAnon: status("RssAnon"),
  rssShmem: status("RssShmem"),
  swap: status("VmSwap"),
  threads: ({ threads }) => threads,
  vmSize: status("VmSize"),
  shared: sharedOf,
  unshared: rollup("Private_Dirty"),
  hugePages: rollup("AnonHugePages"),
  pageTables: status("VmPTE"),
  descriptors: ({ descriptors }) => descriptors?.open,
  utime: ({ utime }) => utime,
};
