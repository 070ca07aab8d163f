/** The recorded corpus: what its packs may hold, and how good the diagnosis must be on them. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { MAX_LIMIT_MIB } from "./case.ts";
import { confidenceOf } from "../../src/diagnosis/score.ts";
import { calibrate, calibrationText } from "./calibration.ts";
import { CASES } from "./cases.ts";
import { type Analysed, analyse, packOf, RECORDED, textOf } from "./packs.ts";
import { type Scored, score } from "./score.ts";
import { scoreText } from "./scoretext.ts";
import { windowsOf } from "./windows.ts";

/** To be raised whenever the diagnosis knows more; never lowered. */
const LEAST_RIGHT_PERCENT = 99;
const MAX_CORPUS_BYTES = 4 * 1024 * 1024;

describe("the diagnosis on the corpus", () => {
  let all: readonly Analysed[] = [];
  beforeAll(async () => {
    all = await Promise.all(RECORDED.map((one) => analyse(one)));
  });

  test("nothing bounded is called a leak, and no leak harmless", () => {
    const { boundedCalledLeak, leakCalledHarmless } = score(all);
    expect([...boundedCalledLeak, ...leakCalledHarmless]).toEqual([]);
  });

  test("no process is blamed that is not at fault", () => {
    // A rise of connections alone is called provisional load, and that blames nobody.
    expect(score(all).processes).toMatchObject({ wrong: [], silent: ["connections-kept"] });
  });

  test("verdicts are right as often as they have been before", () => {
    const { verdicts } = score(all);
    expect((100 * verdicts.right) / verdicts.of, verdicts.wrong.join(", ")).toBeGreaterThanOrEqual(LEAST_RIGHT_PERCENT);
  });

  test("docs/calibration.md says what the diagnosis makes of them today; otherwise run make calibration", () => {
    const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "calibration.md"), "utf8");
    expect(page).toContain(scoreText(score(all)));
  });
});

describe("a confidence", () => {
  test("is raised only where windows of enough recordings carry it, also with any one of them left out", async () => {
    const seen = (await Promise.all(RECORDED.map(windowsOf))).flat();
    const groups = calibrate(seen);
    const raised = groups.filter((group) => group.raised);
    expect(raised.length).toBeGreaterThan(0);
    for (const { name, says, recordings, low, lowWithoutOne } of raised) {
      expect(recordings, name).toBeGreaterThanOrEqual(20);
      expect(100 * Math.min(low, lowWithoutOne), name).toBeGreaterThanOrEqual(says);
    }
    const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "calibration.md"), "utf8");
    expect(page, "run make calibration").toContain(calibrationText(groups));
  }, 60_000);

  test("stays at 75 % for a provisional claim of few samples, or of anything harmless, and never passes 95 %", () => {
    const strong = ["identity", "concentrated", "mapping", "attributors", "kills"] as const;
    const grown = { provisional: true, grows: true };
    expect(confidenceOf(strong, grown)).toBe(75);
    expect(confidenceOf([...strong, "samples"], grown)).toBe(90);
    expect(confidenceOf([...strong, "samples", "otherLives"], grown)).toBe(75);
    expect(confidenceOf([...strong, "samples"], { provisional: true, grows: false })).toBe(75);
    expect(confidenceOf([...strong, "samples"], { ...grown, cap: 60 })).toBe(60);
    expect(confidenceOf([...strong, "samples"], { provisional: false, grows: true })).toBe(95);
    expect(confidenceOf(["samples", "concentrated"], grown)).toBe(80);
  });
});

