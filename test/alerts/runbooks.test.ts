/** Every alert leads to a runbook that is there, and reads only metrics that the operator has. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { KillClassification } from "../../src/api/memoryinvestigation.ts";
import { createMetrics } from "../../src/controller/metrics.ts";
import { RULE_FILES, rulesOf } from "./rules.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/runbooks.md"), "utf8");
const rules = RULE_FILES.flatMap(rulesOf);
const alerts = rules.flatMap(({ alert, annotations = {} }) => (alert === undefined ? [] : [{ alert, annotations }]));
const metrics = createMetrics(
  () => ({ waiting: 0, running: 0, delayed: 0 }) as never,
  () => 0,
  () => 0,
);

test.each(alerts)(
  "$alert has a summary, a description, and a runbook with all of its parts",
  ({ alert, annotations }) => {
    expect(annotations["summary"]).toMatch(/\.$/);
    expect(annotations["description"]).toContain("$labels.");
    expect(annotations["runbook_url"]).toBe(`https://oomscope.dev/runbooks#${alert.toLowerCase()}`);
    const section = page.split(/^## /m).find((one) => one.startsWith(`${alert}\n`)) ?? "";
    for (const part of ["Meaning.", "Impact.", "Diagnosis.", "Mitigation.", "False alarm when"])
      expect(section).toContain(`**${part}**`);
  },
);

test("no runbook is of an alert that is gone", () => {
  const sections = [...page.matchAll(/^## (\S+)$/gm)].map(([, name]) => name);
  expect(new Set(sections)).toEqual(new Set(alerts.map(({ alert }) => alert)));
});

test("every metric of ours that a rule reads is one that the operator has", async () => {
  const text = await metrics.registry.metrics();
  const read = rules.flatMap(({ expr }) => expr.match(/\boomscope_[a-z_]+/g) ?? []);
  expect(read.length).toBeGreaterThan(0);
  for (const name of read) expect(text).toContain(`# TYPE ${name} `);
});

test("every class of kills is there at 0, so that increase() sees the first kill", async () => {
  const text = await metrics.registry.metrics();
  for (const classification of KillClassification.options)
    expect(text).toContain(`oomscope_oom_kills_total{classification="${classification}"} 0\n`);
});
