/**
 * Was that right? Each oracle is one statement about what has happened in a world, stated once and asked of every run. It reads the log of what was committed and
 * what was said on the wire, never the operator's mind, and answers in sentences; none means that it held.
 */
import { INVESTIGATION_UID_LABEL } from "../../src/incident/collectorjob.ts";
import { PRESERVED_LABEL } from "../../src/incident/preservation.ts";
import { type Json, templateHash } from "../../src/incident/templates.ts";
import { isReady, type Item } from "./actors/hands.ts";
import { type Outcome, REPLICAS, type Told } from "./incident.ts";
import type { Commit } from "./model/storage.ts";
import { same } from "./model/values.ts";
import { COLLECTORS, MAX_CALLS, MEDIA, OPERATOR } from "./world.ts";

export interface Oracle {
  readonly name: string;
  /** Holds also where somebody has taken an object away from under the operator's hands. */
  readonly always: boolean;
  readonly ask: (outcome: Outcome) => string[];
}

interface Seen {
  readonly commit: Commit;
  readonly plural: string;
  readonly item: Item;
  readonly before: Item | undefined;
  readonly ours: boolean;
}

function history({ world, began }: Outcome): Seen[] {
  return world.server.storage.log
    .filter(({ revision }) => revision > began)
    .map((commit) => ({
      commit,
      plural: commit.kind.resource.plural,
      item: commit.object as unknown as Item,
      before: commit.before as unknown as Item | undefined,
      ours: commit.by.startsWith("operator"),
    }));
}

const label = (item: Item | undefined, name: string): string | undefined => item?.metadata.labels?.[name];
const where = ({ commit: { kind, namespace, name, revision } }: Seen): string =>
  `${kind.resource.plural} ${namespace}/${name} at revision ${revision}`;
const newlyMarked = ({ plural, item, before, commit }: Seen): boolean =>
  plural === "pods" &&
  commit.type === "MODIFIED" &&
  label(item, PRESERVED_LABEL) !== undefined &&
  label(before, PRESERVED_LABEL) === undefined;
const retemplated = ({ plural, item, before, commit }: Seen): boolean =>
  plural === "deployments" && commit.type === "MODIFIED" && !same(item.spec["template"], before?.spec["template"]);

/** Says which of these came more than once. */
function repeated(names: readonly string[], what: string): string[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 1).map(([name, count]) => `${what} ${name} ${count} times`);
}

function atMostOnce(outcome: Outcome): string[] {
  const ours = history(outcome).filter(({ ours }) => ours);
  const added = ours.filter(({ commit }) => commit.type === "ADDED");
  return [
    ...repeated(
      ours.filter(retemplated).map(({ item }) => item.metadata.uid),
      "it changed the template of",
    ),
    ...repeated(
      ours.filter(newlyMarked).map(({ item }) => label(item, PRESERVED_LABEL) ?? ""),
      "it took a pod for",
    ),
    ...repeated(
      added.filter(({ plural }) => plural === "jobs").map(({ item }) => item.metadata.name),
      "it made the Job",
    ),
    ...openedBeside(outcome),
  ];
}

/** Investigations that the operator opened while there was one of the same workload. */
function openedBeside(outcome: Outcome): string[] {
  const targets = new Map<string, string>();
  return history(outcome).flatMap((seen) => {
    const { commit, plural, item, ours } = seen;
    if (plural !== "memoryinvestigations") return [];
    const target = JSON.stringify(item.spec["targetRef"]);
    const beside = ours && commit.type === "ADDED" && [...targets.values()].includes(target);
    if (commit.type === "DELETED") targets.delete(item.metadata.uid);
    else targets.set(item.metadata.uid, target);
    return beside ? [`it opened ${where(seen)} while there was one of the same workload`] : [];
  });
}

/** The status of every investigation as it was when something happened. */
function withStatus(outcome: Outcome, judge: (seen: Seen, statuses: ReadonlyMap<string, Told>) => string[]): string[] {
  const statuses = new Map<string, Told>();
  return history(outcome).flatMap((seen) => {
    const problems = judge(seen, statuses);
    if (seen.plural === "memoryinvestigations") statuses.set(seen.item.metadata.uid, seen.item.status ?? {});
    return problems;
  });
}

