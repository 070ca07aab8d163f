/**
 * The kill ledger: every kill once, whatever is re-read, re-listed or restarted. It lives in the status of investigations;
 * nothing of it is kept in memory.
 */
import {
  MAX_KILLS,
  MAX_LEDGER,
  type Kill,
  type MemoryInvestigation,
  type MemoryInvestigationStatus,
} from "../api/memoryinvestigation.ts";
import type { KernelVictim } from "./observation.ts";

/** Identities that any of these investigations has counted. */
export function knownKills(investigations: readonly MemoryInvestigation[]): ReadonlySet<string> {
  const known = new Set<string>();
  for (const investigation of investigations) {
    for (const id of investigation.status?.ledger ?? []) known.add(id);
    for (const kill of investigation.status?.kills ?? []) known.add(kill.id);
  }
  return known;
}

/**
 * Counts kills into a status. Kills that it knows are left alone. The newest {@link MAX_KILLS} stay in full; identities
 * stay up to {@link MAX_LEDGER}, and those of pods that are gone leave first: their kills can never be read again.
 *
 * @param livePods uids of the workload's pods that still exist
 */
export function countKills(
  status: MemoryInvestigationStatus,
  kills: readonly Kill[],
  livePods: ReadonlySet<string>,
): MemoryInvestigationStatus {
  const ledger = new Set(status.ledger);
  const fresh = kills.filter((kill) => !ledger.has(kill.id));
  if (fresh.length === 0) return status;
  for (const kill of fresh) ledger.add(kill.id);

  const all = [...(status.kills ?? []), ...fresh].toSorted(
    (a, b) => a.time.localeCompare(b.time) || a.id.localeCompare(b.id),
  );
  const kept = all.slice(-MAX_KILLS);
  const podOf = new Map(all.map((kill) => [kill.id, kill.pod.uid]));
  const counted = fresh.filter((kill) => kill.classification !== "NotAKill").length;
  return {
    ...status,
    kills: kept,
    ledger: trimLedger([...ledger], podOf, livePods),
    killCount: (status.killCount ?? 0) + counted,
    killsByPod: sentence(kept, (status.killCount ?? 0) + counted),
  };
}

function trimLedger(ids: string[], podOf: ReadonlyMap<string, string>, livePods: ReadonlySet<string>): string[] {
  if (ids.length <= MAX_LEDGER) return ids;
  const dead = new Set(ids.filter((id) => !livePods.has(podOf.get(id) ?? "")));
  let excess = ids.length - MAX_LEDGER;
  const kept = ids.filter((id) => {
    if (excess === 0 || !dead.has(id)) return true;
    excess -= 1;
    return false;
  });
  return kept.slice(-MAX_LEDGER);
}

function sentence(kills: readonly Kill[], total: number): string {
  const pods = new Set(kills.map((kill) => kill.pod.uid)).size;
  const nodes = new Set(kills.map((kill) => kill.node ?? "")).size;
  const of = total > kills.length ? `; the newest ${kills.length} are listed` : "";
  return `${total} ${total === 1 ? "kill" : "kills"} in ${pods} ${pods === 1 ? "pod" : "pods"} on ${nodes} ${nodes === 1 ? "node" : "nodes"}${of}`;
}

/**
 * Adds what the kernel's own report says to the kills it confirms: who the victim was, and whose limit was hit.
 * A kill that pod status could not be sure of (`Unconfirmed`) becomes what the kernel says it was.
 */
export function confirmKills(kills: readonly Kill[], victims: readonly KernelVictim[]): Kill[] {
  return kills.map((kill) => {
    const victim = victims.find(
      (v) => v.podUid === kill.pod.uid && v.containerId !== "" && v.containerId === kill.containerId,
    );
    if (victim === undefined || kill.sources.includes("KernelLog") || kill.classification === "NotAKill") return kill;
    return {
      ...kill,
      classification: classOf(kill, victim),
      sources: [...kill.sources, "KernelLog"],
      victim: {
        pid: victim.pid,
        comm: victim.comm,
        ...(victim.anonBytes === undefined ? {} : { anonBytes: victim.anonBytes }),
      },
    };
  });
}

/**
 * Whose limit was it? In a pod of one container the kernel charges the kill to the pod's cgroup, whose limit is the container's own: that
 * is no other limit. Only one that is larger than the container's says that all of the pod together was too much.
 */
function classOf(kill: Kill, victim: KernelVictim): Kill["classification"] {
  if (victim.global) return "NodeKilled";
  const larger = kill.limitBytes === undefined || (victim.limitBytes ?? 0) > kill.limitBytes;
  return victim.podLimit && larger ? "PodLimit" : "ContainerKilled";
}
