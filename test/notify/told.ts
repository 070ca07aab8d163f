/** Investigations in the states that people are told of. */
import type { Finding, MemoryInvestigation, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import type { MitigationRecord } from "../../src/api/mitigation.ts";

export const FINDING: Finding = {
  id: "3f9c0a1b2c4d",
  verdict: "AnonHeapLeak",
  confidencePercent: 93,
  summary: "Container thumbnail gains 1.2 MiB/s of anonymous memory.",
  evidence: [],
  counterEvidence: [],
};

const POLICY = { kind: "ClusterMemoryPolicy", name: "observe-everything", generation: 1, mode: "Observe" } as const;

function at(minute: number): string {
  return `2026-11-29T10:${String(minute).padStart(2, "0")}:00Z`;
}

export function condition(type: "Succeeded" | "Diagnosed", minute: number, message = "why") {
  return { type, status: "True" as const, reason: "Diagnosed" as const, message, lastTransitionTime: at(minute) };
}

export function record(over: Partial<MitigationRecord> = {}): MitigationRecord {
  return {
    action: "Rollback",
    state: "Proposed",
    reason: "AwaitingApproval",
    message: "Roll back to revision 3.",
    finding: FINDING.id,
    since: at(6),
    ...over,
  };
}

/** It began at 10:00. */
export function investigation(status?: MemoryInvestigationStatus, name = "thumbs-1"): MemoryInvestigation {
  return {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name, namespace: "media", uid: `uid-${name}`, resourceVersion: "1", creationTimestamp: at(0) },
    spec: {
      targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbnail-svc" },
      suspend: false,
      release: false,
    },
    ...(status === undefined ? {} : { status }),
  };
}

export const OPENED: MemoryInvestigationStatus = { policy: POLICY, killsByPod: "2 kills in 1 pod on 1 node" };
export const DIAGNOSED: MemoryInvestigationStatus = {
  ...OPENED,
  finding: FINDING,
  conditions: [condition("Diagnosed", 5)],
};
export const PROPOSED: MemoryInvestigationStatus = {
  ...DIAGNOSED,
  result: "Recommended",
  conditions: [condition("Diagnosed", 5), condition("Succeeded", 6, "A roll-back waits for approval")],
  mitigations: [record()],
};
/** Somebody has approved it, and it is under way. */
export const ACTING: MemoryInvestigationStatus = {
  ...DIAGNOSED,
  mitigations: [record({ state: "RollingOut", since: at(8) })],
};
export const MITIGATED: MemoryInvestigationStatus = {
  ...DIAGNOSED,
  result: "Mitigated",
  conditions: [condition("Diagnosed", 5), condition("Succeeded", 9, "Revision 3 runs again")],
  mitigations: [record({ state: "Done", reason: "RolledBack", message: "Revision 3 runs again.", since: at(9) })],
};
