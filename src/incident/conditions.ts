/** Conditions as Kubernetes means them: facts with a reason; the time moves only when the fact flips. */
import type { Condition, ConditionType } from "../api/memoryinvestigation.ts";
import type { PolicyConditionType } from "../api/memorypolicy.ts";
import type { Reason } from "../api/reasons.ts";

export interface Fact {
  readonly type: ConditionType | PolicyConditionType;
  readonly status: Condition["status"];
  readonly reason: Reason;
  readonly message: string;
}

/** Longest message that the schema takes. */
const MAX_MESSAGE = 1024;

/** The conditions with these facts set, in a stable order. `lastTransitionTime` moves only for those whose status flips. */
export function withFacts(
  conditions: readonly Condition[] | undefined,
  facts: readonly Fact[],
  generation: number | undefined,
  now: Date,
): Condition[] {
  const result = new Map((conditions ?? []).map((c) => [c.type, c]));
  for (const fact of facts) {
    const before = result.get(fact.type);
    result.set(fact.type, {
      type: fact.type,
      status: fact.status,
      reason: fact.reason,
      message: clip(fact.message, MAX_MESSAGE),
      lastTransitionTime: before?.status === fact.status ? before.lastTransitionTime : timeText(now),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    });
  }
  return [...result.values()];
}

/** RFC 3339 with seconds, as `metav1.Time` has it. */
export function timeText(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** Text cut to a number of characters, with an ellipsis where something is missing. */
export function clip(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}
