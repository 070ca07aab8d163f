/** From options to a pack in a folder: what `collect` and `pack` share. */
import { access, constants, mkdir, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { pino } from "pino";
import { type CollectionPlan, type Manifest, PACK_SCHEMA, partFileName } from "../api/collection.ts";
import { collect } from "../collector/collect.ts";
import { createDirectorySink } from "../collector/directorysink.ts";
import { codeOf } from "../collector/hostfiles.ts";
import { readProfileFacts } from "../collector/profile/facts.ts";
import { decidePreflight } from "../collector/profile/preflight.ts";
import { bytesText, secondsText } from "../diagnosis/words.ts";
import { durationOf, type Given, type OptionSpec, UsageError } from "./arguments.ts";
import { Failed, type World } from "./command.ts";
import { watchCollection } from "./livecollection.ts";
import { preflight } from "./preflight.ts";
import type { Resolved } from "./target.ts";
import { TARGET_OPTIONS, targetOf } from "./targetoptions.ts";
import { processesOf } from "./targetprocesses.ts";
import { shown } from "./text.ts";

export const COLLECTION_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  ...TARGET_OPTIONS,
  interval: { value: "5s", help: "Time between two samples (1s to 10m; the default is 5s)." },
  duration: {
    value: "2m",
    help: "For how long (at most 24h; the default is 2m). A verdict needs a minute and 12 samples.",
  },
  profile: {
    help: "Take a profile with perf as well: who is busy and who makes memory resident, for at most 30 s. oomscope perf-check says whether that can be done.",
  },
  "stall-budget": {
    value: "1s",
    help: "How long reads of page tables may hold up the target, all together (the default is 1s).",
  },
};

export interface Intended {
  readonly plan: CollectionPlan;
  readonly resolved: Resolved;
}

/** Short in production (incident P5), and no longer than half of the collection. */
const PROFILE_MS = 30_000;
const PROFILE_HZ = 99;

/** Throws UsageError and NoTarget. */
export async function intend(given: Given, world: World): Promise<Intended> {
  const intervalMs = durationOf(given, "interval", "5s", { least: "1s", most: "10m" });
  const durationMs = durationOf(given, "duration", "2m", { least: "1s", most: "24h" });
  const stallBudgetMs = durationOf(given, "stall-budget", "1s", { least: "0s", most: "30s" });
  if (intervalMs > durationMs)
    throw new UsageError("--interval is longer than --duration: make the duration at least a dozen intervals");
  const resolved = await targetOf(given, world.roots);
  const profile = { durationMs: Math.min(PROFILE_MS, Math.floor(durationMs / 2)), frequencyHz: PROFILE_HZ };
  const plan: CollectionPlan = {
    schema: PACK_SCHEMA,
    collection: `local-${world.random.hex(6)}`,
    purpose: "Diagnose",
    pods: [],
    local: resolved.target,
    intervalMs,
    durationMs,
    stallBudgetMs,
    ...(given.has("profile") ? { profile } : {}),
  };
  return { plan, resolved };
}

/** Tells what is about to be measured, and what will be missing. */
export async function announce({ plan, resolved }: Intended, world: World): Promise<void> {
  const { terminal, roots, clock } = world;
  terminal.tell(`Measuring ${resolved.title}${resolved.notes.map((note) => `; ${note}`).join("")}.\n`);
  for (const line of await preflight(roots, resolved.target)) terminal.tell(`  Missing: ${line}\n`);
  if (plan.profile !== undefined) {
    const pids = (await processesOf(resolved, world)).map(({ process }) => process.pid);
    if (pids.length === 0) terminal.tell("  Missing: profile: there is no process to profile yet.\n");
    const { captures } = decidePreflight(
      await readProfileFacts(roots.proc, pids.length === 0 ? undefined : pids, clock, new AbortController().signal),
    );
    for (const { what, available, detail } of captures)
      if (!available) terminal.tell(`  Missing: profile (${what}): ${shown(detail)}.\n`);
  }
  if (plan.durationMs < 60_000 || plan.durationMs / plan.intervalMs < 11)
    terminal.tell("  A verdict on a trend needs at least 60 s and 12 samples; this collection is shorter.\n");
}

