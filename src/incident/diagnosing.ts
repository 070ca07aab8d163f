/** From evidence that has arrived to a finding in status. */
import { durationMs } from "../api/fields.ts";
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { CollectingStep } from "./collecting.ts";
import { timeText, type Fact } from "./conditions.ts";
import type { Observation } from "./observation.ts";
import type { PreservationStep } from "./preservation.ts";
import { actOnFinding, findingText } from "./outcome.ts";
import { end, fact, progress, type Common, type Step } from "./step.ts";

export function diagnose(
  seen: Observation,
  investigation: MemoryInvestigation,
  common: Common,
  facts: readonly Fact[],
  collecting: CollectingStep,
  preserving: PreservationStep,
): Step {
  const id = collecting.evidence?.id ?? "";
  const finding = seen.findings[id];
  if (finding === undefined && seen.sessions[id] === undefined) {
    const gone = "The evidence had arrived, but the store no longer has it; it lives as long as the operator's volume";
    return end(investigation, common, facts, "Failed", "CollectorLost", gone, preserving, collecting);
  }
  if (finding === undefined) {
    const reading = fact("Diagnosed", "Unknown", "Diagnosing", "The pack is being read");
    return progress(investigation, common, [...facts, reading], "Diagnosing", preserving, {
      ...collecting,
      againMs: 1000,
    });
  }
  const session = seen.sessions[id];
  const known: MemoryInvestigation = {
    ...investigation,
    status: {
      ...investigation.status,
      finding,
      ...(session === undefined
        ? {}
        : {
            evidence: {
              location: `collections/${id}`,
              parts: session.parts,
              bytes: session.bytes,
              sha256: session.manifest?.sha256 ?? "",
              ...expiry(common),
            },
          }),
    },
  };
  const inconclusive = finding.verdict === "Inconclusive";
  const told = fact(
    "Diagnosed",
    inconclusive ? "False" : "True",
    inconclusive ? "Inconclusive" : "Diagnosed",
    findingText(finding),
  );
  if (!inconclusive) return actOnFinding(seen, known, common, [...facts, told], preserving, collecting);
  return end(known, common, [...facts, told], "Inconclusive", told.reason, told.message, preserving, collecting);
}

/** Until when the policy has the pack kept that is taken in now. */
function expiry({ policy, now }: Common): { readonly expires?: string } {
  if (policy === undefined) return {};
  return { expires: timeText(new Date(now.getTime() + durationMs(policy.spec.retention.evidence))) };
}
