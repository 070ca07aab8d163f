/** Memory moved and does not grow to the end: copies of shared pages, huge pages, a burst, a step, a warm-up, what an allocator keeps. */
import { type Claim, type Doubt, type Facts, doubt, isProvisional, viewPoints } from "./claim.ts";
import { RUNTIME_HEAPS, classShares } from "./case.ts";
import { line } from "./evidenceline.ts";
import type { HeldKind } from "./growth.ts";
import type { Point } from "./score.ts";
import { findPlateau, findSaturation, findSpike, findStep, rangeOf } from "./shape.ts";
import { findUnsharing } from "./sharing.ts";
import type { Series } from "./statistics.ts";
import { PLATEAU, SHARE, SHARING, SPIKE, STEP, THRASH } from "./thresholds.ts";
import { type Trend, gateOf } from "./trend.ts";
import { bytesText, secondsText } from "./words.ts";

/** The held kinds as series, anon first; of those that moved by enough to be spoken of. */
function movers({
  container,
  story,
}: Facts): readonly { kind: HeldKind; series: Series; trend: Trend; gate: number }[] {
  const { anonAndSwap, kinds, limitBytes } = container;
  const all = [
    { kind: "anon", series: anonAndSwap, trend: story.anon },
    { kind: "shmem", series: kinds.shmem, trend: story.kinds.shmem },
    { kind: "kernel", series: kinds.kernel, trend: story.kinds.kernel },
    { kind: "sock", series: kinds.sock, trend: story.kinds.sock },
  ] as const;
  const measured = all.map((one) => ({
    ...one,
    range: rangeOf(one.series.values),
    gate: gateOf(one.series.values, limitBytes),
  }));
  const most = Math.max(...measured.map(({ range }) => range), rangeOf(kinds.file.values));
  return measured.flatMap(({ kind, series, trend, range, gate }) =>
    // What moves a little beside something that moves much follows it, or is not the story.
    trend === undefined || trend.shape === "TooShort" || range < gate || range < SHARE.kernel * most
      ? []
      : [{ kind, series, trend, gate }],
  );
}

const nameOf = (kind: HeldKind): string => (kind === "anon" ? "anon + swap" : kind);

/** Several processes stop sharing what they inherited: anon grows, and none of them does. */
export function cowUnsharing(facts: Facts): Claim | undefined {
  const { container, story, gate, part } = facts;
  const found = findUnsharing(container, gate);
  if (found === undefined || story.anon?.shape === "TooShort") return undefined;
  const { processes, grownBytes, residentBytes, madePrivateBytes, sharedLessBytes, boundBytes } = found;
  const limit = container.limitBytes;
  const points: Point[] = madePrivateBytes === undefined ? ["unseen", "corroborated"] : ["separating", "corroborated"];
  const fits = limit === undefined || boundBytes <= limit;
  return {
    verdict: "CowUnsharing",
    trend: story.anon,
    points: [...viewPoints(facts, story.anon), ...points],
    provisional: isProvisional(facts, story.anon),
    says: `gained ${bytesText(grownBytes)} of anonymous memory while none of its ${processes} processes got larger: they copy pages that they shared. It ends at ${bytesText(boundBytes)} at the latest${fits ? "" : `, which is more than the limit of ${bytesText(limit)}`}`,
    speaks: [
      line(
        "RssAnon of all its processes, net",
        residentBytes,
        "bytes",
        part,
        `< ${Math.round(SHARING.resident * 100)} % of anon's`,
      ),
      ...(madePrivateBytes === undefined ? [] : [line("Private_Dirty of them, net", madePrivateBytes, "bytes", part)]),
      ...(sharedLessBytes === undefined ? [] : [line("Shared_* of them, net", -sharedLessBytes, "bytes", part, "< 0")]),
      line("bound: nothing shared any more", boundBytes, "bytes", part),
    ],
    against: fits ? [] : [line("bound, of the limit", (100 * boundBytes) / limit, "%", part, "< 100")],
    limits:
      madePrivateBytes === undefined
        ? [
            "smaps_rollup was not read often enough: that pages are copied is inferred from RssAnon, which stands still.",
          ]
        : [],
    rivals: ["AnonHeapLeak"],
  };
}

export function transientSpike(facts: Facts): Claim | undefined {
  for (const { kind, series, trend, gate } of movers(facts)) {
    const spike = findSpike(series, gate);
    if (spike === undefined) continue;
    const { heightBytes, peakBytes, seconds, bursts } = spike;
    const limit = facts.container.limitBytes;
    const room = limit === undefined ? "" : `, to ${Math.round((100 * peakBytes) / limit)} % of the limit`;
    return {
      verdict: "TransientSpike",
      trend,
      points: [...viewPoints(facts, trend), "separating"],
      provisional: isProvisional(facts, trend),
      says: `took ${bytesText(heightBytes)} more ${bursts === 1 ? "once" : `in ${bursts} bursts`}, for ${secondsText(seconds)} in all${room}, and gave it back`,
      speaks: [
        line(
          `${nameOf(kind)}, height above its median`,
          heightBytes,
          "bytes",
          facts.part,
          `> ${SPIKE.overMedian} x the median`,
        ),
        line(
          "time above, of the window",
          (100 * seconds) / Math.max(1, trend.spanSeconds),
          "%",
          facts.part,
          `< ${SPIKE.ofWindow * 100}`,
        ),
      ],
      against:
        limit !== undefined && peakBytes > 0.9 * limit
          ? [line("peak, of the limit", (100 * peakBytes) / limit, "%", facts.part, "< 90")]
          : [],
      limits: ["A burst that is shorter than the interval between samples is not seen at its full height."],
      rivals: ["LimitTooLow", "AllocatorRetention"],
    };
  }
  return undefined;
}

