/** Objects that tests of the contract share: the samples, and a status in which every field is set. */
import { readFileSync, readdirSync } from "node:fs";
import { parse } from "yaml";
import type { MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";

export interface Sample {
  readonly file: string;
  readonly object: {
    readonly kind: string;
    readonly metadata: { name: string; namespace?: string };
    readonly spec: unknown;
  };
}

const SAMPLES = new URL("../../config/samples/", import.meta.url);

export function samples(): readonly Sample[] {
  return readdirSync(SAMPLES)
    .filter((file) => file.endsWith(".yaml") && file !== "kustomization.yaml")
    .map((file) => ({ file, object: parse(readFileSync(new URL(file, SAMPLES), "utf8")) as Sample["object"] }));
}

const TIME = "2026-03-01T03:12:45Z";
const condition = { status: "True", observedGeneration: 1, lastTransitionTime: TIME, message: "For people" } as const;
const line = { signal: "anon", value: "123456", unit: "bytes", threshold: "0", part: "readings-0000.ndjson:3" };

/** Every field of the schema is set: a test compares it with the schema. */
export const FULL_STATUS: MemoryInvestigationStatus = {
  observedGeneration: 1,
  leaderEpoch: 3,
  stage: "Done",
  result: "Mitigated",
  conditions: [
    { ...condition, type: "Succeeded", reason: "RolledBack" },
    { ...condition, type: "Mitigated", reason: "RolledBack" },
    { ...condition, type: "PodPreserved", reason: "Isolated" },
    { ...condition, type: "EvidenceCollected", reason: "CollectionComplete" },
  ],
  policy: { kind: "MemoryPolicy", name: "thumbnails", generation: 4, mode: "Recommend" },
  targetUid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a001",
  killCount: 2,
  killsByPod: "2 kills of 2 pods on 1 node",
  kills: [
    {
      id: "0123456789ab",
      pod: { name: "thumbnail-svc-7d9c-x2x4q", uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a002" },
      container: "thumbnail",
      containerType: "Container",
      containerId: "ab".repeat(32),
      node: "worker-1",
      time: TIME,
      restartCount: 1,
      exitCode: 137,
      limitBytes: 536870912,
      revision: "7d9c",
      classification: "ContainerKilled",
      sources: ["PodStatus", "KernelLog"],
      victim: { pid: 4711, comm: "worker", anonBytes: 530000000, bootMs: 86412345, time: TIME },
    },
    {
      id: "ba9876543210",
      pod: { name: "thumbnail-svc-7d9c-b8vlm", uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a003" },
      time: TIME,
      classification: "Evicted",
      sources: ["Eviction"],
    },
  ],
  ledger: ["0123456789ab", "ba9876543210"],
  preserved: {
    pod: "thumbnail-svc-7d9c-k4k2z",
    uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a004",
    node: "worker-1",
    how: "Isolate",
    state: "Preserved",
    since: TIME,
    until: "2026-03-02T03:12:45Z",
    why: "Closest to its limit: 93 %",
    cannotShow: "Growth under load",
    owner: { kind: "ReplicaSet", name: "thumbnail-svc-7d9c", uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a005" },
    originalLabels: { app: "thumbnail-svc", "app.kubernetes.io/part-of": "media", empty: "" },
    candidates: [
      { pod: "thumbnail-svc-7d9c-k4k2z", score: 93, reason: "Closest to its limit" },
      { pod: "thumbnail-svc-7d9c-b8vlm", score: -1, reason: "Ended" },
    ],
  },
  collections: [
    {
      id: "oomc-0123456789-1",
      purpose: "Diagnose",
      attempt: 1,
      state: "Complete",
      job: "oomc-0123456789-1",
      jobUid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a006",
      node: "worker-1",
      pods: [
        { name: "thumbnail-svc-7d9c-k4k2z", uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a004", role: "Preserved" },
        { name: "thumbnail-svc-7d9c-x2x4q", uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a002", role: "Serving" },
      ],
      requested: TIME,
      started: TIME,
      finished: TIME,
      samples: 11,
      samplesExpected: 11,
      cost: { stallMs: 42, cpuMs: 900 },
      reason: "CollectionComplete",
      message: "All 11 samples",
    },
  ],
  finding: {
    id: "3f9c0a1b2c4d",
    verdict: "AnonHeapLeak",
    subKind: "Brk",
    confidencePercent: 87,
    summary: "Anonymous memory of worker grows by 1.2 MiB/s",
    culprit: {
      container: "thumbnail",
      pod: "thumbnail-svc-7d9c-x2x4q",
      process: { pid: 4711, comm: "worker", startTicks: 884213, parents: [{ pid: 4700, comm: "gunicorn" }] },
      mapping: "[heap]",
      library: "libimgdecode.so",
      function: "tiff_decode_tiles",
      functionSource: "SymbolTable",
      revision: "7d9c",
    },
    growth: { series: "cgroup anon", bytesPerSecond: 1258291, low: -1, high: 1400000 },
    growthByKind: [{ kind: "anon", bytes: 377487360, bytesPerSecond: 1258291, trend: "Growing" }],
    growthByProcess: [
      {
        pid: 4711,
        comm: "worker",
        container: "thumbnail",
        bytes: 377487360,
        bytesPerSecond: 1258291,
        sharePercent: 100,
      },
    ],
    timeToOOMSeconds: { low: 100, mid: 120, high: 150 },
    evidence: [line],
    counterEvidence: [{ ...line, signal: "file" }],
    runnerUp: { verdict: "ManagedHeapGrowth", confidencePercent: 10 },
    limits: ["No profile was taken"],
  },
  mitigations: [
    {
      action: "Rollback",
      state: "Done",
      reason: "RolledBack",
      message: "went back from thumbnail-svc-7d9c to thumbnail-svc-5b1c",
      finding: "3f9c0a1b2c4d",
      since: TIME,
      intended: TIME,
      applied: TIME,
      finished: TIME,
      approvedBy: "Person",
      target: {
        kind: "Deployment",
        name: "thumbnail-svc",
        uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a001",
        resourceVersion: "4711",
        generation: 7,
      },
      before: {
        revision: "thumbnail-svc-7d9c",
        uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a005",
        number: 2,
        templateHash: "ab".repeat(32),
        images: ["thumbnail:2"],
      },
      after: {
        revision: "thumbnail-svc-5b1c",
        uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a007",
        number: 1,
        templateHash: "cd".repeat(32),
        images: ["thumbnail:1"],
      },
      why: "thumbnail-svc-5b1c was the newest for 86400 s, and no kill of it is on record",
      command: "kubectl -n media rollout undo deployment/thumbnail-svc --to-revision=1",
      patch: '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"thumbnail:1"}]',
      undoCommand: "kubectl -n media rollout undo deployment/thumbnail-svc --to-revision=2",
      undoPatch: '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"thumbnail:2"}]',
    },
    {
      action: "Resize",
      state: "Undone",
      reason: "Undone",
      message: "1 of 1 pods have the limit of 67108864 bytes in force",
      finding: "3f9c0a1b2c4d",
      since: TIME,
      changes: [
        {
          kind: "Pod",
          name: "thumbnail-svc-5b1c-x",
          uid: "0f8d9d0e-5b1c-4b0e-9c36-2f9f5ae7a009",
          container: "app",
          field: "limits.memory",
          before: "67108864",
          after: "100663296",
          applied: TIME,
        },
      ],
      validated: "Fail",
      undo: {
        state: "Undone",
        reason: "Undone",
        message: "1 of 1 pods have the limit of 67108864 bytes in force",
        since: TIME,
        askedBy: "Person",
        intended: TIME,
        applied: TIME,
      },
    },
  ],
  validation: {
    action: "Rollback",
    started: TIME,
    until: "2026-03-01T04:12:45Z",
    checks: [
      {
        name: "MemoryGrowth",
        result: "Pass",
        required: true,
        before: 1258291,
        after: -12,
        unit: "bytes per second of CPU time",
        detail: "anon + swap of thumbnail stands still under 97 % of the former load",
      },
    ],
  },
  evidence: {
    message: "There is no bucket evidence",
    location: "collections/oomc-0123456789-1",
    parts: 4,
    bytes: 123456,
    sha256: "cd".repeat(32),
    expires: "2026-03-08T03:12:45Z",
  },
  notified: ["slack/Opened", "webhook/Diagnosed:3f9c0a1b2c4d"],
  timeline: [
    { time: TIME, event: "ContainerKilled", message: "thumbnail of thumbnail-svc-7d9c-x2x4q on worker-1" },
    { time: TIME, event: "Isolated", message: "Pod thumbnail-svc-7d9c-k4k2z is kept" },
  ],
};
