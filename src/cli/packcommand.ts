/** `oomscope pack`: everything about one target in one file, and whether such a file is whole. */
import { mkdtemp, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { codeOf } from "../collector/hostfiles.ts";
import { bytesText } from "../diagnosis/words.ts";
import { openPack, type Pack } from "../evidence/pack.ts";
import { writePack } from "../evidence/writearchive.ts";
import { type CommandSpec, type Given, OUTPUT, outputOf, UsageError } from "./arguments.ts";
import { announce, COLLECTION_OPTIONS, collectInto, defaultName, intend, reason } from "./collection.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { diagnosePack } from "./diagnosepack.ts";
import { shown, table } from "./text.ts";

const spec: CommandSpec = {
  name: "pack",
  summary: "Collect into one file; verify or list such a pack; archive a folder",
  usage: "TARGET [options] | FOLDER [--file FILE] | verify PACK | list PACK",
  about:
    "With a target it collects as oomscope collect does and leaves one file, FILE.tar.zst, with the readings, the mappings, the kernel's OOM reports and checksums of all of it. With a folder it makes that file of a pack that is there. verify compares every part with its checksum; list shows what is inside. Any tar with zstd can open the file.",
  operands: ["[verify|list|FOLDER]", "[PACK]"],
  options: {
    ...COLLECTION_OPTIONS,
    file: { value: "FILE", help: "The file to write; it must not exist. The default is made from target and time." },
    output: { ...OUTPUT, help: "How verify and list print: text (the default) or json." },
  },
  examples: [
    [
      "sudo oomscope pack --cgroup nginx.service --file nginx.tar.zst",
      "Two minutes of a service, in one file to send.",
    ],
    ["oomscope pack verify nginx.tar.zst", "Is it whole? Exit code 0 or 1."],
    ["oomscope pack list nginx.tar.zst --output json", "What is in it."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const [first, second] = given.operands;
  if (first === "verify" || first === "list") {
    if (second === undefined) throw new UsageError(`oomscope pack ${first} needs a pack: oomscope pack ${first} PACK`);
    return first === "verify" ? verify(second, given, world) : list(second, given, world);
  }
  if (second !== undefined)
    throw new UsageError(`"${shown(first ?? "")}" is neither verify nor list (oomscope pack --help has examples)`);
  if (first === undefined) return collectToFile(given, world);
  if (["pid", "cgroup", "container", "profile"].some((name) => given.has(name)))
    throw new UsageError("Name either a folder that holds a pack, or a target to collect");
  const pack = await opened(first);
  if (pack.form !== "Folder") throw new Failed(`${shown(first, 4096)} is one file already`);
  if (pack.parts.length === 0) throw new Failed(`${shown(first, 4096)} holds no part of a pack`);
  await archive(first, resolve(given.text("file") ?? `${basename(resolve(first))}.tar.zst`), world);
  return EXIT.done;
}

async function collectToFile(given: Given, world: World): Promise<number> {
  const intended = await intend(given, world);
  const file = resolve(given.text("file") ?? `${defaultName(intended.resolved, world.clock.now())}.tar.zst`);
  await mustNotExist(file);
  // Beside the file that will be, so that there is room for it where it goes.
  const directory = await mkdtemp(join(dirname(file), ".oomscope-pack-")).catch((error: unknown) => {
    throw new Failed(
      `Nothing can be written beside ${shown(file, 4096)} (${codeOf(error)}): name another place with --file`,
    );
  });
  try {
    await announce(intended, world);
    const manifest = await collectInto(directory, intended, world);
    const { pack, finding } = await diagnosePack(directory);
    if (pack.parts.length === 0) throw new Failed("Nothing could be written, so there is no pack");
    world.terminal.print(`${finding.verdict}, ${finding.confidencePercent} % sure: ${finding.summary}\n`);
    await archive(directory, file, world);
    world.terminal.tell(`next: oomscope analyze ${shown(file, 4096)}\n`);
    if (manifest?.outcome !== "Complete") return EXIT.partial;
    return finding.verdict === "Inconclusive" ? EXIT.inconclusive : EXIT.done;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The file is there whole, or not at all. */
async function archive(directory: string, file: string, { terminal }: World): Promise<void> {
  await mustNotExist(file);
  const temporary = join(dirname(file), `.${basename(file)}.part`);
  try {
    // Opened before anything is written, so that whatever forbids it is thrown here.
    const handle = await open(temporary, "w", 0o600);
    const written = await writePack(directory, handle.createWriteStream({ flush: true }));
    await rename(temporary, file);
    terminal.tell(
      `${shown(file, 4096)}: ${written.parts} parts, ${bytesText(written.bytes)}, sha256 ${written.sha256}\n`,
    );
  } catch (error) {
    await rm(temporary, { force: true });
    throw new Failed(`${shown(file, 4096)} could not be written (${codeOf(error) || reason(error)})`);
  }
}

async function mustNotExist(file: string): Promise<void> {
  const there = await stat(file).then(
    () => true,
    () => false,
  );
  if (there) throw new Failed(`${shown(file, 4096)} is there already: name another with --file`);
}

async function verify(location: string, given: Given, { terminal }: World): Promise<number> {
  const output = outputOf(given);
  const pack = await opened(location);
  const { ok, problems } = await pack.verify();
  const lines = ok
    ? [`${shown(location, 4096)} is whole: ${pack.parts.length} parts, each as its checksum says.`]
    : [`${shown(location, 4096)} is not whole:`, ...problems.map((problem) => `  - ${shown(problem)}`)];
  terminal.print(output === "json" ? `${JSON.stringify({ ok, problems }, null, 2)}\n` : `${lines.join("\n")}\n`);
  return ok ? EXIT.done : EXIT.failed;
}

async function list(location: string, given: Given, { terminal }: World): Promise<number> {
  const output = outputOf(given);
  const pack = await opened(location);
  const parts = await pack.list();
  const rows = parts.map(({ name, bytes, sha256, state }) => [name, bytesText(bytes), state, sha256.slice(0, 16)]);
  terminal.print(
    output === "json"
      ? `${JSON.stringify(parts, null, 2)}\n`
      : `${table([["part", "size", "state", "sha256"], ...rows], ["<", ">", "<", "<"], 0).join("\n")}\n`,
  );
  for (const problem of pack.problems) terminal.tell(`  ${shown(problem)}\n`);
  return EXIT.done;
}

async function opened(location: string): Promise<Pack> {
  return openPack(location).catch((error: unknown) => {
    throw new Failed(`${shown(location, 4096)} cannot be read as a pack (${codeOf(error) || reason(error)})`);
  });
}

export const packCommand: Command = { spec, run };
