/**
 * One collection: the host, readings at an interval, the kernel's OOM reports, and a manifest that says what there is and what was left
 * out. A part is handed over as soon as it is complete, so that a collector that dies midway leaves what it had. Nothing is ever written to the
 * target, and of every process only numbers and its name are taken.
 */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import {
  PACK_SCHEMA,
  type CollectionPlan,
  type Host,
  type Manifest,
  type OomReports,
  type PartKind,
  type Sample,
} from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { createCostGate, type CostGate } from "./costgate.ts";
import { isDenied, isGone, type HostRoots } from "./hostfiles.ts";
import { readHost } from "./host.ts";
import { readKernelLog } from "./kernellog.ts";
import { createReportParser } from "./kmsg.ts";
import { kubepodsRoots, memoryHierarchy, type Hierarchy } from "./podcgroups.ts";
import { bootTimeMs } from "./procfs.ts";
import { createSampler, type Sampler } from "./sample.ts";

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
}

/** A readings part is closed after this long, or when it has grown to this size. */
const PART_MS = 10_000;
const PART_BYTES = 1024 * 1024;

type Part = Manifest["parts"][number];

/** Runs the plan to its end and returns the manifest, which has been handed over as well. Throws when the manifest could not be. */
export async function collect(options: CollectOptions): Promise<Manifest> {
  const { plan, roots, clock, log, signal } = options;
  const started = clock.now().toISOString();
  const parts: Part[] = [];
  const skipped: Manifest["skipped"] = [];
  const gate = createCostGate(plan.stallBudgetMs);

  const hierarchy = await memoryHierarchy(roots.cgroup);
  const host = await readHost(roots, hierarchy);
  await hand(options, parts, "host", 0, JSON.stringify(host));

  let samples = 0;
  if (hierarchy === undefined)
    skipped.push({ what: "readings", reason: "NoMemoryCgroup", detail: `no memory controller below ${roots.cgroup}` });
  else samples = await takeReadings(options, hierarchy, host, gate, parts, skipped);
  if (!parts.some((part) => part.kind === "oom-reports"))
    await hand(options, parts, "oom-reports", 0, JSON.stringify(await readReports(options, host)));

  const expected = Math.floor(plan.durationMs / Math.max(1, plan.intervalMs)) + 1;
  if (signal.aborted)
    skipped.push({ what: "readings", reason: "Interrupted", detail: `${samples} of ${expected} samples` });
  // The manifest must list exactly what has arrived, so it waits for the rest.
  await options.sink.settled();
  const lost = options.sink.lost();
  for (const part of lost) skipped.push({ what: `${part.kind} ${part.index}`, reason: part.reason });
  const kept = parts.filter((part) => !lost.some((l) => l.kind === part.kind && l.index === part.index));
  const manifest: Manifest = {
    schema: PACK_SCHEMA,
    collection: plan.collection,
    tool: { name: "oomscope", version: options.version },
    started,
    finished: clock.now().toISOString(),
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

async function takeReadings(
  options: CollectOptions,
  hierarchy: Hierarchy,
  host: Host,
  gate: CostGate,
  parts: Part[],
  skipped: Manifest["skipped"],
): Promise<number> {
  const { plan, clock, signal, log } = options;
  const kubepods = await kubepodsRoots(hierarchy);
  const sampler = createSampler({ plan, proc: options.roots.proc, hierarchy, kubepods, gate, clock, host });
  const from = clock.monotonicMs();
  let open: string[] = [];
  let openBytes = 0;
  let openedAt = from;
  let index = 0;

  const close = async (): Promise<void> => {
    if (open.length === 0) return;
    const lines = open;
    open = [];
    openBytes = 0;
    openedAt = clock.monotonicMs();
    await hand(options, parts, "readings", index++, lines.join("\n"), lines.length);
  };

  let count = 0;
  const expected = Math.floor(plan.durationMs / Math.max(1, plan.intervalMs)) + 1;
  while (count < expected && !signal.aborted) {
    const sample = await trySample(sampler, count, clock.monotonicMs() - from);
    if (sample === undefined) log.warn({ index: count }, "Could not take a sample");
    else {
      const line = JSON.stringify(sample);
      open.push(line);
      openBytes += line.length;
    }
    count += 1;
    if (openBytes >= PART_BYTES || clock.monotonicMs() - openedAt >= PART_MS) await close();
    // Against the plan, not against the last sample: the interval does not drift.
    const next = from + count * plan.intervalMs - clock.monotonicMs();
    if (count < expected && next > 0) await clock.sleep(next, signal).catch(() => undefined);
  }
  await close();
  for (const note of sampler.notes()) skipped.push(note);
  return count;
}

async function trySample(sampler: Sampler, index: number, elapsedMs: number): Promise<Sample | undefined> {
  try {
    return await sampler.take(index, elapsedMs);
  } catch (error) {
    if (isGone(error) || isDenied(error)) return undefined;
    throw error;
  }
}

/** The reports that the kernel's log holds now of the plan's pods. */
async function readReports(options: CollectOptions, host: Host): Promise<OomReports> {
  const parser = createReportParser(host.pageSizeBytes, new Set(options.plan.pods.map((pod) => pod.uid)));
  const log = await readKernelLog(options.roots.kmsg, (record) => parser.feed(record));
  const found = parser.finish(await bootTimeMs(options.roots.proc));
  return { ...found, notes: [...found.notes, ...(log.note === undefined ? [] : [log.note])] };
}
