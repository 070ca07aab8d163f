/**
 * One memory cgroup, v1 or v2, in the words of v2. The kinds of memory are disjoint (`file` without shmem), and a kind that the kernel
 * does not tell is absent, never zero. Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
 */
import type { CgroupReading, MemoryKind } from "../api/collection.ts";
import { tryReadText } from "./hostfiles.ts";
import { parseFlat, parsePressure } from "./procfs.ts";

const SMALL = 64 * 1024;

/** Keys of v2's memory.stat that are kept. */
const KEPT =
  /^(anon|file|shmem|kernel|kernel_stack|pagetables|sock|percpu|vmalloc|slab|slab_reclaimable|slab_unreclaimable|file_mapped|file_dirty|file_writeback|anon_thp|inactive_anon|active_anon|inactive_file|active_file|unevictable|pgfault|pgmajfault|workingset_refault_anon|workingset_refault_file|swapcached)$/;

/** v1's hierarchical keys and what v2 calls the same. */
const V1_NAMES: Readonly<Record<string, string>> = {
  total_rss: "anon",
  total_cache: "file",
  total_shmem: "shmem",
  total_mapped_file: "file_mapped",
  total_dirty: "file_dirty",
  total_writeback: "file_writeback",
  total_rss_huge: "anon_thp",
  total_inactive_anon: "inactive_anon",
  total_active_anon: "active_anon",
  total_inactive_file: "inactive_file",
  total_active_file: "active_file",
  total_unevictable: "unevictable",
  total_pgfault: "pgfault",
  total_pgmajfault: "pgmajfault",
  total_workingset_refault_anon: "workingset_refault_anon",
  total_workingset_refault_file: "workingset_refault_file",
  total_swapcached: "swapcached",
  total_swap: "swap",
};

/** memory.stat of either version in the names of v2; keys that bear on nothing here are left out. */
export function inNamesOfV2(stat: Readonly<Record<string, number>>): Record<string, number> {
  if (stat["total_rss"] === undefined) return keep(stat);
  const translated: Record<string, number> = {};
  for (const [name, value] of Object.entries(stat)) {
    const known = V1_NAMES[name];
    if (known !== undefined) translated[known] = value;
  }
  return translated;
}

/** @param directory where its files lie  @param path below the hierarchy's root; undefined result: the cgroup is gone */
export async function readCgroup(directory: string, path: string, version: 1 | 2): Promise<CgroupReading | undefined> {
  return version === 2 ? readV2(directory, path) : readV1(directory, path);
}

