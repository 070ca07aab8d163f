/**
 * What one pass says about one investigation: its status with every fact in its place, and what is to be done for it. Every way a pass can end,
 * on its way, at its end or stalled, is told here, so that conditions, timeline and finalizer are right on every path.
 */
import {
  MAX_TIMELINE,
  type MemoryInvestigation,
  type MemoryInvestigationStatus,
  type Result,
  type TimelineEntry,
} from "../api/memoryinvestigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice } from "./actions.ts";
import { clip, timeText, withFacts, type Fact } from "./conditions.ts";
import type { EffectivePolicy } from "./observation.ts";
import { guardName } from "./preservation.ts";
import { BEGUN } from "./remedies/remedies.ts";

/** What to do about one investigation. */
export interface InvestigationPlan {
  readonly investigation: MemoryInvestigation;
  /** Written first, and only if it differs. Undefined: the object is being deleted. */
  readonly status: MemoryInvestigationStatus | undefined;
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
}

export type Step = InvestigationPlan & { readonly againMs?: number };

/** What the parts of a step have in common. */
export type StepParts = {
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly againMs?: number;
};

export interface Common {
  /** Undefined while there is none that can be used. */
  readonly policy: EffectivePolicy | undefined;
  readonly now: Date;
}

/** Finalizer that stays while something of somebody else must be put back. */
export const FINALIZER = "oomscope.dev/put-back";

/** On its way: Succeeded is unknown, Reconciling is true. */
export function progress(
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

export function end(
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

export function stalled(investigation: MemoryInvestigation, now: Date, reason: Reason, message: string): Step {
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
export function gather(step: Step, investigation: MemoryInvestigation, steps: readonly StepParts[]): Step {
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

export function fact(type: Fact["type"], status: Fact["status"], reason: Reason, message: string): Fact {
  return { type, status, reason, message };
}

export function draft(
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
    const told = f.status !== "Unknown" || BEGUN.has(f.reason) || f.reason.startsWith("Validat");
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
const STORY: readonly Fact["type"][] = ["PodPreserved", "EvidenceCollected", "Diagnosed", "Mitigated", "Validated"];

export function withEntries(
  status: MemoryInvestigationStatus,
  entries: readonly TimelineEntry[],
): MemoryInvestigationStatus {
  if (entries.length === 0) return status;
  const timeline = [...(status.timeline ?? []), ...entries].toSorted((a, b) => a.time.localeCompare(b.time));
  return { ...status, timeline: timeline.slice(-MAX_TIMELINE) };
}
