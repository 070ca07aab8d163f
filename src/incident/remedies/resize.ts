/**
 * Raises the memory limit of the workload's running pods in place. The template stays as it is: new pods get the old limit until
 * somebody commits the patch in status. Done means that the node has said it enforces the new limit, pod by pod.
 */
import { quantityBytes, quantityText } from "../../api/fields.ts";
import { MAX_CHANGES, type MitigationRecord, type ValueChange } from "../../api/mitigation.ts";
import type { Action, Errand, Refusal } from "../actions.ts";
import { clip, timeText } from "../conditions.ts";
import type { ContainerView, Observation, PodView, TargetState } from "../observation.ts";
import { PRESERVED_LABEL } from "../preservation.ts";
import { patchText, type Json } from "../templates.ts";
import {
  currentRevision,
  refusal,
  targetFacts,
  type Entry,
  type Facts,
  type MitigationQuestion,
  type Proposal,
  type Remedy,
} from "./remedy.ts";
import { rolloutInProgress } from "./rolloutguards.ts";
import { ROLLS_OUT } from "./templatechange.ts";
import { reverseValues, standsValues, type Reading } from "./valuechange.ts";

/** The kernel counts memory in pages; a limit of whole pages reads back as it was written. */
const PAGE = 4096;

interface Candidate {
  readonly pod: PodView;
  readonly container: ContainerView;
  readonly limit: number;
}

/** The container that the finding names; where it names none, the only one. */
function containerOf({ finding, investigation }: Entry, { template }: TargetState): string | undefined {
  const named = finding.culprit?.container ?? investigation.spec.container;
  if (named !== undefined) return named;
  const { spec } = template as { spec?: { containers?: readonly { name?: string }[] } };
  return spec?.containers?.length === 1 ? spec.containers[0]?.name : undefined;
}

/** Pods that serve: never the one that is kept for evidence, be it isolated or held. */
function candidates({ seen, investigation }: Entry, name: string): Candidate[] {
  const kept = investigation.status?.preserved?.uid;
  return seen.pods.flatMap((pod) => {
    const container = pod.containers.find((one) => one.name === name && one.type !== "EphemeralContainer");
    const limit = container === undefined ? undefined : (container.specLimitBytes ?? container.limitBytes);
    const serves =
      pod.phase === "Running" && pod.deletionTimestamp === undefined && pod.labels[PRESERVED_LABEL] === undefined;
    if (!serves || pod.uid === kept || container?.state.kind !== "running" || limit === undefined) return [];
    return [{ pod, container, limit }];
  });
}

function propose(entry: Entry, target: TargetState): Proposal {
  const { mitigation, finding } = entry;
  const base = { current: currentRevision(target), words: "", touched: { labels: {}, annotations: {} } };
  const no = (message: string): Proposal => ({ ...base, blocked: refusal("ActionDoesNotFit", message) });
  const { resize } = mitigation;
  if (resize === undefined) return base;
  const name = containerOf(entry, target);
  if (name === undefined) return no("The finding names no container, and the pod has more than one");
  const found = candidates(entry, name);
  if (found.length === 0)
    return no(`No running pod has a memory limit for container ${name}, other than one kept for evidence`);
  const max = quantityBytes(resize.maxBytes) ?? 0;
  const below = found.filter(({ limit }) => limit < max);
  if (below.length === 0)
    return no(`The limit of container ${name} is resize.maxBytes (${resize.maxBytes}) or more already`);
  const restarts = below.find(({ container }) => container.restartsOnResize === true);
  if (restarts !== undefined)
    return no(
      `Container ${name} of pod ${restarts.pod.name} has the resizePolicy RestartContainer for memory: use Restart`,
    );
  const changes = below.flatMap((one) => changesOf(one, raised(one.limit, resize.factorPercent, max)));
  if (changes.length > MAX_CHANGES)
    return no(`${below.length} pods are too many to resize one by one: raise the limit in the template`);
  const [first] = below;
  const from = Math.max(...below.map(({ limit }) => limit));
  const to = raised(from, resize.factorPercent, max);
  return {
    ...base,
    words: `to raise the memory limit of container ${name} to ${quantityText(to)} in ${below.length} pods`,
    facts: {
      target: targetFacts(target),
      changes,
      why: `${quantityText(from)} times ${resize.factorPercent} %, at most ${resize.maxBytes}; the finding is ${finding.verdict}`,
      ...byHand(entry.seen.key.namespace, target.template, name, first?.pod.name ?? "", to),
    },
  };
}

/** @returns bytes: whole pages, and no more than `max` */
function raised(limit: number, factorPercent: number, max: number): number {
  const wanted = Math.min(max, Math.floor((limit / 100) * factorPercent));
  return Math.max(limit, wanted - (wanted % PAGE));
}

/** A pod of the class Guaranteed has equal requests and limits, and may not leave its class. */
function changesOf({ pod, container, limit }: Candidate, to: number): ValueChange[] {
  const base = { kind: "Pod", name: pod.name, uid: pod.uid, container: container.name, after: String(to) } as const;
  const change: ValueChange = { ...base, field: "limits.memory", before: String(limit) };
  if (pod.qosClass !== "Guaranteed") return [change];
  const request = container.specRequestBytes ?? container.requestBytes ?? limit;
  return [change, { ...base, field: "requests.memory", before: String(request) }];
}

