/** Which function of an ELF file holds a place in it? From its symbol tables, which may be lies; sizes and counts are capped. */
import { plainName } from "../../api/profile.ts";
import type { ReadAt } from "./elf.ts";

const PT_LOAD = 1;
const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const SYMBOL_BYTES = 24;
const MAX_TABLE_BYTES = 32 * 2 ** 20;
const MAX_HEADERS = 1024;
const CHUNK = 24 * 16 * 1024;
const MAX_NAME_BYTES = 512;

interface Symbol {
  readonly start: number;
  readonly size: number;
  readonly nameAt: number;
}

/** The name of the function at a place in the file, as the linker has it. Undefined: no table tells. @param offset in the file */
export async function functionAt(read: ReadAt, offset: number): Promise<string | undefined> {
  const header = await read(0, 64);
  if (header.length < 64 || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
    return undefined;
  const segments = await entries(read, word(header, 32), header.readUInt16LE(54), header.readUInt16LE(56), 56);
  const load = segments.find(
    (s) => s.readUInt32LE(0) === PT_LOAD && offset >= word(s, 8) && offset < word(s, 8) + word(s, 32),
  );
  if (load === undefined) return undefined;
  const address = offset - word(load, 8) + word(load, 16);
  const sections = await entries(read, word(header, 40), header.readUInt16LE(58), header.readUInt16LE(60), 64);
  for (const type of [SHT_SYMTAB, SHT_DYNSYM]) {
    const table = sections.find((section) => section.readUInt32LE(4) === type);
    const strings = table === undefined ? undefined : sections[table.readUInt32LE(40)];
    if (table === undefined || strings === undefined) continue;
    const found = await search(read, word(table, 24), word(table, 32), address);
    if (found === undefined) continue;
    const name = await read(word(strings, 24) + found.nameAt, MAX_NAME_BYTES);
    const end = name.indexOf(0);
    return plainName(name.toString("utf8", 0, end < 0 ? name.length : end)) || undefined;
  }
  return undefined;
}

/** The smallest function around the address. Hand-written assembler has symbols without a size: they hold nothing. */
async function search(read: ReadAt, start: number, bytes: number, address: number): Promise<Symbol | undefined> {
  let best: Symbol | undefined;
  const end = Math.min(bytes, MAX_TABLE_BYTES);
  for (let at = 0; at + SYMBOL_BYTES <= end; at += CHUNK) {
    const chunk = await read(start + at, Math.min(CHUNK, end - at));
    for (let i = 0; i + SYMBOL_BYTES <= chunk.length; i += SYMBOL_BYTES) {
      if (((chunk[i + 4] ?? 0) & 0xf) !== STT_FUNC) continue;
      const symbol = { start: word(chunk, i + 8), size: word(chunk, i + 16), nameAt: chunk.readUInt32LE(i) };
      if (address < symbol.start || address >= symbol.start + symbol.size) continue;
      if (best === undefined || symbol.size < best.size) best = symbol;
    }
    if (chunk.length < CHUNK) break;
  }
  return best;
}

/** Numbers beyond 2^53 are nonsense here and stay beyond everything. */
function word(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}

async function entries(read: ReadAt, offset: number, size: number, count: number, wanted: number): Promise<Buffer[]> {
  if (size !== wanted || !Number.isSafeInteger(offset)) return [];
  const bytes = await read(offset, size * Math.min(count, MAX_HEADERS));
  return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}
