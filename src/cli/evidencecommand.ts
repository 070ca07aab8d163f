/** `oomscope evidence`: the pack of an investigation, fetched from the cluster and checked. */
import { rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { bytesText } from "../diagnosis/words.ts";
import type { CommandSpec, Given } from "./arguments.ts";
import { CLUSTER_OPTIONS, investigationNamed, withCluster } from "./clustercommand.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { collectionOf, fetchPack } from "./fetch.ts";
import { nameOf, understood } from "./showcommand.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "evidence",
  summary: "Fetch the evidence of an investigation of a cluster, and verify it",
  usage: "NAME [--output FILE] [--collection ID] [-n NAMESPACE]",
  about:
    "Downloads the pack as one .tar.zst by the API server's proxy to the operator, and compares every part with its checksum and the pack with the investigation's status. It makes a token of ten minutes for this, of the ServiceAccount default in the investigation's namespace, which is good for nothing else; so it takes the right to make tokens there (the role edit), and the Role oomscope-evidence-reader. Exit code 3 where the pack is not whole.",
  operands: ["NAME"],
  options: {
    ...CLUSTER_OPTIONS,
    output: { value: "FILE", short: "o", help: "The file to write; it must not exist. The default is NAME.tar.zst." },
    collection: { value: "ID", help: "Which collection, where there are several. The default is the newest." },
  },
  examples: [
    ["oomscope evidence thumbnail-svc-5f2f2632 -n media", "Then oomscope analyze, report, growth or list it."],
    ["oomscope evidence NAME -o incident.tar.zst", "Into a file of your choice."],
  ],
};

async function run(given: Given, { terminal, ...world }: World): Promise<number> {
  const name = nameOf(given);
  const output = given.text("output") ?? `${name}.tar.zst`;
  const file = resolve(output);
  if (await stat(file).catch(() => undefined))
    throw new Failed(`${shown(output, 4096)} is there already: name another with --output`);
  const temporary = join(dirname(file), `.${basename(file)}.part`);
  await rm(temporary, { force: true }).catch(() => undefined);
  return withCluster(
    given,
    { terminal, ...world },
    (namespace) => `fetch the evidence of memoryinvestigation ${name} in namespace ${namespace}`,
    async (cluster) => {
      const investigation = await understood(await investigationNamed(cluster, name));
      const collection = collectionOf(investigation, given.text("collection"));
      const { pack, bytes, sha256, problems } = await fetchPack(cluster, investigation, collection, temporary);
      await rename(temporary, file);
      const whole = problems.length === 0;
      terminal.print(
        `${shown(output, 4096)}: ${collection.id}, ${pack.parts.length} parts, ${bytesText(bytes)}, sha256 ${sha256}\n`,
      );
      terminal.tell(
        whole
          ? `It is whole: each part is as its checksum says.\nnext: oomscope report ${shown(output, 4096)}\n`
          : `It is not whole:\n${problems.map((problem) => `  - ${shown(problem)}\n`).join("")}`,
      );
      return whole ? EXIT.done : EXIT.partial;
    },
  );
}

export const evidenceCommand: Command = { spec, run };
