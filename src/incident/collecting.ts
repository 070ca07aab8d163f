/**
 * Getting evidence from the node: which pods are measured, by which Job, what became of it, and whether to try again.
 * An attempt has a name of its own; a Job that is gone although it was made is Lost and never made again. What is collected for a finding
 * and what is collected to see whether a mitigation helped go the same way, each with attempts of its own.
 */
import type { CollectionPlan } from "../api/collection.ts";
import { PACK_SCHEMA } from "../api/collection.ts";
import { durationMs } from "../api/fields.ts";
import { collectionName } from "../api/identity.ts";
import type { Collection, Condition, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice } from "./actions.ts";
import { clip, timeText, type Fact } from "./conditions.ts";
import type { EffectivePolicy, JobView, Observation, PodView, SessionView } from "./observation.ts";
import { suspectOf } from "./intake.ts";
import { lastLook, roleOf, writeContextAction } from "./lastlook.ts";
import { PRESERVED_LABEL } from "./preservation.ts";

/** A collection that brought nothing is tried this often in all. */
export const MAX_ATTEMPTS = 2;
/** Pods under load that are measured beside the preserved one, on the same node: an isolated pod grows no more. */
const SERVING_PODS = 2;
/** Time a Job gets beyond its sampling: scheduling, image pull, uploads. */
export const GRACE_MS = 5 * 60_000;
/** An intent this old whose Job is not there was made and swept away, or never will be: it is Lost. */
const INTENT_LIVES_MS = 10 * 60_000;
/** How often progress is written to status. */
const PROGRESS_MS = 5_000;
/** How soon the store is asked whether it has the last look. */
const LOOK_MS = 250;

/** What is to be collected. */
export interface Errand {
  readonly purpose: Collection["purpose"];
  /** What its attempts are named by: another errand of the same purpose has another key, and began at another time. */
  readonly key: string;
  /** Attempts that were intended earlier are another errand's; in milliseconds since the epoch. */
  readonly from: number;
  /** Whom to measure, all on one node; asked only when an attempt begins. */
  readonly pods: () => readonly PodView[];
  /** @param requested when the attempt was intended: whoever resumes it comes to the same answer */
  readonly timing: (requested: Date) => { readonly intervalMs: number; readonly durationMs: number };
  /** Since when a pod to measure has been waited for, in milliseconds since the epoch. */
  readonly since: number;
}

/** What a finding is made of. */
function diagnosis(
  seen: Observation,
  investigation: MemoryInvestigation,
  { spec: { collect } }: EffectivePolicy,
): Errand {
  return {
    purpose: "Diagnose",
    key: "Diagnose",
    from: Number.NEGATIVE_INFINITY,
    pods: () => podsToMeasure(seen, investigation),
    timing: () => ({ intervalMs: durationMs(collect.interval), durationMs: durationMs(collect.duration) }),
    since: Date.parse(investigation.metadata.creationTimestamp ?? ""),
  };
}

export interface CollectingStep {
  /** All of the investigation's, with what this step changes. */
  readonly collections: readonly Collection[];
  readonly fact: { readonly status: Condition["status"]; readonly reason: Reason; readonly message: string };
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  /** The attempt whose evidence is complete or as complete as it will be. */
  readonly evidence: Collection | undefined;
  /** No attempt brought evidence and none will be made. */
  readonly failed: boolean;
  readonly againMs?: number;
}

export function collectingFact(step: CollectingStep): Fact {
  return { type: "EvidenceCollected", ...step.fact };
}

export function planCollecting(
  seen: Observation,
  investigation: MemoryInvestigation,
  policy: EffectivePolicy,
  now: Date,
  errand: Errand = diagnosis(seen, investigation, policy),
): CollectingStep {
  const collections = investigation.status?.collections ?? [];
  const last = lastAttempt(collections, errand);
  const course = { seen, investigation, policy, errand, collections, now };
  if (last === undefined) return begin(course, 1);
  switch (last.state) {
    case "Complete":
    case "Partial":
      return { ...quiet(collections, doneFact(last)), evidence: last };
    case "Failed":
    case "Lost":
      if (last.attempt < MAX_ATTEMPTS) return begin(course, last.attempt + 1);
      return { ...quiet(collections, failedFact(last)), failed: true };
    case "Intended":
    case "Running":
      return lookOnceMore(course, last, follow(course, last));
  }
}

/** The newest attempt of an errand. */
export function lastAttempt(
  collections: readonly Collection[],
  { purpose, from }: Pick<Errand, "purpose" | "from">,
): Collection | undefined {
  return collections.findLast((one) => one.purpose === purpose && Date.parse(one.requested) >= from);
}

interface Course {
  readonly seen: Observation;
  readonly investigation: MemoryInvestigation;
  readonly policy: EffectivePolicy;
  readonly errand: Errand;
  /** Of every purpose, as status has them. */
  readonly collections: readonly Collection[];
  readonly now: Date;
}

