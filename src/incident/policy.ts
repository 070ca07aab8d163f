/** Which policy is in force for a workload, and how far it may go. Pure; the reading of policies is the door's work. */
import type { ClusterMemoryPolicySpec, LabelSelector, Mode } from "../api/memorypolicy.ts";
import type { EffectivePolicy, PolicyView } from "./observation.ts";

const MODES: readonly Mode[] = ["Observe", "Recommend", "Enforce"];

/** Whether a label selector matches; an absent or empty one matches everything, as in Kubernetes. */
export function selects(selector: LabelSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    const value = labels[key];
    const holds =
      operator === "Exists"
        ? value !== undefined
        : operator === "DoesNotExist"
          ? value === undefined
          : operator === "In"
            ? value !== undefined && values.includes(value)
            : value === undefined || !values.includes(value);
    if (!holds) return false;
  }
  return true;
}

/** The labels that a selector looks at. */
export function selectorKeys(selector: LabelSelector): string[] {
  return [...Object.keys(selector.matchLabels ?? {}), ...(selector.matchExpressions ?? []).map((e) => e.key)];
}

export interface PolicyQuestion {
  readonly namespace: string;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly podLabels: Readonly<Record<string, string>>;
  /** Namespaces that no ClusterMemoryPolicy without a namespaceSelector is for. */
  readonly exempt: readonly string[];
}

/**
 * The policy in force: a MemoryPolicy before a ClusterMemoryPolicy, one with a selector before one without, then the older.
 * Its mode is lowered to the lowest `maxMode` of the ClusterMemoryPolicies that match: a namespace can only narrow.
 */
export function effectivePolicy(
  policies: readonly PolicyView[],
  question: PolicyQuestion,
): EffectivePolicy | undefined {
  const ranked = policies.filter((p) => matches(p, question)).toSorted(bySpecificity);
  const [winner, ...losers] = ranked;
  return winner === undefined ? undefined : narrowed(winner, policies, question, losers);
}

/** The same for a policy that an investigation names: selection is skipped, narrowing is not. */
export function namedPolicy(
  policy: PolicyView,
  policies: readonly PolicyView[],
  question: PolicyQuestion,
): EffectivePolicy {
  return narrowed(policy, policies, question, []);
}

function narrowed(
  winner: PolicyView,
  policies: readonly PolicyView[],
  question: PolicyQuestion,
  losers: readonly PolicyView[],
): EffectivePolicy {
  const ceilings = policies.filter((p) => p.kind === "ClusterMemoryPolicy" && matches(p, question));
  const mode = ceilings
    .map((p) => (p.spec as ClusterMemoryPolicySpec).maxMode)
    .reduce<Mode>((low, max) => (MODES.indexOf(max) < MODES.indexOf(low) ? max : low), winner.spec.mode);
  return {
    kind: winner.kind,
    name: winner.name,
    generation: winner.generation,
    mode,
    spec: winner.spec,
    losers: losers.map((p) => `${p.kind}/${p.name}`),
  };
}

function matches(policy: PolicyView, question: PolicyQuestion): boolean {
  if (!selects(policy.spec.selector, question.podLabels)) return false;
  if (policy.kind === "MemoryPolicy") return policy.namespace === question.namespace;
  const { namespaceSelector } = policy.spec as ClusterMemoryPolicySpec;
  if (namespaceSelector === undefined) return !question.exempt.includes(question.namespace);
  return selects(namespaceSelector, question.namespaceLabels);
}

function bySpecificity(a: PolicyView, b: PolicyView): number {
  const rank = (p: PolicyView): number => (p.kind === "MemoryPolicy" ? 0 : 2) + (p.spec.selector === undefined ? 1 : 0);
  return rank(a) - rank(b) || a.created.localeCompare(b.created) || a.name.localeCompare(b.name);
}
