/** An investigation that has ended with a proposal: as the operator writes it, for the tests of the command line. */
import type { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";

const MIB = 2 ** 20;

export function investigationOf(name = "thumbs-1", namespace = "media"): MemoryInvestigation {
  const uid = "6f1c8f4e-0000-4000-8000-000000000001";
  const condition = (type: string, status: "True" | "False" | "Unknown", reason: string, message: string) => ({
    type,
    status,
    reason,
    message,
    lastTransitionTime: "2026-11-29T02:02:00Z",
  });
  return {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name, namespace, uid, resourceVersion: "7", creationTimestamp: "2026-11-29T01:50:00Z" },
    spec: {
      targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: name.replace(/-\d+$/, "") },
      container: "thumbnail",
      release: false,
      suspend: false,
    },
    status: {
      stage: "Done",
      result: "Recommended",
      conditions: [
        condition("Succeeded", "True", "Diagnosed", "The finding stands in status.finding."),
        condition("Mitigated", "False", "AwaitingApproval", "Rollback waits for a person."),
      ],
      policy: { kind: "MemoryPolicy", name: "media", mode: "Recommend" },
      killCount: 2,
      killsByPod: "2 kills in 1 pod on 1 node",
      kills: [
        {
          id: "aaaaaaaaaaaa",
          pod: { name: "thumbs-7d9f-abcde", uid },
          container: "thumbnail",
          time: "2026-11-29T01:49:58Z",
          exitCode: 137,
          limitBytes: 256 * MIB,
          classification: "ContainerKilled",
          sources: ["PodStatus", "KernelLog"],
          victim: { pid: 4711, comm: "thumbnail-svc", anonBytes: 250 * MIB },
        },
        {
          id: "bbbbbbbbbbbb",
          pod: { name: "thumbs-7d9f-abcde", uid },
          time: "2026-11-29T01:40:00Z",
          classification: "Evicted",
          sources: ["Eviction"],
        },
      ],
      preserved: {
        pod: "thumbs-7d9f-abcde",
        uid,
        node: "node-1",
        how: "Isolate",
        state: "Preserved",
        since: "2026-11-29T01:50:01Z",
        until: "2026-11-29T03:50:01Z",
        why: "It was killed last and runs the newest revision.",
        cannotShow: "The memory of before the kill: the container was started again.",
      },
      collections: [
        {
          id: "thumbs-1-d1",
          purpose: "Diagnose",
          attempt: 1,
          state: "Complete",
          job: "thumbs-1-d1",
          node: "node-1",
          pods: [{ name: "thumbs-7d9f-abcde", uid, role: "Preserved" }],
          requested: "2026-11-29T01:50:02Z",
          samples: 24,
          samplesExpected: 24,
        },
      ],
      finding: {
        id: "3f9c00112233",
        verdict: "AnonHeapLeak",
        confidencePercent: 75,
        summary:
          "Container thumbnail gains 1.1 MiB/s of anonymous memory, 100 % of it in process thumbnail-svc (pid 4711).",
        evidence: [
          {
            signal: "anon + swap, slope",
            value: String(1.1 * MIB),
            unit: "bytes/s",
            threshold: "low > 0",
            part: "readings-0000.ndjson",
          },
        ],
        counterEvidence: [],
        runnerUp: { verdict: "WarmupPlateau", confidencePercent: 13 },
      },
      mitigations: [
        {
          action: "Rollback",
          state: "Proposed",
          reason: "AwaitingApproval",
          message: "Waits for a person's approval.",
          finding: "3f9c00112233",
          since: "2026-11-29T02:02:00Z",
          why: "Revision 1 ran for 3 days without a kill.",
          before: {
            revision: "thumbs-7d9f",
            uid,
            number: 2,
            templateHash: "b",
            images: ["registry.example.org/thumbs:2"],
          },
          after: {
            revision: "thumbs-5c4b",
            uid,
            number: 1,
            templateHash: "a",
            images: ["registry.example.org/thumbs:1"],
          },
          command: "kubectl -n media rollout undo deployment/thumbs --to-revision=1",
          undoCommand: "kubectl -n media rollout undo deployment/thumbs --to-revision=2",
        },
      ],
      evidence: { location: "media/thumbs-1", parts: 9, bytes: 3 * MIB, sha256: "0".repeat(64) },
      timeline: [
        {
          time: "2026-11-29T01:49:58Z",
          event: "OOMKillObserved",
          message: "Container thumbnail was killed at 256 MiB.",
        },
        { time: "2026-11-29T02:02:00Z", event: "Diagnosed", message: "AnonHeapLeak, 75 % sure." },
      ],
    },
  };
}
