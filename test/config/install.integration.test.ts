/**
 * Does a real API server take every way of installing oomscope, and do the fences hold there? It has a server of its own, because the policies
 * of config/components/restricted would be in the way of others.
 */
import { readdirSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { PACK_SCHEMA, type CollectionPlan } from "../../src/api/collection.ts";
import { collectorJob, type CollectorSettings } from "../../src/incident/collectorjob.ts";
import { type ApiServer, startApiServer } from "../support/apiserver.ts";
import { idOf, kubectl, kustomize, type Manifest, ROOT } from "./kustomize.ts";

let server: ApiServer;
let dispatcher: Agent;
beforeAll(async () => {
  server = await startApiServer();
  dispatcher = new Agent({ connect: { ca: server.ca } });
  await on("apply", "--server-side", "-k", "config/default");
  await on("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all");
});
afterAll(async () => {
  await dispatcher.destroy();
  await server.stop();
});

const on = (...words: string[]): Promise<string> => kubectl("--kubeconfig", server.kubeconfig, ...words);
const OPERATOR = "system:serviceaccount:oomscope-system:oomscope-operator";
const overlays = readdirSync(join(ROOT, "config/overlays"));

interface Answer {
  readonly status: number;
  readonly message: string;
  readonly warnings: readonly string[];
}

async function send(method: "POST" | "GET" | "PUT", path: string, body: unknown, as?: string): Promise<Answer> {
  const response = await request(`${server.url}${path}`, {
    method,
    dispatcher,
    headers: {
      authorization: `Bearer ${server.adminToken}`,
      "content-type": "application/json",
      ...(as === undefined ? {} : { "impersonate-user": as, "impersonate-group": "system:authenticated" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.body.text();
  const { message = "" } = text.startsWith("{") ? (JSON.parse(text) as { message?: string }) : { message: text };
  const warnings = [response.headers["warning"] ?? []].flat();
  return { status: response.statusCode, message, warnings };
}

describe("every way to install", () => {
  test.each([
    "config/default",
    "config/policies",
    "config/samples",
    "config/grafana",
    ...overlays.map((name) => `config/overlays/${name}`),
  ])("%s is taken whole, and applied again changes nothing", async (folder) => {
    if (folder === "config/samples") await on("create", "namespace", "media");
    const flags = folder === "config/samples" ? ["-f", folder] : ["-k", folder];
    await on("apply", "--server-side", "--force-conflicts", ...flags);
    await expect(on("diff", "--server-side", "--force-conflicts", ...flags)).resolves.toBe("");
  });

  test("config/prometheus builds; but for the kinds of the Prometheus Operator nothing in it is unknown to the API server", async () => {
    const objects = await kustomize("config/prometheus");
    const foreign = objects.filter(({ apiVersion }) => apiVersion === "monitoring.coreos.com/v1");
    expect(foreign.map(({ kind }) => kind)).toEqual(["PodMonitor", "PrometheusRule"]);
    expect(objects.filter((object) => !foreign.includes(object)).map(idOf)).toEqual([]);
  });

  test("the components can be combined", async () => {
    const folder = join(ROOT, "build/all-components");
    await mkdir(folder, { recursive: true });
    try {
      const components = readdirSync(join(ROOT, "config/components")).map((name) => `../../config/components/${name}`);
      await writeFile(
        join(folder, "kustomization.yaml"),
        JSON.stringify({ resources: ["../../config/default"], components }),
      );
      const objects = await kustomize(folder);
      expect(new Set(objects.map(idOf)).size).toBe(objects.length);
      const deployment = JSON.stringify(objects.find(({ kind }) => kind === "Deployment"));
      expect(deployment).toContain('"replicas":2');
      expect(deployment).toContain("OOMSCOPE_EVIDENCE_S3_BUCKET");
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

const SETTINGS: CollectorSettings = {
  namespace: "oomscope-collectors",
  image: "localhost/oomscope/collector:dev",
  serviceAccount: "oomscope-collector",
  priorityClass: "oomscope-collector",
  evidenceUrl: "https://10.0.0.9:8443",
  evidenceServerName: "oomscope-evidence.oomscope-system.svc",
  evidenceCa: "pem",
  audience: "oomscope-evidence",
};
const PLAN: CollectionPlan = {
  schema: PACK_SCHEMA,
  collection: "oomc-1",
  purpose: "Diagnose",
  pods: [],
  intervalMs: 5_000,
  durationMs: 60_000,
  stallBudgetMs: 500,
};
const PROFILED: CollectionPlan = {
  ...PLAN,
  profile: { durationMs: 10_000, frequencyHz: 99 },
};

interface PodSpec {
  readonly [field: string]: unknown;
  readonly containers: readonly Readonly<Record<string, unknown>>[];
  readonly volumes: readonly unknown[];
}

const jobOf = (plan: CollectionPlan) =>
  collectorJob(plan, "node-1", "media/Deployment/x", SETTINGS) as { spec: { template: { spec: PodSpec } } };

/** The pod that the Job controller would make. */
function collectorPod(plan: CollectionPlan, change: (spec: PodSpec) => object = (spec) => spec): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `pod-${PLAN.collection}` },
    spec: change(jobOf(plan).spec.template.spec),
  };
}

const makePod = (namespace: string, pod: object): Promise<Answer> =>
  send("POST", `/api/v1/namespaces/${namespace}/pods?dryRun=All`, pod);

async function operatorPod(folder: string): Promise<object> {
  const deployment = (await kustomize(folder)).find(({ kind }) => kind === "Deployment");
  if (deployment === undefined) throw new Error(`${folder} has no Deployment`);
  const { template } = deployment.spec as { template: { spec: object } };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "operator" },
    // There is no controller that makes tokens here.
    spec: { ...template.spec, automountServiceAccountToken: false },
  };
}

describe("Pod Security", () => {
  test.each(overlays)("the operator's pod of the overlay %s passes `restricted`, without a warning", async (name) => {
    const answer = await makePod("oomscope-system", await operatorPod(`config/overlays/${name}`));
    expect(answer).toEqual({ status: 201, message: "", warnings: [] });
  });

  test("a collector is refused where the operator lives", async () => {
    await on("-n", "oomscope-system", "create", "serviceaccount", "oomscope-collector");
    const refused = await makePod("oomscope-system", collectorPod(PLAN));
    expect(refused.status).toBe(403);
    expect(refused.message).toContain('violates PodSecurity "restricted:latest"');
  });

  test("nothing that is installed makes another namespace privileged", async () => {
    const namespaces = (await kustomize("config/default")).filter(({ kind }) => kind === "Namespace");
    const level = ({ metadata }: Manifest) => metadata.labels?.["pod-security.kubernetes.io/enforce"];
    expect(Object.fromEntries(namespaces.map((object) => [object.metadata.name, level(object)]))).toEqual({
      "oomscope-system": "restricted",
      "oomscope-collectors": "privileged",
    });
  });
});

describe("the fence around the collectors (overlay restricted)", () => {
  beforeAll(async () => {
    await on("apply", "--server-side", "--force-conflicts", "-k", "config/overlays/restricted");
    await on("-n", "oomscope-collectors", "create", "serviceaccount", "other");
    // A policy is enforced a moment after it is there.
    const shell = collectorPod(PLAN, (spec) => ({ ...spec, hostNetwork: true }));
    await vi.waitFor(async () => expect((await makePod("oomscope-collectors", shell)).status).toBe(422), 30_000);
    await vi.waitFor(async () => expect((await makeJob(undefined)).status).toBe(422), 30_000);
  });

  const makeJob = (as: string | undefined): Promise<Answer> =>
    send("POST", "/apis/batch/v1/namespaces/oomscope-collectors/jobs?dryRun=All", jobOf(PLAN), as);
  const container = (change: object) => (spec: PodSpec) => ({
    ...spec,
    containers: spec.containers.map((of) => ({ ...of, ...change })),
  });
  const context = (change: object) => (spec: PodSpec) => ({
    ...spec,
    containers: spec.containers.map((of) => ({
      ...of,
      securityContext: { ...(of["securityContext"] as object), ...change },
    })),
  });

  test.each([
    ["without a profile", PLAN],
    ["with one", PROFILED],
  ])("a collector %s is taken", async (_, plan) => {
    expect(await makePod("oomscope-collectors", collectorPod(plan))).toEqual({
      status: 201,
      message: "",
      warnings: [],
    });
  });

  const strangers: readonly (readonly [what: string, change: (spec: PodSpec) => object, refusal: string])[] = [
    ["another image", container({ image: "docker.io/library/busybox" }), "only one container with the image"],
    ["a command of its own", container({ command: ["/bin/sh"] }), "its own program may run"],
    [
      "a second container",
      (spec) => ({ ...spec, containers: [...spec.containers, { name: "more", image: SETTINGS.image }] }),
      "only one container",
    ],
    [
      "an init container",
      (spec) => ({ ...spec, initContainers: [{ name: "first", image: SETTINGS.image }] }),
      "only one container",
    ],
    ["the account of another", (spec) => ({ ...spec, serviceAccountName: "other" }), "must use the account"],
    ["the host's network", (spec) => ({ ...spec, hostNetwork: true }), "hostNetwork"],
    [
      "the host's root",
      (spec) => ({ ...spec, volumes: [...spec.volumes, { name: "root", hostPath: { path: "/" } }] }),
      "only /proc and /sys/fs/cgroup",
    ],
    [
      "a secret",
      (spec) => ({ ...spec, volumes: [...spec.volumes, { name: "s", secret: { secretName: "any" } }] }),
      "only a token",
    ],
    [
      "a writable /proc",
      container({ volumeMounts: [{ name: "proc", mountPath: "/host/proc" }] }),
      "must be mounted read-only",
    ],
    ["full privileges", context({ privileged: true, allowPrivilegeEscalation: true }), "may not be privileged"],
    ["SYS_ADMIN", context({ capabilities: { drop: ["ALL"], add: ["SYS_ADMIN"] } }), "other capabilities"],
    ["no security context", container({ securityContext: undefined }), "may not be privileged"],
    ["no volumes", (spec) => ({ ...spec, volumes: undefined, containers: [{ name: "x", image: "y" }] }), "only one"],
    ["no seccomp profile", (spec) => ({ ...spec, securityContext: undefined }), "needs a seccomp profile"],
  ];
  test.each(strangers)("a pod with %s is refused, and told why", async (_, change, refusal) => {
    const answer = await makePod("oomscope-collectors", collectorPod(PLAN, change));
    expect(answer.status).toBe(422);
    expect(answer.message).toContain(refusal);
  });

  test("only the operator makes Jobs there, even an admin does not", async () => {
    expect((await makeJob(OPERATOR)).status).toBe(201);
    const refused = await makeJob(undefined);
    expect(refused.message).toContain("only oomscope's operator makes Jobs");
  });

  test("nobody gets a shell in a collector, or a container beside it", async () => {
    const path = "/api/v1/namespaces/oomscope-collectors/pods";
    expect((await send("POST", path, collectorPod(PLAN))).status).toBe(201);
    for (const session of ["exec?command=sh", "attach?", "portforward?"]) {
      const refused = await send("POST", `${path}/pod-oomc-1/${session}`, undefined);
      expect(refused.message).toContain("nobody runs anything in or beside a collector");
    }
  });

  test("other namespaces are left alone", async () => {
    await on("create", "namespace", "elsewhere");
    await on("-n", "elsewhere", "create", "serviceaccount", "oomscope-collector");
    const pod = collectorPod(PLAN, container({ image: "docker.io/library/busybox" }));
    expect((await makePod("elsewhere", pod)).status).toBe(201);
  });
});
