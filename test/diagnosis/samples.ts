/** Builds the samples of a synthetic container: give the memory of each kind as a function of time, in MiB. */
import type { MemoryKind, ProcessReading, Sample } from "../../src/api/collection.ts";

export const MIB = 2 ** 20;
export type Curve = (seconds: number, index: number) => number;

interface ProcessPlan {
  readonly pid: number;
  readonly startTicks?: number;
  readonly ppid?: number;
  readonly comm?: string;
  /** MiB. */
  readonly anon: Curve;
  readonly shmem?: Curve;
  readonly threads?: Curve;
  /** Seconds in which it lives. */
  readonly from?: number;
  readonly until?: number;
  readonly rollup?: boolean;
  /** RssAnon where it is not Pss_Anon: what is shared counts in it once more. */
  readonly resident?: Curve;
  /** Shared_Dirty, Private_Dirty, AnonHugePages, VmSize, VmPTE, RssFile, and dirty pages of mapped files. */
  readonly shared?: Curve;
  readonly unshared?: Curve;
  readonly huge?: Curve;
  readonly size?: Curve;
  readonly tables?: Curve;
  readonly file?: Curve;
  readonly dirtyFile?: Curve;
  /** Counts. */
  readonly sockets?: Curve;
  readonly pipes?: Curve;
  /** Seconds in user mode so far. */
  readonly busy?: Curve;
}

export interface NodePlan {
  readonly meminfo?: Readonly<Record<string, Curve>>;
  /** Usage of cgroups below the root, in MiB. */
  readonly top?: Readonly<Record<string, Curve>>;
  /** Pages. */
  readonly tcp?: Curve;
  readonly swapIns?: Curve;
}

export interface ContainerPlan {
  readonly pod?: string;
  readonly id?: string;
  readonly name?: string | undefined;
  readonly version?: 1 | 2;
  readonly limit?: number | undefined;
  /** MiB for each kind; anon is the sum of the processes unless given. */
  readonly kinds?: Partial<Record<MemoryKind, Curve>>;
  readonly processes?: readonly ProcessPlan[];
  readonly stat?: Readonly<Record<string, Curve>>;
  /** Counters of memory.stat and of memory.events, as they are. */
  readonly counts?: Readonly<Record<string, Curve>>;
  readonly events?: Readonly<Record<string, Curve>>;
  readonly high?: number;
  /** Seconds lost so far, some and full. */
  readonly stalled?: readonly [Curve, Curve];
  readonly from?: number;
  readonly until?: number;
}

