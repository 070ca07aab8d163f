/**
 * What happened, in order? Kills, restarts, roll-outs, events, metrics and node conditions in one list. Times of one clock are compared as they
 * are; the API server's are put beside the node's by the middle of what is known of their difference. A pure function of the context.
 */
import type { Context } from "../api/collection.ts";
import type { ContextClock, ContextSnapshot, TimelineMoment } from "../api/context.ts";
import { at, cut } from "./untrusted.ts";

/** What is left out first when there is more than this: events, oldest first. */
export const MAX_MOMENTS = 500;
const MAX_TEXT = 300;

export interface Timeline {
  readonly moments: readonly TimelineMoment[];
  readonly omitted: number;
}

export function timelineOf(context: Context): Timeline {
  const snapshots = context.snapshots ?? [];
  const all = unique([
    ...context.kills.flatMap(killMoment),
    ...rolloutMoments(context),
    ...snapshots.flatMap(restartMoments).filter((restart) => !isKill(restart, context)),
    ...eventMoments(context),
    ...snapshots.flatMap(metricsMoments),
    ...snapshots.flatMap(conditionMoments),
    ...snapshots.map(snapshotMoment),
  ]);
  const ahead = aheadMs(context);
  const sorted = all.toSorted(
    (a, b) => nodeTime(a, ahead) - nodeTime(b, ahead) || compare(`${a.kind} ${a.text}`, `${b.kind} ${b.text}`),
  );
  return capped(sorted);
}

/** Milliseconds by which the node's clock is ahead; 0 where it is not known, which is what NTP promises. */
function aheadMs({ clocks }: Context): number {
  const known = clocks?.nodeAheadOfServerMs;
  if (known === undefined) return 0;
  // Within what two clocks cut to seconds can tell, they agree.
  return known.low <= 0 && known.high >= 0 ? 0 : Math.round((known.low + known.high) / 2);
}

