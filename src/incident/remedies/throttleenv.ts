/** Throttles by environment variables of one container: a new template, which rolls out. The one before is kept by its controller. */
import type { Mitigation } from "../../api/memorypolicy.ts";
import type { TargetState } from "../observation.ts";
import { editedTemplate } from "../templateedit.ts";
import { templateHash } from "../templates.ts";
import { currentRevision, refusal, targetFacts, touchedOf, type Entry, type Proposal, type Remedy } from "./remedy.ts";
import {
  disruptionBudget,
  heldPod,
  rolloutHeld,
  rolloutInProgress,
  tooFewReady,
  UNDO_ROLLOUT,
} from "./rolloutguards.ts";
import {
  proposedTemplateStale,
  reverseTemplate,
  revisionAfter,
  ROLLS_OUT,
  standsTemplate,
  templateAction,
  templateFacts,
  undoCommand,
} from "./templatechange.ts";

type Env = NonNullable<NonNullable<Mitigation["throttle"]>["env"]>;

function propose(entry: Entry, target: TargetState): Proposal {
  const current = currentRevision(target);
  const env = entry.mitigation.throttle?.env;
  const base = { current, words: "", touched: touchedOf(target) };
  if (env === undefined) return base;
  const throttled = editedTemplate(target.template, { container: env.container, env: env.set });
  if (throttled === undefined) {
    const message = `The template has no container ${env.container}; name one of its own in throttle.env.container`;
    return { ...base, blocked: refusal("ActionDoesNotFit", message) };
  }
  const hash = templateHash(throttled);
  if (hash === target.templateHash)
    return { ...base, blocked: refusal("ActionDoesNotFit", `Container ${env.container} has these values already`) };
  const words = `to set ${Object.keys(env.set).join(", ")} of container ${env.container}`;
  if (current === undefined) return { ...base, words };
  const { images } = templateFacts(current);
  const { namespace } = entry.seen.key;
  const command = setCommand(namespace, target, env);
  const back = undoCommand(namespace, target, current.number);
  return {
    ...base,
    words,
    facts: {
      target: targetFacts(target),
      before: templateFacts(current),
      after: { templateHash: hash, images },
      ...(command === undefined ? {} : { command }),
      ...(back === undefined ? {} : { undoCommand: back }),
    },
  };
}

function setCommand(namespace: string, { kind, name }: TargetState, { container, set }: Env): string | undefined {
  const values = Object.entries(set).map(([key, value]) => `${key}='${value.replaceAll("'", String.raw`'\''`)}'`);
  const text = `kubectl -n ${namespace} set env ${kind.toLowerCase()}/${name} -c ${container} ${values.join(" ")}`;
  return text.length > 1024 ? undefined : text;
}

export const throttleEnv: Remedy = {
  kinds: ROLLS_OUT,
  begun: "Throttling",
  done: "Throttled",
  stuck: "RolloutStuck",
  never: [rolloutHeld, proposedTemplateStale],
  wait: [heldPod, rolloutInProgress, tooFewReady, disruptionBudget],
  propose,
  stand: (seen, record, uid) =>
    standsTemplate(seen, record, uid, {
      going: ({ after }) => (after?.revision === undefined ? "rolling the variables out" : "rolling them back"),
      ended: ({ after }) => (after?.revision === undefined ? "rolled the variables out" : "rolled them back"),
    }),
  act: (record, errand, mitigation) => {
    const env = mitigation?.throttle?.env;
    if (errand.purpose === "Undo" || env === undefined) return templateAction(record, errand, revisionAfter(record));
    return templateAction(record, errand, { edit: { container: env.container, env: env.set } });
  },
  reverse: reverseTemplate,
  undoGuards: UNDO_ROLLOUT,
};
