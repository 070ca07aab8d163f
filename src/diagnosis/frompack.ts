/** From the parts of a pack to its finding: the one way, for the operator and for the command line. */
import type { Sample } from "../api/collection.ts";
import type { MappingSnapshot } from "../api/mappings.ts";
import type { Finding } from "../api/memoryinvestigation.ts";
import type { Profile } from "../api/profile.ts";
import type { Surroundings } from "./case.ts";
import { diagnose } from "./diagnose.ts";
import { mappingGrowth } from "./mappinggrowth.ts";
import { readProfiles } from "./profilereading.ts";
import { record } from "./recording.ts";

/** What a pack gives: each stream is read once, from its start. */
export interface PackParts extends Pick<Surroundings, "host" | "oomReports" | "context" | "manifest"> {
  samples(): AsyncIterable<Sample>;
  mappings(): AsyncIterable<MappingSnapshot>;
  profiles(): AsyncIterable<{ readonly index: number; readonly profile: Profile }>;
  /** Grows while the streams are read. */
  readonly problems: readonly string[];
}

/** Throws only what the streams throw. */
export async function findingOf(pack: PackParts): Promise<Finding> {
  const recording = await record(pack.samples());
  const growth = await mappingGrowth(pack.mappings());
  const profiles = await readProfiles(pack.profiles());
  const { host, oomReports, context, manifest, problems } = pack;
  return diagnose(recording, { host, oomReports, context, manifest, problems, mappingGrowth: growth, profiles });
}
