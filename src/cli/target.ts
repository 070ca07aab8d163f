/**
 * What does the person mean by `--pid`, `--cgroup` or `--container`? Exactly one thing of this machine, or a refusal that lists what it could
 * have been. Containers are found by their cgroups, whose names are those that the runtimes give.
 */
import { realpath } from "node:fs/promises";
import { isAbsolute, join, normalize, relative, resolve } from "node:path";
import type { LocalTarget } from "../api/collection.ts";
import { readCgroup } from "../collector/cgroup.ts";
import { listFolder, listSubfolders, tryReadText, type HostRoots } from "../collector/hostfiles.ts";
import { memoryPathOf } from "../collector/membership.ts";
import { type Hierarchy, memoryHierarchy, pidsOf } from "../collector/podcgroups.ts";
import { parseStat, parseStatus } from "../collector/procfs.ts";
import { isWithin } from "../collector/reportscope.ts";
import { nameText } from "../diagnosis/words.ts";
import { shown } from "./text.ts";

/** Thrown where there is no such thing, or more than one; the message says what to do. Exit code 1. */
export class NoTarget extends Error {
  override readonly name = "NoTarget";
}

export interface Resolved {
  readonly target: LocalTarget;
  /** One line for people. */
  readonly title: string;
  /** What is good to know before it begins. */
  readonly notes: readonly string[];
}

const SMALL = 64 * 1024;
/** Folders of a cgroup hierarchy that are looked at; a machine has hundreds. */
const MAX_FOLDERS = 50_000;
const MAX_DEPTH = 24;
const MAX_LISTED = 10;
/** How containerd, CRI-O, Docker, Podman and nerdctl name the cgroup of a container; cgroupfs drivers use the bare id. */
const CONTAINER = /^(?:(?:cri-containerd|crio|docker|libpod|nerdctl)-)?([0-9a-f]{64})(?:\.scope)?$/;

/** @param pid as it was given. Throws {@link NoTarget} */
export async function resolveProcess(roots: HostRoots, pid: string): Promise<Resolved> {
  if (!/^[1-9]\d{0,9}$/.test(pid))
    throw new NoTarget(`"${shown(pid)}" is not a process id: write a number such as 4711`);
  const [stat, status] = await Promise.all(
    ["stat", "status"].map((name) => tryReadText(join(roots.proc, pid, name), SMALL)),
  );
  const process = stat === undefined ? undefined : parseStat(stat);
  if (process === undefined || status === undefined) throw await nobody(roots, Number(pid));
  // /proc answers for threads too, although it does not list them.
  const tgid = /^Tgid:\t(\d+)$/m.exec(status)?.[1];
  if (tgid !== undefined && tgid !== pid)
    throw new NoTarget(`${pid} is a thread of process ${tgid}: threads share their memory, so write --pid ${tgid}`);
  if (process.state === "Z" && process.threads <= 1)
    throw new NoTarget(
      `Process ${pid} (${nameText(process.comm)}) has ended and waits for its parent; it has no memory any more`,
    );
  if (!/^VmSize:/m.test(status) && process.state !== "Z")
    throw new NoTarget(`${pid} (${nameText(process.comm)}) is a kernel thread: it has no memory of its own`);
  const hierarchy = await memoryHierarchy(roots.cgroup);
  const path = hierarchy === undefined ? undefined : await memoryPathOf(roots.proc, Number(pid), hierarchy.version);
  const name = nameText(process.comm);
  return {
    target: { kind: "Process", pid: Number(pid), startTicks: process.startTicks, name },
    title: `process ${name} (pid ${pid}) and its descendants`,
    notes: path === undefined || path === "/" ? [] : [`its memory cgroup is ${shown(path)}`],
  };
}

