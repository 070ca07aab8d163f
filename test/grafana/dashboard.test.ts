/** Does the dashboard ask for metrics that are there, and is it put together as Grafana's own rules want it? `make test-alerts` asks a real Prometheus. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { RULE_FILES, rulesOf } from "../alerts/rules.ts";
import { DASHBOARD, filledIn, operatorMetrics, PANELS, QUERIES } from "./queries.ts";

const METRIC = /\b(?:oomscope|kube|container|node)_[A-Za-z0-9_]+/g;
const charts = PANELS.filter(({ type }) => type !== "row");

/** Metric name → the names of its labels. */
async function shown(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const metrics = operatorMetrics();
  metrics.work();
  const found = new Map<string, Set<string>>();
  for (const [, name = "", labels = ""] of (await metrics.registry.metrics()).matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const known = found.get(name) ?? new Set();
    for (const [, label = ""] of labels.matchAll(/(\w+)="/g)) known.add(label);
    found.set(name, known);
  }
  return found;
}

test.each(QUERIES)("%s: %s asks only for metrics that somebody shows", async (_, expr) => {
  const own = await shown();
  // What the alerts read is there, or they would be silent as well; promtool tests them.
  const foreign = new Set(RULE_FILES.flatMap((file) => rulesOf(file)).flatMap(({ expr }) => expr.match(METRIC) ?? []));
  const names = expr.match(METRIC) ?? [];
  expect(names.length).toBeGreaterThan(0);
  expect(names.filter((name) => !own.has(name) && (name.startsWith("oomscope_") || !foreign.has(name)))).toEqual([]);
});

test.each(QUERIES.filter(([, expr]) => expr.includes("oomscope_")))(
  "%s: %s uses labels that the metric has",
  async (_, expr) => {
    const own = await shown();
    const labels = new Set((expr.match(METRIC) ?? []).flatMap((name) => [...(own.get(name) ?? [])]));
    const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(/,\s*/));
    const selected = [...expr.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label = ""]) => label);
    expect([...grouped, ...selected].filter((label) => !labels.has(label))).toEqual([]);
  },
);

test("variables are known, and none is left when they are filled in", () => {
  for (const [, expr] of QUERIES) expect(filledIn(expr)).not.toContain("$");
  expect(DASHBOARD.templating.list.map(({ name }) => name)).toEqual(["datasource", "namespace"]);
});

describe("every panel", () => {
  test.each(charts.map((panel) => [panel.title, panel] as const))(
    "%s has a description, a unit, the chosen Prometheus and a query",
    (_, panel) => {
      expect(panel.description?.length).toBeGreaterThan(20);
      expect(panel.fieldConfig?.defaults.unit).toBeTruthy();
      expect(panel.datasource).toEqual({ type: "prometheus", uid: "${datasource}" });
      expect(panel.targets?.length).toBeGreaterThan(0);
      for (const { instant, range } of panel.targets ?? []) expect(instant).toBe(!range);
    },
  );

  test("has an id of its own, stands within 24 columns, and overlaps with no other", () => {
    expect(new Set(PANELS.map(({ id }) => id)).size).toBe(PANELS.length);
    const taken = new Set<string>();
    for (const {
      gridPos: { x, y, w, h },
    } of PANELS) {
      expect(x + w).toBeLessThanOrEqual(24);
      for (let column = x; column < x + w; column++)
        for (let line = y; line < y + h; line++) {
          expect(taken).not.toContain(`${column}/${line}`);
          taken.add(`${column}/${line}`);
        }
    }
  });
});

test("config/grafana holds nothing but the dashboard", () => {
  expect(readdirSync(join(import.meta.dirname, "../../config/grafana")).toSorted()).toEqual([
    "kustomization.yaml",
    "oomscope.json",
  ]);
});
