/**
 * How does a workload stand whose template may be changed: its template, its revisions, how far its roll-out is, and which budgets
 * watch over its pods? Read live, because a decision to change it rests on it.
 */
import type { LabelSelector } from "../api/memorypolicy.ts";
import type { BudgetView, RevisionView, RolloutView, TargetState, WorkloadKey } from "../incident/observation.ts";
import { templateHash, type Json } from "../incident/templates.ts";
import type { Api, ApiObject } from "./api.ts";
import { readBeside, type BesideQuestion } from "./beside.ts";
import { isApiError } from "./errors.ts";
import { imagesOfTemplate } from "./projections.ts";
import {
  controllerrevisions,
  daemonsets,
  deployments,
  poddisruptionbudgets,
  replicasets,
  statefulsets,
  type Resource,
} from "./resources.ts";
import type { RawMeta } from "./rawobjects.ts";

/** The kinds that have a template, and revisions of it. */
export type TemplatedKind = TargetState["kind"];

export const TEMPLATED: Readonly<Record<TemplatedKind, Resource>> = {
  Deployment: deployments,
  StatefulSet: statefulsets,
  DaemonSet: daemonsets,
};

/** Which kind keeps the revisions of a workload. */
export function revisionResource(kind: TemplatedKind): Resource {
  return kind === "Deployment" ? replicasets : controllerrevisions;
}

export function isTemplated(kind: string): kind is TemplatedKind {
  return Object.hasOwn(TEMPLATED, kind);
}

interface RawRollout {
  readonly metadata: RawMeta;
  readonly spec?: {
    readonly replicas?: number;
    readonly paused?: boolean;
    readonly template?: Json;
    readonly strategy?: RawStrategy;
    readonly updateStrategy?: RawStrategy;
  };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly readyReplicas?: number;
    readonly availableReplicas?: number;
    readonly desiredNumberScheduled?: number;
    readonly currentNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberReady?: number;
    readonly numberAvailable?: number;
    readonly currentRevision?: string;
    readonly updateRevision?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

interface RawStrategy {
  readonly type?: string;
  readonly rollingUpdate?: {
    readonly maxUnavailable?: number | string;
    readonly maxSurge?: number | string;
    readonly partition?: number;
  };
}

/**
 * Undefined: there is no such workload. A problem: the operator may not read what it needs, in words.
 * Throws when the API server does not answer.
 */
export async function readTargetState(
  api: Api,
  key: WorkloadKey,
  asked: BesideQuestion = { configMaps: [], autoscalers: false },
): Promise<TargetState | { readonly problem: string } | undefined> {
  const { kind, namespace, name } = key;
  if (!isTemplated(kind)) return { problem: `a ${kind} has no template that could be changed` };
  try {
    const [object, records, budgets, beside] = await Promise.all([
      api.get(TEMPLATED[kind], { namespace, name }),
      listAll(api, revisionResource(kind), namespace),
      listAll(api, poddisruptionbudgets, namespace),
      asked.autoscalers || asked.configMaps.length > 0 ? readBeside(api, key, asked) : undefined,
    ]);
    const state = stateOf(kind, object, records, budgets);
    return beside === undefined ? state : { ...state, beside };
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    if (isApiError(error, "Forbidden", "TooLarge")) return { problem: error.message };
    throw error;
  }
}

async function listAll(api: Api, resource: Resource, namespace: string): Promise<ApiObject[]> {
  const items: ApiObject[] = [];
  for await (const page of api.list(resource, { namespace })) items.push(...page.items);
  return items;
}

/** The view of a workload and what belongs to it. Pure. */
export function stateOf(
  kind: TemplatedKind,
  object: ApiObject,
  records: readonly ApiObject[],
  budgets: readonly ApiObject[],
): TargetState {
  const raw = object as unknown as RawRollout;
  const { metadata, spec } = raw;
  const template = spec?.template ?? null;
  const uid = metadata.uid ?? "";
  return {
    uid,
    kind,
    name: metadata.name ?? "",
    resourceVersion: metadata.resourceVersion ?? "",
    generation: metadata.generation ?? 0,
    deleting: metadata.deletionTimestamp !== undefined,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    templateLabels: (template as { metadata?: RawMeta } | null)?.metadata?.labels ?? {},
    template,
    templateHash: templateHash(template),
    ...(kind === "DaemonSet" ? {} : { replicas: spec?.replicas ?? 1 }),
    rollout: kind === "DaemonSet" ? daemonRollout(raw) : replicatedRollout(kind, raw),
    revisions: records.flatMap((record) => revisionOf(record, uid) ?? []),
    budgets: budgets.map(budgetOf),
  };
}

const REVISION = "deployment.kubernetes.io/revision";
const CONTROLLER_HASH = "controller-revision-hash";

/** The revision in a ReplicaSet or ControllerRevision of this owner; undefined for somebody else's. */
function revisionOf(record: ApiObject, ownerUid: string): RevisionView | undefined {
  const { metadata, spec, data, revision } = record as unknown as {
    metadata: RawMeta;
    spec?: { template?: Json };
    data?: { spec?: { template?: Json } };
    revision?: number;
  };
  if (!(metadata.ownerReferences ?? []).some((o) => o.controller === true && o.uid === ownerUid)) return undefined;
  const template = spec?.template ?? data?.spec?.template;
  if (template === undefined || metadata.uid === undefined || metadata.name === undefined) return undefined;
  const annotated = Number(metadata.annotations?.[REVISION] ?? Number.NaN);
  const number = revision ?? (Number.isSafeInteger(annotated) ? annotated : undefined);
  const hash = metadata.labels?.[CONTROLLER_HASH];
  return {
    name: metadata.name,
    uid: metadata.uid,
    // Pods of a DaemonSet bear the hash alone, those of a StatefulSet the whole name.
    marks: hash === undefined ? [metadata.name] : [metadata.name, hash],
    ...(number === undefined ? {} : { number }),
    created: metadata.creationTimestamp ?? "",
    images: imagesOfTemplate(template),
    template,
    templateHash: templateHash(template),
  };
}

function budgetOf(object: ApiObject): BudgetView {
  const { metadata, spec, status } = object as unknown as {
    metadata: RawMeta;
    spec?: { selector?: LabelSelector };
    status?: { observedGeneration?: number; desiredHealthy?: number };
  };
  const computed = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 1);
  return {
    name: metadata.name ?? "",
    selector: spec?.selector ?? {},
    desiredHealthy: computed ? status?.desiredHealthy : undefined,
  };
}

