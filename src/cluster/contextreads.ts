/**
 * Asks the API server for what stands around a collection. Live, each read on its own, all of them within one budget of time; a read that
 * fails becomes a line in `skipped`, and nothing here throws. Only objects of the investigation's namespace are read, by name, uid or selector,
 * and the node's own.
 */
import type { Skipped } from "../api/context.ts";
import type { ContextAnswers, ContextQuestion } from "../context/question.ts";
import { MAX_LOG_BYTES } from "../context/question.ts";
import type { Clock } from "../seams.ts";
import type { ApiObject, CallOptions, ListOptions, Reads } from "./api.ts";
import { ApiError } from "./errors.ts";
import {
  controllerrevisions,
  daemonsets,
  deployments,
  events,
  horizontalpodautoscalers,
  jobs,
  limitranges,
  nodes,
  poddisruptionbudgets,
  podmetrics,
  pods,
  replicasets,
  statefulsets,
  type Resource,
} from "./resources.ts";

/** One call may not use up the budget of all. */
const CALL_MS = 2_500;
/** Events of one object that are read, and objects whose events are asked for: the server looks through the namespace's events for each. */
const MAX_EVENTS_EACH = 1_000;
const MAX_SUBJECTS = 12;
/** Objects of other kinds in the namespace: a few in practice. */
const MAX_OBJECTS = 1_000;
const AT_ONCE = 4;

const TARGETS: Readonly<Record<string, Resource>> = {
  Deployment: deployments,
  StatefulSet: statefulsets,
  DaemonSet: daemonsets,
  Job: jobs,
};
const REVISIONS: Readonly<Record<string, Resource>> = {
  Deployment: replicasets,
  StatefulSet: controllerrevisions,
  DaemonSet: controllerrevisions,
};

/** @param budgetMs for everything together; what has not come by then is skipped as TimedOut */
export async function readContext(
  api: Reads,
  clock: Clock,
  question: ContextQuestion,
  budgetMs: number,
): Promise<ContextAnswers> {
  const end = new AbortController();
  const timer = clock.after(budgetMs, () => end.abort(new Error(`not within ${budgetMs} ms`)));
  const reader = new Reader(api, end.signal);
  try {
    return await read(reader, question, clock.now());
  } finally {
    timer.cancel();
  }
}

async function read(reader: Reader, question: ContextQuestion, now: Date): Promise<ContextAnswers> {
  const { namespace, target, node } = question;
  const [workload, found, nodeObject, metrics, autoscalers, budgets, limitRanges, logs] = await Promise.all([
    readWorkload(reader, question),
    reader.each(question.pods, ({ name }) => reader.get(`pod ${name}`, pods, { namespace, name })),
    node === "" ? undefined : reader.get("node", nodes, { name: node }),
    // What answers here is not the API server: its being down is no reason to go easy on the API server.
    reader.list("metrics.k8s.io", podmetrics, { namespace, once: true }),
    reader.list("horizontalpodautoscalers", horizontalpodautoscalers, { namespace }),
    reader.list("poddisruptionbudgets", poddisruptionbudgets, { namespace }),
    reader.list("limitranges", limitranges, { namespace }),
    readLogs(reader, question),
  ]);
  const scalers = autoscalers.filter((a) => scales(a, target));
  const subjects = [
    ...[workload.target, ...workload.revisions.slice(0, 3), ...scalers.slice(0, 2)].flatMap(
      (o) => o?.metadata.uid ?? [],
    ),
    ...question.pods.map(({ uid }) => uid),
  ].slice(0, MAX_SUBJECTS);
  const [ofWorkload, nodeEvents] = await Promise.all([
    reader.each(subjects, (uid) =>
      reader.list("events", events, { namespace, fieldSelector: `involvedObject.uid=${uid}` }, MAX_EVENTS_EACH),
    ),
    readNodeEvents(reader, node),
  ]);
  return {
    time: now.toISOString(),
    pods: found.filter((pod) => pod !== undefined),
    target: workload.target,
    revisions: workload.revisions,
    node: nodeObject,
    events: ofWorkload.flat(),
    nodeEvents,
    metrics,
    autoscalers,
    budgets,
    limitRanges,
    logs,
    skipped: reader.skipped,
  };
}

interface Workload {
  readonly target: ApiObject | undefined;
  readonly revisions: readonly ApiObject[];
}

async function readWorkload(reader: Reader, { namespace, target }: ContextQuestion): Promise<Workload> {
  const resource = TARGETS[target.kind];
  if (resource === undefined) return { target: undefined, revisions: [] };
  const object = await reader.get("target", resource, { namespace, name: target.name });
  if (object === undefined) return { target: undefined, revisions: [] };
  if (target.uid !== undefined && object.metadata.uid !== target.uid) {
    reader.skip("target", "Replaced", `another ${target.kind} is named ${target.name} now`);
    return { target: undefined, revisions: [] };
  }
  const kind = REVISIONS[target.kind];
  if (kind === undefined) return { target: object, revisions: [] };
  const labelSelector = labelsOf(object);
  const listed = await reader.list("revisions", kind, {
    namespace,
    ...(labelSelector === "" ? {} : { labelSelector }),
  });
  // Whose they are is said by the uid of their controller; the newest first, since the events of those are asked for.
  const own = listed.filter((one) =>
    one.metadata.ownerReferences?.some((o) => o.controller && o.uid === object.metadata.uid),
  );
  return {
    target: object,
    revisions: own.toSorted((a, b) => created(b).localeCompare(created(a))),
  };
}

