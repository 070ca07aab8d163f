/**
 * Snapshots of the mappings of the suspect's processes: at the start, in the middle and at the end of a collection, the largest processes
 * first, one after the other, each only if the cost gate lets it in. They follow a sample, whose processes they read.
 */
import type { Manifest, ProcessReading, Sample } from "../api/collection.ts";
import type { MappingSnapshot, ProcessMappings, SnapshotMoment } from "../api/mappings.ts";
import type { Clock } from "../seams.ts";
import { type CostGate, type Prediction, predictSmaps } from "./costgate.ts";
import { isDenied, isGone, readText, ReadTimedOut, within } from "./hostfiles.ts";
import { memoryDevices, streamFile, surveyMappings } from "./mapfiles.ts";
import { createAggregator } from "./mappings.ts";
import { livingFolder, parseStat, type ProcessFolder } from "./procfs.ts";

/** Processes of one snapshot; with 48 names each, a part stays below 3 MiB. */
const MAX_PROCESSES = 32;
const MAX_SKIPPED = 64;
/** A snapshot may take so long; what is left then is skipped. */
const SNAPSHOT_MS = 20_000;
const STAT_TIMEOUT_MS = 2_000;
const SMALL = 4096;

export interface SnapshotOptions {
  readonly proc: string;
  readonly gate: CostGate;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Secret of this collection, under which names of files are hashed. */
  readonly nameKey: string;
  /** A snapshot that readings wait for begins no other process after this; at most, and by default, 20 seconds. */
  readonly patienceMs?: number;
}

export interface Candidate {
  readonly podUid?: string;
  readonly containerId?: string;
  readonly process: Pick<ProcessReading, "pid" | "startTicks" | "comm" | "status" | "rollup">;
}

export interface Snapshots {
  /** After each sample: takes the snapshot that is due, if one is. @param progress of the collection, 0 to 1 */
  follow(sample: Sample, progress: number): Promise<void>;
  /** After the last sample. */
  finish(elapsedMs: number): Promise<void>;
  /** What was left out, for the manifest. */
  notes(): Manifest["skipped"];
}

/** @param emit gets each snapshot as soon as it is complete */
export function createSnapshots(
  options: SnapshotOptions,
  emit: (snapshot: MappingSnapshot) => Promise<void>,
): Snapshots {
  let latest: Sample | undefined;
  let samples = 0;
  let taken: readonly SnapshotMoment[] = [];
  const left = new Map<string, number>();
  const count = (reason: string, more: number): unknown => left.set(reason, (left.get(reason) ?? 0) + more);

  async function take(moment: SnapshotMoment, sample: Sample, elapsedMs: number): Promise<void> {
    const index = taken.length;
    taken = [...taken, moment];
    // Nothing waits for the last one.
    const { patienceMs: _, ...patient } = options;
    const chosen = moment === "End" ? patient : options;
    const snapshot = await takeSnapshot(chosen, moment, index, candidatesOf(sample), elapsedMs);
    // That processes end is the ordinary course.
    for (const { reason } of snapshot.skipped) if (reason !== "Gone") count(reason, 1);
    if (snapshot.processesOmitted > 0) count("TooMany", snapshot.processesOmitted);
    await emit(snapshot);
  }

  return {
    follow: async (sample, progress) => {
      latest = sample;
      samples += 1;
      if (taken.length === 0) await take("Start", sample, sample.elapsedMs);
      // With few samples the middle is too near to both ends to say more than they do.
      else if (samples > 1 && progress >= 0.5 && progress < 1 && !taken.includes("Middle"))
        await take("Middle", sample, sample.elapsedMs);
    },
    finish: async (elapsedMs) => {
      if (latest === undefined || samples < 2) return;
      if (options.signal.aborted) count("Interrupted", 1);
      else await take("End", latest, elapsedMs);
    },
    notes: () =>
      [...left].map(([reason, n]) => ({
        what: "mappings",
        reason,
        detail:
          reason === "Interrupted" ? "the last snapshot" : `${n} ${n === 1 ? "process" : "processes"} of all snapshots`,
      })),
  };
}

type Skipped = MappingSnapshot["skipped"][number];

/** The processes of a sample, of pods and of a target without a cluster. */
export function candidatesOf(sample: {
  readonly pods: Sample["pods"];
  readonly local?: { readonly processes: readonly ProcessReading[] } | undefined;
}): Candidate[] {
  const ofPods = sample.pods.flatMap((pod) =>
    pod.containers.flatMap((container) =>
      container.processes.map((process) => ({ podUid: pod.uid, containerId: container.id, process })),
    ),
  );
  return [...ofPods, ...(sample.local?.processes ?? []).map((process) => ({ process }))];
}

