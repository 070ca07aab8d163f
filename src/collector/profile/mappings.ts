/**
 * The files behind the executable mappings of the processes that are profiled, copied into a private folder for whoever resolves the names, with the
 * build-id of each. The copies lie at the paths at which the target sees the files, as `perf script --symfs` expects them.
 */
import { basename, join } from "node:path";
import { open } from "node:fs/promises";
import { plainName } from "../../api/profile.ts";
import { tryReadText } from "../hostfiles.ts";
import { readElf } from "./elf.ts";
import { copyBelow, FileRefused, openBelow } from "./targetfiles.ts";

export interface Library {
  readonly name: string;
  readonly buildId: string | undefined;
  readonly stripped: boolean;
}

export interface MappedFiles {
  /** By the path in the target's mount namespace. */
  readonly libraries: ReadonlyMap<string, Library>;
  readonly bytes: number;
  /** How many files were left out, by reason. */
  readonly refused: ReadonlyMap<string, number>;
}

/** Enough for 65,530 mappings (vm.max_map_count) of usual length. */
const MAPS_BYTES = 8 * 2 ** 20;
const MAX_EXECUTABLES = 4096;
const MAX_FILES = 512;
const MAX_FILE_BYTES = 96 * 2 ** 20;
export const MAX_COPIED_BYTES = 112 * 2 ** 20;

/** An executable mapping of a file. */
export interface Executable {
  readonly start: number;
  readonly end: number;
  /** Where in the file the mapping begins. */
  readonly offset: number;
  readonly path: string;
}

/** User-space addresses fit: they are below 2^48 unless a program asks for more, and 13 digits are exact in a number. */
const EXECUTABLE = /^([0-9a-f]{1,13})-([0-9a-f]{1,13}) ..x. ([0-9a-f]{1,13}) [0-9a-f]+:[0-9a-f]+ [1-9]\d* +(\/.*)$/;

/** The executable mappings of files in the text of /proc/PID/maps, in its order. */
export function parseExecutables(maps: string): Executable[] {
  const found: Executable[] = [];
  for (const line of maps.split("\n")) {
    const [, start = "", end = "", offset = "", path] = EXECUTABLE.exec(line) ?? [];
    if (path === undefined) continue;
    found.push({
      start: Number.parseInt(start, 16),
      end: Number.parseInt(end, 16),
      offset: Number.parseInt(offset, 16),
      path,
    });
    if (found.length >= MAX_EXECUTABLES) break;
  }
  return found;
}

export async function readExecutables(proc: string, pid: number): Promise<Executable[]> {
  return parseExecutables((await tryReadText(`${proc}/${pid}/maps`, MAPS_BYTES)) ?? "");
}

/** Paths at which a file can still be found, each once. One that was deleted or replaced since is there no more; the kernel writes a newline as \012. */
export function pathsOf(executables: readonly Executable[]): string[] {
  const paths = executables
    .map(({ path }) => path)
    .filter(
      (path) => !path.endsWith(" (deleted)") && !/^\/(?:memfd:|dev\/|SYSV)/.test(path) && !path.includes("\\012"),
    );
  return [...new Set(paths)].slice(0, MAX_FILES);
}

/** Copies the files of all processes; the small ones first, so that one large file does not take the room of many. Never throws for a file. */
export async function copyMappedFiles(
  proc: string,
  executables: ReadonlyMap<number, readonly Executable[]>,
  target: string,
  signal: AbortSignal,
): Promise<MappedFiles> {
  const owners = new Map<string, number>();
  for (const [pid, mapped] of executables)
    for (const path of pathsOf(mapped)) if (!owners.has(path)) owners.set(path, pid);
  const refused = new Map<string, number>();
  const refuse = (reason: string): void => void refused.set(reason, (refused.get(reason) ?? 0) + 1);

  const sized: { readonly path: string; readonly pid: number; readonly bytes: number }[] = [];
  for (const [path, pid] of [...owners].slice(0, MAX_FILES)) {
    try {
      const { handle, bytes } = await openBelow(`${proc}/${pid}/root`, path);
      await handle.close();
      sized.push({ path, pid, bytes });
    } catch (error) {
      refuse(reasonOf(error));
    }
  }
  const libraries = new Map<string, Library>();
  let total = 0;
  for (const { path, pid } of sized.toSorted((a, b) => a.bytes - b.bytes)) {
    if (signal.aborted) break;
    try {
      total += await copyBelow(`${proc}/${pid}/root`, path, target, Math.min(MAX_FILE_BYTES, MAX_COPIED_BYTES - total));
      const elf = await elfOf(join(target, path));
      libraries.set(path, { name: libraryName(path), buildId: elf?.buildId, stripped: elf?.stripped ?? true });
    } catch (error) {
      refuse(reasonOf(error));
    }
  }
  return { libraries, bytes: total, refused };
}

/** What a pack says of a file: its base name. */
export function libraryName(path: string): string {
  return plainName(basename(path.replace(/ \(deleted\)$/, "")));
}

async function elfOf(path: string): ReturnType<typeof readElf> {
  const handle = await open(path, "r");
  try {
    return await readElf(async (offset, length) => {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await handle.read(buffer, 0, length, offset);
      return buffer.subarray(0, bytesRead);
    });
  } finally {
    await handle.close();
  }
}

function reasonOf(error: unknown): string {
  return error instanceof FileRefused ? error.reason : "Failed";
}
