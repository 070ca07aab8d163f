/**
 * Which cgroup and which processes are the target of a collection on one machine? A cgroup with everything below it, or one process with its
 * descendants: those that it has, those that outlive it, and the process that its supervisor starts in its place.
 */
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import type { LocalTarget, ProcessReading } from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { isDenied, isGone, tryReadText } from "./hostfiles.ts";
import { memoryPathOf } from "./membership.ts";
import { MAX_PIDS, pidsOf, type Hierarchy } from "./podcgroups.ts";
import { createProcessTable, type ProcessTable, type TableEntry } from "./processtable.ts";
import { cgroupScope, isWithin, processScope, type ReportScope } from "./reportscope.ts";

/** What is there of the target at one moment. */
export interface LocalLook {
  /** See {@link LocalReading}: another life is another series. */
  readonly life: string;
  /** Below the hierarchy's root; undefined where that is the root itself or cannot be told. */
  readonly cgroupPath: string | undefined;
  /** Of a process: how many other processes are in its cgroup. */
  readonly othersInCgroup?: number;
  readonly pids: readonly number[];
  readonly omitted: number;
  /** Below its cgroup are more cgroups than were walked. */
  readonly cut?: boolean;
  /** Whether a process that was read belongs to the target: its pid may have been given to somebody else meanwhile. */
  readonly holds: (process: ProcessReading) => Promise<boolean>;
}

export interface LocalSelection {
  readonly target: LocalTarget;
  /** Undefined: the target is gone. */
  look(): Promise<LocalLook | undefined>;
  readonly scope: ReportScope;
}

/** Process incarnations that are remembered, for the kernel's reports of those that are gone. */
const MAX_REMEMBERED = 4096;
const TICKS_PER_SECOND = 100;

export function selectLocal(
  target: LocalTarget,
  proc: string,
  hierarchy: Hierarchy | undefined,
  clock: Clock,
): LocalSelection {
  return target.kind === "Cgroup"
    ? selectCgroup(target, proc, hierarchy)
    : selectProcess(target, proc, hierarchy, clock);
}

function selectCgroup(
  target: LocalTarget & { kind: "Cgroup" },
  proc: string,
  hierarchy: Hierarchy | undefined,
): LocalSelection {
  const { path } = target;
  return {
    target,
    scope: cgroupScope(path),
    look: async () => {
      if (hierarchy === undefined) return undefined;
      const directory = join(hierarchy.root, path);
      const life = await folderNumber(directory);
      if (life === undefined) return undefined;
      const { pids, omitted, cut } = await pidsOf(directory);
      const holds = async ({ pid }: ProcessReading): Promise<boolean> => {
        const now = await memoryPathOf(proc, pid, hierarchy.version);
        return now !== undefined && isWithin(now, path);
      };
      return { life, cgroupPath: path, pids, omitted, cut, holds };
    },
  };
}

/** A cgroup that is removed and made again, as a restarted service's is, has another number. Undefined: not a folder, or gone. */
async function folderNumber(directory: string): Promise<string | undefined> {
  try {
    const { ino } = await lstat(directory, { bigint: true });
    return String(ino);
  } catch (error) {
    if (isGone(error) || isDenied(error)) return undefined;
    throw error;
  }
}

interface Root {
  readonly pid: number;
  readonly startTicks: number;
  /** As last seen, for finding who was started in its place. */
  readonly entry: TableEntry | undefined;
  readonly cgroupPath: string | undefined;
  readonly lastSeenTicks: number;
}

