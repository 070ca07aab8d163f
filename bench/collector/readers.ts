/**
 * Who reads the target? Each stage of the collector by its own functions, and the tools that an engineer would use instead. A reader that read
 * nothing throws: a bench that measured nothing must not look cheap.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ProcessReading } from "../../src/api/collection.ts";
import { readCgroup } from "../../src/collector/cgroup.ts";
import { createCostGate } from "../../src/collector/costgate.ts";
import { createDescriptors } from "../../src/collector/descriptors.ts";
import { memoryDevices, streamFile, surveyMappings } from "../../src/collector/mapfiles.ts";
import { createAggregator } from "../../src/collector/mappings.ts";
import { memoryPathOf } from "../../src/collector/membership.ts";
import { createNeighbours } from "../../src/collector/neighbours.ts";
import { createNetworks, machineSockets } from "../../src/collector/networks.ts";
import { kubepodsRoots, memoryHierarchy } from "../../src/collector/podcgroups.ts";
import { readNode, readProcess, readRollup } from "../../src/collector/procfs.ts";
import { takeProfiles } from "../../src/collector/profile/stage.ts";
import { takeSnapshot } from "../../src/collector/snapshots.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { TARGET_BINARY } from "./target.ts";

const PROC = "/proc";
const CGROUP = "/sys/fs/cgroup";
/** The defaults of `oomscope collect`. */
export const DEFAULT_INTERVAL_MS = 5_000;
export const DEFAULT_DURATION_MS = 120_000;
export const DEFAULT_BUDGET_MS = 1_000;

