/**
 * Whose code makes the memory resident? From the profile of the process that grows, or of a sibling, and only where its numbers say that it may be
 * believed and one place has a clear majority. What the kernel printed at a kill is one sample beside it: it corroborates and proves nothing.
 */
import { BELIEF_TEXT, isPlumbing, plainName, type ProfileFrame } from "../api/profile.ts";
import type { Owner } from "../profile/owners.ts";
import { type Case, podName } from "./case.ts";
import type { ContainerGrowth, ProcessGrowth } from "./growth.ts";
import type { ProfiledProcess, ProfileReading } from "./profilereading.ts";
import { nameText } from "./words.ts";

/**
 * When one place may be named. share: percent of the page faults that were kept; a clear majority. growth: percent of the growth that it holds at least, see
 * {@link leastOfGrowth}; a majority in the worst case. With nothing lost, and 70 % of the pages staying, a share of 70 % is 57 % of the growth. samples: at 30
 * the 95 % interval of a share of 70 % (±16) ends above a half.
 */
export const NAMING = { share: 70, growth: 50, samples: 30 } as const;

/** A process in a profile that stands for the one that grows. */
export interface Look {
  readonly reading: ProfileReading;
  readonly process: ProfiledProcess;
  /** Not the process itself, but one of the same container and name: in this pod, if its name is known. */
  readonly sibling?: { readonly pod: string | undefined };
}

/** Where the limit was hit, by the kernel's reports. */
export interface LimitHit {
  readonly place: Place;
  readonly reports: number;
  /** Whether that is the place that is named. Unknown where nobody is named, or one of the two has no function. */
  readonly agrees: "Yes" | "No" | "Unknown";
}

export type Place = Pick<Owner, "function" | "library" | "claimed">;

export interface Attribution {
  readonly growth: Look | undefined;
  readonly onCpu: Look | undefined;
  readonly named: Owner | undefined;
  /** `the JavaScript runtime`: most of it is touched in there, and no code outside can be told. */
  readonly inside: string | undefined;
  /** Why a growth profile names nobody; a clause for people. */
  readonly reason: string | undefined;
  readonly hits: readonly LimitHit[];
  /** Of all reports that could be compared. */
  readonly reports: number;
  /** Profile and kernel name the same place: two instruments, at two times. */
  readonly corroborated: boolean;
}

export function attribute(seen: Case, story: ContainerGrowth, leader: ProcessGrowth): Attribution {
  const looks = (seen.surroundings.profiles ?? []).flatMap((reading) => looksOf(seen, story, leader, reading));
  const growth = best(looks.filter(({ reading }) => reading.kind === "Growth"));
  const onCpu = best(looks.filter(({ reading }) => reading.kind === "OnCpu"));
  const judged = growth === undefined ? {} : judgeLook(growth);
  const { named } = judged;
  const hits = limitHits(seen, story, named);
  const count = (agrees: LimitHit["agrees"]): number =>
    hits.filter((hit) => hit.agrees === agrees).reduce((sum, { reports }) => sum + reports, 0);
  return {
    growth,
    onCpu,
    named,
    inside: judged.inside,
    reason: judged.reason,
    hits,
    reports: hits.reduce((sum, { reports }) => sum + reports, 0),
    corroborated: count("Yes") > count("No"),
  };
}

/** The processes of a profile that stand for the leader: itself, or those of the same container name, process name and, as far as known, revision. */
function looksOf(
  seen: Case,
  story: ContainerGrowth,
  { process: leader }: ProcessGrowth,
  reading: ProfileReading,
): Look[] {
  const comm = plainName(leader.comm);
  const { podUid = "", containerId } = reading;
  const mine = seen.pods.get(story.container.podUid)?.revision;
  const its = seen.pods.get(podUid)?.revision;
  const related =
    story.container.scope !== "Container" ||
    (story.container.name !== undefined &&
      containerName(seen, podUid, containerId) === story.container.name &&
      (mine === undefined || its === undefined || mine === its));
  return reading.processes.flatMap((process) => {
    if (process.pid === leader.pid && process.startTicks === leader.startTicks) return [{ reading, process }];
    if (!related || process.comm !== comm) return [];
    return [{ reading, process, sibling: { pod: podName(seen, podUid) } }];
  });
}

function containerName(seen: Case, podUid: string, id: string | undefined): string | undefined {
  return (
    seen.recording.containers.find((container) => container.podUid === podUid && container.id === id)?.name ??
    seen.pods.get(podUid)?.containers.find((container) => container.id === id)?.name
  );
}

/** The process itself before a sibling, then the one with most samples. */
function best(looks: readonly Look[]): Look | undefined {
  return looks.toSorted(
    (a, b) =>
      Number(a.sibling !== undefined) - Number(b.sibling !== undefined) ||
      b.process.samples - a.process.samples ||
      a.process.pid - b.process.pid,
  )[0];
}

