/** What do the rows of the conformance suite stand on? The server that they ask, and the few objects that they begin with. */
import { createApi, type Api, type ApiObject } from "../../src/cluster/api.ts";
import { ApiError } from "../../src/cluster/errors.ts";
import { configmaps, namespaces, poddisruptionbudgets, pods, type Resource } from "../../src/cluster/resources.ts";
import type { Transport } from "../../src/cluster/transport.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

/** A server to ask. */
export interface Ground {
  readonly transport: Transport;
  /** As somebody who may do nothing, and as somebody whom the server does not know. */
  readonly powerless: Transport;
  readonly unknown: Transport;
  stop(): Promise<void>;
}

export const NAMESPACE = "media";
export const OTHER_UID = "00000000-0000-4000-8000-000000000000";
export const widgets: Resource = {
  group: "test.oomscope.dev",
  version: "v1",
  plural: "widgets",
  kind: "Widget",
  namespaced: true,
};
const crds: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
  namespaced: false,
};

export let ground: Ground;
export let transport: Transport;
export let api: Api;
export let other: Api;
let count = 0;

export function apiOf(over: Transport, fieldManager = "oomscope"): Api {
  return createApi(over, { clock: systemClock, random: systemRandom, fieldManager });
}

/** Takes a server, and makes there what all rows need. */
export async function standOn(given: Ground): Promise<void> {
  ground = given;
  transport = ground.transport;
  api = apiOf(transport);
  other = apiOf(transport, "somebody-else");
  await api.create(namespaces, { metadata: { name: NAMESPACE } });
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  await api.create(crds, {
    metadata: { name: "widgets.test.oomscope.dev" },
    spec: {
      group: widgets.group,
      scope: "Namespaced",
      names: { plural: widgets.plural, singular: "widget", kind: widgets.kind },
      versions: [
        {
          name: widgets.version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: { type: "object", properties: { spec: open, status: open } } },
        },
      ],
    },
  });
  const served = async () =>
    (await transport.request({ method: "GET", path: "/apis/test.oomscope.dev/v1/widgets" })).status;
  for (let tries = 0; tries < 100 && (await served()) !== 200; tries++) await systemClock.sleep(100);
}

export function fresh(): { readonly namespace: string; readonly name: string } {
  return { namespace: NAMESPACE, name: `row-${++count}` };
}

export async function reason(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "ok",
    (error: unknown) => {
      if (error instanceof ApiError) return error.reason;
      throw error;
    },
  );
}

export async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await promise.then(
    () => new Error("It did not fail"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw error;
  return error;
}

export async function aConfigMap(data: Record<string, string> = { a: "1" }): Promise<ApiObject> {
  return api.create(configmaps, { metadata: { ...fresh(), labels: { app: "thumbnail" } }, data });
}

/** A ConfigMap and the resourceVersion that it no longer has. */
export async function changed(): Promise<{ readonly object: ApiObject; readonly stale: string }> {
  const made = await aConfigMap();
  const object = await other.mergePatch(configmaps, address(made), { data: { b: "2" } });
  return { object, stale: made.metadata.resourceVersion ?? "" };
}

export function address(object: ApiObject): { readonly namespace: string; readonly name: string } {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name ?? "" };
}

export async function aPod(labels: Record<string, string>): Promise<ApiObject> {
  const spec = { nodeName: "node-1", containers: [{ name: "main", image: "example.com/main:1" }] };
  const pod = await api.create(pods, { metadata: { ...fresh(), labels }, spec });
  const status = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };
  return api.mergePatch(pods, address(pod), { status }, { subresource: "status" });
}

export async function aBudget(labels: Record<string, string>): Promise<void> {
  await api.create(poddisruptionbudgets, {
    metadata: fresh(),
    spec: { minAvailable: 1, selector: { matchLabels: labels } },
  });
}
