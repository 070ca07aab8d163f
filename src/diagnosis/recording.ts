/**
 * What was measured, as numbers over time: one pass over the samples keeps a few series for each container and process and drops the
 * rest. A process is (pid, start time), a container is its id: a restart begins new series. What is measured on one machine without a
 * cluster, a cgroup or a process with its descendants, is recorded as if it were a container.
 */
import {
  MEMORY_KINDS,
  type CgroupReading,
  type LocalReading,
  type MemoryKind,
  type ProcessReading,
  type Sample,
} from "../api/collection.ts";
import type { Series } from "./statistics.ts";
import { MIN_POINTS, MIN_SPAN_SECONDS } from "./trend.ts";

/** Samples that are kept; a day at 20 s. Later ones are counted only. */
const MAX_SAMPLES = 4320;
/** Process incarnations that are kept over the whole recording. A container that forks without end has more. */
const MAX_PROCESSES = 2000;
const MAX_CONTAINERS = 256;

/** Reasons for a missing rollup that are worth telling; NotDue and Gone are the ordinary course. */
const TOLD_SKIPS: readonly string[] = ["OverBudget", "TooLong", "LowMemory", "NoPermission", "TimedOut", "Stopped"];

/** The fields of memory.stat that a finding looks at. */
export const STAT_FIELDS = [
  "slab_reclaimable",
  "slab_unreclaimable",
  "pagetables",
  "kernel_stack",
  "percpu",
  "vmalloc",
  "file_dirty",
  "file_writeback",
] as const;
export type StatField = (typeof STAT_FIELDS)[number];

/** A series while it is being filled. */
interface Growing extends Series {
  readonly times: number[];
  readonly values: number[];
}

export interface ProcessRecording {
  readonly pid: number;
  readonly startTicks: number;
  readonly ppid: number;
  readonly comm: string;
  /** Pss_Anon of smaps_rollup; has fewer points than the rest where the rollup was not due. */
  readonly pssAnon: Series;
  readonly rssAnon: Series;
  readonly rssShmem: Series;
  readonly swap: Series;
  readonly threads: Series;
}

export interface ContainerRecording {
  /**
   * What the numbers are those of. Container and Cgroup: what the kernel charges. Process: the sums of processes, because others share their
   * cgroup or it cannot be read; then what no process maps, kernel memory and page cache, is not seen.
   */
  readonly scope: "Container" | "Cgroup" | "Process";
  /** Empty on one machine. */
  readonly podUid: string;
  readonly id: string;
  readonly name: string | undefined;
  /** Undefined: no cgroup was read. */
  readonly cgroupVersion: 1 | 2 | undefined;
  readonly kinds: Readonly<Record<MemoryKind, Series>>;
  /** anon + swap: swap-out must not look like memory that was given back. */
  readonly anonAndSwap: Series;
  readonly usage: Series;
  /** The newest reading; undefined: no limit. */
  readonly limitBytes: number | undefined;
  readonly stat: Readonly<Record<StatField, Series>>;
  readonly oomKills: Series;
  /** Of a process: the most processes of others that were in its cgroup. */
  readonly othersInCgroup: number;
  /** Sum of Pss_Anon (of RssAnon) of all processes; only where every process was read. */
  readonly pssAnonSum: Series;
  readonly rssAnonSum: Series;
  readonly processes: readonly ProcessRecording[];
  readonly firstSeconds: number;
  readonly lastSeconds: number;
}

