/** Would writing this status change anything? An equal write is no news, and quiet must mean quiet. */
import { isDeepStrictEqual } from "node:util";
import type { MemoryInvestigation, MemoryInvestigationStatus } from "../api/memoryinvestigation.ts";

/** Whether two statuses say the same, of whatever kind. */
export function equal(a: object, b: object): boolean {
  return isDeepStrictEqual(plain(a), plain(b));
}

/** Compared by value; the order of keys and members that are undefined do not matter. */
export function sameStatus(seen: MemoryInvestigation, next: MemoryInvestigationStatus): boolean {
  return equal(seen.status ?? {}, next);
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
