/**
 * One collection: the host, readings at an interval, the kernel's OOM reports, and a manifest that says what there is and what was left
 * out. A part is handed over as soon as it is complete, so that a collector that dies midway leaves what it had. Nothing is ever written to the
 * target, and of every process only numbers and its name are taken.
 */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import {
  MAX_COLLECTION_BYTES,
  MAX_PART_BYTES,
  PACK_SCHEMA,
  type CollectionPlan,
  type Host,
  type Manifest,
  type OomReports,
  type PartKind,
  type Sample,
} from "../api/collection.ts";
import { systemRandom, type Clock, type Random } from "../seams.ts";
import { createCostGate } from "./costgate.ts";
import type { HostRoots } from "./hostfiles.ts";
import { readHost } from "./host.ts";
import { readKernelLog } from "./kernellog.ts";
import { createReportParser } from "./kmsg.ts";
import { selectLocal } from "./localtarget.ts";
import { kubepodsRoots, memoryHierarchy } from "./podcgroups.ts";
import { bootTimeMs } from "./procfs.ts";
import { createProfiling, type Profiling } from "./profile/during.ts";
import { podsScope, type ReportScope } from "./reportscope.ts";
import { createSampler, type Sampler } from "./sample.ts";
import { createSnapshots, type Snapshots } from "./snapshots.ts";
import { findUserPlace } from "./userplace.ts";

/** Where parts go. `put` resolves when the part is safe, or was given up and told of in `lost`. */
export interface Sink {
  put(kind: PartKind, index: number, bytes: Uint8Array, lines?: number): Promise<void>;
  /** Resolves when everything that was put is safe or lost. */
  settled(): Promise<void>;
  /** Parts that had to be dropped, for the manifest. */
  readonly lost: () => readonly { readonly kind: PartKind; readonly index: number; readonly reason: string }[];
}

export interface CollectOptions {
  readonly plan: CollectionPlan;
  readonly roots: HostRoots;
  readonly sink: Sink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  /** Aborts: finish early with what there is. */
  readonly signal: AbortSignal;
  /** CPU time used and the largest resident size of this process, for the account of costs. */
  readonly usage: () => { readonly cpuMs: number; readonly peakRssBytes: number };
  /** Gets every sample once it is taken, for whoever watches. Must not throw. */
  readonly onSample?: (sample: Sample) => void;
  /** What a profile needs besides, where the plan asks for one: chance, and a place for a private folder, in memory if there is a choice. */
  readonly profiling?: { readonly random: Random; readonly workFolder: string };
}

/** A readings part is closed after this long, or when it has grown to this size. */
const PART_MS = 10_000;
const PART_BYTES = 1024 * 1024;
/** Samples that are due may be late by so much, or by an interval; those that are later are left out. */
const LATE_MS = 2_000;
/** So that a long collection stays below the number of parts that a pack may have, with those closed for their size. */
const MAX_TIMED_PARTS = 600;
/** The rest of a pack's size is for the reports of the kernel and the snapshots of mappings. */
const MAX_READINGS_BYTES = MAX_COLLECTION_BYTES - 3 * MAX_PART_BYTES;

/** Reports whose code is looked for in the files of the pods. */
const MAX_PLACES = 3;

type Part = Manifest["parts"][number];

