/** The processes of a target at one moment, as a snapshot of their mappings or a profile wants them. */
import { createCostGate } from "../collector/costgate.ts";
import { selectLocal } from "../collector/localtarget.ts";
import { memoryHierarchy } from "../collector/podcgroups.ts";
import { readNode, readProcess } from "../collector/procfs.ts";
import { type Candidate, takeSnapshot } from "../collector/snapshots.ts";
import type { MappingSnapshot, SnapshotMoment } from "../api/mappings.ts";
import { Failed, type World } from "./command.ts";
import type { Resolved } from "./target.ts";

/** For all reads of page tables of one snapshot together, in milliseconds. */
const BUDGET_MS = 1_000;

/** Those that live now; empty when there are none. */
export async function processesOf({ target }: Resolved, { roots, clock }: World): Promise<Candidate[]> {
  const hierarchy = await memoryHierarchy(roots.cgroup);
  const look = await selectLocal(target, roots.proc, hierarchy, clock).look();
  const candidates: Candidate[] = [];
  for (const pid of look?.pids ?? []) {
    const process = await readProcess(roots.proc, pid, clock);
    if (process !== undefined && (await look?.holds(process)) === true) candidates.push({ process });
  }
  return candidates;
}

/**
 * Throws Failed when there is no process.
 * @param nameKey names of files that are no libraries are hashed under it: two snapshots that are to be compared need the same
 */
export async function snapshotOf(
  resolved: Resolved,
  world: World,
  nameKey: string,
  { moment, index, elapsedMs }: { readonly moment: SnapshotMoment; readonly index: number; readonly elapsedMs: number },
): Promise<MappingSnapshot> {
  const { roots, clock } = world;
  const candidates = await processesOf(resolved, world);
  if (candidates.length === 0) throw new Failed(`There is no process to read in ${resolved.title}`);
  const gate = createCostGate(BUDGET_MS, 0);
  gate.node((await readNode(roots.proc)).meminfo);
  const stop = new AbortController();
  world.onStop((signal) => stop.abort(new Error(`ended by ${signal}`)));
  return takeSnapshot(
    { proc: roots.proc, gate, clock, signal: stop.signal, nameKey },
    moment,
    index,
    candidates,
    elapsedMs,
  );
}
