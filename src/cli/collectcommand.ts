/** `oomscope collect`: one target of this machine, measured for a while, into a pack; then what it is, in plain words. */
import { rmdir } from "node:fs/promises";
import { resolve } from "node:path";
import type { CommandSpec, Given } from "./arguments.ts";
import { besideText } from "./besidetext.ts";
import { announce, COLLECTION_OPTIONS, collectInto, defaultName, intend, makeFolder } from "./collection.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { diagnosePack } from "./diagnosepack.ts";
import { findingText } from "./findingtext.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "collect",
  summary: "Measure a process, a cgroup or a container for a while; say what grows",
  usage: "--pid N | --cgroup PATH | --container ID [options]",
  about:
    "Takes readings of one target of this machine at an interval, with the machine's own and the kernel's OOM reports, into a pack that can be opened anywhere. At the end it says what it is, how sure that is, and what speaks against it. Nothing is ever written to the target; no environment and no command line is read.",
  options: {
    ...COLLECTION_OPTIONS,
    output: {
      value: "DIR",
      help: "Folder for the pack; it must not exist, or be empty. The default is made from target and time.",
    },
  },
  examples: [
    ["sudo oomscope collect --pid 4711", "Two minutes of one process and its children."],
    ["sudo oomscope collect --cgroup nginx.service --duration 10m", "A service, with everything that it is charged."],
    [
      "sudo oomscope collect --container 3c7b9a52 --interval 2s --profile",
      "A container, by the beginning of its id as crictl ps shows it, with a profile.",
    ],
    ["oomscope collect --pid $(pgrep -o node) 2>/dev/null", "Only the finding, as your own user."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const intended = await intend(given, world);
  const directory = resolve(given.text("output") ?? defaultName(intended.resolved, world.clock.now()));
  await makeFolder(directory);
  await announce(intended, world);
  const manifest = await collectInto(directory, intended, world);
  const { terminal } = world;
  // Signals and full disks come in the middle: what counts is what is in the folder.
  const { pack, finding } = await diagnosePack(directory);
  if (pack.parts.length === 0) {
    await rmdir(directory).catch(() => undefined);
    throw new Failed("Nothing could be written, so there is no pack");
  }
  terminal.tell("\n");
  terminal.print(`${findingText(finding, 100)}${await besideText(pack, 100)}`);
  terminal.tell(`\nThe pack lies in ${shown(directory, 4096)} (${pack.parts.length} parts).\n`);
  terminal.tell(`next: oomscope analyze ${shown(directory, 4096)} --output json\n`);
  if (manifest?.outcome !== "Complete") return EXIT.partial;
  return finding.verdict === "Inconclusive" ? EXIT.inconclusive : EXIT.done;
}

export const collectCommand: Command = { spec, run };
