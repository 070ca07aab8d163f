/**
 * Which processes are in a container? Its cgroup.procs says so only to a reader in the host's pid namespace: from a pod without hostPID
 * cgroup v1 shows nothing there and v2 shows zeros. Then /proc/PID/cgroup of the mounted host's /proc is asked, process by process.
 */
import { join } from "node:path";
import type { Clock } from "../seams.ts";
import { listFolder, tryReadText } from "./hostfiles.ts";
import { type ListedPids, MAX_PIDS, pidsOf, podOfProcess, type Hierarchy } from "./podcgroups.ts";
import { livingFolder, parseStat, type ProcessFolder } from "./procfs.ts";

export interface Owner {
  readonly podUid: string;
  readonly containerId: string;
}

export interface Membership {
  /** Pids in the container's cgroup and below it, lowest first, and what was left out. */
  pidsOf(path: string, owner: Owner): Promise<ListedPids>;
  /** Whether the process is in the container now. A pid that was given to somebody else is not. */
  holds(pid: number, owner: Owner): Promise<boolean>;
  /** Begins a new sample: processes that came meanwhile are looked up. */
  renew(): void;
}

const STAT_BYTES = 4096;
const CGROUP_FILE_BYTES = 64 * 1024;
/** Processes hardly ever move between cgroups, so a look-up is believed for this long. A wrong one is found by {@link Membership.holds}. */
const BELIEVED_MS = 30_000;
const NOBODY = "";

/** The path of a process in the hierarchy that accounts memory, as the reader's cgroup namespace shows it; undefined: gone, or there is none. */
export async function memoryPathOf(proc: string, pid: number, version: 1 | 2): Promise<string | undefined> {
  const pathOf = async (folder: ProcessFolder): Promise<string | undefined> =>
    memoryPath((await tryReadText(join(proc, String(folder), "cgroup"), CGROUP_FILE_BYTES)) ?? "", version);
  const path = await pathOf(pid);
  if (path !== "/" || version === 2) return path;
  // v1 tells the root for a main thread that has ended, also while the rest of its process lives where it was (proc_cgroup_show).
  const main = parseStat((await tryReadText(join(proc, String(pid), "stat"), STAT_BYTES)) ?? "");
  const living = main?.state === "Z" ? await livingFolder(proc, { ...main, pid }) : undefined;
  return living === undefined ? path : pathOf(living.folder);
}

export function createMembership(proc: string, hierarchy: Hierarchy, clock: Clock): Membership {
  let owners = new Map<number, string>();
  let lookedUpAtMs = Number.NEGATIVE_INFINITY;
  let index: Promise<Map<string, number[]>> | undefined;

  async function ownerOf(pid: number): Promise<string> {
    const path = await memoryPathOf(proc, pid, hierarchy.version);
    const { podUid, containerId } = path === undefined ? {} : podOfProcess(path);
    return podUid === undefined || containerId === undefined ? NOBODY : keyOf({ podUid, containerId });
  }

  async function build(): Promise<Map<string, number[]>> {
    const now = clock.monotonicMs();
    const fresh = now - lookedUpAtMs >= BELIEVED_MS;
    if (fresh) lookedUpAtMs = now;
    const seen = new Map<number, string>();
    const found = new Map<string, number[]>();
    for (const name of await listFolder(proc)) {
      if (!/^[1-9]\d{0,9}$/.test(name)) continue;
      const pid = Number(name);
      const owner = (fresh ? undefined : owners.get(pid)) ?? (await ownerOf(pid));
      seen.set(pid, owner);
      if (owner === NOBODY) continue;
      const pids = found.get(owner);
      if (pids === undefined) found.set(owner, [pid]);
      else pids.push(pid);
    }
    owners = seen;
    return found;
  }

  return {
    pidsOf: async (path, owner) => {
      const told = await pidsOf(join(hierarchy.root, path));
      if (told.pids.length > 0) return told;
      index ??= build();
      const pids = ((await index).get(keyOf(owner)) ?? []).toSorted((a, b) => a - b);
      return { pids: pids.slice(0, MAX_PIDS), omitted: Math.max(0, pids.length - MAX_PIDS), cut: told.cut };
    },
    holds: async (pid, owner) => (await ownerOf(pid)) === keyOf(owner),
    renew: () => {
      index = undefined;
    },
  };
}

function keyOf({ podUid, containerId }: Owner): string {
  // Static pods have a uid without dashes.
  return `${podUid.replaceAll("-", "")}/${containerId}`;
}

/** The path in the hierarchy that accounts memory, of `/proc/PID/cgroup` (cgroups(7)); the kernel allows no newline in a cgroup's name. */
function memoryPath(text: string, version: 1 | 2): string | undefined {
  for (const line of text.split("\n")) {
    const [, number, controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined || controllers === undefined) continue;
    if (version === 2 ? number === "0" && controllers === "" : controllers.split(",").includes("memory")) return path;
  }
  return undefined;
}
