/** What policies say of themselves, and what their triggers do, with the whole operator on a real API server. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/seams.ts";
import { committedCrd, installCrd, installCrds, type Json } from "../api/crdserver.ts";
import { type ApiServer, kubectlPath, startApiServer } from "../support/apiserver.ts";
import { type MetricsServer, ownAddress, startMetricsServer } from "../support/metricsserver.ts";
import { admin, type Admin, install, investigations, type Item } from "./cluster.ts";
import { type Life, liveAt, until } from "./life.ts";

const MERGE = "application/merge-patch+json";
const GROUP = "/apis/oomscope.dev/v1alpha1";
const MIB = 2 ** 20;

let server: ApiServer;
let api: Admin;
let evidence: string;
let life: Life;
const address = ownAddress();
const kubectl = kubectlPath();

beforeAll(async () => {
  server = await startApiServer({ apiServerArgs: ["--enable-aggregator-routing=true"] });
  api = admin(server);
  evidence = mkdtempSync(join(tmpdir(), "oomscope-policies-"));
  await installCrds(api);
  await install(api);
});
afterAll(async () => {
  await life.end();
  await api.close();
  await server.stop();
  rmSync(evidence, { recursive: true, force: true });
});

interface Told {
  readonly observedGeneration?: number;
  readonly matchedWorkloads?: number;
  readonly activeInvestigations?: number;
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
}

interface Story {
  readonly policy?: { readonly name: string };
  readonly conditions?: Told["conditions"];
  readonly timeline?: readonly { readonly event: string; readonly message: string }[];
}

const path = (namespace: string | undefined, name: string): string =>
  namespace === undefined
    ? `${GROUP}/clustermemorypolicies/${name}`
    : `${GROUP}/namespaces/${namespace}/memorypolicies/${name}`;

async function policy(namespace: string | undefined, name: string, spec: Json): Promise<void> {
  const kind = namespace === undefined ? "ClusterMemoryPolicy" : "MemoryPolicy";
  const collection = path(namespace, name).replace(/\/[^/]+$/, "");
  await api.must("POST", collection, { apiVersion: "oomscope.dev/v1alpha1", kind, metadata: { name }, spec });
}

const toldOf = async (namespace: string | undefined, name: string): Promise<Told> =>
  (await api.must("GET", path(namespace, name)))["status"] ?? {};

/** `Ready True InForce`, one for each condition. */
const facts = async (namespace: string | undefined, name: string): Promise<string[]> =>
  ((await toldOf(namespace, name)).conditions ?? []).map((c) => `${c.type} ${c.status} ${c.reason}`);

const has = (namespace: string | undefined, name: string, fact: string) => async (): Promise<boolean> =>
  (await facts(namespace, name)).includes(fact);

/** A namespace with a bare pod for each name, which runs and has a limit. */
async function place(namespace: string, ...names: string[]): Promise<void> {
  await api.must("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await api.must("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: "default" } });
  for (const name of names) {
    await api.must("POST", `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name, labels: { app: name } },
      spec: {
        nodeName: "n1",
        automountServiceAccountToken: false,
        containers: [{ name: "app", image: "none", resources: { limits: { memory: "64Mi" } } }],
      },
    });
    const startedAt = "2026-01-01T00:00:00Z";
    const container = {
      name: "app",
      image: "none",
      imageID: "none",
      ready: true,
      started: true,
      restartCount: 0,
      containerID: `containerd://${"2".padStart(64, "0")}`,
      state: { running: { startedAt } },
    };
    const status = {
      phase: "Running",
      startTime: startedAt,
      conditions: [{ type: "Ready", status: "True" }],
      containerStatuses: [container],
    };
    await api.must("PATCH", `/api/v1/namespaces/${namespace}/pods/${name}/status`, { status }, MERGE);
  }
}

