/** What does a look at the surroundings bring from a real API server, and what does each refusal become? With the rights of config/rbac, and with each taken away. */
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { Context } from "../../src/api/collection.ts";
import { createApi, type Api, type ApiObject } from "../../src/cluster/api.ts";
import { readContext } from "../../src/cluster/contextreads.ts";
import {
  configmaps,
  controllerrevisions,
  deployments,
  events,
  horizontalpodautoscalers,
  limitranges,
  namespaces,
  nodes,
  poddisruptionbudgets,
  pods,
  replicasets,
  statefulsets,
  type Resource,
} from "../../src/cluster/resources.ts";
import { perform, type PerformOptions } from "../../src/cluster/perform.ts";
import { assembleContext } from "../../src/context/assemble.ts";
import type { ContextAnswers, ContextQuestion } from "../../src/context/question.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { createDirectoryStore, StorageFull } from "../../src/evidence/store.ts";
import { selects } from "../../src/incident/policy.ts";
import { systemClock, systemRandom, type Clock } from "../../src/seams.ts";
import { startHttpFaultProxy, type HttpFaultProxy } from "../support/faultproxy.ts";
import { temporaryFolder } from "../evidence/door.ts";
import { startOwnServer, type OwnServer } from "./ownserver.ts";

const NAMESPACE = "media";
const BUDGET_MS = 20_000;
const rbac = (plural: string): Resource => ({
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural,
  kind: plural === "clusterroles" ? "ClusterRole" : plural === "rolebindings" ? "RoleBinding" : "ClusterRoleBinding",
  namespaced: plural === "rolebindings",
});
const apiservices: Resource = {
  group: "apiregistration.k8s.io",
  version: "v1",
  plural: "apiservices",
  kind: "APIService",
  namespaced: false,
};

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

function shipped(file: string, name: string): readonly Rule[] {
  const text = readFileSync(join(import.meta.dirname, "../../config/rbac", file), "utf8");
  const objects = parseAllDocuments(text).map((document) => document.toJS() as ApiObject);
  const role = objects.find(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === name);
  return role?.["rules"] as readonly Rule[];
}

let own: OwnServer;
let proxy: HttpFaultProxy;
let question: ContextQuestion;
const uids: Record<string, string> = {};

async function make(resource: Resource, name: string, body: Record<string, unknown>, namespace = NAMESPACE) {
  const { metadata = {}, ...rest } = body as { metadata?: object };
  const made = await own.api.create(resource, {
    ...rest,
    metadata: { name, ...(resource.namespaced ? { namespace } : {}), ...metadata },
  });
  uids[`${resource.kind}/${name}`] = made.metadata.uid ?? "";
  return made.metadata.uid ?? "";
}

const controlledBy = (kind: string, name: string) => ({
  ownerReferences: [{ apiVersion: "apps/v1", kind, name, uid: uids[`${kind}/${name}`], controller: true }],
});
const container = {
  name: "app",
  image: "registry.example.org/thumbs:1.1.0",
  env: [{ name: "CANARY", value: "canary-in-the-environment" }],
  command: ["canary-in-the-command"],
  resources: { limits: { memory: "128Mi" } },
};
const template = { metadata: { labels: { app: "thumbs" } }, spec: { containers: [container] } };
const selector = { matchLabels: { app: "thumbs" } };

async function event(name: string, involvedObject: object, over: Record<string, unknown>, namespace = NAMESPACE) {
  const at = "2026-11-29T01:00:00Z";
  await make(
    events,
    name,
    { involvedObject, type: "Normal", firstTimestamp: at, lastTimestamp: at, count: 1, ...over },
    namespace,
  );
}

