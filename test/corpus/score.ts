/**
 * How good is the diagnosis? Pure: labels beside findings, to the confusion matrix, who was blamed, the two counts that must be zero, and whether
 * a confidence of 90 is right nine times in ten.
 */
import type { Finding, Verdict } from "../../src/api/memoryinvestigation.ts";
import type { Label } from "./case.ts";

export interface Scored {
  readonly name: string;
  readonly label: Label;
  readonly finding: Pick<Finding, "verdict" | "confidencePercent" | "culprit">;
  /** Whether there is a profile in the pack: without it no function can be named. */
  readonly profiled: boolean;
}

export interface Share {
  readonly right: number;
  readonly of: number;
  /** Names of the cases, with what was said instead. */
  readonly wrong: readonly string[];
  /** Where nothing was said. */
  readonly silent: readonly string[];
}

export interface Band {
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly right: number;
  /** Mean of what was claimed, in percent. */
  readonly claimed: number;
}

export interface Score {
  /** A verdict of the label; Inconclusive is silent, unless the label allows it. */
  readonly verdicts: Share;
  /** The label's first verdict, nothing else. */
  readonly exact: number;
  readonly processes: Share;
  readonly functions: Share;
  /** Memory that is bounded, or can be reclaimed, was called a leak. Must be empty. */
  readonly boundedCalledLeak: readonly string[];
  /** A leak was called something that stays bounded. Must be empty. */
  readonly leakCalledHarmless: readonly string[];
  readonly bands: readonly Band[];
  /** For each verdict of the labels, how often which verdict was given. */
  readonly confusion: ReadonlyMap<Verdict, ReadonlyMap<Verdict, number>>;
}

/** Verdicts that say: it grows and will not stop by itself. */
const UNBOUNDED: ReadonlySet<Verdict> = new Set<Verdict>([
  "AnonHeapLeak",
  "ManagedHeapGrowth",
  "NativeLeakInManagedRuntime",
  "ThreadStackGrowth",
  "ShmemGrowth",
  "KernelMemoryGrowth",
]);
const BANDS = [
  [0, 49],
  [50, 59],
  [60, 69],
  [70, 79],
  [80, 89],
  [90, 100],
] as const;

export function score(all: readonly Scored[]): Score {
  const named = ({ name, finding }: Scored): string => `${name} (${finding.verdict})`;
  const answered = all.filter(({ finding }) => finding.verdict !== "Inconclusive");
  return {
    verdicts: {
      right: all.filter(isRight).length,
      of: all.length,
      wrong: answered.filter((one) => !isRight(one)).map(named),
      silent: all.filter((one) => one.finding.verdict === "Inconclusive" && !isRight(one)).map(({ name }) => name),
    },
    exact: all.filter(({ label, finding }) => label.verdict === finding.verdict).length,
    processes: shareOf(
      answered,
      ({ label }) => (label.process === undefined ? undefined : [label.process]),
      ({ finding }) => finding.culprit?.process?.comm,
    ),
    functions: shareOf(
      answered.filter(({ profiled }) => profiled),
      ({ label }) => label.functions,
      ({ finding }) => finding.culprit?.function,
    ),
    boundedCalledLeak: answered
      .filter((one) => !isRight(one) && !UNBOUNDED.has(one.label.verdict) && UNBOUNDED.has(one.finding.verdict))
      // Too short for a verdict is not bounded.
      .filter(({ label }) => label.verdict !== "Inconclusive")
      .map(named),
    leakCalledHarmless: answered
      .filter((one) => !isRight(one) && UNBOUNDED.has(one.label.verdict) && !UNBOUNDED.has(one.finding.verdict))
      .map(named),
    bands: BANDS.map(([from, to]) => bandOf(answered, from, to)),
    confusion: confusionOf(all),
  };
}

/** By the label's verdict or one that counts as right too. */
export function isRight({ label, finding }: Pick<Scored, "label" | "finding">): boolean {
  return label.verdict === finding.verdict || label.also?.includes(finding.verdict) === true;
}

function shareOf(
  all: readonly Scored[],
  expected: (one: Scored) => readonly string[] | undefined,
  given: (one: Scored) => string | undefined,
): Share {
  const asked = all.filter((one) => expected(one) !== undefined);
  const isIt = (one: Scored): boolean => expected(one)?.includes(given(one) ?? "") === true;
  return {
    right: asked.filter(isIt).length,
    of: asked.length,
    wrong: asked.filter((one) => !isIt(one) && given(one) !== undefined).map((one) => `${one.name} (${given(one)})`),
    silent: asked.filter((one) => given(one) === undefined).map(({ name }) => name),
  };
}

function bandOf(answered: readonly Scored[], from: number, to: number): Band {
  const inside = answered.filter(({ finding: { confidencePercent: percent } }) => percent >= from && percent <= to);
  const claimed = inside.reduce((sum, { finding }) => sum + finding.confidencePercent, 0);
  return {
    from,
    to,
    count: inside.length,
    right: inside.filter(isRight).length,
    claimed: inside.length === 0 ? 0 : claimed / inside.length,
  };
}

function confusionOf(all: readonly Scored[]): Map<Verdict, Map<Verdict, number>> {
  const rows = new Map<Verdict, Map<Verdict, number>>();
  for (const { label, finding } of all) {
    const row = rows.get(label.verdict) ?? new Map<Verdict, number>();
    rows.set(label.verdict, row.set(finding.verdict, (row.get(finding.verdict) ?? 0) + 1));
  }
  return rows;
}
