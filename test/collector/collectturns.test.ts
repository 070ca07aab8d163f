import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { type CollectionPlan, Manifest, type PartKind, Sample } from "../../src/api/collection.ts";
import { collect, type Sink } from "../../src/collector/collect.ts";
import { UploadEnded } from "../../src/collector/upload.ts";
import { type Clock, systemClock } from "../../src/seams.ts";
import { CONTAINER, createNodeTree, type NodeTree, planOf, POD } from "./nodetree.ts";

const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

interface Stored {
  readonly kind: PartKind;
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** Time goes by when somebody sleeps or, by `costMs`, when somebody looks. */
function ownClock(costMs: number): Clock {
  let at = 0;
  return {
    ...systemClock,
    monotonicMs: () => (at += costMs),
    sleep: async (ms) => {
      at += ms;
      await systemClock.sleep(0);
    },
  };
}

async function run(
  plan: Partial<CollectionPlan>,
  {
    clock = ownClock(0),
    sink,
    signal = new AbortController().signal,
  }: { clock?: Clock; sink?: Sink; signal?: AbortSignal } = {},
) {
  const tree = await createNodeTree(2);
  trees.push(tree);
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await tree.cgroup(path, [42]);
  await tree.process(42, path);
  const stored: Stored[] = [];
  const memory: Sink = {
    put: async (kind, index, bytes) => void stored.push({ kind, index, bytes }),
    settled: async () => undefined,
    lost: () => [],
  };
  const collecting = collect({
    plan: planOf(plan),
    roots: tree.roots,
    sink: { ...memory, ...sink },
    clock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal,
    usage: () => ({ cpuMs: 1, peakRssBytes: 1 }),
  });
  const manifest = await collecting;
  const samples = stored
    .filter(({ kind }) => kind === "readings")
    .flatMap(({ bytes }) => new TextDecoder().decode(bytes).trimEnd().split("\n"))
    .map((line) => Sample.parse(JSON.parse(line)));
  return { manifest, samples, stored, tree };
}

test("samples are taken at the interval, from the first moment to the last", async () => {
  const { manifest, samples } = await run({ intervalMs: 5000, durationMs: 60_000 });
  expect(samples.map((sample) => sample.elapsedMs)).toEqual(Array.from({ length: 13 }, (_, i) => i * 5000));
  expect(manifest).toMatchObject({ outcome: "Complete", samples: 13, samplesExpected: 13, skipped: [] });
});

test("readings are handed over while sampling goes on, at least every ten seconds", async () => {
  const { stored, manifest } = await run({ intervalMs: 5000, durationMs: 60_000 });
  const kinds = stored.map(({ kind, index }) => `${kind} ${index}`);
  expect(kinds.filter((kind) => kind.startsWith("readings")).length).toBeGreaterThanOrEqual(4);
  expect(kinds[0]).toBe("host 0");
  expect(kinds.at(-1)).toBe("manifest 0");
  const listed = stored
    .filter(({ kind }) => kind !== "manifest")
    .map(({ kind, index, bytes }) => ({
      kind,
      index,
      bytes: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      ...(kind === "readings" ? { lines: new TextDecoder().decode(bytes).trimEnd().split("\n").length } : {}),
    }));
  expect(manifest.parts).toEqual(listed);
  const last = stored.at(-1)?.bytes ?? new Uint8Array();
  expect(Manifest.parse(JSON.parse(new TextDecoder().decode(last)))).toEqual(manifest);
});

test("where a sample takes longer than the interval, some are left out, and the end is when it was planned", async () => {
  const { manifest, samples } = await run({ intervalMs: 1000, durationMs: 30_000 }, { clock: ownClock(900) });
  expect(manifest.outcome).toBe("Partial");
  expect(samples.length).toBeGreaterThan(3);
  expect(samples.length).toBeLessThan(31);
  expect(manifest.samples).toBe(samples.length);
  expect(samples.map((sample) => sample.index)).toEqual(samples.map((_, i) => i));
  expect(samples.at(-1)?.elapsedMs).toBeLessThan(36_000);
  expect(manifest.skipped).toContainEqual(
    expect.objectContaining({
      what: "readings",
      reason: "Late",
      detail: expect.stringMatching(/^\d+ samples/) as string,
    }),
  );
});

test("a part that was lost on the way is not listed, and is named", async () => {
  const lost = [{ kind: "readings" as const, index: 1, reason: "QueueFull" }];
  const taken: Stored[] = [];
  const sink: Sink = {
    put: async (kind, index, bytes) => void taken.push({ kind, index, bytes }),
    settled: async () => undefined,
    lost: () => lost,
  };
  const { manifest } = await run({ intervalMs: 5000, durationMs: 60_000 }, { sink });
  expect(manifest.outcome).toBe("Partial");
  expect(manifest.parts.some((part) => part.kind === "readings" && part.index === 1)).toBe(false);
  expect(manifest.parts.some((part) => part.kind === "readings" && part.index === 2)).toBe(true);
  expect(manifest.skipped).toContainEqual({ what: "readings 1", reason: "QueueFull" });
});

test("an operator that wants nothing more ends the collection with its reason", async () => {
  const ended = new UploadEnded("AnotherCollector");
  const sink: Sink = { put: () => Promise.reject(ended), settled: () => Promise.reject(ended), lost: () => [] };
  await expect(run({}, { sink })).rejects.toBe(ended);
});

test("without a memory hierarchy the pack says so, and holds what there is", async () => {
  const tree = await createNodeTree(2);
  trees.push(tree);
  await rm(join(tree.roots.cgroup, "cgroup.controllers"));
  const kinds: string[] = [];
  const manifest = await collect({
    plan: planOf(),
    roots: tree.roots,
    sink: { put: async (kind) => void kinds.push(kind), settled: async () => undefined, lost: () => [] },
    clock: ownClock(0),
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal: new AbortController().signal,
    usage: () => ({ cpuMs: 1, peakRssBytes: 1 }),
  });
  expect(kinds).toEqual(["host", "oom-reports", "manifest"]);
  expect(manifest).toMatchObject({ outcome: "Partial", samples: 0 });
  expect(manifest.skipped).toContainEqual(expect.objectContaining({ what: "readings", reason: "NoMemoryCgroup" }));
});
