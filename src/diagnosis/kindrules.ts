/** What no heap holds: shared memory, kernel memory, socket buffers, page cache and mapped files. */
import { type Claim, type Facts, growthPoints, isProvisional, netOf, viewPoints } from "./claim.ts";
import { verdictOfKind } from "./anonrules.ts";
import { line } from "./evidenceline.ts";
import type { HeldKind } from "./growth.ts";
import type { StatField } from "./holder.ts";
import type { ContainerRecording, ProcessRecording } from "./recording.ts";
import type { Point } from "./score.ts";
import { type Series, median, span } from "./statistics.ts";
import { FILES, HOLDER, PAGE_TABLES, SHARE, THRASH, THREADS } from "./thresholds.ts";
import { type Trend, judgeTrend } from "./trend.ts";
import { whole } from "./words.ts";

/** Shared, kernel or socket memory grows by the whole test, faster than anything else that is held. */
export function growingOther(facts: Facts): Claim | undefined {
  const kind = facts.growing[0];
  if (kind === undefined || kind === "anon") return undefined;
  const trend = facts.story.kinds[kind];
  if (trend === undefined) return undefined;
  if (kind === "shmem") return shared(facts, trend);
  return kernel(facts, kind, trend);
}

function common(
  facts: Facts,
  kind: Exclude<HeldKind, "anon"> | "file",
  trend: Trend,
): Omit<Claim, "verdict" | "rivals"> {
  const net = Object.values(facts.story.kinds).reduce((sum, t) => sum + Math.max(0, t.netBytes), 0);
  const concentrated: readonly Point[] = trend.netBytes >= SHARE.sure * net ? ["concentrated"] : [];
  return {
    kind,
    trend,
    points: [...growthPoints(facts, trend), ...concentrated],
    provisional: isProvisional(facts, trend),
    speaks: [],
    against: [],
    limits: [],
  };
}

/** The kind that grows next, or what a trend of its length is most often mistaken for. */
function nextBest({ growing }: Facts, trend: Trend): Claim["rivals"] {
  const other = growing[1];
  return [other === undefined ? (trend.provisional ? "WarmupPlateau" : "LoadProportional") : verdictOfKind(other)];
}

function shared(facts: Facts, trend: Trend): Claim {
  const { container, part } = facts;
  const pss = netOf(container.sums.pssShmem.values);
  const largest = container.processes.reduce((sum, { rssShmem }) => Math.max(sum, netOf(rssShmem.values)), 0);
  const mapped = Math.max(pss, largest);
  const isMapped = mapped >= SHARE.part * trend.netBytes;
  const holder = isMapped ? holderOf(container, "rssShmem", facts.gate / 2) : undefined;
  const seen = container.sums.pssShmem.times.length > 0 || container.processes.length > 0;
  return {
    ...common(facts, "shmem", trend),
    verdict: "ShmemGrowth",
    holder,
    subKind: seen ? (isMapped ? "Mapped" : "Unmapped") : undefined,
    speaks: [line("shmem that processes map, net", mapped, "bytes", part, isMapped ? ">= half" : "< half")],
    limits: seen ? [] : ["No process could be read: whether one maps the shared memory is not known."],
    rivals: nextBest(facts, trend),
  };
}

const KERNEL_PARTS: readonly (readonly [StatField, string])[] = [
  ["slab_reclaimable", "SlabReclaimable"],
  ["slab_unreclaimable", "SlabUnreclaimable"],
  ["pagetables", "PageTables"],
  ["kernel_stack", "KernelStacks"],
  ["percpu", "PerCpu"],
  ["vmalloc", "Vmalloc"],
];

function kernel(facts: Facts, kind: "kernel" | "sock", trend: Trend): Claim | undefined {
  const { container, part } = facts;
  const told =
    kind === "sock"
      ? ({ subKind: "SocketBuffers", bytes: trend.netBytes, from: "sock" } as const)
      : kernelPart(container, trend);
  if (told?.subKind === "KernelStacks") return stacksInKernel(facts, trend, told.bytes);
  return {
    ...common(facts, kind, trend),
    verdict: "KernelMemoryGrowth",
    holder: kernelHolder(container, told?.subKind),
    subKind: told?.subKind,
    speaks: told === undefined ? [] : [line(`${told.from}, net`, told.bytes, "bytes", part, ">= half of it")],
    limits: told === undefined ? ["Which part of the kernel's memory it is, its counters here do not tell."] : [],
    rivals: nextBest(facts, trend),
  };
}

interface Part {
  readonly subKind: string;
  readonly bytes: number;
  readonly from: string;
}

