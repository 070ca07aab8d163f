/** Whose code a leak is laid to: by profiles that may be believed, with the kernel's word beside them, and to nobody otherwise. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Context, Manifest, OomReport } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { Profile, type ProfileFrame } from "../../src/api/profile.ts";
import { diagnosePack } from "../../src/cli/diagnosepack.ts";
import { leastOfGrowth } from "../../src/diagnosis/attribution.ts";
import type { Surroundings } from "../../src/diagnosis/case.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { readProfiles } from "../../src/diagnosis/profilereading.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { type ContainerPlan, samplesOf, stream } from "./samples.ts";

const SERVE: ProfileFrame = { function: "serve", library: "thumbnail-svc" };
const TILES: ProfileFrame = { function: "tiff_decode_tiles", library: "libimgdecode.so" };
const BUFFER: ProfileFrame = { function: "allocate_decode_buffer", library: "libimgdecode.so" };
const INFLATE: ProfileFrame = { function: "inflate", library: "libz.so.1" };
const MALLOC: ProfileFrame = { function: "malloc", library: "libc.so.6", plumbing: true };
const V8: ProfileFrame = { function: "v8::internal::Factory::NewFixedArray", library: "node" };

type Stack = readonly [weight: number, ...frames: ProfileFrame[]];
/** 95 of a hundred faults in the buffer, 5 elsewhere. */
const LEAK: readonly Stack[] = [
  [95, SERVE, TILES, BUFFER],
  [5, SERVE],
];

/** A growth profile of the process of the leak; stacks are outermost first, a weight is as many samples. */
function profile(stacks: readonly Stack[], over: Partial<Profile> = {}): Profile {
  const frames = stacks.flatMap(([, ...own]) => own);
  let at = 0;
  const made = stacks.map(([weight, ...own]) => ({ frames: own.map(() => at++), weight, samples: weight }));
  const samples = stacks.reduce((sum, [weight]) => sum + weight, 0);
  return Profile.parse({
    kind: "Growth",
    event: "page-faults",
    unit: "faults",
    period: 1,
    unwinding: "dwarf",
    started: "",
    durationMs: 20_000,
    podUid: "pod-1",
    containerId: "c1",
    samples,
    lost: 0,
    unsymbolised: 0,
    samplesOmitted: 0,
    truncated: false,
    frames,
    processes: [{ pid: 4711, startTicks: 100, comm: "thumbnail-svc", samples, weight: samples, stacks: made }],
    efficiency: { anonPages: 5900, faults: 6000, ratio: 0.98, belief: "Trusted" },
    notes: [],
    ...over,
  });
}

/** The same stacks, seen in another process. */
function of(base: Profile, process: Partial<Profile["processes"][number]>, over: Partial<Profile> = {}): Profile {
  return { ...base, processes: base.processes.map((each) => ({ ...each, ...process })), ...over };
}

function reportAt(userPlace: ProfileFrame, over: Partial<OomReport> = {}): OomReport {
  const base = { bootMs: 1, global: false, group: false, stat: {}, tasks: [], tasksOmitted: 0 };
  return { ...base, podUid: "pod-1", containerId: "c1", userPlace, ...over };
}

const pod = (letter: string, n: number, revision: string): Context["pods"][number] => ({
  name: `thumbnail-svc-${letter}`,
  uid: `pod-${n}`,
  role: "Serving",
  revision,
  containers: [{ name: "thumbnail", id: `c${n}` }],
});
const context: Context = {
  target: { kind: "Deployment", namespace: "media", name: "thumbnail-svc" },
  kills: [],
  revisions: [],
  pods: [pod("a", 1, "2"), pod("b", 2, "2"), pod("old", 3, "1")],
};

const leaking: ContainerPlan = { processes: [{ pid: 4711, anon: (t) => 30 + 1.2 * t }], limit: 2 ** 30 };

interface Given {
  readonly profiles?: readonly Profile[];
  readonly reports?: readonly OomReport[];
  readonly beside?: Surroundings;
  readonly count?: number;
}

