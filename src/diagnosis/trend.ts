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
import { CONFIRMED, ENOUGH, GATE, PLATEAU, RISE } from "./thresholds.ts";

const MIB = 2 ** 20;
const { blocks: BLOCKS, leastTau: MIN_TAU, leastValleys: MIN_VALLEYS } = RISE;

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
  /** How far the floor rose: the least value of the last sixth less that of the first, in bytes; 0 where it is too short. */
  readonly floorBytes: number;
  /** The growth that was demanded, in bytes. */
  readonly gateBytes: number;
  /** A leak slower than this, in bytes per second, would not have been seen. */
  readonly smallestSlope: number;
}

/** The least growth of such a series that matters, in bytes. */
export function gateOf(values: readonly number[], limitBytes: number | undefined): number {
  return Math.max(GATE.bytes, GATE.ofLimit * (limitBytes ?? 0), GATE.ofLevel * median(values));
}

/** `limitBytes`: of the cgroup; 2 % of it is the least growth that matters. */
export function judgeTrend(measured: Series, limitBytes?: number): Trend {
  const raw = withoutStartUp(measured, limitBytes);
  const series = blockMinima(raw, MAX_POINTS);
  const points = raw.times.length;
  const seconds = span(raw);
  const estimate = theilSen(series);
  const gateBytes = gateOf(series.values, limitBytes);
  const netBytes = (raw.values.at(-1) ?? 0) - (raw.values[0] ?? 0);
  const common = {
    ...estimate,
    provisional: points < CONFIRMED.points || seconds < CONFIRMED.spanSeconds,
    points,
    spanSeconds: seconds,
    netBytes,
    floorBytes: 0,
    gateBytes,
    smallestSlope: Math.max(smallestDetectableSlope(series), seconds === 0 ? 0 : gateBytes / seconds),
  };
  if (points < ENOUGH.points || seconds < ENOUGH.spanSeconds) {
    return {
      ...common,
      trend: "Unknown",
      shape: "TooShort",
      provisional: true,
      reasons: [
        `${points} samples over ${Math.round(seconds)} s; at least ${ENOUGH.points} over ${ENOUGH.spanSeconds} s are needed`,
      ],
    };
  }
  const floor = blockMinima(series, BLOCKS).values;
  const floorBytes = (floor.at(-1) ?? 0) - (floor[0] ?? 0);
  return { ...common, floorBytes, ...shapeOf(series, estimate, netBytes, gateBytes) };
}

/**
 * What a program takes when it starts, within the first tenth of the samples, is no growth: the trend begins after it. It is known by its end: a rise that
 * would matter, and hardly any in the two intervals after it. A steep line is never cut.
 */
function withoutStartUp(series: Series, limitBytes: number | undefined): Series {
  const { times, values } = series;
  const rises = values.slice(1).map((value, i) => value - (values[i] ?? 0));
  const gate = gateOf(values, limitBytes);
  const early = Math.max(2, Math.floor(values.length * PLATEAU.startUpShare));
  const ends = (rise: number, i: number): boolean =>
    rise >= gate && Math.max(rises[i + 1] ?? rise, rises[i + 2] ?? rise) <= PLATEAU.startUpEnds * rise;
  const from = rises.slice(0, early).findLastIndex(ends) + 1;
  const rest = { times: times.slice(from), values: values.slice(from) };
  return rest.times.length < ENOUGH.points || span(rest) < ENOUGH.spanSeconds ? series : rest;
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
  if (fallShare(series) > RISE.sawToothFalls && deepestFall(series.values) >= gateBytes)
    return judgeSawTooth(series, gateBytes);
  const stepShare = largestStepShare(series, netBytes);
  if (netBytes >= gateBytes && stepShare >= RISE.stepShare) {
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
  if (fade < RISE.plateau)
    return { trend: "Flat", shape: "Plateau", reasons: ["it grew, and stands still in the last third"] };
  if (fade < RISE.decelerating) {
    return {
      trend: "Unknown",
      shape: "Decelerating",
      reasons: [`the last third grows at ${Math.round(fade * 100)} % of the rate of the first; perhaps a warm-up`],
    };
  }
  const floor = blockMinima(series, BLOCKS);
  const deadBand = Math.max(RISE.deadBand, 3 * noise(series));
  const { tau } = mannKendall(floor.values, Math.min(deadBand, gateBytes / BLOCKS));
  if (theilSen(floor).slope < RISE.floorShare * estimate.slope || tau < MIN_TAU) {
    return { trend: "Unknown", shape: "Irregular", reasons: ["its floor does not rise steadily"] };
  }
  // The interval of the last third needs enough points to mean anything; a staircase stands still most of the time.
  const steps = staircaseSteps(series, (series.values.at(-1) ?? 0) - (series.values[0] ?? 0));
  if (last.low <= 0 && series.times.length >= CONFIRMED.points && steps < 3) {
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
  const { tau } = mannKendall(floor.values, RISE.deadBand);
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
  if (estimate.low > 0 && mannKendall(floor.values, RISE.deadBand).tau >= MIN_TAU) {
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
