/** What have people been told? Status keeps it, so that a later life of the operator does not tell them again. */
import { MAX_NOTIFIED, type MemoryInvestigationStatus } from "../api/memoryinvestigation.ts";
import type { Observation } from "./observation.ts";

/** The status with what was delivered since it was written; the oldest leaves first where there is no room. */
export function withNotified(
  status: MemoryInvestigationStatus,
  uid: string,
  seen: Pick<Observation, "notified">,
): MemoryInvestigationStatus {
  const told = status.notified ?? [];
  const fresh = (seen.notified?.[uid] ?? []).filter((id) => !told.includes(id));
  return fresh.length === 0 ? status : { ...status, notified: [...told, ...fresh].slice(-MAX_NOTIFIED) };
}
