/**
 * Which of the kernel's reports that a collection has brought are news for its investigation? The kernel's log reaches back to the boot of the node:
 * much in it is history, was counted by an earlier investigation, or is the other half of what pod status has told already.
 */
import { endId, reportId } from "../api/identity.ts";
import type { Collection, Kill, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { endedAt } from "./intake.ts";
import { causeOf, incarnationOf, isEnd, isSameKill, wholeSeconds, type Report } from "./incarnations.ts";
import { knownKills, toldByKernel } from "./ledger.ts";
import type { ContainerView, KernelVictim, Observation } from "./observation.ts";
import { revisionOf } from "./revisions.ts";

/** As long as the contract lets them be; a runtime's ids have 64 digits, the kernel's names 15 bytes. */
const MAX_CONTAINER_ID = 128;
const MAX_COMM = 64;

/**
 * The reports that this investigation may count or confirm a kill by.
 *
 * @param shown all kills that pod status shows
 * @param joined those of them that nobody has counted and that join this investigation
 */
export function reportsFor(
  seen: Observation,
  investigation: MemoryInvestigation,
  shown: readonly Kill[],
  joined: readonly Kill[],
): Report[] {
  const others = seen.investigations.filter((i) => i !== investigation);
  const settled = new Set([...knownKills(others), ...seen.settled]);
  const counted = knownKills([investigation]);
  const listed = investigation.status?.kills ?? [];
  const late = shown.filter((kill) => toldByKernel(kill, listed));
  const ends = [...listed.filter(isEnd), ...joined, ...late];
  const ours = new Set(ends.map(incarnationOf));
  const foreign = [
    ...shown.filter((kill) => !ours.has(incarnationOf(kill))),
    ...others.flatMap((i) => (i.status?.kills ?? []).filter(isEnd)),
  ];
  const from = newsFrom(seen, investigation);

  const byIncarnation = new Map<string, Report[]>();
  for (const report of readReports(seen, investigation)) {
    const key = incarnationOf(report.kill) ?? "";
    byIncarnation.set(key, [...(byIncarnation.get(key) ?? []), report]);
  }
  return [...byIncarnation].flatMap(([key, found]) => {
    const ordered = found.toSorted((a, b) => a.bootMs - b.bootMs);
    const last = ordered.at(-1);
    return ordered.filter((report) => {
      if (settled.has(report.id)) return false;
      if (counted.has(report.id)) return true;
      if (report !== last) return isNews(report, from);
      if (ours.has(key)) return true;
      return !endsElsewhere(report, foreign, [settled, counted]) && isNews(report, from);
    });
  });
}

/** Its container's end was counted by somebody else, or is history: then so is the report of it. */
function endsElsewhere(last: Report, foreign: readonly Kill[], ledgers: readonly ReadonlySet<string>[]): boolean {
  const { pod, containerId = "" } = last.kill;
  const dropped = endId(pod.uid, containerId);
  if (ledgers.some((ledger) => ledger.has(dropped))) return true;
  return foreign.some((end) => incarnationOf(end) === incarnationOf(last.kill) && isSameKill(end, last));
}

function isNews({ kill }: Report, fromMs: number): boolean {
  return Date.parse(kill.time) >= fromMs;
}

/** Kills before the horizon are history, but for those since the incident began; what an earlier investigation lived through is its own. */
function newsFrom(seen: Observation, investigation: MemoryInvestigation): number {
  const began = [
    seen.horizon,
    investigation.metadata.creationTimestamp,
    ...(investigation.status?.kills ?? []).map((kill) => kill.time),
  ].flatMap((time) => (time === undefined ? [] : [Date.parse(time)]));
  const earlier = seen.investigations.flatMap((i) => (i === investigation ? [] : (endedAt(i) ?? [])));
  return Math.max(Math.min(...began), ...earlier);
}

function readReports(seen: Observation, { status }: MemoryInvestigation): Report[] {
  const found = new Map<string, Report>();
  for (const collection of status?.collections ?? []) {
    for (const victim of seen.kernelVictims[collection.id] ?? []) {
      const report = reportOf(seen, collection, victim);
      if (report !== undefined) found.set(report.id, report);
    }
  }
  return [...found.values()];
}

/** Undefined where the report does not say enough to tell its kill from another. */
function reportOf(seen: Observation, collection: Collection, victim: KernelVictim): Report | undefined {
  const { podUid, containerId, pid, comm, anonBytes, bootMs, time } = victim;
  const pod = seen.pods.find(({ uid }) => uid === podUid);
  const name = pod?.name ?? collection.pods.find(({ uid }) => uid === podUid)?.name;
  if (
    containerId === "" ||
    containerId.length > MAX_CONTAINER_ID ||
    bootMs === undefined ||
    time === undefined ||
    name === undefined
  )
    return undefined;
  const container = containerOf(pod?.containers ?? [], containerId);
  const revision = pod === undefined ? undefined : revisionOf(pod, seen);
  const cause = causeOf(victim);
  const id = reportId({ podUid, containerId, pid, bootMs });
  return {
    id,
    bootMs,
    cause,
    ends: victim.group,
    survived: survived(pod?.containers ?? [], victim),
    kill: {
      id,
      pod: { name, uid: podUid },
      ...(container === undefined ? {} : { container: container.name, containerType: container.type }),
      containerId,
      node: pod?.node ?? collection.node,
      time: wholeSeconds(time),
      ...(container?.limitBytes === undefined ? {} : { limitBytes: container.limitBytes }),
      ...(revision === undefined ? {} : { revision }),
      classification: cause(container?.limitBytes),
      sources: ["KernelLog"],
      victim: { pid, comm: comm.slice(0, MAX_COMM), ...(anonBytes === undefined ? {} : { anonBytes }), bootMs, time },
    },
  };
}

/** Pod status names the present incarnation of each container and the one before; of those before that, a pod of one container leaves no doubt. */
function containerOf(containers: readonly ContainerView[], containerId: string): ContainerView | undefined {
  const ids = (c: ContainerView): unknown[] => [c.containerId, c.state.containerId, c.last?.containerId];
  return containers.find((c) => ids(c).includes(containerId)) ?? (containers.length === 1 ? containers[0] : undefined);
}

/**
 * Whether pod status shows that the container went on: it runs, or it ended of something else. Where all of it was killed, status that still shows it
 * running is only late.
 */
function survived(containers: readonly ContainerView[], { containerId, group }: KernelVictim): boolean {
  if (group) return false;
  return containers.some(
    (c) =>
      (c.containerId === containerId && c.state.kind === "running") ||
      [c.state, c.last].some((s) => s?.kind === "terminated" && s.containerId === containerId && s.exitCode !== 137),
  );
}
