/** The series of one container, cgroup or process tree while they are filled, and what they become: one {@link ContainerRecording}. */
import { MEMORY_KINDS, type CgroupReading, type MemoryKind, type ProcessReading } from "../api/collection.ts";
import { type Columns, addRow, addValues, allSeries, columns, lastTime, seriesOf } from "./columns.ts";
import {
  PROCESS,
  PROCESS_FIELDS,
  type ProcessField,
  SUMS,
  SUM_FIELDS,
  type SumField,
  hasMemory,
  rollup,
  status,
  total,
} from "./processfields.ts";
import type { ContainerRecording, ProcessRecording } from "./recording.ts";
import type { Series } from "./statistics.ts";
import { ENOUGH } from "./thresholds.ts";

/** Process incarnations that are kept over the whole recording. A container that forks without end has more. */
const MAX_PROCESSES = 2000;

/** Reasons for a missing rollup that are worth telling; NotDue and Gone are the ordinary course. */
const TOLD_SKIPS: readonly string[] = ["OverBudget", "TooLong", "LowMemory", "NoPermission", "TimedOut", "Stopped"];

/** The fields of memory.stat that a finding looks at. */
const STAT_FIELDS = [
  "slab_reclaimable",
  "slab_unreclaimable",
  "pagetables",
  "kernel_stack",
  "percpu",
  "vmalloc",
  "file_dirty",
  "file_writeback",
  "file_mapped",
  "anon_thp",
  "pgfault",
  "workingset_refault_file",
  "workingset_refault_anon",
] as const;

/** Counters of memory.events and the totals of memory.pressure. */
const EVENT_FIELDS = ["high", "max", "oomKill", "stallSomeUs", "stallFullUs"] as const;

export type StatField = (typeof STAT_FIELDS)[number];
export type EventField = (typeof EVENT_FIELDS)[number];
const MEMORY_FIELDS = [...MEMORY_KINDS, "usage", "anonAndSwap"] as const;
const OWN_FIELDS = ["anon", "file", "shmem", "swap", "usage"] as const;

type Own = Columns<(typeof OWN_FIELDS)[number]>;

interface Process {
  readonly pid: number;
  readonly startTicks: number;
  readonly ppid: number;
  comm: string;
  readonly series: Columns<ProcessField>;
}

export interface Holder {
  readonly scope: ContainerRecording["scope"];
  readonly podUid: string;
  readonly id: string;
  name: string | undefined;
  path: string | undefined;
  readonly cgroupVersion: 1 | 2 | undefined;
  limitBytes: number | undefined;
  highBytes: number | undefined;
  readonly memory: Columns<(typeof MEMORY_FIELDS)[number]>;
  readonly stat: Columns<(typeof STAT_FIELDS)[number]>;
  readonly events: Columns<(typeof EVENT_FIELDS)[number]>;
  readonly sums: Columns<SumField>;
  readonly processes: Map<string, Process>;
  /** Of a process: its kinds as sums over processes, of Pss_* and of Rss*. Used where the cgroup is not its own. */
  readonly own: { readonly pss: Own; readonly rss: Own } | undefined;
  othersInCgroup: number;
  /** Of a process: samples without a cgroup of its own. */
  withoutOwn: number;
  readonly firstSeconds: number;
  lastSeconds: number;
}

export function makeHolder(
  podUid: string,
  id: string,
  version: 1 | 2 | undefined,
  scope: ContainerRecording["scope"],
  seconds: number,
): Holder {
  return {
    scope,
    podUid,
    id,
    name: undefined,
    path: undefined,
    cgroupVersion: version,
    limitBytes: undefined,
    highBytes: undefined,
    memory: columns(MEMORY_FIELDS),
    stat: columns(STAT_FIELDS),
    events: columns(EVENT_FIELDS),
    sums: columns(SUM_FIELDS),
    processes: new Map(),
    own: scope === "Process" ? { pss: columns(OWN_FIELDS), rss: columns(OWN_FIELDS) } : undefined,
    othersInCgroup: 0,
    withoutOwn: 0,
    firstSeconds: seconds,
    lastSeconds: seconds,
  };
}

export function addCgroup(container: Holder, cgroup: CgroupReading, seconds: number): void {
  container.lastSeconds = seconds;
  container.path = cgroup.path;
  container.limitBytes = cgroup.limitBytes;
  container.highBytes = cgroup.highBytes;
  const { anon, swap } = cgroup.kinds;
  addRow(container.memory, seconds, {
    ...cgroup.kinds,
    usage: cgroup.usageBytes,
    anonAndSwap: anon === undefined ? undefined : anon + (swap ?? 0),
  });
  addRow(container.stat, seconds, cgroup.stat);
  addRow(container.events, seconds, {
    high: cgroup.events["high"],
    max: cgroup.events["max"],
    oomKill: cgroup.events["oom_kill"],
    stallSomeUs: cgroup.pressure?.some.totalUs,
    stallFullUs: cgroup.pressure?.full?.totalUs,
  });
}

/** Kinds of a process without a cgroup of its own: what its processes map. */
export function addSums({ own }: Holder, readings: readonly ProcessReading[], seconds: number): void {
  if (own === undefined) return;
  const alive = readings.filter(hasMemory);
  const swap = total(alive, status("VmSwap"));
  addRow(own.pss, seconds, {
    anon: total(alive, rollup("Pss_Anon")),
    file: total(alive, rollup("Pss_File")),
    shmem: total(alive, rollup("Pss_Shmem")),
    usage: total(alive, rollup("Pss")),
    swap,
  });
  addRow(own.rss, seconds, {
    anon: total(alive, status("RssAnon")),
    file: total(alive, status("RssFile")),
    shmem: total(alive, status("RssShmem")),
    usage: total(alive, status("VmRSS")),
    swap,
  });
}

