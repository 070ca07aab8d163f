/** What does a policy say of itself: can it be read, is it in force, who comes first, how much of it is spent? Pure: the same snapshot gives the same status. */
import { POLICY_CONDITION_TYPES, type PolicyConditionType, type PolicyStatus } from "../api/memorypolicy.ts";
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { withFacts, type Fact } from "./conditions.ts";
import { policyIdentity } from "./budgetguards.ts";
import { endedAt } from "./intake.ts";
import type { Observation, PolicyView } from "./observation.ts";

/** What policies say about one workload. */
export interface Standing {
  /** Every policy that selects it, the one in force first. */
  readonly ranked: readonly PolicyView[];
  readonly policy: Observation["policy"] | undefined;
}

/** How one policy stands among the others, over all workloads. */
interface Use {
  /** Workloads that it selects, and those of them that it is in force for. */
  selected: number;
  inForce: number;
  /** Policies that come before it, and those it comes before, by `Kind/name`, with the number of workloads. */
  readonly winners: Map<string, number>;
  readonly losers: Map<string, number>;
  /** Policies of the cluster that lower its mode, and to what. */
  readonly lowered: Map<string, string>;
}

/** What is counted from investigations. */
export interface Spent {
  readonly activeInvestigations: number;
  readonly mitigationsLastDay: number;
}

const DAY_MS = 24 * 3600_000;

/** What each policy has spent, by `Kind/namespace/name`, from the status of investigations alone. */
export function spentByPolicy(investigations: Iterable<MemoryInvestigation>, now: Date): ReadonlyMap<string, Spent> {
  const spent = new Map<string, Spent>();
  for (const investigation of investigations) {
    const { metadata, status } = investigation;
    if (status?.policy === undefined) continue;
    const policy = policyIdentity(status.policy, metadata.namespace ?? "");
    const before = spent.get(policy) ?? NOTHING_SPENT;
    const active = endedAt(investigation) === undefined && metadata.deletionTimestamp === undefined;
    const today = (status.mitigations ?? []).filter(
      ({ intended }) => intended !== undefined && now.getTime() - Date.parse(intended) < DAY_MS,
    );
    spent.set(policy, {
      activeInvestigations: before.activeInvestigations + Number(active),
      mitigationsLastDay: before.mitigationsLastDay + today.length,
    });
  }
  return spent;
}

export const NOTHING_SPENT: Spent = { activeInvestigations: 0, mitigationsLastDay: 0 };

/** How the triggers are doing that look at readings; undefined where the policy has none. */
export type TriggerFact = Pick<Fact, "status" | "reason" | "message">;

/** How each policy stands, by uid; one that selects no workload is not in it. */
export function policyUse(standings: Iterable<Standing>): ReadonlyMap<string, Use> {
  const uses = new Map<string, Use>();
  for (const { ranked, policy } of standings) {
    const [winner] = ranked;
    if (winner === undefined) continue;
    for (const one of ranked) {
      const use = uses.get(one.uid) ?? unused();
      uses.set(one.uid, use);
      use.selected++;
      if (one === winner) {
        use.inForce++;
        for (const loser of ranked.slice(1)) count(use.losers, nameOf(loser));
        if (policy !== undefined && !("problem" in policy))
          for (const limit of policy.loweredBy ?? []) use.lowered.set(limit, policy.mode);
      } else count(use.winners, nameOf(winner));
    }
  }
  return uses;
}

function unused(): Use {
  return { selected: 0, inForce: 0, winners: new Map(), losers: new Map(), lowered: new Map() };
}

function count(map: Map<string, number>, name: string): void {
  map.set(name, (map.get(name) ?? 0) + 1);
}

function nameOf({ kind, name }: PolicyView): string {
  return `${kind}/${name}`;
}

/**
 * The status of a policy as it should be. `before` is the one it has: times move only where a fact flips.
 */
export function policyStatus(
  policy: PolicyView,
  use: Use = unused(),
  spent: Spent,
  triggers: TriggerFact | undefined,
  before: PolicyStatus,
  now: Date,
): PolicyStatus {
  const facts: Fact[] = [
    { type: "Ready", ...ready(policy, use) },
    { type: "Shadowed", ...shadowed(policy, use) },
    ...(triggers === undefined ? [] : [{ type: "TriggersReady" as const, ...triggers }]),
  ];
  const types = new Set<string>(facts.map(({ type }) => type));
  // What no longer applies goes, whoever has put it there.
  const known = (before.conditions ?? []).filter(({ type }) => types.has(type));
  const order = (type: string): number => POLICY_CONDITION_TYPES.indexOf(type as PolicyConditionType);
  return {
    observedGeneration: policy.generation,
    conditions: withFacts(known, facts, policy.generation, now).toSorted((a, b) => order(a.type) - order(b.type)),
    matchedWorkloads: use.inForce,
    ...spent,
  };
}

function ready(policy: PolicyView, use: Use): TriggerFact {
  if (policy.problem !== undefined) {
    const closed =
      policy.kind === "MemoryPolicy"
        ? "no investigation is begun for what it selects"
        : "no investigation is begun for what it is in force for, and nothing is touched wherever it could be meant";
    return { status: "False", reason: "InvalidSpec", message: `${policy.problem}. Until it is mended ${closed}` };
  }
  if (use.lowered.size > 0) {
    const limits = [...use.lowered].map(([limit, mode]) => `${limit} allows no more than ${mode}`).toSorted();
    const message = `Mode ${policy.spec.mode} is not allowed everywhere that this policy is in force: ${few(limits)}`;
    return { status: "False", reason: "DisallowedMode", message };
  }
  if (use.selected === 0)
    return { status: "True", reason: "SelectsNothing", message: "It selects no workload that has pods now" };
  if (use.inForce > 0) return { status: "True", reason: "InForce", message: `Mode ${policy.spec.mode} is in force` };
  // A policy of the cluster is a limit as well, and is there to be overruled by those of namespaces.
  if (policy.kind === "ClusterMemoryPolicy") {
    const message =
      "Policies that are more specific are in force for every workload that it selects; its limits hold for all of them";
    return { status: "True", reason: "OnlyLimits", message };
  }
  return {
    status: "False",
    reason: "Shadowed",
    message: `Of no workload it is the policy in force: ${few(names(use.winners))}`,
  };
}

function shadowed(policy: PolicyView, use: Use): TriggerFact {
  const own = nameOf(policy);
  if (use.winners.size > 0)
    return { status: "True", reason: "Shadowed", message: `${own} loses to ${few(names(use.winners))}` };
  const wins =
    use.losers.size === 0 ? "No other policy comes before it" : `${own} comes before ${few(names(use.losers))}`;
  return { status: "False", reason: "NotShadowed", message: wins };
}

function names(counted: ReadonlyMap<string, number>): string[] {
  return [...counted]
    .map(([name, workloads]) => `${name} (${workloads} ${workloads === 1 ? "workload" : "workloads"})`)
    .toSorted();
}

/** So many are named; a message is no list. */
const MAX_NAMED = 5;

function few(texts: readonly string[]): string {
  const more = texts.length - MAX_NAMED;
  return texts.slice(0, MAX_NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
