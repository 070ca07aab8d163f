/**
 * The real operator in the deterministic world, where every oracle must hold: with one sharp fault at each kind of write, with swarms of faults from seeds, and
 * never where a guard is taken away. `make world` strikes every call and every event, and tries as many seeds as it is asked to.
 */
import { beforeAll, describe, expect, test, vi } from "vitest";
import { reapplier } from "./actors/cleaners.ts";
import { recordedLeak } from "./evidence.ts";
import { faultOn } from "./faults.ts";
import { BEGIN_MS, TWO_LEAKS } from "./incident.ts";
import { ACTS_FIRST, BUDGET_IN_MEMORY, CHOOSES_ANEW, WITHOUT_UID, WITHOUT_VERSION } from "./mutants.ts";
import type { Request } from "./model/apiserver.ts";
import { bench, type Bench, eachKindOfWrite, everyEvent, QUIET, seeded, type Trial } from "./trials.ts";
import type { Mutant } from "./world.ts";

// One world is a tenth of a second of a processor, and nothing in it waits: far above what any test takes, it ends what hangs.
vi.setConfig({ testTimeout: 600_000 });

let at: Bench;
beforeAll(async () => {
  at = await bench(await recordedLeak());
});

async function expectAllToHold(trials: readonly Trial[]): Promise<void> {
  const complaints: string[] = [];
  for (const trial of trials) {
    const complaint = await at.complaint(trial);
    if (complaint !== undefined) complaints.push(complaint);
  }
  expect(complaints.join("\n\n")).toBe("");
}

test("an incident takes the operator some 290 calls, validation included, and two workloads under one budget are told apart", async () => {
  expect(at.calls.length).toBeGreaterThan(150);
  expect(at.calls.length).toBeLessThan(400);
  await expectAllToHold([{ ...QUIET, scenario: TWO_LEAKS }]);
});

test("a lost reply, and a death after the commit, at each kind of write", async () => {
  const trials = eachKindOfWrite(at);
  expect(trials.length).toBeGreaterThan(12);
  await expectAllToHold(trials);
});

test("a read that fails once changes nothing but the time: the pod is isolated all the same", async () => {
  const reads = ["services", "poddisruptionbudgets", "networkpolicies", "resourcequotas"];
  const trials = reads.map((plural) => ({
    ...QUIET,
    name: `the first read of ${plural} fails`,
    faults: faultOn(on("GET", new RegExp(`/${plural}$`)), "Trouble500"),
  }));
  await expectAllToHold(trials);
});

test("a watch that stalls, breaks, or has its history forgotten, in the course of an incident", async () => {
  await expectAllToHold(everyEvent(at).filter((_, index) => index % 110 === 0));
});

test("swarms of faults, from seeds", async () => {
  await expectAllToHold(Array.from({ length: 6 }, (_, seed) => seeded(seed + 1)));
});

test("a roll-back that somebody puts back is not made again", async () => {
  const trial = { ...QUIET, more: () => [reapplier("thumbs", BEGIN_MS, 40)], hostile: true };
  await expectAllToHold([{ ...trial, name: "somebody who puts it back" }]);
  const story = await at.story(trial);
  expect(story.match(/operator.*PATCH .*deployments\/thumbs {2}200/g)).toHaveLength(1);
  expect(story.match(/gitops.*MODIFIED deployments/g)).toHaveLength(1);
});

test("the same seed tells the same story, to the last millisecond", async () => {
  const seed = 3;
  expect(await at.story(seeded(seed))).toBe(await at.story(seeded(seed)));
  expect(await at.story(seeded(seed))).not.toBe(await at.story(seeded(seed + 1)));
});

function on(method: string, path: RegExp): (request: Request) => boolean {
  return (request) => request.method === method && path.test(request.path);
}

describe("without one of its guards the operator is caught:", () => {
  const isolating = on("PATCH", /\/pods\//);
  const rollingBack = on("PATCH", /\/deployments\//);
  const unguarding = on("DELETE", /\/poddisruptionbudgets\//);

  test.each<[Mutant, string, () => Trial]>([
    [ACTS_FIRST, "intent precedes act", () => QUIET],
    [WITHOUT_VERSION, "a write rests on what was read", () => ({ ...QUIET, faults: faultOn(isolating, "Touch") })],
    [WITHOUT_VERSION, "a write rests on what was read", () => ({ ...QUIET, faults: faultOn(rollingBack, "Touch") })],
    [WITHOUT_UID, "blast radius", () => ({ ...QUIET, hostile: true, faults: faultOn(unguarding, "Replace") })],
    [BUDGET_IN_MEMORY, "budget", () => ({ ...QUIET, scenario: TWO_LEAKS, faults: faultOn(rollingBack, "CrashAfter") })],
    [CHOOSES_ANEW, "at most once", () => ({ ...QUIET, faults: faultOn(isolating, "CrashAfter") })],
  ])("$name, by $1", async (mutant, oracle, trial) => {
    expect(await at.problems(trial())).toEqual([]);
    const problems = await at.problems(trial(), mutant);
    expect(problems.filter((problem) => problem.startsWith(`${oracle}:`))).not.toEqual([]);
  });
});
