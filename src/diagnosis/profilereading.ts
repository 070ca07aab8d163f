/**
 * What do the profiles of a pack say, in a form that is small enough to keep? One at a time is read; of each process only its heaviest
 * owners stay. Whether a profile may be believed is worked out again from its numbers, and not left to its word.
 */
import { partFileName } from "../api/collection.ts";
import { type Belief, beliefOf, type Profile, type ProfileKind } from "../api/profile.ts";
import { type Ownership, ownership } from "../profile/owners.ts";

export interface ProfiledProcess extends Ownership {
  readonly pid: number;
  readonly startTicks: number;
  /** Escaped by the writer of the profile (`plainName`). */
  readonly comm: string;
  readonly samples: number;
  /** Of the samples that could have been its own: lost ones, and those of no known process, may have been. Percent. */
  readonly keptPercent: number;
}

export interface ProfileReading {
  /** File name of the part. */
  readonly part: string;
  readonly kind: ProfileKind;
  readonly podUid: string | undefined;
  readonly containerId: string | undefined;
  readonly unwinding: Profile["unwinding"];
  readonly truncated: boolean;
  /** Growth only: pages that stayed for each hundred page faults of all processes, and what that means. */
  readonly efficiency: { readonly percent: number; readonly belief: Belief } | undefined;
  readonly processes: readonly ProfiledProcess[];
}

/** A collection takes two. */
const MAX_PROFILES = 16;
const MAX_PROCESSES = 64;
const MAX_OWNERS = 8;

/** @param parts as a pack gives them; those beyond the first sixteen are not read */
export async function readProfiles(
  parts: AsyncIterable<{ readonly index: number; readonly profile: Profile }>,
): Promise<readonly ProfileReading[]> {
  const readings: ProfileReading[] = [];
  for await (const { index, profile } of parts) {
    readings.push(readingOf(index, profile));
    if (readings.length >= MAX_PROFILES) break;
  }
  return readings;
}

function readingOf(index: number, profile: Profile): ProfileReading {
  const { kind, podUid, containerId, unwinding, truncated, efficiency } = profile;
  return {
    part: partFileName("profile", index),
    kind,
    podUid,
    containerId,
    unwinding,
    truncated,
    efficiency:
      efficiency === undefined || kind !== "Growth"
        ? undefined
        : {
            percent: Math.round((100 * efficiency.anonPages) / Math.max(1, efficiency.faults)),
            belief: beliefOf(efficiency.anonPages, efficiency.faults),
          },
    processes: profile.processes.slice(0, MAX_PROCESSES).map((process) => processOf(profile, process)),
  };
}

function processOf(profile: Profile, process: Profile["processes"][number]): ProfiledProcess {
  const { pid, startTicks, comm, samples } = process;
  const all = samples + profile.lost + profile.samplesOmitted;
  const { owners, ...rest } = ownership({ frames: profile.frames, processes: [process] });
  return {
    pid,
    startTicks,
    comm,
    samples,
    keptPercent: all === 0 ? 0 : Math.round((100 * samples) / all),
    owners: owners.slice(0, MAX_OWNERS),
    ...rest,
  };
}
