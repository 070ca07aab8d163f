/**
 * The acts other than a roll-back on a real API server: a small change of a template, values of other objects, limits of running pods. What each
 * makes of its object and nothing else, what stops it at the last moment, how it is taken back, and with which rights.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import type { MitigationRecord } from "../../src/api/mitigation.ts";
import type { Action } from "../../src/incident/actions.ts";
import { markOf, OPT_OUT_ANNOTATION } from "../../src/incident/marks.ts";
import type { Refused, TargetState } from "../../src/incident/observation.ts";
import { editedTemplate, type TemplateEdit } from "../../src/incident/templateedit.ts";
import { templateHash } from "../../src/incident/templates.ts";
import { createApi, type Api, type ApiObject } from "../../src/cluster/api.ts";
import { changeTemplate } from "../../src/cluster/changetemplate.ts";
import { projectPod } from "../../src/cluster/projections.ts";
import { resizePods } from "../../src/cluster/resizepods.ts";
import * as kinds from "../../src/cluster/resources.ts";
import type { Resource } from "../../src/cluster/resources.ts";
import { setValues } from "../../src/cluster/setvalues.ts";
import { readTargetState } from "../../src/cluster/targetstate.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { connect, installCrds } from "../api/crdserver.ts";
import { startHttpFaultProxy } from "../support/faultproxy.ts";
import { startOwnServer, type OwnServer } from "./ownserver.ts";

const NAMESPACE = "media";
const INTENDED = "2026-11-29T08:00:00Z";
const MIB = 1 << 20;

type Json = Record<string, unknown>;
type ChangeTemplate = Extract<Action, { kind: "ChangeTemplate" }>;
type SetValues = Extract<Action, { kind: "SetValues" }>;
type ResizePods = Extract<Action, { kind: "ResizePods" }>;

let own: OwnServer;
let api: Api;
let count = 0;

beforeAll(async () => {
  own = await startOwnServer();
  api = own.api;
  const { url, ca, adminToken } = own.server;
  const crds = connect({ url, ca, token: adminToken });
  await installCrds(crds);
  await crds.close();
  await api.create(kinds.namespaces, { metadata: { name: NAMESPACE } });
  // The server itself compares a resize with what the node has.
  const room = { cpu: "8", memory: "1Gi" };
  await api.create(kinds.nodes, { metadata: { name: "n1" } });
  const status = { capacity: room, allocatable: room };
  await api.mergePatch(kinds.nodes, { name: "n1" }, { status }, { subresource: "status" });
});
afterAll(() => own.stop());

const here = (name: string) => ({ namespace: NAMESPACE, name });

interface World {
  readonly name: string;
  readonly workload: ApiObject;
  readonly errand: Pick<ChangeTemplate, "investigation" | "policy" | "intended"> & { readonly purpose: "Do" };
  readonly target: ChangeTemplate["target"];
  state(): Promise<TargetState>;
  live(resource?: Resource): Promise<ApiObject>;
}

const container = (over: Json = {}): Json => ({
  name: "app",
  image: "registry.example.org/thumbs:1",
  env: [{ name: "MAX", value: "8" }],
  ...over,
});

/** A Deployment, a ConfigMap, and an investigation that intends one action. */
async function world(action: MitigationRecord["action"], undo = false): Promise<World> {
  const name = `thumbs-${count++}`;
  const spec = { containers: [container()] };
  const workload = await api.create(kinds.deployments, {
    metadata: here(name),
    spec: {
      replicas: 5,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec },
    },
  });
  await api.create(kinds.configmaps, { metadata: here(name), data: { MAX: "8", OTHER: "x" } });
  const policy = await api.create(kinds.memorypolicies, { metadata: here(name), spec: { mode: "Enforce" } });
  const made = await api.create(kinds.memoryinvestigations, {
    metadata: here(name),
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name } },
  });
  const asked = { state: "Intended", reason: "Undoing", message: "m", since: INTENDED, askedBy: "Person" };
  const record = {
    action,
    state: undo ? "Done" : "Intended",
    reason: "R",
    message: "m",
    finding: "3f9c0a1b2c4d",
    since: INTENDED,
    intended: INTENDED,
    ...(undo ? { undo: asked } : {}),
  };
  await api.mergePatch(
    kinds.memoryinvestigations,
    here(name),
    { status: { mitigations: [record] } },
    { subresource: "status" },
  );
  const { uid = "" } = workload.metadata;
  return {
    name,
    workload,
    target: { kind: "Deployment", name, uid },
    errand: {
      investigation: { name, uid: made.metadata.uid ?? "" },
      policy: { kind: "MemoryPolicy", name, generation: Number(policy.metadata["generation"]) },
      purpose: "Do",
      intended: INTENDED,
    },
    state: async () => {
      const asking = { configMaps: [name, "none"], autoscalers: true };
      const read = await readTargetState(api, { namespace: NAMESPACE, kind: "Deployment", name }, asking);
      if (read === undefined || "problem" in read) throw new Error(`not readable: ${JSON.stringify(read)}`);
      return read;
    },
    live: (resource = kinds.deployments) => api.get(resource, here(name)),
  };
}

