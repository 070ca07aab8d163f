/**
 * What a series of memory looks like when it is no steady rise: a burst that goes away, one step, a warm-up that has ended or is ending, a burst of which a
 * part stays. Each answer is a description with its numbers, or nothing.
 */
import { MAX_POINTS, type Series, blockMinima, median, noise, span, theilSen } from "./statistics.ts";
import { PLATEAU, RETENTION, SPIKE, STEP } from "./thresholds.ts";

/** The highest less the lowest; 0 where there is nothing. */
export function rangeOf(values: readonly number[]): number {
  return (
    values.reduce((most, v) => Math.max(most, v), 0) - values.reduce((least, v) => Math.min(least, v), values[0] ?? 0)
  );
}

export interface Spike {
  /** Above the median, in bytes. */
  readonly heightBytes: number;
  readonly peakBytes: number;
  /** All bursts together. */
  readonly seconds: number;
  readonly bursts: number;
}

/** One burst or a few, short, each gone again. Undefined as well where the last one has not come back for long enough. */
export function findSpike({ times, values }: Series, gateBytes: number): Spike | undefined {
  const base = median(values);
  const peak = values.reduce((most, value) => Math.max(most, value), 0);
  if (peak <= SPIKE.overMedian * base || peak - base < gateBytes) return undefined;
  const above = values.map((value) => value > base + Math.max(SPIKE.returnsWithin * base, (peak - base) / 5));
  const first = above.indexOf(true);
  const last = above.lastIndexOf(true);
  const many = above.filter(Boolean).length;
  const after = values.slice(last + 1);
  const before = first === 0 ? base : median(values.slice(0, first));
  if (many >= SPIKE.ofWindow * values.length || after.length < SPIKE.samplesAfter) return undefined;
  if (Math.abs(median(after) - before) > Math.max(SPIKE.returnsWithin * before, gateBytes / 4)) return undefined;
  const interval = span({ times, values }) / Math.max(1, values.length - 1);
  const bursts = above.filter((one, i) => one && above[i - 1] !== true).length;
  return { heightBytes: peak - base, peakBytes: peak, seconds: many * interval, bursts };
}

export interface Step {
  readonly bytes: number;
  readonly atSeconds: number;
}

/** One changepoint between two level stretches: the split with the least squared error around two means, over at most two intervals. */
export function findStep(series: Series, gateBytes: number): Step | undefined {
  const { times, values } = blockMinima(series, MAX_POINTS);
  const n = values.length;
  const at = splitOf(values);
  // One sample may have fallen into the change itself.
  const before = { times: times.slice(0, at), values: values.slice(0, at) };
  const after = { times: times.slice(at + 1), values: values.slice(at + 1) };
  if (before.values.length < STEP.samplesBeside || after.values.length < STEP.samplesBeside) return undefined;
  const bytes = median(after.values) - median(before.values);
  const rises = values.slice(1).map((value, i) => value - (values[i] ?? 0));
  const within = (rises[at - 1] ?? 0) + Math.max(rises[at - 2] ?? 0, rises[at] ?? 0, 0);
  const net = (values[n - 1] ?? 0) - (values[0] ?? 0);
  if (bytes < gateBytes || within < STEP.share * Math.max(bytes, net)) return undefined;
  const moves = [before, after].map((part) => Math.abs(theilSen(part).slope) * span(part));
  return moves.every((move) => move <= STEP.stillMoves * bytes) ? { bytes, atSeconds: times[at] ?? 0 } : undefined;
}

/** Index of the first value of the second part. */
function splitOf(values: readonly number[]): number {
  const total = values.reduce((sum, value) => sum + value, 0);
  let left = 0;
  let best = { at: 1, gain: -1 };
  for (let at = 1; at < values.length; at++) {
    left += values[at - 1] ?? 0;
    const difference = left / at - (total - left) / (values.length - at);
    const gain = difference * difference * at * (values.length - at);
    if (gain > best.gain) best = { at, gain };
  }
  return best.at;
}

export interface Plateau {
  /** From the floor at the beginning to the floor of the last third. */
  readonly riseBytes: number;
  readonly levelBytes: number;
  /** When it had come to 95 % of the rise. */
  readonly atSeconds: number;
  /** How far the highest reading lies above the level. */
  readonly peakAboveBytes: number;
  /** Share of the floor's rise that came with the highest reading: its floor before against that after. */
  readonly withPeak: number;
}

