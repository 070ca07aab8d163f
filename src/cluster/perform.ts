/**
 * Carries out what a plan says. Every change to an object that we did not make is checked once more on a live read and carries the
 * uid and resourceVersion of that read; a guard that says no here is an answer, not an error.
 */
import type { Context } from "../api/collection.ts";
import { assembleContext } from "../context/assemble.ts";
import type { Action } from "../incident/actions.ts";
import { collectorJob, INVESTIGATION_UID_LABEL, type CollectorSettings } from "../incident/collectorjob.ts";
import { keyText, type PodView, type Refused, type WorkloadKey } from "../incident/observation.ts";
import { FINALIZER } from "../incident/step.ts";
import { selects } from "../incident/policy.ts";
import { OPENED_BECAUSE, SUSPECT_POD } from "../incident/intake.ts";
import { isServing, PRESERVED_LABEL } from "../incident/preservation.ts";
import { GROUP, VERSION } from "../api/memoryinvestigation.ts";
import type { Clock } from "../seams.ts";
import type { Api, ApiObject } from "./api.ts";
import { changeTemplate } from "./changetemplate.ts";
import { readContext } from "./contextreads.ts";
import { ApiError, isApiError } from "./errors.ts";
import { projectPod } from "./projections.ts";
import { resizePods } from "./resizepods.ts";
import { jobs, memoryinvestigations, poddisruptionbudgets, pods } from "./resources.ts";
import { setValues } from "./setvalues.ts";

export interface PerformOptions {
  readonly api: Api;
  readonly collector: () => CollectorSettings;
  readonly clock: Clock;
  readonly writeContext: (collection: string, bytes: Uint8Array) => Promise<void>;
  /** The context part as it is now; undefined when there is none that can be read. */
  readonly readContext: (collection: string) => Promise<Context | undefined>;
  /** Takes note of an investigation as the API server returned it. */
  readonly wrote: (investigation: ApiObject) => void;
  /** Whether one more investigation may be active under the policy now. Asked while nothing else can open one. */
  readonly admits: (policy: Of<"OpenInvestigation">["policy"], namespace: string) => boolean;
}

/** Annotations that autoscalers and descheduler-like tools heed. */
const DO_NOT_DISRUPT = {
  "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
  "karpenter.sh/do-not-disrupt": "true",
} as const;
/** Makes the ReplicaSet take this pod, and no other, when it has one too many after the release. */
const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
const LOWEST_COST = "-2147483647";

export async function perform(key: WorkloadKey, action: Action, options: PerformOptions): Promise<Refused | undefined> {
  const { namespace } = key;
  switch (action.kind) {
    case "OpenInvestigation":
      return openInvestigation(key, action, options);
    case "SetFinalizer":
      return setFinalizer(namespace, action, options);
    case "PreservePod":
      return preservePod(namespace, action, options);
    case "ReleasePod":
      return releasePod(namespace, action, options);
    case "EnsureGuard":
      return ensureGuard(namespace, action, options);
    case "RemoveGuard":
      return removeGuard(namespace, action, options.api);
    case "ChangeTemplate":
      return changeTemplate(namespace, action, options.api);
    case "SetValues":
      return setValues(namespace, action, options.api);
    case "ResizePods":
      return resizePods(namespace, action, options.api);
    case "WriteContext":
      return writeContext(action, options);
    case "CreateCollectionJob":
      return createJob(key, action, options);
    case "DeleteCollectionJob":
      return ignoreGone(
        options.api.remove(
          jobs,
          { namespace: options.collector().namespace, name: action.name },
          {
            preconditions: { uid: action.uid },
            propagationPolicy: "Background",
          },
        ),
      );
  }
}

type Of<K extends Action["kind"]> = Extract<Action, { kind: K }>;

async function openInvestigation(
  key: WorkloadKey,
  action: Of<"OpenInvestigation">,
  options: PerformOptions,
): Promise<undefined> {
  if (!options.admits(action.policy, key.namespace)) return undefined;
  const { because, suspect } = action;
  const object: ApiObject = {
    apiVersion: `${GROUP}/${VERSION}`,
    kind: "MemoryInvestigation",
    metadata: {
      name: action.name,
      namespace: key.namespace,
      labels: { "app.kubernetes.io/managed-by": "oomscope" },
      annotations: {
        [OPENED_BECAUSE]: because,
        ...(suspect === undefined ? {} : { [SUSPECT_POD]: suspect }),
      },
      ...(action.preserves ? { finalizers: [FINALIZER] } : {}),
    },
    spec: action.spec,
  };
  try {
    options.wrote(await options.api.create(memoryinvestigations, object));
  } catch (error) {
    // The whole namespace goes, and its pods with it: there is nothing left to explain.
    if (isApiError(error, "Terminating")) return undefined;
    if (!isApiError(error, "AlreadyExists")) throw error;
    // The name is made from the kill: whoever holds it is about this kill. A live read shows it to the next pass.
    options.wrote(await options.api.get(memoryinvestigations, { namespace: key.namespace, name: action.name }));
  }
  return undefined;
}