/** A repeatable random number generator: mulberry32. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function* samplesOf(
  containers: readonly ContainerPlan[],
  {
    count = 60,
    interval = 5,
    node = {},
  }: { readonly count?: number; readonly interval?: number; readonly node?: NodePlan } = {},
): Generator<Sample> {
  for (let index = 0; index < count; index++) {
    const seconds = index * interval;
    const pods = new Map<string, Sample["pods"][number]>();
    for (const plan of containers) {
      const uid = plan.pod ?? "pod-1";
      const pod = pods.get(uid) ?? { uid, containers: [] };
      pods.set(uid, pod);
      if (lives(plan, seconds)) pod.containers.push(containerAt(plan, seconds, index));
    }
    yield {
      index,
      time: new Date(seconds * 1000).toISOString(),
      elapsedMs: seconds * 1000,
      node: nodeAt(node, seconds, index),
      pods: [...pods.values()],
    };
  }
}

function nodeAt({ meminfo = {}, top, tcp, swapIns }: NodePlan, seconds: number, index: number): Sample["node"] {
  const sizes = Object.entries(meminfo).map(([name, curve]) => [name, bytes(curve(seconds, index))]);
  const rows = Object.entries(top ?? {}).map(([name, curve]) => ({
    name,
    usageBytes: bytes(curve(seconds, index)),
    kinds: {},
  }));
  return {
    meminfo: {
      MemTotal: 8192 * MIB,
      MemAvailable: 4096 * MIB,
      ...(Object.fromEntries(sizes) as Record<string, number>),
    },
    vmstat: swapIns === undefined ? {} : { pswpin: swapIns(seconds, index) },
    ...(tcp === undefined ? {} : { sockets: { TCP_mem: tcp(seconds, index) } }),
    ...(top === undefined
      ? {}
      : { cgroups: { top: rows, others: { cgroups: 0, usageBytes: 0 }, pods: [], largestPods: [], podsOmitted: 0 } }),
  };
}

function lives({ from = 0, until = Number.POSITIVE_INFINITY }: ContainerPlan | ProcessPlan, seconds: number): boolean {
  return seconds >= from && seconds < until;
}

function containerAt(
  plan: ContainerPlan,
  seconds: number,
  index: number,
): Sample["pods"][number]["containers"][number] {
  const processes = (plan.processes ?? []).filter((p) => lives(p, seconds)).map((p) => processAt(p, seconds, index));
  const kinds: Partial<Record<MemoryKind, number>> = {
    anon: processes.reduce((sum, p) => sum + (p.rollup?.["Pss_Anon"] ?? p.status["RssAnon"] ?? 0), 0),
    file: 4 * MIB,
    shmem: 0,
    kernel: 2 * MIB,
  };
  for (const [kind, curve] of Object.entries(plan.kinds ?? {}))
    kinds[kind as MemoryKind] = bytes(curve(seconds, index));
  const { swap = 0, ...held } = kinds;
  const limit = "limit" in plan ? plan.limit : 256 * MIB;
  const id = plan.id ?? "c1";
  return {
    id,
    ...("name" in plan ? (plan.name === undefined ? {} : { name: plan.name }) : { name: "thumbnail" }),
    cgroup: {
      path: `/kubepods/pod/${id}`,
      version: plan.version ?? 2,
      usageBytes: Object.values(held).reduce((sum, value) => sum + value, 0),
      ...(limit === undefined ? {} : { limitBytes: limit }),
      kinds: swap === 0 && plan.kinds?.swap === undefined ? held : kinds,
      ...(plan.high === undefined ? {} : { highBytes: plan.high }),
      stat: {
        ...Object.fromEntries(Object.entries(plan.stat ?? {}).map(([k, curve]) => [k, bytes(curve(seconds, index))])),
        ...countsAt(plan.counts, seconds, index),
      },
      events: { oom_kill: 0, ...countsAt(plan.events, seconds, index) },
      ...(plan.stalled === undefined ? {} : { pressure: pressureAt(plan.stalled, seconds, index) }),
    },
    processes,
  };
}

function countsAt(
  curves: Readonly<Record<string, Curve>> = {},
  seconds: number,
  index: number,
): Record<string, number> {
  return Object.fromEntries(Object.entries(curves).map(([name, curve]) => [name, Math.round(curve(seconds, index))]));
}

function pressureAt(
  [some, full]: readonly [Curve, Curve],
  seconds: number,
  index: number,
): NonNullable<Sample["node"]["pressure"]> {
  const of = (curve: Curve) => ({ avg10: 0, avg60: 0, avg300: 0, totalUs: Math.round(1e6 * curve(seconds, index)) });
  return { some: of(some), full: of(full) };
}

function processAt(plan: ProcessPlan, seconds: number, index: number): ProcessReading {
  const at = (curve: Curve | undefined): number => (curve === undefined ? 0 : bytes(curve(seconds, index)));
  const anon = at(plan.anon);
  const resident = plan.resident === undefined ? anon : at(plan.resident);
  const [shmem, file, dirtyFile] = [at(plan.shmem), at(plan.file), at(plan.dirtyFile)];
  const shared = at(plan.shared);
  const unshared = plan.unshared === undefined ? resident - shared : at(plan.unshared);
  const whole = plan.shared !== undefined || plan.dirtyFile !== undefined || plan.huge !== undefined;
  const [sockets, pipes] = [plan.sockets?.(seconds, index), plan.pipes?.(seconds, index)];
  const kinds = {
    ...(sockets === undefined ? {} : { socket: sockets }),
    ...(pipes === undefined ? {} : { pipe: pipes }),
  };
  const open = Object.values(kinds).reduce((sum, n) => sum + n, 0);
  return {
    pid: plan.pid,
    startTicks: plan.startTicks ?? 100,
    ppid: plan.ppid ?? 1,
    comm: plan.comm ?? "thumbnail-svc",
    threads: plan.threads?.(seconds, index) ?? 5,
    ...(plan.busy === undefined ? {} : { utime: Math.round(100 * plan.busy(seconds, index)) }),
    status: {
      VmRSS: resident + shmem + file,
      RssAnon: resident,
      RssShmem: shmem,
      RssFile: file,
      VmSwap: 0,
      ...(plan.size === undefined ? {} : { VmSize: at(plan.size) }),
      ...(plan.tables === undefined ? {} : { VmPTE: at(plan.tables) }),
    },
    ...(open === 0 ? {} : { descriptors: { open, looked: open, kinds } }),
    ...(plan.rollup === false
      ? { rollupSkipped: "NotDue" }
      : {
          rollup: {
            Pss_Anon: anon,
            ...(whole
              ? {
                  Pss: anon + file + shmem,
                  Anonymous: resident,
                  Private_Dirty: unshared + dirtyFile,
                  Shared_Dirty: shared,
                  Shared_Clean: 0,
                  AnonHugePages: at(plan.huge),
                }
              : {}),
          },
        }),
  };
}

function bytes(mebibytes: number): number {
  return Math.max(0, Math.round(mebibytes * MIB));
}

export async function* stream(samples: Iterable<Sample>): AsyncGenerator<Sample> {
  yield* samples;
}