/** Reads the mappings of the candidates. Never throws for what a process does; what was left out stands in `skipped`. */
export async function takeSnapshot(
  options: SnapshotOptions,
  moment: SnapshotMoment,
  index: number,
  candidates: readonly Candidate[],
  elapsedMs: number,
): Promise<MappingSnapshot> {
  const { clock, signal, patienceMs = SNAPSHOT_MS } = options;
  const time = clock.now().toISOString();
  const from = clock.monotonicMs();
  const rss = ({ process }: Candidate): number => process.status["VmRSS"] ?? 0;
  const withMemory = candidates.filter((candidate) => rss(candidate) > 0);
  const largest = withMemory.toSorted((a, b) => rss(b) - rss(a) || a.process.pid - b.process.pid);
  const processes: ProcessMappings[] = [];
  const skipped: Skipped[] = [];
  let omitted = 0;
  for (const candidate of largest) {
    const late = clock.monotonicMs() - from > Math.min(patienceMs, SNAPSHOT_MS);
    if (processes.length >= MAX_PROCESSES || late || signal.aborted) {
      omitted += 1;
      continue;
    }
    const read = await readOne(options, candidate, elapsedMs);
    if ("totals" in read) processes.push(read);
    else if (skipped.length < MAX_SKIPPED) skipped.push(read);
    else omitted += 1;
  }
  return { index, moment, time, elapsedMs: Math.round(elapsedMs), processes, skipped, processesOmitted: omitted };
}

async function readOne(
  options: SnapshotOptions,
  candidate: Candidate,
  elapsedMs: number,
): Promise<ProcessMappings | Skipped> {
  const { proc, gate, clock } = options;
  const { pid, startTicks, comm, status, rollup } = candidate.process;
  const skip = (reason: string, predictedMs?: number): Skipped => ({
    pid,
    startTicks,
    comm,
    reason,
    ...(predictedMs === undefined ? {} : { predictedMs: round(predictedMs) }),
  });
  const before = await incarnationOf(proc, pid, clock);
  if (before?.startTicks !== startTicks || before.folder === undefined) return skip("Gone");
  const process = `${pid}/${startTicks}`;
  const closed = gate.closed(process, before.state);
  if (closed !== undefined) return skip(closed);
  const survey = await surveyMappings(proc, before.folder, clock);
  const predicted = predictSmaps({
    rssBytes: status["VmRSS"] ?? 0,
    hugeBytes: rollup?.["AnonHugePages"],
    ...survey,
  });
  const refusal = gate.refuses({ process, state: before.state, predicted, elapsedMs });
  if (refusal !== undefined) return skip(refusal, refusal === "TooLong" ? predicted.holdMs : predicted.totalMs);
  const read = await aggregate(options, process, before.folder, predicted);
  if (typeof read === "string") return skip(read);
  // The pid may have been given to somebody else meanwhile, or the process may have died halfway: then the text just ends.
  const after = await incarnationOf(proc, pid, clock);
  if (after?.startTicks !== startTicks || after.folder === undefined || read.mappings === 0) return skip("Gone");
  if (after.image !== before.image) return skip("Replaced");
  const { podUid, containerId } = candidate;
  return {
    ...(podUid === undefined ? {} : { podUid }),
    ...(containerId === undefined ? {} : { containerId }),
    pid,
    startTicks,
    comm,
    ...read,
  };
}

/** The sums and what they cost, or why there are none. */
async function aggregate(
  { proc, gate, clock, nameKey }: SnapshotOptions,
  process: string,
  folder: ProcessFolder,
  predicted: Prediction,
): Promise<Omit<ProcessMappings, "pid" | "startTicks" | "comm"> | string> {
  const aggregator = createAggregator(nameKey, await memoryDevices(proc, folder, clock));
  const begun = gate.begin(process, predicted);
  try {
    const streamed = await streamFile(`${proc}/${folder}/smaps`, clock, (bytes) => aggregator.feed(bytes));
    if (streamed.held === undefined) begun.end(streamed.ms);
    else begun.leave(streamed.ms, streamed.held);
    // Half a process's memory would look like memory that was given back.
    if (streamed.ended !== "Whole") return streamed.ended;
    return { ...aggregator.end(), readMs: round(streamed.ms), longestCallMs: round(streamed.longestCallMs) };
  } catch (error) {
    begun.end(0);
    if (isGone(error)) return "Gone";
    if (isDenied(error)) return "NoPermission";
    throw error;
  }
}

interface Incarnation {
  readonly startTicks: number;
  readonly state: string;
  /** Where its memory is told; undefined: it has none any more. */
  readonly folder: ProcessFolder | undefined;
  /** Where its code and its stack begin: other after execve, and nowhere once it gives its memory back. Of a reader without rights always the same. */
  readonly image: string;
}

async function incarnationOf(proc: string, pid: number, clock: Clock): Promise<Incarnation | undefined> {
  try {
    const text = await within(readText(`${proc}/${pid}/stat`, SMALL), STAT_TIMEOUT_MS, clock);
    const identity = parseStat(text);
    // Fields 26 to 28 of proc_pid_stat(5); the third is the first behind the name.
    const image = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .slice(23, 26)
      .join(" ");
    if (identity === undefined) return undefined;
    const { startTicks, state } = identity;
    const living = await livingFolder(proc, { ...identity, pid });
    return { startTicks, state: living?.state ?? state, folder: living?.folder, image };
  } catch (error) {
    if (isGone(error) || isDenied(error) || error instanceof ReadTimedOut) return undefined;
    throw error;
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
