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
  { count = 60, interval = 5 }: { readonly count?: number; readonly interval?: number } = {},
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
      node: { meminfo: { MemTotal: 8192 * MIB, MemAvailable: 4096 * MIB }, vmstat: {} },
      pods: [...pods.values()],
    };
  }
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
    anon: processes.reduce((sum, p) => sum + (p.status["RssAnon"] ?? 0), 0),
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
      stat: Object.fromEntries(Object.entries(plan.stat ?? {}).map(([k, curve]) => [k, bytes(curve(seconds, index))])),
      events: { oom_kill: 0 },
    },
    processes,
  };
}

function processAt(plan: ProcessPlan, seconds: number, index: number): ProcessReading {
  const anon = bytes(plan.anon(seconds, index));
  return {
    pid: plan.pid,
    startTicks: plan.startTicks ?? 100,
    ppid: plan.ppid ?? 1,
    comm: plan.comm ?? "thumbnail-svc",
    threads: plan.threads?.(seconds, index) ?? 5,
    status: {
      VmRSS: anon,
      RssAnon: anon,
      RssShmem: plan.shmem === undefined ? 0 : bytes(plan.shmem(seconds, index)),
      VmSwap: 0,
    },
    ...(plan.rollup === false ? { rollupSkipped: "NotDue" } : { rollup: { Pss_Anon: anon } }),
  };
}

function bytes(mebibytes: number): number {
  return Math.max(0, Math.round(mebibytes * MIB));
}

export async function* stream(samples: Iterable<Sample>): AsyncGenerator<Sample> {
  yield* samples;
}
