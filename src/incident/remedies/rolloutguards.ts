/** May this workload's pods be replaced now? Guards of the actions that roll out, and of those that change pods. */
import type { Refusal } from "../actions.ts";
import type { TargetState } from "../observation.ts";
import { selects } from "../policy.ts";
import { refusal, targetOf, type MitigationQuestion } from "./remedy.ts";

export function rolloutHeld(question: MitigationQuestion): Refusal | undefined {
  const held = targetOf(question)?.rollout.heldBy;
  return held === undefined ? undefined : refusal("RolloutHeld", held);
}

/** A roll-out that its controller has given up on is not under way: it is what a roll-back is for. */
export function rolloutInProgress(question: MitigationQuestion): Refusal | undefined {
  const state = targetOf(question);
  if (state === undefined) return undefined;
  const { observed, desired, updated, total, stuck } = state.rollout;
  if (observed && stuck !== undefined) return undefined;
  if (!observed || question.proposal?.current === undefined)
    return refusal("RolloutInProgress", "The workload's controller has not seen its newest template yet");
  if (updated >= desired && total <= updated) return undefined;
  return refusal("RolloutInProgress", `${updated} of ${Math.max(desired, total)} pods are of the newest template`);
}

/** @returns how many ready pods a roll-out leaves in the worst case, and how many there are */
function readiness({ rollout }: TargetState): { readonly left: number; readonly now: number } {
  return { left: Math.max(0, rollout.desired - rollout.mayBeUnavailable), now: rollout.ready };
}

export function tooFewReady(question: MitigationQuestion): Refusal | undefined {
  const state = targetOf(question);
  return state === undefined ? undefined : belowFloor(state, question.mitigation.minAvailable);
}

/** @param minAvailable ready pods that must remain; where fewer are ready, none of them may be lost */
export function belowFloor(state: TargetState, minAvailable: number): Refusal | undefined {
  const { left, now } = readiness(state);
  if (left >= Math.min(minAvailable, now)) return undefined;
  return refusal(
    "TooFewReady",
    `A roll-out may leave ${left} of ${now} ready pods, mitigate[].minAvailable is ${minAvailable}`,
  );
}

/** Roll-outs do not ask PodDisruptionBudgets; oomscope does. */
export function disruptionBudget(question: MitigationQuestion): Refusal | undefined {
  const state = targetOf(question);
  return state === undefined ? undefined : belowBudgets(state);
}

/** The first PodDisruptionBudget that a roll-out might break. */
export function belowBudgets(state: TargetState): Refusal | undefined {
  const { left, now } = readiness(state);
  for (const { name, selector, desiredHealthy } of state.budgets) {
    if (!selects(selector, state.templateLabels)) continue;
    if (desiredHealthy === undefined)
      return refusal("DisruptionBudget", `PodDisruptionBudget ${name} has not been computed yet`);
    if (left < Math.min(desiredHealthy, now))
      return refusal(
        "DisruptionBudget",
        `A roll-out may leave ${left} of ${now} ready pods, PodDisruptionBudget ${name} asks for ${desiredHealthy}`,
      );
  }
  return undefined;
}

/** A cure may cost the pod that is held for evidence; what only eases the trouble may not. An isolated pod is nobody's, and in no danger. */
export function heldPod({ investigation, mitigation: { action } }: MitigationQuestion): Refusal | undefined {
  const { preserved } = investigation.status ?? {};
  if (preserved?.how !== "Hold" || preserved.state === "Released" || preserved.state === "Lost") return undefined;
  return refusal(
    "HeldPod",
    `Pod ${preserved.pod} is held for evidence, and ${action} would replace it; set spec.release: true when it is no longer needed`,
  );
}

/** The two guards of every roll-out that puts something back. */
export const UNDO_ROLLOUT = [
  ({ rollout }: TargetState): Refusal | undefined =>
    rollout.heldBy === undefined ? undefined : refusal("RolloutHeld", rollout.heldBy),
  (state: TargetState): Refusal | undefined => belowFloor(state, 1),
  belowBudgets,
] as const;
