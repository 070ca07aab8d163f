/**
 * Did a roll-out bring it? The revision of the pod that grows, when it became current, and what is known of the revisions before it: kills on record, and pods that
 * were measured at the same time. What an earlier revision shows as well, the present one did not bring.
 */
import { partFileName, type Context } from "../api/collection.ts";
import type { ContextRevision } from "../api/context.ts";
import type { EvidenceLine } from "../api/memoryinvestigation.ts";
import type { Case } from "./case.ts";
import { readingsPart } from "./claim.ts";
import { line } from "./evidenceline.ts";
import type { ContainerGrowth } from "./growth.ts";
import { nameText, secondsText } from "./words.ts";

/** Kills that are the doing of what was killed. Evictions and kills for want of memory on the node are not; nor is what was no kill. */
const ITS_OWN: ReadonlySet<unknown> = new Set(["ContainerKilled", "ChildKilled", "PodLimit", "Unconfirmed"]);
/** Clocks of node and API server are compared; what lies closer together than this is at the same time. */
const CLOCKS_MS = 5_000;

export interface Rollout {
  readonly speaks: readonly EvidenceLine[];
  readonly against: readonly EvidenceLine[];
  /** What is not known; sentences. */
  readonly limits: readonly string[];
  /** A sentence for the summary; undefined where nothing can be told. */
  readonly says: string | undefined;
  /** An earlier revision shows it as well. */
  readonly contradicted: boolean;
}

interface Kill {
  readonly ms: number;
  /** As the pods name it; undefined: nobody knows. */
  readonly revision: string | undefined;
}

/** Undefined where there is no revision to speak of: one machine, a bare pod, a Job. */
export function rolloutOf(seen: Case, story: ContainerGrowth): Rollout | undefined {
  const { context } = seen.surroundings;
  const mark = seen.pods.get(story.container.podUid)?.revision;
  if (context === undefined || mark === undefined) return undefined;
  const own = context.revisions.find((revision) => bears(revision, mark));
  const name = nameText(own?.name ?? mark, 63);
  const part = partFileName("context", 0);
  if (own === undefined)
    return onlyLimits(
      `Nothing is known of revision ${name} but its name: whether its roll-out brought this cannot be told.`,
    );
  const earlier = earlierThan(own, context.revisions);
  // One that is in no list any more was there before.
  const isEarlier = (of: string): boolean =>
    !context.revisions.some((revision) => !earlier.includes(revision) && bears(revision, of));
  const since = sinceMs(own, context);
  const kills = killsOf(context, story.container.name);
  const ofOthers = kills.filter(
    ({ revision, ms }) =>
      (revision !== undefined && isEarlier(revision)) ||
      (revision === undefined && since !== undefined && ms < since - CLOCKS_MS),
  );
  const ofOwn = kills.filter(({ revision }) => revision !== undefined && bears(own, revision));
  const siblings = siblingsOf(seen, story, isEarlier);
  const growing = siblings.filter(({ growth }) => growth.anon?.trend === "Growing");
  const flat = siblings.filter(({ growth }) => growth.anon?.trend === "Flat");
  const readings = readingsPart(seen);
  const slopeOf = ({ growth, revision }: Sibling): EvidenceLine =>
    line(`anon, slope in a pod of revision ${nameText(revision, 63)}`, growth.anon?.slope ?? 0, "bytes/s", readings);
  const against = [
    ...(ofOthers.length === 0 ? [] : [line(`kills of revisions before ${name}`, ofOthers.length, "kills", part, "0")]),
    ...growing.map(slopeOf),
  ];
  const contradicted = against.length > 0;
  const previous = earlier[0];
  const first = ofOwn.reduce<number | undefined>((least, { ms }) => Math.min(least ?? ms, ms), undefined);
  const served = previous === undefined || since === undefined ? undefined : servedSeconds(previous, since, context);
  const speaks = contradicted
    ? flat.map(slopeOf)
    : [
        ...(first === undefined || since === undefined
          ? []
          : [line(`first kill of ${name}, after its roll-out`, (first - since) / 1000, "s", part, ">= 0")]),
        ...(previous === undefined || served === undefined
          ? []
          : [
              line(`${nameText(previous.name, 63)} was current before, for`, served, "s", part),
              line(`kills of revisions before ${name}`, 0, "kills", part, "0"),
            ]),
        ...flat.map(slopeOf),
      ];
  return {
    speaks,
    against,
    contradicted,
    says: contradicted
      ? contradictionText(name, ofOthers, growing)
      : followText({ own, name, previous, since, served, first, flat, started: startedMs(seen) }),
    limits: limitsOf({ name, previous, since, siblings, kills, contradicted }),
  };
}

function onlyLimits(text: string): Rollout {
  return { speaks: [], against: [], limits: [text], says: undefined, contradicted: false };
}

/** A pod names a revision by the name of its ReplicaSet or ControllerRevision, or, of a DaemonSet, by the hash at the end of that. */
function bears({ name }: ContextRevision, mark: string): boolean {
  return name === mark || name.endsWith(`-${mark}`);
}

/** Those with a lower number, or made earlier where there are no numbers; the newest first. */
function earlierThan(own: ContextRevision, all: readonly ContextRevision[]): readonly ContextRevision[] {
  const rank = ({ revision, created }: ContextRevision): number =>
    revision !== undefined && /^\d{1,15}$/.test(revision) ? Number(revision) : Date.parse(created ?? "") || 0;
  return all.filter((one) => one !== own && rank(one) < rank(own)).toSorted((a, b) => rank(b) - rank(a));
}

