/** Each action other than a roll-back, from its intent to its end and back again, as the plan has it; and what each will not do. */
import { describe, expect, test } from "vitest";
import type { MemoryInvestigation, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import type { Mitigation } from "../../src/api/memorypolicy.ts";
import type { MitigationRecord } from "../../src/api/mitigation.ts";
import type { Reason } from "../../src/api/reasons.ts";
import type { Action } from "../../src/incident/actions.ts";
import { firstRefusal, guardsOf } from "../../src/incident/guards.ts";
import { markText, MITIGATION_ANNOTATION } from "../../src/incident/marks.ts";
import type {
  AutoscalerView,
  Beside,
  ConfigMapView,
  ContainerView,
  NodeState,
  Observation,
  PodView,
  TargetState,
} from "../../src/incident/observation.ts";
import { plan } from "../../src/incident/plan.ts";
import { planUndo } from "../../src/incident/undo.ts";
import { mountedKeys } from "../../src/incident/remedies/configmapmounts.ts";
import { questionOf } from "../../src/incident/remedies/remedies.ts";
import type { MitigationQuestion } from "../../src/incident/remedies/remedy.ts";
import { editedTemplate } from "../../src/incident/templateedit.ts";
import { templateHash, type Json } from "../../src/incident/templates.ts";
import {
  aContainer,
  aFinding,
  aKill,
  anInvestigation,
  aNode,
  anObservation,
  aPod,
  aPolicy,
  aRevision,
  at,
  aTargetState,
  NOW,
} from "./builders.ts";

const MIB = 1 << 20;
const WHEN = { minConfidencePercent: 80, onsetAfterRollout: false };
const BASE = { when: WHEN, approval: "Automatic", minAvailable: 1 } as const;
const RESTART: Mitigation = { action: "Restart", ...BASE };
const ENV: Mitigation = { action: "Throttle", ...BASE, throttle: { env: { container: "app", set: { MAX: "2" } } } };
const REPLICAS: Mitigation = { action: "Throttle", ...BASE, throttle: { replicas: { max: 2 } } };
const KEYS: Mitigation = {
  action: "Throttle",
  ...BASE,
  throttle: { configMap: { name: "limits", set: { MAX: "2", DEPTH: "1" } } },
};
const RESIZE: Mitigation = { action: "Resize", ...BASE, resize: { maxBytes: "256Mi", factorPercent: 150 } };
const CORDON: Mitigation = { action: "CordonNode", ...BASE };
const ROLLBACK: Mitigation = { action: "Rollback", ...BASE };

const limits: ConfigMapView = {
  uid: "cm-1",
  labels: {},
  annotations: {},
  immutable: false,
  deleting: false,
  data: { MAX: "8", OTHER: "x" },
  binaryKeys: [],
};
const autoscaler: AutoscalerView = {
  name: "thumbs",
  uid: "hpa-1",
  labels: {},
  annotations: {},
  minReplicas: 1,
  maxReplicas: 9,
};
const beside = (over: Partial<Beside> = {}): Beside => ({ configMaps: { limits }, autoscalers: [], ...over });

/** Its pods have the ConfigMap mounted. */
const MOUNTING: Json = {
  metadata: { labels: { app: "thumbs" } },
  spec: {
    containers: [{ name: "app", image: "thumbs:2", volumeMounts: [{ name: "limits", mountPath: "/etc/limits" }] }],
    volumes: [{ name: "limits", configMap: { name: "limits" } }],
  },
};

function target(over: Partial<TargetState> = {}): TargetState {
  const current = aRevision(2, 3600, { template: MOUNTING, templateHash: templateHash(MOUNTING) });
  const { template, templateHash: hash } = current;
  const revisions = [aRevision(1, 90_000), current];
  return aTargetState({ template, templateHash: hash, revisions, replicas: 3, beside: beside(), ...over });
}

/** These tests are about the actions; whether they help is asked in validation.test.ts. */
const NOT_WATCHED = { window: "0s" } as const;

/** It has its finding, and the policy names these actions. */
function found(mitigate: readonly Mitigation[], over: Partial<Observation> = {}): Observation {
  const allowedActions = ["Rollback", "Throttle", "Resize", "Restart", "CordonNode"] as const;
  const policy = {
    ...aPolicy("Enforce", { preserve: { strategy: "None" }, validate: NOT_WATCHED, mitigate, allowedActions }),
    allowedActions,
  };
  const investigation = anInvestigation("i", { status: { kills: [aKill({ node: "n1" })], finding: aFinding() } });
  return anObservation({ policy, investigations: [investigation], targetState: target(), nodes: cluster(), ...over });
}

const cluster = (over: Partial<NodeState> = {}): Observation["nodes"] => ({
  n1: aNode(over),
  n2: aNode({ uid: "node-2" }),
});

interface Pass {
  readonly seen: Observation;
  readonly status: MemoryInvestigationStatus;
  readonly actions: readonly Action[];
  readonly records: readonly MitigationRecord[];
  readonly mitigated: string;
  readonly events: readonly string[];
}

function pass(seen: Observation, now = NOW): Pass {
  const [step] = plan(seen, now).investigations;
  const status = step?.status ?? {};
  const condition = status.conditions?.find((c) => c.type === "Mitigated");
  return {
    seen: { ...seen, investigations: seen.investigations.map((i) => ({ ...i, status })) },
    status,
    actions: step?.actions ?? [],
    records: status.mitigations ?? [],
    mitigated: `${condition?.status ?? ""} ${condition?.reason ?? ""}`,
    events: (step?.notices ?? []).map((n) => n.reason),
  };
}

const states = ({ records }: Pass): string[] => records.map((r) => `${r.action} ${r.state} ${r.reason}`);
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);
const withSpec = (seen: Observation, spec: Partial<MemoryInvestigation["spec"]>): Observation => ({
  ...seen,
  investigations: seen.investigations.map((i) => ({ ...i, spec: { ...i.spec, ...spec } })),
});
const undo = (seen: Observation, action: MitigationRecord["action"]): Observation =>
  withSpec(seen, { undoActions: [{ action, finding: "3f9c0a1b2c4d" }] });
const marked = (action: MitigationRecord["action"]): Record<string, string> => ({
  [MITIGATION_ANNOTATION]: markText({ investigation: "uid-i", action, time: at(0) }),
});

