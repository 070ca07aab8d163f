/** Deterministic identities: the same fact gets the same name, whoever computes it and however often. */
import { createHash } from "node:crypto";

export interface KillIdentity {
  readonly podUid: string;
  readonly container: string;
  /** The runtime's id of the dead container; new with each incarnation. */
  readonly containerId?: string;
  /** Used where there is no container id. */
  readonly restartCount?: number;
  readonly finishedAt: string;
}

/** Twelve hex digits that identify a kill. */
export function killId(kill: KillIdentity): string {
  return hash(
    ["kill", kill.podUid, kill.container, kill.containerId ?? `#${kill.restartCount ?? 0}`, kill.finishedAt],
    12,
  );
}

export interface ReportIdentity {
  readonly podUid: string;
  readonly containerId: string;
  readonly pid: number;
  /** Whole milliseconds after boot of the record that names the victim: the same in every reading of the log. */
  readonly bootMs: number;
}

/** Twelve hex digits that identify one report of the kernel. A container id is never used twice, so the boot is part of it. */
export function reportId({ podUid, containerId, pid, bootMs }: ReportIdentity): string {
  return hash(["report", podUid, containerId, pid, bootMs], 12);
}

/** Twelve hex digits that say: the end of this container was counted as a kill, though its entry is no longer kept. */
export function endId(podUid: string, containerId: string): string {
  return hash(["end", podUid, containerId], 12);
}

/** Twelve hex digits that identify what a trigger has seen: one for each revision and day. */
export function alarmId(trigger: string, revision: string, day: string): string {
  return hash(["alarm", trigger, revision, day], 12);
}

const MAX_NAME = 63;
const HASH_LENGTH = 8;

/** Name of the investigation that a kill or an alarm opens: the workload's name, cut where needed, and a hash. A valid DNS label of at most 63 characters. */
export function investigationName(workload: string, cause: string): string {
  const stem = workload
    .replaceAll(/[^a-z0-9-]/g, "-")
    .slice(0, MAX_NAME - HASH_LENGTH - 1)
    .replaceAll(/^-+|-+$/g, "");
  const tail = hash(["investigation", workload, cause], HASH_LENGTH);
  return stem === "" ? `oom-${tail}` : `${stem}-${tail}`;
}

/** Name of a collection, which is also the name of its Job: at most 52 characters, new for each attempt. */
export function collectionName(investigationUid: string, purpose: string, attempt: number): string {
  return `oomc-${hash(["collection", investigationUid, purpose], 10)}-${attempt}`;
}

function hash(parts: readonly (string | number)[], length: number): string {
  // JSON keeps the parts apart: no two lists have the same text.
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, length);
}
