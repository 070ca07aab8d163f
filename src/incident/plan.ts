/**
 * The story of an incident, as a pure function: given one snapshot, what should be written down, and what should be done next.
 * Status is written before anything is done, so an intent is always on record first; nothing is claimed before it was seen.
 */
import {
  MAX_TIMELINE,
  type Finding,
  type Kill,
  type MemoryInvestigation,
  type MemoryInvestigationStatus,
  type Result,
  type TimelineEntry,
} from "../api/memoryinvestigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice } from "./actions.ts";
import { planCollecting, type CollectingStep } from "./collecting.ts";
import { clip, timeText, withFacts, type Fact } from "./conditions.ts";
import { endedAt, planIntake, shownKills } from "./intake.ts";
import { countKills, freshKills } from "./ledger.ts";
import { planMitigation, takenUp, underWay, type MitigationStep } from "./mitigation.ts";
import { withNotified } from "./notified.ts";
import type { EffectivePolicy, Observation } from "./observation.ts";
import { policyFor } from "./policy.ts";
import { guardName, planPreservation, releaseAction, type PreservationStep } from "./preservation.ts";
import { reportsFor } from "./reports.ts";

/** What to do about one investigation. */
export interface InvestigationPlan {
  readonly investigation: MemoryInvestigation;
  /** Written first, and only if it differs. Undefined: the object is being deleted. */
  readonly status: MemoryInvestigationStatus | undefined;
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
}

export interface Plan {
  readonly investigations: readonly InvestigationPlan[];
  /** Actions that belong to no investigation yet. */
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly requeueAfterMs?: number;
}

/** Finalizer that stays while something of somebody else must be put back. */
export const FINALIZER = "oomscope.dev/put-back";

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
  const last = step.status?.collections?.findLast((c) => c.state === "Complete" || c.state === "Partial");
  const archive = last === undefined ? undefined : seen.archives[last.id];
  if (step.status === undefined || evidence === undefined || archive === undefined) return step;
  const { message: _, ...told } = evidence;
  const problem = archive.problem === undefined ? {} : { message: clip(archive.problem, 512) };
  return { ...step, status: { ...step.status, evidence: { ...told, ...archive.pack, ...problem } } };
}