/** By the kernel's own counters; where it has none (cgroup v1), by what the processes show of the same memory. */
function kernelPart({ stat, sums }: ContainerRecording, trend: Trend): Part | undefined {
  const enough = SHARE.part * trend.netBytes;
  for (const [field, subKind] of KERNEL_PARTS) {
    const bytes = netOf(stat[field].values);
    if (bytes >= enough) return { subKind, bytes, from: field };
  }
  const tables = netOf(sums.pageTables.values);
  const resident = median(sums.rss.values);
  const dense = (sums.pageTables.values.at(-1) ?? 0) < PAGE_TABLES.ofResident * resident;
  if (tables >= enough && !dense) return { subKind: "PageTables", bytes: tables, from: "sum of VmPTE" };
  const stacks = netOf(sums.threads.values) * THREADS.kernelStackBytes;
  if (stacks >= enough) return { subKind: "KernelStacks", bytes: stacks, from: "16 KiB for each new thread" };
  // Pages of pipes are in `kernel` and in none of its parts.
  const parts = KERNEL_PARTS.reduce((sum, [field]) => sum + Math.max(0, netOf(stat[field].values)), 0);
  const pipes = netOf(sums.pipes.values);
  if (pipes >= 2 && trend.netBytes - parts >= enough)
    return {
      subKind: "PipeBuffers",
      bytes: trend.netBytes - parts,
      from: `kernel less its parts, while ${pipes} pipes were opened`,
    };
  const sockets = netOf(sums.sockets.values);
  if (sockets >= HOLDER.descriptors && trend.netBytes - parts >= enough)
    return {
      subKind: "SocketBuffers",
      bytes: trend.netBytes - parts,
      from: `kernel less its parts, while ${sockets} sockets were opened`,
    };
  return undefined;
}

/** Page tables and stacks are a process's own; what descriptors pin is that of the process that opens them. */
function kernelHolder(container: ContainerRecording, subKind: string | undefined): ProcessRecording | undefined {
  if (subKind === "PageTables") return holderOf(container, "pageTables", HOLDER.tables);
  if (subKind === "KernelStacks") return holderOf(container, "threads", THREADS.more);
  return holderOf(container, "descriptors", HOLDER.descriptors);
}

/** The process with at least 70 % of what all gained of a thing; undefined where they gained less than `least`. */
function holderOf(
  { processes }: ContainerRecording,
  field: "rssShmem" | "pageTables" | "threads" | "descriptors",
  least: number,
): ProcessRecording | undefined {
  const gained = processes.map((process) => ({ process, net: Math.max(0, netOf(process[field].values)) }));
  const all = gained.reduce((sum, { net }) => sum + net, 0);
  return all < least ? undefined : gained.find(({ net }) => net >= SHARE.leader * all)?.process;
}

/** The kernel's stacks grow because threads do: the leak is of threads, and their own stacks may be too small to see. */
function stacksInKernel(facts: Facts, trend: Trend, bytes: number): Claim {
  const more = netOf(facts.container.sums.threads.values);
  const base = common(facts, "kernel", trend);
  const stacks = line("kernel stacks, net", bytes, "bytes", facts.part, ">= half of it");
  if (more < THREADS.more)
    return {
      ...base,
      verdict: "KernelMemoryGrowth",
      subKind: "KernelStacks",
      holder: holderOf(facts.container, "threads", THREADS.more),
      speaks: [stacks],
      rivals: ["ThreadStackGrowth"],
    };
  return {
    ...base,
    verdict: "ThreadStackGrowth",
    subKind: "KernelStacks",
    holder: holderOf(facts.container, "threads", THREADS.more),
    points: [...base.points, "separating"],
    speaks: [line("Threads, net", more, "threads", facts.part, `>= ${THREADS.more}`), stacks],
    rivals: ["KernelMemoryGrowth"],
  };
}

/** On cgroup v1 socket buffers are charged to nobody: only the machine's sum shows them, and it says not whose they are. */
export function unchargedSockets(facts: Facts): Claim | undefined {
  const { seen, container, part } = facts;
  if (container.cgroupVersion === 2) return undefined;
  const { times, values } = seen.recording.node.tcpPages;
  const pages = seen.surroundings.host?.pageSizeBytes ?? 4096;
  const trend = judgeTrend({ times, values: values.map((value) => value * pages) }, container.limitBytes);
  const own = container.sums.sockets.values.at(-1) ?? 0;
  if (trend.trend !== "Growing" || own === 0) return undefined;
  const base = common(facts, "sock", trend);
  const more = netOf(container.sums.sockets.values);
  return {
    ...base,
    verdict: "KernelMemoryGrowth",
    subKind: "SocketBuffers",
    holder: holderOf(container, "descriptors", HOLDER.descriptors),
    points: [
      ...base.points.filter((p) => p !== "concentrated"),
      ...(more > 0 ? (["corroborated"] as const) : ["unseen" as const]),
    ],
    speaks: [
      line("TCP memory of the whole machine, net", trend.netBytes, "bytes", part),
      line("sockets of its processes", own, "sockets", part),
    ],
    limits: [
      "On cgroup v1 socket buffers are charged to no container: the machine's sum grows, and whose sockets they are is inferred.",
    ],
    rivals: ["BoundedSteady"],
  };
}

