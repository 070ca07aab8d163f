/**
 * What stands around a workload and bears on keeping one of its pods: who selects it, whether a replacement could start, which volumes
 * it holds alone, and how much memory its pods use. Read live, because a decision that takes a pod out of service rests on it.
 */
import { quantityBytes } from "../api/fields.ts";
import type { LabelSelector } from "../api/memorypolicy.ts";
import type { PodView, ReplicaSetView, SelectorView, Surroundings } from "../incident/observation.ts";
import type { Api, ApiObject, CallOptions } from "./api.ts";
import { isApiError } from "./errors.ts";
import {
  networkpolicies,
  persistentvolumeclaims,
  poddisruptionbudgets,
  podmetrics,
  resourcequotas,
  services,
  type Resource,
} from "./resources.ts";

/** The metrics API is a help, not a need: it may be absent or slow. */
const METRICS_TIMEOUT_MS = 200;

type Json = Readonly<Record<string, unknown>>;

/**
 * Throws when a read failed that may be tried again.
 * @param choosing a pod is yet to be chosen; otherwise only the selectors are read
 */
export async function readSurroundings(
  api: Api,
  namespace: string,
  pods: readonly PodView[],
  replicaSets: readonly ReplicaSetView[],
  choosing: boolean,
): Promise<Surroundings> {
  const [selectors, quotaTight, exclusiveClaims, usageBytes] = await Promise.all([
    readSelectors(api, namespace, replicaSets),
    // Once the pod is chosen these decide nothing any more, and every millisecond counts.
    choosing ? readQuota(api, namespace, pods[0]) : undefined,
    choosing ? readExclusiveClaims(api, namespace, pods) : [],
    choosing ? readUsage(api, namespace, pods) : {},
  ]);
  return {
    ...(selectors === undefined ? {} : { selectors }),
    ...(quotaTight === undefined ? {} : { quotaTight }),
    exclusiveClaims,
    usageBytes,
  };
}

async function all(api: Api, resource: Resource, namespace: string, call: CallOptions = {}): Promise<ApiObject[]> {
  const items: ApiObject[] = [];
  for await (const page of api.list(resource, { namespace, ...call })) items.push(...page.items);
  return items;
}

/**
 * Whether the server will not tell however often it is asked. Any other failure passes: a pod that is to be isolated must not be held for good, and lost with
 * the next roll-out, because one connection broke.
 */
function isFinal(error: unknown): boolean {
  return isApiError(error, "Forbidden", "NotFound", "TooLarge");
}

/** Undefined when one of the kinds may not be read: then it is not known what to take away. Throws when a read failed and may be tried again. */
async function readSelectors(
  api: Api,
  namespace: string,
  replicaSets: readonly ReplicaSetView[],
): Promise<SelectorView[] | undefined> {
  try {
    const [listed, budgets, policies] = await Promise.all([
      all(api, services, namespace),
      all(api, poddisruptionbudgets, namespace),
      all(api, networkpolicies, namespace),
    ]);
    return [
      // A Deployment's ReplicaSets select by the Deployment's own labels and the hash: both must go.
      ...replicaSets.flatMap((rs) => (rs.selector === undefined ? [] : [view("ReplicaSet", rs.name, rs.selector)])),
      ...listed.flatMap((service) => {
        const matchLabels = (service["spec"] as Json | undefined)?.["selector"] as Record<string, string> | undefined;
        // A Service without a selector selects nothing; every other empty selector selects everything.
        return matchLabels === undefined || Object.keys(matchLabels).length === 0
          ? []
          : [view("Service", nameOf(service), { matchLabels })];
      }),
      ...budgets.map((budget) => view("PodDisruptionBudget", nameOf(budget), selectorOf(budget, "selector"))),
      ...policies.map((policy) => view("NetworkPolicy", nameOf(policy), selectorOf(policy, "podSelector"))),
    ];
  } catch (error) {
    if (!isFinal(error)) throw error;
    return undefined;
  }
}

function view(kind: SelectorView["kind"], name: string, selector: LabelSelector): SelectorView {
  return { owner: `${kind}/${name}`, kind, selector };
}

function nameOf(object: ApiObject): string {
  return object.metadata.name ?? "";
}

function selectorOf(object: ApiObject, field: string): LabelSelector {
  return ((object["spec"] as Json | undefined)?.[field] as LabelSelector | undefined) ?? {};
}

/** Would a copy of this pod still fit into the namespace's quotas? */
async function readQuota(api: Api, namespace: string, pod: PodView | undefined): Promise<string | undefined> {
  if (pod === undefined) return undefined;
  let quotas: ApiObject[];
  try {
    quotas = await all(api, resourcequotas, namespace);
  } catch (error) {
    if (!isFinal(error)) throw error;
    return "the quotas of the namespace could not be read";
  }
  const sum = (values: readonly (number | undefined)[]): number =>
    values.reduce<number>((total, v) => total + (v ?? 0), 0);
  const needs: Readonly<Record<string, number>> = {
    pods: 1,
    "count/pods": 1,
    "limits.memory": sum(pod.containers.map((c) => c.limitBytes)),
    "requests.memory": sum(pod.containers.map((c) => c.requestBytes)),
    memory: sum(pod.containers.map((c) => c.requestBytes)),
  };
  for (const quota of quotas) {
    const status = (quota["status"] ?? {}) as { hard?: Record<string, string>; used?: Record<string, string> };
    for (const [resource, need] of Object.entries(needs)) {
      const hard = quantityBytes(status.hard?.[resource] ?? "");
      const used = quantityBytes(status.used?.[resource] ?? "0") ?? 0;
      if (hard !== undefined && used + need > hard)
        return `quota ${nameOf(quota)} has no room for one more (${resource})`;
    }
  }
  return undefined;
}

/** Claims that only one node, or only one pod, may mount. */
async function readExclusiveClaims(api: Api, namespace: string, pods: readonly PodView[]): Promise<string[]> {
  const claims = new Set(pods.flatMap((pod) => pod.claims));
  if (claims.size === 0) return [];
  try {
    const objects = await all(api, persistentvolumeclaims, namespace);
    return objects
      .filter((claim) => claims.has(nameOf(claim)))
      .filter((claim) => {
        const modes = ((claim["spec"] as Json | undefined)?.["accessModes"] ?? []) as string[];
        return !modes.includes("ReadWriteMany") && !modes.includes("ReadOnlyMany");
      })
      .map(nameOf);
  } catch (error) {
    if (!isFinal(error)) throw error;
    return [...claims]; // Not known to be shared: treated as held alone.
  }
}

async function readUsage(api: Api, namespace: string, pods: readonly PodView[]): Promise<Record<string, number>> {
  const byName = new Map(pods.map((pod) => [pod.name, pod.uid]));
  try {
    const metrics = await all(api, podmetrics, namespace, { timeoutMs: METRICS_TIMEOUT_MS, once: true });
    const usage: Record<string, number> = {};
    for (const metric of metrics) {
      const uid = byName.get(nameOf(metric));
      const containers = (metric["containers"] ?? []) as { usage?: { memory?: string } }[];
      if (uid !== undefined)
        usage[uid] = containers.reduce((total, c) => total + (quantityBytes(c.usage?.memory ?? "0") ?? 0), 0);
    }
    return usage;
  } catch {
    return {};
  }
}
