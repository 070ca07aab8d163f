/** A pack as one file: made of a folder, verified, listed, analysed; and refusals. */
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pino } from "pino";
import { analyzeCommand } from "../../src/cli/analyzecommand.ts";
import { EXIT } from "../../src/cli/command.ts";
import { packCommand } from "../../src/cli/packcommand.ts";
import { collect } from "../../src/collector/collect.ts";
import { createDirectorySink } from "../../src/collector/directorysink.ts";
import { systemClock } from "../../src/seams.ts";
import { createNodeTree, type NodeTree, planOf } from "../collector/nodetree.ts";
import { type Ran, runCommand } from "./world.ts";

let tree: NodeTree;
let folder = "";
let pack = "";

beforeAll(async () => {
  tree = await createNodeTree(2);
  folder = await mkdtemp(join(tmpdir(), "oomscope-pack-"));
  pack = join(folder, "pack");
  await tree.cgroup("/a.service", [42]);
  await tree.process(42, "/a.service");
  await collect({
    plan: planOf({ pods: [], local: { kind: "Cgroup", path: "/a.service", name: "a.service" } }),
    roots: tree.roots,
    sink: await createDirectorySink(pack),
    clock: systemClock,
    log: pino({ level: "silent" }),
    version: "0.1.0",
    signal: new AbortController().signal,
    usage: () => ({ cpuMs: 0, peakRssBytes: 0 }),
  });
});

afterAll(async () => {
  await tree.remove();
  await rm(folder, { recursive: true });
});

const run = (...words: string[]): Promise<Ran> => runCommand(packCommand, tree.roots, words);

test("a folder becomes one file, which is whole, lists its parts and has the same finding", async () => {
  const file = join(folder, "one.tar.zst");
  const made = await run(pack, "--file", file);
  expect(made).toMatchObject({ code: EXIT.done, told: expect.stringMatching(/parts, .* sha256 [0-9a-f]{64}$/m) });
  expect(await run("verify", file)).toMatchObject({ code: EXIT.done, printed: expect.stringContaining("is whole") });
  const listed = JSON.parse((await run("list", file, "--output", "json")).printed) as { name: string; state: string }[];
  expect(listed.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["host.json", "manifest.json", "readings-0000.ndjson"]),
  );
  expect((await run("list", file)).printed).toMatch(/^host\.json +\d+ B +Proved +[0-9a-f]{16}$/m);
  const [ofFolder, ofFile] = await Promise.all(
    [pack, file].map((path) => runCommand(analyzeCommand, tree.roots, [path, "--output", "json"])),
  );
  expect(ofFile?.printed).toBe(ofFolder?.printed);
  expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
});

test("a part that was changed is found, in a folder and in JSON", async () => {
  const changed = join(folder, "changed");
  await cp(pack, changed, { recursive: true });
  await writeFile(
    join(changed, "host.json"),
    (await readFile(join(changed, "host.json"), "utf8")).replace("kernel", "Kernel"),
  );
  const text = await run("verify", changed);
  expect(text).toMatchObject({ code: EXIT.failed, printed: expect.stringContaining("is not whole") });
  const json = JSON.parse((await run("verify", changed, "--output", "json")).printed) as {
    ok: boolean;
    problems: string[];
  };
  expect(json.ok).toBe(false);
  expect(json.problems.join()).toContain("host");
});

test("an archive that was cut off is told apart from a whole one", async () => {
  const [file, half] = [join(folder, "whole.tar.zst"), join(folder, "half.tar.zst")];
  await run(pack, "--file", file);
  const bytes = await readFile(file);
  await writeFile(half, bytes.subarray(0, bytes.length / 2));
  expect(await run("verify", half)).toMatchObject({ code: EXIT.failed });
});

test.each([
  [["verify"], "needs a pack: oomscope pack verify PACK"],
  [["verfy", "x"], "is neither verify nor list"],
  [[], "Name one target"],
  [["x", "--pid", "42"], "Name either a folder that holds a pack, or a target"],
  [["verify", "/no/such/pack"], "cannot be read as a pack (ENOENT)"],
])("%j is refused", async (words, sentence) => {
  await expect(run(...words)).rejects.toThrow(sentence);
});

test("nothing that is there is written over, and nothing half is left behind", async () => {
  const file = join(folder, "there.tar.zst");
  await writeFile(file, "something");
  await expect(run(pack, "--file", file)).rejects.toThrow("is there already");
  await expect(run("--cgroup", "/a.service", "--file", file)).rejects.toThrow("is there already");
  await expect(run(pack, "--file", join(folder, "no", "such", "folder.tar.zst"))).rejects.toThrow(
    "could not be written (ENOENT)",
  );
  expect(await readFile(file, "utf8")).toBe("something");
});
