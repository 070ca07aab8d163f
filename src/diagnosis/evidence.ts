/** The lines under a verdict: what speaks for it, what speaks against it, and what could not be seen; each with its number and place. */
import { MEMORY_KINDS, partFileName } from "../api/collection.ts";
import { type Finding, MAX_EVIDENCE } from "../api/memoryinvestigation.ts";
import { attributionLimits, attributionLines } from "./attributionlines.ts";
import { type Case, anonAtKill, growingMapping, killsSeen } from "./case.ts";
import { line } from "./evidenceline.ts";
import { identityResidual, threadGrowth } from "./anonrules.ts";
import { netOf, readingsPart } from "./claim.ts";
import { type ContainerGrowth, incarnations, otherLivesGrowing } from "./growth.ts";
import { knowsLoad, proxiesSeen } from "./load.ts";
import type { ContainerRecording } from "./recording.ts";
import type { Rollout } from "./rollout.ts";
import { CONFIRMED, ENOUGH, SHARE, THREADS } from "./thresholds.ts";
import type { Trend } from "./trend.ts";
import type { Judgement } from "./verdict.ts";
import { isNegative } from "../api/verdicts.ts";
import { bytesText, nameText, nounOf, sentence, whole } from "./words.ts";

type Line = Finding["evidence"][number];

/** Both lists are cut at as many lines as a finding may have, the most telling first. */
export function evidenceOf(
  seen: Case,
  judgement: Judgement,
  rollout?: Rollout,
): Pick<Finding, "evidence" | "counterEvidence"> {
  const { story } = seen;
  const readings = readingsPart(seen);
  const speaks: Line[] = [...(judgement.claim?.speaks ?? [])];
  const against: Line[] = [...(judgement.claim?.against ?? [])];
  if (story !== undefined) {
    if (judgement.trend !== undefined) speaks.push(...trendLines(judgement, judgement.trend, readings));
    kindLines(story, judgement, readings, speaks, against);
    processLines(story, judgement, readings, speaks, against);
    speaks.push(...mappingLines(seen, judgement));
    if (judgement.attribution !== undefined) {
      const lines = attributionLines(judgement.attribution);
      speaks.push(...lines.speaks);
      against.push(...lines.against);
    }
    siblingLines(seen, story, judgement, readings, speaks, against);
  }
  speaks.push(...(rollout?.speaks ?? []));
  against.push(...(rollout?.against ?? []));
  const killLine = killLines(seen);
  // A kill with the heap full speaks for a leak or a limit that is too low, and against whatever is harmless.
  (isNegative(judgement.verdict) && !/^(LimitTooLow|NodePressureVictim)$/.test(judgement.verdict)
    ? against
    : speaks
  ).push(...killLine);
  return { evidence: speaks.slice(0, MAX_EVIDENCE), counterEvidence: against.slice(0, MAX_EVIDENCE) };
}

function trendLines({ kind, verdict }: Judgement, trend: Trend, part: string): Line[] {
  if (kind === undefined && verdict !== "BoundedSteady" && verdict !== "Inconclusive") return [];
  const signal = kind === "anon" ? "anon + swap" : (kind ?? "anon");
  if (verdict === "BoundedSteady") {
    return [
      line(`${signal}, net`, trend.netBytes, "bytes", part, `< ${whole(trend.gateBytes)}`),
      line("smallest leak that could be seen", trend.smallestSlope, "bytes/s", part),
      line("samples", trend.points, "samples", part, `>= ${ENOUGH.points}`),
    ];
  }
  return [
    line(`${signal}, slope`, trend.slope, "bytes/s", part, "low > 0"),
    line(`${signal}, low end of the slope`, trend.low, "bytes/s", part, "> 0"),
    line(`${signal}, net`, trend.netBytes, "bytes", part, `>= ${whole(trend.gateBytes)}`),
    line("samples", trend.points, "samples", part, `>= ${ENOUGH.points}`),
  ];
}

function kindLines(
  story: ContainerGrowth,
  { kind, verdict }: Judgement,
  part: string,
  speaks: Line[],
  against: Line[],
) {
  for (const other of MEMORY_KINDS) {
    const trend = story.kinds[other];
    if (trend === undefined || other === kind || trend.shape === "TooShort") continue;
    if (other === "swap" && kind === "anon") {
      if (trend.trend === "Growing") speaks.push(line("swap, net", trend.netBytes, "bytes", part));
    } else if (trend.trend === "Growing") against.push(line(`${other}, slope`, trend.slope, "bytes/s", part));
    else if (
      verdict !== "Inconclusive" &&
      (other === "anon" || other === "file") &&
      Math.abs(trend.netBytes) < trend.gateBytes
    ) {
      speaks.push(line(`${other}, slope`, trend.slope, "bytes/s", part, "not growing"));
    }
  }
}

