/**
 * How is JSON read whose content anybody may have written? One field at a time, each with the type and the size that it may have. What is not
 * so is absent; nothing here throws.
 */
import { quantityBytes } from "../api/fields.ts";
import { plainText } from "./redact.ts";

export type Json = Readonly<Record<string, unknown>>;

/** Longest name of an object in Kubernetes. */
const MAX_NAME = 253;
/** Lists of other people are read this far. */
const MAX_LIST = 10_000;
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

/** The value under a path of keys; undefined as soon as something on the way is no object or does not have the key itself. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let here = value;
  for (const key of path) {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, key)) return undefined;
    here = (here as Json)[key];
  }
  return here;
}

/** Plain text of at most `max` characters; undefined for anything else and for nothing. */
export function textAt(value: unknown, path: readonly string[], max = MAX_NAME): string | undefined {
  const found = at(value, ...path);
  if (typeof found !== "string" || found === "") return undefined;
  // What is taken out can make room for what stands behind it, but not for megabytes.
  return cut(plainText(found.slice(0, 4 * max)).replaceAll(/\s+/g, " "), max);
}

export function intAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = at(value, ...path);
  return typeof found === "number" && Number.isSafeInteger(found) ? found : undefined;
}

export function countAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = intAt(value, ...path);
  return found === undefined || found < 0 ? undefined : found;
}

/** A time that every reader can parse. */
export function timeAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = at(value, ...path);
  return typeof found === "string" && TIME.test(found) && Number.isFinite(Date.parse(found)) ? found : undefined;
}

export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const found = at(value, ...path);
  return Array.isArray(found) ? (found as unknown[]).slice(0, MAX_LIST) : [];
}

export function bytesAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = at(value, ...path);
  return typeof found === "string" || typeof found === "number" ? quantityBytes(String(found)) : undefined;
}

/** Thousandths of a CPU; a quantity such as `250m`, `1` or `3162387n`. */
export function cpuMilliAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = at(value, ...path);
  const match = /^(\d{1,12}(?:\.\d{1,9})?)([num]?)$/.exec(typeof found === "number" ? String(found) : textOf(found));
  if (match === null) return undefined;
  const scale = { n: 1e-6, u: 1e-3, m: 1, "": 1000 }[match[2] ?? ""] ?? 1000;
  const milli = Math.round(Number(match[1]) * scale);
  return Number.isSafeInteger(milli) ? milli : undefined;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Text cut to `max` characters, with an ellipsis where something is missing; never in the middle of a surrogate pair. */
export function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`.toWellFormed();
}

export interface ControllerReference {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** The owner that controls the object. */
export function controllerOf(object: unknown): ControllerReference | undefined {
  const owner = listAt(object, "metadata", "ownerReferences").find((o) => at(o, "controller") === true);
  const kind = textAt(owner, ["kind"], 63);
  const name = textAt(owner, ["name"]);
  const uid = textAt(owner, ["uid"], 64);
  return kind === undefined || name === undefined || uid === undefined ? undefined : { kind, name, uid };
}

export function nameOf(object: unknown): string | undefined {
  return textAt(object, ["metadata", "name"]);
}

export function uidOf(object: unknown): string | undefined {
  return textAt(object, ["metadata", "uid"], 64);
}
