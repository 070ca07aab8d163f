/** `oomscope collect`: one target of this machine, measured for a while, into a pack; then what it is, in plain words. */
import { mkdir, readdir, rmdir } from "node:fs/promises";
import { resolve } from "node:path";
import { pino } from "pino";
import { type CollectionPlan, type Manifest, PACK_SCHEMA, partFileName } from "../api/collection.ts";
import { collect } from "../collector/collect.ts";
import { createDirectorySink } from "../collector/directorysink.ts";
import { codeOf } from "../collector/hostfiles.ts";
import { bytesText, secondsText } from "../diagnosis/words.ts";
import { type CommandSpec, durationOf, type Given, UsageError } from "./arguments.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { diagnosePack } from "./diagnosepack.ts";
import { findingText } from "./findingtext.ts";
import { watchCollection } from "./livecollection.ts";
import { preflight } from "./preflight.ts";
import type { Resolved } from "./target.ts";
import { TARGET_OPTIONS, targetOf } from "./targetoptions.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "collect",
  summary: "Measure a process, a cgroup or a container for a while; say what grows",
  usage: "--pid N | --cgroup PATH | --container ID [options]",
  about:
    "Takes readings of one target of this machine at an interval, with the machine's own and the kernel's OOM reports, into a pack that can be opened anywhere. At the end it says what it is, how sure that is, and what speaks against it. Nothing is ever written to the target; no environment and no command line is read.",
  options: {
    ...TARGET_OPTIONS,
    interval: { value: "5s", help: "Time between two samples (1s to 10m; the default is 5s)." },
    duration: {
      value: "2m",
      help: "For how long (at most 24h; the default is 2m). A verdict needs a minute and 12 samples.",
    },
    "stall-budget": {
      value: "1s",
      help: "How long reads of page tables may hold up the target, all together (the default is 1s).",
    },
    output: {
      value: "DIR",
      help: "Folder for the pack; it must not exist, or be empty. The default is made from target and time.",
    },
  },
  examples: [
    ["sudo oomscope collect --pid 4711", "Two minutes of one process and its children."],
    ["sudo oomscope collect --cgroup nginx.service --duration 10m", "A service, with everything that it is charged."],
    [
      "sudo oomscope collect --container 3c7b9a52 --interval 2s --output /var/tmp/pack",
      "A container, by the beginning of its id as crictl ps shows it.",
    ],
    ["oomscope collect --pid $(pgrep -o node) 2>/dev/null", "Only the finding, as your own user."],
  ],
};

/** Signals and late disks come in the middle; a collection is judged by what is in its folder. */
async function run(given: Given, world: World): Promise<number> {
  const { terminal, clock } = world;
  const intervalMs = durationOf(given, "interval", "5s", { least: "1s", most: "10m" });
  const durationMs = durationOf(given, "duration", "2m", { least: "1s", most: "24h" });
  const stallBudgetMs = durationOf(given, "stall-budget", "1s", { least: "0s", most: "30s" });
  if (intervalMs > durationMs)
    throw new UsageError("--interval is longer than --duration: make the duration at least a dozen intervals");
  const resolved = await targetOf(given, world.roots);
  const plan: CollectionPlan = {
    schema: PACK_SCHEMA,
    collection: `local-${world.random.hex(6)}`,
    purpose: "Diagnose",
    pods: [],
    local: resolved.target,
    intervalMs,
    durationMs,
    stallBudgetMs,
  };
  const directory = resolve(given.text("output") ?? defaultFolder(resolved, clock.now()));
  await makeFolder(directory);

  terminal.tell(`Measuring ${resolved.title}${resolved.notes.map((note) => `; ${note}`).join("")}.\n`);
  for (const line of await preflight(world.roots, resolved.target)) terminal.tell(`  Missing: ${line}\n`);
  if (durationMs < 60_000 || durationMs / intervalMs < 11)
    terminal.tell("  A verdict on a trend needs at least 60 s and 12 samples; this collection is shorter.\n");

  const manifest = await collectInto(directory, plan, resolved, world);
  return tellEnd(directory, manifest, world);
}

/** Undefined: there was no room even for the manifest, or the folder was taken away. */
async function collectInto(
  directory: string,
  plan: CollectionPlan,
  resolved: Resolved,
  world: World,
): Promise<Manifest | undefined> {
  const { terminal, clock } = world;
  const stop = new AbortController();
  const watch = watchCollection(plan, resolved.title, terminal, clock, stop);
  world.onStop((signal) => {
    watch.ending();
    stop.abort(new Error(`ended by ${signal}`));
  });
  try {
    return await collect({
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
    });
  } catch (error) {
    watch.close();
    terminal.tell(`The collection could not be finished: ${reason(error)}. What was written until then is kept.\n`);
    return undefined;
  } finally {
    watch.close();
    if (stop.signal.aborted) terminal.tell(`Ended early: ${reason(stop.signal.reason)}.\n`);
  }
}

async function tellEnd(directory: string, manifest: Manifest | undefined, { terminal }: World): Promise<number> {
  const { pack, finding } = await diagnosePack(directory);
  if (pack.parts.length === 0) {
    await rmdir(directory).catch(() => undefined);
    throw new Failed("Nothing could be written, so there is no pack");
  }
  if (manifest !== undefined) {
    const { samples, samplesExpected, cost, started, finished, outcome } = manifest;
    const seconds = (Date.parse(finished) - Date.parse(started)) / 1000;
    terminal.tell(
      `${outcome}: ${samples} of ${samplesExpected} samples in ${secondsText(seconds)}. It cost the target at most ${Math.round(cost.stallMs)} ms of stall, and the machine ${(cost.cpuMs / 1000).toFixed(1)} s of CPU and ${bytesText(cost.peakRssBytes)}.\n`,
    );
    for (const { what, reason: why, detail } of manifest.skipped)
      terminal.tell(`  Left out: ${shown(what)}: ${shown(why)}${detail === undefined ? "" : ` (${shown(detail)})`}\n`);
  }
  terminal.tell("\n");
  terminal.print(findingText(finding, 100));
  terminal.tell(`\nThe pack lies in ${shown(directory, 4096)} (${pack.parts.length} parts).\n`);
  terminal.tell(`next: oomscope analyze ${shown(directory, 4096)} --output json\n`);
  if (manifest?.outcome !== "Complete") return EXIT.partial;
  return finding.verdict === "Inconclusive" ? EXIT.inconclusive : EXIT.done;
}

/** `oomscope-thumbnail-svc-20261129-020315`, below the current folder. */
function defaultFolder({ target }: Resolved, now: Date): string {
  const name = target.name.replaceAll(/[^A-Za-z0-9_-]+/g, "-").slice(0, 40);
  const time = now
    .toISOString()
    .replaceAll(/[-:]|\..*$/g, "")
    .replace("T", "-");
  return `oomscope-${name}-${time}`;
}

/** A pack never lies among other things: two collections in one folder would be one that says nonsense. */
async function makeFolder(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const inside = await readdir(directory);
    if (inside.length > 0)
      throw new Failed(
        inside.includes(partFileName("host", 0))
          ? `${shown(directory, 4096)} holds a pack already: name another folder with --output`
          : `${shown(directory, 4096)} is not empty: name a folder with --output that does not exist`,
      );
  } catch (error) {
    if (error instanceof Failed) throw error;
    throw new Failed(
      `${shown(directory, 4096)} cannot be used as the pack's folder (${codeOf(error) || reason(error)}): name another with --output`,
    );
  }
}

function reason(error: unknown): string {
  return shown(error instanceof Error ? error.message : String(error), 300);
}

export const collectCommand: Command = { spec, run };
