/** What is collected where nobody says anything must be enough for a verdict that is confirmed: otherwise every incident of a fresh install ends in Inconclusive. */
import { expect, test } from "vitest";
import { durationMs } from "../../src/api/fields.ts";
import { CollectSpec } from "../../src/api/memorypolicy.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { CONFIRMED } from "../../src/diagnosis/thresholds.ts";
import { MIB, samplesOf, stream } from "./samples.ts";

test("the default collection shows a plain leak, and is not provisional", async () => {
  const { interval, duration } = CollectSpec.parse({});
  const [seconds, each] = [durationMs(duration) / 1000, durationMs(interval) / 1000];
  const count = Math.floor(seconds / each) + 1;
  expect(count).toBeGreaterThanOrEqual(CONFIRMED.points);
  expect((count - 1) * each).toBeGreaterThanOrEqual(CONFIRMED.spanSeconds);
  const plan = [{ processes: [{ pid: 7, anon: (t: number) => 40 + 0.3 * t }], limit: 512 * MIB }];
  const finding = diagnose(await record(stream(samplesOf(plan, { count, interval: each }))));
  expect(finding.verdict).toBe("AnonHeapLeak");
  expect(finding.limits?.join(" ")).not.toContain("Provisional");
});