/** Runs the plan to its end and returns the manifest, which has been handed over as well. Throws when the manifest could not be. */
export async function collect(options: CollectOptions): Promise<Manifest> {
  const { plan, roots, clock, log, signal } = options;
  const began = clock.now();
  const beganMs = clock.monotonicMs();
  const parts: Part[] = [];
  const skipped: Manifest["skipped"] = [];
  const gate = createCostGate(plan.stallBudgetMs, plan.durationMs);

  const hierarchy = await memoryHierarchy(roots.cgroup);
  const host = await readHost(roots, hierarchy);
  await hand(options, parts, "host", 0, JSON.stringify(host));

  const local = plan.local === undefined ? undefined : selectLocal(plan.local, roots.proc, hierarchy, clock);
  const scope = local?.scope ?? podsScope(new Set(plan.pods.map((pod) => pod.uid)));

  let samples = 0;
  let first: Sample | undefined;
  // One process can be measured where no cgroup accounts memory; nothing else can.
  if (hierarchy === undefined && plan.local?.kind !== "Process")
    skipped.push({ what: "readings", reason: "NoMemoryCgroup", detail: `no memory controller below ${roots.cgroup}` });
  else {
    const kubepods = hierarchy === undefined ? [] : await kubepodsRoots(hierarchy);
    const sampler = createSampler({ plan, proc: roots.proc, hierarchy, local, kubepods, gate, clock });
    const profiling = profilingOf(options);
    // A part is final. What the kernel has said already must survive our own death, so it is not kept until the end.
    const nameKey = systemRandom.hex(16);
    // Samples that are later than this are lost.
    const patienceMs = Math.max(plan.intervalMs, LATE_MS);
    const snapshots = createSnapshots({ proc: roots.proc, gate, clock, signal, nameKey, patienceMs }, (snapshot) =>
      hand(options, parts, "mappings", snapshot.index, JSON.stringify(snapshot)),
    );
    samples = await takeReadings(options, sampler, snapshots, parts, skipped, profiling, async (sample) => {
      first = sample;
      const reports = await readReports(options, host, scope, sample);
      if (reports.part.reports.length > 0) await hand(options, parts, "oom-reports", 0, JSON.stringify(reports.part));
    });
    if (profiling !== undefined) await handProfiles(options, profiling, parts, skipped);
  }
  if (!parts.some((part) => part.kind === "oom-reports")) {
    const reports = await readReports(options, host, scope, first);
    await hand(options, parts, "oom-reports", 0, JSON.stringify(reports.part));
    if (reports.unread !== undefined)
      skipped.push({ what: "oom-reports", reason: "NoPermission", detail: reports.unread });
  }

  const expected = expectedSamples(plan);
  if (signal.aborted)
    skipped.push({ what: "readings", reason: "Interrupted", detail: `${samples} of ${expected} samples` });
  // The manifest must list exactly what has arrived, so it waits for the rest.
  await options.sink.settled();
  const lost = options.sink.lost();
  for (const part of lost) skipped.push({ what: `${part.kind} ${part.index}`, reason: part.reason });
  const kept = parts.filter((part) => !lost.some((l) => l.kind === part.kind && l.index === part.index));
  const finished = clock.now();
  const manifest: Manifest = {
    schema: PACK_SCHEMA,
    collection: plan.collection,
    tool: { name: "oomscope", version: options.version },
    started: began.toISOString(),
    finished: finished.toISOString(),
    clock: { steppedMs: finished.getTime() - began.getTime() - Math.round(clock.monotonicMs() - beganMs) },
    plan,
    samples,
    samplesExpected: expected,
    outcome: samples >= expected && lost.length === 0 ? "Complete" : "Partial",
    parts: kept,
    skipped,
    cost: { stallMs: Math.round(gate.totalMs() * 10) / 10, ...options.usage() },
  };
  await options.sink.put("manifest", 0, new TextEncoder().encode(`${JSON.stringify(manifest)}\n`));
  log.info({ samples, expected, stallMs: manifest.cost.stallMs, outcome: manifest.outcome }, "Collected");
  return manifest;
}

async function hand(
  options: CollectOptions,
  parts: Part[],
  kind: PartKind,
  index: number,
  text: string,
  lines?: number,
): Promise<void> {
  const bytes = new TextEncoder().encode(text.endsWith("\n") ? text : `${text}\n`);
  parts.push({
    kind,
    index,
    bytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    ...(lines === undefined ? {} : { lines }),
  });
  await options.sink.put(kind, index, bytes, lines);
}

