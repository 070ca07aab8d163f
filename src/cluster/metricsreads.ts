/** What do containers and nodes use now, as metrics.k8s.io tells it? It stands behind the API server and may be absent, slow or wrong: nothing here waits long or is believed blindly. */
import { quantityBytes } from "../api/fields.ts";
import type { Api, ApiObject } from "./api.ts";
import { ApiError } from "./errors.ts";
import { nodemetrics, podmetrics, type Resource } from "./resources.ts";

export interface PodUsage {
  readonly namespace: string;
  readonly name: string;
  /** When it was measured, in milliseconds since the epoch. */
  readonly atMs: number;
  /** Working set of each container in bytes. */
  readonly containers: readonly { readonly name: string; readonly bytes: number }[];
}

export interface NodeUsage {
  readonly name: string;
  readonly atMs: number;
  /** Working set of the whole node in bytes. */
  readonly bytes: number;
}

const TIMEOUT_MS = 10_000;

/** PodMetrics as the API server gives it; undefined for what is none. */
export function podUsage(raw: unknown): PodUsage | undefined {
  const { metadata, timestamp, containers } = asRecord(raw);
  const { name, namespace } = asRecord(metadata);
  const atMs = timeOf(timestamp);
  if (typeof name !== "string" || typeof namespace !== "string" || atMs === undefined) return undefined;
  const listed: readonly unknown[] = Array.isArray(containers) ? containers : [];
  return {
    namespace,
    name,
    atMs,
    containers: listed.flatMap((one) => {
      const { name: container, usage } = asRecord(one);
      const bytes = memoryOf(usage);
      return typeof container === "string" && bytes !== undefined ? [{ name: container, bytes }] : [];
    }),
  };
}

/** NodeMetrics as the API server gives it; undefined for what is none. */
export function nodeUsage(raw: unknown): NodeUsage | undefined {
  const { metadata, timestamp, usage } = asRecord(raw);
  const { name } = asRecord(metadata);
  const atMs = timeOf(timestamp);
  const bytes = memoryOf(usage);
  return typeof name !== "string" || atMs === undefined || bytes === undefined ? undefined : { name, atMs, bytes };
}

/** Readings of all pods of these namespaces; undefined: of all namespaces. Throws ApiError. */
export function readPodUsage(api: Api, namespaces: readonly string[] | undefined): AsyncGenerator<PodUsage> {
  return read(api, podmetrics, namespaces ?? [undefined], podUsage);
}

/** Readings of all nodes. Throws ApiError. */
export function readNodeUsage(api: Api): AsyncGenerator<NodeUsage> {
  return read(api, nodemetrics, [undefined], nodeUsage);
}

async function* read<T>(
  api: Api,
  resource: Resource,
  namespaces: readonly (string | undefined)[],
  parse: (raw: ApiObject) => T | undefined,
): AsyncGenerator<T> {
  for (const namespace of namespaces) {
    const where = namespace === undefined ? {} : { namespace };
    for await (const page of api.list(resource, { ...where, timeoutMs: TIMEOUT_MS, once: true })) {
      for (const item of page.items) {
        const usage = parse(item);
        if (usage !== undefined) yield usage;
      }
    }
  }
}

/** Why the readings could not be had, in a sentence for people that says what to do. */
export function metricsProblem(error: unknown): string {
  const { reason, message } = error instanceof ApiError ? error : { reason: "Unknown", message: String(error) };
  switch (reason) {
    case "NotFound":
      return "the cluster has no metrics API (metrics.k8s.io); install metrics-server";
    case "Forbidden":
      return "the operator may not read metrics.k8s.io; compare its ClusterRole with config/rbac";
    default:
      return `metrics.k8s.io does not answer (${reason}: ${message.slice(0, 200)})`;
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function timeOf(value: unknown): number | undefined {
  const time = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

function memoryOf(usage: unknown): number | undefined {
  const { memory } = asRecord(usage);
  return typeof memory === "string" ? quantityBytes(memory) : undefined;
}
