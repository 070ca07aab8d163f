/**
 * Does memory follow the load? The pack has no requests; what it has are things that come and go with them: sockets, threads, descriptors, processes. What
 * moves with one of these, in both directions, at a price for each that stays the same, is load; a leak has a rising price.
 */
import type { ContainerRecording } from "./recording.ts";
import { leastSquares } from "./shape.ts";
import { type Series, median, span, theilSen } from "./statistics.ts";
import { LOAD, RETENTION } from "./thresholds.ts";

export type ProxyName = "sockets" | "threads" | "descriptors" | "processes";
const PROXIES: readonly ProxyName[] = ["sockets", "threads", "processes", "descriptors"];

export interface Follows {
  readonly proxy: ProxyName;
  /** Of the levels, 0 to 100. */
  readonly r2Percent: number;
  readonly bytesEach: number;
  /** The load fell again while it was watched, and memory with it. False: only a rise was seen, which a leak of the same things shows as well. */
  readonly bothWays: boolean;
}

/** Which of them were measured in at least half of the samples, and were there at all. */
export function proxiesSeen({ sums, usage }: ContainerRecording): ProxyName[] {
  return PROXIES.filter((proxy) => {
    const { values } = sums[proxy];
    return values.length >= Math.max(2, usage.values.length / 2) && Math.max(0, ...values.slice(0, 1000)) > 0;
  });
}

/** Whether anything was read that tells of requests: threads and processes are always there, and mostly stand still under any load. */
export function knowsLoad(container: ContainerRecording): boolean {
  return proxiesSeen(container).some((proxy) => proxy === "sockets" || proxy === "descriptors");
}

/** The proxy that explains the series best. */
export function followsLoad(container: ContainerRecording, series: Series, gateBytes: number): Follows | undefined {
  const found = proxiesSeen(container).flatMap((proxy) => {
    const one = follows(series, container.sums[proxy], gateBytes);
    return one === undefined ? [] : [{ proxy, ...one }];
  });
  return found.toSorted((a, b) => Number(b.bothWays) - Number(a.bothWays) || b.r2Percent - a.r2Percent)[0];
}

/** Both series at the times that both have. */
function joined(a: Series, b: Series): { readonly times: number[]; readonly x: number[]; readonly y: number[] } {
  const at = new Map(b.times.map((time, i) => [time, b.values[i] ?? 0]));
  const both = a.times.flatMap((time, i) => {
    const x = at.get(time);
    return x === undefined ? [] : [{ time, x, y: a.values[i] ?? 0 }];
  });
  return { times: both.map((p) => p.time), x: both.map((p) => p.x), y: both.map((p) => p.y) };
}

function follows(series: Series, proxy: Series, gateBytes: number): Omit<Follows, "proxy"> | undefined {
  const { times, x, y } = joined(series, proxy);
  if (x.length < 12) return undefined;
  const range = Math.max(...x) - Math.min(...x);
  if (range < LOAD.units || range < LOAD.range * median(x)) return undefined;
  const fit = leastSquares(x, y);
  if (fit.slope <= 0) return undefined;
  const r2 = correlation(x, y) ** 2;
  const steps = correlation(differences(x), differences(y));
  if (r2 < LOAD.levels && steps < LOAD.differences) return undefined;
  // What the load does not explain must not grow.
  const left = { times, values: y.map((value, i) => value - fit.intercept - fit.slope * (x[i] ?? 0)) };
  const moved = fit.slope * range;
  if (
    moved < gateBytes ||
    Math.abs(theilSen(left).slope) * span(left) > Math.max(gateBytes / 2, LOAD.costStays * moved)
  )
    return undefined;
  const bothWays = comesBack(x) >= LOAD.comesBack && comesBack(y) >= LOAD.comesBack / 2;
  return { r2Percent: Math.round(100 * r2), bytesEach: fit.slope, bothWays };
}

/** How far a series fell from its highest point, or rose to it from its lowest before, whichever is less, as a share of its range. */
function comesBack(values: readonly number[]): number {
  const most = Math.max(...values);
  const at = values.indexOf(most);
  const range = most - Math.min(...values);
  if (range === 0) return 0;
  return (most - Math.min(...values.slice(at))) / range;
}

function differences(values: readonly number[]): number[] {
  return values.slice(1).map((value, i) => value - (values[i] ?? 0));
}

/** Pearson's; 0 where one of the two does not vary. */
export function correlation(x: readonly number[], y: readonly number[]): number {
  const { slope, squares } = leastSquares(x, y);
  const mean = y.reduce((sum, v) => sum + v / Math.max(1, y.length), 0);
  const all = y.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return all === 0 || slope === 0 ? 0 : Math.sign(slope) * Math.sqrt(Math.max(0, 1 - squares / all));
}

export interface Kept {
  readonly proxy: ProxyName;
  /** By how much of its range the demand fell while the memory stayed. */
  readonly fellPercent: number;
}

/** The demand rose and fell again, and the memory that came with it has stayed. */
export function keptAfterDemand(container: ContainerRecording, series: Series): Kept | undefined {
  for (const proxy of proxiesSeen(container)) {
    const { x, y } = joined(series, container.sums[proxy]);
    if (x.length < 12) continue;
    const range = Math.max(...x) - Math.min(...x);
    if (range < LOAD.units) continue;
    let most = 0;
    const highest = x.map((value) => (most = Math.max(most, value)));
    const back = comesBack(x);
    if (back < RETENTION.demandFalls || comesBack(y) > RETENTION.demandFalls) continue;
    if (correlation(highest, y) ** 2 < 0.5) continue;
    return { proxy, fellPercent: Math.round(100 * back) };
  }
  return undefined;
}

/** Pearson's correlation of two series at the times that both have. */
export function togetherness(a: Series, b: Series): number {
  const { x, y } = joined(a, b);
  return x.length < 12 ? 0 : correlation(x, y);
}
