/** The limit and the kernel's reclaim: kills soon after each start, a working set that does not fit, memory.high, swap. */
import { type Attribution, attribute } from "./attribution.ts";
import { killsByAnon } from "./case.ts";
import { type Claim, type Doubt, type Facts, doubt, growthPoints, isProvisional, netOf, viewPoints } from "./claim.ts";
import { line } from "./evidenceline.ts";
import { findLoop, leakInLives } from "./lives.ts";
import type { ProcessRecording } from "./recording.ts";
import { type Series, median, span, theilSen } from "./statistics.ts";
import { ENOUGH, HIGH, LOOP, SWAP, THRASH } from "./thresholds.ts";
import type { Trend } from "./trend.ts";
import { bytesText, secondsText } from "./words.ts";

/** Killed again and again, in lives too short to judge each by itself: a leak that rises to each kill, or a start that never fits. */
export function restartLoop(facts: Facts): Claim | Doubt | undefined {
  const { lives, kills, container, seen, part, gate, story } = facts;
  if (kills === 0 || lives.length < 2 || story.anon?.trend === "Growing") return undefined;
  const leak = leakInLives(lives, gate, container.limitBytes);
  const loop = kills >= LOOP.lives ? findLoop(lives, seen.recording.medianGapSeconds) : undefined;
  const limit = container.limitBytes;
  const trend = story.anon;
  if (leak !== undefined && trend !== undefined && loop === undefined) {
    const { rising, slope, low, high, netBytes, points } = leak;
    const code = codeOfLives(facts);
    const ofLives: Trend = {
      ...trend,
      trend: "Growing",
      shape: "Line",
      slope,
      low,
      high,
      netBytes,
      points,
      provisional: true,
    };
    return {
      verdict: "AnonHeapLeak",
      subKind: "RestartSawtooth",
      kind: "anon",
      trend: ofLives,
      holder: code?.holder ?? story.processes[0]?.process,
      ...(code === undefined ? {} : { attribution: code.attribution }),
      points: [
        ...growthPoints(facts, ofLives).filter((p) => p !== "restarts" && p !== "noisy"),
        ...(rising > 1 ? (["otherLives"] as const) : []),
        ...(killsByAnon(seen) > 0 ? (["kills"] as const) : []),
        ...(code?.attribution.corroborated === true ? (["attributors"] as const) : []),
      ],
      provisional: true,
      says: `gained ${bytesText(slope)}/s of anonymous memory in ${rising === 1 ? "the longest of its lives" : `each of ${rising} lives`}, and was killed`,
      speaks: [
        line("lives that rise to their end", rising, "lives", part, rising > 1 ? ">= 2" : undefined),
        line("anon, least slope of a life", low, "bytes/s", part, "> 0"),
        line("kills", kills, "kills", part, ">= 1"),
      ],
      against: [],
      limits:
        rising > 1
          ? ["Each life was judged by itself, and most were short: that they all rise to their end is what speaks."]
          : [],
      rivals: ["LimitTooLow"],
    };
  }
  if (loop === undefined) return undefined;
  return {
    verdict: "LimitTooLow",
    subKind: "OomLoop",
    points: ["separating", ...(seen.recording.samples >= ENOUGH.points ? (["corroborated"] as const) : [])],
    cap: 75,
    provisional: isProvisional(facts, undefined),
    says: `was killed ${kills} times, about ${secondsText(loop.seconds)} after each start${limit === undefined ? "" : `: what it needs to start does not fit into ${bytesText(limit)}`}`,
    speaks: [
      line("oom_kill, net", kills, "kills", part, `>= ${LOOP.lives}`),
      line("lives that ended so soon", loop.lives, "lives", part, `>= ${LOOP.lives}`),
      line("time from start to end", loop.seconds, "s", part, `<= ${LOOP.startUpSeconds}`),
    ],
    against: [],
    limits: [
      "A leak that fills the limit within seconds of each start looks the same; its time would change with the traffic.",
    ],
    rivals: ["AnonHeapLeak"],
  };
}

/** The last life whose code is named, or else the last: each of them ran the same program, and a profile sees one of them. */
function codeOfLives({
  lives,
  story,
  seen,
}: Facts): { holder: ProcessRecording; attribution: Attribution } | undefined {
  const looked = lives.flatMap(({ process }) => {
    const growth = story.processes.find((one) => one.process === process);
    return growth === undefined ? [] : [{ holder: growth.process, attribution: attribute(seen, story, growth) }];
  });
  const named = looked.filter(({ attribution }) => attribution.named !== undefined);
  return (
    named.findLast(({ attribution }) => attribution.growth?.sibling === undefined) ?? named.at(-1) ?? looked.at(-1)
  );
}

