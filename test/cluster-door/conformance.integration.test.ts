/**
 * What does the API server answer to the writes that we make, and to those that we must not make? Each row is asked of a real server and read by
 * the same code that the operator uses, so a server that answers differently shows here first.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Api, ApiObject } from "../../src/cluster/api.ts";
import { ApiError } from "../../src/cluster/errors.ts";
import {
  configmaps,
  jobs,
  leases,
  namespaces,
  pods,
  poddisruptionbudgets,
  secrets,
  services,
  type Resource,
} from "../../src/cluster/resources.ts";
import type { Transport } from "../../src/cluster/transport.ts";
import { createApi } from "../../src/cluster/api.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { startOwnServer, type OwnServer } from "./ownserver.ts";

const NAMESPACE = "media";
const OTHER_UID = "00000000-0000-4000-8000-000000000000";
const widgets: Resource = {
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

let server: OwnServer;
let transport: Transport;
let api: Api;
let other: Api;
let count = 0;

beforeAll(async () => {
  server = await startOwnServer();
  transport = server.transport();
  api = server.api;
  other = createApi(transport, { clock: systemClock, random: systemRandom, fieldManager: "somebody-else" });
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
});

afterAll(() => server?.stop());

function fresh(): { readonly namespace: string; readonly name: string } {
  return { namespace: NAMESPACE, name: `row-${++count}` };
}

async function reason(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "ok",
    (error: unknown) => {
      if (error instanceof ApiError) return error.reason;
      throw error;
    },
  );
}

async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await promise.then(
    () => new Error("It did not fail"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw error;
  return error;
}

async function aConfigMap(data: Record<string, string> = { a: "1" }): Promise<ApiObject> {
  return api.create(configmaps, { metadata: { ...fresh(), labels: { app: "thumbnail" } }, data });
}

/** A ConfigMap and the resourceVersion that it no longer has. */
async function changed(): Promise<{ readonly object: ApiObject; readonly stale: string }> {
  const made = await aConfigMap();
  const object = await other.mergePatch(configmaps, address(made), { data: { b: "2" } });
  return { object, stale: made.metadata.resourceVersion ?? "" };
}

function address(object: ApiObject): { readonly namespace: string; readonly name: string } {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name ?? "" };
}

async function aPod(labels: Record<string, string>): Promise<ApiObject> {
  const spec = { nodeName: "node-1", containers: [{ name: "main", image: "example.com/main:1" }] };
  const pod = await api.create(pods, { metadata: { ...fresh(), labels }, spec });
  const status = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };
  return api.mergePatch(pods, address(pod), { status }, { subresource: "status" });
}

async function aBudget(labels: Record<string, string>): Promise<void> {
  await api.create(poddisruptionbudgets, {
    metadata: fresh(),
    spec: { minAvailable: 1, selector: { matchLabels: labels } },
  });
}

