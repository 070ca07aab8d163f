/**
 * May this action be taken now? One ordered list of guards, each a pure function that says nothing or why not. The first that speaks
 * decides, and its reason goes unchanged into status and condition. State is in status: nothing here remembers. What is here holds for
 * every action; each action brings guards of its own.
 */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Refusal } from "./actions.ts";
import { clusterBudget, coolingDown, policyBudget, stormBrake, workloadBudget } from "./budgetguards.ts";
import { gitOpsOwner } from "./gitops.ts";
import { optedOut } from "./marks.ts";
import { ownKills } from "./ownkills.ts";
import { refusal, targetOf, type MitigationGuard, type MitigationQuestion, type Remedy } from "./remedies/remedy.ts";

const no = (refuse: MitigationGuard["refuse"]): MitigationGuard => ({ means: "No", refuse });
const notYet = (refuse: MitigationGuard["refuse"]): MitigationGuard => ({ means: "NotYet", refuse });

/** What can never be comes before what a person is asked for, and that before what only has to be waited for. */
export function guardsOf(remedy: Remedy | undefined): readonly MitigationGuard[] {
  return [
    no(modeObserve),
    no(actionNotAllowed),
    no(actionNotSupported),
    no(verdictNotCovered),
    no(verdictTooWeak),
    no(targetGone),
    notYet(targetUnreadable),
    no(ownerOptedOut),
    no(templateReplaced),
    no(onsetUnknown),
    ...(remedy?.never ?? []).map(no),
    no(cannotBeDone),
    { means: "Ask", refuse: approvalMissing },
    { means: "Ask", refuse: gitOpsReverts },
    notYet(paused),
    ...(remedy?.wait ?? []).map(notYet),
    notYet(coolingDown),
    notYet(workloadBudget),
    notYet(policyBudget),
    notYet(clusterBudget),
    notYet(stormBrake),
  ];
}

export interface GuardAnswer extends Refusal {
  readonly means: MitigationGuard["means"];
}

/** The first refusal in the order of the list; undefined: the action may be taken. */
export function firstRefusal(
  question: MitigationQuestion,
  guards: readonly MitigationGuard[] = guardsOf(question.remedy),
): GuardAnswer | undefined {
  for (const { means, refuse } of guards) {
    const answer = refuse(question);
    if (answer !== undefined) return { ...answer, means };
  }
  return undefined;
}

function modeObserve({ policy }: MitigationQuestion): Refusal | undefined {
  if (policy.mode !== "Observe") return undefined;
  return refusal("ModeObserve", `Policy ${policy.name} is in mode Observe: nothing is touched`);
}

function actionNotAllowed({ policy, mitigation: { action } }: MitigationQuestion): Refusal | undefined {
  if (policy.allowedActions.includes(action)) return undefined;
  const allowed = policy.allowedActions.join(", ");
  return refusal("ActionNotAllowed", `${action} is not among what the cluster's policies allow here (${allowed})`);
}

function actionNotSupported({ seen, remedy, mitigation: { action } }: MitigationQuestion): Refusal | undefined {
  if (remedy === undefined) return refusal("ActionNotSupported", `This version cannot carry out ${action}`);
  if (remedy.kinds.has(seen.key.kind)) return undefined;
  return refusal("ActionNotSupported", `${action} cannot be done to a ${seen.key.kind}`);
}

function verdictNotCovered({
  finding: { verdict },
  mitigation: { action, when },
}: MitigationQuestion): Refusal | undefined {
  const covered =
    when.verdicts === undefined
      ? verdict !== "Inconclusive" && verdict !== "BoundedSteady"
      : when.verdicts.includes(verdict);
  if (covered) return undefined;
  return refusal("VerdictNotCovered", `${action} is not meant for ${verdict}`);
}

function verdictTooWeak({ finding, mitigation: { when } }: MitigationQuestion): Refusal | undefined {
  if (finding.confidencePercent >= when.minConfidencePercent) return undefined;
  return refusal(
    "VerdictTooWeak",
    `${finding.verdict} is ${finding.confidencePercent} % sure, minConfidencePercent is ${when.minConfidencePercent}`,
  );
}

function targetGone({ seen, record }: MitigationQuestion): Refusal | undefined {
  const { kind, name } = seen.key;
  const state = seen.targetState;
  if (state === undefined) return refusal("TargetReplaced", `${kind} ${name} is gone`);
  if ("problem" in state) return undefined;
  if (state.deleting) return refusal("TargetReplaced", `${kind} ${name} is being deleted`);
  const uid = record?.target?.uid;
  if (uid === undefined || uid === state.uid) return undefined;
  return refusal("TargetReplaced", `${kind} ${name} was made anew since the decision`);
}

function targetUnreadable({ seen, proposal }: MitigationQuestion): Refusal | undefined {
  if (proposal?.unread !== undefined) return refusal("WorkloadUnreadable", proposal.unread);
  if (seen.targetState === undefined || !("problem" in seen.targetState)) return undefined;
  return refusal("WorkloadUnreadable", seen.targetState.problem);
}

