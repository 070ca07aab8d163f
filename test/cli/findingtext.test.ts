/** The finding in plain words, as golden text. */
import { expect, test } from "vitest";
import type { Finding } from "../../src/api/memoryinvestigation.ts";
import { findingText } from "../../src/cli/findingtext.ts";

const MIB = 2 ** 20;
const finding: Finding = {
  id: "3f9c00112233",
  verdict: "AnonHeapLeak",
  subKind: "HiddenByCache",
  confidencePercent: 75,
  summary:
    "Cgroup thumbnail.service gains 1.1 MiB/s of anonymous memory (anon), 100 % of it in process thumbnail-svc (pid 4711); at this rate the limit of 128 MiB is reached in 11 s to 12 s. This is provisional.",
  growth: { series: "anon + swap", bytesPerSecond: MIB, low: MIB, high: MIB },
  growthByKind: [
    { kind: "anon", bytes: 106 * MIB, bytesPerSecond: 1.1 * MIB, trend: "Growing" },
    { kind: "file", bytes: -3 * MIB, bytesPerSecond: 0, trend: "Flat" },
  ],
  growthByProcess: [
    { pid: 4711, comm: "thumb\u001b[31m", bytes: 106 * MIB, bytesPerSecond: 1.1 * MIB, sharePercent: 100 },
  ],
  timeToOOMSeconds: { low: 11, mid: 11, high: 12 },
  evidence: [
    {
      signal: "anon + swap, net",
      value: String(106 * MIB),
      unit: "bytes",
      threshold: `>= ${5 * MIB}`,
      part: "readings-0000.ndjson",
    },
    {
      signal: "anon + swap, slope",
      value: String(1.1 * MIB),
      unit: "bytes/s",
      threshold: "low > 0",
      part: "readings-0000.ndjson",
    },
    { signal: "samples", value: "24", unit: "samples", threshold: ">= 12", part: "readings-0000.ndjson" },
  ],
  counterEvidence: [
    { signal: "Threads, net", value: "12", unit: "threads", threshold: "< 8", part: "readings-0000.ndjson" },
  ],
  runnerUp: { verdict: "WarmupPlateau", confidencePercent: 13 },
  limits: ["The load was not measured: growth in step with the load cannot be told from a leak."],
};

test("a leak: what it is, how much, who, why, and what speaks against it", () => {
  const text = findingText(finding, 80);
  expect(text).toMatchInlineSnapshot(`
    "AnonHeapLeak (HiddenByCache), 75 % sure
      Cgroup thumbnail.service gains 1.1 MiB/s of anonymous memory (anon), 100 % of
      it in process thumbnail-svc (pid 4711); at this rate the limit of 128 MiB is
      reached in 11 s to 12 s. This is provisional.

      kind    growth        rate  trend
      anon  +106 MiB  +1.1 MiB/s  Growing
      file  -3.0 MiB       0 B/s  Flat

       pid  process            growth        rate  share
      4711  thumb\\u{1b}[31m  +106 MiB  +1.1 MiB/s  100 %

      for it (in readings-0000.ndjson):
        anon + swap, net       106 MiB  (>= 5.0 MiB)
        anon + swap, slope   1.1 MiB/s  (low > 0)
        samples             24 samples  (>= 12)

      against it (in readings-0000.ndjson):
        Threads, net  12 threads  (< 8)

      next best: WarmupPlateau, 13 %
        A warm-up slows down and ends; a leak goes on at the rate it began with.

      what could not be seen:
        - The load was not measured: growth in step with the load cannot be told
          from a leak.

      what to do:
        Roll back to the revision before the growth began, or restart one by one
        before the projected time. Then look for what is kept at the function that
        the finding names; without one, take a profile (\`collect.profile\`) or a heap
        profiler of the language.
    "
  `);
  // oxlint-disable-next-line no-control-regex
  expect(text).not.toMatch(/\u001b/);
});

test("no verdict: no percentage, and nothing that is not there", () => {
  const text = findingText(
    {
      id: "000000000000",
      verdict: "Inconclusive",
      confidencePercent: 0,
      summary: "No verdict.",
      evidence: [],
      counterEvidence: [],
    },
    80,
  );
  expect(text).toMatch(/^Inconclusive\n {2}No verdict\.\n\n {2}what to do:\n {4}Measure longer/);
});

test("evidence from one place names it once, and from many parts the first and the last", () => {
  const part = "readings-0000.ndjson..readings-0005.ndjson";
  const text = findingText({ ...finding, evidence: finding.evidence.map((line) => ({ ...line, part })) }, 80);
  expect(text).toContain("  for it (in readings-0000..0005.ndjson):\n");
  const [first, ...rest] = finding.evidence;
  const mixed = findingText(
    { ...finding, evidence: [...(first === undefined ? [] : [{ ...first, part }]), ...rest] },
    80,
  );
  expect(mixed).toContain("[readings-0000..0005.ndjson]");
  expect(mixed).toContain("[readings-0000.ndjson]");
});
