/** `oomscope report`: a pack as one HTML file to look at, to send, and to keep with the incident. */
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { codeOf } from "../collector/hostfiles.ts";
import { bytesText } from "../diagnosis/words.ts";
import { openPack, type Pack } from "../evidence/pack.ts";
import { gather } from "../report/material.ts";
import { reportPage } from "../report/page.ts";
import type { CommandSpec, Given } from "./arguments.ts";
import { CLUSTER_OPTIONS, investigationNamed, withCluster } from "./clustercommand.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { collectionOf, fetchPack } from "./fetch.ts";
import { nameOf, understood } from "./showcommand.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "report",
  summary: "Make one HTML file of a pack: finding, charts, flame graphs",
  usage: "PACK | memi/NAME [--output FILE|-] [-n NAMESPACE]",
  about:
    "Reads a pack of this machine, or with memi/NAME fetches that of an investigation from the cluster (see oomscope evidence for the rights that this takes), and writes a page that opens offline in any browser: the finding with what speaks for and against it, memory by kind with kills and restarts, pressure, processes, mappings, flame graphs, and what could not be seen. The page asks no network for anything. The same pack always gives the same bytes. An older report of that name is replaced.",
  operands: ["PACK"],
  options: {
    ...CLUSTER_OPTIONS,
    output: {
      value: "FILE|-",
      help: "The file to write; - is standard output. The default is the pack's name with .html.",
    },
  },
  examples: [
    ["oomscope report nginx.tar.zst --output nginx.html", "A file to open in a browser, or to attach to the incident."],
    ["oomscope report memi/thumbnail-svc-5f2f2632 -n media", "Of an investigation in a cluster, in one step."],
    ["oomscope report PACK --output - | ssh desk 'cat > report.html'", "From a machine without a browser."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const [location = ""] = given.operands;
  if (!isInvestigation(location)) return report(await opened(location), location, given, world);
  const folder = await mkdtemp(join(tmpdir(), "oomscope-report-"));
  try {
    const name = nameOf(given);
    return await report(await fetched(name, join(folder, "pack.tar.zst"), given, world), name, given, world);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `memi/NAME`, as kubectl would have it; a folder of that name must be written `./memi/NAME`. */
function isInvestigation(location: string): boolean {
  return /^(memi|memoryinvestigations?(\.oomscope\.dev)?)\//.test(location);
}

function fetched(name: string, file: string, given: Given, world: World): Promise<Pack> {
  return withCluster(
    given,
    world,
    (namespace) => `fetch the evidence of memoryinvestigation ${name} in namespace ${namespace}`,
    async (cluster) => {
      const investigation = await understood(await investigationNamed(cluster, name));
      const { pack, problems } = await fetchPack(cluster, investigation, collectionOf(investigation), file);
      for (const problem of problems) world.terminal.tell(`  ${shown(problem)}\n`);
      return pack;
    },
  );
}

async function opened(location: string): Promise<Pack> {
  const pack = await openPack(location).catch((error: unknown) => {
    throw new Failed(`${shown(location, 4096)} cannot be read as a pack (${codeOf(error) || String(error)})`);
  });
  if (pack.parts.length === 0)
    throw new Failed(
      `${shown(location, 4096)} holds no part of a pack: name the folder with manifest.json in it, or a .tar.zst`,
    );
  return pack;
}

async function report(pack: Pack, location: string, given: Given, { terminal }: World): Promise<number> {
  const material = await gather(pack);
  const page = reportPage(material);
  const output = given.text("output") ?? `${basename(resolve(location)).replace(/\.tar\.zst$/, "")}.html`;
  if (output === "-") terminal.print(page);
  else {
    await write(resolve(output), page);
    terminal.tell(`${shown(output, 4096)}: ${bytesText(Buffer.byteLength(page))}, to be opened in a browser\n`);
  }
  return material.finding.verdict === "Inconclusive" ? EXIT.inconclusive : EXIT.done;
}

/** The file is there whole, or as it was. */
async function write(file: string, page: string): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.part`);
  try {
    await writeFile(temporary, page);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new Failed(
      `${shown(file, 4096)} could not be written (${codeOf(error) || String(error)}): name another with --output`,
    );
  }
}

export const reportCommand: Command = { spec, run };
