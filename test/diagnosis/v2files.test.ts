/**
 * cgroup v2 as its files say it: texts in the kernel's own format, read by the collector's own reader, judged from its readings. The numbers follow recordings on
 * Linux 6.1 (an allocator of 3 MiB/s at memory.high = 60 MiB: 0.07 MiB/s are left, pressure 30 to 63 %, high counts 12 a second).
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sample } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { readCgroup } from "../../src/collector/cgroup.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { MIB, stream } from "./samples.ts";

/** What one moment looks like; sizes in MiB. */
interface Moment {
  readonly anon: number;
  readonly file?: number;
  readonly shmem?: number;
  readonly sock?: number;
  readonly slab?: number;
  /** Undefined: the kernel accounts no swap, and has no such files. */
  readonly swap?: number;
  readonly events?: Readonly<Record<string, number>>;
  readonly refaultAnon?: number;
  /** Seconds lost, some and full. Undefined: no PSI. */
  readonly stalled?: readonly [number, number];
}

interface Cgroup {
  readonly max: string;
  readonly high?: string;
  readonly swapMax?: string;
  /** Without the sum that came with Linux 5.18. */
  readonly old?: true;
  readonly at: (seconds: number) => Moment;
}

let folder = "";
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "oomscope-v2-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bytes = (mib: number): number => Math.round(mib * MIB);

function statText(
  { anon, file = 6, shmem = 0, sock = 0, slab = 1.5, refaultAnon = 0 }: Moment,
  old: true | undefined,
): string {
  const tables = anon / 512;
  const rows: readonly (readonly [string, number])[] = [
    ["anon", bytes(anon)],
    ["file", bytes(file + shmem)],
    ...(old === true ? [] : [["kernel", bytes(slab + tables + 0.3)] as const]),
    ["kernel_stack", 98_304],
    ["pagetables", bytes(tables)],
    ...(old === true ? [] : [["sec_pagetables", 0] as const]),
    ["percpu", 2_160],
    ["sock", bytes(sock)],
    ["vmalloc", 0],
    ["shmem", bytes(shmem)],
    ["zswap", 0],
    ["zswapped", 0],
    ["file_mapped", bytes(file / 2)],
    ["file_dirty", 0],
    ["file_writeback", 0],
    ["swapcached", 0],
    ["anon_thp", 0],
    ["file_thp", 0],
    ["shmem_thp", 0],
    ["inactive_anon", bytes(anon + shmem)],
    ["active_anon", 16_384],
    ["inactive_file", bytes(file / 2)],
    ["active_file", bytes(file / 2)],
    ["unevictable", 0],
    ["slab_reclaimable", bytes(slab / 2)],
    ["slab_unreclaimable", bytes(slab / 2)],
    ["slab", bytes(slab)],
    ["workingset_refault_anon", refaultAnon],
    ["workingset_refault_file", 0],
    ["workingset_activate_anon", 0],
    ["pgfault", 40_000 + Math.round(256 * anon)],
    ["pgmajfault", refaultAnon],
    ["pgrefill", 0],
    ["pgscan", 0],
    ["pgsteal", 0],
    ["thp_fault_alloc", 0],
    ["thp_collapse_alloc", 0],
  ];
  return `${rows.map(([name, value]) => `${name} ${value}`).join("\n")}\n`;
}

function eventsText(events: Readonly<Record<string, number>>): string {
  const keys = ["low", "high", "max", "oom", "oom_kill", "oom_group_kill"];
  return `${keys.map((key) => `${key} ${events[key] ?? 0}`).join("\n")}\n`;
}

function pressureText([some, full]: readonly [number, number]): string {
  const of = (name: string, seconds: number): string =>
    `${name} avg10=31.20 avg60=30.14 avg300=11.90 total=${Math.round(1e6 * seconds)}`;
  return `${of("some", some)}\n${of("full", full)}\n`;
}

async function findingOf(name: string, cgroup: Cgroup, count = 26, interval = 14): Promise<Finding> {
  const directory = join(folder, name);
  mkdirSync(directory);
  const samples: Sample[] = [];
  const written = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const seconds = index * interval;
    const moment = cgroup.at(seconds);
    const { anon, file = 6, shmem = 0, sock = 0, slab = 1.5, swap, events = {}, stalled } = moment;
    const files: Readonly<Record<string, string | undefined>> = {
      "memory.current": `${bytes(anon + file + shmem + sock + slab + anon / 512 + 0.3)}\n`,
      "memory.max": `${cgroup.max}\n`,
      "memory.high": `${cgroup.high ?? "max"}\n`,
      "memory.oom.group": "1\n",
      "memory.stat": statText(moment, cgroup.old),
      "memory.events": eventsText(events),
      "memory.events.local": eventsText(events),
      "memory.swap.current": swap === undefined ? undefined : `${bytes(swap)}\n`,
      "memory.swap.max": swap === undefined ? undefined : `${cgroup.swapMax ?? "max"}\n`,
      "memory.swap.events": swap === undefined ? undefined : `high 0\nmax ${events["swapMax"] ?? 0}\nfail 0\n`,
      "memory.pressure": stalled === undefined ? undefined : pressureText(stalled),
    };
    for (const [file, text] of Object.entries(files)) {
      if (text !== undefined && written.get(file) !== text) writeFileSync(join(directory, file), text);
      if (text !== undefined) written.set(file, text);
    }
    const reading = await readCgroup(directory, "/kubepods.slice/kubepods-burstable.slice/app.scope", 2);
    if (reading === undefined) throw new Error("the reader finds no cgroup");
    const own = {
      VmRSS: bytes(anon + 3),
      RssAnon: bytes(anon),
      RssFile: bytes(3),
      RssShmem: 0,
      VmPTE: bytes(anon / 512),
    };
    samples.push({
      index,
      time: new Date(seconds * 1000).toISOString(),
      elapsedMs: seconds * 1000,
      node: { meminfo: { MemTotal: bytes(8192), MemAvailable: bytes(4096) }, vmstat: {} },
      pods: [
        {
          uid: "pod-1",
          containers: [
            {
              id: "c1",
              name: "app",
              cgroup: reading,
              processes: [
                {
                  pid: 31,
                  startTicks: 5000,
                  ppid: 1,
                  comm: "app",
                  threads: 4,
                  status: { ...own, VmSwap: bytes(swap ?? 0) },
                  rollupSkipped: "NotDue",
                },
              ],
            },
          ],
        },
      ],
    });
  }
  const finding = diagnose(await record(stream(samples)));
  expect(Finding.parse(finding)).toEqual(finding);
  return finding;
}

