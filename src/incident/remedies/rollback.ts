/**
 * Which revision would a workload be rolled back to, and what would that be by hand? The newest one that was healthy as far as anybody
 * knows, never simply the previous one; why the others are not taken is part of the answer.
 */
import { durationMs } from "../../api/fields.ts";
import type { Mitigation } from "../../api/memorypolicy.ts";
import type { Refusal } from "../actions.ts";
import { clip } from "../conditions.ts";
import { shownKills } from "../intake.ts";
import type { Observation, RevisionView, TargetState } from "../observation.ts";
import { isOwnKill, ownKills } from "../ownkills.ts";
import { patchText, templatePatch } from "../templates.ts";
import {
  currentRevision,
  refusal,
  targetFacts,
  touchedOf,
  type Entry,
  type Facts,
  type MitigationQuestion,
  type Proposal,
  type Remedy,
} from "./remedy.ts";
import { disruptionBudget, rolloutHeld, rolloutInProgress, tooFewReady, UNDO_ROLLOUT } from "./rolloutguards.ts";
import {
  reverseTemplate,
  revisionAfter,
  ROLLS_OUT,
  standsTemplate,
  templateAction,
  templateFacts,
  undoCommand,
} from "./templatechange.ts";

/** When a policy says nothing about it. */
const HEALTHY_FOR = "10m";

interface RollbackChoice {
  /** The revision whose template the workload has now; undefined while its controller has made none. */
  readonly current: RevisionView | undefined;
  /** The newest revision that was healthy. */
  readonly healthy: RevisionView | undefined;
  /** Why that one, or why none, for people. */
  readonly why: string;
}

/** @param seen a snapshot with the target's state */
function chooseRevision(seen: Observation, target: TargetState, mitigation: Mitigation): RollbackChoice {
  const current = currentRevision(target);
  const earlier = target.revisions
    .filter((revision) => revision.templateHash !== target.templateHash)
    .toSorted((a, b) => (b.number ?? -1) - (a.number ?? -1) || b.created.localeCompare(a.created));
  const marked = unhealthyMarks(seen);
  const passedOver: string[] = [];
  for (const revision of earlier) {
    const doubt = whyNot(revision, target.revisions, marked, mitigation);
    if (doubt === undefined) {
      const served = servedMs(revision, target.revisions);
      const others = passedOver.length === 0 ? "" : `. Passed over: ${passedOver.join("; ")}`;
      return {
        current,
        healthy: revision,
        why: clip(
          `${revision.name} was the newest for ${Math.floor((served ?? 0) / 1000)} s, and no kill of it is on record${others}`,
          1024,
        ),
      };
    }
    passedOver.push(`${revision.name}: ${doubt}`);
  }
  const why = passedOver.length === 0 ? "the workload has no other revision" : passedOver.join("; ");
  return { current, healthy: undefined, why: clip(why, 1024) };
}

/** Revisions that were killed, that were rolled away from, or from which a roll-back was undone, as their pods and records name them, with the reason. */
function unhealthyMarks(seen: Observation): ReadonlyMap<string, string> {
  const marks = new Map<string, string>();
  const kills = [...seen.investigations.flatMap(ownKills), ...shownKills(seen).filter(isOwnKill)];
  for (const { revision, time } of kills) {
    if (revision !== undefined) marks.set(revision, `a container of it was killed at ${time}`);
  }
  const records = seen.investigations.flatMap((i) => i.status?.mitigations ?? []);
  for (const { state, before, after, intended, since } of records.filter(({ action }) => action === "Rollback")) {
    if (before?.revision !== undefined && intended !== undefined)
      marks.set(before.revision, `it was rolled away from at ${intended}`);
    if (state === "Undone" && after?.revision !== undefined)
      marks.set(after.revision, `a roll-back to it was put back at ${since}`);
  }
  return marks;
}

