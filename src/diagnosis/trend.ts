/**
 * Does a series of memory really grow? A rise is not a leak: this asks for enough data, a size that matters, growth that is still going
 * on, a floor that rises, and no single step; and says which of them failed.
 */
import {
  MAX_POINTS,
  type Series,
  type Slope,
  blockMinima,
  deepestFall,
  fallShare,
  largestStepShare,
  mannKendall,
  median,
  noise,
  smallestDetectableSlope,
  span,
  staircaseSteps,
  theilSen,
  thirds,
  valleys,
} from "./statistics.ts";

const MIB = 2 ** 20;

/** Below either of these nothing is said about a trend. */
export const MIN_POINTS = 12;
export const MIN_SPAN_SECONDS = 60;
/** Below either of these a trend is provisional: a warm-up can look the same. */
export const CONFIRMED_POINTS = 24;
export const CONFIRMED_SPAN_SECONDS = 300;

/** The least tau of six block minima, or of valleys, that counts as a rise. */
const MIN_TAU = 0.8;
const BLOCKS = 6;
const MIN_VALLEYS = 5;

/** What the series looks like. Only Line, and SawTooth with a rising floor, grow. */
type Shape =
  | "TooShort"
  | "Level"
  | "Slight"
  | "Line"
  | "SawTooth"
  | "Decelerating"
  | "Plateau"
  | "Step"
  | "Irregular"
  | "Falling";

export interface Trend extends Slope {
  readonly trend: "Growing" | "Flat" | "Shrinking" | "Unknown";
  readonly shape: Shape;
  /** Why it is not more than it is, or what it passed; sentences without a full stop. */
  readonly reasons: readonly string[];
  /** Fewer than 24 points or 5 minutes: measuring longer could change it. */
  readonly provisional: boolean;
  readonly points: number;
  readonly spanSeconds: number;
  /** Last value less the first, in bytes. */
  readonly netBytes: number;
  /** The growth that was demanded, in bytes. */
  readonly gateBytes: number;
  /** A leak slower than this, in bytes per second, would not have been seen. */
  readonly smallestSlope: number;
}

/** `limitBytes`: of the cgroup; 2 % of it is the least growth that matters. */
export function judgeTrend(raw: Series, limitBytes?: number): Trend {
  const series = blockMinima(raw, MAX_POINTS);
  const points = raw.times.length;
  const seconds = span(raw);
  const estimate = theilSen(series);
  const gateBytes = Math.max(8 * MIB, 0.02 * (limitBytes ?? 0), 0.05 * median(series.values));
  const netBytes = (raw.values.at(-1) ?? 0) - (raw.values[0] ?? 0);
  const common = {
    ...estimate,
    provisional: points < CONFIRMED_POINTS || seconds < CONFIRMED_SPAN_SECONDS,
    points,
    spanSeconds: seconds,
    netBytes,
    gateBytes,
    smallestSlope: Math.max(smallestDetectableSlope(series), seconds === 0 ? 0 : gateBytes / seconds),
  };
  if (points < MIN_POINTS || seconds < MIN_SPAN_SECONDS) {
    return {
      ...common,
      trend: "Unknown",
      shape: "TooShort",
      provisional: true,
      reasons: [
        `${points} samples over ${Math.round(seconds)} s; at least ${MIN_POINTS} over ${MIN_SPAN_SECONDS} s are needed`,
      ],
    };
  }
  return { ...common, ...shapeOf(series, estimate, netBytes, gateBytes) };
}

type Judged = Partial<Slope> & Pick<Trend, "trend" | "shape" | "reasons">;

function shapeOf(series: Series, estimate: Slope, netBytes: number, gateBytes: number): Judged {
  const projected = estimate.slope * span(series);
  // Both must be large: one wild point at an end moves the difference, a short burst moves neither the slope nor the floor.
  const growth = Math.min(netBytes, projected);
  const rising = estimate.low > 0 && growth >= gateBytes;
  if (estimate.high < 0 && Math.max(netBytes, projected) <= -gateBytes) {
    return { trend: "Shrinking", shape: "Falling", reasons: ["it falls"] };
  }
  if (fallShare(series) > 0.3 && deepestFall(series.values) >= gateBytes) return judgeSawTooth(series, gateBytes);
  const stepShare = largestStepShare(series, netBytes);
  if (netBytes >= gateBytes && stepShare >= 0.5) {
    const percent = Math.round(stepShare * 100);
    return { trend: "Unknown", shape: "Step", reasons: [`one step makes ${percent} % of the growth`] };
  }
  if (!rising) {
    if (estimate.low > 0 && growth >= gateBytes / 2) {
      return {
        trend: "Unknown",
        shape: "Slight",
        reasons: [`it rises, but by less than the ${mebibytes(gateBytes)} that are demanded; measure longer`],
      };
    }
    const [, , last] = thirds(series);
    if (netBytes >= gateBytes && last.low > 0) {
      return { trend: "Unknown", shape: "Irregular", reasons: ["it began to grow only at the end; measure longer"] };
    }
    return { trend: "Flat", shape: "Level", reasons: [`no growth of ${mebibytes(gateBytes)} or more`] };
  }
  return judgeRise(series, estimate, gateBytes);
}

