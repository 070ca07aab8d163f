/** Did it become better? Two recordings of a service, before and after, through the same reading of packs as the operator's. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { PACK_SCHEMA, type Manifest } from "../../src/api/collection.ts";
import type { Profile, ProfileFrame } from "../../src/api/profile.ts";
import { ValidationCheck, type ComparisonQuestion } from "../../src/api/validation.ts";
import { diagnosePack } from "../../src/cli/diagnosepack.ts";
import { comparePacks } from "../../src/controller/readpack.ts";
import { compare, JUDGED } from "../../src/validation/compare.ts";
import { measure, type Measured, type MeasuredPack } from "../../src/validation/measured.ts";
import { CASES } from "../corpus/cases.ts";
import { packOf, textOf } from "../corpus/packs.ts";
import { MIB, samplesOf, stream, type ContainerPlan, type Curve, type NodePlan } from "../diagnosis/samples.ts";

const QUESTION: ComparisonQuestion = {
  before: "first",
  after: "second",
  container: "thumbnail",
  series: "anon + swap",
  culprit: { library: "libimgdecode.so", function: "allocate_decode_buffer" },
};
const BUFFER: ProfileFrame = { function: "allocate_decode_buffer", library: "libimgdecode.so" };
const SERVE: ProfileFrame = { function: "serve", library: "thumbnail-svc" };

interface Run {
  /** MiB of anonymous memory of each pod. */
  readonly anon: Curve;
  /** Seconds in user mode so far; 0.2 of a CPU unless given. */
  readonly busy?: Curve | undefined;
  readonly pods?: number;
  readonly limit?: number | undefined;
  readonly node?: NodePlan;
  readonly count?: number;
  readonly profiles?: readonly Profile[];
  readonly preserved?: boolean;
  readonly beside?: readonly ContainerPlan[];
  readonly wanted?: number | undefined;
  readonly skipped?: Manifest["skipped"];
}

const LIMIT = 512 * MIB;
const steady: Curve = () => 60;
const leaking: Curve = (t) => 30 + t;
const fifth: Curve = (t) => 3 + 0.2 * t;

function pack(run: Run): MeasuredPack {
  const numbers = Array.from({ length: run.pods ?? 2 }, (_, i) => i + 1);
  const busy = "busy" in run ? run.busy : fifth;
  const containers = numbers.map((n): ContainerPlan => ({
    pod: `pod-${n}`,
    id: `c${n}`,
    limit: "limit" in run ? run.limit : LIMIT,
    processes: [{ pid: 4710 + n, anon: run.anon, ...(busy === undefined ? {} : { busy }) }],
  }));
  const wanted = "wanted" in run ? run.wanted : LIMIT;
  const role = run.preserved === true ? "Preserved" : "Serving";
  const plan: Manifest["plan"] = {
    schema: PACK_SCHEMA,
    collection: "c",
    purpose: "Validate",
    investigation: { namespace: "media", name: "i", uid: "u" },
    node: "n1",
    pods: numbers.map((n) => ({
      namespace: "media",
      name: `p-${n}`,
      uid: `pod-${n}`,
      role,
      containers: [{ name: "thumbnail", id: `c${n}`, ...(wanted === undefined ? {} : { limitBytes: wanted }) }],
    })),
    intervalMs: 5000,
    durationMs: 300_000,
    stallBudgetMs: 1000,
  };
  const manifest: Manifest = {
    schema: PACK_SCHEMA,
    collection: "c",
    tool: { name: "oomscope", version: "test" },
    started: "",
    finished: "",
    plan,
    samples: 60,
    samplesExpected: 60,
    outcome: "Complete",
    parts: [],
    skipped: [...(run.skipped ?? [])],
    cost: { stallMs: 0, cpuMs: 0, peakRssBytes: 0 },
  };
  return {
    manifest,
    host: undefined,
    samples: () =>
      stream(samplesOf([...containers, ...(run.beside ?? [])], { count: run.count ?? 60, node: run.node ?? {} })),
    async *profiles() {
      for (const [index, profile] of (run.profiles ?? []).entries()) yield { index, profile };
    },
  };
}

