/** What profiles and the kernel's reports say for and against the place that is named, as lines; and what they cannot say, as sentences. */
import { partFileName } from "../api/collection.ts";
import type { EvidenceLine } from "../api/memoryinvestigation.ts";
import { EFFICIENCY } from "../api/profile.ts";
import { type Attribution, type Look, NAMING, placeText } from "./attribution.ts";
import { line } from "./evidenceline.ts";

/** Who is busy is worth a line only where one place is busy for at least half of the time. */
const BUSY_SHARE = 50;
const MAX_HITS = 2;
/** Percent of samples whose loss is worth a line. */
const TOLD_LOSS = 10;

export function attributionLines(attribution: Attribution): { speaks: EvidenceLine[]; against: EvidenceLine[] } {
  const speaks: EvidenceLine[] = [];
  const against: EvidenceLine[] = [];
  const { growth, named } = attribution;
  if (growth !== undefined) {
    const { reading, process } = growth;
    const { part, efficiency } = reading;
    if (named !== undefined) {
      speaks.push(
        line(`page faults in ${placeText(named)}, ${whoText(growth)}`, named.percent, "%", part, `>= ${NAMING.share}`),
        line(`samples of page faults, ${whoText(growth)}`, process.samples, "samples", part, `>= ${NAMING.samples}`),
      );
    }
    if (named !== undefined && 100 - process.keptPercent >= TOLD_LOSS)
      against.push(line(`samples lost or of no known process`, 100 - process.keptPercent, "%", part));
    if (efficiency !== undefined)
      (efficiency.belief === "Trusted" ? speaks : against).push(
        line("fault efficiency: pages that stayed / page faults", efficiency.percent, "%", part, efficiencyRange()),
      );
  }
  for (const hit of attribution.hits.slice(0, MAX_HITS)) {
    const found = line(
      `the limit was hit in ${placeText(hit.place)}`,
      hit.reports,
      "kills",
      partFileName("oom-reports", 0),
      `of ${attribution.reports}`,
    );
    (hit.agrees === "No" ? against : speaks).push(found);
  }
  const busy = busyLine(attribution);
  if (busy !== undefined) (busy.elsewhere ? against : speaks).push(busy.found);
  return { speaks, against };
}

function efficiencyRange(): string {
  return `${EFFICIENCY.trust * 100} to ${EFFICIENCY.hugePages * 100}`;
}

/** Who is busy is another question than who grows: context where it is the same library, doubt where it is not. */
function busyLine({ onCpu, named }: Attribution): { found: EvidenceLine; elsewhere: boolean } | undefined {
  const busy = onCpu?.process.owners[0];
  if (onCpu === undefined || busy === undefined || named === undefined || busy.percent < BUSY_SHARE) return undefined;
  const signal = `time on a CPU in ${placeText(busy)}, ${whoText(onCpu)}`;
  return {
    found: line(signal, busy.percent, "%", onCpu.reading.part),
    elsewhere: busy.library !== named.library,
  };
}

function whoText({ process, sibling }: Look): string {
  return `${sibling === undefined ? "" : "sibling "}pid ${process.pid}`;
}

/** Sentences, or clauses that become one. */
export function attributionLimits(attribution: Attribution): string[] {
  const { growth, named, reason, hits } = attribution;
  const out: string[] = [];
  if (growth !== undefined && named !== undefined) {
    out.push(
      "A growth profile shows who touches memory first: where one part of a program allocates and another fills, it names the one that fills.",
    );
    if (growth.sibling !== undefined)
      out.push(
        `The profile is that of a sibling, ${growth.sibling.pod === undefined ? "" : `pod ${growth.sibling.pod}, `}pid ${growth.process.pid}, not of the process that grew most.`,
      );
    if (named.claimed === true)
      out.push("The function's name comes from a map that the program wrote itself: a claim, not a fact.");
    if (growth.reading.truncated) out.push(`${growth.reading.part} ended early, at the size that perf may write.`);
  }
  if (reason !== undefined) out.push(`No function is named: ${reason} (${growth?.reading.part ?? "no profile"}).`);
  const [hit] = hits;
  if (named === undefined && hit !== undefined)
    out.push(
      `By the kernel's report the limit was hit in ${placeText(hit.place)} (${hit.reports} of ${attribution.reports} kills): one sample each, no proof of who took the memory.`,
    );
  return out;
}