function container(limit: number, over: Partial<ContainerView> = {}): ContainerView {
  return aContainer({ limitBytes: limit * MIB, enforcedLimitBytes: limit * MIB, requestBytes: 50 * MIB, ...over });
}
const pods = (over: Partial<PodView> = {}): PodView[] =>
  ["a", "b", "c"].map((name) => aPod(name, { containers: [container(100)], ...over }));

/** The world after the act of each action: fully done, and before its course has ended. */
interface Story {
  readonly name: string;
  readonly mitigation: Mitigation;
  readonly begun: Reason;
  readonly done: Reason;
  readonly before: Observation;
  readonly after: (record: MitigationRecord) => Partial<Observation>;
  readonly under?: (record: MitigationRecord) => Partial<Observation>;
  /** Somebody has given what was changed a third value. */
  readonly third: Partial<Observation>;
}

const withTemplate =
  (edit: Parameters<typeof editedTemplate>[1], rollout: Partial<TargetState["rollout"]> = {}) =>
  (): Partial<Observation> => {
    const template = editedTemplate(MOUNTING, edit) ?? null;
    const changed = { template, templateHash: templateHash(template), generation: 3 };
    return { targetState: target({ ...changed, rollout: { ...target().rollout, ...rollout } }) };
  };
const other = aRevision(3, 5);
const thirdTemplate = { targetState: target({ template: other.template, templateHash: other.templateHash }) };
const scaled = (replicas: number, total: number): Partial<Observation> => ({
  targetState: target({ replicas, rollout: { ...target().rollout, desired: replicas, updated: total, total } }),
});
const bounded = (maxReplicas: number, replicas: number): Partial<Observation> => ({
  targetState: target({
    replicas,
    rollout: { ...target().rollout, desired: replicas, total: replicas },
    beside: beside({ autoscalers: [{ ...autoscaler, maxReplicas }] }),
  }),
});
const keyed = (data: Record<string, string>): Partial<Observation> => ({
  targetState: target({ beside: beside({ configMaps: { limits: { ...limits, data } } }) }),
});
const RESTART_EDIT = { restartedAt: at(0) };
const ENV_EDIT = { container: "app", env: { MAX: "2" } };

const STORIES: readonly Story[] = [
  {
    name: "Restart",
    mitigation: RESTART,
    begun: "Restarting",
    done: "Restarted",
    before: found([RESTART]),
    after: withTemplate(RESTART_EDIT),
    under: withTemplate(RESTART_EDIT, { updated: 1 }),
    third: thirdTemplate,
  },
  {
    name: "Throttle by env",
    mitigation: ENV,
    begun: "Throttling",
    done: "Throttled",
    before: found([ENV]),
    after: withTemplate(ENV_EDIT),
    under: withTemplate(ENV_EDIT, { updated: 1 }),
    third: thirdTemplate,
  },
  {
    name: "Throttle by replicas",
    mitigation: REPLICAS,
    begun: "Throttling",
    done: "Throttled",
    before: found([REPLICAS]),
    after: () => scaled(2, 2),
    under: () => scaled(2, 3),
    third: scaled(7, 7),
  },
  {
    name: "Throttle by an autoscaler's bound",
    mitigation: REPLICAS,
    begun: "Throttling",
    done: "Throttled",
    before: found([REPLICAS], bounded(9, 3)),
    after: () => bounded(2, 2),
    under: () => bounded(2, 3),
    third: bounded(5, 3),
  },
  {
    name: "Throttle by keys of a ConfigMap",
    mitigation: KEYS,
    begun: "Throttling",
    done: "Throttled",
    before: found([KEYS]),
    after: () => keyed({ MAX: "2", DEPTH: "1", OTHER: "x" }),
    third: keyed({ MAX: "3", OTHER: "x" }),
  },
  {
    name: "Resize",
    mitigation: RESIZE,
    begun: "Resizing",
    done: "Resized",
    before: found([RESIZE], { pods: pods() }),
    after: () => ({ pods: pods({ containers: [container(150)] }) }),
    under: () => ({ pods: pods({ containers: [container(100, { specLimitBytes: 150 * MIB })] }) }),
    third: { pods: pods({ containers: [container(120)] }) },
  },
];

const NODE_STORY: Story = {
  name: "CordonNode",
  mitigation: CORDON,
  begun: "Cordoning",
  done: "Cordoned",
  before: found([CORDON]),
  after: () => ({ nodes: cluster({ unschedulable: true }) }),
  // A node of its name that was made anew.
  third: { nodes: cluster({ uid: "node-9" }) },
};