const markIn = ({ metadata }: ApiObject) => markOf(metadata.annotations ?? {});
const generationOf = (object: ApiObject): number => Number(object.metadata["generation"]);

async function editing(it: World, edit: TemplateEdit): Promise<ChangeTemplate> {
  const { template, templateHash: before } = await it.state();
  const after = templateHash(editedTemplate(template, edit) ?? null);
  return {
    kind: "ChangeTemplate",
    mitigation: "restartedAt" in edit ? "Restart" : "Throttle",
    ...it.errand,
    target: it.target,
    before: { templateHash: before },
    after: { templateHash: after, from: { edit } },
  };
}

describe("a small change of a template", () => {
  test("sets variables and nothing else; the hash that was computed is that of what the server then has", async () => {
    const it = await world("Throttle");
    const action = await editing(it, { container: "app", env: { MAX: "2", NEW: "a b'c" } });
    expect(await changeTemplate(NAMESPACE, action, api)).toBeUndefined();
    const { template, templateHash: hash } = await it.state();
    expect(hash).toBe(action.after.templateHash);
    const { spec } = template as unknown as { spec: { containers: { env: Json[]; image: string }[] } };
    expect(spec.containers[0]).toMatchObject({
      image: "registry.example.org/thumbs:1",
      env: [
        { name: "MAX", value: "2" },
        { name: "NEW", value: "a b'c" },
      ],
    });
    const live = await it.live();
    expect([generationOf(live), markIn(live)?.action]).toEqual([2, "Throttle"]);
    expect(await changeTemplate(NAMESPACE, action, api)).toBeUndefined();
    expect((await it.live()).metadata.resourceVersion).toBe(live.metadata.resourceVersion);
  });

  test("restarts by the mark that kubectl writes, also where the template had no annotations", async () => {
    const it = await world("Restart");
    const action = await editing(it, { restartedAt: INTENDED });
    expect(await changeTemplate(NAMESPACE, action, api)).toBeUndefined();
    const { template, templateHash: hash } = await it.state();
    expect(hash).toBe(action.after.templateHash);
    expect(template).toMatchObject({ metadata: { annotations: { "kubectl.kubernetes.io/restartedAt": INTENDED } } });
  });

  test("is not made where it would make another template than was decided", async () => {
    const it = await world("Throttle");
    const action = await editing(it, { container: "app", env: { MAX: "2" } });
    const other = { ...action, after: { ...action.after, from: { edit: { container: "app", env: { MAX: "3" } } } } };
    expect(await changeTemplate(NAMESPACE, other, api)).toMatchObject({ reason: "NoHealthyRevision" });
    expect(generationOf(await it.live())).toBe(1);
  });
});

async function scaling(it: World, over: Partial<SetValues> = {}): Promise<SetValues> {
  const { kind, name, uid } = it.target;
  if (kind === "DaemonSet") throw new Error("has no replicas");
  return {
    kind: "SetValues",
    mitigation: "Throttle",
    ...it.errand,
    target: it.target,
    object: { kind, name, uid },
    values: [{ field: "spec.replicas", before: "5", after: "2" }],
    ...over,
  };
}

async function setting(it: World, over: Partial<SetValues> = {}): Promise<SetValues> {
  const { uid = "" } = (await it.live(kinds.configmaps)).metadata;
  return scaling(it, {
    object: { kind: "ConfigMap", name: it.name, uid },
    values: [
      { field: "MAX", before: "8", after: "2" },
      { field: "DEPTH", after: "1" },
    ],
    ...over,
  });
}

