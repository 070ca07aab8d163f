/** From a finding to the end: what is done about it, what became of that, and how the investigation ends. */
import type { Finding, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Fact } from "./conditions.ts";
import { planMitigation, type MitigationStep } from "./mitigation.ts";
import type { Observation } from "./observation.ts";
import { planPreservation, preservingFact, withPreserved } from "./preservation.ts";
import { end, fact, progress, type Common, type Step, type StepParts } from "./step.ts";

/** Does something about the finding that status has, or says why not; what is kept for evidence is looked after meanwhile. */
export function remedy(
  seen: Observation,
  investigation: MemoryInvestigation,
  common: Common,
  told: readonly Fact[],
  ...steps: readonly StepParts[]
): Step {
  const { finding, preserved } = investigation.status ?? {};
  if (finding === undefined) throw new TypeError("There is no finding to do something about");
  const keeping =
    steps.length === 0 && preserved !== undefined && common.policy !== undefined
      ? planPreservation(seen, investigation, common.policy, common.now)
      : undefined;
  const kept = keeping === undefined ? investigation : withPreserved(investigation, keeping);
  const mitigating = planMitigation({ seen, investigation: kept, finding, now: common.now }, common.policy);
  const known: MemoryInvestigation = {
    ...kept,
    status: {
      ...kept.status,
      ...(mitigating.records.length === 0 ? {} : { mitigations: [...mitigating.records] }),
    },
  };
  const facts = [
    ...(keeping === undefined ? [] : [preservingFact(keeping)]),
    ...told,
    fact("Mitigated", mitigating.fact.status, mitigating.fact.reason, mitigating.fact.message),
  ];
  const parts = [...steps, ...(keeping === undefined ? [] : [keeping]), mitigating];
  return concluded(known, common, facts, mitigating, parts);
}

function concluded(
  investigation: MemoryInvestigation,
  common: Common,
  facts: readonly Fact[],
  { outcome, fact: { reason, message } }: MitigationStep,
  parts: readonly StepParts[],
): Step {
  switch (outcome) {
    case "Working":
      return progress(investigation, common, facts, "Mitigating", ...parts);
    case "Done": {
      const unknown = fact("Validated", "Unknown", "NotValidated", "Nobody has looked yet whether it helped");
      return end(investigation, common, [...facts, unknown], "Mitigated", reason, message, ...parts);
    }
    case "Failed":
      return end(investigation, common, facts, "Failed", reason, message, ...parts);
    case "Nothing": {
      const { finding } = investigation.status ?? {};
      const found = finding === undefined ? "" : findingText(finding);
      return end(investigation, common, facts, "Recommended", "Diagnosed", found, ...parts);
    }
  }
}

export function findingText({ verdict, confidencePercent, summary }: Finding): string {
  return `${verdict} (${confidencePercent} %): ${summary}`;
}
