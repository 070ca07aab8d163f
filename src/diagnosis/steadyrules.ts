/** Nothing grows, or nobody can say what does: the end of the list. */
import type { Verdict } from "../api/memoryinvestigation.ts";
import { type Claim, type Doubt, type Facts, doubt, growthPoints, isProvisional } from "./claim.ts";
import { verdictOfKind } from "./anonrules.ts";
import { line } from "./evidenceline.ts";
import { heldTrend, risenKinds } from "./growth.ts";
import { findArtefact } from "./sharing.ts";
import { RISE, SHARING } from "./thresholds.ts";
import { bytesText, nounOf, secondsText } from "./words.ts";

/** A pod that was taken out of its Services gets no traffic: that it stands still says nothing of a leak that needs some. */
export function withoutTraffic({ seen }: Facts): Doubt | undefined {
  const roles = [...seen.pods.values()].map(({ role }) => role);
  const loaded = seen.growths.some(
    ({ container, anon }) =>
      anon !== undefined && anon.shape !== "TooShort" && seen.pods.get(container.podUid)?.role === "Serving",
  );
  if (!roles.includes("Preserved") || loaded) return undefined;
  return doubt(["nothing grows to the end, but only a pod without traffic was measured for long enough"]);
}

/** Nobody was left in it: that nothing grows says nothing. Processes that could never be read count as there while anon is. */
export function emptied({ container }: Facts): Doubt | undefined {
  const { processes, firstSeconds, lastSeconds, kinds } = container;
  const last = Math.max(firstSeconds, ...processes.map(({ threads }) => threads.times.at(-1) ?? firstSeconds));
  const away = lastSeconds - last;
  if (processes.length === 0 && (kinds.anon.values.at(-1) ?? 0) > RISE.deadBand) return undefined;
  if (processes.length > 0 && away <= (lastSeconds - firstSeconds) / 6) return undefined;
  const noun = nounOf(container);
  return doubt([
    processes.length === 0
      ? `no process ran in the ${noun} while it was measured`
      : `no process ran in the ${noun} for the last ${secondsText(away)}`,
  ]);
}

/** Something grew by enough, in no shape that proves anything. */
export function doubtfulGrowth({ story, doubtful }: Facts): Doubt | undefined {
  const [kind] = doubtful;
  if (kind === undefined) return undefined;
  const reasons = doubtful.map((one) => `${one}: ${heldTrend(story, one)?.reasons.join("; ") ?? ""}`);
  const shape = heldTrend(story, kind)?.shape;
  const guess: Verdict =
    shape === "Step" ? "StepChange" : shape === "Decelerating" ? "WarmupPlateau" : verdictOfKind(kind);
  return doubt(reasons, guess);
}

/** It stands higher than it did, floor and all, and no shape says whether it goes on: whoever calls that steady calls a leak harmless. */
export function unexplainedRise({ story }: Facts): Doubt | undefined {
  const [kind] = risenKinds(story);
  const trend = kind === undefined ? undefined : heldTrend(story, kind);
  if (kind === undefined || trend === undefined) return undefined;
  const reason = `${kind} stands ${bytesText(trend.netBytes)} higher than at the beginning, and so does its floor, by ${bytesText(trend.floorBytes)}, in no shape that tells whether it goes on; measure longer`;
  return doubt([reason], verdictOfKind(kind));
}

/** Nothing grows, and the sum of RSS that was complained of counts pages many times. */
export function sharedPageArtefact(facts: Facts): Claim | undefined {
  const { container, gate, part, story } = facts;
  const found = findArtefact(container, gate);
  if (found === undefined || story.anon === undefined) return undefined;
  const { rssBytes, pssBytes, usageBytes, twicePercent, processes } = found;
  return {
    verdict: "SharedPageArtefact",
    trend: story.anon,
    points: [...growthPoints(facts, story.anon).filter((p) => p !== "noisy"), "separating", ...stillPoint(facts)],
    provisional: isProvisional(facts, story.anon),
    says: `does not grow: the RSS of its ${processes} processes adds up to ${bytesText(rssBytes)}, of which they share so much that only ${bytesText(pssBytes)} are there`,
    speaks: [
      line("sum of RSS", rssBytes, "bytes", part, `> usage`),
      line("sum of PSS", pssBytes, "bytes", part),
      line("usage", usageBytes, "bytes", part),
      line("counted more than once, of the sum of RSS", twicePercent, "%", part, `> ${SHARING.artefact * 100}`),
    ],
    against: [],
    limits: [],
    rivals: ["BoundedSteady"],
  };
}

/** Nothing grows anywhere; how small a leak could hide is said with it. */
export function boundedSteady(facts: Facts): Claim {
  const { story, kills } = facts;
  const trend = story.anon ?? story.usage;
  return {
    verdict: "BoundedSteady",
    trend,
    points: [
      ...growthPoints(facts, trend).filter((p) => p !== "noisy"),
      ...stillPoint(facts),
      ...(kills > 0 ? (["rival"] as const) : []),
    ],
    provisional: isProvisional(facts, trend),
    speaks: [],
    against: [],
    limits: [],
    rivals: kills > 0 ? ["LimitTooLow"] : ["TransientSpike"],
  };
}

function stillPoint({ story }: Facts): readonly "still"[] {
  const trend = story.anon ?? story.usage;
  return Math.abs(trend.netBytes) < trend.gateBytes ? ["still"] : [];
}