function observed({ metadata, status }: RawRollout): boolean {
  return (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
}

/** A number of pods, or a percentage of them as the controllers round it. */
function podCount(value: number | string | undefined, of: number, round: (n: number) => number): number | undefined {
  if (typeof value === "number") return value;
  const percent = /^(\d{1,3})%$/.exec(value ?? "")?.[1];
  return percent === undefined ? undefined : round((of * Number(percent)) / 100);
}

function replicatedRollout(kind: "Deployment" | "StatefulSet", raw: RawRollout): RolloutView {
  const { spec, status } = raw;
  const desired = spec?.replicas ?? 1;
  const held = kind === "Deployment" ? heldDeployment(raw) : heldUpdates(spec?.updateStrategy);
  const progressing = status?.conditions?.find((c) => c.type === "Progressing");
  const stuck =
    progressing?.status === "False" && progressing.reason === "ProgressDeadlineExceeded"
      ? (progressing.message ?? "its progress deadline has passed")
      : undefined;
  return {
    observed: observed(raw),
    desired,
    updated: updatedOf(kind, status),
    total: status?.replicas ?? 0,
    ready: status?.readyReplicas ?? 0,
    available: status?.availableReplicas ?? 0,
    mayBeUnavailable:
      kind === "Deployment"
        ? deploymentUnavailable(spec?.strategy, desired)
        : setUnavailable(spec?.updateStrategy, desired),
    ...(held === undefined ? {} : { heldBy: held }),
    ...(stuck === undefined ? {} : { stuck }),
  };
}

/** A StatefulSet whose roll-out is over names no pods as updated: all are current. */
function updatedOf(kind: TemplatedKind, status: RawRollout["status"]): number {
  if (
    kind === "StatefulSet" &&
    status?.currentRevision !== undefined &&
    status.currentRevision === status.updateRevision
  )
    return status.replicas ?? 0;
  return status?.updatedReplicas ?? 0;
}

function heldDeployment({ spec }: RawRollout): string | undefined {
  return spec?.paused === true ? "spec.paused of the Deployment is true" : undefined;
}

function heldUpdates(strategy: RawStrategy | undefined): string | undefined {
  if (strategy?.type === "OnDelete") return "The update strategy is OnDelete: no pod would be replaced by itself";
  const partition = strategy?.rollingUpdate?.partition ?? 0;
  return partition > 0 ? `The update strategy has a partition of ${partition}` : undefined;
}

function deploymentUnavailable(strategy: RawStrategy | undefined, desired: number): number {
  if (strategy?.type === "Recreate") return desired;
  const unavailable = podCount(strategy?.rollingUpdate?.maxUnavailable ?? "25%", desired, Math.floor) ?? desired;
  const surge = podCount(strategy?.rollingUpdate?.maxSurge ?? "25%", desired, Math.ceil) ?? 0;
  // When both come to nothing the controller takes one pod away.
  return unavailable === 0 && surge === 0 ? 1 : unavailable;
}

function setUnavailable(strategy: RawStrategy | undefined, desired: number): number {
  const unavailable = podCount(strategy?.rollingUpdate?.maxUnavailable ?? 1, desired, Math.ceil) ?? desired;
  return Math.max(1, unavailable);
}

function daemonRollout(raw: RawRollout): RolloutView {
  const { spec, status } = raw;
  const desired = status?.desiredNumberScheduled ?? 0;
  const held = heldUpdates(spec?.updateStrategy);
  const surge = podCount(spec?.updateStrategy?.rollingUpdate?.maxSurge ?? 0, desired, Math.ceil) ?? 0;
  const updated = status?.updatedNumberScheduled ?? 0;
  return {
    observed: observed(raw),
    desired,
    updated,
    total: Math.max(updated, status?.currentNumberScheduled ?? 0),
    ready: status?.numberReady ?? 0,
    available: status?.numberAvailable ?? 0,
    mayBeUnavailable: surge > 0 ? 0 : setUnavailable(spec?.updateStrategy, desired),
    ...(held === undefined ? {} : { heldBy: held }),
  };
}
