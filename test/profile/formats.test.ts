/** Profiles in the formats of other tools: folded text, pprof, the tree of a flame graph. */
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { Profile } from "../../src/api/profile.ts";
import { flameTree } from "../../src/profile/flametree.ts";
import { foldedText } from "../../src/profile/folded.ts";
import { ownersOf } from "../../src/profile/owners.ts";
import { pprofOf } from "../../src/profile/pprof.ts";

const PROFILE: Profile = Profile.parse({
  kind: "Growth",
  event: "page-faults",
  unit: "faults",
  period: 4,
  unwinding: "dwarf",
  started: "2026-03-01T10:00:00.000Z",
  durationMs: 30_000,
  samples: 300,
  lost: 0,
  unsymbolised: 0,
  samplesOmitted: 0,
  truncated: false,
  frames: [
    { function: "work", library: "thumbnail-svc" },
    { function: "tiff_decode_tiles", library: "libimgdecode.so", buildId: "7fa6dd28" },
    { function: "allocate_decode_buffer", library: "libimgdecode.so", buildId: "7fa6dd28" },
    { function: "malloc", library: "libc.so.6", plumbing: true },
    { library: "libc.so.6", offset: 0x891f4, plumbing: true },
    { function: "handle", claimed: true },
    {},
  ],
  processes: [
    {
      pid: 7,
      startTicks: 100,
      comm: "thumbnail-svc",
      samples: 290,
      weight: 1160,
      stacks: [
        { frames: [4, 0, 1], weight: 900, samples: 225 },
        { frames: [4, 0, 1, 2, 3], weight: 260, samples: 65 },
      ],
    },
    {
      pid: 8,
      startTicks: 200,
      comm: "worker",
      samples: 10,
      weight: 40,
      stacks: [
        { frames: [6, 5], weight: 20, samples: 5 },
        { frames: [4, 3], weight: 20, samples: 5 },
      ],
    },
  ],
  efficiency: { anonPages: 1170, faults: 1200, ratio: 0.98, belief: "Trusted" },
  notes: ["a note"],
});

test("folded text", () => {
  expect(foldedText(PROFILE)).toBe(
    [
      "thumbnail-svc;libc.so.6+0x891f4;work;tiff_decode_tiles 900",
      "thumbnail-svc;libc.so.6+0x891f4;work;tiff_decode_tiles;allocate_decode_buffer;malloc 260",
      "worker;[unknown];handle (claimed) 20",
      "worker;libc.so.6+0x891f4;malloc 20",
      "",
    ].join("\n"),
  );
});

test("the tree of a flame graph adds up", () => {
  const tree = flameTree(PROFILE);
  expect([tree.total, tree.self]).toEqual([1200, 0]);
  expect(tree.children.map(({ name, total }) => [name, total])).toEqual([
    ["thumbnail-svc", 1160],
    ["worker", 40],
  ]);
  const check = (node: typeof tree): void => {
    expect(node.children.reduce((sum, c) => sum + c.total, node.self)).toBe(node.total);
    node.children.forEach(check);
  };
  check(tree);
});

test("a part that was tampered with breaks nothing", () => {
  const bad = { ...PROFILE, frames: PROFILE.frames.slice(0, 1) };
  expect(foldedText(bad)).toContain("thumbnail-svc;work 1160");
  expect(flameTree(bad).total).toBe(1200);
  expect(ownersOf(bad)[0]?.function).toBe("work");
  expect(gunzipSync(pprofOf(bad)).length).toBeGreaterThan(0);
});

test("pprof: the same bytes for the same profile, and the header says what it is", () => {
  const bytes = gunzipSync(pprofOf(PROFILE));
  expect(Buffer.compare(pprofOf(PROFILE), pprofOf(PROFILE))).toBe(0);
  // Field 1, a ValueType of two numbers: type and unit are the first strings of the table.
  expect(bytes.subarray(0, 6).toString("hex")).toBe("0a0408011002");
  expect(bytes.includes(Buffer.from("allocate_decode_buffer"))).toBe(true);
});