function processLines(
  story: ContainerGrowth,
  { kind, leader, verdict }: Judgement,
  part: string,
  speaks: Line[],
  against: Line[],
): void {
  if (kind === "anon") {
    const residual = identityResidual(story);
    const signal = story.container.sums.pssAnon.times.length > 0 ? "Pss_Anon" : "RssAnon";
    if (residual < 1) {
      const found = line(`|anon - sum of ${signal}| / anon`, Math.round(100 * residual), "%", part, "< 5");
      (residual < SHARE.identity ? speaks : against).push(found);
    }
  }
  if (leader === undefined) return;
  speaks.push(line(`${leader.signal}, share of pid ${leader.process.pid}`, leader.sharePercent, "%", part, ">= 70"));
  speaks.push(line(`${leader.signal}, slope of pid ${leader.process.pid}`, leader.trend.slope, "bytes/s", part));
  if (verdict === "ThreadStackGrowth") return;
  const more = netOf(leader.process.threads.values);
  const told = line("Threads, net", more, "threads", part, `< ${THREADS.more}`);
  (threadGrowth(leader) === undefined ? speaks : against).push(told);
}

/** Which kind of mapping the growth of the leading process lies in; two moments, so it supports a trend and proves none. */
function mappingLines(seen: Case, { kind, leader }: Judgement): Line[] {
  const found = kind === "anon" && leader !== undefined ? growingMapping(seen, leader.process) : undefined;
  if (found === undefined) return [];
  const { growth, dominant } = found;
  const parts = `${partFileName("mappings", growth.from.index)}..${partFileName("mappings", growth.to.index)}`;
  const who = `${dominant.class} of pid ${growth.pid}`;
  return [
    line(`${who}, net`, dominant.bytes, "bytes", parts),
    line(`${who}, share of the growth by mapping`, dominant.sharePercent, "%", parts, ">= 80"),
  ];
}

/** The same container in other pods, and other containers, that do not grow: a pod without traffic shows nothing, a loaded one does. */
function siblingLines(
  seen: Case,
  story: ContainerGrowth,
  judgement: Judgement,
  part: string,
  speaks: Line[],
  against: Line[],
): void {
  if (judgement.kind !== "anon") return;
  const others = otherLivesGrowing(seen.growths, story).length;
  if (others > 0) speaks.push(line("anon grows in other pods and lives too", others, "containers", part, ">= 1"));
  for (const other of seen.growths) {
    if (other.container.name !== story.container.name || other.container.podUid === story.container.podUid) continue;
    if (other.anon?.trend !== "Flat") continue;
    const pod = seen.pods.get(other.container.podUid);
    const who = pod?.role === "Preserved" ? "preserved pod without traffic" : nameText(pod?.name ?? "another pod", 63);
    against.push(line(`anon, slope in ${who}`, other.anon.slope, "bytes/s", part));
  }
}

function killLines({ reports }: Case): Line[] {
  return reports.slice(-3).flatMap((report) => {
    const anon = anonAtKill(report);
    if (anon === undefined || report.limitBytes === undefined || report.limitBytes <= 0) return [];
    const comm = nameText(report.victim?.comm ?? "unknown", 24);
    const percent = Math.round((100 * anon) / report.limitBytes);
    return [line(`anon at the kill of ${comm}, of the limit`, percent, "%", partFileName("oom-reports", 0), ">= 80")];
  });
}

