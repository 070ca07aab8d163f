/**
 * Which part of zod can be said in a CustomResourceDefinition, and how? Turns a zod schema into a structural schema and refuses
 * every construct that the API server would accept and then not enforce. What it cannot say it throws on, with the field's path.
 */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Rule } from "./fields.ts";

/** A node of a structural schema (`JSONSchemaProps` of apiextensions.k8s.io/v1), as far as we use it. */
export interface StructuralSchema {
  type: "object" | "array" | "string" | "integer" | "boolean";
  description?: string;
  format?: string;
  default?: unknown;
  enum?: readonly string[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  required?: readonly string[];
  properties?: Record<string, StructuralSchema>;
  additionalProperties?: StructuralSchema;
  items?: StructuralSchema;
  "x-kubernetes-validations"?: readonly Rule[];
  "x-kubernetes-list-type"?: string;
  "x-kubernetes-list-map-keys"?: readonly string[];
  "x-kubernetes-map-type"?: string;
}

/** A zod schema that no structural schema can say. The message names the field and what to write instead. */
export class UnsupportedSchema extends Error {
  override readonly name = "UnsupportedSchema";
  constructor(path: string, problem: string) {
    super(`${path}: ${problem}`);
  }
}

type Meta = Record<string, unknown>;

/** Keys that `.meta()` may carry into the schema. Any other would be lost, so it is refused. */
const PASSED_ON = new Set([
  "description",
  "format",
  "maxProperties",
  "x-kubernetes-validations",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
  "x-kubernetes-map-type",
]);

/**
 * The structural schema of a zod schema. `path` is what errors call it, such as `spec`.
 * Throws {@link UnsupportedSchema}.
 */
export function structuralSchema(schema: z.core.$ZodType, path: string): StructuralSchema {
  const { core, meta, defaultValue } = unwrap(schema, path);
  const node = { ...own(core, path) };
  for (const key of Object.keys(meta)) {
    if (!PASSED_ON.has(key)) throw new UnsupportedSchema(path, `.meta() carries "${key}", which a CRD does not know`);
  }
  const rules = [...ownRules(node), ...((meta["x-kubernetes-validations"] as readonly Rule[] | undefined) ?? [])];
  const result: StructuralSchema = { ...node, ...meta };
  if (rules.length > 0) result["x-kubernetes-validations"] = rules;
  if (defaultValue !== undefined) result.default = checkedDefault(core, defaultValue, path);
  checkCaps(result, path);
  return result;
}

interface Unwrapped {
  readonly core: z.core.$ZodType;
  readonly meta: Meta;
  readonly defaultValue: unknown;
  readonly optional: boolean;
}

/** Takes `.optional()` and `.default()` away and gathers what `.meta()` and `.describe()` said on the way; the outer word wins. */
function unwrap(schema: z.core.$ZodType, path: string): Unwrapped {
  let core = schema;
  let meta: Meta = {};
  let defaultValue: unknown;
  let optional = false;
  for (;;) {
    meta = merged(metaOf(core, path), meta);
    const { def } = (core as z.core.$ZodTypes)._zod;
    if (def.type === "optional") {
      optional = true;
      core = def.innerType;
    } else if (def.type === "default") {
      defaultValue ??= def.defaultValue;
      core = def.innerType;
    } else return { core, meta, defaultValue, optional: optional || defaultValue !== undefined };
  }
}

function merged(inner: Meta, outer: Meta): Meta {
  const rules = [inner, outer].flatMap((meta) => (meta["x-kubernetes-validations"] as Rule[] | undefined) ?? []);
  return { ...inner, ...outer, ...(rules.length === 0 ? {} : { "x-kubernetes-validations": rules }) };
}

/** Throws when a later `.meta()` has pushed out the rules of an earlier one: zod merges key by key, so they would be lost without a word. */
function metaOf(schema: z.core.$ZodType, path: string): Meta {
  const meta = z.globalRegistry.get(schema) ?? {};
  const rules = (meta as Meta)["x-kubernetes-validations"] as readonly Rule[] | undefined;
  for (let parent = schema._zod.parent; parent !== undefined; parent = parent._zod.parent) {
    const earlier = ((z.globalRegistry.get(parent) ?? {}) as Meta)["x-kubernetes-validations"] as
      | readonly Rule[]
      | undefined;
    const lost = earlier?.find((rule) => !rules?.includes(rule));
    if (lost !== undefined)
      throw new UnsupportedSchema(
        path,
        `a later .meta() pushed out the rule "${lost.message}"; give all rules in one rules(...)`,
      );
  }
  return { ...meta };
}

function own(schema: z.core.$ZodType, path: string): StructuralSchema {
  const typed = schema as z.core.$ZodTypes;
  if ("coerce" in typed._zod.def) throw new UnsupportedSchema(path, "the API server does not coerce");
  switch (typed._zod.def.type) {
    case "object":
      return objectNode(typed._zod.def, path);
    case "array":
      return arrayNode(typed._zod.def, path);
    case "record":
      return recordNode(typed._zod.def, path);
    case "string":
      return stringNode(typed, path);
    case "number":
      return integerNode(typed, path);
    case "boolean":
      return { type: "boolean" };
    case "enum":
      return enumNode(typed._zod.def, path);
    default:
      throw new UnsupportedSchema(
        path,
        `zod's "${typed._zod.def.type}" cannot be said in a structural schema; use object, array, record, string, int, boolean, enum, optional or default`,
      );
  }
}

function objectNode(def: z.core.$ZodObjectDef, path: string): StructuralSchema {
  if (def.catchall !== undefined)
    throw new UnsupportedSchema(
      path,
      "strict and loose objects are lost: the API server prunes unknown fields; use z.object",
    );
  refuseChecks(def.checks, path);
  const properties: Record<string, StructuralSchema> = {};
  const required: string[] = [];
  for (const [name, field] of Object.entries(def.shape)) {
    const node = structuralSchema(field, `${path}.${name}`);
    if (node.description === undefined || node.description.trim() === "")
      throw new UnsupportedSchema(`${path}.${name}`, "has no .describe(), so `kubectl explain` would teach nothing");
    properties[name] = node;
    if (!unwrap(field, path).optional) required.push(name);
  }
  return { type: "object", properties, ...(required.length === 0 ? {} : { required }) };
}

function arrayNode(def: z.core.$ZodArrayDef, path: string): StructuralSchema {
  const node: StructuralSchema = { type: "array", items: structuralSchema(def.element, `${path}[]`) };
  for (const check of (def.checks ?? []) as z.core.$ZodChecks[]) {
    const rule = check._zod.def;
    if (rule.check === "max_length") node.maxItems = rule.maximum;
    else if (rule.check === "min_length") node.minItems = rule.minimum;
    else throw lostCheck(rule.check, path);
  }
  return node;
}

function recordNode(def: z.core.$ZodRecordDef, path: string): StructuralSchema {
  const key = def.keyType as z.core.$ZodTypes;
  if (key._zod.def.type !== "string" || (key._zod.def.checks ?? []).length > 0)
    throw new UnsupportedSchema(
      path,
      "the keys of a record cannot be checked by a schema; use z.string() and a CEL rule",
    );
  refuseChecks(def.checks, path);
  return { type: "object", additionalProperties: structuralSchema(def.valueType, `${path}.*`) };
}

function stringNode(schema: z.core.$ZodTypes, path: string): StructuralSchema {
  const def = schema._zod.def as z.core.$ZodStringDef;
  if ("format" in def)
    throw new UnsupportedSchema(
      path,
      `zod's string format "${String(def.format)}" has a pattern of its own; use .regex()`,
    );
  const node: StructuralSchema = { type: "string" };
  for (const check of (def.checks ?? []) as z.core.$ZodChecks[]) {
    const rule = check._zod.def;
    if (rule.check === "max_length") node.maxLength = rule.maximum;
    else if (rule.check === "min_length") node.minLength = rule.minimum;
    else if (rule.check === "string_format" && rule.format === "regex")
      addPattern(node, rule as z.core.$ZodCheckRegexDef, path);
    else throw lostCheck(rule.check, path);
  }
  return node;
}

/** The pattern, and where the regex was given a message also a CEL rule: a pattern alone can only answer with itself. */
function addPattern(node: StructuralSchema, check: z.core.$ZodCheckRegexDef, path: string): void {
  if (node.pattern !== undefined) throw new UnsupportedSchema(path, "a schema has one pattern; merge the two");
  const { source, flags } = check.pattern;
  if (flags !== "") throw new UnsupportedSchema(path, `the regex flag "${flags}" would be lost`);
  const foreign = /\(\?(?!:)[=!<]*|\\[1-9kpPsSBu]|\\c/.exec(source)?.[0] ?? unescapedDot(source);
  if (foreign !== undefined)
    throw new UnsupportedSchema(path, `"${foreign}" in a regex means something else in RE2, or nothing`);
  if (!source.startsWith("^") || !source.endsWith("$"))
    throw new UnsupportedSchema(
      path,
      "a regex must be anchored with ^ and $, or it accepts what merely contains a match",
    );
  node.pattern = source;
  const message = check.error?.({} as never);
  if (typeof message === "string")
    node["x-kubernetes-validations"] = [{ rule: `self.matches(${celString(source)})`, message }];
}

function unescapedDot(source: string): string | undefined {
  const bare = source.replaceAll(/\\./g, "").replaceAll(/\[[^\]]*\]/g, "");
  return bare.includes(".") ? "." : undefined;
}

function celString(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", String.raw`\'`)}'`;
}

function integerNode(schema: z.core.$ZodTypes, path: string): StructuralSchema {
  const def = schema._zod.def as z.core.$ZodNumberDef & { readonly format?: string };
  if (def.format !== "safeint")
    throw new UnsupportedSchema(path, "Kubernetes APIs have no floating point; use z.int() in base units");
  const node: StructuralSchema = { type: "integer", format: "int64" };
  for (const check of (def.checks ?? []) as z.core.$ZodChecks[]) {
    const rule = check._zod.def;
    if (rule.check === "greater_than") {
      node.minimum = Number(rule.value);
      if (!rule.inclusive) node.exclusiveMinimum = true;
    } else if (rule.check === "less_than") {
      node.maximum = Number(rule.value);
      if (!rule.inclusive) node.exclusiveMaximum = true;
    } else throw lostCheck(rule.check, path);
  }
  return node;
}

function enumNode(def: z.core.$ZodEnumDef, path: string): StructuralSchema {
  const values = Object.values(def.entries);
  const texts = values.filter((value) => typeof value === "string");
  if (texts.length !== values.length) throw new UnsupportedSchema(path, "an enum has strings only");
  return { type: "string", enum: texts };
}

function ownRules(node: StructuralSchema): readonly Rule[] {
  return node["x-kubernetes-validations"] ?? [];
}

function refuseChecks(checks: readonly z.core.$ZodCheck[] | undefined, path: string): void {
  const [first] = checks ?? [];
  if (first !== undefined) throw lostCheck(first._zod.def.check, path);
}

function lostCheck(check: string, path: string): UnsupportedSchema {
  return new UnsupportedSchema(path, `the check "${check}" would be lost; say it as a CEL rule with rules(...)`);
}

/**
 * Returns the default when the API server would arrive at the same one. The server fills the fields of a default that is an object
 * with their own defaults, and zod does not: where the two would differ, one of them is wrong.
 */
function checkedDefault(schema: z.core.$ZodType, value: unknown, path: string): unknown {
  const parsed = z.core.safeParse(schema, value);
  if (!parsed.success)
    throw new UnsupportedSchema(path, `its default ${JSON.stringify(value)} is refused by the schema itself`);
  if (!isDeepStrictEqual(parsed.data, value))
    throw new UnsupportedSchema(
      path,
      `its default leaves out defaults of its fields; write ${JSON.stringify(parsed.data)}`,
    );
  if ((schema as z.core.$ZodTypes)._zod.def.type === "object") {
    const filled = z.core.safeParse(schema, {});
    if (filled.success && !isDeepStrictEqual(filled.data, value))
      throw new UnsupportedSchema(
        path,
        `its default differs from the defaults of its fields, ${JSON.stringify(filled.data)}`,
      );
  }
  return value;
}

/** Without caps the API server cannot bound what a CEL rule costs, and status cannot be kept small. */
function checkCaps(node: StructuralSchema, path: string): void {
  if (node.type === "string" && node.enum === undefined && node.maxLength === undefined)
    throw new UnsupportedSchema(path, "a string needs .max()");
  if (node.type === "array") {
    if (node.maxItems === undefined) throw new UnsupportedSchema(path, "a list needs .max()");
    if (node["x-kubernetes-list-type"] === undefined)
      throw new UnsupportedSchema(path, "a list says how it merges: .meta(listMap(...)), listSet or listAtomic");
  }
  if (node.additionalProperties !== undefined && node.maxProperties === undefined)
    throw new UnsupportedSchema(path, "a record needs .meta({ maxProperties })");
}
