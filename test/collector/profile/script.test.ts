/** Is what perf printed understood, and can a name in it do harm? Real output of perf, and anything at all. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isPlumbing } from "../../../src/api/profile.ts";
import { createFolder, type Folded, type Names } from "../../../src/collector/profile/fold.ts";
import { parsePerfMap } from "../../../src/collector/profile/perfmap.ts";
import { createScriptParser, lostSamples, type RawSample } from "../../../src/collector/profile/script.ts";

const NOTHING: Names = { libraries: new Map(), perfMaps: new Map() };
const BUILD_ID = "7fa6dd287c5f0d54aa906862fa518495d4be5abc";

function fixture(name: string): string {
  return readFileSync(join(import.meta.dirname, "..", "..", "fixtures", "profile", name), "utf8");
}

function parse(text: string): { samples: RawSample[]; unread: number } {
  const samples: RawSample[] = [];
  const parser = createScriptParser((sample) => samples.push(sample));
  for (const line of text.split("\n")) parser.line(line);
  return { samples, ...parser.end() };
}

function fold(samples: readonly RawSample[], names: Names, pids: readonly number[]): Folded {
  const folder = createFolder(names);
  for (const sample of samples) folder.add(sample);
  return folder.end(pids.map((pid) => ({ pid, startTicks: 7, comm: "thumbnail-svc" })));
}

function stacksOf(folded: Folded): string[] {
  return folded.processes.flatMap((process) =>
    process.stacks.map((s) => s.frames.map((at) => folded.frames[at]?.function ?? "?").join(";")),
  );
}

test("a real recording: every sample, its stack from caller to callee, and where a name is missing the library and the offset", () => {
  const { samples, unread } = parse(fixture("thumbnail-dwarf.script.txt"));
  expect({ samples: samples.length, unread }).toEqual({ samples: 24, unread: 0 });
  const libraries = new Map([
    ["/usr/local/lib/libimgdecode.so", { name: "libimgdecode.so", buildId: BUILD_ID, stripped: false }],
  ]);
  const folded = fold(samples, { ...NOTHING, libraries }, [13127]);
  expect(stacksOf(folded)).toEqual(["?;?;work;serve;tiff_decode_tiles"]);
  expect(folded.processes[0]).toMatchObject({ pid: 13127, startTicks: 7, samples: 24, weight: 24 * 16 });
  expect(folded.frames).toEqual([
    { function: "tiff_decode_tiles", library: "libimgdecode.so", buildId: BUILD_ID },
    { function: "serve", library: "thumbnail-svc" },
    { function: "work", library: "thumbnail-svc" },
    { library: "libc.so.6", offset: 0x891f4, plumbing: true },
    { library: "libc.so.6", offset: 0x1098eb, plumbing: true },
  ]);
});

test("output without stacks has one place for each sample", () => {
  const { samples, unread } = parse(fixture("thumbnail-bare.script.txt"));
  expect(unread).toBe(0);
  expect(samples).toHaveLength(12);
  expect(samples[0]?.frames).toEqual([
    { ip: "7f57832533f2", symbol: undefined, dso: "/usr/local/lib/libimgdecode.so" },
  ]);
  // An address that nobody turned into an offset is not told.
  expect(fold(samples, NOTHING, [13127]).frames).toEqual([{ library: "libimgdecode.so" }]);
});

test("a name that makes up a sample of another process accuses nobody", () => {
  const { samples, unread } = parse(fixture("hostile-symbol.script.txt"));
  expect(unread).toBeGreaterThan(0);
  expect(samples.some((sample) => sample.pid === 1)).toBe(true);
  const pid = samples[0]?.pid ?? 0;
  const folded = fold(samples, NOTHING, [pid]);
  expect(folded.processes.map((process) => process.pid)).toEqual([pid]);
  expect(folded.samplesOmitted).toBe(samples.filter((sample) => sample.pid === 1).length);
  expect(JSON.stringify(folded)).not.toContain("\u001b");
  expect(folded.frames.some(({ library }) => library === "odd (x) y")).toBe(true);
});

test("names with brackets and spaces, and files that are gone", () => {
  const { samples } = parse(
    [
      "7/8  3 page-faults/period=3/: ",
      "\t   1c operator()(int) const (/opt/a b/lib (old)/libx.so (deleted))",
      "\t   1d std::function<void (int)>::operator()(int) (/opt/libx.so)",
      "\t 7ffe [unknown] ([unknown])",
      "\t  8f5 __vdso_gettimeofday ([vdso])",
      "",
    ].join("\n"),
  );
  expect(samples[0]?.frames.map(({ symbol, dso }) => [symbol, dso])).toEqual([
    ["operator()(int) const", "/opt/a b/lib (old)/libx.so (deleted)"],
    ["std::function<void (int)>::operator()(int)", "/opt/libx.so"],
    [undefined, undefined],
    ["__vdso_gettimeofday", "[vdso]"],
  ]);
  expect(fold(samples, NOTHING, [7]).frames.map(({ library }) => library)).toEqual([
    "libx.so",
    "libx.so",
    undefined,
    "[vdso]",
  ]);
});

test("generated code has the names that its program claims, marked as claims", () => {
  const map = parsePerfMap("7f10000 40 LazyCompile:~handle server.js:3\n");
  const names = { ...NOTHING, perfMaps: new Map([[7, map]]) };
  const frames = [
    { ip: "7f10020", symbol: undefined, dso: "/tmp/perf-7.map" },
    { ip: "7f10050", symbol: undefined, dso: "//anon" },
    { ip: "7f10020", symbol: "from_our_own_tmp", dso: "/tmp/perf-7.map" },
  ];
  const folded = fold([{ pid: 7, event: "page-faults", period: 1, frames }], names, [7]);
  expect(folded.frames).toEqual([
    { function: "LazyCompile:~handle server.js:3", claimed: true },
    {},
    { function: "from_our_own_tmp", claimed: true },
  ]);
});

test("lost samples are read from perf's warning", () => {
  expect(lostSamples("Warning:\nProcessed 171 samples and lost 26.90%!\n")).toBe(46);
  expect(lostSamples("Processed 148 events and lost 1 chunks!")).toBe(0);
  expect(lostSamples("")).toBe(0);
});

test("no text makes the parser or the folder fail, and no frame ever holds an address", () => {
  const line = fc.oneof(
    fc.string({ unit: "binary", maxLength: 120 }),
    fc
      .tuple(fc.nat(3), fc.nat(99), fc.constantFrom("page-faults", "cpu-clock", "x"))
      .map(([pid, period, event]) => `${pid}/${pid} ${period} ${event}/period=${period}/: `),
    fc
      .tuple(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.string(),
        fc.constantFrom("/lib/a.so", "[heap]", "//anon", "[unknown]", "/a (b"),
      )
      .map(([ip, symbol, dso]) => `\t ${ip.toString(16)} ${symbol} (${dso})`),
    fc.constant(""),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
      const { samples } = parse(lines.join("\n"));
      const folded = fold(samples, NOTHING, [0, 1, 2, 3]);
      const sound = folded.frames.every(
        (frame) => (frame.offset ?? 0) < 2 ** 34 && (frame.plumbing === true) === isPlumbing(frame),
      );
      return sound && folded.samples === samples.length;
    }),
    { numRuns: 300 },
  );
});