async function findingOf({ profiles = [], reports = [], beside = { context }, count = 60 }: Given): Promise<Finding> {
  async function* parts() {
    for (const [index, each] of profiles.entries()) yield { index, profile: each };
  }
  const finding = diagnose(await record(stream(samplesOf([leaking], { count }))), {
    ...beside,
    profiles: await readProfiles(parts()),
    oomReports: { reports: [...reports], othersDropped: 0, notes: [] },
  });
  expect(Finding.parse(finding)).toEqual(finding);
  expect(finding.verdict).toBe("AnonHeapLeak");
  return finding;
}

const speaks = ({ evidence }: Finding): string[] => evidence.map(({ signal, value }) => `${signal} = ${value}`);
const against = ({ counterEvidence }: Finding): string[] =>
  counterEvidence.map(({ signal, value }) => `${signal} = ${value}`);
const told = ({ limits = [] }: Finding): string => limits.join("\n");

describe("a profile that may be believed", () => {
  test("names function and library, with share, samples, efficiency and part", async () => {
    const finding = await findingOf({ profiles: [profile(LEAK)] });
    expect(finding.culprit).toMatchObject({
      library: "libimgdecode.so",
      function: "allocate_decode_buffer",
      functionSource: "SymbolTable",
      process: { pid: 4711 },
    });
    expect(finding.evidence.filter(({ part }) => part === "profile-0000.json")).toEqual([
      {
        signal: "page faults in allocate_decode_buffer of libimgdecode.so, pid 4711",
        value: "95",
        unit: "%",
        threshold: ">= 70",
        part: "profile-0000.json",
      },
      {
        signal: "samples of page faults, pid 4711",
        value: "100",
        unit: "samples",
        threshold: ">= 30",
        part: "profile-0000.json",
      },
      {
        signal: "fault efficiency: pages that stayed / page faults",
        value: "98",
        unit: "%",
        threshold: "70 to 150",
        part: "profile-0000.json",
      },
    ]);
    expect(finding.summary).toContain(
      "It is made resident by allocate_decode_buffer of libimgdecode.so, called by tiff_decode_tiles: 95 % of the page faults.",
    );
    expect(told(finding)).toContain("who touches memory first");
  });

  test("alone makes the verdict no surer", async () => {
    const without = await findingOf({});
    expect(without.culprit?.function).toBeUndefined();
    expect((await findingOf({ profiles: [profile(LEAK)] })).confidencePercent).toBe(without.confidencePercent);
  });

  test("is part of what an approval is bound to", async () => {
    const ids = await Promise.all(
      [[], [profile(LEAK)], [profile([[100, SERVE, INFLATE]])]].map(async (p) => (await findingOf({ profiles: p })).id),
    );
    expect(new Set(ids).size).toBe(3);
  });

  test("names the library alone where its code has no names", async () => {
    const { culprit, summary } = await findingOf({
      profiles: [profile([[100, SERVE, { library: "libstripped.so", offset: 64 }, MALLOC]])],
    });
    expect(culprit?.library).toBe("libstripped.so");
    expect(culprit?.function).toBeUndefined();
    expect(summary).toContain("a place without a name in libstripped.so");
  });

  test("marks a name that the target claims", async () => {
    const claim: ProfileFrame = { function: "LazyCompile:*leak app.js:3", claimed: true };
    const finding = await findingOf({ profiles: [profile([[100, V8, claim, V8, MALLOC]])] });
    expect(finding.culprit).toMatchObject({ function: claim.function, functionSource: "ClaimedByTarget" });
    expect(finding.culprit?.library).toBeUndefined();
    expect(finding.summary).toContain("LazyCompile:*leak app.js:3 (claimed by the target)");
    expect(told(finding)).toContain("a claim, not a fact");
  });

  test("cannot bring control characters into the finding", async () => {
    const finding = await findingOf({
      profiles: [profile([[100, { function: "a\u001b[2J\nb", library: "lib\u202e.so" }]])],
    });
    // oxlint-disable-next-line no-control-regex
    expect(JSON.stringify(finding)).not.toMatch(/\\u001b|\\n|[\u0000-\u001f\u202e]/);
    expect(finding.culprit?.function).toBe("a\\u{1b}[2J\\u{a}b");
  });
});