/** The number in a file. Undefined as well for `max`, and for v1's way to write "no limit": the largest multiple of the page size, larger than any safe number. */
export async function number(file: string): Promise<number | undefined> {
  const text = (await tryReadText(file, 64))?.trim() ?? "";
  const value = /^\d{1,20}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

async function readV2(directory: string, path: string): Promise<CgroupReading | undefined> {
  const [usage, max, high, peak, swap, swapMax, group, statText, eventsText, localText, swapText, pressureText] =
    await Promise.all([
      number(`${directory}/memory.current`),
      number(`${directory}/memory.max`),
      number(`${directory}/memory.high`),
      number(`${directory}/memory.peak`),
      number(`${directory}/memory.swap.current`),
      number(`${directory}/memory.swap.max`),
      number(`${directory}/memory.oom.group`),
      tryReadText(`${directory}/memory.stat`, SMALL),
      tryReadText(`${directory}/memory.events`, SMALL),
      tryReadText(`${directory}/memory.events.local`, SMALL),
      tryReadText(`${directory}/memory.swap.events`, SMALL),
      tryReadText(`${directory}/memory.pressure`, SMALL),
    ]);
  if (usage === undefined || statText === undefined) return undefined;
  const stat = keep(parseFlat(statText));
  const pressure = parsePressure(pressureText ?? "");
  return {
    path,
    version: 2,
    usageBytes: usage,
    ...optional("limitBytes", max),
    ...optional("highBytes", high),
    ...optional("peakBytes", peak),
    kinds: kindsV2(stat, swap),
    stat,
    events: parseFlat(eventsText ?? ""),
    ...(localText === undefined ? {} : { eventsLocal: parseFlat(localText) }),
    ...(swapText === undefined ? {} : { swapEvents: parseFlat(swapText) }),
    ...optional("swapLimitBytes", swapMax),
    ...(group === undefined ? {} : { oomGroup: group === 1 }),
    ...(pressure === undefined ? {} : { pressure }),
  };
}

function kindsV2(
  stat: Readonly<Record<string, number>>,
  swap: number | undefined,
): Partial<Record<MemoryKind, number>> {
  const { anon, file, shmem, sock } = stat;
  // `kernel` came with 5.18; before, its parts are told one by one, without the percpu and vmalloc of older kernels.
  const parts = [stat["kernel_stack"], stat["pagetables"], stat["slab"], stat["percpu"], stat["vmalloc"]].filter(
    (v) => v !== undefined,
  );
  const kernel = stat["kernel"] ?? (parts.length === 0 ? undefined : parts.reduce((sum, v) => sum + v, 0));
  return {
    ...optional("anon", anon),
    ...optional("file", file === undefined ? undefined : Math.max(0, file - (shmem ?? 0))),
    ...optional("shmem", shmem),
    ...optional("kernel", kernel),
    ...optional("sock", sock),
    ...optional("swap", swap),
  };
}

async function readV1(directory: string, path: string): Promise<CgroupReading | undefined> {
  const [usage, max, peak, kmem, tcp, memsw, memswMax, memswFails, failcnt, statText, oomText] = await Promise.all([
    number(`${directory}/memory.usage_in_bytes`),
    number(`${directory}/memory.limit_in_bytes`),
    number(`${directory}/memory.max_usage_in_bytes`),
    number(`${directory}/memory.kmem.usage_in_bytes`),
    number(`${directory}/memory.kmem.tcp.usage_in_bytes`),
    number(`${directory}/memory.memsw.usage_in_bytes`),
    number(`${directory}/memory.memsw.limit_in_bytes`),
    number(`${directory}/memory.memsw.failcnt`),
    number(`${directory}/memory.failcnt`),
    tryReadText(`${directory}/memory.stat`, SMALL),
    tryReadText(`${directory}/memory.oom_control`, SMALL),
  ]);
  if (usage === undefined || statText === undefined) return undefined;
  const stat = inNamesOfV2(parseFlat(statText));
  const { anon, file, shmem, swap } = stat;
  const oom = parseFlat(oomText ?? "");
  // failcnt counts every hit of the limit, reclaim that succeeded included: that is what v2 calls max.
  const events = { ...optional("max", failcnt), ...optional("oom_kill", oom["oom_kill"]) };
  return {
    path,
    version: 1,
    usageBytes: usage,
    ...optional("limitBytes", max),
    ...optional("peakBytes", peak),
    kinds: {
      ...optional("anon", anon),
      ...optional("file", file === undefined ? undefined : Math.max(0, file - (shmem ?? 0))),
      ...optional("shmem", shmem),
      ...optional("kernel", kmem),
      // v1 charges TCP buffers only once a tcp limit was set; a counter that stands at zero tells nothing.
      ...optional("sock", tcp === 0 ? undefined : tcp),
      ...optional("swap", swap ?? (memsw === undefined ? undefined : Math.max(0, memsw - usage))),
    },
    stat: keep(stat),
    events,
    eventsLocal: events,
    ...(memswFails === undefined ? {} : { swapEvents: { max: memswFails } }),
    ...optional("swapLimitBytes", max === undefined || memswMax === undefined ? undefined : memswMax - max),
    ...(oom["under_oom"] === undefined ? {} : { underOom: oom["under_oom"] === 1 }),
  };
}

function keep(stat: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(stat).filter(([name]) => KEPT.test(name)));
}

function optional<K extends string>(name: K, value: number | undefined): { [P in K]?: number } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: number };
}
