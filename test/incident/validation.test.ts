/** From a mitigation that was seen complete to whether it helped, pass by pass, as the plan has it. */
import { describe, expect, test } from "vitest";
import type { Collection, Kill, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import type { CheckResult, MitigationRecord } from "../../src/api/mitigation.ts";
import type { ValidationCheck } from "../../src/api/validation.ts";
import type { Action } from "../../src/incident/actions.ts";
import { MITIGATION_ANNOTATION, markText } from "../../src/incident/marks.ts";
import {
  keyText,
  type EffectivePolicy,
  type Observation,
  type PodView,
  type SessionView,
} from "../../src/incident/observation.ts";
import { plan } from "../../src/incident/plan.ts";
import { comparisonOf, validating } from "../../src/incident/validation.ts";
import {
  aContainer,
  aFinding,
  aKill,
  aNode,
  anInvestigation,
  anObservation,
  aPod,
  aPolicy,
  aRevision,
  at,
  aTargetState,
  killedContainer,
  NOW,
} from "./builders.ts";

const back = aRevision(1, 90_000);
const rolledBack = aTargetState({ generation: 3, template: back.template, templateHash: back.templateHash });

const facts = (number: number) => {
  const { name, uid, templateHash } = aRevision(number, 3600);
  return { revision: name, uid, templateHash, images: [] };
};
const DONE: MitigationRecord = {
  action: "Rollback",
  state: "Done",
  reason: "RolledBack",
  message: "went back from thumbs-h2 to thumbs-h1; all 3 pods run it and are available",
  finding: "3f9c0a1b2c4d",
  since: at(1),
  intended: at(40),
  applied: at(35),
  finished: at(1),
  approvedBy: "Policy",
  target: { kind: "Deployment", name: "thumbs", uid: "d-1", resourceVersion: "50", generation: 2 },
  before: facts(2),
  after: facts(1),
};

const FIRST: Collection = {
  id: "oomc-1",
  purpose: "Diagnose",
  attempt: 1,
  state: "Complete",
  job: "oomc-1",
  node: "n1",
  pods: [],
  requested: at(400),
};

const policyFor = (validate: Record<string, unknown> = {}, collect: Record<string, unknown> = {}): EffectivePolicy =>
  aPolicy("Enforce", {
    preserve: { strategy: "None" },
    mitigate: [{ action: "Rollback", approval: "Automatic" }],
    validate,
    collect,
  });
const policy = policyFor();

/** New pods: the ReplicaSet of the builders is that of the first revision. */
const PODS = [aPod("a"), aPod("b"), aPod("c", { node: "n2" })];

function done(over: Partial<Observation> = {}, status: Partial<MemoryInvestigationStatus> = {}): Observation {
  const investigation = anInvestigation("i", {
    status: {
      kills: [aKill()],
      killCount: 1,
      ledger: [aKill().id],
      collections: [FIRST],
      finding: aFinding({ growth: { series: "anon + swap", bytesPerSecond: 1, low: 1, high: 1 } }),
      mitigations: [DONE],
      ...status,
    },
  });
  return anObservation({
    policy,
    pods: PODS,
    investigations: [investigation],
    targetState: rolledBack,
    nodes: { n1: aNode(), n2: aNode() },
    ...over,
  });
}

interface Pass {
  readonly seen: Observation;
  readonly status: MemoryInvestigationStatus;
  readonly actions: readonly Action[];
  readonly events: readonly string[];
  readonly validated: string;
  readonly againMs: number | undefined;
  readonly checks: Readonly<Record<string, string>>;
}

/** One pass, and the observation after its status was written. */
function pass(seen: Observation, secondsLater: number): Pass {
  const next = plan(seen, later(secondsLater));
  const [step] = next.investigations;
  const status = step?.status ?? {};
  const condition = status.conditions?.find((c) => c.type === "Validated");
  const [investigation] = seen.investigations;
  if (investigation === undefined) throw new Error("no investigation");
  return {
    seen: { ...seen, investigations: [{ ...investigation, status }] },
    status,
    actions: step?.actions ?? [],
    events: (step?.notices ?? []).map((n) => n.reason),
    validated: `${condition?.status ?? ""} ${condition?.reason ?? ""}`,
    againMs: next.requeueAfterMs,
    checks: Object.fromEntries((status.validation?.checks ?? []).map(({ name, result }) => [name, result])),
  };
}

const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
const second = (it: Pass): Collection | undefined =>
  it.status.collections?.findLast(({ purpose }) => purpose === "Validate");
const jobOf = (it: Pass) => it.actions.find((action) => action.kind === "CreateCollectionJob");

/** The hour until the second collection is under way. */
function measuring(over: Partial<Observation> = {}): Pass {
  return pass(pass(done(over), 0).seen, 301);
}

const session = (collection: string): SessionView => ({
  collection,
  started: at(-310),
  samples: 110,
  parts: 3,
  bytes: 1,
  closed: true,
  context: "End",
  manifest: { outcome: "Complete", samples: 110, stallMs: 1, cpuMs: 1, sha256: "ab", skipped: [] },
});

const check = (name: ValidationCheck["name"], result: CheckResult, required = true): ValidationCheck => ({
  name,
  result,
  required,
  before: 1000,
  after: 1,
  unit: "bytes per second",
  detail: `${name} it is`,
});

/** The second collection has arrived and was compared. */
function compared(it: Pass, checks: readonly ValidationCheck[]): Observation {
  const { id = "" } = second(it) ?? {};
  return {
    ...it.seen,
    sessions: { [id]: session(id) },
    findings: { [id]: aFinding({ verdict: "BoundedSteady" }) },
    comparisons: { [id]: checks },
  };
}

const GOOD = [check("MemoryGrowth", "Pass"), check("GrowthProfile", "Pass"), check("MemoryLimit", "Unknown", false)];

describe("the window", () => {
  test("begins when the mitigation is seen complete, and is in status from then on", () => {
    const first = pass(done(), 0);
    expect(first.status).toMatchObject({
      stage: "Validating",
      validation: { action: "Rollback", started: at(0), until: at(-3600) },
    });
    expect(first.status.result).toBeUndefined();
    expect(first.validated).toBe("Unknown Validating");
    expect(first.status.conditions?.find((c) => c.type === "Mitigated")?.status).toBe("True");
    expect(first.checks).toEqual({ Kills: "Unknown" });
    expect(first.actions).toEqual([]);
    expect(first.againMs).toBeLessThanOrEqual(300_000);
  });

  test("is that of the policy, and stays when the policy changes", () => {
    const first = pass(done({ policy: policyFor({ window: "10m" }) }), 0);
    expect(first.status.validation?.until).toBe(at(-600));
    const changed = pass({ ...first.seen, policy: policyFor({ window: "0s" }) }, 10);
    expect(changed.status.validation?.until).toBe(at(-600));
    expect(changed.status.result).toBeUndefined();
  });

  test("of no time means that nobody looks", () => {
    const first = pass(done({ policy: policyFor({ window: "0s" }) }), 0);
    expect(first.status).toMatchObject({ result: "Mitigated" });
    expect(first.status.validation).toBeUndefined();
    expect(first.validated).toBe("Unknown NotValidated");
  });

  test("is another one for another action", () => {
    const earlier = { action: "Throttle", started: at(9000), until: at(5400), checks: [] } as const;
    const first = pass(done({}, { validation: { ...earlier, checks: [] } }), 0);
    expect(first.status.validation).toMatchObject({ action: "Rollback", started: at(0), until: at(-3600) });
  });

  test("is not moved by a restart: the same status gives the same answer", () => {
    const it = measuring();
    expect(pass(it.seen, 301).status).toEqual(it.status);
  });
});

describe("the second collection", () => {
  test("waits until the new pods are warm, then measures them for the rest of the window", () => {
    expect(jobOf(pass(pass(done(), 0).seen, 299))).toBeUndefined();
    const it = measuring();
    expect(second(it)).toMatchObject({ purpose: "Validate", attempt: 1, state: "Intended", node: "n1" });
    expect(second(it)?.id).not.toBe(FIRST.id);
    expect(second(it)?.pods.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(jobOf(it)?.plan).toMatchObject({ purpose: "Validate", durationMs: 3_299_000, intervalMs: 10_000 });
    expect(it.actions.map(({ kind }) => kind)).toEqual(["WriteContext", "CreateCollectionJob"]);
    expect(it.status.collections?.[0]).toEqual(FIRST);
  });

  test("is asked for again under the same name, with the same plan, when the Job does not show", () => {
    const it = measuring();
    expect(jobOf(pass(it.seen, 320))).toEqual(jobOf(it));
  });

  test("of an earlier action's validation is another one: attempts and names are this one's own", () => {
    const earlier: Collection = {
      ...FIRST,
      id: "oomc-9",
      job: "oomc-9",
      purpose: "Validate",
      attempt: 2,
      requested: at(300),
    };
    const begun = pass(done({}, { collections: [FIRST, earlier] }), 0);
    const it = pass(begun.seen, 301);
    expect(second(it)).toMatchObject({ attempt: 1, state: "Intended" });
    expect(it.status.collections).toHaveLength(3);
    const over = pass({ ...begun.seen, comparisons: { "oomc-9": GOOD } }, 3600);
    expect(over.status.result).toBe("Mitigated");
  });

  test("takes samples for at least 75 s however short the window is, and often enough for a trend", () => {
    const short = { policy: policyFor({ window: "1m" }) };
    const it = pass(pass(done(short), 0).seen, 10);
    expect(jobOf(it)?.plan).toMatchObject({ durationMs: 75_000, intervalMs: 5_000 });
    expect(second(it)?.samplesExpected).toBe(16);
  });

  test("measures no pod of the old template, none that is kept, and none that is going", () => {
    const old: Partial<PodView> = { ownerUid: "rs-2", ownerName: "thumbs-h2" };
    const pods = [
      aPod("old", old),
      aPod("kept", { labels: { "oomscope.dev/preserved": "uid-i" } }),
      aPod("going", { deletionTimestamp: at(1) }),
      aPod("new", { node: "n2" }),
    ];
    const it = measuring({ pods });
    expect(second(it)?.pods.map(({ name }) => name)).toEqual(["new"]);
    expect(second(it)?.node).toBe("n2");
  });

  test("is tried twice, and not begun any more when the window is over", () => {
    const it = measuring();
    const lost = pass(it.seen, 1000);
    expect(second(lost)).toMatchObject({ state: "Lost", attempt: 1 });
    const again = pass(lost.seen, 1001);
    expect(second(again)).toMatchObject({ state: "Intended", attempt: 2 });
    expect(jobOf(again)?.plan.durationMs).toBe(2_599_000);
    const late = pass(lost.seen, 3601);
    expect(late.status).toMatchObject({ result: "Mitigated" });
    expect(late.validated).toBe("Unknown ValidationInconclusive");
    expect(late.checks).toEqual({ Kills: "Pass" });
  });

  test("leaves the evidence of the finding what it was", () => {
    const evidence = { location: "collections/oomc-1", parts: 1, bytes: 1, sha256: "ab" };
    const it = measuring();
    const [investigation] = it.seen.investigations;
    if (investigation === undefined) throw new Error("no investigation");
    const pack = { location: "s3://b/k", bytes: 2, sha256: "cd", expires: at(-9) };
    const seen: Observation = {
      ...compared(it, GOOD),
      investigations: [{ ...investigation, status: { ...it.status, evidence } }],
      archives: { [second(it)?.id ?? ""]: { pack } },
    };
    expect(pass(seen, 3700).status.evidence).toEqual(evidence);
  });
});

describe("the end", () => {
  test("Resolved, when the window is over, everything was compared, and all that is needed passed", () => {
    const seen = compared(measuring(), GOOD);
    const early = pass(seen, 3000);
    expect(early.status.result).toBeUndefined();
    expect(early.checks).toEqual({
      Kills: "Unknown",
      MemoryGrowth: "Pass",
      GrowthProfile: "Pass",
      MemoryLimit: "Unknown",
    });
    const end = pass(early.seen, 3600);
    expect(end.status).toMatchObject({ result: "Resolved", stage: "Done" });
    expect(end.validated).toBe("True Validated");
    expect(end.checks["Kills"]).toBe("Pass");
    expect(end.events).toContain("Validated");
    expect(end.status.timeline?.map(({ event }) => event)).toEqual(expect.arrayContaining(["Validating", "Validated"]));
    const quiet = pass(end.seen, 3700);
    expect([quiet.actions, quiet.status]).toEqual([[], end.status]);
  });

  test("is not Resolved when a check that is needed is Unknown", () => {
    const unsure = [check("MemoryGrowth", "Unknown"), check("GrowthProfile", "Pass")];
    const end = pass(compared(measuring(), unsure), 3600);
    expect(end.status.result).toBe("Mitigated");
    expect(end.validated).toBe("Unknown ValidationInconclusive");
    expect(end.status.conditions?.find((c) => c.type === "Validated")?.message).toContain("MemoryGrowth it is");
    expect(end.status.conditions?.find((c) => c.type === "Succeeded")).toMatchObject({
      status: "True",
      reason: "RolledBack",
    });
  });

  test("is Failed as soon as a check fails, needed or not, whatever passed", () => {
    const bad = [...GOOD.slice(0, 2), check("MemoryLimit", "Fail", false)];
    const end = pass(compared(measuring(), bad), 3000);
    expect(end.status.result).toBe("Failed");
    expect(end.validated).toBe("False ValidationFailed");
    expect(end.status.conditions?.find((c) => c.type === "Succeeded")).toMatchObject({
      status: "False",
      reason: "ValidationFailed",
    });
    expect(end.status.mitigations?.[0]?.state).toBe("Done");
  });

  test("waits for the comparison, and for the kernel's reports that come with the pack", () => {
    const { comparisons, findings, ...rest } = compared(measuring(), GOOD);
    for (const missing of [
      { ...rest, comparisons: {}, findings },
      { ...rest, comparisons, findings: {} },
    ]) {
      const waits = pass(missing, 3600);
      expect(waits.status.result).toBeUndefined();
      expect(waits.againMs).toBeLessThanOrEqual(1000);
    }
  });

  test("does not wait for a pack that the store has lost", () => {
    const seen = compared(measuring(), GOOD);
    const has = pass({ ...seen, comparisons: {}, findings: {} }, 3599);
    expect(second(has)?.state).toBe("Complete");
    const end = pass({ ...has.seen, sessions: {} }, 3601);
    expect(end.status.result).toBe("Mitigated");
    expect(end.validated).toBe("Unknown ValidationInconclusive");
  });
});

describe("a kill", () => {
  const killed = aPod("a", { containers: [killedContainer(20, {}), aContainer({ name: "sidecar" })] });
  const kill = (over: Partial<Kill>): MemoryInvestigationStatus["kills"] => [
    aKill(),
    aKill({ id: "ba9876543210", pod: { name: "a", uid: "uid-a" }, time: at(-100), revision: "thumbs-h1", ...over }),
  ];

  test("of a new pod fails it at once, and ends what is measured", () => {
    const it = measuring();
    const id = second(it)?.job ?? "";
    const job = {
      uid: "j-1",
      name: id,
      labels: { "oomscope.dev/investigation-uid": "uid-i" },
      created: at(-301),
      active: 1,
      complete: false,
      failed: false,
    };
    const end = pass({ ...it.seen, jobs: { [id]: job }, pods: [killed, ...PODS.slice(1)] }, 310);
    expect(end.status.result).toBe("Failed");
    expect(end.validated).toBe("False ValidationFailed");
    expect(end.checks["Kills"]).toBe("Fail");
    expect(end.status.validation?.checks[0]).toMatchObject({ before: 1, after: 1, unit: "kills" });
    expect(end.status.killCount).toBe(2);
    expect(end.actions).toContainEqual({ kind: "DeleteCollectionJob", name: id, uid: "j-1" });
    expect(second(end)).toMatchObject({ state: "Failed", reason: "Ended" });
  });

  test("while what was measured is still compared is not waited with", () => {
    const arrived = pass({ ...compared(measuring(), GOOD), comparisons: {}, findings: {} }, 3000);
    expect(second(arrived)?.state).toBe("Complete");
    expect(pass({ ...arrived.seen, pods: [killed, ...PODS.slice(1)] }, 3001).status.result).toBe("Failed");
  });

  test("of the pod that is kept is no kill of a new one, whether or not its revision is known", () => {
    const preserved = {
      pod: "a",
      uid: "uid-a",
      how: "Isolate",
      state: "Preserved",
      since: at(400),
      until: at(-9000),
      why: "it grows",
    } as const;
    const { revision: _unknown, ...unknown } = kill({})?.[1] ?? aKill();
    expect(pass(done({}, { kills: [unknown] }), 0).checks["Kills"]).toBe("Fail");
    expect(pass(done({}, { kills: [unknown], preserved }), 0).checks["Kills"]).toBe("Unknown");
  });

  test.each([
    ["of the old template", { revision: "thumbs-h2" }, "Unknown"],
    ["from before the change", { time: at(50) }, "Unknown"],
    ["that is none", { classification: "NotAKill" }, "Unknown"],
    ["by a child", { classification: "ChildKilled" }, "Fail"],
    ["at the pod's limit", { classification: "PodLimit" }, "Fail"],
  ] as const)("%s", (_name, over, result) => {
    expect(pass(done({}, { kills: kill(over) ?? [] }), 0).checks["Kills"]).toBe(result);
  });

  test("of a pod that was not resized proves nothing about those that were", () => {
    const change = { kind: "Pod", uid: "uid-b", name: "b", container: "app", field: "limits.memory" } as const;
    const { before: _from, after: _to, ...base } = DONE;
    const resized = (uid: string): MitigationRecord => ({
      ...base,
      action: "Resize",
      changes: [{ ...change, uid, before: "1000", after: "2000", applied: at(35) }],
    });
    const pods = PODS.map((pod) => ({
      ...pod,
      containers: pod.containers.map((container) => ({ ...container, limitBytes: 2000 })),
    }));
    const kills = kill({}) ?? [];
    expect(pass(done({ pods }, { kills, mitigations: [resized("uid-b")] }), 0).checks["Kills"]).toBe("Unknown");
    expect(pass(done({ pods }, { kills, mitigations: [resized("uid-a")] }), 0).checks["Kills"]).toBe("Fail");
    const it = pass(pass(done({ pods }, { mitigations: [resized("uid-b")] }), 0).seen, 301);
    expect(second(it)?.pods.map(({ name }) => name)).toEqual(["b"]);
  });

  test.each(["NodeKilled", "Evicted", "Unconfirmed"] as const)(
    "%s proves nothing, so that it cannot pass",
    (classification) => {
      const it = measuring();
      const [investigation] = it.seen.investigations;
      if (investigation === undefined) throw new Error("no investigation");
      const seen = compared(it, GOOD);
      const status = { ...it.status, kills: kill({ classification }) ?? [] };
      const end = pass({ ...seen, investigations: [{ ...investigation, status }] }, 3600);
      expect(end.status.result).toBe("Mitigated");
      expect(end.checks["Kills"]).toBe("Unknown");
    },
  );

  test("of a StatefulSet's pod is told by the hash in its label", () => {
    const named = { ...back, name: "thumbs-7c", marks: ["thumbs-7c", "7c"] };
    const targetState = { ...rolledBack, revisions: [named, aRevision(2, 3600)] };
    const record = { ...DONE, after: { ...facts(1), revision: "thumbs-7c" } };
    const seen = done({ targetState }, { kills: kill({ revision: "7c" }) ?? [], mitigations: [record] });
    expect(pass(seen, 0).checks["Kills"]).toBe("Fail");
  });
});

describe("a world that changes meanwhile", () => {
  test("the template that was left comes back: the mitigation does not hold, and nothing is fought for", () => {
    const it = measuring();
    const annotations = {
      "argocd.argoproj.io/tracking-id": "media:apps/Deployment:media/thumbs",
      [MITIGATION_ANNOTATION]: markText({ investigation: "uid-i", action: "Rollback", time: at(40) }),
    };
    const end = pass({ ...it.seen, targetState: aTargetState({ generation: 4, annotations }) }, 310);
    expect(end.status.mitigations).toMatchObject([{ state: "Reverted", reason: "RevertedByGitOps" }]);
    expect(end.status.result).toBe("Failed");
    expect(end.validated).toBe("Unknown RevertedByGitOps");
    expect(second(end)).toMatchObject({ state: "Failed", reason: "Ended" });
    expect(end.actions).toEqual([]);
  });

  test("a third template ends it: what was done stays done, and nothing is claimed", () => {
    const third = aRevision(3, 10);
    const targetState = aTargetState({ template: third.template, templateHash: third.templateHash });
    const end = pass({ ...measuring().seen, targetState }, 310);
    expect(end.status.result).toBe("Mitigated");
    expect(end.validated).toBe("Unknown TemplateReplaced");
    expect(end.status.mitigations?.[0]?.state).toBe("Done");
  });

  test("values that somebody has put back in part end it; all of them make it Reverted", () => {
    const change = {
      kind: "ConfigMap",
      name: "limits",
      uid: "cm-1",
      before: "8",
      after: "2",
      applied: at(35),
    } as const;
    const { before: _from, after: _to, ...base } = DONE;
    const changes = [
      { ...change, field: "MAX" },
      { ...change, field: "DEPTH" },
    ];
    const throttled: MitigationRecord = { ...base, action: "Throttle", reason: "Throttled", changes };
    const withLimits = (data: Readonly<Record<string, string>>) => {
      const none = { labels: {}, annotations: {}, immutable: false, deleting: false, binaryKeys: [] };
      return { ...rolledBack, beside: { configMaps: { limits: { ...none, uid: "cm-1", data } }, autoscalers: [] } };
    };
    const first = pass(done({ targetState: withLimits({ MAX: "2", DEPTH: "2" }) }, { mitigations: [throttled] }), 0);
    expect(first.validated).toBe("Unknown Validating");
    const after = (data: Readonly<Record<string, string>>): Pass =>
      pass({ ...first.seen, targetState: withLimits(data) }, 30);
    const partly = after({ MAX: "2", DEPTH: "8" });
    expect([partly.status.result, partly.validated]).toEqual(["Mitigated", "Unknown ValueReplaced"]);
    expect(partly.status.mitigations?.[0]?.state).toBe("Done");
    expect(after({ MAX: "3", DEPTH: "2" }).validated).toBe("Unknown ValueReplaced");
    const whole = after({ MAX: "8", DEPTH: "8" });
    expect(whole.status.mitigations?.[0]).toMatchObject({ state: "Reverted", reason: "RevertedByOther" });
    expect([whole.status.result, whole.validated]).toEqual(["Failed", "Unknown RevertedByOther"]);
  });

  test("the workload is gone, or another one has its name", () => {
    const { targetState: _gone, ...gone } = measuring().seen;
    expect(pass(gone, 310).validated).toBe("Unknown TargetReplaced");
    const other = { ...gone, targetState: { ...rolledBack, uid: "d-2" } };
    expect(pass(other, 310).status.result).toBe("Mitigated");
  });

  test("a workload that cannot be read is no reason to end", () => {
    const seen: Observation = { ...measuring().seen, targetState: { problem: "the API server says 503" } };
    expect(pass(seen, 310).status.result).toBeUndefined();
  });

  test("the policy is gone: kills are watched for until the window is over, and nothing new is measured", () => {
    const none: Observation["policy"] = { problem: "NoPolicy", message: "none" };
    const without = { ...pass(done(), 0).seen, policy: none };
    const waits = pass(without, 400);
    expect([waits.actions, waits.status.result]).toEqual([[], undefined]);
    expect(waits.validated).toBe("Unknown Validating");
    const end = pass(without, 3600);
    expect(end.status.result).toBe("Mitigated");
    expect(end.checks).toEqual({ Kills: "Pass" });
    const killed = aPod("a", { containers: [killedContainer(20)] });
    expect(pass({ ...without, pods: [killed] }, 400).status.result).toBe("Failed");
  });

  test("the policy is gone after everything was measured: it is compared all the same", () => {
    const seen = compared(measuring(), GOOD);
    const arrived = pass(seen, 3500);
    const end = pass({ ...arrived.seen, policy: { problem: "NoPolicy", message: "none" } }, 3600);
    expect(end.status.result).toBe("Resolved");
  });

  test("the policy says Observe now: what only looks goes on", () => {
    const seen = { ...compared(measuring(), GOOD), policy: aPolicy("Observe") };
    expect(pass(seen, 3600).status.result).toBe("Resolved");
  });

  test("it is suspended, and goes on where the window has come to", () => {
    const it = measuring();
    const [i] = it.seen.investigations;
    if (i === undefined) throw new Error("no investigation");
    const stopped = { ...compared(it, GOOD), investigations: [{ ...i, spec: { ...i.spec, suspend: true } }] };
    const quiet = pass(stopped, 3600);
    expect([quiet.actions, quiet.status.result, quiet.status.validation]).toEqual([
      [],
      undefined,
      it.status.validation,
    ]);
    const [after] = quiet.seen.investigations;
    if (after === undefined) throw new Error("no investigation");
    const again = { ...quiet.seen, investigations: [{ ...after, spec: i.spec }] };
    expect(pass(again, 4000).status.result).toBe("Resolved");
  });

  test("an investigation that is deleted takes its collection with it", () => {
    const it = measuring();
    const [i] = it.seen.investigations;
    if (i === undefined) throw new Error("no investigation");
    const name = second(it)?.job ?? "";
    const job = { uid: "j", name, labels: {}, created: at(0), active: 1, complete: false, failed: false };
    const investigation = { ...i, metadata: { ...i.metadata, deletionTimestamp: at(0) } };
    const gone = plan({ ...it.seen, jobs: { [name]: job }, investigations: [investigation] }, NOW);
    expect(gone.investigations[0]?.actions).toEqual([{ kind: "DeleteCollectionJob", name, uid: "j" }]);
  });
});

describe("what follows when it did not help", () => {
  const killed = [aPod("a", { containers: [killedContainer(20)] }), ...PODS.slice(1)];
  const after = (onFailure: string, more: readonly unknown[] = [], mode: "Enforce" | "Observe" = "Enforce"): Pass => {
    const under = aPolicy(mode, {
      preserve: { strategy: "None" },
      mitigate: [{ action: "Rollback", approval: "Automatic" }, ...more],
      validate: { onFailure },
    });
    return pass({ ...pass(done({ policy: under }), 0).seen, pods: killed }, 30);
  };
  const undoOf = (it: Pass): string =>
    `${it.status.mitigations?.[0]?.state} ${it.status.mitigations?.[0]?.undo?.state}`;
  /** The workload with the template that was rolled away from, all of it. */
  const left = aTargetState({ generation: 4 });

  test("Revert puts it back: written down first, done in the next pass, and ended when it was seen", () => {
    const failed = after("Revert");
    expect(failed.status).toMatchObject({ stage: "Mitigating", validation: { checks: [{ result: "Fail" }] } });
    expect([failed.status.result, failed.validated]).toEqual([undefined, "False ValidationFailed"]);
    expect([failed.actions, undoOf(failed)]).toEqual([[], "Done Intended"]);
    expect(failed.status.mitigations?.[0]?.undo?.askedBy).toBe("Validation");
    const acting = pass(failed.seen, 31);
    expect(acting.actions).toMatchObject([
      { kind: "ChangeTemplate", purpose: "Undo", before: { templateHash: back.templateHash } },
    ]);
    const undone = pass({ ...acting.seen, targetState: left }, 60);
    expect([undoOf(undone), undone.status.result]).toEqual(["Undone Undone", undefined]);
    const end = pass(undone.seen, 61);
    expect([end.status.result, end.validated, end.actions]).toEqual(["Failed", "False ValidationFailed", []]);
    expect(end.status.conditions?.find((c) => c.type === "Mitigated")).toMatchObject({
      status: "False",
      reason: "Undone",
    });
    expect(end.status.conditions?.find((c) => c.type === "Succeeded")).toMatchObject({
      status: "False",
      reason: "ValidationFailed",
    });
    expect(pass(end.seen, 62).status).toEqual(end.status);
  });

  test("what cannot be put back stays, and that is told", () => {
    const third = aRevision(3, 10);
    const targetState = aTargetState({ template: third.template, templateHash: third.templateHash });
    const failed = after("Revert");
    const refused = pass({ ...failed.seen, targetState }, 31);
    expect(undoOf(refused)).toBe("Done Failed");
    const end = pass(refused.seen, 32);
    expect([end.status.result, end.actions]).toEqual(["Failed", []]);
    expect(end.status.conditions?.find((c) => c.type === "Succeeded")?.message).toContain("It was not put back");
  });

  test("Escalate puts it back, asks the next action, and watches that in a window of its own", () => {
    const failed = after("Escalate", [{ action: "Restart", approval: "Automatic" }]);
    const undone = pass({ ...pass(failed.seen, 31).seen, targetState: left }, 60);
    const next = pass(undone.seen, 61);
    expect(next.status.mitigations?.map(({ action, state }) => `${action} ${state}`)).toEqual([
      "Rollback Undone",
      "Restart Intended",
    ]);
    expect(next.status.result).toBeUndefined();
    const acting = pass(next.seen, 62);
    const [action] = acting.actions;
    if (action?.kind !== "ChangeTemplate") throw new Error("the pods are not restarted");
    const hash = acting.status.mitigations?.[1]?.after?.templateHash ?? "";
    const restarted = pass({ ...acting.seen, targetState: { ...left, generation: 5, templateHash: hash } }, 120);
    expect(restarted.status.validation).toMatchObject({ action: "Restart", started: at(-120) });
    // The kill of a pod of the rolled back template is not one of what runs now.
    expect([restarted.checks, restarted.validated]).toEqual([{ Kills: "Unknown" }, "Unknown Validating"]);
  });

  test("Escalate with nothing left is Failed", () => {
    const undone = pass({ ...pass(after("Escalate").seen, 31).seen, targetState: left }, 60);
    const end = pass(undone.seen, 61);
    expect([end.status.result, end.validated]).toEqual(["Failed", "False ValidationFailed"]);
  });

  test("Escalate to what a person has to approve is proposed", () => {
    const failed = after("Escalate", [{ action: "Restart", approval: "Manual" }]);
    const undone = pass({ ...pass(failed.seen, 31).seen, targetState: left }, 60);
    const end = pass(undone.seen, 61);
    expect(end.status.result).toBe("Recommended");
    expect(end.status.mitigations?.[1]).toMatchObject({ action: "Restart", state: "Proposed" });
  });

  test.each([
    ["Stop", "Enforce"],
    ["Revert", "Observe"],
  ] as const)("%s in mode %s changes nothing", (onFailure, mode) => {
    const failed = after(onFailure, [], mode);
    expect([failed.status.result, failed.actions, undoOf(failed)]).toEqual(["Failed", [], "Done undefined"]);
  });

  const undoneOf = (failed: Pass): Pass => pass({ ...pass(failed.seen, 31).seen, targetState: left }, 60);
  const named = (it: Pass): string[] => (it.status.mitigations ?? []).map(({ action, state }) => `${action} ${state}`);
  const withSpec = (seen: Observation, spec: object): Observation => ({
    ...seen,
    investigations: seen.investigations.map((i) => ({ ...i, spec: { ...i.spec, ...spec } })),
  });
  const RESTART = { action: "Restart", approval: "Automatic" } as const;
  const ASKED = { undoActions: [{ action: "Rollback", finding: "3f9c0a1b2c4d" }] } as const;

  test("the answer is on the record, and the watch is over: it takes a place of the policy again", () => {
    const failed = after("Revert");
    expect(failed.status.mitigations?.[0]?.validated).toBe("Fail");
    expect(failed.seen.investigations.map(validating)).toEqual([false]);
    expect(pass(done(), 0).seen.investigations.map(validating)).toEqual([true]);
    expect(pass(compared(measuring(), GOOD), 3600).status.mitigations?.[0]?.validated).toBe("Pass");
  });

  test.each([
    ["says Revert by now", { policy: policyFor({ onFailure: "Revert" }) }],
    ["says Observe by now", { policy: aPolicy("Observe", { validate: { onFailure: "Escalate" } }) }],
    ["is gone", { policy: { problem: "NoPolicy", message: "none" } as const }],
  ])("where the policy %s nothing is begun after it was put back", (_name, over) => {
    const undone = undoneOf(after("Escalate", [RESTART]));
    const end = pass({ ...undone.seen, ...over }, 61);
    expect([end.status.result, end.validated, end.actions]).toEqual(["Failed", "False ValidationFailed", []]);
    expect(named(end)).toEqual(["Rollback Undone"]);
  });

  test("what has been put back stays on record when the policy no longer names it", () => {
    const undone = undoneOf(after("Escalate", [RESTART]));
    const policy = aPolicy("Enforce", { mitigate: [RESTART], validate: { onFailure: "Escalate" } });
    expect(named(pass({ ...undone.seen, policy }, 61))).toEqual(["Rollback Undone", "Restart Intended"]);
    const none = aPolicy("Enforce", { validate: { onFailure: "Escalate" } });
    const end = pass({ ...undone.seen, policy: none }, 61);
    expect([end.status.result, named(end)]).toEqual(["Failed", ["Rollback Undone"]]);
  });

  test("the next action is bounded by the budgets, which count the one that did not help", () => {
    const undone = undoneOf(after("Escalate", [RESTART]));
    const policy = aPolicy("Enforce", {
      preserve: { strategy: "None" },
      mitigate: [{ action: "Rollback", approval: "Automatic" }, RESTART],
      validate: { onFailure: "Escalate" },
      budget: { maxMitigationsPerDay: 1 },
    });
    const past = { investigationUid: "uid-i", action: "Rollback", intended: at(40) } as const;
    const mitigated = [{ ...past, workload: keyText(undone.seen.key), policy: "MemoryPolicy/media/p" }];
    const waits = pass({ ...undone.seen, policy, mitigated }, 61);
    expect(waits.status.mitigations?.[1]).toMatchObject({ action: "Restart", state: "Waiting" });
    expect(waits.status.mitigations?.[1]?.reason).toMatch(/BudgetSpent$/);
  });

  test("a restart leaves nothing that could be put back, so the next action is asked", () => {
    const restarted: MitigationRecord = { ...DONE, action: "Restart", reason: "Restarted" };
    const policy = aPolicy("Enforce", {
      preserve: { strategy: "None" },
      mitigate: [RESTART, { action: "Throttle", throttle: { replicas: { max: 1 } }, approval: "Automatic" }],
      validate: { onFailure: "Escalate" },
    });
    const beside = { configMaps: {}, autoscalers: [] };
    const targetState = { ...rolledBack, replicas: 3, beside };
    const first = pass(done({ policy, targetState }, { mitigations: [restarted] }), 0);
    const failed = pass({ ...first.seen, pods: killed }, 30);
    expect(failed.status.mitigations?.[0]).toMatchObject({
      state: "Done",
      validated: "Fail",
      undo: { state: "Refused", reason: "NothingToUndo" },
    });
    const next = pass(failed.seen, 31);
    expect(named(next)).toEqual(["Restart Done", "Throttle Intended"]);
    const acting = pass(next.seen, 32);
    expect(acting.actions).toMatchObject([{ kind: "SetValues", purpose: "Do" }]);
    const few = { ...targetState, replicas: 1, rollout: { ...targetState.rollout, desired: 1, total: 1 } };
    const watched = pass({ ...acting.seen, targetState: few }, 90);
    expect(watched.status.validation).toMatchObject({ action: "Throttle", started: at(-90) });
    // The first restart did not help, and that is not asked again.
    expect([named(watched), watched.status.result]).toEqual([["Restart Done", "Throttle Done"], undefined]);
  });

  test("what a person was refused before is asked anew by the validation", () => {
    const refused = {
      state: "Refused",
      reason: "DisruptionBudget",
      message: "no",
      since: at(20),
      askedBy: "Person",
    } as const;
    const policy = policyFor({ onFailure: "Revert" });
    const first = pass(withSpec(done({ policy }, { mitigations: [{ ...DONE, undo: refused }] }), ASKED), 0);
    expect(undoOf(first)).toBe("Done Refused");
    const failed = pass({ ...first.seen, pods: killed }, 30);
    expect(failed.status.mitigations?.[0]?.undo).toMatchObject({ state: "Intended", askedBy: "Validation" });
  });

  test("what could not be put back a person may ask for when the investigation has ended", () => {
    const optedOut = { ...rolledBack, annotations: { "oomscope.dev/do-not-mitigate": "true" } };
    const failed = pass({ ...after("Revert").seen, targetState: optedOut }, 31);
    expect(failed.status.mitigations?.[0]?.undo).toMatchObject({ state: "Refused", reason: "OptedOut" });
    const end = pass(failed.seen, 32);
    expect(end.status.result).toBe("Failed");
    expect(end.status.conditions?.find((c) => c.type === "Mitigated")?.status).toBe("True");
    const asked = pass({ ...withSpec(end.seen, ASKED), targetState: rolledBack }, 100);
    expect(asked.status.mitigations?.[0]?.undo).toMatchObject({ state: "Intended", askedBy: "Person" });
    const undone = pass({ ...pass(asked.seen, 101).seen, targetState: left }, 130);
    expect([undoOf(undone), undone.status.result]).toEqual(["Undone Undone", "Failed"]);
  });

  test("a person's undo that sticks half way ends it as failed, and nobody else is blamed", () => {
    const asked = pass(withSpec(measuring().seen, ASKED), 310);
    const rolling = { ...left, rollout: { ...left.rollout, updated: 1 } };
    const going = pass({ ...pass(asked.seen, 311).seen, targetState: rolling }, 312);
    const stuck = pass(going.seen, 312 + 901);
    expect(undoOf(stuck)).toBe("Done Failed");
    const end = pass(stuck.seen, 312 + 902);
    expect([end.status.result, end.validated, named(end)]).toEqual(["Failed", "Unknown UndoStuck", ["Rollback Done"]]);
  });

  test("a person who puts it back while it is watched ends the watch", () => {
    const it = measuring();
    const [i] = it.seen.investigations;
    if (i === undefined) throw new Error("no investigation");
    const spec = { ...i.spec, undoActions: [{ action: "Rollback" as const, finding: "3f9c0a1b2c4d" }] };
    const asked = pass({ ...it.seen, investigations: [{ ...i, spec }] }, 310);
    const undone = pass({ ...pass(asked.seen, 311).seen, targetState: left }, 340);
    expect(undoOf(undone)).toBe("Undone Undone");
    const end = pass(undone.seen, 341);
    expect([end.status.result, end.validated]).toEqual(["Recommended", "Unknown Undone"]);
    expect(second(end)).toMatchObject({ state: "Failed", reason: "Ended" });
  });
});

test("what is compared is read from status alone, once the second collection has arrived", () => {
  const it = measuring();
  const of = (seen: Observation) => seen.investigations.flatMap((i) => comparisonOf(i) ?? []);
  expect(of(it.seen)).toEqual([]);
  const arrived = pass(compared(it, GOOD), 400);
  expect(of(arrived.seen)).toEqual([
    { before: "oomc-1", after: second(it)?.id, container: "app", series: "anon + swap", culprit: undefined },
  ]);
  expect(of(pass(arrived.seen, 3600).seen)).toEqual([]);
});
