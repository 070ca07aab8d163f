/**
 * What would be done about a workload, and why? A dry run for people: the same pure functions that the plan is made of, asked on one snapshot, with
 * every guard's answer and not the first alone. Nothing is decided here.
 */
import type { Finding, MemoryInvestigation, PreservedPod, Verdict } from "../api/memoryinvestigation.ts";
import type { Mitigation } from "../api/memorypolicy.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import { podsToMeasure } from "./collecting.ts";
import { everyAnswer, type GuardAnswer } from "./guards.ts";
import { endedAt, planIntake, shownKills } from "./intake.ts";
import { questionOf } from "./remedies/remedies.ts";
import type { EffectivePolicy, Observation, PodView, PolicyView, WorkloadKey } from "./observation.ts";
import { bySpecificity, mismatch, policyFor, type PolicyQuestion } from "./policy.ts";
import { isServing, planPreservation, type PreservationStep } from "./preservation.ts";

export interface Explanation {
  readonly workload: WorkloadKey & {
    readonly exists: boolean;
    readonly pods: number;
    readonly ready: number;
    /** Kills that pod status shows now. */
    readonly killsShown: number;
  };
  /** Every policy that was seen: first those that are for the workload, in their order, the one in force first. */
  readonly policies: readonly PolicyAnswer[];
  readonly inForce: PolicyInForce | { readonly problem: string; readonly message: string };
  /** Absent where there is no policy in force, or no workload. */
  readonly now?: {
    /** What as many OOM kills as the policy asks for would do. */
    readonly onKill: { readonly does: "Opens" | "Joins" | "Waits" | "Nothing"; readonly message: string };
    /** The investigation that the rest speaks of; absent: one that would be opened now. */
    readonly investigation?: string;
    readonly preservation: PreservationStep["fact"] & Partial<Pick<PreservedPod, "pod" | "how" | "cannotShow">>;
    readonly collection: { readonly pods: readonly string[]; readonly node?: string };
    readonly finding: SupposedFinding;
    readonly actions: readonly ActionAnswer[];
  };
}

export interface PolicyAnswer {
  readonly kind: PolicyView["kind"];
  readonly name: string;
  readonly matches: boolean;
  /** Why it is in force, comes after another, or is not for the workload. For people. */
  readonly why: string;
}

export interface PolicyInForce {
  readonly kind: PolicyView["kind"];
  readonly name: string;
  /** After narrowing. */
  readonly mode: EffectivePolicy["mode"];
  /** What its own spec says. */
  readonly declaredMode: EffectivePolicy["mode"];
  /** ClusterMemoryPolicies that allow less than the policy's own mode. */
  readonly narrowedBy: readonly string[];
  readonly allowedActions: readonly string[];
  readonly pauses: readonly string[];
  readonly trigger: { readonly count: number; readonly within: string };
}

/** Which finding the guards were asked for. */
export interface SupposedFinding {
  /** Found: it stands in the status of `now.investigation`. Earlier: as the investigation before found. Supposed: nobody has found it. */
  readonly from: "Found" | "Earlier" | "Supposed";
  readonly verdict: Verdict;
  readonly confidencePercent: number;
}

export interface ActionAnswer {
  readonly action: Mitigation["action"];
  readonly approval: Mitigation["approval"];
  /** Taken, or asked of a person, or waited for, or refused: by the first guard that says no. */
  readonly would: "Take" | "Ask" | "Wait" | "Refuse";
  readonly reason?: string;
  readonly message: string;
  /** How far it has come in `now.investigation`. */
  readonly recorded?: Pick<MitigationRecord, "state" | "reason" | "since">;
  readonly guards: readonly {
    readonly guard: string;
    readonly says: "Nothing" | "No" | "Ask" | "NotYet";
    readonly reason?: string;
    readonly message?: string;
  }[];
}

export interface ExplainQuestion {
  readonly seen: Observation;
  /** All that were read. */
  readonly policies: readonly PolicyView[];
  readonly question: PolicyQuestion;
  /** Ask the guards for this finding, whatever was found. */
  readonly suppose?: { readonly verdict: Verdict; readonly confidencePercent: number };
  readonly now: Date;
}

export function explain({ seen, policies, question, suppose, now }: ExplainQuestion): Explanation {
  const serving = seen.pods.filter(isServing).length;
  const subject = subjectOf(seen, now);
  const policy = subject.exists ? policyFor(seen, subject.investigation) : seen.policy;
  const workload = {
    ...seen.key,
    exists: seen.target !== undefined,
    pods: seen.pods.length,
    ready: serving,
    killsShown: shownKills(seen).length,
  };
  const answers = policyAnswers(policies, question);
  if ("problem" in policy) return { workload, policies: answers, inForce: policy };
  const inForce = policyInForce(policy, policies, question);
  if (seen.target === undefined) return { workload, policies: answers, inForce };
  return { workload, policies: answers, inForce, now: dryRun(seen, policy, subject, suppose, now) };
}

