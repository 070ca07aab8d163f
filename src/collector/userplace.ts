/**
 * In which function was the limit hit? The kernel's report has the instruction pointer of the task and the bytes of code around it. The process is gone
 * and so are its mappings, but its siblings and its successor run the same files: the bytes are looked for in the executable parts of those, at the same
 * place in a page. One sample of where the memory ran out; no proof of who took it.
 */
import { isPlumbing, type ProfileFrame } from "../api/profile.ts";
import { readElf, type ReadAt } from "./profile/elf.ts";
import { functionAt } from "./profile/elfsymbols.ts";
import { type Executable, libraryName, readExecutables } from "./profile/mappings.ts";
import { isStill, type ProcessIdentity } from "./procfs.ts";
import { openBelow } from "./profile/targetfiles.ts";

/** The bytes of code that the kernel prints around a user's instruction pointer. */
export interface UserCode {
  readonly ip: number;
  readonly bytes: Buffer;
  /** Where in `bytes` the instruction is. */
  readonly at: number;
}

const PAGE = 4096;
const CHUNK = 1024 * 1024;
/** Of all executable parts together; what is beyond is not searched. */
const MAX_READ_BYTES = 128 * 2 ** 20;
const MAX_PROCESSES = 32;
/** Fewer bytes than this are found in many places. */
const LEAST_BYTES = 24;

/** `Code: 0f af … <c6> 04 …`, the instruction in angle brackets (show_opcodes of arch/x86/kernel/dumpstack.c). Undefined: no code, or too little. */
export function parseCode(text: string, ip: number): UserCode | undefined {
  const listed = /^Code: ((?:[0-9a-f]{2} ){0,96}<[0-9a-f]{2}>(?: [0-9a-f]{2}){0,96})\s*$/.exec(text)?.[1];
  if (listed === undefined || !Number.isSafeInteger(ip)) return undefined;
  const parts = listed.split(" ");
  const bytes = Buffer.from(parts.map((part) => part.replace(/[<>]/g, "")).join(""), "hex");
  return bytes.length < LEAST_BYTES ? undefined : { ip, bytes, at: parts.findIndex((part) => part.startsWith("<")) };
}

/** The place in a file that the processes map, if there is exactly one such place. Never throws: what cannot be read is not searched. */
export async function findUserPlace(
  proc: string,
  processes: readonly Pick<ProcessIdentity, "pid" | "startTicks">[],
  code: UserCode,
): Promise<ProfileFrame | undefined> {
  let left = MAX_READ_BYTES;
  const found: { readonly file: Found; readonly offset: number }[] = [];
  for (const file of await filesOf(proc, processes)) {
    const offsets = await inFile(file, async (read) => {
      const places: number[] = [];
      for (const part of file.parts) {
        const bytes = Math.min(part.end - part.start, left);
        left -= bytes;
        places.push(...(await search(read, part.offset, bytes, code)));
      }
      return places;
    });
    found.push(...(offsets ?? []).map((offset) => ({ file, offset })));
  }
  const [only] = found;
  return only === undefined || found.length > 1 ? undefined : frameOf(only.file, only.offset);
}

interface Found {
  readonly root: string;
  readonly path: string;
  readonly parts: readonly Executable[];
}

/** Each file once, by its path: processes of one workload run the same image. */
async function filesOf(
  proc: string,
  processes: readonly Pick<ProcessIdentity, "pid" | "startTicks">[],
): Promise<Found[]> {
  const files = new Map<string, { root: string; path: string; parts: Executable[] }>();
  for (const process of processes.slice(0, MAX_PROCESSES)) {
    const { pid } = process;
    // Since the sample the pid may have been given to a process of somebody else.
    if (!(await isStill(proc, process))) continue;
    const root = `${proc}/${pid}/root`;
    for (const part of await readExecutables(proc, pid).catch(() => [])) {
      const file = files.get(part.path) ?? { root, path: part.path, parts: [] };
      if (file.root === root) file.parts.push(part);
      files.set(part.path, file);
    }
  }
  return [...files.values()];
}

async function inFile<T>(file: Found, use: (read: ReadAt) => Promise<T>): Promise<T | undefined> {
  try {
    const { handle } = await openBelow(file.root, file.path);
    try {
      return await use(async (offset, length) => {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      });
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}

/** Offsets in the file of the instruction, where all bytes are equal and the place in the page is that of the pointer. */
async function search(read: ReadAt, from: number, bytes: number, code: UserCode): Promise<number[]> {
  const places: number[] = [];
  const overlap = code.bytes.length - 1;
  for (let at = 0; at < bytes; at += CHUNK) {
    const chunk = await read(from + at, Math.min(CHUNK + overlap, bytes - at));
    for (let hit = chunk.indexOf(code.bytes); hit >= 0; hit = chunk.indexOf(code.bytes, hit + 1)) {
      const offset = from + at + hit + code.at;
      if (offset % PAGE === code.ip % PAGE && !places.includes(offset)) places.push(offset);
    }
  }
  return places;
}

async function frameOf(file: Found, offset: number): Promise<ProfileFrame> {
  const named = await inFile(file, async (read) => ({
    elf: await readElf(read),
    name: await functionAt(read, offset),
  }));
  const frame: ProfileFrame = {
    ...(named?.name === undefined ? {} : { function: named.name }),
    library: libraryName(file.path),
    ...(named?.elf?.buildId === undefined ? {} : { buildId: named.elf.buildId }),
    offset,
  };
  return isPlumbing(frame) ? { ...frame, plumbing: true } : frame;
}
