/** `oomscope show`: one investigation of a cluster as a story. */
import type { ApiObject } from "../cluster/api.ts";
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { CommandSpec, Given } from "./arguments.ts";
import { CLUSTER_OPTIONS, investigationNamed, withCluster } from "./clustercommand.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { type Format, formatOf, objectText, outputOption } from "./objecttext.ts";

const FORMATS: readonly Format[] = ["json", "yaml", "name"];
/** Columns to which the story is broken. */
const WIDTH = 118;

const spec: CommandSpec = {
  name: "show",
  summary: "Tell one investigation of a cluster as a story, and what to do next",
  usage: "NAME [-n NAMESPACE] [-o json|yaml|name]",
  about:
    "Reads one MemoryInvestigation and prints where it stands, what happened, the kills, the kept pod, the finding with what speaks for and against it, what was done or would be done with the command to take it back, and what to do next. It only reads.",
  operands: ["NAME"],
  options: { ...CLUSTER_OPTIONS, output: outputOption(FORMATS) },
  examples: [
    ["oomscope show thumbnail-svc-5f2f2632 -n media", "The whole story."],
    ["kubectl oomscope show NAME -o json | jq .status.finding", "For a script."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const format = formatOf(given, FORMATS);
  const name = nameOf(given);
  const raw = await withCluster(
    given,
    world,
    (namespace) => `read memoryinvestigation ${name} in namespace ${namespace}`,
    (cluster) => investigationNamed(cluster, name),
  );
  if (format === "json" || format === "yaml" || format === "name") {
    world.terminal.print(await objectText(raw, format));
  } else {
    const { storyText } = await import("./storytext.ts");
    world.terminal.print(storyText(await understood(raw), WIDTH, world.clock.now()));
  }
  const status = raw["status"] as { readonly result?: unknown } | undefined;
  return status?.result === "Inconclusive" ? EXIT.inconclusive : EXIT.done;
}

/** The name that was given, also as `kubectl get -o name` writes it. */
export function nameOf({ operands }: Given): string {
  return (operands[0] ?? "").replace(/^(memi|memoryinvestigations?(\.oomscope\.dev)?)\//, "");
}

/** Throws Failed when another version of oomscope has written what this one cannot read. */
export async function understood(raw: ApiObject): Promise<MemoryInvestigation> {
  const { parseInvestigation } = await import("../api/parse.ts");
  const parsed = parseInvestigation(raw);
  if (parsed.ok) return parsed.value;
  throw new Failed(
    `This version of oomscope cannot read the investigation: ${parsed.problem}. Use the version that runs in the cluster, or look at it with -o yaml`,
  );
}

export const showCommand: Command = { spec, run };
