/** Is every zod construct that a CRD would silently lose refused, and is the rest said right? */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { listAtomic, rules } from "../../src/api/fields.ts";
import { UnsupportedSchema, structuralSchema } from "../../src/api/structural.ts";

const text = z.string().max(8);
const A = { rule: "self != 'a'", message: "not a" };
const B = { rule: "self != 'b'", message: "not b" };

function field(schema: z.ZodType): () => unknown {
  return () => structuralSchema(z.object({ field: schema.describe("A field.") }), "spec");
}

const REFUSED: readonly (readonly [name: string, schema: z.ZodType, message: string])[] = [
  ["a union", z.union([text, z.int()]), 'zod\'s "union" cannot be said'],
  ["a discriminated union", z.discriminatedUnion("a", [z.object({ a: z.literal("x") })]), '"union"'],
  ["an intersection", z.intersection(z.object({}), z.object({})), '"intersection"'],
  ["unknown", z.unknown(), '"unknown"'],
  ["any", z.any(), '"any"'],
  ["null", text.nullable(), '"nullable"'],
  ["a literal", z.literal("x"), '"literal"'],
  ["a tuple", z.tuple([text]), '"tuple"'],
  ["a date", z.date(), '"date"'],
  ["a transform", text.transform((t) => t.length), '"pipe"'],
  ["a pipe", text.pipe(z.string()), '"pipe"'],
  ["a preprocess", z.preprocess(String, text), '"pipe"'],
  ["a catch", text.catch("x"), '"catch"'],
  ["a prefault", text.prefault("x"), '"prefault"'],
  ["readonly", text.readonly(), '"readonly"'],
  ["recursion", z.lazy(() => text), '"lazy"'],
  ["a refinement", text.refine(() => true), 'the check "custom" would be lost'],
  ["a refined object", z.object({}).refine(() => true), 'the check "custom" would be lost'],
  ["a trimming string", text.trim(), 'the check "overwrite" would be lost'],
  ["a prefix", text.startsWith("x"), "would be lost"],
  ["coercion", z.coerce.string().max(3), "does not coerce"],
  ["coercion of a boolean", z.coerce.boolean(), "does not coerce"],
  ["a format of zod's own", z.iso.duration(), "has a pattern of its own"],
  ["a float", z.number(), "no floating point"],
  ["a multiple", z.int().multipleOf(5), "would be lost"],
  ["a numeric enum", z.enum({ a: 1 }), "an enum has strings only"],
  ["a strict object", z.strictObject({}), "strict and loose objects are lost"],
  ["a loose object", z.looseObject({}), "strict and loose objects are lost"],
  ["properties and others", z.object({}).catchall(text), "strict and loose objects are lost"],
  ["a record with checked keys", z.record(text, text).meta({ maxProperties: 3 }), "keys of a record cannot be checked"],
  ["a regex with a flag", text.regex(/^a$/i), 'the regex flag "i" would be lost'],
  ["a lookahead", text.regex(/^(?=a)a$/), '"(?=" in a regex'],
  ["a lookbehind", text.regex(/^(?<!a)a$/), '"(?<!" in a regex'],
  ["a back-reference", text.regex(/^(a)\1$/), String.raw`"\1" in a regex`],
  ["a dot", text.regex(/^a.$/), '"." in a regex'],
  ["white space", text.regex(/^\s$/), String.raw`"\s" in a regex`],
  ["a regex without anchors", text.regex(/a/), "must be anchored"],
  ["two regexes", text.regex(/^a$/).regex(/^b$/), "a schema has one pattern"],
  ["a string without a cap", z.string(), "a string needs .max()"],
  ["a list without a cap", z.array(text).meta(listAtomic), "a list needs .max()"],
  ["a list that does not say how it merges", z.array(text).max(3), "a list says how it merges"],
  ["a record without a cap", z.record(z.string(), text), "a record needs"],
  ["a meta key that no CRD knows", text.meta({ examples: ["x"] }), 'carries "examples"'],
  ["rules that push out others", text.meta(rules(A)).meta(rules(B)), 'pushed out the rule "not a"'],
  ["a nested field without a description", z.object({ deep: text }), "spec.field.deep: has no .describe()"],
  [
    "an item's field without a description",
    z
      .array(z.object({ deep: text }))
      .max(1)
      .meta(listAtomic),
    "spec.field[].deep: has no .describe()",
  ],
  ["a default that the schema refuses", text.max(2).default("long"), "is refused by the schema itself"],
  [
    "a default that leaves out a nested one",
    z.object({ a: text.default("x").describe("A.") }).default({} as { a: string }),
    'write {"a":"x"}',
  ],
  [
    "a default that differs from the nested one",
    z.object({ a: text.default("x").describe("A.") }).default({ a: "y" }),
    "differs from the defaults of its fields",
  ],
];

describe("refuses", () => {
  test.each(REFUSED)("%s", (_name, schema, message) => {
    expect(field(schema)).toThrow(UnsupportedSchema);
    expect(field(schema)).toThrow(message);
    expect(field(schema)).toThrow(/^spec\.field/);
  });

  test("a field that is not described at all", () => {
    expect(() => structuralSchema(z.object({ field: text }), "spec")).toThrow("spec.field: has no .describe()");
  });
});

describe("says", () => {
  test("an integer as int64, without the bounds of a JavaScript number", () => {
    expect(structuralSchema(z.int(), "x")).toEqual({ type: "integer", format: "int64" });
    expect(structuralSchema(z.int().min(1).lt(5), "x")).toEqual({
      type: "integer",
      format: "int64",
      minimum: 1,
      maximum: 5,
      exclusiveMaximum: true,
    });
  });

  test("what is optional or has a default as not required", () => {
    const schema = z.object({
      a: text.describe("A."),
      b: text.optional().describe("B."),
      c: text.default("x").describe("C."),
    });
    expect(structuralSchema(schema, "x")).toEqual({
      type: "object",
      required: ["a"],
      properties: {
        a: { type: "string", maxLength: 8, description: "A." },
        b: { type: "string", maxLength: 8, description: "B." },
        c: { type: "string", maxLength: 8, description: "C.", default: "x" },
      },
    });
  });

  test("false and 0 as defaults like any other", () => {
    expect(structuralSchema(z.boolean().default(false), "x")).toEqual({ type: "boolean", default: false });
    expect(structuralSchema(z.int().default(0), "x")).toMatchObject({ default: 0 });
  });

  test("a regex with a message as a pattern and a CEL rule that speaks", () => {
    expect(
      structuralSchema(
        z
          .string()
          .max(3)
          .regex(/^a\d'$/, "must be a1'"),
        "x",
      ),
    ).toEqual({
      type: "string",
      maxLength: 3,
      pattern: String.raw`^a\d'$`,
      "x-kubernetes-validations": [{ rule: String.raw`self.matches('^a\\d\'$')`, message: "must be a1'" }],
    });
  });

  test("the rules of a schema and of the field that uses it, both", () => {
    const schema = text.meta(rules(A)).optional().meta(rules(B));
    expect(structuralSchema(schema, "x")["x-kubernetes-validations"]).toEqual([A, B]);
  });
});
