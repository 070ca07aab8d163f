/** How much may be done at all? Cool-downs, budgets and the storm brake, counted from status and from the marks on workloads. */
import { durationMs } from "../api/fields.ts";
import type { Refusal } from "./actions.ts";
import { markOf } from "./marks.ts";
import { keyText, type Observation } from "./observation.ts";
import { refusal, targetOf, type MitigationQuestion } from "./remedies/remedy.ts";

export function coolingDown(question: MitigationQuestion): Refusal | undefined {
  const { seen, investigation, policy, now } = question;
  // What is changed bears the mark; that may be another object than the workload.
  const marks = [targetOf(question)?.annotations, question.proposal?.touched.annotations]
    .flatMap((annotations) => markOf(annotations ?? {}) ?? [])
    .filter((mark) => mark.investigation !== investigation.metadata.uid);
  const times = [
    // The next action of the same investigation comes because the last one failed: to wait then would help nobody.
    ...earlier(question).flatMap((m) =>
      m.workload === keyText(seen.key) && m.investigationUid !== investigation.metadata.uid ? [m.intended] : [],
    ),
    // The mark stays when the investigation is deleted: cool-downs cannot be had anew by deleting.
    ...marks.map(({ time }) => time),
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
 * Other mitigations of the last day: of other investigations, and those that this one went on from. Of two that were intended without knowing of each other only one counts the
 * other, so that they do not both stand back.
 */
function earlier({ seen, investigation, mitigation, record, now }: MitigationQuestion): Observation["mitigated"] {
  const { uid } = investigation.metadata;
  const order = (intended: string, of: string): string => `${intended} ${of}`;
  return seen.mitigated
    .filter((m) => now.getTime() - Date.parse(m.intended) < DAY_MS)
    .filter((m) => {
      // Of one investigation one action is intended at a time: the others came before.
      if (m.investigationUid === uid) return m.action !== mitigation.action;
      return record?.intended === undefined || order(m.intended, m.investigationUid) < order(record.intended, uid);
    });
}

export function workloadBudget(question: MitigationQuestion): Refusal | undefined {
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

export function policyBudget(question: MitigationQuestion): Refusal | undefined {
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

export function clusterBudget(question: MitigationQuestion): Refusal | undefined {
  const max = question.policy.cluster.maxMitigationsPerDay;
  const count = earlier(question).length;
  if (count < max) return undefined;
  return refusal(
    "ClusterBudgetSpent",
    `The cluster has had ${count} mitigations in 24 hours, clusterBudget.maxMitigationsPerDay is ${max}`,
  );
}

export function stormBrake({ seen, policy, now }: MitigationQuestion): Refusal | undefined {
  const { investigations, withinMs } = policy.cluster.storm;
  const count = seen.begun.filter((time) => now.getTime() - Date.parse(time) < withinMs).length;
  if (count < investigations) return undefined;
  return refusal(
    "StormBrake",
    `${count} investigations began in the last ${Math.round(withinMs / 1000)} s, clusterBudget.storm allows fewer than ${investigations}`,
  );
}
