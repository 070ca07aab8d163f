/** Which kills are the doing of what was killed? Evictions and kills for lack of memory on the node are the node's doing. */
import type { Kill, MemoryInvestigation } from "../api/memoryinvestigation.ts";

const ITS_OWN: ReadonlySet<Kill["classification"]> = new Set([
  "ContainerKilled",
  "ChildKilled",
  "PodLimit",
  "Unconfirmed",
]);

export function isOwnKill(kill: Pick<Kill, "classification">): boolean {
  return ITS_OWN.has(kill.classification);
}

/** Kills that speak against a revision, as the pods name it; its name is absent where nobody knows it. */
export function ownKills(investigation: MemoryInvestigation): readonly Kill[] {
  return (investigation.status?.kills ?? []).filter(isOwnKill);
}