/** It rises by enough: does it still, all the way, and does its floor? */
function judgeRise(series: Series, estimate: Slope, gateBytes: number): Judged {
  const [first, , last] = thirds(series);
  const concavity = first.slope <= 0 ? Number.POSITIVE_INFINITY : last.slope / first.slope;
  // A staircase can stand still in its first or last third: then the slope of the whole is what the last third is measured by.
  const fade = Math.min(concavity, last.slope / (0.6 * estimate.slope));
  if (fade < 0.1) return { trend: "Flat", shape: "Plateau", reasons: ["it grew, and stands still in the last third"] };
  if (fade < 0.5) {
    return {
      trend: "Unknown",
      shape: "Decelerating",
      reasons: [`the last third grows at ${Math.round(fade * 100)} % of the rate of the first; perhaps a warm-up`],
    };
  }
  const floor = blockMinima(series, BLOCKS);
  const deadBand = Math.max(64 * 1024, 3 * noise(series));
  const { tau } = mannKendall(floor.values, Math.min(deadBand, gateBytes / BLOCKS));
  if (theilSen(floor).slope < 0.5 * estimate.slope || tau < MIN_TAU) {
    return { trend: "Unknown", shape: "Irregular", reasons: ["its floor does not rise steadily"] };
  }
  // The interval of the last third needs enough points to mean anything; a staircase stands still most of the time.
  const steps = staircaseSteps(series, (series.values.at(-1) ?? 0) - (series.values[0] ?? 0));
  if (last.low <= 0 && series.times.length >= CONFIRMED_POINTS && steps < 3) {
    return { trend: "Unknown", shape: "Irregular", reasons: ["it is not certain that the last third still grows"] };
  }
  return { trend: "Growing", shape: "Line", reasons: ["it rises steadily, and so does its floor, to the end"] };
}

function range(values: readonly number[]): number {
  return Math.max(...values) - Math.min(...values);
}

/** A saw-tooth (garbage collection, work cycles) is judged by its valleys alone. */
function judgeSawTooth(series: Series, gateBytes: number): Judged {
  const floor = valleys(series);
  const n = floor.values.length;
  if (n < MIN_VALLEYS) return judgeFewValleys(series, n, gateBytes);
  const estimate = theilSen(floor);
  const net = (floor.values.at(-1) ?? 0) - (floor.values[0] ?? 0);
  const { tau } = mannKendall(floor.values, 64 * 1024);
  if (tau >= MIN_TAU && estimate.low > 0 && net >= gateBytes) {
    return {
      ...estimate,
      trend: "Growing",
      shape: "SawTooth",
      reasons: [`a saw-tooth whose ${n} valleys rise by ${mebibytes(net)}`],
    };
  }
  if (tau >= MIN_TAU && net >= gateBytes / 2) {
    return {
      ...estimate,
      trend: "Unknown",
      shape: "SawTooth",
      reasons: [`a saw-tooth whose ${n} valleys rise a little`],
    };
  }
  return { ...estimate, trend: "Flat", shape: "SawTooth", reasons: [`a saw-tooth whose ${n} valleys do not rise`] };
}

/** Too few cycles: flat when even the block minima stand still, otherwise nobody can know. */
function judgeFewValleys(series: Series, n: number, gateBytes: number): Judged {
  const floor = blockMinima(series, BLOCKS);
  if (range(floor.values) < gateBytes) {
    return { trend: "Flat", shape: "Level", reasons: ["peaks come and go above a floor that stands still"] };
  }
  const estimate = theilSen(floor);
  if (estimate.low > 0 && mannKendall(floor.values, 64 * 1024).tau >= MIN_TAU) {
    const [, , last] = thirds(series);
    if (last.slope >= 0.3 * estimate.slope && estimate.slope * span(series) >= gateBytes) {
      return { ...estimate, trend: "Growing", shape: "Line", reasons: ["noisy, but its floor rises to the end"] };
    }
  }
  return {
    trend: "Unknown",
    shape: "SawTooth",
    reasons: [`it rises and falls; ${n} valleys are too few to judge (${MIN_VALLEYS} are needed)`],
  };
}

function mebibytes(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
