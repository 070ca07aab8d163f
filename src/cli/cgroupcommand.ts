/** `oomscope cgroup`: what one memory cgroup is charged, v1 or v2, and what that means in one line. */
import { join } from "node:path";
import type { CgroupReading, Pressure } from "../api/collection.ts";
import { readCgroup } from "../collector/cgroup.ts";
import { memoryPathOf } from "../collector/membership.ts";
import { memoryHierarchy } from "../collector/podcgroups.ts";
import { bytesText } from "../diagnosis/words.ts";
import { type CommandSpec, type Given, OUTPUT, outputOf, wrap } from "./arguments.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { TARGET_OPTIONS, targetOf } from "./targetoptions.ts";
import { percent, shown, table } from "./text.ts";

const spec: CommandSpec = {
  name: "cgroup",
  summary: "Show what a memory cgroup is charged: current, stat, events, pressure",
  usage: "PATH | --pid N | --container ID [--output text|json]",
  about:
    "Reads the memory files of one cgroup at one moment, in the words of cgroup v2 also where the machine has v1: memory.current, memory.max, memory.stat, memory.events, memory.pressure. Beside them stands working_set, which kubectl top shows, and what of it only the processes can give back.",
  operands: ["[PATH]"],
  options: { ...TARGET_OPTIONS, output: OUTPUT },
  examples: [
    ["oomscope cgroup nginx.service", "A service."],
    ["oomscope cgroup --pid 4711", "The cgroup that a process is in."],
    ["oomscope cgroup --container 3c7b9a52 --output json", "A container, for a script."],
  ],
};

/** What is printed as JSON: the reading of a pack, with working_set. */
export interface CgroupSnapshot extends CgroupReading {
  /** usage - inactive_file, as kubelet and cAdvisor count it. */
  readonly workingSetBytes: number;
  readonly meaning: string;
}

async function run(given: Given, { roots, terminal }: World): Promise<number> {
  const output = outputOf(given);
  const { target } = await targetOf(given, roots, given.operands[0]);
  const hierarchy = await memoryHierarchy(roots.cgroup);
  if (hierarchy === undefined) throw new Failed(`No memory controller is mounted below ${roots.cgroup}`);
  const path = target.kind === "Cgroup" ? target.path : await memoryPathOf(roots.proc, target.pid, hierarchy.version);
  const reading =
    path === undefined ? undefined : await readCgroup(join(hierarchy.root, path), path, hierarchy.version);
  if (reading === undefined)
    throw new Failed(`The memory cgroup ${shown(path ?? "of this process")} is gone, or cannot be read from here`);
  const snapshot = snapshotOf(reading);
  terminal.print(output === "json" ? `${JSON.stringify(snapshot, null, 2)}\n` : cgroupText(snapshot));
  return EXIT.done;
}

export function snapshotOf(reading: CgroupReading): CgroupSnapshot {
  const workingSetBytes = Math.max(0, reading.usageBytes - (reading.stat["inactive_file"] ?? 0));
  return { ...reading, workingSetBytes, meaning: meaningOf(reading, workingSetBytes) };
}

/** What the kernel would have to do to get this memory back; the verdict on growth needs more than one moment. */
function meaningOf({ kinds, stat, limitBytes, events }: CgroupReading, workingSet: number): string {
  const { anon = 0, shmem = 0, kernel = 0 } = kinds;
  const cache = stat["active_file"] ?? 0;
  const largest = (
    [
      ["anon, which only its processes can give back", anon],
      ["shmem (tmpfs, memfd, shared memory), which stays until it is deleted or unmapped", shmem],
      ["kernel memory", kernel],
      ["active_file, page cache that the kernel takes back before it kills anything", cache],
    ] as const
  ).toSorted((a, b) => b[1] - a[1])[0];
  const first =
    workingSet === 0 || largest === undefined
      ? "Nothing is charged to it."
      : `${percent(largest[1], workingSet)} of working_set is ${largest[0]}.`;
  const held = anon + shmem + kernel;
  const room =
    limitBytes === undefined ? "" : ` What cannot be taken back fills ${percent(held, limitBytes)} of the limit.`;
  const kills = events["oom_kill"] ?? 0;
  return `${first}${room}${kills > 0 ? ` The kernel has killed ${kills} of its processes.` : ""}`;
}

export function cgroupText(snapshot: CgroupSnapshot): string {
  const { path, version, usageBytes, limitBytes, highBytes, peakBytes, workingSetBytes, kinds, stat, events } =
    snapshot;
  const size = (bytes: number | undefined, absent: string): string => (bytes === undefined ? absent : bytesText(bytes));
  const rows = [
    [
      "memory.current",
      bytesText(usageBytes),
      limitBytes === undefined ? "" : `${percent(usageBytes, limitBytes)} of memory.max`,
    ],
    ["memory.max", size(limitBytes, "none"), ""],
    ...(version === 2 ? [["memory.high", size(highBytes, "none"), ""]] : []),
    ["memory.peak", size(peakBytes, "not told"), ""],
    ["working_set", bytesText(workingSetBytes), "memory.current - inactive_file: what kubectl top shows"],
    [
      "anon",
      size(kinds.anon, "not told"),
      kinds.anon === undefined ? "" : `${percent(kinds.anon, workingSetBytes)} of working_set`,
    ],
  ];
  const lines = [`cgroup ${shown(path, 1024)} (v${version}${version === 1 ? ", in the words of v2" : ""})`, ""];
  lines.push(...table(rows, ["<", ">", "<"]));
  lines.push(
    "",
    "  charged by kind",
    ...table(
      Object.entries(kinds).map(([kind, bytes]) => [kind, bytesText(bytes), percent(bytes, usageBytes)]),
      ["<", ">", ">"],
      4,
    ),
  );
  lines.push(
    "",
    "  memory.stat",
    ...table(
      Object.entries(stat).map(([name, value]) => [name, statText(name, value)]),
      ["<", ">"],
      4,
    ),
  );
  lines.push(
    "",
    "  memory.events",
    ...table(
      Object.entries(events).map(([name, count]) => [name, String(count)]),
      ["<", ">"],
      4,
    ),
  );
  lines.push("", ...pressureLines(snapshot.pressure));
  lines.push("", ...wrap(snapshot.meaning, 78).map((line) => `  ${line}`));
  return `${lines.join("\n")}\n`;
}

function statText(name: string, value: number): string {
  return /^pg|^workingset/.test(name) ? String(value) : bytesText(value);
}

export function pressureLines(pressure: Pressure | undefined): string[] {
  if (pressure === undefined) return ["  memory.pressure is not told (cgroup v1, or a kernel without PSI)"];
  const row = (name: string, { avg10, avg60, avg300, totalUs }: Pressure["some"]): string[] => [
    name,
    ...[avg10, avg60, avg300].map((value) => `${value.toFixed(2)} %`),
    `${Math.round(totalUs / 1000)} ms`,
  ];
  const rows = [row("some", pressure.some), ...(pressure.full === undefined ? [] : [row("full", pressure.full)])];
  return [
    "  memory.pressure",
    ...table([["", "avg10", "avg60", "avg300", "total"], ...rows], ["<", ">", ">", ">", ">"], 4),
  ];
}

export const cgroupCommand: Command = { spec, run };