describe.each([...STORIES, NODE_STORY])("$name", (story) => {
  const { before, begun, done } = story;
  const intend = (): Pass => pass(before);
  const recordOf = ({ records }: Pass): MitigationRecord => {
    const [record] = records;
    if (record === undefined) throw new Error("no record");
    return record;
  };
  const acted = (): Pass => {
    const first = intend();
    return pass({ ...first.seen, ...story.after(recordOf(first)) }, later(5));
  };

  test("is written down first, with how it is done by hand; the act comes with the next pass, and again after a lost reply", () => {
    const first = intend();
    expect(states(first)).toEqual([`${story.mitigation.action} Intended ${begun}`]);
    expect(recordOf(first)).toMatchObject({ intended: at(0), approvedBy: "Policy", target: { uid: "d-1" } });
    expect(recordOf(first).command).toMatch(/^kubectl (-n media \w|cordon n1$)/);
    expect(first.actions).toEqual([]);
    expect(first.events).toContain(begun);
    expect(first.status.timeline?.at(-1)?.event).toBe(begun);
    const second = pass(first.seen, later(1));
    expect(second.actions).toHaveLength(1);
    expect(second.actions[0]).toMatchObject({ purpose: "Do", intended: at(0), target: { uid: "d-1" } });
    expect(pass(second.seen, later(2)).actions).toEqual(second.actions);
  });

  test("is claimed only when its course was seen to its end", () => {
    const first = intend();
    if (story.under !== undefined) {
      const under = pass({ ...first.seen, ...story.under(recordOf(first)) }, later(5));
      expect(states(under)).toEqual([`${story.mitigation.action} RollingOut ${begun}`]);
      expect([under.actions, under.status.result]).toEqual([[], undefined]);
      const late = pass({ ...under.seen, ...story.under(recordOf(first)) }, later(5 + 901));
      expect(late.status.result).toBe("Failed");
      expect(late.mitigated).toMatch(/^False (\w+)Stuck$/);
    }
    const last = acted();
    expect(states(last)).toEqual([`${story.mitigation.action} Done ${done}`]);
    expect([last.mitigated, last.status.result]).toEqual([`True ${done}`, "Mitigated"]);
    expect(last.actions).toEqual([]);
    expect(pass(last.seen, later(60)).status).toEqual(last.status);
  });

  test("is not fought for, and stays away from what somebody else has set", () => {
    const first = intend();
    const third = pass({ ...first.seen, ...story.third }, later(5));
    const gone = story === NODE_STORY;
    expect([third.actions, third.records[0]?.state]).toEqual([[], gone ? "Failed" : "Refused"]);
    const record = recordOf(first);
    const rolling = story.under === undefined ? undefined : pass({ ...first.seen, ...story.under(record) }, later(5));
    if (rolling === undefined) return;
    const back = pass({ ...rolling.seen, pods: before.pods, ...pick(before) }, later(9));
    expect([back.actions, back.records[0]?.state, back.records[0]?.reason]).toEqual([
      [],
      "Reverted",
      "RevertedByOther",
    ]);
    expect(back.status.result).toBe("Failed");
  });

  test("is followed although the policy is gone", () => {
    const first = intend();
    if (story.under === undefined) return;
    const under = pass({ ...first.seen, ...story.under(recordOf(first)) }, later(5));
    const policy = { problem: "NoPolicy", message: "none" } as const;
    const last = pass({ ...under.seen, ...story.after(recordOf(first)), policy }, later(9));
    expect(last.status.result).toBe("Mitigated");
  });

  test("can be put back when a person asks, once everything is as it was left", () => {
    const last = acted();
    const ended = { ...last.seen };
    const asked = pass(undo(ended, story.mitigation.action), later(100));
    if (story.mitigation.action === "Restart") {
      expect(asked.records[0]?.undo).toMatchObject({ state: "Refused", reason: "NothingToUndo", askedBy: "Person" });
      return;
    }
    expect(asked.records[0]).toMatchObject({ state: "Done", undo: { state: "Intended", reason: "Undoing" } });
    expect([asked.actions, asked.mitigated, asked.status.result]).toEqual([[], "Unknown Undoing", "Mitigated"]);
    const acting = pass(asked.seen, later(101));
    expect(acting.actions).toMatchObject([{ purpose: "Undo", intended: expect.any(String) }]);
    const back = pass({ ...acting.seen, pods: before.pods, nodes: before.nodes, ...pick(before) }, later(110));
    expect(states(back)).toEqual([`${story.mitigation.action} Undone Undone`]);
    expect(back.records[0]?.undo?.state).toBe("Undone");
    expect([back.mitigated, back.actions]).toEqual(["False Undone", []]);
    expect(back.events).toContain("Undone");
    const quiet = pass(back.seen, later(200));
    expect([quiet.actions, quiet.status]).toEqual([[], back.status]);
  });

  test("is not put back when somebody has changed it since, and says so", () => {
    if (story.mitigation.action === "Restart") return;
    const refused = pass(undo({ ...acted().seen, ...story.third }, story.mitigation.action), later(100));
    expect(refused.actions).toEqual([]);
    expect(refused.records[0]).toMatchObject({ state: "Done", undo: { state: "Refused" } });
    expect(refused.records[0]?.undo?.reason).toMatch(/^(Value|Template|Target)Replaced$/);
    expect(refused.mitigated).toBe(`True ${done}`);
    expect(pass(refused.seen, later(101)).actions).toEqual([]);
  });
});

/** The workload as it was, if the story changes it. */
function pick({ targetState }: Observation): Partial<Observation> {
  return targetState === undefined ? {} : { targetState };
}

function reasonOf(mitigation: Mitigation, over: Partial<Observation> = {}, record?: MitigationRecord) {
  return answerTo(mitigation, over, record)?.reason;
}

function asked(mitigation: Mitigation, over: Partial<Observation> = {}, record?: MitigationRecord): MitigationQuestion {
  const seen = found([mitigation], { pods: pods(), ...over });
  const [investigation] = seen.investigations;
  if (investigation === undefined || "problem" in seen.policy) throw new Error("no investigation");
  return questionOf({
    seen,
    investigation,
    finding: investigation.status?.finding ?? aFinding(),
    policy: seen.policy,
    mitigation,
    record,
    now: NOW,
  });
}

const answerTo = (...given: Parameters<typeof asked>) => firstRefusal(asked(...given));