async function makeWorld(): Promise<void> {
  for (const name of [NAMESPACE, "other"]) await own.api.create(namespaces, { metadata: { name } });
  await make(limitranges, "defaults", { spec: { limits: [{ type: "Container", default: { memory: "256Mi" } }] } });
  await make(nodes, "n1", {});
  await make(deployments, "thumbs", {
    metadata: { annotations: { "deployment.kubernetes.io/revision": "2" } },
    spec: { selector, template },
  });
  for (const [name, revision] of [
    ["thumbs-a", "1"],
    ["thumbs-b", "2"],
  ] as const) {
    await make(replicasets, name, {
      metadata: {
        labels: { app: "thumbs" },
        annotations: { "deployment.kubernetes.io/revision": revision },
        ...controlledBy("Deployment", "thumbs"),
      },
      spec: { selector, template },
    });
  }
  const labels = { app: "thumbs" };
  const spec = { nodeName: "n1", containers: [container, { name: "sidecar", image: "registry.example.org/side:1" }] };
  await make(pods, "thumbs-b-1", { metadata: { labels, ...controlledBy("ReplicaSet", "thumbs-b") }, spec });
  await make(pods, "stranger", { metadata: { labels }, spec: { ...spec, containers: [container] } });
  await make(pods, "thumbs-b-1", { metadata: { labels }, spec }, "other");
  uids["Pod/thumbs-b-1"] = (await own.api.get(pods, { namespace: NAMESPACE, name: "thumbs-b-1" })).metadata.uid ?? "";
  await make(poddisruptionbudgets, "thumbs", { spec: { minAvailable: 1, selector } });
  await make(horizontalpodautoscalers, "thumbs", {
    spec: { maxReplicas: 5, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" } },
  });
  const pod = { kind: "Pod", namespace: NAMESPACE, name: "thumbs-b-1", uid: uids["Pod/thumbs-b-1"] };
  await event("killing", pod, { reason: "Killing", message: "Stopping container app, password=canary-in-a-message" });
  await event("mount", pod, { reason: "FailedMount", message: "canary-of-something-else" });
  await event(
    "of-a-stranger",
    { ...pod, name: "stranger", uid: uids["Pod/stranger"] },
    { reason: "Killing", message: "canary-of-a-stranger" },
  );
  const node = { kind: "Node", name: "n1", uid: "n1" };
  await event(
    "oom",
    node,
    {
      reason: "SystemOOM",
      lastTimestamp: "2026-11-29T01:00:05Z",
      message: "System OOM encountered, victim process: canary-tenant, pid: 5",
      source: { component: "kubelet", host: "n1" },
    },
    "default",
  );
  await event("other-node", { ...node, name: "n2" }, { reason: "SystemOOM", message: "canary" }, "default");
}

beforeAll(async () => {
  own = await startOwnServer();
  await makeWorld();
  proxy = await startHttpFaultProxy({ target: new URL(own.server.url), ca: own.server.ca });
  question = {
    stage: "Start",
    namespace: NAMESPACE,
    target: { kind: "Deployment", name: "thumbs", uid: uids["Deployment/thumbs"] ?? "" },
    node: "n1",
    pods: [{ name: "thumbs-b-1", uid: uids["Pod/thumbs-b-1"] ?? "", role: "Serving" }],
    podsOmitted: 0,
    logs: [{ pod: "thumbs-b-1", uid: uids["Pod/thumbs-b-1"] ?? "", container: "app" }],
    logLines: 10,
  };
});
afterAll(async () => {
  await proxy?.close();
  await own?.stop();
});

function contextOf(answers: ContextAnswers, asked = question): Context {
  const base: Context = { target: { ...asked.target, namespace: NAMESPACE }, kills: [], revisions: [], pods: [] };
  return assembleContext(base, undefined, asked, answers, selects);
}

const skipsOf = (answers: ContextAnswers): string[] =>
  [...new Set(answers.skipped.map(({ what, reason }) => `${what}: ${reason}`))].toSorted();

function asUser(token?: string, clock: Clock = systemClock): Api {
  return createApi(own.transport(token, proxy.url), { clock, random: systemRandom, fieldManager: "oomscope" });
}

/** Gives the user exactly these rules and waits until the API server goes by them. */
async function grant(user: string, rules: readonly Rule[], name = `oomscope-${user}`): Promise<void> {
  const subjects = [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: user }];
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name };
  const mark = {
    apiGroups: [""],
    resources: ["configmaps"],
    resourceNames: [`mark-${rules.length}-${++marks}`],
    verbs: ["get"],
  };
  await own.api.apply(rbac("clusterroles"), {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name },
    rules: [...rules, mark],
  });
  await own.api.apply(rbac("clusterrolebindings"), {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name },
    subjects,
    roleRef,
  });
  const api = createApi(own.transport(own.server.token(user)), {
    clock: systemClock,
    random: systemRandom,
    fieldManager: "t",
  });
  await expect
    .poll(
      () =>
        api
          .get(configmaps, { namespace: NAMESPACE, name: mark.resourceNames[0] ?? "" })
          .catch((e: { reason: string }) => e.reason),
      { timeout: 20_000, interval: 50 },
    )
    .toBe("NotFound");
}
let marks = 0;