/** Undefined: there was no room even for the manifest, or the folder was taken away; what was written until then is kept. */
export async function collectInto(
  directory: string,
  { plan, resolved }: Intended,
  world: World,
): Promise<Manifest | undefined> {
  const { terminal, clock, random } = world;
  const stop = new AbortController();
  const watch = watchCollection(plan, resolved.title, terminal, clock, stop);
  world.onStop((signal) => {
    watch.ending();
    stop.abort(new Error(`ended by ${signal}`));
  });
  try {
    const manifest = await collect({
      plan,
      roots: world.roots,
      sink: await createDirectorySink(directory, () => stop.abort(new Error("there is no room left for the pack"))),
      clock,
      log: pino({ level: "silent" }),
      version: world.version,
      signal: stop.signal,
      usage: () => {
        const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
        return { cpuMs: Math.round((userCPUTime + systemCPUTime) / 1000), peakRssBytes: maxRSS * 1024 };
      },
      onSample: watch.sample,
      profiling: { random, workFolder: await workFolder() },
    });
    watch.close();
    if (stop.signal.aborted) terminal.tell(`Ended early: ${reason(stop.signal.reason)}.\n`);
    tellManifest(manifest, world);
    return manifest;
  } catch (error) {
    watch.close();
    terminal.tell(`The collection could not be finished: ${reason(error)}. What was written until then is kept.\n`);
    return undefined;
  } finally {
    watch.close();
  }
}

/** In memory where there is a choice: a raw profile must not lie on a disk. */
async function workFolder(): Promise<string> {
  return access("/dev/shm", constants.W_OK).then(
    () => "/dev/shm",
    () => tmpdir(),
  );
}

function tellManifest(manifest: Manifest, { terminal }: World): void {
  const { samples, samplesExpected, cost, started, finished, outcome } = manifest;
  const took = secondsText((Date.parse(finished) - Date.parse(started)) / 1000);
  terminal.tell(
    `${outcome}: ${samples} of ${samplesExpected} samples in ${took}. It cost the target at most ${Math.round(cost.stallMs)} ms of stall, and the machine ${(cost.cpuMs / 1000).toFixed(1)} s of CPU and ${bytesText(cost.peakRssBytes)}.\n`,
  );
  for (const { what, reason: why, detail } of manifest.skipped)
    terminal.tell(`  Left out: ${shown(what)}: ${shown(why)}${detail === undefined ? "" : ` (${shown(detail)})`}\n`);
}

/** `oomscope-thumbnail-svc-20261129-020315`. */
export function defaultName({ target }: Resolved, now: Date): string {
  const name = target.name.replaceAll(/[^A-Za-z0-9_-]+/g, "-").slice(0, 40);
  const time = now
    .toISOString()
    .replaceAll(/[-:]|\..*$/g, "")
    .replace("T", "-");
  return `oomscope-${name}-${time}`;
}

/** A pack never lies among other things: two collections in one folder would be one that says nonsense. */
export async function makeFolder(directory: string): Promise<void> {
  const named = shown(directory, 4096);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const inside = await readdir(directory);
    if (inside.includes(partFileName("host", 0)))
      throw new Failed(`${named} holds a pack already: name another folder with --output`);
    if (inside.length > 0) throw new Failed(`${named} is not empty: name a folder with --output that does not exist`);
  } catch (error) {
    if (error instanceof Failed) throw error;
    throw new Failed(
      `${named} cannot be used as the pack's folder (${codeOf(error) || reason(error)}): name another with --output`,
    );
  }
}

export function reason(error: unknown): string {
  return shown(error instanceof Error ? error.message : String(error), 300);
}
