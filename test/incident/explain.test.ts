/** The dry run says what the plan would do: the same snapshot through both. */
import { describe, expect, test } from "vitest";
import { explain, type ActionAnswer, type Explanation } from "../../src/incident/explain.ts";
import type { EffectivePolicy, Observation } from "../../src/incident/observation.ts";
import { plan } from "../../src/incident/plan.ts";
import {
  aFinding,
  aKill,
  anInvestigation,
  anObservation,
  aPod,
  aPolicy,
  at,
  aTargetState,
  killedContainer,
  NOW,
} from "./builders.ts";

const QUESTION = { namespace: "media", namespaceLabels: {}, podLabels: { app: "thumbs" }, exempt: [] };
const explained = (seen: Observation, suppose?: { verdict: "AnonHeapLeak"; confidencePercent: number }): Explanation =>
  explain({ seen, policies: [], question: QUESTION, now: NOW, ...(suppose === undefined ? {} : { suppose }) });

const STATE: Readonly<Record<ActionAnswer["would"], string>> = {
  Take: "Intended",
  Ask: "Proposed",
  Wait: "Waiting",
  Refuse: "Refused",
};
const automatic = (over: Record<string, unknown> = {}): EffectivePolicy =>
  aPolicy("Enforce", {
    preserve: { strategy: "None" },
    mitigate: [{ action: "Rollback", approval: "Automatic", ...over }],
  });

function found(policy: EffectivePolicy, over: Partial<Observation> = {}): Observation {
  const investigation = anInvestigation("i", { status: { kills: [aKill()], finding: aFinding() } });
  return anObservation({ policy, investigations: [investigation], targetState: aTargetState(), ...over });
}

describe("what an action would come to is what the plan makes of it", () => {
  test.each<[string, Observation]>([
    ["nothing speaks against it", found(automatic())],
    ["it waits for a person", found(automatic({ approval: "Manual" }))],
    ["the finding is too weak", found(automatic({ when: { minConfidencePercent: 95 } }))],
    ["mode Observe", found({ ...automatic(), mode: "Observe" })],
    ["a freeze", found({ ...automatic(), pauses: ["MemoryPolicy p: freeze"] })],
    [
      "a roll-out under way",
      found(automatic(), { targetState: { ...aTargetState(), rollout: { ...aTargetState().rollout, updated: 1 } } }),
    ],
    ["a storm", found(automatic(), { begun: [at(1), at(2), at(3), at(4), at(5)] })],
  ])("%s", (_title, seen) => {
    const [step] = plan(seen, NOW).investigations;
    const record = step?.status?.mitigations?.[0];
    const answer = explained(seen).now?.actions[0];
    expect(answer?.would === undefined ? undefined : STATE[answer.would]).toBe(record?.state);
    if (answer?.would !== "Take") expect([answer?.reason, answer?.message]).toEqual([record?.reason, record?.message]);
    expect(explained(seen).now?.finding.from).toBe("Found");
  });
});

test("all guards that speak are told, not the first alone", () => {
  const policy = { ...automatic(), mode: "Observe" as const, pauses: ["MemoryPolicy p: freeze"] };
  const guards = explained(found(policy)).now?.actions[0]?.guards ?? [];
  expect(guards.filter(({ says }) => says !== "Nothing").map(({ guard }) => guard)).toEqual([
    "modeObserve",
    "approvalMissing",
    "paused",
  ]);
});

describe("which finding is asked for", () => {
  const ended = (over = {}) =>
    anInvestigation("earlier", { status: { result: "Inconclusive", finding: aFinding(over) } });
  test("what an ended investigation has found, where none goes on", () => {
    const seen = found(automatic(), { investigations: [ended({ confidencePercent: 70 })] });
    const { finding, actions, investigation } = explained(seen).now ?? {};
    expect(investigation).toBeUndefined();
    expect(finding).toEqual({ from: "Earlier", verdict: "AnonHeapLeak", confidencePercent: 70 });
    expect(actions?.[0]?.reason).toBe("VerdictTooWeak");
  });

  test("one that is supposed goes before what was found", () => {
    const { now } = explained(found(automatic()), { verdict: "AnonHeapLeak", confidencePercent: 79 });
    expect(now?.finding.from).toBe("Supposed");
    expect(now?.actions[0]?.reason).toBe("VerdictTooWeak");
  });

  test("with nothing found, the kills of pod status are what the guards of the onset see", () => {
    const pods = [aPod("a", { containers: [killedContainer(60)] })];
    const seen = found(automatic({ when: { onsetAfterRollout: true } }), { investigations: [], pods });
    // The pod is of revision h1, and h2 runs now.
    expect(explained(seen).now?.actions[0]).toMatchObject({ would: "Refuse", reason: "TemplateReplaced" });
    expect(explained(seen).workload.killsShown).toBe(1);
  });
});

describe("what an OOM kill would lead to", () => {
  const policy = aPolicy("Recommend", { triggers: { oomKilled: { count: 3, within: "10m" } } });
  test.each<[string, Partial<Observation>, string]>([
    ["nothing goes on", {}, "3 OOM kills within 10m would open an investigation"],
    ["one goes on", { investigations: [anInvestigation("i")] }, "3 OOM kills within 10m would join i"],
    ["the policy's places are taken", { active: { policy: 1, cluster: 1 } }, "which is its budget.maxActive"],
    ["there is no pod", { pods: [] }, "it has no pod that could be killed"],
  ])("%s", (_title, over, text) => {
    expect(explained(anObservation({ policy, ...over })).now?.onKill.message).toContain(text);
  });
});

test("without a policy, and without the workload, there is nothing that would be done", () => {
  const none = { problem: "NoPolicy" as const, message: "none" };
  expect(explained(anObservation({ policy: none }))).toMatchObject({ inForce: none });
  expect(explained(anObservation({ policy: none })).now).toBeUndefined();
  const gone = explained(anObservation({ target: undefined }));
  expect(gone.workload.exists).toBe(false);
  expect(gone.now).toBeUndefined();
});
