/**
 * What is it, who is it, how sure are we, and what speaks against it? A pure function of a recording and of what is known beside it:
 * the same input gives the same bytes.
 */
import { createHash } from "node:crypto";
import { MEMORY_KINDS } from "../api/collection.ts";
import type { Finding } from "../api/memoryinvestigation.ts";
import { type Case, type Surroundings, growingMapping, openCase, podName } from "./case.ts";
import { evidenceOf, limitsOf } from "./evidence.ts";
import type { ContainerGrowth } from "./growth.ts";
import { parentsOf } from "./lineage.ts";
import { timeToOom } from "./projection.ts";
import type { ProcessRecording, Recording } from "./recording.ts";
import { type Rollout, rolloutOf } from "./rollout.ts";
import { summaryOf } from "./summary.ts";
import { type Judgement, judge } from "./verdict.ts";
import { nameText, whole } from "./words.ts";

/** Never throws on a recording that `record` has made. All numbers are whole: bytes, seconds, percent. */
export function diagnose(recording: Recording, surroundings: Surroundings = {}): Finding {
  const seen = openCase(recording, surroundings);
  const judgement = judge(seen);
  const { story } = seen;
  const rollout = story === undefined || !blames(judgement) ? undefined : rolloutOf(seen, story);
  const culprit = story === undefined ? undefined : culpritOf(seen, story, judgement, rollout);
  const projection = story === undefined ? undefined : projectionOf(story, judgement, seen.recording.lastSeconds);
  const lines = evidenceOf(seen, judgement, rollout);
  return {
    id: identityOf(seen, judgement, culprit),
    verdict: judgement.verdict,
    ...(judgement.subKind === undefined ? {} : { subKind: judgement.subKind }),
    confidencePercent: judgement.confidencePercent,
    summary: summaryOf(seen, judgement, projection, rollout?.says),
    ...(culprit === undefined ? {} : { culprit }),
    ...growthOf(story, judgement),
    ...(projection === undefined ? {} : { timeToOOMSeconds: projection }),
    evidence: lines.evidence,
    counterEvidence: lines.counterEvidence,
    ...(judgement.runnerUp === undefined ? {} : { runnerUp: judgement.runnerUp }),
    limits: limitsOf(seen, judgement, rollout?.limits),
  };
}

function blames({ verdict, kind }: Judgement): boolean {
  if (verdict === "Inconclusive") return false;
  return kind !== undefined || verdict === "LimitTooLow" || verdict === "ThrottledAtMemoryHigh";
}

/** Only for a verdict that blames someone. */
function culpritOf(
  seen: Case,
  story: ContainerGrowth,
  judgement: Judgement,
  rollout: Rollout | undefined,
): Finding["culprit"] {
  if (!blames(judgement)) return undefined;
  const { kind, leader, attribution, claim } = judgement;
  const { podUid } = story.container;
  const name = containerName(story);
  const pod = podName(seen, podUid);
  // The revision that brought it: one that only inherited it is none.
  const revision = rollout?.contradicted === true ? undefined : seen.pods.get(podUid)?.revision;
  const process = leader?.process ?? claim?.holder;
  const mapping = kind === "anon" && leader !== undefined ? growingMapping(seen, leader.process) : undefined;
  return {
    ...(name === undefined ? {} : { container: nameText(name, 63) }),
    ...(pod === undefined ? {} : { pod }),
    ...(process === undefined ? {} : { process: processOf(story, process) }),
    ...(mapping === undefined ? {} : { mapping: mapping.dominant.class }),
    ...codeOf(attribution),
    ...(revision === undefined ? {} : { revision: nameText(revision, 128) }),
  };
}

function processOf(
  { container }: ContainerGrowth,
  process: ProcessRecording,
): NonNullable<NonNullable<Finding["culprit"]>["process"]> {
  const nameOf = ({ pid, comm }: ProcessRecording): { pid: number; comm: string } => ({ pid, comm: nameText(comm) });
  const parents = parentsOf(container, process).map(nameOf);
  return { ...nameOf(process), startTicks: process.startTicks, ...(parents.length === 0 ? {} : { parents }) };
}

