import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Series,
  blockMinima,
  fallShare,
  kendallVariance,
  largestStepShare,
  mannKendall,
  median,
  noise,
  smallestDetectableSlope,
  straightness,
  theilSen,
  thirds,
  valleys,
} from "../../src/diagnosis/statistics.ts";
import { random } from "./samples.ts";

/** Every second, rising or wild. */
const series = fc
  .array(fc.integer({ min: -1_000_000, max: 1_000_000 }), { minLength: 2, maxLength: 40 })
  .map((values): Series => ({ times: values.map((_, i) => i * 5), values }));

/** Written as the textbook has it, with no thought of speed: the reference for ours. */
function naiveTheilSen({ times, values }: Series): { slope: number; low: number; high: number } {
  const slopes = times
    .flatMap((t, i) => times.map((u, j) => [t, u, values[i] ?? 0, values[j] ?? 0, i < j] as const))
    .filter(([, , , , ordered]) => ordered)
    .map(([t, u, a, b]) => (b - a) / (u - t))
    .toSorted((a, b) => a - b);
  const n = values.length;
  const counts = new Map<number, number>();
  for (const v of values) counts.set(v, (counts.get(v) ?? 0) + 1);
  let ties = 0;
  for (const t of counts.values()) ties += t * (t - 1) * (2 * t + 5);
  const sigma = Math.sqrt(Math.max(0, (n * (n - 1) * (2 * n + 5) - ties) / 18));
  const at = (i: number): number => slopes[Math.max(0, Math.min(slopes.length - 1, i))] ?? 0;
  const half = slopes.length / 2;
  return {
    slope: Number.isInteger(half) ? (at(half - 1) + at(half)) / 2 : at(Math.floor(half)),
    low: at(Math.round((slopes.length - 1.959964 * sigma) / 2) - 1),
    high: at(Math.round((slopes.length + 1.959964 * sigma) / 2)),
  };
}

function naiveS(values: readonly number[]): number {
  let s = 0;
  values.forEach((a, i) => values.slice(i + 1).forEach((b) => (s += Math.sign(b - a))));
  return s;
}

describe("theilSen", () => {
  test("agrees with the textbook on any series", () => {
    fc.assert(
      fc.property(series, (s) => {
        const ours = theilSen(s);
        const reference = naiveTheilSen(s);
        expect(ours.slope).toBeCloseTo(reference.slope, 6);
        expect(ours.low).toBe(reference.low);
        expect(ours.high).toBe(reference.high);
      }),
    );
  });

  test("is not moved by adding a constant, and scales with the values and with time", () => {
    fc.assert(
      fc.property(series, fc.integer({ min: -1e6, max: 1e6 }), fc.integer({ min: 1, max: 50 }), (s, shift, scale) => {
        const before = theilSen(s);
        const moved = theilSen({ times: s.times, values: s.values.map((v) => v + shift) });
        expect(moved.slope).toBeCloseTo(before.slope, 6);
        const scaled = theilSen({ times: s.times, values: s.values.map((v) => v * scale) });
        expect(scaled.slope).toBeCloseTo(before.slope * scale, 4);
        expect(scaled.low).toBeCloseTo(before.low * scale, 4);
        const slower = theilSen({ times: s.times.map((t) => t * scale), values: s.values });
        expect(slower.slope).toBeCloseTo(before.slope / scale, 6);
      }),
    );
  });

  test("keeps low <= slope <= high", () => {
    fc.assert(
      fc.property(series, (s) => {
        const { slope, low, high } = theilSen(s);
        expect(low).toBeLessThanOrEqual(slope);
        expect(slope).toBeLessThanOrEqual(high);
      }),
    );
  });

  test("finds an exact line, and a line with three wild points of twelve", () => {
    const times = Array.from({ length: 12 }, (_, i) => i * 5);
    expect(theilSen({ times, values: times.map((t) => 7 + 3 * t) })).toEqual({ slope: 3, low: 3, high: 3 });
    const wild = times.map((t, i) => (i === 3 || i === 5 || i === 9 ? 1e9 : 7 + 3 * t));
    expect(theilSen({ times, values: wild }).slope).toBe(3);
  });

  test("covers a slope of zero in about 95 of 100 shuffles of noise", () => {
    const next = random(7);
    let covered = 0;
    for (let run = 0; run < 400; run++) {
      const values = Array.from({ length: 20 }, () => next());
      const { low, high } = theilSen({ times: values.map((_, i) => i), values });
      if (low <= 0 && high >= 0) covered++;
    }
    expect(covered / 400).toBeGreaterThan(0.92);
    expect(covered / 400).toBeLessThan(0.99);
  });

  test("says zero for nothing and for one point", () => {
    expect(theilSen({ times: [], values: [] })).toEqual({ slope: 0, low: 0, high: 0 });
    expect(theilSen({ times: [1], values: [5] })).toEqual({ slope: 0, low: 0, high: 0 });
  });
});

