/** The verdict: the first rule of an ordered list that has something to say, what comes next, and how sure it is. Says Inconclusive rather than guess. */
import type { Verdict } from "../api/memoryinvestigation.ts";
import { VERDICTS } from "../api/verdicts.ts";
import { growingAnon, hiddenInNoise } from "./anonrules.ts";
import type { Attribution } from "./attribution.ts";
import type { Case } from "./case.ts";
import { type Claim, type Doubt, type Facts, type Kind, type Rule, factsOf } from "./claim.ts";
import type { ProcessGrowth } from "./growth.ts";
import { thpBloat } from "./hugepages.ts";
import { growingOther, mappedDirtyFile, pageCache, unchargedSockets } from "./kindrules.ts";
import { allocatorRetention, loadProportional } from "./loadrules.ts";
import { nodeVictim } from "./noderules.ts";
import { limitTooLow, restartLoop, swapColdPages, throttledAtHigh, tooLittle } from "./pressurerules.ts";
import { LEAST_CONFIDENCE, type Point, confidenceOf } from "./score.ts";
import { cowUnsharing, stepChange, transientSpike, warmupPlateau } from "./shaperules.ts";
import {
  boundedSteady,
  doubtfulGrowth,
  emptied,
  sharedPageArtefact,
  unexplainedRise,
  withoutTraffic,
} from "./steadyrules.ts";
import type { Trend } from "./trend.ts";

export interface Judgement {
  readonly verdict: Verdict;
  readonly subKind?: string;
  readonly confidencePercent: number;
  /** What was counted for it; what {@link confidenceOf} makes of that depends on the calibration. Absent: nothing is claimed. */
  readonly points?: readonly Point[];
  /** The kind of memory that the verdict is about. */
  readonly kind?: Kind;
  readonly trend?: Trend;
  /** The process that holds most of the growth; present only where it was shown. */
  readonly leader?: ProcessGrowth;
  /** Whose code it is, by profiles and the kernel's reports; present where one process, or each life of a program, was shown to grow. */
  readonly attribution?: Attribution;
  /** Why nothing firmer could be said. */
  readonly reasons: readonly string[];
  /** What the rule itself says; absent where nothing can be said. */
  readonly claim?: Claim;
  readonly runnerUp?: { readonly verdict: Verdict; readonly confidencePercent: number };
}

/**
 * The order in which a case is judged; the first that speaks is the verdict. Whether there is enough data; whose the trouble is; what is held back; then what
 * grows to the end, by kind and by process; then, where nothing does, the shape of what moved; then what the kernel can take back; then nothing.
 */
const RULES: readonly Rule[] = [
  restartLoop,
  tooLittle,
  nodeVictim,
  throttledAtHigh,
  cowUnsharing,
  loadProportional,
  growingAnon,
  growingOther,
  unchargedSockets,
  hiddenInNoise,
  // From here on every verdict is harmless, or is about the limit: it needs a target that works.
  withoutTraffic,
  emptied,
  mappedDirtyFile,
  limitTooLow,
  transientSpike,
  thpBloat,
  allocatorRetention,
  stepChange,
  warmupPlateau,
  doubtfulGrowth,
  unexplainedRise,
  swapColdPages,
  pageCache,
  sharedPageArtefact,
  boundedSteady,
];

export function judge(seen: Case): Judgement {
  const { story } = seen;
  if (story === undefined) return inconclusive({ verdict: "Inconclusive", reasons: ["nothing could be measured"] });
  const facts = factsOf(seen, story);
  for (const [i, rule] of RULES.entries()) {
    const said = rule(facts);
    if (said === undefined) continue;
    return said.verdict === "Inconclusive" ? inconclusive(said) : settle(facts, said, RULES.slice(i + 1));
  }
  return inconclusive({ verdict: "Inconclusive", reasons: ["no rule has anything to say"] });
}

/** The claim with its confidence, and beside it the next best: a rival that claims as well, or else the look-alike that is nearest by nature. */
function settle(facts: Facts, claim: Claim, later: readonly Rule[]): Judgement {
  const others = later.map((rule) => rule(facts)?.verdict);
  const rival = claim.rivals.find((verdict) => others.includes(verdict) && verdict !== "BoundedSteady");
  const counted =
    rival === undefined || claim.points.includes("rival") ? claim.points : [...claim.points, "rival" as const];
  const { verdict, kind, trend } = claim;
  const about = { ...(trend === undefined ? {} : { trend }), ...(kind === undefined ? {} : { kind }) };
  const confidencePercent = confidenceOf(counted, {
    provisional: claim.provisional,
    grows: VERDICTS[verdict].nature === "Grows",
    cap: claim.cap,
  });
  if (confidencePercent < LEAST_CONFIDENCE) {
    const reason = `${verdict} is likely, but only ${confidencePercent} % sure (${LEAST_CONFIDENCE} % are demanded)`;
    return {
      ...inconclusive({ verdict: "Inconclusive", reasons: [reason], guess: { verdict, confidencePercent } }),
      ...about,
    };
  }
  const left = Math.round((100 - confidencePercent) / 2);
  const next = rival ?? claim.nextBest ?? claim.rivals[0];
  return {
    verdict,
    ...(claim.subKind === undefined ? {} : { subKind: claim.subKind }),
    confidencePercent,
    points: counted,
    ...about,
    ...(claim.leader === undefined ? {} : { leader: claim.leader }),
    ...(claim.attribution === undefined ? {} : { attribution: claim.attribution }),
    reasons: [],
    claim,
    ...(next === undefined ? {} : { runnerUp: { verdict: next, confidencePercent: left } }),
  };
}

function inconclusive({ reasons, guess }: Doubt): Judgement {
  return {
    verdict: "Inconclusive",
    confidencePercent: 0,
    reasons,
    ...(guess === undefined ? {} : { runnerUp: guess }),
  };
}
