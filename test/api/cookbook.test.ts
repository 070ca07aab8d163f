/** Does each policy of the cookbook allow what its text promises, beside the default policy of the install? */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ClusterMemoryPolicySpec, MemoryPolicySpec } from "../../src/api/memorypolicy.ts";
import type { EffectivePolicy, PolicyView } from "../../src/incident/observation.ts";
import { effectivePolicy } from "../../src/incident/policy.ts";
import { cookbook, type Recipe } from "./cookbook.ts";

const RECIPES = cookbook();
const DEFAULT = parse(
  readFileSync(new URL("../../config/policies/observe-everything.yaml", import.meta.url), "utf8"),
) as Recipe;

function view({ kind, metadata, spec }: Recipe): PolicyView {
  const schema = kind === "MemoryPolicy" ? MemoryPolicySpec : ClusterMemoryPolicySpec;
  return {
    kind,
    ...metadata,
    uid: metadata.name,
    generation: 1,
    created: "2026-11-01T00:00:00Z",
    spec: schema.parse(spec),
  };
}

function recipe(name: string): Recipe {
  const found = RECIPES.find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`docs/policies.md has no policy ${name}`);
  return found;
}

/** What is in force for a pod when these recipes and the default are applied. */
function inForce(
  names: readonly string[],
  where: {
    readonly namespace: string;
    readonly namespaceLabels?: Record<string, string>;
    readonly app: Record<string, string>;
  },
): EffectivePolicy {
  const found = effectivePolicy([view(DEFAULT), ...names.map((name) => view(recipe(name)))], {
    namespace: where.namespace,
    namespaceLabels: { "kubernetes.io/metadata.name": where.namespace, ...where.namespaceLabels },
    podLabels: where.app,
    exempt: ["kube-system"],
  });
  if (found === undefined) throw new Error("no policy is in force");
  return found;
}

const API = { namespace: "shop", app: { app: "api" } };

test("there are ten and more, each under a name of its own", () => {
  expect(RECIPES.length).toBeGreaterThanOrEqual(10);
  expect(new Set(RECIPES.map(({ metadata }) => metadata.name)).size).toBe(RECIPES.length);
});

test("the first is the default of the install", () => {
  expect(RECIPES[0]).toEqual(DEFAULT);
});

test.each(RECIPES.map((r) => [r.metadata.name, r] as const))(
  "%s has no field that the kinds do not know",
  (_name, r) => {
    const schema = r.kind === "MemoryPolicy" ? MemoryPolicySpec : ClusterMemoryPolicySpec;
    expect(schema.parse(r.spec)).toMatchObject(r.spec);
  },
);

describe("what the text promises", () => {
  test("a namespace that is watched goes no further than a proposal", () => {
    const night = { ...API, namespaceLabels: { memory: "watched" } };
    expect(inForce(["api-night-watch", "watched-namespaces"], night)).toMatchObject({
      name: "api-night-watch",
      mode: "Recommend",
    });
    expect(inForce(["api-night-watch"], night).mode).toBe("Enforce");
  });

  test("production's ceiling leaves the roll-back and a smaller storm", () => {
    const production = { ...API, namespaceLabels: { environment: "production" } };
    expect(inForce(["api-night-watch", "production-ceiling"], production)).toMatchObject({
      mode: "Enforce",
      allowedActions: ["Rollback"],
      cluster: { maxMitigationsPerDay: 4, storm: { investigations: 3, withinMs: 900_000 } },
    });
  });

  test("the freeze holds for the policy of a namespace, and says so in its words", () => {
    expect(inForce(["api-night-watch", "change-freeze"], API).pauses).toEqual([
      "ClusterMemoryPolicy change-freeze: year-end freeze until 2027-01-04, ask #release",
    ]);
  });

  test.each([
    ["thumbnails", "media", { app: "thumbnail-svc" }, "Recommend"],
    ["api-night-watch", "shop", { app: "api" }, "Enforce"],
    ["decoder-with-profile", "media", { app: "decoder" }, "Recommend"],
    ["postgres", "data", { "app.kubernetes.io/name": "postgresql" }, "Recommend"],
    ["nightly-batch", "batch", { tier: "batch" }, "Observe"],
    ["with-logs", "shop", { app: "checkout" }, "Recommend"],
  ])("%s is in force for its workload, and for no other", (name, namespace, app, mode) => {
    expect(inForce([name], { namespace, app })).toMatchObject({ name, mode });
    expect(inForce([name], { namespace, app: { app: "another" } }).name).toBe("observe-everything");
    expect(inForce([name], { namespace: "elsewhere", app }).name).toBe("observe-everything");
  });
});
