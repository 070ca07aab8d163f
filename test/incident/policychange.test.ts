/** What becomes of an investigation whose policy is changed, deleted or broken while it runs? Each has one outcome, and the conditions say which. */
import { describe, expect, test } from "vitest";
import type { Collection, MemoryInvestigation, PreservedPod } from "../../src/api/memoryinvestigation.ts";
import { ClusterMemoryPolicySpec, MemoryPolicySpec } from "../../src/api/memorypolicy.ts";
import type { Action } from "../../src/incident/actions.ts";
import type { NoPolicy, Observation, PolicyView } from "../../src/incident/observation.ts";
import { plan } from "../../src/incident/plan.ts";
import { effectivePolicy, policyFor, unreadableSpec } from "../../src/incident/policy.ts";
import { FINALIZER } from "../../src/incident/step.ts";
import { aPod, aPolicy, anInvestigation, anObservation, at, NOW } from "./builders.ts";

const KEPT: PreservedPod = {
  pod: "a",
  uid: "uid-a",
  how: "Hold",
  state: "Preserved",
  since: at(60),
  until: at(-3600),
  why: "it ran longest",
};
const MARKED = aPod("a", { labels: { app: "thumbs", "oomscope.dev/preserved": "uid-i" } });

function seen(preserved: Partial<PreservedPod>, over: Partial<Observation> = {}): Observation {
  const status: MemoryInvestigation["status"] = {
    preserved: { ...KEPT, ...preserved },
    policy: { kind: "ClusterMemoryPolicy", name: "p", generation: 1, mode: "Recommend" },
  };
  const investigation = anInvestigation("i", { status });
  investigation.metadata.finalizers = [FINALIZER];
  return anObservation({ investigations: [investigation], pods: [MARKED, aPod("b"), aPod("c")], ...over });
}

/** The observation after the pass's status was written, and what the pass wanted done. */
function pass(before: Observation, now = NOW): { after: Observation; kinds: string[]; actions: readonly Action[] } {
  const [step] = plan(before, now).investigations;
  if (step?.status === undefined) throw new Error("no status");
  const after = { ...before, investigations: [{ ...step.investigation, status: step.status }] };
  return { after, kinds: step.actions.map(({ kind }) => kind), actions: step.actions };
}

const statusOf = ({ investigations: [i] }: Observation): NonNullable<MemoryInvestigation["status"]> => i?.status ?? {};
const conditionOf = (of: Observation, type: string) => statusOf(of).conditions?.find((c) => c.type === type);
const replaced = (of: Observation) => statusOf(of).timeline?.filter(({ event }) => event === "PolicyReplaced");
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);

const GONE: NoPolicy = { problem: "NoPolicy", message: "No policy selects this workload" };
const BROKEN: NoPolicy = { problem: "PolicyInvalid", message: "MemoryPolicy p cannot be read: spec.mode is wrong" };

describe.each([
  ["deleted", GONE],
  ["broken", BROKEN],
])("a policy that is %s", (_, policy) => {
  test("leaves the investigation where it is, and says so", () => {
    const { after, kinds } = pass(seen({}, { policy }));
    expect(conditionOf(after, "Stalled")).toMatchObject({
      status: "True",
      reason: policy.problem,
      message: policy.message,
    });
    expect(conditionOf(after, "PodPreserved")).toMatchObject({ status: "True", reason: "Held" });
    expect(kinds).toEqual([]);
    expect(statusOf(after).result).toBeUndefined();
  });

  test("does not keep a pod beyond its ttl", () => {
    const over = pass(seen({ until: at(1) }, { policy }));
    expect(over.kinds).toEqual(["ReleasePod"]);
    const { after, kinds } = pass({ ...over.after, pods: [aPod("a"), aPod("b")] });
    expect(statusOf(after).preserved?.state).toBe("Released");
    expect(kinds).toEqual(["RemoveGuard", "SetFinalizer"]);
  });

  test("takes back an intent: the pod is not taken, and a lost reply is put back", () => {
    const first = pass(seen({ state: "Intended" }, { policy, pods: [aPod("a"), aPod("b")] }));
    expect(first.kinds).toEqual(["ReleasePod"]);
    expect(statusOf(first.after).preserved).toMatchObject({ state: "Intended", until: at(0) });
    const { after, kinds } = pass(first.after, later(1));
    expect(statusOf(after).preserved?.state).toBe("Released");
    expect(conditionOf(after, "PodPreserved")).toMatchObject({ status: "False", reason: "Released" });
    expect(kinds).toEqual(["RemoveGuard", "SetFinalizer"]);
    // The change had been made after all, and only now the watch tells of it.
    const lost = pass({ ...first.after, pods: [MARKED] }, later(1));
    expect(lost.kinds).not.toContain("SetFinalizer");
    const put = pass(lost.after, later(2));
    expect(put.kinds).toEqual(["ReleasePod"]);
  });

  test("goes on where it was when there is one again", () => {
    const stalled = pass(seen({}, { policy }));
    const { after } = pass({ ...stalled.after, policy: aPolicy("Recommend") });
    expect(conditionOf(after, "Stalled")).toMatchObject({ status: "False", reason: "InProgress" });
    expect(statusOf(after).preserved?.state).toBe("Preserved");
  });
});

test("the same holds after the end: an intent of a pod is taken back without a policy", () => {
  const before = seen({ state: "Intended" }, { policy: GONE, pods: [aPod("a")] });
  const [investigation] = before.investigations;
  if (investigation?.status !== undefined) investigation.status.result = "Inconclusive";
  expect(pass(before).kinds).toEqual(["ReleasePod"]);
});