/** A collection that is over counts as over when its surroundings have been looked at for the last time. */
function lookOnceMore(
  { seen, investigation, policy, collections }: Course,
  last: Collection,
  step: CollectingStep,
): CollectingStep {
  if (step.evidence === undefined) return step;
  const look = lastLook(seen, investigation, seen.sessions[last.id]);
  if (look === undefined) return withRefusal(seen, investigation, step);
  const message = "The samples have arrived; the workload and its events are looked at once more";
  return {
    ...quiet(collections, { status: "Unknown", reason: "Collecting", message }),
    actions: look === "Write" ? [writeContextAction(seen, investigation, policy, last, "End")] : [],
    againMs: LOOK_MS,
  };
}

/** The evidence is worth having without the last look, and people are told that it is missing. */
function withRefusal(seen: Observation, investigation: MemoryInvestigation, step: CollectingStep): CollectingStep {
  const refused = seen.refused[investigation.metadata.uid];
  if (refused?.action !== "WriteContext") return step;
  return {
    ...step,
    notices: [...step.notices, { type: "Warning", reason: refused.reason, message: refused.message, also: [] }],
  };
}

function quiet(collections: readonly Collection[], fact: CollectingStep["fact"]): CollectingStep {
  return { collections, fact, actions: [], notices: [], evidence: undefined, failed: false };
}

function doneFact(collection: Collection): CollectingStep["fact"] {
  const count = `${collection.samples ?? 0} of ${collection.samplesExpected ?? 0} samples`;
  return collection.state === "Complete"
    ? { status: "True", reason: "CollectionComplete", message: `${count} from node ${collection.node}` }
    : {
        status: "True",
        reason: "CollectionPartial",
        message: `${count} from node ${collection.node}: ${collection.message ?? "it ended early"}`,
      };
}

function failedFact(collection: Collection): CollectingStep["fact"] {
  return {
    status: "False",
    reason: (collection.reason as Reason | undefined) ?? "CollectorFailed",
    message: `Attempt ${collection.attempt} of ${MAX_ATTEMPTS} on node ${collection.node} brought nothing: ${collection.message ?? "the Job failed"}`,
  };
}

/** The pods to measure: the preserved one and serving ones on its node; without a preserved pod, those on the node of the kill. */
export function podsToMeasure(seen: Observation, investigation: MemoryInvestigation): readonly PodView[] {
  const { preserved, kills } = investigation.status ?? {};
  const running = seen.pods.filter(
    (p) => p.phase === "Running" && p.deletionTimestamp === undefined && p.node !== undefined,
  );
  const kept =
    preserved?.state === "Preserved" || preserved?.state === "Intended"
      ? running.find((p) => p.uid === preserved.uid)
      : undefined;
  const lastKill = kills?.at(-1);
  const killed = running.find((p) => p.uid === lastKill?.pod.uid);
  const suspect = running.find((p) => p.name === suspectOf(investigation));
  const first = kept ?? killed ?? suspect ?? running.find((p) => p.node === lastKill?.node) ?? running[0];
  // A pod that has ended has no memory any more, but the kernel's report of its end lies on its node.
  if (first === undefined) return seen.pods.filter((p) => p.uid === lastKill?.pod.uid && p.node !== undefined);
  // The pods that were killed come before the rest: they have shown that they grow.
  const wasKilled = new Set((kills ?? []).map((kill) => kill.pod.uid));
  const serving = running
    .filter((p) => p.node === first.node && p.uid !== first.uid && p.labels[PRESERVED_LABEL] === undefined)
    .toSorted((a, b) => Number(wasKilled.has(b.uid)) - Number(wasKilled.has(a.uid)) || a.name.localeCompare(b.name));
  return [first, ...serving.slice(0, SERVING_PODS)];
}

function begin(course: Course, attempt: number): CollectingStep {
  const { seen, investigation, policy, errand, collections, now } = course;
  const pods = errand.pods();
  const node = pods[0]?.node;
  if (node === undefined) {
    const message = "No pod of the workload runs on any node, so there is nothing to measure";
    return {
      ...quiet(collections, { status: "False", reason: "NothingToMeasure", message }),
      againMs: 5_000,
      failed: now.getTime() - errand.since > GRACE_MS,
    };
  }
  const name = collectionName(investigation.metadata.uid, errand.key, attempt);
  const requested = timeText(now);
  const { intervalMs, durationMs: lastsMs } = errand.timing(new Date(requested));
  const collection: Collection = {
    id: name,
    purpose: errand.purpose,
    attempt,
    state: "Intended",
    job: name,
    node,
    pods: pods.map((pod) => ({ name: pod.name, uid: pod.uid, role: roleOf(pod) })),
    requested,
    samples: 0,
    samplesExpected: Math.floor(lastsMs / intervalMs) + 1,
  };
  return {
    ...quiet([...collections, collection], {
      status: "Unknown",
      reason: "Collecting",
      message: `Starting collection ${attempt} of ${pods.length} pods on node ${node}`,
    }),
    actions: [
      writeContextAction(seen, investigation, policy, collection, "Start"),
      { kind: "CreateCollectionJob", plan: planOf(course, collection, pods), node },
    ],
    againMs: PROGRESS_MS,
  };
}

