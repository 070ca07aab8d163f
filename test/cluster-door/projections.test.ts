import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createInterner } from "../../src/cluster/interning.ts";
import { projectPod, projectReplicaSet, projectWorkload, wholeObject } from "../../src/cluster/projections.ts";

const metadata = {
  uid: "u-1",
  namespace: "media",
  name: "thumbnail-7d9-x",
  resourceVersion: "42",
  creationTimestamp: "2026-01-01T00:00:00Z",
  deletionTimestamp: "2026-01-02T00:00:00Z",
  labels: { app: "thumbnail" },
  annotations: { "oomscope.dev/kept": "yes", "kubectl.kubernetes.io/secretive": "password" },
  ownerReferences: [
    { kind: "Node", name: "not-the-controller", uid: "x" },
    { kind: "ReplicaSet", name: "thumbnail-7d9", uid: "u-rs", controller: true },
  ],
};

const pod = {
  metadata,
  spec: {
    nodeName: "node-1",
    restartPolicy: "Always",
    volumes: [
      { name: "data", persistentVolumeClaim: { claimName: "claim-1" } },
      { name: "scratch", ephemeral: { volumeClaimTemplate: {} } },
      { name: "tmp", emptyDir: {} },
    ],
    containers: [
      {
        name: "main",
        env: [{ name: "PASSWORD", value: "hunter2" }],
        resources: { limits: { memory: "512Mi" }, requests: { memory: 1024 } },
      },
      { name: "unlimited" },
    ],
    initContainers: [{ name: "setup" }, { name: "proxy", restartPolicy: "Always" }],
    ephemeralContainers: [{ name: "debugger" }],
  },
  status: {
    phase: "Running",
    reason: "Evicted",
    message: "x".repeat(5_000),
    qosClass: "Burstable",
    startTime: "2026-01-01T00:00:05Z",
    conditions: [
      { type: "Initialized", status: "True" },
      { type: "Ready", status: "True" },
    ],
    containerStatuses: [
      {
        name: "main",
        containerID: "containerd://abc",
        restartCount: 3,
        ready: true,
        started: true,
        resources: { limits: { memory: "768Mi" } },
        state: { running: { startedAt: "2026-01-01T01:00:00Z" } },
        lastState: {
          terminated: {
            reason: "OOMKilled",
            exitCode: 137,
            startedAt: "2026-01-01T00:00:10Z",
            finishedAt: "2026-01-01T00:59:59Z",
            containerID: "containerd://old",
          },
        },
      },
    ],
    initContainerStatuses: [
      { name: "setup", restartCount: 0, state: { terminated: { exitCode: 0, reason: "Completed" } } },
    ],
  },
};

describe("projectPod", () => {
  test("keeps what a resize in place rests on", () => {
    const resizing = {
      metadata: { uid: "u", name: "p" },
      spec: {
        containers: [
          {
            name: "app",
            resources: { limits: { memory: "96Mi" }, requests: { memory: "32Mi" } },
            resizePolicy: [
              { resourceName: "cpu", restartPolicy: "NotRequired" },
              { resourceName: "memory", restartPolicy: "RestartContainer" },
            ],
          },
        ],
      },
      status: {
        conditions: [
          { type: "PodResizePending", status: "True", reason: "Infeasible", message: "m".repeat(999) },
          { type: "PodResizeInProgress", status: "True" },
        ],
        containerStatuses: [{ name: "app", resources: { limits: { memory: "64Mi" }, requests: { memory: "16Mi" } } }],
      },
    };
    const view = projectPod(resizing);
    expect(view?.resize).toEqual({ type: "Pending", reason: "Infeasible", message: "m".repeat(256) });
    expect(view?.containers[0]).toMatchObject({
      limitBytes: 64 << 20,
      enforcedLimitBytes: 64 << 20,
      specLimitBytes: 96 << 20,
      specRequestBytes: 32 << 20,
      restartsOnResize: true,
    });
    const { status: _, ...quiet } = resizing;
    const plain = projectPod(quiet)?.containers[0];
    expect([plain?.limitBytes, plain?.enforcedLimitBytes, plain?.specLimitBytes]).toEqual([
      96 << 20,
      undefined,
      undefined,
    ]);
  });

  test("keeps what decisions rest on", () => {
    expect(projectPod(pod)).toEqual({
      uid: "u-1",
      namespace: "media",
      name: "thumbnail-7d9-x",
      resourceVersion: "42",
      creationTimestamp: "2026-01-01T00:00:00Z",
      deletionTimestamp: "2026-01-02T00:00:00Z",
      labels: { app: "thumbnail" },
      annotations: { "oomscope.dev/kept": "yes" },
      ownerKind: "ReplicaSet",
      ownerName: "thumbnail-7d9",
      ownerUid: "u-rs",
      node: "node-1",
      phase: "Running",
      reason: "Evicted",
      message: "x".repeat(1024),
      qosClass: "Burstable",
      startTime: "2026-01-01T00:00:05Z",
      ready: true,
      restartPolicy: "Always",
      claims: ["claim-1", "thumbnail-7d9-x-scratch"],
      containers: [
        {
          name: "main",
          type: "Container",
          // What the node enforces after a resize, not what the spec asks for.
          limitBytes: 768 * 1024 * 1024,
          enforcedLimitBytes: 768 * 1024 * 1024,
          specLimitBytes: 512 * 1024 * 1024,
          requestBytes: 1024,
          containerId: "abc",
          restartCount: 3,
          ready: true,
          state: { kind: "running", startedAt: "2026-01-01T01:00:00Z" },
          last: {
            kind: "terminated",
            reason: "OOMKilled",
            exitCode: 137,
            startedAt: "2026-01-01T00:00:10Z",
            finishedAt: "2026-01-01T00:59:59Z",
            containerId: "old",
          },
        },
        { name: "unlimited", type: "Container", restartCount: 0, ready: false, state: { kind: "waiting" } },
        {
          name: "setup",
          type: "InitContainer",
          restartCount: 0,
          ready: false,
          state: { kind: "terminated", reason: "Completed", exitCode: 0 },
        },
        { name: "proxy", type: "Sidecar", restartCount: 0, ready: false, state: { kind: "waiting" } },
        { name: "debugger", type: "EphemeralContainer", restartCount: 0, ready: false, state: { kind: "waiting" } },
      ],
    });
  });

  test("keeps no environment and no foreign annotation", () => {
    expect(JSON.stringify(projectPod(pod))).not.toMatch(/hunter2|password/);
  });

  test("takes a pod that has nothing but a name", () => {
    expect(projectPod({ metadata: { uid: "u", name: "p" } })).toMatchObject({
      namespace: "",
      containers: [],
      ready: false,
    });
  });

  test("leaves out what has no identity", () => {
    expect(projectPod({ metadata: { name: "p" } })).toBeUndefined();
    expect(projectPod({})).toBeUndefined();
  });

  test("leaves a limit out that is no quantity, and never makes it up", () => {
    const odd = { metadata, spec: { containers: [{ name: "main", resources: { limits: { memory: "much" } } }] } };
    expect(projectPod(odd)?.containers[0]?.limitBytes).toBeUndefined();
  });

  test("matches 200 statuses to 200 containers by name, in any order", () => {
    const names = Array.from({ length: 200 }, (_, i) => `c-${i}`);
    const statuses = names.map((name, restartCount) => ({ name, restartCount })).toReversed();
    const view = projectPod({
      metadata,
      spec: { containers: names.map((name) => ({ name })) },
      status: { containerStatuses: statuses },
    });
    expect(view?.containers.map((container) => container.restartCount)).toEqual(names.map((_, i) => i));
  });
});

