/** What does a context part say, and what does it never hold? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Context, MAX_PART_BYTES } from "../../src/api/collection.ts";
import type { ContextAnswers } from "../../src/context/question.ts";
import { clocksOf, nodeFacts } from "../../src/context/node.ts";
import { aRawEvent, aRawPod, aReplicaSet, assembled, TARGET } from "./builders.ts";

const MiB = 2 ** 20;
const firstPod = (context: Context) => context.snapshots?.[0]?.pods[0];
const limitOf = (context: Context) => firstPod(context)?.containers[0]?.memoryLimit;
const app = (over: object = {}) => ({ name: "app", ...over });
const limits = (memory: string) => ({ resources: { limits: { memory } } });

describe("a memory limit comes from", () => {
  const ranger = (text: string) => ({ annotations: { "kubernetes.io/limit-ranger": text } });
  const bare = { ...TARGET, spec: { template: { spec: { containers: [app()] } } } };
  const withoutTemplateLimit = {
    target: bare,
    revisions: [aReplicaSet(2, { spec: { template: { spec: { containers: [app()] } } } })],
  };
  test.each<[string, Partial<ContextAnswers>, object]>([
    ["the template", { pods: [aRawPod("a")] }, { from: "ContainerSpec", bytes: 128 * MiB, templateBytes: 128 * MiB }],
    [
      "a LimitRange",
      {
        ...withoutTemplateLimit,
        pods: [
          aRawPod(
            "a",
            { containers: [app(limits("64Mi"))] },
            {},
            ranger("LimitRanger plugin set: cpu request for container app; cpu, memory limit for container app"),
          ),
        ],
      },
      { from: "LimitRange", bytes: 64 * MiB, templateBytes: undefined },
    ],
    [
      "something else at admission, when the LimitRanger speaks of another container or another resource",
      {
        ...withoutTemplateLimit,
        pods: [
          aRawPod(
            "a",
            { containers: [app(limits("64Mi"))] },
            {},
            ranger(
              "LimitRanger plugin set: memory limit for container app2; cpu limit for container app; memory request for container app",
            ),
          ),
        ],
      },
      { from: "Admission" },
    ],
    [
      "the template, whatever a forged annotation says",
      { pods: [aRawPod("a", {}, {}, ranger("LimitRanger plugin set: memory limit for container app"))] },
      { from: "ContainerSpec" },
    ],
    [
      "the pod itself after a resize, of which the node enforces something else as yet",
      {
        pods: [aRawPod("a", { containers: [app(limits("256Mi"))] }, { containerStatuses: [app(limits("128Mi"))] })],
      },
      {
        from: "ChangedOnPod",
        bytes: 128 * MiB,
        specBytes: 256 * MiB,
        actualBytes: 128 * MiB,
        templateBytes: 128 * MiB,
      },
    ],
    [
      "the pod's level",
      { ...withoutTemplateLimit, pods: [aRawPod("a", { containers: [app()], ...limits("1Gi") })] },
      { from: "PodLevel", bytes: 1024 * MiB, specBytes: undefined },
    ],
    [
      "nowhere",
      { ...withoutTemplateLimit, pods: [aRawPod("a", { containers: [app()] })] },
      { from: "None", bytes: undefined },
    ],
    ["a bare pod's own spec", { target: undefined, revisions: [], pods: [aRawPod("a")] }, { from: "ContainerSpec" }],
  ])("%s", (_title, answers, limit) => {
    expect(limitOf(assembled(answers))).toMatchObject(limit);
  });
});

test("a pod's facts: states, owners by uid, probes without their commands, a resize that waits", () => {
  const pod = aRawPod(
    "a",
    {
      containers: [
        {
          name: "app",
          image: "thumbs:1.2",
          command: ["canary"],
          args: ["canary"],
          env: [{ name: "A", value: "canary" }],
          livenessProbe: { exec: { command: ["canary"] }, periodSeconds: 5, failureThreshold: 3 },
          readinessProbe: { httpGet: { path: "/canary", httpHeaders: [{ name: "x", value: "canary" }] } },
          resources: { requests: { memory: "64Mi", cpu: "250m" }, limits: { memory: "128Mi", cpu: 1 } },
        },
      ],
      initContainers: [app({ name: "proxy", restartPolicy: "Always" }), app({ name: "setup" })],
      volumes: [{ name: "v", secret: { secretName: "canary" } }],
      serviceAccountName: "canary",
    },
    {
      qosClass: "Burstable",
      startTime: "2026-11-29T02:00:01Z",
      podIP: "canary",
      conditions: [
        { type: "Ready", status: "True" },
        { type: "PodResizePending", status: "True", reason: "Deferred", message: "password=canary" },
      ],
      containerStatuses: [
        {
          name: "app",
          imageID: "thumbs@sha256:aa",
          restartCount: 2,
          ready: true,
          containerID: "containerd://c3",
          state: { running: { startedAt: "2026-11-29T03:00:05Z" } },
          lastState: {
            terminated: {
              reason: "OOMKilled",
              exitCode: 137,
              finishedAt: "2026-11-29T03:00:00Z",
              containerID: "containerd://c2",
              message: "canary",
            },
          },
        },
      ],
    },
  );
  const context = assembled({ pods: [pod] });
  expect(JSON.stringify(context)).not.toContain("canary");
  expect(firstPod(context)).toMatchObject({
    qosClass: "Burstable",
    ready: true,
    owners: [
      { kind: "ReplicaSet", name: "thumbs-2", uid: "rs2" },
      { kind: "Deployment", name: "thumbs", uid: "d1" },
    ],
    resize: [{ type: "PodResizePending", reason: "Deferred", message: "password=[redacted:value]" }],
    containers: [
      {
        name: "app",
        type: "Container",
        imageId: "thumbs@sha256:aa",
        restartCount: 2,
        state: { kind: "running", containerId: "c3" },
        last: { kind: "terminated", reason: "OOMKilled", exitCode: 137, containerId: "c2" },
        requests: { memoryBytes: 64 * MiB, cpuMilli: 250 },
        cpuLimitMilli: 1000,
        probes: [
          { kind: "Liveness", handler: "Exec", periodSeconds: 5, failureThreshold: 3 },
          { kind: "Readiness", handler: "HttpGet" },
        ],
      },
      { name: "proxy", type: "Sidecar" },
      { name: "setup", type: "InitContainer" },
    ],
  });
  // Every incarnation is known by its id, so that the readings of each can be named.
  expect(context.pods[0]?.containers.map(({ id }) => id)).toEqual(["c1", "c3", "c2"]);
  expect(context.revisions[0]?.containers).toMatchObject([
    { name: "app", image: "thumbs:1.2", imageIds: ["thumbs@sha256:aa"] },
  ]);
});

describe("a revision became current", () => {
  const history = { "deployment.kubernetes.io/revision-history": "1" };
  const scaled = aRawEvent({
    involvedObject: { kind: "Deployment", name: "thumbs", uid: "d1" },
    reason: "ScalingReplicaSet",
    message: "Scaled up replica set thumbs-2 from 0 to 1",
    firstTimestamp: "2026-11-29T04:00:00Z",
    lastTimestamp: "2026-11-29T04:00:00Z",
    source: { component: "deployment-controller" },
  });
  test("when it was made", () => {
    const { revisions } = assembled({ revisions: [aReplicaSet(1), aReplicaSet(2)] });
    expect(revisions).toMatchObject([
      {
        name: "thumbs-2",
        revision: "2",
        current: true,
        currentSince: { time: "2026-11-29T02:00:00Z", clock: "Server", from: "Created" },
      },
      { name: "thumbs-1", current: false },
    ]);
  });
  test("when it was scaled up from nothing, after a roll-back took it up again", () => {
    const { revisions } = assembled({ revisions: [aReplicaSet(1), aReplicaSet(2, {}, history)], events: [scaled] });
    expect(revisions[0]?.currentSince).toEqual({ time: "2026-11-29T04:00:00Z", clock: "Cluster", from: "ScaledUp" });
  });
  test("nobody knows when, after a roll-back whose event is gone", () => {
    const { revisions } = assembled({ revisions: [aReplicaSet(1), aReplicaSet(2, {}, history)] });
    expect(revisions[0]?.currentSince).toBeUndefined();
  });
  test("by the order of ControllerRevisions, whose numbers move at a roll-back", () => {
    const one = (revision: number, hour: number, name: string) => ({
      revision,
      metadata: {
        name,
        uid: name,
        creationTimestamp: `2026-11-29T0${hour}:00:00Z`,
        ownerReferences: [{ kind: "StatefulSet", name: "thumbs", uid: "d1", controller: true }],
      },
      data: {
        spec: {
          template: { spec: { containers: [{ name: "app", image: `thumbs:${name}`, env: [{ value: "canary" }] }] } },
        },
      },
    });
    const target = { metadata: { name: "thumbs", uid: "d1" }, status: { updateRevision: "old" } };
    const context = assembled(
      { target, revisions: [one(3, 1, "old"), one(2, 2, "bad")] },
      { question: { target: { kind: "StatefulSet", name: "thumbs", uid: "d1" } } },
    );
    expect(context.revisions).toMatchObject([
      { name: "old", current: true, images: ["thumbs:old"] },
      { name: "bad", current: false, currentSince: { time: "2026-11-29T02:00:00Z" } },
    ]);
    expect(context.revisions[0]?.currentSince).toBeUndefined();
    expect(JSON.stringify(context)).not.toContain("canary");
  });
  test("a ReplicaSet of somebody else is none of them, whatever its labels and name", () => {
    const foreign = aReplicaSet(3, {
      metadata: {
        name: "thumbs-3",
        uid: "x",
        annotations: { "deployment.kubernetes.io/revision": "3" },
        ownerReferences: [{ kind: "Deployment", name: "thumbs", uid: "other", controller: true }],
      },
    });
    expect(assembled({ revisions: [foreign, aReplicaSet(2)] }).revisions.map(({ name }) => name)).toEqual(["thumbs-2"]);
  });
});

describe("events", () => {
  const eventsOf = (...events: unknown[]) => assembled({ events }).events;
  test("are sorted, each once, with the counts of those that say the same", () => {
    const late = aRawEvent({ lastTimestamp: "2026-11-29T03:20:00Z", firstTimestamp: "2026-11-29T03:10:00Z", count: 4 });
    const other = aRawEvent({ reason: "BackOff", lastTimestamp: "2026-11-29T03:05:00Z" });
    expect(eventsOf(late, other, aRawEvent(), other)).toMatchObject([
      { reason: "BackOff", count: 1 },
      {
        reason: "Killing",
        count: 5,
        first: "2026-11-29T03:00:00Z",
        last: "2026-11-29T03:20:00Z",
        container: "app",
        clock: "Node",
      },
    ]);
  });
  test("read at both ends of a collection are one", () => {
    const earlier = assembled({ events: [aRawEvent({ count: 2 })] });
    const later = assembled(
      { events: [aRawEvent({ count: 5, lastTimestamp: "2026-11-29T03:20:00Z" })] },
      { question: { stage: "End" }, earlier },
    );
    expect(later.events).toMatchObject([{ count: 5, first: "2026-11-29T03:00:00Z", last: "2026-11-29T03:20:00Z" }]);
  });
  test("of the new kind carry their times elsewhere", () => {
    const event = aRawEvent({
      firstTimestamp: null,
      lastTimestamp: null,
      count: undefined,
      eventTime: "2026-11-29T03:00:00.123456Z",
      series: { count: 7, lastObservedTime: "2026-11-29T03:10:00.000001Z" },
      reportingComponent: "kubelet",
      source: {},
    });
    expect(eventsOf(event)).toMatchObject([
      { count: 7, last: "2026-11-29T03:10:00.000001Z", reporter: "kubelet", clock: "Node" },
    ]);
  });
  test.each<[string, unknown]>([
    ["about an object that was not asked for", aRawEvent({ involvedObject: { kind: "Pod", name: "a", uid: "other" } })],
    ["that bear on neither memory nor a roll-out", aRawEvent({ reason: "FailedMount" })],
    ["of our own", aRawEvent({ reason: "OOMKillObserved" })],
    ["without any time", aRawEvent({ firstTimestamp: null, lastTimestamp: null })],
    ["that are no objects", "canary"],
  ])("are left out %s", (_title, event) => {
    expect(eventsOf(event)).toEqual([]);
    expect(assembled({ events: [event] }).omitted?.["eventsAboutOtherThings"]).toBe(1);
  });
  test("of the node never name another tenant's process", () => {
    const node = { kind: "Node", name: "n1", uid: "n1" };
    const oom = (reason: string) =>
      aRawEvent({ involvedObject: node, reason, message: "Killed process 12 (canary) total-vm:1kB" });
    const other = aRawEvent({ involvedObject: { ...node, name: "n2" }, reason: "EvictionThresholdMet" });
    const context = assembled({ nodeEvents: [oom("SystemOOM"), oom("OOMKilling"), oom("Whatever"), other] });
    expect(context.events?.map(({ reason }) => reason)).toEqual(["OOMKilling", "SystemOOM"]);
    expect(JSON.stringify(context)).not.toContain("canary");
  });
});

test("metrics are those of these very pods", () => {
  const metrics = (name: string, timestamp: string) => ({
    metadata: { name },
    timestamp,
    window: "15.072s",
    containers: [{ name: "app", usage: { memory: "100Mi", cpu: "3162387n" } }],
  });
  const of = (...list: unknown[]) => assembled({ metrics: list }).snapshots?.[0]?.metrics;
  expect(of(metrics("a", "2026-11-29T03:00:00Z"), metrics("b", "2026-11-29T03:00:00Z"))).toEqual([
    {
      pod: "a",
      uid: "uid-a",
      time: "2026-11-29T03:00:00Z",
      windowMs: 15_072,
      containers: [{ name: "app", memoryBytes: 100 * MiB, cpuMilli: 3 }],
    },
  ]);
  // From before the pod was made: another pod had the name.
  expect(of(metrics("a", "2026-11-29T01:00:00Z"))).toEqual([]);
});

describe("the previous log", () => {
  const tail = (text: string, lines = 50) =>
    assembled(
      {
        logs: [{ pod: "a", uid: "uid-a", container: "app", text }],
        pods: [
          aRawPod(
            "a",
            {},
            { containerStatuses: [app({ lastState: { terminated: { containerID: "containerd://c0" } } })] },
          ),
        ],
      },
      { question: { logLines: lines } },
    ).logs?.[0];
  test("is its last lines, without what looks like a secret", () => {
    expect(tail("one\ntwo\nlogin password=canary\n\n", 2)).toEqual({
      pod: "a",
      uid: "uid-a",
      container: "app",
      containerId: "c0",
      lines: ["two", "login password=[redacted:value]"],
      linesOmitted: 1,
      redactions: 1,
    });
  });
  test("has no line that the API server cut in the middle", () => {
    const kept = tail(`first\n${"x".repeat(64 * 1024)}`);
    expect(kept).toMatchObject({ lines: ["first"], linesOmitted: 1 });
  });
  test("that the node no longer has is skipped, and the kubelet's excuse is no line of it", () => {
    const text = "unable to retrieve container logs for containerd://227e6e9c77d397d7f1bbc8cce227938737aa6bc99709be06";
    const context = assembled({ logs: [{ pod: "a", uid: "uid-a", container: "app", text }] });
    expect(context.logs).toEqual([]);
    expect(context.snapshots?.[0]?.skipped).toEqual([
      { what: "previous log of app of a", reason: "Gone", detail: "the node no longer has it" },
    ]);
  });
  test("is bounded in lines and bytes", () => {
    const kept = tail("word ".repeat(199).concat("\n").repeat(60));
    expect(kept?.lines.join("\n").length).toBeLessThanOrEqual(16 * 1024);
    expect(kept?.lines.every((line) => line.length <= 1024)).toBe(true);
    expect(kept?.lines.length).toBeGreaterThan(10);
  });
  test("of one incarnation is kept as it was read first", () => {
    const log = (text: string) => ({ logs: [{ pod: "a", uid: "uid-a", container: "app", text }] });
    const earlier = assembled(log("early"));
    expect(assembled(log("late"), { question: { stage: "End" }, earlier }).logs?.map(({ lines }) => lines)).toEqual([
      ["early"],
    ]);
  });
});

describe("the clocks of node and API server", () => {
  const node = (heartbeat: string, written: string | undefined) => ({
    metadata: {
      name: "n1",
      managedFields: [
        { manager: "kubelet", time: "2026-11-29T01:00:00Z" },
        ...(written === undefined ? [] : [{ manager: "kubelet", subresource: "status", time: written }]),
      ],
    },
    status: {
      conditions: [
        { type: "Ready", status: "True", lastHeartbeatTime: heartbeat },
        { type: "NetworkUnavailable", status: "False", lastHeartbeatTime: "2026-11-29T09:00:00Z" },
      ],
    },
  });
  test.each<[string, string, number, number]>([
    ["agree", "2026-11-29T03:00:00Z", -1000, 2000],
    ["are an hour apart", "2026-11-29T02:00:00Z", 3_599_000, 3_602_000],
  ])("%s", (_title, written, low, high) => {
    expect(clocksOf(node("2026-11-29T03:00:00Z", written))).toEqual({ nodeAheadOfServerMs: { low, high } });
  });
  test("cannot be compared, and why", () => {
    expect(clocksOf(undefined).unknown).toContain("could not be read");
    expect(clocksOf(node("2026-11-29T03:00:00Z", undefined)).unknown).toContain("when the kubelet last wrote");
    expect(clocksOf({ metadata: { name: "n1" } }).unknown).toContain("no heartbeat");
  });
  test("decide where the API server's times stand among the node's", () => {
    const kill = {
      time: "2026-11-29T03:00:30Z",
      pod: { name: "a", uid: "uid-a" },
      container: "app",
      classification: "ContainerKilled",
    };
    // Made at 02:00:00 by a server whose clock is an hour behind the node's: that is after the restart at 02:59, and before the kill.
    const made = aReplicaSet(2);
    const context = assembled(
      { node: node("2026-11-29T03:00:00Z", "2026-11-29T02:00:00Z"), revisions: [made] },
      { base: { kills: [kill] } },
    );
    expect(context.timeline?.map(({ kind }) => kind)).toEqual(["Rollout", "Kill", "Snapshot"]);
    expect(context.clocks?.nodeAheadOfServerMs?.low).toBe(3_599_000);
  });
});

test("a node's facts hold no address, no label and no other tenant's word", () => {
  const facts = nodeFacts({
    metadata: { name: "n1", uid: "u", labels: { canary: "canary" }, annotations: { canary: "canary" } },
    spec: {
      unschedulable: true,
      podCIDR: "canary",
      taints: [
        { key: "node.kubernetes.io/memory-pressure" },
        { key: "canary.example.org/x" },
        { key: "notkubernetes.io/canary" },
      ],
    },
    status: {
      addresses: [{ address: "canary" }],
      images: [{ names: ["canary"] }],
      allocatable: { memory: "3Gi" },
      capacity: { memory: "4Gi" },
      nodeInfo: { kubeletVersion: "v1.36.2", machineID: "canary", bootID: "canary", swap: { capacity: 5 } },
      conditions: [
        {
          type: "MemoryPressure",
          status: "False",
          reason: "KubeletHasSufficientMemory",
          message: "canary",
          lastTransitionTime: "2026-11-29T01:00:00Z",
        },
      ],
    },
  });
  expect(facts).toMatchObject({
    allocatableMemoryBytes: 3072 * MiB,
    swapBytes: 5,
    unschedulable: true,
    taints: ["node.kubernetes.io/memory-pressure"],
  });
  expect(JSON.stringify(facts)).not.toContain("canary");
});

describe("the timeline", () => {
  const running = (at: string, restarts: number) => ({
    containerStatuses: [
      app({
        restartCount: restarts,
        state: { running: { startedAt: at } },
        lastState: { terminated: { reason: "OOMKilled", exitCode: 137, finishedAt: "2026-11-29T03:00:00Z" } },
      }),
    ],
  });
  const kill = {
    time: "2026-11-29T03:00:00Z",
    pod: { name: "a", uid: "uid-a" },
    container: "app",
    classification: "ContainerKilled",
    exitCode: 137,
    limitBytes: 128 * MiB,
    victim: { comm: "thumbs" },
  };
  const metric = {
    metadata: { name: "a" },
    timestamp: "2026-11-29T02:59:00Z",
    containers: [{ name: "app", usage: { memory: "100Mi" } }],
  };

  test("holds kills, roll-outs, restarts, events and metrics in order, each once", () => {
    const answers = {
      pods: [aRawPod("a", {}, running("2026-11-29T03:00:02Z", 1))],
      metrics: [metric],
      events: [
        aRawEvent({
          reason: "Unhealthy",
          message: "Readiness probe failed",
          type: "Warning",
          lastTimestamp: "2026-11-29T03:00:01Z",
        }),
      ],
    };
    const earlier = assembled(answers, { base: { kills: [kill] } });
    const context = assembled(
      { ...answers, time: "2026-11-29T03:31:00.000Z" },
      { base: { kills: [kill] }, question: { stage: "End" }, earlier },
    );
    expect(
      context.timeline?.map(
        ({ kind, text, bytes }) => `${kind} ${text}${bytes === undefined ? "" : ` ${bytes / MiB}`}`,
      ),
    ).toEqual([
      "Rollout Revision 1 (thumbs-1) was made: thumbs:1.1",
      "Rollout Revision 2 (thumbs-2) was made: thumbs:1.2",
      "Metrics Working set by metrics.k8s.io 100",
      "Kill ContainerKilled, exit code 137, the kernel chose thumbs 128",
      "Event ! Unhealthy: Readiness probe failed",
      "Restart Started again (restart 1)",
      "Snapshot The collection was about to begin",
      "Snapshot The collection had ended",
    ]);
  });
});

describe("bounds", () => {
  test("10,000 events, 5 MB of annotations, pods with 200 containers: the newest stay, and what was left out is counted", () => {
    const events = Array.from({ length: 10_000 }, (_, i) =>
      aRawEvent({
        message: `${i} ${"x y ".repeat(2000)}`,
        lastTimestamp: new Date(Date.UTC(2026, 10, 29, 1, 0, i)).toISOString(),
      }),
    );
    const containers = Array.from({ length: 200 }, (_, i) => ({ name: `c${i}`, image: "i".repeat(5000) }));
    const annotations = { big: "x".repeat(5 * MiB), "kubernetes.io/limit-ranger": "memory ".repeat(700_000) };
    const pods = Array.from({ length: 16 }, (_, i) =>
      aRawPod(`p${i}`, { containers }, { reason: "r".repeat(9999) }, { annotations }),
    );
    const answers = {
      events,
      pods,
      revisions: Array.from({ length: 500 }, (_, i) => aReplicaSet(i % 9)),
      logs: Array.from({ length: 4 }, (_, i) => ({
        pod: `p${i}`,
        uid: `uid-p${i}`,
        container: "c0",
        text: "word\n".repeat(13_000),
      })),
      skipped: Array.from({ length: 5000 }, (_, i) => ({ what: `w${i}`, reason: "R", detail: "d ".repeat(5000) })),
    };
    const question = { pods: pods.map((_, i) => ({ name: `p${i}`, uid: `uid-p${i}` })) };
    const subject = { pods: [{ name: "a", uid: "uid-a" }, ...question.pods].slice(0, 16) };
    const earlier = assembled(answers, { question: subject });
    const context = assembled(answers, { question: { ...subject, stage: "End" }, earlier });
    expect(context.events).toHaveLength(300);
    expect(context.events?.at(-1)?.message).toMatch(/^9999 /);
    expect(context.omitted?.["eventsOverCap"]).toBeGreaterThanOrEqual(9_700);
    expect(context.timeline?.length).toBeLessThanOrEqual(500);
    expect(context.snapshots?.[0]?.pods[0]?.containers).toHaveLength(32);
    expect(context.snapshots?.[0]?.skipped).toHaveLength(64);
    expect(JSON.stringify(context).length).toBeLessThan(MAX_PART_BYTES / 4);
    expect(Context.parse(JSON.parse(JSON.stringify(context)))).toBeDefined();
  }, 60_000);

  test("whatever the API server sends, the part is written in the form that readers take", () => {
    const anything = fc.anything({ maxDepth: 4, withNullPrototype: false });
    const shaped = fc.oneof(
      anything,
      fc.record(
        { metadata: anything, spec: anything, status: anything, involvedObject: anything, containers: anything },
        { requiredKeys: [] },
      ),
      fc.record({
        metadata: fc.record({ name: anything, uid: fc.constant("uid-a") }),
        spec: anything,
        status: fc.record({ conditions: anything, containerStatuses: fc.array(anything) }),
      }),
    );
    const many = fc.array(shaped, { maxLength: 3 });
    fc.assert(
      fc.property(many, shaped, shaped, many, many, (pods, target, node, events, rest) => {
        const context = assembled({
          pods,
          target,
          node,
          events,
          nodeEvents: events,
          revisions: rest,
          metrics: rest,
          autoscalers: rest,
          budgets: rest,
          limitRanges: rest,
        });
        const written = JSON.parse(JSON.stringify(context)) as unknown;
        expect(Context.parse(written)).toEqual(written);
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});