/** A growth profile of the first pod; of each hundred faults `share` are in the function at fault. */
function profile(faults: number, share: number, over: Partial<Profile> = {}): Profile {
  const inside = Math.round((faults * share) / 100);
  const stacks = [
    { frames: [1, 0], weight: inside, samples: inside },
    { frames: [1], weight: faults - inside, samples: faults - inside },
  ].filter(({ weight }) => weight > 0);
  return {
    kind: "Growth",
    event: "page-faults",
    unit: "faults",
    period: 1,
    unwinding: "dwarf",
    started: "",
    durationMs: 20_000,
    podUid: "pod-1",
    containerId: "c1",
    samples: faults,
    lost: 0,
    unsymbolised: 0,
    samplesOmitted: 0,
    truncated: false,
    frames: [BUFFER, SERVE],
    processes: [{ pid: 4711, startTicks: 100, comm: "thumbnail-svc", samples: faults, weight: faults, stacks }],
    efficiency: { anonPages: Math.round(faults * 0.98), faults, ratio: 0.98, belief: "Trusted" },
    notes: [],
    ...over,
  };
}

const churn = (faults: number): Profile =>
  profile(faults, 95, { efficiency: { anonPages: 30, faults, ratio: 0.01, belief: "Churn" } });

const BAD: Run = { anon: leaking, profiles: [profile(6000, 95)] };
const MENDED: Run = { anon: steady, profiles: [profile(40, 10)] };

async function measured(run: Run, question = QUESTION): Promise<Measured> {
  return measure(pack(run), question);
}

async function checks(
  before: Run | undefined,
  after: Run,
  question = QUESTION,
): Promise<Readonly<Record<string, ValidationCheck>>> {
  const was = before === undefined ? undefined : await measured(before, question);
  const found = compare(was, await measured(after, question), question);
  // Whatever it says, status takes it.
  return Object.fromEntries(found.map((check) => [check.name, ValidationCheck.parse(check)]));
}

const of = async (name: string, before: Run | undefined, after: Run, question = QUESTION) =>
  (await checks(before, after, question))[name];

test("a mended leak passes everything, with numbers", async () => {
  expect(await checks(BAD, MENDED)).toMatchObject({
    MemoryGrowth: {
      result: "Pass",
      required: true,
      // A mebibyte each second at a fifth of a CPU.
      before: 5 * MIB,
      after: 0,
      unit: "bytes per second of CPU time",
    },
    GrowthProfile: { result: "Pass", required: true, before: 279, after: 0, unit: "pages per second" },
    NodeMemAvailable: { result: "Pass", required: false, before: 0, after: 0 },
    MemoryLimit: { result: "Pass", required: false, before: LIMIT, after: LIMIT, unit: "bytes" },
  });
});

test("a leak that goes on fails, whatever is asked of it meanwhile", async () => {
  const same = await checks(BAD, BAD);
  expect([same["MemoryGrowth"]?.result, same["GrowthProfile"]?.result]).toEqual(["Fail", "Fail"]);
  const twice: Run = { anon: (t) => 30 + 2 * t, busy: (t) => 0.4 * t };
  expect(await of("MemoryGrowth", BAD, twice)).toMatchObject({ result: "Fail", before: 5 * MIB, after: 5 * MIB });
});

describe("too little load", () => {
  test.each<[string, Run["busy"]]>([
    ["an idle service", () => 3],
    ["less than half of the load", (t) => 0.09 * t],
    ["a load that nobody has read", undefined],
  ])("%s that stands still proves nothing", async (_, busy) => {
    const idle = await checks(BAD, { ...MENDED, busy });
    for (const name of ["MemoryGrowth", "GrowthProfile", "NodeMemAvailable"])
      expect(idle[name]?.result, name).toBe("Unknown");
  });

  test("half of the load is enough", async () => {
    expect((await of("MemoryGrowth", BAD, { ...MENDED, busy: (t) => 0.11 * t }))?.result).toBe("Pass");
  });

  test("a leak that shows is a leak under half of the load too", async () => {
    const half: Run = { anon: (t) => 30 + 0.4 * t, busy: (t) => 0.08 * t };
    expect(await of("MemoryGrowth", BAD, half)).toMatchObject({ result: "Fail", after: 5 * MIB });
  });

  test.each<[string, Curve]>([
    ["nothing", () => 3],
    ["a tenth of a second in five minutes", (t) => t / 3000],
  ])("%s was asked of it before either: an idle leak cannot be normalised", async (_, busy) => {
    expect((await of("MemoryGrowth", { ...BAD, busy }, { ...MENDED, busy }))?.result).toBe("Unknown");
  });

  test("of one pod is not known: then that of all is not", async () => {
    const beside: ContainerPlan = { pod: "pod-9", id: "c9", limit: LIMIT, processes: [{ pid: 9, anon: steady }] };
    expect((await of("MemoryGrowth", BAD, { ...MENDED, beside: [beside] }))?.result).toBe("Unknown");
  });
});

