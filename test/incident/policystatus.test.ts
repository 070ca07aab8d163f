/** What does a policy say of itself beside others? */
import { describe, expect, test } from "vitest";
import { ClusterMemoryPolicySpec, MemoryPolicySpec, type PolicyStatus } from "../../src/api/memorypolicy.ts";
import type { PolicyView } from "../../src/incident/observation.ts";
import { effectivePolicy, rankedPolicies, unreadableSpec } from "../../src/incident/policy.ts";
import {
  NOTHING_SPENT,
  policyStatus,
  policyUse,
  spentByPolicy,
  type Standing,
  type TriggerFact,
} from "../../src/incident/policystatus.ts";
import { anInvestigation, at, NOW } from "./builders.ts";

function policy(kind: PolicyView["kind"], name: string, spec: object = {}, over: Partial<PolicyView> = {}): PolicyView {
  const schema = kind === "MemoryPolicy" ? MemoryPolicySpec : ClusterMemoryPolicySpec;
  return {
    kind,
    name,
    uid: `uid-${name}`,
    ...(kind === "MemoryPolicy" ? { namespace: "media" } : {}),
    generation: 3,
    created: "2026-11-01T00:00:00Z",
    spec: schema.parse(spec),
    ...over,
  };
}

/** Workloads of one namespace by the labels of their pods, under these policies. */
function standings(policies: readonly PolicyView[], ...apps: string[]): Standing[] {
  return apps.map((app) => {
    const question = { namespace: "media", namespaceLabels: {}, podLabels: { app }, exempt: [] };
    return { ranked: rankedPolicies(policies, question), policy: effectivePolicy(policies, question) };
  });
}

function statusOf(
  of: PolicyView,
  all: readonly PolicyView[],
  apps: string[],
  before: PolicyStatus = {},
  triggers?: TriggerFact,
): PolicyStatus {
  return policyStatus(of, policyUse(standings(all, ...apps)).get(of.uid), NOTHING_SPENT, triggers, before, NOW);
}

const told = ({ conditions = [] }: PolicyStatus): string[] =>
  conditions.map((c) => `${c.type} ${c.status} ${c.reason}`);
const messageOf = ({ conditions = [] }: PolicyStatus, type: string): string | undefined =>
  conditions.find((c) => c.type === type)?.message;

const everything = policy("ClusterMemoryPolicy", "observe-everything");
const mine = policy("MemoryPolicy", "mine", { selector: { matchLabels: { app: "thumbs" } } });