describe("the guards of each action", () => {
  const held = found([]).investigations.map((i) => ({
    ...i,
    status: { ...i.status, preserved: aHeld("Preserved") },
  }));
  const busy = { targetState: target({ rollout: { ...target().rollout, updated: 2, total: 4 } }) };
  const paused = { targetState: target({ rollout: { ...target().rollout, heldBy: "spec.paused is true" } }) };
  const few = { targetState: target({ rollout: { ...target().rollout, mayBeUnavailable: 3 } }) };
  const budget = (desiredHealthy: number | undefined): Partial<Observation> => ({
    targetState: target({
      rollout: { ...target().rollout, mayBeUnavailable: 1 },
      budgets: [{ name: "all", selector: { matchLabels: { app: "thumbs" } }, desiredHealthy }],
    }),
  });
  const record = (over: Partial<MitigationRecord>): MitigationRecord => ({
    action: "Throttle",
    state: "Proposed",
    reason: "AwaitingApproval",
    message: "m",
    finding: "3f9c0a1b2c4d",
    since: at(5),
    target: { kind: "Deployment", name: "thumbs", uid: "d-1", resourceVersion: "50", generation: 2 },
    ...over,
  });
  const change = { kind: "Pod", name: "a", uid: "uid-a", container: "app", field: "limits.memory" } as const;

  const CASES: readonly (readonly [string, Reason, "No" | "NotYet", Parameters<typeof asked>])[] = [
    ["a restart", "RolloutHeld", "No", [RESTART, paused]],
    ["a restart", "HeldPod", "NotYet", [RESTART, { investigations: held }]],
    ["a restart", "RolloutInProgress", "NotYet", [RESTART, busy]],
    ["a restart", "TooFewReady", "NotYet", [RESTART, few]],
    ["a restart", "DisruptionBudget", "NotYet", [RESTART, budget(3)]],
    ["variables", "RolloutHeld", "No", [ENV, paused]],
    ["variables", "ProposalStale", "No", [ENV, {}, record({ after: { templateHash: "another", images: [] } })]],
    ["variables", "HeldPod", "NotYet", [ENV, { investigations: held }]],
    ["variables", "RolloutInProgress", "NotYet", [ENV, busy]],
    ["variables", "TooFewReady", "NotYet", [ENV, few]],
    ["variables", "DisruptionBudget", "NotYet", [ENV, budget(3)]],
    ["replicas", "TooFewReady", "No", [{ ...REPLICAS, minAvailable: 3 }]],
    [
      "replicas",
      "ProposalStale",
      "No",
      [
        REPLICAS,
        {},
        record({ changes: [{ ...change, kind: "Deployment", field: "spec.replicas", before: "9", after: "2" }] }),
      ],
    ],
    ["replicas", "HeldPod", "NotYet", [REPLICAS, { investigations: held }]],
    ["replicas", "DisruptionBudget", "NotYet", [REPLICAS, budget(3)]],
    ["keys", "ProposalStale", "No", [KEYS, {}, record({ changes: [] })]],
    [
      "a resize",
      "ProposalStale",
      "No",
      [RESIZE, {}, record({ action: "Resize", changes: [{ ...change, before: "1", after: "2" }] })],
    ],
    ["a resize", "RolloutInProgress", "NotYet", [RESIZE, busy]],
    [
      "a cordon",
      "ProposalStale",
      "No",
      [
        CORDON,
        {},
        record({
          action: "CordonNode",
          changes: [{ kind: "Node", name: "n2", uid: "u", field: "spec.unschedulable", after: "true" }],
        }),
      ],
    ],
    ["a cordon", "LastNode", "NotYet", [CORDON, { nodes: { n1: aNode() } }]],
  ];

  test.each(CASES)("%s: %s, and without the guard it is taken", (_action, reason, means, given) => {
    const question = asked(...given);
    const { remedy } = question;
    expect(firstRefusal(question)).toMatchObject({ reason, means });
    const guards = guardsOf(remedy);
    const without = guards.filter(({ refuse }) => refuse(question)?.reason !== reason);
    expect(without).toHaveLength(guards.length - 1);
    expect(firstRefusal(question, without)).toBeUndefined();
  });

  test("are all in that table", () => {
    for (const mitigation of [RESTART, ENV, REPLICAS, KEYS, RESIZE, CORDON]) {
      const { remedy } = asked(mitigation);
      const own = (remedy?.never.length ?? 0) + (remedy?.wait.length ?? 0);
      expect(CASES.filter(([, , , [of]]) => questionOf({ ...asked(of) }).remedy === remedy)).toHaveLength(own);
    }
  });

  test("let an isolated pod be: it is nobody's, and none of these touches it", () => {
    const isolated = held.map((i) => ({
      ...i,
      status: { ...i.status, preserved: { ...aHeld("Preserved"), how: "Isolate" as const } },
    }));
    const released = held.map((i) => ({ ...i, status: { ...i.status, preserved: aHeld("Released") } }));
    for (const investigations of [isolated, released])
      for (const mitigation of [RESTART, ENV, REPLICAS])
        expect(reasonOf(mitigation, { investigations })).toBeUndefined();
  });

  test("a budget that nobody has computed is waited for before pods are scaled away", () => {
    expect(reasonOf(REPLICAS, budget(undefined))).toBe("DisruptionBudget");
    expect(reasonOf(REPLICAS, budget(2))).toBeUndefined();
  });

  test("a node is cordoned only with a ClusterMemoryPolicy's consent, one at a time, and while another takes pods", () => {
    expect(reasonOf(CORDON)).toBeUndefined();
    const policy = aPolicy("Enforce", {
      preserve: { strategy: "None" },
      allowedActions: ["CordonNode"],
      mitigate: [CORDON],
    });
    expect(reasonOf(CORDON, { policy })).toBe("ActionNotAllowed");
    const ours = aNode({ uid: "node-2", unschedulable: true, annotations: marked("CordonNode") });
    const more = { n1: aNode(), n2: ours, n3: aNode({ uid: "node-3" }) };
    expect(answerTo(CORDON, { nodes: more })?.message).toMatch(/n2 is cordoned by oomscope already/);
    expect(reasonOf(CORDON, { nodes: { ...more, n2: { ...ours, annotations: {} } } })).toBeUndefined();
    const down = { n1: aNode(), n2: aNode({ ready: false }), n3: aNode({ unschedulable: true }) };
    expect(reasonOf(CORDON, { nodes: down })).toBe("LastNode");
  });

  test("GitOps: what is changed decides whether it would be put back", () => {
    const labels = { "kustomize.toolkit.fluxcd.io/name": "apps" };
    const owned = { targetState: target({ beside: beside({ configMaps: { limits: { ...limits, labels } } }) }) };
    expect(reasonOf(KEYS, owned)).toBe("OwnedByGitOps");
    const workload = { targetState: target({ labels }) };
    expect([ENV, RESTART, REPLICAS].map((m) => reasonOf(m, workload))).toEqual(
      Array.from({ length: 3 }, () => "OwnedByGitOps"),
    );
    expect([KEYS, RESIZE].map((m) => reasonOf(m, workload))).toEqual([undefined, undefined]);
  });

  test("a cool-down is read from the mark of what would be changed", () => {
    const annotations = {
      [MITIGATION_ANNOTATION]: markText({ investigation: "deleted", action: "Throttle", time: at(60) }),
    };
    const mark = { targetState: target({ beside: beside({ configMaps: { limits: { ...limits, annotations } } }) }) };
    expect(reasonOf(KEYS, mark)).toBe("CoolingDown");
  });
});

function aHeld(state: "Preserved" | "Released"): NonNullable<MemoryInvestigationStatus["preserved"]> {
  return { pod: "a", uid: "uid-a", how: "Hold", state, since: at(60), why: "w" };
}

