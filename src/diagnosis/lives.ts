/**
 * One life after another: a restart sets memory back, so that the series over all of them shows no trend where each life has one. Lives are incarnations
 * of the container; where the cgroup outlives its processes, those of its main program.
 */
import type { ContainerGrowth } from "./growth.ts";
import { incarnations } from "./growth.ts";
import type { ContainerRecording, ProcessRecording, Recording } from "./recording.ts";
import { type Series, median, theilSen } from "./statistics.ts";
import { ENOUGH, LOOP } from "./thresholds.ts";
import { judgeTrend } from "./trend.ts";

export interface Life {
  readonly anon: Series;
  readonly fromSeconds: number;
  readonly untilSeconds: number;
  /** It ended while it was watched. */
  readonly ended: boolean;
  /** Its beginning was watched as well. */
  readonly begun: boolean;
  /** Where it is that of one process. */
  readonly process?: ProcessRecording;
}

/** In order of time; one life where nothing restarted. */
export function livesOf(recording: Recording, { container }: ContainerGrowth): readonly Life[] {
  const containers = incarnations(recording, container);
  if (containers.length > 1) return ordered(containers.map((one) => ofContainer(recording, one)));
  const chain = mainChain(container);
  if (chain.length > 1) return ordered(chain.map((process) => ofProcess(recording, process)));
  return [ofContainer(recording, container)];
}

function ordered(lives: readonly Life[]): readonly Life[] {
  return lives.toSorted((a, b) => a.fromSeconds - b.fromSeconds);
}

function ofContainer(
  { lastSeconds }: Recording,
  { anonAndSwap, firstSeconds, lastSeconds: last }: ContainerRecording,
): Life {
  return {
    anon: anonAndSwap,
    fromSeconds: firstSeconds,
    untilSeconds: last,
    ended: last < lastSeconds,
    begun: firstSeconds > 0,
  };
}

function ofProcess({ lastSeconds }: Recording, process: ProcessRecording): Life {
  const { rssAnon, swap } = process;
  const swapAt = new Map(swap.times.map((time, i) => [time, swap.values[i] ?? 0]));
  const from = rssAnon.times[0] ?? 0;
  const until = rssAnon.times.at(-1) ?? 0;
  const values = rssAnon.values.map((value, i) => value + (swapAt.get(rssAnon.times[i] ?? 0) ?? 0));
  return {
    anon: { times: rssAnon.times, values },
    fromSeconds: from,
    untilSeconds: until,
    ended: until < lastSeconds,
    begun: from > 0,
    process,
  };
}

/**
 * Processes of one name that never live at the same time: a program that is started again and again. Of several names the one that held most. Those that hold next
 * to nothing beside a life (a wrapper, a child before its exec) are no lives; two that are alike are workers, and then there is no chain.
 */
function mainChain({ processes }: ContainerRecording): readonly ProcessRecording[] {
  const named = new Map<string, ProcessRecording[]>();
  for (const process of processes) {
    if (process.rssAnon.times.length > 0) named.set(process.comm, [...(named.get(process.comm) ?? []), process]);
  }
  const mostOf = (list: readonly ProcessRecording[]): number => Math.max(0, ...list.map(peakOf));
  const largest = [...named.values()].toSorted((a, b) => mostOf(b) - mostOf(a))[0] ?? [];
  const chain: ProcessRecording[] = [];
  for (const one of largest.toSorted((a, b) => peakOf(b) - peakOf(a) || a.pid - b.pid)) {
    const beside = chain.filter((other) => liveTogether(one, other));
    if (beside.some((other) => peakOf(one) >= LOOP.worker * peakOf(other))) return [];
    if (beside.length === 0) chain.push(one);
  }
  return chain;
}

function peakOf({ rssAnon }: ProcessRecording): number {
  return rssAnon.values.reduce((peak, value) => Math.max(peak, value), 0);
}

function liveTogether(a: ProcessRecording, b: ProcessRecording): boolean {
  const from = (process: ProcessRecording): number => process.rssAnon.times[0] ?? 0;
  const until = (process: ProcessRecording): number => process.rssAnon.times.at(-1) ?? 0;
  return from(a) <= until(b) && from(b) <= until(a);
}

export interface LeakInLives {
  /** Lives that have enough points to show that they rise to their end. */
  readonly rising: number;
  readonly points: number;
  readonly slope: number;
  readonly low: number;
  readonly high: number;
  readonly netBytes: number;
}

/**
 * Each life that can show it rises to its end, at a rate of its own, by enough: what start-up demand does not do. One life is enough where it passes the whole
 * test by itself.
 */
export function leakInLives(
  lives: readonly Life[],
  gateBytes: number,
  limitBytes: number | undefined,
): LeakInLives | undefined {
  const told = lives.filter(({ anon }) => anon.times.length >= LOOP.points);
  const rising = told.filter(({ anon }) => risesToItsEnd(anon, gateBytes));
  const longest = told.toSorted((a, b) => b.anon.times.length - a.anon.times.length)[0];
  const whole = longest === undefined ? undefined : judgeTrend(longest.anon, limitBytes);
  if (whole?.trend === "Growing") {
    const { points, slope, low, high, netBytes } = whole;
    return { rising: Math.max(1, rising.length), points, slope, low, high, netBytes };
  }
  const points = rising.reduce((sum, { anon }) => sum + anon.times.length, 0);
  if (rising.length < 2 || rising.length < told.length / 2 || points < ENOUGH.points) return undefined;
  const slopes = rising.map(({ anon }) => theilSen(anon).slope);
  return {
    rising: rising.length,
    points,
    slope: median(slopes),
    low: Math.min(...slopes),
    high: Math.max(...slopes),
    netBytes: median(rising.map(({ anon }) => netOf(anon))),
  };
}

function risesToItsEnd(anon: Series, gateBytes: number): boolean {
  const net = netOf(anon);
  const middle = anon.values[anon.values.length >> 1] ?? 0;
  const early = middle - (anon.values[0] ?? 0);
  return net >= gateBytes && theilSen(anon).low > 0 && early < LOOP.frontLoaded * net;
}

function netOf({ values }: Series): number {
  return (values.at(-1) ?? 0) - (values[0] ?? 0);
}

export interface Loop {
  readonly lives: number;
  /** Median, in seconds, as well as the sampling can tell. */
  readonly seconds: number;
}

/** The same end soon after each start. The time is known to one interval: two lives that differ by less are alike. */
export function findLoop(lives: readonly Life[], intervalSeconds: number): Loop | undefined {
  const ended = lives.filter(({ ended, begun }) => ended && begun);
  if (ended.length < LOOP.lives) return undefined;
  const seconds = ended.map(({ fromSeconds, untilSeconds }) => untilSeconds - fromSeconds + intervalSeconds / 2);
  const mean = seconds.reduce((sum, s) => sum + s / seconds.length, 0);
  const deviation = Math.sqrt(seconds.reduce((sum, s) => sum + (s - mean) ** 2 / seconds.length, 0));
  if (mean > LOOP.startUpSeconds || deviation > Math.max(LOOP.alike * mean, intervalSeconds)) return undefined;
  return { lives: ended.length, seconds: median(seconds) };
}
