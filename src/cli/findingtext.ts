/** The finding in plain words, for the engineer who asked for it. The numbers are those of `status.finding`, none is computed here. */
import type { EvidenceLine, Finding, Verdict } from "../api/memoryinvestigation.ts";
import { VERDICTS } from "../api/verdicts.ts";
import { comparedText, measureText, partText } from "../diagnosis/evidencetext.ts";
import { nameText } from "../diagnosis/words.ts";
import { wrap } from "./arguments.ts";
import { change, table } from "./text.ts";

/** @param width columns to which sentences are broken */
export function findingText(finding: Finding, width: number): string {
  const lines = [headline(finding), ...wrap(finding.summary, width - 2).map((line) => `  ${line}`)];
  lines.push(...growthLines(finding));
  section(lines, "for it", finding.evidence);
  section(lines, "against it", finding.counterEvidence);
  const { runnerUp, limits = [] } = finding;
  if (runnerUp !== undefined) {
    lines.push("", `  next best: ${runnerUp.verdict}, ${runnerUp.confidencePercent} %`);
    lines.push(...wrap(whyNot(finding.verdict, runnerUp.verdict), width - 4).map((line) => `    ${line}`));
  }
  if (limits.length > 0) lines.push("", "  what could not be seen:");
  for (const limit of limits) {
    const [first = "", ...rest] = wrap(limit, width - 6);
    lines.push(`    - ${first}`, ...rest.map((line) => `      ${line}`));
  }
  lines.push("", "  what to do:", ...wrap(VERDICTS[finding.verdict].advice, width - 4).map((line) => `    ${line}`));
  return `${lines.join("\n")}\n`;
}

/** How the verdict and the next best are told apart: what is known of the pair, or else what each of the two needs. */
function whyNot(verdict: Verdict, other: Verdict): string {
  if (verdict === "Inconclusive") return `It would be that if: ${VERDICTS[other].known}`;
  if (VERDICTS[verdict].lookAlike === other) return VERDICTS[verdict].apart;
  return VERDICTS[other].lookAlike === verdict ? VERDICTS[other].apart : `That needs: ${VERDICTS[other].known}`;
}

function headline({ verdict, subKind, confidencePercent }: Finding): string {
  const kind = subKind === undefined ? verdict : `${verdict} (${nameText(subKind)})`;
  return verdict === "Inconclusive" ? "Inconclusive" : `${kind}, ${confidencePercent} % sure`;
}

function growthLines({ growthByKind = [], growthByProcess = [] }: Finding): string[] {
  const lines: string[] = [];
  if (growthByKind.length > 0) {
    const rows = growthByKind.map(({ kind, bytes, bytesPerSecond, trend }) => [
      kind,
      change(bytes),
      `${change(bytesPerSecond)}/s`,
      trend,
    ]);
    lines.push("", ...table([["kind", "growth", "rate", "trend"], ...rows], ["<", ">", ">", "<"]));
  }
  if (growthByProcess.length > 0) {
    const rows = growthByProcess.map(({ pid, comm, bytes, bytesPerSecond, sharePercent }) => [
      String(pid),
      nameText(comm, 24),
      change(bytes),
      `${change(bytesPerSecond)}/s`,
      `${sharePercent} %`,
    ]);
    lines.push("", ...table([["pid", "process", "growth", "rate", "share"], ...rows], [">", "<", ">", ">", ">"]));
  }
  return lines;
}

/** Where in the pack a line rests stands in the title when it is the same for all, and otherwise where it begins to differ. */
function section(lines: string[], title: string, evidence: readonly EvidenceLine[]): void {
  if (evidence.length === 0) return;
  const parts = new Set(evidence.map(({ part }) => part));
  const [only] = parts;
  const one = parts.size === 1 && only !== undefined;
  const rows = evidence.map((line, i) =>
    one || line.part === evidence[i - 1]?.part ? evidenceRow(line).slice(0, 3) : evidenceRow(line),
  );
  lines.push("", `  ${title}${one ? ` (in ${partText(only)})` : ""}:`, ...table(rows, ["<", ">", "<", "<"], 4));
}

function evidenceRow(line: EvidenceLine): readonly string[] {
  const compared = comparedText(line);
  return [
    nameText(line.signal, 128),
    measureText(line),
    compared === "" ? "" : `(${compared})`,
    `[${partText(line.part)}]`,
  ];
}