export function stepChange(facts: Facts): Claim | undefined {
  for (const { kind, series, trend, gate } of movers(facts)) {
    const step = findStep(series, gate);
    if (step === undefined) continue;
    return {
      verdict: "StepChange",
      trend,
      points: [...viewPoints(facts, trend), "separating"],
      provisional: isProvisional(facts, trend),
      says: `grew by ${bytesText(step.bytes)} in one step ${secondsText(step.atSeconds)} after the measurement began, and stands still before and after`,
      speaks: [
        line(`${nameOf(kind)}, step`, step.bytes, "bytes", facts.part, `>= ${STEP.share * 100} % of the growth`),
      ],
      against: [],
      limits: [
        "One step is no leak. Three like it are: measure longer than the time between two of what may have caused it.",
      ],
      rivals: ["AllocatorRetention"],
    };
  }
  return undefined;
}

/** It grew, and has come, or is coming, to its end. */
export function warmupPlateau(facts: Facts): Claim | Doubt | undefined {
  for (const { kind, series, trend, gate } of movers(facts)) {
    const plateau = findPlateau(series, gate);
    // What is over within the first tenth of the window is the program's start.
    const startUp = PLATEAU.startUpShare * trend.spanSeconds;
    const early = plateau !== undefined && plateau.atSeconds - (series.times[0] ?? 0) <= startUp;
    const limit = facts.container.limitBytes;
    if (plateau !== undefined && limit !== undefined && plateau.levelBytes >= THRASH.atLimit * limit)
      return doubt(
        [`${nameOf(kind)} grew up to the limit of ${bytesText(limit)} and could go no further`],
        "LimitTooLow",
        40,
      );
    if (plateau !== undefined && !early) {
      const heap = kind === "anon" ? heapOf(facts) : undefined;
      return {
        verdict: "WarmupPlateau",
        trend,
        // The size of a collector's heap moves in steps: that it stands still does not tell what is in use in it.
        points: [...viewPoints(facts, trend), "separating", ...(heap?.managed === true ? (["unseen"] as const) : [])],
        provisional: isProvisional(facts, trend),
        says: `grew by ${bytesText(plateau.riseBytes)} and stands still at ${bytesText(plateau.levelBytes)} since ${secondsText(plateau.atSeconds)} after the measurement began`,
        speaks: [
          line(`${nameOf(kind)}, rise`, plateau.riseBytes, "bytes", facts.part, `>= ${Math.round(gate)}`),
          line(`${nameOf(kind)}, stood still from`, plateau.atSeconds, "s", facts.part, "<= two thirds of the window"),
          line("smallest leak that could be seen", trend.smallestSlope, "bytes/s", facts.part),
        ],
        against: [],
        limits: heap === undefined ? [] : [heap.limit],
        rivals: ["AllocatorRetention", "AnonHeapLeak"],
      };
    }
    if (trend.shape === "Decelerating") {
      const claim = decelerating(facts, kind, series, trend);
      if (claim !== undefined) return claim;
    }
  }
  return undefined;
}

/** What lies behind a plateau of a heap, where mappings were read: what stands still from outside may not inside. */
function heapOf({ seen, story }: Facts): { readonly managed: boolean; readonly limit: string } | undefined {
  const leader = story.processes[0];
  const shares = leader === undefined ? undefined : classShares(seen, leader.process);
  if (shares === undefined) return undefined;
  const [kind] = shares.keys();
  const runtime = kind === undefined ? undefined : RUNTIME_HEAPS[kind];
  if (runtime !== undefined)
    return {
      managed: true,
      limit: `The heap of ${runtime} takes its size in steps: what is in use in it was not read, and may still grow.`,
    };
  return /^(?:Heap|Arena)$/.test(kind ?? "")
    ? {
        managed: false,
        limit: "Whether a cache has filled, or an allocator keeps what was freed, looks the same from outside.",
      }
    : undefined;
}

/** It still rises, more and more slowly, along a curve whose end can be told. */
function decelerating(facts: Facts, kind: HeldKind, series: Series, trend: Trend): Claim | undefined {
  const found = findSaturation(series);
  if (found === undefined) return undefined;
  const { asymptoteBytes, sigmaBytes } = found;
  const limit = facts.container.limitBytes;
  const most = asymptoteBytes + 2 * sigmaBytes;
  const fits = limit === undefined || most < PLATEAU.ofLimit * limit;
  const beyond = limit !== undefined && asymptoteBytes > limit;
  if (!fits && !beyond) return undefined;
  return {
    verdict: beyond ? "LimitTooLow" : "WarmupPlateau",
    subKind: beyond ? "WarmupBeyondLimit" : "Decelerating",
    trend,
    points: viewPoints(facts, trend),
    cap: 65,
    provisional: true,
    says: `grows more and more slowly, towards ${bytesText(asymptoteBytes)}${beyond ? `, which is more than its limit of ${bytesText(limit)}` : ""}`,
    speaks: [
      line(
        `${nameOf(kind)}, end of the curve`,
        asymptoteBytes,
        "bytes",
        facts.part,
        fits ? `< ${PLATEAU.ofLimit * 100} % of the limit` : "> the limit",
      ),
    ],
    against: [line(`${nameOf(kind)}, slope`, trend.slope, "bytes/s", facts.part)],
    limits: ["It has not come to its end: look again after twice this time. Until then it is no leak and no plateau."],
    rivals: ["AnonHeapLeak"],
  };
}