function byHand(
  namespace: string,
  template: Json,
  container: string,
  pod: string,
  to: number,
): Pick<Facts, "command" | "patch"> {
  const resources = JSON.stringify({
    spec: { containers: [{ name: container, resources: { limits: { memory: quantityText(to) } } }] },
  });
  const command = clip(`kubectl -n ${namespace} patch pod ${pod} --subresource=resize -p '${resources}'`, 1024);
  const { spec } = template as {
    spec?: { containers?: readonly { name?: string; resources?: { limits?: { memory?: Json } } }[] };
  };
  const index = spec?.containers?.findIndex(({ name }) => name === container) ?? -1;
  const before = spec?.containers?.[index]?.resources?.limits?.memory;
  if (before === undefined) return { command };
  const path = `/spec/template/spec/containers/${index}/resources/limits/memory`;
  const patch = patchText([
    { op: "test", path, value: before },
    { op: "replace", path, value: quantityText(to) },
  ]);
  return { command, ...(patch === undefined ? {} : { patch }) };
}

function podOf(seen: Observation, change: ValueChange): { pod: PodView; container: ContainerView } | undefined {
  const pod = seen.pods.find(({ uid }) => uid === change.uid);
  const container = pod?.containers.find(({ name }) => name === change.container);
  const over = pod?.deletionTimestamp !== undefined || pod?.phase === "Succeeded" || pod?.phase === "Failed";
  return pod === undefined || container === undefined || over ? undefined : { pod, container };
}

function read(seen: Observation, change: ValueChange): Reading {
  const found = podOf(seen, change);
  if (found === undefined) return { gone: true };
  const { container } = found;
  const limit = container.specLimitBytes ?? container.limitBytes;
  const value = change.field === "limits.memory" ? limit : (container.specRequestBytes ?? container.requestBytes);
  return { value: value === undefined ? undefined : String(value) };
}

/** A limit in the spec is a wish; what the kubelet reports of the container is what the node enforces. */
function enforced(
  seen: Observation,
  changes: readonly ValueChange[],
): ReturnType<Parameters<typeof standsValues>[1]["course"]> {
  const left = changes.flatMap((change) => {
    const found = change.field === "limits.memory" ? podOf(seen, change) : undefined;
    // What somebody else has given another limit since is theirs.
    const ours =
      found !== undefined && String(found.container.specLimitBytes ?? found.container.limitBytes) === change.after;
    return ours ? [{ ...found, done: String(found.container.enforcedLimitBytes) === change.after }] : [];
  });
  const waiting = left.filter(({ done }) => !done);
  const told = waiting.flatMap(({ pod }) =>
    pod.resize === undefined ? [] : [`${pod.name}: ${pod.resize.reason}: ${pod.resize.message}`],
  );
  const [first] = changes;
  const message = `${left.length - waiting.length} of ${left.length} pods have the limit of ${quantityText(Number(first?.after))} in force`;
  const never = waiting.find(({ pod }) => pod.resize?.type === "Pending" && pod.resize.reason === "Infeasible");
  return {
    ended: waiting.length === 0,
    message: told.length === 0 ? message : clip(`${message}; ${told.join("; ")}`, 900),
    ...(never === undefined ? {} : { stuck: `the node of pod ${never.pod.name} cannot do it` }),
  };
}

/** What people were shown is the height of the limit; pods come and go. */
function limitStale({ record, proposal }: MitigationQuestion): Refusal | undefined {
  if (record?.target === undefined || proposal?.facts?.changes === undefined) return undefined;
  const heights = (changes: readonly ValueChange[]): string =>
    [...new Set(changes.map(({ container, after }) => `${container ?? ""} ${after ?? ""}`))].toSorted().join();
  if (heights(record.changes ?? []) === heights(proposal.facts.changes)) return undefined;
  return refusal("ProposalStale", "Another limit was proposed than would be set now");
}

/** Throws TypeError on a record without its facts. */
function act(record: MitigationRecord, errand: Errand): Action {
  const { target, changes = [] } = record;
  if (target === undefined || changes.length === 0) throw new TypeError("An intent without its pods");
  return {
    kind: "ResizePods",
    mitigation: "Resize",
    ...errand,
    target: { kind: target.kind, name: target.name, uid: target.uid },
    changes: changes.map(({ name, uid, container = "", field, before, after }) => ({
      pod: { name, uid },
      container,
      field: field === "requests.memory" ? "requests" : "limits",
      before: Number(before),
      after: Number(after),
    })),
  };
}

export const resize: Remedy = {
  kinds: ROLLS_OUT,
  begun: "Resizing",
  done: "Resized",
  stuck: "ResizeStuck",
  never: [limitStale],
  wait: [rolloutInProgress],
  propose,
  stand: (seen, record, _uid, now) =>
    standsValues(record, {
      read: (change) => read(seen, change),
      // Pods bear no mark of ours: what was seen changed is noted change by change.
      marked: false,
      touched: { labels: {}, annotations: {} },
      course: (changes) => enforced(seen, changes),
      now: timeText(now),
    }),
  act,
  reverse: reverseValues,
  undoGuards: [],
};