/** Held at memory.high: it would take more, and waits instead. Its growth meanwhile is not that of the leak that may be behind it. */
export function throttledAtHigh(facts: Facts): Claim | undefined {
  const { container, story, part } = facts;
  const { highBytes: high, events, usage, cgroupVersion } = container;
  if (high === undefined || cgroupVersion !== 2 || usage.values.length < ENOUGH.points) return undefined;
  if (container.limitBytes !== undefined && high >= container.limitBytes) return undefined;
  const near = usage.values.map((value) => value >= HIGH.near * high);
  const from = near.indexOf(true);
  const hits = netOf(events.high.values);
  const lately = netOf(events.high.values.slice(-Math.max(2, Math.ceil(events.high.values.length / 3))));
  if (from < 0 || near.filter(Boolean).length < HIGH.samplesNear * near.length || hits < HIGH.events || lately <= 0)
    return undefined;
  const stall = stallShare(events.stallFullUs, usage.times[from] ?? 0);
  if (stall !== undefined && stall < HIGH.stall) return undefined;
  const before = { times: usage.times.slice(0, from + 1), values: usage.values.slice(0, from + 1) };
  const rate = before.times.length >= LOOP.points ? theilSen(before).slope : 0;
  const kills = netOf(events.oomKill.values);
  const held = splitAt(container.anonAndSwap, usage.times[from] ?? 0);
  // Without PSI the collapse of the growth at just that size is what tells an allocator that waits from a cache that is trimmed without pain.
  const collapses =
    held.before.times.length >= LOOP.points &&
    theilSen(held.before).slope > 0 &&
    theilSen(held.after).slope < HIGH.growthLeft * theilSen(held.before).slope;
  const wanted = rate > 0 ? ` Before that it took ${bytesText(rate)}/s, which is nearer to what it asks for.` : "";
  return {
    verdict: "ThrottledAtMemoryHigh",
    trend: story.usage,
    points: [
      ...viewPoints(facts, story.usage),
      ...(stall !== undefined ? (["separating"] as const) : collapses ? [] : (["unseen"] as const)),
      ...(kills === 0 ? (["corroborated"] as const) : []),
    ],
    provisional: isProvisional(facts, story.usage),
    says: `is held at its memory.high of ${bytesText(high)}${stall === undefined ? "" : ` and waits for memory ${Math.round(100 * stall)} % of the time`}: the kernel makes it reclaim instead of killing it.${wanted}`.replace(
      /\.$/,
      "",
    ),
    speaks: [
      line("memory.events high, net", hits, "events", part, `>= ${HIGH.events}`),
      line(
        "usage at its median, of memory.high",
        (100 * median(usage.values)) / high,
        "%",
        part,
        `>= ${HIGH.near * 100}`,
      ),
      ...(stall === undefined
        ? []
        : [line("memory.pressure full, of the time", 100 * stall, "%", part, `>= ${HIGH.stall * 100}`)]),
    ],
    against: kills > 0 ? [line("oom_kill, net", kills, "kills", part, "0")] : [],
    limits: [
      "How fast it would grow without memory.high cannot be seen while it is held there.",
      ...(stall === undefined ? ["memory.pressure could not be read: how long it waits is not known."] : []),
    ],
    rivals: ["AnonHeapLeak", "LimitTooLow"],
  };
}

function splitAt({ times, values }: Series, seconds: number): { readonly before: Series; readonly after: Series } {
  const at = times.findIndex((time) => time >= seconds);
  const cut = at < 0 ? times.length : at;
  return {
    before: { times: times.slice(0, cut), values: values.slice(0, cut) },
    after: { times: times.slice(cut), values: values.slice(cut) },
  };
}

/** Stall of a PSI total from a time on, as a share of that time; undefined where it was not read twice. */
function stallShare({ times, values }: Series, from: number): number | undefined {
  const at = times.findIndex((time) => time >= from);
  const seconds = (times.at(-1) ?? 0) - (times[at] ?? 0);
  return at < 0 || seconds <= 0 ? undefined : netOf(values.slice(at)) / 1e6 / seconds;
}

function rateOf(series: Series): number | undefined {
  const seconds = span(series);
  return series.times.length < 2 || seconds <= 0 ? undefined : netOf(series.values) / seconds;
}

/** Nothing that is held grows, and what is needed does not fit: pages are read again as soon as they are dropped, or a flat heap is killed at its limit. */
export function limitTooLow(facts: Facts): Claim | undefined {
  return thrash(facts) ?? flatAndKilled(facts);
}

