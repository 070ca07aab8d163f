/**
 * What becomes of one finding in each mode, with the whole operator on a real API server. What was not allowed is proved by every object of the
 * cluster: none but oomscope's own has another resourceVersion.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../src/seams.ts";
import { installCrds } from "../api/crdserver.ts";
import { type ApiServer, startApiServer } from "../support/apiserver.ts";
import { admin, type Admin, COLLECTORS, install, type Item, OPERATOR } from "./cluster.ts";
import { type Life, liveAt, until } from "./life.ts";
import {
  deploymentController,
  type DeploymentController,
  foundLeaky,
  generousCluster,
  type PolicyChoice,
} from "./rolledout.ts";

const FINDING = "3f9c0a1b2c4d";
const MERGE = "application/merge-patch+json";

let server: ApiServer;
let api: Admin;
let evidence: string;
let life: Life;

beforeAll(async () => {
  server = await startApiServer();
  api = admin(server);
  evidence = mkdtempSync(join(tmpdir(), "oomscope-modes-"));
  await installCrds(api);
  await install(api);
  await generousCluster(api);
  life = await liveAt({ server, evidence }, -1, "lose the reply");
});
afterAll(async () => {
  await life.end();
  await api.close();
  await server.stop();
  rmSync(evidence, { recursive: true, force: true });
});

/** What the API server itself keeps up to date. */
const ITS_OWN_GROUPS: ReadonlySet<string> = new Set([
  "oomscope.dev",
  "apiextensions.k8s.io",
  "apiregistration.k8s.io",
  "flowcontrol.apiserver.k8s.io",
]);
const ITS_OWN_NAMESPACES: ReadonlySet<string> = new Set([OPERATOR, COLLECTORS, "kube-system", "default"]);

/** Every object of every kind that the server lists, by its path, but for Events, leases, oomscope's own and what the server keeps up to date. */
async function everything(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const groups = ["/api/v1", ...(await groupVersions())];
  for (const group of groups) {
    const { resources } = (await api.must("GET", group)) as unknown as {
      resources: readonly { readonly name: string; readonly verbs: readonly string[] }[];
    };
    for (const { name, verbs } of resources) {
      if (name.includes("/") || !verbs.includes("list") || ["events", "leases"].includes(name)) continue;
      for (const { metadata } of await api.list(`${group}/${name}`)) {
        const { namespace = "" } = metadata as Item["metadata"] & { readonly namespace?: string };
        if (!ITS_OWN_NAMESPACES.has(namespace))
          found[`${group}/${name}/${namespace}/${metadata.name}`] = metadata.resourceVersion;
      }
    }
  }
  return found;
}

async function groupVersions(): Promise<string[]> {
  const { groups } = (await api.must("GET", "/apis")) as unknown as {
    groups: readonly { readonly name: string; readonly preferredVersion: { readonly groupVersion: string } }[];
  };
  return groups
    .filter(({ name }) => !ITS_OWN_GROUPS.has(name))
    .map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`);
}

interface Told {
  readonly result?: string;
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  readonly mitigations?: readonly {
    readonly state: string;
    readonly reason: string;
    readonly patch?: string;
    readonly approvedBy?: string;
  }[];
}

interface Scene {
  readonly world: DeploymentController;
  told(): Promise<Told>;
  reason(): Promise<string | undefined>;
  approve(finding: string): Promise<unknown>;
  generation(): Promise<number>;
}

async function scene(namespace: string, choice: PolicyChoice): Promise<Scene> {
  const path = `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations/thumbs`;
  await foundLeaky(api, namespace, choice);
  const told = async (): Promise<Told> => (await api.must("GET", path))["status"] ?? {};
  return {
    world: deploymentController(api, namespace),
    told,
    reason: async () => (await told()).conditions?.find(({ type }) => type === "Mitigated")?.reason,
    approve: (finding) =>
      api.must("PATCH", path, { spec: { approvedActions: [{ action: "Rollback", finding }] } }, MERGE),
    generation: async () => {
      const { metadata } = await api.must("GET", `/apis/apps/v1/namespaces/${namespace}/deployments/thumbs`);
      return (metadata as Item["metadata"] & { readonly generation: number }).generation;
    },
  };
}

const has =
  (it: Scene, result: string): (() => Promise<boolean>) =>
  async () =>
    (await it.told()).result === result;

/** Some passes of the operator: what it would do, it would have done by then. */
const aWhile = (): Promise<void> => systemClock.sleep(1_500);

test(
  "Observe changes nothing but oomscope's own objects, also when somebody approves",
  { timeout: 60_000 },
  async () => {
    const it = await scene("observe", { mode: "Observe", approval: "Manual" });
    const before = await everything();
    await until("it has ended", has(it, "Recommended"));
    expect(await it.reason()).toBe("ModeObserve");
    await it.approve(FINDING);
    await aWhile();
    expect(await it.told()).toMatchObject({ result: "Recommended", mitigations: [{ state: "Refused" }] });
    expect(await everything()).toEqual(before);
    expect(Object.keys(before)).toContain("/apis/apps/v1/deployments/observe/thumbs");
    await it.world.stop();
  },
);

test(
  "Recommend proposes, touches nothing, and acts once when a person approves this finding",
  { timeout: 60_000 },
  async () => {
    const it = await scene("recommend", { mode: "Recommend", approval: "Manual" });
    const before = await everything();
    await until("it is proposed", has(it, "Recommended"));
    expect(await it.told()).toMatchObject({ mitigations: [{ state: "Proposed", reason: "AwaitingApproval" }] });
    expect(JSON.parse((await it.told()).mitigations?.[0]?.patch ?? "[]")).toContainEqual({
      op: "replace",
      path: "/spec/template/spec/containers/0/image",
      value: "thumbs:1",
    });
    await it.approve("000000000000");
    await aWhile();
    expect(await everything()).toEqual(before);

    await it.approve(FINDING);
    await until("it is rolled back", has(it, "Mitigated"));
    expect(await it.told()).toMatchObject({ mitigations: [{ state: "Done", approvedBy: "Person" }] });
    expect(await it.reason()).toBe("RolledBack");
    await aWhile();
    expect(await it.generation()).toBe(3);
    expect(it.world.doneBeforeComplete).toBe(false);
    await it.world.stop();
  },
);

test("Enforce refuses a bad roll-back: the previous revision was killed as well", { timeout: 60_000 }, async () => {
  const path = "/apis/oomscope.dev/v1alpha1/namespaces/bad/memoryinvestigations";
  await api.must("POST", "/api/v1/namespaces", { metadata: { name: "bad" } });
  await api.must("POST", path, {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name: "earlier" },
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" } },
  });
  const kill = {
    id: "ba9876543210",
    pod: { name: "p", uid: "u" },
    container: "app",
    time: "2026-01-01T00:00:00Z",
    revision: "thumbs-h1",
    classification: "ContainerKilled",
    sources: ["PodStatus"],
  };
  await api.must("PATCH", `${path}/earlier/status`, { status: { kills: [kill], result: "Recommended" } }, MERGE);
  const it = await scene("bad", { mode: "Enforce", approval: "Automatic" });
  await until("it has ended", has(it, "Recommended"));
  expect(await it.reason()).toBe("NoHealthyRevision");
  await aWhile();
  expect(await it.generation()).toBe(2);
  await it.world.stop();
});
