/**
 * One sample: the node, the cgroups of each pod and its containers or the target of one machine, and every process in them. Processes are
 * read one after the other.
 */
import { join } from "node:path";
import type { CollectionPlan, LocalReading, Manifest, NodeReading, ProcessReading, Sample } from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { readCgroup } from "./cgroup.ts";
import { predictRollup, type CostGate, type EarlierRead } from "./costgate.ts";
import { createDescriptors } from "./descriptors.ts";
import type { LocalSelection } from "./localtarget.ts";
import { surveyMappings } from "./mapfiles.ts";
import { createMembership } from "./membership.ts";
import { createNeighbours } from "./neighbours.ts";
import { createNetworks, machineSockets } from "./networks.ts";
import { findPod, type Hierarchy } from "./podcgroups.ts";
import { type ProcessFolder, readNode, readProcess, readRollup } from "./procfs.ts";

export interface SamplerOptions {
  readonly plan: CollectionPlan;
  readonly proc: string;
  /** Undefined: this machine accounts no memory to cgroups, and only a local target can be measured. */
  readonly hierarchy: Hierarchy | undefined;
  /** Who belongs to the plan's local target. */
  readonly local?: LocalSelection | undefined;
  readonly kubepods: readonly string[];
  readonly gate: CostGate;
  readonly clock: Clock;
}

export interface Sampler {
  take(index: number, elapsedMs: number): Promise<Sample>;
  /** What was left out, once for each kind. */
  notes(): Manifest["skipped"];
}

/** A rollup that is dearer than this is taken at most this often. */
const CHEAP_MS = 5;
const DEAR_EVERY_MS = 30_000;

type Pod = Sample["pods"][number];
type Container = Pod["containers"][number];

/** Notes that name a process. */
const MAX_NOTES = 48;
/** In one sample; each is about 700 bytes of a line that may not grow without bounds. */
const MAX_PROCESSES = 2048;

interface RollupState extends EarlierRead {
  readonly atMs: number;
  readonly mappings: number | undefined;
  readonly hugeBytes: number | undefined;
}

