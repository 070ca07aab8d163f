/**
 * How is a file of Zstandard frames read that may be cut off, damaged, or made to fill our memory?
 * node:zlib decodes one frame and ignores what follows it, so the frames are told apart here, from their headers and the headers of
 * their blocks (RFC 8878, sections 3.1.1 and 3.1.2), and each is decoded by itself. A frame that ends early gives every whole block it had.
 */
import type { FileHandle } from "node:fs/promises";
import type { Transform } from "node:stream";
import { constants, createZstdDecompress, zstdDecompressSync } from "node:zlib";

/** A frame that needs a larger window is refused: 8 MiB is what RFC 8878 asks every decoder to take, and four times what ours use. */
const MAX_WINDOW_LOG = 23;
const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAGIC_BYTES = 4;
const MAX_HEADER_BYTES = 18;
const BLOCK_HEADER_BYTES = 3;
const RLE_BLOCK = 1;
const RESERVED_BLOCK = 3;
const CHECKSUM_BYTES = 4;
const READ_BYTES = 64 * 1024;
const SMALL_BYTES = 16 * 1024;
const SMALL_UNPACKED_BYTES = 512 * 1024;
const OPTIONS = {
  // Without this a frame that ends early would be an error that swallows its last blocks.
  finishFlush: constants.ZSTD_e_continue,
  params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
};

/** A run of bytes of the file. `Cut`: the file ends before the frame does. */
interface Frame {
  readonly kind: "Whole" | "Cut" | "Skippable";
  readonly start: number;
  /** The first byte after it. */
  readonly end: number;
}

/** True when these first bytes of a file, at most four, may begin a frame. */
export function mayBeZstd(first: Uint8Array): boolean {
  const magic = [0x28, 0xb5, 0x2f, 0xfd];
  return first.subarray(0, MAGIC_BYTES).every((byte, at) => byte === magic[at]);
}

/** The frame at `start`; undefined at the end of the file; "NotZstd" for bytes that are no frame. */
export async function frameAt(view: FileView, start: number): Promise<Frame | "NotZstd" | undefined> {
  const cut: Frame = { kind: "Cut", start, end: view.bytes };
  if (start >= view.bytes) return undefined;
  const head = view.at(start, MAX_HEADER_BYTES) ?? (await view.load(start, MAX_HEADER_BYTES));
  if (head.length < MAGIC_BYTES) return mayBeZstd(head) ? cut : "NotZstd";
  const magic = head.readUInt32LE(0);
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
    if (head.length < 8) return cut;
    const end = start + 8 + head.readUInt32LE(4);
    return end > view.bytes ? cut : { kind: "Skippable", start, end };
  }
  if (magic !== MAGIC) return "NotZstd";
  const descriptor = head[MAGIC_BYTES];
  if (descriptor === undefined) return cut;
  const end = await endOfBlocks(view, start + headerBytes(descriptor));
  if (typeof end !== "number") return end === "Cut" ? cut : "NotZstd";
  const last = end + ((descriptor & 4) === 0 ? 0 : CHECKSUM_BYTES);
  return last > view.bytes ? cut : { kind: "Whole", start, end: last };
}

/** Length of a frame's header, from its descriptor byte: window, dictionary and content size may be there or not. */
function headerBytes(descriptor: number): number {
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const contentSize = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  return MAGIC_BYTES + 1 + (singleSegment ? 0 : 1) + dictionary + contentSize;
}

async function endOfBlocks(view: FileView, first: number): Promise<number | "Cut" | "NotZstd"> {
  for (let at = first; ;) {
    const bytes = view.at(at, BLOCK_HEADER_BYTES) ?? (await view.load(at, BLOCK_HEADER_BYTES));
    if (bytes.length < BLOCK_HEADER_BYTES) return "Cut";
    const header = bytes.readUIntLE(0, BLOCK_HEADER_BYTES);
    const type = (header >> 1) & 3;
    if (type === RESERVED_BLOCK) return "NotZstd";
    at += BLOCK_HEADER_BYTES + (type === RLE_BLOCK ? 1 : header >> 3);
    if (at > view.bytes) return "Cut";
    if ((header & 1) === 1) return at;
  }
}

/** What a frame holds, piece by piece. Throws what node:zlib throws for a damaged frame; a cut one just ends. */
export async function* decode(file: FileHandle, frame: Frame): AsyncGenerator<Uint8Array> {
  if (frame.kind === "Skippable") return;
  if (frame.end - frame.start <= SMALL_BYTES) {
    const small = await decodeSmall(file, frame);
    if (small !== undefined) return yield small;
  }
  const decoder = createZstdDecompress(OPTIONS);
  const feed = feeding(decoder, rangeOf(file, frame.start, frame.end));
  try {
    yield* decoder as AsyncIterable<Buffer>;
    await feed;
  } finally {
    decoder.destroy();
    await feed.catch(() => undefined);
  }
}

/** Most frames are small documents, and a stream for each would take sixteen times as long. Undefined: it is not small inside. */
async function decodeSmall(file: FileHandle, frame: Frame): Promise<Uint8Array | undefined> {
  const packed = Buffer.alloc(frame.end - frame.start);
  const { bytesRead } = await file.read(packed, 0, packed.length, frame.start);
  try {
    return zstdDecompressSync(packed.subarray(0, bytesRead), { ...OPTIONS, maxOutputLength: SMALL_UNPACKED_BYTES });
  } catch (cause) {
    if (cause instanceof RangeError) return undefined;
    throw cause;
  }
}

/** Hands the pieces over as fast as they are taken. */
async function feeding(decoder: Transform, pieces: AsyncIterable<Buffer>): Promise<void> {
  for await (const piece of pieces) {
    if (decoder.destroyed) return;
    if (!decoder.write(piece))
      await new Promise<void>((resolve) => {
        decoder.once("drain", resolve);
        decoder.once("close", resolve);
      });
  }
  decoder.end();
}

async function* rangeOf(file: FileHandle, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end;) {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** A window on a file for reading a few bytes here and there without a system call for each. */
export interface FileView {
  /** Size of the file in bytes. */
  readonly bytes: number;
  /** `length` bytes at a position, when the window holds them. */
  at(position: number, length: number): Buffer | undefined;
  /** Moves the window there; fewer bytes than `length` at the end of the file. */
  load(position: number, length: number): Promise<Buffer>;
}

export function viewOf(file: FileHandle, bytes: number): FileView {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  let from = 0;
  let held = 0;
  return {
    bytes,
    at: (position, length) =>
      position >= from && position + length <= from + held
        ? buffer.subarray(position - from, position - from + length)
        : undefined,
    load: async (position, length) => {
      from = position;
      held = (await file.read(buffer, 0, READ_BYTES, position)).bytesRead;
      return buffer.subarray(0, Math.min(length, held));
    },
  };
}