describe("the packs", () => {
  test("every case that this kind of machine can record is recorded, and small", () => {
    const unrecorded = CASES.filter(
      (one) => one.needs !== "swap" && one.needs !== "cgroup v2" && !RECORDED.includes(one),
    );
    expect(unrecorded.map(({ name }) => name)).toEqual([]);
    const bytes = RECORDED.reduce((sum, one) => sum + statSync(packOf(one)).size, 0);
    expect(bytes).toBeLessThan(MAX_CORPUS_BYTES);
  });

  test("no pack shows paths of the machine that it was recorded on, or what else ran there", async () => {
    const foreign = ["kubepods", "system.slice", "/home/", "/root/", "/tmp/", "/var/", "/work", "node_modules"];
    for (const one of RECORDED) {
      const text = await textOf(packOf(one));
      expect(
        foreign.filter((name) => text.includes(name)),
        one.name,
      ).toEqual([]);
      // Every path of a cgroup is one of the recorder's.
      const paths = [...text.matchAll(/"path":"\/([^"/]+)/g)].map(([, first]) => first);
      expect(
        paths.filter((path) => !/^(corpus|neighbour)-[0-9a-f]+$/.test(path ?? "")),
        one.name,
      ).toEqual([]);
    }
  });
});

describe("the cases", () => {
  test("names are unique, limits are small, and every label says why", () => {
    expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length);
    for (const { name, limitMiB, label, profile } of CASES) {
      expect(name).toMatch(/^[a-z][a-z-]{2,40}$/);
      expect(limitMiB, name).toBeLessThanOrEqual(MAX_LIMIT_MIB);
      expect(label.why.length, name).toBeGreaterThan(15);
      expect(label.also ?? [], name).not.toContain(label.verdict);
      if (label.functions !== undefined) expect(profile, name).toBe(true);
    }
  });
});

describe("the score", () => {
  const aLeak = { verdict: "AnonHeapLeak", process: "service", functions: ["keep"], why: "it leaks" } as const;
  const aCache = { verdict: "PageCacheGrowth", also: ["BoundedSteady"], why: "it reads" } as const;
  const scored = (
    label: Scored["label"],
    verdict: Scored["finding"]["verdict"],
    culprit: Scored["finding"]["culprit"] = {},
  ): Scored => ({ name: "one", label, profiled: true, finding: { verdict, confidencePercent: 80, culprit } });

  test("a cache that is called a leak counts, and so does a leak that is called a cache", () => {
    const result = score([
      scored(aCache, "AnonHeapLeak"),
      scored(aLeak, "PageCacheGrowth"),
      scored(aLeak, "StepChange"),
    ]);
    expect(result.boundedCalledLeak).toEqual(["one (AnonHeapLeak)"]);
    expect(result.leakCalledHarmless).toEqual(["one (PageCacheGrowth)", "one (StepChange)"]);
    expect(result.verdicts).toMatchObject({ right: 0, of: 3 });
  });

  test("what the label allows is right, and silence is neither a leak nor harmless", () => {
    const result = score([
      scored(aCache, "BoundedSteady"),
      scored(aLeak, "Inconclusive"),
      scored(aLeak, "ShmemGrowth"),
    ]);
    expect(result.verdicts).toEqual({ right: 1, of: 3, wrong: ["one (ShmemGrowth)"], silent: ["one"] });
    expect(result.exact).toBe(0);
    expect([...result.boundedCalledLeak, ...result.leakCalledHarmless]).toEqual([]);
  });

  test("another's name is wrong, no name is silence", () => {
    const process = (comm: string): Scored["finding"]["culprit"] => ({ process: { pid: 7, comm } });
    const result = score([
      scored(aLeak, "AnonHeapLeak", { ...process("service"), function: "keep" }),
      scored(aLeak, "AnonHeapLeak", { ...process("sidecar"), function: "malloc" }),
      scored(aLeak, "AnonHeapLeak"),
    ]);
    expect(result.processes).toEqual({ right: 1, of: 3, wrong: ["one (sidecar)"], silent: ["one"] });
    expect(result.functions).toEqual({ right: 1, of: 3, wrong: ["one (malloc)"], silent: ["one"] });
  });

  test("a band holds what was claimed within it, and how often that was right", () => {
    const result = score([scored(aLeak, "AnonHeapLeak"), scored(aLeak, "ShmemGrowth"), scored(aLeak, "Inconclusive")]);
    expect(result.bands.filter(({ count }) => count > 0)).toEqual([
      { from: 80, to: 89, count: 2, right: 1, claimed: 80 },
    ]);
  });
});
