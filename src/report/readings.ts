/**
 * What was measured, as the charts need it: one pass over the samples keeps a few bounded tracks of the machine, of each container and of its
 * processes. A container is its pod and its name; when it restarts, its lines break and a new life begins on the same axis.
 */
import {
  type CgroupReading,
  type LocalReading,
  MEMORY_KINDS,
  type MemoryKind,
  type NodeCgroups,
  type NodeReading,
  type ProcessReading,
  type Sample,
} from "../api/collection.ts";
import { cut, emptyTrack, put, type Track } from "./tracks.ts";

/** The same bounds as in the diagnosis; later samples are counted only. */
const MAX_SAMPLES = 4320;
const MAX_CONTAINERS = 64;
const MAX_PROCESSES = 512;

/** Memory of a container at one moment. A kind that was not told is absent. */
export interface Level {
  readonly time: number;
  readonly usage: number;
  readonly kinds: Readonly<Partial<Record<MemoryKind, number>>>;
}

export interface Life {
  readonly id: string;
  readonly since: number;
}

export interface ContainerReadings {
  /** Empty on one machine. */
  readonly podUid: string;
  name: string | undefined;
  /** Container and Cgroup: what the kernel charges. Process: sums over processes, because others share their cgroup. */
  scope: "Container" | "Cgroup" | "Process";
  readonly levels: Level[];
  readonly limit: Track;
  /** One for each start that was seen; the first is the one that ran when the readings began. */
  readonly lives: Life[];
  /** When the kernel's counter of kills rose, and by how many. Between the sample before and this one. */
  readonly kills: { readonly time: number; readonly before: number; readonly count: number }[];
}

export interface ProcessReadings {
  readonly pid: number;
  readonly startTicks: number;
  comm: string;
  readonly container: ContainerReadings;
  readonly since: number;
  until: number;
  readonly pss: Track;
  readonly uss: Track;
  readonly rss: Track;
}