/** @returns how many samples were taken. @param afterFirst is called once, after the first of them */
async function takeReadings(
  options: CollectOptions,
  sampler: Sampler,
  snapshots: Snapshots,
  parts: Part[],
  skipped: Manifest["skipped"],
  profiling: Profiling | undefined,
  afterFirst: (sample: Sample) => Promise<void>,
): Promise<number> {
  const { plan, clock, signal, log } = options;
  const from = clock.monotonicMs();
  const partMs = Math.max(PART_MS, plan.durationMs / MAX_TIMED_PARTS);
  let open: string[] = [];
  let openBytes = 0;
  let allBytes = 0;
  let openedAt = from;
  let index = 0;
  let taken = 0;
  let failed = 0;
  let late = 0;
  const interval = Math.max(1, plan.intervalMs);

  const close = async (): Promise<void> => {
    if (open.length === 0) return;
    const lines = open;
    open = [];
    openBytes = 0;
    openedAt = clock.monotonicMs();
    await hand(options, parts, "readings", index++, lines.join("\n"), lines.length);
  };

  const expected = expectedSamples(plan);
  for (let turn = 0; turn < expected && !signal.aborted; turn++) {
    try {
      const sample: Sample = await sampler.take(taken, clock.monotonicMs() - from);
      profiling?.seen(sample);
      const line = JSON.stringify(sample);
      const bytes = Buffer.byteLength(line) + 1;
      if (allBytes + bytes > MAX_READINGS_BYTES) {
        skipped.push({ what: "readings", reason: "TooLarge", detail: `the pack is full after ${taken} samples` });
        break;
      }
      open.push(line);
      openBytes += bytes;
      allBytes += bytes;
      taken += 1;
      if (taken === 1) await afterFirst(sample);
      options.onSample?.(sample);
      await snapshots.follow(sample, expected <= 1 ? 1 : turn / (expected - 1));
    } catch (error) {
      if (signal.aborted) break;
      failed += 1;
      log.warn({ err: error, turn }, "Could not take a sample");
    }
    if (openBytes >= PART_BYTES || clock.monotonicMs() - openedAt >= partMs) await close();
    // Where samples take longer than the interval, catching up would press a node that is in trouble harder, and end too late.
    const elapsed = clock.monotonicMs() - from;
    if (elapsed - (turn + 1) * interval > Math.max(interval, LATE_MS)) {
      const due = Math.min(expected, Math.floor(elapsed / interval));
      late += due - turn - 1;
      turn = due - 1;
    }
    // Against the plan, not against the last sample: the interval does not drift.
    const next = from + (turn + 1) * interval - clock.monotonicMs();
    if (turn + 1 < expected && next > 0) await clock.sleep(next, signal).catch(() => undefined);
  }
  await close();
  await snapshots.finish(clock.monotonicMs() - from).catch((error: unknown) => {
    log.warn({ err: error }, "Could not take the last snapshot of mappings");
    skipped.push({ what: "mappings", reason: "ReadFailed", detail: "the last snapshot" });
  });
  if (late > 0)
    skipped.push({ what: "readings", reason: "Late", detail: `${late} samples: one takes longer than the interval` });
  if (failed > 0) skipped.push({ what: "readings", reason: "ReadFailed", detail: `${failed} samples` });
  skipped.push(...sampler.notes(), ...snapshots.notes());
  return taken;
}

function profilingOf(options: CollectOptions): Profiling | undefined {
  const { plan, roots, clock, signal, profiling } = options;
  const { profile } = plan;
  if (profile === undefined || profiling === undefined) return undefined;
  return createProfiling({ plan: { ...plan, profile }, proc: roots.proc, clock, signal, ...profiling });
}

/** Profiles that were taken beside the readings, one part each. */
async function handProfiles(
  options: CollectOptions,
  profiling: Profiling,
  parts: Part[],
  skipped: Manifest["skipped"],
): Promise<void> {
  const outcome = await profiling.finish();
  skipped.push(...outcome.skipped);
  for (const [index, profile] of outcome.profiles.entries()) {
    const text = JSON.stringify(profile);
    if (Buffer.byteLength(text) < MAX_PART_BYTES) await hand(options, parts, "profile", index, text);
    else skipped.push({ what: `profile ${index}`, reason: "TooLarge", detail: `${profile.kind} has too many stacks` });
  }
}

function expectedSamples(plan: CollectionPlan): number {
  return Math.floor(plan.durationMs / Math.max(1, plan.intervalMs)) + 1;
}

/** The reports that the kernel's log holds now of the plan's targets, and why it could not be read. */
async function readReports(
  options: CollectOptions,
  host: Host,
  scope: ReportScope,
  sample?: Sample,
): Promise<{ readonly part: OomReports; readonly unread: string | undefined }> {
  const parser = createReportParser(host.pageSizeBytes, scope);
  const log = await readKernelLog(options.roots.kmsg, (record) => parser.feed(record));
  const found = parser.finish(await bootTimeMs(options.roots.proc));
  const notes = log.note === undefined ? found.notes : [...found.notes, log.note];
  const reports = [...found.reports];
  const processes = (sample?.pods ?? []).flatMap((pod) => pod.containers.flatMap((c) => c.processes));
  const living = [...processes, ...(sample?.local?.processes ?? [])];
  // The newest say most, and each costs a search through files.
  for (let at = reports.length - 1; at >= Math.max(0, reports.length - MAX_PLACES); at--) {
    const report = reports[at];
    const code = report === undefined ? undefined : parser.codeOf(report);
    const userPlace = code === undefined ? undefined : await findUserPlace(options.roots.proc, living, code);
    if (report === undefined || userPlace === undefined) continue;
    // The place says all that the address does, and a process forked from the same parent still has that address.
    const { userIp: _userIp, ...rest } = report;
    reports[at] = { ...rest, userPlace };
  }
  return { part: { ...found, reports, notes }, unread: log.note };
}
