/** The examples of the tests are whole: what they leave out, no test of the round trip would miss. */
import { expect, test } from "vitest";
import { KINDS, kindSchema } from "../../src/api/crd.ts";
import type { StructuralSchema } from "../../src/api/structural.ts";
import { FULL_STATUS } from "./examples.ts";

/** The paths of a schema's leaves, with [] for items and * for values of a map. */
function leaves(schema: StructuralSchema, path = ""): string[] {
  const inner = schema.items ?? schema.additionalProperties;
  if (inner !== undefined) return leaves(inner, `${path}[]`);
  if (schema.properties === undefined) return [path];
  return Object.entries(schema.properties).flatMap(([name, field]) => leaves(field, `${path}.${name}`));
}

function leavesOf(value: unknown, path = "", maps: ReadonlySet<string>): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => leavesOf(item, `${path}[]`, maps));
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([name, item]) =>
    leavesOf(item, maps.has(path) ? `${path}[]` : `${path}.${name}`, maps),
  );
}

test("the full status sets every field that the schema has", () => {
  const [investigation] = KINDS;
  const schema = investigation === undefined ? undefined : kindSchema(investigation).properties?.["status"];
  expect(schema).toBeDefined();
  const known = new Set(leaves(schema ?? { type: "object" }));
  const set = new Set(leavesOf(FULL_STATUS, "", new Set([".preserved.originalLabels"])));
  expect([...known].filter((leaf) => !set.has(leaf))).toEqual([]);
  expect([...set].filter((leaf) => !known.has(leaf))).toEqual([]);
});
