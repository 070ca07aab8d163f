/**
 * Which processes are in a cgroup, seen from a container that does not share the host's pid namespace? There cgroup.procs lists a 0 for
 * everybody else, but the host's /proc still tells of each process which cgroup it is in.
 *
 * From inside a cgroup namespace of its own a reader sees paths relative to it (`/../../pod…/…`), as cgroup_namespaces(7) says; then only
 * what follows the dots is known, and it must match the end of the path component by component.
 */
import { join } from "node:path";
import { listFolder, tryReadText } from "./hostfiles.ts";

const SMALL = 64 * 1024;
/** Reads under way at once. */
const BATCH = 64;

export interface PidMap {
  /** Pids in the cgroup with this path below the hierarchy's root, and below it; lowest first. */
  pidsIn(path: string): number[];
}

interface Member {
  readonly pid: number;
  readonly components: readonly string[];
  readonly relative: boolean;
}

/** One look at every process of the host. */
export async function readPidMap(proc: string, version: 1 | 2): Promise<PidMap> {
  const pids = (await listFolder(proc)).filter((name) => /^\d+$/.test(name));
  const members: Member[] = [];
  for (let from = 0; from < pids.length; from += BATCH) {
    const batch = pids.slice(from, from + BATCH);
    const found = await Promise.all(
      batch.map(async (pid) => memberOf(Number(pid), await cgroupFile(proc, pid), version)),
    );
    members.push(...found.filter((member) => member !== undefined));
  }
  return {
    pidsIn: (path) => {
      const wanted = split(path);
      return members
        .filter((member) => isInside(member, wanted))
        .map((member) => member.pid)
        .toSorted((a, b) => a - b);
    },
  };
}

async function cgroupFile(proc: string, pid: string): Promise<string | undefined> {
  try {
    return await tryReadText(join(proc, pid, "cgroup"), SMALL);
  } catch {
    return undefined; // It ended between the listing and the read, in whatever way the kernel says so.
  }
}

/** `hierarchy:controllers:path` lines: v1 names the memory controller, v2 is hierarchy 0 without controllers. */
export function memberOf(pid: number, text: string | undefined, version: 1 | 2): Member | undefined {
  for (const line of text?.split("\n") ?? []) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match?.[3] === undefined) continue;
    const ours = version === 2 ? match[1] === "0" && match[2] === "" : (match[2] ?? "").split(",").includes("memory");
    if (!ours) continue;
    const components = split(match[3]);
    const dots = components.findIndex((part) => part !== "..");
    return { pid, components: dots < 0 ? [] : components.slice(dots), relative: dots !== 0 };
  }
  return undefined;
}

function split(path: string): string[] {
  return path.split("/").filter((part) => part !== "");
}

function isInside({ components, relative }: Member, wanted: readonly string[]): boolean {
  if (!relative) return startsWith(components, wanted);
  // At least the pod and the container must be told; less could be anybody's.
  for (let length = wanted.length; length >= 2; length--) {
    if (startsWith(components, wanted.slice(-length))) return true;
  }
  return false;
}

function startsWith(components: readonly string[], prefix: readonly string[]): boolean {
  return prefix.length <= components.length && prefix.every((part, index) => components[index] === part);
}
