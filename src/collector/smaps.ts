/**
 * What does the text of /proc/PID/smaps (or maps) say? Read as bytes, in pieces of any size, with a bounded memory: one line and one
 * mapping are held. A line begins with a hexadecimal digit when it is a mapping's header and with a capital letter when it is one of its
 * fields (fs/proc/task_mmu.c); the kernel writes a line's end in a path as \012 and allows none in a name that a process gives, so
 * no name can begin a line. Never throws: what is not understood is counted.
 */
import { SMAPS_FIELDS } from "../api/mappings.ts";

/** One mapping. The parser uses the same object again for the one after the next. */
export interface Mapping {
  start: number;
  end: number;
  /** Such as `rw-p`. */
  permissions: string;
  /** Major and minor number of the file's device, in hexadecimal as the kernel has them; `00:00` without a file. */
  device: string;
  inode: string;
  /** A path, or what the kernel puts into brackets; hostile text. Empty for memory without a name. */
  name: string;
  /** In bytes, in the order of SMAPS_FIELDS. */
  readonly sizes: Float64Array;
  /** VmFlags with a space before and after each, such as ` rd wr mr `. */
  flags: string;
}

export interface SmapsParser {
  /** The bytes may be used again by the caller after this. */
  feed(bytes: Uint8Array): void;
  /** Hands over the last mapping. */
  end(): { readonly mappings: number; readonly unparsedLines: number };
}

/** A path may have 4,096 bytes, each of which becomes four when it is a line's end. */
const MAX_LINE_BYTES = 20 * 1024;
/** As much of a name as is kept: base names have at most 255 bytes, but the end of a path matters too. */
const MAX_NAME_BYTES = MAX_LINE_BYTES;

const NEWLINE = 0x0a;
const SPACE = 0x20;
const COLON = 0x3a;

const INDEX: ReadonlyMap<string, number> = new Map(SMAPS_FIELDS.map((name, index) => [name as string, index]));
/** Lines that are known and not summed. */
const IGNORED: ReadonlySet<string> = new Set([
  "KernelPageSize",
  "MMUPageSize",
  "THPeligible",
  "ProtectionKey",
  "Pss_Anon",
  "Pss_File",
  "Pss_Shmem",
]);
const VM_FLAGS = "VmFlags";

/**
 * @param emit gets each mapping once it is complete, and the header of the next (undefined after the last), whose sizes are not known yet.
 * Neither may be kept.
 */
export function createSmapsParser(emit: (mapping: Mapping, next: Mapping | undefined) => void): SmapsParser {
  let current = emptyMapping();
  let spare = emptyMapping();
  let open = false;
  let mappings = 0;
  let unparsedLines = 0;
  const carry = Buffer.allocUnsafe(MAX_LINE_BYTES);
  let carried = 0;
  /** The names of fields in the order they had in the mapping before: a comparison of bytes instead of a new string for each line. */
  const order: { readonly bytes: Buffer; readonly index: number }[] = [];
  let position = 0;

  function line(bytes: Buffer, from: number, to: number): void {
    if (to <= from) return;
    const first = bytes[from] ?? 0;
    if (first >= 0x41 && first <= 0x5a) field(bytes, from, to);
    else header(bytes, from, to);
  }

  function header(bytes: Buffer, from: number, to: number): void {
    if (!parseHeader(bytes, from, to, spare)) {
      unparsedLines += 1;
      return;
    }
    if (open) emit(current, spare);
    [current, spare] = [spare, current];
    open = true;
    mappings += 1;
    position = 0;
  }

  function field(bytes: Buffer, from: number, to: number): void {
    const known = order[position];
    let index: number;
    let after: number;
    if (known !== undefined && startsWith(bytes, from, to, known.bytes)) {
      index = known.index;
      after = from + known.bytes.length;
    } else {
      const colon = bytes.indexOf(COLON, from);
      if (colon < 0 || colon >= to || colon - from > 32) {
        unparsedLines += 1;
        return;
      }
      const name = bytes.toString("latin1", from, colon);
      index = name === VM_FLAGS ? -1 : (INDEX.get(name) ?? (IGNORED.has(name) ? -2 : -3));
      after = colon + 1;
      if (position < 64) order[position] = { bytes: Buffer.from(bytes.subarray(from, after)), index };
    }
    position += 1;
    if (!open || index === -3) unparsedLines += 1;
    else if (index === -1) current.flags = `${bytes.toString("latin1", after, Math.min(to, after + 512)).trimEnd()} `;
    else if (index >= 0) {
      const value = kibibytes(bytes, after, to);
      if (value < 0) unparsedLines += 1;
      else current.sizes[index] = value;
    }
  }

  return {
    feed: (chunk) => {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      let from = 0;
      for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, from)) {
        if (carried === 0) line(bytes, from, at);
        else {
          // What is beyond the cap is the end of a name.
          carried += bytes.copy(carry, carried, from, at);
          line(carry, 0, carried);
          carried = 0;
        }
        from = at + 1;
      }
      if (from < bytes.length) carried += bytes.copy(carry, carried, from);
    },
    end: () => {
      if (carried > 0) line(carry, 0, carried);
      carried = 0;
      if (open) emit(current, undefined);
      open = false;
      return { mappings, unparsedLines };
    },
  };
}

