/**
 * One synthetic case for each verdict, and beside it the nearest look-alikes that must come out as something else. Each curve is what the kernel would show: the sums agree
 * with the parts.
 */
import type { OomReport } from "../../src/api/collection.ts";
import type { MappingClass, MappingSnapshot, Runtime } from "../../src/api/mappings.ts";
import type { Verdict } from "../../src/api/memoryinvestigation.ts";
import type { Surroundings } from "../../src/diagnosis/case.ts";
import { compareProcess } from "../../src/diagnosis/mappinggrowth.ts";
import { type ContainerPlan, type Curve, MIB, type NodePlan } from "./samples.ts";

export interface ClassCase {
  readonly name: string;
  readonly verdict: Verdict;
  readonly subKind?: string;
  readonly plan: readonly ContainerPlan[];
  readonly count?: number;
  readonly interval?: number;
  readonly node?: NodePlan;
  readonly surroundings?: Surroundings;
}

const line: Curve = (t) => 40 + 0.4 * t;
const still: Curve = () => 60;
const one = (anon: Curve, more: Partial<ContainerPlan> = {}): ContainerPlan[] => [
  { processes: [{ pid: 7, anon }], limit: 512 * MIB, ...more },
];

/** Two snapshots of pid 7, in which each class grew by so many MiB. */
export function mapped(grown: Partial<Record<MappingClass, number>>, runtimes: readonly Runtime[] = []): Surroundings {
  const at = (scale: number, index: number): MappingSnapshot => ({
    index,
    moment: index === 0 ? "Start" : "End",
    time: "",
    elapsedMs: index * 295_000,
    processes: [
      {
        pid: 7,
        startTicks: 100,
        comm: "thumbnail-svc",
        runtimes: [...runtimes],
        mappings: 9,
        totals: {},
        classes: Object.entries(grown).map(([kind, mib]) => ({
          class: kind as MappingClass,
          certainty: "Kernel",
          mappings: kind === "Arena" ? 8 : 3,
          sizes: { Anonymous: Math.round((10 + scale * mib) * MIB), Rss: Math.round((10 + scale * mib) * MIB) },
        })),
        names: [],
        unparsedLines: 0,
        readMs: 1,
        longestCallMs: 1,
      },
    ],
    skipped: [],
    processesOmitted: 0,
  });
  const [before, after] = [at(0, 0), at(1, 1)];
  const [was, is] = [before.processes[0], after.processes[0]];
  return was === undefined || is === undefined ? {} : { mappingGrowth: [compareProcess(was, before, is, after)] };
}

const killed = (more: Partial<OomReport>): Surroundings => ({
  oomReports: {
    reports: [
      { bootMs: 1, global: false, group: false, stat: {}, tasks: [], tasksOmitted: 0, podUid: "pod-1", ...more },
    ],
    othersDropped: 0,
    notes: [],
  },
});

/** Lives of one process each, in one cgroup, that end at `seconds` and leave a gap of one sample. */
const livesOf = (count: number, seconds: number, anon: (age: number) => number): ContainerPlan["processes"] =>
  Array.from({ length: count }, (_, n) => ({
    pid: 100 + n,
    startTicks: n + 1,
    from: n * seconds,
    until: (n + 1) * seconds - 1,
    anon: (t: number) => anon(t - n * seconds),
  }));

const tooth: Curve = (t) => 3 * (t % 30);
const wave: Curve = (t) => Math.round(40 + 30 * Math.sin(t / 25));
const stepsOf = (seconds: number, period: number): number => Math.floor(seconds / period);

