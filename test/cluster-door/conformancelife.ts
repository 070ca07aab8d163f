/** How does an object live and die: generations, halves, writes that change nothing, finalizers and graceful ends. Rows of the suite in conformance.ts. */
import { expect, test } from "vitest";
import { configmaps, deployments, pods, poddisruptionbudgets } from "../../src/cluster/resources.ts";
import { aConfigMap, aPod, address, api, fresh, other, reason, widgets } from "./ground.ts";

const HELD = "oomscope.dev/test";

export function objectLife(): void {
  test("a write that changes nothing keeps the resourceVersion, one that does gives a new one", async () => {
    const object = await aConfigMap();
    const same = await api.mergePatch(configmaps, address(object), { data: { a: "1" } });
    expect(same.metadata.resourceVersion).toBe(object.metadata.resourceVersion);
    const changed = await api.mergePatch(configmaps, address(object), { data: { a: "2" } });
    expect(Number(changed.metadata.resourceVersion)).toBeGreaterThan(Number(object.metadata.resourceVersion));
  });

  test("the generation of a custom resource counts changes of its spec, not of status or metadata", async () => {
    const made = await api.create(widgets, { metadata: fresh(), spec: { a: 1 } });
    expect(made.metadata.generation).toBe(1);
    const where = address(made);
    expect((await api.applyStatus(widgets, { metadata: where, status: { a: 1 } })).metadata.generation).toBe(1);
    const labelled = await api.mergePatch(widgets, where, {
      metadata: { labels: { a: "b" }, annotations: { a: "b" } },
    });
    expect(labelled.metadata.generation).toBe(1);
    expect((await api.mergePatch(widgets, where, { spec: { a: 2 } })).metadata.generation).toBe(2);
  });

  test("the generation of a Deployment counts changes of its annotations too", async () => {
    const labels = { app: "generations" };
    const template = { metadata: { labels }, spec: { containers: [{ name: "c", image: "example.com/c:1" }] } };
    const made = await api.create(deployments, {
      metadata: fresh(),
      spec: { replicas: 0, selector: { matchLabels: labels }, template },
    });
    const where = address(made);
    expect((await api.mergePatch(deployments, where, { metadata: { labels } })).metadata.generation).toBe(1);
    const annotated = await api.mergePatch(deployments, where, { metadata: { annotations: { a: "b" } } });
    expect(annotated.metadata.generation).toBe(2);
    expect((await api.mergePatch(deployments, where, { spec: { replicas: 1 } })).metadata.generation).toBe(3);
    const status = { observedGeneration: 3 };
    const seen = await api.mergePatch(deployments, where, { status }, { subresource: "status" });
    expect([seen.metadata.generation, seen["status"]]).toEqual([3, expect.objectContaining(status)]);
  });

  test("the status of a new object is not taken from whoever makes it", async () => {
    const made = await api.create(widgets, { metadata: fresh(), spec: {}, status: { made: "up" } });
    expect(made["status"]).toBeUndefined();
    const pod = { spec: { containers: [{ name: "c", image: "example.com/c:1" }] }, status: { phase: "Running" } };
    expect(await api.create(pods, { metadata: fresh(), ...pod })).toMatchObject({ status: { phase: "Pending" } });
  });

  test("uid, creation time and generation cannot be written", async () => {
    const made = await api.create(widgets, { metadata: fresh(), spec: {} });
    const metadata = { creationTimestamp: "2001-01-01T00:00:00Z", generation: 99, annotations: { a: "b" } };
    const patched = await api.mergePatch(widgets, address(made), { metadata });
    const { uid, creationTimestamp, generation } = made.metadata;
    expect(patched.metadata).toMatchObject({ uid, creationTimestamp, generation });
  });

  test("a finalizer holds what is deleted, which goes when the last one is taken away", async () => {
    const made = await api.create(widgets, {
      metadata: { ...fresh(), finalizers: [HELD, "oomscope.dev/other"] },
      spec: {},
    });
    const where = address(made);
    await api.remove(widgets, where);
    const held = await api.get(widgets, where);
    expect(held.metadata.deletionTimestamp).toBeDefined();
    expect(held.metadata.generation).toBe(2);
    await api.remove(widgets, where);
    expect((await api.get(widgets, where)).metadata.resourceVersion).toBe(held.metadata.resourceVersion);
    expect(await reason(api.create(widgets, { metadata: where, spec: {} }))).toBe("AlreadyExists");
    const less = await api.mergePatch(widgets, where, { metadata: { finalizers: [HELD] } });
    expect(less.metadata["finalizers"]).toEqual([HELD]);
    const last = await other.mergePatch(widgets, where, { metadata: { finalizers: [] } });
    expect(last.metadata.uid).toBe(made.metadata.uid);
    expect(await reason(api.get(widgets, where))).toBe("NotFound");
  });

  test("a pod on a node that is deleted is marked, keeps its place, and goes when its kubelet says so", async () => {
    const pod = await aPod({ life: "graceful" });
    const where = address(pod);
    await api.remove(pods, where);
    const marked = await api.get(pods, where);
    expect(marked.metadata).toMatchObject({ deletionGracePeriodSeconds: 30, uid: pod.metadata.uid });
    expect(marked.metadata.deletionTimestamp).toBeDefined();
    const labelled = await api.mergePatch(pods, where, { metadata: { labels: { still: "there" } } });
    expect(labelled.metadata.labels).toMatchObject({ still: "there" });
    await api.remove(pods, where, { gracePeriodSeconds: 0 });
    expect(await reason(api.get(pods, where))).toBe("NotFound");
  });

  test("a pod that no node has yet goes at once", async () => {
    const spec = { containers: [{ name: "c", image: "example.com/c:1" }] };
    const pod = await api.create(pods, { metadata: fresh(), spec });
    await api.remove(pods, address(pod));
    expect(await reason(api.get(pods, address(pod)))).toBe("NotFound");
  });

  test("an evicted pod is deleted as gracefully, where its budget has room", async () => {
    const labels = { life: "evicted" };
    const pod = await aPod(labels);
    const budget = await api.create(poddisruptionbudgets, {
      metadata: fresh(),
      spec: { minAvailable: 0, selector: { matchLabels: labels } },
    });
    const status = (disruptionsAllowed: number) => ({
      observedGeneration: budget.metadata.generation,
      disruptionsAllowed,
      currentHealthy: 1,
      desiredHealthy: 0,
      expectedPods: 1,
    });
    const tell = (allowed: number) =>
      api.mergePatch(poddisruptionbudgets, address(budget), { status: status(allowed) }, { subresource: "status" });
    await tell(0);
    expect(await reason(api.evict(address(pod)))).toBe("DisruptionBudget");
    await tell(1);
    expect(await reason(api.evict(address(pod)))).toBe("ok");
    expect((await api.get(pods, address(pod))).metadata.deletionTimestamp).toBeDefined();
  });
}
