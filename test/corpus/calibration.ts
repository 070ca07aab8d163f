/**
 * What is a number of points worth? Over windows of the recordings, claims are gathered by what they rest on; a recording counts once, and as right only where every claim of its
 * windows was. The lower end of Wilson's interval is the most that such a claim may say.
 */
import { VERDICTS } from "../../src/api/verdicts.ts";
import { PROVISIONAL, isMeasured, sumOf } from "../../src/diagnosis/score.ts";
import type { Judgement } from "../../src/diagnosis/verdict.ts";
import { isRight } from "./score.ts";
import type { Seen } from "./windows.ts";

export interface Group {
  readonly name: string;
  /** Percent: the most that a claim of this group says. */
  readonly says: number;
  /** It says more than an uncalibrated provisional claim: then the interval must hold. */
  readonly raised: boolean;
  readonly recordings: number;
  /** Every claim of every window was right. */
  readonly right: number;
  readonly claims: number;
  readonly rightClaims: number;
  /** Lower end, 0 to 1; and the least of it when one recording is left out, whichever. */
  readonly low: number;
  readonly lowWithoutOne: number;
  /** Recordings with a wrong claim. */
  readonly wrong: readonly string[];
}

/** The score interval for a share (Wilson 1927), z = 1.96. */
export function wilson(right: number, count: number): readonly [number, number] {
  if (count === 0) return [0, 1];
  const z2 = 1.96 ** 2;
  const share = right / count;
  const middle = (share + z2 / (2 * count)) / (1 + z2 / count);
  const half = (1.96 * Math.sqrt((share * (1 - share)) / count + z2 / (4 * count ** 2))) / (1 + z2 / count);
  return [middle - half, middle + half];
}

const [HIGH, MIDDLE] = PROVISIONAL.growth;

/** The first that fits. */
const GROUPS: readonly {
  readonly name: string;
  readonly says: number;
  readonly raised: boolean;
  readonly fits: (claim: Claimed) => boolean;
}[] = [
  {
    name: `growth, confirmed, ${HIGH.points} points or more`,
    says: 95,
    raised: false,
    fits: ({ provisional, grows, sum }) => !provisional && grows && sum >= HIGH.points,
  },
  {
    name: `growth, provisional, 24 samples, ${HIGH.points} points or more`,
    says: HIGH.percent,
    raised: true,
    fits: ({ grows, measured, sum }) => grows && measured && sum >= HIGH.points,
  },
  {
    name: `growth, provisional, 24 samples, ${MIDDLE.points} to ${HIGH.points - 1} points`,
    says: MIDDLE.percent,
    raised: true,
    fits: ({ provisional, grows, measured, sum }) => provisional && grows && measured && sum >= MIDDLE.points,
  },
  {
    name: `growth, fewer samples or several lives, ${MIDDLE.points} points or more`,
    says: PROVISIONAL.otherwise,
    raised: false,
    fits: ({ grows, sum }) => grows && sum >= MIDDLE.points,
  },
  {
    name: `harmless, or the limit, ${MIDDLE.points} points or more`,
    says: PROVISIONAL.otherwise,
    raised: false,
    fits: ({ sum }) => sum >= MIDDLE.points,
  },
  { name: `fewer than ${MIDDLE.points} points`, says: MIDDLE.points - 1, raised: false, fits: () => true },
];

interface Claimed {
  readonly provisional: boolean;
  readonly grows: boolean;
  readonly measured: boolean;
  readonly sum: number;
}

function claimedBy({ verdict, points = [], claim }: Judgement): Claimed {
  return {
    provisional: claim?.provisional === true,
    grows: VERDICTS[verdict].nature === "Grows",
    measured: isMeasured(points),
    sum: sumOf(points),
  };
}

export function calibrate(all: readonly Seen[]): readonly Group[] {
  // A recording that is labelled as too short says nothing of windows that are stretched.
  const claims = all.filter(
    ({ case: { label }, judgement }) => judgement.verdict !== "Inconclusive" && label.verdict !== "Inconclusive",
  );
  return GROUPS.map(({ name, says, raised }, i) => {
    const own = claims.filter(({ judgement }) => GROUPS.findIndex(({ fits }) => fits(claimedBy(judgement))) === i);
    const isFine = ({ case: { label }, judgement: { verdict } }: Seen): boolean =>
      isRight({ label, finding: { verdict, confidencePercent: 0 } });
    const recordings = [...new Set(own.map((one) => one.case.name))];
    const wrong = [...new Set(own.filter((one) => !isFine(one)).map((one) => one.case.name))];
    const [count, right] = [recordings.length, recordings.length - wrong.length];
    const without = [...(right > 0 ? [right - 1] : []), ...(wrong.length > 0 ? [right] : [])];
    return {
      name,
      says,
      raised,
      recordings: count,
      right,
      claims: own.length,
      rightClaims: own.filter(isFine).length,
      low: wilson(right, count)[0],
      lowWithoutOne: Math.min(...without.map((rest) => wilson(rest, count - 1)[0]), 1),
      wrong,
    };
  });
}

export function calibrationText(groups: readonly Group[]): string {
  const share = (x: number): string => `${Math.round(1000 * x) / 10} %`;
  const [confirmed, provisional] = groups;
  const all = (confirmed?.recordings ?? 0) + (provisional?.recordings ?? 0);
  const right = (confirmed?.right ?? 0) + (provisional?.right ?? 0);
  return [
    "| what a claim rests on | recordings | all right | claims | right | lower end | one left out | says at most |",
    "|---|---|---|---|---|---|---|---|",
    ...groups.map(
      (g) =>
        `| ${g.name} | ${g.recordings} | ${g.right} | ${g.claims} | ${g.rightClaims} | ${share(g.low)} | ${share(g.lowWithoutOne)} | ${g.says} %${g.raised ? ", raised" : ""} |`,
    ),
    "",
    `The first two rows together, for a confirmed claim is a provisional one that went on: ${right} of ${all}, lower end ${share(wilson(right, all)[0])}.`,
    "",
    ...groups.flatMap((g) =>
      g.wrong.length === 0 ? [] : [`- Wrong in some window, ${g.name}: ${g.wrong.join(", ")}.`],
    ),
    "",
  ].join("\n");
}