function ownerOptedOut(question: MitigationQuestion): Refusal | undefined {
  const { action } = question.mitigation;
  if (!optedOut(targetOf(question)?.annotations ?? {}, action)) return undefined;
  return refusal("OptedOut", `The workload's annotation oomscope.dev/do-not-mitigate speaks against ${action}`);
}

/** The finding speaks of one revision; a proposal and an intent of one template. Neither may be applied to another. */
function templateReplaced(question: MitigationQuestion): Refusal | undefined {
  const { investigation, finding, mitigation, record, proposal } = question;
  const state = targetOf(question);
  if (state === undefined) return undefined;
  if (record?.before !== undefined && record.before.templateHash !== state.templateHash)
    return refusal(
      "TemplateReplaced",
      `The template of ${record.before.revision ?? "then"} has been replaced since the decision`,
    );
  // The template that a failed action of ours has left is no news.
  const left = (investigation.status?.mitigations ?? []).some(
    (m) => m.action !== mitigation.action && m.applied !== undefined && m.after?.templateHash === state.templateHash,
  );
  if (left) return undefined;
  const found = finding.culprit?.revision ?? ownKills(investigation).at(-1)?.revision;
  if (found === undefined || proposal?.current === undefined || proposal.current.marks.includes(found))
    return undefined;
  return refusal("TemplateReplaced", `The finding speaks of revision ${found}, but ${proposal.current.name} runs now`);
}

function onsetUnknown({ investigation, finding, mitigation, proposal }: MitigationQuestion): Refusal | undefined {
  const current = proposal?.current;
  if (!mitigation.when.onsetAfterRollout || current === undefined) return undefined;
  const kills = ownKills(investigation);
  const revisions = [finding.culprit?.revision, ...kills.map((kill) => kill.revision)];
  const proven = revisions.some((revision) => revision !== undefined && current.marks.includes(revision));
  const unknown = kills.filter(({ revision }) => revision === undefined).length;
  if (proven && unknown === 0) return undefined;
  const why = proven ? `of ${unknown} kills nobody knows the revision` : `nothing that was seen names ${current.name}`;
  return refusal("OnsetUnknown", `onsetAfterRollout is true, but ${why}`);
}

/** The action itself says that there is nothing it could do. */
function cannotBeDone({ proposal }: MitigationQuestion): Refusal | undefined {
  return proposal?.blocked;
}

function needsApproval({ policy, mitigation }: Pick<MitigationQuestion, "policy" | "mitigation">): boolean {
  return policy.mode !== "Enforce" || mitigation.approval === "Manual";
}

/** Whether a person has approved the action for this finding. */
export function isApproved(
  investigation: MemoryInvestigation,
  { action, finding }: { readonly action: string; readonly finding: string },
): boolean {
  return (investigation.spec.approvedActions ?? []).some((a) => a.action === action && a.finding === finding);
}

/** By whose leave the action is taken, once no guard refuses. */
export function leaveOf({ investigation, mitigation, finding }: MitigationQuestion): "Policy" | "Person" {
  return isApproved(investigation, { action: mitigation.action, finding: finding.id }) ? "Person" : "Policy";
}

/** What a GitOps controller would put back is not begun by itself: the patch belongs into Git. A person may still want it, for example with its sync switched off. */
function gitOpsReverts(question: MitigationQuestion): Refusal | undefined {
  const { investigation, mitigation, finding, proposal } = question;
  const found = gitOpsOwner(proposal?.touched.labels ?? {}, proposal?.touched.annotations ?? {});
  if (found?.change !== "Reverts") return undefined;
  if (isApproved(investigation, { action: mitigation.action, finding: finding.id })) return undefined;
  return refusal(
    "OwnedByGitOps",
    `${found.owner} would put it back: commit the patch there, or approve it here once that controller leaves the workload alone`,
  );
}

function approvalMissing(question: MitigationQuestion): Refusal | undefined {
  const { investigation, finding, mitigation } = question;
  const asked = { action: mitigation.action, finding: finding.id };
  if (!needsApproval(question) || isApproved(investigation, asked)) return undefined;
  const given = investigation.spec.approvedActions?.find((a) => a.action === mitigation.action);
  const other = given === undefined ? "" : `; the approval there is for finding ${given.finding}`;
  return refusal(
    "AwaitingApproval",
    `${mitigation.action} waits for approval: add {action: ${mitigation.action}, finding: ${finding.id}} to spec.approvedActions${other}`,
  );
}

function paused({ policy }: MitigationQuestion): Refusal | undefined {
  const [first, ...rest] = policy.pauses;
  if (first === undefined) return undefined;
  const more = rest.length === 0 ? "" : ` (and ${rest.length} more)`;
  return refusal("MitigationPaused", `Mitigation is paused by ${first}${more}`);
}
