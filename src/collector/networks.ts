/**
 * How many sockets has a network namespace? From /proc/PID/net/sockstat of one process in it, once for each sample. The same files say how much
 * memory the buffers of all sockets take, but for the whole machine: TCP's `mem`, `alloc` and `orphan` and UDP's `mem` have one counter
 * for all namespaces (net/ipv4/proc.c), `inuse` and `tw` are of the namespace.
 */
import { readlinkSync } from "node:fs";
import type { NetworkReading } from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { codeOf, isDenied, isGone, tryReadText, within } from "./hostfiles.ts";
import type { ProcessFolder } from "./procfs.ts";

const SMALL = 4096;
const TIMEOUT_MS = 2_000;
const MAX_NETWORKS = 16;

const OF_MACHINE = /^(?:TCP_(?:mem|alloc|orphan)|UDP_mem)$/;
const OF_NAMESPACE = /^(?:sockets_used|TCP_inuse|TCP_tw|UDP_inuse|TCP6_inuse|UDP6_inuse)$/;

/** `TCP: inuse 90 orphan 4` as TCP_inuse and TCP_orphan. */
export function parseSockstat(text: string): Record<string, number> {
  const values: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const [, protocol, rest] = /^(sockets|[A-Z]{3,7}6?): (.{1,200})$/.exec(line) ?? [];
    if (protocol === undefined || rest === undefined) continue;
    for (const [, name, value] of rest.matchAll(/\b([a-z]{1,10}) (\d{1,15})(?= |$)/g))
      values[`${protocol}_${name}`] = Number(value);
  }
  return values;
}

/** The counters of the whole machine, as any process sees them; undefined where they cannot be read. */
export async function machineSockets(proc: string, clock: Clock): Promise<Record<string, number> | undefined> {
  const values = select(await readSockstat(proc, 1, clock), OF_MACHINE);
  return Object.keys(values).length === 0 ? undefined : values;
}

export interface Networks {
  /** Begins a new sample. */
  renew(): void;
  /** The inode number of the process's network namespace; undefined where it may not be known. */
  namespaceOf(folder: ProcessFolder): number | undefined;
  /** What was found since `renew`. */
  read(): Promise<NetworkReading[]>;
}

export function createNetworks(proc: string, clock: Clock): Networks {
  let members = new Map<number, ProcessFolder>();
  return {
    renew: () => {
      members = new Map();
    },
    namespaceOf: (folder) => {
      const namespace = inodeOf(`${proc}/${folder}/ns/net`);
      if (namespace !== undefined && members.size < MAX_NETWORKS && !members.has(namespace))
        members.set(namespace, folder);
      return namespace;
    },
    read: async () => {
      const readings: NetworkReading[] = [];
      for (const [namespace, folder] of members) {
        const { sockets_used, ...sockets } = select(await readSockstat(proc, folder, clock), OF_NAMESPACE);
        // The process may have gone, and its pid may be somebody else's in another namespace.
        if (inodeOf(`${proc}/${folder}/ns/net`) !== namespace || sockets_used === undefined) continue;
        readings.push({ namespace, sockets: { used: sockets_used, ...sockets } });
      }
      return readings;
    },
  };
}

async function readSockstat(proc: string, folder: ProcessFolder, clock: Clock): Promise<Record<string, number>> {
  const read = (name: string): Promise<string | undefined> =>
    within(tryReadText(`${proc}/${folder}/net/${name}`, SMALL), TIMEOUT_MS, clock).catch(() => undefined);
  return parseSockstat(`${(await read("sockstat")) ?? ""}\n${(await read("sockstat6")) ?? ""}`);
}

function select(values: Readonly<Record<string, number>>, names: RegExp): Record<string, number> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.test(name)));
}

function inodeOf(link: string): number | undefined {
  try {
    const inode = Number(/^net:\[(\d{1,15})\]$/.exec(readlinkSync(link))?.[1]);
    return Number.isSafeInteger(inode) ? inode : undefined;
  } catch (error) {
    if (isGone(error) || isDenied(error) || codeOf(error) === "EINVAL") return undefined;
    throw error;
  }
}
