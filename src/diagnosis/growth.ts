/** How each container and process grew: every trend that a verdict is made of, and whose growth is the story. */
import { MEMORY_KINDS, type MemoryKind } from "../api/collection.ts";
import { isEnough } from "./holder.ts";
import type { ContainerRecording, ProcessRecording, Recording } from "./recording.ts";
import type { Series } from "./statistics.ts";
import { SHARE } from "./thresholds.ts";
import { type Trend, judgeTrend } from "./trend.ts";

export interface ProcessGrowth {
  readonly process: ProcessRecording;
  /** Trend of Pss_Anon or RssAnon, with swap added. */
  readonly trend: Trend;
  readonly signal: "Pss_Anon" | "RssAnon";
  /** Of the growth of all processes of the container, 0 to 100. */
  readonly sharePercent: number;
}

export interface ContainerGrowth {
  readonly container: ContainerRecording;
  /** Kinds that the kernel did not tell are absent. */
  readonly kinds: Readonly<Partial<Record<MemoryKind, Trend>>>;
  /** anon + swap where there is swap: what a leak is looked for in. */
  readonly anon: Trend | undefined;
  readonly usage: Trend;
  /** The eight that grew most, largest growth first. */
  readonly processes: readonly ProcessGrowth[];
}

/** As many as a finding can hold. */
const MAX_JUDGED = 8;

export function containerGrowth(container: ContainerRecording): ContainerGrowth {
  const limit = container.limitBytes;
  const kinds: Partial<Record<MemoryKind, Trend>> = {};
  for (const kind of MEMORY_KINDS) {
    if (container.kinds[kind].times.length > 0) kinds[kind] = judgeTrend(container.kinds[kind], limit);
  }
  return {
    container,
    kinds,
    anon: container.anonAndSwap.times.length > 0 ? judgeTrend(container.anonAndSwap, limit) : undefined,
    usage: judgeTrend(container.usage, limit),
    processes: processGrowth(container),
  };
}

/** Only the processes that grew most are judged, because a judgement costs milliseconds; shares count all of them. */
function processGrowth(container: ContainerRecording): ProcessGrowth[] {
  const measured = container.processes.map((process) => {
    const signal = usesPss(process) ? "Pss_Anon" : "RssAnon";
    const series = plus(signal === "Pss_Anon" ? process.pssAnon : process.rssAnon, process.swap);
    return { process, signal, series, net: (series.values.at(-1) ?? 0) - (series.values[0] ?? 0) } as const;
  });
  const total = measured.reduce((sum, { net }) => sum + Math.max(0, net), 0);
  return measured
    .toSorted((a, b) => b.net - a.net || a.process.pid - b.process.pid)
    .slice(0, MAX_JUDGED)
    .map(({ process, signal, series, net }) => ({
      process,
      signal,
      trend: judgeTrend(series, container.limitBytes),
      sharePercent: total <= 0 ? 0 : Math.round((100 * Math.max(0, net)) / total),
    }));
}

/** Pss, where it was read often enough; but of a process that shares nothing Rss says the same, and was read in every sample. */
function usesPss({ pssAnon, rssAnon }: ProcessRecording): boolean {
  if (!isEnough(pssAnon, rssAnon)) return false;
  if (pssAnon.times.length >= rssAnon.times.length) return true;
  const rssAt = new Map(rssAnon.times.map((time, i) => [time, rssAnon.values[i] ?? 0]));
  return pssAnon.times.some((time, i) => {
    const rss = rssAt.get(time) ?? 0;
    return Math.abs((pssAnon.values[i] ?? 0) - rss) > SHARE.identity * rss;
  });
}

/** Sums two series at the times of the first; a time that the second does not have counts its latest value before. */
function plus(a: Series, b: Series): Series {
  let at = 0;
  let latest = 0;
  const values = a.times.map((time, i) => {
    while (at < b.times.length && (b.times[at] ?? 0) <= time) latest = b.values[at++] ?? 0;
    return (a.values[i] ?? 0) + latest;
  });
  return { times: a.times, values };
}

/** The kinds that can end in a kill: everything but the page cache, which goes before anything is killed. */
export type HeldKind = "anon" | "shmem" | "kernel" | "sock";
const HELD: readonly HeldKind[] = ["anon", "shmem", "kernel", "sock"];

