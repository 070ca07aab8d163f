/**
 * Who owns which field, and what does server-side apply make of it? Fields are paths of their leaves; the items of a list that is a map are named by their
 * keys, those of a set by their value, and any other list is one leaf.
 */
import type { Schema } from "./schema.ts";
import { isObject, type Json, type JsonObject, same, withKey } from "./values.ts";

/** Segments joined by a zero byte. */
type Path = string;
const SEPARATOR = "\0";

export interface Manager {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly subresource: string;
}

/** Fields by manager, keyed by `managerKey`. */
export type Owners = ReadonlyMap<string, ReadonlySet<Path>>;

export function managerKey({ manager, operation, subresource }: Manager): string {
  return [manager, operation, subresource].join(SEPARATOR);
}

/** As metadata.managedFields tells of them; which fields they own is left out there. */
export function managedFields(owners: Owners, apiVersion: string, time: string): Json {
  return [...owners.keys()].map((key) => {
    const [manager = "", operation = "", subresource = ""] = key.split(SEPARATOR);
    const sub = subresource === "" ? {} : { subresource };
    return { manager, operation, apiVersion, time, fieldsType: "FieldsV1", fieldsV1: {}, ...sub };
  });
}

/** Keys of the items of lists that are maps, for the built-in kinds. */
const MAP_KEYS: Readonly<Record<string, readonly string[]>> = {
  containers: ["name"],
  initContainers: ["name"],
  env: ["name"],
  volumes: ["name"],
  conditions: ["type"],
  ownerReferences: ["uid"],
};

type ListShape = { readonly keys: readonly string[] } | "Set" | "Atomic";

function listShape(name: string, schema: Schema | undefined): ListShape {
  if (name === "finalizers") return "Set";
  const declared = schema?.["x-kubernetes-list-type"];
  if (declared === "set") return "Set";
  if (declared === "map") return { keys: schema?.["x-kubernetes-list-map-keys"] ?? [] };
  const keys = schema === undefined ? MAP_KEYS[name] : undefined;
  return keys === undefined ? "Atomic" : { keys };
}

function below(schema: Schema | undefined, name: string): Schema | undefined {
  // Metadata is the same for all kinds, and no schema says anything about it.
  if (name === "metadata") return undefined;
  const more = schema?.additionalProperties;
  return schema?.properties?.[name] ?? (typeof more === "object" ? more : undefined);
}

const ITEM = "k:";
const VALUE = "v:";

function itemName(item: Json, keys: readonly string[]): string {
  const object = isObject(item) ? item : {};
  return ITEM + JSON.stringify(keys.map((key) => object[key] ?? null));
}

/** Fields of metadata that somebody may own. */
const OWNED_METADATA = new Set(["labels", "annotations", "finalizers", "ownerReferences"]);

/** Objects are never changed, and each is looked at several times. */
const known = new WeakMap<JsonObject, ReadonlyMap<Path, Json>>();

/** The leaves of an object, with their values. */
function leaves(object: JsonObject, schema: Schema | undefined): ReadonlyMap<Path, Json> {
  const cached = known.get(object);
  if (cached !== undefined) return cached;
  const found = new Map<Path, Json>();
  known.set(object, found);
  for (const [key, value] of Object.entries(object)) {
    if (value === undefined || key === "apiVersion" || key === "kind") continue;
    if (key !== "metadata") collect(value, key, key, below(schema, key), found);
    else
      for (const [field, item] of Object.entries(value as JsonObject))
        if (item !== undefined && OWNED_METADATA.has(field))
          collect(item, `${key}${SEPARATOR}${field}`, field, undefined, found);
  }
  return found;
}

function collect(value: Json, path: Path, name: string, schema: Schema | undefined, found: Map<Path, Json>): void {
  if (Array.isArray(value)) {
    const list = value as readonly Json[];
    const shape = listShape(name, schema);
    if (shape === "Set") for (const item of list) found.set(path + SEPARATOR + VALUE + JSON.stringify(item), item);
    else if (shape === "Atomic") found.set(path, list);
    else
      for (const item of list) collect(item, path + SEPARATOR + itemName(item, shape.keys), "", schema?.items, found);
    return;
  }
  const entries = isObject(value) ? Object.entries(value) : [];
  if (entries.length === 0) found.set(path, value);
  for (const [key, item] of entries)
    if (item !== undefined) collect(item, path + SEPARATOR + key, key, below(schema, key), found);
}

export interface Conflict {
  readonly field: string;
  readonly manager: string;
}

export interface Applied {
  readonly object: JsonObject;
  readonly owners: Owners;
  readonly conflicts: readonly Conflict[];
}

