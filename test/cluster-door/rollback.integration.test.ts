/**
 * A roll-back on a real API server, for each kind that has one: what is read before, what the change makes of the workload, what stops it at
 * the last moment, and that a request that arrives late does nothing. The controllers' records of revisions are written by the test.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import type { Action } from "../../src/incident/actions.ts";
import { markOf, OPT_OUT_ANNOTATION } from "../../src/incident/marks.ts";
import type { Refused, TargetState } from "../../src/incident/observation.ts";
import { createApi, type Api, type ApiObject } from "../../src/cluster/api.ts";
import * as kinds from "../../src/cluster/resources.ts";
import type { Resource } from "../../src/cluster/resources.ts";
import { changeTemplate } from "../../src/cluster/changetemplate.ts";
import { readTargetState, revisionResource, TEMPLATED, type TemplatedKind } from "../../src/cluster/targetstate.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { connect, installCrds } from "../api/crdserver.ts";
import { startHttpFaultProxy } from "../support/faultproxy.ts";
import { startOwnServer, type OwnServer } from "./ownserver.ts";

const NAMESPACE = "media";
const KINDS: readonly TemplatedKind[] = ["Deployment", "StatefulSet", "DaemonSet"];
const INTENDED = "2026-11-29T08:00:00Z";

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
});
afterAll(() => own.stop());

type Json = Record<string, unknown>;

/** The second revision has what the first has not: a roll-back must take it away again. */
function templateOf(app: string, version: 1 | 2): Json {
  const container = { name: "app", image: `registry.example.org/thumbs:${version}` };
  const more = version === 1 ? {} : { env: [{ name: "NEW", value: "1" }], workingDir: "/new" };
  const spec = { containers: [{ ...container, ...more }] };
  return {
    metadata: { labels: { app, ...(version === 2 ? { added: "later" } : {}) } },
    spec: version === 1 ? spec : { ...spec, volumes: [{ name: "scratch", emptyDir: {} }] },
  };
}

interface World {
  readonly kind: TemplatedKind;
  readonly name: string;
  readonly policy: string;
  readonly investigation: ApiObject;
  state(): Promise<TargetState>;
  action(): Promise<Extract<Action, { kind: "ChangeTemplate" }>>;
  live(): Promise<ApiObject>;
  patch(body: Json): Promise<ApiObject>;
}

/** A workload that went from its first revision to its second, and an investigation that intends to roll it back. */
async function world(kind: TemplatedKind): Promise<World> {
  const name = `thumbs-${count++}`;
  const resource = TEMPLATED[kind];
  const at = { namespace: NAMESPACE, name };
  const extra = kind === "StatefulSet" ? { serviceName: name } : {};
  const spec = { selector: { matchLabels: { app: name } }, template: templateOf(name, 1), ...extra };
  const made = await api.create(resource, { metadata: at, spec });
  await record(kind, made, 1);
  const second = await api.mergePatch(resource, at, { spec: { template: templateOf(name, 2) } });
  await record(kind, second, 2);
  const policy = await api.create(kinds.memorypolicies, { metadata: at, spec: { mode: "Enforce" } });
  const investigation = await intends(kind, name);
  const state = async (): Promise<TargetState> => {
    const read = await readTargetState(api, { namespace: NAMESPACE, kind, name });
    if (read === undefined || "problem" in read) throw new Error(`not readable: ${JSON.stringify(read)}`);
    return read;
  };
  return {
    kind,
    name,
    policy: policy.metadata.name ?? "",
    investigation,
    state,
    live: () => api.get(resource, at),
    patch: (body) => api.mergePatch(resource, at, body),
    action: async () => {
      const { uid, templateHash, revisions } = await state();
      const first = revisions.find(({ number }) => number === 1);
      if (first === undefined) throw new Error("no first revision");
      return {
        kind: "ChangeTemplate",
        mitigation: "Rollback",
        purpose: "Do",
        investigation: { name, uid: investigation.metadata.uid ?? "" },
        policy: { kind: "MemoryPolicy", name, generation: Number(policy.metadata["generation"]) },
        target: { kind, name, uid },
        before: { templateHash },
        after: { templateHash: first.templateHash, from: { revision: first.name, uid: first.uid } },
        intended: INTENDED,
      };
    },
  };
}

/** What the workload's own controller writes down of a template. */
async function record(kind: TemplatedKind, workload: ApiObject, number: number): Promise<void> {
  const { name = "", uid = "" } = workload.metadata;
  const { template } = workload["spec"] as { template: { metadata: { labels: Json }; spec: Json } };
  const hash = `h${number}`;
  const metadata = {
    namespace: NAMESPACE,
    name: `${name}-${hash}`,
    ownerReferences: [{ apiVersion: "apps/v1", kind, name, uid, controller: true }],
  };
  if (kind !== "Deployment") {
    const labels = kind === "DaemonSet" ? { "controller-revision-hash": hash } : {};
    const data = { spec: { template: { ...template, $patch: "replace" } } };
    await api.create(kinds.controllerrevisions, { metadata: { ...metadata, labels }, revision: number, data });
    return;
  }
  const labels = { ...template.metadata.labels, "pod-template-hash": hash };
  await api.create(kinds.replicasets, {
    metadata: { ...metadata, labels, annotations: { "deployment.kubernetes.io/revision": String(number) } },
    spec: { selector: { matchLabels: labels }, template: { ...template, metadata: { labels } } },
  });
}

