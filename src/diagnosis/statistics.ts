/**
 * The arithmetic of trends: slopes, significance, noise and shape of one series. Nothing here knows memory; a series is times in seconds
 * and values in bytes, so that slopes are bytes per second. Times must rise strictly. No function ever returns NaN for finite input.
 */

/** A series of one thing: `times[i]` in seconds, rising strictly; `values[i]` in bytes (or a count). */
export interface Series {
  readonly times: readonly number[];
  readonly values: readonly number[];
}

export interface Slope {
  /** Per second. */
  readonly slope: number;
  readonly low: number;
  readonly high: number;
}

/** Longer series are thinned by block minima before anything quadratic is done with them. */
export const MAX_POINTS = 200;

/** Room for the slopes of all pairs of such a series, used again by each call: a large target asks thousands of times. */
const SLOPES = new Float64Array((MAX_POINTS * (MAX_POINTS - 1)) / 2);

/** The two-sided 95 % point of the normal distribution. */
const Z95 = 1.959964;

/** Scales a median absolute deviation to a standard deviation of normal noise (Rousseeuw and Croux 1993). */
const MAD_TO_SIGMA = 1.4826;

export function median(values: readonly number[]): number {
  if (values.length === 0) return 0;
  return medianOfSorted(values.toSorted((a, b) => a - b));
}

function medianOfSorted(sorted: ArrayLike<number>): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  // Halved before the addition, so that two huge values cannot overflow.
  return sorted.length % 2 === 1 ? upper : (sorted[middle - 1] ?? 0) / 2 + upper / 2;
}

/** Seconds from the first to the last point. */
export function span({ times }: Series): number {
  return times.length === 0 ? 0 : (times.at(-1) ?? 0) - (times[0] ?? 0);
}

/**
 * Slope by Theil (1950) and Sen (1968): the median of the slopes of all pairs. Up to 29 % of the points may be wild without moving it.
 * The 95 % interval takes the slopes of rank (N ± 1.96 σ) / 2, where σ² is the variance of Kendall's S with ties
 * (Sen 1968, section 3). Fewer than two points: all zero. O(n²): thin long series first.
 */
export function theilSen({ times, values }: Series): Slope {
  const n = times.length;
  const pairs = (n * (n - 1)) / 2;
  if (pairs === 0) return { slope: 0, low: 0, high: 0 };
  const slopes = pairs <= SLOPES.length ? SLOPES.subarray(0, pairs) : new Float64Array(pairs);
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      slopes[at++] = ((values[j] ?? 0) - (values[i] ?? 0)) / ((times[j] ?? 0) - (times[i] ?? 0));
    }
  }
  slopes.sort();
  const reach = Z95 * Math.sqrt(kendallVariance(n, tieGroups(values, 0)));
  const low = Math.max(0, Math.round((pairs - reach) / 2) - 1);
  const high = Math.min(pairs - 1, Math.round((pairs + reach) / 2));
  return { slope: medianOfSorted(slopes), low: slopes[low] ?? 0, high: slopes[high] ?? 0 };
}

/** Variance of Kendall's S under no trend: [n(n-1)(2n+5) - Σ t(t-1)(2t+5)] / 18 over groups of t tied values (Kendall 1975). */
export function kendallVariance(n: number, ties: readonly number[]): number {
  const term = (k: number): number => k * (k - 1) * (2 * k + 5);
  return Math.max(0, (term(n) - ties.reduce((sum, t) => sum + term(t), 0)) / 18);
}

/** Sizes of groups of equal values. With a dead band, a group is what lies within it above the group's least value. */
function tieGroups(values: readonly number[], deadBand: number): number[] {
  const groups: number[] = [];
  let least = Number.NaN;
  let size = 0;
  for (const value of values.toSorted((a, b) => a - b)) {
    if (value === least || value - least < deadBand) size++;
    else {
      if (size > 0) groups.push(size);
      least = value;
      size = 1;
    }
  }
  if (size > 0) groups.push(size);
  return groups;
}

export interface MannKendall {
  /** Pairs that rise less pairs that fall. */
  readonly s: number;
  /** s over the number of pairs: 1 = every pair rises. */
  readonly tau: number;
  readonly variance: number;
  /** Standard score of s with continuity correction; 0 when nothing varies. */
  readonly z: number;
}

/**
 * Trend test by Mann (1945) and Kendall (1975) with correction for ties. Differences smaller than `deadBand` count as ties.
 * Samples of memory are autocorrelated, so feed it block minima, never raw readings: the score would be far too high.
 */
export function mannKendall(values: readonly number[], deadBand: number): MannKendall {
  let s = 0;
  for (let i = 0; i < values.length; i++) {
    for (let j = i + 1; j < values.length; j++) {
      const difference = (values[j] ?? 0) - (values[i] ?? 0);
      if (Math.abs(difference) >= deadBand) s += Math.sign(difference);
    }
  }
  const pairs = (values.length * (values.length - 1)) / 2;
  const variance = kendallVariance(values.length, tieGroups(values, deadBand));
  return {
    s,
    tau: pairs === 0 ? 0 : s / pairs,
    variance,
    z: variance === 0 ? 0 : (s - Math.sign(s)) / Math.sqrt(variance),
  };
}