test("a loss that cannot turn a majority round leaves the name, and speaks against it", async () => {
  const finding = await findingOf({ profiles: [profile(LEAK, { lost: 78 })] });
  expect(finding.culprit?.function).toBe("allocate_decode_buffer");
  expect(against(finding)).toContain("samples lost or of no known process = 44");
});

test.each([
  [100, 100, 100, 100],
  [70, 100, 70, 57],
  [95, 56, 98, 52],
  [95, 45, 98, 42],
  [80, 100, 140, 80],
  [0, 0, 0, 0],
])(
  "of %i %% of the faults with %i %% kept and an efficiency of %i %%, at least %i %% of the growth",
  (share, kept, efficiency, least) => {
    expect(leastOfGrowth(share, kept, efficiency)).toBe(least);
  },
);

describe("names nobody", () => {
  test.each<[string, Profile, RegExp]>([
    ["churn", profile(LEAK, { efficiency: { anonPages: 36, faults: 6000, belief: "Churn" } }), /memory comes and goes/],
    [
      "memory of which part only stays",
      profile(LEAK, { efficiency: { anonPages: 2400, faults: 6000, belief: "WhereTouched" } }),
      /where memory is touched, not who keeps it/,
    ],
    [
      "huge pages",
      profile(LEAK, { efficiency: { anonPages: 60_000, faults: 6000, belief: "HugePages" } }),
      /huge pages/,
    ],
    [
      "too few faults",
      profile(LEAK, { efficiency: { anonPages: 99, faults: 100, belief: "TooFew" } }),
      /too few page faults/,
    ],
    [
      "a pack that calls churn trusted",
      profile(LEAK, { efficiency: { anonPages: 36, faults: 6000, ratio: 1, belief: "Trusted" } }),
      /memory comes and goes/,
    ],
    ["an efficiency that nobody measured", profile(LEAK, { efficiency: undefined }), /too few page faults/],
    ["few samples", profile([[29, SERVE, BUFFER]]), /only 29 samples/],
    [
      "no clear majority",
      profile([
        [69, SERVE, BUFFER],
        [31, SERVE],
      ]),
      /no place has 70 %.*allocate_decode_buffer of libimgdecode\.so, has 69 %/,
    ],
    [
      "a majority of what was kept, while most was lost",
      profile(LEAK, { lost: 120 }),
      /55 % of the samples were lost.*may hold as little as 42 % of the growth/,
    ],
    [
      "a majority that losses and churn together could turn round",
      profile(
        [
          [75, SERVE, BUFFER],
          [25, SERVE],
        ],
        { lost: 30, efficiency: { anonPages: 4500, faults: 6000, belief: "Trusted" } },
      ),
      /23 % of the samples were lost.*as little as 44 %/,
    ],
    ["an allocator without its caller", profile([[100, MALLOC]]), /an allocator or libc, and no caller/],
    ["generated code without names", profile([[100, {}]]), /no name and no file/],
    [
      "frame pointers that lose the caller of libc",
      profile([[100, SERVE, BUFFER, MALLOC]], { unwinding: "fp" }),
      /frame pointers/,
    ],
  ])("%s", async (_, one, why) => {
    const finding = await findingOf({ profiles: [one] });
    expect(finding.culprit?.process?.pid).toBe(4711);
    expect(finding.culprit).not.toHaveProperty("function");
    expect(finding.culprit).not.toHaveProperty("library");
    expect(finding.summary).not.toContain("made resident");
    expect(told(finding)).toMatch(why);
    expect(told(finding)).toContain("profile-0000.json");
  });

  test("an efficiency that forbids it speaks against, with its number", async () => {
    const finding = await findingOf({
      profiles: [profile(LEAK, { efficiency: { anonPages: 36, faults: 6000, belief: "Churn" } })],
    });
    expect(against(finding)).toContain("fault efficiency: pages that stayed / page faults = 1");
  });

  test("a runtime is called by its name, and no function of it", async () => {
    const finding = await findingOf({ profiles: [profile([[100, V8, {}, V8, MALLOC]])] });
    expect(finding.culprit).not.toHaveProperty("function");
    expect(finding.summary).toContain("It is made resident inside the JavaScript runtime");
  });

  test("frame pointers are enough where the code itself is innermost", async () => {
    const finding = await findingOf({ profiles: [profile(LEAK, { unwinding: "fp" })] });
    expect(finding.culprit?.function).toBe("allocate_decode_buffer");
  });

  test("a profile that was not taken is told with its reason", async () => {
    const manifest: Manifest = {
      schema: 1,
      collection: "oomc-1",
      tool: { name: "oomscope", version: "0.0.0" },
      started: "",
      finished: "",
      plan: {
        schema: 1,
        collection: "oomc-1",
        purpose: "Diagnose",
        pods: [],
        intervalMs: 5000,
        durationMs: 300_000,
        stallBudgetMs: 100,
      },
      samples: 60,
      samplesExpected: 60,
      outcome: "Complete",
      parts: [],
      skipped: [{ what: "profile", reason: "Busy", detail: "another profile runs on this node" }],
      cost: { stallMs: 0, cpuMs: 0, peakRssBytes: 0 },
    };
    expect(told(await findingOf({ beside: { manifest } }))).toContain(
      "No profile: another profile runs on this node (Busy).",
    );
  });
});

