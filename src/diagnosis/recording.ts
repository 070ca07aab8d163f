/**
 * What was measured, as numbers over time: one pass over the samples keeps a few series for each container and process and drops the
 * rest. A process is (pid, start time), a container is its id: a restart begins new series. What is measured on one machine without a
 * cluster, a cgroup or a process with its descendants, is recorded as if it were a container.
 */
import type { LocalReading, MemoryKind, NodeReading, Sample } from "../api/collection.ts";
import { type Columns, addRow, allSeries, columns, lastTime } from "./columns.ts";
import {
  type EventField,
  type Holder,
  type StatField,
  addCgroup,
  addProcesses,
  addSums,
  makeHolder,
  settled,
} from "./holder.ts";
import type { ProcessField, SumField } from "./processfields.ts";
import type { Series } from "./statistics.ts";

/** Samples that are kept; a day at 20 s. Later ones are counted only. */
const MAX_SAMPLES = 4320;
const MAX_CONTAINERS = 256;
/** Cgroups below the root whose size is followed. */
const MAX_NEIGHBOURS = 32;

/** The series of one process; a field that was not read has no points. */
export interface ProcessRecording extends Readonly<Record<ProcessField, Series>> {
  readonly pid: number;
  readonly startTicks: number;
  readonly ppid: number;
  readonly comm: string;
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
  /** As in the kernel's report; undefined: no cgroup was read. */
  readonly path: string | undefined;
  /** Undefined: no cgroup was read. */
  readonly cgroupVersion: 1 | 2 | undefined;
  readonly kinds: Readonly<Record<MemoryKind, Series>>;
  /** anon + swap: swap-out must not look like memory that was given back. */
  readonly anonAndSwap: Series;
  readonly usage: Series;
  /** The newest reading; undefined: no limit. */
  readonly limitBytes: number | undefined;
  /** memory.high; undefined: none, and always on v1. */
  readonly highBytes: number | undefined;
  readonly stat: Readonly<Record<StatField, Series>>;
  /** Counters of memory.events, and of PSI in microseconds. */
  readonly events: Readonly<Record<EventField, Series>>;
  /** Of a process: the most processes of others that were in its cgroup. */
  readonly othersInCgroup: number;
  /** Over all processes; only where every process was read. */
  readonly sums: Readonly<Record<SumField, Series>>;
  readonly processes: readonly ProcessRecording[];
  readonly firstSeconds: number;
  readonly lastSeconds: number;
}

/**
 * Whose new life a container is that nobody has named: in a pod of one container there is no doubt. The pod's sandbox is none, and one that was there
 * from the first sample has not restarted since.
 * @param names of all containers of its pod
 */
export function restartOf(
  { processes, firstSeconds }: ContainerRecording,
  names: readonly string[],
): string | undefined {
  const sandbox = processes.length > 0 && processes.every(({ comm }) => comm === "pause");
  return names.length === 1 && !sandbox && firstSeconds > 0 ? names[0] : undefined;
}

export const NODE_FIELDS = [
  "memTotal",
  "memAvailable",
  "psiSomeUs",
  "psiFullUs",
  "oomKills",
  "swapIns",
  "tcpPages",
  "anonPages",
  "sharedPages",
  "slabUnreclaimable",
] as const;

/** The machine around the container; a field that was not read has no points. */
export interface NodeRecording extends Readonly<Record<(typeof NODE_FIELDS)[number], Series>> {
  /** Usage of the cgroups directly below the root, by name; of those that were listed. */
  readonly neighbours: ReadonlyMap<string, Series>;
}

export interface Recording {
  /** Samples that were read in order. */
  readonly samples: number;
  /** Samples beyond the cap, and samples whose clock did not go forward. */
  readonly samplesOmitted: number;
  /** Processes left out, by the collector's cap or by ours. */
  readonly processesOmitted: number;
  readonly containersOmitted: number;
  /** Since the first sample. */
  readonly lastSeconds: number;
  /** Seconds of the longest pause between two samples, and of the median one. */
  readonly longestGapSeconds: number;
  readonly medianGapSeconds: number;
  readonly rollupsSkipped: readonly string[];
  readonly node: NodeRecording;
  /** In the order of pod uid and container id, whatever the order in the samples. */
  readonly containers: readonly ContainerRecording[];
}

interface State {
  readonly containers: Map<string, Holder>;
  readonly skipped: Set<string>;
  readonly gaps: number[];
  readonly node: Columns<(typeof NODE_FIELDS)[number]>;
  readonly neighbours: Map<string, { times: number[]; values: number[] }>;
  samples: number;
  samplesOmitted: number;
  processes: number;
  processesOmitted: number;
  containersOmitted: number;
  first: number;
  last: number;
}