function judgeLook({ reading, process }: Look): Partial<Pick<Attribution, "inside" | "reason" | "named">> {
  const { efficiency, unwinding } = reading;
  const { samples, keptPercent, owners, ownerless, runtime } = process;
  const belief = efficiency?.belief ?? "TooFew";
  if (belief !== "Trusted") return { reason: BELIEF_TEXT[belief] };
  if (samples < NAMING.samples) return { reason: `only ${samples} samples (${NAMING.samples} are demanded)` };
  const [owner] = owners;
  if (owner !== undefined && owner.percent >= NAMING.share) {
    // Frame pointers end where libc begins: its direct caller is missing, and the next one would be named in its place.
    const exact = owner.innermost / Math.max(1, owner.samples);
    const least = leastOfGrowth(owner.percent, keptPercent, efficiency?.percent ?? 0);
    if (least < NAMING.growth)
      return {
        reason: `${100 - keptPercent} % of the samples were lost or of nobody, so that ${placeText(owner)} may hold as little as ${least} % of the growth (${NAMING.growth} % are demanded)`,
      };
    if (unwinding === "fp" && owner.percent * exact < NAMING.share)
      return {
        reason: "stacks were taken by frame pointers, and most of them lead through libc, where the caller gets lost",
      };
    return { named: owner };
  }
  if (ownerless.Runtime >= NAMING.share && runtime !== undefined)
    return { inside: runtime, reason: `its stacks show ${runtime} and no code that runs in it` };
  if (ownerless.Plumbing >= NAMING.share)
    return { reason: "its stacks show an allocator or libc, and no caller of it" };
  if (ownerless.Nameless >= NAMING.share) return { reason: "its stacks show code that has no name and no file" };
  const most = owner === undefined ? "" : `; the largest, ${placeText(owner)}, has ${owner.percent} %`;
  return { reason: `no place has ${NAMING.share} % of the page faults${most}` };
}

/**
 * Percent of the growth that a place holds at least: of 100 faults it has `share`, all that was lost was somebody else's, and every page that did not stay
 * was one of its own. With e pages staying for each fault that is (share - (1 - e)) / e.
 */
export function leastOfGrowth(sharePercent: number, keptPercent: number, efficiencyPercent: number): number {
  const staying = Math.max(0.01, Math.min(1, efficiencyPercent / 100));
  const share = (sharePercent / 100) * (keptPercent / 100);
  return Math.max(0, Math.round((100 * (share - (1 - staying))) / staying));
}

/** Reports of other containers, and places in libc or an allocator, which only serve others, say nothing here. */
function limitHits(seen: Case, story: ContainerGrowth, named: Owner | undefined): LimitHit[] {
  const found = new Map<string, { place: Place; reports: number }>();
  for (const { userPlace, podUid, containerId } of seen.reports) {
    if (userPlace === undefined || userPlace.plumbing === true || isPlumbing(userPlace)) continue;
    if (podUid !== undefined && !isOfStory(seen, story, podUid, containerId)) continue;
    const place = { function: userPlace.function, library: userPlace.library };
    if (place.function === undefined && place.library === undefined) continue;
    const key = JSON.stringify([place.function, place.library]);
    const known = found.get(key) ?? { place, reports: 0 };
    known.reports += 1;
    found.set(key, known);
  }
  return [...found.values()]
    .map((hit) => ({ ...hit, agrees: agreement(hit.place, named) }))
    .toSorted((a, b) => b.reports - a.reports || (placeText(a.place) < placeText(b.place) ? -1 : 1));
}

/** A container that has restarted is known by its name; one whose name is unknown counts only where the pod has no other. */
function isOfStory(seen: Case, { container }: ContainerGrowth, podUid: string, id: string | undefined): boolean {
  if (podUid === container.podUid && id === container.id) return true;
  const name = containerName(seen, podUid, id);
  if (name !== undefined) return name === container.name;
  const names = new Set(seen.pods.get(podUid)?.containers.map((one) => one.name));
  return names.size === 1 && container.name !== undefined && names.has(container.name);
}

function agreement(place: Pick<ProfileFrame, "function" | "library">, named: Owner | undefined): LimitHit["agrees"] {
  if (named === undefined) return "Unknown";
  if (place.library !== named.library) return "No";
  if (place.function === undefined || named.function === undefined) return "Unknown";
  return place.function === named.function ? "Yes" : "No";
}

/** `allocate_decode_buffer of libimgdecode.so`. Names were written by the target: escaped and cut. */
export function placeText({ function: name, library, claimed }: Place, length = 48): string {
  const file = library === undefined ? "" : nameText(library, 32);
  if (name === undefined) return `a place without a name in ${file === "" ? "no file" : file}`;
  const shown = nameText(name, length);
  if (claimed === true) return `${shown} (claimed by the target)`;
  return file === "" ? shown : `${shown} of ${file}`;
}
