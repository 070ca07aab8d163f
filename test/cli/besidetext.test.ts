/** What stands below a finding: mappings that grew and what profiles saw, from the parts of a pack, hostile ones too. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { MappingSnapshot } from "../../src/api/mappings.ts";
import type { Profile } from "../../src/api/profile.ts";
import { besideText } from "../../src/cli/besidetext.ts";
import { openPack } from "../../src/evidence/pack.ts";

const MIB = 2 ** 20;
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-beside-"));
});
afterEach(() => rm(folder, { recursive: true }));

const part = (name: string, content: unknown): Promise<void> => writeFile(join(folder, name), JSON.stringify(content));
const text = async (): Promise<string> => besideText(await openPack(folder), 80);

function snapshot(index: number, arenaMib: number): MappingSnapshot {
  const sizes = {
    Size: 200 * MIB,
    Rss: arenaMib * MIB,
    Pss: arenaMib * MIB,
    Private_Dirty: arenaMib * MIB,
    Anonymous: arenaMib * MIB,
  };
  return {
    index,
    moment: index === 0 ? "Start" : "End",
    time: "",
    elapsedMs: index * 60_000,
    processes: [
      {
        pid: 4711,
        startTicks: 1,
        comm: "thumbnail-svc",
        runtimes: [],
        mappings: 4,
        totals: sizes,
        classes: [{ class: "Arena", certainty: "Layout", mappings: 4, sizes }],
        names: [],
        unparsedLines: 0,
        readMs: 1,
        longestCallMs: 1,
      },
    ],
    skipped: [],
    processesOmitted: 0,
  };
}

const growth: Profile = {
  kind: "Growth",
  event: "page-faults",
  unit: "faults",
  period: 7,
  unwinding: "dwarf",
  started: "",
  durationMs: 30_000,
  samples: 1715,
  lost: 0,
  unsymbolised: 0,
  samplesOmitted: 0,
  truncated: false,
  frames: [
    { function: "malloc", library: "libc.so.6", plumbing: true },
    { function: "allocate_decode_buffer", library: "libimgdecode.so" },
    { function: "tiff_decode_tiles\u001b[2J", library: "libimgdecode.so" },
  ],
  processes: [
    {
      pid: 4711,
      startTicks: 1,
      comm: "thumbnail-svc",
      samples: 1715,
      weight: 100,
      stacks: [{ frames: [2, 1, 0], weight: 100, samples: 1715 }],
    },
  ],
  efficiency: { anonPages: 14_080, faults: 14_080, ratio: 1, belief: "Trusted" },
  notes: [],
};

test("a pack without mappings and profiles says nothing", async () => {
  await part("host.json", {});
  expect(await text()).toBe("");
});

test("the mapping that grew, and who made memory resident, by who called the allocator", async () => {
  await part("mappings-0000.json", snapshot(0, 20));
  await part("mappings-0001.json", snapshot(1, 144));
  await part("profile-0000.json", {
    ...growth,
    kind: "OnCpu",
    unit: "nanoseconds",
    efficiency: undefined,
    samples: 0,
    processes: [],
  });
  await part("profile-0001.json", growth);
  expect(await text()).toMatchInlineSnapshot(`
    "
      which mappings grew:
        Arena  +124 MiB  thumbnail-svc (pid 4711)

      who was busy (0 samples in 30 s):
        nobody with a name
      who made memory resident (1715 samples in 30 s):
        100 %  allocate_decode_buffer  libimgdecode.so  called by tiff_decode_tiles\\u{1b}[2J
        nearly every page that was touched stayed: the stacks are those of the
        growth.
    "
  `);
});

test("a profile that cannot be understood is left out", async () => {
  await part("profile-0000.json", { kind: "Growth", frames: "none" });
  await writeFile(join(folder, "profile-0001.json"), "not json");
  expect(await text()).toBe("");
});
