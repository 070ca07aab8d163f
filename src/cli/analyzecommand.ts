/** `oomscope analyze`: the finding of a pack, wherever it came from. */
import { codeOf } from "../collector/hostfiles.ts";
import { type CommandSpec, type Given, OUTPUT, outputOf } from "./arguments.ts";
import { besideText } from "./besidetext.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { diagnosePack } from "./diagnosepack.ts";
import { findingText } from "./findingtext.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "analyze",
  summary: "Say what a pack shows: verdict, who, evidence for and against it",
  usage: "PACK [--output text|json]",
  about:
    "Reads a pack, from this machine or fetched from a cluster, and prints its finding. The same pack always gives the same bytes. With --output json it is exactly the object that an investigation has in status.finding.",
  operands: ["PACK"],
  options: { output: OUTPUT },
  examples: [
    ["oomscope analyze oomscope-thumbnail-svc-20261129-020315", "The finding in plain words."],
    ["oomscope analyze PACK --output json | jq .verdict", "For a script."],
  ],
};

async function run(given: Given, { terminal }: World): Promise<number> {
  const output = outputOf(given);
  const [location = ""] = given.operands;
  const { pack, finding } = await diagnosePack(location).catch((error: unknown) => {
    throw new Failed(`${shown(location, 4096)} cannot be read as a pack (${codeOf(error) || String(error)})`);
  });
  if (pack.parts.length === 0)
    throw new Failed(
      `${shown(location, 4096)} holds no part of a pack: name the folder with manifest.json in it, or a .tar.zst`,
    );
  terminal.print(
    output === "json"
      ? `${JSON.stringify(finding, null, 2)}\n`
      : `${findingText(finding, 100)}${await besideText(pack, 100)}`,
  );
  return finding.verdict === "Inconclusive" ? EXIT.inconclusive : EXIT.done;
}

export const analyzeCommand: Command = { spec, run };