export const CLASSES: readonly ClassCase[] = [
  { name: "a heap that rises", verdict: "AnonHeapLeak", plan: one(line) },
  {
    name: "a heap that rises while cache gives way",
    verdict: "AnonHeapLeak",
    subKind: "HiddenByCache",
    plan: one(line, { limit: 256 * MIB, kinds: { file: (t) => 210 - 0.4 * t } }),
  },
  {
    name: "a heap that goes to swap",
    verdict: "AnonHeapLeak",
    subKind: "HiddenBySwap",
    plan: [
      {
        limit: 256 * MIB,
        kinds: {
          anon: (t) => Math.min(100, 40 + 0.4 * t) - 0.05 * t,
          swap: (t) => Math.max(0, 0.4 * t - 60) + 0.05 * t,
        },
        processes: [{ pid: 7, anon: line }],
      },
    ],
  },
  {
    name: "a child that leaks",
    verdict: "AnonHeapLeak",
    subKind: "ChildProcess",
    plan: [
      {
        limit: 512 * MIB,
        processes: [
          { pid: 6, comm: "init", anon: () => 20 },
          { pid: 7, ppid: 6, comm: "worker", anon: line },
        ],
      },
    ],
  },
  {
    name: "direct maps that rise",
    verdict: "AnonHeapLeak",
    subKind: "MmapLeak",
    plan: one(line),
    surroundings: mapped({ Anonymous: 118, Heap: 0 }),
  },
  {
    name: "lives that rise to each kill",
    verdict: "AnonHeapLeak",
    subKind: "RestartSawtooth",
    plan: [
      {
        limit: 128 * MIB,
        processes: livesOf(6, 50, (age) => 20 + 2 * age) ?? [],
        events: { oom_kill: (t) => stepsOf(t, 50) },
      },
    ],
  },
  { name: "a staircase", verdict: "AnonHeapLeak", plan: one((t) => 40 + 20 * stepsOf(t, 60)) },
  {
    name: "JavaScript objects",
    verdict: "ManagedHeapGrowth",
    subKind: "V8",
    plan: one((t, i) => 60 + 0.3 * t + tooth(t, i)),
    surroundings: mapped({ V8Heap: 90 }, ["V8"]),
  },
  {
    name: "JavaScript buffers",
    verdict: "NativeLeakInManagedRuntime",
    subKind: "V8",
    plan: one(line),
    surroundings: mapped({ Anonymous: 110, V8Heap: 4 }, ["V8"]),
  },
  {
    name: "Python objects",
    verdict: "ManagedHeapGrowth",
    subKind: "CPython",
    plan: one(line),
    surroundings: mapped({ CPythonArena: 100 }, ["CPython"]),
  },
  {
    name: "threads that never end",
    verdict: "ThreadStackGrowth",
    plan: [{ limit: 512 * MIB, processes: [{ pid: 7, anon: (t) => 20 + 0.25 * t, threads: (t) => 5 + 2 * t }] }],
    surroundings: mapped({ ThreadStack: 74 }),
  },
  {
    name: "threads whose stacks are hardly touched",
    verdict: "ThreadStackGrowth",
    subKind: "KernelStacks",
    plan: [
      {
        limit: 512 * MIB,
        kinds: { kernel: (t) => 2 + t / 16 },
        stat: { kernel_stack: (t) => t / 16 },
        processes: [{ pid: 7, anon: (t) => 20 + 0.01 * t, threads: (t) => 5 + 4 * t }],
      },
    ],
  },
  {
    name: "tmpfs files",
    verdict: "ShmemGrowth",
    subKind: "Unmapped",
    plan: one(still, { kinds: { shmem: (t) => 0.4 * t } }),
  },
  {
    name: "a mapped memfd",
    verdict: "ShmemGrowth",
    subKind: "Mapped",
    plan: [
      {
        limit: 512 * MIB,
        kinds: { shmem: (t) => 0.4 * t },
        processes: [{ pid: 7, anon: still, shmem: (t) => 0.4 * t }],
      },
    ],
  },
  {
    name: "names that the kernel keeps",
    verdict: "KernelMemoryGrowth",
    subKind: "SlabReclaimable",
    plan: one(still, { kinds: { kernel: (t) => 2 + 0.4 * t }, stat: { slab_reclaimable: (t) => 0.38 * t } }),
  },
  {
    name: "sockets that nobody reads",
    verdict: "KernelMemoryGrowth",
    subKind: "SocketBuffers",
    plan: one(still, { kinds: { sock: (t) => 0.4 * t } }),
  },
  {
    name: "pipes that nobody reads",
    verdict: "KernelMemoryGrowth",
    subKind: "PipeBuffers",
    plan: [
      {
        limit: 512 * MIB,
        kinds: { kernel: (t) => 2 + 0.4 * t },
        processes: [{ pid: 7, anon: still, pipes: (t) => 10 + 2 * Math.floor(t / 5) }],
      },
    ],
  },
  {
    name: "page tables on cgroup v1",
    verdict: "KernelMemoryGrowth",
    subKind: "PageTables",
    plan: [
      {
        limit: 512 * MIB,
        version: 1,
        kinds: { kernel: (t) => 2 + 0.4 * t },
        processes: [{ pid: 7, anon: still, tables: (t) => 1 + 0.4 * t }],
      },
    ],
  },
  {
    name: "sockets on cgroup v1, which charges them to nobody",
    verdict: "KernelMemoryGrowth",
    subKind: "SocketBuffers",
    plan: [
      { limit: 512 * MIB, version: 1, processes: [{ pid: 7, anon: still, sockets: (t) => 10 + Math.floor(t / 10) }] },
    ],
    node: { tcp: (t) => 900 + 200 * t },
  },
  {
    name: "a file that is read",
    verdict: "PageCacheGrowth",
    plan: one(still, { kinds: { file: (t) => 10 + 0.5 * t } }),
  },
  {
    name: "a mapped file that is read",
    verdict: "PageCacheGrowth",
    subKind: "MappedFile",
    plan: [
      {
        limit: 512 * MIB,
        kinds: { file: (t) => 10 + 0.5 * t },
        stat: { file_mapped: (t) => 5 + 0.5 * t },
        processes: [{ pid: 7, anon: still, file: (t) => 5 + 0.5 * t, dirtyFile: () => 0 }],
      },
    ],
  },
  {
    name: "a mapped file that is written",
    verdict: "MappedDirtyFile",
    plan: [
      {
        limit: 512 * MIB,
        kinds: { file: (t) => 10 + 0.5 * t },
        stat: { file_mapped: (t) => 5 + 0.5 * t },
        processes: [{ pid: 7, anon: still, file: (t) => 5 + 0.5 * t, dirtyFile: (t) => 0.4 * t }],
      },
    ],
  },
  {
    name: "six processes that share a heap",
    verdict: "SharedPageArtefact",
    plan: [
      {
        limit: 256 * MIB,
        processes: [1, 2, 3, 4, 5, 6].map((pid) => ({ pid, anon: () => 10, resident: () => 60, shared: () => 59 })),
      },
    ],
  },
  {
    name: "six workers that copy what they share",
    verdict: "CowUnsharing",
    plan: [
      {
        limit: 600 * MIB,
        processes: [1, 2, 3, 4, 5, 6].map((pid) => ({
          pid,
          ppid: 1,
          anon: (t: number) => 10 + 0.12 * t,
          resident: () => 60,
          shared: (t: number) => 59 - 0.14 * t,
        })),
      },
    ],
  },
  {
    name: "workers that copy, without any rollup",
    verdict: "CowUnsharing",
    plan: [
      {
        limit: 600 * MIB,
        kinds: { anon: (t) => 60 + 0.72 * t },
        processes: [1, 2, 3, 4, 5, 6].map((pid) => ({ pid, anon: () => 60, rollup: false })),
      },
    ],
  },
  {
    name: "a burst of which most has stayed",
    verdict: "AllocatorRetention",
    plan: one((_, i) => (i < 18 ? 40 : i < 22 ? 160 : 110)),
  },
  {
    name: "memory that stays when its connections have gone",
    verdict: "AllocatorRetention",
    plan: [
      {
        limit: 512 * MIB,
        processes: [
          {
            pid: 7,
            anon: (t) => 40 + 0.8 * Math.min(t, 100),
            sockets: (t) => Math.round(5 + Math.max(0, t <= 100 ? t : 200 - t)),
          },
        ],
      },
    ],
  },
  {
    name: "huge pages that filled what was mapped before",
    verdict: "ThpBloat",
    plan: [
      {
        limit: 512 * MIB,
        processes: [
          { pid: 7, anon: (t) => 30 + 1.5 * Math.min(t, 100), huge: (t) => 1.5 * Math.min(t, 100), size: () => 600 },
        ],
      },
    ],
  },
  { name: "one burst", verdict: "TransientSpike", plan: one((_, i) => (i >= 20 && i < 25 ? 200 : 60)) },
  { name: "one step", verdict: "StepChange", plan: one((_, i) => (i < 30 ? 60 : 140)) },
  {
    name: "memory that comes and goes with its connections",
    verdict: "LoadProportional",
    plan: [{ limit: 512 * MIB, processes: [{ pid: 7, anon: (t, i) => 40 + 1.2 * wave(t, i), sockets: wave }] }],
  },
  {
    name: "memory that rises with its connections",
    verdict: "LoadProportional",
    subKind: "RampUp",
    plan: [{ limit: 512 * MIB, processes: [{ pid: 7, anon: line, sockets: (t) => 10 + Math.floor(t) }] }],
  },
  { name: "a cache that is full", verdict: "WarmupPlateau", plan: one((t) => 40 + 0.8 * Math.min(t, 150)) },
  {
    name: "a cache that fills more and more slowly",
    verdict: "WarmupPlateau",
    subKind: "Decelerating",
    plan: one((t) => 40 + 120 * (1 - Math.exp(-t / 110))),
  },
  {
    name: "files that do not fit",
    verdict: "LimitTooLow",
    subKind: "Thrash",
    plan: [
      {
        limit: 256 * MIB,
        processes: [{ pid: 7, anon: still }],
        kinds: { file: () => 192 },
        counts: { workingset_refault_file: (t) => 4000 * t },
        events: { max: (t) => 30 * t },
        stalled: [(t) => 0.3 * t, (t) => 0.2 * t],
      },
    ],
  },
  {
    name: "a start that does not fit",
    verdict: "LimitTooLow",
    subKind: "OomLoop",
    plan: [
      {
        limit: 64 * MIB,
        processes: livesOf(20, 15, (age) => Math.min(62, 50 + 2 * age)) ?? [],
        events: { oom_kill: (t) => stepsOf(t, 15) },
      },
    ],
  },
  {
    name: "a flat heap at its limit that is killed",
    verdict: "LimitTooLow",
    subKind: "OomLoop",
    plan: [
      { limit: 128 * MIB, processes: [{ pid: 7, anon: () => 118 }], events: { oom_kill: (t) => (t > 100 ? 1 : 0) } },
    ],
  },
  {
    name: "an allocator that is held at memory.high",
    verdict: "ThrottledAtMemoryHigh",
    plan: [
      {
        limit: 300 * MIB,
        high: 60 * MIB,
        processes: [{ pid: 7, anon: (t) => Math.min(10 + 3 * t, 56 + 0.07 * t) }],
        events: { high: (t) => Math.max(0, 12 * (t - 15)) },
        stalled: [(t) => 0.5 * t, (t) => 0.45 * t],
      },
    ],
  },
  {
    name: "pages in swap that nobody misses",
    verdict: "SwapColdPages",
    plan: [
      {
        limit: 256 * MIB,
        kinds: { anon: (t) => 100 - Math.min(40, t), swap: (t) => Math.min(40, t) },
        processes: [{ pid: 7, anon: () => 60 }],
        counts: { workingset_refault_anon: () => 3 },
      },
    ],
    node: { swapIns: () => 100 },
  },
  {
    name: "killed because the machine had nothing left",
    verdict: "NodePressureVictim",
    subKind: "GlobalOom",
    plan: one(still),
    node: {
      meminfo: { MemAvailable: (t) => 4096 - 13 * t },
      top: { "system.slice": () => 400, "batch.slice": (t) => 500 + 13 * t },
    },
    surroundings: killed({ global: true, constraint: "CONSTRAINT_NONE" }),
  },
  {
    name: "killed by the limit of the pod",
    verdict: "NodePressureVictim",
    subKind: "AncestorLimit",
    plan: one(still),
    surroundings: killed({ oomMemcg: "/kubepods/pod", taskMemcg: "/kubepods/pod/c1", limitBytes: 512 * MIB }),
  },
  { name: "a level line", verdict: "BoundedSteady", plan: one(still) },
  { name: "a saw-tooth over a flat floor", verdict: "BoundedSteady", plan: one((t, i) => 60 + tooth(t, i)) },
];

