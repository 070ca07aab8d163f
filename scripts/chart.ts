/**
 * Writes what the Helm chart has in common with config/ and with the operator's settings: all templates but the Deployment's, and the schema of
 * the values; and the dashboard, for both. `node scripts/chart.ts` writes; with `--check` it writes nothing and exits 1 with the names of the files that differ.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { KINDS } from "../src/api/crd.ts";
import { Environment } from "../src/settings.ts";
import { dashboardText } from "./dashboard.ts";

const CHART = "charts/oomscope";

/** The chart says these itself: they belong together with objects that it makes. */
const OWN_SETTINGS: ReadonlySet<string> = new Set([
  "OOMSCOPE_NAMESPACE",
  "OOMSCOPE_POD_NAME",
  "OOMSCOPE_COLLECTOR_IMAGE",
  "OOMSCOPE_COLLECTOR_NAMESPACE",
  "OOMSCOPE_COLLECTOR_SERVICE_ACCOUNT",
  "OOMSCOPE_COLLECTOR_PRIORITY_CLASS",
  "OOMSCOPE_EVIDENCE_SERVICE",
  "OOMSCOPE_EVIDENCE_SECRET",
  "OOMSCOPE_EVIDENCE_DIRECTORY",
  "OOMSCOPE_EVIDENCE_PORT",
  "OOMSCOPE_EVIDENCE_S3_CREDENTIALS",
  "OOMSCOPE_HEALTH_PORT",
  "OOMSCOPE_NOTIFY_DIRECTORY",
]);

const Settings = z.strictObject(
  Object.fromEntries(
    Object.entries(Environment.shape)
      .filter(([name]) => !OWN_SETTINGS.has(name))
      .map(([name, setting]) => [name, setting.optional()]),
  ),
);

const Name = z.string().min(1).max(253);
const Switch = z.strictObject({ enabled: z.boolean() });
const Anything = z.record(z.string(), z.unknown());

/** What values.yaml may say. */
export const Values = z.strictObject({
  image: z.strictObject({
    operator: z.string().min(1).describe("Image of the operator, best by digest."),
    collector: z
      .string()
      .regex(/^[\w./:@-]+$/, "must be the name of an image")
      .describe("Image of the collector, best by digest."),
    pullPolicy: z.enum(["IfNotPresent", "Always", "Never"]),
    pullSecrets: z.array(Name).describe("Names of Secrets in both namespaces."),
  }),
  replicas: z.int().min(1).max(5).describe("One leads, the others wait."),
  crds: z.strictObject({
    enabled: z.boolean().describe("Install the kinds with the chart."),
    keep: z.boolean().describe("Keep the kinds when the release is uninstalled."),
  }),
  collectorNamespace: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "must be a namespace's name")
    .describe("Namespace of the collection Jobs; made by the chart."),
  settings: Settings.describe("Settings of the operator, under their own names."),
  evidence: z.strictObject({
    claim: z.string().max(253).describe("A PersistentVolumeClaim for the evidence directory; empty: none."),
    sizeLimit: z.string().regex(/^[0-9]+(\.[0-9]+)?([KMGT]i?)?$/, "must be a quantity such as 3Gi"),
  }),
  s3: z.strictObject({ secret: Name.describe("Secret with the keys of the bucket.") }),
  notify: z.strictObject({ secret: z.string().max(253).describe("Secret that says whom to tell; empty: nobody.") }),
  networkPolicy: Switch,
  restricted: Switch,
  prometheus: Switch,
  grafana: Switch,
  resources: Anything,
  priorityClassName: z.string().max(253),
  nodeSelector: z.record(z.string(), z.string()),
  tolerations: z.array(Anything),
  affinity: Anything,
  podAnnotations: z.record(z.string(), z.string()),
});

function valuesSchema(): string {
  const schema = z.toJSONSchema(Values, {
    target: "draft-7",
    io: "input",
    // A number that is read from text takes anything as input; what it must be stands in the checks behind.
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      const { def } = zodSchema._zod;
      if (def.type === "number" && "coerce" in def)
        Object.assign(
          jsonSchema,
          z.toJSONSchema(z.int().check(...((def.checks ?? []) as z.core.$ZodCheck<number>[]))),
          {
            $schema: undefined,
          },
        );
      // true and "true" are the same in the environment.
      if (def.type === "enum" && JSON.stringify(jsonSchema.enum) === '["true","false"]')
        Object.assign(jsonSchema, { type: ["string", "boolean"], enum: ["true", "false", true, false] });
    },
  });
  return `${JSON.stringify({ ...schema, properties: { ...schema.properties, global: {} }, required: undefined }, undefined, 2)}\n`;
}