describe("mannKendall", () => {
  test("counts pairs as the textbook does, and turns round with the series", () => {
    fc.assert(
      fc.property(series, ({ values }) => {
        const found = mannKendall(values, 0);
        expect(found.s).toBe(naiveS(values));
        expect(mannKendall(values.toReversed(), 0).s + found.s).toBe(0);
        expect(Math.abs(found.tau)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test("gives the known variances: 28.333 for six values, 125 for ten, 14.333 less for a group of three tied and two pairs", () => {
    expect(kendallVariance(6, [])).toBeCloseTo(28.3333, 3);
    expect(kendallVariance(10, [])).toBeCloseTo(125, 6);
    // By hand: t = 3 takes 3*2*11 = 66, each pair takes 2*1*9 = 18; (2250 - 102) / 18.
    expect(kendallVariance(10, [3, 2, 2, 1, 1, 1])).toBeCloseTo(119.3333, 3);
    expect(mannKendall([1, 2, 3, 4, 5, 6], 0)).toMatchObject({ s: 15, tau: 1 });
    expect(mannKendall([1, 2, 3, 4, 5, 6], 0).z).toBeCloseTo(14 / Math.sqrt(28.3333), 3);
  });

  test("counts what differs by less than the dead band as tied", () => {
    expect(mannKendall([0, 1, 2, 3, 4, 5], 10)).toMatchObject({ s: 0, tau: 0, z: 0, variance: 0 });
    expect(mannKendall([0, 10, 20], 10).s).toBe(3);
  });

  test("says significant in about 5 of 100 shuffles of noise", () => {
    const next = random(11);
    let significant = 0;
    for (let run = 0; run < 1000; run++) {
      const values = Array.from({ length: 12 }, () => next());
      if (Math.abs(mannKendall(values, 0).z) > 1.96) significant++;
    }
    expect(significant / 1000).toBeGreaterThan(0.02);
    expect(significant / 1000).toBeLessThan(0.08);
  });
});

describe("shape", () => {
  const every5 = (values: readonly number[]): Series => ({ times: values.map((_, i) => i * 5), values });

  test("block minima are the least of each block, at their own times", () => {
    expect(blockMinima(every5([5, 3, 9, 8, 7, 1]), 3)).toEqual({ times: [5, 15, 25], values: [3, 8, 1] });
    expect(blockMinima(every5([1, 2]), 6)).toEqual(every5([1, 2]));
  });

  test("block minima never rise above the series and keep times rising", () => {
    fc.assert(
      fc.property(series, fc.integer({ min: 1, max: 12 }), (s, blocks) => {
        const minima = blockMinima(s, blocks);
        expect(minima.values.length).toBe(Math.min(blocks, s.values.length));
        expect(Math.min(...minima.values)).toBe(Math.min(...s.values));
        expect(minima.times).toEqual(minima.times.toSorted((a, b) => a - b));
      }),
    );
  });

  test("thirds see a knee", () => {
    const slopes = thirds(every5(Array.from({ length: 30 }, (_, i) => Math.min(i, 15))));
    expect(slopes.map(({ slope }) => slope)).toEqual([0.2, expect.any(Number), 0]);
  });

  test("largest step and fall shares are what a pencil says", () => {
    expect(largestStepShare(every5([0, 1, 9, 10]), 10)).toBeCloseTo(0.8);
    expect(largestStepShare(every5([10, 0]), -10)).toBe(0);
    expect(fallShare(every5([0, 10, 5, 15]))).toBeCloseTo(0.25);
    expect(fallShare(every5([5, 4]))).toBe(0);
  });

  test("valleys are the low points between deep falls, not the small noise", () => {
    expect(valleys(every5([0, 10, 9, 20, 2, 14, 25, 4, 24]))).toEqual({ times: [20, 35], values: [2, 4] });
    expect(valleys(every5([1, 2, 3]))).toEqual({ times: [], values: [] });
  });

  test("noise does not see a slope, and sees the standard deviation of normal noise", () => {
    expect(noise(every5([0, 100, 200, 300]))).toBe(0);
    const next = random(3);
    const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
    const found = noise(every5(Array.from({ length: 2000 }, (_, i) => 50 * i + 10 * normal())));
    expect(found).toBeGreaterThan(9);
    expect(found).toBeLessThan(11);
  });

  test("the smallest detectable slope is 3 noise / (span sqrt(n) / 2)", () => {
    const s = every5([0, 4, 1, 5, 2, 6, 3, 7, 4]);
    expect(smallestDetectableSlope(s)).toBeCloseTo((3 * noise(s)) / ((40 * 3) / 2), 9);
    expect(smallestDetectableSlope(every5([1]))).toBe(0);
  });

  test("straightness is 1 on a line and 0 on a symmetric tent", () => {
    expect(straightness(every5([1, 2, 3, 4]))).toBeCloseTo(1);
    expect(straightness(every5([0, 1, 2, 1, 0]))).toBeCloseTo(0);
  });

  test("the median of an even count is the mean of the two in the middle", () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBe(0);
  });
});