async function setFinalizer(
  namespace: string,
  action: Of<"SetFinalizer">,
  options: PerformOptions,
): Promise<undefined> {
  const address = { namespace, name: action.investigation };
  let live: ApiObject;
  try {
    live = await options.api.get(memoryinvestigations, address);
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  }
  if (live.metadata.uid !== action.uid) return undefined;
  const before = (live.metadata["finalizers"] ?? []) as string[];
  const finalizers = before.filter((f) => f !== FINALIZER);
  if (action.present) finalizers.push(FINALIZER);
  if (finalizers.length === before.length && before.includes(FINALIZER) === action.present) return undefined;
  try {
    options.wrote(
      await options.api.mergePatch(memoryinvestigations, address, {
        metadata: { uid: action.uid, resourceVersion: live.metadata.resourceVersion, finalizers },
      }),
    );
  } catch (error) {
    // With the last finalizer a deleted object goes, which is what was wanted.
    if (!isApiError(error, "NotFound", "Replaced")) throw error;
  }
  return undefined;
}

async function preservePod(
  namespace: string,
  action: Of<"PreservePod">,
  options: PerformOptions,
): Promise<Refused | undefined> {
  const { api } = options;
  const live = await livePod(options, namespace, action.pod.name);
  const refusal = changedSince(action, live?.view) ?? (await tooFewLeft(namespace, action, options));
  if (refusal !== undefined) return refusal;
  const raw = live?.raw.metadata;
  if (raw === undefined || live?.view.labels[PRESERVED_LABEL] === action.investigation.uid) return undefined;

  const taken = Object.fromEntries(Object.keys(action.labels).map((label) => [label, null]));
  await api.mergePatch(
    pods,
    { namespace, name: action.pod.name },
    {
      metadata: {
        uid: raw.uid,
        resourceVersion: raw.resourceVersion,
        labels: { ...taken, [PRESERVED_LABEL]: action.investigation.uid },
        annotations: {
          ...DO_NOT_DISRUPT,
          "oomscope.dev/investigation": action.investigation.name,
          // For people. What is put back on release comes from the investigation's status.
          "oomscope.dev/original-labels": JSON.stringify(action.labels),
          "oomscope.dev/revision": action.pod.ownerName ?? "",
        },
      },
    },
  );
  return undefined;
}

/** Is it still the pod that was chosen, with the memory it was chosen for? */
function changedSince(action: Of<"PreservePod">, live: PodView | undefined): Refused | undefined {
  const no = (message: string): Refused => ({ action: "PreservePod", reason: "PodChanged", message });
  const { pod } = action;
  if (live === undefined || live.uid !== pod.uid) return no(`pod ${pod.name} is gone`);
  if (live.labels[PRESERVED_LABEL] === action.investigation.uid) return undefined;
  if (live.deletionTimestamp !== undefined) return no(`pod ${pod.name} is being deleted`);
  if (live.labels[PRESERVED_LABEL] !== undefined) return no(`pod ${pod.name} is preserved by another investigation`);
  if (live.ownerUid !== pod.ownerUid) return no(`pod ${pod.name} has another owner than when it was chosen`);
  const changed = Object.entries(action.labels).find(([label, value]) => live.labels[label] !== value);
  if (changed !== undefined) return no(`label ${changed[0]} of pod ${pod.name} has changed`);
  return undefined;
}

/** The floor of ready pods, on live reads: the snapshot may be a moment old. */
async function tooFewLeft(
  namespace: string,
  action: Of<"PreservePod">,
  { api }: PerformOptions,
): Promise<Refused | undefined> {
  if (action.how !== "Isolate" || action.minAvailable === 0) return undefined;
  const siblings = new Set(action.siblings);
  let ready = 0;
  for await (const page of api.list(pods, { namespace })) {
    for (const item of page.items) {
      const view = projectPod(item);
      if (view !== undefined && siblings.has(view.uid) && isServing(view)) ready += 1;
    }
    if (ready >= action.minAvailable) return undefined;
  }
  return {
    action: "PreservePod",
    reason: "MinAvailable",
    message: `${ready} ready pods would remain, preserve.minAvailable is ${action.minAvailable}`,
  };
}

async function livePod(
  { api }: PerformOptions,
  namespace: string,
  name: string,
): Promise<{ raw: ApiObject; view: PodView } | undefined> {
  try {
    const raw = await api.get(pods, { namespace, name });
    const view = projectPod(raw);
    return view === undefined ? undefined : { raw, view };
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  }
}

