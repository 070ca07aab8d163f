/** What does the structural schema of a custom resource do to an object: fill in defaults, prune what it does not know, refuse what it does not allow? CEL rules are left out. */
import type { Cause } from "./answers.ts";
import { isObject, type Json, type JsonObject } from "./values.ts";

export interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly Json[];
  readonly default?: Json;
  readonly nullable?: boolean;
  readonly maxLength?: number;
  readonly minLength?: number;
  readonly maxItems?: number;
  readonly minItems?: number;
  readonly maxProperties?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-list-type"?: string;
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
}

const OWN = new Set(["apiVersion", "kind", "metadata"]);

/** The object as it is stored: with defaults, without what the schema does not know. */
export function admitted(object: JsonObject, schema: Schema): JsonObject {
  const kept = Object.fromEntries(Object.entries(object).filter(([key]) => OWN.has(key)));
  const rest = Object.fromEntries(Object.entries(object).filter(([key]) => !OWN.has(key)));
  return { ...kept, ...(shaped(rest, schema) as JsonObject) };
}

function shaped(value: Json, schema: Schema): Json {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : value.map((item: Json) => shaped(item, items));
  }
  if (!isObject(value)) return value;
  const { properties = {}, additionalProperties: more } = schema;
  const result: Record<string, Json> = {};
  for (const [key, item] of Object.entries(value)) {
    const known = properties[key] ?? (typeof more === "object" ? more : undefined);
    if (item === undefined || (item === null && known?.nullable !== true)) continue;
    if (known !== undefined) result[key] = shaped(item, known);
    else if (schema["x-kubernetes-preserve-unknown-fields"] === true || more === true) result[key] = item;
  }
  for (const [key, known] of Object.entries(properties)) {
    if (!OWN.has(key) && result[key] === undefined && known.default !== undefined)
      result[key] = shaped(known.default, known);
  }
  return result;
}

/** What the schema refuses, in the order of the fields. */
export function refused(value: Json | undefined, schema: Schema, field = ""): Cause[] {
  if (value === undefined) return [];
  const no = (message: string): Cause[] => [
    { field, reason: "FieldValueInvalid", message: `Invalid value: ${message}` },
  ];
  if (schema.enum !== undefined && !schema.enum.includes(value))
    return no(`must be one of ${JSON.stringify(schema.enum)}`);
  if (typeof value === "string") return refusedText(value, schema, no);
  if (typeof value === "number") return refusedNumber(value, schema, no);
  if (Array.isArray(value)) return refusedList(value as readonly Json[], schema, field, no);
  if (value === null) return [];
  if (!isObject(value)) return (schema.type ?? "boolean") === "boolean" ? [] : no(`must be of type ${schema.type}`);
  if (schema.type !== undefined && schema.type !== "object") return no(`must be of type ${schema.type}`);
  if (Object.keys(value).length > (schema.maxProperties ?? Infinity)) return no("has too many properties");
  const { properties = {}, additionalProperties: more } = schema;
  return [
    ...(schema.required ?? [])
      .filter((key) => value[key] === undefined)
      .map((key) => ({ field: `${field}.${key}`, reason: "FieldValueRequired", message: "Required value" })),
    ...Object.entries(value)
      .filter(([key]) => field !== "" || !OWN.has(key))
      .flatMap(([key, item]) =>
        refused(
          item,
          properties[key] ?? (typeof more === "object" ? more : {}),
          field === "" ? key : `${field}.${key}`,
        ),
      ),
  ];
}

const expressions = new Map<string, RegExp>();

function expressionOf(pattern: string): RegExp {
  const known = expressions.get(pattern) ?? new RegExp(pattern);
  expressions.set(pattern, known);
  return known;
}

type No = (message: string) => Cause[];

function refusedText(value: string, { type, maxLength, minLength, pattern }: Schema, no: No): Cause[] {
  if (type !== undefined && type !== "string") return no(`must be of type ${type}`);
  if (Array.from(value).length > (maxLength ?? Infinity)) return no(`is longer than ${maxLength}`);
  if (value.length < (minLength ?? 0)) return no(`is shorter than ${minLength}`);
  return pattern === undefined || expressionOf(pattern).test(value) ? [] : no(`does not match ${pattern}`);
}

function refusedNumber(value: number, { type, minimum, maximum }: Schema, no: No): Cause[] {
  if (type === "integer" && !Number.isInteger(value)) return no("must be a whole number");
  if (type !== undefined && type !== "integer" && type !== "number") return no(`must be of type ${type}`);
  return value < (minimum ?? -Infinity) || value > (maximum ?? Infinity) ? no("is out of bounds") : [];
}

function refusedList(list: readonly Json[], schema: Schema, field: string, no: No): Cause[] {
  if (schema.type !== undefined && schema.type !== "array") return no(`must be of type ${schema.type}`);
  if (list.length > (schema.maxItems ?? Infinity)) return no(`has more than ${schema.maxItems} items`);
  if (list.length < (schema.minItems ?? 0)) return no(`has fewer than ${schema.minItems} items`);
  const keys = schema["x-kubernetes-list-map-keys"];
  const names = list.map((item) =>
    JSON.stringify(keys === undefined || !isObject(item) ? item : keys.map((key) => item[key] ?? null)),
  );
  const unique = schema["x-kubernetes-list-type"] === "map" || schema["x-kubernetes-list-type"] === "set";
  if (unique && new Set(names).size < names.length) return no("has an item twice");
  return list.flatMap((item, index) => refused(item, schema.items ?? {}, `${field}[${index}]`));
}