function planOf(
  { investigation, policy, errand }: Course,
  collection: Collection,
  pods: readonly PodView[],
): CollectionPlan {
  const { collect } = policy.spec;
  return {
    schema: PACK_SCHEMA,
    collection: collection.id,
    purpose: collection.purpose,
    investigation: {
      namespace: investigation.metadata.namespace ?? "",
      name: investigation.metadata.name,
      uid: investigation.metadata.uid,
    },
    node: collection.node,
    pods: pods.map((pod) => ({
      namespace: pod.namespace,
      name: pod.name,
      uid: pod.uid,
      role: roleOf(pod),
      containers: pod.containers.flatMap((c) =>
        c.containerId === undefined
          ? []
          : [{ name: c.name, id: c.containerId, ...(c.limitBytes === undefined ? {} : { limitBytes: c.limitBytes }) }],
      ),
    })),
    ...errand.timing(new Date(collection.requested)),
    stallBudgetMs: durationMs(collect.stallBudget),
    ...(collect.profile.enabled
      ? { profile: { durationMs: durationMs(collect.profile.duration), frequencyHz: collect.profile.frequencyHz } }
      : {}),
  };
}

function follow(course: Course, last: Collection): CollectingStep {
  const { seen, investigation, collections, now } = course;
  const job = seen.jobs[last.job];
  const session = seen.sessions[last.id];
  const replace = (next: Collection): readonly Collection[] =>
    collections.map((one) => (one.id === next.id ? next : one));
  const current = withProgress(last, session);

  if (session?.closed === true) return close(replace, current, session, job, now);
  const refused = seen.refused[investigation.metadata.uid];
  if (refused?.action === "CreateCollectionJob")
    return endWith(replace, current, "Failed", refused.reason, refused.message, now, job);
  if (job === undefined) {
    if (
      last.jobUid === undefined &&
      now.getTime() - Date.parse(last.requested) < INTENT_LIVES_MS &&
      session?.started === undefined
    ) {
      return resume(course, last);
    }
    return endWith(
      replace,
      current,
      "Lost",
      "CollectorLost",
      "its Job is gone; it is not made again under this name",
      now,
    );
  }
  if (job.labels["oomscope.dev/investigation-uid"] !== investigation.metadata.uid) {
    return endWith(replace, current, "Failed", "NameCollision", `a Job named ${job.name} exists and is not ours`, now);
  }
  const running: Collection = { ...current, state: "Running", jobUid: job.uid };
  const over = endOfJob(seen, running, job, session, now);
  if (over !== undefined)
    return endWith(replace, running, running.samples ? "Partial" : "Failed", over.reason, over.message, now, job);
  return {
    ...quiet(replace(running), {
      status: "Unknown",
      reason: "Collecting",
      message: `${running.samples ?? 0} of ${running.samplesExpected ?? 0} samples from node ${running.node}${pendingText(seen, running)}`,
    }),
    againMs: PROGRESS_MS,
  };
}

/** Ends what is under way, because nobody waits for it any more. */
export function stopCollecting(
  seen: Observation,
  collections: readonly Collection[],
  now: Date,
): { readonly collections: readonly Collection[]; readonly actions: readonly Action[] } {
  const actions: Action[] = [];
  const stopped = collections.map((one): Collection => {
    if (one.state !== "Intended" && one.state !== "Running") return one;
    const job = seen.jobs[one.job];
    if (job !== undefined && !job.complete && !job.failed)
      actions.push({ kind: "DeleteCollectionJob", name: job.name, uid: job.uid });
    const state = (one.samples ?? 0) > 0 ? "Partial" : "Failed";
    return {
      ...one,
      state,
      finished: timeText(now),
      reason: "Ended",
      message: "It was stopped: nobody waits for it any more",
    };
  });
  return { collections: stopped, actions };
}

function resume(course: Course, last: Collection): CollectingStep {
  const { seen, investigation, policy, collections } = course;
  const pods = last.pods.flatMap((p) => seen.pods.filter((pod) => pod.uid === p.uid));
  const message = `Starting collection ${last.attempt} of ${pods.length} pods on node ${last.node}`;
  return {
    ...quiet(collections, { status: "Unknown", reason: "Collecting", message }),
    actions: [
      // Written before the Job was asked for; whoever died in between need not look again.
      ...(seen.sessions[last.id]?.context === undefined
        ? [writeContextAction(seen, investigation, policy, last, "Start")]
        : []),
      { kind: "CreateCollectionJob", plan: planOf(course, last, pods), node: last.node },
    ],
    againMs: PROGRESS_MS,
  };
}

