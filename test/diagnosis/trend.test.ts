import { describe, expect, test } from "vitest";
import type { Series } from "../../src/diagnosis/statistics.ts";
import { judgeTrend } from "../../src/diagnosis/trend.ts";
import { MIB, random } from "./samples.ts";

function every5(count: number, mebibytes: (seconds: number, index: number) => number): Series {
  const times = Array.from({ length: count }, (_, i) => i * 5);
  return { times, values: times.map((t, i) => Math.round(mebibytes(t, i) * MIB)) };
}

/** RssAnon in KiB every 5 s of examples/thumbnail-service with libimgdecode 1.1.0, natively at 6.67 requests a second. */
const THUMBNAIL_1_1_0 = [
  5312, 21712, 30928, 36048, 41168, 47312, 56528, 65744, 67792, 74960, 80080, 85200, 93392, 100560, 105680,
];

describe("judgeTrend", () => {
  test("sees the leak of the real thumbnail service, provisionally", () => {
    const found = judgeTrend(
      every5(15, (_, i) => (THUMBNAIL_1_1_0[i] ?? 0) / 1024),
      128 * MIB,
    );
    expect(found).toMatchObject({ trend: "Growing", shape: "Line", provisional: true });
    expect(found.slope / MIB).toBeGreaterThan(1);
    expect(found.slope / MIB).toBeLessThan(1.4);
  });

  test("calls a plateau a plateau: flat, and not merely doubtful", () => {
    const found = judgeTrend(every5(60, (t) => Math.min(140, 30 + 0.6 * t)));
    expect(found).toMatchObject({ trend: "Flat", shape: "Plateau" });
  });

  test("does not call growth that is too small to matter growing, however steady", () => {
    expect(judgeTrend(every5(60, (t) => 40 + 0.02 * t))).toMatchObject({ trend: "Unknown", shape: "Slight" });
    expect(judgeTrend(every5(60, (t) => 40 + 0.005 * t))).toMatchObject({ trend: "Flat", shape: "Level" });
    // 20 MiB in a container of 2 GiB are below 2 % of its limit.
    expect(judgeTrend(every5(60, (t) => 40 + 0.06 * t)).trend).toBe("Growing");
    expect(
      judgeTrend(
        every5(60, (t) => 40 + 0.06 * t),
        2048 * MIB,
      ).trend,
    ).not.toBe("Growing");
  });

  test("judges a saw-tooth by its valleys alone", () => {
    const rising = judgeTrend(every5(72, (t) => 40 + 0.1 * t + 4 * (t % 30)));
    expect(rising).toMatchObject({ trend: "Growing", shape: "SawTooth" });
    expect(rising.slope / MIB).toBeCloseTo(0.1, 2);
    expect(judgeTrend(every5(72, (t) => 40 + 4 * (t % 30)))).toMatchObject({ trend: "Flat", shape: "SawTooth" });
  });

  test("does not judge a saw-tooth of too few cycles whose floor it cannot know", () => {
    expect(judgeTrend(every5(30, (t) => 40 + 1.2 * (t % 60) + (t >= 60 ? 40 : 0))).trend).toBe("Unknown");
  });

  test("does not call flat what began to grow at the end", () => {
    expect(judgeTrend(every5(60, (t) => 40 + Math.max(0, t - 220)))).toMatchObject({ trend: "Unknown" });
  });

  test("calls a staircase of four like steps growing", () => {
    const found = judgeTrend(every5(60, (t) => 40 + 20 * Math.floor(t / 60)));
    expect(found.trend).toBe("Growing");
  });

  test("asks for twelve samples and a minute, exactly", () => {
    expect(judgeTrend(every5(12, (t) => t)).shape).toBe("TooShort");
    expect(judgeTrend(every5(13, (t) => t)).trend).toBe("Growing");
    expect(judgeTrend({ ...every5(11, (t) => 9 * t), times: Array.from({ length: 11 }, (_, i) => i * 30) }).shape).toBe(
      "TooShort",
    );
  });

  test("calls a trend provisional below 24 samples or five minutes", () => {
    expect(judgeTrend(every5(60, (t) => t)).provisional).toBe(true);
    expect(judgeTrend(every5(61, (t) => t)).provisional).toBe(false);
  });

  test("says Growing of noise in fewer than one of a hundred series", () => {
    const next = random(21);
    let wrong = 0;
    for (let run = 0; run < 300; run++) {
      const found = judgeTrend(every5(36, () => 100 + 30 * next()));
      if (found.trend === "Growing") wrong++;
    }
    expect(wrong).toBeLessThan(3);
  });

  test("sees a leak through noise as large as the growth of half a minute", () => {
    const next = random(22);
    let seen = 0;
    for (let run = 0; run < 100; run++) {
      if (judgeTrend(every5(60, (t) => 50 + 0.4 * t + 12 * next())).trend === "Growing") seen++;
    }
    expect(seen).toBeGreaterThan(90);
  });

  test("says nothing of an empty series, in numbers that are numbers", () => {
    const found = judgeTrend({ times: [], values: [] });
    expect(found).toMatchObject({ trend: "Unknown", slope: 0, netBytes: 0, smallestSlope: 0 });
  });
});