function selectProcess(
  target: LocalTarget & { kind: "Process" },
  proc: string,
  hierarchy: Hierarchy | undefined,
  clock: Clock,
): LocalSelection {
  const table = createProcessTable(proc, clock);
  /** Members that live, by pid, with their start; and all that there ever were, for the kernel's reports. */
  let members = new Map<number, number>();
  const remembered = new Map<number, number>([[target.pid, target.startTicks]]);
  let root: Root = {
    pid: target.pid,
    startTicks: target.startTicks,
    entry: undefined,
    cgroupPath: undefined,
    lastSeenTicks: target.startTicks,
  };

  /** The root once it has ended but was not waited for: the table may still think that it lives. */
  let dead: number | undefined;

  async function renewRoot(): Promise<void> {
    const entry = await table.read(root.pid);
    dead = entry !== undefined && isDead(entry) ? root.pid : undefined;
    if (entry?.startTicks === root.startTicks && !isDead(entry)) {
      const cgroupPath = await cgroupOf(root.pid);
      root = { ...root, entry, cgroupPath, lastSeenTicks: await uptimeTicks(proc) };
      return;
    }
    const next = successorOf(root, table);
    if (next === undefined) return;
    const cgroupPath = await cgroupOf(next.pid);
    // Below init or a service manager, many are started at once; only the cgroup tells whose place is taken.
    if (cgroupPath !== root.cgroupPath || (next.ppid === 1 && cgroupPath === undefined)) return;
    root = { pid: next.pid, startTicks: next.startTicks, entry: next, cgroupPath, lastSeenTicks: next.startTicks };
  }

  /** The root of the hierarchy is everybody's: it tells nothing of one process. */
  async function cgroupOf(pid: number): Promise<string | undefined> {
    const path = hierarchy === undefined ? undefined : await memoryPathOf(proc, pid, hierarchy.version);
    return path === undefined || path === "/" || path.startsWith("/..") ? undefined : path;
  }

  function renewMembers(): void {
    const before = [...members].filter(([pid, start]) => table.get(pid)?.startTicks === start);
    members = new Map(before.filter(([pid]) => pid !== dead));
    const add = (entry: TableEntry | undefined): void => {
      if (entry === undefined || entry.pid === dead || isDead(entry) || members.get(entry.pid) === entry.startTicks)
        return;
      members.set(entry.pid, entry.startTicks);
      if (remembered.size < MAX_REMEMBERED || remembered.has(entry.pid)) remembered.set(entry.pid, entry.startTicks);
    };
    const top = table.get(root.pid);
    if (top?.startTicks === root.startTicks) add(top);
    // Maps go on with what is added while they are walked: children of children come by themselves.
    for (const [pid, start] of members)
      for (const child of table.childrenOf(pid)) if (child.startTicks >= start) add(child);
  }

  return {
    target,
    scope: processScope((pid) => remembered.get(pid)),
    look: async () => {
      await table.renew();
      await renewRoot();
      renewMembers();
      if (members.size === 0) return undefined;
      const pids = [...members.keys()].toSorted((a, b) => a - b);
      const path = root.cgroupPath;
      const around =
        path === undefined || hierarchy === undefined ? undefined : await pidsOf(join(hierarchy.root, path));
      return {
        life: `${root.pid}/${root.startTicks}`,
        cgroupPath: path,
        ...(around === undefined
          ? {}
          : { othersInCgroup: around.pids.filter((pid) => !members.has(pid)).length + around.omitted }),
        pids: pids.slice(0, MAX_PIDS),
        omitted: Math.max(0, pids.length - MAX_PIDS),
        holds: ({ pid, startTicks }) => Promise.resolve(members.get(pid) === startTicks),
      };
    },
  };
}

/**
 * The one process that was started in the place of one that is gone: the same parent and name, started after that was last seen. Where several
 * are, or none, nobody is taken for it.
 */
function successorOf(root: Root, table: ProcessTable): TableEntry | undefined {
  const { entry } = root;
  if (entry === undefined) return undefined;
  const found = table
    .childrenOf(entry.ppid)
    .filter(({ comm, startTicks }) => comm === entry.comm && startTicks >= root.lastSeenTicks);
  return found.length === 1 ? found[0] : undefined;
}

/** A zombie has no memory any more. One that still has threads is a process whose main thread has ended. */
function isDead({ state, threads }: TableEntry): boolean {
  return state === "Z" && threads <= 1;
}

/** Now, in the unit of a process's start: hundredths of a second after boot. Where that cannot be told, nothing started after it. */
async function uptimeTicks(proc: string): Promise<number> {
  const seconds = /^(\d{1,12}\.\d{2}) /.exec((await tryReadText(join(proc, "uptime"), 128)) ?? "")?.[1];
  return seconds === undefined ? Number.POSITIVE_INFINITY : Math.floor(Number(seconds) * TICKS_PER_SECOND);
}
