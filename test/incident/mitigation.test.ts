/** From a finding to the end of what is done about it, pass by pass, as the plan has it. */
import { describe, expect, test } from "vitest";
import type { MemoryInvestigation, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import type { MitigationRecord } from "../../src/api/mitigation.ts";
import type { Action } from "../../src/incident/actions.ts";
import { markText, MITIGATION_ANNOTATION } from "../../src/incident/marks.ts";
import type { EffectivePolicy, Observation, TargetState } from "../../src/incident/observation.ts";
import { freshSteps } from "../../src/incident/mitigation.ts";
import { plan } from "../../src/incident/plan.ts";
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

const COLLECTION = {
  id: "oomc-1",
  purpose: "Diagnose",
  attempt: 1,
  state: "Complete",
  job: "oomc-1",
  node: "n1",
  pods: [],
  requested: at(400),
} as const;

/** Whether it helped is another story: validation.test.ts. */
const validate = { window: "0s" };
const AUTOMATIC = { validate, mitigate: [{ action: "Rollback", approval: "Automatic" }] };
const MANUAL = { validate, mitigate: [{ action: "Rollback", approval: "Manual" }] };
const enforce = aPolicy("Enforce", AUTOMATIC);

/** Everything has been measured, and the pack has just been read. */
function found(policy: EffectivePolicy, over: Partial<Observation> = {}): Observation {
  const investigation = anInvestigation("i", {
    status: { kills: [aKill()], collections: [{ ...COLLECTION, pods: [] }] },
  });
  return anObservation({
    policy: { ...policy, spec: { ...policy.spec, preserve: { ...policy.spec.preserve, strategy: "None" } } },
    investigations: [investigation],
    findings: { "oomc-1": aFinding() },
    targetState: aTargetState(),
    ...over,
  });
}

interface Pass {
  readonly seen: Observation;
  readonly status: MemoryInvestigationStatus;
  readonly actions: readonly Action[];
  readonly rollback: MitigationRecord | undefined;
  readonly mitigated: string;
  readonly events: readonly string[];
}

/** One pass, and the observation after its status was written. */
function pass(seen: Observation, now = NOW): Pass {
  const next = plan(seen, now);
  const [step] = next.investigations;
  const status = step?.status ?? {};
  const condition = status.conditions?.find((c) => c.type === "Mitigated");
  return {
    seen: {
      ...seen,
      investigations: seen.investigations.map((i): MemoryInvestigation =>
        i === step?.investigation ? i : { ...i, status },
      ),
    },
    status,
    actions: step?.actions ?? [],
    rollback: status.mitigations?.find((m) => m.action === "Rollback"),
    mitigated: `${condition?.status ?? ""} ${condition?.reason ?? ""}`,
    events: (step?.notices ?? []).map((n) => n.reason),
  };
}

const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
const intend = (over: Partial<Observation> = {}): Pass => pass(found(enforce, over));
const back = aRevision(1, 90_000);

/** The workload with the earlier template, its roll-out as far as given. */
const rolled = (rollout: Partial<TargetState["rollout"]> = {}): TargetState =>
  aTargetState({
    generation: 3,
    template: back.template,
    templateHash: back.templateHash,
    rollout: { ...aTargetState().rollout, ...rollout },
  });

describe("mode Enforce", () => {
  test("writes the intent before the act, with what it rests on and how to undo it", () => {
    const first = intend();
    expect(first.actions).toEqual([]);
    expect(first.rollback).toMatchObject({
      state: "Intended",
      finding: "3f9c0a1b2c4d",
      approvedBy: "Policy",
      target: { kind: "Deployment", name: "thumbs", uid: "d-1", resourceVersion: "50", generation: 2 },
      before: { revision: "thumbs-h2", templateHash: aTargetState().templateHash, number: 2 },
      after: { revision: "thumbs-h1", templateHash: back.templateHash, images: ["thumbs:1"] },
      command: "kubectl -n media rollout undo deployment/thumbs --to-revision=1",
      undoCommand: "kubectl -n media rollout undo deployment/thumbs --to-revision=2",
    });
    expect(JSON.parse(first.rollback?.patch ?? "")).toEqual([
      { op: "test", path: "/spec/template/spec/containers/0/image", value: "thumbs:2" },
      { op: "replace", path: "/spec/template/spec/containers/0/image", value: "thumbs:1" },
    ]);
    expect(JSON.parse(first.rollback?.undoPatch ?? "")).toMatchObject([{ value: "thumbs:1" }, { value: "thumbs:2" }]);
    expect(first.status).toMatchObject({ stage: "Mitigating" });
    expect(first.status.result).toBeUndefined();
    expect(first.events).toContain("RollingBack");

    const second = pass(first.seen);
    expect(second.actions).toMatchObject([
      {
        kind: "ChangeTemplate",
        target: { uid: "d-1" },
        before: { templateHash: aTargetState().templateHash },
        after: { templateHash: back.templateHash, from: { revision: "thumbs-h1", uid: "rs-1" } },
        policy: { kind: "ClusterMemoryPolicy", name: "p", generation: 1 },
      },
    ]);
  });

  test("claims the roll-back only when the whole roll-out was seen", () => {
    const { seen } = intend();
    const under = (rollout: Partial<TargetState["rollout"]>): Pass => pass({ ...seen, targetState: rolled(rollout) });
    for (const partly of [{ observed: false }, { updated: 2 }, { total: 4 }, { available: 2 }]) {
      const step = under(partly);
      expect(step.mitigated).toBe("Unknown RollingBack");
      expect(step.rollback?.state).toBe("RollingOut");
      expect(step.actions).toEqual([]);
      expect(step.status.result).toBeUndefined();
    }
    const done = under({});
    expect(done.mitigated).toBe("True RolledBack");
    expect(done.rollback).toMatchObject({ state: "Done", applied: at(0), finished: at(0) });
    expect(done.status).toMatchObject({ result: "Mitigated", stage: "Done" });
    expect(done.status.conditions?.find((c) => c.type === "Validated")).toMatchObject({
      status: "Unknown",
      reason: "NotValidated",
    });
    expect(done.events).toContain("RolledBack");
    const quiet = pass(done.seen);
    expect([quiet.actions, quiet.status]).toEqual([[], done.status]);
  });

  test("goes on without the pack: the finding is in status", () => {
    const { seen } = intend();
    expect(pass({ ...seen, findings: {}, sessions: {} }).actions).toMatchObject([{ kind: "ChangeTemplate" }]);
  });

  test("does the same act again after a lost reply, and none when the change shows", () => {
    const { seen } = intend();
    const again = pass(pass(seen).seen);
    expect(again.actions).toEqual(pass(seen).actions);
    expect(pass({ ...seen, targetState: rolled({ updated: 1 }) }).actions).toEqual([]);
  });

  test("asks the guards once more before the act: a policy that has changed its mind stops it", () => {
    const { seen } = intend();
    const now = pass({ ...seen, policy: aPolicy("Observe", MANUAL) });
    expect(now.actions).toEqual([]);
    expect(now.rollback).toMatchObject({ state: "Refused", reason: "ModeObserve" });
    expect(now.rollback?.intended).toBeUndefined();
    expect(pass(now.seen).status.result).toBe("Recommended");
    const gone = pass({ ...seen, policy: { problem: "NoPolicy", message: "none" } });
    expect([gone.actions, gone.status.result]).toEqual([[], undefined]);
  });

  test("does nothing while the investigation is suspended", () => {
    const { seen } = intend();
    const [i] = seen.investigations;
    if (i === undefined) throw new Error("no investigation");
    expect(pass({ ...seen, investigations: [{ ...i, spec: { ...i.spec, suspend: true } }] }).actions).toEqual([]);
  });

  test("follows what it has begun when the policy is gone", () => {
    const rolling = pass({ ...intend().seen, targetState: rolled({ updated: 1 }) });
    const without: Observation = { ...rolling.seen, policy: { problem: "NoPolicy", message: "none" } };
    expect(pass(without).mitigated).toBe("Unknown RollingBack");
    expect(pass({ ...without, targetState: rolled() }).status.result).toBe("Mitigated");
  });

  test("never fights: what somebody has put back stays", () => {
    const rolling = pass({ ...intend().seen, targetState: rolled({ updated: 1 }) });
    const reverted = pass({ ...rolling.seen, targetState: aTargetState({ generation: 4 }) });
    expect(reverted.actions).toEqual([]);
    expect(reverted.rollback).toMatchObject({ state: "Reverted", reason: "RevertedByOther" });
    expect(reverted.status.result).toBe("Failed");
    expect(pass(reverted.seen).actions).toEqual([]);
  });

  test("names the GitOps controller that has put it back", () => {
    const rolling = pass({ ...intend().seen, targetState: rolled({ updated: 1 }) });
    const annotations = { "argocd.argoproj.io/tracking-id": "media:apps/Deployment:media/thumbs" };
    const reverted = pass({ ...rolling.seen, targetState: aTargetState({ generation: 4, annotations }) });
    expect(reverted.actions).toEqual([]);
    expect(reverted.rollback).toMatchObject({ state: "Reverted", reason: "RevertedByGitOps" });
    expect(reverted.rollback?.message).toContain("Argo CD Application media");
  });

  test("never fights either when it was put back before anybody saw the change", () => {
    const mark = markText({ investigation: "uid-i", action: "Rollback", time: at(0) });
    const targetState = aTargetState({ generation: 4, annotations: { [MITIGATION_ANNOTATION]: mark } });
    const reverted = pass({ ...intend().seen, targetState });
    expect([reverted.actions, reverted.rollback?.state]).toEqual([[], "Reverted"]);
  });

  test("leaves a workload alone that somebody has given a third template", () => {
    const third = aRevision(3, 10);
    const targetState = aTargetState({ template: third.template, templateHash: third.templateHash });
    const before = pass({ ...intend().seen, targetState });
    expect([before.actions, before.rollback?.state]).toEqual([[], "Refused"]);
    expect(pass(before.seen).status.result).toBe("Recommended");
    const rolling = pass({ ...intend().seen, targetState: rolled({ updated: 1 }) });
    const after = pass({ ...rolling.seen, targetState });
    expect([after.actions, after.rollback?.state, after.status.result]).toEqual([[], "Reverted", "Recommended"]);
  });

  test("fails honestly when the roll-out does not end, and does not touch it again", () => {
    const rolling = pass({ ...intend().seen, targetState: rolled({ updated: 1 }) });
    const stuck = pass({ ...rolling.seen, targetState: rolled({ updated: 1, stuck: "deadline" }) });
    expect([stuck.actions, stuck.mitigated, stuck.status.result]).toEqual([[], "False RolloutStuck", "Failed"]);
    const late = pass({ ...rolling.seen, targetState: rolled({ updated: 1 }) }, later(901));
    expect(late.mitigated).toBe("False RolloutStuck");
  });

  test("does not go on with another workload of the same name, nor with none", () => {
    const { seen } = intend();
    const { targetState: _, ...gone } = seen;
    for (const now of [{ ...seen, targetState: { ...rolled(), uid: "d-2" } }, gone]) {
      expect([pass(now).actions, pass(now).rollback?.state]).toEqual([[], "Failed"]);
      expect(pass(now).rollback?.reason).toBe("TargetReplaced");
    }
  });

  test("takes the door's refusal as an answer, and a changed policy as a reason to decide anew", () => {
    const { seen } = intend();
    const refused = (reason: "Forbidden" | "PolicyChanged"): Pass =>
      pass({ ...seen, refused: { "uid-i": { action: "ChangeTemplate", reason, message: "m" } } });
    expect(refused("Forbidden").rollback).toMatchObject({ state: "Refused", reason: "Forbidden" });
    expect(refused("PolicyChanged").actions).toMatchObject([{ kind: "ChangeTemplate" }]);
  });
});

describe("what has to be waited for", () => {
  const busy = aTargetState({ rollout: { ...aTargetState().rollout, updated: 1, total: 4 } });

  test("is waited for, and then done", () => {
    const first = intend({ targetState: busy });
    expect([first.mitigated, first.rollback?.state]).toEqual(["Unknown RolloutInProgress", "Waiting"]);
    expect(first.status.result).toBeUndefined();
    expect(pass({ ...first.seen, targetState: aTargetState() }).rollback?.state).toBe("Intended");
  });

  test("is waited for ten minutes, and then proposed", () => {
    const first = intend({ targetState: busy });
    expect(pass(first.seen, later(599)).rollback).toMatchObject({ state: "Waiting", since: at(0) });
    const tired = pass(first.seen, later(600));
    expect(tired.rollback).toMatchObject({ state: "Proposed", reason: "RolloutInProgress" });
    expect(tired.status.result).toBe("Recommended");
  });

  test("does not lose what was decided about later actions", () => {
    const policy = aPolicy("Enforce", {
      mitigate: [{ action: "Rollback", approval: "Automatic" }, { action: "CordonNode" }],
    });
    const refused = pass(found(policy, { targetState: aTargetState({ revisions: [aRevision(2, 3600)] }) }));
    expect(refused.status.mitigations?.map((m) => [m.action, m.state, m.reason])).toEqual([
      ["Rollback", "Refused", "NoHealthyRevision"],
      ["CordonNode", "Refused", "ActionNotAllowed"],
    ]);
    expect(refused.status.result).toBe("Recommended");
  });
});

describe("mode Recommend", () => {
  const recommend = aPolicy("Recommend", MANUAL);
  const approve = ({ seen }: Pass, finding = "3f9c0a1b2c4d"): Observation => ({
    ...seen,
    investigations: seen.investigations.map((i) => ({
      ...i,
      spec: { ...i.spec, approvedActions: [{ action: "Rollback" as const, finding }] },
    })),
  });

  test("ends with the proposal: what would be done, as a patch and as a command", () => {
    const proposed = pass(found(recommend));
    expect(proposed.actions).toEqual([]);
    expect(proposed.mitigated).toBe("False AwaitingApproval");
    expect(proposed.status).toMatchObject({ result: "Recommended", stage: "Done" });
    expect(proposed.rollback).toMatchObject({
      state: "Proposed",
      after: { revision: "thumbs-h1" },
      command: "kubectl -n media rollout undo deployment/thumbs --to-revision=1",
    });
    expect(proposed.rollback?.patch).toContain("thumbs:1");
    expect(proposed.events).toContain("AwaitingApproval");
    const quiet = pass(proposed.seen, later(3600));
    expect([quiet.actions, quiet.status]).toEqual([[], proposed.status]);
  });

  test("is taken up again by an approval, and acts by a person's leave", () => {
    const proposed = pass(found(recommend));
    const taken = pass(approve(proposed), later(3600));
    expect(taken.status.result).toBeUndefined();
    expect(taken.status.conditions?.find((c) => c.type === "Succeeded")?.status).toBe("Unknown");
    expect(taken.rollback).toMatchObject({ state: "Intended", approvedBy: "Person" });
    const acting = pass(taken.seen, later(3601));
    expect(acting.actions).toMatchObject([{ kind: "ChangeTemplate" }]);
    const done = pass({ ...acting.seen, targetState: rolled() }, later(3700));
    expect(done.status.result).toBe("Mitigated");
    expect(pass(done.seen, later(3800)).actions).toEqual([]);
  });

  test("does not heed an approval for another finding, nor a second time", () => {
    const proposed = pass(found(recommend));
    expect(pass(approve(proposed, "000000000000")).status.result).toBe("Recommended");
    const third = aRevision(3, 10);
    const replaced = aTargetState({ template: third.template, templateHash: third.templateHash });
    const refused = pass({ ...approve(proposed), targetState: replaced });
    expect(refused.rollback).toMatchObject({ state: "Refused", reason: "TemplateReplaced" });
    expect(refused.status.result).toBe("Recommended");
    const quiet = pass(refused.seen, later(60));
    expect([quiet.actions, quiet.status]).toEqual([[], refused.status]);
  });

  test("does not do another thing than what was approved", () => {
    const proposed = pass(found(recommend));
    const healthy = [aRevision(0, 200_000), aRevision(1, 90_000), aRevision(2, 3600)];
    const killedSince = proposed.seen.investigations.map((i) => ({
      ...i,
      status: { ...i.status, kills: [aKill({ revision: "thumbs-h2" })] },
    }));
    const other = anInvestigation("old", {
      status: { result: "Recommended", kills: [aKill({ id: "9", revision: "thumbs-h1" })] },
    });
    const seen = approve({ ...proposed, seen: { ...proposed.seen, investigations: killedSince } });
    const stale = plan(
      { ...seen, investigations: [...seen.investigations, other], targetState: aTargetState({ revisions: healthy }) },
      NOW,
    );
    expect(stale.investigations[0]?.status?.mitigations?.[0]).toMatchObject({
      state: "Refused",
      reason: "ProposalStale",
    });
  });
});

describe("mode Observe", () => {
  test("ends as before, and says that nothing is touched", () => {
    const { targetState: _, ...seen } = found(aPolicy("Observe", MANUAL));
    const ended = pass(seen);
    expect([ended.actions, ended.mitigated]).toEqual([[], "False ModeObserve"]);
    expect(ended.status).toMatchObject({ result: "Recommended", stage: "Done" });
    const approved = ended.seen.investigations.map((i) => ({
      ...i,
      spec: { ...i.spec, approvedActions: [{ action: "Rollback" as const, finding: "3f9c0a1b2c4d" }] },
    }));
    expect(pass({ ...ended.seen, investigations: approved }).actions).toEqual([]);
  });

  test("a policy that names no action says so", () => {
    const ended = pass(found(aPolicy("Enforce")));
    expect([ended.mitigated, ended.status.result]).toEqual(["False NoActionNamed", "Recommended"]);
  });
});

test("each step is told once, for whoever counts them", () => {
  const first = intend().status.mitigations;
  expect(freshSteps(undefined, first).map(({ state }) => state)).toEqual(["Intended"]);
  expect(freshSteps(first, first)).toEqual([]);
  const rolling = pass({ ...intend().seen, targetState: rolled({ updated: 1 }) }).status.mitigations;
  expect(freshSteps(first, rolling).map(({ state }) => state)).toEqual(["RollingOut"]);
  expect(freshSteps(rolling, undefined)).toEqual([]);
});

describe("the revision to go back to", () => {
  const chosen = (revisions: TargetState["revisions"], over: Partial<Observation> = {}): MitigationRecord | undefined =>
    intend({ targetState: aTargetState({ revisions }), ...over }).rollback;
  const current = aRevision(2, 3600);

  test("is the newest that was healthy, not the previous one: one that was killed is passed over", () => {
    const previous = anInvestigation("old", {
      metadata: { ...anInvestigation("old").metadata, creationTimestamp: at(9000) },
      status: { result: "Recommended", kills: [aKill({ id: "7", revision: "thumbs-h1" })] },
    });
    const seen = found(enforce, {
      targetState: aTargetState({ revisions: [aRevision(0, 200_000), aRevision(1, 90_000), current] }),
    });
    const step = plan({ ...seen, investigations: [previous, ...seen.investigations] }, NOW).investigations[1];
    expect(step?.status?.mitigations?.[0]).toMatchObject({ state: "Intended", after: { revision: "thumbs-h0" } });
    expect(step?.status?.mitigations?.[0]?.why).toMatch(/thumbs-h1: a container of it was killed/);
  });

  test("is none when the only other one leaks too: a bad roll-back is refused", () => {
    const leaky = aRevision(1, 90_000);
    const previous = anInvestigation("old", {
      status: { result: "Recommended", kills: [aKill({ revision: "thumbs-h1" })] },
    });
    const seen = found(enforce, { targetState: aTargetState({ revisions: [leaky, current] }) });
    const step = plan({ ...seen, investigations: [...seen.investigations, previous] }, NOW).investigations[0];
    expect(step?.status?.mitigations?.[0]).toMatchObject({ state: "Refused", reason: "NoHealthyRevision" });
    expect(step?.actions).toEqual([]);
  });

  test("served for as long as the policy asks", () => {
    const brief = aRevision(1, 3600 + 599);
    expect(chosen([brief, current])?.reason).toBe("NoHealthyRevision");
    expect(chosen([aRevision(0, 90_000), brief, current])?.after?.revision).toBe("thumbs-h0");
    expect(chosen([aRevision(1, 3600 + 600), current])?.state).toBe("Intended");
  });

  test("is none that somebody has gone back from", () => {
    // Number 3 was made before number 1: it was taken up again after it.
    const again = aRevision(3, 200_000, { name: "older", marks: ["older"] });
    expect(chosen([aRevision(1, 90_000), again, aRevision(2, 3600, { number: 4 })])?.after?.revision).toBe("older");
  });

  test("is none that was rolled away from before", () => {
    const old = anInvestigation("old", {
      status: {
        result: "Mitigated",
        mitigations: [
          {
            action: "Rollback",
            state: "Done",
            reason: "RolledBack",
            message: "m",
            finding: "0123456789ab",
            since: at(90_000),
            intended: at(90_000),
            before: { revision: "thumbs-h1", uid: "rs-1", templateHash: back.templateHash, images: [] },
          },
        ],
      },
    });
    const seen = found(enforce);
    const step = plan({ ...seen, investigations: [...seen.investigations, old] }, NOW).investigations[0];
    expect(step?.status?.mitigations?.[0]?.reason).toBe("NoHealthyRevision");
  });
});
