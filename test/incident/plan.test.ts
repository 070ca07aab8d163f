import { describe, expect, test } from "vitest";
import type { MemoryInvestigation, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import { plan } from "../../src/incident/plan.ts";
import type { Action } from "../../src/incident/actions.ts";
import { PRESERVED_LABEL } from "../../src/incident/preservation.ts";
import { FINALIZER } from "../../src/incident/step.ts";
import type { Observation, SessionView } from "../../src/incident/observation.ts";
import {
  aContainer,
  aNode,
  anInvestigation,
  anObservation,
  aPod,
  aPolicy,
  at,
  killedContainer,
  NOW,
} from "./builders.ts";

const killedPods = [aPod("a", { containers: [killedContainer(20)] }), aPod("b"), aPod("c")];

function actions(seen: Observation): Action[] {
  const next = plan(seen, NOW);
  return [...next.actions, ...next.investigations.flatMap((i) => i.actions)];
}

function status(seen: Observation): MemoryInvestigationStatus {
  return plan(seen, NOW).investigations[0]?.status ?? {};
}

function condition(seen: Observation, type: string) {
  return status(seen).conditions?.find((c) => c.type === type);
}

/** The observation after the plan's status was written. */
function written(seen: Observation): Observation {
  const next = plan(seen, NOW);
  return {
    ...seen,
    investigations: seen.investigations.map((i): MemoryInvestigation => {
      const step = next.investigations.find((p) => p.investigation.metadata.uid === i.metadata.uid);
      return step?.status === undefined ? i : { ...i, status: step.status };
    }),
  };
}

describe("a kill that nobody has counted", () => {
  test("opens an investigation under a name made from the kill", () => {
    const [first] = actions(anObservation({ pods: killedPods }));
    expect(first).toMatchObject({
      kind: "OpenInvestigation",
      spec: { targetRef: { kind: "Deployment", name: "thumbs" } },
    });
    expect(actions(anObservation({ pods: killedPods }))).toEqual(
      actions(anObservation({ pods: killedPods.toReversed() })),
    );
  });

  test("joins the active investigation", () => {
    const seen = anObservation({ pods: killedPods, investigations: [anInvestigation("i")] });
    expect(actions(seen).some((a) => a.kind === "OpenInvestigation")).toBe(false);
    expect(status(seen)).toMatchObject({
      killCount: 1,
      kills: [{ pod: { name: "a" }, classification: "ContainerKilled" }],
    });
  });

  test("is counted once, however often it is seen", () => {
    const seen = written(anObservation({ pods: killedPods, investigations: [anInvestigation("i")] }));
    expect(status(seen).killCount).toBe(1);
    expect(status(written(seen)).kills).toHaveLength(1);
  });

  test("opens nothing when it is older than the horizon", () => {
    expect(actions(anObservation({ pods: killedPods, horizon: at(5) }))).toEqual([]);
  });

  test("opens nothing again when a person has deleted its investigation", () => {
    const first = status(anObservation({ pods: killedPods, investigations: [anInvestigation("i")] })).ledger ?? [];
    expect(actions(anObservation({ pods: killedPods, settled: new Set(first) }))).toEqual([]);
  });

  test("opens nothing when no policy selects the workload", () => {
    expect(actions(anObservation({ pods: killedPods, policy: { problem: "NoPolicy", message: "none" } }))).toEqual([]);
  });

  test("waits for more of its kind when the policy asks for them", () => {
    const policy = aPolicy("Observe", { triggers: { oomKilled: { count: 2, within: "5m" } } });
    expect(actions(anObservation({ pods: killedPods, policy }))).toEqual([]);
    const two = [...killedPods.slice(0, 1), aPod("b", { containers: [killedContainer(100)] })];
    expect(actions(anObservation({ pods: two, policy }))).toHaveLength(1);
    const far = [...killedPods.slice(0, 1), aPod("b", { containers: [killedContainer(1000)] })];
    expect(actions(anObservation({ pods: far, policy }))).toEqual([]);
  });

  test("waits, and says so, when the policy's budget is spent", () => {
    const next = plan(anObservation({ pods: killedPods, active: { policy: 1, cluster: 1 } }), NOW);
    expect(next.actions).toEqual([]);
    expect(next.notices[0]).toMatchObject({ reason: "BudgetSpent", also: ["Target"] });
    expect(next.requeueAfterMs).toBeGreaterThan(0);
  });

  test("joins the one that has ended while the workload cools down, and opens a new one after", () => {
    const ended = (secondsAgo: number): MemoryInvestigation =>
      anInvestigation("old", {
        status: {
          result: "Recommended",
          conditions: [
            {
              type: "Succeeded",
              status: "True",
              reason: "Diagnosed",
              message: "m",
              lastTransitionTime: at(secondsAgo),
            },
          ],
        },
      });
    const cooling = anObservation({ pods: killedPods, investigations: [ended(60)] });
    expect(actions(cooling)).toEqual([]);
    expect(status(cooling).killCount).toBe(1);
    const later = anObservation({ pods: killedPods, investigations: [ended(7200)] });
    expect(actions(later).map((a) => a.kind)).toEqual(["OpenInvestigation"]);
  });

  test("of a whole roll-out opens one investigation", () => {
    const pods = Array.from({ length: 200 }, (_, i) => aPod(`p${i}`, { containers: [killedContainer(20 + (i % 7))] }));
    expect(actions(anObservation({ pods })).filter((a) => a.kind === "OpenInvestigation")).toHaveLength(1);
    const seen = written(anObservation({ pods, investigations: [anInvestigation("i")] }));
    expect(seen.investigations[0]?.status).toMatchObject({ killCount: 200 });
    expect(seen.investigations[0]?.status?.kills).toHaveLength(64);
    expect(status(seen).killCount).toBe(200);
  });

  test("that only has exit code 137 does not open, but joins", () => {
    const pods = [
      aPod("a", {
        containers: [
          killedContainer(20, {
            last: { kind: "terminated", reason: "Error", exitCode: 137, finishedAt: at(20), containerId: "c1" },
          }),
        ],
      }),
    ];
    expect(actions(anObservation({ pods }))).toEqual([]);
    expect(status(anObservation({ pods, investigations: [anInvestigation("i")] })).kills?.[0]?.classification).toBe(
      "Unconfirmed",
    );
  });
});

describe("preservation", () => {
  const opened = anObservation({ pods: killedPods, investigations: [anInvestigation("i")] });

  test("writes the intent with the labels before it changes anything", () => {
    const next = plan(opened, NOW).investigations[0];
    expect(next?.status?.preserved).toMatchObject({
      state: "Intended",
      how: "Isolate",
      originalLabels: { app: "thumbs", "pod-template-hash": "h1" },
    });
    expect(next?.actions.map((a) => a.kind)).toEqual(["SetFinalizer", "PreservePod"]);
    expect(next?.status?.conditions?.find((c) => c.type === "PodPreserved")?.status).toBe("Unknown");
  });

  test("takes a sibling that is alive, not the one whose memory is gone", () => {
    expect(status(opened).preserved?.pod).toBe("b");
    expect(status(opened).preserved?.cannotShow).toContain("sibling");
  });

  test("prefers the sibling nearest its limit", () => {
    const usageBytes = { "uid-b": 10 << 20, "uid-c": 80 << 20 };
    expect(status({ ...opened, surroundings: { ...opened.surroundings, usageBytes } }).preserved?.pod).toBe("c");
  });

  test("passes over the one that is so near its limit that it may die before it is out of service", () => {
    const usageBytes = { "uid-b": 97 << 20, "uid-c": 80 << 20 };
    expect(status({ ...opened, surroundings: { ...opened.surroundings, usageBytes } }).preserved?.pod).toBe("c");
  });

  test("does not take a stale reading of a container that was just restarted for its memory", () => {
    const usageBytes = { "uid-a": 84 << 20, "uid-b": 10 << 20 };
    expect(status({ ...opened, surroundings: { ...opened.surroundings, usageBytes } }).preserved?.pod).toBe("b");
  });

  test("passes over pods of another revision", () => {
    const pods = [killedPods[0] ?? aPod("a"), aPod("b", { ownerUid: "rs-2", ownerName: "thumbs-h2" }), aPod("c")];
    const replicaSets = [
      ...opened.replicaSets,
      { ...(opened.replicaSets[0] ?? { images: [], replicas: 0, namespace: "media" }), uid: "rs-2", name: "thumbs-h2" },
    ];
    expect(status({ ...opened, pods, replicaSets }).preserved?.pod).toBe("c");
  });

  test("is claimed only when the pod has its mark, its controller has let it go, and its guard is there", () => {
    const intended = written(opened);
    const marked = aPod("b", { labels: { [PRESERVED_LABEL]: "uid-i" } });
    const stillOwned = { ...intended, pods: [killedPods[0] ?? aPod("a"), marked, aPod("c")] };
    expect(condition(stillOwned, "PodPreserved")?.status).toBe("Unknown");
    const { ownerUid: _uid, ownerKind: _kind, ownerName: _name, ...orphan } = marked;
    const free = { ...intended, pods: [killedPods[0] ?? aPod("a"), orphan, aPod("c")] };
    expect(condition(free, "PodPreserved")?.status).toBe("Unknown");
    expect(actions(free).map((a) => a.kind)).toContain("EnsureGuard");
    const guard = {
      owner: "PodDisruptionBudget/guard",
      kind: "PodDisruptionBudget" as const,
      selector: { matchLabels: { [PRESERVED_LABEL]: "uid-i" } },
    };
    const selectors = [...(free.surroundings.selectors ?? []), guard];
    const guarded = { ...free, surroundings: { ...free.surroundings, selectors } };
    expect(condition(guarded, "PodPreserved")).toMatchObject({ status: "True", reason: "Isolated" });
    expect(actions(guarded).map((a) => a.kind)).not.toContain("EnsureGuard");
  });

  test("goes on without a guard when that is refused, and says so", () => {
    const intended = written(opened);
    const { ownerUid: _uid, ownerKind: _kind, ownerName: _name, ...orphan } = aPod("b");
    const free = { ...intended, pods: [aPod("a"), { ...orphan, labels: { [PRESERVED_LABEL]: "uid-i" } }, aPod("c")] };
    const refused = { "uid-i": { action: "EnsureGuard", reason: "Forbidden" as const, message: "exceeded quota" } };
    expect(status({ ...free, refused }).preserved).toMatchObject({
      state: "Preserved",
      why: expect.stringContaining("Not guarded from evictions (Forbidden): exceeded quota"),
    });
    const blind = { ...free, surroundings: { exclusiveClaims: [], usageBytes: {} } };
    expect(status(blind).preserved?.why).toContain("Not guarded from evictions (SelectorsUnknown)");
  });

  test("repeats the same act after a lost reply, on the same pod", () => {
    const intended = written(opened);
    const again = actions(intended).find((a) => a.kind === "PreservePod");
    expect(again).toMatchObject({ pod: { name: "b" }, labels: { app: "thumbs" } });
  });

  describe("of a workload that already has a pod kept by an earlier investigation", () => {
    const earlier = (over: Record<string, unknown> = {}): MemoryInvestigation =>
      anInvestigation("old", {
        metadata: { ...anInvestigation("old").metadata, creationTimestamp: at(900) },
        status: {
          result: "Recommended",
          preserved: { pod: "k", uid: "uid-k", how: "Isolate", state: "Preserved", since: at(800), why: "w", ...over },
        },
      });
    const { ownerUid: _uid, ownerKind: _kind, ownerName: _name, ...orphan } = aPod("k");
    const keptPod = (revision = "thumbs-h1") => ({
      ...orphan,
      labels: { [PRESERVED_LABEL]: "uid-old" },
      annotations: { "oomscope.dev/revision": revision },
    });
    const seen = (old: MemoryInvestigation, ...more: Observation["pods"]): Observation => ({
      ...opened,
      pods: [...opened.pods, ...more],
      investigations: [old, ...opened.investigations],
    });
    const takes = (seen: Observation): boolean => actions(seen).some((a) => a.kind === "PreservePod");

    test("takes no second one, and says which holds the evidence", () => {
      const again = seen(earlier(), keptPod());
      expect(takes(again)).toBe(false);
      const step = plan(again, NOW).investigations.find((i) => i.investigation.metadata.name === "i");
      expect(step?.status?.conditions?.find((c) => c.type === "PodPreserved")).toMatchObject({
        status: "False",
        reason: "AlreadyKept",
        message: "Pod k of the same revision is kept already, by old; another would show no more",
      });
    });

    test("takes one when the earlier is of another revision, gone, released, or was killed itself", () => {
      expect(takes(seen(earlier(), keptPod("thumbs-h0")))).toBe(true);
      expect(takes(seen(earlier()))).toBe(true);
      expect(takes(seen(earlier({ state: "Released" }), keptPod()))).toBe(true);
      const killed = earlier();
      const kills = (status(opened).kills ?? []).map((k) => ({
        ...k,
        pod: { name: "k", uid: "uid-k" },
        time: at(100),
      }));
      expect(takes(seen({ ...killed, status: { ...killed.status, kills } }, keptPod()))).toBe(true);
    });
  });

  test("never takes another pod when the chosen one is gone", () => {
    const intended = written(opened);
    const seen = { ...intended, pods: [aPod("a"), aPod("c")] };
    expect(status(seen).preserved).toMatchObject({ state: "Lost", pod: "b" });
    expect(actions(written(seen)).some((a) => a.kind === "PreservePod")).toBe(false);
  });

  const holds: [string, string, Partial<Observation>][] = [
    ["one replica", "MinAvailable", { pods: [aPod("b")] }],
    [
      "a StatefulSet",
      "OwnerCannotReplace",
      { pods: [aPod("b", { ownerKind: "StatefulSet" }), aPod("c", { ownerKind: "StatefulSet" })] },
    ],
    [
      "a DaemonSet",
      "OwnerCannotReplace",
      { pods: [aPod("b", { ownerKind: "DaemonSet" }), aPod("c", { ownerKind: "DaemonSet" })] },
    ],
    ["a tight quota", "QuotaTooTight", { surroundings: { ...opened.surroundings, quotaTight: "quota q is full" } }],
    ["selectors that could not be read", "SelectorsUnknown", { surroundings: { exclusiveClaims: [], usageBytes: {} } }],
    [
      "a volume that only one node may mount",
      "VolumeHeld",
      {
        pods: [aPod("b", { claims: ["data"] }), aPod("c", { claims: ["data"] })],
        surroundings: { ...opened.surroundings, exclusiveClaims: ["data"] },
      },
    ],
    [
      "a budget that selects every pod",
      "SelectorInescapable",
      {
        surroundings: {
          ...opened.surroundings,
          selectors: [
            ...(opened.surroundings.selectors ?? []),
            { owner: "PodDisruptionBudget/all", kind: "PodDisruptionBudget", selector: {} },
          ],
        },
      },
    ],
  ];
  test.each(holds)("holds instead of isolating with %s", (_name, reason, over) => {
    const seen = anObservation({ investigations: [anInvestigation("i")], ...over });
    expect(status(seen).preserved).toMatchObject({ how: "Hold", originalLabels: {} });
    expect(status(seen).preserved?.why).toContain(reason);
    expect(actions(seen).find((a) => a.kind === "PreservePod")).toMatchObject({ how: "Hold", labels: {} });
  });

  test("holds when the last look at the ready pods refuses", () => {
    const intended = written(opened);
    const refused = { "uid-i": { action: "PreservePod", reason: "MinAvailable" as const, message: "0 would remain" } };
    expect(status({ ...intended, refused }).preserved).toMatchObject({ how: "Hold" });
  });

  test("touches no pod in mode Observe, nor with strategy None", () => {
    for (const policy of [aPolicy("Observe"), aPolicy("Recommend", { preserve: { strategy: "None" } })]) {
      const seen = { ...opened, policy };
      expect(actions(seen).some((a) => a.kind === "PreservePod" || a.kind === "SetFinalizer")).toBe(false);
      expect(condition(seen, "PodPreserved")?.status).toBe("False");
    }
  });

  const kept = (over: Partial<MemoryInvestigation> = {}): Observation => {
    const preserved = {
      pod: "b",
      uid: "uid-b",
      how: "Isolate" as const,
      state: "Preserved" as const,
      since: at(100),
      until: at(-100),
      why: "w",
      originalLabels: { app: "thumbs" },
      owner: { kind: "ReplicaSet", name: "thumbs-h1", uid: "rs-1" },
    };
    const investigation = anInvestigation("i", { status: { preserved, ledger: [] }, ...over });
    return anObservation({
      pods: [aPod("b", { labels: { [PRESERVED_LABEL]: "uid-i" } }), aPod("c")],
      investigations: [{ ...investigation, metadata: { ...investigation.metadata, finalizers: [FINALIZER] } }],
    });
  };

  test("ends when its ttl has passed, also after the investigation has ended", () => {
    const over = kept();
    const expired = {
      ...over,
      investigations: over.investigations.map((i) => ({
        ...i,
        status: {
          ...i.status,
          result: "Recommended" as const,
          preserved: {
            ...(i.status?.preserved ?? {
              pod: "b",
              uid: "uid-b",
              how: "Isolate" as const,
              state: "Preserved" as const,
              since: at(1),
              why: "w",
            }),
            until: at(1),
          },
          conditions: [
            {
              type: "Succeeded",
              status: "True" as const,
              reason: "Diagnosed",
              message: "m",
              lastTransitionTime: at(50),
            },
          ],
        },
      })),
    };
    expect(actions(expired)).toContainEqual(
      expect.objectContaining({ kind: "ReleasePod", labels: { app: "thumbs" }, ownerExists: true }),
    );
  });

  test("ends when a person asks for it, and when the investigation is deleted", () => {
    const asked = kept();
    const release = asked.investigations.map((i) => ({ ...i, spec: { ...i.spec, release: true } }));
    expect(actions({ ...asked, investigations: release }).map((a) => a.kind)).toContain("ReleasePod");
    const deleted = asked.investigations.map((i) => ({ ...i, metadata: { ...i.metadata, deletionTimestamp: at(1) } }));
    expect(actions({ ...asked, investigations: deleted }).map((a) => a.kind)).toEqual(["ReleasePod"]);
    const released = { ...asked, investigations: deleted, pods: [aPod("b"), aPod("c")] };
    expect(actions(released).map((a) => a.kind)).toEqual(["RemoveGuard", "SetFinalizer"]);
  });

  test("has ended well when the controller takes the released pod before it was seen without our mark", () => {
    const asked = kept();
    const gone = asked.pods.filter((p) => p.labels[PRESERVED_LABEL] === undefined);
    const release = asked.investigations.map((i) => ({ ...i, spec: { ...i.spec, release: true } }));
    expect(status({ ...asked, pods: gone, investigations: release }).preserved?.state).toBe("Released");
    expect(status({ ...asked, pods: gone }).preserved?.state).toBe("Lost");
  });

  test("deletes the pod on release when the controller that owned it is gone", () => {
    const asked = kept();
    const release = asked.investigations.map((i) => ({ ...i, spec: { ...i.spec, release: true } }));
    expect(actions({ ...asked, investigations: release, replicaSets: [] })).toContainEqual(
      expect.objectContaining({ kind: "ReleasePod", ownerExists: false }),
    );
  });
});

describe("an investigation that cannot begin", () => {
  test("says that its target does not exist", () => {
    const seen = anObservation({
      target: undefined,
      pods: [],
      investigations: [anInvestigation("i")],
    });
    expect(condition(seen, "Stalled")).toMatchObject({ status: "True", reason: "TargetNotFound" });
  });

  test("says that the policy it names does not exist", () => {
    const base = anInvestigation("i");
    const seen = anObservation({
      investigations: [{ ...base, spec: { ...base.spec, policyRef: { kind: "MemoryPolicy", name: "x" } } }],
    });
    expect(condition(seen, "Stalled")).toMatchObject({ status: "True", reason: "PolicyNotFound" });
  });

  test("waits for the older one of the same workload", () => {
    const young = anInvestigation("j", { metadata: { ...anInvestigation("j").metadata, creationTimestamp: at(1) } });
    const next = plan(anObservation({ investigations: [anInvestigation("i"), young] }), NOW);
    expect(next.investigations[1]?.status?.conditions?.[0]).toMatchObject({ reason: "AnotherInvestigationActive" });
    expect(next.investigations[1]?.actions).toEqual([]);
  });

  test("starts nothing while it is suspended", () => {
    const base = anInvestigation("i");
    const seen = anObservation({
      pods: killedPods,
      investigations: [{ ...base, spec: { ...base.spec, suspend: true } }],
    });
    expect(actions(seen)).toEqual([]);
    expect(status(seen).stage).toBe("Suspended");
  });
});

describe("collection and end", () => {
  const observing = anObservation({
    pods: killedPods,
    policy: aPolicy("Observe"),
    investigations: [anInvestigation("i")],
  });

  test("measures the pod that was killed first, under its own name and attempt", () => {
    const started = actions(observing).find((a) => a.kind === "CreateCollectionJob");
    expect(started).toMatchObject({ node: "n1", plan: { pods: [{ name: "a" }, { name: "b" }, { name: "c" }] } });
    expect(status(observing).collections?.[0]).toMatchObject({ state: "Intended", attempt: 1 });
    expect(started?.kind === "CreateCollectionJob" && "profile" in started.plan).toBe(false);
  });

  test("a profile is asked for only where the policy says so", () => {
    const collect = { profile: { enabled: true, duration: "20s", frequencyHz: 49 } };
    const policy = aPolicy("Observe", { collect });
    const started = actions({ ...observing, policy }).find((a) => a.kind === "CreateCollectionJob");
    expect(started).toMatchObject({ plan: { profile: { durationMs: 20_000, frequencyHz: 49 } } });
  });

  const job = (over = {}) => ({
    uid: "j1",
    name: "x",
    labels: { "oomscope.dev/investigation-uid": "uid-i" },
    created: at(1),
    active: 1,
    complete: false,
    failed: false,
    ...over,
  });
  const running = (over: Partial<Observation> = {}, jobOver = {}): Observation => {
    const seen = written(observing);
    const id = seen.investigations[0]?.status?.collections?.[0]?.id ?? "";
    return { ...seen, jobs: { [id]: job({ name: id, ...jobOver }) }, ...over };
  };
  const idOf = (seen: Observation): string => seen.investigations[0]?.status?.collections?.[0]?.id ?? "";

  test("shows progress from what has arrived", () => {
    const seen = running();
    const session = { collection: idOf(seen), samples: 3, parts: 2, bytes: 10, closed: false };
    expect(condition({ ...seen, sessions: { [idOf(seen)]: session } }, "EvidenceCollected")?.message).toContain(
      "3 of 31 samples",
    );
  });

  test("is refused a Job of somebody else under its name", () => {
    const seen = running({}, { labels: {} });
    expect(status(seen).collections?.[0]).toMatchObject({ state: "Failed", reason: "NameCollision" });
  });

  test("calls a Job that is gone lost, and never makes it again under its name", () => {
    const made = written(running());
    const gone = { ...made, jobs: {} };
    expect(status(gone).collections?.[0]).toMatchObject({ state: "Lost" });
    const next = actions(written(gone)).find((a) => a.kind === "CreateCollectionJob");
    expect(next).toMatchObject({ plan: { collection: expect.stringMatching(/-2$/) } });
  });

  test("keeps what arrived when the Job dies midway", () => {
    const seen = running({}, { failed: true, failedReason: "DeadlineExceeded" });
    const session = { collection: idOf(seen), samples: 3, parts: 2, bytes: 10, closed: false, context: "End" as const };
    const partial = { ...seen, sessions: { [idOf(seen)]: session } };
    expect(status(partial).collections?.[0]).toMatchObject({
      state: "Partial",
      reason: "CollectorTimedOut",
      samples: 3,
    });
  });

  describe("looks at the surroundings", () => {
    const manifest = { outcome: "Complete" as const, samples: 11, stallMs: 4, cpuMs: 5, sha256: "s", skipped: [] };
    const sessionOf = (seen: Observation, over: Partial<SessionView> = {}): Observation => ({
      ...seen,
      sessions: {
        [idOf(seen)]: { collection: idOf(seen), samples: 11, parts: 4, bytes: 9, closed: true, manifest, ...over },
      },
    });
    const looks = (seen: Observation) => actions(seen).filter((a) => a.kind === "WriteContext");

    test("before the Job is made, at its own namespace's objects only", () => {
      const [look, job] = actions(observing).filter((a) => ["WriteContext", "CreateCollectionJob"].includes(a.kind));
      expect(look).toMatchObject({
        kind: "WriteContext",
        question: {
          stage: "Start",
          namespace: "media",
          target: { kind: "Deployment", name: "thumbs", uid: "d-1" },
          node: "n1",
          podsOmitted: 0,
          logs: [],
        },
      });
      expect(job?.kind).toBe("CreateCollectionJob");
      expect(look?.kind === "WriteContext" && look.question.pods.map((p) => p.name)).toEqual(["a", "b", "c"]);
    });

    test("once at the beginning: an operator that died before the Job was made does not look again", () => {
      const made = { ...running(), jobs: {} };
      expect(looks(made)).toHaveLength(1);
      expect(looks(sessionOf(made, { closed: false, samples: 0, context: "Start" }))).toEqual([]);
    });

    test.each([
      ["closed by its manifest", {}],
      ["cut off by its Job's end", { closed: false, samples: 3 }],
    ])("once more when it is %s, and only then counts as over", (_title, over) => {
      const ran = running({}, "closed" in over ? { failed: true, failedReason: "DeadlineExceeded" } : {});
      const early = sessionOf(ran, { context: "Start", ...over });
      expect(looks(early)).toMatchObject([{ question: { stage: "End" } }]);
      expect(status(early).collections?.[0]?.state).toBe("Intended");
      const unread = sessionOf(ran, { context: "Unread", ...over });
      expect(looks(unread)).toEqual([]);
      expect(status(unread).collections?.[0]?.state).toBe("Intended");
      const late = sessionOf(ran, { context: "End", ...over });
      expect(looks(late)).toEqual([]);
      expect(["Complete", "Partial"]).toContain(status(late).collections?.[0]?.state);
    });

    test("goes on without the last look when the store has no room for it, and says so", () => {
      const refused = { "uid-i": { action: "WriteContext", reason: "StorageFull" as const, message: "no room" } };
      const seen = { ...sessionOf(running(), { context: "Start" }), refused };
      expect(status(seen).collections?.[0]?.state).toBe("Complete");
      expect(plan(seen, NOW).investigations[0]?.notices).toContainEqual({
        type: "Warning",
        reason: "StorageFull",
        message: "no room",
        also: [],
      });
    });

    test("asks for the logs of killed containers only where the policy says so, and the newest kills first", () => {
      const policy = aPolicy("Observe", { collect: { previousLog: { enabled: true, lines: 20 } } });
      const [look] = looks({ ...observing, policy });
      expect(look?.question).toMatchObject({ logLines: 20, logs: [{ pod: "a", uid: "uid-a", container: "app" }] });
    });

    test("asks about a bounded number of pods, the measured and the killed ones first", () => {
      const pods = Array.from({ length: 200 }, (_, i) => aPod(`p${String(i).padStart(3, "0")}`, { node: `n${i % 9}` }));
      const killed = aPod("zz", { node: "n8", containers: [killedContainer(20)] });
      const [look] = looks({ ...observing, pods: [...pods, killed], nodes: { n8: aNode() } });
      expect(look?.question.pods).toHaveLength(16);
      expect(look?.question.pods[0]).toMatchObject({ name: "zz", role: "Serving" });
      expect(look?.question.podsOmitted).toBe(185);
    });
  });

  test.each(["Forbidden", "StorageFull"] as const)("says %s when the Job could not be started", (reason) => {
    const refused = {
      "uid-i": { action: "CreateCollectionJob", reason, message: "the API server or the store said no" },
    };
    const seen = { ...running(), jobs: {}, refused };
    expect(status(seen).collections?.[0]).toMatchObject({
      state: "Failed",
      reason,
      message: "the API server or the store said no",
    });
  });

  test("says that the node is gone", () => {
    expect(status(running({ nodes: {} })).collections?.[0]).toMatchObject({ state: "Failed", reason: "NodeGone" });
  });

  test("fails honestly after the last attempt", () => {
    let seen: Observation = running({}, { failed: true, failedReason: "BackoffLimitExceeded" });
    seen = written(seen);
    seen = { ...written(seen), jobs: {} };
    const second = seen.investigations[0]?.status?.collections?.at(-1)?.id ?? "";
    seen = { ...seen, jobs: { [second]: job({ name: second, failed: true, failedReason: "BackoffLimitExceeded" }) } };
    seen = written(written(seen));
    expect(seen.investigations[0]?.status).toMatchObject({ result: "Failed", stage: "Done" });
    expect(condition(seen, "Succeeded")).toMatchObject({ status: "False", reason: "CollectorFailed" });
    expect(actions(seen)).toEqual([]);
  });

  test("ends with the finding of the pack, and then is quiet", () => {
    const seen = running();
    const id = idOf(seen);
    const manifest = { outcome: "Complete" as const, samples: 11, stallMs: 4, cpuMs: 5, sha256: "s", skipped: [] };
    const closed = written({
      ...seen,
      sessions: { [id]: { collection: id, samples: 11, parts: 4, bytes: 9, closed: true, context: "End", manifest } },
    });
    expect(status(closed).stage).toBe("Diagnosing");
    const finding = {
      id: "0123456789ab",
      verdict: "AnonHeapLeak" as const,
      confidencePercent: 75,
      summary: "s",
      evidence: [],
      counterEvidence: [],
    };
    const ended = written({ ...closed, findings: { [id]: finding } });
    expect(ended.investigations[0]?.status).toMatchObject({
      result: "Recommended",
      stage: "Done",
      finding: { verdict: "AnonHeapLeak" },
      evidence: { parts: 4, expires: "2026-11-30T12:00:00Z" },
    });
    expect(condition(ended, "Succeeded")).toMatchObject({ status: "True", reason: "Diagnosed" });
    expect(actions(ended)).toEqual([]);
    expect(written(ended).investigations).toEqual(ended.investigations);
  });

  test("says where the pack lies once it is in the bucket, or what keeps it from there, also after the end", () => {
    const seen = running();
    const id = idOf(seen);
    const manifest = { outcome: "Complete" as const, samples: 11, stallMs: 4, cpuMs: 5, sha256: "m", skipped: [] };
    const finding = {
      id: "0123456789ab",
      verdict: "AnonHeapLeak" as const,
      confidencePercent: 75,
      summary: "s",
      evidence: [],
      counterEvidence: [],
    };
    const session = {
      collection: id,
      samples: 11,
      parts: 4,
      bytes: 9,
      closed: true,
      context: "End" as const,
      manifest,
    };
    const known = { ...seen, sessions: { [id]: session }, findings: { [id]: finding } };
    const ended = written({ ...written(known), findings: { [id]: finding } });
    const place = { location: `collections/${id}`, parts: 4, bytes: 9, sha256: "m", expires: "2026-11-30T12:00:00Z" };
    expect(status(ended).evidence).toEqual(place);
    expect(status({ ...ended, archives: { other: { problem: "no" } } }).evidence).toEqual(place);

    const problem = "There is no bucket evidence";
    const waiting = written({ ...ended, archives: { [id]: { problem } } });
    expect(waiting.investigations[0]?.status?.evidence).toEqual({ ...place, message: problem });

    const pack = { location: `s3://evidence/${id}/a.tar.zst`, bytes: 5, sha256: "a", expires: "2026-12-23T12:00:00Z" };
    const there = written({ ...waiting, archives: { [id]: { pack } } });
    expect(there.investigations[0]?.status?.evidence).toEqual({ ...pack, parts: 4 });
    // A later operator that knows nothing of it leaves it as it was told.
    expect(status({ ...there, archives: {} }).evidence).toEqual({ ...pack, parts: 4 });
    expect(actions(there)).toEqual([]);
  });

  test("looks for the kernel's report on the node of a pod that has ended", () => {
    const dead = aPod("a", {
      phase: "Failed",
      restartPolicy: "Never",
      containers: [
        aContainer({
          state: { kind: "terminated", reason: "OOMKilled", exitCode: 137, finishedAt: at(20), containerId: "c1" },
        }),
      ],
    });
    expect(actions({ ...observing, pods: [dead] }).find((a) => a.kind === "CreateCollectionJob")).toMatchObject({
      node: "n1",
      plan: { pods: [{ name: "a" }] },
    });
  });

  test("ends honestly when the store has lost the evidence that had arrived", () => {
    const seen = running();
    const id = idOf(seen);
    const manifest = { outcome: "Complete" as const, samples: 11, stallMs: 4, cpuMs: 5, sha256: "s", skipped: [] };
    const closed = written({
      ...seen,
      sessions: { [id]: { collection: id, samples: 11, parts: 4, bytes: 9, closed: true, context: "End", manifest } },
    });
    expect(status({ ...closed, sessions: {} })).toMatchObject({ result: "Failed" });
    expect(condition({ ...closed, sessions: {} }, "Succeeded")?.reason).toBe("CollectorLost");
  });

  test("waits for a pod when none runs", () => {
    const seen = {
      ...observing,
      pods: [aPod("a", { phase: "Pending", containers: [aContainer({ state: { kind: "waiting" } })] })],
    };
    expect(condition(seen, "EvidenceCollected")?.reason).toBe("NothingToMeasure");
  });
});
