/**
 * How does a pack become one file? A `.tar.zst` whose bytes depend on nothing but the parts (and the version of the Zstandard library):
 * fixed names, owner, mode and time, fixed order, and one Zstandard frame for each part, so that a cut costs what comes after it and
 * damage costs one part. The order puts what a half archive needs most first; see `rank`.
 */
import { createHash } from "node:crypto";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";
import { NUMBERED_KINDS, type PartKind } from "../api/collection.ts";
import { fileOf, folderSource, type PartSource, type SourcePart } from "./partsource.ts";
import { BLOCK_BYTES, encodeTarHeader, paddingOf } from "./tar.ts";

/** Level 3 is the library's default; 9 makes a pack 15 % smaller and takes four times as long. */
const LEVEL = 3;

/** A part changed while it was packed. Nothing of the archive can be used; packing again is right. */
export class PackChanged extends Error {
  override name = "PackChanged";
}

export interface WrittenPack {
  /** Size of the archive. */
  readonly bytes: number;
  /** Lower-case hex over the whole archive. */
  readonly sha256: string;
  readonly parts: number;
}

/**
 * Writes a folder of parts to `output` as one `.tar.zst` and ends `output`. What is not a part by its name is left out. A pack without
 * a manifest, which was cut off, is packed as it is. Holds a few megabytes, however large the pack.
 * Throws PackChanged, and what the file system or `output` throws; `output` is destroyed then.
 */
export async function writePack(directory: string, output: Writable): Promise<WrittenPack> {
  const source = await folderSource(directory);
  const hash = createHash("sha256");
  let bytes = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of archiveOf(source)) {
      hash.update(piece);
      bytes += piece.length;
      yield piece;
    }
  }
  await pipeline(Readable.from(counted(), { objectMode: false }), output);
  return { bytes, sha256: hash.digest("hex"), parts: source.parts.length };
}

/** The bytes of the archive, piece by piece; the same bytes each time. Throws PackChanged. */
export async function* archiveOf(source: PartSource): AsyncGenerator<Uint8Array> {
  for (const part of source.parts.toSorted((a, b) => rank(a) - rank(b) || a.index - b.index)) {
    yield* frameOf(entryOf(source, part), BLOCK_BYTES + part.bytes + paddingOf(part.bytes));
  }
  const end = Buffer.alloc(2 * BLOCK_BYTES);
  yield* frameOf([end], end.length);
}

/**
 * The manifest first: it says what else there should be, so that half an archive can name what is missing, and each part that is there
 * can be proved. Then the small documents that every number needs to be understood. Then what a verdict rests on, readings in the order of
 * time; what only refines it comes last.
 */
const ORDER: readonly PartKind[] = ["manifest", "host", "context", "oom-reports"];
const LAST: readonly PartKind[] = ["readings", "mappings", "profile"];

function rank({ kind }: SourcePart): number {
  const first = ORDER.indexOf(kind);
  if (first !== -1) return first;
  const last = LAST.indexOf(kind);
  if (last !== -1) return ORDER.length + 1 + last;
  // A kind that was added later: a document before the readings, numbered parts after everything.
  return NUMBERED_KINDS[kind] === undefined ? ORDER.length : ORDER.length + 1 + LAST.length;
}

async function* entryOf(source: PartSource, part: SourcePart): AsyncGenerator<Uint8Array> {
  yield encodeTarHeader(fileOf(part), part.bytes);
  let bytes = 0;
  for await (const piece of source.read(part)) {
    bytes += piece.length;
    if (bytes > part.bytes) break;
    // Copied, because the source reads into the same buffer again while the compressor still looks at this one.
    yield Buffer.from(piece);
  }
  if (bytes !== part.bytes) throw new PackChanged(`${fileOf(part)} changed while it was packed; pack it again`);
  yield Buffer.alloc(paddingOf(part.bytes));
}

async function* frameOf(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array> {
  const encoder = createZstdCompress({
    // The size is said first, because what the library does depends on it; otherwise it would depend on how the pieces fall.
    pledgedSrcSize: bytes,
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  const input = Readable.from(pieces, { objectMode: false });
  input.on("error", (error) => encoder.destroy(error));
  input.pipe(encoder);
  try {
    yield* encoder as AsyncIterable<Buffer>;
  } finally {
    input.destroy();
    encoder.destroy();
  }
}
