/**
 * Throttles by fewer replicas. Where an autoscaler owns their number its upper bound is lowered instead: it would put anything else back.
 */
import type { ValueChange } from "../../api/mitigation.ts";
import type { Refusal } from "../actions.ts";
import { timeText } from "../conditions.ts";
import { bearsMark } from "../marks.ts";
import type { AutoscalerView, Observation, TargetKind, TargetState } from "../observation.ts";
import { selects } from "../policy.ts";
import {
  currentRevision,
  refusal,
  targetFacts,
  targetOf,
  touchedOf,
  type Entry,
  type MitigationQuestion,
  type Proposal,
  type Remedy,
  type Touched,
} from "./remedy.ts";
import { heldPod } from "./rolloutguards.ts";
import { proposedValuesStale, reverseValues, standsValues, valuesAction, type Reading } from "./valuechange.ts";

const SCALES: ReadonlySet<TargetKind> = new Set(["Deployment", "StatefulSet"]);

interface Owner {
  readonly change: Omit<ValueChange, "before" | "after">;
  readonly now: number;
  readonly touched: Touched;
}

/** What decides on the number of replicas; or why that cannot be changed. */
function ownerOf(target: TargetState, max: number): Owner | Refusal | { readonly unread: string } {
  const autoscalers = target.beside?.autoscalers ?? { problem: "The autoscalers of the namespace were not read" };
  if ("problem" in autoscalers) return { unread: autoscalers.problem };
  const [only, another] = autoscalers;
  if (only !== undefined && another !== undefined) {
    const names = autoscalers.map(({ name }) => name).join(" and ");
    return refusal("ActionDoesNotFit", `Autoscalers ${names} both scale the workload; leave one of them`);
  }
  if (only !== undefined) return boundOf(only, max);
  const { kind, name, uid, replicas = 1 } = target;
  if (kind === "DaemonSet") return refusal("ActionDoesNotFit", "A DaemonSet has no number of replicas");
  return { change: { kind, name, uid, field: "spec.replicas" }, now: replicas, touched: touchedOf(target) };
}

function boundOf(autoscaler: AutoscalerView, max: number): Owner | Refusal {
  const { name, uid, minReplicas, maxReplicas, controller } = autoscaler;
  const owned = `HorizontalPodAutoscaler ${name}`;
  if (controller !== undefined)
    return refusal("ActionDoesNotFit", `${owned} is held by ${controller}, which would put it back; lower it there`);
  if (minReplicas > max)
    return refusal("ActionDoesNotFit", `${owned} has minReplicas ${minReplicas}, throttle.replicas.max is ${max}`);
  const change = { kind: "HorizontalPodAutoscaler", name, uid, field: "spec.maxReplicas" } as const;
  return { change, now: maxReplicas, touched: touchedOf(autoscaler) };
}

function propose({ seen, mitigation }: Entry, target: TargetState): Proposal {
  const current = currentRevision(target);
  const max = mitigation.throttle?.replicas?.max ?? 0;
  const owner = ownerOf(target, max);
  const base = { current, words: "", touched: touchedOf(target) };
  if ("unread" in owner) return { ...base, unread: owner.unread };
  if ("reason" in owner) return { ...base, blocked: owner };
  const { change, now, touched } = owner;
  const where = `${change.field} of ${change.kind} ${change.name}`;
  if (now <= max)
    return { ...base, blocked: refusal("ActionDoesNotFit", `${where} is ${now}, throttle.replicas.max is ${max}`) };
  const by = (value: number): string =>
    change.kind === "HorizontalPodAutoscaler"
      ? `kubectl -n ${seen.key.namespace} patch hpa ${change.name} --type=merge -p '{"spec":{"maxReplicas":${value}}}'`
      : `kubectl -n ${seen.key.namespace} scale ${change.kind.toLowerCase()}/${change.name} --replicas=${value}`;
  const patch = (from: number, to: number): string => {
    const path = `/${change.field.replaceAll(".", "/")}`;
    return JSON.stringify([
      { op: "test", path, value: from },
      { op: "replace", path, value: to },
    ]);
  };
  return {
    current,
    touched,
    words: `to lower ${where} from ${now} to ${max}`,
    facts: {
      target: targetFacts(target),
      changes: [{ ...change, before: String(now), after: String(max) }],
      command: by(max),
      undoCommand: by(now),
      patch: patch(now, max),
      undoPatch: patch(max, now),
    },
  };
}

