/**
 * What will be missing, before anything is measured? The files are opened and not read: the kernel checks the permission then, and the target
 * is not held up.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { LocalTarget } from "../api/collection.ts";
import { codeOf, isDenied, type HostRoots } from "../collector/hostfiles.ts";
import { memoryHierarchy, pidsOf } from "../collector/podcgroups.ts";
import { nameText } from "../diagnosis/words.ts";

/** Of a cgroup's processes; all of one service mostly have the same owner. */
const MAX_TRIED = 32;

/** Sentences, each with what to do; empty when nothing will be missing. */
export async function preflight(roots: HostRoots, target: LocalTarget): Promise<string[]> {
  const missing: string[] = [];
  const pids = await someProcesses(roots, target);
  const denied: number[] = [];
  for (const pid of pids) if (isDenied(await tryOpen(join(roots.proc, String(pid), "smaps_rollup")))) denied.push(pid);
  if (denied.length > 0)
    missing.push(
      `Pss and Uss of ${denied.length} of ${pids.length} processes (such as pid ${denied[0]}) may not be read: growth of processes rests on RssAnon, which counts shared pages in each. Run as root, or as their user.`,
    );
  const kmsg = await tryOpen(roots.kmsg);
  if (kmsg !== undefined)
    missing.push(
      `The kernel's OOM reports may not be read (${roots.kmsg}: ${codeOf(kmsg)}): a kill will be seen in counters only. Run as root, or with CAP_SYSLOG.`,
    );
  if ((await memoryHierarchy(roots.cgroup)) === undefined)
    missing.push(
      `No memory cgroup can be read below ${roots.cgroup}: what ${nameText(target.name)} is charged is not seen.`,
    );
  if ((await tryOpen(join(roots.proc, "pressure", "memory"))) !== undefined)
    missing.push("This kernel tells no memory pressure (PSI): whether the machine stalls is not seen.");
  return missing;
}

async function someProcesses(roots: HostRoots, target: LocalTarget): Promise<readonly number[]> {
  if (target.kind === "Process") return [target.pid];
  const hierarchy = await memoryHierarchy(roots.cgroup);
  if (hierarchy === undefined) return [];
  return (await pidsOf(join(hierarchy.root, target.path))).pids.slice(0, MAX_TRIED);
}

/** The error of opening it for reading; undefined when it may be read. */
async function tryOpen(path: string): Promise<unknown> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    await handle.close();
    return undefined;
  } catch (error) {
    return error;
  }
}
