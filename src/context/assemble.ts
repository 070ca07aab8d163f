/** How do names from the watches, answers of the API server and what was written before become one context part? Pure, and bounded whatever comes in. */
import type { Context } from "../api/collection.ts";
import type { ContextRevision, ContextSnapshot, LogTail, PodFacts, Skipped } from "../api/context.ts";
import type { LabelSelector } from "../api/memorypolicy.ts";
import { mergeEvents, shapeEvents, type ShapedEvents } from "./events.ts";
import { logTail } from "./logs.ts";
import { clocksOf, nodeFacts } from "./node.ts";
import { podFacts } from "./pods.ts";
import { MAX_LOG_BYTES, MAX_LOGS, type ContextAnswers, type ContextQuestion } from "./question.ts";
import { redact } from "./redact.ts";
import { MAX_REVISIONS, revisionsOf } from "./revisions.ts";
import { autoscalersOf, budgetsOf, limitRangesOf, metricsOf } from "./scaling.ts";
import { timelineOf } from "./timeline.ts";
import { at, controllerOf, cut, uidOf } from "./untrusted.ts";

const MAX_SKIPPED = 64;
const MAX_DETAIL = 256;
/** Incarnations of containers that are kept for each pod. */
const MAX_INCARNATIONS = 64;

export type Selects = (selector: LabelSelector, labels: Readonly<Record<string, string>>) => boolean;

/**
 * @param base what the watches know: target, kills, revisions and the measured pods
 * @param earlier what was written when the collection began; undefined at its beginning, or when that cannot be read any more
 */
export function assembleContext(
  base: Context,
  earlier: Context | undefined,
  question: ContextQuestion,
  answers: ContextAnswers,
  selects: Selects,
): Context {
  const pods = factsOf(question, answers);
  const events = eventsOf(question, answers);
  const all = mergeEvents([earlier?.events ?? [], events.events]);
  const snapshot = snapshotOf(question, answers, pods, selects);
  const clocks = clocksOf(answers.node);
  const context: Context = {
    ...base,
    pods: withIncarnations(base.pods, earlier?.pods ?? [], pods),
    revisions: mergeRevisions(base, earlier, revisionsOf(answers.target, answers.revisions, pods, all.events)),
    snapshots: [...(earlier?.snapshots ?? []).filter(({ stage }) => stage !== question.stage), snapshot],
    events: [...all.events],
    logs: mergeLogs(earlier?.logs ?? [], logsOf(question, answers, pods)),
    clocks: clocks.nodeAheadOfServerMs === undefined ? (earlier?.clocks ?? clocks) : clocks,
  };
  const { moments, omitted } = timelineOf(context);
  return {
    ...context,
    timeline: [...moments],
    omitted: {
      pods: question.podsOmitted,
      eventsOverCap: Math.max(earlier?.omitted?.["eventsOverCap"] ?? 0, all.overCap + events.overCap),
      eventsAboutOtherThings: Math.max(earlier?.omitted?.["eventsAboutOtherThings"] ?? 0, events.unrelated),
      moments: omitted,
    },
  };
}

function factsOf(question: ContextQuestion, { pods, target, revisions }: ContextAnswers): PodFacts[] {
  const own = revisions.filter((revision) => controllerOf(revision)?.uid === uidOf(target));
  return question.pods.flatMap(({ uid, role }) => {
    // By uid: another pod of the same name is another pod.
    const found = pods.find((pod) => uidOf(pod) === uid);
    const facts = found === undefined ? undefined : podFacts(found, role, { target, revisions: own });
    return facts === undefined ? [] : [facts];
  });
}

/** Uids whose events count: the pods, the workload, its revisions and its autoscalers. */
function eventsOf(question: ContextQuestion, answers: ContextAnswers): ShapedEvents {
  const target = uidOf(answers.target) ?? question.target.uid;
  const subjects = new Set<string>([
    ...question.pods.map(({ uid }) => uid),
    ...(target === undefined ? [] : [target]),
    ...[...answers.revisions, ...answers.autoscalers].filter(isOurs(question, target)).flatMap((o) => uidOf(o) ?? []),
  ]);
  return shapeEvents(answers.events, answers.nodeEvents, subjects, question.node);
}

function isOurs({ target }: ContextQuestion, uid: string | undefined): (object: unknown) => boolean {
  return (object) =>
    (uid !== undefined && controllerOf(object)?.uid === uid) ||
    (at(object, "spec", "scaleTargetRef", "name") === target.name &&
      at(object, "spec", "scaleTargetRef", "kind") === target.kind);
}