async function intends(kind: TemplatedKind, name: string): Promise<ApiObject> {
  const made = await api.create(kinds.memoryinvestigations, {
    metadata: { namespace: NAMESPACE, name },
    spec: { targetRef: { apiVersion: "apps/v1", kind, name } },
  });
  const rollback = {
    action: "Rollback",
    state: "Intended",
    reason: "RollingBack",
    message: "m",
    finding: "3f9c0a1b2c4d",
    since: INTENDED,
    intended: INTENDED,
  };
  return api.mergePatch(
    kinds.memoryinvestigations,
    { namespace: NAMESPACE, name },
    { metadata: { uid: made.metadata.uid }, status: { mitigations: [rollback] } },
    { subresource: "status" },
  );
}

const generationOf = (object: ApiObject): number => Number(object.metadata["generation"]);

describe.each(KINDS)("a %s", (kind) => {
  test("is read with its revisions: each template is found again in the record of it", async () => {
    const it = await world(kind);
    const { name } = it;
    const { revisions, templateHash, templateLabels, uid } = await it.state();
    expect(uid).not.toBe("");
    expect(templateLabels).toMatchObject({ app: name, added: "later" });
    const byNumber = revisions.toSorted((a, b) => (a.number ?? 0) - (b.number ?? 0));
    expect(byNumber.map((r) => [r.number, r.images])).toEqual([
      [1, ["registry.example.org/thumbs:1"]],
      [2, ["registry.example.org/thumbs:2"]],
    ]);
    expect(byNumber[1]?.templateHash).toBe(templateHash);
    expect(byNumber[0]?.templateHash).not.toBe(templateHash);
    expect(byNumber[0]?.marks).toContain(kind === "DaemonSet" ? "h1" : `${name}-h1`);
  });

  test("gets the earlier template, all of it and nothing else, and our mark; a second time nothing happens", async () => {
    const it = await world(kind);
    const action = await it.action();
    expect(await changeTemplate(NAMESPACE, action, api)).toBeUndefined();
    const after = await it.state();
    expect(after.templateHash).toBe(action.after.templateHash);
    const live = await it.live();
    const { template } = live["spec"] as { template: { metadata: { labels: Json }; spec: Json } };
    expect(template.metadata.labels).toEqual({ app: it.name });
    expect(template.spec["volumes"]).toBeUndefined();
    expect(JSON.stringify(template)).not.toMatch(/NEW|workingDir|pod-template-hash|\$patch/);
    expect(generationOf(live)).toBe(3);
    expect(markOf(live.metadata.annotations ?? {})).toEqual({
      investigation: it.investigation.metadata.uid,
      action: "Rollback",
      time: INTENDED,
    });
    expect(await changeTemplate(NAMESPACE, action, api)).toBeUndefined();
    expect((await it.live()).metadata.resourceVersion).toBe(live.metadata.resourceVersion);
  });

  test("is changed once by two leaders at the same time", async () => {
    const it = await world(kind);
    const action = await it.action();
    const answers = await Promise.allSettled(Array.from({ length: 4 }, () => changeTemplate(NAMESPACE, action, api)));
    expect(answers.some(({ status }) => status === "fulfilled")).toBe(true);
    expect((await it.state()).templateHash).toBe(action.after.templateHash);
    expect(generationOf(await it.live())).toBe(3);
  });
});