describe("with the rights of config/rbac", () => {
  test("everything is read, of this namespace and this node alone, and nothing else is kept", async () => {
    await grant("alice", shipped("operator.yaml", "oomscope-operator"));
    const before = proxy.requests.length;
    const answers = await readContext(asUser(own.server.token("alice")), systemClock, question, BUDGET_MS);
    // There is no metrics-server here, and no leave to read logs.
    expect(skipsOf(answers)).toEqual(["metrics.k8s.io: NotFound", "previous log of app of thumbs-b-1: Forbidden"]);
    const asked = proxy.requests.slice(before).map((request) => decodeURIComponent(request.replace(/^GET /, "")));
    const allowed =
      /^\/apis?\/[^?]*\/namespaces\/media\/|^\/api\/v1\/nodes\/n1$|^\/api\/v1\/namespaces\/default\/events\?.*fieldSelector=involvedObject\.kind=Node,involvedObject\.name=n1/;
    expect(asked.filter((path) => !allowed.test(path))).toEqual([]);

    const context = contextOf(answers);
    expect(Context.parse(JSON.parse(JSON.stringify(context)))).toBeDefined();
    expect(JSON.stringify(context)).not.toContain("canary");
    expect(context.revisions.map(({ name, current }) => [name, current])).toEqual([
      ["thumbs-b", true],
      ["thumbs-a", false],
    ]);
    const [snapshot] = context.snapshots ?? [];
    expect(snapshot?.pods).toMatchObject([
      {
        name: "thumbs-b-1",
        owners: [
          { kind: "ReplicaSet", name: "thumbs-b" },
          { kind: "Deployment", name: "thumbs" },
        ],
        // The LimitRanger of this very server has filled in the side-car's.
        containers: [
          { name: "app", memoryLimit: { bytes: 128 << 20, from: "ContainerSpec" } },
          { name: "sidecar", memoryLimit: { bytes: 256 << 20, from: "LimitRange" } },
        ],
      },
    ]);
    expect(snapshot?.limitRanges).toEqual([{ name: "defaults", defaultBytes: 256 << 20 }]);
    expect(snapshot?.autoscalers).toMatchObject([{ name: "thumbs", maxReplicas: 5 }]);
    expect(snapshot?.budgets).toMatchObject([{ name: "thumbs", minAvailable: "1" }]);
    expect(context.events).toMatchObject([
      { reason: "Killing", message: "Stopping container app, password=[redacted:value]" },
      { reason: "SystemOOM", about: { kind: "Node", name: "n1" }, clock: "Node" },
    ]);
  });

  test.each<[string, string, string]>([
    ["pods", "", "pod thumbs-b-1: Forbidden"],
    ["nodes", "", "node: Forbidden"],
    ["events", "", "events: Forbidden"],
    ["limitranges", "", "limitranges: Forbidden"],
    ["deployments", "apps", "target: Forbidden"],
    ["replicasets", "apps", "revisions: Forbidden"],
    ["horizontalpodautoscalers", "autoscaling", "horizontalpodautoscalers: Forbidden"],
    ["poddisruptionbudgets", "policy", "poddisruptionbudgets: Forbidden"],
  ])("but without %s, that is skipped and the rest is there", async (resource, group, skipped) => {
    const rules = shipped("operator.yaml", "oomscope-operator").map((rule) =>
      rule.apiGroups.includes(group) ? { ...rule, resources: rule.resources.filter((r) => r !== resource) } : rule,
    );
    await grant(
      "bob",
      rules.filter((rule) => rule.resources.length > 0),
    );
    const answers = await readContext(asUser(own.server.token("bob")), systemClock, question, BUDGET_MS);
    expect(skipsOf(answers)).toContain(skipped);
    expect(skipsOf(answers).filter((line) => line.endsWith("Forbidden") && !line.startsWith("previous log"))).toEqual(
      resource === "events" ? ["events of the node: Forbidden", skipped].toSorted() : [skipped],
    );
    expect(contextOf(answers).snapshots).toHaveLength(1);
  });

  test("the role for logs is what lets them be asked for", async () => {
    await grant("alice", [
      ...shipped("operator.yaml", "oomscope-operator"),
      ...shipped("podlogs.yaml", "oomscope-pod-logs"),
    ]);
    const answers = await readContext(asUser(own.server.token("alice")), systemClock, question, BUDGET_MS);
    const line = skipsOf(answers).find((one) => one.startsWith("previous log"));
    // Allowed, but no kubelet is there to answer.
    expect(line).toBeDefined();
    expect(line).not.toContain("Forbidden");
  });

  test("the revisions of a StatefulSet are read with what is shipped, and skipped without", async () => {
    await make(statefulsets, "web", { spec: { serviceName: "web", selector, template } });
    await make(controllerrevisions, "web-1", {
      metadata: { labels: { app: "thumbs" }, ...controlledBy("StatefulSet", "web") },
      revision: 1,
      data: { spec: { template } },
    });
    const target = { kind: "StatefulSet", name: "web", uid: uids["StatefulSet/web"] ?? "" };
    const asked = { ...question, target, logs: [] };
    const rules = shipped("operator.yaml", "oomscope-operator");
    await grant("alice", rules);
    const answers = await readContext(asUser(own.server.token("alice")), systemClock, asked, BUDGET_MS);
    const context = contextOf(answers, asked);
    expect(context.revisions).toMatchObject([{ name: "web-1", revision: "1", images: [container.image] }]);
    expect(JSON.stringify(context)).not.toContain("canary");
    await grant(
      "bob",
      rules.filter(({ resources }) => !resources.includes("controllerrevisions")),
    );
    const less = await readContext(asUser(own.server.token("bob")), systemClock, asked, BUDGET_MS);
    expect(skipsOf(less)).toContain("revisions: Forbidden");
  });
});