/** By the node's clock, which is that of kills; undefined where nothing tells when it became current. */
function sinceMs({ currentSince, created, containers }: ContextRevision, { clocks }: Context): number | undefined {
  // The API server was asked (then `containers` are there) and could not tell: it was taken up again, and when it was made says nothing of that.
  if (currentSince === undefined && containers !== undefined) return undefined;
  const ms = Date.parse(currentSince?.time ?? created ?? "");
  if (Number.isNaN(ms)) return undefined;
  const ahead = clocks?.nodeAheadOfServerMs;
  return ms + (ahead === undefined || (ahead.low <= 0 && ahead.high >= 0) ? 0 : (ahead.low + ahead.high) / 2);
}

function killsOf({ kills }: Context, container: string | undefined): readonly Kill[] {
  return kills.flatMap(({ classification, container: of, time, revision }) => {
    const ms = typeof time === "string" ? Date.parse(time) : Number.NaN;
    if (!ITS_OWN.has(classification) || Number.isNaN(ms)) return [];
    if (container !== undefined && typeof of === "string" && of !== container) return [];
    return [{ ms, revision: typeof revision === "string" ? revision : undefined }];
  });
}

interface Sibling {
  readonly growth: ContainerGrowth;
  readonly revision: string;
}

/** The same container in pods of earlier revisions that were measured as well; a pod without traffic shows nothing. */
function siblingsOf(
  { growths, pods }: Case,
  story: ContainerGrowth,
  isEarlier: (revision: string) => boolean,
): readonly Sibling[] {
  const { name } = story.container;
  return growths.flatMap((growth) => {
    const pod = pods.get(growth.container.podUid);
    const revision = pod?.revision;
    if (name === undefined || growth.container.name !== name || revision === undefined || !isEarlier(revision))
      return [];
    return pod?.role === "Preserved" && growth.anon?.trend !== "Growing" ? [] : [{ growth, revision }];
  });
}

function servedSeconds(previous: ContextRevision, until: number, context: Context): number | undefined {
  const from = sinceMs(previous, context);
  return from === undefined || from > until ? undefined : (until - from) / 1000;
}

function startedMs({ surroundings: { manifest } }: Case): number | undefined {
  const ms = Date.parse(manifest?.started ?? "");
  return Number.isNaN(ms) ? undefined : ms;
}

function contradictionText(name: string, kills: readonly Kill[], growing: readonly Sibling[]): string {
  const newest = kills.toSorted((a, b) => b.ms - a.ms)[0];
  const killed =
    newest === undefined
      ? undefined
      : `${newest.revision === undefined ? "a container was killed before its roll-out" : `revision ${nameText(newest.revision, 63)} was killed as well`}, at ${new Date(newest.ms).toISOString()}`;
  const grows =
    growing[0] === undefined ? undefined : `a pod of revision ${nameText(growing[0].revision, 63)} grows as well`;
  return `Revision ${name} did not bring it: ${[killed, grows].filter((text) => text !== undefined).join(", and ")}.`;
}

interface Follow {
  readonly own: ContextRevision;
  readonly name: string;
  readonly previous: ContextRevision | undefined;
  readonly since: number | undefined;
  readonly served: number | undefined;
  readonly first: number | undefined;
  readonly flat: readonly Sibling[];
  readonly started: number | undefined;
}

function followText({ own, name, previous, since, served, first, flat, started }: Follow): string | undefined {
  if (previous === undefined || since === undefined || served === undefined) return undefined;
  const changed = own.images.filter((image) => !previous.images.includes(image));
  const image = changed[0] === undefined ? "the same images" : nameText(changed[0], 96);
  const onset = first ?? started;
  const when =
    onset === undefined || onset < since
      ? "It is seen in"
      : `${first === undefined ? "It was measured" : "Its first kill came"} ${secondsText((onset - since) / 1000)} after the roll-out of`;
  const before = nameText(previous.name, 63);
  const healthy = flat.length > 0 ? ", and a pod of an earlier revision does not grow" : "";
  return `${when} revision ${name} (${image}); ${before} before it was current for ${secondsText(served)} with no kill on record${healthy}.`;
}

function limitsOf({
  name,
  previous,
  since,
  siblings,
  kills,
  contradicted,
}: {
  readonly name: string;
  readonly previous: ContextRevision | undefined;
  readonly since: number | undefined;
  readonly siblings: readonly Sibling[];
  readonly kills: readonly Kill[];
  readonly contradicted: boolean;
}): string[] {
  if (contradicted) return [];
  if (previous === undefined)
    return [`No revision before ${name} is known: whether its roll-out brought this cannot be told.`];
  const out: string[] = [];
  if (since === undefined) out.push(`Nothing tells when revision ${name} became current.`);
  const unknown = kills.filter(({ revision }) => revision === undefined).length;
  if (unknown > 0) out.push(`Of ${unknown} kills nobody knows the revision.`);
  if (siblings.length === 0)
    out.push(
      `No pod of revision ${nameText(previous.name, 63)} was measured: that it was healthy rests on the kills on record alone.`,
    );
  return out;
}