function withProgress(collection: Collection, session: SessionView | undefined): Collection {
  if (session === undefined) return collection;
  const { manifest } = session;
  return {
    ...collection,
    samples: manifest?.samples ?? session.samples,
    ...(session.started === undefined ? {} : { started: session.started }),
    ...(manifest === undefined
      ? {}
      : { cost: { stallMs: Math.round(manifest.stallMs), cpuMs: Math.round(manifest.cpuMs) } }),
  };
}

function close(
  replace: (next: Collection) => readonly Collection[],
  current: Collection,
  session: SessionView,
  job: JobView | undefined,
  now: Date,
): CollectingStep {
  const skipped = session.manifest?.skipped ?? [];
  const partial = session.manifest?.outcome === "Partial";
  const message = skipped.length === 0 ? undefined : clip(`Left out: ${skipped.join("; ")}`, 1024);
  const done: Collection = {
    ...current,
    state: partial ? "Partial" : "Complete",
    finished: timeText(now),
    reason: partial ? "CollectionPartial" : "CollectionComplete",
    ...(job === undefined ? {} : { jobUid: job.uid }),
    ...(message === undefined ? {} : { message }),
  };
  const fact = doneFact(done);
  return {
    ...quiet(replace(done), fact),
    evidence: done,
    notices: [{ type: "Normal", reason: fact.reason, message: fact.message, also: [] }],
  };
}

function endWith(
  replace: (next: Collection) => readonly Collection[],
  current: Collection,
  state: "Partial" | "Failed" | "Lost",
  reason: Reason,
  message: string,
  now: Date,
  job?: JobView,
): CollectingStep {
  // Whatever samples arrived are evidence, however the Job ended.
  const final = state !== "Partial" && (current.samples ?? 0) > 0 ? "Partial" : state;
  const ended: Collection = { ...current, state: final, finished: timeText(now), reason, message: clip(message, 1024) };
  const fact = final === "Partial" ? doneFact(ended) : failedFact(ended);
  return {
    ...quiet(replace(ended), fact),
    evidence: final === "Partial" ? ended : undefined,
    actions:
      job === undefined || job.complete || job.failed
        ? []
        : [{ kind: "DeleteCollectionJob", name: job.name, uid: job.uid }],
    notices: [{ type: "Warning", reason, message: `Collection ${ended.id}: ${message}`, also: [] }],
    ...(final === "Partial" || ended.attempt >= MAX_ATTEMPTS ? {} : { againMs: 0 }),
  };
}

/** Why a Job that has sent no manifest will not send one any more. */
function endOfJob(
  seen: Observation,
  collection: Collection,
  job: JobView,
  session: SessionView | undefined,
  now: Date,
): { readonly reason: Reason; readonly message: string } | undefined {
  if (job.failed) {
    return job.failedReason === "DeadlineExceeded"
      ? { reason: "CollectorTimedOut", message: `its Job ran past its deadline${podText(seen, collection)}` }
      : {
          reason: "CollectorFailed",
          message: `its Job failed (${job.failedReason ?? "unknown"})${podText(seen, collection)}`,
        };
  }
  if (job.complete) return { reason: "CollectorFailed", message: "its Job ended without sending a manifest" };
  const node = seen.nodes[collection.node];
  if (node === undefined) return { reason: "NodeGone", message: `node ${collection.node} is gone` };
  if (!node.ready && silentMs(collection, session, now) > GRACE_MS / 5) {
    return { reason: "NodeGone", message: `node ${collection.node} is not ready and the collector is silent` };
  }
  return undefined;
}

function silentMs(collection: Collection, session: SessionView | undefined, now: Date): number {
  return now.getTime() - Date.parse(session?.started ?? collection.requested);
}

function podText(seen: Observation, collection: Collection): string {
  const pod = seen.collectorPods[collection.job]?.at(-1);
  const state = pod?.containers[0]?.state;
  const said =
    pod?.message ?? pod?.reason ?? (state?.exitCode === undefined ? state?.reason : `exit code ${state.exitCode}`);
  return said === undefined ? "" : `: ${said}`;
}

function pendingText(seen: Observation, collection: Collection): string {
  const pod = seen.collectorPods[collection.job]?.at(-1);
  if (pod === undefined) return "; its pod is not there yet";
  if (pod.phase !== "Pending") return "";
  return `; its pod is pending${pod.containers[0]?.state.reason === undefined ? "" : ` (${pod.containers[0].state.reason})`}`;
}
