/**
 * One snapshot of a workload: from the watches, with our own writes laid over them, and with live reads of what the next decision
 * may take away from somebody.
 */
import type { Finding, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { ComparisonQuestion, ValidationCheck } from "../api/validation.ts";
import type { PolicyStatus } from "../api/memorypolicy.ts";
import { endedAt } from "../incident/intake.ts";
import {
  keyText,
  type JobView,
  type ArchiveView,
  type KernelVictim,
  type Observation,
  type PastMitigation,
  type PodView,
  type PolicyView,
  type Refused,
  type SessionView,
  type Surroundings,
  type WorkloadKey,
} from "../incident/observation.ts";
import { policyIdentity } from "../incident/budgetguards.ts";
import { takenUp, underWay } from "../incident/mitigation.ts";
import { effectivePolicy, namedPolicy, policyFor, type PolicyQuestion } from "../incident/policy.ts";
import type { Alarm } from "../incident/triggers.ts";
import { PRESERVED_LABEL } from "../incident/preservation.ts";
import { comparisonOf, validating } from "../incident/validation.ts";
import { askedUndo } from "../incident/undo.ts";
import { durationMs } from "../api/fields.ts";
import type { Api } from "./api.ts";
import type { Store, Tracked } from "./store.ts";
import { readSurroundings } from "./surroundings.ts";
import type { BesideQuestion } from "./beside.ts";
import { readTargetState } from "./targetstate.ts";
import { podsOf, replicaSetsOf, targetOf, type WorkloadStores } from "./workloads.ts";

export interface TrackedInvestigation extends Tracked {
  readonly investigation: MemoryInvestigation;
}

export interface NamespaceView extends Tracked {
  readonly labels: Readonly<Record<string, string>>;
}

export interface TrackedPolicy extends PolicyView, Tracked {
  readonly namespace: string;
  /** As it was last seen. */
  readonly status: PolicyStatus;
}

export interface NodeView extends Tracked {
  readonly ready: boolean;
  /** Its memory; absent when it has not said so. */
  readonly capacityBytes?: number;
  /** Cordoned. */
  readonly unschedulable: boolean;
  /** Only keys of ours (`oomscope.dev/…`). */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Stores extends WorkloadStores {
  readonly collectionJobs: Store<JobView & Tracked>;
  readonly nodes: Store<NodeView>;
  readonly namespaces: Store<NamespaceView>;
  readonly policies: Store<TrackedPolicy>;
  readonly clusterPolicies: Store<TrackedPolicy>;
}

/** What the evidence side knows; all of it without waiting. */
export interface EvidenceView {
  session(collection: string): SessionView | undefined;
  /** The finding of a collection that has ended; reading the pack begins with the first call. */
  finding(collection: string, workload: WorkloadKey): Finding | undefined;
  victims(collection: string): readonly KernelVictim[];
  /** How the second collection compares with the first; undefined while the packs are read, which begins with the first call. */
  comparison(question: ComparisonQuestion, workload: WorkloadKey): readonly ValidationCheck[] | undefined;
  /** Undefined where packs lie in the directory only, and for a pack that is not known here any more. */
  archive(collection: string): ArchiveView | undefined;
}

export interface ObserveOptions {
  readonly api: Api;
  readonly stores: Stores;
  readonly investigations: (namespace?: string) => readonly TrackedInvestigation[];
  readonly evidence: EvidenceView;
  readonly collectorNamespace: string;
  readonly exemptNamespaces: readonly string[];
  /** When the operator before this one was last alive; undefined on a fresh install. */
  readonly previousLife: () => Date | undefined;
  readonly startedAt: Date;
  readonly epoch: () => number;
  readonly settled: ReadonlySet<string>;
  readonly refused: (investigationUid: string) => Refused | undefined;
  /** What the workload's readings call for; absent where nobody reads them. */
  readonly alarm?: (key: WorkloadKey) => Alarm | undefined;
  /** A person asks what would be done: everything that a preservation or a mitigation rests on is read, whether or not one is due. */
  readonly asked?: boolean;
}

/** What a predecessor saw last may not have been handled any more when it died: this much is looked at again. */
const OVERLAP_MS = 10 * 60_000;
/** Each is a read in every pass of a mitigation; a policy names one. */
const MAX_CONFIG_MAPS = 8;
const NOTHING: Surroundings = { exclusiveClaims: [], usageBytes: {} };

export async function observe(key: WorkloadKey, options: ObserveOptions): Promise<Observation> {
  const { stores, api } = options;
  const investigations = options
    .investigations(key.namespace)
    .map((entry) => entry.investigation)
    .filter((i) => i.spec.targetRef.kind === key.kind && i.spec.targetRef.name === key.name)
    .toSorted((a, b) => created(a).localeCompare(created(b)) || a.metadata.name.localeCompare(b.metadata.name));
  const target = targetOf(key, stores);
  const replicaSets = replicaSetsOf(key, target, stores);
  const pods = podsOf(key, target, replicaSets, stores, new Set(investigations.map((i) => i.metadata.uid)));
  const policies = policiesFor(key, pods, options);
  const collections = investigations.filter(stillCollects).flatMap((i) => i.status?.collections ?? []);
  const acting = investigations.filter((i) => mayMitigate(i, policies));
  const mitigating = options.asked === true || acting.length > 0;
  const alarm = options.alarm?.(key);
  const beside = besideOf(acting, policies, options.asked === true ? [policies.effective] : []);
  const targetState = mitigating ? await readTargetState(api, key, beside) : undefined;

  return {
    key,
    target,
    pods,
    replicaSets,
    investigations,
    policy: policies.effective,
    namedPolicies: policies.named,
    jobs: Object.fromEntries(
      collections.flatMap(({ job }) => pair(job, stores.collectionJobs.get(options.collectorNamespace, job))),
    ),
    collectorPods: collectorPods(
      collections.map((c) => c.job),
      options,
    ),
    sessions: Object.fromEntries(collections.flatMap(({ id }) => pair(id, options.evidence.session(id)))),
    archives: Object.fromEntries(
      investigations
        .flatMap((i) => i.status?.collections ?? [])
        .flatMap(({ id }) => pair(id, options.evidence.archive(id))),
    ),
    findings: Object.fromEntries(
      collections
        .filter((c) => c.state !== "Intended")
        .flatMap(({ id }) => pair(id, hasEnded(id, collections) ? options.evidence.finding(id, key) : undefined)),
    ),
    comparisons: Object.fromEntries(
      investigations.flatMap((i) => {
        const question = comparisonOf(i);
        return question === undefined ? [] : pair(question.after, options.evidence.comparison(question, key));
      }),
    ),
    kernelVictims: Object.fromEntries(collections.map(({ id }) => [id, options.evidence.victims(id)])),
    nodes: Object.fromEntries([...stores.nodes.list()].map((node) => [node.name, node])),
    surroundings:
      options.asked === true || investigations.some(mayPreserve)
        ? await readSurroundings(
            api,
            key.namespace,
            pods,
            replicaSets,
            options.asked === true || investigations.some(choosesPod),
          )
        : NOTHING,
    ...(targetState === undefined ? {} : { targetState }),
    mitigated: mitigating ? pastMitigations(options) : [],
    begun: mitigating ? options.investigations().map(({ investigation }) => created(investigation)) : [],
    horizon: horizon(policies.effective, options),
    active: countActive(policies.effective, key.namespace, options),
    epoch: options.epoch(),
    ...(alarm === undefined ? {} : { alarm }),
    settled: options.settled,
    refused: Object.fromEntries(investigations.flatMap((i) => pair(i.metadata.uid, options.refused(i.metadata.uid)))),
  };
}

function pair<T>(name: string, value: T | undefined): [string, T][] {
  return value === undefined ? [] : [[name, value]];
}

function created(investigation: MemoryInvestigation): string {
  return investigation.metadata.creationTimestamp ?? "";
}

/** Its Jobs and packs still matter to a decision. */
function stillCollects(investigation: MemoryInvestigation): boolean {
  return endedAt(investigation) === undefined || investigation.metadata.deletionTimestamp !== undefined;
}

/** A pod may be taken for it in the next step, so what stands around the pods must be known. */
function mayPreserve(investigation: MemoryInvestigation): boolean {
  const { status, metadata } = investigation;
  if (metadata.deletionTimestamp !== undefined || endedAt(investigation) !== undefined) return false;
  return status?.preserved === undefined || status.preserved.state === "Intended";
}

function choosesPod(investigation: MemoryInvestigation): boolean {
  return mayPreserve(investigation) && investigation.status?.preserved === undefined;
}

/** The workload may be changed for it in the next step, or a change is followed to its end. */
function mayMitigate(
  investigation: MemoryInvestigation,
  { effective, named }: { effective: Observation["policy"]; named: Observation["namedPolicies"] },
): boolean {
  const { status, metadata } = investigation;
  if (metadata.deletionTimestamp !== undefined) return false;
  if (underWay(investigation) !== undefined || validating(investigation) || askedUndo(investigation) !== undefined)
    return true;
  if (endedAt(investigation) !== undefined && !takenUp(investigation)) return false;
  const policy = policyFor({ policy: effective, namedPolicies: named }, investigation);
  if ("problem" in policy || policy.mode === "Observe" || (policy.spec.mitigate ?? []).length === 0) return false;
  const collections = status?.collections ?? [];
  return status?.finding !== undefined || collections.some((c) => hasEnded(c.id, collections));
}

/** What else than the workload itself an action of the policy, or one that has been done, looks at. */
function besideOf(
  investigations: readonly MemoryInvestigation[],
  { effective, named }: { effective: Observation["policy"]; named: Observation["namedPolicies"] },
  also: readonly Observation["policy"][],
): BesideQuestion {
  const own = investigations.map((one) => policyFor({ policy: effective, namedPolicies: named }, one));
  const policies = [...own, ...also];
  const entries = policies.flatMap((policy) => ("problem" in policy ? [] : (policy.spec.mitigate ?? [])));
  const throttles = entries.flatMap(({ throttle }) => throttle ?? []);
  const changes = investigations.flatMap((i) => (i.status?.mitigations ?? []).flatMap((m) => m.changes ?? []));
  const configMaps = [
    ...throttles.flatMap(({ configMap }) => configMap?.name ?? []),
    ...changes.flatMap(({ kind, name }) => (kind === "ConfigMap" ? [name] : [])),
  ];
  return {
    configMaps: [...new Set(configMaps)].slice(0, MAX_CONFIG_MAPS),
    autoscalers:
      throttles.some(({ replicas }) => replicas !== undefined) ||
      changes.some(({ kind }) => kind === "HorizontalPodAutoscaler"),
  };
}

/** What was intended in the whole cluster, from status: budgets are counted from nothing else. */
function pastMitigations({ investigations }: ObserveOptions): PastMitigation[] {
  return investigations().flatMap(({ investigation: { metadata, spec, status } }) =>
    (status?.mitigations ?? []).flatMap((record) => {
      if (record.intended === undefined || status?.policy === undefined) return [];
      const namespace = metadata.namespace ?? "";
      const { kind, name } = spec.targetRef;
      return [
        {
          investigationUid: metadata.uid,
          workload: keyText({ namespace, kind, name }),
          policy: policyIdentity(status.policy, namespace),
          action: record.action,
          intended: record.intended,
        },
      ];
    }),
  );
}

/** Only what status says has ended is read: until then the last look at the surroundings may still be on its way. */
function hasEnded(id: string, collections: readonly { id: string; state: string }[]): boolean {
  const state = collections.find((c) => c.id === id)?.state;
  return state === "Complete" || state === "Partial";
}

function collectorPods(jobs: readonly string[], options: ObserveOptions): Record<string, PodView[]> {
  const wanted = new Set(jobs);
  const found: Record<string, PodView[]> = {};
  if (wanted.size === 0) return found;
  for (const pod of options.stores.pods.list(options.collectorNamespace)) {
    if (pod.ownerKind === "Job" && pod.ownerName !== undefined && wanted.has(pod.ownerName))
      (found[pod.ownerName] ??= []).push(pod);
  }
  return found;
}

/** By what policies are told to be for a workload or not: its namespace, and the labels of a pod that is still its own. */
export function policyQuestion(
  { namespace }: WorkloadKey,
  pods: readonly PodView[],
  { stores, exemptNamespaces }: Pick<ObserveOptions, "stores" | "exemptNamespaces">,
): PolicyQuestion {
  const sample = pods.find((pod) => pod.labels[PRESERVED_LABEL] === undefined) ?? pods[0];
  return {
    namespace,
    namespaceLabels: stores.namespaces.get("", namespace)?.labels ?? {},
    podLabels: sample?.labels ?? {},
    exempt: exemptNamespaces,
  };
}

function policiesFor(
  key: WorkloadKey,
  pods: readonly PodView[],
  options: ObserveOptions,
): { effective: Observation["policy"]; named: Observation["namedPolicies"] } {
  const { stores } = options;
  const all: PolicyView[] = [...stores.policies.list(key.namespace), ...stores.clusterPolicies.list()];
  const question = policyQuestion(key, pods, options);
  const effective = effectivePolicy(all, question);
  return {
    effective: effective ?? {
      problem: "NoPolicy",
      message: `No MemoryPolicy or ClusterMemoryPolicy selects this workload in namespace ${key.namespace}`,
    },
    named: Object.fromEntries(
      all.map((policy) => [`${policy.kind}/${policy.name}`, namedPolicy(policy, all, question)]),
    ),
  };
}

/**
 * From when on kills are news. What the last operator was alive for it has dealt with, but for its last minutes; on a fresh install
 * the policy's own window before the start counts, so that a workload in trouble is explained at once.
 */
function horizon(policy: Observation["policy"], { previousLife, startedAt }: ObserveOptions): string {
  const before = previousLife();
  const windowMs = "problem" in policy ? 0 : durationMs(policy.spec.triggers.oomKilled.within);
  const from = before === undefined ? startedAt.getTime() - windowMs : before.getTime() - OVERLAP_MS;
  return new Date(Math.min(from, startedAt.getTime())).toISOString().slice(0, 19) + "Z";
}

/**
 * Active investigations, but for those that only watch whether a mitigation helped: they would keep others from their place for an hour. One that has no
 * status yet may turn out to be under any policy, so it counts for each. A MemoryPolicy is that of one namespace: another of its name elsewhere has a
 * budget of its own.
 * @param namespace of the workload that is asked about
 */
export function countActive(
  policy: Observation["policy"] | { readonly kind: string; readonly name: string },
  namespace: string,
  { investigations }: Pick<ObserveOptions, "investigations">,
): { policy: number; cluster: number } {
  const active = investigations().filter(
    ({ investigation: i }) => endedAt(i) === undefined && !validating(i) && i.metadata.deletionTimestamp === undefined,
  );
  const under = active.filter(({ investigation: { metadata, status } }) => {
    if (!("problem" in policy) && policy.kind === "MemoryPolicy" && metadata.namespace !== namespace) return false;
    if (status?.policy === undefined) return true;
    return !("problem" in policy) && status.policy.kind === policy.kind && status.policy.name === policy.name;
  });
  return { policy: under.length, cluster: active.length };
}
