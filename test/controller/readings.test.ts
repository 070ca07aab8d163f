/** What is known of a container from a few readings: is it near its limit, does it grow, and is none of it older than the container? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  grown,
  newHistory,
  RING,
  roughSecondsToLimit,
  sustainedGrowth,
  take,
  type ContainerHistory,
  type Watching,
} from "../../src/controller/readings.ts";

const MIB = 2 ** 20;
const LIMIT = 256 * MIB;
const WATCHING: Watching = { limitBytes: LIMIT, percentOfLimit: 90, spacingMs: 12_000 };

/** Readings every 15 s; `bytes` gives the n-th. */
function read(count: number, bytes: (n: number) => number, watching = WATCHING, everyMs = 15_000): ContainerHistory {
  const history = newHistory("c1");
  for (let n = 0; n < count; n++) take(history, 1_000_000 + n * everyMs, bytes(n), watching);
  return history;
}

/** A small noise that is the same in every run. */
const noise = (n: number): number => ((n * 7919) % 13) * 20_000;

const growth = ({ ring }: ContainerHistory, limit = LIMIT) =>
  ring === undefined ? undefined : sustainedGrowth(ring, limit);

describe("growth", () => {
  test("that goes on is seen with its rate", () => {
    const history = read(RING, (n) => 60 * MIB + n * MIB + noise(n));
    expect(growth(history)?.bytesPerSecond).toBeCloseTo(MIB / 15, -3);
    expect(roughSecondsToLimit(history.ring, LIMIT)).toBeGreaterThan(2000);
    expect(roughSecondsToLimit(history.ring, LIMIT)).toBeLessThan(2600);
  });

  test.each<[string, (n: number) => number]>([
    ["a level", (n) => 200 * MIB + noise(n)],
    ["one step", (n) => (n < 20 ? 60 : 120) * MIB + noise(n)],
    ["a warm-up that has ended", (n) => 200 * MIB - 100 * MIB * Math.exp(-n / 4) + noise(n)],
    ["a saw-tooth", (n) => 100 * MIB + (n % 8) * 10 * MIB],
    ["a fall", (n) => 200 * MIB - n * MIB],
  ])("is not seen in %s", (_, bytes) => {
    expect(growth(read(RING, bytes))).toBeUndefined();
  });

  test("is not claimed from few readings, however steep", () => {
    expect(growth(read(20, (n) => 60 * MIB + 5 * n * MIB))).toBeUndefined();
  });

  test("is forgotten at a pause that nothing is known of", () => {
    const history = read(RING, (n) => 60 * MIB + n * MIB);
    take(history, history.lastMs + 600_000, 120 * MIB, WATCHING);
    expect(grown(history.ring)).toBeUndefined();
  });

  test("costs a bounded number of readings, the newest", () => {
    const history = read(1000, (n) => n * MIB);
    expect(history.ring?.values).toHaveLength(RING);
    expect(grown(history.ring)).toBe((RING - 1) * MIB);
  });

  test("over a longer time is read more seldom", () => {
    const history = read(100, (n) => n * MIB, { ...WATCHING, spacingMs: 144_000 });
    expect(history.ring?.written).toBe(10);
  });

  test("is not watched where nobody asks", () => {
    expect(read(50, (n) => n * MIB, { ...WATCHING, spacingMs: undefined }).ring).toBeUndefined();
  });
});

describe("being near the limit", () => {
  test("is counted from the first such reading", () => {
    const history = read(20, (n) => (n < 5 ? 100 : 250) * MIB);
    expect(history.near).toEqual({ sinceMs: 1_000_000 + 5 * 15_000, lastMs: 1_000_000 + 19 * 15_000 });
  });

  test("begins anew when policy or limit change, and is nothing without a limit", () => {
    const history = read(20, () => 250 * MIB);
    const at = history.lastMs + 15_000;
    take(history, at, 250 * MIB, { ...WATCHING, percentOfLimit: 80 });
    expect(history.near).toEqual({ sinceMs: at, lastMs: at });
    take(history, at + 15_000, 250 * MIB, { ...WATCHING, percentOfLimit: 80, limitBytes: 2 * LIMIT });
    expect(history.near).toBeUndefined();
    expect(read(20, () => 250 * MIB, { ...WATCHING, limitBytes: undefined }).near).toBeUndefined();
  });

  test("is not made of one reading that is told again and again", () => {
    const history = newHistory("c1");
    for (let n = 0; n < 50; n++) take(history, 1_000_000, 250 * MIB, WATCHING);
    expect(history.near).toEqual({ sinceMs: 1_000_000, lastMs: 1_000_000 });
  });
});

test("readings of any size at any time are kept in bounds, and none makes a rate that is no number", () => {
  const reading = fc.record({
    after: fc.integer({ min: -60_000, max: 600_000 }),
    bytes: fc.oneof(fc.nat(2 ** 31 - 1), fc.constant(Number.MAX_SAFE_INTEGER), fc.constant(0)),
    limitBytes: fc.option(fc.integer({ min: 1, max: 2 ** 40 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(reading, { maxLength: 120 }), (readings) => {
      const history = newHistory("c1");
      let at = 1_000_000;
      for (const { after, bytes, limitBytes } of readings) {
        take(history, (at += after), bytes, { ...WATCHING, limitBytes });
        expect(history.ring?.times.length ?? RING).toBe(RING);
        expect(roughSecondsToLimit(history.ring, limitBytes ?? LIMIT)).toBeGreaterThanOrEqual(0);
        if (history.near !== undefined) expect(history.near.lastMs).toBeGreaterThanOrEqual(history.near.sinceMs);
      }
      const { bytesPerSecond = 1 } = (history.ring && sustainedGrowth(history.ring, LIMIT)) ?? {};
      expect(bytesPerSecond).toBeGreaterThan(0);
    }),
  );
});