describe("an action that does not fit says why", () => {
  const map = (over: Partial<ConfigMapView> | undefined | { problem: string }): Partial<Observation> => ({
    targetState: target({
      beside: beside({
        configMaps: { limits: over === undefined ? undefined : "problem" in over ? over : { ...limits, ...over } },
      }),
    }),
  });
  const nowhere = [anInvestigation("i", { status: { kills: [aKill()], finding: aFinding() } })];
  const using = (spec: Json): Partial<Observation> => ({ targetState: withPodSpec(spec) });

  test.each<readonly [string, Mitigation, Partial<Observation>, RegExp]>([
    [
      "a container that is not there",
      { ...ENV, throttle: { env: { container: "x", set: { A: "1" } } } },
      {},
      /no container x/,
    ],
    ["values that are there", ENV, withTemplate(ENV_EDIT)(), /has these values already/],
    [
      "few replicas already",
      REPLICAS,
      { targetState: target({ replicas: 2 }) },
      /spec.replicas of Deployment thumbs is 2/,
    ],
    ["a low bound already", REPLICAS, bounded(2, 2), /spec.maxReplicas of HorizontalPodAutoscaler thumbs is 2/],
    [
      "an autoscaler with a high minimum",
      REPLICAS,
      { targetState: target({ beside: beside({ autoscalers: [{ ...autoscaler, minReplicas: 3 }] }) }) },
      /minReplicas 3/,
    ],
    [
      "an autoscaler that somebody holds",
      REPLICAS,
      { targetState: target({ beside: beside({ autoscalers: [{ ...autoscaler, controller: "ScaledObject t" }] }) }) },
      /held by ScaledObject t/,
    ],
    [
      "two autoscalers",
      REPLICAS,
      { targetState: target({ beside: beside({ autoscalers: [autoscaler, { ...autoscaler, name: "other" }] }) }) },
      /thumbs and other both scale/,
    ],
    ["no ConfigMap", KEYS, map(undefined), /limits does not exist/],
    ["one that is immutable", KEYS, map({ immutable: true }), /immutable/],
    ["one that is being deleted", KEYS, map({ deleting: true }), /being deleted/],
    ["one that has the values", KEYS, map({ data: { MAX: "2", DEPTH: "1" } }), /these values already/],
    [
      "one with more than can be kept",
      KEYS,
      map({ data: { MAX: "x".repeat(1025) } }),
      /more than 1024 characters in MAX/,
    ],
    ["one with binary data", KEYS, map({ binaryKeys: ["DEPTH"] }), /DEPTH as binary data/],
    ["one that no pod uses", KEYS, using({ containers: [{ name: "app" }] }), /not used/],
    [
      "one that is only read at the start",
      KEYS,
      using({ containers: [{ name: "app", envFrom: [{ configMapRef: { name: "limits" } }] }] }),
      /use throttle.env/,
    ],
    [
      "one that is mounted without the key",
      KEYS,
      using({
        containers: [{ name: "app", volumeMounts: [{ name: "v", mountPath: "/v" }] }],
        volumes: [{ name: "v", configMap: { name: "limits", items: [{ key: "MAX", path: "m" }] } }],
      }),
      /mounted without DEPTH/,
    ],
    ["a node that is gone", CORDON, { nodes: {} }, /n1 is gone/],
    ["a node that is cordoned", CORDON, { nodes: cluster({ unschedulable: true }) }, /cordoned already/],
    ["a kill of which nobody knows the node", CORDON, { investigations: nowhere }, /Nobody knows on which node/],
    [
      "a limit at its cap",
      RESIZE,
      { pods: pods({ containers: [container(256)] }) },
      /resize.maxBytes \(256Mi\) or more/,
    ],
    [
      "no pod with a limit",
      RESIZE,
      { pods: [aPod("a", { containers: [aContainer({ name: "other" })] })] },
      /No running pod/,
    ],
    [
      "a pod that would be restarted",
      RESIZE,
      { pods: pods({ containers: [container(100, { restartsOnResize: true })] }) },
      /RestartContainer/,
    ],
    [
      "too many pods",
      RESIZE,
      { pods: Array.from({ length: 65 }, (_, i) => aPod(`p${i}`, { containers: [container(100)] })) },
      /65 pods are too many/,
    ],
  ])("%s", (_what, mitigation, over, message) => {
    const answer = answerTo(mitigation, over);
    expect(answer).toMatchObject({ reason: "ActionDoesNotFit", means: "No" });
    expect(answer?.message).toMatch(message);
  });

  test("a DaemonSet has no replicas, a Job no template", () => {
    const key = { namespace: "media", kind: "DaemonSet", name: "thumbs" } as const;
    expect(reasonOf(REPLICAS, { key })).toBe("ActionNotSupported");
    for (const mitigation of [RESTART, ENV, KEYS, RESIZE])
      expect(reasonOf(mitigation, { key: { ...key, kind: "Job" } })).toBe("ActionNotSupported");
  });

  test("what may not be read is asked for again, not refused", () => {
    expect(answerTo(KEYS, map({ problem: "may not read" }))).toMatchObject({
      reason: "WorkloadUnreadable",
      means: "NotYet",
    });
    const autoscalers = { targetState: target({ beside: beside({ autoscalers: { problem: "may not list" } }) }) };
    expect(answerTo(REPLICAS, autoscalers)).toMatchObject({ reason: "WorkloadUnreadable", means: "NotYet" });
  });
});

function withPodSpec(spec: Json): TargetState {
  const template = { metadata: { labels: { app: "thumbs" } }, spec };
  const hash = templateHash(template);
  return target({ template, templateHash: hash, revisions: [aRevision(2, 3600, { template, templateHash: hash })] });
}

