/** smaps and growth on recorded memory maps, perf-check on facts: what they print. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { MappingSnapshot } from "../../src/api/mappings.ts";
import { Failed } from "../../src/cli/command.ts";
import { growthCommand } from "../../src/cli/growthcommand.ts";
import { perfCheckText } from "../../src/cli/perfcheckcommand.ts";
import { smapsCommand } from "../../src/cli/smapscommand.ts";
import { decidePreflight, type ProfileFacts } from "../../src/collector/profile/preflight.ts";
import type { MappingGrowth } from "../../src/diagnosis/mappinggrowth.ts";
import { createNodeTree, type NodeTree } from "../collector/nodetree.ts";
import { recordedMap } from "../collector/smapstext.ts";
import { runCommand } from "./world.ts";

const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

/** A process with the recorded map of a Python program. */
async function machine(): Promise<{ tree: NodeTree; map: string }> {
  const tree = await createNodeTree(2);
  trees.push(tree);
  await tree.process(42, "/", "python3");
  const map = join(tree.roots.proc, "42", "smaps");
  await writeFile(map, recordedMap("python"));
  return { tree, map };
}

/** The recorded map with so much more in one mapping. */
function grown(name: string, kib: number): string {
  const text = recordedMap("python").toString();
  const at = text.indexOf(name);
  expect(at).toBeGreaterThan(0);
  return (
    text.slice(0, at) +
    text
      .slice(at)
      .replace(/^(Rss|Pss|Private_Dirty|Anonymous):(\s+)(\d+) kB$/gm, "$1:$2$3 kB")
      .replace(
        /^Rss:\s+(\d+) kB\nPss:\s+(\d+) kB((?:\n(?!Anonymous).*)*?)\nPrivate_Dirty:\s+(\d+) kB((?:\n.*)*?)\nAnonymous:\s+(\d+) kB/m,
        (_all, rss: string, pss: string, between: string, dirty: string, rest: string, anonymous: string) =>
          `Rss: ${Number(rss) + kib} kB\nPss: ${Number(pss) + kib} kB${between}\nPrivate_Dirty: ${Number(dirty) + kib} kB${rest}\nAnonymous: ${Number(anonymous) + kib} kB`,
      )
  );
}

test("smaps: the five sums by class and by library, and no path or address", async () => {
  const { tree } = await machine();
  const { printed, code } = await runCommand(smapsCommand, tree.roots, ["--pid", "42"]);
  expect(code).toBe(0);
  // How long the read took is another thing each time, and so is the mark of a file that is no library.
  expect(
    printed.replace(/read in [\d.]+ ms/, "read in 1.0 ms").replaceAll(/~[0-9a-f]{12}/g, "~000000000000"),
  ).toMatchSnapshot();
  expect(printed).not.toMatch(/\/usr|\/lib|[0-9a-f]{8}-[0-9a-f]{8}/);
});

test("smaps as JSON is a snapshot as a pack has it", async () => {
  const { tree } = await machine();
  const { printed } = await runCommand(smapsCommand, tree.roots, ["--pid", "42", "--output", "json"]);
  const snapshot = MappingSnapshot.parse(JSON.parse(printed));
  expect(snapshot.processes).toHaveLength(1);
  expect(snapshot.processes[0]?.totals.Rss).toBeGreaterThan(0);
});

test("smaps that may read nothing says why, and fails", async () => {
  const { tree } = await machine();
  const stat = join(tree.roots.proc, "42", "stat");
  // A task that waits without interruption may hold the lock that a reader would wait for.
  await writeFile(stat, (await readFile(stat, "utf8")).replace(/\) \S /, ") D "));
  await expect(runCommand(smapsCommand, tree.roots, ["--pid", "42"])).rejects.toThrow(Failed);
});

describe("growth", () => {
  test("between two moments: the class that grew, by how much, and nothing that did not", async () => {
    const { tree, map } = await machine();
    const { printed, told } = await runCommand(growthCommand, tree.roots, ["--pid", "42", "--for", "1m"], () =>
      writeFile(map, grown("[heap]", 4096)),
    );
    expect(told).toContain("once more in 60 s");
    expect(printed).toContain("python3 (pid 42, CPython): +4.0 MiB of memory that it holds");
    expect(printed).toMatch(/^ {2}Heap +\+4\.0 MiB +\+4\.0 MiB +\+4\.0 MiB +\+4\.0 MiB/m);
    expect(printed).toContain("100 % of the growth is Heap.");
    expect(printed).not.toContain("Library");
  });

  test("of which there is none", async () => {
    const { tree } = await machine();
    const { printed } = await runCommand(growthCommand, tree.roots, ["--pid", "42"]);
    expect(printed).toContain("nothing changed");
    const json = JSON.parse(
      (await runCommand(growthCommand, tree.roots, ["--pid", "42", "--output", "json"])).printed,
    ) as MappingGrowth[];
    expect(json).toMatchObject([{ pid: 42, heldDelta: 0 }]);
  });

  test("of a process that ends in between cannot be told", async () => {
    const { tree, map } = await machine();
    const gone = runCommand(growthCommand, tree.roots, ["--pid", "42"], async () => {
      await writeFile(map, "");
    });
    await expect(gone).rejects.toThrow("No process lived through both moments");
  });

  test("of a pack and of a target at once is refused", async () => {
    const { tree } = await machine();
    await expect(runCommand(growthCommand, tree.roots, ["a-pack", "--pid", "42"])).rejects.toThrow(
      "name only the pack",
    );
    await expect(runCommand(growthCommand, tree.roots, [tree.folder])).rejects.toThrow(
      "holds no process with two snapshots",
    );
  });
});

test("perf-check: what can be captured, why not the rest, and what to expect of names", () => {
  const facts: ProfileFacts = {
    perfVersion: "6.1.187",
    kernel: "6.18.44",
    paranoid: 2,
    uid: 1000,
    capabilities: [],
    hostPids: true,
    pmu: false,
    uprobes: false,
    setpriv: true,
    target: { pids: 1, threads: 4, runtimes: ["node"], files: 12, stripped: 3, perfMaps: 0 },
  };
  expect(perfCheckText(decidePreflight(facts))).toMatchSnapshot();
  const { perfVersion: _perf, target: _target, ...without } = facts;
  expect(perfCheckText(decidePreflight(without))).toContain("NoPerf: perf is not installed");
});