export interface Reader {
  readonly name: string;
  /** One reading of the process. Throws when there was nothing to read. @returns how long it took, in milliseconds */
  read(pid: number): Promise<number>;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** Throws when it is gone. */
export async function processOf(pid: number): Promise<ProcessReading & { readonly state: string }> {
  const found = await readProcess(PROC, pid, systemClock);
  if (found === undefined) throw new Error(`The target (${pid}) cannot be read`);
  return found;
}

/** Node, its sockets, the neighbours' cgroups, and the target's own cgroup where it has one. */
async function nodeAndCgroup(): Promise<Reader> {
  const hierarchy = await memoryHierarchy(CGROUP);
  const kubepods = hierarchy === undefined ? [] : await kubepodsRoots(hierarchy);
  const read = async (pid: number): Promise<void> => {
    const node = await readNode(PROC);
    await machineSockets(PROC, systemClock);
    // Made anew: one that has just read does not read again for ten seconds.
    await createNeighbours(hierarchy, kubepods, systemClock).read();
    if (hierarchy !== undefined) {
      const path = await memoryPathOf(PROC, pid, hierarchy.version);
      if (path !== undefined) await readCgroup(join(hierarchy.root, path), path, hierarchy.version);
    }
    if (node.meminfo["MemTotal"] === undefined) throw new Error("/proc/meminfo says nothing");
  };
  return { name: "node and cgroups", read: (pid) => timed(() => read(pid)) };
}

const STATUS: Reader = { name: "process status", read: (pid) => timed(() => processOf(pid)) };

export const ROLLUP: Reader = {
  name: "smaps_rollup",
  read: async (pid) => {
    const rollup = await readRollup(PROC, await processOf(pid), systemClock);
    if ("skipped" in rollup) throw new Error(`smaps_rollup was not read: ${rollup.skipped}`);
    return rollup.ms;
  },
};

const DESCRIPTORS: Reader = {
  name: "descriptors and sockets",
  read: (pid) =>
    timed(async () => {
      const networks = createNetworks(PROC, systemClock);
      const { descriptors } = createDescriptors(PROC).of(pid);
      networks.namespaceOf(pid);
      if (descriptors === undefined || (await networks.read()).length === 0)
        throw new Error("Neither descriptors nor sockets could be read: run it as root");
    }),
};

/** As the collector takes it, with its gate. */
const SNAPSHOT: Reader = {
  name: "smaps snapshot",
  read: (pid) =>
    timed(async () => {
      const snapshot = await takeSnapshot(
        {
          proc: PROC,
          gate: createCostGate(DEFAULT_BUDGET_MS, DEFAULT_DURATION_MS),
          clock: systemClock,
          signal: new AbortController().signal,
          nameKey: randomBytes(16).toString("hex"),
        },
        "Start",
        0,
        [{ process: await processOf(pid) }],
        0,
      );
      if (snapshot.processes.length === 0) throw new Error(`smaps was not read: ${JSON.stringify(snapshot.skipped)}`);
    }),
};

/** smaps whatever the gate says, parsed as the collector parses it; the time is that of the system calls. */
export const SMAPS: Reader = {
  name: "smaps",
  read: async (pid) => {
    const aggregator = createAggregator("bench", await memoryDevices(PROC, pid, systemClock));
    const read = await streamFile(`${PROC}/${pid}/smaps`, systemClock, (bytes) => aggregator.feed(bytes));
    if (read.ended !== "Whole" || aggregator.end().mappings === 0) throw new Error(`smaps was not read: ${read.ended}`);
    return read.ms;
  },
};

/** With perf, on CPU and at page faults. @param ms of recording, after the two seconds in which it counts how much there is to record */
export function profileFor(ms: number): Reader {
  return {
    name: "profile",
    read: (pid) =>
      timed(async () => {
        const { startTicks, comm } = await processOf(pid);
        const { profiles, skipped } = await takeProfiles({
          proc: PROC,
          processes: () => [{ pid, startTicks, comm }],
          durationMs: ms,
          frequencyHz: 99,
          workFolder: "/dev/shm",
          clock: systemClock,
          random: systemRandom,
          signal: new AbortController().signal,
        });
        if (!profiles.some((profile) => profile.processes.some(({ stacks }) => stacks.length > 0)))
          throw new Error(`No profile was taken: ${skipped.map((s) => `${s.reason} (${s.detail})`).join("; ")}`);
      }),
  };
}

/** The stages that read at the interval, or three times in a collection. */
export async function quickStages(): Promise<readonly Reader[]> {
  return [await nodeAndCgroup(), STATUS, ROLLUP, DESCRIPTORS, SNAPSHOT];
}

const run = promisify(execFile);
/** pmap of 20,000 mappings is 1.6 MB. */
const MAX_OUTPUT_BYTES = 64 * 2 ** 20;

function tool(name: string, command: string, args: (pid: number) => string[], says: (pid: number) => RegExp): Reader {
  return {
    name,
    read: (pid) =>
      timed(async () => {
        const { stdout } = await run(command, args(pid), { maxBuffer: MAX_OUTPUT_BYTES });
        if (!says(pid).test(stdout)) throw new Error(`${name} said nothing of the target`);
      }),
  };
}

export const CAT = tool(
  "`cat smaps`",
  "cat",
  (pid) => [`${PROC}/${pid}/smaps`],
  () => /^Pss:/m,
);
export const PMAP = tool(
  "`pmap -x`",
  "pmap",
  (pid) => ["-x", String(pid)],
  () => /^total kB/m,
);
export const SMEM = tool(
  "`smem -P`",
  "smem",
  () => ["-P", `^${TARGET_BINARY}`, "-c", "pid pss uss rss"],
  (pid) => new RegExp(`^ *${pid} `, "m"),
);

/** Those of them that this machine has; the others are told to `say`. */
export async function installed(tools: readonly Reader[], say: (text: string) => void): Promise<readonly Reader[]> {
  const there: Reader[] = [];
  for (const reader of tools) {
    try {
      await reader.read(process.pid);
      there.push(reader);
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
      if (missing) say(`${reader.name} is left out: it is not installed (Debian: procps, smem)`);
      else there.push(reader);
    }
  }
  return there;
}

/** Of the process's memory map, for the cost gate. */
export function footprintOf(pid: number): ReturnType<typeof surveyMappings> {
  return surveyMappings(PROC, pid, systemClock);
}
