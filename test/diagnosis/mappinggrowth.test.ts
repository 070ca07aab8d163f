import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  type ClassSums,
  MAPPING_CLASSES,
  type MappingClass,
  type MappingSizes,
  type MappingSnapshot,
  type NamedSums,
  type ProcessMappings,
  SMAPS_FIELDS,
  SNAPSHOT_MOMENTS,
} from "../../src/api/mappings.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { mappingGrowth } from "../../src/diagnosis/mappinggrowth.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { MIB, samplesOf, stream } from "./samples.ts";

const row = (kind: MappingClass, sizes: MappingSizes, mappings = 1): ClassSums => ({
  class: kind,
  certainty: "Kernel",
  mappings,
  sizes,
});
const anon = (mib: number): MappingSizes => ({ Size: mib * MIB, Rss: mib * MIB, Pss: mib * MIB, Anonymous: mib * MIB });
const named = (name: string, mib: number): NamedSums => ({ class: "Library", name, mappings: 3, sizes: anon(mib) });

function process(pid: number, classes: readonly ClassSums[], changes: Partial<ProcessMappings> = {}): ProcessMappings {
  const totals = Object.fromEntries(
    SMAPS_FIELDS.map((field) => [field, classes.reduce((sum, { sizes }) => sum + (sizes[field] ?? 0), 0)]),
  );
  return {
    pid,
    startTicks: 1,
    comm: "thumbnail-svc",
    runtimes: [],
    mappings: classes.reduce((sum, { mappings }) => sum + mappings, 0),
    totals,
    classes: [...classes],
    names: [],
    unparsedLines: 0,
    readMs: 1,
    longestCallMs: 1,
    ...changes,
  };
}

const snapshot = (index: number, ...processes: ProcessMappings[]): MappingSnapshot => ({
  index,
  moment: SNAPSHOT_MOMENTS[index] ?? "End",
  time: "",
  elapsedMs: index * 60_000,
  processes,
  skipped: [],
  processesOmitted: 0,
});

test("the class that grew, by how much, and between which snapshots", async () => {
  const [growth] = await mappingGrowth([
    snapshot(0, process(7, [row("Heap", anon(20)), row("Anonymous", anon(8), 4), row("Library", { Rss: 4 * MIB })])),
    snapshot(1, process(7, [row("Heap", anon(20)), row("Anonymous", anon(40), 20), row("Library", { Rss: 4 * MIB })])),
    snapshot(2, process(7, [row("Heap", anon(22)), row("Anonymous", anon(72), 36), row("Library", { Rss: 4 * MIB })])),
  ]);
  expect(growth).toMatchObject({
    pid: 7,
    from: { index: 0, moment: "Start" },
    to: { index: 2, moment: "End", elapsedMs: 120_000 },
    heldDelta: 66 * MIB,
    dominant: { class: "Anonymous", sharePercent: 97 },
  });
  expect(growth?.totals.delta.Anonymous).toBe(66 * MIB);
  expect(growth?.classes.map((change) => [change.class, change.mappingsDelta, change.delta.Anonymous])).toEqual([
    ["Anonymous", 32, 64 * MIB],
    ["Heap", 0, 2 * MIB],
  ]);
});

test("a pid that was given to another process is another process", async () => {
  const growth = await mappingGrowth([
    snapshot(0, process(7, [row("Heap", anon(1))])),
    snapshot(1, process(7, [row("Heap", anon(900))], { startTicks: 2 })),
  ]);
  expect(growth).toEqual([]);
});

test("what is swapped out has not gone, and shared memory counts by its share", async () => {
  const [swapped] = await mappingGrowth([
    snapshot(0, process(7, [row("Heap", anon(64))])),
    snapshot(1, process(7, [row("Heap", { ...anon(34), Swap: 50 * MIB })])),
  ]);
  expect(swapped).toMatchObject({ heldDelta: 20 * MIB, dominant: { class: "Heap", sharePercent: 100 } });
  const [shared] = await mappingGrowth([
    snapshot(0, process(7, [row("Memfd", { Rss: 4 * MIB, Pss: 2 * MIB })])),
    snapshot(
      1,
      process(7, [row("Memfd", { Rss: 24 * MIB, Pss: 12 * MIB }), row("File", { Rss: 500 * MIB, Pss: 500 * MIB })]),
    ),
  ]);
  // A file's clean pages are no growth of what is held.
  expect(shared).toMatchObject({ heldDelta: 10 * MIB, dominant: { class: "Memfd" } });
});

test.each([
  ["no class has most of the growth", [row("Heap", anon(50)), row("Arena", anon(50))]],
  ["it grew by little", [row("Heap", anon(0.5))]],
  ["nothing grew", [row("Heap", anon(0))]],
])("no class is named where %s", async (_what, after) => {
  const [growth] = await mappingGrowth([snapshot(0, process(7, [])), snapshot(1, process(7, after))]);
  expect(growth?.dominant).toBeUndefined();
});