/** What an apply of `config` makes of an object. With conflicts and without force nothing is to be stored. */
export function applied(
  live: JsonObject,
  owners: Owners,
  config: JsonObject,
  by: Manager,
  force: boolean,
  schema: Schema | undefined,
): Applied {
  const wanted = leaves(config, schema);
  const present = leaves(live, schema);
  const own = managerKey(by);
  const next = new Map(owners);
  const conflicts: Conflict[] = [];
  for (const [path, value] of wanted) {
    if (same(present.get(path), value)) continue;
    for (const [other, fields] of next) {
      if (other === own || !fields.has(path)) continue;
      conflicts.push({ field: shown(path), manager: other.split(SEPARATOR)[0] ?? "" });
      next.set(other, without(fields, [path]));
    }
  }
  if (conflicts.length > 0 && !force) return { object: live, owners, conflicts };
  const given = [...(owners.get(own) ?? [])].filter((path) => !wanted.has(path));
  next.set(own, new Set(wanted.keys()));
  const merged = merge(live, config, schema, "") as JsonObject;
  return { object: forsaken(merged, given, next, schema), owners: withoutEmpty(next), conflicts: [] };
}

/** Ownership after somebody has written without apply: what changed is theirs alone, what went is nobody's. */
export function updated(
  before: JsonObject,
  after: JsonObject,
  owners: Owners,
  by: Manager,
  schema: Schema | undefined,
): Owners {
  const old = leaves(before, schema);
  const now = leaves(after, schema);
  const changed = [...now].filter(([path, value]) => !same(old.get(path), value)).map(([path]) => path);
  const gone = [...old.keys()].filter((path) => !now.has(path));
  if (changed.length === 0 && gone.length === 0) return owners;
  const own = managerKey(by);
  const next = new Map([...owners].map(([key, fields]) => [key, without(fields, [...changed, ...gone])] as const));
  if (changed.length > 0) next.set(own, new Set([...(next.get(own) ?? []), ...changed]));
  return withoutEmpty(next);
}

function without(fields: ReadonlySet<Path>, paths: readonly Path[]): ReadonlySet<Path> {
  if (!paths.some((path) => fields.has(path))) return fields;
  const left = new Set(fields);
  for (const path of paths) left.delete(path);
  return left;
}

function withoutEmpty(owners: ReadonlyMap<string, ReadonlySet<Path>>): Owners {
  return new Map([...owners].filter(([, fields]) => fields.size > 0));
}

const shown = (path: Path): string => `.${path.split(SEPARATOR).join(".")}`;

function merge(live: Json | undefined, config: Json, schema: Schema | undefined, name: string): Json {
  if (Array.isArray(config)) return mergeList(live, config as readonly Json[], schema, name);
  if (!isObject(config) || !isObject(live)) return config;
  const result: Record<string, Json | undefined> = { ...live };
  for (const [key, value] of Object.entries(config))
    if (value !== undefined) result[key] = merge(live[key], value, below(schema, key), key);
  return result;
}

function mergeList(live: Json | undefined, config: readonly Json[], schema: Schema | undefined, name: string): Json {
  const shape = listShape(name, schema);
  if (!Array.isArray(live) || shape === "Atomic") return config;
  const list = live as readonly Json[];
  if (shape === "Set") return [...list, ...config.filter((item) => !list.some((known) => same(known, item)))];
  const byName = new Map(list.map((item) => [itemName(item, shape.keys), item]));
  for (const item of config) {
    const key = itemName(item, shape.keys);
    byName.set(key, merge(byName.get(key), item, schema?.items, ""));
  }
  return [...byName.values()];
}

/** Removes what its applier has given up and nobody else owns, with whatever is left empty by that. */
function forsaken(object: JsonObject, given: readonly Path[], owners: Owners, schema: Schema | undefined): JsonObject {
  const owned = [...owners.values()].flatMap((fields) => [...fields]);
  const isOwned = (prefix: Path): boolean =>
    owned.some((path) => path === prefix || path.startsWith(prefix + SEPARATOR));
  let result = object;
  for (const path of given) {
    const segments = path.split(SEPARATOR);
    const least = segments[0] === "metadata" ? 2 : 1;
    for (let length = least; length <= segments.length; length++) {
      if (isOwned(segments.slice(0, length).join(SEPARATOR))) continue;
      result = removed(result, segments.slice(0, length), schema, "") as JsonObject;
      break;
    }
  }
  return result;
}

function removed(value: Json, [first, ...rest]: readonly string[], schema: Schema | undefined, name: string): Json {
  if (first === undefined) return value;
  if (Array.isArray(value)) {
    const list = value as readonly Json[];
    const shape = listShape(name, schema);
    const isIt = (item: Json): boolean =>
      typeof shape === "object" ? itemName(item, shape.keys) === first : VALUE + JSON.stringify(item) === first;
    if (rest.length === 0) return list.filter((item) => !isIt(item));
    return list.map((item) => (isIt(item) ? removed(item, rest, schema?.items, "") : item));
  }
  if (!isObject(value)) return value;
  if (rest.length === 0) return withKey(value, first, undefined);
  const child = value[first];
  return child === undefined ? value : { ...value, [first]: removed(child, rest, below(schema, first), first) };
}