/** The same shapes with the one signal changed that tells the two apart. */
export const LOOK_ALIKES: readonly (ClassCase & { readonly of: Verdict })[] = [
  {
    of: "ManagedHeapGrowth",
    name: "a saw-tooth of V8 over a flat floor",
    verdict: "BoundedSteady",
    plan: one((t, i) => 60 + tooth(t, i)),
    surroundings: mapped({ V8Heap: 20 }, ["V8"]),
  },
  {
    of: "NativeLeakInManagedRuntime",
    name: "the same growth in a process without a runtime",
    verdict: "AnonHeapLeak",
    plan: one(line),
    surroundings: mapped({ Heap: 110 }),
  },
  {
    of: "ThreadStackGrowth",
    name: "threads that rise, growth in the heap",
    verdict: "AnonHeapLeak",
    plan: [{ limit: 512 * MIB, processes: [{ pid: 7, anon: (t) => 20 + 0.25 * t, threads: (t) => 5 + 2 * t }] }],
    surroundings: mapped({ Heap: 74 }),
  },
  {
    of: "ShmemGrowth",
    name: "page cache by the same curve",
    verdict: "PageCacheGrowth",
    plan: one(still, { kinds: { file: (t) => 0.4 * t } }),
  },
  {
    of: "KernelMemoryGrowth",
    name: "a little kernel memory with much cache",
    verdict: "PageCacheGrowth",
    plan: one(still, { kinds: { file: (t) => 10 + 0.6 * t, kernel: (t) => 2 + 0.05 * t } }),
  },
  {
    of: "MappedDirtyFile",
    name: "dirty pages that are anonymous",
    verdict: "AnonHeapLeak",
    plan: one(line, { stat: { file_mapped: () => 5 } }),
  },
  {
    of: "SharedPageArtefact",
    name: "as many processes that share nothing",
    verdict: "BoundedSteady",
    plan: [
      { limit: 512 * MIB, processes: [1, 2, 3, 4, 5, 6].map((pid) => ({ pid, anon: () => 60, shared: () => 0 })) },
    ],
  },
  {
    of: "SharedPageArtefact",
    name: "one process that shares a large program with others outside",
    verdict: "BoundedSteady",
    plan: [{ limit: 512 * MIB, processes: [{ pid: 7, anon: () => 60, resident: () => 160, shared: () => 100 }] }],
  },
  {
    of: "CowUnsharing",
    name: "workers that get larger",
    verdict: "AnonHeapLeak",
    subKind: "EveryWorker",
    plan: [
      {
        limit: 600 * MIB,
        processes: [1, 2, 3, 4, 5, 6].map((pid) => ({ pid, anon: (t: number) => 10 + 0.12 * t, shared: () => 5 })),
      },
    ],
  },
  {
    of: "AllocatorRetention",
    name: "a burst that goes away",
    verdict: "TransientSpike",
    plan: one((_, i) => (i >= 18 && i < 22 ? 160 : 40)),
  },
  {
    of: "ThpBloat",
    name: "a leak in huge pages",
    verdict: "AnonHeapLeak",
    plan: [
      { limit: 512 * MIB, processes: [{ pid: 7, anon: line, huge: (t) => 30 + 0.4 * t, size: (t) => 300 + 0.4 * t }] },
    ],
  },
  {
    of: "ThpBloat",
    name: "a full cache in huge pages that were asked for",
    verdict: "WarmupPlateau",
    plan: [
      {
        limit: 512 * MIB,
        processes: [
          {
            pid: 7,
            anon: (t) => 30 + 1.5 * Math.min(t, 100),
            huge: (t) => 1.5 * Math.min(t, 100),
            size: (t) => 300 + 1.5 * Math.min(t, 100),
          },
        ],
      },
    ],
  },
  {
    of: "TransientSpike",
    name: "a burst that has not gone yet",
    verdict: "Inconclusive",
    plan: one((_, i) => (i >= 64 ? 200 : 60)),
  },
  {
    of: "StepChange",
    name: "three steps and more",
    verdict: "AnonHeapLeak",
    plan: one((t) => 40 + 20 * stepsOf(t, 60)),
  },
  {
    of: "LoadProportional",
    name: "a rising price for each connection",
    verdict: "AnonHeapLeak",
    plan: [{ limit: 512 * MIB, processes: [{ pid: 7, anon: (t) => 40 + 0.4 * t, sockets: wave }] }],
  },
  {
    of: "LoadProportional",
    name: "memory that rises with its threads alone",
    verdict: "ThreadStackGrowth",
    plan: [{ limit: 512 * MIB, processes: [{ pid: 7, anon: line, threads: (t) => 10 + Math.floor(t) }] }],
  },
  {
    of: "WarmupPlateau",
    name: "growth that only the limit has stopped",
    verdict: "Inconclusive",
    plan: one((t) => Math.min(125, 40 + 0.8 * t), { limit: 128 * MIB }),
  },
  {
    of: "BoundedSteady",
    name: "one long life that rises to its kill, and a short one after it",
    verdict: "AnonHeapLeak",
    subKind: "RestartSawtooth",
    plan: [
      {
        limit: 256 * MIB,
        events: { oom_kill: (t) => (t < 280 ? 0 : 1) },
        processes: [
          { pid: 7, until: 280, anon: (t) => 20 + 0.8 * t },
          { pid: 9, from: 285, anon: () => 12 },
        ],
      },
    ],
  },
  { of: "WarmupPlateau", name: "growth that goes on", verdict: "AnonHeapLeak", plan: one((t) => 40 + 0.8 * t) },
  {
    of: "LimitTooLow",
    name: "a full cache that is read once",
    verdict: "BoundedSteady",
    plan: [
      {
        limit: 256 * MIB,
        processes: [{ pid: 7, anon: still }],
        kinds: { file: () => 192 },
        counts: { workingset_refault_file: () => 10 },
        events: { max: (t) => 30 * t },
      },
    ],
  },
  {
    of: "LimitTooLow",
    name: "lives that rise slowly to each kill",
    verdict: "AnonHeapLeak",
    subKind: "RestartSawtooth",
    plan: [
      {
        limit: 128 * MIB,
        processes: livesOf(6, 50, (age) => 20 + 2 * age) ?? [],
        events: { oom_kill: (t) => stepsOf(t, 50) },
      },
    ],
  },
  {
    of: "ThrottledAtMemoryHigh",
    name: "a leak far below memory.high",
    verdict: "AnonHeapLeak",
    plan: one(line, { high: 400 * MIB, events: { high: () => 0 }, stalled: [() => 0, () => 0] }),
  },
  {
    of: "SwapColdPages",
    name: "a heap that goes to swap and grows",
    verdict: "AnonHeapLeak",
    subKind: "HiddenBySwap",
    plan: [{ limit: 256 * MIB, kinds: { anon: () => 60, swap: (t) => 0.4 * t }, processes: [{ pid: 7, anon: line }] }],
  },
  {
    of: "NodePressureVictim",
    name: "a machine that runs short by the suspect's own leak",
    verdict: "AnonHeapLeak",
    plan: one((t) => 60 + 10 * t, { limit: 4096 * MIB }),
    node: { meminfo: { MemAvailable: (t) => 3500 - 10 * t } },
  },
  {
    of: "NodePressureVictim",
    name: "a kill by its own limit",
    verdict: "LimitTooLow",
    plan: one(() => 118, { limit: 128 * MIB }),
    surroundings: killed({ oomMemcg: "/kubepods/pod/c1", taskMemcg: "/kubepods/pod/c1", limitBytes: 128 * MIB }),
  },
  {
    of: "BoundedSteady",
    name: "a floor that rises a little under the saw-tooth",
    verdict: "AnonHeapLeak",
    plan: one((t, i) => 60 + 0.2 * t + tooth(t, i)),
  },
];
