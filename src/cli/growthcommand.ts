/** `oomscope growth`: which mappings grew between two moments, now or in a pack. */
import type { MappingSnapshot } from "../api/mappings.ts";
import { codeOf } from "../collector/hostfiles.ts";
import { held, type MappingGrowth, mappingGrowth } from "../diagnosis/mappinggrowth.ts";
import { bytesText, nameText, secondsText } from "../diagnosis/words.ts";
import { openPack } from "../evidence/pack.ts";
import { type CommandSpec, durationOf, type Given, OUTPUT, outputOf, UsageError, wrap } from "./arguments.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { TARGET_OPTIONS, targetOf } from "./targetoptions.ts";
import { snapshotOf } from "./targetprocesses.ts";
import { change, shown, table } from "./text.ts";

const spec: CommandSpec = {
  name: "growth",
  summary: "Show which mappings grew between two moments, now or in a pack",
  usage: "PACK | --pid N | --cgroup PATH | --container ID [--for 30s] [--output text|json]",
  about:
    "Reads the memory map of the target's processes twice, or takes the first and the last that a pack holds, and shows which class of mapping and which library's grew. Two moments show a difference and no trend: whether it goes on growing is for oomscope collect to say.",
  operands: ["[PACK]"],
  options: {
    ...TARGET_OPTIONS,
    for: { value: "30s", help: "Time between the two moments (1s to 24h; the default is 30s)." },
    output: OUTPUT,
  },
  examples: [
    ["sudo oomscope growth --pid 4711 --for 1m", "One process and its children, now and in a minute."],
    ["oomscope growth oomscope-thumbnail-svc-20261129-020315", "Between the first and the last snapshot of a pack."],
  ],
};

const MAX_PROCESSES = 10;
const MAX_ROWS = 12;
const SHOWN = ["Rss", "Private_Dirty", "Anonymous"] as const;

async function run(given: Given, world: World): Promise<number> {
  const output = outputOf(given);
  const [location] = given.operands;
  const growths = location === undefined ? await growthNow(given, world) : await growthInPack(given, location);
  world.terminal.print(output === "json" ? `${JSON.stringify(growths, null, 2)}\n` : growthText(growths));
  return EXIT.done;
}

async function growthNow(given: Given, world: World): Promise<readonly MappingGrowth[]> {
  const waitMs = durationOf(given, "for", "30s", { least: "1s", most: "24h" });
  const resolved = await targetOf(given, world.roots);
  const { clock, terminal } = world;
  const key = world.random.hex(16);
  const first = await snapshotOf(resolved, world, key, { moment: "Start", index: 0, elapsedMs: 0 });
  if (first.processes.length === 0) throw noneRead(first);
  const from = clock.monotonicMs();
  terminal.tell(`Read ${resolved.title}; once more in ${secondsText(waitMs / 1000)}.\n`);
  const stop = new AbortController();
  world.onStop((signal) => stop.abort(new Error(`ended by ${signal}`)));
  await clock.sleep(waitMs, stop.signal).catch(() => {
    throw new Failed("Ended before the second moment, so there is nothing to compare");
  });
  const second = await snapshotOf(resolved, world, key, {
    moment: "End",
    index: 1,
    elapsedMs: clock.monotonicMs() - from,
  });
  const growths = await mappingGrowth([first, second]);
  if (growths.length === 0) throw new Failed("No process lived through both moments with mappings that could be read");
  return growths;
}

function noneRead({ skipped }: MappingSnapshot): Failed {
  const reasons = [...new Set(skipped.map(({ reason }) => nameText(reason)))].join(", ");
  return new Failed(`No process's mappings could be read (${reasons}); mostly it takes root`);
}

async function growthInPack(given: Given, location: string): Promise<readonly MappingGrowth[]> {
  if (["pid", "cgroup", "container", "for"].some((name) => given.has(name)))
    throw new UsageError("A pack has its target and its moments already: name only the pack, or only a target");
  const pack = await openPack(location).catch((error: unknown) => {
    throw new Failed(`${shown(location, 4096)} cannot be read as a pack (${codeOf(error) || String(error)})`);
  });
  const growths = await mappingGrowth(pack.mappings());
  if (growths.length === 0)
    throw new Failed(`${shown(location, 4096)} holds no process with two snapshots of its mappings`);
  return growths;
}

export function growthText(growths: readonly MappingGrowth[]): string {
  const lines = growths.slice(0, MAX_PROCESSES).flatMap(processLines);
  const more = growths.length - MAX_PROCESSES;
  if (more > 0) lines.push(`${more} processes that grew less are not shown.`);
  return `${lines.join("\n").trimEnd()}\n`;
}

function processLines(growth: MappingGrowth): string[] {
  const { pid, comm, runtimes, from, to, heldDelta, classes, names, dominant } = growth;
  const span = secondsText((to.elapsedMs - from.elapsedMs) / 1000);
  const runtime = runtimes.length === 0 ? "" : `, ${runtimes.join(" and ")}`;
  const lines = [`${nameText(comm)} (pid ${pid}${runtime}): ${change(heldDelta)} of memory that it holds, in ${span}`];
  // What changed in no column that is shown, such as Referenced, says nothing here.
  const changed = (one: MappingGrowth["totals"]): boolean =>
    one.mappingsDelta !== 0 || SHOWN.some((field) => (one.delta[field] ?? 0) !== 0);
  if (!classes.some(changed)) return [...lines, "  nothing changed", ""];
  const row = (
    name: string,
    { delta, after, mappingsDelta }: MappingGrowth["totals"],
    of: Parameters<typeof held>[1],
  ): string[] => [
    name,
    change(held(delta, of)),
    ...SHOWN.map((field) => change(delta[field] ?? 0)),
    bytesText(after.Rss ?? 0),
    `${mappingsDelta > 0 ? "+" : ""}${mappingsDelta}`,
  ];
  const head = ["held", "Rss", "Private_Dirty", "Anonymous", "Rss now", "mappings"];
  const align = ["<", ">", ">", ">", ">", ">", ">"] as const;
  lines.push(
    ...table(
      [
        ["class", ...head],
        ...classes
          .filter(changed)
          .slice(0, MAX_ROWS)
          .map((one) => row(one.class, one, one.class)),
      ],
      align,
    ),
  );
  const files = names.filter(changed);
  if (files.length > 0)
    lines.push(
      "",
      ...table(
        [["file", ...head], ...files.slice(0, MAX_ROWS).map((one) => row(nameText(one.name, 40), one, one.class))],
        align,
      ),
    );
  const sentence =
    dominant === undefined
      ? "No class has most of the growth."
      : `${dominant.sharePercent} % of the growth is ${dominant.class}${dominant.certainty === "Kernel" ? "" : ", by its layout or by what the process says"}.`;
  return [...lines, "", ...wrap(sentence, 78).map((line) => `  ${line}`), ""];
}

export const growthCommand: Command = { spec, run };
