/** Lines stay true when they are thinned out: peaks stay, gaps stay gaps; and axes are readable. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { timeText, timeTicks, valueText, valueTicks } from "../../src/report/axis.ts";
import { emptyTrack, cut, picked, put, runs, type Track } from "../../src/report/tracks.ts";

function trackOf(values: readonly number[], interval = 1000): Track {
  return { times: values.map((_, i) => i * interval), values: [...values] };
}

describe("runs", () => {
  test("of ten thousand values at most two for each of 300 buckets stay, with every peak", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9999 }), (at) => {
        const [run = [], ...more] = runs(trackOf(Array.from({ length: 10_000 }, (_, i) => (i === at ? 1e9 : i % 7))));
        expect(more).toEqual([]);
        expect(run.length).toBeLessThanOrEqual(604);
        expect(Math.max(...run.map(({ value }) => value))).toBe(1e9);
        expect([run[0]?.time, run.at(-1)?.time]).toEqual([0, 9_999_000]);
      }),
      { numRuns: 20 },
    );
  });

  test("a pause ends a run, and so does another life", () => {
    const track = emptyTrack();
    for (const time of [0, 1000, 2000, 3000, 9000, 10_000]) put(track, time, 1);
    cut(track, 10_500);
    put(track, 11_000, 2);
    expect(runs(track).map((run) => run.map(({ time }) => time))).toEqual([
      [0, 1000, 2000, 3000],
      [9000, 10_000],
      [11_000],
    ]);
  });

  test("one value is a run, and none is nothing", () => {
    expect(runs(trackOf([5]))).toEqual([[{ time: 0, value: 5 }]]);
    expect(runs(emptyTrack())).toEqual([]);
  });
});

test("picked rows keep the first and the last", () => {
  const rows = Array.from({ length: 4321 }, (_, i) => i);
  const some = picked(rows, 100);
  expect(some).toHaveLength(100);
  expect([some[0], some.at(-1)]).toEqual([0, 4320]);
});

describe("axes", () => {
  test.each([
    [200 * 2 ** 20, ["0 B", "50.0 MiB", "100 MiB", "150 MiB", "200 MiB"]],
    [0, ["0 B", "1.0 KiB"]],
    [3.2 * 2 ** 30, ["0 B", "1.0 GiB", "2.0 GiB", "3.0 GiB", "4.0 GiB"]],
  ])("up to %i bytes", (most, texts) => {
    expect(valueTicks(most, "bytes").map((tick) => valueText(tick, "bytes"))).toEqual(texts);
  });

  test("no value lies above its axis, and there are few ticks", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 2 ** 50, noNaN: true }),
        fc.constantFrom("bytes", "percent"),
        (most, unit) => {
          const ticks = valueTicks(most, unit);
          expect(ticks.at(-1)).toBeGreaterThanOrEqual(most);
          expect(ticks.length).toBeLessThanOrEqual(6);
        },
      ),
    );
  });

  test("a pressure of nearly nothing does not fill the chart", () => {
    expect(valueTicks(0.02, "percent").at(-1)).toBe(4);
  });

  test("times stand on whole steps, in UTC, at most nine of them", () => {
    const from = Date.parse("2026-11-29T08:00:03Z");
    expect(timeTicks(from, from + 240_000).map((at) => timeText(at))).toEqual([
      "08:00:30",
      "08:01:00",
      "08:01:30",
      "08:02:00",
      "08:02:30",
      "08:03:00",
      "08:03:30",
      "08:04:00",
    ]);
    for (const span of [1, 60_000, 86_400_000, 90 * 86_400_000])
      expect(timeTicks(from, from + span).length).toBeLessThanOrEqual(9);
  });
});
