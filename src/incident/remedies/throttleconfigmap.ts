/**
 * Throttles by keys of a ConfigMap that the workload's pods have mounted. Variables made from a ConfigMap are fixed when a container
 * starts, and so is a file mounted by subPath: where the pods see a change by neither, it is not made.
 */
import { MAX_VALUE, type ValueChange } from "../../api/mitigation.ts";
import type { Mitigation } from "../../api/memorypolicy.ts";
import { timeText } from "../conditions.ts";
import { bearsMark } from "../marks.ts";
import type { ConfigMapView, Observation, TargetState } from "../observation.ts";
import { patchText, type Json } from "../templates.ts";
import { mountedKeys } from "./configmapmounts.ts";
import {
  currentRevision,
  refusal,
  targetFacts,
  touchedOf,
  type Entry,
  type Facts,
  type Proposal,
  type Remedy,
} from "./remedy.ts";
import { ROLLS_OUT } from "./templatechange.ts";
import { proposedValuesStale, reverseValues, standsValues, valuesAction, type Reading } from "./valuechange.ts";

type Throttle = NonNullable<NonNullable<Mitigation["throttle"]>["configMap"]>;

function propose({ seen, mitigation }: Entry, target: TargetState): Proposal {
  const current = currentRevision(target);
  const wanted = mitigation.throttle?.configMap;
  const base = { current, words: "", touched: touchedOf(target) };
  if (wanted === undefined) return base;
  const found = target.beside?.configMaps[wanted.name];
  if (found !== undefined && "problem" in found) return { ...base, unread: found.problem };
  const why = found === undefined ? "does not exist" : doesNotFit(target.template, found, wanted);
  if (found === undefined || why !== undefined) {
    const message = `ConfigMap ${wanted.name} ${why ?? ""}`;
    return { ...base, blocked: refusal("ActionDoesNotFit", message) };
  }
  const changes = changesOf(found, wanted);
  const words = `to set ${changes.map(({ field }) => field).join(", ")} of ConfigMap ${wanted.name}`;
  const facts = { target: targetFacts(target), changes, ...byHand(seen.key.namespace, wanted.name, changes) };
  return { current, touched: touchedOf(found), words, facts };
}

function changesOf({ uid, data }: ConfigMapView, { name, set }: Throttle): ValueChange[] {
  return Object.entries(set)
    .filter(([key, value]) => data[key] !== value)
    .map(([field, after]) => ({
      kind: "ConfigMap",
      name,
      uid,
      field,
      ...(data[field] === undefined ? {} : { before: data[field] }),
      after,
    }));
}

/** Why the keys cannot be set, or would do nothing, as the end of a sentence about the ConfigMap. */
function doesNotFit(template: Json, found: ConfigMapView, { name, set }: Throttle): string | undefined {
  const keys = Object.keys(set);
  if (found.deleting) return "is being deleted";
  if (found.immutable) return "is immutable: make another one, and name it in the template";
  const mounted = mountedKeys(template, name);
  if (mounted === "Nowhere") return "is not used by the workload's pod template";
  if (mounted === "OnlyAtStart")
    return "reaches the pods only as environment variables or by subPath, which a running container does not see change: use throttle.env";
  const unseen = keys.filter((key) => mounted !== "All" && !mounted.includes(key));
  if (unseen.length > 0) return `is mounted without ${unseen.join(", ")}`;
  const binary = keys.find((key) => found.binaryKeys.includes(key));
  if (binary !== undefined) return `holds ${binary} as binary data`;
  const long = keys.find((key) => (found.data[key] ?? "").length > MAX_VALUE);
  if (long !== undefined)
    return `has more than ${MAX_VALUE} characters in ${long}, too many to keep for putting it back`;
  return keys.every((key) => found.data[key] === set[key]) ? "has these values already" : undefined;
}

function byHand(namespace: string, name: string, changes: readonly ValueChange[]): Facts {
  const merged = (value: (change: ValueChange) => string | undefined): string | undefined => {
    const data = Object.fromEntries(changes.map((change) => [change.field, value(change) ?? null]));
    const body = JSON.stringify({ data }).replaceAll("'", String.raw`'\''`);
    const text = `kubectl -n ${namespace} patch configmap ${name} --type=merge -p '${body}'`;
    return text.length > 1024 ? undefined : text;
  };
  const command = merged(({ after }) => after);
  const undoCommand = merged(({ before }) => before);
  const patch = patchText(changes.flatMap(({ field, before, after }) => steps(field, before, after)));
  const undoPatch = patchText(changes.flatMap(({ field, before, after }) => steps(field, after, before)));
  return {
    ...(command === undefined ? {} : { command }),
    ...(undoCommand === undefined ? {} : { undoCommand }),
    ...(patch === undefined ? {} : { patch }),
    ...(undoPatch === undefined ? {} : { undoPatch }),
  };
}

function steps(key: string, from: string | undefined, to: string | undefined): Parameters<typeof patchText>[0] {
  // A key of a ConfigMap has neither a slash nor a tilde.
  const path = `/data/${key}`;
  const test = from === undefined ? [] : [{ op: "test" as const, path, value: from }];
  if (to === undefined) return [...test, { op: "remove", path }];
  return [...test, { op: from === undefined ? "add" : "replace", path, value: to }];
}

function configMapOf(seen: Observation, name: string): ConfigMapView | { readonly problem: string } | undefined {
  const state = seen.targetState;
  if (state !== undefined && "problem" in state) return state;
  return state?.beside?.configMaps[name];
}

function read(seen: Observation, { name, uid, field }: ValueChange): Reading {
  const found = configMapOf(seen, name);
  if (found === undefined) return { gone: true };
  if ("problem" in found) return { unreadable: found.problem };
  return found.uid === uid ? { value: found.data[field] } : { gone: true };
}

export const throttleConfigMap: Remedy = {
  kinds: ROLLS_OUT,
  begun: "Throttling",
  done: "Throttled",
  stuck: "ThrottleStuck",
  never: [proposedValuesStale],
  wait: [],
  propose,
  stand: (seen, record, uid, now) => {
    const [change] = record.changes ?? [];
    const found = configMapOf(seen, change?.name ?? "");
    const view = found === undefined || "problem" in found ? undefined : found;
    return standsValues(record, {
      read: (one) => read(seen, one),
      marked: bearsMark(view?.annotations ?? {}, uid, record.action),
      touched: touchedOf(view ?? { labels: {}, annotations: {} }),
      // What the kubelet and the program make of it shows nowhere.
      course: (changes) => ({
        ended: true,
        message: `${changes.length} keys of ConfigMap ${change?.name ?? ""} have the new values; the kubelet hands them to running pods within about two minutes, and whether the program reads them anew is up to it`,
      }),
      now: timeText(now),
    });
  },
  act: valuesAction,
  reverse: reverseValues,
  undoGuards: [],
};
