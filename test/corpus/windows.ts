/**
 * The recordings as if they had begun later or ended sooner: whoever looks at an incident sees a part of it. A cache that is cut off while it fills looks like a leak, and there is
 * where a verdict goes wrong; whole recordings alone would make every confidence too high.
 */
import type { Sample } from "../../src/api/collection.ts";
import { openCase } from "../../src/diagnosis/case.ts";
import { mappingGrowth } from "../../src/diagnosis/mappinggrowth.ts";
import { readProfiles } from "../../src/diagnosis/profilereading.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { type Judgement, judge } from "../../src/diagnosis/verdict.ts";
import { openPack } from "../../src/evidence/pack.ts";
import type { Case } from "./case.ts";
import { packOf } from "./packs.ts";

/**
 * From and to, as shares of the samples, and by how much time is stretched: a program that does the same more slowly, looked at less often, has the same numbers, and its minute is three.
 * Most recordings are a minute long, so that a part of one is too short for a verdict unless it is stretched.
 */
const WINDOWS: readonly (readonly [from: number, to: number, stretch: number])[] = [
  [0, 0.7, 1],
  [0, 1, 1],
  [0.4, 1, 1],
  [0, 0.4, 3],
  [0, 0.55, 3],
  [0, 0.7, 3],
  [0, 0.85, 3],
  [0, 1, 3],
  [0.4, 1, 3],
];

export interface Seen {
  readonly case: Case;
  /** Such as `0-0.55 x3`. */
  readonly window: string;
  readonly judgement: Judgement;
}

/** Every window of one recording; those of less than twelve samples or a minute end in no verdict by themselves. */
export async function windowsOf(one: Case): Promise<readonly Seen[]> {
  const pack = await openPack(packOf(one));
  const samples: Sample[] = [];
  for await (const sample of pack.samples()) samples.push(sample);
  const { host, oomReports, context, manifest, problems } = pack;
  const growth = await mappingGrowth(pack.mappings());
  const profiles = await readProfiles(pack.profiles());
  const surroundings = { host, oomReports, context, manifest, problems, mappingGrowth: growth, profiles };
  const seen: Seen[] = [];
  for (const [from, to, stretch] of WINDOWS) {
    const part = samples.slice(Math.round(from * samples.length), Math.round(to * samples.length));
    const recording = await record(streamOf(part, stretch));
    seen.push({ case: one, window: `${from}-${to} x${stretch}`, judgement: judge(openCase(recording, surroundings)) });
  }
  return seen;
}

async function* streamOf(samples: readonly Sample[], stretch: number): AsyncGenerator<Sample> {
  for (const sample of samples) yield { ...sample, elapsedMs: sample.elapsedMs * stretch };
}
