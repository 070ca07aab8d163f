/** What an investigation still owes after it has ended, and what must be put back before it may be deleted. */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Action } from "./actions.ts";
import { withFacts } from "./conditions.ts";
import type { EffectivePolicy, Observation } from "./observation.ts";
import { policyFor } from "./policy.ts";
import { guardName, planPreservation, preservingFact, releaseAction, withPreserved } from "./preservation.ts";
import { draft, fact, FINALIZER, gather, type Step } from "./step.ts";
import { askedUndo, planUndo, withoutOldAnswers, type UndoStep } from "./undo.ts";

/** An ended investigation still keeps its promises: what it did can be put back, its pod has a ttl, and kills come in its cool-down. */
export function planUpkeep(seen: Observation, given: MemoryInvestigation, now: Date): Step {
  const undo = askedUndo(given);
  const undoing = undo === undefined ? undefined : planUndo({ seen, investigation: given, now }, undo);
  const investigation = undoing === undefined ? given : withUndone(given, undoing, now);
  const records = undoing === undefined ? withoutOldAnswers(given) : undefined;
  const status = { ...investigation.status, ...(records === undefined ? {} : { mitigations: [...records] }) };
  const step = keptUp(seen, { ...investigation, status }, now);
  return undoing === undefined ? step : gather(step, { ...investigation, status }, [step, undoing]);
}

function withUndone(
  investigation: MemoryInvestigation,
  { records, fact: said }: UndoStep,
  now: Date,
): MemoryInvestigation {
  const before = investigation.status ?? {};
  const known = { ...investigation, status: { ...before, mitigations: [...records] } };
  const { status } = draft(
    known,
    now,
    [fact("Mitigated", said.status, said.reason, said.message)],
    before.stage ?? "Done",
  );
  return { ...investigation, ...(status === undefined ? {} : { status }) };
}

function keptUp(seen: Observation, investigation: MemoryInvestigation, now: Date): Step {
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
export function planDeletion(seen: Observation, investigation: MemoryInvestigation): Step {
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