export interface Readings {
  readonly samples: number;
  readonly samplesOmitted: number;
  readonly processesOmitted: number;
  readonly containersOmitted: number;
  /** Wall-clock time of the first sample in milliseconds; undefined where it cannot be read. */
  readonly startMs: number | undefined;
  /** Milliseconds since the first sample. */
  readonly end: number;
  readonly machine: Readonly<Record<"memTotal" | "memAvailable" | "psiSome" | "psiFull" | "swapUsed", Track>>;
  /** Who else holds memory on the machine, at the end. */
  readonly neighbours: NodeCgroups | undefined;
  readonly containers: readonly ContainerReadings[];
  readonly processes: readonly ProcessReadings[];
  /** Why rollups are missing, and how often. */
  readonly rollupsSkipped: ReadonlyMap<string, number>;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type State = Mutable<Omit<Readings, "containers" | "processes" | "rollupsSkipped">> & {
  readonly containers: Map<string, Growing>;
  readonly processes: Map<string, ProcessReadings>;
  readonly rollupsSkipped: Map<string, number>;
};

/** `sums` beside `levels`, until it is known which of the two is the target's own. */
interface Growing extends ContainerReadings {
  readonly sums: Level[];
  shared: boolean;
  oomKills: number | undefined;
}

export interface Watching {
  /** Looks at one sample; samples whose clock does not go forward are counted only. */
  see(sample: Sample): void;
  /** What was seen; call it once, after the last sample. */
  readings(): Readings;
}

export function watch(): Watching {
  const state: State = {
    samples: 0,
    samplesOmitted: 0,
    processesOmitted: 0,
    containersOmitted: 0,
    startMs: undefined,
    end: 0,
    machine: {
      memTotal: emptyTrack(),
      memAvailable: emptyTrack(),
      psiSome: emptyTrack(),
      psiFull: emptyTrack(),
      swapUsed: emptyTrack(),
    },
    neighbours: undefined,
    containers: new Map(),
    processes: new Map(),
    rollupsSkipped: new Map(),
  };
  return { see: (sample) => see(state, sample), readings: () => settled(state) };
}

function see(state: State, sample: Sample): void {
  const time = sample.elapsedMs;
  if (!Number.isFinite(time) || state.samples >= MAX_SAMPLES || (state.samples > 0 && time <= state.end)) {
    state.samplesOmitted++;
    return;
  }
  const wall = Date.parse(sample.time) - time;
  if (state.samples === 0 && Number.isFinite(wall)) state.startMs = wall;
  state.samples++;
  state.end = time;
  seeMachine(state.machine, time, sample.node);
  if (sample.node.cgroups !== undefined) state.neighbours = sample.node.cgroups;
  for (const { uid, containers } of sample.pods)
    for (const { id, name, cgroup, processes } of containers) {
      const container = containerOf(state, `${uid}/${name ?? id}`, { podUid: uid, name, scope: "Container", id, time });
      // What stands twice in one sample is a mistake of its writer; the first stands.
      if (container === undefined || container.levels.at(-1)?.time === time) continue;
      seeCgroup(container, time, cgroup);
      seeProcesses(state, container, time, processes);
    }
  if (sample.local !== undefined) seeLocal(state, time, sample.local);
}

function seeMachine(machine: State["machine"], time: number, { meminfo, pressure }: NodeReading): void {
  put(machine.memTotal, time, meminfo["MemTotal"]);
  put(machine.memAvailable, time, meminfo["MemAvailable"]);
  put(machine.psiSome, time, pressure?.some.avg10);
  put(machine.psiFull, time, pressure?.full?.avg10);
  const [total, free] = [meminfo["SwapTotal"], meminfo["SwapFree"]];
  if (total !== undefined && free !== undefined) put(machine.swapUsed, time, total - free);
}

function seeLocal(state: State, time: number, local: LocalReading): void {
  const { kind, life, name, cgroup, processes, processesOmitted, othersInCgroup = 0 } = local;
  const container = containerOf(state, "local", { podUid: "", name, scope: kind, id: life, time });
  if (container === undefined) return;
  if (cgroup !== undefined) seeCgroup(container, time, cgroup);
  if (kind === "Process") {
    if (cgroup === undefined || othersInCgroup > 0) container.shared = true;
    if (processesOmitted === undefined || processesOmitted === 0) container.sums.push(sumOf(time, processes));
  }
  seeProcesses(state, container, time, processes);
}

interface Named extends Pick<ContainerReadings, "podUid" | "name" | "scope"> {
  readonly id: string;
  readonly time: number;
}

function containerOf(state: State, key: string, { id, time, ...named }: Named): Growing | undefined {
  const known = state.containers.get(key);
  if (known === undefined && state.containers.size >= MAX_CONTAINERS) {
    state.containersOmitted++;
    return undefined;
  }
  const container: Growing = known ?? {
    ...named,
    levels: [],
    sums: [],
    limit: emptyTrack(),
    lives: [],
    kills: [],
    shared: false,
    oomKills: undefined,
  };
  state.containers.set(key, container);
  if (container.lives.at(-1)?.id !== id && !container.lives.some((life) => life.id === id)) {
    container.lives.push({ id, since: time });
    container.oomKills = undefined;
  }
  return container;
}

function seeCgroup(container: Growing, time: number, cgroup: CgroupReading): void {
  const before = container.levels.at(-1)?.time ?? time;
  container.levels.push({ time, usage: cgroup.usageBytes, kinds: cgroup.kinds });
  if (cgroup.limitBytes === undefined) cut(container.limit, time);
  else put(container.limit, time, cgroup.limitBytes);
  const counted = cgroup.events["oom_kill"];
  if (counted !== undefined && container.oomKills !== undefined && counted > container.oomKills)
    container.kills.push({ time, before, count: counted - container.oomKills });
  container.oomKills = counted;
}

/** Sums of Pss; a kind that one process did not tell of is not told at all, because a sum without it would be a lie. */
function sumOf(time: number, processes: readonly ProcessReading[]): Level {
  const alive = processes.filter(({ status }) => status["VmRSS"] !== undefined);
  const sum = (of: (process: ProcessReading) => number | undefined): number | undefined =>
    alive.reduce<number | undefined>((total, process) => {
      const one = of(process);
      return total === undefined || one === undefined ? undefined : total + one;
    }, 0);
  const kinds: Partial<Record<MemoryKind, number>> = {};
  for (const [kind, field] of [
    ["anon", "Anon"],
    ["file", "File"],
    ["shmem", "Shmem"],
  ] as const) {
    const bytes = sum(({ rollup }) => rollup?.[`Pss_${field}`]) ?? sum(({ status }) => status[`Rss${field}`]);
    if (bytes !== undefined) kinds[kind] = bytes;
  }
  const swap = sum(({ status }) => status["VmSwap"]);
  if (swap !== undefined) kinds.swap = swap;
  return { time, kinds, usage: (kinds.anon ?? 0) + (kinds.file ?? 0) + (kinds.shmem ?? 0) };
}

function seeProcesses(state: State, container: Growing, time: number, processes: readonly ProcessReading[]): void {
  for (const reading of processes) {
    const { rollup, rollupSkipped, status } = reading;
    if (rollupSkipped !== undefined && !["NotDue", "Gone"].includes(rollupSkipped))
      state.rollupsSkipped.set(rollupSkipped, (state.rollupsSkipped.get(rollupSkipped) ?? 0) + 1);
    const process = processOf(state, container, time, reading);
    if (process === undefined || process.rss.times.at(-1) === time) continue;
    process.until = time;
    put(process.rss, time, status["VmRSS"]);
    put(process.pss, time, rollup?.["Pss"]);
    const [clean, dirty] = [rollup?.["Private_Clean"], rollup?.["Private_Dirty"]];
    if (clean !== undefined && dirty !== undefined) put(process.uss, time, clean + dirty);
  }
}

function processOf(
  state: State,
  container: ContainerReadings,
  time: number,
  { pid, startTicks, comm }: ProcessReading,
): ProcessReadings | undefined {
  const key = `${pid}/${startTicks}`;
  const known = state.processes.get(key);
  if (known !== undefined) {
    // A process has its parent's name until it calls execve.
    known.comm = comm;
    return known;
  }
  if (state.processes.size >= MAX_PROCESSES) {
    state.processesOmitted++;
    return undefined;
  }
  const tracks = { pss: emptyTrack(), uss: emptyTrack(), rss: emptyTrack() };
  const process: ProcessReadings = { pid, startTicks, comm, container, since: time, until: time, ...tracks };
  state.processes.set(key, process);
  return process;
}

function settled(state: State): Readings {
  const containers = [...state.containers.values()];
  for (const container of containers) {
    if (container.scope !== "Process") continue;
    if (!container.shared) container.scope = "Cgroup";
    else container.levels.splice(0, container.levels.length, ...container.sums);
    if (container.shared) for (const track of [container.limit.times, container.limit.values]) track.length = 0;
  }
  return {
    ...state,
    containers,
    processes: [...state.processes.values()],
  };
}

/** The kinds that a container told of at any time, in the order of the kernel's words. */
export function kindsOf({ levels }: { readonly levels: readonly Level[] }): readonly MemoryKind[] {
  return MEMORY_KINDS.filter((kind) => levels.some(({ kinds }) => kinds[kind] !== undefined));
}