describe("growth", () => {
  test("at a small part of the former rate is neither: watch longer", async () => {
    const slow: Run = { anon: (t) => 60 + 0.08 * t, count: 120 };
    expect(await of("MemoryGrowth", BAD, slow)).toMatchObject({ result: "Unknown", detail: /8 % of the former rate/ });
  });

  test("of a warm-up that has not ended is Unknown", async () => {
    const warm: Run = { anon: (t) => 30 + 60 * (1 - Math.exp(-t / 120)) };
    expect((await of("MemoryGrowth", BAD, warm))?.result).toBe("Unknown");
  });

  test("is Unknown where the window is too short to see the former rate", async () => {
    const crawl: Run = { anon: (t) => 30 + 0.03 * t, count: 600 };
    expect(await of("MemoryGrowth", crawl, MENDED)).toMatchObject({
      result: "Unknown",
      detail: /a longer window is needed/,
    });
  });

  test("is Unknown after a few samples", async () => {
    expect((await of("MemoryGrowth", BAD, { ...MENDED, count: 10 }))?.result).toBe("Unknown");
  });

  test("without the first recording never passes and never fails", async () => {
    expect((await of("MemoryGrowth", undefined, MENDED))?.result).toBe("Unknown");
    expect(await of("MemoryGrowth", undefined, BAD)).not.toHaveProperty("before");
    expect((await of("MemoryGrowth", undefined, BAD))?.result).toBe("Unknown");
  });

  test("in one pod of three is growth", async () => {
    const one: ContainerPlan = {
      pod: "pod-9",
      id: "c9",
      limit: LIMIT,
      processes: [{ pid: 9, anon: leaking, busy: fifth }],
    };
    expect((await of("MemoryGrowth", BAD, { ...MENDED, beside: [one] }))?.result).toBe("Fail");
  });

  test("of a sidecar is another matter, and so is a pod that is kept", async () => {
    const sidecar: ContainerPlan = {
      pod: "pod-1",
      id: "s",
      name: "proxy",
      processes: [{ pid: 9, anon: leaking, busy: fifth }],
    };
    expect((await of("MemoryGrowth", BAD, { ...MENDED, beside: [sidecar] }))?.result).toBe("Pass");
    expect((await of("MemoryGrowth", { ...BAD, preserved: true }, MENDED))?.result).toBe("Unknown");
  });

  test("is never that of the pod's sandbox, which the plan does not name and which has neither a limit nor work to do", async () => {
    const sandbox: ContainerPlan = {
      pod: "pod-1",
      id: "a0",
      name: undefined,
      processes: [{ pid: 9, comm: "pause", anon: () => 0.2, busy: () => 0 }],
    };
    const now = { ...MENDED, pods: 1, beside: [sandbox] };
    expect((await of("MemoryGrowth", BAD, now))?.result).toBe("Pass");
    expect((await of("MemoryLimit", BAD, now))?.result).toBe("Pass");
  });

  test("is read from the life that was watched longest, and its load with it", async () => {
    const lives = (anon: Curve): ContainerPlan[] => [
      {
        pod: "pod-1",
        id: "c1",
        limit: LIMIT,
        until: 60,
        processes: [{ pid: 1, anon: steady, busy: fifth, until: 60 }],
      },
      {
        pod: "pod-1",
        id: "c2",
        limit: LIMIT,
        from: 60,
        processes: [{ pid: 2, anon: (t, i) => anon(t - 60, i), busy: (t) => 0.2 * (t - 60), from: 60 }],
      },
    ];
    const run = (anon: Curve): Run => ({ anon: steady, pods: 0, beside: lives(anon) });
    expect(await of("MemoryGrowth", run(leaking), MENDED)).toMatchObject({ result: "Pass", before: 5 * MIB });
    expect((await of("MemoryGrowth", BAD, run(leaking)))?.result).toBe("Fail");
  });

  test("is looked for in the kind of memory that grew", async () => {
    const shared = { ...QUESTION, series: "shmem" };
    const beside = (curve: Curve): ContainerPlan[] => [
      {
        pod: "pod-5",
        id: "c5",
        limit: LIMIT,
        kinds: { shmem: curve },
        processes: [{ pid: 5, anon: steady, busy: fifth }],
      },
    ];
    const filling: Run = { anon: steady, pods: 0, beside: beside(leaking) };
    expect((await of("MemoryGrowth", filling, { ...filling, beside: beside(steady) }, shared))?.result).toBe("Pass");
    expect((await of("MemoryGrowth", filling, filling, shared))?.result).toBe("Fail");
  });

  test("of no pod at all says so", async () => {
    expect(await of("MemoryGrowth", BAD, { anon: steady, pods: 0 })).toMatchObject({
      result: "Unknown",
      detail: /No new pod/,
    });
  });
});