async function releasePod(namespace: string, action: Of<"ReleasePod">, options: PerformOptions): Promise<undefined> {
  const { api } = options;
  const live = await livePod(options, namespace, action.pod.name);
  if (live === undefined || live.view.uid !== action.pod.uid) return undefined;
  if (live.view.labels[PRESERVED_LABEL] !== action.investigation.uid) return undefined;
  const { uid, resourceVersion } = live.raw.metadata;
  if (!action.ownerExists) {
    await ignoreGone(
      api.remove(
        pods,
        { namespace, name: action.pod.name },
        {
          preconditions: {
            ...(uid === undefined ? {} : { uid }),
            ...(resourceVersion === undefined ? {} : { resourceVersion }),
          },
        },
      ),
    );
    return undefined;
  }
  const marks = [
    ...Object.keys(DO_NOT_DISRUPT),
    "oomscope.dev/investigation",
    "oomscope.dev/original-labels",
    "oomscope.dev/revision",
  ];
  await api.mergePatch(
    pods,
    { namespace, name: action.pod.name },
    {
      metadata: {
        uid,
        resourceVersion,
        labels: { ...action.labels, [PRESERVED_LABEL]: null },
        annotations: {
          ...Object.fromEntries(marks.map((mark) => [mark, null])),
          ...(action.how === "Isolate" ? { [DELETION_COST]: LOWEST_COST } : {}),
        },
      },
    },
  );
  return undefined;
}

/** A budget of its own that lets nobody evict the pod. Its selector matches the pod and nothing else. */
async function ensureGuard(
  namespace: string,
  action: Of<"EnsureGuard">,
  { api }: PerformOptions,
): Promise<Refused | undefined> {
  const { name, uid } = action.investigation;
  const no = (reason: Refused["reason"], message: string): Refused => ({ action: "EnsureGuard", reason, message });
  try {
    await api.create(poddisruptionbudgets, {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: {
        name: action.name,
        namespace,
        labels: { "app.kubernetes.io/managed-by": "oomscope", [INVESTIGATION_UID_LABEL]: uid },
        ownerReferences: [
          { apiVersion: `${GROUP}/${VERSION}`, kind: "MemoryInvestigation", name, uid, controller: true },
        ],
      },
      // Not maxUnavailable: that asks the pod's controller how many there should be, and an isolated pod has none.
      spec: { minAvailable: 1, selector: { matchLabels: { [PRESERVED_LABEL]: uid } } },
    });
    return undefined;
  } catch (error) {
    // Without a guard the pod is still kept, only less safely: no reason to stop, but one to say so.
    if (isApiError(error, "Forbidden")) return no("Forbidden", error.message);
    if (!isApiError(error, "AlreadyExists")) throw error;
  }
  const live = await api.get(poddisruptionbudgets, { namespace, name: action.name });
  return live.metadata.labels?.[INVESTIGATION_UID_LABEL] === uid
    ? undefined
    : no("NameCollision", `a PodDisruptionBudget named ${action.name} exists and is not ours`);
}

async function removeGuard(namespace: string, action: Of<"RemoveGuard">, api: Api): Promise<undefined> {
  try {
    const live = await api.get(poddisruptionbudgets, { namespace, name: action.name });
    if (live.metadata.labels?.[INVESTIGATION_UID_LABEL] !== action.investigationUid) return undefined;
    const { uid } = live.metadata;
    await api.remove(
      poddisruptionbudgets,
      { namespace, name: action.name },
      { preconditions: uid === undefined ? {} : { uid } },
    );
  } catch (error) {
    if (!isApiError(error, "NotFound", "Replaced")) throw error;
  }
  return undefined;
}

/** The Job waits for the first look; the last one is worth more patience. */
const LOOK_BUDGET_MS = { Start: 5_000, End: 10_000 } as const;

async function writeContext(action: Of<"WriteContext">, options: PerformOptions): Promise<Refused | undefined> {
  const { collection, base, question } = action;
  const { stage } = question;
  const answers = await readContext(options.api, options.clock, question, LOOK_BUDGET_MS[stage]);
  try {
    const earlier = stage === "End" ? await options.readContext(collection) : undefined;
    const context = assembleContext(base, earlier, question, answers, selects);
    await options.writeContext(collection, new TextEncoder().encode(`${JSON.stringify(context)}\n`));
    return undefined;
  } catch (error) {
    const message = `The evidence store refused the context: ${String(error)}`;
    // Without room for the context there is none for the evidence either: no Job is started.
    return { action: stage === "Start" ? "CreateCollectionJob" : "WriteContext", reason: "StorageFull", message };
  }
}

async function createJob(
  key: WorkloadKey,
  action: Of<"CreateCollectionJob">,
  options: PerformOptions,
): Promise<Refused | undefined> {
  const settings = options.collector();
  const job = collectorJob(action.plan, action.node, keyText(key), settings) as unknown as ApiObject;
  try {
    await options.api.create(jobs, job);
  } catch (error) {
    if (isApiError(error, "Invalid", "Forbidden", "TooLarge")) {
      return {
        action: "CreateCollectionJob",
        reason: error.reason === "Forbidden" ? "Forbidden" : "CollectorFailed",
        message: error.message,
      };
    }
    // Whether it is ours shows in the next observation, which reads it live.
    if (!isApiError(error, "AlreadyExists")) throw error;
  }
  return undefined;
}

async function ignoreGone(removal: Promise<void>): Promise<undefined> {
  try {
    await removal;
  } catch (error) {
    if (!(error instanceof ApiError) || !["NotFound", "Replaced"].includes(error.reason)) throw error;
  }
  return undefined;
}