describe("memory.high", () => {
  /** 3 MiB/s up to 60 MiB, and what is left of it from then on. */
  const held =
    (stall: boolean) =>
    (seconds: number): Moment => {
      const over = Math.max(0, seconds - 20);
      return {
        anon: Math.min(3 * seconds, 51) + 0.07 * over,
        swap: 0,
        events: { high: Math.round(12 * over) },
        ...(stall ? { stalled: [0.5 * over, 0.45 * over] as const } : {}),
      };
    };

  test("holds an allocator back: that is told, with the rate before, and is no leak of 0.07 MiB/s", async () => {
    const finding = await findingOf("high", { max: String(300 * MIB), high: String(60 * MIB), at: held(true) }, 40, 4);
    expect(finding.verdict).toBe("ThrottledAtMemoryHigh");
    expect(finding.summary).toMatch(/held at its memory\.high of 60\.0 MiB and waits for memory \d\d % of the time/);
    expect(finding.summary).toMatch(/Before that it took 3\.\d MiB\/s/);
  });

  test("is found without PSI as well, and is less sure then", async () => {
    const finding = await findingOf(
      "no-psi",
      { max: String(300 * MIB), high: String(60 * MIB), at: held(false) },
      40,
      4,
    );
    expect(finding.verdict).toBe("ThrottledAtMemoryHigh");
    expect(finding.confidencePercent).toBeLessThan(90);
    expect(finding.limits?.join(" ")).toContain("memory.pressure could not be read");
  });

  test("that is far away is nothing", async () => {
    const finding = await findingOf("far", {
      max: String(300 * MIB),
      high: String(280 * MIB),
      at: () => ({ anon: 50, swap: 0, stalled: [0, 0] }),
    });
    expect(finding.verdict).toBe("BoundedSteady");
  });
});

describe("swap", () => {
  test("that takes what a leak takes shows the leak, although anon stands still and even falls", async () => {
    const finding = await findingOf("into-swap", {
      max: String(64 * MIB),
      at: (t) => ({
        anon: t < 100 ? 20 + 0.4 * t : 52 + 4 * Math.sin(t),
        swap: t < 100 ? 0 : 0.4 * (t - 100) + 8 - 4 * Math.sin(t),
        events: { max: t < 100 ? 0 : Math.round(9 * (t - 100)) },
      }),
    });
    expect(finding).toMatchObject({ verdict: "AnonHeapLeak", subKind: "HiddenBySwap" });
    expect(finding.growth?.series).toBe("anon + swap");
  });

  test("that is forbidden (memory.swap.max = 0) leaves a plain leak with its time", async () => {
    const finding = await findingOf("no-swap", {
      max: String(256 * MIB),
      swapMax: "0",
      at: (t) => ({ anon: 30 + 0.4 * t, swap: 0 }),
    });
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.subKind).toBeUndefined();
    // 256 - (30 + 0.4 * 355 + 2) = 82 MiB at 0.4 MiB/s.
    expect(finding.timeToOOMSeconds?.mid).toBeGreaterThan(150);
    expect(finding.timeToOOMSeconds?.mid).toBeLessThan(230);
    expect(finding.limits?.join(" ")).not.toContain("does not account swap");
  });

  test("that took cold pages once is no leak", async () => {
    const finding = await findingOf("cold", {
      max: String(64 * MIB),
      at: (t) => ({ anon: t < 10 ? 58 : 42, swap: t < 10 ? 0 : 16, events: { max: 40 } }),
    });
    expect(["SwapColdPages", "BoundedSteady"]).toContain(finding.verdict);
  });

  test("that an old kernel does not account (no such files, no sum of kernel memory) is told as unseen", async () => {
    const finding = await findingOf("old", {
      max: String(256 * MIB),
      old: true,
      at: (t) => ({ anon: 30 + 0.4 * t }),
    });
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.limits?.join(" ")).toContain("The kernel does not account swap to this container");
    expect(finding.growthByKind?.find(({ kind }) => kind === "kernel")?.trend).toBe("Flat");
  });
});

describe("what v2 charges by name", () => {
  test.each([
    ["socket buffers", { sock: 0.4 }, "SocketBuffers"],
    ["slab that cannot be taken back", { slab: 0.4 }, undefined],
  ] as const)("%s are kernel memory", async (_, rates, subKind) => {
    const finding = await findingOf(`kind-${Object.keys(rates)[0]}`, {
      max: String(512 * MIB),
      at: (t) => ({
        anon: 40,
        swap: 0,
        ...Object.fromEntries(Object.entries(rates).map(([kind, rate]) => [kind, 2 + rate * t])),
      }),
    });
    expect(finding.verdict).toBe("KernelMemoryGrowth");
    if (subKind !== undefined) expect(finding.subKind).toBe(subKind);
  });
});
