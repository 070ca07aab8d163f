/** Small honest examples of what the API server shows, for tables of decisions. */
import type { Finding, Kill, MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import type {
  ContainerView,
  EffectivePolicy,
  NodeState,
  Observation,
  PodView,
  RevisionView,
  TargetState,
} from "../../src/incident/observation.ts";
import { templateHash } from "../../src/incident/templates.ts";
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
    allowedActions: ["Rollback", "Throttle", "Resize", "Restart"],
    pauses: [],
    cluster: { maxActive: 10, maxMitigationsPerDay: 10, storm: { investigations: 5, withinMs: 900_000 } },
  };
}

/** A revision of the workload with its own image; made `agoSeconds` before now. */
export function aRevision(number: number, agoSeconds: number, over: Partial<RevisionView> = {}): RevisionView {
  const template = {
    metadata: { labels: { app: "thumbs" } },
    spec: { containers: [{ name: "app", image: `thumbs:${number}` }] },
  };
  return {
    name: `thumbs-h${number}`,
    uid: `rs-${number}`,
    marks: [`thumbs-h${number}`],
    number,
    created: at(agoSeconds),
    images: [`thumbs:${number}`],
    template,
    templateHash: templateHash(template),
    ...over,
  };
}

/** A Deployment of three ready pods on its second revision; the first served for a day. */
export function aTargetState(over: Partial<TargetState> = {}): TargetState {
  const current = aRevision(2, 3600);
  return {
    uid: "d-1",
    kind: "Deployment",
    name: "thumbs",
    resourceVersion: "50",
    generation: 2,
    deleting: false,
    labels: {},
    annotations: {},
    templateLabels: { app: "thumbs" },
    template: current.template,
    templateHash: current.templateHash,
    rollout: { observed: true, desired: 3, updated: 3, total: 3, ready: 3, available: 3, mayBeUnavailable: 0 },
    revisions: [aRevision(1, 90_000), current],
    budgets: [],
    ...over,
  };
}

export function aFinding(over: Partial<Finding> = {}): Finding {
  return {
    id: "3f9c0a1b2c4d",
    verdict: "AnonHeapLeak",
    confidencePercent: 90,
    summary: "it grows",
    culprit: { container: "app", revision: "thumbs-h2" },
    evidence: [],
    counterEvidence: [],
    ...over,
  };
}

export function aKill(over: Partial<Kill> = {}): Kill {
  return {
    id: "0123456789ab",
    pod: { name: "gone", uid: "uid-gone" },
    container: "app",
    time: at(60),
    revision: "thumbs-h2",
    classification: "ContainerKilled",
    sources: ["PodStatus"],
    ...over,
  };
}

export function aNode(over: Partial<NodeState> = {}): NodeState {
  return { uid: "node-1", ready: true, unschedulable: false, annotations: {}, ...over };
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
    comparisons: {},
    kernelVictims: {},
    nodes: { n1: aNode() },
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
    mitigated: [],
    begun: [],
    horizon: at(3600),
    active: { policy: 0, cluster: 0 },
    epoch: 1,
    settled: new Set(),
    refused: {},
    ...over,
  };
}
