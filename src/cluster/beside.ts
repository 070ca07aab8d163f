/** What stands beside a workload and may be changed instead of it: ConfigMaps that a policy names, and autoscalers of the workload. Read live. */
import type { AutoscalerView, Beside, ConfigMapView, WorkloadKey } from "../incident/observation.ts";
import type { Api, ApiObject } from "./api.ts";
import { isApiError } from "./errors.ts";
import { orGone } from "./leave.ts";
import type { RawMeta } from "./rawobjects.ts";
import { configmaps, horizontalpodautoscalers } from "./resources.ts";

export interface BesideQuestion {
  readonly configMaps: readonly string[];
  readonly autoscalers: boolean;
}

/** Throws when the API server does not answer; what may not be read is said in words. */
export async function readBeside(api: Api, key: WorkloadKey, asked: BesideQuestion): Promise<Beside> {
  const [maps, autoscalers] = await Promise.all([
    Promise.all(asked.configMaps.map(async (name) => [name, await readConfigMap(api, key.namespace, name)] as const)),
    asked.autoscalers ? readAutoscalers(api, key) : [],
  ]);
  return { configMaps: Object.fromEntries(maps), autoscalers };
}

async function readConfigMap(api: Api, namespace: string, name: string): Promise<Beside["configMaps"][string]> {
  try {
    const object = await orGone(api.get(configmaps, { namespace, name }));
    return object === undefined ? undefined : configMapView(object);
  } catch (error) {
    if (isApiError(error, "Forbidden", "TooLarge")) return { problem: error.message };
    throw error;
  }
}

export function configMapView(object: ApiObject): ConfigMapView {
  const { metadata, data, binaryData, immutable } = object as unknown as {
    metadata: RawMeta;
    data?: Readonly<Record<string, string>>;
    binaryData?: Readonly<Record<string, string>>;
    immutable?: boolean;
  };
  return {
    uid: metadata.uid ?? "",
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    immutable: immutable === true,
    deleting: metadata.deletionTimestamp !== undefined,
    data: data ?? {},
    binaryKeys: Object.keys(binaryData ?? {}),
  };
}

async function readAutoscalers(api: Api, { kind, namespace, name }: WorkloadKey): Promise<Beside["autoscalers"]> {
  const found: AutoscalerView[] = [];
  try {
    for await (const page of api.list(horizontalpodautoscalers, { namespace })) {
      for (const item of page.items) {
        const { scaleTargetRef } = (item["spec"] ?? {}) as { scaleTargetRef?: { kind?: string; name?: string } };
        if (scaleTargetRef?.kind === kind && scaleTargetRef.name === name) found.push(autoscalerView(item));
      }
    }
    return found;
  } catch (error) {
    if (isApiError(error, "Forbidden", "TooLarge")) return { problem: error.message };
    throw error;
  }
}

function autoscalerView(object: ApiObject): AutoscalerView {
  const { metadata, spec } = object as unknown as {
    metadata: RawMeta;
    spec?: { minReplicas?: number; maxReplicas?: number };
  };
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  return {
    name: metadata.name ?? "",
    uid: metadata.uid ?? "",
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    minReplicas: spec?.minReplicas ?? 1,
    maxReplicas: spec?.maxReplicas ?? 1,
    ...(owner === undefined ? {} : { controller: `${owner.kind} ${owner.name}` }),
  };
}
