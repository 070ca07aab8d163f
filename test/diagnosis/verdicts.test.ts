/** Every verdict is reached by what it is made of, and its nearest look-alike is not. */
import { describe, expect, test } from "vitest";
import { Finding, Verdict } from "../../src/api/memoryinvestigation.ts";
import { VERDICTS, isNegative } from "../../src/api/verdicts.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { CLASSES, type ClassCase, LOOK_ALIKES } from "./classes.ts";
import { samplesOf, stream } from "./samples.ts";

async function findingOf({
  plan,
  count = 66,
  interval = 5,
  node = {},
  surroundings = {},
}: ClassCase): Promise<Finding> {
  const finding = diagnose(await record(stream(samplesOf(plan, { count, interval, node }))), surroundings);
  expect(Finding.parse(finding)).toEqual(finding);
  return finding;
}

describe("each verdict", () => {
  test.each(CLASSES)("$name: $verdict $subKind", async (one) => {
    const finding = await findingOf(one);
    expect(finding).toMatchObject({
      verdict: one.verdict,
      ...(one.subKind === undefined ? {} : { subKind: one.subKind }),
    });
    expect(finding.confidencePercent).toBeGreaterThanOrEqual(50);
    expect(finding.evidence.length).toBeGreaterThan(0);
    expect(finding.runnerUp?.verdict).not.toBe(finding.verdict);
    expect(finding.runnerUp).toBeDefined();
    if (finding.subKind !== undefined)
      expect(Object.keys(VERDICTS[finding.verdict].subKinds)).toContain(finding.subKind);
    if (isNegative(finding.verdict))
      expect(finding.limits?.join(" ")).toMatch(/A leak slower than .* per hour would not have been seen/);
  });

  test("has a case here", () => {
    const reached = new Set<string>([...CLASSES, ...LOOK_ALIKES].map(({ verdict }) => verdict));
    expect(Verdict.options.filter((verdict) => !reached.has(verdict))).toEqual([]);
  });
});

describe("what looks like", () => {
  test.each(LOOK_ALIKES)("$of, but is $name: $verdict", async (one) => {
    const finding = await findingOf(one);
    expect(finding).toMatchObject({
      verdict: one.verdict,
      ...(one.subKind === undefined ? {} : { subKind: one.subKind }),
    });
  });
});
