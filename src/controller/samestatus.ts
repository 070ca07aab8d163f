/** Would writing this status change anything? An equal write is no news, and quiet must mean quiet. */
import { isDeepStrictEqual } from "node:util";
import type { MemoryInvestigation, MemoryInvestigationStatus } from "../api/memoryinvestigation.ts";

/** Compared by value; the order of keys and members that are undefined do not matter. */
export function sameStatus(seen: MemoryInvestigation, next: MemoryInvestigationStatus): boolean {
  return isDeepStrictEqual(plain(seen.status ?? {}), plain(next));
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