describe("a resize", () => {
  const intended = (over: Partial<Observation> = {}): MitigationRecord | undefined =>
    pass(found([RESIZE], { pods: pods(), ...over })).records[0];
  const limitsOf = (record: MitigationRecord | undefined): string[] =>
    (record?.changes ?? []).map(({ name, field, before, after }) => `${name} ${field} ${before} ${after}`);

  test("raises by the factor in whole pages, and never above the cap", () => {
    expect(limitsOf(intended({ pods: pods().slice(0, 1) }))).toEqual([`a limits.memory ${100 * MIB} ${150 * MIB}`]);
    const odd = [aPod("a", { containers: [container(0, { limitBytes: 100_000_001 })] })];
    expect(intended({ pods: odd })?.changes?.[0]?.after).toBe(String(Math.floor(150_000_001 / 4096) * 4096));
    expect(intended({ pods: pods({ containers: [container(200)] }) })?.changes?.[0]?.after).toBe(String(256 * MIB));
  });

  test("takes the request along where the pod's class asks for it", () => {
    const [pod] = pods({ qosClass: "Guaranteed", containers: [container(100, { requestBytes: 100 * MIB })] });
    expect(limitsOf(intended({ pods: pod === undefined ? [] : [pod] }))).toEqual([
      `a limits.memory ${100 * MIB} ${150 * MIB}`,
      `a requests.memory ${100 * MIB} ${150 * MIB}`,
    ]);
  });

  test("never touches a pod that is kept for evidence, one that ends, or one that does not run", () => {
    const [a, b, c] = pods();
    const label = { "oomscope.dev/preserved": "uid-i" };
    const d = aPod("d", { containers: [container(100, { state: { kind: "waiting" } })] });
    const kept = [{ ...a, labels: label }, { ...b, deletionTimestamp: at(1) }, c, d] as PodView[];
    expect((intended({ pods: kept })?.changes ?? []).map(({ name }) => name)).toEqual(["c"]);
    const held = found([RESIZE]).investigations.map((i) => ({
      ...i,
      status: { ...i.status, preserved: aHeld("Preserved") },
    }));
    expect((intended({ investigations: held })?.changes ?? []).map(({ name }) => name)).toEqual(["b", "c"]);
  });

  test("of a template with a limit shows the patch that makes it last, of others none", () => {
    const limited = { containers: [{ name: "app", resources: { limits: { memory: "100Mi" } } }] };
    const { patch } = intended({ targetState: withPodSpec(limited) }) ?? {};
    expect(JSON.parse(patch ?? "[]")).toEqual([
      { op: "test", path: "/spec/template/spec/containers/0/resources/limits/memory", value: "100Mi" },
      { op: "replace", path: "/spec/template/spec/containers/0/resources/limits/memory", value: "150Mi" },
    ]);
    expect(intended()?.patch).toBeUndefined();
  });

  const first = pass(found([RESIZE], { pods: pods() }));
  const [a, b, c] = pods();
  const done = (pod: PodView | undefined): PodView => ({ ...(pod as PodView), containers: [container(150)] });

  test("goes on where a pod is not changed yet, and forgets one that is gone", () => {
    const partly = pass({ ...first.seen, pods: [done(a), b as PodView, c as PodView] }, later(2));
    expect(partly.actions).toHaveLength(1);
    expect(partly.records[0]?.changes?.map(({ applied }) => applied)).toEqual([at(-2), undefined, undefined]);
    expect(pass({ ...partly.seen, pods: [done(a), done(b)] }, later(3)).status.result).toBe("Mitigated");
    const gone = pass({ ...first.seen, pods: [] }, later(3));
    expect([gone.records[0]?.state, gone.records[0]?.reason]).toEqual(["Failed", "TargetReplaced"]);
  });

  test("that somebody has put back on one pod is not done to it once more", () => {
    const partly = pass({ ...first.seen, pods: [done(a), b as PodView, c as PodView] }, later(2));
    const back = pass({ ...partly.seen, pods: pods() }, later(3));
    expect([back.actions, back.records[0]?.state]).toEqual([[], "Reverted"]);
  });

  test("that is half done when the policy says no more has failed, and can be put back", () => {
    const partly = pass({ ...first.seen, pods: [done(a), b as PodView, c as PodView] }, later(2));
    const observe = { ...partly.seen, policy: aPolicy("Observe", { mitigate: [{ ...RESIZE, approval: "Manual" }] }) };
    const stopped = pass(observe, later(3));
    expect([stopped.actions, stopped.records[0]?.state, stopped.status.result]).toEqual([[], "Failed", "Failed"]);
    const back = pass(undo(stopped.seen, "Resize"), later(4));
    expect(back.records[0]?.undo?.state).toBe("Intended");
    const acting = pass(back.seen, later(5));
    expect(acting.actions).toMatchObject([{ kind: "ResizePods", purpose: "Undo" }]);
    expect(pass({ ...acting.seen, pods: pods() }, later(6)).records[0]?.state).toBe("Undone");
  });

  test("tells what the node says, and fails when it cannot be", () => {
    const asking = (reason: string): PodView[] =>
      pods({
        containers: [container(100, { specLimitBytes: 150 * MIB })],
        resize: { type: "Pending", reason, message: "Node didn't have enough capacity" },
      });
    const deferred = pass({ ...first.seen, pods: asking("Deferred") }, later(5));
    expect(deferred.records[0]?.state).toBe("RollingOut");
    expect(deferred.records[0]?.message).toContain("a: Deferred: Node didn't have enough capacity");
    const infeasible = pass({ ...first.seen, pods: asking("Infeasible") }, later(5));
    expect([infeasible.mitigated, infeasible.status.result]).toEqual(["False ResizeStuck", "Failed"]);
  });

  test("is not called done by a node that does not say what it enforces", () => {
    const silent = aContainer({ limitBytes: 150 * MIB });
    const asked = pass({ ...first.seen, pods: pods({ containers: [silent] }) }, later(5));
    expect(asked.records[0]?.state).toBe("RollingOut");
  });
});

describe("escalation", () => {
  const failed = (): Pass => {
    const first = pass(found([RESTART, REPLICAS, ROLLBACK]));
    expect(states(first)).toEqual(["Restart Intended Restarting"]);
    return pass({ ...first.seen, ...withTemplate(RESTART_EDIT, { updated: 1, stuck: "deadline" })() }, later(5));
  };

  test("asks the next action when one has failed, in the same pass and with its own intent", () => {
    const next = failed();
    expect(states(next)).toEqual(["Restart Failed RolloutStuck", "Throttle Intended Throttling"]);
    expect([next.actions, next.status.result]).toEqual([[], undefined]);
    expect(pass(next.seen, later(6)).actions).toMatchObject([{ kind: "SetValues" }]);
  });

  test("counts what it has done already: the budgets bound it", () => {
    const past = (action: MitigationRecord["action"]) => ({
      investigationUid: "uid-i",
      workload: "media/Deployment/thumbs",
      policy: "ClusterMemoryPolicy//p",
      action,
      intended: at(10),
    });
    expect(reasonOf(REPLICAS, { mitigated: [past("Restart")] })).toBeUndefined();
    expect(reasonOf(REPLICAS, { mitigated: [past("Restart"), past("Rollback")] })).toBe("WorkloadBudgetSpent");
    expect(reasonOf(REPLICAS, { mitigated: [past("Restart"), past("Throttle")] })).toBeUndefined();
  });

  test("ends as failed when nothing is left, with the reason of what failed", () => {
    const first = pass(found([RESTART]));
    const stuck = pass({ ...first.seen, ...withTemplate(RESTART_EDIT, { stuck: "deadline", updated: 1 })() }, later(5));
    expect([stuck.mitigated, stuck.status.result]).toEqual(["False RolloutStuck", "Failed"]);
    expect(pass(stuck.seen, later(60)).status).toEqual(stuck.status);
  });

  test("proposes what needs a person, and an approval takes it up", () => {
    const manual: Mitigation = { ...REPLICAS, approval: "Manual" };
    const first = pass(found([RESTART, manual]));
    const rollout = withTemplate(RESTART_EDIT, { stuck: "deadline", updated: 1 })();
    const stuck = pass({ ...first.seen, ...rollout }, later(5));
    expect(states(stuck)).toEqual(["Restart Failed RolloutStuck", "Throttle Proposed AwaitingApproval"]);
    expect(stuck.status.result).toBe("Recommended");
    const approvedActions = [{ action: "Throttle" as const, finding: "3f9c0a1b2c4d" }];
    expect(states(pass(withSpec(stuck.seen, { approvedActions }), later(60))).at(-1)).toBe(
      "Throttle Intended Throttling",
    );
  });

  test("does not go on from what somebody else has put back, nor from what is done", () => {
    const first = pass(found([REPLICAS, RESTART]));
    const rolling = pass({ ...first.seen, ...scaled(2, 3) }, later(5));
    const back = pass({ ...rolling.seen, targetState: target() }, later(9));
    expect(states(back)).toEqual(["Throttle Reverted RevertedByOther"]);
    expect(states(pass({ ...first.seen, ...scaled(2, 2) }, later(5)))).toEqual(["Throttle Done Throttled"]);
  });

  test("takes no mark of an earlier action for its own", () => {
    const first = pass(found([ENV], { targetState: target({ annotations: marked("Restart") }) }));
    expect(pass(first.seen, later(1)).actions).toMatchObject([{ kind: "ChangeTemplate" }]);
    const own = pass({ ...first.seen, targetState: target({ annotations: marked("Throttle") }) }, later(1));
    expect([own.actions, own.records[0]?.state]).toEqual([[], "Reverted"]);
  });
});