function intentPrecedesAct(outcome: Outcome): string[] {
  return withStatus(outcome, (seen, statuses) => {
    if (!seen.ours) return [];
    const all = [...statuses.values()];
    if (newlyMarked(seen)) {
      const { preserved } = statuses.get(label(seen.item, PRESERVED_LABEL) ?? "") ?? {};
      const known = preserved?.state === "Intended" && preserved.uid === seen.item.metadata.uid;
      const gone = Object.entries(seen.before?.metadata.labels ?? {}).filter(
        ([key]) => label(seen.item, key) === undefined,
      );
      const kept = gone.every(([key, value]) => preserved?.originalLabels?.[key] === value);
      return known && kept ? [] : [`it took ${where(seen)} before status said so, with the labels to be put back`];
    }
    if (retemplated(seen)) {
      const hash = templateHash(seen.before?.spec["template"] as unknown as Json);
      const known = all.some((s) =>
        s.mitigations?.some((m) => m.state === "Intended" && m.before?.templateHash === hash),
      );
      return known ? [] : [`it changed ${where(seen)} before status said so, with the template before`];
    }
    if (seen.plural === "jobs" && seen.commit.type === "ADDED") {
      const known = all.some((s) => s.collections?.some(({ id }) => id === seen.item.metadata.name));
      return known ? [] : [`it made ${where(seen)} before status said so`];
    }
    return [];
  });
}

/** Writes of the operator between two revisions. It may renew its lease. */
function writesBetween(outcome: Outcome, from: number, to: number): string[] {
  return history(outcome)
    .filter(
      ({ commit, plural, ours }) => ours && plural !== "leases" && commit.revision > from && commit.revision <= to,
    )
    .map((seen) => `it wrote ${where(seen)} in a world in which nothing happened`);
}

function conservation(outcome: Outcome): string[] {
  const { workloads, policy } = outcome.scenario;
  const pods = new Map<string, Item>();
  const problems: string[] = [];
  for (const commit of outcome.world.server.storage.log) {
    if (commit.kind.resource.plural !== "pods" || commit.namespace !== MEDIA) continue;
    if (commit.type === "DELETED") pods.delete(commit.name);
    else pods.set(commit.name, commit.object as unknown as Item);
    if (commit.revision <= outcome.began) continue;
    const all = [...pods.values()];
    for (const app of workloads) {
      const kept = all.filter(
        (pod) => label(pod, PRESERVED_LABEL) !== undefined && pod.metadata.name.startsWith(app),
      ).length;
      const serving = all.filter((pod) => isReady(pod) && label(pod, "app") === app).length;
      if (kept > 1) problems.push(`${kept} pods of ${app} are kept at revision ${commit.revision}`);
      if (commit.by.startsWith("operator") && serving < policy.preserve.minAvailable)
        problems.push(`${serving} pods of ${app} serve after its write at revision ${commit.revision}`);
    }
  }
  return problems;
}

/** Mitigations that the policy allows in a day; the whole of a run is shorter. */
function budget(outcome: Outcome): string[] {
  const { maxMitigationsPerDay = 2 } = (outcome.scenario.policy["budget"] ?? {}) as { maxMitigationsPerDay?: number };
  const count = history(outcome).filter((seen) => seen.ours && retemplated(seen)).length;
  return count > maxMitigationsPerDay ? [`${count} mitigations, the policy allows ${maxMitigationsPerDay} a day`] : [];
}

/** What it may write where: its lease and its words anywhere, its own objects, and of others' only what status names. */
function blastRadius(outcome: Outcome): string[] {
  return withStatus(outcome, (seen, statuses) => {
    if (!seen.ours || isAllowed(seen, [...statuses.values()])) return [];
    return [`it wrote ${where(seen)} (${seen.commit.type}), which is none of its business`];
  });
}

function isAllowed({ plural, item, before, commit }: Seen, statuses: readonly Told[]): boolean {
  const { namespace, type } = commit;
  switch (plural) {
    case "events":
      return true;
    case "leases":
      return namespace === OPERATOR;
    case "memoryinvestigations":
      return namespace === MEDIA;
    case "jobs":
      return namespace === COLLECTORS && label(item, INVESTIGATION_UID_LABEL) !== undefined;
    case "poddisruptionbudgets":
      return namespace === MEDIA && label(item, INVESTIGATION_UID_LABEL) !== undefined;
    case "pods":
      return namespace === MEDIA && statuses.some(({ preserved }) => preserved?.uid === item.metadata.uid);
    case "deployments":
      return (
        namespace === MEDIA &&
        type === "MODIFIED" &&
        same({ ...item.spec, template: 0 }, { ...before?.spec, template: 0 }) &&
        statuses.some(({ mitigations }) => mitigations?.some(({ target }) => target?.uid === item.metadata.uid))
      );
    default:
      return false;
  }
}

function monotoneFacts(outcome: Outcome): string[] {
  return history(outcome).flatMap((seen) => {
    const { plural, item, before } = seen;
    if (plural !== "memoryinvestigations" || before === undefined) return [];
    const old = (before.status ?? {}) as Told;
    const now = (item.status ?? {}) as Told;
    const lost = (old.ledger ?? []).filter((id) => !(now.ledger ?? []).includes(id));
    const problems = lost.map((id) => `kill ${id} went out of the ledger`);
    if ((now.killCount ?? 0) < (old.killCount ?? 0)) problems.push("killCount went back");
    if (old.result !== undefined && now.result === undefined) problems.push(`the result ${old.result} went away`);
    return problems.map((problem) => `${problem}: ${where(seen)}`);
  });
}

