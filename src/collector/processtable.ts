/**
 * Who is whose child on this machine? A table of every process with its parent. A process that was there before is believed for a while
 * instead of read again, so that a machine with ten thousand processes costs little; whoever uses an entry checks the start.
 */
import { join } from "node:path";
import type { Clock } from "../seams.ts";
import { listFolder, tryReadText } from "./hostfiles.ts";
import { parseStat, type ProcessIdentity } from "./procfs.ts";

export type TableEntry = ProcessIdentity;

export interface ProcessTable {
  /** Looks again who is there. */
  renew(): Promise<void>;
  /** As last looked at. */
  get(pid: number): TableEntry | undefined;
  childrenOf(pid: number): readonly TableEntry[];
  /** Reads one process now; undefined: gone. */
  read(pid: number): Promise<TableEntry | undefined>;
}

const STAT_BYTES = 4096;
const BELIEVED_MS = 30_000;

export function createProcessTable(proc: string, clock: Clock): ProcessTable {
  let entries = new Map<number, TableEntry>();
  let children = new Map<number, TableEntry[]>();
  let allReadAtMs = Number.NEGATIVE_INFINITY;

  async function read(pid: number): Promise<TableEntry | undefined> {
    const text = await tryReadText(join(proc, String(pid), "stat"), STAT_BYTES);
    return text === undefined ? undefined : parseStat(text);
  }

  return {
    read,
    get: (pid) => entries.get(pid),
    childrenOf: (pid) => children.get(pid) ?? [],
    renew: async () => {
      const now = clock.monotonicMs();
      const afresh = now - allReadAtMs >= BELIEVED_MS;
      if (afresh) allReadAtMs = now;
      const seen = new Map<number, TableEntry>();
      for (const name of await listFolder(proc)) {
        if (!/^[1-9]\d{0,9}$/.test(name)) continue;
        const pid = Number(name);
        const entry = (afresh ? undefined : entries.get(pid)) ?? (await read(pid));
        if (entry !== undefined) seen.set(pid, entry);
      }
      entries = seen;
      children = Map.groupBy(seen.values(), ({ ppid }) => ppid);
    },
  };
}
