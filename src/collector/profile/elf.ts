/** The few things that we ask an ELF file ourselves: its build-id, whether Go made it, and whether it still has a symbol table. All of it may be a lie. */

export interface ElfFacts {
  /** Hex, of the note NT_GNU_BUILD_ID. */
  readonly buildId: string | undefined;
  /** No .symtab: only the exported functions have names. */
  readonly stripped: boolean;
  /** It has the note of Go's linker. */
  readonly go: boolean;
}

export type ReadAt = (offset: number, length: number) => Promise<Buffer>;

const PT_NOTE = 4;
const SHT_SYMTAB = 2;
const NT_GNU_BUILD_ID = 3;
const NT_GO_BUILD_ID = 4;
const MAX_HEADERS = 256;
const MAX_NOTES = 64;
const MAX_NOTE_BYTES = 64 * 1024;
const MAX_ID_BYTES = 32;

/** Undefined: not a 64-bit little-endian ELF file (the only kind on amd64 and arm64), or one whose headers lead nowhere. */
export async function readElf(read: ReadAt): Promise<ElfFacts | undefined> {
  const header = await read(0, 64);
  if (header.length < 64 || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
    return undefined;
  const segments = await table(read, header.readBigUInt64LE(32), header.readUInt16LE(54), header.readUInt16LE(56), 56);
  const notes: Note[] = [];
  for (const segment of segments) {
    if (segment.readUInt32LE(0) !== PT_NOTE) continue;
    const [offset, bytes] = [segment.readBigUInt64LE(8), segment.readBigUInt64LE(32)];
    if (offset > BigInt(Number.MAX_SAFE_INTEGER) || bytes > BigInt(MAX_NOTE_BYTES) || notes.length >= MAX_NOTES)
      continue;
    notes.push(...notesIn(await read(Number(offset), Number(bytes))));
  }
  const id = notes.find((note) => note.name === "GNU" && note.type === NT_GNU_BUILD_ID)?.content;
  const usable = id !== undefined && id.length > 0 && id.length <= MAX_ID_BYTES;
  const sections = await table(read, header.readBigUInt64LE(40), header.readUInt16LE(58), header.readUInt16LE(60), 64);
  return {
    buildId: usable ? id.toString("hex") : undefined,
    stripped: !sections.some((section) => section.readUInt32LE(4) === SHT_SYMTAB),
    go: notes.some((note) => note.name === "Go" && note.type === NT_GO_BUILD_ID),
  };
}

async function table(read: ReadAt, offset: bigint, size: number, count: number, wanted: number): Promise<Buffer[]> {
  if (size !== wanted || offset > BigInt(Number.MAX_SAFE_INTEGER)) return [];
  const bytes = await read(Number(offset), size * Math.min(count, MAX_HEADERS));
  return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

interface Note {
  readonly name: string;
  readonly type: number;
  readonly content: Buffer;
}

/** A note is a size of name, size of content and type, then both, each padded to four bytes (elf(5)). */
function notesIn(bytes: Buffer): Note[] {
  const notes: Note[] = [];
  for (let at = 0; at + 12 <= bytes.length && notes.length < MAX_NOTES;) {
    const [name, size, type] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at + 8)];
    const start = at + 12 + padded(name);
    if (start + size > bytes.length) break;
    notes.push({
      name: bytes.toString("latin1", at + 12, at + 12 + Math.min(name, 16)).replace(/\0.*$/, ""),
      type,
      content: bytes.subarray(start, start + size),
    });
    at = start + padded(size);
  }
  return notes;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