async function autoscaled(it: World): Promise<ApiObject> {
  return api.create(kinds.horizontalpodautoscalers, {
    metadata: here(it.name),
    spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: it.name }, maxReplicas: 9 },
  });
}

describe("values of an object", () => {
  test("a number of replicas, once", async () => {
    const it = await world("Throttle");
    expect(await setValues(NAMESPACE, await scaling(it), api)).toBeUndefined();
    expect((await it.state()).replicas).toBe(2);
    const live = await it.live();
    expect(markIn(live)?.investigation).toBe(it.errand.investigation.uid);
    expect(await setValues(NAMESPACE, await scaling(it), api)).toBeUndefined();
    expect((await it.live()).metadata.resourceVersion).toBe(live.metadata.resourceVersion);
  });

  test("an autoscaler's bound, which is read with the workload", async () => {
    const it = await world("Throttle");
    const { metadata } = await autoscaled(it);
    const { beside } = await it.state();
    expect(beside?.autoscalers).toMatchObject([{ name: it.name, uid: metadata.uid, minReplicas: 1, maxReplicas: 9 }]);
    const object = { kind: "HorizontalPodAutoscaler" as const, name: it.name, uid: metadata.uid ?? "" };
    const values = [{ field: "spec.maxReplicas", before: "9", after: "2" }];
    expect(await setValues(NAMESPACE, await scaling(it, { object, values }), api)).toBeUndefined();
    const after = (await it.state()).beside?.autoscalers;
    expect(after).toMatchObject([{ maxReplicas: 2 }]);
    expect((await it.state()).replicas).toBe(5);
  });

  test("keys of a ConfigMap: those and no others; what was not there goes again", async () => {
    const it = await world("Throttle");
    const read = (await it.state()).beside?.configMaps;
    expect(read?.[it.name]).toMatchObject({ data: { MAX: "8", OTHER: "x" }, immutable: false, binaryKeys: [] });
    expect(read?.["none"]).toBeUndefined();
    const action = await setting(it);
    expect(await setValues(NAMESPACE, action, api)).toBeUndefined();
    const live = await it.live(kinds.configmaps);
    expect(live["data"]).toEqual({ MAX: "2", DEPTH: "1", OTHER: "x" });
    expect(markIn(live)?.action).toBe("Throttle");
    expect(generationOf(await it.live())).toBe(1);

    const undone = await world("Throttle", true);
    await api.mergePatch(kinds.configmaps, here(undone.name), { data: { MAX: "2", DEPTH: "1" } });
    const { policy: _policy, ...errand } = undone.errand;
    const back: SetValues = {
      ...(await setting(undone)),
      ...errand,
      purpose: "Undo",
      values: [
        { field: "MAX", before: "2", after: "8" },
        { field: "DEPTH", before: "1" },
      ],
    };
    expect(await setValues(NAMESPACE, back, api)).toBeUndefined();
    expect((await undone.live(kinds.configmaps))["data"]).toEqual({ MAX: "8", OTHER: "x" });
  });

  test("a node's cordon, and back", async () => {
    const it = await world("CordonNode");
    const { metadata, spec: before } = await api.create(kinds.nodes, { metadata: { name: it.name } });
    const cordon = await scaling(it, {
      mitigation: "CordonNode",
      object: { kind: "Node", name: it.name, uid: metadata.uid ?? "" },
      values: [{ field: "spec.unschedulable", after: "true" }],
    });
    expect(await setValues(NAMESPACE, cordon, api)).toBeUndefined();
    const node = await api.get(kinds.nodes, { name: it.name });
    expect([node["spec"], markIn(node)?.action]).toEqual([{ ...(before as Json), unschedulable: true }, "CordonNode"]);
    expect(await setValues(NAMESPACE, cordon, api)).toBeUndefined();
    expect((await api.get(kinds.nodes, { name: it.name })).metadata.resourceVersion).toBe(
      node.metadata.resourceVersion,
    );

    const { policy: _policy, ...back } = { ...cordon, purpose: "Undo" as const };
    expect(
      await setValues(NAMESPACE, { ...back, values: [{ field: "spec.unschedulable", before: "true" }] }, api),
    ).toMatchObject({
      reason: "PolicyChanged",
    });
    const asked = { state: "Intended", reason: "Undoing", message: "m", since: INTENDED, askedBy: "Person" };
    const done = {
      action: "CordonNode",
      state: "Done",
      reason: "R",
      message: "m",
      finding: "3f9c0a1b2c4d",
      since: INTENDED,
      intended: INTENDED,
      undo: asked,
    };
    const status = { mitigations: [done] };
    await api.mergePatch(kinds.memoryinvestigations, here(it.name), { status }, { subresource: "status" });
    expect(
      await setValues(NAMESPACE, { ...back, values: [{ field: "spec.unschedulable", before: "true" }] }, api),
    ).toBeUndefined();
    expect((await api.get(kinds.nodes, { name: it.name }))["spec"]).toEqual(before);
  });

  test("a ConfigMap without any data gets its first", async () => {
    const it = await world("Throttle");
    await api.remove(kinds.configmaps, here(it.name));
    await api.create(kinds.configmaps, { metadata: here(it.name) });
    const values = [{ field: "MAX", after: "2" }];
    expect(await setValues(NAMESPACE, await setting(it, { values }), api)).toBeUndefined();
    expect((await it.live(kinds.configmaps))["data"]).toEqual({ MAX: "2" });
  });

  const refusals: readonly (readonly [string, Refused["reason"], (it: World) => Promise<unknown>])[] = [
    ["another value", "ValueReplaced", (it) => api.mergePatch(kinds.configmaps, here(it.name), { data: { MAX: "4" } })],
    [
      "a key that has come",
      "ValueReplaced",
      (it) => api.mergePatch(kinds.configmaps, here(it.name), { data: { DEPTH: "4" } }),
    ],
    ["a ConfigMap that is gone", "TargetReplaced", (it) => api.remove(kinds.configmaps, here(it.name))],
    [
      "one made anew",
      "TargetReplaced",
      async (it) => {
        await api.remove(kinds.configmaps, here(it.name));
        return api.create(kinds.configmaps, { metadata: here(it.name), data: { MAX: "8" } });
      },
    ],
    ["a workload that is gone", "TargetReplaced", (it) => api.remove(kinds.deployments, here(it.name))],
    [
      "the workload's owner, who has opted out",
      "OptedOut",
      (it) =>
        api.mergePatch(kinds.deployments, here(it.name), {
          metadata: { annotations: { [OPT_OUT_ANNOTATION]: "Throttle" } },
        }),
    ],
    [
      "the ConfigMap's owner, who has opted out",
      "OptedOut",
      (it) =>
        api.mergePatch(kinds.configmaps, here(it.name), {
          metadata: { annotations: { [OPT_OUT_ANNOTATION]: "true" } },
        }),
    ],
    [
      "an immutable ConfigMap",
      "Forbidden",
      (it) => api.mergePatch(kinds.configmaps, here(it.name), { immutable: true }),
    ],
    [
      "a policy that has changed",
      "PolicyChanged",
      (it) => api.mergePatch(kinds.memorypolicies, here(it.name), { spec: { mode: "Observe" } }),
    ],
    [
      "an investigation that is suspended",
      "PolicyChanged",
      (it) => api.mergePatch(kinds.memoryinvestigations, here(it.name), { spec: { suspend: true } }),
    ],
  ];
  test.each(refusals)("are not set any more after %s", async (_what, reason, change) => {
    const it = await world("Throttle");
    const action = await setting(it);
    await change(it);
    const before = await it.live(kinds.configmaps).catch(() => undefined);
    expect(await setValues(NAMESPACE, action, api)).toMatchObject({ reason, message: expect.stringMatching(/\w/) });
    const after = await it.live(kinds.configmaps).catch(() => undefined);
    expect(after?.metadata.resourceVersion).toBe(before?.metadata.resourceVersion);
  });

  test("an undo is done only where it is intended, and needs no policy", async () => {
    const it = await world("Throttle");
    const { policy: _policy, ...errand } = it.errand;
    const undo: SetValues = { ...(await scaling(it)), ...errand, purpose: "Undo" };
    const { policy: _other, ...withoutPolicy } = undo;
    expect(await setValues(NAMESPACE, withoutPolicy, api)).toMatchObject({ reason: "PolicyChanged" });
    expect((await it.state()).replicas).toBe(5);
  });

  test("a request that arrives late, when the value was set and put back, is answered 409", async () => {
    const it = await world("Throttle");
    const action = await setting(it);
    const proxy = await startHttpFaultProxy({ target: new URL(own.server.url), ca: own.server.ca });
    let release: () => void = () => undefined;
    const until = new Promise<void>((resolve) => (release = resolve));
    let answered: (status: number) => void = () => undefined;
    const answer = new Promise<number>((resolve) => (answered = resolve));
    proxy.choose((method) => (method === "PATCH" ? { kind: "Late", until, answered } : { kind: "Pass" }));
    const through = createApi(own.transport(undefined, proxy.url), {
      clock: systemClock,
      random: systemRandom,
      fieldManager: "oomscope",
    });
    await expect(setValues(NAMESPACE, action, through)).rejects.toMatchObject({ reason: "Unknown" });
    expect(await setValues(NAMESPACE, action, api)).toBeUndefined();
    const back = await api.mergePatch(kinds.configmaps, here(it.name), { data: { MAX: "8", DEPTH: null } });
    release();
    expect(await answer).toBe(409);
    expect((await it.live(kinds.configmaps)).metadata.resourceVersion).toBe(back.metadata.resourceVersion);
    await proxy.close();
  });
});

