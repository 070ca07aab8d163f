/**
 * The story of an incident, as a pure function: given one snapshot, what should be written down, and what should be done next.
 * Status is written before anything is done, so an intent is always on record first; nothing is claimed before it was seen.
 */
import type { Kill, MemoryInvestigation, TimelineEntry } from "../api/memoryinvestigation.ts";
import type { Action, Notice } from "./actions.ts";
import { collectingFact, planCollecting } from "./collecting.ts";
import { clip } from "./conditions.ts";
import { diagnose } from "./diagnosing.ts";
import { endedAt, openedEntries, planIntake, shownKills } from "./intake.ts";
import { countKills, freshKills } from "./ledger.ts";
import { takenUp, underWay } from "./mitigation.ts";
import { withNotified } from "./notified.ts";
import type { EffectivePolicy, Observation } from "./observation.ts";
import { policyFor } from "./policy.ts";
import { planPreservation, preservingFact, withPreserved } from "./preservation.ts";
import { actOnFinding } from "./outcome.ts";
import { reportsFor } from "./reports.ts";
import { draft, end, fact, progress, stalled, withEntries, type InvestigationPlan, type Step } from "./step.ts";
import { planDeletion, planUpkeep, standingStill, withoutPolicy } from "./upkeep.ts";
import { askedUndo } from "./undo.ts";
import { validating } from "./validation.ts";

export interface Plan {
  readonly investigations: readonly InvestigationPlan[];
  /** Actions that belong to no investigation yet. */
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly requeueAfterMs?: number;
}

export function plan(seen: Observation, now: Date): Plan {
  const live = seen.investigations.filter((i) => i.metadata.deletionTimestamp === undefined);
  const active = live.find((i) => endedAt(i) === undefined) ?? live.findLast((i) => takenUp(i));
  const intake = planIntake(seen, active, now);

  let again = intake.againMs;
  const plans: InvestigationPlan[] = [];
  for (const investigation of seen.investigations) {
    const joined = intake.join?.investigation === investigation ? intake.join.kills : [];
    const step = told(seen, fenced(seen, archived(seen, planOne(seen, investigation, active, joined, now))));
    plans.push(step);
    if (step.againMs !== undefined) again = Math.min(again ?? step.againMs, step.againMs);
  }
  return {
    investigations: plans,
    actions: intake.actions,
    notices: intake.notices,
    ...(again === undefined ? {} : { requeueAfterMs: again }),
  };
}

/** The epoch of this leader goes into what is still active: a predecessor that wakes up then finds its reads stale. */
function fenced(seen: Observation, step: Step): Step {
  if (step.status === undefined || endedAt(step.investigation) !== undefined) return step;
  return { ...step, status: { ...step.status, leaderEpoch: seen.epoch } };
}

/** Says what people were told, also of what has ended: a receiver may have been away for long. */
function told(seen: Observation, step: Step): Step {
  if (step.status === undefined) return step;
  return { ...step, status: withNotified(step.status, step.investigation.metadata.uid, seen) };
}

/** Says where the pack lies now: an upload may end long after the investigation has. */
function archived(seen: Observation, step: Step): Step {
  const evidence = step.status?.evidence;
  const last = step.status?.collections?.findLast(
    (c) => c.purpose === "Diagnose" && (c.state === "Complete" || c.state === "Partial"),
  );
  const archive = last === undefined ? undefined : seen.archives[last.id];
  if (step.status === undefined || evidence === undefined || archive === undefined) return step;
  const { message: _, ...told } = evidence;
  const problem = archive.problem === undefined ? {} : { message: clip(archive.problem, 512) };
  return { ...step, status: { ...step.status, evidence: { ...told, ...archive.pack, ...problem } } };
}

