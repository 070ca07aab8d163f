/**
 * Restarts the workload's pods one after the other, for a leak that cannot be mended yet: as `kubectl rollout restart` does, by a mark
 * in the template that changes nothing else. The workload's own strategy says how many pods go at once.
 */
import { timeText } from "../conditions.ts";
import { editedTemplate, type TemplateEdit } from "../templateedit.ts";
import { templateHash } from "../templates.ts";
import type { TargetState } from "../observation.ts";
import { currentRevision, refusal, targetFacts, touchedOf, type Entry, type Proposal, type Remedy } from "./remedy.ts";
import { disruptionBudget, heldPod, rolloutHeld, rolloutInProgress, tooFewReady } from "./rolloutguards.ts";
import { ROLLS_OUT, standsTemplate, templateAction, templateFacts } from "./templatechange.ts";

function editAt(time: string): TemplateEdit {
  return { restartedAt: time };
}

function propose({ seen, now }: Entry, target: TargetState): Proposal {
  const current = currentRevision(target);
  const base = { current, words: "to restart all pods one after the other", touched: touchedOf(target) };
  const restarted = editedTemplate(target.template, editAt(timeText(now)));
  if (current === undefined || restarted === undefined) return base;
  const { images } = templateFacts(current);
  return {
    ...base,
    facts: {
      target: targetFacts(target),
      before: templateFacts(current),
      after: { templateHash: templateHash(restarted), images },
      command: `kubectl -n ${seen.key.namespace} rollout restart ${target.kind.toLowerCase()}/${target.name}`,
    },
  };
}

export const restart: Remedy = {
  kinds: ROLLS_OUT,
  begun: "Restarting",
  done: "Restarted",
  stuck: "RolloutStuck",
  never: [rolloutHeld],
  wait: [heldPod, rolloutInProgress, tooFewReady, disruptionBudget],
  propose,
  stand: (seen, record, uid) =>
    standsTemplate(seen, record, uid, {
      going: () => "restarting all pods",
      ended: () => "restarted all pods",
    }),
  act: (record, errand) => templateAction(record, errand, { edit: editAt(record.intended ?? record.since) }),
  reverse: () => refusal("NothingToUndo", "A restart leaves nothing behind that could be put back"),
  undoGuards: [],
};
