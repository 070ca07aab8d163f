/**
 * Names of generated code, from the map that a just-in-time compiler may write (tools/perf/Documentation/jit-interface.txt of the kernel):
 * lines of start, size (both hex) and a name. The program that is profiled writes it and may write what it likes, so sizes are capped, overlaps are
 * dropped, and every name from it is marked as a claim.
 */
import { plainName } from "../../api/profile.ts";
import { FileRefused, readBelow } from "./targetfiles.ts";

export interface PerfMap {
  /** The claimed name of the code at an address. */
  nameAt(address: number): string | undefined;
  readonly entries: number;
  /** Lines that were not usable or that overlapped another. */
  readonly dropped: number;
}

const MAX_BYTES = 16 * 2 ** 20;
const MAX_ENTRIES = 100_000;

interface Entry {
  readonly start: number;
  readonly end: number;
  readonly name: string;
}

/** Never throws. Of two entries that overlap, the one that begins first is kept: which of them is the newer one, the file does not say. */
export function parsePerfMap(text: string): PerfMap {
  const entries: Entry[] = [];
  let dropped = 0;
  for (let at = 0; at < text.length;) {
    const newline = text.indexOf("\n", at);
    const line = text.slice(at, Math.min(newline < 0 ? text.length : newline, at + 2048));
    at = newline < 0 ? text.length : newline + 1;
    if (line === "") continue;
    const [, start, size, name] = /^(?:0x)?([0-9a-f]{1,13}) (?:0x)?([0-9a-f]{1,8}) (.+)$/i.exec(line) ?? [];
    if (start === undefined || size === undefined || name === undefined || entries.length >= MAX_ENTRIES) dropped += 1;
    else
      entries.push({
        start: Number.parseInt(start, 16),
        end: Number.parseInt(start, 16) + Number.parseInt(size, 16),
        name: plainName(name),
      });
  }
  const sorted = entries.toSorted((a, b) => a.start - b.start);
  const kept: Entry[] = [];
  for (const entry of sorted) {
    if (entry.end > entry.start && entry.start >= (kept.at(-1)?.end ?? 0)) kept.push(entry);
    else dropped += 1;
  }
  return { nameAt: (address) => find(kept, address), entries: kept.length, dropped };
}

function find(entries: readonly Entry[], address: number): string | undefined {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle]?.start ?? 0) <= address) low = middle + 1;
    else high = middle;
  }
  const entry = entries[low - 1];
  return entry !== undefined && address < entry.end ? entry.name : undefined;
}

/**
 * The map of one process, by its pid in its own namespace, in its own /tmp. As perf has it, the file must belong to the process's user or to root:
 * /tmp is anybody's. Undefined when there is none that may be used; `refused` is told why, if there is one.
 */
export async function readPerfMap(
  proc: string,
  process: { readonly pid: number; readonly innerPid: number; readonly uid: number },
  refused: (reason: string) => void,
): Promise<PerfMap | undefined> {
  try {
    const { bytes, uid } = await readBelow(
      `${proc}/${process.pid}/root`,
      `/tmp/perf-${process.innerPid}.map`,
      MAX_BYTES,
    );
    if (uid === process.uid || uid === 0) return parsePerfMap(bytes.toString("utf8"));
    refused("it belongs to another user");
  } catch (error) {
    const reason = error instanceof FileRefused ? error.reason : "Failed";
    if (reason !== "Gone") refused(reason);
  }
  return undefined;
}