describe("the growth profile", () => {
  const after = (profiles: readonly Profile[], over: Partial<Run> = {}) =>
    of("GrowthProfile", BAD, { ...MENDED, profiles, ...over });

  test("counts pages that stay: buffers that come and go are no growth", async () => {
    expect(await after([churn(6000)])).toMatchObject({ result: "Pass", before: 279, after: 1 });
  });

  test.each([
    ["nothing", 100, "Fail"],
    ["a third", 66, "Fail"],
    ["nine tenths", 10, "Unknown"],
    ["more than 95 %", 4, "Pass"],
  ] as const)("that is down by %s", async (_, left, result) => {
    expect((await after([profile(60 * left, 95)]))?.result).toBe(result);
  });

  test("is normalised by the load", async () => {
    const half: Run["busy"] = (t) => 0.1 * t;
    expect((await after([profile(2900, 95)], { busy: half }))?.result).toBe("Fail");
    expect((await after([profile(2900, 95)]))?.result).toBe("Unknown");
  });

  test("of another container says nothing of this one", async () => {
    const sidecar: ContainerPlan = { pod: "pod-1", id: "s", name: "proxy", processes: [{ pid: 9, anon: steady }] };
    const other = profile(40, 0, { containerId: "s" });
    expect((await after([other], { beside: [sidecar] }))?.result).toBe("Unknown");
  });

  test("that was not taken, with the collector's reason", async () => {
    const skipped = [{ what: "profile", reason: "NoPermission", detail: "perf may not run here" }];
    expect(await after([], { skipped })).toMatchObject({ result: "Unknown", detail: /perf may not run here/ });
  });

  test("whose samples were lost, or that was cut off, cannot pass", async () => {
    expect((await after([profile(40, 10, { lost: 30 })]))?.result).toBe("Unknown");
    expect((await after([profile(40, 10, { truncated: true })]))?.result).toBe("Unknown");
  });

  test("too short to have seen it at the former rate cannot pass", async () => {
    const few = { ...BAD, profiles: [profile(6000, 95, { durationMs: 20_000 })] };
    const glance = { ...MENDED, profiles: [profile(1, 0, { durationMs: 200 })] };
    expect(await of("GrowthProfile", few, glance)).toMatchObject({
      result: "Unknown",
      detail: new RegExp(`${JUDGED.leastSamples} are needed`),
    });
  });

  test("is not needed where the finding names nobody", async () => {
    const unnamed = { ...QUESTION, culprit: undefined };
    expect(await of("GrowthProfile", BAD, MENDED, unnamed)).toMatchObject({ result: "Unknown", required: false });
  });

  test("names are compared as the finding shows them", async () => {
    const hostile = { ...BUFFER, function: "decode\u202e;\n" };
    const shown = { ...QUESTION, culprit: { library: "libimgdecode.so", function: "decode\\u{202e};\\u{a}" } };
    const found = await measured({ ...BAD, profiles: [profile(6000, 95, { frames: [hostile, SERVE] })] }, shown);
    expect(found.place?.samples).toBe(5700);
  });
});

describe("the node", () => {
  const falling: NodePlan = { meminfo: { MemAvailable: (t) => 4096 - 2 * t } };

  test("fails it where the new pods take what is lost", async () => {
    const after: Run = { ...BAD, node: falling };
    expect(await of("NodeMemAvailable", BAD, after)).toMatchObject({ result: "Fail", before: 0, after: -2 * MIB });
  });

  test("fails nothing where others take it", async () => {
    expect((await of("NodeMemAvailable", BAD, { ...MENDED, node: falling }))?.result).toBe("Unknown");
  });
});

