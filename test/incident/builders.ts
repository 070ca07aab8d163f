/** Small honest examples of what the API server shows, for tables of decisions. */
import type { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import type { ContainerView, EffectivePolicy, Observation, PodView } from "../../src/incident/observation.ts";
import { ClusterMemoryPolicySpec } from "../../src/api/memorypolicy.ts";

export const NOW = new Date("2026-11-23T12:00:00Z");

export function at(secondsAgo: number): string {
  return new Date(NOW.getTime() - secondsAgo * 1000).toISOString().replace(".000Z", "Z");
}

export function aContainer(over: Partial<ContainerView> = {}): ContainerView {
  return {
    name: "app",
    type: "Container",
    limitBytes: 100 << 20,
    containerId: "c1",
    restartCount: 0,
    ready: true,
    state: { kind: "running", startedAt: at(300) },
    ...over,
  };
}

/** A container that was OOM-killed `secondsAgo` and runs again. */
export function killedContainer(secondsAgo: number, over: Partial<ContainerView> = {}): ContainerView {
  return aContainer({
    restartCount: 1,
    containerId: "c2",
    state: { kind: "running", startedAt: at(secondsAgo - 1) },
    last: { kind: "terminated", reason: "OOMKilled", exitCode: 137, finishedAt: at(secondsAgo), containerId: "c1" },
    ...over,
  });
}

export function aPod(name: string, over: Partial<PodView> = {}): PodView {
  return {
    uid: `uid-${name}`,
    namespace: "media",
    name,
    resourceVersion: "10",
    labels: { app: "thumbs", "pod-template-hash": "h1" },
    annotations: {},
    ownerKind: "ReplicaSet",
    ownerName: "thumbs-h1",
    ownerUid: "rs-1",
    node: "n1",
    phase: "Running",
    ready: true,
    restartPolicy: "Always",
    claims: [],
    containers: [aContainer()],
    ...over,
  };
}

export function aPolicy(
  mode: "Observe" | "Recommend" | "Enforce",
  over: Record<string, unknown> = {},
): EffectivePolicy {
  return {
    kind: "ClusterMemoryPolicy",
    name: "p",
    generation: 1,
    mode,
    spec: ClusterMemoryPolicySpec.parse({ mode, ...over }),
    losers: [],
  };
}

export function anInvestigation(name: string, over: Partial<MemoryInvestigation> = {}): MemoryInvestigation {
  return {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: {
      name,
      namespace: "media",
      uid: `uid-${name}`,
      resourceVersion: "1",
      generation: 1,
      creationTimestamp: at(60),
    },
    spec: {
      targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" },
      suspend: false,
      release: false,
    },
    ...over,
  };
}

export function anObservation(over: Partial<Observation> = {}): Observation {
  return {
    key: { namespace: "media", kind: "Deployment", name: "thumbs" },
    target: {
      uid: "d-1",
      namespace: "media",
      kind: "Deployment",
      name: "thumbs",
      generation: 1,
      replicas: 3,
      images: ["thumbs:1"],
    },
    pods: [aPod("a"), aPod("b"), aPod("c")],
    replicaSets: [
      {
        uid: "rs-1",
        namespace: "media",
        name: "thumbs-h1",
        ownerKind: "Deployment",
        ownerName: "thumbs",
        ownerUid: "d-1",
        revision: "1",
        replicas: 3,
        images: ["thumbs:1"],
      },
    ],
    investigations: [],
    policy: aPolicy("Recommend"),
    namedPolicies: {},
    jobs: {},
    collectorPods: {},
    sessions: {},
    archives: {},
    findings: {},
    kernelVictims: {},
    nodes: { n1: { ready: true } },
    surroundings: {
      selectors: [
        {
          owner: "ReplicaSet/thumbs-h1",
          kind: "ReplicaSet",
          selector: { matchLabels: { app: "thumbs", "pod-template-hash": "h1" } },
        },
        { owner: "Service/thumbs", kind: "Service", selector: { matchLabels: { app: "thumbs" } } },
      ],
      exclusiveClaims: [],
      usageBytes: {},
    },
    horizon: at(3600),
    active: { policy: 0, cluster: 0 },
    epoch: 1,
    settled: new Set(),
    refused: {},
    ...over,
  };
}