/** How much room is left for processes, and what was skipped; shared by all containers of a recording. */
interface Room {
  processes: number;
  readonly skipped: Set<string>;
}

/** Returns how many processes of this container are not kept. */
export function addProcesses(
  room: Room,
  container: Holder,
  readings: readonly ProcessReading[],
  omitted: number,
  seconds: number,
): number {
  let left = omitted;
  for (const reading of readings) {
    const skip = reading.rollupSkipped;
    if (skip !== undefined && TOLD_SKIPS.includes(skip)) room.skipped.add(skip);
    const process = processOf(room, container, reading);
    if (process === undefined) left++;
    else if (lastTime(process.series) !== seconds)
      addValues(process.series, seconds, (field) => PROCESS[field](reading));
  }
  if (readings.length > 0 && omitted === 0) {
    const alive = readings.filter(hasMemory);
    const sums = Object.entries(SUMS).map(([field, of]) => [field, total(alive, of)]);
    addRow(container.sums, seconds, Object.fromEntries(sums) as Partial<Record<SumField, number>>);
  }
  return left;
}

function processOf(room: Room, container: Holder, reading: ProcessReading): Process | undefined {
  const { pid, startTicks, ppid, comm } = reading;
  const key = `${pid}/${startTicks}`;
  const known = container.processes.get(key);
  if (known !== undefined) {
    // A process has its parent's name until it calls execve.
    known.comm = comm;
    return known;
  }
  if (room.processes >= MAX_PROCESSES) return undefined;
  room.processes++;
  const made = { pid, startTicks, ppid, comm, series: columns(PROCESS_FIELDS) };
  container.processes.set(key, made);
  return made;
}

/** A process whose cgroup was its own in every sample is measured as what the kernel charges; any other by the sums of its processes. */
export function settled(holder: Holder): ContainerRecording {
  const { memory, stat, events, sums, processes, own, withoutOwn, ...rest } = holder;
  const recordings = [...processes.values()].map(processRecording);
  const { usage, anonAndSwap, ...kinds } = whileSomebodyRan(allSeries(memory), recordings);
  const container: ContainerRecording = {
    ...rest,
    scope: own !== undefined && withoutOwn === 0 ? "Cgroup" : rest.scope,
    kinds,
    anonAndSwap,
    usage,
    stat: allSeries(stat),
    events: allSeries(events),
    sums: allSeries(sums),
    processes: recordings.toSorted((a, b) => a.pid - b.pid || a.startTicks - b.startTicks),
  };
  return own === undefined || withoutOwn === 0 ? container : { ...container, ...byProcesses(own) };
}

/**
 * Up to the last reading of a process with memory: what a cgroup shows when all of them have gone is no fall of anything that ran in it. Where no process could be
 * read nobody knows.
 */
function whileSomebodyRan<F extends string>(
  memory: Record<F, Series>,
  processes: readonly ProcessRecording[],
): Record<F, Series> {
  const last = processes.reduce((latest, { rssAnon }) => Math.max(latest, rssAnon.times.at(-1) ?? 0), 0);
  const cut = ({ times, values }: Series): Series => {
    const end = times.findLastIndex((time) => time <= last) + 1;
    // One sample in which no process could be read is no end.
    return times.length - end <= 1 ? { times, values } : { times: times.slice(0, end), values: values.slice(0, end) };
  };
  if (last === 0) return memory;
  return Object.fromEntries(Object.entries<Series>(memory).map(([field, series]) => [field, cut(series)])) as Record<
    F,
    Series
  >;
}

function processRecording({ series, ...process }: Process): ProcessRecording {
  // Not spread: that would make every series of every process at once.
  return Object.assign(allSeries(series), process);
}

/** What a process holds that shares its cgroup: nothing of the cgroup's own numbers is its. */
function byProcesses(
  own: NonNullable<Holder["own"]>,
): Pick<ContainerRecording, "kinds" | "anonAndSwap" | "usage" | "limitBytes" | "highBytes" | "stat" | "events"> {
  const best = isEnough(seriesOf(own.pss, "anon"), seriesOf(own.rss, "anon")) ? own.pss : own.rss;
  const { anon, file, shmem, swap, usage } = allSeries(best);
  const none: Series = { times: [], values: [] };
  const swapAt = new Map(swap.times.map((time, i) => [time, swap.values[i] ?? 0]));
  const kinds: Record<MemoryKind, Series> = { anon, file, shmem, swap, kernel: none, sock: none };
  return {
    kinds,
    anonAndSwap: { times: anon.times, values: anon.values.map((v, i) => v + (swapAt.get(anon.times[i] ?? 0) ?? 0)) },
    usage,
    limitBytes: undefined,
    highBytes: undefined,
    stat: allSeries(columns(STAT_FIELDS)),
    events: allSeries(columns(EVENT_FIELDS)),
  };
}

/**
 * Whether Pss was read often enough to judge by it. Rss is in every sample, and counts shared pages in each process; but a rollup that is dear is
 * read seldom, and a trend of too few points, or over too short a time, would hide a leak that Rss shows plainly.
 */
export function isEnough(pss: Series, rss: Series): boolean {
  const [few, all] = [pss.times.length, rss.times.length];
  const seconds = (pss.times.at(-1) ?? 0) - (pss.times[0] ?? 0);
  return few > all / 2 && (few >= all || (few >= ENOUGH.points && seconds >= ENOUGH.spanSeconds));
}