describe("a policy", () => {
  test("that is in force counts its workloads, and names those it comes before", () => {
    const status = statusOf(mine, [everything, mine], ["thumbs", "other"]);
    expect(told(status)).toEqual(["Ready True InForce", "Shadowed False NotShadowed"]);
    expect(status).toMatchObject({ observedGeneration: 3, matchedWorkloads: 1 });
    expect(messageOf(status, "Shadowed")).toBe(
      "MemoryPolicy/mine comes before ClusterMemoryPolicy/observe-everything (1 workload)",
    );
  });

  test("of the cluster that a namespace's comes before in part says so, and is ready", () => {
    const status = statusOf(everything, [everything, mine], ["thumbs", "other", "third"]);
    expect(told(status)).toEqual(["Ready True InForce", "Shadowed True Shadowed"]);
    expect(status.matchedWorkloads).toBe(2);
    expect(messageOf(status, "Shadowed")).toBe(
      "ClusterMemoryPolicy/observe-everything loses to MemoryPolicy/mine (1 workload)",
    );
  });

  test("of the cluster that is overruled everywhere still limits", () => {
    expect(told(statusOf(everything, [everything, mine], ["thumbs"]))[0]).toBe("Ready True OnlyLimits");
  });

  test("that an older equal one comes before everywhere is not ready, and names the winner", () => {
    const twin = { ...mine, name: "twin", uid: "uid-twin", created: "2026-11-02T00:00:00Z" };
    const status = statusOf(twin, [twin, mine], ["thumbs"]);
    expect(told(status)).toEqual(["Ready False Shadowed", "Shadowed True Shadowed"]);
    expect(messageOf(status, "Ready")).toBe("Of no workload it is the policy in force: MemoryPolicy/mine (1 workload)");
  });

  test("that selects nothing is ready: its workloads may come", () => {
    expect(told(statusOf(mine, [mine], ["other"]))).toEqual([
      "Ready True SelectsNothing",
      "Shadowed False NotShadowed",
    ]);
  });

  test("that asks for more than the cluster allows is not ready, and names who lowers it to what", () => {
    const asking = policy("MemoryPolicy", "asking", { mode: "Enforce" });
    const limit = policy("ClusterMemoryPolicy", "limit", { maxMode: "Recommend" });
    const status = statusOf(asking, [asking, limit, everything], ["a", "b"]);
    expect(told(status)[0]).toBe("Ready False DisallowedMode");
    expect(messageOf(status, "Ready")).toBe(
      "Mode Enforce is not allowed everywhere that this policy is in force: ClusterMemoryPolicy/limit allows no more than Recommend",
    );
  });

  test("that cannot be read says which field, and what that means", () => {
    const broken = policy(
      "MemoryPolicy",
      "broken",
      {},
      { spec: unreadableSpec("MemoryPolicy", {}), problem: "spec.mode must be one of Observe, Recommend, Enforce" },
    );
    const status = statusOf(broken, [broken], ["a"]);
    expect(told(status)[0]).toBe("Ready False InvalidSpec");
    expect(messageOf(status, "Ready")).toMatch(
      /^spec\.mode must be one of .*\. Until it is mended no investigation is begun/,
    );
    expect(status.matchedWorkloads).toBe(1);
  });

  test("says how its triggers do, and stops saying so when it has none", () => {
    const down: TriggerFact = { status: "False", reason: "MetricsUnavailable", message: "Doing nothing: growth" };
    const status = statusOf(mine, [mine], ["thumbs"], {}, down);
    expect(told(status).at(-1)).toBe("TriggersReady False MetricsUnavailable");
    expect(told(statusOf(mine, [mine], ["thumbs"], status))).toEqual([
      "Ready True InForce",
      "Shadowed False NotShadowed",
    ]);
  });

  test("moves a condition's time only when the fact flips", () => {
    const status = statusOf(mine, [mine], ["thumbs"]);
    const old = { ...status, conditions: status.conditions?.map((c) => ({ ...c, lastTransitionTime: at(3600) })) };
    expect(statusOf(mine, [mine], ["thumbs"], old)).toEqual(old);
    expect(statusOf(mine, [mine], ["thumbs", "x"], old).conditions?.[0]?.lastTransitionTime).toBe(at(3600));
    const broken = { ...mine, problem: "no" };
    expect(statusOf(broken, [broken], ["thumbs"], old).conditions?.[0]?.lastTransitionTime).toBe(at(0));
  });

  test("names a bounded number of others", () => {
    const many = Array.from({ length: 40 }, (_, i) =>
      policy("MemoryPolicy", `p${i}`, { selector: { matchLabels: { app: `a${i}` } } }),
    );
    const message = messageOf(
      statusOf(
        everything,
        [everything, ...many],
        many.map((_, i) => `a${i}`),
      ),
      "Shadowed",
    );
    expect(message).toMatch(/ and 35 more$/);
  });
});

test("what is spent is counted from investigations, by the policy that each follows, and mitigations for a day", () => {
  const follows = (name: string, over: object) =>
    anInvestigation(name, { status: { policy: { kind: "MemoryPolicy", name: "mine", mode: "Enforce" }, ...over } });
  const mitigation = (secondsAgo: number) => ({
    action: "Rollback",
    state: "Done",
    reason: "RolledBack",
    message: "",
    intended: at(secondsAgo),
  });
  const spent = spentByPolicy(
    [
      follows("a", {}),
      follows("b", { result: "Mitigated", mitigations: [mitigation(86_399), mitigation(86_400)] }),
      follows("c", { mitigations: [{ ...mitigation(0), intended: undefined }] }),
      anInvestigation("d"),
    ],
    NOW,
  );
  expect(Object.fromEntries(spent)).toEqual({
    "MemoryPolicy/media/mine": { activeInvestigations: 2, mitigationsLastDay: 1 },
  });
});
