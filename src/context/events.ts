/**
 * Which Kubernetes events bear on memory or on a roll-out? Of the workload's own objects, and of the node without the names of other tenants'
 * processes; each once, redacted, in order of time.
 */
import type { ContextClock, ContextEvent } from "../api/context.ts";
import { redact } from "./redact.ts";
import { at, countAt, cut, textAt, timeAt } from "./untrusted.ts";

/** The newest are kept. */
export const MAX_EVENTS = 300;
const MAX_MESSAGE = 512;
/** Events that are looked at closely: several may turn out to be one. */
const MAX_SHAPED = 600;
/** Longer messages are cut before anything looks at them; the API server takes 1 KiB. */
const MAX_RAW_MESSAGE = 1024;

/** Reasons of events about the workload's own objects, by who reports them: kubelet; scheduler, taint manager and autoscaler; controllers. */
const TELLING: ReadonlySet<string> = new Set(
  [
    "Created Started Failed Killing Preempting BackOff ExceededGracePeriod Unhealthy Evicted OOMKilling Pulling Pulled",
    "ErrImageNeverPull FailedKillPod FailedCreatePodContainer FailedCreatePodSandBox SandboxChanged FailedPreStopHook",
    "FailedPostStartHook NetworkNotReady ResizeDeferred ResizeInfeasible ResizeCompleted ResizeStarted ResizeError",
    "Scheduled FailedScheduling Preempted TaintManagerEviction NodeNotReady EvictedByVPA InPlaceResizedByVPA",
    "ScalingReplicaSet SuccessfulCreate SuccessfulDelete SuccessfulUpdate FailedCreate FailedDelete RecreatingFailedPod",
    "RollbackDone DeploymentRollback DeploymentRollbackRevisionNotFound ReplicaSetCreateError",
    "SuccessfulRescale FailedRescale BackoffLimitExceeded DeadlineExceeded Completed",
  ].flatMap((line) => line.split(" ")),
);
/** About the node; those marked false name processes or pods in their messages, which may be other tenants'. */
const OF_NODE: ReadonlyMap<string, boolean> = new Map([
  ["SystemOOM", false],
  ["OOMKilling", false],
  ["EvictionThresholdMet", true],
  ["NodeHasInsufficientMemory", true],
  ["NodeHasSufficientMemory", true],
  ["NodeHasDiskPressure", true],
  ["NodeHasNoDiskPressure", true],
  ["NodeReady", true],
  ["NodeNotReady", true],
  ["NodeSchedulable", true],
  ["NodeNotSchedulable", true],
  ["Rebooted", true],
  ["Starting", true],
  ["Shutdown", true],
]);
/** In place of the message of an event that names a process. */
const WITHHELD = "(message left out: it names a process that may be another tenant's)";

export interface ShapedEvents {
  readonly events: readonly ContextEvent[];
  /** Left out because they are about something else, or because of the cap. */
  readonly unrelated: number;
  readonly overCap: number;
}

/** @param subjects uids of the objects that count as the workload's own; an event about anything else is dropped, whatever the API server sent */
export function shapeEvents(
  raw: readonly unknown[],
  nodeRaw: readonly unknown[],
  subjects: ReadonlySet<string>,
  node: string | undefined,
): ShapedEvents {
  const related = [
    ...raw.filter((event) => isAbout(event, subjects)).map((event) => ({ event, of: "Workload" as const })),
    ...nodeRaw.filter((event) => isAboutNode(event, node)).map((event) => ({ event, of: "Node" as const })),
  ].flatMap(({ event, of }) => {
    const times = timesOf(event);
    return times === undefined ? [] : [{ event, of, times }];
  });
  // Redaction is what costs; what would be dropped for its age anyway is dropped before it.
  const newest = related.toSorted((a, b) => Date.parse(a.times.last) - Date.parse(b.times.last)).slice(-MAX_SHAPED);
  const { events, overCap } = mergeEvents([newest.map(({ event, of, times }) => shape(event, of, times))]);
  return {
    events,
    unrelated: raw.length + nodeRaw.length - related.length,
    overCap: overCap + related.length - newest.length,
  };
}

/**
 * The events of several readings as one list: each once, oldest first, the newest when there are too many. An event that was read twice has the
 * greater count; two events that say the same of the same object at different times are one with a longer span.
 */
