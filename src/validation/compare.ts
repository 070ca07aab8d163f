/**
 * Did it become better? A pure function of two recordings: one check for each thing, with its numbers before and after. Too little data, or too little
 * load beside that of the incident, is Unknown: standing still proves nothing where nothing is asked of the program.
 */
import type { CheckResult } from "../api/mitigation.ts";
import type { ComparisonQuestion, ValidationCheck } from "../api/validation.ts";
import type { Trend } from "../diagnosis/trend.ts";
import { whole } from "../diagnosis/words.ts";
import { together, type Measured, type MeasuredContainer } from "./measured.ts";

/** Every number that a check turns on. Shares are 0 to 1. */
export const JUDGED = {
  /** The load after, beside the load before, that is enough to say that something stands still (judged). */
  load: 0.5,
  /** Ticks before which a load says nothing: a fifth of a second on a CPU. */
  leastTicks: 20,
  /** What still grows at less than this of its former rate, for each unit of load, is no proof that nothing has changed (judged). */
  slower: 0.1,
  /** Of what the function at fault made resident, the most that may be left, and the least that is no change for the better (judged). */
  place: { left: 0.05, fails: 0.5 },
  /** With none of this many samples seen, the rate is below 5 % of the former one with a confidence of 95 % (the rule of three: 3 / n). */
  leastSamples: 60,
  lostPercent: 20,
  /** Of the fall of MemAvailable, the least that the workload must make up to be blamed for it; as NODE.suspect of the diagnosis. */
  suspect: 0.2,
} as const;

/** What one check says; the numbers are whole. */
type Said = Omit<ValidationCheck, "name" | "required">;

/**
 * @param before undefined: the first recording cannot be read any more
 * @returns every check but that of kills, which status counts
 */
export function compare(
  before: Measured | undefined,
  after: Measured,
  question: ComparisonQuestion,
): readonly ValidationCheck[] {
  const load = loadOf(before, after);
  return [
    { name: "MemoryGrowth", required: true, ...memoryGrowth(before, after, load, question) },
    {
      name: "GrowthProfile",
      required: question.culprit !== undefined,
      ...growthProfile(before, after, load, question),
    },
    { name: "NodeMemAvailable", required: false, ...nodeMemAvailable(before, after, load) },
    { name: "MemoryLimit", required: false, ...memoryLimit(before, after) },
  ];
}

interface Load {
  /** Ticks per second and container; undefined where it is not known. */
  readonly before: number | undefined;
  readonly after: number | undefined;
  /** Why nothing can pass; undefined: the load is enough. */
  readonly tooLittle: string | undefined;
}

function loadOf(before: Measured | undefined, after: Measured): Load {
  const each = (side: Measured | undefined): number | undefined => {
    if (side === undefined) return undefined;
    const { load } = together(side.containers);
    return load === undefined ? undefined : load / side.containers.length;
  };
  const [was, is] = [each(before), each(after)];
  return { before: was, after: is, tooLittle: tooLittle(was, is, spanOf(before)) };
}

function tooLittle(before: number | undefined, after: number | undefined, seconds: number): string | undefined {
  if (before === undefined || after === undefined)
    return "how much was asked of the program is not known both before and after";
  if (before * seconds < JUDGED.leastTicks) return "hardly anything was asked of the program before";
  if (after >= JUDGED.load * before) return undefined;
  return `the load was ${percent(after / before)} % of what it was before (${percent(JUDGED.load)} % are needed)`;
}

function spanOf(side: Measured | undefined): number {
  return Math.max(0, ...(side?.containers ?? []).map(({ trend }) => trend.spanSeconds));
}