/** The trend of a held kind: anon with swap. */
export function heldTrend(growth: ContainerGrowth, kind: HeldKind): Trend | undefined {
  return kind === "anon" ? growth.anon : growth.kinds[kind];
}

/** The held kinds that pass the whole test, fastest first. */
export function growingKinds(growth: ContainerGrowth): HeldKind[] {
  const slope = (kind: HeldKind): number => heldTrend(growth, kind)?.slope ?? 0;
  return HELD.filter((kind) => heldTrend(growth, kind)?.trend === "Growing" && matters(growth, kind)).toSorted(
    (a, b) => slope(b) - slope(a),
  );
}

/** Kernel memory follows the page cache and the page tables of others: below a fifth of the growth it is no finding. */
function matters(growth: ContainerGrowth, kind: HeldKind): boolean {
  if (kind !== "kernel" && kind !== "sock") return true;
  const net = heldTrend(growth, kind)?.netBytes ?? 0;
  const all = MEMORY_KINDS.reduce((sum, other) => sum + Math.max(0, growth.kinds[other]?.netBytes ?? 0), 0);
  return net >= SHARE.kernel * all;
}

/** The held kinds whose floor rose by what matters and that stand above it at the end, although nothing proves a trend: whatever they are, they are not steady. */
export function risenKinds(growth: ContainerGrowth): HeldKind[] {
  return HELD.filter((kind) => {
    const trend = heldTrend(growth, kind);
    return (
      trend !== undefined && Math.min(trend.floorBytes, trend.netBytes) >= trend.gateBytes && matters(growth, kind)
    );
  });
}

/** The held kinds that grew by enough, but in no shape that proves a trend. */
export function doubtfulKinds(growth: ContainerGrowth): HeldKind[] {
  return HELD.filter((kind) => {
    const trend = heldTrend(growth, kind);
    return trend?.trend === "Unknown" && trend.shape !== "TooShort" && matters(growth, kind);
  });
}

/**
 * The container whose growth is the story: one whose held memory grows before one with a doubtful rise, before one with growing cache,
 * before the rest; among equals the faster, then `preferred`, then the larger.
 */
export function chooseStory(
  all: readonly ContainerGrowth[],
  preferred: (container: ContainerRecording) => boolean,
): ContainerGrowth | undefined {
  const rank = (growth: ContainerGrowth): readonly number[] => {
    const growing = growingKinds(growth);
    const fastest = growing[0];
    const tier =
      growing.length > 0 ? 4 : doubtfulKinds(growth).length > 0 ? 3 : growth.kinds.file?.trend === "Growing" ? 2 : 1;
    const slope = fastest === undefined ? 0 : (heldTrend(growth, fastest)?.slope ?? 0);
    const wanted = preferred(growth.container) ? 1 : 0;
    const usage = growth.container.usage.values.at(-1) ?? 0;
    // Where nothing can be told, the one with the most to tell stands for the rest.
    return tier === 1
      ? [tier, wanted, growth.usage.shape === "TooShort" ? 0 : 1, growth.anon?.netBytes ?? 0, usage]
      : [tier, slope, wanted, usage];
  };
  return all
    .map((growth) => ({ growth, rank: rank(growth) }))
    .reduce<{ growth: ContainerGrowth; rank: readonly number[] } | undefined>(
      (best, one) => (best === undefined || compare(one.rank, best.rank) > 0 ? one : best),
      undefined,
    )?.growth;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Containers of the same pod and name as this one, itself included: its incarnations. */
export function incarnations(recording: Recording, container: ContainerRecording): readonly ContainerRecording[] {
  if (container.name === undefined) return [container];
  return recording.containers.filter((c) => c.podUid === container.podUid && c.name === container.name);
}

/**
 * The same container in other pods, and its other lives in this one, that grow by the whole test. Each is a measurement of its own: it
 * makes up for what a restart takes from the view.
 */
export function otherLivesGrowing(all: readonly ContainerGrowth[], story: ContainerGrowth): readonly ContainerGrowth[] {
  const { name } = story.container;
  if (name === undefined) return [];
  return all.filter((one) => one !== story && one.container.name === name && one.anon?.trend === "Growing");
}
