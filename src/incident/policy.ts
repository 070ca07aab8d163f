/** Which policy is in force for a workload, and how far it may go. Pure; the reading of policies is the door's work. */
import { durationMs } from "../api/fields.ts";
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { ClusterMemoryPolicySpec, LabelSelector, MemoryPolicySpec, type Mode } from "../api/memorypolicy.ts";
import type { EffectivePolicy, NoPolicy, Observation, PolicyView } from "./observation.ts";

const MODES: readonly Mode[] = ["Observe", "Recommend", "Enforce"];

/** Whether a label selector matches; an absent or empty one matches everything, as in Kubernetes. */
export function selects(selector: LabelSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  const { matchLabels = {} } = selector ?? {};
  for (const key in matchLabels) if (labels[key] !== matchLabels[key]) return false;
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
): EffectivePolicy | NoPolicy | undefined {
  return inForce(rankedPolicies(policies, question));
}

/** The same from the policies that select the workload, in their order. */
export function inForce(ranked: readonly PolicyView[]): EffectivePolicy | NoPolicy | undefined {
  const [winner, ...losers] = ranked;
  return winner === undefined ? undefined : narrowed(winner, ranked, losers);
}

/** Every policy that selects the workload, the one in force first. */
export function rankedPolicies(policies: readonly PolicyView[], question: PolicyQuestion): PolicyView[] {
  return policies.filter((p) => matches(p, question)).toSorted(bySpecificity);
}

/** The same for a policy that an investigation names: selection is skipped, narrowing is not. */
export function namedPolicy(
  policy: PolicyView,
  policies: readonly PolicyView[],
  question: PolicyQuestion,
): EffectivePolicy | NoPolicy {
  return narrowed(policy, rankedPolicies(policies, question), []);
}

/**
 * What is safe to assume of a policy whose spec cannot be read. It keeps its place, so that nobody takes over who allows more, and as one of the cluster's it allows
 * nothing: what cannot be read never loosens anything. Selectors are believed where they can be read; otherwise it is for all that it could be for.
 */
export function unreadableSpec(kind: PolicyView["kind"], spec: unknown): PolicyView["spec"] {
  const { selector, namespaceSelector } = (typeof spec === "object" && spec !== null ? spec : {}) as {
    readonly selector?: unknown;
    readonly namespaceSelector?: unknown;
  };
  const pods = LabelSelector.optional().safeParse(selector).data;
  const own = pods === undefined ? {} : { selector: pods };
  if (kind === "MemoryPolicy") return MemoryPolicySpec.parse(own);
  const spaces = LabelSelector.optional().safeParse(namespaceSelector).data;
  return ClusterMemoryPolicySpec.parse({
    ...own,
    ...(spaces === undefined ? {} : { namespaceSelector: spaces }),
    maxMode: "Observe",
    allowedActions: [],
  });
}

function narrowed(
  winner: PolicyView,
  ranked: readonly PolicyView[],
  losers: readonly PolicyView[],
): EffectivePolicy | NoPolicy {
  if (winner.problem !== undefined) {
    const message = `${winner.kind} ${winner.name} cannot be read: ${winner.problem}. Until it is mended nothing is begun`;
    return { problem: "PolicyInvalid", message };
  }
  const ceilings = ranked.filter((p) => p.kind === "ClusterMemoryPolicy");
  const limits = ceilings.map((p) => p.spec as ClusterMemoryPolicySpec);
  const mode = limits
    .map((spec) => spec.maxMode)
    .reduce<Mode>((low, max) => (MODES.indexOf(max) < MODES.indexOf(low) ? max : low), winner.spec.mode);
  return {
    kind: winner.kind,
    name: winner.name,
    generation: winner.generation,
    mode,
    spec: winner.spec,
    ...(mode === winner.spec.mode
      ? {}
      : {
          loweredBy: ceilings
            .filter((p) => (p.spec as ClusterMemoryPolicySpec).maxMode === mode)
            .map((p) => `${p.kind}/${p.name}`),
        }),
    losers: losers.map((p) => `${p.kind}/${p.name}`),
    ...clusterLimits(limits),
    pauses: [...new Set([winner, ...ceilings])].flatMap((p) =>
      (p.spec.pauseRequests ?? []).map((reason) => `${p.kind} ${p.name}: ${reason}`),
    ),
  };
}

/** Where no ClusterMemoryPolicy speaks, what one says by default. */
const SILENT = ClusterMemoryPolicySpec.parse({});

function clusterLimits(
  limits: readonly ClusterMemoryPolicySpec[],
): Pick<EffectivePolicy, "allowedActions" | "cluster"> {
  const all = limits.length === 0 ? [SILENT] : limits;
  const storms = all.map(({ clusterBudget: { storm } }) => storm);
  return {
    allowedActions: (all[0] ?? SILENT).allowedActions.filter((action) =>
      all.every((spec) => spec.allowedActions.includes(action)),
    ),
    cluster: {
      maxActive: Math.min(...all.map((spec) => spec.clusterBudget.maxActive)),
      maxMitigationsPerDay: Math.min(...all.map((spec) => spec.clusterBudget.maxMitigationsPerDay)),
      storm: {
        investigations: Math.min(...storms.map((storm) => storm.investigations)),
        withinMs: Math.max(...storms.map((storm) => durationMs(storm.within))),
      },
    },
  };
}

/** The policy that an investigation follows, or why there is none. */
export function policyFor(
  seen: Pick<Observation, "policy" | "namedPolicies">,
  investigation: MemoryInvestigation,
): Observation["policy"] {
  const ref = investigation.spec.policyRef;
  if (ref === undefined) return seen.policy;
  const named = seen.namedPolicies[`${ref.kind}/${ref.name}`];
  return (
    named ?? {
      problem: "PolicyNotFound",
      message: `${ref.kind} ${ref.name} does not exist; create it, or leave policyRef out`,
    }
  );
}

/** Why a policy is not for the workload; undefined: it is. */
export function mismatch(
  policy: PolicyView,
  question: PolicyQuestion,
): "OtherNamespace" | "NamespaceExempt" | "NamespaceNotSelected" | "PodsNotSelected" | undefined {
  if (policy.kind === "MemoryPolicy") {
    if (policy.namespace !== question.namespace) return "OtherNamespace";
  } else {
    const { namespaceSelector } = policy.spec as ClusterMemoryPolicySpec;
    if (namespaceSelector === undefined && question.exempt.includes(question.namespace)) return "NamespaceExempt";
    if (!selects(namespaceSelector, question.namespaceLabels)) return "NamespaceNotSelected";
  }
  return selects(policy.spec.selector, question.podLabels) ? undefined : "PodsNotSelected";
}

function matches(policy: PolicyView, question: PolicyQuestion): boolean {
  return mismatch(policy, question) === undefined;
}

/** The order of policies that match: the first is in force. */
export function bySpecificity(a: PolicyView, b: PolicyView): number {
  const rank = (p: PolicyView): number => (p.kind === "MemoryPolicy" ? 0 : 2) + (p.spec.selector === undefined ? 1 : 0);
  return rank(a) - rank(b) || a.created.localeCompare(b.created) || a.name.localeCompare(b.name);
}
