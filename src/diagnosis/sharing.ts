/** What several processes hold together: copies that are made of shared pages, and sums that count one page many times. */
import type { ContainerRecording, ProcessRecording } from "./recording.ts";
import { type Series, median } from "./statistics.ts";
import { SHARING } from "./thresholds.ts";

export interface Unsharing {
  readonly processes: number;
  /** Of the cgroup's anon. */
  readonly grownBytes: number;
  /** By how much the processes' own RssAnon changed: about nothing. */
  readonly residentBytes: number;
  /** What became private, and what is shared no more; undefined where smaps_rollup was not read. */
  readonly madePrivateBytes: number | undefined;
  readonly sharedLessBytes: number | undefined;
  /** It cannot take more than this: RssAnon of all, when nothing is shared any more. */
  readonly boundBytes: number;
}

/**
 * Copy on write: anon grows, and no process gets larger. Each page of the heap that a forked child, or its parent, writes to is copied; RssAnon counts it
 * before as after, Shared_* loses it and Private_Dirty gains it.
 */
export function findUnsharing(container: ContainerRecording, gateBytes: number): Unsharing | undefined {
  const { anon } = container.kinds;
  const throughout = container.processes.filter((one) => livedThrough(one.rssAnon, container));
  const residentNow = lastOf(container.sums.rssAnon);
  if (throughout.length < 2 || residentNow === undefined) return undefined;
  const from = Math.max(...throughout.map(({ rssAnon }) => rssAnon.times[0] ?? 0));
  const at = anon.times.findIndex((time) => time >= from);
  const grownBytes = (anon.values.at(-1) ?? 0) - (anon.values[at] ?? 0);
  if (at < 0 || grownBytes < gateBytes) return undefined;
  const residentBytes = sumOf(throughout, "rssAnon", from);
  if (Math.abs(residentBytes) > SHARING.resident * grownBytes) return undefined;
  const common = { processes: throughout.length, grownBytes, residentBytes, boundBytes: residentNow };
  const read = throughout.filter(({ shared }) => livedThrough(shared, container));
  if (read.length < 2) {
    // Every process was read, none grew, and the sum was larger than what is charged: pages were counted twice, and are so no more.
    const before = container.sums.rssAnon.values[0] ?? 0;
    if (before < (anon.values[at] ?? 0) + grownBytes / 2) return undefined;
    return { ...common, madePrivateBytes: undefined, sharedLessBytes: undefined };
  }
  const madePrivateBytes = sumOf(read, "unshared", from);
  const sharedLessBytes = -sumOf(read, "shared", from);
  if (sharedLessBytes < SHARING.exchanged * madePrivateBytes || madePrivateBytes < SHARING.exchanged * grownBytes)
    return undefined;
  return { ...common, madePrivateBytes, sharedLessBytes };
}

/** It was there within the first third of the time and at its end, and was read. */
function livedThrough({ times }: Series, { firstSeconds, lastSeconds }: ContainerRecording): boolean {
  const first = times[0];
  const last = times.at(-1);
  const seconds = lastSeconds - firstSeconds;
  if (first === undefined || last === undefined || times.length < 2) return false;
  return first <= firstSeconds + seconds / 3 && last >= lastSeconds - seconds / 6;
}

function sumOf(processes: readonly ProcessRecording[], field: "rssAnon" | "shared" | "unshared", from: number): number {
  return processes.reduce((sum, { [field]: { times, values } }) => {
    const at = Math.max(
      0,
      times.findIndex((time) => time >= from),
    );
    return sum + (values.at(-1) ?? 0) - (values[at] ?? 0);
  }, 0);
}

function lastOf({ values }: Series): number | undefined {
  return values.at(-1);
}

export interface Artefact {
  readonly rssBytes: number;
  readonly pssBytes: number;
  readonly usageBytes: number;
  /** Of the sum of RSS, what is counted more than once. */
  readonly twicePercent: number;
  readonly processes: number;
}

/** The sum of RSS says more than there is, by enough to be believed. */
export function findArtefact(
  { sums, usage, anonAndSwap }: ContainerRecording,
  gateBytes: number,
): Artefact | undefined {
  const [rss, pss] = [sums.rss, sums.pss].map(({ values }) => median(values));
  if (rss === undefined || pss === undefined || sums.pss.values.length === 0) return undefined;
  const used = median(usage.values);
  const twice = rss - pss;
  if (rss <= used || twice < gateBytes || twice < SHARING.artefact * rss) return undefined;
  // Memory that itself comes and goes by as much is the story then, and not the sum.
  const sorted = anonAndSwap.values.toSorted((a, b) => a - b);
  const moves = (sorted[Math.floor(0.9 * sorted.length)] ?? 0) - (sorted[Math.floor(0.1 * sorted.length)] ?? 0);
  if (moves > SHARING.artefact * twice) return undefined;
  const processes = Math.round(median(sums.processes.values));
  // One process shares only with others outside, whose pages are charged there: its own RSS misleads nobody by a sum.
  if (processes < 2) return undefined;
  return { rssBytes: rss, pssBytes: pss, usageBytes: used, twicePercent: Math.round((100 * twice) / rss), processes };
}