function created(object: ApiObject): string {
  return object.metadata.creationTimestamp ?? "";
}

/** The equalities of the workload's selector: enough to keep the rest of the namespace away, and all of them are valid in a query. */
function labelsOf(object: ApiObject): string {
  const spec = object["spec"] as { selector?: { matchLabels?: Record<string, string> } } | undefined;
  return Object.entries(spec?.selector?.matchLabels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

function scales(autoscaler: ApiObject, target: ContextQuestion["target"]): boolean {
  const ref = (autoscaler["spec"] as { scaleTargetRef?: { kind?: string; name?: string } } | undefined)?.scaleTargetRef;
  return ref?.kind === target.kind && ref.name === target.name;
}

/** Events about nodes lie in `default`, whatever runs there; nothing but events about this one node is asked for. */
async function readNodeEvents(reader: Reader, node: string): Promise<readonly ApiObject[]> {
  if (node === "") return [];
  const fieldSelector = `involvedObject.kind=Node,involvedObject.name=${node}`;
  return reader.list("events of the node", events, { namespace: "default", fieldSelector }, MAX_EVENTS_EACH);
}

async function readLogs(reader: Reader, question: ContextQuestion): Promise<ContextAnswers["logs"]> {
  if (question.logs.length === 0) {
    const detail =
      question.logLines === 0
        ? "collect.previousLog.enabled is false in the policy"
        : "no killed container of a pod that is still there has had an incarnation before this one";
    reader.skip("previous logs", "NotAsked", detail);
    return [];
  }
  const read = await reader.each(question.logs, async ({ pod, uid, container }) => {
    const text = await reader.log(`previous log of ${container} of ${pod}`, question, { pod, container });
    return text === undefined ? undefined : { pod, uid, container, text };
  });
  return read.filter((log) => log !== undefined);
}

/** Reads that do not fail: each gives what it got and notes what it did not get. */
class Reader {
  readonly skipped: Skipped[] = [];
  readonly #api: Reads;
  readonly #signal: AbortSignal;

  constructor(api: Reads, signal: AbortSignal) {
    this.#api = api;
    this.#signal = signal;
  }

  skip(what: string, reason: string, detail?: string): void {
    this.skipped.push({ what, reason, ...(detail === undefined ? {} : { detail }) });
  }

  get(
    what: string,
    resource: Resource,
    address: { readonly namespace?: string; readonly name: string },
  ): Promise<ApiObject | undefined> {
    return this.#noting(what, undefined, () => this.#api.get(resource, address, this.#options()));
  }

  async list(what: string, resource: Resource, options: ListOptions, max = MAX_OBJECTS): Promise<ApiObject[]> {
    const items: ApiObject[] = [];
    await this.#noting(what, undefined, async () => {
      const call = { ...options, ...this.#options(), maxItems: max };
      for await (const page of this.#api.list(resource, call)) items.push(...page.items);
    });
    // What came before a failure stays: it is true, only not all.
    return items;
  }

  log(
    what: string,
    question: ContextQuestion,
    { pod, container }: { readonly pod: string; readonly container: string },
  ): Promise<string | undefined> {
    const query = {
      container,
      previous: "true",
      timestamps: "true",
      tailLines: String(question.logLines),
      limitBytes: String(MAX_LOG_BYTES),
    };
    const address = { namespace: question.namespace, name: pod, subresource: "log" };
    // The kubelet answers, not the API server.
    const options = { ...this.#options(), once: true, maxBytes: MAX_LOG_BYTES + 4096 };
    return this.#noting(what, undefined, () => this.#api.text(pods, address, query, options));
  }

  /** A few at a time, in order. */
  async each<T, R>(inputs: readonly T[], work: (input: T) => Promise<R>): Promise<R[]> {
    const results: R[] = [];
    for (let from = 0; from < inputs.length; from += AT_ONCE) {
      results.push(...(await Promise.all(inputs.slice(from, from + AT_ONCE).map(work))));
    }
    return results;
  }

  #options(): CallOptions {
    return { signal: this.#signal, timeoutMs: CALL_MS };
  }

  async #noting<T, F>(what: string, fallback: F, work: () => Promise<T>): Promise<T | F> {
    try {
      this.#signal.throwIfAborted();
      return await work();
    } catch (error) {
      const reason = this.#signal.aborted ? "TimedOut" : error instanceof ApiError ? error.reason : "Unknown";
      this.skip(what, reason, error instanceof Error ? error.message : String(error));
      return fallback;
    }
  }
}