function planOne(
  seen: Observation,
  investigation: MemoryInvestigation,
  active: MemoryInvestigation | undefined,
  joined: readonly Kill[],
  now: Date,
): Step {
  if (investigation.metadata.deletionTimestamp !== undefined) return planDeletion(seen, investigation);

  const counted = withKills(seen, investigation, active, joined);
  if (endedAt(investigation) !== undefined && investigation !== active) return planUpkeep(seen, counted, now);
  if (investigation !== active) {
    return draft(
      counted,
      now,
      [
        fact(
          "Succeeded",
          "Unknown",
          "AnotherInvestigationActive",
          `${active?.metadata.name ?? "Another"} is active for the same workload; this one waits for it`,
        ),
      ],
      "Pending",
    );
  }
  if (investigation.spec.suspend) {
    const why = fact("Succeeded", "Unknown", "Suspended", "spec.suspend is true: nothing new is started");
    return standingStill(seen, draft(counted, now, [why], "Suspended"), now);
  }
  const policy = policyFor(seen, investigation);
  if ("problem" in policy) {
    // What has been changed is followed to its end, whatever has become of the policy.
    if (isFollowed(counted) && endedAt(investigation) === undefined)
      return actOnFinding(seen, counted, { policy: undefined, now }, []);
    if (endedAt(investigation) !== undefined) return planUpkeep(seen, counted, now);
    return withoutPolicy(seen, counted, policy, now);
  }
  if (seen.target === undefined && investigation.status?.collections === undefined) {
    const { kind, name } = investigation.spec.targetRef;
    return stalled(
      counted,
      now,
      "TargetNotFound",
      `No ${kind} named ${name} is in namespace ${seen.key.namespace}; the investigation begins when there is one`,
    );
  }
  return planActive(seen, counted, policy, now);
}

/** What it has changed has not come to its end, and needs no policy for that. */
function isFollowed(investigation: MemoryInvestigation): boolean {
  if (underWay(investigation)?.state === "RollingOut" || validating(investigation)) return true;
  const unhelpful = investigation.status?.mitigations?.some(({ validated }) => validated === "Fail") === true;
  return unhelpful || askedUndo(investigation) !== undefined;
}

/**
 * The investigation with its kills counted; all later steps read the status from here. The kernel's reports are counted for the active one only:
 * also in the pass that ends it, because they come with the finding.
 */
function withKills(
  seen: Observation,
  investigation: MemoryInvestigation,
  active: MemoryInvestigation | undefined,
  joined: readonly Kill[],
): MemoryInvestigation {
  const livePods = new Set(seen.pods.map((pod) => pod.uid));
  const before = investigation.status ?? {};
  const shown = shownKills(seen);
  const reports = investigation === active ? reportsFor(seen, investigation, shown, joined) : [];
  const status = countKills(before, { joined, shown, reports }, livePods);
  const told = freshKills(before.kills, status.kills).slice(-MAX_TOLD);
  return { ...investigation, status: withEntries(status, [...openedEntries(investigation), ...told.map(killEntry)]) };
}

/** A storm of kills fills no timeline: only this many of one pass are told there. */
const MAX_TOLD = 4;

function killEntry(kill: Kill): TimelineEntry {
  const where = kill.node === undefined ? "" : ` on ${kill.node}`;
  const message = `${kill.container ?? "pod"} of ${kill.pod.name}${where}`;
  return { time: kill.time, event: kill.classification, message: clip(message, 256) };
}

function planActive(seen: Observation, given: MemoryInvestigation, policy: EffectivePolicy, now: Date): Step {
  const investigation = goesOn(given);
  // With the finding in status the evidence has done its work: the pack may be gone.
  if (investigation.status?.finding !== undefined) return actOnFinding(seen, investigation, { policy, now }, []);
  const preserving = planPreservation(seen, investigation, policy, now);
  const kept = withPreserved(investigation, preserving);
  const common = { policy, now };
  if (!preserving.settled) return progress(kept, common, [preservingFact(preserving)], "Preserving", preserving);

  const collecting = planCollecting(seen, kept, policy, now);
  const collected: MemoryInvestigation = {
    ...kept,
    status: {
      ...kept.status,
      ...(collecting.collections.length === 0 ? {} : { collections: [...collecting.collections] }),
    },
  };
  const facts = [preservingFact(preserving), collectingFact(collecting)];
  if (collecting.failed)
    return end(
      collected,
      common,
      facts,
      "Failed",
      collecting.fact.reason,
      collecting.fact.message,
      preserving,
      collecting,
    );
  if (collecting.evidence === undefined)
    return progress(collected, common, facts, "Collecting", preserving, collecting);
  return diagnose(seen, collected, common, facts, collecting, preserving);
}

/** One that is taken up again has no result any more. */
function goesOn(investigation: MemoryInvestigation): MemoryInvestigation {
  const { result: _result, ...status } = investigation.status ?? {};
  return { ...investigation, status };
}
