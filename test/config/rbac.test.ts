/** What may the operator do? The whole of it, as a table: a right that comes or goes changes this file, and somebody looks at it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import {
  COLLECTOR_RIGHTS,
  MITIGATION_RIGHTS,
  OPERATOR_RIGHTS,
  OWN_RIGHTS,
  type Right,
} from "../../src/cluster/rights.ts";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly name: string };
  readonly subjects?: readonly { readonly name: string }[];
}

const folder = join(import.meta.dirname, "../../config/rbac");
const files = readdirSync(folder).filter((name) => name !== "kustomization.yaml");
const objects = files.flatMap((name) =>
  parseAllDocuments(readFileSync(join(folder, name), "utf8")).map((document) => document.toJS() as Manifest),
);
const roleNamed = (kind: string, name: string): Manifest | undefined =>
  objects.find((object) => object.kind === kind && object.metadata.name === name);

/** `group/resource[names]` → verbs, in a stable order. */
function table(rules: readonly Rule[] = []): Record<string, string> {
  const verbs = new Map<string, Set<string>>();
  for (const rule of rules) {
    for (const group of rule.apiGroups) {
      for (const resource of rule.resources) {
        const names = rule.resourceNames === undefined ? "" : `[${rule.resourceNames.join(",")}]`;
        const key = `${group === "" ? "" : `${group}/`}${resource}${names}`;
        verbs.set(key, new Set([...(verbs.get(key) ?? []), ...rule.verbs]));
      }
    }
  }
  return Object.fromEntries([...verbs].map(([key, set]) => [key, [...set].toSorted().join(" ")]));
}

test("every file of config/rbac is installed", () => {
  const { resources } = parse(readFileSync(join(folder, "kustomization.yaml"), "utf8")) as { resources: string[] };
  expect(resources.toSorted()).toEqual(files.toSorted());
});

describe("the operator may", () => {
  test("do this in every namespace", () => {
    expect(table(roleNamed("ClusterRole", "oomscope-operator")?.rules)).toEqual({
      pods: "delete get list patch watch",
      nodes: "get list watch",
      namespaces: "get list watch",
      services: "get list",
      resourcequotas: "get list",
      persistentvolumeclaims: "get list",
      limitranges: "list",
      events: "create list patch",
      "apps/deployments": "get list watch",
      "apps/replicasets": "get list watch",
      "apps/statefulsets": "get list watch",
      "apps/daemonsets": "get list watch",
      "apps/controllerrevisions": "list",
      "batch/jobs": "get list watch",
      "autoscaling/horizontalpodautoscalers": "list",
      "networking.k8s.io/networkpolicies": "list",
      "metrics.k8s.io/pods": "list",
      "metrics.k8s.io/nodes": "list",
      "policy/poddisruptionbudgets": "create delete get list",
      "events.k8s.io/events": "create patch",
      "authentication.k8s.io/tokenreviews": "create",
      "oomscope.dev/memoryinvestigations": "create get list patch watch",
      "oomscope.dev/memorypolicies": "get list watch",
      "oomscope.dev/clustermemorypolicies": "get list watch",
      "oomscope.dev/memoryinvestigations/status": "get patch",
      "oomscope.dev/memorypolicies/status": "get patch",
      "oomscope.dev/clustermemorypolicies/status": "get patch",
    });
  });

  test("do this in the two namespaces of its own", () => {
    expect(table(roleNamed("Role", "oomscope-operator")?.rules)).toEqual({
      "coordination.k8s.io/leases": "create",
      "coordination.k8s.io/leases[oomscope-operator]": "get update",
      "secrets[oomscope-evidence-tls]": "get patch",
    });
    expect(table(roleNamed("Role", "oomscope-collections")?.rules)).toEqual({ "batch/jobs": "create delete" });
  });
});

/** The rights that `oomscope doctor` asks about, as {@link table} shows those of a role. */
const asked = (rights: readonly Right[]): Record<string, string> =>
  table(
    rights.map(([group, resource, verbs, name]) => ({
      apiGroups: [group],
      resources: [resource],
      verbs: verbs.split(" "),
      ...(name === undefined ? {} : { resourceNames: [name] }),
    })),
  );

test("oomscope doctor asks about exactly these rights (src/cluster/rights.ts)", () => {
  expect(asked(OPERATOR_RIGHTS)).toEqual(table(roleNamed("ClusterRole", "oomscope-operator")?.rules));
  expect(asked(OWN_RIGHTS)).toEqual(table(roleNamed("Role", "oomscope-operator")?.rules));
  expect(asked(COLLECTOR_RIGHTS)).toEqual(table(roleNamed("Role", "oomscope-collections")?.rules));
  expect(asked(MITIGATION_RIGHTS)).toEqual(table(roleNamed("ClusterRole", "oomscope-mitigation")?.rules));
});

test("nothing that is installed asks for everything, or for what would be as good as everything", () => {
  const asked = objects.flatMap(({ rules = [] }) => rules);
  const words = asked.flatMap(({ apiGroups, resources, verbs }) => [...apiGroups, ...resources, ...verbs]);
  for (const word of [
    "*",
    "escalate",
    "bind",
    "impersonate",
    "pods/exec",
    "pods/attach",
    "nodes/proxy",
    "pods/ephemeralcontainers",
  ])
    expect(words).not.toContain(word);
  expect(
    asked.filter(({ resources, resourceNames }) => resources.includes("secrets") && resourceNames === undefined),
  ).toEqual([]);
});

test("logs may be read by nobody until somebody binds the role for it", () => {
  expect(table(roleNamed("ClusterRole", "oomscope-pod-logs")?.rules)).toEqual({ "pods/log": "get" });
  expect(objects.filter(({ roleRef }) => roleRef?.name === "oomscope-pod-logs")).toEqual([]);
  const others = objects.filter(({ metadata }) => metadata.name !== "oomscope-pod-logs");
  expect(others.flatMap(({ rules = [] }) => rules.flatMap(({ resources }) => resources))).not.toContain("pods/log");
});

test("workloads may be changed by nobody until somebody binds the role for it", () => {
  expect(table(roleNamed("ClusterRole", "oomscope-mitigation")?.rules)).toEqual({
    "apps/deployments": "patch",
    "apps/statefulsets": "patch",
    "apps/daemonsets": "patch",
    "apps/controllerrevisions": "get",
    "autoscaling/horizontalpodautoscalers": "get patch",
    configmaps: "get patch",
    "pods/resize": "patch",
  });
  expect(objects.filter(({ roleRef }) => roleRef?.name === "oomscope-mitigation")).toEqual([]);
});

test("nodes may be changed by nobody until somebody binds the role for it", () => {
  expect(table(roleNamed("ClusterRole", "oomscope-nodes")?.rules)).toEqual({ nodes: "patch" });
  expect(objects.filter(({ roleRef }) => roleRef?.name === "oomscope-nodes")).toEqual([]);
});

test("the evidence port is reached through the API server by nobody until somebody binds the role for it", () => {
  expect(table(roleNamed("Role", "oomscope-evidence-reader")?.rules)).toEqual({
    "services/proxy[https:oomscope-evidence:evidence]": "get",
  });
  expect(objects.filter(({ roleRef }) => roleRef?.name === "oomscope-evidence-reader")).toEqual([]);
});

test("the collector's account has no right at all", () => {
  const bound = objects.flatMap(({ subjects = [] }) => subjects.map(({ name }) => name));
  expect(bound).not.toContain("oomscope-collector");
});