/** Whose code it is, where it may be named. */
function codeOf(
  attribution: Judgement["attribution"],
): Pick<NonNullable<Finding["culprit"]>, "library" | "function" | "functionSource"> {
  const named = attribution?.named;
  if (named === undefined) return {};
  return {
    ...(named.library === undefined ? {} : { library: nameText(named.library, 256) }),
    ...(named.function === undefined
      ? {}
      : {
          function: nameText(named.function, 256),
          functionSource: named.claimed === true ? "ClaimedByTarget" : "SymbolTable",
        }),
  };
}

/** A process on one machine is named by its pid; what surrounds it has no name. */
function containerName({ container }: ContainerGrowth): string | undefined {
  return container.scope === "Process" ? undefined : container.name;
}

function projectionOf(
  { container }: ContainerGrowth,
  { kind, trend }: Judgement,
  lastSeconds: number,
): Finding["timeToOOMSeconds"] {
  if (kind === undefined || kind === "file" || trend === undefined) return undefined;
  // A container that is gone will not reach its limit any more.
  if (container.lastSeconds < lastSeconds || (container.usage.times.at(-1) ?? 0) < lastSeconds) return undefined;
  // Socket buffers of cgroup v1 are charged to nobody, and bring nobody to a limit.
  if (kind !== "anon" && container.kinds[kind].times.length === 0) return undefined;
  return timeToOom(container, kind === "anon" ? container.anonAndSwap : container.kinds[kind], trend);
}

function growthOf(
  story: ContainerGrowth | undefined,
  { kind, trend }: Judgement,
): Pick<Finding, "growth" | "growthByKind" | "growthByProcess"> {
  if (story === undefined) return {};
  const name = containerName(story);
  const container = name === undefined ? {} : { container: nameText(name, 63) };
  const byKind = MEMORY_KINDS.flatMap((one) => {
    const found = story.kinds[one];
    if (found === undefined) return [];
    return [{ kind: one, bytes: whole(found.netBytes), bytesPerSecond: whole(found.slope), trend: found.trend }];
  });
  const byProcess = story.processes.slice(0, 8).map(({ process, trend: found, sharePercent }) => ({
    pid: process.pid,
    comm: nameText(process.comm),
    ...container,
    bytes: whole(found.netBytes),
    bytesPerSecond: whole(found.slope),
    sharePercent: whole(sharePercent),
  }));
  const blamed = kind !== undefined && trend !== undefined;
  return {
    ...(blamed
      ? {
          growth: {
            series: kind === "anon" ? "anon + swap" : kind,
            bytesPerSecond: whole(trend.slope),
            low: whole(trend.low),
            high: whole(trend.high),
          },
        }
      : {}),
    growthByKind: byKind,
    growthByProcess: byProcess,
  };
}

/**
 * An approval is bound to this. It covers what a person approves: verdict, kind, culprit and target. The pid and the pod are left out:
 * another sibling that shows the same leak is the same finding.
 */
function identityOf(seen: Case, { verdict, subKind }: Judgement, culprit: Finding["culprit"]): string {
  const { context, manifest } = seen.surroundings;
  const target =
    context === undefined
      ? manifest?.plan.investigation
      : [context.target.kind, context.target.namespace, context.target.name];
  const substance = [
    verdict,
    subKind ?? null,
    culprit?.container ?? null,
    culprit?.process?.comm ?? null,
    culprit?.revision ?? null,
    target ?? null,
    ...(culprit?.library === undefined && culprit?.function === undefined
      ? []
      : [culprit.library ?? null, culprit.function ?? null]),
  ];
  return createHash("sha256").update(JSON.stringify(substance)).digest("hex").slice(0, 12);
}