/** The number may be one that the process has inside of a container. */
async function nobody(roots: HostRoots, pid: number): Promise<NoTarget> {
  const inside: string[] = [];
  for (const name of await listFolder(roots.proc)) {
    if (!/^[1-9]\d{0,9}$/.test(name)) continue;
    const status = (await tryReadText(join(roots.proc, name, "status"), SMALL)) ?? "";
    if (parseStatus(status).innerPid !== pid || name === String(pid)) continue;
    const comm = parseStat((await tryReadText(join(roots.proc, name, "stat"), SMALL)) ?? "")?.comm ?? "?";
    const path = (await memoryPathOf(roots.proc, Number(name), 2)) ?? (await memoryPathOf(roots.proc, Number(name), 1));
    inside.push(`--pid ${name}   ${nameText(comm)}${path === undefined ? "" : `, in ${shown(path)}`}`);
  }
  const known = `There is no process ${pid} that can be seen from here`;
  return inside.length === 0
    ? new NoTarget(`${known}: ps -e lists them`)
    : new NoTarget(`${known}. Inside of a container, ${pid} is:\n${listed(inside)}`);
}

/** @param given a folder below /sys/fs/cgroup, a path as in /proc/PID/cgroup, or the last part of one. Throws {@link NoTarget} */
export async function resolveCgroup(roots: HostRoots, given: string): Promise<Resolved> {
  const hierarchy = await hierarchyOf(roots);
  const path = (await pathBelow(hierarchy, roots, given)) ?? (await pathByName(hierarchy, given));
  return cgroupAt(hierarchy, path, path.split("/").at(-1) ?? path, `cgroup ${shown(path)}`);
}

