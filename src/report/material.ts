/** What a report is made of: everything that a page shows, gathered in one pass over each stream of a pack and bounded from here on. */
import type { Context, Host, Manifest, OomReports, Sample } from "../api/collection.ts";
import type { Finding } from "../api/memoryinvestigation.ts";
import type { Profile } from "../api/profile.ts";
import { findingOf, type PackParts } from "../diagnosis/frompack.ts";
import { type MappingGrowth, mappingGrowth } from "../diagnosis/mappinggrowth.ts";
import { type FlameNode, flameTree } from "../profile/flametree.ts";
import { type Owner, ownersOf } from "../profile/owners.ts";
import { type Mark, marksOf } from "./moments.ts";
import { type Readings, watch } from "./readings.ts";

export interface ReportProfile {
  readonly index: number;
  readonly about: Omit<Profile, "frames" | "processes">;
  readonly tree: FlameNode;
  /** The heaviest first, at most {@link MAX_OWNERS}. */
  readonly owners: readonly Owner[];
}

export interface Material {
  readonly finding: Finding;
  readonly readings: Readings;
  readonly marks: readonly Mark[];
  readonly marksOmitted: number;
  readonly growths: readonly MappingGrowth[];
  readonly profiles: readonly ReportProfile[];
  /** Beyond the ones that are shown. */
  readonly profilesOmitted: number;
  readonly host: Host | undefined;
  readonly oomReports: OomReports | undefined;
  readonly context: Context | undefined;
  readonly manifest: Manifest | undefined;
  /** What the reader of the pack had to leave out. */
  readonly problems: readonly string[];
}

/** A collection takes two; before and after are four. */
const MAX_PROFILES = 4;
const MAX_OWNERS = 20;

/** Throws only what the streams throw. */
export async function gather(pack: PackParts): Promise<Material> {
  const watching = watch();
  const finding = await findingOf({
    host: pack.host,
    oomReports: pack.oomReports,
    context: pack.context,
    manifest: pack.manifest,
    samples: () => watched(pack.samples(), (sample) => watching.see(sample)),
    mappings: () => pack.mappings(),
    profiles: () => pack.profiles(),
    get problems() {
      return pack.problems;
    },
  });
  const readings = watching.readings();
  const growths = await mappingGrowth(pack.mappings());
  const { profiles, omitted } = await readProfiles(pack);
  const { host, oomReports, context, manifest, problems } = pack;
  const { marks, omitted: marksOmitted } = marksOf({ readings, context, oomReports });
  return {
    finding,
    readings,
    marks,
    marksOmitted,
    growths,
    profiles,
    profilesOmitted: omitted,
    host,
    oomReports,
    context,
    manifest,
    problems,
  };
}

async function* watched(samples: AsyncIterable<Sample>, see: (sample: Sample) => void): AsyncGenerator<Sample> {
  for await (const sample of samples) {
    see(sample);
    yield sample;
  }
}

async function readProfiles(
  pack: PackParts,
): Promise<{ readonly profiles: ReportProfile[]; readonly omitted: number }> {
  const profiles: ReportProfile[] = [];
  let omitted = 0;
  for await (const { index, profile } of pack.profiles()) {
    if (profiles.length >= MAX_PROFILES) {
      omitted++;
      continue;
    }
    const { frames: _frames, processes: _processes, ...about } = profile;
    profiles.push({ index, about, tree: flameTree(profile), owners: ownersOf(profile).slice(0, MAX_OWNERS) });
  }
  return { profiles, omitted };
}
