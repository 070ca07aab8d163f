/** From growth to a verdict, with a confidence that anyone can add up. Says Inconclusive rather than guess. */
import type { Verdict } from "../api/memoryinvestigation.ts";
import { type Attribution, attribute } from "./attribution.ts";
import { type Case, anonAtKill, killsSeen } from "./case.ts";
import {
  type ContainerGrowth,
  type HeldKind,
  type ProcessGrowth,
  doubtfulKinds,
  growingKinds,
  heldTrend,
  incarnations,
} from "./growth.ts";
import { STAT_FIELDS, type StatField } from "./recording.ts";
import { CONFIRMED_POINTS, type Trend } from "./trend.ts";
import { nounOf } from "./words.ts";

export interface Judgement {
  readonly verdict: Verdict;
  readonly subKind?: string;
  readonly confidencePercent: number;
  /** The kind of memory that the verdict is about. */
  readonly kind?: HeldKind | "file";
  readonly trend?: Trend;
  /** The process that holds most of the growth; present only where it was shown. */
  readonly leader?: ProcessGrowth;
  /** Whose code it is, by profiles and the kernel's reports; present with `leader`. */
  readonly attribution?: Attribution;
  /** Why nothing firmer could be said. */
  readonly reasons: readonly string[];
  readonly runnerUp?: { readonly verdict: Verdict; readonly confidencePercent: number };
}

/** One process must hold at least this share of the growth of anonymous memory. */
const LEADER_SHARE = 70;
/** Below this a verdict is not named. */
const MIN_CONFIDENCE = 50;
/** A provisional trend can be a warm-up: it is never surer than this. */
const PROVISIONAL_CAP = 75;

export function judge(seen: Case): Judgement {
  const { story } = seen;
  if (story === undefined) return inconclusive(["nothing could be measured"]);
  const growing = growingKinds(story);
  const kind = growing[0];
  if (kind === "anon") return judgeAnon(seen, story, growing);
  if (kind !== undefined) return judgeOther(seen, story, kind, growing);
  const doubtful = doubtfulKinds(story);
  if (doubtful.length > 0) {
    const reasons = doubtful.map((k) => `${k}: ${heldTrend(story, k)?.reasons.join("; ") ?? ""}`);
    return inconclusive(reasons, guessOf(story, doubtful));
  }
  const tooShort = shortReasons(seen, story);
  if (tooShort.length > 0) return inconclusive(tooShort);
  if (story.kinds.file?.trend === "Growing") return judgeOther(seen, story, "file", []);
  return judgeSteady(seen, story);
}

function judgeAnon(seen: Case, story: ContainerGrowth, growing: readonly HeldKind[]): Judgement {
  const trend = story.anon;
  const leader = story.processes[0];
  if (trend === undefined) return inconclusive(["anon could not be read"]);
  const guess = { verdict: "AnonHeapLeak", confidencePercent: 40 } as const;
  if (leader === undefined) return inconclusive(["anon grows, but none of its processes could be read"], guess);
  // Both shares: of the processes' growth, and of what the cgroup gained, so that unread processes count against it.
  const ofCgroup = (100 * leader.trend.netBytes) / Math.max(1, trend.netBytes);
  const share = Math.min(leader.sharePercent, Math.round(ofCgroup));
  if (share < LEADER_SHARE) {
    const reason = `anon grows, but the process that grew most holds ${Math.max(0, share)} % of it (${LEADER_SHARE} % are demanded)`;
    return inconclusive([reason], guess);
  }
  if (leader.trend.trend !== "Growing") {
    const reason = `anon grows, but not one process by the whole test: ${leader.trend.reasons.join("; ")}`;
    return inconclusive([reason], guess);
  }
  const threads = threadRunnerUp(leader);
  const attribution = attribute(seen, story, leader);
  const score =
    scoreOf(seen, story, trend, growing) +
    (share >= 80 ? 15 : 0) +
    (identityResidual(story) < 0.05 ? 10 : 0) +
    (killsByAnon(seen) > 0 ? 10 : 0) +
    (otherLivesGrowing(seen, story).length > 0 ? 20 : 0) +
    (attribution.corroborated ? 10 : 0) -
    (threads ? 20 : 0);
  const verdict = { verdict: "AnonHeapLeak", kind: "anon", trend, leader, attribution, reasons: [] } as const;
  const subKind = anonSubKind(story, trend);
  const other: Verdict = threads
    ? "ThreadStackGrowth"
    : growing[1] !== undefined
      ? verdictOf(growing[1])
      : trend.provisional
        ? "WarmupPlateau"
        : "LoadProportional";
  return settle({ ...verdict, ...(subKind === undefined ? {} : { subKind }) }, score, trend, other);
}

