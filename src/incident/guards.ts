/**
 * May this action be taken now? One ordered list of guards, each a pure function that says nothing or why not. The first that speaks
 * decides, and its reason goes unchanged into status and condition. State is in status: nothing here remembers.
 */
import { durationMs } from "../api/fields.ts";
import type { Finding, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Mitigation } from "../api/memorypolicy.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Refusal } from "./actions.ts";
import { gitOpsOwner } from "./gitops.ts";
import { markOf, optedOut } from "./marks.ts";
import { keyText, type EffectivePolicy, type Observation, type TargetState } from "./observation.ts";
import { selects } from "./policy.ts";
import { ownKills, type RollbackChoice } from "./rollback.ts";

/** Everything that a guard may look at. */
export interface MitigationQuestion {
  readonly seen: Observation;
  readonly investigation: MemoryInvestigation;
  readonly finding: Finding;
  readonly policy: EffectivePolicy;
  readonly mitigation: Mitigation;
  /** What status has of this action so far. */
  readonly record: MitigationRecord | undefined;
  /** Undefined where the target could not be read. */
  readonly choice: RollbackChoice | undefined;
  readonly now: Date;
}

export interface MitigationGuard {
  /** What a refusal means. No: not for this finding. Ask: a person may give leave. NotYet: it may pass by itself. */
  readonly means: "No" | "Ask" | "NotYet";
  readonly refuse: (question: MitigationQuestion) => Refusal | undefined;
}

const no = (refuse: MitigationGuard["refuse"]): MitigationGuard => ({ means: "No", refuse });
const notYet = (refuse: MitigationGuard["refuse"]): MitigationGuard => ({ means: "NotYet", refuse });

/** What can never be comes before what a person is asked for, and that before what only has to be waited for. */
export const MITIGATION_GUARDS: readonly MitigationGuard[] = [
  no(modeObserve),
  no(actionNotAllowed),
  no(actionNotSupported),
  no(verdictNotCovered),
  no(verdictTooWeak),
  no(targetGone),
  notYet(targetUnreadable),
  no(ownerOptedOut),
  no(rolloutHeld),
  no(templateReplaced),
  no(onsetBeforeRollout),
  no(onsetUnknown),
  no(noHealthyRevision),
  no(proposalStale),
  no(deniedByPerson),
  { means: "Ask", refuse: approvalMissing },
  { means: "Ask", refuse: gitOpsReverts },
  notYet(paused),
  notYet(rolloutInProgress),
  notYet(tooFewReady),
  notYet(disruptionBudget),
  notYet(coolingDown),
  notYet(workloadBudget),
  notYet(policyBudget),
  notYet(clusterBudget),
  notYet(stormBrake),
];

export interface GuardAnswer extends Refusal {
  readonly means: MitigationGuard["means"];
}

/** The first refusal in the order of the list; undefined: the action may be taken. */
export function firstRefusal(
  question: MitigationQuestion,
  guards: readonly MitigationGuard[] = MITIGATION_GUARDS,
): GuardAnswer | undefined {
  for (const { means, refuse } of guards) {
    const refusal = refuse(question);
    if (refusal !== undefined) return { ...refusal, means };
  }
  return undefined;
}

/** What each guard says, whatever the others say: for people who ask what would happen. A guard is named after its function. */
export function everyAnswer(
  question: MitigationQuestion,
  guards: readonly MitigationGuard[] = MITIGATION_GUARDS,
): readonly { readonly guard: string; readonly answer: GuardAnswer | undefined }[] {
  return guards.map(({ means, refuse }) => {
    const refusal = refuse(question);
    return { guard: refuse.name, answer: refusal === undefined ? undefined : { ...refusal, means } };
  });
}

function refusal(reason: Reason, message: string): Refusal {
  return { reason, message };
}