describe("limits of running pods", () => {
  const resources = (limit: string, request: string): Json => ({
    limits: { memory: limit, cpu: "100m" },
    requests: { memory: request, cpu: "100m" },
  });

  async function pod(it: World, suffix: string, given: Json, over: Json = {}): Promise<ApiObject> {
    return api.create(kinds.pods, {
      metadata: { ...here(`${it.name}-${suffix}`), labels: { app: it.name, ...(over["labels"] as Json) } },
      spec: { nodeName: "n1", containers: [container(), { ...container({ name: "worker" }), resources: given }] },
    });
  }

  const sized = (
    it: World,
    changes: readonly (readonly [ApiObject, ResizePods["changes"][number]["field"], number, number])[],
  ): ResizePods => ({
    kind: "ResizePods",
    mitigation: "Resize",
    ...it.errand,
    target: it.target,
    changes: changes.map(([{ metadata }, field, before, after]) => ({
      pod: { name: metadata.name ?? "", uid: metadata.uid ?? "" },
      container: "worker",
      field,
      before: before * MIB,
      after: after * MIB,
    })),
  });

  const limitsOf = async (name: string): Promise<unknown> => {
    const live = await api.get(kinds.pods, here(name));
    return (live["spec"] as { containers: { resources: unknown }[] }).containers[1]?.resources;
  };

  test("are raised in place, pod by pod and nothing else; a second time nothing happens; and back", async () => {
    const it = await world("Resize");
    const a = await pod(it, "a", resources("64Mi", "32Mi"));
    const b = await pod(it, "b", resources("64Mi", "32Mi"));
    const action = sized(it, [
      [a, "limits", 64, 96],
      [b, "limits", 64, 96],
    ]);
    expect(await resizePods(NAMESPACE, action, api)).toBeUndefined();
    for (const { metadata } of [a, b])
      expect(await limitsOf(metadata.name ?? "")).toEqual({
        limits: { memory: "96Mi", cpu: "100m" },
        requests: { memory: "32Mi", cpu: "100m" },
      });
    const raised = await api.get(kinds.pods, here(a.metadata.name ?? ""));
    const view = projectPod(raised)?.containers.find(({ name }) => name === "worker");
    // No kubelet has said anything: it is asked for, not enforced.
    expect([view?.limitBytes, view?.enforcedLimitBytes]).toEqual([96 * MIB, undefined]);
    expect(await resizePods(NAMESPACE, action, api)).toBeUndefined();
    expect((await api.get(kinds.pods, here(a.metadata.name ?? ""))).metadata.resourceVersion).toBe(
      raised.metadata.resourceVersion,
    );

    const undone = await world("Resize", true);
    const c = await pod(undone, "c", resources("96Mi", "32Mi"));
    const { policy: _policy, ...errand } = undone.errand;
    const { policy: _other, ...down } = sized(undone, [[c, "limits", 96, 64]]);
    expect(await resizePods(NAMESPACE, { ...down, ...errand, purpose: "Undo" }, api)).toBeUndefined();
    expect(await limitsOf(c.metadata.name ?? "")).toMatchObject({ limits: { memory: "64Mi" } });
  });

  test("of a Guaranteed pod need the request as well: the server refuses another class, and says so", async () => {
    const it = await world("Resize");
    const spec = {
      nodeName: "n1",
      containers: [{ ...container({ name: "worker" }), resources: resources("64Mi", "64Mi") }],
    };
    const a = await api.create(kinds.pods, { metadata: here(`${it.name}-g`), spec });
    expect(projectPod(a)?.qosClass).toBe("Guaranteed");
    const refused = await resizePods(NAMESPACE, sized(it, [[a, "limits", 64, 96]]), api);
    expect(refused).toMatchObject({ reason: "ActionDoesNotFit", message: expect.stringMatching(/qos/i) });
    const both = sized(it, [
      [a, "limits", 64, 96],
      [a, "requests", 64, 96],
    ]);
    expect(await resizePods(NAMESPACE, both, api)).toBeUndefined();
    const live = await api.get(kinds.pods, here(`${it.name}-g`));
    expect(live).toMatchObject({
      spec: { containers: [{ resources: { limits: { memory: "96Mi" }, requests: { memory: "96Mi" } } }] },
    });
  });

  test("are left as they are on a pod that is kept, gone, made anew or given a third limit; the others are raised", async () => {
    const it = await world("Resize");
    const given = resources("64Mi", "32Mi");
    const kept = await pod(it, "kept", given, { labels: { "oomscope.dev/preserved": "uid" } });
    const gone = await pod(it, "gone", given);
    const anew = await pod(it, "anew", given);
    const third = await pod(it, "third", resources("80Mi", "32Mi"));
    const last = await pod(it, "last", given);
    const action = sized(
      it,
      [kept, gone, anew, third, last].map((one) => [one, "limits", 64, 96] as const),
    );
    for (const { metadata } of [gone, anew])
      await api.remove(kinds.pods, here(metadata.name ?? ""), { gracePeriodSeconds: 0 });
    await pod(it, "anew", given);
    expect(await resizePods(NAMESPACE, action, api)).toBeUndefined();
    const after = await Promise.all(["kept", "anew", "third", "last"].map((name) => limitsOf(`${it.name}-${name}`)));
    expect(after.map((one) => (one as { limits: Json }).limits["memory"])).toEqual(["64Mi", "64Mi", "80Mi", "96Mi"]);
  });

  test("that the node has no room for are refused by the server, in its own words and not as a lack of rights", async () => {
    const it = await world("Resize");
    const spec = {
      nodeName: "n1",
      containers: [{ ...container({ name: "worker" }), resources: resources("64Mi", "64Mi") }],
    };
    const a = await api.create(kinds.pods, { metadata: here(`${it.name}-g`), spec });
    const changes = [
      [a, "limits", 64, 4096],
      [a, "requests", 64, 4096],
    ] as const;
    const refused = await resizePods(NAMESPACE, sized(it, changes), api);
    expect(refused).toMatchObject({ reason: "ActionDoesNotFit", message: expect.stringMatching(/allocatable/) });
  });

  test("hold for the pod as it was read: another uid or resourceVersion is refused by the server itself", async () => {
    const it = await world("Resize");
    const { metadata } = await pod(it, "a", resources("64Mi", "32Mi"));
    const at = here(metadata.name ?? "");
    const steps = (uid: string, version: string) => [
      { op: "replace" as const, path: "/metadata/uid", value: uid },
      { op: "replace" as const, path: "/metadata/resourceVersion", value: version },
      { op: "replace" as const, path: "/spec/containers/1/resources/limits/memory", value: "96Mi" },
    ];
    const resize = { subresource: "resize" };
    const foreign = "00000000-0000-4000-8000-000000000000";
    const { uid = "", resourceVersion = "" } = metadata;
    await expect(api.jsonPatch(kinds.pods, at, steps(foreign, resourceVersion), resize)).rejects.toMatchObject({
      reason: expect.stringMatching(/^(Replaced|Invalid)$/),
    });
    await api.mergePatch(kinds.pods, at, { metadata: { labels: { later: "yes" } } });
    await expect(api.jsonPatch(kinds.pods, at, steps(uid, resourceVersion), resize)).rejects.toMatchObject({
      reason: "StaleRead",
    });
    expect(await limitsOf(metadata.name ?? "")).toMatchObject({ limits: { memory: "64Mi" } });
  });
});

