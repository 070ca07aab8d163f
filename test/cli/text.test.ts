import * as fc from "fast-check";
import { expect, test } from "vitest";
import { bar, change, clockText, cut, percent, shown, sparkline, table } from "../../src/cli/text.ts";

const MIB = 2 ** 20;

test.each([
  ["\u001b[31mred\u001b[0m", "\\u{1b}[31mred\\u{1b}[0m"],
  ["a\r\nb\tc\u0000", "a\\u{d}\\u{a}b\\u{9}c\\u{0}"],
  ["\u009b31m", "\\u{9b}31m"],
  ["user\u202etxt.exe", "user\\u{202e}txt.exe"],
  ["\u2066a\u2069\u200f\u061c", "\\u{2066}a\\u{2069}\\u{200f}\\u{61c}"],
  ["a\u200bb\u2028c", "a\\u{200b}b\\u{2028}c"],
  ["e\u0301\u0301\u0301", "e\\u{301}\\u{301}\\u{301}"],
  ["\ud800", "\\u{d800}"],
  ["josé/日本語 😀", "josé/日本語 😀"],
])("foreign text %j is shown as %s", (text, expected) => {
  expect(shown(text)).toBe(expected);
});

/** Any code points, those that control a terminal far more often than chance would have them. */
const hostile = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0x9f }),
      fc.integer({ min: 0x2000, max: 0x2070 }),
      fc.integer({ min: 0, max: 0x10ffff }),
    ),
    {
      maxLength: 100,
    },
  )
  .map((codes) => String.fromCodePoint(...codes));

test("no foreign text gets a control character to the terminal, or grows beyond its length", () => {
  fc.assert(
    fc.property(hostile, fc.integer({ min: 1, max: 80 }), (text, length) => {
      const safe = shown(text, length);
      // oxlint-disable-next-line no-control-regex
      expect(safe).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/);
      expect(safe.length).toBeLessThanOrEqual(length);
    }),
    { numRuns: 200 },
  );
});

test("numbers as people read them", () => {
  expect([change(3 * MIB), change(-1024), change(0)]).toEqual(["+3.0 MiB", "-1.0 KiB", "0 B"]);
  expect([percent(1, 3), percent(1, 0)]).toEqual(["33 %", "?"]);
  expect([clockText(0), clockText(58_400), clockText(725_000), clockText(3_723_000)]).toEqual([
    "0:00",
    "0:58",
    "12:05",
    "1:02:03",
  ]);
  expect([cut("abcdef", 6), cut("abcdef", 4), cut("abc", 1)]).toEqual(["abcdef", "abc…", "a"]);
});

test("a sparkline rises with its values, keeps the newest, and draws noise flat", () => {
  expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8)).toBe("▁▂▃▄▅▆▇█");
  expect(sparkline([9, 9, 0, 7], 2)).toBe("▁█");
  expect(sparkline([5, 6, 5, 6], 8, 2)).toBe("▁▁▁▁");
  expect(sparkline([], 8)).toBe("");
});

test("a bar is as wide as it is told, whatever its share", () => {
  expect([bar(0, 12), bar(0.5, 12), bar(1, 12), bar(7, 12), bar(Number.NaN, 12)]).toEqual([
    "[----------]",
    "[#####-----]",
    "[##########]",
    "[##########]",
    "[----------]",
  ]);
});

test("a table is aligned, without blanks at its ends", () => {
  expect(
    table(
      [
        ["pid", "name"],
        ["4711", "a"],
      ],
      [">", "<"],
    ),
  ).toEqual(["   pid  name", "  4711  a"]);
});
