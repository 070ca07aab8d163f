/** The investigations of a cluster as kubectl prints them: the columns are those of the CRD, read from the object as it is, whichever version wrote it. */
import type { Column } from "../api/crd.ts";
import { KINDS } from "../api/crd.ts";
import type { ApiObject } from "../cluster/api.ts";
import { cut, shown, table } from "./text.ts";

export interface ListOptions {
  /** With the namespace as first column. */
  readonly namespaces: boolean;
  /** With the columns that `-o wide` adds. */
  readonly wide: boolean;
  readonly now: Date;
}

/** Longest cell; a summary in `-o wide` is shown whole. */
const MAX_CELL = 253;

/** @param items as the API server gave them, sorted by namespace and name */
export function listText(items: readonly ApiObject[], { namespaces, wide, now }: ListOptions): string {
  const columns = (KINDS.find(({ kind }) => kind === "MemoryInvestigation")?.columns ?? []).filter(
    ({ priority = 0 }) => priority === 0 || wide,
  );
  const before = namespaces ? ["NAMESPACE", "NAME"] : ["NAME"];
  const rows = items.map((item) => [
    ...(namespaces ? [item.metadata.namespace ?? ""] : []),
    item.metadata.name ?? "",
    ...columns.map((column) => cell(item, column, now)),
  ]);
  const head = [...before, ...columns.map(({ name }) => name.toUpperCase())];
  return `${table(
    [head, ...rows],
    head.map(() => "<" as const),
    0,
  ).join("\n")}\n`;
}

function cell(item: ApiObject, { jsonPath, type, name }: Column, now: Date): string {
  const value = valueAt(item, jsonPath);
  if (typeof value !== "string" && typeof value !== "number") return "";
  if (type === "date") return ageText(now.getTime() - Date.parse(String(value)));
  return name === "Summary" ? shown(String(value), 1024) : cut(shown(String(value), MAX_CELL), MAX_CELL);
}

/** A path of a printer column: fields, and of a list the entry that `[?(@.key=="value")]` picks. Undefined where nothing is. */
export function valueAt(object: unknown, jsonPath: string): unknown {
  const steps = jsonPath.matchAll(/\.([A-Za-z]+)|\[\?\(@\.([A-Za-z]+)=="([^"]*)"\)\]/g);
  let value = object;
  for (const [, field, key = "", wanted] of steps) {
    if (field === undefined)
      value = Array.isArray(value) ? value.find((entry) => fieldOf(entry, key) === wanted) : undefined;
    else value = fieldOf(value, field);
  }
  return value;
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, field)
    ? (value as Readonly<Record<string, unknown>>)[field]
    : undefined;
}

/** Time as kubectl shortens it: `45s`, `12m`, `3h5m`, `2d4h`, `30d`, `2y10d`. */
export function ageText(ms: number): string {
  if (!Number.isFinite(ms)) return "<unknown>";
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)];
  const two = (big: number, unit: string, small: number, smaller: string): string =>
    `${big}${unit}${small === 0 ? "" : `${small}${smaller}`}`;
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (hours < 3) return `${minutes}m`;
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (days < 8) return two(days, "d", hours % 24, "h");
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  return days < 2920 ? two(years, "y", days % 365, "d") : `${years}y`;
}