/** The investigation that an answer is about: the one that goes on or waits for a person, or else one that is opened now. */
interface Subject {
  readonly investigation: MemoryInvestigation;
  readonly exists: boolean;
}

function subjectOf(seen: Observation, now: Date): Subject {
  const live = seen.investigations.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const open = live.find((one) => endedAt(one) === undefined);
  const waits = live.findLast(({ status }) => status?.mitigations?.some(({ state }) => state === "Proposed") === true);
  const investigation = open ?? waits;
  if (investigation !== undefined) return { investigation, exists: true };
  return { investigation: openedNow(seen, now), exists: false };
}

/** With the kills that pod status shows, so that the guards that look at kills see what they would see. */
function openedNow(seen: Observation, now: Date): MemoryInvestigation {
  const { namespace, kind, name } = seen.key;
  const apiVersion = kind === "Pod" ? "v1" : kind === "Job" ? "batch/v1" : "apps/v1";
  return {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: {
      name: "to-be-opened",
      namespace,
      uid: "to-be-opened",
      resourceVersion: "",
      creationTimestamp: now.toISOString(),
    },
    spec: { targetRef: { apiVersion, kind, name }, suspend: false, release: false },
    status: { kills: shownKills(seen) },
  };
}

function policyAnswers(policies: readonly PolicyView[], question: PolicyQuestion): PolicyAnswer[] {
  const told = (policy: PolicyView, matches: boolean, why: string): PolicyAnswer => ({
    kind: policy.kind,
    name: policy.name,
    matches,
    why,
  });
  const ranked = policies.filter((p) => mismatch(p, question) === undefined).toSorted(bySpecificity);
  const others = policies.filter((p) => !ranked.includes(p));
  return [
    ...ranked.map((policy, i) => told(policy, true, i === 0 ? "it is in force" : whyAfter(ranked[i - 1], policy))),
    ...others.map((policy) => told(policy, false, whyNot(policy, question))),
  ];
}

/** What of the order of policies has put one behind the one before it. */
function whyAfter(before: PolicyView | undefined, policy: PolicyView): string {
  if (before === undefined) return "it is in force";
  const first = `${before.kind} ${before.name} comes first`;
  if (before.kind !== policy.kind) return `${first}: a MemoryPolicy goes before a ClusterMemoryPolicy`;
  if ((before.spec.selector === undefined) !== (policy.spec.selector === undefined))
    return `${first}: it has a selector`;
  return `${first}: ${before.created === policy.created ? "its name comes first" : "it is older"}`;
}

function whyNot(policy: PolicyView, question: PolicyQuestion): string {
  switch (mismatch(policy, question)) {
    case "OtherNamespace":
      return `it is one of namespace ${policy.namespace ?? ""}`;
    case "NamespaceExempt":
      return `it has no namespaceSelector, and namespace ${question.namespace} is exempt then`;
    case "NamespaceNotSelected":
      return `its namespaceSelector does not match the labels of namespace ${question.namespace}`;
    case "PodsNotSelected":
      return "its selector does not match the labels of the workload's pods";
    case undefined:
      return "it matches";
  }
}

function policyInForce(
  policy: EffectivePolicy,
  policies: readonly PolicyView[],
  question: PolicyQuestion,
): PolicyInForce {
  const { kind, name, mode, spec, allowedActions, pauses } = policy;
  const narrowing = policies.filter(
    (p) => "maxMode" in p.spec && mismatch(p, question) === undefined && p.spec.maxMode === mode && spec.mode !== mode,
  );
  return {
    kind,
    name,
    mode,
    declaredMode: spec.mode,
    narrowedBy: narrowing.map((p) => `${p.kind} ${p.name}`),
    allowedActions,
    pauses,
    trigger: spec.triggers.oomKilled,
  };
}

function dryRun(
  seen: Observation,
  policy: EffectivePolicy,
  subject: Subject,
  suppose: ExplainQuestion["suppose"],
  now: Date,
): NonNullable<Explanation["now"]> {
  const { investigation } = subject;
  const preserving = planPreservation(seen, investigation, policy, now);
  const { pod, how, cannotShow } = preserving.preserved ?? {};
  const kept: MemoryInvestigation =
    preserving.preserved === undefined
      ? investigation
      : { ...investigation, status: { ...investigation.status, preserved: preserving.preserved } };
  const pods = podsToMeasure(seen, kept);
  const node = pods[0]?.node;
  const { finding, from } = findingFor(seen, subject, suppose, policy);
  const { verdict, confidencePercent } = finding;
  return {
    onKill: onKill(seen, policy, now),
    ...(subject.exists ? { investigation: investigation.metadata.name } : {}),
    preservation: {
      ...preserving.fact,
      ...(pod === undefined ? {} : { pod }),
      ...(how === undefined ? {} : { how }),
      ...(cannotShow === undefined ? {} : { cannotShow }),
    },
    collection: { pods: pods.map(({ name }) => name), ...(node === undefined ? {} : { node }) },
    finding: { from, verdict, confidencePercent },
    actions: (policy.spec.mitigate ?? []).map((mitigation) => {
      const record = investigation.status?.mitigations?.find(
        (r) => r.action === mitigation.action && r.finding === finding.id,
      );
      return actionAnswer(questionOf({ seen, investigation: kept, finding, now, policy, mitigation, record }));
    }),
  };
}

