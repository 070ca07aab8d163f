/** From a finding to the end: what is done about it, what became of that, and how the investigation ends. */
import type { Finding, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import type { MitigationStep } from "./carryingout.ts";
import { stopCollecting } from "./collecting.ts";
import type { Fact } from "./conditions.ts";
import { planMitigation } from "./mitigation.ts";
import type { Observation } from "./observation.ts";
import { planPreservation, preservingFact, withPreserved } from "./preservation.ts";
import { end, fact, progress, type Common, type Step, type StepParts } from "./step.ts";
import { askedUndo, planUndo, withoutOldAnswers } from "./undo.ts";
import { afterFailure, planValidation, validating, type ValidationStep } from "./validation.ts";

/** Does something about the finding that status has, or says why not; what is kept for evidence is looked after meanwhile. */
export function actOnFinding(
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
  const kept = reasked(keeping === undefined ? investigation : withPreserved(investigation, keeping));
  const course = { seen, investigation: kept, finding, now: common.now };
  const undo = askedUndo(kept);
  // Once it is answered the next pass goes on from there.
  const mitigating: MitigationStep =
    undo === undefined
      ? planMitigation(course, common.policy)
      : { againMs: 0, ...planUndo(course, undo), outcome: "Working" };
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
  return concluded(seen, known, common, facts, mitigating, parts);
}

/** A person who has withdrawn a request that was answered may ask anew, also while the investigation goes on. */
function reasked(investigation: MemoryInvestigation): MemoryInvestigation {
  const records = withoutOldAnswers(investigation);
  if (records === undefined) return investigation;
  return { ...investigation, status: { ...investigation.status, mitigations: [...records] } };
}

function concluded(
  seen: Observation,
  investigation: MemoryInvestigation,
  common: Common,
  facts: readonly Fact[],
  mitigating: MitigationStep,
  parts: readonly StepParts[],
): Step {
  const { reason, message } = mitigating.why ?? mitigating.fact;
  switch (mitigating.outcome) {
    case "Working":
      return progress(investigation, common, facts, "Mitigating", ...parts);
    case "Done":
      return prove(seen, investigation, common, facts, mitigating, parts);
    case "Failed": {
      const left = abandoned(seen, investigation, common, mitigating);
      return end(left.investigation, common, [...facts, ...left.facts], "Failed", reason, message, ...parts, left);
    }
    case "Nothing": {
      const { finding } = investigation.status ?? {};
      const found = finding === undefined ? "" : findingText(finding);
      const left = abandoned(seen, investigation, common, mitigating);
      const all = [...facts, ...left.facts];
      return end(left.investigation, common, all, "Recommended", "Diagnosed", found, ...parts, left);
    }
  }
}

/** What was seen complete is watched until it is known whether it helped. */
function prove(
  seen: Observation,
  investigation: MemoryInvestigation,
  common: Common,
  facts: readonly Fact[],
  { records, fact: done }: MitigationStep,
  parts: readonly StepParts[],
): Step {
  const record = records.find(({ state, validated }) => state === "Done" && validated === undefined);
  if (record === undefined) throw new TypeError("There is no mitigation to validate");
  const step = planValidation({ seen, investigation, record, now: common.now }, common.policy);
  const known = withValidation(investigation, record, step);
  const { status, reason, message } = step.fact;
  const all = [...facts, fact("Validated", status, reason, message)];
  switch (step.outcome) {
    case "Working":
      return progress(known, common, all, "Validating", ...parts, step);
    case "Pass":
      return end(known, common, all, "Resolved", reason, `${done.message}. ${message}`, ...parts, step);
    case "Fail":
      if (afterFailure(common.policy) !== "Stop") return takeBack(seen, known, common, all, record, [...parts, step]);
      return end(known, common, all, "Failed", reason, `${done.message}. ${message}`, ...parts, step);
    case "Unknown":
      return end(known, common, all, "Mitigated", done.reason, `${done.message}. ${message}`, ...parts, step);
  }
}

/** What did not help is put back, as the policy says. What becomes of that, and what comes next, the next passes say. */
function takeBack(
  seen: Observation,
  investigation: MemoryInvestigation,
  common: Common,
  facts: readonly Fact[],
  { action, finding }: MitigationRecord,
  parts: readonly StepParts[],
): Step {
  const undoing = planUndo({ seen, investigation, now: common.now }, { action, finding, by: "Validation" });
  const known = { ...investigation, status: { ...investigation.status, mitigations: [...undoing.records] } };
  const { status, reason, message } = undoing.fact;
  const others = facts.filter(({ type }) => type !== "Mitigated");
  const all = [...others, fact("Mitigated", status, reason, message)];
  return progress(known, common, all, "Mitigating", ...parts, { againMs: 0, ...undoing });
}

function withValidation(
  investigation: MemoryInvestigation,
  { action }: MitigationRecord,
  { validation, collections, outcome }: ValidationStep,
): MemoryInvestigation {
  if (validation === undefined) return investigation;
  const { mitigations = [] } = investigation.status ?? {};
  return {
    ...investigation,
    status: {
      ...investigation.status,
      validation,
      ...(outcome === "Working"
        ? {}
        : { mitigations: mitigations.map((one) => (one.action === action ? { ...one, validated: outcome } : one)) }),
      ...(collections.length === 0 ? {} : { collections: [...collections] }),
    },
  };
}

/** A mitigation that does not hold any more, or that somebody has put back, is not validated to its end. */
function abandoned(
  seen: Observation,
  investigation: MemoryInvestigation,
  { now }: Common,
  { fact: said, why }: MitigationStep,
): StepParts & { readonly investigation: MemoryInvestigation; readonly facts: readonly Fact[] } {
  const { collections = [] } = investigation.status ?? {};
  if (!validating(investigation)) return { investigation, facts: [], actions: [], notices: [] };
  const stopped = stopCollecting(seen, collections, now);
  return {
    investigation: { ...investigation, status: { ...investigation.status, collections: [...stopped.collections] } },
    facts: [fact("Validated", "Unknown", (why ?? said).reason, (why ?? said).message)],
    actions: stopped.actions,
    notices: [],
  };
}

export function findingText({ verdict, confidencePercent, summary }: Finding): string {
  return `${verdict} (${confidencePercent} %): ${summary}`;
}