describe("server-side apply", () => {
  test("creates a missing object when it carries no uid, even with a resourceVersion", async () => {
    const where = fresh();
    const made = await api.apply(configmaps, { metadata: { ...where, resourceVersion: "1" }, data: {} });
    expect(made.metadata.uid).toBeDefined();
  });

  test("of a missing pod with labels alone is Invalid", async () => {
    expect(await reason(api.apply(pods, { metadata: { ...fresh(), labels: { a: "b" } } }))).toBe("Invalid");
  });

  test("with the uid of a gone object is Replaced, and creates nothing", async () => {
    const where = fresh();
    expect(await reason(api.apply(configmaps, { metadata: { ...where, uid: OTHER_UID }, data: {} }))).toBe("Replaced");
    expect(await reason(api.get(configmaps, where))).toBe("NotFound");
  });

  test("with another uid than the object's is Replaced", async () => {
    const object = await aConfigMap();
    const error = await failure(api.apply(configmaps, { metadata: { ...address(object), uid: OTHER_UID }, data: {} }));
    expect([error.reason, error.status]).toEqual(["Replaced", 422]);
  });

  test.each([false, true])("with a stale resourceVersion is StaleRead, force=%s", async (force) => {
    const { object, stale } = await changed();
    const body = { metadata: { ...address(object), resourceVersion: stale }, data: { c: "3" } };
    expect(await reason(api.apply(configmaps, body, { force }))).toBe("StaleRead");
  });

  test("of another manager's field is a FieldConflict that names the field, and force takes it over", async () => {
    const where = fresh();
    await other.apply(configmaps, { metadata: where, data: { a: "theirs" } });
    const error = await failure(api.apply(configmaps, { metadata: where, data: { a: "ours" } }));
    expect(error.reason).toBe("FieldConflict");
    expect(error.causes.map((cause) => cause.field)).toEqual([".data.a"]);
    const taken = await api.apply(configmaps, { metadata: where, data: { a: "ours" } }, { force: true });
    expect(taken["data"]).toEqual({ a: "ours" });
  });

  test("without a label that another manager owns leaves the label where it is", async () => {
    const object = await other.create(configmaps, { metadata: { ...fresh(), labels: { app: "thumbnail" } } });
    const applied = await api.apply(configmaps, { metadata: { ...address(object), labels: { ours: "yes" } } });
    expect(applied.metadata.labels).toEqual({ app: "thumbnail", ours: "yes" });
  });

  test("of a value that another manager has set shares it, so giving it up does not remove it", async () => {
    const where = fresh();
    await other.apply(configmaps, { metadata: where, data: { a: "same" } });
    await api.apply(configmaps, { metadata: where, data: { a: "same" } });
    expect((await api.apply(configmaps, { metadata: where }))["data"]).toEqual({ a: "same" });
  });

  test("of the status of a missing object is NotFound", async () => {
    expect(await reason(api.applyStatus(widgets, { metadata: fresh(), status: { a: 1 } }))).toBe("NotFound");
  });

  test("of the status through the object itself, and of the spec through the status, is ignored in silence", async () => {
    const where = fresh();
    await api.create(widgets, { metadata: where, spec: { a: 1 } });
    const whole = await api.apply(widgets, { metadata: where, status: { seen: true } });
    expect(whole["status"]).toBeUndefined();
    const status = await api.applyStatus(widgets, { metadata: where, spec: { a: 2 }, status: { seen: true } });
    expect(status).toMatchObject({ spec: { a: 1 }, status: { seen: true } });
  });

  test("of the status with a stale resourceVersion is StaleRead", async () => {
    const made = await api.create(widgets, { metadata: fresh(), spec: {} });
    await other.applyStatus(widgets, { metadata: address(made), status: { a: 1 } });
    const body = {
      metadata: { ...address(made), resourceVersion: made.metadata.resourceVersion ?? "" },
      status: { b: 1 },
    };
    expect(await reason(api.applyStatus(widgets, body))).toBe("StaleRead");
  });

  test("runs under the field manager oomscope", async () => {
    const made = await api.apply(configmaps, { metadata: fresh(), data: { a: "1" } });
    const managed = (await api.get(configmaps, address(made))).metadata["managedFields"];
    expect(managed).toMatchObject([{ manager: "oomscope", operation: "Apply" }]);
  });
});

describe("merge patch", () => {
  test("removes a label of another manager with null, under uid and resourceVersion", async () => {
    const object = await aConfigMap();
    const { uid, resourceVersion } = object.metadata;
    const patch = { metadata: { uid, resourceVersion, labels: { app: null, "oomscope.dev/kept": "yes" } } };
    const patched = await api.mergePatch(configmaps, address(object), patch);
    expect(patched.metadata.labels).toEqual({ "oomscope.dev/kept": "yes" });
    // The same once more, as after a lost reply.
    expect(await reason(api.mergePatch(configmaps, address(object), patch))).toBe("StaleRead");
  });

  test("with another uid is Replaced", async () => {
    const object = await aConfigMap();
    expect(await reason(api.mergePatch(configmaps, address(object), { metadata: { uid: OTHER_UID } }))).toBe(
      "Replaced",
    );
  });

  test("of a missing object is NotFound", async () => {
    expect(await reason(api.mergePatch(configmaps, fresh(), { data: { a: "1" } }))).toBe("NotFound");
  });

  test("of a Lease without a resourceVersion steals it: never do that", async () => {
    const where = fresh();
    await api.create(leases, { metadata: where, spec: { holderIdentity: "a" } });
    const stolen = await other.mergePatch(leases, where, { spec: { holderIdentity: "thief" } });
    expect(stolen["spec"]).toMatchObject({ holderIdentity: "thief" });
  });
});

describe("JSON patch", () => {
  test("with a failing test is Invalid, without causes", async () => {
    const object = await aConfigMap();
    const error = await failure(
      api.jsonPatch(configmaps, address(object), [{ op: "test", path: "/data/a", value: "9" }]),
    );
    expect([error.reason, error.causes]).toEqual(["Invalid", []]);
  });

  test("replaces a missing key by adding it: replace guards nothing", async () => {
    const object = await aConfigMap();
    const patched = await api.jsonPatch(configmaps, address(object), [
      { op: "replace", path: "/data/new", value: "1" },
    ]);
    expect(patched["data"]).toEqual({ a: "1", new: "1" });
  });

  test("with a test of the uid that fails is Invalid and changes nothing", async () => {
    const object = await aConfigMap();
    const patch = [
      { op: "test", path: "/metadata/uid", value: OTHER_UID },
      { op: "add", path: "/data/b", value: "1" },
    ] as const;
    expect(await reason(api.jsonPatch(configmaps, address(object), patch))).toBe("Invalid");
    expect((await api.get(configmaps, address(object)))["data"]).toEqual({ a: "1" });
  });
});

