/**
 * The chart in the real helm: it renders the same objects as config/, refuses values that cannot be, installs on a real API server, and leaves
 * nothing there but the kinds. `make test-helm`
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { idOf, kubectl, kustomize, type Manifest, manifests, ROOT } from "../config/kustomize.ts";
import { type ApiServer, startApiServer } from "../support/apiserver.ts";

const run = promisify(execFile);
const CHART = join(ROOT, "charts/oomscope");
let binary: string;
beforeAll(async () => {
  binary = (await run(join(import.meta.dirname, "build"), ["--path"])).stdout.trim();
});

const helm = async (...words: string[]): Promise<string> => (await run(binary, words, { maxBuffer: 2 ** 26 })).stdout;
const render = async (...words: string[]): Promise<Manifest[]> =>
  manifests(
    await helm("template", "oomscope", CHART, "--namespace", "oomscope-system", "--set", "crds.keep=false", ...words),
  );

/** In one order, and without the namespace that helm makes itself or finds there. */
function comparable(objects: readonly Manifest[]): Record<string, Manifest> {
  const own = objects.filter(({ kind, metadata }) => kind !== "Namespace" || metadata.name !== "oomscope-system");
  return Object.fromEntries(
    own.map((object) => [idOf(object), object] as const).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

describe("the chart renders what config/ builds", () => {
  const s3 = {
    OOMSCOPE_EVIDENCE_S3_BUCKET: "oomscope-evidence",
    OOMSCOPE_EVIDENCE_S3_ENDPOINT: "https://s3.example.com",
    OOMSCOPE_EVIDENCE_S3_REGION: "us-east-1",
    OOMSCOPE_EVIDENCE_S3_PATH_STYLE: true,
    OOMSCOPE_EVIDENCE_S3_PREFIX: "my-cluster/",
    OOMSCOPE_EVIDENCE_S3_RETENTION: "30d",
  };
  test.each([
    ["default", []],
    ["overlays/restricted", ["--set", "restricted.enabled=true"]],
    ["overlays/two-replicas", ["--set", "replicas=2"]],
    ["overlays/notify", ["--set", "notify.secret=oomscope-notify"]],
    ["overlays/s3", ["--set-json", `settings=${JSON.stringify(s3)}`]],
  ])("config/%s", async (folder, words) => {
    const [chart, config] = await Promise.all([render(...words), kustomize(`config/${folder}`)]);
    expect(comparable(chart.map(ordered))).toEqual(comparable(config.map(ordered)));
  });

  test("config/prometheus", async () => {
    const [chart, config] = await Promise.all([
      render("--set", "prometheus.enabled=true"),
      kustomize("config/prometheus"),
    ]);
    const monitoring = chart.filter(({ apiVersion }) => apiVersion.startsWith("monitoring.coreos.com"));
    expect(comparable(monitoring)).toEqual(comparable(config));
  });

  test("config/grafana", async () => {
    const [chart, config] = await Promise.all([render("--set", "grafana.enabled=true"), kustomize("config/grafana")]);
    expect(comparable(chart.filter(({ kind }) => kind === "ConfigMap"))).toEqual(comparable(config));
  });

  test("in other namespaces nothing points to those of config/", async () => {
    const text = await helm(
      "template",
      "oomscope",
      CHART,
      "--namespace",
      "memory",
      "--set",
      "collectorNamespace=readers,restricted.enabled=true,prometheus.enabled=true",
    );
    expect(text).not.toContain("oomscope-system");
    const objects = manifests(text);
    const namespaces = new Set(objects.flatMap(({ metadata }) => metadata.namespace ?? []));
    expect([...namespaces].toSorted()).toEqual(["memory", "readers"]);
    expect(text).not.toMatch(/(namespace: |metadata\.name: )oomscope-collectors/);
    expect(text).toContain("{name: OOMSCOPE_COLLECTOR_NAMESPACE, value: readers}");
  });
});

/** Environment and volumes have no order that matters. */
function ordered(object: Manifest): Manifest {
  if (object.kind !== "Deployment") return object;
  interface Named {
    readonly name: string;
  }
  const copy = structuredClone(object) as Manifest & {
    spec: { template: { spec: { volumes: Named[]; containers: { env: Named[]; volumeMounts: Named[] }[] } } };
  };
  const byName = (a: Named, b: Named): number => (a.name < b.name ? -1 : 1);
  const { volumes, containers } = copy.spec.template.spec;
  volumes.sort(byName);
  for (const { env, volumeMounts } of containers) for (const list of [env, volumeMounts]) list.sort(byName);
  return copy;
}

test("helm's own linter has nothing to say", async () => {
  expect(await helm("lint", "--strict", CHART)).toContain("1 chart(s) linted, 0 chart(s) failed");
});

test("large numbers stay numbers", async () => {
  const objects = await render("--set-json", 'settings={"OOMSCOPE_EVIDENCE_MAX_BYTES":5000000000}');
  expect(JSON.stringify(objects)).toContain('{"name":"OOMSCOPE_EVIDENCE_MAX_BYTES","value":"5000000000"}');
});

test.each([
  ["replica=2", "replica"],
  ["settings.OOMSCOPE_LOGLEVEL=debug", "OOMSCOPE_LOGLEVEL"],
  ["settings.OOMSCOPE_LOG_LEVEL=loud", "OOMSCOPE_LOG_LEVEL"],
  ["settings.OOMSCOPE_WORKERS=0", "OOMSCOPE_WORKERS"],
  ["settings.OOMSCOPE_NAMESPACE=x", "OOMSCOPE_NAMESPACE"],
  ["replicas=0", "replicas"],
  ["replicas=2,evidence.claim=packs", "one operator at a time"],
])("--set %s is refused by name", async (setting, word) => {
  await expect(render("--set", setting)).rejects.toThrow(word);
});

describe("on a real API server", () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await startApiServer();
  });
  afterAll(() => server.stop());

  const on = (...words: string[]): Promise<string> => kubectl("--kubeconfig", server.kubeconfig, ...words);
  const release = (...words: string[]): Promise<string> =>
    helm(...words, "--kubeconfig", server.kubeconfig, "--namespace", "memory");
  /** All that carries our name, of every kind that a chart could make. */
  const left = async (): Promise<string[]> => {
    const kinds =
      "crd,clusterrole,clusterrolebinding,priorityclass,validatingadmissionpolicy,validatingadmissionpolicybinding,namespace";
    const names = await on("get", kinds, "-o", "name");
    const within = await on(
      "get",
      "deployment,service,secret,serviceaccount,role,rolebinding,networkpolicy,pdb",
      "-A",
      "-l",
      "app.kubernetes.io/managed-by=Helm",
      "-o",
      "name",
    );
    return `${names}${within}`
      .split("\n")
      .filter((name) => /oomscope/.test(name))
      .toSorted();
  };

  test("it installs, takes a policy as its notes say, upgrades, and leaves only the kinds", async () => {
    const notes = await release("install", "oomscope", CHART, "--create-namespace");
    const [, policy = ""] = /<<'POLICY'\n([\s\S]*?)\nPOLICY/.exec(notes) ?? [];
    expect(manifests(policy).map(idOf)).toEqual(["oomscope.dev/v1alpha1 ClusterMemoryPolicy observe-everything"]);
    await on("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all");
    await on("apply", "--server-side", "-f", join(CHART, "files/observe-everything.yaml"));

    // The operator has filled it since.
    await on(
      "-n",
      "memory",
      "patch",
      "secret",
      "oomscope-evidence-tls",
      "--type=merge",
      "-p",
      '{"stringData":{"ca.crt":"pem"}}',
    );
    await release("upgrade", "oomscope", CHART, "--set", "replicas=2,restricted.enabled=true");
    expect(await on("-n", "memory", "get", "deployment", "oomscope-operator", "-o", "jsonpath={.spec.replicas}")).toBe(
      "2",
    );
    expect(await on("-n", "memory", "get", "secret", "oomscope-evidence-tls", "-o", "jsonpath={.data}")).toContain(
      "ca.crt",
    );
    expect((await left()).length).toBeGreaterThan(20);

    await release("uninstall", "oomscope");
    expect(await left()).toEqual([
      "customresourcedefinition.apiextensions.k8s.io/clustermemorypolicies.oomscope.dev",
      "customresourcedefinition.apiextensions.k8s.io/memoryinvestigations.oomscope.dev",
      "customresourcedefinition.apiextensions.k8s.io/memorypolicies.oomscope.dev",
      // No controller ends namespaces here.
      "namespace/oomscope-collectors",
    ]);
    expect(await on("get", "clustermemorypolicies", "-o", "name")).toBe(
      "clustermemorypolicy.oomscope.dev/observe-everything\n",
    );
  });

  test("it installs again over the kinds that were kept", async () => {
    await release("install", "oomscope", CHART, "--set", "collectorNamespace=readers");
    await release("uninstall", "oomscope");
  });

  test("with crds.keep=false the kinds go as well, and nothing stays", async () => {
    await release("install", "oomscope", CHART, "--set", "crds.keep=false,collectorNamespace=more-readers");
    await release("uninstall", "oomscope");
    // The API server takes their objects away first.
    await vi.waitFor(
      async () => expect((await left()).filter((name) => name.startsWith("customresource"))).toEqual([]),
      { timeout: 60_000, interval: 500 },
    );
  });
});