function judgeOther(
  seen: Case,
  story: ContainerGrowth,
  kind: Exclude<HeldKind, "anon"> | "file",
  growing: readonly HeldKind[],
): Judgement {
  const trend = story.kinds[kind];
  if (trend === undefined) return inconclusive([`${kind} could not be read`]);
  const net = Object.values(story.kinds).reduce((sum, t) => sum + Math.max(0, t.netBytes), 0);
  const score = scoreOf(seen, story, trend, growing) + (trend.netBytes >= 0.8 * net ? 15 : 0);
  const subKind = otherSubKind(story, kind, trend);
  const verdict = { verdict: verdictOf(kind), kind, trend, reasons: [] } as const;
  const other =
    growing[1] === undefined ? (trend.provisional ? "WarmupPlateau" : "LoadProportional") : verdictOf(growing[1]);
  return settle({ ...verdict, ...(subKind === undefined ? {} : { subKind }) }, score, trend, other);
}

/** Nothing grows anywhere. That is a verdict only when those that carry the load were measured long enough. */
function judgeSteady(seen: Case, story: ContainerGrowth): Judgement {
  const trend = story.anon ?? story.usage;
  const roles = [...seen.pods.values()].map(({ role }) => role);
  const loaded = [...seen.growths].some(
    ({ container, anon }) =>
      anon !== undefined && anon.shape !== "TooShort" && seen.pods.get(container.podUid)?.role === "Serving",
  );
  if (roles.includes("Preserved") && !loaded) {
    return inconclusive(["nothing grows, but only a pod without traffic was measured for long enough"]);
  }
  const still = Math.abs(trend.netBytes) < trend.gateBytes ? 15 : 0;
  const score = scoreOf(seen, story, trend, []) + still - (killsSeen(seen) > 0 ? 20 : 0);
  const judgement = { verdict: "BoundedSteady", trend, reasons: [] } as const;
  return settle(judgement, score, trend, killsSeen(seen) > 0 ? "LimitTooLow" : "TransientSpike");
}

/** The score of forensics that all verdicts share: 50, more for many samples, less for what clouds the view. */
function scoreOf(seen: Case, story: ContainerGrowth, trend: Trend, growing: readonly HeldKind[]): number {
  const restarts = incarnations(seen.recording, story.container).length - 1;
  return (
    50 +
    (trend.points >= CONFIRMED_POINTS ? 15 : 0) -
    (restarts > 0 ? 20 : 0) -
    (growing.length > 1 ? 20 : 0) -
    // The load on the target is never measured yet.
    10
  );
}

function settle(
  judgement: Omit<Judgement, "confidencePercent" | "runnerUp">,
  score: number,
  trend: Trend,
  other: Verdict,
): Judgement {
  const confidencePercent = Math.max(0, Math.min(score, trend.provisional ? PROVISIONAL_CAP : 95));
  if (confidencePercent < MIN_CONFIDENCE) {
    return {
      ...inconclusive(
        [`${judgement.verdict} is likely, but only ${confidencePercent} % sure (${MIN_CONFIDENCE} % are demanded)`],
        { verdict: judgement.verdict, confidencePercent },
      ),
      trend,
      ...(judgement.kind === undefined ? {} : { kind: judgement.kind }),
    };
  }
  const left = Math.round((100 - confidencePercent) / 2);
  return { ...judgement, confidencePercent, runnerUp: { verdict: other, confidencePercent: left } };
}

function inconclusive(reasons: readonly string[], guess?: Judgement["runnerUp"]): Judgement {
  return {
    verdict: "Inconclusive",
    confidencePercent: 0,
    reasons,
    ...(guess === undefined ? {} : { runnerUp: guess }),
  };
}

function verdictOf(kind: HeldKind | "file"): Verdict {
  switch (kind) {
    case "anon":
      return "AnonHeapLeak";
    case "shmem":
      return "ShmemGrowth";
    case "kernel":
    case "sock":
      return "KernelMemoryGrowth";
    case "file":
      return "PageCacheGrowth";
  }
}