/** When it was by the node's clock. A controller's clock is taken for the API server's, the operator's as well. */
function nodeTime({ time, clock }: TimelineMoment, ahead: number): number {
  return Date.parse(time) + (clock === "Node" ? 0 : ahead);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function unique(moments: readonly TimelineMoment[]): TimelineMoment[] {
  const seen = new Map<string, TimelineMoment>();
  for (const moment of moments) {
    if (!Number.isFinite(Date.parse(moment.time))) continue;
    const { time, kind, about, container, text } = moment;
    seen.set(JSON.stringify([time, kind, about.uid ?? about.name, container, text]), moment);
  }
  return [...seen.values()];
}

/** Events are the many and the least; everything else is kept as long as it can be, the newest first. */
function capped(sorted: readonly TimelineMoment[]): Timeline {
  let tooMany = Math.max(0, sorted.length - MAX_MOMENTS);
  const kept = sorted.filter((moment) => {
    if (moment.kind !== "Event" || tooMany === 0) return true;
    tooMany--;
    return false;
  });
  const moments = kept.slice(-MAX_MOMENTS);
  return { moments, omitted: sorted.length - moments.length };
}

function killMoment(kill: Context["kills"][number]): TimelineMoment[] {
  const { time, classification, container, exitCode, limitBytes, pod, victim } = kill;
  if (typeof time !== "string" || typeof pod !== "object" || pod === null) return [];
  const { name = "", uid } = pod as { name?: string; uid?: string };
  const comm = (victim as { comm?: string } | undefined)?.comm;
  const who = comm === undefined ? "" : `, the kernel chose ${comm}`;
  const code = typeof exitCode === "number" ? `, exit code ${exitCode}` : "";
  return [
    {
      time,
      clock: "Node",
      kind: "Kill",
      about: { kind: "Pod", name, ...(uid === undefined ? {} : { uid }) },
      ...(typeof container === "string" ? { container } : {}),
      text: cut(`${typeof classification === "string" ? classification : "Killed"}${code}${who}`, MAX_TEXT),
      ...(typeof limitBytes === "number" ? { bytes: limitBytes } : {}),
    },
  ];
}

function rolloutMoments({ revisions, target }: Context): TimelineMoment[] {
  return revisions.flatMap(({ name, revision, currentSince, created, images, uid }) => {
    const since =
      currentSince ??
      (created === undefined ? undefined : { time: created, clock: "Server" as const, from: "Created" as const });
    if (since === undefined) return [];
    const kind = target.kind === "Deployment" ? "ReplicaSet" : "ControllerRevision";
    const verb = since.from === "Created" ? "was made" : "was taken up again";
    const text = `Revision ${revision ?? "?"} (${name}) ${verb}: ${images.join(", ")}`;
    return [
      { time: since.time, clock: since.clock, kind: "Rollout", about: { kind, name, uid }, text: cut(text, MAX_TEXT) },
    ];
  });
}

function restartMoments({ pods }: ContextSnapshot): TimelineMoment[] {
  return pods.flatMap(({ name, uid, containers }) =>
    containers.flatMap(({ name: container, state, last, restartCount }): TimelineMoment[] => {
      const about = { kind: "Pod", name, uid };
      const moments: TimelineMoment[] = [];
      if (last?.finishedAt !== undefined) {
        const why = `${last.reason ?? "ended"}${last.exitCode === undefined ? "" : `, exit code ${last.exitCode}`}`;
        moments.push(moment(last.finishedAt, "Restart", about, container, `Ended: ${why}`));
      }
      if (state.kind === "running" && state.startedAt !== undefined) {
        const text = restartCount === 0 ? "Started" : `Started again (restart ${restartCount})`;
        moments.push(moment(state.startedAt, "Restart", about, container, text));
      }
      return moments;
    }),
  );
}

/** What the ledger counts as a kill is told as one, and not as an end besides. */
function isKill({ time, about, container, text }: TimelineMoment, { kills }: Context): boolean {
  return (
    text.startsWith("Ended") &&
    kills.some((k) => k["time"] === time && k["container"] === container && at(k, "pod", "uid") === about.uid)
  );
}

function moment(
  time: string,
  kind: TimelineMoment["kind"],
  about: TimelineMoment["about"],
  container: string | undefined,
  text: string,
): TimelineMoment {
  return {
    time,
    clock: "Node",
    kind,
    about,
    ...(container === undefined ? {} : { container }),
    text: cut(text, MAX_TEXT),
  };
}

function eventMoments({ events = [] }: Context): TimelineMoment[] {
  return events.flatMap(({ about, container, reason, message, count, first, last, clock, type }): TimelineMoment[] => {
    const times = count > 1 ? ` (${count} times since ${first})` : "";
    const text = cut(`${type === "Warning" ? "! " : ""}${reason}: ${message}${times}`, MAX_TEXT);
    const base = { clock, kind: "Event" as const, about, ...(container === undefined ? {} : { container }) };
    return [{ ...base, time: last, text }];
  });
}

function metricsMoments({ metrics }: ContextSnapshot): TimelineMoment[] {
  return metrics.flatMap(({ pod, uid, time, containers }) =>
    containers.map(({ name, memoryBytes }) => ({
      ...moment(time, "Metrics", { kind: "Pod", name: pod, uid }, name, "Working set by metrics.k8s.io"),
      bytes: memoryBytes,
    })),
  );
}

function conditionMoments({ node }: ContextSnapshot): TimelineMoment[] {
  if (node === undefined) return [];
  return node.conditions.flatMap(({ type, status, reason, since }) =>
    since === undefined
      ? []
      : [
          moment(
            since,
            "NodeCondition",
            { kind: "Node", name: node.name },
            undefined,
            `${type} became ${status}${reason === undefined ? "" : ` (${reason})`}`,
          ),
        ],
  );
}

function snapshotMoment({ stage, time }: ContextSnapshot): TimelineMoment {
  const clock: ContextClock = "Operator";
  const text = stage === "Start" ? "The collection was about to begin" : "The collection had ended";
  return { time, clock, kind: "Snapshot", about: { kind: "Collection", name: stage }, text };
}
