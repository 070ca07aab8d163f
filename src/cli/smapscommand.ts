/** `oomscope smaps`: what a process's memory is made of, by class of mapping and by library. */
import type { MappingSizes, MappingSnapshot, ProcessMappings } from "../api/mappings.ts";
import { bytesText, nameText } from "../diagnosis/words.ts";
import { type CommandSpec, type Given, OUTPUT, outputOf, wrap } from "./arguments.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { TARGET_OPTIONS, targetOf } from "./targetoptions.ts";
import { snapshotOf } from "./targetprocesses.ts";
import { table } from "./text.ts";

const spec: CommandSpec = {
  name: "smaps",
  summary: "Show what memory is made of: smaps summed by class and by library",
  usage: "--pid N | --cgroup PATH | --container ID [--output text|json]",
  about:
    "Reads the memory map of the target's processes once and sums it: heap, arenas of malloc, stacks, heaps of runtimes, libraries, files, shared memory. Addresses and paths are not shown, and names of files only as a mark that is the same for the same file within one call; libraries are named. A read that would hold the process up for too long is left out, with the reason.",
  options: { ...TARGET_OPTIONS, output: OUTPUT },
  examples: [
    ["sudo oomscope smaps --pid 4711", "One process and its children."],
    ["sudo oomscope smaps --container 3c7b9a52 --output json", "As a part of a pack has it."],
  ],
};

/** More rows say nothing more to a person; JSON has all. */
const MAX_NAMES = 12;
const MAX_PROCESSES = 10;

async function run(given: Given, world: World): Promise<number> {
  const output = outputOf(given);
  const resolved = await targetOf(given, world.roots);
  const first = { moment: "Start", index: 0, elapsedMs: 0 } as const;
  const snapshot = await snapshotOf(resolved, world, world.random.hex(16), first);
  world.terminal.print(output === "json" ? `${JSON.stringify(snapshot, null, 2)}\n` : smapsText(snapshot));
  if (snapshot.processes.length === 0)
    throw new Failed("No process's mappings could be read: the reasons stand above; mostly it takes root");
  return EXIT.done;
}

export function smapsText({ processes, skipped, processesOmitted }: MappingSnapshot): string {
  const lines = processes.slice(0, MAX_PROCESSES).flatMap(processLines);
  const more = processesOmitted + Math.max(0, processes.length - MAX_PROCESSES);
  if (more > 0) lines.push(`${more} smaller processes are not shown.`);
  for (const { pid, comm, reason } of skipped)
    lines.push(`${nameText(comm)} (pid ${pid}) was left out: ${nameText(reason)}`);
  return `${lines.join("\n").trimEnd()}\n`;
}

function processLines({ pid, comm, runtimes, mappings, totals, classes, names, readMs }: ProcessMappings): string[] {
  const runtime = runtimes.length === 0 ? "" : `, ${runtimes.join(" and ")}`;
  const byRss = classes.toSorted((a, b) => weight(b.sizes) - weight(a.sizes));
  const rows = [
    ...byRss.map((row) => [
      `${row.class}${row.certainty === "Kernel" ? "" : " *"}`,
      ...sums(row.sizes),
      String(row.mappings),
    ]),
    ["total", ...sums(totals), String(mappings)],
  ];
  const lines = [
    `${nameText(comm)} (pid ${pid}${runtime}), read in ${readMs.toFixed(1)} ms`,
    ...table(
      [["class", "Size", "Rss", "Pss", "Private_Dirty", "Anonymous", "mappings"], ...rows],
      ["<", ">", ">", ">", ">", ">", ">"],
    ),
  ];
  const shown = names
    .slice(0, MAX_NAMES)
    .map((row) => [nameText(row.name, 40), row.class, ...sums(row.sizes).slice(1)]);
  if (shown.length > 0)
    lines.push(
      "",
      ...table(
        [["file", "class", "Rss", "Pss", "Private_Dirty", "Anonymous"], ...shown],
        ["<", "<", ">", ">", ">", ">"],
      ),
    );
  if (classes.some(({ certainty }) => certainty !== "Kernel"))
    lines.push(
      "",
      ...wrap(
        "* The kernel does not name these: the process says so itself, or the layout is that of the runtime.",
        78,
      ).map((line) => `  ${line}`),
    );
  return [...lines, ""];
}

function weight(sizes: MappingSizes): number {
  return (sizes.Rss ?? 0) + (sizes.Swap ?? 0);
}

/** The five that every report of pmap -x and smaps begins with. */
function sums(sizes: MappingSizes): string[] {
  return [sizes.Size, sizes.Rss, sizes.Pss, sizes.Private_Dirty, sizes.Anonymous].map((bytes) => bytesText(bytes ?? 0));
}

export const smapsCommand: Command = { spec, run };