test("a validation puts back by itself, and the next action is asked", () => {
  const first = pass(found([REPLICAS, ENV]));
  const done = pass({ ...first.seen, ...scaled(2, 2) }, later(5));
  const request = { action: "Throttle", finding: "3f9c0a1b2c4d", by: "Validation" } as const;
  const step = (seen: Observation, seconds: number) => {
    const [investigation] = seen.investigations;
    if (investigation === undefined) throw new Error("no investigation");
    const next = planUndo({ seen, investigation, now: later(seconds) }, request);
    const status = { ...investigation.status, mitigations: [...next.records] };
    return { ...next, seen: { ...seen, investigations: [{ ...investigation, status }] } };
  };
  const intent = step(done.seen, 60);
  expect([intent.outcome, intent.actions]).toEqual(["Working", []]);
  const acting = step(intent.seen, 61);
  expect(acting.actions).toMatchObject([{ kind: "SetValues", purpose: "Undo" }]);
  const undone = step({ ...acting.seen, targetState: target() }, 62);
  expect([undone.outcome, undone.records[0]?.undo?.askedBy]).toEqual(["Undone", "Validation"]);
  expect([step(undone.seen, 63).outcome, step(undone.seen, 63).actions]).toEqual(["Undone", []]);
  const { result: _result, ...going } = undone.seen.investigations[0]?.status ?? {};
  const policy = aPolicy("Enforce", { preserve: { strategy: "None" }, mitigate: [REPLICAS, RESTART] });
  const on = {
    ...undone.seen,
    policy,
    investigations: undone.seen.investigations.map((i) => ({ ...i, status: going })),
  };
  expect(states(pass(on, later(64)))).toEqual(["Throttle Undone Undone", "Restart Intended Restarting"]);
  expect(planUndo({ seen: on, investigation: anInvestigation("x"), now: NOW }, request)).toMatchObject({
    outcome: "Refused",
    fact: { reason: "NothingToUndo" },
  });
});

