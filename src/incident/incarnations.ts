/**
 * What do the two witnesses say of one container, from its start to its end? Pod status knows at most one kill of it: its end. The kernel reports
 * each kill in it. The kills of one incarnation are the kernel's reports, and the end only if no report can be that of the end.
 */
import { reportId } from "../api/identity.ts";
import type { Kill, KillClassification } from "../api/memoryinvestigation.ts";
import type { KernelVictim } from "./observation.ts";

/** A kill as the kernel reported it. */
export interface Report {
  readonly id: string;
  readonly bootMs: number;
  /** What its entry is as long as pod status does not tell of the same kill. */
  readonly kill: Kill;
  /** Whose limit was hit, for a container with this limit in bytes. */
  readonly cause: (limitBytes: number | undefined) => KillClassification;
  /** It ended the container for sure. */
  readonly ends: boolean;
  /** The container is known to have gone on after it. */
  readonly survived: boolean;
}

/**
 * How long after its last kill a container's end may be shown and still be the same thing. The kernel's log has a clock of its own that drifts
 * from the wall clock by seconds in weeks, and a large process takes seconds to die.
 */
export const SAME_KILL_MS = 2 * 60_000;

/** The incarnation that an entry belongs to; undefined for one that belongs to none: an eviction, an end that was no kill, an end without an id. */
export function incarnationOf(kill: Kill): string | undefined {
  if (kill.containerId === undefined || kill.classification === "NotAKill") return undefined;
  return `${kill.pod.uid}/${kill.containerId}`;
}

/** Whether pod status has told of it. */
export function isEnd(kill: Kill): boolean {
  return kill.sources.includes("PodStatus");
}

/** Identity of the kernel's report that an entry carries; undefined: it carries none. */
export function reportIdOf({ pod, containerId, victim }: Kill): string | undefined {
  if (containerId === undefined || victim?.bootMs === undefined) return undefined;
  return reportId({ podUid: pod.uid, containerId, pid: victim.pid, bootMs: victim.bootMs });
}

/** The report that an entry of a status was made from. */
export function reportFrom(kill: Kill): Report | undefined {
  const id = reportIdOf(kill);
  if (id === undefined) return undefined;
  const { classification } = kill;
  const cause = classification === "PodLimit" || classification === "NodeKilled" ? classification : "ContainerKilled";
  return {
    id,
    bootMs: kill.victim?.bootMs ?? 0,
    kill: isEnd(kill) ? withoutEnd(kill, id) : kill,
    cause: () => cause,
    ends: isEnd(kill),
    survived: classification === "ChildKilled",
  };
}

/** An entry that was taken for the end of its container, and is not: the kernel has reported a later kill. */
function withoutEnd({ restartCount: _restarts, exitCode: _exit, ...kill }: Kill, id: string): Kill {
  return { ...kill, id, time: wholeSeconds(kill.victim?.time ?? kill.time), sources: ["KernelLog"] };
}

/** A report that has come in again: what was written down of it stands, what the kernel says of the cause is better than what can be told from that. */
export function sameReport(known: Report, again: Report): Report {
  const named = known.kill.container === undefined ? { ...again.kill, ...known.kill } : known.kill;
  return { ...again, kill: named, survived: known.survived || again.survived };
}

/** Of an incarnation's reports, oldest first, the one that may be that of its end. */
export function inOrder(reports: Iterable<Report>): Report[] {
  return [...reports].toSorted((a, b) => a.bootMs - b.bootMs || a.id.localeCompare(b.id));
}

/**
 * Whether the end that pod status shows is the kill of its container's last report. In a container that has ended nothing is killed any more, so
 * a report that seems later than the end is one of another clock.
 */
export function isSameKill(end: Kill, last: Report): boolean {
  return last.ends || Date.parse(end.time) - Date.parse(last.kill.victim?.time ?? last.kill.time) <= SAME_KILL_MS;
}

/**
 * The kills of one incarnation. A function of what the witnesses have said, in whatever order they said it.
 *
 * @param end what pod status says of its end, where that is a kill
 */
export function killsOfIncarnation(end: Kill | undefined, reports: Iterable<Report>): Kill[] {
  const ordered = inOrder(reports);
  const last = ordered.at(-1);
  const same = end !== undefined && last !== undefined && isSameKill(end, last) ? last : undefined;
  const kills = ordered
    .filter((report) => report !== same)
    .map((report) => {
      const survived = end !== undefined || report !== last || report.survived;
      const cause = report.cause(report.kill.limitBytes);
      return { ...report.kill, classification: survived && cause !== "NodeKilled" ? ("ChildKilled" as const) : cause };
    });
  if (end === undefined) return kills;
  return [...kills, same === undefined ? end : confirmed(end, same)];
}

/** What pod status says, with what only the kernel knows: who the victim was, and whose limit was hit. */
function confirmed(end: Kill, { kill, cause }: Report): Kill {
  return {
    ...end,
    classification: cause(end.limitBytes),
    sources: [...end.sources.filter((source) => source !== "KernelLog"), "KernelLog"],
    ...(kill.victim === undefined ? {} : { victim: kill.victim }),
  };
}

/**
 * Whose limit was it? In a pod of one container the kernel charges the kill to the pod's cgroup, whose limit is the container's own: that
 * is no other limit. Only one that is larger than the container's says that all of the pod together was too much.
 */
export function causeOf(victim: KernelVictim): Report["cause"] {
  return (limitBytes) => {
    if (victim.global) return "NodeKilled";
    const larger = limitBytes === undefined || (victim.limitBytes ?? 0) > limitBytes;
    return victim.podLimit && larger ? "PodLimit" : "ContainerKilled";
  };
}

/** As the API server writes times. */
export function wholeSeconds(time: string): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}
