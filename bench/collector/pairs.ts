/** What does a reader cost the target? Pairs of stretches, one without and one with it, back to back: what drifts does so in both. */
import type { Load } from "./target.ts";

export interface Pair {
  readonly alone: Load;
  readonly read: Load;
}

/** One pair; `first` alternates, so that neither half is always the later. The work begins with the load and is waited for. */
export async function measurePair(
  stretch: () => Promise<Load>,
  work: () => Promise<unknown>,
  aloneFirst: boolean,
): Promise<Pair> {
  const alone = aloneFirst ? await stretch() : undefined;
  // The target takes one order at a time, so a failed reader's stretch is waited for as well.
  const [read, done] = await Promise.allSettled([stretch(), work()]);
  if (done.status === "rejected") throw done.reason;
  if (read.status === "rejected") throw read.reason;
  return { alone: alone ?? (await stretch()), read: read.value };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = 0, high = 0] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
  return (low + high) / 2;
}

/** The median of the pairs, and in brackets the least and the most of them. */
function spread(values: readonly number[], digits: number): string {
  const show = (value: number): string => (Math.abs(value) < 0.5 / 10 ** digits ? 0 : value).toFixed(digits);
  return `${show(median(values))} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;
}

export const PAIR_HEAD = [
  "reader",
  "pairs",
  "throughput lost %",
  "CPU for each operation: more %",
  "p50: more ms",
  "p99: more ms",
  "longest stall ms",
  "without: longest ms",
];

export function pairRow(name: string, pairs: readonly Pair[]): readonly string[] {
  const change = (of: (load: Load) => number): readonly number[] =>
    pairs.map(({ alone, read }) => of(read) - of(alone));
  const percent = (of: (load: Load) => number): readonly number[] =>
    pairs.map(({ alone, read }) => (of(read) / of(alone) - 1) * 100);
  return [
    name,
    String(pairs.length),
    spread(
      percent((load) => load.perSecond).map((more) => -more),
      2,
    ),
    spread(
      percent((load) => load.cpuUs),
      1,
    ),
    spread(
      change((load) => load.p50),
      3,
    ),
    spread(
      change((load) => load.p99),
      2,
    ),
    spread(
      pairs.map(({ read }) => read.max),
      1,
    ),
    spread(
      pairs.map(({ alone }) => alone.max),
      1,
    ),
  ];
}

/** What all default stages together are meant to stay below, in words. */
export function lossVerdict(name: string, pairs: readonly Pair[]): string {
  const lost = median(pairs.map(({ alone, read }) => (1 - read.perSecond / alone.perSecond) * 100));
  return `${name}: throughput lost ${lost.toFixed(2)} % (aim: under 2 %): ${lost < 2 ? "met" : "MISSED"}`;
}

/** The same of its stalls. */
export function stallVerdict(name: string, pairs: readonly Pair[]): string {
  const stall = Math.max(...pairs.map(({ read }) => read.max));
  const alone = Math.max(...pairs.map((pair) => pair.alone.max));
  return `${name}: longest stall ${stall.toFixed(1)} ms, ${alone.toFixed(1)} ms without (aim: at most 50 ms): ${stall <= 50 ? "met" : "MISSED"}`;
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map((_, column) => (column === 0 ? "---" : "---:")), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}