describe("putting back", () => {
  const doneReplicas = (): Pass => {
    const first = pass(found([REPLICAS]));
    return pass({ ...first.seen, ...scaled(2, 2) }, later(5));
  };

  test("is for the finding that it was done for", () => {
    const undoActions = [{ action: "Throttle" as const, finding: "000000000000" }];
    const refused = pass(withSpec(doneReplicas().seen, { undoActions }), later(60));
    expect(refused.records[0]?.undo).toMatchObject({ state: "Refused", reason: "NothingToUndo" });
    expect(refused.records[0]?.undo?.message).toContain("3f9c0a1b2c4d");
  });

  test("is asked for anew by taking the request away and putting it there again", () => {
    const { seen } = doneReplicas();
    const refused = pass(undo({ ...seen, ...scaled(7, 7) }, "Throttle"), later(60));
    expect(refused.records[0]?.undo?.state).toBe("Refused");
    const still = pass({ ...refused.seen, ...scaled(2, 2) }, later(61));
    expect(still.records[0]?.undo?.state).toBe("Refused");
    const withdrawn = pass(withSpec(still.seen, { undoActions: [] }), later(62));
    expect(withdrawn.records[0]?.undo).toBeUndefined();
    expect(pass(undo(withdrawn.seen, "Throttle"), later(63)).records[0]?.undo?.state).toBe("Intended");
  });

  test("does nothing for what was never done", () => {
    const proposed = pass(found([{ ...REPLICAS, approval: "Manual" }]));
    const quiet = pass(undo(proposed.seen, "Throttle"), later(60));
    expect([quiet.actions, quiet.records]).toEqual([[], proposed.records]);
  });

  test("waits while the investigation is suspended, and heeds an owner who opted out", () => {
    const asking = undo(doneReplicas().seen, "Throttle");
    expect(pass(withSpec(asking, { suspend: true }), later(60)).records[0]?.undo).toBeUndefined();
    const optedOut = { ...scaled(2, 2) };
    const annotations = { "oomscope.dev/do-not-mitigate": "true" };
    const owned = { targetState: { ...(optedOut.targetState as TargetState), annotations } };
    expect(pass({ ...asking, ...owned }, later(60)).records[0]?.undo).toMatchObject({
      state: "Refused",
      reason: "OptedOut",
    });
  });

  test("takes the door's refusal as an answer, and asks anew when only the intent was not seen there", () => {
    const intent = pass(undo(doneReplicas().seen, "Throttle"), later(60));
    const answer = (reason: Reason): Pass =>
      pass({ ...intent.seen, refused: { "uid-i": { action: "SetValues", reason, message: "m" } } }, later(61));
    expect(answer("Forbidden").records[0]?.undo).toMatchObject({ state: "Refused", reason: "Forbidden" });
    expect(answer("PolicyChanged").actions).toMatchObject([{ kind: "SetValues", purpose: "Undo" }]);
  });

  test("needs no policy, and is not stopped by one", () => {
    const asking = undo(doneReplicas().seen, "Throttle");
    const policy = { problem: "NoPolicy", message: "none" } as const;
    expect(pass({ ...asking, policy }, later(60)).records[0]?.undo?.state).toBe("Intended");
  });

  test("of an investigation that still goes on is done as well, also when its policy is gone, and nothing is done after it", () => {
    const { seen } = doneReplicas();
    const going = seen.investigations.map((i) => {
      const { result: _result, ...status } = i.status ?? {};
      return { ...i, status };
    });
    const policy = { problem: "NoPolicy", message: "none" } as const;
    for (const over of [{}, { policy }]) {
      const intent = pass({ ...undo({ ...seen, investigations: going }, "Throttle"), ...over }, later(60));
      expect([intent.records[0]?.undo?.state, intent.status.result]).toEqual(["Intended", undefined]);
      const acting = pass(intent.seen, later(61));
      expect(acting.actions).toMatchObject([{ purpose: "Undo" }]);
      const undone = pass({ ...acting.seen, targetState: target() }, later(62));
      expect(undone.records[0]?.state).toBe("Undone");
      const after = pass({ ...undone.seen, policy: seen.policy }, later(63));
      expect([after.actions, after.status.result, after.mitigated]).toEqual([[], "Recommended", "False Undone"]);
    }
  });

  test("of a roll-out waits for the pods that must remain, and is given up after ten minutes", () => {
    const first = pass(found([ENV]));
    const done = pass({ ...first.seen, ...withTemplate(ENV_EDIT)() }, later(5));
    const risky = { ...undo(done.seen, "Throttle"), ...withTemplate(ENV_EDIT, { mayBeUnavailable: 3 })() };
    const waiting = pass(risky, later(60));
    expect(waiting.records[0]?.undo).toMatchObject({ state: "Waiting", reason: "TooFewReady" });
    expect(pass(waiting.seen, later(659)).records[0]?.undo?.state).toBe("Waiting");
    expect(pass(waiting.seen, later(660)).records[0]?.undo).toMatchObject({ state: "Refused", reason: "TooFewReady" });
    const paused = { ...undo(done.seen, "Throttle"), ...withTemplate(ENV_EDIT, { heldBy: "paused" })() };
    expect(pass(paused, later(60)).records[0]?.undo).toMatchObject({ state: "Waiting", reason: "RolloutHeld" });
  });

  test("of a roll-back rolls forward again, by the revision that it left", () => {
    const first = pass(found([ROLLBACK]));
    const back = aRevision(1, 90_000);
    const rolled = { targetState: target({ template: back.template, templateHash: back.templateHash }) };
    const done = pass({ ...first.seen, ...rolled }, later(5));
    const asked = pass(undo(done.seen, "Rollback"), later(60));
    const acting = pass(asked.seen, later(61));
    expect(acting.actions).toMatchObject([
      { kind: "ChangeTemplate", purpose: "Undo", after: { from: { revision: "thumbs-h2", uid: "rs-2" } } },
    ]);
    const under = { targetState: target({ rollout: { ...target().rollout, updated: 1 } }) };
    const rolling = pass({ ...acting.seen, ...under }, later(62));
    expect(rolling.records[0]).toMatchObject({ state: "Done", undo: { state: "Applied" } });
    const fought = pass({ ...rolling.seen, ...rolled }, later(63));
    expect([fought.actions, fought.records[0]?.undo?.state, fought.records[0]?.undo?.reason]).toEqual([
      [],
      "Failed",
      "RevertedByOther",
    ]);
    const late = pass(rolling.seen, later(62 + 901));
    expect(late.records[0]?.undo).toMatchObject({ state: "Failed", reason: "UndoStuck" });
    const undone = pass({ ...rolling.seen, targetState: target() }, later(64));
    expect(undone.records[0]?.state).toBe("Undone");
    // Whoever put it back does not want it again.
    expect(reasonOf(ROLLBACK)).toBeUndefined();
    const remembered = undone.seen.investigations.map((i) => ({ ...i, metadata: { ...i.metadata, uid: "uid-old" } }));
    const seen = { investigations: [...found([]).investigations, ...remembered] };
    expect(answerTo(ROLLBACK, seen)).toMatchObject({ reason: "NoHealthyRevision" });
    expect(answerTo(ROLLBACK, seen)?.message).toMatch(/thumbs-h1: a roll-back to it was put back/);
  });
});

test("keys that a template mounts", () => {
  const of = (spec: Json) => mountedKeys({ spec }, "limits");
  const mount = (over: Json): Json => ({
    containers: [{ name: "app", volumeMounts: [{ name: "v", mountPath: "/v", ...(over as object) }] }],
    volumes: [{ name: "v", projected: { sources: [{ configMap: { name: "limits" } }] } }],
  });
  expect(of(mount({}))).toBe("All");
  expect(of(mount({ subPath: "x" }))).toBe("OnlyAtStart");
  expect(of({ containers: [{ name: "a" }], volumes: [{ name: "v", configMap: { name: "limits" } }] })).toBe("Nowhere");
  expect(
    of({ containers: [{ env: [{ name: "A", valueFrom: { configMapKeyRef: { name: "limits", key: "A" } } }] }] }),
  ).toBe("OnlyAtStart");
  for (const odd of [null, 7, [], { containers: 3 }, { containers: [null], volumes: [4] }] as Json[])
    expect(of(odd)).toBe("Nowhere");
});

test("an edit keeps the order of variables, replaces what a secret gave, and knows its containers", () => {
  const template = {
    spec: {
      containers: [
        {
          name: "app",
          env: [
            { name: "A", valueFrom: { secretKeyRef: { name: "s", key: "k" } } },
            { name: "B", value: "$(A)" },
          ],
        },
        { name: "other", env: [{ name: "A", value: "0" }] },
      ],
    },
  };
  expect(editedTemplate(template, { container: "app", env: { C: "3", A: "1" } })).toEqual({
    spec: {
      containers: [
        {
          name: "app",
          env: [
            { name: "A", value: "1" },
            { name: "B", value: "$(A)" },
            { name: "C", value: "3" },
          ],
        },
        template.spec.containers[1],
      ],
    },
  });
  expect(editedTemplate(template, { container: "none", env: { A: "1" } })).toBeUndefined();
});