/** @param given an id or its beginning, with or without `containerd://`. Throws {@link NoTarget} */
export async function resolveContainer(roots: HostRoots, given: string): Promise<Resolved> {
  const id = given.replace(/^[a-z][a-z-]{1,20}:\/\//, "").toLowerCase();
  if (!/^[0-9a-f]{4,64}$/.test(id))
    throw new NoTarget(
      `"${shown(given)}" is not a container id: write at least its first 4 hexadecimal digits, as crictl ps or docker ps shows them`,
    );
  const hierarchy = await hierarchyOf(roots);
  const found = new Map<string, string>();
  for await (const path of folders(hierarchy)) {
    const full = CONTAINER.exec(path.split("/").at(-1) ?? "")?.[1];
    // A container may name a cgroup of its own like another: the one above counts, and the walk comes from above.
    if (full?.startsWith(id) && ![...found.keys()].some((above) => isWithin(path, above))) found.set(path, full);
  }
  const [first, ...more] = found;
  if (first === undefined)
    throw new NoTarget(
      `No container ${shown(id)} has a cgroup here: crictl ps or docker ps lists those that run, and a container that has ended has none`,
    );
  if (more.length > 0) {
    const candidates = await Promise.all(
      [...found].map(
        async ([path, full]) => `--container ${full.slice(0, 20)}   ${await inhabitant(roots, hierarchy, path)}`,
      ),
    );
    throw new NoTarget(
      `${found.size} containers begin with ${shown(id)}; write more of the id:\n${listed(candidates)}`,
    );
  }
  const [path, full] = first;
  const short = full.slice(0, 12);
  return cgroupAt(hierarchy, path, short, `container ${short} (${await inhabitant(roots, hierarchy, path)})`);
}

async function inhabitant(roots: HostRoots, hierarchy: Hierarchy, path: string): Promise<string> {
  const { pids } = await pidsOf(join(hierarchy.root, path));
  const stat = pids[0] === undefined ? undefined : await tryReadText(join(roots.proc, String(pids[0]), "stat"), SMALL);
  const comm = stat === undefined ? undefined : parseStat(stat)?.comm;
  return `${comm === undefined ? "no process" : nameText(comm)}, ${shown(path, 200)}`;
}

async function hierarchyOf(roots: HostRoots): Promise<Hierarchy> {
  const hierarchy = await memoryHierarchy(roots.cgroup);
  if (hierarchy !== undefined) return hierarchy;
  throw new NoTarget(
    `No memory controller is mounted below ${roots.cgroup}: only a process can be measured here, with --pid`,
  );
}

async function cgroupAt(hierarchy: Hierarchy, path: string, name: string, title: string): Promise<Resolved> {
  if ((await readCgroup(join(hierarchy.root, path), path, hierarchy.version)) === undefined) {
    throw new NoTarget(
      path === "/"
        ? "The root of cgroup v2 tells no memory of its own: oomscope scene shows the whole machine"
        : `${shown(path)} has no memory files that may be read: on cgroup v2 its parent must have "memory" in cgroup.subtree_control`,
    );
  }
  const { pids, omitted } = await pidsOf(join(hierarchy.root, path));
  const notes =
    pids.length === 0
      ? ["there is no process in it now"]
      : omitted > 0
        ? [`it has ${pids.length + omitted} processes, of which ${pids.length} are measured`]
        : [];
  return { target: { kind: "Cgroup", path, name: name.slice(0, 256) }, title, notes };
}

/** The path below the hierarchy's root of a folder that was named by any path; undefined when there is no such folder. */
async function pathBelow(hierarchy: Hierarchy, roots: HostRoots, given: string): Promise<string | undefined> {
  const root = await realpath(hierarchy.root);
  const asFolder = await realpath(resolve(given)).catch(() => undefined);
  if (asFolder !== undefined) {
    const below = relative(root, asFolder);
    if (!below.startsWith("..") && !isAbsolute(below)) return `/${below}`;
    const mount = await realpath(roots.cgroup);
    if (isWithin(asFolder, mount)) throw await otherHierarchy(hierarchy, asFolder, mount);
  }
  // As /proc/PID/cgroup and the kernel's report write it. The leading slash keeps `..` inside.
  const path = normalize(`/${given}`).replace(/(.)\/$/, "$1");
  const inside = await realpath(join(root, path)).catch(() => undefined);
  return inside !== undefined && isWithin(inside, root) ? path : undefined;
}

async function otherHierarchy(hierarchy: Hierarchy, folder: string, mount: string): Promise<NoTarget> {
  const rest = folder.slice(mount.length).split("/").slice(2).join("/");
  const same = join(hierarchy.root, rest);
  const exists = await realpath(same).then(
    () => true,
    () => false,
  );
  return new NoTarget(
    `${shown(folder)} does not account memory: here that is cgroup v${hierarchy.version} below ${hierarchy.root}${exists ? `; write --cgroup ${shown(same)}` : ""}`,
  );
}

async function pathByName(hierarchy: Hierarchy, given: string): Promise<string> {
  const found: string[] = [];
  if (!given.includes("/") && given !== "" && !given.startsWith("."))
    for await (const path of folders(hierarchy)) if (path.endsWith(`/${given}`)) found.push(path);
  const [only, ...more] = found;
  if (only !== undefined && more.length === 0) return only;
  if (only !== undefined)
    throw new NoTarget(
      `${found.length} cgroups are named ${shown(given)}; write the path of one:\n${listed(found.map((path) => `--cgroup ${shown(path)}`))}`,
    );
  throw new NoTarget(
    `There is no memory cgroup ${shown(given)}: write a folder below ${hierarchy.root}, a path as in /proc/PID/cgroup, or the name of a service`,
  );
}

/** Paths below the root, those above before those below them. */
async function* folders(hierarchy: Hierarchy): AsyncGenerator<string> {
  let level = [""];
  let seen = 0;
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth++) {
    const next: string[] = [];
    for (const path of level) {
      for (const name of await listSubfolders(join(hierarchy.root, path))) {
        if (++seen > MAX_FOLDERS) return;
        next.push(`${path}/${name}`);
        yield `${path}/${name}`;
      }
    }
    level = next;
  }
}

function listed(candidates: readonly string[]): string {
  const rest = candidates.length - MAX_LISTED;
  const lines = candidates.slice(0, MAX_LISTED).map((line) => `  ${line}`);
  return [...lines, ...(rest > 0 ? [`  and ${rest} more`] : [])].join("\n");
}