function read({ targetState: state }: Observation, { kind, uid }: ValueChange): Reading {
  if (state !== undefined && "problem" in state) return { unreadable: state.problem };
  if (state === undefined) return { gone: true };
  if (kind !== "HorizontalPodAutoscaler")
    return state.uid === uid ? { value: String(state.replicas ?? 1) } : { gone: true };
  const autoscalers = state.beside?.autoscalers ?? [];
  if ("problem" in autoscalers) return { unreadable: autoscalers.problem };
  const found = autoscalers.find((one) => one.uid === uid);
  return found === undefined ? { gone: true } : { value: String(found.maxReplicas) };
}

/** The number of pods is read from the workload: an autoscaler's bound takes effect when its controller has scaled. */
function follows(seen: Observation, [change]: readonly ValueChange[]): { ended: boolean; message: string } {
  const state = targetOf({ seen });
  if (state === undefined) return { ended: false, message: "the workload could not be read" };
  const { observed, total, available } = state.rollout;
  const replicas = state.replicas ?? 1;
  const ended = observed && total === replicas && replicas <= Number(change?.after);
  return {
    ended,
    message: `${change?.field ?? ""} is ${change?.after ?? ""}; ${total} pods are there, ${available} available`,
  };
}

function tooFewWouldBeLeft(question: MitigationQuestion): Refusal | undefined {
  const { minAvailable, throttle } = question.mitigation;
  const max = throttle?.replicas?.max ?? 0;
  if (max >= minAvailable) return undefined;
  return refusal("TooFewReady", `throttle.replicas.max is ${max}, mitigate[].minAvailable is ${minAvailable}`);
}

/** Scaling does not ask PodDisruptionBudgets; oomscope does. */
function budgetWouldBreak(question: MitigationQuestion): Refusal | undefined {
  const state = targetOf(question);
  const max = question.mitigation.throttle?.replicas?.max ?? 0;
  const broken = state?.budgets.find(
    ({ selector, desiredHealthy }) =>
      selects(selector, state.templateLabels) && (desiredHealthy === undefined || desiredHealthy > max),
  );
  if (broken === undefined) return undefined;
  const wants = broken.desiredHealthy ?? "an unknown number of";
  return refusal("DisruptionBudget", `PodDisruptionBudget ${broken.name} asks for ${wants} pods, ${max} would be left`);
}

export const throttleReplicas: Remedy = {
  kinds: SCALES,
  begun: "Throttling",
  done: "Throttled",
  stuck: "ThrottleStuck",
  never: [tooFewWouldBeLeft, proposedValuesStale],
  wait: [heldPod, budgetWouldBreak],
  propose,
  stand: (seen, record, uid, now) => {
    const state = targetOf({ seen });
    const autoscalers = state?.beside?.autoscalers;
    const [change] = record.changes ?? [];
    const changed =
      change?.kind !== "HorizontalPodAutoscaler" || autoscalers === undefined || "problem" in autoscalers
        ? state
        : autoscalers.find((one) => one.uid === change.uid);
    return standsValues(record, {
      read: (one) => read(seen, one),
      marked: bearsMark(changed?.annotations ?? {}, uid, record.action),
      touched: touchedOf(changed ?? { labels: {}, annotations: {} }),
      course: (changes) => follows(seen, changes),
      now: timeText(now),
    });
  },
  act: valuesAction,
  reverse: reverseValues,
  undoGuards: [],
};
