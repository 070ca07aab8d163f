/** What is a JSON value, when are two the same, and how are the patches of RFC 7386 and RFC 6902 applied as the API server does? Nothing here changes its arguments. */
import { isDeepStrictEqual } from "node:util";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const same = (a: unknown, b: unknown): boolean => a === b || isDeepStrictEqual(a, b);

/** `object` with `key` set, or without it where `value` is undefined. */
export function withKey(object: JsonObject, key: string, value: Json | undefined): JsonObject {
  const { [key]: _old, ...rest } = object;
  return value === undefined ? rest : { ...object, [key]: value };
}

/** RFC 7386. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: Record<string, Json> = isObject(target) ? { ...(target as Record<string, Json>) } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

export interface PatchOperation {
  readonly op: string;
  readonly path: string;
  readonly value?: Json;
}

/** A JSON patch that cannot be applied, its tests included. */
export class PatchFailed extends Error {}

/** RFC 6902, but for one thing that the API server does: `replace` of a key that is missing adds it. Throws PatchFailed. */
export function jsonPatch(target: JsonObject, operations: readonly PatchOperation[]): JsonObject {
  let result: Json = target;
  for (const operation of operations) {
    const segments = operation.path
      .split("/")
      .slice(1)
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    result = operate(result, segments, operation);
  }
  return result as JsonObject;
}

function operate(at: Json | undefined, [first, ...rest]: readonly string[], operation: PatchOperation): Json {
  if (first === undefined) throw new PatchFailed("The whole object cannot be patched");
  if (Array.isArray(at)) return operateOnList(at as readonly Json[], first, rest, operation);
  if (!isObject(at)) throw new PatchFailed(`There is nothing at ${operation.path}`);
  if (rest.length > 0) return { ...at, [first]: operate(at[first], rest, operation) };
  const { op, value = null } = operation;
  if (op === "test" && !same(at[first], value)) throw new PatchFailed(`Test of ${operation.path} failed`);
  if (op === "remove" && at[first] === undefined) throw new PatchFailed(`There is nothing at ${operation.path}`);
  if (op === "test") return at;
  return withKey(at, first, op === "remove" ? undefined : value);
}

function operateOnList(list: readonly Json[], first: string, rest: readonly string[], operation: PatchOperation): Json {
  const { op, value = null } = operation;
  if (first === "-" && op === "add" && rest.length === 0) return [...list, value];
  const index = Number(first);
  const limit = op === "add" && rest.length === 0 ? list.length : list.length - 1;
  if (!Number.isInteger(index) || index < 0 || index > limit) throw new PatchFailed(`No item ${operation.path}`);
  if (rest.length > 0) return list.with(index, operate(list[index], rest, operation));
  if (op === "add") return list.toSpliced(index, 0, value);
  if (op === "remove") return list.toSpliced(index, 1);
  if (op === "replace") return list.with(index, value);
  if (!same(list[index], value)) throw new PatchFailed(`Test of ${operation.path} failed`);
  return list;
}