/** What could not be seen; the reader of the finding must know it. */
export function limitsOf(seen: Case, judgement: Judgement, ofRollout: readonly string[] = []): string[] {
  const { recording, story, surroundings } = seen;
  const out: string[] = [...judgement.reasons, ...(judgement.claim?.limits ?? []), ...ofRollout];
  if (judgement.attribution !== undefined) out.push(...attributionLimits(judgement.attribution));
  if (story !== undefined) out.push(...storyLimits(seen, story, judgement));
  if (recording.samples > 2 && recording.longestGapSeconds > 3 * recording.medianGapSeconds) {
    out.push(`There is a gap of ${Math.round(recording.longestGapSeconds)} s between two samples.`);
  }
  if (recording.processesOmitted > 0) out.push(`${recording.processesOmitted} processes were left out.`);
  if (recording.containersOmitted > 0) out.push("There were more containers than are kept; some were left out.");
  if (recording.samplesOmitted > 0)
    out.push(`${recording.samplesOmitted} samples were out of order or too many, and were left out.`);
  if (recording.rollupsSkipped.length > 0) {
    out.push(
      `Some reads of smaps_rollup were left out (${recording.rollupsSkipped.map((r) => nameText(r, 32)).join(", ")}).`,
    );
  }
  const manifest = surroundings.manifest;
  const unprofiled = manifest?.skipped.find(({ what }) => what === "profile");
  if (unprofiled !== undefined)
    out.push(
      `No profile: ${nameText(unprofiled.detail ?? unprofiled.reason, 300)} (${nameText(unprofiled.reason, 32)}).`,
    );
  if (manifest === undefined) out.push("The collection was cut off: it has no manifest.");
  else if (manifest.outcome === "Partial")
    out.push(`The collection is partial: ${manifest.samples} of ${manifest.samplesExpected} samples.`);
  if (killsSeen(seen) > 0 && seen.reports.length === 0)
    out.push("There was a kill, but no report of the kernel about it.");
  out.push(...(surroundings.problems ?? []));
  return out.slice(0, 16).map((text) => sentence(asSentence(text)));
}

function storyLimits(seen: Case, story: ContainerGrowth, judgement: Judgement): string[] {
  const { container } = story;
  const noun = nounOf(container);
  const out: string[] = [];
  const trend = judgement.trend;
  if (trend?.provisional === true) {
    out.push(
      `Provisional: ${trend.points} samples over ${Math.round(trend.spanSeconds)} s; ${CONFIRMED.points} over ${CONFIRMED.spanSeconds} s would tell a leak from a warm-up.`,
    );
  }
  const smallest = story.anon?.smallestSlope;
  if (isNegative(judgement.verdict) && smallest !== undefined)
    out.push(`A leak slower than ${bytesText(smallest * 3600)} per hour would not have been seen.`);
  out.push(
    !knowsLoad(container)
      ? "The load was not measured: growth in step with the load cannot be told from a leak."
      : `Of the load only ${proxiesSeen(container).join(", ")} were measured, and no requests: growth in step with these cannot be told from a leak.`,
  );
  if (seen.pods.get(container.podUid)?.role === "Preserved") {
    out.push("The pod was preserved and gets no traffic: growth that needs load does not show in it.");
  }
  const restarts = incarnations(seen.recording, container).length - 1;
  if (restarts > 0)
    out.push(`The ${noun} restarted ${restarts} times while it was measured; each life was judged by itself.`);
  if (container.lastSeconds < seen.recording.lastSeconds) {
    out.push(
      `The ${noun} ended ${Math.round(seen.recording.lastSeconds - container.lastSeconds)} s before the measurement did.`,
    );
  }
  const empty = container.lastSeconds - (container.usage.times.at(-1) ?? container.lastSeconds);
  if (empty > 0)
    out.push(`No process ran in the ${noun} for the last ${Math.round(empty)} s: it was judged up to then.`);
  if (container.sums.pssAnon.times.length === 0)
    out.push("No smaps_rollup of every process at once: shares of processes rest on RssAnon.");
  return [...out, ...(container.scope === "Process" ? processLimits(container) : cgroupLimits(story))];
}

function cgroupLimits({ container, kinds }: ContainerGrowth): string[] {
  const noun = nounOf(container);
  const out: string[] = [];
  if (kinds.swap === undefined)
    out.push(`The kernel does not account swap to this ${noun}: what was swapped out is not seen.`);
  if (container.cgroupVersion === 1)
    out.push(`On cgroup v1 socket buffers are not charged to the ${noun}: sock is not seen.`);
  if (container.limitBytes === undefined) out.push(`The ${noun} has no memory limit of its own.`);
  return out;
}

function processLimits({ othersInCgroup }: ContainerRecording): string[] {
  const why =
    othersInCgroup > 0
      ? `its cgroup is shared with ${othersInCgroup} other processes`
      : "it runs in no cgroup of its own that can be read";
  return [
    `Only what processes map was measured, because ${why}: kernel memory, socket buffers and page cache are not seen, and no time to a limit is given.`,
  ];
}

function asSentence(text: string): string {
  const clean = nameText(text, 1000);
  const first = clean.slice(0, 1);
  // The names of signals and of files keep their case: `anon: one step …`.
  const opened = /^(?:[a-z]+:|anon |[\w.-]+json |[a-z_]+\.[a-z])/.test(clean)
    ? clean
    : first.toUpperCase() + clean.slice(1);
  return /[.!?]$/.test(opened) ? opened : `${opened}.`;
}