/** The memory that grew: flat, under enough load and in a window in which the former growth would have been seen. */
function memoryGrowth(before: Measured | undefined, after: Measured, load: Load, question: ComparisonQuestion): Said {
  const [was, is] = [before === undefined ? undefined : together(before.containers), together(after.containers)];
  const known = was !== undefined && (before?.containers.length ?? 0) > 0;
  const normalised =
    known && load.before !== undefined && load.after !== undefined && load.before > 0 && load.after > 0;
  // Ticks are hundredths of a second: bytes for each second on a CPU.
  const perLoad = (slope: number, ticks: number | undefined, containers: number): number =>
    normalised ? (slope / containers / (ticks ?? 1)) * 100 : slope / Math.max(1, containers);
  const numbers = {
    ...(known ? { before: whole(perLoad(was.slope, load.before, before?.containers.length ?? 1)) } : {}),
    after: whole(perLoad(is.slope, load.after, after.containers.length)),
    unit: normalised ? "bytes per second of CPU time" : "bytes per second",
  };
  const say = (result: CheckResult, detail: string): Said => ({ ...numbers, result, detail });
  const what = `${question.series ?? "anon + swap"} of ${question.container ?? "the containers"}`;
  if (after.containers.length === 0)
    return { unit: numbers.unit, result: "Unknown", detail: `No new pod was measured under load` };
  const growing = after.containers.filter(({ trend }) => trend.trend === "Growing");
  if (growing.length > 0) return say(...stillGrowing(what, growing, numbers, normalised));
  const doubtful = after.containers.find(({ trend }) => trend.trend === "Unknown");
  if (doubtful !== undefined) return say("Unknown", `${what}: ${doubtful.trend.reasons.join("; ")}`);
  if (!known) return say("Unknown", `${what} stands still, and there is nothing left to compare it with`);
  if (load.tooLittle !== undefined) return say("Unknown", `${what} stands still, but ${load.tooLittle}`);
  const blind = tooShort(was.slope / (before?.containers.length ?? 1), load, after.containers);
  if (blind !== undefined) return say("Unknown", `${what} stands still, but ${blind}`);
  return say(
    "Pass",
    `${what} stands still under ${percent((load.after ?? 0) / (load.before ?? 1))} % of the former load`,
  );
}

function stillGrowing(
  what: string,
  growing: readonly MeasuredContainer[],
  { before, after }: { readonly before?: number; readonly after: number },
  normalised: boolean,
): readonly [CheckResult, string] {
  const [first] = growing;
  const rate = `${what} still grows, by ${whole(first?.trend.slope ?? 0)} bytes per second in one pod`;
  if (before === undefined || before <= 0) return ["Unknown", `${rate}, and there is no rate to compare it with`];
  const share = after / before;
  const former = `${percent(share)} % of the former rate`;
  if (!normalised && share < JUDGED.place.fails)
    return ["Unknown", `${rate}: ${former}, under a load that is not known`];
  if (share < JUDGED.slower) return ["Unknown", `${rate}: ${former} for each unit of load; watch longer`];
  return ["Fail", `${rate}: ${former}${normalised ? " for each unit of load" : ""}`];
}

/** Whether the former growth, at the load of now, would have gone unseen. */
function tooShort(
  slope: number,
  { before, after }: Load,
  containers: readonly MeasuredContainer[],
): string | undefined {
  if (slope <= 0) return "it did not grow before either";
  const expected = (slope * (after ?? 0)) / (before ?? 1);
  const seen = containers.every(({ trend }) => trend.smallestSlope < expected);
  if (seen) return undefined;
  return `at the former rate too it would not have been seen to grow in ${Math.round(containers[0]?.trend.spanSeconds ?? 0)} s; a longer window is needed`;
}

