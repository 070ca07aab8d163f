import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  itemSplitter,
  lineSplitter,
  MAX_DOCUMENT_BYTES,
  parseWithoutManagedFields,
  SplitError,
} from "../../src/cluster/splitter.ts";

/** Cuts `bytes` at the given places (taken modulo the length), in any order and number. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const at of [...cuts, bytes.length]) {
    // A copy, so that nobody can look beyond the end of a piece.
    if (at > from) pieces.push(Buffer.from(bytes.subarray(from, at)));
    from = at;
  }
  return pieces;
}

const places = fc.array(fc.nat(1_000_000), { maxLength: 40 });
// Strings that look like JSON, brackets and escapes included, are what could confuse a scanner.
const nasty = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom('"items":[', '\\"managedFields\\":[', '{"}', "]}", "\\", '"', '","items":[{}]', "\u2028\n"),
);
// No key that begins with a backslash: the JSON.parse of Node 24.21 can take the key `"` for `\\` in a place where it has seen the latter.
const key = nasty.filter((text) => !text.startsWith("\\") && text !== "managedFields" && text !== "__proto__");
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    nasty,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4 }),
  ),
})).value;
const object = fc.dictionary(key, json, { maxKeys: 5 });

describe("lineSplitter", () => {
  test("gives the same documents for any chunking of the bytes", () => {
    fc.assert(
      fc.property(fc.array(object, { maxLength: 8 }), places, (documents, cuts) => {
        const bytes = Buffer.from(documents.map((document) => `${JSON.stringify(document)}\n`).join(""));
        const seen: unknown[] = [];
        const splitter = lineSplitter((buffer, start, end) =>
          seen.push(JSON.parse(buffer.toString("utf8", start, end))),
        );
        for (const piece of cut(bytes, cuts)) splitter.push(piece);
        splitter.end();
        expect(JSON.stringify(seen)).toBe(JSON.stringify(documents));
      }),
      { numRuns: 300 },
    );
  });

  test("refuses to end in the middle of a line", () => {
    const splitter = lineSplitter(() => undefined);
    splitter.push(Buffer.from('{"type":"ADDED"'));
    expect(() => splitter.end()).toThrow(SplitError);
  });

  test("refuses a line that never ends before memory does", () => {
    const splitter = lineSplitter(() => undefined);
    const chunk = Buffer.alloc(1024 * 1024, "a");
    expect(() => {
      for (let i = 0; i <= MAX_DOCUMENT_BYTES / chunk.length; i++) splitter.push(chunk);
    }).toThrow(/over 16777216 bytes/);
  });

  test("does not mix a long line with the short one after it", () => {
    const lines = ["x".repeat(2_000_000), "short", "y".repeat(100_000)];
    const seen: string[] = [];
    const splitter = lineSplitter((buffer, start, end) => seen.push(buffer.toString("utf8", start, end)));
    for (const piece of cut(Buffer.from(`${lines.join("\n")}\n`), [1000, 65_536, 1_999_999, 2_000_003]))
      splitter.push(piece);
    expect(seen.map((line) => line.length)).toEqual(lines.map((line) => line.length));
    expect(seen[1]).toBe("short");
  });
});

describe("itemSplitter", () => {
  test("gives the same items and envelope for any chunking, spacing and order of fields", () => {
    fc.assert(
      fc.property(
        fc.array(object, { maxLength: 6 }),
        object,
        fc.boolean(),
        fc.nat(2),
        places,
        (items, metadata, first, indent, cuts) => {
          const list = first ? { items, kind: "PodList", metadata } : { kind: "PodList", metadata, items };
          const seen: unknown[] = [];
          const splitter = itemSplitter((buffer, start, end) =>
            seen.push(JSON.parse(buffer.toString("utf8", start, end))),
          );
          for (const piece of cut(Buffer.from(`${JSON.stringify(list, undefined, indent)}\n`), cuts))
            splitter.push(piece);
          splitter.end();
          expect(JSON.stringify(seen)).toBe(JSON.stringify(items));
          expect(JSON.parse(splitter.envelope())).toEqual(JSON.parse(JSON.stringify({ ...list, items: [] })));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("is not taken in by a field called items inside the metadata", () => {
    const seen: string[] = [];
    const splitter = itemSplitter((buffer, start, end) => seen.push(buffer.toString("utf8", start, end)));
    splitter.push(Buffer.from('{"metadata":{"items":[{"a":1}]},"other":[{"b":2}],"items":[{"c":3}]}'));
    splitter.end();
    expect(seen).toEqual(['{"c":3}']);
  });

  test.each(['{"items":[{"a":1}', '{"items":[{"a":1}]', '{"metadata":{'])("refuses the cut list %s", (text) => {
    const splitter = itemSplitter(() => undefined);
    splitter.push(Buffer.from(text));
    expect(() => splitter.end()).toThrow(SplitError);
  });

  test("refuses a list of something else than objects", () => {
    const splitter = itemSplitter(() => undefined);
    expect(() => splitter.push(Buffer.from('{"items":[1,2]}'))).toThrow(SplitError);
  });
});

describe("parseWithoutManagedFields", () => {
  const parse = (text: string): unknown => {
    const bytes = Buffer.from(`before${text}after`);
    return parseWithoutManagedFields(bytes, 6, bytes.length - 5);
  };

  test("empties the managedFields and keeps all else, whatever stands in either", () => {
    fc.assert(
      fc.property(object, object, fc.array(object, { maxLength: 3 }), (before, after, managedFields) => {
        const text = JSON.stringify({ metadata: { name: "a", before, managedFields, after } });
        const expected = { metadata: { name: "a", before, managedFields: [], after } };
        expect(JSON.stringify(parse(text))).toBe(JSON.stringify(expected));
      }),
      { numRuns: 500 },
    );
  });

  test("leaves text alone that only talks about managedFields", () => {
    const value = { data: { note: '"managedFields":[{"x":1}]' } };
    expect(parse(JSON.stringify(value))).toEqual(value);
  });

  test("reads a document without managedFields even when the next one in the chunk has some", () => {
    const bytes = Buffer.from('{"a":1}{"managedFields":[{"b":2}]}');
    expect(parseWithoutManagedFields(bytes, 0, 7)).toEqual({ a: 1 });
  });

  test("throws on text that is no JSON", () => {
    expect(() => parse('{"managedFields":[{"a"')).toThrow(SyntaxError);
  });
});