/** Reads all samples once. Memory is bounded by the caps above, not by the length of the stream. Times are counted from the first sample. */
export async function record(samples: AsyncIterable<Sample>): Promise<Recording> {
  const state: State = {
    containers: new Map(),
    skipped: new Set(),
    gaps: [],
    node: columns(NODE_FIELDS),
    neighbours: new Map(),
    samples: 0,
    samplesOmitted: 0,
    processes: 0,
    processesOmitted: 0,
    containersOmitted: 0,
    first: Number.NaN,
    last: Number.NEGATIVE_INFINITY,
  };
  for await (const sample of samples) {
    const origin = Number.isNaN(state.first) ? sample.elapsedMs : state.first;
    const seconds = (sample.elapsedMs - origin) / 1000;
    if (state.samples >= MAX_SAMPLES || !(seconds > state.last)) state.samplesOmitted++;
    else {
      state.first = origin;
      addSample(state, sample, seconds);
    }
  }
  return finish(state);
}

function addSample(state: State, sample: Sample, seconds: number): void {
  if (state.samples > 0) state.gaps.push(seconds - state.last);
  state.samples++;
  state.last = seconds;
  addNode(state, sample.node, seconds);
  let omittedNow = 0;
  for (const pod of sample.pods) {
    for (const reading of pod.containers) {
      const container = holderOf(state, pod.uid, reading.id, reading.cgroup.version, "Container", seconds);
      // A container that is listed twice in one sample is a mistake of the writer; the first stands.
      if (container === undefined || lastTime(container.memory) === seconds) continue;
      if (reading.name !== undefined) container.name = reading.name;
      addCgroup(container, reading.cgroup, seconds);
      omittedNow += addProcesses(state, container, reading.processes, reading.processesOmitted ?? 0, seconds);
    }
  }
  if (sample.local !== undefined) omittedNow += addLocal(state, sample.local, seconds);
  state.processesOmitted = Math.max(state.processesOmitted, omittedNow);
}

function addNode(state: State, node: NodeReading, seconds: number): void {
  const { meminfo, vmstat, pressure, sockets, cgroups } = node;
  addRow(state.node, seconds, {
    memTotal: meminfo["MemTotal"],
    memAvailable: meminfo["MemAvailable"],
    psiSomeUs: pressure?.some.totalUs,
    psiFullUs: pressure?.full?.totalUs,
    oomKills: vmstat["oom_kill"],
    swapIns: vmstat["pswpin"],
    tcpPages: sockets?.["TCP_mem"],
    anonPages: meminfo["AnonPages"],
    sharedPages: meminfo["Shmem"],
    slabUnreclaimable: meminfo["SUnreclaim"],
  });
  for (const { name, usageBytes } of cgroups?.top ?? []) {
    let known = state.neighbours.get(name);
    if (known === undefined) {
      if (state.neighbours.size >= MAX_NEIGHBOURS) continue;
      known = { times: [], values: [] };
      state.neighbours.set(name, known);
    }
    if (known.times.at(-1) === seconds) continue;
    known.times.push(seconds);
    known.values.push(usageBytes);
  }
}

/** Returns how many processes are not kept. */
function addLocal(state: State, local: LocalReading, seconds: number): number {
  const { kind, life, name, cgroup, processes, processesOmitted = 0 } = local;
  const container = holderOf(state, "", life, cgroup?.version, kind, seconds);
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

function holderOf(
  state: State,
  podUid: string,
  id: string,
  version: 1 | 2 | undefined,
  scope: ContainerRecording["scope"],
  seconds: number,
): Holder | undefined {
  const key = `${podUid}/${id}`;
  const known = state.containers.get(key);
  if (known !== undefined) return known;
  if (state.containers.size >= MAX_CONTAINERS) {
    state.containersOmitted++;
    return undefined;
  }
  const made = makeHolder(podUid, id, version, scope, seconds);
  state.containers.set(key, made);
  return made;
}

function finish(state: State): Recording {
  const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  const containers = [...state.containers.values()].map(settled);
  const gaps = state.gaps.toSorted((a, b) => a - b);
  const neighbours = new Map([...state.neighbours].toSorted(([a], [b]) => byText(a, b)));
  return {
    samples: state.samples,
    samplesOmitted: state.samplesOmitted,
    processesOmitted: state.processesOmitted,
    containersOmitted: state.containersOmitted,
    lastSeconds: state.samples === 0 ? 0 : state.last,
    longestGapSeconds: gaps.at(-1) ?? 0,
    medianGapSeconds: gaps[gaps.length >> 1] ?? 0,
    rollupsSkipped: [...state.skipped].toSorted(byText),
    node: { ...allSeries(state.node), neighbours },
    containers: containers.toSorted((a, b) => byText(a.podUid, b.podUid) || byText(a.id, b.id)),
  };
}