describe("create, replace and remove", () => {
  test("a taken name is AlreadyExists", async () => {
    const object = await aConfigMap();
    expect(await reason(api.create(configmaps, { metadata: address(object) }))).toBe("AlreadyExists");
  });

  test("replace without a resourceVersion is Invalid for Leases and custom resources, and overwrites a ConfigMap", async () => {
    const where = fresh();
    await api.create(leases, { metadata: where, spec: {} });
    await api.create(widgets, { metadata: where, spec: {} });
    await api.create(configmaps, { metadata: where });
    expect(await reason(api.replace(leases, { metadata: where, spec: {} }))).toBe("Invalid");
    expect(await reason(api.replace(widgets, { metadata: where, spec: {} }))).toBe("Invalid");
    expect(await reason(api.replace(configmaps, { metadata: where }))).toBe("ok");
  });

  test("replace of a missing Lease creates it, but not with the uid of the old one", async () => {
    expect(await reason(api.replace(leases, { metadata: fresh(), spec: {} }))).toBe("ok");
    const gone = { metadata: { ...fresh(), uid: OTHER_UID, resourceVersion: "5" }, spec: {} };
    expect(await reason(api.replace(leases, gone))).toBe("Replaced");
  });

  test("a Lease's time needs six digits of a second", async () => {
    const lease = (renewTime: string) => api.create(leases, { metadata: fresh(), spec: { renewTime } });
    expect(await reason(lease("2026-01-01T00:00:00.123Z"))).toBe("Invalid");
    expect(await reason(lease("2026-01-01T00:00:00.123000Z"))).toBe("ok");
  });

  test("remove under another uid is Replaced, under another resourceVersion StaleRead", async () => {
    const { object, stale } = await changed();
    expect(await reason(api.remove(configmaps, address(object), { preconditions: { uid: OTHER_UID } }))).toBe(
      "Replaced",
    );
    expect(await reason(api.remove(configmaps, address(object), { preconditions: { resourceVersion: stale } }))).toBe(
      "StaleRead",
    );
    const { uid = "" } = object.metadata;
    expect(await reason(api.remove(configmaps, address(object), { preconditions: { uid } }))).toBe("ok");
    expect(await reason(api.remove(configmaps, address(object), { preconditions: { uid } }))).toBe("NotFound");
  });

  test("in a namespace that is being deleted is Terminating", async () => {
    const name = "going";
    await api.create(namespaces, { metadata: { name } });
    await api.create(configmaps, { metadata: { namespace: name, name: "held", finalizers: ["oomscope.dev/test"] } });
    await api.remove(namespaces, { name });
    expect(await reason(api.create(configmaps, { metadata: { namespace: name, name: "late" } }))).toBe("Terminating");
  });

  test("in a namespace that does not exist is NotFound", async () => {
    expect(await reason(api.create(configmaps, { metadata: { namespace: "nowhere", name: "a" } }))).toBe("NotFound");
  });

  test("a Job whose name is over 63 characters is Invalid, and its template cannot be changed", async () => {
    const spec = {
      backoffLimit: 0,
      template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "example.com/c:1" }] } },
    };
    const long = { namespace: NAMESPACE, name: "j".repeat(64) };
    expect(await reason(api.create(jobs, { metadata: long, spec }))).toBe("Invalid");
    const job = await api.create(jobs, { metadata: fresh(), spec });
    const patch = { spec: { template: { spec: { priorityClassName: "system-node-critical" } } } };
    expect(await reason(api.mergePatch(jobs, address(job), patch))).toBe("Invalid");
  });
});

