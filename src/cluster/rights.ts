/**
 * Which rights does the operator need, and has an account them? The same as config/rbac gives, which a test compares; the API server is asked for each,
 * so that it does not matter by which role and binding somebody has given it.
 */
import type { Api } from "./api.ts";
import { selfsubjectaccessreviews, subjectaccessreviews } from "./resources.ts";

/** API group ("" for the core), resource with its subresource, verbs, and the one name that is meant where only one is. */
export type Right = readonly [group: string, resource: string, verbs: string, name?: string];

/** In every namespace. */
export const OPERATOR_RIGHTS: readonly Right[] = [
  ["", "pods", "get list watch patch delete"],
  ["", "nodes", "get list watch"],
  ["", "namespaces", "get list watch"],
  ["", "services", "get list"],
  ["", "resourcequotas", "get list"],
  ["", "persistentvolumeclaims", "get list"],
  ["", "limitranges", "list"],
  ["", "events", "list create patch"],
  ["apps", "deployments", "get list watch"],
  ["apps", "replicasets", "get list watch"],
  ["apps", "statefulsets", "get list watch"],
  ["apps", "daemonsets", "get list watch"],
  ["apps", "controllerrevisions", "list"],
  ["batch", "jobs", "get list watch"],
  ["autoscaling", "horizontalpodautoscalers", "list"],
  ["networking.k8s.io", "networkpolicies", "list"],
  ["metrics.k8s.io", "nodes", "list"],
  ["metrics.k8s.io", "pods", "list"],
  ["policy", "poddisruptionbudgets", "get list create delete"],
  ["events.k8s.io", "events", "create patch"],
  ["authentication.k8s.io", "tokenreviews", "create"],
  ["oomscope.dev", "memoryinvestigations", "get list watch create patch"],
  ["oomscope.dev", "memorypolicies", "get list watch"],
  ["oomscope.dev", "clustermemorypolicies", "get list watch"],
  ["oomscope.dev", "memoryinvestigations/status", "get patch"],
  ["oomscope.dev", "memorypolicies/status", "get patch"],
  ["oomscope.dev", "clustermemorypolicies/status", "get patch"],
];

/** In the operator's own namespace. */
export const OWN_RIGHTS: readonly Right[] = [
  ["coordination.k8s.io", "leases", "create"],
  ["coordination.k8s.io", "leases", "get update", "oomscope-operator"],
  ["", "secrets", "get patch", "oomscope-evidence-tls"],
];

/** In the collectors' namespace. */
export const COLLECTOR_RIGHTS: readonly Right[] = [["batch", "jobs", "create delete"]];

/** In a namespace where the operator is to change workloads: the ClusterRole oomscope-mitigation, which nobody has until an admin binds it. */
export const MITIGATION_RIGHTS: readonly Right[] = [
  ["apps", "deployments", "patch"],
  ["apps", "statefulsets", "patch"],
  ["apps", "daemonsets", "patch"],
  ["apps", "controllerrevisions", "get"],
  ["autoscaling", "horizontalpodautoscalers", "get patch"],
  ["", "configmaps", "get patch"],
  ["", "pods/resize", "patch"],
];

/** What a person needs for all commands that speak to a cluster, in a namespace. */
export const PERSON_RIGHTS: readonly Right[] = [["oomscope.dev", "memoryinvestigations", "get list create patch"]];

interface Account {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The rights that are missing, as `patch deployments.apps`. Throws ApiError, Forbidden where the caller may not ask for somebody else.
 * @param account undefined: the caller's own
 * @param namespace undefined: in all of them
 */
export async function missingRights(
  api: Api,
  account: Account | undefined,
  rights: readonly Right[],
  namespace?: string,
): Promise<string[]> {
  const asked = rights.flatMap(([group, resource, verbs, name]) =>
    verbs.split(" ").map((verb) => ({ group, resource, verb, name })),
  );
  const answers = await Promise.all(asked.map((one) => isAllowed(api, account, one, namespace)));
  return asked
    .filter((_, i) => answers[i] !== true)
    .map(({ verb, resource, group }) => rightText(verb, resource, group));
}

function rightText(verb: string, resource: string, group: string): string {
  const [plural = "", subresource] = resource.split("/");
  const full = group === "" ? plural : `${plural}.${group}`;
  return `${verb} ${full}${subresource === undefined ? "" : `/${subresource}`}`;
}

async function isAllowed(
  api: Api,
  account: Account | undefined,
  asked: {
    readonly group: string;
    readonly resource: string;
    readonly verb: string;
    readonly name: string | undefined;
  },
  namespace: string | undefined,
): Promise<boolean> {
  const [resource, subresource] = asked.resource.split("/");
  const resourceAttributes = {
    group: asked.group,
    resource,
    verb: asked.verb,
    ...(subresource === undefined ? {} : { subresource }),
    ...(asked.name === undefined ? {} : { name: asked.name }),
    ...(namespace === undefined ? {} : { namespace }),
  };
  const [kind, who] =
    account === undefined
      ? [selfsubjectaccessreviews, {}]
      : [
          subjectaccessreviews,
          {
            user: `system:serviceaccount:${account.namespace}:${account.name}`,
            groups: ["system:serviceaccounts", `system:serviceaccounts:${account.namespace}`, "system:authenticated"],
          },
        ];
  const spec = { ...who, resourceAttributes };
  const { status } = await api.createReview<{ status?: { allowed?: boolean } }>(kind, { spec });
  return status?.allowed === true;
}
