/**
 * When are two pod templates the same, and what lies between them? Templates are compared by a hash of their canonical text, as the
 * controllers compare them by value; the difference is a JSON patch that a person can read, apply or commit.
 */
import { createHash } from "node:crypto";
import { MAX_PATCH } from "../api/mitigation.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The label that a Deployment adds to the template of each of its ReplicaSets. */
const HASH_LABEL = "pod-template-hash";
/** What a ControllerRevision's data carries beside the template. */
const PATCH_MARK = "$patch";

/** The template as its workload has it: without what a controller adds in its record of a revision, and without empty values. */
export function plainTemplate(recorded: Json): Json {
  const template = withoutNulls(recorded);
  if (!isObject(template)) return template;
  const { [PATCH_MARK]: _mark, ...rest } = template;
  const metadata = rest["metadata"];
  const labels = isObject(metadata) ? metadata["labels"] : undefined;
  if (!isObject(metadata) || !isObject(labels)) return rest;
  const { [HASH_LABEL]: _hash, ...kept } = labels;
  return { ...rest, metadata: { ...metadata, labels: kept } };
}

/** SHA-256 of a template's canonical text: the order of keys does not matter. */
export function templateHash(template: Json): string {
  return createHash("sha256")
    .update(JSON.stringify(sorted(plainTemplate(template))))
    .digest("hex");
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => (item === null ? [] : [[key, withoutNulls(item)]])),
  );
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}

/** One step of a JSON patch (RFC 6902). */
export type PatchStep =
  | { readonly op: "test" | "add" | "replace"; readonly path: string; readonly value: Json }
  | { readonly op: "remove"; readonly path: string };

/**
 * The steps that make one template of a workload into another. What is replaced or removed is tested first, so that the patch fails
 * on a workload that has changed since.
 */
export function templatePatch(from: Json, to: Json): readonly PatchStep[] {
  return difference(plainTemplate(from), plainTemplate(to), "/spec/template");
}

function difference(from: Json | undefined, to: Json | undefined, path: string): PatchStep[] {
  if (from === undefined) return to === undefined ? [] : [{ op: "add", path, value: to }];
  const test: PatchStep = { op: "test", path, value: from };
  if (to === undefined) return [test, { op: "remove", path }];
  if (isObject(from) && isObject(to)) {
    const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])];
    return keys.flatMap((key) => difference(from[key], to[key], `${path}/${escaped(key)}`));
  }
  if (Array.isArray(from) && Array.isArray(to) && from.length === to.length) {
    return from.flatMap((item, index) => difference(item as Json, to[index] as Json, `${path}/${index}`));
  }
  if (JSON.stringify(sorted(from)) === JSON.stringify(sorted(to))) return [];
  return [test, { op: "replace", path, value: to }];
}

function escaped(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Fields of a container that may hold a secret in plain text: status is read by more people than these are. */
const PRIVATE = new Set(["env", "command", "args"]);

/** The patch as one line; undefined where it would show what status should not, or would be long. */
export function patchText(steps: readonly PatchStep[]): string | undefined {
  if (steps.some((step) => isPrivate(step))) return undefined;
  const text = JSON.stringify(steps);
  return text.length > MAX_PATCH ? undefined : text;
}

function isPrivate(step: PatchStep): boolean {
  if (step.path.split("/").some((part) => PRIVATE.has(part))) return true;
  return step.op !== "remove" && holdsPrivate(step.value);
}

function holdsPrivate(value: Json): boolean {
  if (Array.isArray(value)) return value.some((item) => holdsPrivate(item as Json));
  if (!isObject(value)) return false;
  return Object.entries(value).some(([key, item]) => PRIVATE.has(key) || holdsPrivate(item));
}