test("somebody without any right gets a context that says so for everything", async () => {
  const answers = await readContext(asUser("no-such-token"), systemClock, question, BUDGET_MS);
  const context = contextOf(answers);
  expect(context.snapshots?.[0]?.pods).toEqual([]);
  expect(context.snapshots?.[0]?.skipped.map(({ reason }) => reason)).toEqual(Array(10).fill("Unauthorized"));
});

test("objects that have been replaced under the same name are not taken for the ones that were meant", async () => {
  const asked = {
    ...question,
    target: { ...question.target, uid: "gone" },
    pods: [{ name: "thumbs-b-1", uid: "gone-as-well" }],
  };
  const context = contextOf(await readContext(asUser(), systemClock, asked, BUDGET_MS), asked);
  expect(context.snapshots?.[0]?.pods).toEqual([]);
  expect(context.snapshots?.[0]?.skipped).toContainEqual({
    what: "pod thumbs-b-1",
    reason: "Replaced",
    detail: "another pod has its name now",
  });
  expect(context.snapshots?.[0]?.skipped).toContainEqual({
    what: "target",
    reason: "Replaced",
    detail: "another Deployment is named thumbs now",
  });
});

test("the two looks are one part on disk, and a store that refuses the last one is an answer, not a failure", async () => {
  const root = await temporaryFolder();
  const store = await createDirectoryStore(root, { maxBytes: 2 ** 20, clock: systemClock });
  const directory = (id: string): string => store.describe(id)?.directory ?? "";
  const options = {
    api: asUser(),
    clock: systemClock,
    writeContext: (id: string, bytes: Uint8Array) => store.writeContext(id, bytes),
    readContext: async (id: string) => (await openPack(directory(id))).context,
  } as PerformOptions;
  const base: Context = { target: { ...question.target, namespace: NAMESPACE }, kills: [], revisions: [], pods: [] };
  const key = { namespace: NAMESPACE, kind: "Deployment", name: "thumbs" } as const;
  const look = (stage: "Start" | "End", over: Partial<PerformOptions> = {}) =>
    perform(
      key,
      { kind: "WriteContext", collection: "c1", base, question: { ...question, stage, logs: [] } },
      { ...options, ...over },
    );
  try {
    expect(await look("Start")).toBeUndefined();
    expect(await look("End")).toBeUndefined();
    // Whoever died after the write does it again, and nothing is doubled.
    expect(await look("End")).toBeUndefined();
    const { context } = await openPack(directory("c1"));
    expect(context?.snapshots?.map(({ stage }) => stage)).toEqual(["Start", "End"]);
    expect(context?.events).toHaveLength(2);
    const full = { writeContext: () => Promise.reject(new StorageFull("no room")) };
    expect(await look("End", full)).toMatchObject({ action: "WriteContext", reason: "StorageFull" });
    expect(await look("Start", full)).toMatchObject({ action: "CreateCollectionJob", reason: "StorageFull" });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});

test("a metrics API that is down is asked once, and holds nobody back", async () => {
  await own.api.create(apiservices, {
    metadata: { name: "v1beta1.metrics.k8s.io" },
    spec: {
      group: "metrics.k8s.io",
      version: "v1beta1",
      service: { namespace: "kube-system", name: "metrics-server" },
      insecureSkipTLSVerify: true,
      groupPriorityMinimum: 100,
      versionPriority: 100,
    },
  });
  let waits = 0;
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => {
      waits++;
      return systemClock.sleep(ms, signal);
    },
  };
  await expect
    .poll(
      async () => {
        waits = 0;
        return skipsOf(await readContext(asUser(undefined, clock), clock, question, BUDGET_MS));
      },
      { timeout: 30_000, interval: 200 },
    )
    .toContain("metrics.k8s.io: ServerError");
  expect(waits).toBe(0);
  await own.api.remove(apiservices, { name: "v1beta1.metrics.k8s.io" });
});

test("an API server that stands still costs the budget and no more, and everything is said to be late", async () => {
  const api = asUser();
  await readContext(api, systemClock, question, BUDGET_MS);
  await own.server.pause();
  try {
    const answers = await readContext(api, systemClock, question, 500);
    expect(new Set(answers.skipped.map(({ reason }) => reason))).toEqual(new Set(["TimedOut"]));
    expect(contextOf(answers).snapshots?.[0]?.skipped.length).toBeGreaterThan(5);
  } finally {
    own.server.resume();
  }
});