const MAX_STATUS_BYTES = 64 * 1024;

function cost(outcome: Outcome): string[] {
  const statuses = history(outcome).filter(({ plural }) => plural === "memoryinvestigations");
  const largest = Math.max(0, ...statuses.map(({ item }) => JSON.stringify(item.status ?? {}).length));
  const { length } = outcome.world.calls;
  return [
    ...(largest > MAX_STATUS_BYTES ? [`status took ${largest} bytes`] : []),
    ...(length > MAX_CALLS ? [`it made ${length} calls`] : []),
  ];
}

function everythingPutBack({ world, scenario }: Outcome): string[] {
  const hands = world.hands("nobody");
  const pods = hands.list("pods", MEDIA);
  const wanted = REPLICAS * scenario.workloads.length;
  const marked = (item: Item): boolean =>
    [...Object.keys(item.metadata.labels ?? {}), ...Object.keys(item.metadata.annotations ?? {})].some((key) =>
      key.startsWith("oomscope.dev/"),
    );
  return [
    ...(pods.length === wanted ? [] : [`${pods.length} pods are left of ${wanted}`]),
    ...pods.filter(marked).map(({ metadata }) => `pod ${metadata.name} still bears a mark`),
    ...hands
      .list("poddisruptionbudgets")
      .filter(marked)
      .map(({ metadata }) => `budget ${metadata.name} was left behind`),
    ...hands
      .list("memoryinvestigations")
      .filter(({ metadata }) => (metadata.finalizers ?? []).length > 0)
      .map(({ metadata }) => `${metadata.name} still has its finalizer`),
  ];
}

/** What is the same in every world in which all goes well in the end: names, uids, times and versions are left out. */
export function endState({ world }: Outcome): string {
  const hands = world.hands("nobody");
  return JSON.stringify(
    {
      investigations: hands.list("memoryinvestigations").map((item) => {
        const {
          result,
          killCount,
          preserved,
          mitigations = [],
          collections = [],
          conditions = [],
        } = (item.status ?? {}) as Told;
        // Where too few of the others served at that very moment the pod is held instead, and goes with the roll-back: that is the guard's word.
        const held = preserved?.why.includes("(MinAvailable)") === true;
        return {
          result,
          killCount,
          preserved: held ? "Isolate Released" : `${preserved?.how} ${preserved?.state}`,
          mitigations: mitigations.map(({ action, state, reason }) => [action, state, reason].join(" ")),
          collection: collections.at(-1)?.state,
          conditions: conditions
            .map(({ type, status, reason }) =>
              [type, status, held && type === "PodPreserved" ? "Released" : reason].join(" "),
            )
            .sort(),
        };
      }),
      templates: hands.list("deployments").map(({ spec }) => spec["template"]),
      pods: hands.list("pods", MEDIA).map(({ metadata }) => metadata.labels),
    },
    undefined,
    1,
  );
}

/** @param reference the end state of the same world without faults; undefined where it cannot be had */
export function oracles(reference: string | undefined): readonly Oracle[] {
  return [
    { name: "at most once", always: true, ask: atMostOnce },
    { name: "intent precedes act", always: true, ask: intentPrecedesAct },
    { name: "a write rests on what was read", always: true, ask: ({ world }) => world.blind },
    { name: "quiet means quiet", always: true, ask: (o) => writesBetween(o, o.over, o.quiet) },
    { name: "run twice", always: true, ask: (o) => writesBetween(o, o.quiet, Infinity) },
    { name: "conservation", always: true, ask: conservation },
    { name: "budget", always: true, ask: budget },
    { name: "blast radius", always: true, ask: blastRadius },
    { name: "monotone facts", always: true, ask: monotoneFacts },
    { name: "liveness", always: true, ask: ({ ended }) => (ended ? [] : ["it had not ended when its time was up"]) },
    { name: "cost", always: true, ask: cost },
    { name: "everything is put back", always: false, ask: everythingPutBack },
    {
      name: "the end is that of the reference",
      always: false,
      ask: (o) => (reference === undefined || endState(o) === reference ? [] : [`it ended as ${endState(o)}`]),
    },
  ];
}

/** Every statement that did not hold, with the name of its oracle. */
export function judged(outcome: Outcome, asked: readonly Oracle[]): string[] {
  return asked.flatMap(({ name, ask }) => ask(outcome).map((problem) => `${name}: ${problem}`));
}