export function createSampler(options: SamplerOptions): Sampler {
  const { plan, proc, hierarchy, kubepods, gate, clock } = options;
  /** What the last rollup of a process cost, by (pid, start), and when it was. */
  let rollups = new Map<string, RollupState>();
  let seen = new Map<string, RollupState>();
  let elapsed = 0;
  let room = MAX_PROCESSES;
  const membership = hierarchy === undefined ? undefined : createMembership(proc, hierarchy, clock);
  const neighbours = hierarchy === undefined ? undefined : createNeighbours(hierarchy, kubepods, clock);
  const descriptors = createDescriptors(proc);
  const networks = createNetworks(proc, clock);
  const left = new Map<string, { what: string; reason: string; count: number }>();

  async function take(index: number, elapsedMs: number): Promise<Sample> {
    const time = clock.now().toISOString();
    const node = await nodeReading();
    gate.node(node.meminfo);
    membership?.renew();
    descriptors.renew();
    networks.renew();
    elapsed = elapsedMs;
    room = MAX_PROCESSES;
    // Of processes that are gone nothing is remembered.
    rollups = seen;
    seen = new Map();
    const pods: Pod[] = [];
    for (const pod of plan.pods)
      pods.push(await samplePod(pod.uid, new Map(pod.containers.map((c) => [c.id, c.name]))));
    const local = options.local === undefined ? undefined : await sampleLocal(options.local);
    const read = await networks.read();
    const sockets = read.length === 0 ? {} : { networks: read };
    const ofMachine = local === undefined ? {} : { local };
    return { index, time, elapsedMs: Math.round(elapsedMs), node, ...sockets, pods, ...ofMachine };
  }

  async function nodeReading(): Promise<NodeReading> {
    const node = await readNode(proc);
    const sockets = await machineSockets(proc, clock);
    const cgroups = await neighbours?.read();
    return { ...node, ...(sockets === undefined ? {} : { sockets }), ...(cgroups === undefined ? {} : { cgroups }) };
  }

  async function sampleLocal(selection: LocalSelection): Promise<LocalReading | undefined> {
    const found = await selection.look();
    if (found === undefined) {
      note(selection.target.name, "Gone");
      return undefined;
    }
    const { cgroupPath, pids, holds, othersInCgroup, cut } = found;
    if (cut === true) note(`cgroups in ${selection.target.name}`, "TooMany");
    const cgroup =
      hierarchy === undefined || cgroupPath === undefined
        ? undefined
        : await readCgroup(join(hierarchy.root, cgroupPath), cgroupPath, hierarchy.version);
    const omitted = found.omitted + Math.max(0, pids.length - room);
    const processes = await sampleProcesses(pids.slice(0, room), holds);
    return {
      kind: selection.target.kind,
      life: found.life,
      name: selection.target.name,
      ...(cgroup === undefined ? {} : { cgroup }),
      ...(othersInCgroup === undefined ? {} : { othersInCgroup }),
      processes,
      ...(omitted === 0 ? {} : { processesOmitted: omitted }),
    };
  }

  async function samplePod(uid: string, names: ReadonlyMap<string, string>): Promise<Pod> {
    const found = hierarchy === undefined ? undefined : await findPod(hierarchy, kubepods, uid);
    if (found === undefined || hierarchy === undefined || membership === undefined) {
      note(`pod ${uid}`, "Gone");
      return { uid, containers: [] };
    }
    const cgroup = await readCgroup(join(hierarchy.root, found.path), found.path, hierarchy.version);
    const containers: Container[] = [];
    for (const { id, path } of found.containers) {
      const reading = await readCgroup(join(hierarchy.root, path), path, hierarchy.version);
      if (reading === undefined) continue;
      const name = names.get(id);
      const owner = { podUid: uid, containerId: id };
      const { pids, omitted, cut } = await membership.pidsOf(path, owner);
      if (cut) note(`cgroups in container ${id}`, "TooMany");
      if (pids.length === 0) continue; // A cgroup that is left over from a dead container.
      const allowed = pids.slice(0, room);
      room -= allowed.length;
      const left = omitted + pids.length - allowed.length;
      const processes = await sampleProcesses(allowed, ({ pid }) => membership.holds(pid, owner));
      containers.push({
        id,
        ...(name === undefined ? {} : { name }),
        cgroup: reading,
        processes,
        ...(left === 0 ? {} : { processesOmitted: left }),
      });
    }
    return { uid, ...(cgroup === undefined ? {} : { cgroup }), containers };
  }

  async function sampleProcesses(
    pids: readonly number[],
    holds: (process: ProcessReading) => Promise<boolean>,
  ): Promise<ProcessReading[]> {
    const readings: ProcessReading[] = [];
    for (const pid of pids) {
      const process = await readProcess(proc, pid, clock);
      if (process === undefined) continue;
      // Between the list and the reading the pid may have been given to a process of somebody else.
      if (!(await holds(process))) {
        note("processes", "Elsewhere");
        continue;
      }
      const { state, folder, ...reading } = process;
      readings.push({ ...reading, ...openOf(folder), ...(await rollupOf(reading, state, folder)) });
    }
    return readings;
  }

  function openOf(folder: ProcessFolder): Partial<ProcessReading> {
    const open = descriptors.of(folder);
    if (open.descriptorsSkipped !== undefined) note("descriptors", open.descriptorsSkipped);
    const networkNamespace = networks.namespaceOf(folder);
    return { ...open, ...(networkNamespace === undefined ? {} : { networkNamespace }) };
  }

  async function rollupOf(
    process: ProcessReading,
    state: string,
    folder: ProcessFolder,
  ): Promise<Partial<ProcessReading>> {
    const key = `${process.pid}/${process.startTicks}`;
    const before = rollups.get(key);
    if (before !== undefined) seen.set(key, before);
    const rss = process.status["VmRSS"];
    // A kernel thread or a zombie has no memory; a task in D may hold the lock that we would wait for.
    if (rss === undefined || state === "Z") return {};
    const closed = gate.closed(key, state);
    if (closed !== undefined) return leave(process, closed);
    const now = clock.monotonicMs();
    if (before !== undefined && before.ms > CHEAP_MS && now - before.atMs < DEAR_EVERY_MS)
      return { rollupSkipped: "NotDue" };
    const mappings = before?.mappings ?? (await surveyMappings(proc, folder, clock))?.mappings;
    const predicted = predictRollup({ rssBytes: rss, hugeBytes: before?.hugeBytes, mappings }, before);
    const refusal = gate.refuses({ process: key, state, predicted, elapsedMs: elapsed });
    if (refusal !== undefined) return leave(process, refusal);
    const begun = gate.begin(key, predicted);
    let ending: Promise<unknown> | undefined;
    const rollup = await readRollup(proc, { ...process, folder }, clock, (held) => {
      ending = held;
    }).catch((error: unknown) => {
      begun.end(0);
      throw error;
    });
    if (ending === undefined) begun.end(rollup.ms);
    else begun.leave(rollup.ms, ending);
    const hugeBytes = "sizes" in rollup ? rollup.sizes["AnonHugePages"] : undefined;
    seen.set(key, { ms: rollup.ms, rssBytes: rss, atMs: now, mappings, hugeBytes });
    const rollupMs = Math.round(rollup.ms * 100) / 100;
    if ("skipped" in rollup) return { ...leave(process, rollup.skipped), rollupMs };
    return { rollup: rollup.sizes, rollupMs };
  }

  function leave(process: ProcessReading, reason: string): Partial<ProcessReading> {
    const what = `smaps_rollup of ${process.comm} (${process.pid})`;
    // Processes come and go by the thousand; they must not take the place of what else is to be told.
    const named = left.has(`${what} ${reason}`) || left.size < MAX_NOTES;
    note(named ? what : "smaps_rollup of further processes", reason);
    return { rollupSkipped: reason };
  }

  function note(what: string, reason: string): void {
    const key = `${what} ${reason}`;
    const entry = left.get(key) ?? { what, reason, count: 0 };
    entry.count += 1;
    left.set(key, entry);
  }

  return {
    take,
    notes: () => [...left.values()].map(({ what, reason, count }) => ({ what, reason, detail: `${count} times` })),
  };
}
