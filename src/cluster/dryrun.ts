/**
 * What would the operator see of a workload if it looked now? One live snapshot for a person who asks, made of lists instead of watches and observed
 * by the same code as the operator's own. What the person may not read is left out and named, because the answer is less sure without it.
 */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { parseInvestigation } from "../api/parse.ts";
import { explain, type ExplainQuestion, type Explanation } from "../incident/explain.ts";
import type { PolicyView, TargetKind, WorkloadKey } from "../incident/observation.ts";
import type { Api, ApiObject } from "./api.ts";
import { isApiError } from "./errors.ts";
import { findInstallation, namespacesOf } from "./installation.ts";
import {
  observe,
  policyQuestion,
  type NamespaceView,
  type NodeView,
  type Stores,
  type TrackedInvestigation,
} from "./observe.ts";
import { projectPod, projectReplicaSet, projectWorkload } from "./projections.ts";
import * as kinds from "./resources.ts";
import type { Resource } from "./resources.ts";
import { ObjectStore, type Tracked } from "./store.ts";
import { projectNamespace, projectPolicy } from "./watches.ts";
import { workloadOf } from "./workloads.ts";

export interface DryRun extends Explanation {
  /** What could not be read, for people; without it the answer may be another than the operator's. */
  readonly unread: readonly string[];
}

type Controller = Exclude<TargetKind, "Pod">;
const CONTROLLERS: Readonly<Record<Controller, Resource>> = {
  Deployment: kinds.deployments,
  StatefulSet: kinds.statefulsets,
  DaemonSet: kinds.daemonsets,
  Job: kinds.jobs,
};

/** Reads, keeps what is refused as a sentence, and goes on with nothing in its place. */
type Attempt = <T>(what: string, read: () => Promise<T>, otherwise: T) => Promise<T>;

/**
 * The workload that a person means: a pod that a controller has made stands for its controller, as it does for the operator.
 * Undefined: there is none. Throws ApiError.
 */
export async function resolveWorkload(api: Api, key: WorkloadKey): Promise<WorkloadKey | undefined> {
  const { namespace, kind, name } = key;
  try {
    const object = await api.get(kind === "Pod" ? kinds.pods : CONTROLLERS[kind], { namespace, name });
    if (kind !== "Pod") return key;
    const pod = projectPod(object);
    const replicaSets = storeOf(await listed(api, kinds.replicasets, namespace), (raw) => projectReplicaSet(raw));
    return pod === undefined ? key : (workloadOf(pod, { replicaSets }) ?? key);
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  }
}

/** What would be done about a workload that exists. Throws ApiError when the cluster cannot be asked, or its pods may not be read. */
export async function dryRun(
  api: Api,
  key: WorkloadKey,
  { now, suppose }: Pick<ExplainQuestion, "now" | "suppose">,
): Promise<DryRun> {
  const unread: string[] = [];
  const attempt: Attempt = async (what, read, otherwise) => {
    try {
      return await read();
    } catch (error) {
      if (!isApiError(error, "Forbidden", "TooLarge")) throw error;
      unread.push(`${what} could not be read (${error.message})`);
      return otherwise;
    }
  };
  const installation = await attempt("the operator's settings", () => findInstallation(api), undefined);
  const { collectors, exempt } = namespacesOf(installation);
  const stores = await readStores(api, key, attempt, unread);
  const investigations = await readInvestigations(api, key.namespace, attempt, unread);
  const seen = await observe(key, {
    api,
    stores,
    investigations: (namespace) =>
      investigations.filter((one) => namespace === undefined || one.namespace === namespace),
    evidence: { session: nothing, finding: nothing, comparison: nothing, victims: () => [], archive: nothing },
    collectorNamespace: collectors,
    exemptNamespaces: exempt,
    previousLife: nothing,
    startedAt: now,
    epoch: () => 0,
    settled: new Set(),
    refused: nothing,
    asked: true,
  });
  const policies: PolicyView[] = [...stores.policies.list(), ...stores.clusterPolicies.list()];
  const question = policyQuestion(key, seen.pods, { stores, exemptNamespaces: exempt });
  return { ...explain({ seen, policies, question, now, ...(suppose === undefined ? {} : { suppose }) }), unread };
}