function whyNot(
  revision: RevisionView,
  all: readonly RevisionView[],
  marked: ReadonlyMap<string, string>,
  mitigation: Mitigation,
): string | undefined {
  const mark = revision.marks.map((name) => marked.get(name)).find((text) => text !== undefined);
  if (mark !== undefined) return mark;
  // A controller gives the template that runs the highest number: one made earlier with a higher number was taken up after this one.
  const after = all.find((r) => (r.number ?? -1) > (revision.number ?? -1) && r.created < revision.created);
  if (after !== undefined) return `somebody went back from it to ${after.name}`;
  const served = servedMs(revision, all);
  if (served === undefined) return "nobody knows how long it ran";
  const needed = durationMs(mitigation.rollback?.healthyFor ?? HEALTHY_FOR);
  if (served < needed) {
    return `it was the newest for ${Math.floor(served / 1000)} s only, rollback.healthyFor is ${mitigation.rollback?.healthyFor ?? HEALTHY_FOR}`;
  }
  return undefined;
}

/** How long it was the newest: from its making to the making of the next. Undefined: nothing was made after it. */
function servedMs(revision: RevisionView, all: readonly RevisionView[]): number | undefined {
  const from = Date.parse(revision.created);
  const next = all.map((r) => Date.parse(r.created)).filter((time) => time > from);
  if (Number.isNaN(from) || next.length === 0) return undefined;
  return Math.min(...next) - from;
}

function propose(entry: Entry, target: TargetState): Proposal {
  const { current, healthy, why } = chooseRevision(entry.seen, target, entry.mitigation);
  const base = { current, touched: touchedOf(target) };
  if (healthy === undefined) {
    const blocked = refusal("NoHealthyRevision", `No healthy revision to go back to: ${why}`);
    return { ...base, words: "", blocked };
  }
  if (current === undefined) return { ...base, words: "" };
  const words = `to go back from ${current.name} to ${healthy.name}`;
  return { ...base, words, facts: { ...rollbackFacts(entry.seen.key.namespace, target, current, healthy), why } };
}

/** What status shows of the change, ready for people and bots. */
function rollbackFacts(namespace: string, target: TargetState, before: RevisionView, after: RevisionView): Facts {
  const patch = patchText(templatePatch(before.template, after.template));
  const undoPatch = patchText(templatePatch(after.template, before.template));
  const command = undoCommand(namespace, target, after.number);
  const back = undoCommand(namespace, target, before.number);
  return {
    target: targetFacts(target),
    before: templateFacts(before),
    after: templateFacts(after),
    ...(command === undefined ? {} : { command }),
    ...(back === undefined ? {} : { undoCommand: back }),
    ...(patch === undefined ? {} : { patch }),
    ...(undoPatch === undefined ? {} : { undoPatch }),
  };
}

function onsetBeforeRollout({ investigation, proposal }: MitigationQuestion): Refusal | undefined {
  const current = proposal?.current;
  if (current === undefined) return undefined;
  const other = ownKills(investigation).find(
    ({ revision }) => revision !== undefined && !current.marks.includes(revision),
  );
  if (other === undefined) return undefined;
  return refusal(
    "OnsetBeforeRollout",
    `A container of revision ${other.revision ?? ""} was killed as well, at ${other.time}; ${current.name} did not bring it`,
  );
}

function proposalStale({ record, proposal }: MitigationQuestion): Refusal | undefined {
  const after = proposal?.facts?.after;
  if (record?.after === undefined || after === undefined) return undefined;
  if (record.after.templateHash === after.templateHash) return undefined;
  return refusal(
    "ProposalStale",
    `Revision ${record.after.revision ?? ""} was proposed; it would be ${after.revision ?? ""} now`,
  );
}

export const rollback: Remedy = {
  kinds: ROLLS_OUT,
  begun: "RollingBack",
  done: "RolledBack",
  stuck: "RolloutStuck",
  never: [rolloutHeld, onsetBeforeRollout, proposalStale],
  wait: [rolloutInProgress, tooFewReady, disruptionBudget],
  propose,
  stand: (seen, record, uid) =>
    standsTemplate(seen, record, uid, {
      going: ({ after }) => `going back to ${after?.revision ?? ""}`,
      ended: ({ before, after }) => `went back from ${before?.revision ?? ""} to ${after?.revision ?? ""}`,
    }),
  act: (record, errand) => templateAction(record, errand, revisionAfter(record)),
  reverse: reverseTemplate,
  undoGuards: UNDO_ROLLOUT,
};