describe("a policy that is changed", () => {
  test("to Observe takes no pod any more, though it was intended", () => {
    const before = seen({ state: "Intended" }, { policy: aPolicy("Observe"), pods: [aPod("a"), aPod("b")] });
    const first = pass(before);
    expect(first.kinds).toEqual(["ReleasePod"]);
    expect(statusOf(pass(first.after, later(1)).after).preserved?.state).toBe("Released");
  });

  test("to Observe lets a pod that is kept go at its ttl, not before", () => {
    const { after, kinds } = pass(seen({}, { policy: aPolicy("Observe") }));
    expect(statusOf(after).preserved?.state).toBe("Preserved");
    expect(kinds).not.toContain("ReleasePod");
  });

  test("is followed from then on, and the timeline says so once", () => {
    const other = { ...aPolicy("Observe"), name: "q", generation: 7 };
    const first = pass(seen({}, { policy: other }));
    const entry = {
      event: "PolicyReplaced",
      message: expect.stringContaining("ClusterMemoryPolicy q (generation 7, mode Observe)") as string,
    };
    expect(replaced(first.after)).toMatchObject([entry]);
    expect(statusOf(first.after).policy).toMatchObject({ name: "q", mode: "Observe" });
    expect(plan(seen({}, { policy: other }), NOW).investigations[0]?.notices).toMatchObject([
      { reason: "PolicyReplaced" },
    ]);
    expect(replaced(pass(first.after).after)).toMatchObject([entry]);
  });

  test("does not change a collection that runs", () => {
    const collection: Collection = {
      id: "c",
      purpose: "Diagnose",
      attempt: 1,
      state: "Running",
      job: "c",
      node: "n1",
      pods: [],
      requested: at(30),
      samplesExpected: 11,
    };
    const before = seen({}, { policy: aPolicy("Recommend", { collect: { interval: "5s", duration: "1h" } }) });
    const [investigation] = before.investigations;
    if (investigation?.status !== undefined) investigation.status.collections = [collection];
    const job = {
      uid: "j",
      name: "c",
      labels: { "oomscope.dev/investigation-uid": "uid-i" },
      created: at(30),
      active: 1,
      complete: false,
      failed: false,
    };
    const { after } = pass({ ...before, jobs: { c: job } });
    expect(statusOf(after).collections).toMatchObject([{ samplesExpected: 11, state: "Running" }]);
  });
});

test("an investigation that is suspended still lets its pod go at the ttl", () => {
  const before = seen({ until: at(1) });
  const [investigation] = before.investigations;
  if (investigation !== undefined) investigation.spec.suspend = true;
  expect(pass(before).kinds).toEqual(["ReleasePod"]);
});

describe("a policy that cannot be read", () => {
  const question = { namespace: "media", namespaceLabels: {}, podLabels: { app: "thumbs" }, exempt: [] };
  const view = (kind: PolicyView["kind"], name: string, spec: PolicyView["spec"], problem?: string): PolicyView => ({
    kind,
    name,
    uid: name,
    generation: 1,
    created: "2026-11-01T00:00:00Z",
    spec,
    ...(kind === "MemoryPolicy" ? { namespace: "media" } : {}),
    ...(problem === undefined ? {} : { problem }),
  });
  const enforcing = view("ClusterMemoryPolicy", "all", ClusterMemoryPolicySpec.parse({ mode: "Enforce" }));

  test("keeps its place: nobody takes over who allows more", () => {
    const raw = { mode: "Loud", selector: { matchLabels: { app: "thumbs" } } };
    const broken = view("MemoryPolicy", "mine", unreadableSpec("MemoryPolicy", raw), "spec.mode must be one of");
    const policy = effectivePolicy([enforcing, broken], question);
    expect(policy).toMatchObject({
      problem: "PolicyInvalid",
      message: expect.stringContaining("MemoryPolicy mine cannot be read: spec.mode") as string,
    });
    expect(effectivePolicy([enforcing, broken], { ...question, podLabels: { app: "other" } })).toMatchObject({
      name: "all",
    });
  });

  test("of the cluster lets nothing be touched where it could be meant", () => {
    const mine = view("MemoryPolicy", "mine", MemoryPolicySpec.parse({ mode: "Enforce" }));
    const spec = unreadableSpec("ClusterMemoryPolicy", { maxMode: 7, namespaceSelector: "x" });
    const broken = view("ClusterMemoryPolicy", "limits", spec, "spec.maxMode must be");
    expect(effectivePolicy([mine, broken], question)).toMatchObject({
      name: "mine",
      mode: "Observe",
      allowedActions: [],
      loweredBy: ["ClusterMemoryPolicy/limits"],
    });
  });

  test.each([undefined, null, 7, "spec", [], { selector: [] }, { selector: { matchLabels: 3 } }])(
    "is for all that it could be for when its selector is %j",
    (raw) => {
      expect(unreadableSpec("MemoryPolicy", raw).selector).toBeUndefined();
      expect(unreadableSpec("ClusterMemoryPolicy", raw)).toMatchObject({ maxMode: "Observe", mode: "Observe" });
    },
  );

  test("opens nothing, and stalls who names it", () => {
    const killed = seen({}, { policy: BROKEN, investigations: [] });
    expect(plan(killed, NOW).actions).toEqual([]);
    const named = anInvestigation("i");
    named.spec.policyRef = { kind: "MemoryPolicy", name: "p" };
    expect(policyFor({ policy: aPolicy("Enforce"), namedPolicies: { "MemoryPolicy/p": BROKEN } }, named)).toBe(BROKEN);
  });
});
