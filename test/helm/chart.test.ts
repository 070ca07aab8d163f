/** Is the chart what config/ and the settings make of it? What needs no helm; `make test-helm` renders and installs it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { chartFiles, Values } from "../../scripts/chart.ts";
import { Environment, readSettings } from "../../src/settings.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const files = chartFiles(read);
const values = parse(read("charts/oomscope/values.yaml")) as Record<string, unknown>;

test.each([...files])("%s is as it is committed; if not, run `make generate`", (path, text) => {
  expect(read(path)).toBe(text);
});

test("whatever else stands in the chart is written by hand, and known here", () => {
  const there = readdirSync(join(ROOT, "charts/oomscope"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));
  expect(there.filter((path) => !files.has(path)).toSorted()).toEqual([
    "charts/oomscope/Chart.yaml",
    "charts/oomscope/templates/NOTES.txt",
    "charts/oomscope/templates/grafana.yaml",
    "charts/oomscope/templates/operator.yaml",
    "charts/oomscope/values.yaml",
  ]);
});

test("every manifest that config/ installs has its template", () => {
  const sources = [...files.values()].flatMap((text) => /Generated from (\S+) by/.exec(text)?.[1] ?? []);
  const installed = ["rbac", "manager", "prometheus", "components/restricted", "components/two-replicas"].flatMap(
    (folder) => {
      const { resources } = parse(read(`config/${folder}/kustomization.yaml`)) as { resources: string[] };
      return resources.map((name) => `config/${folder}/${name}`);
    },
  );
  expect(installed.filter((path) => !sources.includes(path))).toEqual(["config/manager/operator.yaml"]);
});

test("the chart has the version of the operator", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  expect(parse(read("charts/oomscope/Chart.yaml"))).toMatchObject({ version, appVersion: version });
});

describe("the values", () => {
  test("are complete and valid as they are shipped", () => {
    const { settings, ...others } = Values.parse(values);
    expect({ ...others, settings: {} }).toEqual(values);
    expect(settings).toMatchObject({ OOMSCOPE_LOG_LEVEL: "info" });
  });

  test("have only patterns that helm can read: it checks them with Go's regular expressions", () => {
    expect(read("charts/oomscope/values.schema.json")).not.toMatch(/"pattern": ".*(\\\\u|\(\?[=!<])/);
  });

  test("know each setting of the operator that the chart does not say itself, and no other", () => {
    const template = read("charts/oomscope/templates/operator.yaml");
    const known = Object.keys(Values.shape.settings.shape);
    const said = [...template.matchAll(/name: (OOMSCOPE_\w+)/g)].map(([, name]) => name);
    const all = Object.keys(Environment.shape);
    expect(known.filter((name) => !all.includes(name) || said.includes(name))).toEqual([]);
    // These have defaults in the settings that agree with the manifests.
    expect(all.filter((name) => !known.includes(name) && !said.includes(name)).toSorted()).toEqual([
      "OOMSCOPE_COLLECTOR_SERVICE_ACCOUNT",
      "OOMSCOPE_EVIDENCE_DIRECTORY",
      "OOMSCOPE_EVIDENCE_PORT",
      "OOMSCOPE_EVIDENCE_S3_CREDENTIALS",
      "OOMSCOPE_EVIDENCE_SECRET",
      "OOMSCOPE_EVIDENCE_SERVICE",
      "OOMSCOPE_HEALTH_PORT",
    ]);
    const { evidence, healthPort, collector } = readSettings({
      OOMSCOPE_NAMESPACE: "a",
      OOMSCOPE_POD_NAME: "b",
      OOMSCOPE_COLLECTOR_IMAGE: "c",
    });
    expect(template).toContain(`containerPort: ${evidence.port}}`);
    expect(template).toContain(`containerPort: ${healthPort}}`);
    expect(template).toContain(`mountPath: ${evidence.directory}}`);
    expect(read("config/manager/evidence.yaml")).toContain(`name: ${evidence.service}\n`);
    expect(read("config/manager/evidence.yaml")).toContain(`name: ${evidence.secret}\n`);
    expect(read("config/rbac/collector.yaml")).toContain(`name: ${collector.serviceAccount}\n`);
  });

  test.each([
    ["a setting that does not exist", { settings: { OOMSCOPE_LOGLEVEL: "debug" } }],
    ["a level that does not exist", { settings: { OOMSCOPE_LOG_LEVEL: "loud" } }],
    ["a value that does not exist", { replica: 2 }],
    ["a setting that the chart says itself", { settings: { OOMSCOPE_NAMESPACE: "x" } }],
  ])("refuse %s", (_, change) => {
    expect(Values.safeParse({ ...values, ...change }).success).toBe(false);
  });
});