/** Its floor rose by enough, and then stood still for the last third of the window. */
export function findPlateau(series: Series, gateBytes: number): Plateau | undefined {
  const floor = blockMinima(series, 30);
  const n = floor.values.length;
  if (n < 9) return undefined;
  const from = Math.floor((2 * n) / 3);
  const last = { times: floor.times.slice(from), values: floor.values.slice(from) };
  const level = median(last.values);
  const start = Math.min(...floor.values.slice(0, Math.max(1, Math.floor(n / 6))));
  const rise = level - start;
  const most = Math.max(PLATEAU.lastThirdRange * level, 3 * noise(floor));
  const moves = Math.abs(theilSen(last).slope) * span(last);
  const range = Math.max(...last.values) - Math.min(...last.values);
  if (rise < gateBytes || range > most || moves > Math.max(0.1 * rise, gateBytes / 8)) return undefined;
  const there = floor.values.findIndex((value) => value >= start + 0.95 * rise - noise(floor));
  const peak = series.values.reduce((best, value, i, all) => (value > (all[best] ?? 0) ? i : best), 0);
  const peakTime = series.times[peak] ?? 0;
  const floorBefore = median(floor.values.filter((_, i) => (floor.times[i] ?? 0) < peakTime));
  return {
    riseBytes: rise,
    levelBytes: level,
    atSeconds: floor.times[there] ?? 0,
    peakAboveBytes: (series.values[peak] ?? 0) - level,
    withPeak: Math.max(0, Math.min(1, (level - Math.max(start, floorBefore)) / rise)),
  };
}

export interface Retention {
  readonly peakBytes: number;
  readonly keptBytes: number;
  readonly keptPercent: number;
}

/** A burst came, a part of it was given back, and the rest has stayed: neither a spike, which goes, nor a warm-up, which falls nowhere. */
export function findRetention(series: Series, gateBytes: number): Retention | undefined {
  const plateau = findPlateau(series, gateBytes);
  if (plateau === undefined || plateau.peakAboveBytes < gateBytes || plateau.withPeak < 0.5) return undefined;
  const { riseBytes, peakAboveBytes, levelBytes } = plateau;
  const share = riseBytes / (riseBytes + peakAboveBytes);
  if (share < RETENTION.keeps) return undefined;
  return { peakBytes: levelBytes + peakAboveBytes, keptBytes: riseBytes, keptPercent: Math.round(100 * share) };
}

export interface Saturation {
  /** Where it is going, in bytes. */
  readonly asymptoteBytes: number;
  /** Standard deviation of the readings around the curve. */
  readonly sigmaBytes: number;
}

/**
 * y = a + b (1 - e^(-t/τ)), by least squares for each τ of a grid; only where it fits better than a line by 10 in BIC (Schwarz 1978; one more parameter), and
 * where at least one τ lies in the window: otherwise nobody can tell where the curve goes.
 */
export function findSaturation(measured: Series): Saturation | undefined {
  const series = blockMinima(measured, MAX_POINTS);
  const { times, values } = series;
  const n = values.length;
  const seconds = span(series);
  if (n < 12 || seconds <= 0) return undefined;
  const origin = times[0] ?? 0;
  const line = leastSquares(
    times.map((t) => t - origin),
    values,
  );
  let best: { readonly tau: number; readonly fit: Fit } | undefined;
  for (let k = 0; k <= 30; k++) {
    const tau = (seconds / 20) * 60 ** (k / 30);
    const fit = leastSquares(
      times.map((t) => 1 - Math.exp(-(t - origin) / tau)),
      values,
    );
    if (best === undefined || fit.squares < best.fit.squares) best = { tau, fit };
  }
  if (best === undefined || best.tau > seconds || best.fit.slope <= 0) return undefined;
  const better = n * Math.log(Math.max(1, line.squares) / Math.max(1, best.fit.squares)) - Math.log(n);
  if (better < PLATEAU.betterBic) return undefined;
  return { asymptoteBytes: best.fit.intercept + best.fit.slope, sigmaBytes: Math.sqrt(best.fit.squares / n) };
}

interface Fit {
  readonly intercept: number;
  readonly slope: number;
  /** Sum of the squares that are left. */
  readonly squares: number;
}

/** Ordinary least squares of y on x; a level line where x does not vary. */
export function leastSquares(x: readonly number[], y: readonly number[]): Fit {
  const n = Math.max(1, x.length);
  const meanX = x.reduce((sum, v) => sum + v / n, 0);
  const meanY = y.reduce((sum, v) => sum + v / n, 0);
  let [xx, xy, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const [dx, dy] = [(x[i] ?? 0) - meanX, (y[i] ?? 0) - meanY];
    xx += dx * dx;
    xy += dx * dy;
    yy += dy * dy;
  }
  const slope = xx === 0 ? 0 : xy / xx;
  return { intercept: meanY - slope * meanX, slope, squares: Math.max(0, yy - slope * xy) };
}