export function mergeEvents(readings: readonly (readonly ContextEvent[])[]): {
  readonly events: readonly ContextEvent[];
  readonly overCap: number;
} {
  const merged = new Map<string, ContextEvent>();
  for (const event of readings.flat()) {
    const { about, container, reason, message, type } = event;
    const key = JSON.stringify([about.kind, about.uid ?? about.name, container, type, reason, message]);
    const known = merged.get(key);
    merged.set(key, known === undefined ? event : together(known, event));
  }
  const sorted = [...merged.values()].toSorted(
    (a, b) =>
      Date.parse(a.last) - Date.parse(b.last) ||
      Date.parse(a.first) - Date.parse(b.first) ||
      compare(`${a.about.name} ${a.reason} ${a.message}`, `${b.about.name} ${b.reason} ${b.message}`),
  );
  return { events: sorted.slice(-MAX_EVENTS), overCap: Math.max(0, sorted.length - MAX_EVENTS) };
}

function together(a: ContextEvent, b: ContextEvent): ContextEvent {
  // The same first time: one event object, read at two moments. Otherwise two objects, and their counts add up.
  const same = Date.parse(a.first) === Date.parse(b.first);
  const [older, newer] = Date.parse(a.last) <= Date.parse(b.last) ? [a, b] : [b, a];
  return {
    ...newer,
    first: Date.parse(older.first) < Date.parse(newer.first) ? older.first : newer.first,
    count: same ? Math.max(a.count, b.count) : a.count + b.count,
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function reasonOf(event: unknown): string {
  return textAt(event, ["reason"], 128) ?? "";
}

function isAbout(event: unknown, subjects: ReadonlySet<string>): boolean {
  const uid = at(event, "involvedObject", "uid");
  return typeof uid === "string" && subjects.has(uid) && TELLING.has(reasonOf(event));
}

function isAboutNode(event: unknown, node: string | undefined): boolean {
  return (
    node !== undefined &&
    at(event, "involvedObject", "kind") === "Node" &&
    at(event, "involvedObject", "name") === node &&
    OF_NODE.has(reasonOf(event))
  );
}

interface Times {
  readonly first: string;
  readonly last: string;
}

/** Two generations of events carry their times in different fields; the time of creation counts only for one that says nothing itself. */
function timesOf(event: unknown): Times | undefined {
  const said = [
    timeAt(event, "firstTimestamp"),
    timeAt(event, "eventTime"),
    timeAt(event, "series", "lastObservedTime"),
    timeAt(event, "lastTimestamp"),
  ].filter((time) => time !== undefined);
  const [first = timeAt(event, "metadata", "creationTimestamp")] = said;
  if (first === undefined) return undefined;
  return { first, last: said.reduce((last, time) => (Date.parse(time) > Date.parse(last) ? time : last), first) };
}

function shape(event: unknown, of: "Workload" | "Node", { first, last }: Times): ContextEvent {
  const reason = reasonOf(event);
  const reporter =
    textAt(event, ["reportingComponent"], 128) ?? textAt(event, ["source", "component"], 128) ?? "unknown";
  return {
    about: {
      kind: textAt(event, ["involvedObject", "kind"], 63) ?? "Unknown",
      name: textAt(event, ["involvedObject", "name"]) ?? "unknown",
      uid: textAt(event, ["involvedObject", "uid"], 64),
    },
    container: /^spec\.\w{1,24}\{([a-z0-9-]{1,63})\}$/.exec(textAt(event, ["involvedObject", "fieldPath"]) ?? "")?.[1],
    type: textAt(event, ["type"], 32) ?? "Normal",
    reason,
    message: of === "Node" && OF_NODE.get(reason) === false ? WITHHELD : messageOf(event),
    count: countAt(event, "series", "count") ?? countAt(event, "count") ?? 1,
    first,
    last,
    reporter,
    clock: clockOf(event, reporter),
  };
}

/** The kubelet runs on the node; controllers somewhere. */
function clockOf(event: unknown, reporter: string): ContextClock {
  return reporter === "kubelet" || at(event, "source", "component") === "kubelet" ? "Node" : "Cluster";
}

function messageOf(event: unknown): string {
  const raw = at(event, "message");
  const text = typeof raw === "string" ? raw.slice(0, MAX_RAW_MESSAGE) : "";
  return cut(redact(text).text.replaceAll(/\s+/g, " ").trim(), MAX_MESSAGE);
}
