/**
 * Each guard of mitigation, alone: a case that it refuses, in which no other guard says anything, and its absence from the list makes the
 * action pass. So a guard that is removed fails here.
 */
import { describe, expect, test } from "vitest";
import type { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import type { Mitigation } from "../../src/api/memorypolicy.ts";
import type { Reason } from "../../src/api/reasons.ts";
import { firstRefusal, guardsOf } from "../../src/incident/guards.ts";
import { markText, MITIGATION_ANNOTATION, OPT_OUT_ANNOTATION, optedOut } from "../../src/incident/marks.ts";
import type { Observation, PastMitigation, RolloutView, TargetState } from "../../src/incident/observation.ts";
import { questionOf, remedyFor } from "../../src/incident/remedies/remedies.ts";
import type { MitigationQuestion } from "../../src/incident/remedies/remedy.ts";
import {
  aFinding,
  aKill,
  anInvestigation,
  anObservation,
  aPolicy,
  aRevision,
  at,
  aTargetState,
  NOW,
} from "./builders.ts";

const ROLLBACK: Mitigation = {
  action: "Rollback",
  when: { minConfidencePercent: 80, onsetAfterRollout: true },
  approval: "Automatic",
  minAvailable: 1,
};

interface Case {
  readonly investigation?: MemoryInvestigation;
  readonly target?: Partial<TargetState>;
  readonly seen?: Partial<Observation>;
  readonly question?: Partial<MitigationQuestion>;
}

const killed = (over: Parameters<typeof aKill>[0] = {}): MemoryInvestigation =>
  anInvestigation("i", { status: { kills: [aKill(over)] } });

const approved = (finding: string): MemoryInvestigation => ({
  ...killed(),
  spec: { ...killed().spec, approvedActions: [{ action: "Rollback", finding }] },
});

/** A question that no guard says no to, changed in one respect. */
function question({ investigation = killed(), target, seen, question: over }: Case = {}): MitigationQuestion {
  const state = aTargetState(target);
  const observation = anObservation({ investigations: [investigation], targetState: state, ...seen });
  return questionOf({
    seen: observation,
    investigation,
    finding: aFinding(),
    policy: aPolicy("Enforce"),
    mitigation: ROLLBACK,
    record: undefined,
    now: NOW,
    ...over,
  });
}

const MITIGATION_GUARDS = guardsOf(remedyFor(ROLLBACK));

const rollout = (over: Partial<RolloutView>): Partial<TargetState> => ({
  rollout: { ...aTargetState().rollout, ...over },
});

const past = (over: Partial<PastMitigation> = {}): PastMitigation => ({
  investigationUid: "other",
  workload: "media/Deployment/other",
  policy: "MemoryPolicy/media/other",
  action: "Rollback",
  intended: at(7200),
  ...over,
});
const policy = aPolicy("Enforce");
const record = { action: "Rollback", state: "Intended", reason: "r", message: "m", finding: "3f9c0a1b2c4d" } as const;
const before = { revision: "thumbs-h2", uid: "rs-2", templateHash: aRevision(2, 0).templateHash, images: [] };

/** The guards in their order, each by its reason, with a case for it. */
const CASES: readonly (readonly [Reason, "No" | "Ask" | "NotYet", Case])[] = [
  // Also an approval changes nothing where the mode is Observe.
  ["ModeObserve", "No", { investigation: approved("3f9c0a1b2c4d"), question: { policy: aPolicy("Observe") } }],
  ["ActionNotAllowed", "No", { question: { policy: { ...policy, allowedActions: ["Resize"] } } }],
  ["ActionNotSupported", "No", { seen: { key: { namespace: "media", kind: "Job", name: "thumbs" } } }],
  ["VerdictNotCovered", "No", { question: { finding: aFinding({ verdict: "BoundedSteady" }) } }],
  ["VerdictTooWeak", "No", { question: { finding: aFinding({ confidencePercent: 79 }) } }],
  ["TargetReplaced", "No", { target: { deleting: true } }],
  ["WorkloadUnreadable", "NotYet", { seen: { targetState: { problem: "may not read" } } }],
  ["OptedOut", "No", { target: { annotations: { [OPT_OUT_ANNOTATION]: "Rollback" } } }],
  [
    "TemplateReplaced",
    "No",
    { question: { record: { ...record, since: at(5), before: { ...before, templateHash: "another" } } } },
  ],
  ["OnsetUnknown", "No", { investigation: anInvestigation("i"), question: { finding: aFinding({ culprit: {} }) } }],
  ["RolloutHeld", "No", { target: rollout({ heldBy: "spec.paused is true" }) }],
  [
    "OnsetBeforeRollout",
    "No",
    {
      investigation: anInvestigation("i", {
        status: { kills: [aKill({ id: "0", revision: "thumbs-h0", time: at(9000) }), aKill()] },
      }),
    },
  ],
  [
    "ProposalStale",
    "No",
    { question: { record: { ...record, since: at(5), after: { ...before, templateHash: "another" } } } },
  ],
  ["NoHealthyRevision", "No", { target: { revisions: [aRevision(2, 3600)] } }],
  ["AwaitingApproval", "Ask", { question: { mitigation: { ...ROLLBACK, approval: "Manual" } } }],
  ["OwnedByGitOps", "Ask", { target: { labels: { "kustomize.toolkit.fluxcd.io/name": "apps" } } }],
  ["MitigationPaused", "NotYet", { question: { policy: { ...policy, pauses: ["MemoryPolicy p: a change freeze"] } } }],
  ["RolloutInProgress", "NotYet", { target: rollout({ updated: 2, total: 4 }) }],
  ["TooFewReady", "NotYet", { target: rollout({ mayBeUnavailable: 3 }) }],
  [
    "DisruptionBudget",
    "NotYet",
    {
      target: {
        ...rollout({ mayBeUnavailable: 1 }),
        budgets: [{ name: "all", selector: { matchLabels: { app: "thumbs" } }, desiredHealthy: 3 }],
      },
    },
  ],
  ["CoolingDown", "NotYet", { seen: { mitigated: [past({ workload: "media/Deployment/thumbs", intended: at(60) })] } }],
  [
    "WorkloadBudgetSpent",
    "NotYet",
    {
      seen: {
        mitigated: [at(7200), at(20_000)].map((intended) => past({ workload: "media/Deployment/thumbs", intended })),
      },
    },
  ],
  [
    "PolicyBudgetSpent",
    "NotYet",
    { seen: { mitigated: [at(60), at(70)].map((intended) => past({ policy: "ClusterMemoryPolicy//p", intended })) } },
  ],
  ["ClusterBudgetSpent", "NotYet", { seen: { mitigated: Array.from({ length: 10 }, () => past()) } }],
  ["StormBrake", "NotYet", { seen: { begun: Array.from({ length: 5 }, (_, i) => at(i)) } }],
];

describe("the guards of mitigation", () => {
  test("let an action pass that nothing speaks against", () => {
    expect(firstRefusal(question())).toBeUndefined();
  });

  test.each(CASES)("%s", (reason, means, given) => {
    const asked = question(given);
    const answer = firstRefusal(asked);
    expect(answer).toMatchObject({ reason, means });
    expect(answer?.message).toMatch(/\w.{9}/);
    const without = MITIGATION_GUARDS.filter(({ refuse }) => refuse(asked)?.reason !== reason);
    expect(without.length).toBe(MITIGATION_GUARDS.length - 1);
    expect(firstRefusal(asked, without)).toBeUndefined();
  });

  test("are all tested here, in their order", () => {
    expect(CASES).toHaveLength(MITIGATION_GUARDS.length);
    const spoken = CASES.map(([, , given]) => {
      const asked = question(given);
      return MITIGATION_GUARDS.findIndex(({ refuse }) => refuse(asked) !== undefined);
    });
    expect(spoken).toEqual(MITIGATION_GUARDS.map((_, index) => index));
  });
});

function reasonOf(given: Case): Reason | undefined {
  return firstRefusal(question(given))?.reason;
}

describe("approval", () => {
  const manual = { mitigation: { ...ROLLBACK, approval: "Manual" as const } };

  test("is for one finding, and void for another", () => {
    expect(reasonOf({ investigation: approved("3f9c0a1b2c4d"), question: manual })).toBeUndefined();
    expect(reasonOf({ investigation: approved("000000000000"), question: manual })).toBe("AwaitingApproval");
  });

  test("is needed in mode Recommend, also where the policy says Automatic", () => {
    expect(reasonOf({ question: { policy: aPolicy("Recommend") } })).toBe("AwaitingApproval");
    const given = approved("3f9c0a1b2c4d");
    expect(reasonOf({ investigation: given, question: { policy: aPolicy("Recommend") } })).toBeUndefined();
  });

  test("is not asked for what could never be done, and does not overrule what has to be waited for", () => {
    const recommend = { policy: aPolicy("Recommend") };
    expect(reasonOf({ target: { revisions: [aRevision(2, 3600)] }, question: recommend })).toBe("NoHealthyRevision");
    const begun = Array.from({ length: 5 }, () => at(1));
    expect(reasonOf({ investigation: approved("3f9c0a1b2c4d"), seen: { begun }, question: recommend })).toBe(
      "StormBrake",
    );
  });
});

test("an approval overrules what a GitOps controller would do, and nothing is asked where a change holds", () => {
  const labels = { "kustomize.toolkit.fluxcd.io/name": "apps" };
  expect(reasonOf({ investigation: approved("3f9c0a1b2c4d"), target: { labels } })).toBeUndefined();
  const annotations = { "kustomize.toolkit.fluxcd.io/reconcile": "disabled" };
  expect(reasonOf({ target: { labels, annotations } })).toBeUndefined();
});

describe("the verdict", () => {
  test("must be one that the policy names; by default any but those that name no trouble", () => {
    const only = (verdicts: Mitigation["when"]["verdicts"]): Case => ({
      question: { mitigation: { ...ROLLBACK, when: { ...ROLLBACK.when, verdicts } } },
    });
    expect(reasonOf(only(["ShmemGrowth"]))).toBe("VerdictNotCovered");
    expect(reasonOf(only(["ShmemGrowth", "AnonHeapLeak"]))).toBeUndefined();
    expect(reasonOf({ question: { finding: aFinding({ verdict: "Inconclusive" }) } })).toBe("VerdictNotCovered");
  });
});

describe("a finding of one revision", () => {
  test("says nothing about the one that runs now", () => {
    expect(reasonOf({ question: { finding: aFinding({ culprit: { revision: "thumbs-h1" } }) } })).toBe(
      "TemplateReplaced",
    );
    expect(
      reasonOf({ investigation: killed({ revision: "thumbs-h7" }), question: { finding: aFinding({ culprit: {} }) } }),
    ).toBe("TemplateReplaced");
  });

  test("of a DaemonSet is told by the hash that its pods bear", () => {
    const revisions = [aRevision(1, 90_000), aRevision(2, 3600, { marks: ["thumbs-h2", "77dc9"] })];
    const finding = aFinding({ culprit: { revision: "77dc9" } });
    expect(
      reasonOf({ investigation: killed({ revision: "77dc9" }), target: { revisions }, question: { finding } }),
    ).toBeUndefined();
  });

  test("is proof only when the revision of every kill is known", () => {
    const { revision: _, ...nameless } = aKill({ id: "1" });
    const investigation = anInvestigation("i", { status: { kills: [nameless, aKill()] } });
    expect(reasonOf({ investigation })).toBe("OnsetUnknown");
    const when = { ...ROLLBACK.when, onsetAfterRollout: false };
    expect(reasonOf({ investigation, question: { mitigation: { ...ROLLBACK, when } } })).toBeUndefined();
  });

  test("is not doubted for what the node did to another", () => {
    const evicted = aKill({ id: "2", revision: "thumbs-h1", classification: "Evicted" });
    expect(
      reasonOf({ investigation: anInvestigation("i", { status: { kills: [evicted, aKill()] } }) }),
    ).toBeUndefined();
  });
});

describe("a roll-out", () => {
  test("that its controller has given up on is what a roll-back is for", () => {
    expect(reasonOf({ target: rollout({ updated: 1, total: 4, stuck: "deadline" }) })).toBeUndefined();
  });

  test("is under way while its controller has not seen the newest spec, or has no revision for it", () => {
    expect(reasonOf({ target: rollout({ observed: false, stuck: "of the one before" }) })).toBe("RolloutInProgress");
    const revisions = [aRevision(1, 90_000), aRevision(3, 3600)];
    expect(reasonOf({ target: { revisions } })).toBe("RolloutInProgress");
  });

  test("may take the last ready pods only where none were ready before, or the policy says so", () => {
    expect(reasonOf({ target: rollout({ mayBeUnavailable: 3, ready: 0 }) })).toBeUndefined();
    const none = { mitigation: { ...ROLLBACK, minAvailable: 0 } };
    expect(reasonOf({ target: rollout({ mayBeUnavailable: 3 }), question: none })).toBeUndefined();
    const all = { mitigation: { ...ROLLBACK, minAvailable: 3 } };
    expect(reasonOf({ target: rollout({ mayBeUnavailable: 1 }), question: all })).toBe("TooFewReady");
    expect(reasonOf({ target: rollout({ mayBeUnavailable: 1, ready: 2 }), question: all })).toBeUndefined();
  });

  test("heeds budgets that match its pods, and one that nobody has computed yet", () => {
    const budget = (selector: Record<string, string>, desiredHealthy: number | undefined): Case => ({
      target: {
        ...rollout({ mayBeUnavailable: 1 }),
        budgets: [{ name: "b", selector: { matchLabels: selector }, desiredHealthy }],
      },
    });
    expect(reasonOf(budget({ app: "other" }, 3))).toBeUndefined();
    expect(reasonOf(budget({ app: "thumbs" }, 2))).toBeUndefined();
    expect(reasonOf(budget({ app: "thumbs" }, undefined))).toBe("DisruptionBudget");
  });
});

describe("budgets", () => {
  test("of zero allow nothing", () => {
    const none = aPolicy("Enforce", { budget: { maxMitigationsPerDay: 0 } });
    expect(reasonOf({ question: { policy: none } })).toBe("WorkloadBudgetSpent");
  });

  test("forget what is older than a day, and do not count the action itself", () => {
    const own = past({ investigationUid: "uid-i", workload: "media/Deployment/thumbs", intended: at(1) });
    const old = Array.from({ length: 20 }, () => past({ intended: at(86_401) }));
    expect(reasonOf({ seen: { mitigated: [own, ...old] } })).toBeUndefined();
  });

  test("of two that were intended without knowing of each other let one through", () => {
    const tight = { ...policy, cluster: { ...policy.cluster, maxMitigationsPerDay: 1 } };
    const asked = (uid: string, other: string): Reason | undefined => {
      const investigation = { ...killed(), metadata: { ...killed().metadata, uid } };
      return reasonOf({
        investigation,
        seen: { mitigated: [past({ investigationUid: other, intended: at(5) })] },
        question: { policy: tight, record: { ...record, since: at(5), intended: at(5) } },
      });
    };
    expect([asked("a", "b"), asked("b", "a")]).toEqual([undefined, "ClusterBudgetSpent"]);
  });

  test("outlive the investigation that used them: the mark stays on the workload", () => {
    const mark = (investigation: string, time: string): Case => ({
      target: { annotations: { [MITIGATION_ANNOTATION]: markText({ investigation, action: "Rollback", time }) } },
    });
    expect(reasonOf(mark("deleted", at(60)))).toBe("CoolingDown");
    expect(reasonOf(mark("deleted", at(1801)))).toBeUndefined();
    expect(reasonOf(mark("uid-i", at(60)))).toBeUndefined();
    for (const text of ["", "{", "[]", "null", '{"time":"x"}', '{"time":1,"action":"Rollback","investigation":"u"}'])
      expect(reasonOf({ target: { annotations: { [MITIGATION_ANNOTATION]: text } } })).toBeUndefined();
  });
});

test("an opt-out that cannot be read opts out of everything", () => {
  const says = (value: string): boolean => optedOut({ [OPT_OUT_ANNOTATION]: value }, "Rollback");
  expect(["true", "Rollback", "Resize, Rollback", "", "rollback", "schema change"].map(says)).toEqual(
    Array.from({ length: 6 }, () => true),
  );
  expect(["false", "Resize", "Resize,Throttle"].map(says)).toEqual([false, false, false]);
  expect(optedOut({}, "Rollback")).toBe(false);
});