function emptyMapping(): Mapping {
  return {
    start: 0,
    end: 0,
    permissions: "----",
    device: "",
    inode: "",
    name: "",
    sizes: new Float64Array(SMAPS_FIELDS.length),
    flags: " ",
  };
}

function startsWith(bytes: Buffer, from: number, to: number, wanted: Buffer): boolean {
  if (to - from < wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[from + i] !== wanted[i]) return false;
  return true;
}

/** The number of a field in bytes; -1 when there is none. */
function kibibytes(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to && bytes[at] === SPACE) at += 1;
  let value = 0;
  const first = at;
  for (; at < to; at++) {
    const digit = (bytes[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  if (at === first || at - first > 15) return -1;
  // All that is summed is told in kB.
  if (bytes[at] !== SPACE || bytes[at + 1] !== 0x6b || bytes[at + 2] !== 0x42 || at + 3 < to) return -1;
  return Math.min(value * 1024, Number.MAX_SAFE_INTEGER);
}

/** `start-end perms offset device inode   name`; false for anything else. */
function parseHeader(bytes: Buffer, from: number, to: number, into: Mapping): boolean {
  const dash = hexEnd(bytes, from, to);
  const afterEnd = hexEnd(bytes, dash + 1, to);
  if (dash === from || bytes[dash] !== 0x2d || afterEnd === dash + 1 || bytes[afterEnd] !== SPACE) return false;
  const offset = afterEnd + 6;
  const afterOffset = hexEnd(bytes, offset, to);
  if (bytes[offset - 1] !== SPACE || afterOffset === offset || bytes[afterOffset] !== SPACE) return false;
  const colon = hexEnd(bytes, afterOffset + 1, to);
  const afterDevice = hexEnd(bytes, colon + 1, to);
  if (bytes[colon] !== COLON || bytes[afterDevice] !== SPACE || afterDevice >= to) return false;
  let at = afterDevice + 1;
  while (at < to && (bytes[at] ?? 0) >= 0x30 && (bytes[at] ?? 0) <= 0x39) at += 1;
  if (at === afterDevice + 1 || (at < to && bytes[at] !== SPACE)) return false;
  const permissions = bytes.toString("latin1", afterEnd + 1, offset - 1);
  if (!/^[r-][w-][x-][ps]$/.test(permissions)) return false;
  into.start = hexadecimal(bytes, from, dash);
  into.end = hexadecimal(bytes, dash + 1, afterEnd);
  if (into.end < into.start) return false;
  into.permissions = permissions;
  into.device = bytes.toString("latin1", afterOffset + 1, afterDevice);
  into.inode = bytes.toString("latin1", afterDevice + 1, at);
  while (at < to && bytes[at] === SPACE) at += 1;
  into.name = at >= to ? "" : bytes.toString("utf8", at, Math.min(to, at + MAX_NAME_BYTES));
  into.sizes.fill(0);
  into.flags = " ";
  return true;
}

/** The first position from `from` on that holds no hexadecimal digit, at most 16 of them. */
function hexEnd(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to && at - from < 16 && hexDigit(bytes[at] ?? 0) >= 0) at += 1;
  return at;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : -1;
}

/** Exact for every multiple of a page. */
function hexadecimal(bytes: Buffer, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 16 + hexDigit(bytes[at] ?? 0);
  return value;
}
