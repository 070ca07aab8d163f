/** From a finding to the end: what is done about it, what became of that, and how the investigation ends. */
import type { Finding, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import { stopCollecting } from "./collecting.ts";
import type { Fact } from "./conditions.ts";
import { planMitigation, type MitigationStep } from "./mitigation.ts";
import type { Observation } from "./observation.ts";
import { planPreservation, preservingFact, withPreserved } from "./preservation.ts";
import { end, fact, progress, type Common, type Step, type StepParts } from "./step.ts";
import { askedUndo, planUndo } from "./undo.ts";
import { planValidation, type ValidationStep } from "./validation.ts";

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
  const course = { seen, investigation: kept, finding, now: common.now };
  const undo = askedUndo(kept);
  // Once it is answered the next pass goes on from there.
  const mitigating: MitigationStep =
    undo === undefined
      ? planMitigation(course, goesOnFrom(kept, common))
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
  const over = mitigating.outcome === "Failed" || mitigating.outcome === "Nothing";
  if (!over || !unproved(kept)) return concluded(seen, known, common, facts, mitigating, parts);
  const left = abandoned(seen, known, common, mitigating);
  return concluded(seen, left.investigation, common, [...facts, ...left.facts], mitigating, [...parts, left]);
}

/** What a validation has taken back is gone on from only where the policy says so: without a policy nothing new is begun. */
function goesOnFrom(investigation: MemoryInvestigation, { policy }: Common): Common["policy"] {
  return takenBack(investigation) === undefined || onFailure(policy) === "Escalate" ? policy : undefined;
}

/** An action that was seen not to help, and was put back for that. */
function takenBack({ status }: MemoryInvestigation): MitigationRecord | undefined {
  return status?.mitigations?.findLast(({ state, undo }) => state === "Undone" && undo?.askedBy === "Validation");
}

/** In mode Observe nothing is changed any more, not even back. */
function onFailure(policy: Common["policy"]): "Stop" | "Revert" | "Escalate" {
  return policy === undefined || policy.mode === "Observe" ? "Stop" : policy.spec.validate.onFailure;
}

function concluded(
  seen: Observation,
  investigation: MemoryInvestigation,
  common: Common,
  facts: readonly Fact[],
  mitigating: MitigationStep,
  parts: readonly StepParts[],
): Step {
  const { reason, message } = mitigating.fact;
  switch (mitigating.outcome) {
    case "Working":
      return progress(investigation, common, facts, "Mitigating", ...parts);
    case "Done":
      return prove(seen, investigation, common, facts, mitigating, parts);
    case "Failed":
      return end(investigation, common, facts, "Failed", reason, message, ...parts);
    case "Nothing": {
      const { finding, mitigations = [] } = investigation.status ?? {};
      const taken = takenBack(investigation);
      const proposed = mitigations.some(({ state }) => state === "Proposed");
      if (taken !== undefined && !proposed) {
        const message = `${taken.action} did not help and was put back; nothing more is done`;
        const undone = fact("Mitigated", "False", taken.reason as Reason, `${taken.action}: ${taken.message}`);
        return end(investigation, common, [...facts, undone], "Failed", "ValidationFailed", message, ...parts);
      }
      const found = finding === undefined ? "" : findingText(finding);
      return end(investigation, common, facts, "Recommended", "Diagnosed", found, ...parts);
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
  const record = records.find(({ state }) => state === "Done");
  if (record === undefined) throw new TypeError("There is no mitigation to validate");
  const step = planValidation({ seen, investigation, record, now: common.now }, common.policy);
  const known = withValidation(investigation, step);
  const { status, reason, message } = step.fact;
  const all = [...facts, fact("Validated", status, reason, message)];
  switch (step.outcome) {
    case "Working":
      return progress(known, common, all, "Validating", ...parts, step);
    case "Pass":
      return end(known, common, all, "Resolved", reason, `${done.message}. ${message}`, ...parts, step);
    case "Fail":
      return notHelped(seen, known, common, all, record, `${done.message}. ${message}`, [...parts, step]);
    case "Unknown":
      return end(known, common, all, "Mitigated", done.reason, `${done.message}. ${message}`, ...parts, step);
  }
}

/** It is told of; and put back, where the policy says so and that has not been tried. */
function notHelped(
  seen: Observation,
  investigation: MemoryInvestigation,
  common: Common,
  facts: readonly Fact[],
  { action, finding, undo }: MitigationRecord,
  message: string,
  parts: readonly StepParts[],
): Step {
  const stop = (why: string): Step =>
    end(investigation, common, facts, "Failed", "ValidationFailed", `${message}${why}`, ...parts);
  if (undo !== undefined) return stop(`. It was not put back: ${undo.message}`);
  if (onFailure(common.policy) === "Stop") return stop("");
  const undoing = planUndo({ seen, investigation, now: common.now }, { action, finding, by: "Validation" });
  const mitigations = [...undoing.records];
  const known = { ...investigation, status: { ...investigation.status, mitigations } };
  const { status, reason, message: said } = undoing.fact;
  const all = [...facts, fact("Mitigated", status, reason, said)];
  // Whatever comes of it is told in the next pass.
  return progress(known, common, all, "Mitigating", ...parts, { againMs: 0, ...undoing });
}

function withValidation(investigation: MemoryInvestigation, step: ValidationStep): MemoryInvestigation {
  const { validation, collections } = step;
  if (validation === undefined) return investigation;
  return {
    ...investigation,
    status: {
      ...investigation.status,
      validation,
      ...(collections.length === 0 ? {} : { collections: [...collections] }),
    },
  };
}

/** A validation has begun, and has come to no answer. */
function unproved({ status }: MemoryInvestigation): boolean {
  return status?.validation !== undefined && !status.validation.checks.some(({ result }) => result === "Fail");
}

/** A mitigation that does not hold any more is not validated to its end. */
function abandoned(
  seen: Observation,
  investigation: MemoryInvestigation,
  { now }: Common,
  { fact: { reason, message } }: MitigationStep,
): StepParts & { readonly investigation: MemoryInvestigation; readonly facts: readonly Fact[] } {
  const { collections = [] } = investigation.status ?? {};
  const stopped = stopCollecting(seen, collections, now);
  return {
    investigation: { ...investigation, status: { ...investigation.status, collections: [...stopped.collections] } },
    facts: [fact("Validated", "Unknown", reason, message)],
    actions: stopped.actions,
    notices: [],
  };
}

export function findingText({ verdict, confidencePercent, summary }: Finding): string {
  return `${verdict} (${confidencePercent} %): ${summary}`;
}