export interface Recording {
  /** Samples that were read in order. */
  readonly samples: number;
  /** Samples beyond the cap, and samples whose clock did not go forward. */
  readonly samplesOmitted: number;
  /** Processes left out, by the collector's cap or by ours. */
  readonly processesOmitted: number;
  readonly containersOmitted: number;
  readonly lastSeconds: number;
  /** Seconds of the longest pause between two samples, and of the median one. */
  readonly longestGapSeconds: number;
  readonly medianGapSeconds: number;
  readonly rollupsSkipped: readonly string[];
  readonly node: { readonly memAvailable: Series; readonly psiSomeAvg10: Series };
  /** In the order of pod uid and container id, whatever the order in the samples. */
  readonly containers: readonly ContainerRecording[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Container = Mutable<Omit<ContainerRecording, "processes">> & {
  readonly processes: Map<string, Mutable<ProcessRecording>>;
  /** Of a process: its kinds as sums over processes, of Pss_* and of Rss*. Used where the cgroup is not its own. */
  readonly sums?: { readonly pss: Sums; readonly rss: Sums };
  /** Of a process: samples without a cgroup of its own. */
  withoutOwn: number;
};
type Sums = Readonly<Record<"anon" | "file" | "shmem" | "swap" | "usage", Growing>>;

interface State {
  readonly containers: Map<string, Container>;
  readonly skipped: Set<string>;
  readonly gaps: number[];
  readonly memAvailable: Growing;
  readonly psiSomeAvg10: Growing;
  samples: number;
  samplesOmitted: number;
  processes: number;
  processesOmitted: number;
  containersOmitted: number;
  last: number;
}

/** Reads all samples once. Memory is bounded by the caps above, not by the length of the stream. */
export async function record(samples: AsyncIterable<Sample>): Promise<Recording> {
  const state: State = {
    containers: new Map(),
    skipped: new Set(),
    gaps: [],
    memAvailable: empty(),
    psiSomeAvg10: empty(),
    samples: 0,
    samplesOmitted: 0,
    processes: 0,
    processesOmitted: 0,
    containersOmitted: 0,
    last: Number.NEGATIVE_INFINITY,
  };
  for await (const sample of samples) {
    const seconds = sample.elapsedMs / 1000;
    if (state.samples >= MAX_SAMPLES || !(seconds > state.last)) state.samplesOmitted++;
    else addSample(state, sample, seconds);
  }
  return finish(state);
}

function addSample(state: State, sample: Sample, seconds: number): void {
  if (state.samples > 0) state.gaps.push(seconds - state.last);
  state.samples++;
  state.last = seconds;
  add(state.memAvailable, seconds, sample.node.meminfo["MemAvailable"]);
  add(state.psiSomeAvg10, seconds, sample.node.pressure?.some.avg10);
  let omittedNow = 0;
  for (const pod of sample.pods) {
    for (const reading of pod.containers) {
      const container = containerOf(state, pod.uid, reading.id, reading.cgroup.version, seconds);
      // A container that is listed twice in one sample is a mistake of the writer; the first stands.
      if (container === undefined || container.usage.times.at(-1) === seconds) continue;
      if (reading.name !== undefined) container.name = reading.name;
      addCgroup(container, reading.cgroup, seconds);
      omittedNow += addProcesses(state, container, reading.processes, reading.processesOmitted ?? 0, seconds);
    }
  }
  if (sample.local !== undefined) omittedNow += addLocal(state, sample.local, seconds);
  state.processesOmitted = Math.max(state.processesOmitted, omittedNow);
}

/** Returns how many processes are not kept. */
function addLocal(state: State, local: LocalReading, seconds: number): number {
  const { kind, life, name, cgroup, processes, processesOmitted = 0 } = local;
  const container = containerOf(state, "", life, cgroup?.version, seconds, kind);
  if (container === undefined) return processes.length;
  container.name = name;
  container.lastSeconds = seconds;
  if (cgroup !== undefined) addCgroup(container, cgroup, seconds);
  if (kind === "Process") {
    const others = local.othersInCgroup ?? 0;
    container.othersInCgroup = Math.max(container.othersInCgroup, others);
    if (cgroup === undefined || others > 0) container.withoutOwn++;
    if (processesOmitted === 0) addSums(container, processes, seconds);
  }
  return addProcesses(state, container, processes, processesOmitted, seconds);
}

function addSums({ sums }: Container, processes: readonly ProcessReading[], seconds: number): void {
  if (sums === undefined) return;
  const alive = processes.filter(hasMemory);
  const sum = (of: (reading: ProcessReading) => number | undefined): number | undefined =>
    alive.reduce<number | undefined>((total, reading) => {
      const one = of(reading);
      return total === undefined || one === undefined ? undefined : total + one;
    }, 0);
  const fields = { anon: "Anon", file: "File", shmem: "Shmem" } as const;
  const swap = sum(({ status }) => status["VmSwap"]);
  for (const kind of ["anon", "file", "shmem"] as const) {
    add(
      sums.pss[kind],
      seconds,
      sum(({ rollup }) => rollup?.[`Pss_${fields[kind]}`]),
    );
    add(
      sums.rss[kind],
      seconds,
      sum(({ status }) => status[`Rss${fields[kind]}`]),
    );
  }
  for (const one of [sums.pss, sums.rss]) add(one.swap, seconds, swap);
  add(
    sums.pss.usage,
    seconds,
    sum(({ rollup }) => rollup?.["Pss"]),
  );
  add(
    sums.rss.usage,
    seconds,
    sum(({ status }) => status["VmRSS"]),
  );
}

/** A zombie has none, and takes nothing away from what is known of the rest. */
function hasMemory({ status }: ProcessReading): boolean {
  return status["VmRSS"] !== undefined;
}

function containerOf(
  state: State,
  podUid: string,
  id: string,
  version: 1 | 2 | undefined,
  seconds: number,
  scope: ContainerRecording["scope"] = "Container",
): Container | undefined {
  const key = `${podUid}/${id}`;
  const known = state.containers.get(key);
  if (known !== undefined) return known;
  if (state.containers.size >= MAX_CONTAINERS) {
    state.containersOmitted++;
    return undefined;
  }
  const made: Container = {
    scope,
    podUid,
    id,
    name: undefined,
    cgroupVersion: version,
    kinds: { anon: empty(), file: empty(), shmem: empty(), kernel: empty(), sock: empty(), swap: empty() },
    anonAndSwap: empty(),
    usage: empty(),
    limitBytes: undefined,
    stat: {
      slab_reclaimable: empty(),
      slab_unreclaimable: empty(),
      pagetables: empty(),
      kernel_stack: empty(),
      percpu: empty(),
      vmalloc: empty(),
      file_dirty: empty(),
      file_writeback: empty(),
    },
    oomKills: empty(),
    pssAnonSum: empty(),
    rssAnonSum: empty(),
    othersInCgroup: 0,
    withoutOwn: 0,
    ...(scope === "Process" ? { sums: { pss: emptySums(), rss: emptySums() } } : {}),
    processes: new Map(),
    firstSeconds: seconds,
    lastSeconds: seconds,
  };
  state.containers.set(key, made);
  return made;
}

function addCgroup(container: Container, cgroup: CgroupReading, seconds: number): void {
  container.lastSeconds = seconds;
  container.limitBytes = cgroup.limitBytes;
  add(container.usage, seconds, cgroup.usageBytes);
  for (const kind of MEMORY_KINDS) add(container.kinds[kind], seconds, cgroup.kinds[kind]);
  const { anon, swap } = cgroup.kinds;
  if (anon !== undefined) add(container.anonAndSwap, seconds, anon + (swap ?? 0));
  for (const field of STAT_FIELDS) add(container.stat[field], seconds, cgroup.stat[field]);
  add(container.oomKills, seconds, cgroup.events["oom_kill"]);
}

/** Returns how many processes of this container are not kept. */
function addProcesses(
  state: State,
  container: Container,
  readings: readonly ProcessReading[],
  omitted: number,
  seconds: number,
): number {
  let pssSum: number | undefined = omitted === 0 ? 0 : undefined;
  let rssSum: number | undefined = pssSum;
  let left = omitted;
  for (const reading of readings) {
    const pss = reading.rollup?.["Pss_Anon"];
    const rss = reading.status["RssAnon"];
    if (hasMemory(reading)) {
      pssSum = pss === undefined || pssSum === undefined ? undefined : pssSum + pss;
      rssSum = rss === undefined || rssSum === undefined ? undefined : rssSum + rss;
    }
    const skip = reading.rollupSkipped;
    if (skip !== undefined && TOLD_SKIPS.includes(skip)) state.skipped.add(skip);
    const process = processOf(state, container, reading);
    if (process === undefined) {
      left++;
      continue;
    }
    if (process.threads.times.at(-1) === seconds) continue;
    add(process.threads, seconds, reading.threads);
    add(process.pssAnon, seconds, pss);
    add(process.rssAnon, seconds, rss);
    add(process.rssShmem, seconds, reading.status["RssShmem"]);
    add(process.swap, seconds, reading.status["VmSwap"]);
  }
  if (readings.length > 0) {
    add(container.pssAnonSum, seconds, pssSum);
    add(container.rssAnonSum, seconds, rssSum);
  }
  return left;
}

function processOf(state: State, container: Container, reading: ProcessReading): Mutable<ProcessRecording> | undefined {
  const key = `${reading.pid}/${reading.startTicks}`;
  const known = container.processes.get(key);
  if (known !== undefined) {
    // A process has its parent's name until it calls execve.
    known.comm = reading.comm;
    return known;
  }
  if (state.processes >= MAX_PROCESSES) return undefined;
  state.processes++;
  const { pid, startTicks, ppid, comm } = reading;
  const series = { pssAnon: empty(), rssAnon: empty(), rssShmem: empty(), swap: empty(), threads: empty() };
  const made = { pid, startTicks, ppid, comm, ...series };
  container.processes.set(key, made);
  return made;
}

function finish(state: State): Recording {
  const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  const containers = [...state.containers.values()].map(settled).map((container) => ({
    ...container,
    processes: [...container.processes.values()].toSorted((a, b) => a.pid - b.pid || a.startTicks - b.startTicks),
  }));
  const gaps = state.gaps.toSorted((a, b) => a - b);
  return {
    samples: state.samples,
    samplesOmitted: state.samplesOmitted,
    processesOmitted: state.processesOmitted,
    containersOmitted: state.containersOmitted,
    lastSeconds: state.samples === 0 ? 0 : state.last,
    longestGapSeconds: gaps.at(-1) ?? 0,
    medianGapSeconds: gaps[gaps.length >> 1] ?? 0,
    rollupsSkipped: [...state.skipped].toSorted(byText),
    node: { memAvailable: state.memAvailable, psiSomeAvg10: state.psiSomeAvg10 },
    containers: containers.toSorted((a, b) => byText(a.podUid, b.podUid) || byText(a.id, b.id)),
  };
}

/** A process whose cgroup was its own in every sample is measured as what the kernel charges; any other by the sums of its processes. */
function settled({ sums, withoutOwn, ...container }: Container): Omit<Container, "sums" | "withoutOwn"> {
  if (sums === undefined) return container;
  if (withoutOwn === 0) return { ...container, scope: "Cgroup" };
  const { anon, file, shmem, swap, usage } = isEnough(sums.pss.anon, sums.rss.anon) ? sums.pss : sums.rss;
  const swapAt = new Map(swap.times.map((time, i) => [time, swap.values[i] ?? 0]));
  return {
    ...container,
    kinds: { anon, file, shmem, swap, kernel: empty(), sock: empty() },
    anonAndSwap: { times: anon.times, values: anon.values.map((v, i) => v + (swapAt.get(anon.times[i] ?? 0) ?? 0)) },
    usage,
    limitBytes: undefined,
  };
}

/**
 * Whether Pss was read often enough to judge by it. Rss is in every sample, and counts shared pages in each process; but a rollup that is dear is
 * read seldom, and a trend of too few points, or over too short a time, would hide a leak that Rss shows plainly.
 */
export function isEnough(pss: Series, rss: Series): boolean {
  const [few, all] = [pss.times.length, rss.times.length];
  const seconds = (pss.times.at(-1) ?? 0) - (pss.times[0] ?? 0);
  return few > all / 2 && (few >= all || (few >= MIN_POINTS && seconds >= MIN_SPAN_SECONDS));
}

function empty(): Growing {
  return { times: [], values: [] };
}

function emptySums(): Sums {
  return { anon: empty(), file: empty(), shmem: empty(), swap: empty(), usage: empty() };
}

function add(series: Series, seconds: number, value: number | undefined): void {
  if (value === undefined) return;
  const open = series as Growing;
  open.times.push(seconds);
  open.values.push(value);
}
