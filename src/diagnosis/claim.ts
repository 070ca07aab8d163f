/** What a rule may say of a case: a verdict with what speaks for and against it, or that nothing can be said, and why. And what all rules look at. */
import { partFileName } from "../api/collection.ts";
import type { EvidenceLine, Verdict } from "../api/memoryinvestigation.ts";
import type { Attribution } from "./attribution.ts";
import { type Case, killsSeen } from "./case.ts";
import {
  type ContainerGrowth,
  type HeldKind,
  type ProcessGrowth,
  doubtfulKinds,
  growingKinds,
  incarnations,
} from "./growth.ts";
import { type Life, livesOf } from "./lives.ts";
import type { ContainerRecording, ProcessRecording } from "./recording.ts";
import type { Point } from "./score.ts";
import { CONFIRMED, GAPS } from "./thresholds.ts";
import { knowsLoad } from "./load.ts";
import { type Trend, gateOf } from "./trend.ts";

export type Kind = HeldKind | "file";

/** A verdict that a rule makes. */
export interface Claim {
  readonly verdict: Exclude<Verdict, "Inconclusive">;
  readonly subKind?: string | undefined;
  /** The kind of memory that the verdict is about. */
  readonly kind?: Kind;
  readonly trend?: Trend | undefined;
  /** The process that holds most of the growth; present only where it was shown. */
  readonly leader?: ProcessGrowth | undefined;
  readonly attribution?: Attribution;
  /** The process that holds what is no heap: kernel or shared memory; present only where its own numbers show it. */
  readonly holder?: ProcessRecording | undefined;
  readonly points: readonly Point[];
  /** Percent; lower than what every verdict is capped at. */
  readonly cap?: number | undefined;
  /** Whether more time could change it. */
  readonly provisional: boolean;
  /** What follows the name of what was measured: `grew by 40 MiB and stands still`. Absent where the growth itself is the sentence. */
  readonly says?: string;
  readonly speaks: readonly EvidenceLine[];
  readonly against: readonly EvidenceLine[];
  /** What could not be seen; sentences. */
  readonly limits: readonly string[];
  /** Verdicts whose claim, if one is made, takes points from this one. The first that is made is the next best. */
  readonly rivals: readonly Verdict[];
  /** What it would be next where no rival claims; absent: the first of the rivals. */
  readonly nextBest?: Verdict;
}

export interface Doubt {
  readonly verdict: "Inconclusive";
  readonly reasons: readonly string[];
  readonly guess?: { readonly verdict: Verdict; readonly confidencePercent: number } | undefined;
}

/** What every rule is given. */
export interface Facts {
  readonly seen: Case;
  readonly story: ContainerGrowth;
  readonly container: ContainerRecording;
  /** Of the readings, for evidence lines. */
  readonly part: string;
  readonly growing: readonly HeldKind[];
  readonly doubtful: readonly HeldKind[];
  /** The least growth of anon that matters, in bytes. */
  readonly gate: number;
  readonly lives: readonly Life[];
  readonly restarts: number;
  /** Kills by pod status, the kernel's reports and the cgroup's counter, whichever saw most. */
  readonly kills: number;
}

export type Rule = (facts: Facts) => Claim | Doubt | undefined;

export function factsOf(seen: Case, story: ContainerGrowth): Facts {
  const { container } = story;
  const counter = netOf(container.events.oomKill.values);
  return {
    seen,
    story,
    container,
    part: readingsPart(seen),
    growing: growingKinds(story),
    doubtful: doubtfulKinds(story),
    gate: gateOf(container.anonAndSwap.values, container.limitBytes),
    lives: livesOf(seen.recording, story),
    restarts: incarnations(seen.recording, container).length - 1,
    kills: Math.max(killsSeen(seen), counter),
  };
}

export function doubt(reasons: readonly string[], guess?: Verdict, confidencePercent = 30): Doubt {
  return {
    verdict: "Inconclusive",
    reasons,
    guess: guess === undefined ? undefined : { verdict: guess, confidencePercent },
  };
}

/** The points that every verdict shares: how much was measured, and what clouds the view. */
export function viewPoints({ seen, restarts }: Facts, trend: Trend | undefined): Point[] {
  const { samples, longestGapSeconds, medianGapSeconds } = seen.recording;
  return [
    ...((trend?.points ?? samples) >= CONFIRMED.points ? (["samples"] as const) : []),
    ...(restarts > 0 ? (["restarts"] as const) : []),
    ...(samples > 2 && longestGapSeconds > GAPS.intervals * medianGapSeconds ? (["gap"] as const) : []),
  ];
}

/** For growth: what is not known of the load, and how clear the slope is. */
export function growthPoints(facts: Facts, trend: Trend): Point[] {
  const unclear = trend.high - trend.low > Math.max(0, trend.slope) / 2;
  return [
    ...viewPoints(facts, trend),
    knowsLoad(facts.container) ? "loadPartly" : "loadUnknown",
    ...(unclear ? (["noisy"] as const) : []),
    ...(facts.growing.length > 1 ? (["rival"] as const) : []),
  ];
}

/** Too few samples, or too short a time, for a verdict that more of them could not overturn. */
export function isProvisional({ seen }: Facts, trend: Trend | undefined): boolean {
  return (
    trend?.provisional ??
    (seen.recording.samples < CONFIRMED.points || seen.recording.lastSeconds < CONFIRMED.spanSeconds)
  );
}

export function netOf(values: readonly number[]): number {
  return (values.at(-1) ?? 0) - (values[0] ?? 0);
}

/** `readings-0000.ndjson`, or the first and the last of several. */
export function readingsPart({ surroundings }: Case): string {
  const indexes = (surroundings.manifest?.parts ?? []).filter((p) => p.kind === "readings").map((p) => p.index);
  const last = Math.max(0, ...indexes);
  const first = partFileName("readings", 0);
  return last === 0 ? first : `${first}..${partFileName("readings", last)}`;
}
