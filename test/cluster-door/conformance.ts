/**
 * What does the API server answer to the writes that we make, and to those that we must not make? Each row is read by the same code that the operator
 * uses. The rows are asked of a real server (conformance.integration.test.ts), so one that answers differently shows here first, and of the model of
 * it that the deterministic world runs on (test/world/model.test.ts), so the model cannot be kinder than the truth.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { configmaps, jobs, leases, namespaces, pods, secrets, services } from "../../src/cluster/resources.ts";
import { objectLife } from "./conformancelife.ts";
import { reads, watches } from "./conformancereads.ts";
import {
  aBudget,
  aConfigMap,
  aPod,
  address,
  api,
  apiOf,
  changed,
  failure,
  fresh,
  type Ground,
  ground,
  NAMESPACE,
  other,
  OTHER_UID,
  reason,
  standOn,
  widgets,
} from "./ground.ts";

/** Declares the tests of all rows, for one server. */
export function conformance(open: () => Promise<Ground>): void {
  beforeAll(async () => standOn(await open()));
  afterAll(() => ground?.stop());
  describe("server-side apply", serverSideApply);
  describe("merge patch", mergePatches);
  describe("JSON patch", jsonPatches);
  describe("create, replace and remove", createReplaceRemove);
  describe("the life of an object", objectLife);
  describe("eviction", eviction);
  describe("limits and permissions", limits);
  describe("reads", reads);
  describe("watches", watches);
}

function serverSideApply(): void {
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

  test("that gives a field up removes it, with what is left empty by that", async () => {
    const where = fresh();
    await api.apply(configmaps, { metadata: { ...where, labels: { kept: "yes" } }, data: { a: "1", b: "2" } });
    const less = await api.apply(configmaps, { metadata: { ...where, labels: { kept: "yes" } }, data: { a: "1" } });
    expect(less["data"]).toEqual({ a: "1" });
    const none = await api.apply(configmaps, { metadata: { ...where, labels: { kept: "yes" } } });
    expect(none["data"]).toBeUndefined();
    expect(none.metadata.labels).toEqual({ kept: "yes" });
  });

  test("of what stands there already writes nothing", async () => {
    const made = await api.apply(configmaps, { metadata: fresh(), data: { a: "1" } });
    const again = await api.apply(configmaps, { metadata: address(made), data: { a: "1" } });
    expect(again.metadata.resourceVersion).toBe(made.metadata.resourceVersion);
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
}

function mergePatches(): void {
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
}

function jsonPatches(): void {
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
}

function createReplaceRemove(): void {
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
}

function eviction(): void {
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
}

function limits(): void {
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
    expect(await reason(apiOf(ground.powerless).get(secrets, fresh()))).toBe("Forbidden");
    expect(await reason(apiOf(ground.unknown).get(secrets, fresh()))).toBe("Unauthorized");
  });

  test("an unknown kind is NotFound", async () => {
    expect(await reason(api.get({ ...widgets, plural: "gadgets" }, fresh()))).toBe("NotFound");
  });
}