describe("with the rights of config/rbac", () => {
  interface Rule {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }
  function shipped(file: string, name: string): readonly Rule[] {
    const text = readFileSync(join(import.meta.dirname, "../../config/rbac", file), "utf8");
    const objects = parseAllDocuments(text).map((document) => document.toJS() as ApiObject);
    return objects.find(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === name)?.["rules"] as Rule[];
  }
  const rbac = (plural: string, kind: string): Resource => ({
    group: "rbac.authorization.k8s.io",
    version: "v1",
    plural,
    kind,
    namespaced: false,
  });

  async function may(user: "alice" | "bob", rules: readonly Rule[]): Promise<Api> {
    await api.create(rbac("clusterroles", "ClusterRole"), { metadata: { name: user }, rules });
    await api.create(rbac("clusterrolebindings", "ClusterRoleBinding"), {
      metadata: { name: user },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: user },
      subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: user }],
    });
    const made = createApi(own.transport(own.server.token(user)), {
      clock: systemClock,
      random: systemRandom,
      fieldManager: "oomscope",
    });
    // The authorizer learns of a new role a moment later.
    for (let tries = 0; tries < 200; tries++) {
      const read = await readTargetState(made, { namespace: NAMESPACE, kind: "Deployment", name: "none" });
      if (read === undefined) return made;
      await systemClock.sleep(50);
    }
    throw new Error("the role has no effect");
  }

  test("nothing is changed without the role for it, and all of it with the role", async () => {
    const operator = shipped("operator.yaml", "oomscope-operator");
    const reader = await may("alice", operator);
    const roles = [...shipped("mitigation.yaml", "oomscope-mitigation"), ...shipped("nodes.yaml", "oomscope-nodes")];
    const actor = await may("bob", [...operator, ...roles]);
    const it = await world("Throttle");
    const { metadata } = await autoscaled(it);
    const key = { namespace: NAMESPACE, kind: "Deployment", name: it.name } as const;
    const asking = { configMaps: [it.name], autoscalers: true };
    const blind = await readTargetState(reader, key, asking);
    expect(blind).toMatchObject({
      beside: { configMaps: { [it.name]: { problem: expect.stringMatching(/configmaps/) } } },
    });
    expect(await readTargetState(actor, key, asking)).toEqual({
      ...(await it.state()),
      beside: {
        ...(await it.state()).beside,
        configMaps: { [it.name]: expect.objectContaining({ data: { MAX: "8", OTHER: "x" } }) },
      },
    });
    const bound = {
      object: { kind: "HorizontalPodAutoscaler" as const, name: it.name, uid: metadata.uid ?? "" },
      values: [{ field: "spec.maxReplicas", before: "9", after: "2" }],
    };
    const resizing = await world("Resize");
    const spec = {
      nodeName: "n1",
      containers: [{ ...container({ name: "worker" }), resources: { limits: { memory: "64Mi" } } }],
    };
    const one = await api.create(kinds.pods, { metadata: here(`${resizing.name}-a`), spec });
    const { name = "", uid = "" } = one.metadata;
    const change = {
      pod: { name, uid },
      container: "worker",
      field: "limits",
      before: 64 * MIB,
      after: 96 * MIB,
    } as const;
    const resize: ResizePods = {
      kind: "ResizePods",
      mitigation: "Resize",
      ...resizing.errand,
      target: resizing.target,
      changes: [change],
    };
    const cordoning = await world("CordonNode");
    const node = await api.create(kinds.nodes, { metadata: { name: cordoning.name } });
    const cordon = await scaling(cordoning, {
      mitigation: "CordonNode",
      object: { kind: "Node", name: cordoning.name, uid: node.metadata.uid ?? "" },
      values: [{ field: "spec.unschedulable", after: "true" }],
    });
    const acts = async (as: Api): Promise<(Refused | undefined)[]> => [
      await setValues(NAMESPACE, await scaling(it), as),
      await setValues(NAMESPACE, await setting(it), as),
      await setValues(NAMESPACE, await scaling(it, bound), as),
      await resizePods(NAMESPACE, resize, as),
      await setValues(NAMESPACE, cordon, as),
    ];
    expect((await acts(reader)).map((refused) => refused?.reason)).toEqual(
      Array.from({ length: 5 }, () => "Forbidden"),
    );
    expect(await acts(actor)).toEqual(Array.from({ length: 5 }, () => undefined));
  });
});