/** Written pages of a mapped file: in RSS, in USS and dirty, like a heap; and not anonymous. The kernel writes them back after a while: what was dirty once counts. */
export function mappedDirtyFile(facts: Facts): Claim | undefined {
  const { container, story, gate, part } = facts;
  const { sums, stat } = container;
  const file = story.kinds.file;
  const mapped = Math.max(riseOf(stat.file_mapped), riseOf(sums.rssFile));
  if (file === undefined || mapped < gate || mapped < FILES.mapped * Math.max(0, file.netBytes)) return undefined;
  const read = sums.dirtyFile.values.length > 0;
  const dirty = dirtyest(read ? sums.dirtyFile : stat.file_dirty, read ? sums.rssFile : stat.file_mapped);
  if (dirty.bytes < gate / 2 || dirty.share < FILES.dirty) return undefined;
  const points: Point[] = [
    ...viewPoints(facts, file),
    read ? "separating" : "unseen",
    ...(still(story.anon) ? (["corroborated"] as const) : []),
  ];
  return {
    verdict: "MappedDirtyFile",
    trend: file,
    points,
    provisional: isProvisional(facts, file),
    says: "has dirty pages of a mapped file, which look like a heap from outside: they are the file's, and go to disk",
    speaks: [
      line("mapped pages of files, rise", mapped, "bytes", part, `>= ${whole(gate)}`),
      line("dirty pages that are not anonymous, the most", dirty.bytes, "bytes", part),
      line("of the mapped pages, dirty at that time", 100 * dirty.share, "%", part, `>= ${FILES.dirty * 100}`),
    ],
    against: [],
    limits: read ? [] : ["smaps_rollup could not be read: whose dirty pages these are is inferred from the cgroup's."],
    rivals: [],
    nextBest: "PageCacheGrowth",
  };
}

/** The most that was dirty at once, and the largest share of what was mapped at that time. */
function dirtyest(dirty: Series, mapped: Series): { readonly bytes: number; readonly share: number } {
  const mappedAt = new Map(mapped.times.map((time, i) => [time, mapped.values[i] ?? 0]));
  const shares = dirty.values.map((bytes, i) => bytes / Math.max(1, bytes, mappedAt.get(dirty.times[i] ?? 0) ?? 0));
  return { bytes: Math.max(0, ...dirty.values), share: Math.max(0, ...shares) };
}

/** Page cache grew, and nothing that is held did. */
export function pageCache(facts: Facts): Claim | undefined {
  const { container, story, gate, part } = facts;
  const trend = story.kinds.file;
  if (trend === undefined || trend.shape === "TooShort") return undefined;
  const rise = riseOf(container.kinds.file);
  const grows = trend.trend === "Growing";
  if (!grows && (trend.trend === "Shrinking" || rise < gate || trend.netBytes < gate / 2)) return undefined;
  const mapped = riseOf(container.stat.file_mapped) >= FILES.mapped * rise;
  const dirty = Math.max(
    0,
    ...container.stat.file_dirty.values.map((v, i) => v + (container.stat.file_writeback.values[i] ?? 0)),
  );
  const writes = dirty >= FILES.dirtyOfLimit * (container.limitBytes ?? Number.POSITIVE_INFINITY);
  const refaults = netOf(container.stat.workingset_refault_file.values);
  const base = common(facts, "file", trend);
  return {
    ...base,
    verdict: "PageCacheGrowth",
    subKind: writes ? "DirtyWriteback" : mapped || container.scope === "Process" ? "MappedFile" : undefined,
    points: [
      ...base.points.filter((p) => p !== "loadUnknown" && p !== "loadPartly" && (grows || p !== "noisy")),
      ...(still(story.anon) ? (["separating"] as const) : []),
      ...(thrashes(facts, refaults) ? (["rival"] as const) : []),
    ],
    ...(grows
      ? {}
      : {
          says: `filled page cache by up to ${Math.round(rise / 2 ** 20)} MiB, and grows in nothing else. The kernel takes clean cache back before anything is killed`,
        }),
    speaks: [
      line("file, rise", rise, "bytes", part, `>= ${Math.round(gate)}`),
      line("file pages read again after they were dropped", refaults, "pages", part),
    ],
    limits: writes
      ? [
          "Dirty pages stand at a fifth of the limit or more: who writes waits for the disk, and on cgroup v1 may be killed.",
        ]
      : [],
    rivals: ["LimitTooLow", "MappedDirtyFile", "AnonHeapLeak"],
  };
}

/** At the limit, and what was dropped is read again: less than what is called a limit that is too low, and no sign of health. */
function thrashes({ container }: Facts, refaults: number): boolean {
  const { limitBytes: limit, usage } = container;
  if (limit === undefined) return false;
  const pinned = usage.values.filter((value) => value >= THRASH.atLimit * limit).length;
  return (
    pinned >= THRASH.samplesAtLimit * usage.values.length &&
    refaults >= (THRASH.refaultsPerSecond / 10) * Math.max(1, span(usage))
  );
}

function still(trend: Trend | undefined): boolean {
  return trend !== undefined && Math.abs(trend.netBytes) < trend.gateBytes;
}

/** From the first reading to the highest. */
export function riseOf({ values }: Series): number {
  return values.reduce((most, value) => Math.max(most, value), values[0] ?? 0) - (values[0] ?? 0);
}