/** What intake says to an OOM kill of this moment, with the trigger asking for no more than one. */
function onKill(seen: Observation, policy: EffectivePolicy, now: Date): NonNullable<Explanation["now"]>["onKill"] {
  const [pod] = seen.pods;
  if (pod === undefined) return { does: "Nothing", message: "it has no pod that could be killed" };
  const { count, within } = policy.spec.triggers.oomKilled;
  const spec = { ...policy.spec, triggers: { ...policy.spec.triggers, oomKilled: { count: 1, within } } };
  const horizon = now.toISOString();
  const killed: Observation = { ...seen, policy: { ...policy, spec }, horizon, pods: [withKill(pod, horizon)] };
  const active = seen.investigations.find(
    (one) => one.metadata.deletionTimestamp === undefined && endedAt(one) === undefined,
  );
  const intake = planIntake(killed, active, now);
  const kills = count === 1 ? "an OOM kill" : `${count} OOM kills within ${within}`;
  const joined = intake.join?.investigation.metadata.name;
  if (joined !== undefined) {
    const cooling =
      active === undefined ? `, which has ended less than budget.cooldown (${policy.spec.budget.cooldown}) ago` : "";
    return { does: "Joins", message: `${kills} would join ${joined}${cooling}` };
  }
  if (intake.actions.length > 0) return { does: "Opens", message: `${kills} would open an investigation` };
  const why = intake.notices[0]?.message;
  return why === undefined
    ? { does: "Nothing", message: `${kills} would open nothing` }
    : { does: "Waits", message: why };
}

/** The pod as it would be shown right after a container of it was killed. */
function withKill(pod: PodView, finishedAt: string): PodView {
  const containers = pod.containers.slice(0, 1).map((container) => ({
    ...container,
    restartCount: container.restartCount + 1,
    last: { kind: "terminated" as const, reason: "OOMKilled", exitCode: 137, finishedAt, containerId: "supposed" },
  }));
  return { ...pod, containers };
}

function findingFor(
  seen: Observation,
  { investigation, exists }: Subject,
  suppose: ExplainQuestion["suppose"],
  policy: EffectivePolicy,
): { readonly finding: Finding; readonly from: SupposedFinding["from"] } {
  const own = exists ? investigation.status?.finding : undefined;
  if (suppose !== undefined) return { finding: supposed(suppose.verdict, suppose.confidencePercent), from: "Supposed" };
  if (own !== undefined) return { finding: own, from: "Found" };
  const earlier = seen.investigations.findLast(({ status }) => status?.finding !== undefined)?.status?.finding;
  if (earlier !== undefined) return { finding: earlier, from: "Earlier" };
  const named = policy.spec.mitigate?.flatMap(({ when }) => when.verdicts ?? [])[0];
  return { finding: supposed(named ?? "AnonHeapLeak", 100), from: "Supposed" };
}

function supposed(verdict: Verdict, confidencePercent: number): Finding {
  return { id: "000000000000", verdict, confidencePercent, summary: "Supposed", evidence: [], counterEvidence: [] };
}

const WOULD: Readonly<Record<GuardAnswer["means"], ActionAnswer["would"]>> = {
  No: "Refuse",
  Ask: "Ask",
  NotYet: "Wait",
};

function actionAnswer(question: ReturnType<typeof questionOf>): ActionAnswer {
  const { mitigation, record, proposal } = question;
  const answers = everyAnswer(question);
  const first = answers.find(({ answer }) => answer !== undefined)?.answer;
  return {
    action: mitigation.action,
    approval: mitigation.approval,
    would: first === undefined ? "Take" : WOULD[first.means],
    ...(first === undefined ? {} : { reason: first.reason }),
    message: first?.message ?? proposal?.facts?.why ?? proposal?.words ?? "no guard speaks against it",
    ...(record === undefined ? {} : { recorded: { state: record.state, reason: record.reason, since: record.since } }),
    guards: answers.map(({ guard, answer }) =>
      answer === undefined
        ? { guard, says: "Nothing" }
        : { guard, says: answer.means, reason: answer.reason, message: answer.message },
    ),
  };
}