test("projectReplicaSet keeps the revision, the owner and the images", () => {
  const raw = {
    metadata: {
      ...metadata,
      labels: { "pod-template-hash": "7d9" },
      annotations: { "deployment.kubernetes.io/revision": "4" },
      ownerReferences: [{ kind: "Deployment", name: "thumbnail", uid: "u-d", controller: true }],
    },
    spec: {
      replicas: 3,
      template: {
        spec: { containers: [{ name: "main", image: "thumb:2" }], initContainers: [{ name: "i", image: "init:1" }] },
      },
    },
    status: { readyReplicas: 2 },
  };
  expect(projectReplicaSet(raw)).toMatchObject({
    ownerKind: "Deployment",
    ownerUid: "u-d",
    revision: "4",
    podTemplateHash: "7d9",
    replicas: 3,
    readyReplicas: 2,
    images: ["thumb:2", "init:1"],
  });
});

test.each([
  ["Deployment", { spec: { replicas: 3 }, status: { readyReplicas: 2 } }, 3, 2],
  ["Deployment", {}, 1, 0],
  ["Deployment", { spec: { replicas: 0 } }, 0, 0],
  ["StatefulSet", { spec: { replicas: 2 }, status: { readyReplicas: 2 } }, 2, 2],
  ["DaemonSet", { status: { desiredNumberScheduled: 7, numberReady: 6 } }, 7, 6],
  ["DaemonSet", {}, 0, 0],
  ["Job", { spec: { parallelism: 4 }, status: { ready: 3 } }, 4, 3],
] as const)("projectWorkload counts the replicas of a %s: %j", (kind, raw, replicas, readyReplicas) => {
  expect(projectWorkload(kind, { metadata, ...raw })).toMatchObject({ kind, replicas, readyReplicas });
});

test("wholeObject keeps the object as it is", () => {
  expect(wholeObject(pod)).toEqual({
    uid: "u-1",
    namespace: "media",
    name: "thumbnail-7d9-x",
    resourceVersion: "42",
    raw: pod,
  });
});

describe("an interner", () => {
  test("gives back what equals what it was given, whatever it holds, and the same object for the same", () => {
    const intern = createInterner(5);
    const record = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 });
    fc.assert(
      fc.property(record, fc.array(fc.string(), { maxLength: 3 }), (labels, list) => {
        const entries = Object.entries(labels);
        expect(Object.entries(intern.record({ ...labels }))).toEqual(entries);
        expect(intern.record({ ...labels })).toBe(intern.record(Object.fromEntries(entries)));
        expect(intern.list([...list])).toEqual(list);
        expect(intern.list([...list])).toBe(intern.list([...list]));
      }),
    );
  });

  test("keeps a label named __proto__ a label", () => {
    const labels = createInterner().record(JSON.parse('{"__proto__":"x","a":"b"}') as Record<string, string>);
    expect(Object.entries(labels)).toEqual([
      ["__proto__", "x"],
      ["a", "b"],
    ]);
  });
});