function guessOf(story: ContainerGrowth, doubtful: readonly HeldKind[]): Judgement["runnerUp"] {
  const kind = doubtful[0];
  if (kind === undefined) return undefined;
  const shape = heldTrend(story, kind)?.shape;
  const verdict = shape === "Step" ? "StepChange" : shape === "Decelerating" ? "WarmupPlateau" : verdictOf(kind);
  return { verdict, confidencePercent: 30 };
}

function shortReasons(seen: Case, story: ContainerGrowth): string[] {
  const trend = story.anon;
  if (trend === undefined) return ["anon could not be read"];
  if (trend.shape !== "TooShort") return [];
  const count = incarnations(seen.recording, story.container).length;
  return [
    ...trend.reasons,
    ...(count > 1
      ? [`the ${nounOf(story.container)} restarted while it was measured: ${count} incarnations, each judged by itself`]
      : []),
  ];
}

/** Usage can stand still at the limit while a leak takes the place of the cache, or goes to swap. */
function anonSubKind({ kinds, usage }: ContainerGrowth, trend: Trend): string | undefined {
  const file = kinds.file?.slope ?? 0;
  if (usage.trend !== "Growing" && file < 0 && Math.abs(trend.slope + file) < 0.1 * trend.slope) return "HiddenByCache";
  if ((kinds.swap?.slope ?? 0) > 0.5 * trend.slope) return "HiddenBySwap";
  return undefined;
}

const KERNEL_PARTS: Readonly<Partial<Record<StatField, string>>> = {
  slab_reclaimable: "SlabReclaimable",
  slab_unreclaimable: "SlabUnreclaimable",
  pagetables: "PageTables",
  kernel_stack: "KernelStacks",
  percpu: "PerCpu",
  vmalloc: "Vmalloc",
};

function otherSubKind(story: ContainerGrowth, kind: HeldKind | "file", trend: Trend): string | undefined {
  if (kind === "sock") return "SocketBuffers";
  if (kind === "shmem") {
    const mapped = story.container.processes.reduce(
      (sum, { rssShmem }) => sum + Math.max(0, netOf(rssShmem.values)),
      0,
    );
    return mapped >= 0.5 * trend.netBytes ? "Mapped" : "Unmapped";
  }
  if (kind !== "kernel") return undefined;
  const part = STAT_FIELDS.find((f) => netOf(story.container.stat[f].values) >= 0.5 * trend.netBytes);
  return part === undefined ? undefined : KERNEL_PARTS[part];
}

function netOf(values: readonly number[]): number {
  return (values.at(-1) ?? 0) - (values[0] ?? 0);
}

/**
 * |cgroup anon - sum over processes| as a share of anon, at the newest sample where every process was read; 1 when there is none, and where
 * anon is that sum itself.
 * RssAnon counts a page of a forked family once for each process; it serves only where Pss_Anon is missing.
 */
export function identityResidual({ container }: ContainerGrowth): number {
  if (container.scope === "Process") return 1;
  const sum = container.pssAnonSum.times.length > 0 ? container.pssAnonSum : container.rssAnonSum;
  const { times, values } = container.kinds.anon;
  const at = times.lastIndexOf(sum.times.at(-1) ?? Number.NaN);
  const anon = values[at] ?? 0;
  return at < 0 || anon <= 0 ? 1 : Math.abs(anon - (sum.values.at(-1) ?? 0)) / anon;
}

/**
 * The same container in other pods, and its other lives in this one, that grow by the whole test. Each is a measurement of its own: it
 * makes up for what a restart takes from the view.
 */
export function otherLivesGrowing(seen: Case, story: ContainerGrowth): readonly ContainerGrowth[] {
  const { name } = story.container;
  if (name === undefined) return [];
  return seen.growths.filter((g) => g !== story && g.container.name === name && g.anon?.trend === "Growing");
}

/** How many of the kernel's reports say that anon was at least 80 % of the limit. */
export function killsByAnon({ reports }: Case): number {
  return reports.filter((report) => {
    const anon = anonAtKill(report);
    return anon !== undefined && report.limitBytes !== undefined && anon >= 0.8 * report.limitBytes;
  }).length;
}

/** The number of threads rose, and the growth for each new thread is what a stack can be: 8 KiB to 8 MiB. */
export function threadRunnerUp({ process, trend }: ProcessGrowth): boolean {
  const more = netOf(process.threads.values);
  const each = trend.netBytes / Math.max(1, more);
  return more >= 8 && each >= 8 * 1024 && each <= 8 * 2 ** 20;
}