describe("at the last moment it is stopped by", () => {
  const reasonOf = async (it: World, change: () => Promise<unknown>): Promise<Refused["reason"] | undefined> => {
    const action = await it.action();
    await change();
    const before = await it.live().catch(() => undefined);
    const refused = await changeTemplate(NAMESPACE, action, api);
    const after = await it.live().catch(() => undefined);
    expect(after?.metadata.resourceVersion).toBe(before?.metadata.resourceVersion);
    expect(refused?.message ?? "").toMatch(/\w/);
    return refused?.reason;
  };
  const here = (name: string) => ({ namespace: NAMESPACE, name });

  test("another template", async () => {
    const it = await world("Deployment");
    const image = { spec: { template: { spec: { containers: [{ name: "app", image: "third" }] } } } };
    expect(await reasonOf(it, () => it.patch(image))).toBe("TemplateReplaced");
  });

  test("an owner who opts out, and a Deployment that is paused", async () => {
    const it = await world("Deployment");
    const optOut = { metadata: { annotations: { [OPT_OUT_ANNOTATION]: "true" } } };
    expect(await reasonOf(it, () => it.patch(optOut))).toBe("OptedOut");
    const paused = await world("Deployment");
    expect(await reasonOf(paused, () => paused.patch({ spec: { paused: true } }))).toBe("RolloutHeld");
  });

  test("a workload that is gone, and one that was made anew under the name", async () => {
    const it = await world("Deployment");
    const gone = (): Promise<void> => api.remove(kinds.deployments, here(it.name));
    expect(await reasonOf(it, gone)).toBe("TargetReplaced");
    const other = await world("Deployment");
    const anew = async (): Promise<unknown> => {
      const { spec } = (await other.live()) as unknown as { spec: Json };
      await api.remove(kinds.deployments, here(other.name));
      return api.create(kinds.deployments, { metadata: here(other.name), spec });
    };
    expect(await reasonOf(other, anew)).toBe("TargetReplaced");
  });

  test("a revision that is gone", async () => {
    for (const kind of KINDS) {
      const it = await world(kind);
      const gone = (): Promise<void> => api.remove(revisionResource(kind), here(`${it.name}-h1`));
      expect(await reasonOf(it, gone)).toBe("NoHealthyRevision");
    }
  });

  test("a policy that has changed or is gone", async () => {
    const it = await world("Deployment");
    const change = (): Promise<unknown> =>
      api.mergePatch(kinds.memorypolicies, here(it.policy), { spec: { mode: "Observe" } });
    expect(await reasonOf(it, change)).toBe("PolicyChanged");
    const gone = await world("Deployment");
    expect(await reasonOf(gone, () => api.remove(kinds.memorypolicies, here(gone.policy)))).toBe("PolicyChanged");
  });

  test("an investigation that is suspended, does not intend it, or is gone", async () => {
    const patched = (it: World, body: Json, subresource?: string): Promise<unknown> =>
      api.mergePatch(kinds.memoryinvestigations, here(it.name), body, subresource === undefined ? {} : { subresource });
    const suspended = await world("Deployment");
    expect(await reasonOf(suspended, () => patched(suspended, { spec: { suspend: true } }))).toBe("PolicyChanged");
    const done = await world("Deployment");
    expect(await reasonOf(done, () => patched(done, { status: { mitigations: [] } }, "status"))).toBe("PolicyChanged");
    const gone = await world("Deployment");
    expect(await reasonOf(gone, () => api.remove(kinds.memoryinvestigations, here(gone.name)))).toBe("PolicyChanged");
  });
});

test("a request that arrives late, when the template has been replaced and put back, is answered 409 and does nothing", async () => {
  const it = await world("Deployment");
  const action = await it.action();
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
  await expect(changeTemplate(NAMESPACE, action, through)).rejects.toMatchObject({ reason: "Unknown" });

  const second = (await it.live())["spec"] as Json;
  expect(await changeTemplate(NAMESPACE, action, api)).toBeUndefined();
  const forward = await it.patch({ spec: { template: second["template"] } });
  release();
  expect(await answer).toBe(409);
  expect((await it.live()).metadata.resourceVersion).toBe(forward.metadata.resourceVersion);
  await proxy.close();
});

test("a uid that is no longer that of the name is refused by the server itself", async () => {
  const it = await world("Deployment");
  const at = { namespace: NAMESPACE, name: it.name };
  const { resourceVersion } = (await it.live()).metadata;
  const steps = (uid: string, version: string) => [
    { op: "replace" as const, path: "/metadata/uid", value: uid },
    { op: "replace" as const, path: "/metadata/resourceVersion", value: version },
    { op: "replace" as const, path: "/spec/replicas", value: 5 },
  ];
  const { uid } = await it.state();
  const foreign = "00000000-0000-4000-8000-000000000000";
  await expect(api.jsonPatch(kinds.deployments, at, steps(foreign, resourceVersion ?? ""))).rejects.toMatchObject({
    reason: "Replaced",
  });
  await expect(api.jsonPatch(kinds.deployments, at, steps(uid, "1"))).rejects.toMatchObject({ reason: "StaleRead" });
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

  test("everything can be read and nothing changed; with the role for it, changed", async () => {
    const operator = shipped("operator.yaml", "oomscope-operator");
    const reader = await may("alice", operator);
    const actor = await may("bob", [...operator, ...shipped("mitigation.yaml", "oomscope-mitigation")]);
    for (const kind of KINDS) {
      const it = await world(kind);
      const action = await it.action();
      expect(await readTargetState(reader, { namespace: NAMESPACE, kind, name: it.name })).toEqual(await it.state());
      expect(await changeTemplate(NAMESPACE, action, reader)).toMatchObject({ reason: "Forbidden" });
      expect((await it.state()).templateHash).toBe(action.before.templateHash);
      expect(await changeTemplate(NAMESPACE, action, actor)).toBeUndefined();
      expect((await it.state()).templateHash).toBe(action.after.templateHash);
    }
  });
});