/** The least point of each of `blocks` runs of neighbours; the floor of a noisy series. Fewer points than blocks: the series itself. */
export function blockMinima({ times, values }: Series, blocks: number): Series {
  const n = times.length;
  if (n <= blocks) return { times, values };
  const out: { times: number[]; values: number[] } = { times: [], values: [] };
  for (let block = 0; block < blocks; block++) {
    let best = Math.floor((block * n) / blocks);
    const end = Math.floor(((block + 1) * n) / blocks);
    for (let i = best + 1; i < end; i++) if ((values[i] ?? 0) < (values[best] ?? 0)) best = i;
    out.times.push(times[best] ?? 0);
    out.values.push(values[best] ?? 0);
  }
  return out;
}

/** Slopes of the first, middle and last third; neighbours share a point, so that a step between two thirds is not lost. */
export function thirds({ times, values }: Series): readonly [Slope, Slope, Slope] {
  const n = times.length;
  const part = (from: number, to: number): Slope =>
    theilSen({ times: times.slice(from, to), values: values.slice(from, to) });
  const one = Math.floor(n / 3);
  const two = Math.floor((2 * n) / 3);
  return [part(0, one + 1), part(one, two + 1), part(two, n)];
}

/**
 * The largest rise between neighbours as a share of `net`; 0 when there is no net growth. A rise over a pause is spread over it: of two points that lie three
 * usual intervals apart a third counts.
 */
export function largestStepShare({ times, values }: Series, net: number): number {
  if (net <= 0) return 0;
  const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  const usual = median(gaps);
  const steps = gaps.map((gap, i) => ((values[i + 1] ?? 0) - (values[i] ?? 0)) * Math.min(1, usual / gap));
  return steps.reduce((largest, step) => Math.max(largest, step), 0) / net;
}

/** How many rises between neighbours are at least half the largest, when those make four fifths of `net`; 0 otherwise. */
export function staircaseSteps({ values }: Series, net: number): number {
  const rises = values.slice(1).map((value, i) => value - (values[i] ?? 0));
  const largest = Math.max(0, ...rises);
  const steps = rises.filter((rise) => rise > 0 && rise >= largest / 2);
  return steps.reduce((sum, step) => sum + step, 0) >= 0.8 * net ? steps.length : 0;
}

/** The sum of all falls over the sum of all rises between neighbours; 0 when nothing rises. */
export function fallShare({ values }: Series): number {
  let rises = 0;
  let falls = 0;
  for (let i = 1; i < values.length; i++) {
    const step = (values[i] ?? 0) - (values[i - 1] ?? 0);
    if (step > 0) rises += step;
    else falls -= step;
  }
  return rises === 0 ? 0 : falls / rises;
}

/**
 * The valleys of a saw-tooth: the least point of every fall, where a fall is at least half as deep as the deepest one and is followed by
 * a rise of as much. Small noise on the way up or down makes no valley.
 */
export function valleys({ times, values }: Series): Series {
  const enough = deepestFall(values) / 2;
  const out: { times: number[]; values: number[] } = { times: [], values: [] };
  if (enough <= 0) return out;
  let falling = false;
  let peak = values[0] ?? 0;
  let lowest = 0;
  for (let i = 1; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (!falling) {
      peak = Math.max(peak, value);
      if (peak - value < enough) continue;
      falling = true;
      lowest = i;
    } else if (value < (values[lowest] ?? 0)) lowest = i;
    else if (value - (values[lowest] ?? 0) >= enough) {
      out.times.push(times[lowest] ?? 0);
      out.values.push(values[lowest] ?? 0);
      falling = false;
      peak = value;
    }
  }
  return out;
}

/** The largest fall from any earlier peak. */
export function deepestFall(values: readonly number[]): number {
  let peak = values[0] ?? 0;
  let deepest = 0;
  for (const value of values) {
    peak = Math.max(peak, value);
    deepest = Math.max(deepest, peak - value);
  }
  return deepest;
}

/**
 * Standard deviation of the noise on a series, whatever its slope: the scaled median absolute deviation of the differences between
 * neighbours from their median, over √2 because a difference holds the noise of two points.
 */
export function noise({ values }: Series): number {
  const steps: number[] = [];
  for (let i = 1; i < values.length; i++) steps.push((values[i] ?? 0) - (values[i - 1] ?? 0));
  const middle = median(steps);
  return (MAD_TO_SIGMA * median(steps.map((step) => Math.abs(step - middle)))) / Math.SQRT2;
}

/** The smallest slope that n points over this span could have shown: 3 · noise / (span · √n / 2). 0 when there is no span. */
export function smallestDetectableSlope(series: Series): number {
  const seconds = span(series);
  return seconds === 0 ? 0 : (3 * noise(series)) / ((seconds * Math.sqrt(series.times.length)) / 2);
}

/** Share of the variance that a straight line explains (least squares); 1 when nothing varies. */
export function straightness({ times, values }: Series): number {
  const n = times.length;
  if (n < 3) return 1;
  const meanTime = times.reduce((sum, t) => sum + t, 0) / n;
  const meanValue = values.reduce((sum, v) => sum + v / n, 0);
  let tt = 0;
  let tv = 0;
  let vv = 0;
  for (let i = 0; i < n; i++) {
    const dt = (times[i] ?? 0) - meanTime;
    const dv = (values[i] ?? 0) - meanValue;
    tt += dt * dt;
    tv += dt * dv;
    vv += dv * dv;
  }
  return vv === 0 || tt === 0 ? 1 : (tv * tv) / (tt * vv);
}
