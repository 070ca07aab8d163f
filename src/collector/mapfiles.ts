/**
 * Reading /proc/PID/maps and smaps: files of up to a hundred thousand lines that cost the target time. They are read in small pieces into a
 * parser, with a deadline for each system call and for the whole, and never kept.
 */
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import type { Clock } from "../seams.ts";
import { ReadTimedOut, tryReadText, within } from "./hostfiles.ts";
import type { ProcessFolder } from "./procfs.ts";
import { createSmapsParser } from "./smaps.ts";

/** The kernel gives about one page for each call, whatever the buffer. */
const BUFFER_BYTES = 64 * 1024;
/** 65,530 mappings (vm.max_map_count) of 725 bytes are 48 MB; longer names may take the rest. */
const MAX_BYTES = 64 * 2 ** 20;
/** A call that does not come back in this time waits for a lock that somebody holds for seconds. */
const CALL_TIMEOUT_MS = 2_000;
/** Nobody's memory map may hold up the readings for longer. */
const WHOLE_TIMEOUT_MS = 8_000;

export interface Streamed {
  readonly ended: "Whole" | "TooLarge" | "TimedOut";
  /** Of all its system calls; the parser's time is not the target's. */
  readonly ms: number;
  /** The longest of its system calls, waiting for a CPU included. */
  readonly longestCallMs: number;
  /** A call that was left behind; resolves when the kernel lets go of it. */
  readonly held?: Promise<unknown>;
}

/** Streams a file of /proc into `feed`. Throws what the file system throws. */
export async function streamFile(path: string, clock: Clock, feed: (bytes: Uint8Array) => void): Promise<Streamed> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const from = clock.monotonicMs();
  let callMs = 0;
  let longestCallMs = 0;
  let total = 0;
  let held: Promise<unknown> | undefined;
  const finish = (ended: Streamed["ended"]): Streamed => ({
    ended,
    ms: callMs,
    longestCallMs,
    ...(held === undefined ? {} : { held }),
  });
  try {
    const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    for (;;) {
      const begun = clock.monotonicMs();
      const call = handle.read(buffer, 0, BUFFER_BYTES, null);
      const bytesRead = await answered(call, clock);
      const now = clock.monotonicMs();
      callMs += now - begun;
      longestCallMs = Math.max(longestCallMs, now - begun);
      if (bytesRead === "late") {
        held = call;
        return finish("TimedOut");
      }
      if (bytesRead === 0) return finish("Whole");
      total += bytesRead;
      if (total > MAX_BYTES) return finish("TooLarge");
      feed(buffer.subarray(0, bytesRead));
      if (now - from > WHOLE_TIMEOUT_MS) return finish("TimedOut");
    }
  } finally {
    await closeAfter(handle, held);
  }
}

async function answered(call: ReturnType<FileHandle["read"]>, clock: Clock): Promise<number | "late"> {
  try {
    return (await within(call, CALL_TIMEOUT_MS, clock)).bytesRead;
  } catch (error) {
    if (error instanceof ReadTimedOut) return "late";
    throw error;
  }
}

/** A file that is being read cannot be closed; nobody waits for it. */
async function closeAfter(handle: FileHandle, held: Promise<unknown> | undefined): Promise<void> {
  if (held === undefined) return handle.close();
  const close = (): Promise<void> => handle.close().catch(() => undefined);
  void held.then(close, close);
}

/** One call for smaps gives a page of text, and at 700 bytes for each that is six mappings, walked under one hold of the lock. */
const MAPPINGS_PER_CALL = 6;

/**
 * How many mappings a process has, and how much memory as many of them as one call reads can hold, from /proc/PID/maps: 0.6 microseconds for each mapping,
 * and no page table is walked. Undefined when it cannot be told.
 */
export async function surveyMappings(
  proc: string,
  folder: ProcessFolder,
  clock: Clock,
): Promise<{ readonly mappings: number; readonly largestBytes: number } | undefined> {
  let largestBytes = 0;
  const last: number[] = [];
  const parser = createSmapsParser(({ permissions, start, end }) => {
    last.push(permissions.startsWith("---") ? 0 : end - start);
    if (last.length > MAPPINGS_PER_CALL) last.shift();
    largestBytes = Math.max(
      largestBytes,
      last.reduce((sum, bytes) => sum + bytes, 0),
    );
  });
  try {
    const read = await streamFile(`${proc}/${folder}/maps`, clock, (bytes) => parser.feed(bytes));
    const { mappings } = parser.end();
    return read.ended === "Whole" && mappings > 0 ? { mappings, largestBytes } : undefined;
  } catch {
    return undefined;
  }
}

const MOUNTS_BYTES = 1024 * 1024;

/** Devices of the tmpfs mounts that a process sees, as a mapping shows them (`00:2f`); mountinfo has them in decimal. */
export async function memoryDevices(proc: string, folder: ProcessFolder, clock: Clock): Promise<ReadonlySet<string>> {
  const text = await within(tryReadText(`${proc}/${folder}/mountinfo`, MOUNTS_BYTES), CALL_TIMEOUT_MS, clock).catch(
    () => undefined,
  );
  const devices = new Set<string>();
  for (const line of text?.split("\n") ?? []) {
    // Spaces in paths are written as \040, so the separator before the file system's type is the only ` - `.
    const [, major, minor] = /^\d+ \d+ (\d{1,8}):(\d{1,8}) .* - tmpfs /.exec(line) ?? [];
    if (major !== undefined && minor !== undefined) devices.add(`${hex(major)}:${hex(minor)}`);
  }
  return devices;
}

function hex(decimal: string): string {
  return Number(decimal).toString(16).padStart(2, "0");
}
