/** How far may the policy in force go, when several of the cluster's policies match? */
import { describe, expect, test } from "vitest";
import { ClusterMemoryPolicySpec, MemoryPolicySpec } from "../../src/api/memorypolicy.ts";
import type { EffectivePolicy, PolicyView } from "../../src/incident/observation.ts";
import { effectivePolicy } from "../../src/incident/policy.ts";

const QUESTION = { namespace: "media", namespaceLabels: {}, podLabels: { app: "thumbs" }, exempt: ["kube-system"] };

function of(kind: PolicyView["kind"], name: string, spec: object): PolicyView {
  const schema = kind === "MemoryPolicy" ? MemoryPolicySpec : ClusterMemoryPolicySpec;
  return {
    kind,
    name,
    uid: name,
    ...(kind === "MemoryPolicy" ? { namespace: "media" } : {}),
    generation: 1,
    created: "2026-11-01T00:00:00Z",
    spec: schema.parse(spec),
  };
}

function inForce(...policies: readonly PolicyView[]): EffectivePolicy {
  const found = effectivePolicy(policies, QUESTION);
  if (found === undefined || "problem" in found) throw new Error(`no policy: ${found?.message ?? "none"}`);
  return found;
}

const mine = of("MemoryPolicy", "mine", { mode: "Enforce", pauseRequests: ["my freeze"] });

describe("a namespace's policy", () => {
  test("alone has what a ClusterMemoryPolicy says by default: nothing on nodes", () => {
    expect(inForce(mine)).toMatchObject({
      allowedActions: ["Rollback", "Throttle", "Resize", "Restart"],
      pauses: ["MemoryPolicy mine: my freeze"],
      cluster: { maxMitigationsPerDay: 10, storm: { investigations: 5, withinMs: 900_000 } },
    });
  });

  test("is narrowed by every policy of the cluster that matches: the tightest of each counts", () => {
    const a = of("ClusterMemoryPolicy", "a", {
      allowedActions: ["Rollback", "DrainNode"],
      pauseRequests: ["a's freeze"],
      clusterBudget: { maxActive: 4, maxMitigationsPerDay: 3, storm: { investigations: 9, within: "1h" } },
    });
    const b = of("ClusterMemoryPolicy", "b", {
      maxMode: "Recommend",
      allowedActions: ["Resize", "Rollback"],
      clusterBudget: { maxMitigationsPerDay: 7, storm: { investigations: 4, within: "1m" } },
    });
    const elsewhere = of("ClusterMemoryPolicy", "c", {
      namespaceSelector: { matchLabels: { team: "other" } },
      allowedActions: [],
      pauseRequests: ["not ours"],
    });
    expect(inForce(mine, a, b, elsewhere)).toMatchObject({
      name: "mine",
      mode: "Recommend",
      allowedActions: ["Rollback"],
      pauses: ["MemoryPolicy mine: my freeze", "ClusterMemoryPolicy a: a's freeze"],
      cluster: { maxActive: 4, maxMitigationsPerDay: 3, storm: { investigations: 4, withinMs: 3_600_000 } },
    });
  });

  test("cannot give itself more than the cluster allows", () => {
    const none = of("ClusterMemoryPolicy", "none", { allowedActions: [] });
    expect(inForce(mine, none).allowedActions).toEqual([]);
  });
});