function targetOf({ seen }: MitigationQuestion): TargetState | undefined {
  return seen.targetState === undefined || "problem" in seen.targetState ? undefined : seen.targetState;
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

const ROLLS_OUT: ReadonlySet<string> = new Set(["Deployment", "StatefulSet", "DaemonSet"]);

function actionNotSupported({ seen, mitigation: { action } }: MitigationQuestion): Refusal | undefined {
  if (action !== "Rollback") return refusal("ActionNotSupported", `This version cannot carry out ${action}`);
  if (ROLLS_OUT.has(seen.key.kind)) return undefined;
  return refusal("ActionNotSupported", `A ${seen.key.kind} has no revisions to roll back to`);
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

function targetUnreadable({ seen }: MitigationQuestion): Refusal | undefined {
  if (seen.targetState === undefined || !("problem" in seen.targetState)) return undefined;
  return refusal("WorkloadUnreadable", seen.targetState.problem);
}

function ownerOptedOut(question: MitigationQuestion): Refusal | undefined {
  const { action } = question.mitigation;
  if (!optedOut(targetOf(question)?.annotations ?? {}, action)) return undefined;
  return refusal("OptedOut", `The workload's annotation oomscope.dev/do-not-mitigate speaks against ${action}`);
}

function rolloutHeld(question: MitigationQuestion): Refusal | undefined {
  const held = targetOf(question)?.rollout.heldBy;
  return held === undefined ? undefined : refusal("RolloutHeld", held);
}

/** The finding speaks of one revision; a proposal and an intent of one template. Neither may be applied to another. */
function templateReplaced(question: MitigationQuestion): Refusal | undefined {
  const { investigation, finding, record, choice } = question;
  const state = targetOf(question);
  if (state === undefined) return undefined;
  if (record?.before !== undefined && record.before.templateHash !== state.templateHash)
    return refusal(
      "TemplateReplaced",
      `The template of ${record.before.revision} has been replaced since the decision`,
    );
  const found = finding.culprit?.revision ?? ownKills(investigation).at(-1)?.revision;
  if (found === undefined || choice?.current === undefined || choice.current.marks.includes(found)) return undefined;
  return refusal("TemplateReplaced", `The finding speaks of revision ${found}, but ${choice.current.name} runs now`);
}

function onsetBeforeRollout({ investigation, choice }: MitigationQuestion): Refusal | undefined {
  const current = choice?.current;
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

function onsetUnknown({ investigation, finding, mitigation, choice }: MitigationQuestion): Refusal | undefined {
  const current = choice?.current;
  if (!mitigation.when.onsetAfterRollout || current === undefined) return undefined;
  const kills = ownKills(investigation);
  const revisions = [finding.culprit?.revision, ...kills.map((kill) => kill.revision)];
  const proven = revisions.some((revision) => revision !== undefined && current.marks.includes(revision));
  const unknown = kills.filter(({ revision }) => revision === undefined).length;
  if (proven && unknown === 0) return undefined;
  const why = proven ? `of ${unknown} kills nobody knows the revision` : `nothing that was seen names ${current.name}`;
  return refusal("OnsetUnknown", `onsetAfterRollout is true, but ${why}`);
}

function noHealthyRevision({ choice }: MitigationQuestion): Refusal | undefined {
  if (choice === undefined || choice.healthy !== undefined) return undefined;
  return refusal("NoHealthyRevision", `No healthy revision to go back to: ${choice.why}`);
}

function proposalStale({ record, choice }: MitigationQuestion): Refusal | undefined {
  if (record?.after === undefined || choice?.healthy === undefined) return undefined;
  if (record.after.templateHash === choice.healthy.templateHash) return undefined;
  return refusal(
    "ProposalStale",
    `Revision ${record.after.revision} was proposed; it would be ${choice.healthy.name} now`,
  );
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

/** Whether a person has said no to the action for this finding. */
export function isDenied(
  investigation: MemoryInvestigation,
  { action, finding }: { readonly action: string; readonly finding: string },
): boolean {
  return (investigation.spec.deniedActions ?? []).some((d) => d.action === action && d.finding === finding);
}

function deniedByPerson({ investigation, finding, mitigation }: MitigationQuestion): Refusal | undefined {
  if (!isDenied(investigation, { action: mitigation.action, finding: finding.id })) return undefined;
  return refusal("DeniedByPerson", `A person has said no to ${mitigation.action} for finding ${finding.id}`);
}

/** By whose leave the action is taken, once no guard refuses. */
export function leaveOf({ investigation, mitigation, finding }: MitigationQuestion): "Policy" | "Person" {
  return isApproved(investigation, { action: mitigation.action, finding: finding.id }) ? "Person" : "Policy";
}

/** What a GitOps controller would put back is not begun by itself: the patch belongs into Git. A person may still want it, for example with its sync switched off. */
function gitOpsReverts(question: MitigationQuestion): Refusal | undefined {
  const { investigation, mitigation, finding } = question;
  const state = targetOf(question);
  const found = gitOpsOwner(state?.labels ?? {}, state?.annotations ?? {});
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

/** A roll-out that its controller has given up on is not under way: it is what a roll-back is for. */
function rolloutInProgress(question: MitigationQuestion): Refusal | undefined {
  const state = targetOf(question);
  if (state === undefined) return undefined;
  const { observed, desired, updated, total, stuck } = state.rollout;
  if (observed && stuck !== undefined) return undefined;
  if (!observed || question.choice?.current === undefined)
    return refusal("RolloutInProgress", "The workload's controller has not seen its newest template yet");
  if (updated >= desired && total <= updated) return undefined;
  return refusal("RolloutInProgress", `${updated} of ${Math.max(desired, total)} pods are of the newest template`);
}

/** @returns how many ready pods a roll-out leaves in the worst case, and how many there are */
function readiness({ rollout }: TargetState): { readonly left: number; readonly now: number } {
  return { left: Math.max(0, rollout.desired - rollout.mayBeUnavailable), now: rollout.ready };
}

function tooFewReady(question: MitigationQuestion): Refusal | undefined {
  const state = targetOf(question);
  if (state === undefined) return undefined;
  const { minAvailable } = question.mitigation;
  const { left, now } = readiness(state);
  if (left >= Math.min(minAvailable, now)) return undefined;
  return refusal(
    "TooFewReady",
    `A roll-out may leave ${left} of ${now} ready pods, mitigate[].minAvailable is ${minAvailable}`,
  );
}

/** Roll-outs do not ask PodDisruptionBudgets; oomscope does. */
function disruptionBudget(question: MitigationQuestion): Refusal | undefined {
  const state = targetOf(question);
  if (state === undefined) return undefined;
  const { left, now } = readiness(state);
  for (const { name, selector, desiredHealthy } of state.budgets) {
    if (!selects(selector, state.templateLabels)) continue;
    if (desiredHealthy === undefined)
      return refusal("DisruptionBudget", `PodDisruptionBudget ${name} has not been computed yet`);
    if (left < Math.min(desiredHealthy, now))
      return refusal(
        "DisruptionBudget",
        `A roll-out may leave ${left} of ${now} ready pods, PodDisruptionBudget ${name} asks for ${desiredHealthy}`,
      );
  }
  return undefined;
}

function coolingDown(question: MitigationQuestion): Refusal | undefined {
  const { seen, investigation, policy, now } = question;
  const mark = markOf(targetOf(question)?.annotations ?? {});
  const times = [
    ...earlier(question).flatMap((m) => (m.workload === keyText(seen.key) ? [m.intended] : [])),
    // The mark stays when the investigation is deleted: cool-downs cannot be had anew by deleting.
    ...(mark === undefined || mark.investigation === investigation.metadata.uid ? [] : [mark.time]),
  ];
  const last = times.toSorted().at(-1);
  if (last === undefined) return undefined;
  const cooldown = durationMs(policy.spec.budget.cooldown);
  if (now.getTime() - Date.parse(last) >= cooldown) return undefined;
  return refusal(
    "CoolingDown",
    `The workload was mitigated at ${last}, budget.cooldown is ${policy.spec.budget.cooldown}`,
  );
}

const DAY_MS = 24 * 3600_000;

/**
 * Mitigations of other investigations in the last day. Of two that were intended without knowing of each other only one counts the
 * other, so that they do not both stand back.
 */
function earlier({ seen, investigation, record, now }: MitigationQuestion): Observation["mitigated"] {
  const { uid } = investigation.metadata;
  const order = (intended: string, of: string): string => `${intended} ${of}`;
  return seen.mitigated
    .filter((m) => m.investigationUid !== uid && now.getTime() - Date.parse(m.intended) < DAY_MS)
    .filter(
      (m) => record?.intended === undefined || order(m.intended, m.investigationUid) < order(record.intended, uid),
    );
}

function workloadBudget(question: MitigationQuestion): Refusal | undefined {
  const max = question.policy.spec.budget.maxMitigationsPerDay;
  const count = earlier(question).filter((m) => m.workload === keyText(question.seen.key)).length;
  if (count < max) return undefined;
  return refusal(
    "WorkloadBudgetSpent",
    `The workload has had ${count} mitigations in 24 hours, budget.maxMitigationsPerDay is ${max}`,
  );
}

/** `Kind/namespace/name`: two namespaces may have policies of one name. */
export function policyIdentity(policy: { readonly kind: string; readonly name: string }, namespace: string): string {
  return `${policy.kind}/${policy.kind === "MemoryPolicy" ? namespace : ""}/${policy.name}`;
}

function policyBudget(question: MitigationQuestion): Refusal | undefined {
  const { policy, seen } = question;
  const max = policy.spec.budget.maxMitigationsPerDay;
  const identity = policyIdentity(policy, seen.key.namespace);
  const count = earlier(question).filter((m) => m.policy === identity).length;
  if (count < max) return undefined;
  return refusal(
    "PolicyBudgetSpent",
    `Policy ${policy.name} has had ${count} mitigations in 24 hours, budget.maxMitigationsPerDay is ${max}`,
  );
}

function clusterBudget(question: MitigationQuestion): Refusal | undefined {
  const max = question.policy.cluster.maxMitigationsPerDay;
  const count = earlier(question).length;
  if (count < max) return undefined;
  return refusal(
    "ClusterBudgetSpent",
    `The cluster has had ${count} mitigations in 24 hours, clusterBudget.maxMitigationsPerDay is ${max}`,
  );
}

function stormBrake({ seen, policy, now }: MitigationQuestion): Refusal | undefined {
  const { investigations, withinMs } = policy.cluster.storm;
  const count = seen.begun.filter((time) => now.getTime() - Date.parse(time) < withinMs).length;
  if (count < investigations) return undefined;
  return refusal(
    "StormBrake",
    `${count} investigations began in the last ${Math.round(withinMs / 1000)} s, clusterBudget.storm allows fewer than ${investigations}`,
  );
}
