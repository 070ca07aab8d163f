/** Samples become stacks with weights: places are named once, equal stacks are added up, and no address is kept. */
import {
  isPlumbing,
  MAX_DEPTH,
  MAX_FRAMES,
  MAX_STACKS,
  plainName,
  type Profile,
  type ProfileFrame,
} from "../../api/profile.ts";
import { type Library, libraryName } from "./mappings.ts";
import type { PerfMap } from "./perfmap.ts";
import type { RawFrame, RawSample } from "./script.ts";

export interface ProfiledProcess {
  readonly pid: number;
  readonly startTicks: number;
  readonly comm: string;
}

export interface Names {
  readonly libraries: ReadonlyMap<string, Library>;
  /** Maps of just-in-time compilers, by pid. */
  readonly perfMaps: ReadonlyMap<number, PerfMap>;
}

export type Folded = Pick<Profile, "samples" | "unsymbolised" | "samplesOmitted" | "frames" | "processes">;

export interface Folder {
  add(sample: RawSample): void;
  /** @param processes who is told of. A pid that is not among them was born and has died meanwhile, or a name in a file made it up. */
  end(processes: readonly ProfiledProcess[]): Folded;
}

/** Offsets are below this, addresses of code that may be placed anywhere are far above it. */
const MAX_OFFSET = 2 ** 34;
const MAX_PROCESSES = 1024;

interface Stack {
  readonly frames: number[];
  weight: number;
  samples: number;
}

export function createFolder(names: Names): Folder {
  const frames: ProfileFrame[] = [];
  const positions = new Map<string, number>();
  const byPid = new Map<number, Map<string, Stack>>();
  let samples = 0;
  let unsymbolised = 0;
  let stacks = 0;

  function positionOf(frame: ProfileFrame): number | undefined {
    const key = JSON.stringify([frame.function, frame.library, frame.offset, frame.claimed]);
    const known = positions.get(key);
    if (known !== undefined || frames.length >= MAX_FRAMES) return known;
    positions.set(key, frames.length);
    return frames.push(frame) - 1;
  }

  function stackOf(pid: number, path: readonly (number | undefined)[]): Stack | undefined {
    const ofPid = byPid.get(pid) ?? new Map<string, Stack>();
    const key = path.join(",");
    const known = ofPid.get(key);
    const full = stacks >= MAX_STACKS || (byPid.size >= MAX_PROCESSES && !byPid.has(pid));
    if (known !== undefined || full || path.includes(undefined)) return known;
    const made = { frames: path.filter((at) => at !== undefined), weight: 0, samples: 0 };
    stacks += 1;
    byPid.set(pid, ofPid.set(key, made));
    return made;
  }

  return {
    add: (sample) => {
      samples += 1;
      const named = sample.frames.slice(0, MAX_DEPTH).map((raw) => frameOf(raw, sample.pid, names));
      if (named[0]?.function === undefined) unsymbolised += 1;
      const stack = stackOf(sample.pid, named.map(positionOf).toReversed());
      if (stack === undefined) return;
      stack.weight = add(stack.weight, sample.period);
      stack.samples += 1;
    },
    end: (processes) => {
      const found = sorted(byPid, processes);
      const told = found.reduce((sum, process) => sum + process.samples, 0);
      return { samples, unsymbolised, samplesOmitted: samples - told, frames, processes: found };
    },
  };
}

function sorted(
  byPid: ReadonlyMap<number, ReadonlyMap<string, Stack>>,
  known: readonly ProfiledProcess[],
): Folded["processes"] {
  const found = known.flatMap(({ pid, startTicks, comm }) => {
    const stacks = [...(byPid.get(pid)?.values() ?? [])];
    if (stacks.length === 0) return [];
    const samples = stacks.reduce((sum, stack) => sum + stack.samples, 0);
    const weight = stacks.reduce((sum, stack) => add(sum, stack.weight), 0);
    stacks.sort((a, b) => b.weight - a.weight || (a.frames.join() < b.frames.join() ? -1 : 1));
    return [{ pid, startTicks, comm: plainName(comm), samples, weight, stacks }];
  });
  return found.toSorted((a, b) => b.weight - a.weight || a.pid - b.pid);
}

function add(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
}

function frameOf(raw: RawFrame, pid: number, names: Names): ProfileFrame {
  const file = raw.dso !== undefined && isFile(raw.dso);
  const library = file ? names.libraries.get(raw.dso ?? "") : undefined;
  const name = file ? (library?.name ?? libraryName(raw.dso ?? "")) : raw.dso === "[vdso]" ? "[vdso]" : undefined;
  const at = Number.parseInt(raw.ip, 16);
  const claim = file || raw.symbol !== undefined ? undefined : names.perfMaps.get(pid)?.nameAt(at);
  const symbol = claim ?? (raw.symbol === undefined ? undefined : plainName(raw.symbol));
  const frame: ProfileFrame = {
    ...(symbol === undefined ? {} : { function: symbol }),
    ...(name === undefined ? {} : { library: name }),
    ...(library?.buildId === undefined ? {} : { buildId: library.buildId }),
    ...(symbol === undefined && file && at < MAX_OFFSET ? { offset: at } : {}),
    // Where the target's /tmp is ours, perf may have read the map by itself.
    ...(claim !== undefined || (symbol !== undefined && !file && name === undefined) ? { claimed: true as const } : {}),
  };
  return isPlumbing(frame) ? { ...frame, plumbing: true } : frame;
}

/** Whether perf's number for a place in it is relative to a file. Anonymous memory, heap, stack and the maps of compilers have addresses. */
function isFile(dso: string): boolean {
  return dso.startsWith("/") && !/^(?:\/\/|\/SYSV|\/dev\/|\/anon_hugepage|\/memfd:|\/tmp\/perf-\d+\.map$)/.test(dso);
}