describe("a profile of another process", () => {
  const sibling = (n: number, over: Partial<Profile["processes"][number]> = {}): Profile =>
    of(profile(LEAK), { pid: 20 + n, startTicks: 7, ...over }, { podUid: `pod-${n}`, containerId: `c${n}` });

  test("of a sibling counts, and is told as that", async () => {
    const finding = await findingOf({ profiles: [sibling(2)] });
    expect(finding.culprit).toMatchObject({ function: "allocate_decode_buffer", pod: "thumbnail-svc-a" });
    expect(finding.summary).toContain("(seen in a sibling, pod thumbnail-svc-b)");
    expect(speaks(finding)).toContain("page faults in allocate_decode_buffer of libimgdecode.so, sibling pid 22 = 95");
    expect(told(finding)).toContain("a sibling, pod thumbnail-svc-b, pid 22");
  });

  test("comes after that of the process itself", async () => {
    const own = profile([[100, SERVE, INFLATE]]);
    expect((await findingOf({ profiles: [sibling(2), own] })).culprit?.function).toBe("inflate");
  });

  test.each([
    ["of another revision", sibling(3)],
    ["of another name", sibling(2, { comm: "sidecar" })],
    ["in a container that nobody knows", { ...sibling(2), containerId: "c9" }],
    ["with the same pid but another start, by another name", of(profile(LEAK), { startTicks: 101, comm: "x" })],
  ])("%s names nobody", async (_, one) => {
    expect((await findingOf({ profiles: [one] })).culprit).not.toHaveProperty("function");
  });
});

describe("who is busy", () => {
  const busy = (...stacks: readonly Stack[]): Profile =>
    profile(stacks, { kind: "OnCpu", event: "cpu-clock", unit: "nanoseconds", efficiency: undefined });

  test("in the same library is context", async () => {
    const finding = await findingOf({ profiles: [busy([84, SERVE, TILES], [16, SERVE]), profile(LEAK)] });
    expect(speaks(finding)).toContain("time on a CPU in tiff_decode_tiles of libimgdecode.so, pid 4711 = 84");
  });

  test("elsewhere speaks against, and changes no name", async () => {
    const finding = await findingOf({ profiles: [busy([99, SERVE, INFLATE]), profile(LEAK)] });
    expect(finding.culprit?.function).toBe("allocate_decode_buffer");
    expect(against(finding)).toContain("time on a CPU in inflate of libz.so.1, pid 4711 = 100");
  });

  test("never names anybody", async () => {
    const finding = await findingOf({ profiles: [busy([99, SERVE, INFLATE])] });
    expect(finding.culprit).not.toHaveProperty("function");
    expect([...speaks(finding), ...against(finding)].join()).not.toContain("inflate");
  });
});

