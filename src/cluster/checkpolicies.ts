/** May the operator do what it is there for, and what the policies want of it? Asked of the API server, account by account. */
import type { ClusterMemoryPolicySpec, Mode } from "../api/memorypolicy.ts";
import type { PolicyView } from "../incident/observation.ts";
import { selects } from "../incident/policy.ts";
import type { Api, ApiObject } from "./api.ts";
import type { Answer, Patient } from "./checkup.ts";
import { clustermemorypolicies, memorypolicies, namespaces, type Resource } from "./resources.ts";
import {
  COLLECTOR_RIGHTS,
  missingRights,
  MITIGATION_RIGHTS,
  OPERATOR_RIGHTS,
  OWN_RIGHTS,
  PERSON_RIGHTS,
} from "./rights.ts";
import { projectPolicy } from "./watches.ts";

/** Namespaces whose rights are asked for; each costs a handful of questions. */
const MAX_NAMESPACES = 50;
const MAX_NAMED = 5;

export async function personRights({ api, namespace }: Patient): Promise<Answer> {
  const missing = await missingRights(api, undefined, PERSON_RIGHTS, namespace);
  if (missing.length === 0)
    return { level: "Ok", says: `you may read, open and answer investigations in namespace ${namespace}` };
  return {
    level: "Warning",
    says: `you may not ${missing.join(", ")} in namespace ${namespace}`,
    advice: "The roles view and edit have these rights once oomscope is installed; or name another namespace with -n",
  };
}

function accountOf({ installation }: Patient): { readonly namespace: string; readonly name: string } {
  const { spec } = installation.deployment as {
    spec?: { template?: { spec?: { serviceAccountName?: string } } };
  };
  return { namespace: installation.namespace, name: spec?.template?.spec?.serviceAccountName ?? "default" };
}

export async function operatorRights(patient: Patient): Promise<Answer> {
  const { api, installation, collectors } = patient;
  const account = accountOf(patient);
  const [everywhere, own, jobs] = await Promise.all([
    missingRights(api, account, OPERATOR_RIGHTS),
    missingRights(api, account, OWN_RIGHTS, installation.namespace),
    missingRights(api, account, COLLECTOR_RIGHTS, collectors),
  ]);
  const missing = [
    ...everywhere.map((right) => `${right} in all namespaces`),
    ...own.map((right) => `${right} in ${installation.namespace}`),
    ...jobs.map((right) => `${right} in ${collectors}`),
  ];
  const who = `ServiceAccount ${account.namespace}/${account.name}`;
  if (missing.length === 0) return { level: "Ok", says: `${who} has all that it needs` };
  const told = missing.slice(0, MAX_NAMED).join(", ");
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : "";
  return {
    level: "Problem",
    says: `${who} may not ${told}${more}`,
    advice: "kubectl apply --server-side -k config/default",
  };
}

export async function policiesThere({ api }: Patient): Promise<Answer> {
  const { policies, unread } = await readPolicies(api);
  if (unread.length > 0)
    return {
      level: "Problem",
      says: unread.join("; "),
      advice: "Correct the policy: kubectl explain memorypolicy.spec",
    };
  if (policies.length === 0)
    return {
      level: "Warning",
      says: "there is none, so no kill opens an investigation",
      advice: "kubectl apply --server-side -k config/policies",
    };
  const count = (mode: Mode): number => policies.filter(({ spec }) => spec.mode === mode).length;
  const modes = (["Observe", "Recommend", "Enforce"] as const).map((mode) => `${count(mode)} in ${mode}`);
  return { level: "Ok", says: `${policies.length}: ${modes.join(", ")}` };
}

/** Where a policy wants workloads to be changed, somebody must have given leave to change them. */
export async function mitigationBound(patient: Patient): Promise<Answer> {
  const { api } = patient;
  const { policies } = await readPolicies(api);
  const wanting = policies.filter(({ spec }) => spec.mode !== "Observe" && (spec.mitigate ?? []).length > 0);
  if (wanting.length === 0) return { level: "Ok", says: "no policy wants workloads to be changed" };
  const account = accountOf(patient);
  if ((await missingRights(api, account, MITIGATION_RIGHTS)).length === 0)
    return { level: "Ok", says: "workloads may be changed in all namespaces" };
  const places = new Map<string, Mode>();
  for (const policy of wanting)
    for (const namespace of await namespacesFor(patient, policy))
      if (places.get(namespace) !== "Enforce") places.set(namespace, policy.spec.mode);
  const asked = [...places].slice(0, MAX_NAMESPACES);
  const lacking: [string, Mode][] = [];
  for (const [namespace, mode] of asked)
    if ((await missingRights(api, account, MITIGATION_RIGHTS, namespace)).length > 0) lacking.push([namespace, mode]);
  const unasked =
    places.size > asked.length ? `; only ${asked.length} of ${places.size} namespaces were asked about` : "";
  const [first] = lacking;
  if (first === undefined)
    return {
      level: "Ok",
      says: `workloads may be changed in ${asked
        .map(([name]) => name)
        .slice(0, MAX_NAMED)
        .join(", ")}${unasked}`,
    };
  const enforced = lacking.filter(([, mode]) => mode === "Enforce").map(([name]) => name);
  const names = (enforced.length > 0 ? enforced : lacking.map(([name]) => name)).slice(0, MAX_NAMED);
  return {
    level: enforced.length > 0 ? "Problem" : "Warning",
    says: `a policy ${enforced.length > 0 ? "in Enforce" : "in Recommend"} names actions, but no workload may be changed in ${names.join(", ")}: they end as refused${unasked}`,
    advice: `kubectl -n ${names[0] ?? first[0]} create rolebinding oomscope-mitigation --clusterrole=oomscope-mitigation --serviceaccount=${account.namespace}:${account.name}`,
  };
}

async function namespacesFor({ api, exempt }: Patient, policy: PolicyView): Promise<string[]> {
  if (policy.kind === "MemoryPolicy") return [policy.namespace ?? ""];
  const { namespaceSelector } = policy.spec as ClusterMemoryPolicySpec;
  const all = await listed(api, namespaces);
  return all
    .filter(({ metadata }) =>
      namespaceSelector === undefined
        ? !exempt.includes(metadata.name ?? "")
        : selects(namespaceSelector, metadata.labels ?? {}),
    )
    .map(({ metadata }) => metadata.name ?? "");
}

async function readPolicies(api: Api): Promise<{ readonly policies: PolicyView[]; readonly unread: string[] }> {
  const unread: string[] = [];
  const warnings = {
    warn: ({ kind, name, problem }: Readonly<Record<string, unknown>>) =>
      void unread.push(`${String(kind)} ${String(name)} is not understood (${String(problem)})`),
  };
  const [own, cluster] = await Promise.all([listed(api, memorypolicies), listed(api, clustermemorypolicies)]);
  const policies = [
    ...own.flatMap((raw) => projectPolicy(raw, "MemoryPolicy", warnings) ?? []),
    ...cluster.flatMap((raw) => projectPolicy(raw, "ClusterMemoryPolicy", warnings) ?? []),
  ];
  return { policies, unread };
}

async function listed(api: Api, resource: Resource): Promise<ApiObject[]> {
  const items: ApiObject[] = [];
  for await (const page of api.list(resource)) items.push(...page.items);
  return items;
}