function thrash(facts: Facts): Claim | undefined {
  const { container, story, part, growing } = facts;
  const { limitBytes: limit, usage, stat, events, cgroupVersion } = container;
  if (limit === undefined || growing.length > 0 || story.anon?.shape === "TooShort") return undefined;
  const pinned =
    usage.values.filter((value) => value >= THRASH.atLimit * limit).length / Math.max(1, usage.values.length);
  const refaults = (rateOf(stat.workingset_refault_file) ?? 0) + (rateOf(stat.workingset_refault_anon) ?? 0);
  const hits = netOf(events.max.values);
  const stall = stallShare(events.stallSomeUs, 0);
  if (pinned < THRASH.samplesAtLimit || refaults < THRASH.refaultsPerSecond || hits <= 0) return undefined;
  // Reading a file once refaults nothing; on v2 time is lost as well, or it does not matter.
  if (stall !== undefined && stall < THRASH.stall / 5) return undefined;
  const stalls = stall !== undefined && stall >= THRASH.stall;
  return {
    verdict: "LimitTooLow",
    subKind: "Thrash",
    trend: story.usage,
    points: [...viewPoints(facts, story.usage), "separating", ...(stalls ? (["corroborated"] as const) : [])],
    provisional: isProvisional(facts, story.usage),
    says: `stands at its limit of ${bytesText(limit)} and reads ${Math.round(refaults)} pages a second again that it had to drop: its working set does not fit`,
    speaks: [
      line("samples with usage at the limit", 100 * pinned, "%", part, `>= ${THRASH.samplesAtLimit * 100}`),
      line("workingset_refault, rate", refaults, "pages/s", part, `>= ${THRASH.refaultsPerSecond}`),
      line("limit hits (max, failcnt), net", hits, "events", part, "> 0"),
      ...(stall === undefined
        ? []
        : [line("memory.pressure some, of the time", 100 * stall, "%", part, `>= ${THRASH.stall * 100}`)]),
    ],
    against: [],
    limits:
      cgroupVersion === 1
        ? ["cgroup v1 has no pressure of its own: how much time the container loses is not known."]
        : [],
    rivals: ["PageCacheGrowth"],
  };
}

function flatAndKilled(facts: Facts): Claim | undefined {
  const { container, story, part, growing, doubtful, kills } = facts;
  const { limitBytes: limit, anonAndSwap } = container;
  const anon = median(anonAndSwap.values);
  if (limit === undefined || kills === 0 || growing.length > 0 || doubtful.length > 0 || story.anon?.trend !== "Flat")
    return undefined;
  if (anon < LOOP.ofLimit * limit) return undefined;
  return {
    verdict: "LimitTooLow",
    subKind: "OomLoop",
    trend: story.anon,
    points: [...viewPoints(facts, story.anon), "separating"],
    cap: 75,
    provisional: isProvisional(facts, story.anon),
    says: `does not grow, stands at ${Math.round((100 * anon) / limit)} % of its limit of ${bytesText(limit)} with memory that cannot be taken back, and was killed`,
    speaks: [
      line("anon + swap at its median, of the limit", (100 * anon) / limit, "%", part, `>= ${LOOP.ofLimit * 100}`),
      line("kills", kills, "kills", part, ">= 1"),
    ],
    against: [],
    limits: [],
    rivals: ["TransientSpike", "AnonHeapLeak"],
  };
}

/** Pages that went to swap once and are not missed. */
export function swapColdPages(facts: Facts): Claim | undefined {
  const { container, story, gate, part, seen, growing } = facts;
  const { swap } = container.kinds;
  const trend = story.kinds.swap;
  if (trend === undefined || growing.length > 0 || story.anon?.trend !== "Flat") return undefined;
  const level = swap.values.at(-1) ?? 0;
  const last = swap.values.slice(-Math.max(3, Math.ceil(swap.values.length / 3)));
  const moves = Math.max(...last) - Math.min(...last);
  if (
    level < Math.max(gate, SWAP.ofHeld * (container.anonAndSwap.values.at(-1) ?? 0)) ||
    moves > Math.max(gate / 4, level / 10)
  )
    return undefined;
  const refaults = rateOf(container.stat.workingset_refault_anon);
  const ins = rateOf(seen.recording.node.swapIns);
  const missed = refaults ?? ins;
  if (missed !== undefined && missed > SWAP.insPerSecond) return undefined;
  return {
    verdict: "SwapColdPages",
    trend,
    points: [...viewPoints(facts, trend), missed === undefined ? "unseen" : "separating"],
    provisional: isProvisional(facts, trend),
    says: `has ${bytesText(level)} in swap, which it does not read back: pages that nobody uses`,
    speaks: [
      line("swap, level", level, "bytes", part, `>= ${Math.round(gate)}`),
      line("swap, range in the last third", moves, "bytes", part),
      ...(missed === undefined
        ? []
        : [
            line(
              refaults === undefined ? "pswpin of the machine, rate" : "workingset_refault_anon, rate",
              missed,
              "pages/s",
              part,
              `<= ${SWAP.insPerSecond}`,
            ),
          ]),
    ],
    against: [],
    limits: missed === undefined ? ["Whether pages come back from swap could not be read."] : [],
    rivals: ["LimitTooLow", "AnonHeapLeak"],
  };
}

/** The case could not be judged at all: too little was measured. */
export function tooLittle({ story, lives, container }: Facts): Doubt | undefined {
  const trend = story.anon;
  if (trend === undefined) return doubt(["anon could not be read"]);
  if (trend.shape !== "TooShort") return undefined;
  const noun = container.scope.toLowerCase();
  const more =
    lives.length > 1
      ? [`the ${noun} restarted while it was measured: ${lives.length} incarnations, each judged by itself`]
      : [];
  return doubt([...trend.reasons, ...more]);
}