test("names: what grew is told; what may only have been cut from the list is not", async () => {
  const before = process(7, [], { names: [named("libimgdecode.so", 1), named("libgone.so", 9)] });
  const cut = { names: 5, sizes: {} };
  const after = { names: [named("libimgdecode.so", 31), named("libnew.so", 2)] };
  const [whole] = await mappingGrowth([snapshot(0, before), snapshot(1, process(7, [], after))]);
  expect(whole?.names.map(({ name, delta }) => [name, delta.Anonymous])).toEqual([
    ["libimgdecode.so", 30 * MIB],
    ["libnew.so", 2 * MIB],
    ["libgone.so", -9 * MIB],
  ]);
  expect(whole?.namesUncertain).toBe(0);
  const [unsure] = await mappingGrowth([
    snapshot(0, { ...before, namesOmitted: cut }),
    snapshot(1, process(7, [], { ...after, namesOmitted: cut })),
  ]);
  expect(unsure?.names.map(({ name }) => name)).toEqual(["libimgdecode.so"]);
  expect(unsure?.namesUncertain).toBe(2);
});

test("the process that grew most comes first; one that is in a single snapshot is not compared", async () => {
  const growth = await mappingGrowth([
    snapshot(
      0,
      process(1, [row("Heap", anon(1))]),
      process(2, [row("Heap", anon(1))]),
      process(3, [row("Heap", anon(1))]),
    ),
    snapshot(1, process(1, [row("Heap", anon(2))]), process(2, [row("Heap", anon(9))])),
  ]);
  expect(growth.map(({ pid }) => pid)).toEqual([2, 1]);
});

test("a finding names the kind of mapping that its leading process grew in, and where it stands; without snapshots it does not", async () => {
  const samples = [...samplesOf([{ processes: [{ pid: 7, anon: (t) => 40 + 1.2 * t }] }])];
  const startTicks = samples[0]?.pods[0]?.containers[0]?.processes[0]?.startTicks ?? 0;
  const at = (index: number, mib: number): MappingSnapshot =>
    snapshot(index, process(7, [row("V8Heap", anon(mib)), row("Heap", anon(3))], { startTicks }));
  const mappings = await mappingGrowth([at(0, 40), at(1, 200), at(2, 400)]);
  const recording = await record(stream(samples));
  const finding = Finding.parse(diagnose(recording, { mappingGrowth: mappings }));
  expect(finding).toMatchObject({ verdict: "AnonHeapLeak", culprit: { mapping: "V8Heap" } });
  const parts = "mappings-0000.json..mappings-0002.json";
  expect(finding.evidence).toContainEqual({
    signal: "V8Heap of pid 7, net",
    value: String(360 * MIB),
    unit: "bytes",
    part: parts,
  });
  const without = Finding.parse(diagnose(recording));
  expect(without.culprit).not.toHaveProperty("mapping");
  // What a person approves is the same leak.
  expect(without.id).toBe(finding.id);
  const another = await mappingGrowth(
    [at(0, 40), at(1, 200)].map((s) => ({
      ...s,
      processes: s.processes.map((p) => ({ ...p, startTicks: startTicks + 1 })),
    })),
  );
  expect(diagnose(recording, { mappingGrowth: another }).culprit).not.toHaveProperty("mapping");
});

test("any pack: nothing throws, changes add up, and a process does not grow against itself", async () => {
  const sizes = fc.dictionary(fc.constantFrom(...SMAPS_FIELDS), fc.nat()) as fc.Arbitrary<MappingSizes>;
  const classes = fc.uniqueArray(
    fc.record({ kind: fc.constantFrom(...MAPPING_CLASSES), sizes, mappings: fc.nat({ max: 9 }) }),
    { selector: ({ kind }) => kind, maxLength: 8 },
  );
  const processes = fc.array(fc.tuple(fc.nat({ max: 3 }), classes), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat({ max: 4 }), processes), { maxLength: 5 }), async (given) => {
      const snapshots = given.map(([index, list]) =>
        snapshot(
          index,
          ...list.map(([pid, rows]) =>
            process(
              pid,
              rows.map((r) => row(r.kind, r.sizes, r.mappings)),
            ),
          ),
        ),
      );
      for (const growth of await mappingGrowth(snapshots)) {
        expect(growth.to.index).toBeGreaterThan(growth.from.index);
        for (const field of SMAPS_FIELDS)
          expect(growth.classes.reduce((sum, { delta }) => sum + (delta[field] ?? 0), 0)).toBe(
            growth.totals.delta[field] ?? 0,
          );
      }
      const twice = [snapshot(0, ...(snapshots[0]?.processes ?? [])), snapshot(1, ...(snapshots[0]?.processes ?? []))];
      const distinct = new Map(twice[0]?.processes.map((p) => [p.pid, p]));
      const same = await mappingGrowth(twice.map((s) => ({ ...s, processes: [...distinct.values()] })));
      expect(same.every(({ classes: rows, heldDelta }) => rows.length === 0 && heldDelta === 0)).toBe(true);
    }),
    { numRuns: 200 },
  );
});
