/** `oomscope perf-check`: may perf run here, what can it see, and why not the rest? */
import { readProfileFacts } from "../collector/profile/facts.ts";
import { decidePreflight, type Preflight } from "../collector/profile/preflight.ts";
import { nameText } from "../diagnosis/words.ts";
import { type CommandSpec, type Given, OUTPUT, outputOf, wrap } from "./arguments.ts";
import { EXIT, type Command, type World } from "./command.ts";
import { TARGET_OPTIONS, targetOf } from "./targetoptions.ts";
import { processesOf } from "./targetprocesses.ts";

const spec: CommandSpec = {
  name: "perf-check",
  summary: "Say which profiles can be taken here, and why not the rest",
  usage: "[--pid N | --cgroup PATH | --container ID] [--output text|json]",
  about:
    "Looks at the kernel, the permissions, perf itself and, where one is named, at the target, before anybody waits for a profile that cannot be. Nothing is recorded.",
  options: { ...TARGET_OPTIONS, output: OUTPUT },
  examples: [
    ["sudo oomscope perf-check", "The machine."],
    ["sudo oomscope perf-check --pid 4711", "And whether stacks of this process will have names."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const output = outputOf(given);
  const named = ["pid", "cgroup", "container"].some((name) => given.has(name));
  const processes = named ? await processesOf(await targetOf(given, world.roots), world) : undefined;
  const stop = new AbortController();
  world.onStop((signal) => stop.abort(new Error(`ended by ${signal}`)));
  const pids = processes?.map(({ process }) => process.pid);
  const preflight = decidePreflight(await readProfileFacts(world.roots.proc, pids, world.clock, stop.signal));
  world.terminal.print(output === "json" ? `${JSON.stringify(preflight, null, 2)}\n` : perfCheckText(preflight));
  return EXIT.done;
}

const MEANING: Readonly<Record<Preflight["captures"][number]["what"], string>> = {
  OnCpu: "who is busy",
  Growth: "who makes memory resident",
  Symbols: "names of functions",
};

export function perfCheckText({ captures, unwinding, warnings, facts }: Preflight): string {
  const lines = [
    `perf ${nameText(facts.perfVersion ?? "is missing")}, Linux ${nameText(facts.kernel)}, perf_event_paranoid ${facts.paranoid ?? "is not there"}`,
    "",
  ];
  for (const { what, available, reason, detail } of captures) {
    const sign = available ? "yes" : "no ";
    const [first = "", ...rest] = wrap(`${available ? "" : `${nameText(reason ?? "")}: `}${detail}`, 58);
    lines.push(
      `  ${sign}  ${what.padEnd(12)}${MEANING[what]}`,
      `${" ".repeat(19)}${first}`,
      ...rest.map((line) => `${" ".repeat(19)}${line}`),
    );
  }
  lines.push("", `  stacks are unwound by ${unwinding === "dwarf" ? "unwind tables (dwarf)" : "frame pointers (fp)"}`);
  for (const warning of warnings) {
    const [first = "", ...rest] = wrap(warning, 74);
    lines.push(`  - ${first}`, ...rest.map((line) => `    ${line}`));
  }
  return `${lines.join("\n")}\n`;
}

export const perfCheckCommand: Command = { spec, run };
