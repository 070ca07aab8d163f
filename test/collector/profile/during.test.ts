/** A profile beside the readings of a whole collection: where none can be taken, the pack is complete all the same and says why there is none. */
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import type { CollectionPlan, Manifest } from "../../../src/api/collection.ts";
import { collect } from "../../../src/collector/collect.ts";
import { createDirectorySink } from "../../../src/collector/directorysink.ts";
import { systemClock, systemRandom } from "../../../src/seams.ts";
import { CONTAINER, createNodeTree, planOf, POD, type NodeTree } from "../nodetree.ts";

let tree: NodeTree | undefined;
afterEach(async () => {
  await tree?.remove();
});

async function run(plan: CollectionPlan, pids: readonly number[], signal?: AbortSignal): Promise<Manifest> {
  tree = await createNodeTree(1);
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await tree.cgroup(path, pids);
  for (const pid of pids) await tree.process(pid, path);
  const workFolder = join(tree.folder, "work");
  await mkdir(workFolder);
  const manifest = await collect({
    plan,
    roots: tree.roots,
    sink: await createDirectorySink(join(tree.folder, "pack")),
    clock: systemClock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal: signal ?? new AbortController().signal,
    usage: () => ({ cpuMs: 1, peakRssBytes: 1 }),
    profiling: { random: systemRandom, workFolder },
  });
  expect(await readdir(workFolder)).toEqual([]);
  return manifest;
}

function profileReasons(manifest: Manifest): string[] {
  return manifest.skipped.filter(({ what }) => what === "profile").map(({ reason }) => reason);
}

const profile = { durationMs: 1000, frequencyHz: 99 };

test("no profile where the plan asks for none", async () => {
  const manifest = await run(planOf(), [42]);
  expect(manifest).toMatchObject({ outcome: "Complete", skipped: [] });
});

test("a machine on which it cannot be taken: the pack is complete, and the reason is one of a few words", async () => {
  const manifest = await run(planOf({ profile }), [42]);
  expect(manifest).toMatchObject({ outcome: "Complete", samples: 3 });
  // This tree's processes are not those of the machine; where perf is missing, that is found first.
  expect(["NoPerf", "NoPerfEvents", "NoPermission", "NoHostPids"]).toContain(profileReasons(manifest)[0]);
  expect(profileReasons(manifest)).toHaveLength(1);
  expect(manifest.parts.filter(({ kind }) => kind === "profile")).toEqual([]);
});

test("pods without a process have nothing to profile", async () => {
  expect(profileReasons(await run(planOf({ profile }), []))).toEqual(["NoProcess"]);
});

test("a collection that is ended begins no profile", async () => {
  const manifest = await run(planOf({ profile }), [42], AbortSignal.abort());
  expect(profileReasons(manifest)).toEqual(["Interrupted"]);
  expect(manifest.outcome).toBe("Partial");
});