/** What the function at fault made resident, at the load of now, beside what it made resident then. */
function growthProfile(
  before: Measured | undefined,
  after: Measured,
  load: Load,
  { culprit }: ComparisonQuestion,
): Said {
  const unit = "pages per second";
  const [was, is] = [before?.place, after.place];
  const numbers = {
    ...(was === undefined ? {} : { before: whole(was.pagesPerSecond) }),
    ...(is === undefined ? {} : { after: whole(is.pagesPerSecond) }),
    unit,
  };
  const say = (result: CheckResult, detail: string): Said => ({ ...numbers, result, detail });
  if (culprit === undefined) return say("Unknown", "The finding names no function whose growth could be compared");
  const place = `${culprit.function ?? "code"}${culprit.library === undefined ? "" : ` of ${culprit.library}`}`;
  if (was === undefined || was.pagesPerSecond <= 0)
    return say("Unknown", `${place} is in no growth profile from before`);
  if (is === undefined)
    return say(
      "Unknown",
      `No growth profile was taken of it (${after.profileSkipped ?? "the policy asks for none, or another container grew more"})`,
    );
  const ratio = (load.after ?? 0) / (load.before ?? 1);
  // Without a load on both sides the rates are compared as they are, which can fail but never pass.
  const left = is.pagesPerSecond / (was.pagesPerSecond * (load.before === undefined || ratio <= 0 ? 1 : ratio));
  const down = `${place} makes ${percent(Math.max(0, 1 - left))} % fewer pages resident for the same load (95 % are needed)`;
  if (left >= JUDGED.place.fails) return say("Fail", down);
  if (left > JUDGED.place.left) return say("Unknown", down);
  if (load.tooLittle !== undefined) return say("Unknown", `${down}, but ${load.tooLittle}`);
  if (is.lostPercent > JUDGED.lostPercent)
    return say("Unknown", `${down}, but ${is.lostPercent} % of the samples of ${is.part} were lost`);
  const expected = (was.samples / was.seconds) * is.seconds * ratio;
  if (expected < JUDGED.leastSamples)
    return say(
      "Unknown",
      `${down}, but only ${whole(expected)} samples of it would have been expected (${JUDGED.leastSamples} are needed)`,
    );
  return say("Pass", down);
}

/** MemAvailable of the node on which the new pods were measured. Others live there as well: a fall that is not the workload's fails nothing. */
function nodeMemAvailable(before: Measured | undefined, after: Measured, load: Load): Said {
  const fall = ({ slope }: Trend): number => whole(-slope);
  const numbers = {
    ...(before === undefined ? {} : { before: fall(before.nodeUsed) }),
    after: fall(after.nodeUsed),
    unit: "bytes per second",
  };
  const say = (result: CheckResult, detail: string): Said => ({ ...numbers, result, detail });
  const { trend, reasons, slope } = after.nodeUsed;
  if (trend === "Unknown") return say("Unknown", `MemAvailable: ${reasons.join("; ")}`);
  if (trend === "Growing") {
    const share = together(after.containers).slope / Math.max(1, slope);
    return share >= JUDGED.suspect
      ? say("Fail", `MemAvailable falls, and the new pods take ${percent(Math.min(1, share))} % of it`)
      : say("Unknown", "MemAvailable falls, but it is others on the node that take it");
  }
  if (load.tooLittle !== undefined) return say("Unknown", `MemAvailable does not fall, but ${load.tooLittle}`);
  return say("Pass", "MemAvailable does not fall");
}

/** The limit in the kernel beside the one that the pod asks for, of each container; the kernel keeps whole pages. */
function memoryLimit(before: Measured | undefined, after: Measured): Said {
  const [first] = after.containers;
  const was = before?.containers.find(({ name }) => name === first?.name)?.limitBytes;
  const numbers = {
    ...(was === undefined ? {} : { before: was }),
    ...(first?.limitBytes === undefined ? {} : { after: first.limitBytes }),
    unit: "bytes",
  };
  const say = (result: CheckResult, detail: string): Said => ({ ...numbers, result, detail });
  if (first === undefined || after.containers.some(({ limitRead }) => !limitRead))
    return say("Unknown", "The limit of the new pods was not read on the node");
  if (after.containers.some(({ wanted }) => wanted === undefined))
    return say("Unknown", "What limit the new pods ask for is not known");
  const wrong = after.containers.find((one) => !agrees(one, after.pageBytes));
  if (wrong !== undefined)
    return say(
      "Fail",
      `The kernel has ${limitText(wrong.limitBytes)}, the pod asks for ${limitText(wrong.wanted?.bytes)}`,
    );
  return say("Pass", `The kernel has what the pod asks for: ${limitText(first.wanted?.bytes)}`);
}

function agrees({ limitBytes, wanted }: MeasuredContainer, pageBytes: number): boolean {
  const bytes = wanted?.bytes;
  if (limitBytes === undefined || bytes === undefined) return limitBytes === bytes;
  return limitBytes <= bytes && bytes - limitBytes < pageBytes;
}

function limitText(bytes: number | undefined): string {
  return bytes === undefined ? "no limit" : `${bytes} bytes`;
}

function percent(share: number): number {
  return Math.round(100 * share);
}
