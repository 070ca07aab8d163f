/** Are durations and quantities read as Kubernetes reads them? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Duration, LongDuration, durationMs, quantityBytes, quantityText } from "../../src/api/fields.ts";

describe("durationMs", () => {
  test.each([
    ["0s", 0],
    ["1s", 1000],
    ["30s", 30_000],
    ["15m", 900_000],
    ["1h30m", 5_400_000],
    ["1h0m5s", 3_605_000],
    ["24h", 86_400_000],
    ["7d", 604_800_000],
    ["1d12h", 129_600_000],
  ])("%s is %d ms", (text, ms) => expect(durationMs(text)).toBe(ms));

  test.each(["", "5", "s", "-5m", "5ms", "1.5h", "5m1h", " 5m", "5m ", "1w", "P1D", "٣s"])("%j is refused", (text) => {
    expect(() => durationMs(text)).toThrow(RangeError);
    expect(Duration.safeParse(text).success).toBe(false);
    expect(LongDuration.safeParse(text).success).toBe(false);
  });

  const part = (unit: string, max: number): fc.Arbitrary<string> =>
    fc.option(fc.integer({ min: 0, max }), { nil: undefined }).map((n) => (n === undefined ? "" : `${n}${unit}`));
  test("reads whatever the schemas accept, and adds up its parts", () => {
    const texts = fc.tuple(part("d", 999), part("h", 9999), part("m", 99_999), part("s", 999_999));
    fc.assert(
      fc.property(texts, (parts) => {
        const text = parts.join("");
        fc.pre(text !== "" && text.length <= 16);
        expect(LongDuration.safeParse(text).success).toBe(true);
        expect(Duration.safeParse(text).success).toBe(parts[0] === "");
        const sum = parts.map((one) => (one === "" ? 0 : durationMs(one))).reduce((a, b) => a + b);
        expect(durationMs(text)).toBe(sum);
      }),
    );
  });
});

/** Text and what the API server makes of it (checked against a real one in agreement.integration.test.ts). */
describe("quantityBytes", () => {
  test.each([
    ["0", 0],
    ["1", 1],
    ["128974848", 128_974_848],
    ["129M", 129_000_000],
    ["123Mi", 128_974_848],
    ["1Ki", 1024],
    ["1k", 1000],
    ["512Mi", 536_870_912],
    ["1.5Gi", 1_610_612_736],
    [".5Gi", 536_870_912],
    ["1.Gi", 1_073_741_824],
    ["2Ti", 2 ** 41],
    ["1Pi", 2 ** 50],
    ["1E", 1e18],
    ["1e3", 1000],
    ["1E3", 1000],
    ["1e-1", 1],
    ["400m", 1],
    ["1500m", 2],
    ["0.1", 1],
    ["+1Gi", 2 ** 30],
    ["100n", 1],
    ["2000001u", 3],
    ["1.1Gi", 1_181_116_007],
    ["8.2k", 8200],
    ["9999999999E", 2 ** 63],
    ["1e99", 2 ** 63],
  ])("%s is %d bytes", (text, bytes) => expect(quantityBytes(text)).toBe(bytes));

  test.each(["", "Gi", "1GB", "1 Gi", "one", "1e", "1KiB", "0x10", "1,5Gi", "∞", "1K", "-1", "1e999", "9".repeat(65)])(
    "%j is no quantity",
    (text) => {
      expect(quantityBytes(text)).toBeUndefined();
    },
  );

  test("answers for any text with a whole number or undefined", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const bytes = quantityBytes(text);
        expect(bytes === undefined || Number.isInteger(bytes)).toBe(true);
      }),
    );
  });
});

test("bytes are written as people write them, and read back the same", () => {
  expect([96 << 20, 2 ** 31, 1000 * 1024, 1001, 0].map(quantityText)).toEqual(["96Mi", "2Gi", "1000Ki", "1001", "0"]);
  for (const bytes of [1, 4096, 98_304, 150 << 20, 2 ** 40 + 4096])
    expect(quantityBytes(quantityText(bytes))).toBe(bytes);
});