describe("without a metrics API", () => {
  beforeAll(async () => {
    await place("one", "a", "b");
    await policy(undefined, "limit", { mode: "Observe", maxMode: "Recommend" });
    await policy("one", "mine", {
      mode: "Enforce",
      selector: { matchLabels: { app: "a" } },
      triggers: { memoryUsage: {}, nodeMemAvailable: {} },
    });
    await policy("one", "twin", { selector: { matchLabels: { app: "a" } } });
    life = await liveAt({ server, evidence }, -1, "lose the reply");
  });

  test("each says whether it is in force, who comes first, who lowers it, and that its triggers do nothing", async () => {
    await until("all have said so", has("one", "mine", "TriggersReady False MetricsUnavailable"));
    expect(await facts("one", "mine")).toEqual([
      "Ready False DisallowedMode",
      "Shadowed False NotShadowed",
      "TriggersReady False MetricsUnavailable",
    ]);
    const mine = await toldOf("one", "mine");
    expect(mine).toMatchObject({ observedGeneration: 1, matchedWorkloads: 1, activeInvestigations: 0 });
    expect(mine.conditions?.map(({ message }) => message)).toEqual([
      "Mode Enforce is not allowed everywhere that this policy is in force: ClusterMemoryPolicy/limit allows no more than Recommend",
      "MemoryPolicy/mine comes before ClusterMemoryPolicy/limit (1 workload), MemoryPolicy/twin (1 workload)",
      "Doing nothing: memoryUsage, nodeMemAvailable, because the cluster has no metrics API (metrics.k8s.io); install metrics-server",
    ]);
    await until("the twin has said so", has("one", "twin", "Ready False Shadowed"));
    await until("the limit has said so", has(undefined, "limit", "Shadowed True Shadowed"));
    expect(await facts(undefined, "limit")).toContain("Ready True InForce");
  });

  test.skipIf(kubectl === undefined)("kubectl shows it in columns", () => {
    const args = ["--kubeconfig", server.kubeconfig, "get", "mpol", "mine", "-n", "one"];
    const table = execFileSync(kubectl ?? "", args, { encoding: "utf8" });
    expect(table).toMatch(/^NAME +MODE +READY +REASON +WORKLOADS +ACTIVE +MITIGATED +TRIGGERS +AGE\n/);
    expect(table).toMatch(/^mine +Enforce +False +DisallowedMode +1 +0 +0 +MetricsUnavailable +\d+s$/m);
  });

  test("an Event told who is not ready", async () => {
    const events = async (): Promise<string[]> =>
      (await api.list("/api/v1/namespaces/one/events")).map(
        (e) => `${(e["involvedObject"] as Json)["name"] as string} ${e["reason"] as string}`,
      );
    await until("both are told", async () => (await events()).length >= 2);
    expect((await events()).toSorted()).toEqual(["mine DisallowedMode", "twin Shadowed"]);
  });

  test("what has been said is not said again", async () => {
    const versions = async (): Promise<string[]> =>
      [...(await api.list(`${GROUP}/memorypolicies`)), ...(await api.list(`${GROUP}/clustermemorypolicies`))].map(
        ({ metadata }) => metadata.resourceVersion,
      );
    const before = await versions();
    await systemClock.sleep(6_000); // More than one pass.
    expect(await versions()).toEqual(before);
  });

  test("a change is told with the generation that it speaks of", async () => {
    await api.must("PATCH", path("one", "mine"), { spec: { mode: "Recommend", triggers: null } }, MERGE);
    await until("it is in force", has("one", "mine", "Ready True InForce"));
    expect(await toldOf("one", "mine")).toMatchObject({ observedGeneration: 2 });
    expect((await facts("one", "mine")).join()).not.toContain("TriggersReady");
  });

  test("one that this version cannot read is named, allows nothing, and is mended by a change", async () => {
    const crd = committedCrd("memorypolicies");
    await installCrd(api, "memorypolicies", withMode(crd, "Shout"));
    await policy("one", "newer", { mode: "Shout", selector: { matchLabels: { app: "b" } } });
    await until("it says so", has("one", "newer", "Ready False InvalidSpec"));
    const [ready] = (await toldOf("one", "newer")).conditions ?? [];
    expect(ready?.message).toMatch(
      /^spec\.mode must be one of Observe, Recommend, Enforce, not "Shout"\. Until it is mended/,
    );
    // Nobody takes over what it may have narrowed.
    expect((await toldOf("one", "newer")).matchedWorkloads).toBe(1);
    await api.must("PATCH", path("one", "newer"), { spec: { mode: "Observe" } }, MERGE);
    await until("it is in force", has("one", "newer", "Ready True InForce"));
    await installCrd(api, "memorypolicies", crd);
  });

  test("an investigation whose policy is deleted follows the next, or stands still where it named the one that is gone", async () => {
    const investigate = (name: string, pod: string, policyRef: Json): Promise<Item> =>
      api.must("POST", `${GROUP}/namespaces/one/memoryinvestigations`, {
        apiVersion: "oomscope.dev/v1alpha1",
        kind: "MemoryInvestigation",
        metadata: { name },
        spec: { targetRef: { apiVersion: "v1", kind: "Pod", name: pod }, ...policyRef },
      });
    const story = async (name: string): Promise<Story> =>
      (await api.must("GET", `${GROUP}/namespaces/one/memoryinvestigations/${name}`))["status"] ?? {};
    const stalled = async (name: string): Promise<string | undefined> =>
      (await story(name)).conditions?.find(({ type, status }) => type === "Stalled" && status === "True")?.reason;
    await investigate("named", "a", { policyRef: { kind: "MemoryPolicy", name: "mine" } });
    await investigate("selected", "b", {});
    await until("one follows mine", async () => (await story("named")).policy?.name === "mine");
    await until("one follows newer", async () => (await story("selected")).policy?.name === "newer");
    await api.must("DELETE", path("one", "mine"));
    await api.must("DELETE", path("one", "newer"));
    await until("one stands still", async () => (await stalled("named")) === "PolicyNotFound");
    await until("the other follows the cluster's", async () => (await story("selected")).policy?.name === "limit");
    const said = (await story("selected")).timeline?.find(({ event }) => event === "PolicyReplaced")?.message;
    expect(said).toMatch(/^It follows ClusterMemoryPolicy limit .* no longer MemoryPolicy newer /);
    await policy("one", "mine", {});
    await until("it goes on", async () => (await stalled("named")) === undefined);
  });
});

