/**
 * Where do the bytes of a pack come from? A folder of parts and one archive look the same from here: a list of parts, and for each
 * a stream. Nothing is extracted and no link is followed.
 */
import { constants } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { MAX_PART_BYTES, partFileName } from "../api/collection.ts";
import { addToChecksum, newChecksum, openPlain } from "./folder.ts";
import { BadJson } from "./json.ts";
import { parsePartFileName, type PartId } from "./parts.ts";

/** A part that is here. */
export interface SourcePart extends PartId {
  /** How many bytes of it are here: fewer than it had when an archive was cut off inside it. */
  readonly bytes: number;
}

export interface PartSum {
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly lines: number;
}

export interface PartSource {
  readonly form: "Folder" | "Archive";
  /** What is here, in the order of file names; no part twice. */
  readonly parts: readonly SourcePart[];
  /** What is wrong with the container itself, for people; never text out of it. */
  readonly problems: readonly string[];
  /**
   * The bytes of a part, from its start. A piece is valid until the next one is asked for. May be called often and side by side.
   * Throws BadJson for a part that may not be read, and what the file system throws.
   */
  read(part: PartId): AsyncIterable<Uint8Array>;
  sum(part: PartId): Promise<PartSum>;
}

const PIECE_BYTES = 64 * 1024;

/** Throws what the file system throws when the folder cannot be listed. */
export async function folderSource(directory: string): Promise<PartSource> {
  const parts: SourcePart[] = [];
  for (const part of partsOf(await readdir(directory))) {
    const stat = await lstat(join(directory, fileOf(part))).catch(() => undefined);
    if (stat !== undefined) parts.push({ ...part, bytes: stat.isFile() ? stat.size : 0 });
  }
  const read = (part: PartId): AsyncIterable<Uint8Array> => readPlainFile(join(directory, fileOf(part)));
  return { form: "Folder", parts, problems: [], read, sum: (part) => sumOf(read(part)) };
}

/** The parts among the names of a folder, by kind and number, whatever order the file system has. */
export function partsOf(names: readonly string[]): PartId[] {
  return inOrder(names.map(parsePartFileName).filter((part) => part !== undefined));
}

export function inOrder<T extends PartId>(parts: readonly T[]): T[] {
  return parts.toSorted((a, b) => (fileOf(a) < fileOf(b) ? -1 : 1));
}

export function fileOf(part: PartId): string {
  return partFileName(part.kind, part.index);
}

/** A regular file from its start, in one buffer that is used again for each piece. */
export async function* readPlainFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await openPlain(path, constants.O_RDONLY);
  try {
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    for (let position = 0; ;) {
      const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** A whole document in memory. Throws BadJson when it is larger than a part may be. */
export async function readWhole(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const kept: Buffer[] = [];
  let length = 0;
  for await (const piece of pieces) {
    length += piece.length;
    if (length > MAX_PART_BYTES) throw new BadJson(`larger than ${MAX_PART_BYTES} bytes`);
    kept.push(Buffer.from(piece));
  }
  return Buffer.concat(kept, length);
}

async function sumOf(pieces: AsyncIterable<Uint8Array>): Promise<PartSum> {
  const sum = newChecksum();
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (bytes > MAX_PART_BYTES) throw new BadJson(`larger than ${MAX_PART_BYTES} bytes`);
    addToChecksum(sum, piece);
  }
  return { bytes, sha256: sum.hash.digest("hex"), lines: sum.lines };
}