function nothing(): undefined {
  return undefined;
}

async function readStores(api: Api, key: WorkloadKey, attempt: Attempt, unread: string[]): Promise<Stores> {
  const { namespace, kind, name } = key;
  const controller = async (of: Controller): Promise<ApiObject[]> =>
    kind === of ? [await api.get(CONTROLLERS[of], { namespace, name })] : [];
  const warnings = {
    warn: (facts: { kind?: unknown; name?: unknown; problem?: unknown }) =>
      void unread.push(`${String(facts.kind)} ${String(facts.name)} is not understood (${String(facts.problem)})`),
  };
  const [pods, replicaSets, deployments, statefulSets, daemonSets, jobs, labels, policies, clusterPolicies] =
    await Promise.all([
      listed(api, kinds.pods, namespace),
      attempt("ReplicaSets", () => listed(api, kinds.replicasets, namespace), []),
      controller("Deployment"),
      controller("StatefulSet"),
      controller("DaemonSet"),
      controller("Job"),
      attempt(
        `the labels of namespace ${namespace}`,
        async () => [await api.get(kinds.namespaces, { name: namespace })],
        [],
      ),
      attempt("MemoryPolicies", () => listed(api, kinds.memorypolicies, namespace), []),
      attempt("ClusterMemoryPolicies", () => listed(api, kinds.clustermemorypolicies), []),
    ]);
  return {
    pods: storeOf(pods, (raw) => projectPod(raw)),
    replicaSets: storeOf(replicaSets, (raw) => projectReplicaSet(raw)),
    workloads: {
      Deployment: storeOf(deployments, (raw) => projectWorkload("Deployment", raw)),
      StatefulSet: storeOf(statefulSets, (raw) => projectWorkload("StatefulSet", raw)),
      DaemonSet: storeOf(daemonSets, (raw) => projectWorkload("DaemonSet", raw)),
      Job: storeOf(jobs, (raw) => projectWorkload("Job", raw)),
    },
    collectionJobs: new ObjectStore(),
    nodes: new ObjectStore<NodeView>(),
    namespaces: storeOf<NamespaceView>(labels, projectNamespace),
    policies: storeOf(policies, (raw) => projectPolicy(raw, "MemoryPolicy", warnings)),
    clusterPolicies: storeOf(clusterPolicies, (raw) => projectPolicy(raw, "ClusterMemoryPolicy", warnings)),
  };
}

/** Budgets count those of the whole cluster. */
async function readInvestigations(
  api: Api,
  namespace: string,
  attempt: Attempt,
  unread: string[],
): Promise<TrackedInvestigation[]> {
  const everywhere = await attempt(
    "investigations of other namespaces, which budgets count,",
    () => listed(api, kinds.memoryinvestigations),
    undefined,
  );
  const raw =
    everywhere ?? (await attempt("investigations", () => listed(api, kinds.memoryinvestigations, namespace), []));
  return raw.flatMap((object) => {
    const parsed = parseInvestigation(object);
    if (parsed.ok) return [tracked(parsed.value)];
    unread.push(`investigation ${object.metadata.name ?? ""} is not understood (${parsed.problem})`);
    return [];
  });
}

function tracked(investigation: MemoryInvestigation): TrackedInvestigation {
  const { uid, namespace = "", name, resourceVersion } = investigation.metadata;
  return { uid, namespace, name, resourceVersion, investigation };
}

function storeOf<T extends Tracked>(
  objects: readonly ApiObject[],
  project: (raw: unknown) => T | undefined,
): ObjectStore<T> {
  const store = new ObjectStore<T>();
  for (const object of objects) {
    const projected = project(object);
    if (projected !== undefined) store.put(projected);
  }
  return store;
}

async function listed(api: Api, resource: Resource, namespace?: string): Promise<ApiObject[]> {
  const items: ApiObject[] = [];
  for await (const page of api.list(resource, namespace === undefined ? {} : { namespace })) items.push(...page.items);
  return items;
}
