/** A score in words and tables, as Markdown: the same for the terminal and for docs/calibration.md. */
import { Verdict } from "../../src/api/memoryinvestigation.ts";
import type { Band, Score, Share } from "./score.ts";
import { wilson } from "./calibration.ts";

export function scoreText(score: Score): string {
  const { verdicts, exact, processes, functions, boundedCalledLeak, leakCalledHarmless } = score;
  return [
    "| what | right | of | share |",
    "|---|---|---|---|",
    row("verdict, or one that the label allows", verdicts.right, verdicts.of),
    row("the label's own verdict", exact, verdicts.of),
    row("process at fault", processes.right, processes.of),
    row("function at fault, where there is a profile", functions.right, functions.of),
    "",
    `Bounded or cache, called a leak: **${boundedCalledLeak.length}**${named(boundedCalledLeak)}.`,
    `A leak, called harmless: **${leakCalledHarmless.length}**${named(leakCalledHarmless)}.`,
    "",
    ...missed("Verdict", verdicts),
    ...missed("Process", processes),
    ...missed("Function", functions),
    "",
    "## What was said of what",
    "",
    ...confusionText(score),
    "",
    "## Whether a confidence means what it says",
    "",
    "`Inconclusive` claims nothing and is not counted. The interval is Wilson's, 95 %: with so few cases it is wide.",
    "",
    "| claimed | cases | mean claim | right | interval |",
    "|---|---|---|---|---|",
    ...score.bands.filter(({ count }) => count > 0).map(bandRow),
    "",
  ].join("\n");
}

function row(what: string, right: number, of: number): string {
  return `| ${what} | ${right} | ${of} | ${of === 0 ? "-" : percent(right / of)} |`;
}

function named(names: readonly string[]): string {
  return names.length === 0 ? "" : `: ${names.join(", ")}`;
}

function missed(what: string, { wrong, silent }: Share): string[] {
  return [
    ...(wrong.length === 0 ? [] : [`- ${what} wrong: ${wrong.join(", ")}.`]),
    ...(silent.length === 0 ? [] : [`- ${what} not said: ${silent.join(", ")}.`]),
  ];
}

/** One row for each verdict of the labels, and all that was given for it: most cells of the full table are empty. */
function confusionText({ confusion }: Score): string[] {
  const lines = ["| label | cases | given |", "|---|---|---|"];
  for (const label of Verdict.options) {
    const given = confusion.get(label);
    if (given === undefined) continue;
    const most = [...given].toSorted(
      ([a, n], [b, m]) => m - n || Number(b === label) - Number(a === label) || a.localeCompare(b),
    );
    const count = most.reduce((sum, [, n]) => sum + n, 0);
    const cells = most.map(([verdict, n]) => (verdict === label ? `**${verdict} ${n}**` : `${verdict} ${n}`));
    lines.push(`| ${label} | ${count} | ${cells.join(", ")} |`);
  }
  return lines;
}

function bandRow({ from, to, count, right, claimed }: Band): string {
  const [low, high] = wilson(right, count);
  return `| ${from}-${to} % | ${count} | ${Math.round(claimed)} % | ${percent(right / count)} | ${percent(low)} to ${percent(high)} |`;
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