describe.skipIf(address === undefined)("with a metrics API behind it", () => {
  let metrics: MetricsServer;
  beforeAll(async () => {
    metrics = await startMetricsServer(address ?? "");
    await metrics.install(api);
    await place("two", "full", "calm");
    metrics.pods.set("two/full/app", 62 * MIB);
    metrics.pods.set("two/calm/app", 10 * MIB);
    await place("three", "small", "large");
    metrics.pods.set("three/small/app", 10 * MIB);
    metrics.pods.set("three/large/app", 30 * MIB);
    metrics.nodes.set("n1", 960 * MIB);
    await api.must("PATCH", "/api/v1/nodes/n1/status", { status: { capacity: { memory: "1000Mi" } } }, MERGE);
    await policy("three", "node", { triggers: { nodeMemAvailable: { percent: 8, for: "1s" } } });
    await policy("two", "watch", { triggers: { memoryUsage: { percentOfLimit: 90, for: "1s" } } });
    await life.end();
    life = await liveAt({ server, evidence }, -1, "lose the reply");
  });
  afterAll(() => metrics.stop());

  test("a pod that stays near its limit is investigated before anything is killed, and the story says why", async () => {
    await until("it reads", has("two", "watch", "TriggersReady True MetricsRead"));
    const found = async (): Promise<Item[]> => investigations(api, "two");
    await until("an investigation has begun", async () => (await found())[0]?.["status"] !== undefined, 50);
    const [investigation] = await found();
    expect(investigation?.["spec"]).toMatchObject({ targetRef: { kind: "Pod", name: "full" }, container: "app" });
    const because = investigation?.metadata.annotations?.["oomscope.dev/opened-because"];
    expect(because).toMatch(
      /^MemoryNearLimit: app of full uses 96 % of its limit, and has been at 90 % or above for \d+ s$/,
    );
    const status = (investigation?.["status"] ?? {}) as { timeline?: readonly { event: string; message: string }[] };
    expect(status.timeline?.[0]).toMatchObject({ event: "InvestigationOpened", message: because });
    expect(await found()).toHaveLength(1);
    const told = (await api.list("/api/v1/namespaces/two/events")).map((event) => event["reason"]);
    expect(told).toContain("MemoryNearLimit");
    await until("it is counted", async () => (await toldOf("two", "watch")).activeInvestigations === 1);
  });

  test("a node that runs short is looked at in the workload that uses most on it, of those that such a policy watches", async () => {
    const found = async (): Promise<Item[]> => investigations(api, "three");
    await until("an investigation has begun", async () => (await found()).length > 0, 50);
    const [investigation] = await found();
    expect(investigation?.["spec"]).toMatchObject({ targetRef: { kind: "Pod", name: "large" } });
    expect(investigation?.metadata.annotations?.["oomscope.dev/opened-because"]).toMatch(
      /^NodeMemoryLow: Node n1 has had less than 8 % of its memory available for \d+ s \(4 % now\); .* large uses most$/,
    );
  });
});

function withMode(crd: Json, mode: string): Json {
  const text = JSON.stringify(crd).replace(
    '"enum":["Observe","Recommend","Enforce"]',
    `"enum":["Observe","Recommend","Enforce","${mode}"]`,
  );
  return JSON.parse(text) as Json;
}