describe("the limit", () => {
  test.each<[string, number | undefined, number | undefined, string]>([
    ["as the pod asks", LIMIT, LIMIT, "Pass"],
    ["rounded down to whole pages", LIMIT, LIMIT + 1000, "Pass"],
    ["none, and none asked for", undefined, undefined, "Pass"],
    ["lower", LIMIT / 2, LIMIT, "Fail"],
    ["higher", LIMIT, LIMIT / 2, "Fail"],
    ["none, and one asked for", undefined, LIMIT, "Fail"],
    ["one, and none asked for", LIMIT, undefined, "Fail"],
  ])("%s", async (_, limit, wanted, result) => {
    expect((await of("MemoryLimit", BAD, { ...MENDED, limit, wanted }))?.result).toBe(result);
  });
});

describe("packs that were recorded on a real kernel", () => {
  const corpus = (name: string): string => {
    const one = CASES.find((each) => each.name === name);
    if (one === undefined) throw new Error(`no case ${name}`);
    return packOf(one);
  };
  const incident = (name: string): string => join(import.meta.dirname, "packs", `${name}.tar.zst`);

  /** The question that the operator would ask of the finding on the first pack. */
  async function answers(before: string, after: string): Promise<Readonly<Record<string, ValidationCheck>>> {
    const { growth, culprit } = (await diagnosePack(before)).finding;
    const place =
      culprit?.function === undefined ? undefined : { library: culprit.library, function: culprit.function };
    const question = { ...QUESTION, container: undefined, series: growth?.series, culprit: place };
    const found = await comparePacks(before, after, question);
    return Object.fromEntries(found.map((check) => [check.name, ValidationCheck.parse(check)]));
  }

  const results = async (after: string) => {
    const found = await answers(incident("leaky"), incident(after));
    return [found["MemoryGrowth"]?.result, found["GrowthProfile"]?.result];
  };

  test("the service of the incident with the mended library, under the same load, passes", async () => {
    const found = await answers(incident("leaky"), incident("mended"));
    expect(found["MemoryGrowth"]).toMatchObject({ result: "Pass", unit: "bytes per second of CPU time" });
    expect(found["GrowthProfile"]).toMatchObject({ result: "Pass", required: true });
    expect(found["MemoryGrowth"]?.before).toBeGreaterThan(50 * MIB);
    expect(found["GrowthProfile"]?.before).toBeGreaterThan(100);
    expect(found["GrowthProfile"]?.after).toBeLessThan(5);
  });

  test("with the mended library and nobody who uses it, nothing is proved", async () => {
    expect(await results("unused")).toEqual(["Unknown", "Unknown"]);
  });

  test("with the leaky library it fails, under the same load and under less", async () => {
    expect(await results("leaky")).toEqual(["Fail", "Fail"]);
    expect(await results("less-load")).toEqual(["Fail", "Fail"]);
    // For the same work it takes the same memory, as far as ticks of 10 ms can tell.
    const { before = 0, after = 0 } = (await answers(incident("leaky"), incident("less-load")))["MemoryGrowth"] ?? {};
    expect(after / before).toBeGreaterThan(0.6);
    expect(after / before).toBeLessThan(1.6);
  });

  test("the same leak twice fails, even under a load that was not recorded", async () => {
    const leak = corpus("leak-sessions");
    expect((await answers(leak, leak))["MemoryGrowth"]).toMatchObject({ result: "Fail", unit: "bytes per second" });
  });

  test("a leak and then an idle program is Unknown where the load was not recorded", async () => {
    const found = await answers(corpus("leak-sessions"), corpus("idle"));
    expect(found["MemoryGrowth"]).toMatchObject({ result: "Unknown", detail: /asked of the program/ });
  });

  test("they name nobody and nothing but the service", async () => {
    for (const name of ["leaky", "mended", "unused", "less-load"]) {
      const text = await textOf(incident(name));
      for (const foreign of ["kubepods", "system.slice", "/home/", "/root/", "/tmp/", "/var/", "/work"])
        expect(text.includes(foreign), `${foreign} in ${name}`).toBe(false);
      const paths = [...text.matchAll(/"path":"\/([^"/]+)/g)].map(([, first]) => first);
      expect(paths.filter((path) => !/^incident-\d+$/.test(path ?? ""))).toEqual([]);
    }
  });
});