type Step = InvestigationPlan & { readonly againMs?: number };
/** What the parts of a step have in common. */
type StepParts = {
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly againMs?: number;
};

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
    return draft(
      counted,
      now,
      [fact("Succeeded", "Unknown", "Suspended", "spec.suspend is true: nothing new is started")],
      "Suspended",
    );
  }
  const policy = policyFor(seen, investigation);
  if ("problem" in policy) {
    // What has been changed is followed to its end, whatever has become of the policy.
    if (underWay(counted)?.state === "RollingOut") return remedy(seen, counted, { policy: undefined, now }, []);
    if (endedAt(investigation) !== undefined) return planUpkeep(seen, counted, now);
    return stalled(counted, now, policy.problem, policy.message);
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
  return { ...investigation, status: withEntries(status, told.map(killEntry)) };
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
  if (investigation.status?.finding !== undefined) return remedy(seen, investigation, { policy, now }, []);
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

interface Common {
  /** Undefined while there is none that can be used. */
  readonly policy: EffectivePolicy | undefined;
  readonly now: Date;
}

/** Does something about the finding that status has, or says why not; what is kept for evidence is looked after meanwhile. */
function remedy(
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

function findingText({ verdict, confidencePercent, summary }: Finding): string {
  return `${verdict} (${confidencePercent} %): ${summary}`;
}

function diagnose(
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
  if (!inconclusive) return remedy(seen, known, common, [...facts, told], preserving, collecting);
  return end(known, common, [...facts, told], "Inconclusive", told.reason, told.message, preserving, collecting);
}

function preservingFact(step: PreservationStep): Fact {
  return { type: "PodPreserved", ...step.fact };
}

function collectingFact(step: CollectingStep): Fact {
  return { type: "EvidenceCollected", ...step.fact };
}

function withPreserved(investigation: MemoryInvestigation, step: PreservationStep): MemoryInvestigation {
  if (step.preserved === undefined) return investigation;
  return { ...investigation, status: { ...investigation.status, preserved: step.preserved } };
}

/** On its way: Succeeded is unknown, Reconciling is true. */
function progress(
  investigation: MemoryInvestigation,
  { policy, now }: Common,
  facts: readonly Fact[],
  stage: NonNullable<MemoryInvestigationStatus["stage"]>,
  ...steps: readonly StepParts[]
): Step {
  const running = facts.at(-1);
  const step = draft(
    withPolicy(investigation, policy),
    now,
    [
      ...facts,
      fact("Succeeded", "Unknown", "InProgress", running?.message ?? "The investigation has begun"),
      fact("Reconciling", "True", "InProgress", `Stage ${stage}`),
      fact("Stalled", "False", "InProgress", "Nothing is needed from a person"),
    ],
    stage,
  );
  return gather(step, investigation, steps);
}

function end(
  investigation: MemoryInvestigation,
  { policy, now }: Common,
  facts: readonly Fact[],
  result: Result,
  reason: Reason,
  message: string,
  ...steps: readonly StepParts[]
): Step {
  const ended = withPolicy(investigation, policy);
  const step = draft(
    { ...ended, status: { ...ended.status, result } },
    now,
    [
      ...facts,
      fact("Succeeded", result === "Failed" ? "False" : "True", reason, message),
      fact("Reconciling", "False", "Ended", `The investigation has ended: ${result}`),
      fact("Stalled", result === "Failed" ? "True" : "False", result === "Failed" ? reason : "Ended", message),
    ],
    "Done",
  );
  const told: Notice = { type: result === "Failed" ? "Warning" : "Normal", reason, message, also: ["Target"] };
  return gather({ ...step, notices: [told] }, investigation, steps);
}

function stalled(investigation: MemoryInvestigation, now: Date, reason: Reason, message: string): Step {
  return {
    ...draft(
      investigation,
      now,
      [
        fact("Succeeded", "Unknown", reason, message),
        fact("Reconciling", "False", reason, message),
        fact("Stalled", "True", reason, message),
      ],
      "Pending",
    ),
    againMs: 30_000,
  };
}

function withPolicy(investigation: MemoryInvestigation, policy: EffectivePolicy | undefined): MemoryInvestigation {
  if (policy === undefined) return investigation;
  const { kind, name, generation, mode } = policy;
  return { ...investigation, status: { ...investigation.status, policy: { kind, name, generation, mode } } };
}

/** Adds what the steps want done. The finalizer comes before anything that would have to be put back, and goes after all of it. */
function gather(step: Step, investigation: MemoryInvestigation, steps: readonly StepParts[]): Step {
  const actions = steps.flatMap((s) => s.actions);
  const times = steps.flatMap((s) => (s.againMs === undefined ? [] : [s.againMs]));
  return {
    ...step,
    actions: withFinalizer(investigation, actions),
    notices: [...steps.flatMap((s) => s.notices), ...step.notices],
    ...(times.length === 0 ? {} : { againMs: Math.min(...times) }),
  };
}

/** While the finalizer is there something may have to be put back: the guard goes first, and is asked for again after a crash in between. */
function withFinalizer(investigation: MemoryInvestigation, actions: readonly Action[]): Action[] {
  const { name, uid, finalizers = [] } = investigation.metadata;
  const has = finalizers.includes(FINALIZER);
  const changes = actions.some((a) => a.kind === "PreservePod");
  const { preserved } = investigation.status ?? {};
  const nothingLeft = preserved === undefined || preserved.state === "Released" || preserved.state === "Lost";
  if (changes && !has) return [{ kind: "SetFinalizer", investigation: name, uid, present: true }, ...actions];
  if (changes || !has || !nothingLeft) return [...actions];
  return [
    ...actions,
    { kind: "RemoveGuard", name: guardName(investigation), investigationUid: uid },
    { kind: "SetFinalizer", investigation: name, uid, present: false },
  ];
}

/** An ended investigation still keeps its promises: the ttl of its pod, and kills that come in its cool-down. */
function planUpkeep(seen: Observation, investigation: MemoryInvestigation, now: Date): Step {
  const base: Step = { investigation, status: investigation.status ?? {}, actions: [], notices: [] };
  if (investigation.status?.preserved === undefined) return base;
  const policy = policyFor(seen, investigation);
  if ("problem" in policy && investigation.status.preserved.state === "Intended") return base;
  const step = planPreservation(seen, investigation, policy as EffectivePolicy, now);
  const kept = withPreserved(investigation, step);
  const conditions = withFacts(kept.status?.conditions, [preservingFact(step)], investigation.metadata.generation, now);
  return gather({ ...base, status: { ...kept.status, conditions } }, kept, [step]);
}

/** Before the object may go, everything of other people's is put back. */
function planDeletion(seen: Observation, investigation: MemoryInvestigation): Step {
  const { metadata, status } = investigation;
  const base: Step = { investigation, status: undefined, actions: [], notices: [] };
  const actions: Action[] = [];
  for (const collection of status?.collections ?? []) {
    const job = seen.jobs[collection.job];
    if (job !== undefined && !job.complete && !job.failed)
      actions.push({ kind: "DeleteCollectionJob", name: job.name, uid: job.uid });
  }
  if (!(metadata.finalizers ?? []).includes(FINALIZER)) return { ...base, actions };

  const preserved = status?.preserved;
  const pod = seen.pods.find((p) => p.uid === preserved?.uid);
  if (preserved !== undefined && pod?.labels["oomscope.dev/preserved"] === metadata.uid) {
    return { ...base, actions: [...actions, releaseAction(seen, investigation, preserved)], againMs: 1000 };
  }
  return {
    ...base,
    actions: [
      ...actions,
      { kind: "RemoveGuard", name: guardName(investigation), investigationUid: metadata.uid },
      { kind: "SetFinalizer", investigation: metadata.name, uid: metadata.uid, present: false },
    ],
  };
}

function fact(type: Fact["type"], status: Fact["status"], reason: Reason, message: string): Fact {
  return { type, status, reason, message };
}

function draft(
  investigation: MemoryInvestigation,
  now: Date,
  facts: readonly Fact[],
  stage: NonNullable<MemoryInvestigationStatus["stage"]>,
): Step {
  const { generation } = investigation.metadata;
  const before = investigation.status ?? {};
  const conditions = withFacts(before.conditions, facts, generation, now);
  const flipped = facts.filter((f) => {
    const old = before.conditions?.find((c) => c.type === f.type);
    // That something is about to be changed belongs to the story as well.
    const told = f.status !== "Unknown" || f.reason === "RollingBack";
    return STORY.includes(f.type) && told && (old?.status !== f.status || old.reason !== f.reason);
  });
  const status: MemoryInvestigationStatus = {
    ...before,
    stage,
    conditions,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  };
  const told = flipped.map((f) => ({ time: timeText(now), event: f.reason, message: clip(f.message, 256) }));
  return { investigation, status: withEntries(status, told), actions: [], notices: [] };
}

/** The conditions whose changes make the timeline. */
const STORY: readonly Fact["type"][] = ["PodPreserved", "EvidenceCollected", "Diagnosed", "Mitigated"];

function withEntries(status: MemoryInvestigationStatus, entries: readonly TimelineEntry[]): MemoryInvestigationStatus {
  if (entries.length === 0) return status;
  const timeline = [...(status.timeline ?? []), ...entries].toSorted((a, b) => a.time.localeCompare(b.time));
  return { ...status, timeline: timeline.slice(-MAX_TIMELINE) };
}
