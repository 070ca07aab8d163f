import * as fc from "fast-check";
import { expect, test } from "vitest";
import { addRow, allSeries, columns, lastTime, seriesOf } from "../../src/diagnosis/columns.ts";

const FIELDS = ["anon", "file", "swap"] as const;
const row = fc.record(
  { anon: fc.nat(), file: fc.option(fc.nat(), { nil: undefined }), swap: fc.nat() },
  { requiredKeys: ["anon"] },
);

test("what was put in comes out, field by field, without the samples in which it was not read", () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 300 }), (rows) => {
      const all = columns(FIELDS);
      rows.forEach((one, i) => addRow(all, i * 5, one));
      expect(lastTime(all)).toBe(rows.length === 0 ? undefined : (rows.length - 1) * 5);
      for (const field of FIELDS) {
        const read = rows.flatMap((one, i) => (one[field] === undefined ? [] : [[i * 5, one[field]] as const]));
        expect(seriesOf(all, field)).toEqual({ times: read.map(([t]) => t), values: read.map(([, v]) => v) });
      }
    }),
    { numRuns: 60 },
  );
});

test("a series is made when it is looked at, once, and is there for whoever lists the fields", () => {
  const all = columns(FIELDS);
  addRow(all, 0, { anon: 4096 });
  const series = allSeries(all);
  expect(Object.keys(series)).toEqual([...FIELDS]);
  expect(series.anon).toBe(series.anon);
  expect({ ...series }).toEqual({
    anon: { times: [0], values: [4096] },
    file: { times: [], values: [] },
    swap: { times: [], values: [] },
  });
});