function snapshotOf(
  question: ContextQuestion,
  answers: ContextAnswers,
  pods: readonly PodFacts[],
  selects: Selects,
): ContextSnapshot {
  const uids = new Set(question.pods.map(({ uid }) => uid));
  const labels = answers.pods
    .filter((pod) => uids.has(uidOf(pod) ?? ""))
    .map((pod) => (at(pod, "metadata", "labels") ?? {}) as Record<string, string>);
  const node = nodeFacts(answers.node);
  return {
    stage: question.stage,
    time: answers.time,
    pods: [...pods],
    podsOmitted: question.podsOmitted,
    ...(node === undefined ? {} : { node }),
    metrics: metricsOf(answers.metrics, pods),
    autoscalers: autoscalersOf(answers.autoscalers, question.target),
    budgets: budgetsOf(answers.budgets, labels, selects),
    limitRanges: limitRangesOf(answers.limitRanges),
    skipped: skippedOf(question, answers, pods),
  };
}

/** Each reason once, with what it is about. */
function skippedOf(question: ContextQuestion, answers: ContextAnswers, pods: readonly PodFacts[]): Skipped[] {
  const found = new Set(pods.map(({ uid }) => uid));
  const known = new Set(answers.skipped.map(({ what }) => what));
  const gone = question.pods
    .filter(({ uid, name }) => !found.has(uid) && !known.has(`pod ${name}`))
    .map(({ name }) => ({ what: `pod ${name}`, reason: "Replaced", detail: "another pod has its name now" }));
  const removed = answers.logs
    .filter(({ text }) => NO_LOG.test(text))
    .map(({ pod, container }) => ({
      what: `previous log of ${container} of ${pod}`,
      reason: "Gone",
      detail: "the node no longer has it",
    }));
  const all = [...answers.skipped, ...gone, ...removed].slice(0, 4 * MAX_SKIPPED).map(({ what, reason, detail }) => ({
    what: cut(what, MAX_DETAIL),
    reason,
    ...(detail === undefined
      ? {}
      : { detail: cut(redact(detail.slice(0, 1024)).text.replaceAll(/\s+/g, " "), MAX_DETAIL) }),
  }));
  return [...new Map(all.map((one) => [`${one.what} ${one.reason}`, one])).values()].slice(0, MAX_SKIPPED);
}

/** A container that restarts gets a new id; with all of them the readings of each can be named. */
function withIncarnations(
  base: Context["pods"],
  earlier: Context["pods"],
  facts: readonly PodFacts[],
): Context["pods"] {
  const known = new Map(earlier.map((pod) => [pod.uid, pod]));
  for (const pod of base) {
    const before = known.get(pod.uid);
    known.set(pod.uid, { ...pod, containers: [...pod.containers, ...(before?.containers ?? [])] });
  }
  return [...known.values()].map((pod) => {
    const seen = (facts.find(({ uid }) => uid === pod.uid)?.containers ?? []).flatMap((c) =>
      [c.state.containerId, c.last?.containerId].flatMap((id) =>
        id === undefined ? [] : [{ name: c.name, id, limitBytes: c.memoryLimit.bytes }],
      ),
    );
    const all = [...pod.containers, ...seen];
    const once = new Map(all.map((c) => [`${c.name} ${c.id ?? ""}`, c]));
    return { ...pod, containers: [...once.values()].slice(0, MAX_INCARNATIONS) };
  });
}

/** The newest knowledge of each revision; those that are gone by now stay as they were. */
function mergeRevisions(
  base: Context,
  earlier: Context | undefined,
  now: readonly ContextRevision[],
): ContextRevision[] {
  const merged = new Map(base.revisions.map((revision) => [revision.name, revision]));
  for (const revision of earlier?.revisions ?? []) merged.set(revision.name, { ...revision, current: undefined });
  for (const revision of now) {
    const before = merged.get(revision.name);
    merged.set(revision.name, {
      ...revision,
      currentSince: revision.currentSince ?? before?.currentSince,
      containers: revision.containers?.map((container) => {
        const ids = before?.containers?.find(({ name }) => name === container.name)?.imageIds ?? [];
        return { ...container, imageIds: [...new Set([...container.imageIds, ...ids])].slice(0, 8) };
      }),
    });
  }
  return [...merged.values()].slice(0, MAX_REVISIONS);
}

/** What the kubelet sends, with status 200, in place of a log that is no longer there. */
const NO_LOG = /^unable to retrieve container logs for \S{1,256}\s*$/;

function logsOf(question: ContextQuestion, { logs }: ContextAnswers, pods: readonly PodFacts[]): LogTail[] {
  return logs
    .filter(({ text }) => !NO_LOG.test(text))
    .map((raw) => {
      const container = pods.find(({ uid }) => uid === raw.uid)?.containers.find(({ name }) => name === raw.container);
      const cutOff = Buffer.byteLength(raw.text) >= MAX_LOG_BYTES;
      return logTail(raw, container?.last?.containerId, question.logLines, cutOff);
    });
}

/** The log of one incarnation is kept once, as it was read first: it does not change any more. */
function mergeLogs(earlier: readonly LogTail[], now: readonly LogTail[]): LogTail[] {
  const key = ({ uid, container, containerId }: LogTail): string => `${uid} ${container} ${containerId ?? ""}`;
  return [...new Map([...now, ...earlier].map((log) => [key(log), log])).values()].slice(-2 * MAX_LOGS);
}
