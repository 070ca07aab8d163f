/**
 * Which revision would a workload be rolled back to, and what would that be by hand? The newest one that was healthy as far as anybody
 * knows, never simply the previous one; why the others are not taken is part of the answer.
 */
import { durationMs } from "../api/fields.ts";
import type { Kill, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Mitigation } from "../api/memorypolicy.ts";
import type { MitigationRecord, TemplateFacts } from "../api/mitigation.ts";
import { clip } from "./conditions.ts";
import { shownKills } from "./intake.ts";
import type { Observation, RevisionView, TargetState } from "./observation.ts";
import { patchText, templatePatch } from "./templates.ts";

/** Kinds of kills that speak against a revision. Evictions and kills for lack of memory on the node are the node's doing. */
const ITS_OWN: ReadonlySet<Kill["classification"]> = new Set([
  "ContainerKilled",
  "ChildKilled",
  "PodLimit",
  "Unconfirmed",
]);

/** When a policy says nothing about it. */
const HEALTHY_FOR = "10m";

export interface RollbackChoice {
  /** The revision whose template the workload has now; undefined while its controller has made none. */
  readonly current: RevisionView | undefined;
  /** The newest revision that was healthy. */
  readonly healthy: RevisionView | undefined;
  /** Why that one, or why none, for people. */
  readonly why: string;
}

/** Kills that are the doing of what was killed, by revision as the pods name it; undefined where nobody knows the revision. */
export function ownKills(investigation: MemoryInvestigation): readonly Kill[] {
  return (investigation.status?.kills ?? []).filter((kill) => ITS_OWN.has(kill.classification));
}

/** @param seen a snapshot with the target's state */
export function chooseRevision(seen: Observation, target: TargetState, mitigation: Mitigation): RollbackChoice {
  const current = target.revisions.find((revision) => revision.templateHash === target.templateHash);
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

/** Revisions that were killed, or that were rolled away from, as their pods and records name them, with the reason. */
function unhealthyMarks(seen: Observation): ReadonlyMap<string, string> {
  const marks = new Map<string, string>();
  const kills = [
    ...seen.investigations.flatMap(ownKills),
    ...shownKills(seen).filter((k) => ITS_OWN.has(k.classification)),
  ];
  for (const { revision, time } of kills) {
    if (revision !== undefined) marks.set(revision, `a container of it was killed at ${time}`);
  }
  for (const record of seen.investigations.flatMap((i) => i.status?.mitigations ?? [])) {
    if (record.before !== undefined && record.intended !== undefined)
      marks.set(record.before.revision, `it was rolled away from at ${record.intended}`);
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

/** What status shows of the change, ready for people and bots. */
export function rollbackFacts(
  namespace: string,
  target: TargetState,
  before: RevisionView,
  after: RevisionView,
): Pick<MitigationRecord, "target" | "before" | "after" | "command" | "patch" | "undoCommand" | "undoPatch"> {
  const { kind, name, uid, resourceVersion, generation } = target;
  const patch = patchText(templatePatch(before.template, after.template));
  const undoPatch = patchText(templatePatch(after.template, before.template));
  return {
    target: { kind, name, uid, resourceVersion, generation },
    before: templateFacts(before),
    after: templateFacts(after),
    ...commands(namespace, target, before, after),
    ...(patch === undefined ? {} : { patch }),
    ...(undoPatch === undefined ? {} : { undoPatch }),
  };
}

function templateFacts(revision: RevisionView): TemplateFacts {
  return {
    revision: revision.name,
    uid: revision.uid,
    ...(revision.number === undefined ? {} : { number: revision.number }),
    templateHash: revision.templateHash,
    images: revision.images.slice(0, 16).map((image) => clip(image, 512)),
  };
}

/** The revision that is left keeps its number; the one that is taken up gets a new one. */
function commands(
  namespace: string,
  target: TargetState,
  before: RevisionView,
  after: RevisionView,
): Pick<MitigationRecord, "command" | "undoCommand"> {
  const undo = (revision: RevisionView): string =>
    `kubectl -n ${namespace} rollout undo ${target.kind.toLowerCase()}/${target.name} --to-revision=${revision.number ?? ""}`;
  return {
    ...(after.number === undefined ? {} : { command: undo(after) }),
    ...(before.number === undefined ? {} : { undoCommand: undo(before) }),
  };
}