describe("where the kernel says the limit was hit", () => {
  const short = { profiles: [profile(LEAK)], count: 20, beside: {} };

  test("the same place corroborates, and makes a short trend ten points surer, not more", async () => {
    const { confidencePercent: alone } = await findingOf(short);
    const finding = await findingOf({ ...short, reports: [reportAt(BUFFER), reportAt(BUFFER, { bootMs: 2 })] });
    expect(finding.confidencePercent).toBe(alone + 10);
    expect(finding.evidence.find(({ signal }) => signal.startsWith("the limit was hit"))).toEqual({
      signal: "the limit was hit in allocate_decode_buffer of libimgdecode.so",
      value: "2",
      unit: "kills",
      threshold: "of 2",
      part: "oom-reports.json",
    });
  });

  test.each([
    ["another function", TILES],
    ["another library", INFLATE],
  ])("%s speaks against, and changes no name", async (_, place) => {
    const { confidencePercent: alone } = await findingOf(short);
    const finding = await findingOf({ ...short, reports: [reportAt(place)] });
    expect(finding.confidencePercent).toBe(alone);
    expect(finding.culprit?.function).toBe("allocate_decode_buffer");
    expect(against(finding).join()).toContain(`the limit was hit in ${place.function} of ${place.library} = 1`);
  });

  test("as often elsewhere as there makes nothing surer", async () => {
    const { confidencePercent: alone } = await findingOf(short);
    const finding = await findingOf({ ...short, reports: [reportAt(BUFFER), reportAt(INFLATE, { bootMs: 2 })] });
    expect(finding.confidencePercent).toBe(alone);
  });

  test("libc says nothing, nor does a report of another container", async () => {
    const names = {
      ...context,
      pods: context.pods.map((p) => ({ ...p, containers: [...p.containers, { name: "sidecar", id: "s1" }] })),
    };
    const reports = [
      reportAt(MALLOC),
      reportAt(INFLATE, { containerId: "s1" }),
      reportAt(INFLATE, { containerId: "gone" }),
    ];
    const finding = await findingOf({ ...short, beside: { context: names }, reports });
    expect([...speaks(finding), ...against(finding)].join()).not.toContain("the limit was hit");
  });

  test("alone it names nobody, but is told", async () => {
    const finding = await findingOf({ reports: [reportAt(BUFFER)] });
    expect(finding.culprit).not.toHaveProperty("function");
    expect(told(finding)).toContain(
      "By the kernel's report the limit was hit in allocate_decode_buffer of libimgdecode.so (1 of 1 kills): one sample each, no proof",
    );
  });
});

test("from the files of a pack: a profile that can be read names, one that cannot is told", async () => {
  const folder = await mkdtemp(join(tmpdir(), "oomscope-attribution-"));
  try {
    const readings = [...samplesOf([leaking], { count: 30 })].map((sample) => JSON.stringify(sample));
    await writeFile(join(folder, "readings-0000.ndjson"), `${readings.join("\n")}\n`);
    await writeFile(join(folder, "profile-0000.json"), "{}");
    await writeFile(join(folder, "profile-0001.json"), JSON.stringify(profile(LEAK)));
    const { finding } = await diagnosePack(folder);
    expect(finding.culprit?.function).toBe("allocate_decode_buffer");
    expect(finding.evidence.map(({ part }) => part)).toContain("profile-0001.json");
    expect(told(finding)).toContain("profile-0000.json cannot be used");
  } finally {
    await rm(folder, { recursive: true });
  }
});