/** From manifests to a template: where two namespaces are named, and which value switches it. */
interface Source {
  readonly from: string;
  readonly to: string;
  /** A condition of a template. */
  readonly when?: string;
  /** The last step. */
  readonly change?: (text: string) => string;
}

const SOURCES: readonly Source[] = [
  ...KINDS.map(({ plural }) => ({
    from: `crds/${plural}.yaml`,
    to: `templates/crds/${plural}.yaml`,
    when: ".Values.crds.enabled",
    change: (text: string) =>
      text.replace(
        "\nmetadata:\n",
        "\nmetadata:\n  {{- if .Values.crds.keep }}\n  annotations: {helm.sh/resource-policy: keep}\n  {{- end }}\n",
      ),
  })),
  ...["mitigation", "nodes", "operator", "podlogs", "users"].map((name) => ({
    from: `config/rbac/${name}.yaml`,
    to: `templates/rbac/${name}.yaml`,
  })),
  {
    from: "config/rbac/collector.yaml",
    to: "templates/rbac/collector.yaml",
    change: (text) =>
      `${text.trimEnd()}\n{{- with .Values.image.pullSecrets }}\nimagePullSecrets:\n  {{- range . }}\n  - name: {{ . }}\n  {{- end }}\n{{- end }}\n`,
  },
  {
    from: "config/manager/namespaces.yaml",
    to: "templates/collectornamespace.yaml",
    // Helm makes the release's namespace, or somebody before it.
    change: (text) =>
      text
        .slice(text.indexOf("\n---\n") + 5)
        .replace("name: oomscope-collectors", "name: {{ .Values.collectorNamespace }}"),
  },
  { from: "config/manager/evidence.yaml", to: "templates/evidence.yaml" },
  {
    from: "config/manager/networkpolicy.yaml",
    to: "templates/networkpolicy.yaml",
    when: ".Values.networkPolicy.enabled",
  },
  ...["collectors", "sessions"].map((name) => ({
    from: `config/components/restricted/${name}.yaml`,
    to: `templates/restricted/${name}.yaml`,
    when: ".Values.restricted.enabled",
    change: (text: string) => text.replace("localhost/oomscope/collector:dev", "{{ .Values.image.collector }}"),
  })),
  {
    from: "config/components/two-replicas/disruptionbudget.yaml",
    to: "templates/disruptionbudget.yaml",
    when: "gt (int .Values.replicas) 1",
  },
  ...["alerts", "podmonitor"].map((name) => ({
    from: `config/prometheus/${name}.yaml`,
    to: `templates/prometheus/${name}.yaml`,
    when: ".Values.prometheus.enabled",
    // As config/prometheus/kustomization.yaml does it.
    change: (text: string) =>
      text.replace(/^metadata:\n( {2}name: .*\n)/m, "metadata:\n$1  namespace: {{ .Release.Namespace }}\n"),
  })),
];

function template({ from, when, change = (text) => text }: Source, text: string): string {
  const body = text
    .replaceAll("{{", '{{ "{{" }}')
    .replaceAll("oomscope-system", "{{ .Release.Namespace }}")
    .replaceAll(/(namespace: |metadata\.name: )oomscope-collectors/g, "$1{{ .Values.collectorNamespace }}");
  const changed = change(body);
  const switched = when === undefined ? changed : `{{- if ${when} }}\n${changed.trimEnd()}\n{{- end }}\n`;
  return `{{- /* Generated from ${from} by \`make generate\`. Do not edit. */}}\n${switched}`;
}

/** Every generated file: its path from the root of the repository, and its text. */
export function chartFiles(read: (path: string) => string): ReadonlyMap<string, string> {
  const files = new Map<string, string>([[`${CHART}/values.schema.json`, valuesSchema()]]);
  for (const source of SOURCES) files.set(`${CHART}/${source.to}`, template(source, read(source.from)));
  files.set("config/grafana/oomscope.json", dashboardText());
  files.set(`${CHART}/files/dashboard.json`, dashboardText());
  files.set(`${CHART}/files/observe-everything.yaml`, read("config/policies/observe-everything.yaml"));
  return files;
}

function main(check: boolean): number {
  const root = join(import.meta.dirname, "..");
  const read = (path: string): string => readFileSync(join(root, path), "utf8");
  const differs = ([path, text]: readonly [string, string]): boolean => {
    try {
      return read(path) !== text;
    } catch {
      return true;
    }
  };
  const stale = [...chartFiles(read)].filter(differs);
  for (const [path, text] of stale) {
    process.stdout.write(`${check ? "differs" : "written"}: ${path}\n`);
    if (check) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  if (check && stale.length > 0) process.stdout.write("Run `make generate` and commit the result.\n");
  return check && stale.length > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = main(process.argv.includes("--check"));
