import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SMAPS_FIELDS } from "../../src/api/mappings.ts";
import { cut, FUZZ_RUNS, FUZZ_TIMEOUT_MS, hostileMap, parseAll, printed, RECORDED, recordedMap } from "./smapstext.ts";

/** The same sums by the plainest means: split into lines, one pattern for each. */
function plainSums(text: string): { mappings: number; sums: number[] } {
  const headers = text.match(/^[0-9a-f]+-[0-9a-f]+ .*$/gm) ?? [];
  const sums = SMAPS_FIELDS.map((field) =>
    [...text.matchAll(new RegExp(`^${field}: +(\\d+) kB$`, "gm"))].reduce((sum, [, kb]) => sum + Number(kb) * 1024, 0),
  );
  return { mappings: headers.length, sums };
}

function sumsOf(mappings: readonly { readonly sizes: readonly number[] }[]): number[] {
  return SMAPS_FIELDS.map((_, i) => mappings.reduce((sum, { sizes }) => sum + (sizes[i] ?? 0), 0));
}

test.each(RECORDED)("the map of a real %s process: every mapping and every sum", (name) => {
  const bytes = recordedMap(name);
  const parsed = parseAll([bytes]);
  const plain = plainSums(bytes.toString("utf8"));
  expect(parsed.mappings).toHaveLength(plain.mappings);
  expect(parsed.unparsedLines).toBe(0);
  expect(sumsOf(parsed.mappings)).toEqual(plain.sums);
  expect(plain.sums[1]).toBeGreaterThan(2 ** 20);
});

test("one mapping, field by field, with its neighbour", () => {
  const { mappings } = parseAll([recordedMap("go")]);
  expect(mappings[0]).toMatchObject({
    start: 0x400000,
    end: 0x485000,
    permissions: "r-xp",
    device: "fe:00",
    inode: "10028546",
    name: "/srv/leak",
    flags: " rd ex mr mw me ",
    next: 0x485000,
  });
  expect(mappings.at(-1)).toMatchObject({ name: "[vsyscall]", start: 0xffffffffff600000, next: undefined });
  expect(mappings.find(({ start }) => start === 0x1fcdd6000000)).toMatchObject({
    name: "",
    inode: "0",
    next: 0x1fcdd8c00000,
  });
});

test.each(RECORDED)("the map of %s in pieces of any size says the same", (name) => {
  const bytes = recordedMap(name).subarray(0, 30_000);
  const whole = parseAll([bytes]);
  expect(parseAll([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(whole);
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 40 }), (places) => {
      expect(parseAll(cut(bytes, places))).toEqual(whole);
    }),
    { numRuns: 20 },
  );
});

test("a buffer that is used again does not change what was read", () => {
  const bytes = recordedMap("go");
  const buffer = Buffer.alloc(100);
  function* pieces() {
    for (let at = 0; at < bytes.length; at += 100) yield buffer.subarray(0, bytes.copy(buffer, 0, at, at + 100));
  }
  expect(parseAll(pieces())).toEqual(parseAll([bytes]));
});

test(
  "whatever a target names its files and memory, its mappings stay what they are",
  () => {
    fc.assert(
      fc.property(hostileMap, fc.array(fc.nat(), { maxLength: 10 }), (described, places) => {
        const text = Buffer.from(described.map(printed).join(""));
        const { mappings, unparsedLines } = parseAll(cut(text, places));
        expect(unparsedLines).toBe(0);
        expect(mappings.map(({ start, end, permissions, flags }) => ({ start, end, permissions, flags }))).toEqual(
          described.map(({ start, pages, permissions, flags }) => ({
            start,
            end: start + pages * 4096,
            permissions,
            flags: ` ${flags.join(" ")} `.replace(/^ {2}$/, " "),
          })),
        );
        expect(sumsOf(mappings)).toEqual(
          SMAPS_FIELDS.map((_, i) => described.reduce((sum, { sizes }) => sum + (sizes[i] ?? 0) * 1024, 0)),
        );
      }),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "bytes that are no memory map throw nothing and give only sane numbers",
  () => {
    const seeds = RECORDED.map((name) => recordedMap(name).subarray(0, 6000));
    const change = fc.record({ at: fc.nat(), with: fc.uint8Array({ maxLength: 30 }), drop: fc.nat({ max: 60 }) });
    const mutated = fc.tuple(fc.constantFrom(...seeds), fc.array(change, { maxLength: 12 })).map(([seed, changes]) =>
      changes.reduce((bytes, { at, with: inserted, drop }) => {
        const place = at % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, place), inserted, bytes.subarray(place + drop)]);
      }, seed),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          mutated,
          fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
        ),
        fc.array(fc.nat(), { maxLength: 8 }),
        (bytes, places) => {
          const { mappings, unparsedLines } = parseAll(cut(bytes, places));
          const lines = bytes.toString("latin1").split("\n").length;
          expect(mappings.length + unparsedLines).toBeLessThanOrEqual(lines);
          for (const { start, end, permissions, sizes } of mappings) {
            expect(end).toBeGreaterThanOrEqual(start);
            expect(permissions).toHaveLength(4);
            expect(sizes.every((size) => Number.isSafeInteger(size) && size >= 0)).toBe(true);
          }
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test.each([
  ["a number without kB", "Rss:   5\n"],
  ["a number too long", "Rss:   1234567890123456 kB\n"],
  ["something after kB", "Rss:   5 kB more\n"],
  ["a negative number", "Rss:   -5 kB\n"],
  ["a field that is not known", "Unheard:   5 kB\n"],
  ["no colon", "Rss 5 kB\n"],
  ["a header with its ends the wrong way round", "2000-1000 rw-p 00000000 00:00 0 \n"],
  ["a header without rights", "1000-2000 00000000 00:00 0 \n"],
  ["a header cut short", "1000-2000 rw-p 0000\n"],
  ["an address of 17 digits", "10000000000000000-20000000000000000 rw-p 00000000 00:00 0 \n"],
])("%s is counted and changes nothing", (_what, bad) => {
  const good = printed({
    start: 0x1000,
    pages: 1,
    permissions: "rw-p",
    device: "00:00",
    inode: 0,
    name: "",
    flags: ["rd"],
    sizes: [4, 4],
  });
  const { mappings, unparsedLines } = parseAll([Buffer.from(good.replace("VmFlags", `${bad}VmFlags`))]);
  expect(unparsedLines).toBe(1);
  expect(mappings).toHaveLength(1);
  expect(mappings[0]?.sizes.slice(0, 3)).toEqual([4096, 4096, 0]);
});

test("a line longer than any path is held in part only", () => {
  const long = `1000-2000 rw-p 00000000 fe:00 7 /${"x".repeat(5_000_000)}\nRss:  4 kB\n3000-4000 rw-p 00000000 00:00 0 \n`;
  const { mappings, unparsedLines } = parseAll(cut(Buffer.from(long), [1000, 2_000_000]));
  expect(unparsedLines).toBe(0);
  expect(mappings).toHaveLength(2);
  expect(mappings[0]?.sizes[1]).toBe(4096);
  expect(mappings[0]?.name.length).toBeLessThanOrEqual(20 * 1024);
});