describe("eviction", () => {
  test("under another uid is Replaced, under another resourceVersion StaleRead", async () => {
    const pod = await aPod({ evict: "preconditions" });
    expect(await reason(api.evict(address(pod), { uid: OTHER_UID }))).toBe("Replaced");
    expect(await reason(api.evict(address(pod), { resourceVersion: "1" }))).toBe("StaleRead");
  });

  test("against a budget that is not computed yet is DisruptionBudget, with patience asked for", async () => {
    const labels = { evict: "one-budget" };
    await aBudget(labels);
    const error = await failure(api.evict(address(await aPod(labels))));
    expect([error.reason, error.status, error.retryAfterMs]).toEqual(["DisruptionBudget", 429, 10_000]);
  });

  test("of a pod with two budgets is TwoDisruptionBudgets", async () => {
    const labels = { evict: "two-budgets" };
    await aBudget(labels);
    await aBudget(labels);
    const error = await failure(api.evict(address(await aPod(labels))));
    expect([error.reason, error.status]).toEqual(["TwoDisruptionBudgets", 500]);
  });

  test("of a missing pod is NotFound", async () => {
    expect(await reason(api.evict(fresh()))).toBe("NotFound");
  });
});

describe("limits and permissions", () => {
  test("an object that etcd finds too large, and a body that the server does, are TooLarge", async () => {
    const big = (bytes: number) => api.create(widgets, { metadata: fresh(), spec: { text: "x".repeat(bytes) } });
    const object = await failure(big(2 * 1024 * 1024));
    expect([object.reason, object.status]).toEqual(["TooLarge", 500]);
    const body = await failure(big(4 * 1024 * 1024));
    expect([body.reason, body.status]).toEqual(["TooLarge", 413]);
  });

  test("annotations over 256 KiB are Invalid", async () => {
    const annotations = { note: "x".repeat(300 * 1024) };
    expect(await reason(api.create(configmaps, { metadata: { ...fresh(), annotations } }))).toBe("Invalid");
  });

  test("an unknown field manager's name, selector or field is Invalid", async () => {
    const error = await failure(api.create(services, { metadata: fresh(), spec: { ports: [] } }));
    expect(error.reason).toBe("Invalid");
    expect(error.causes.length).toBeGreaterThan(0);
  });

  test("without a permission is Forbidden, with a wrong token Unauthorized", async () => {
    const as = (token: string): Api =>
      createApi(server.transport(token), { clock: systemClock, random: systemRandom, fieldManager: "oomscope" });
    expect(await reason(as(server.server.token("bob")).get(secrets, fresh()))).toBe("Forbidden");
    expect(await reason(as("nobody-s-token").get(secrets, fresh()))).toBe("Unauthorized");
  });

  test("an unknown kind is NotFound", async () => {
    expect(await reason(api.get({ ...widgets, plural: "gadgets" }, fresh()))).toBe("NotFound");
  });
});

describe("reads", () => {
  test("a version that is still to come is VersionTooLarge, with patience asked for", async () => {
    const query = { resourceVersion: "99999999", resourceVersionMatch: "NotOlderThan" };
    const { classify } = await import("../../src/cluster/errors.ts");
    const reply = await transport.request({ method: "GET", path: "/api/v1/configmaps", query });
    const error = classify(reply.status, reply.text, reply.headers);
    expect([error.reason, error.status, error.retryAfterMs]).toEqual(["VersionTooLarge", 504, 1_000]);
  });

  test("a list comes page by page, whole, with managedFields empty and all else as it is", async () => {
    const namespace = "paged";
    await api.create(namespaces, { metadata: { name: namespace } });
    for (let i = 0; i < 7; i++) {
      await api.create(configmaps, { metadata: { namespace, name: `c-${i}` }, data: { n: `{"${i}"}]` } });
    }
    const names: unknown[] = [];
    const sizes: number[] = [];
    for await (const page of api.list(configmaps, { namespace, limit: 3 })) {
      sizes.push(page.items.length);
      for (const item of page.items) names.push([item.metadata.name, item["data"], item.metadata["managedFields"]]);
    }
    expect(sizes).toEqual([3, 3, 1]);
    expect(names).toEqual(Array.from({ length: 7 }, (_, i) => [`c-${i}`, { n: `{"${i}"}]` }, []]));
  });

  test("a list that is longer than allowed is TooLarge, before it fills the memory", async () => {
    const all = async () => {
      for await (const page of api.list(configmaps, { namespace: "paged", limit: 3, maxItems: 5 })) void page;
    };
    expect(await reason(all())).toBe("TooLarge");
  });

  test("of a name that tries to leave its place is refused before anything is sent", async () => {
    for (const name of ["..", ".", "", "x".repeat(254)]) {
      await expect(api.get(configmaps, { namespace: NAMESPACE, name })).rejects.toThrow(TypeError);
    }
    // Escaped, so it is a name that does not exist and not a path into another namespace.
    expect(
      await reason(api.get(configmaps, { namespace: NAMESPACE, name: "../../kube-system/configmaps/x" })),
    ).not.toBe("ok");
  });
});
