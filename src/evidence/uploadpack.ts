/**
 * How does one finished pack get into a bucket, once, whole, and provably? The archive is made as it is sent and never lies on disk: its bytes are the same
 * each time, so the first pass over it finds its name (its checksum) and the second sends it. What is there already is not sent again;
 * what was sent is believed only when the bucket's own checksum, or the bytes read back, say so.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { writeAtomically } from "./folder.ts";
import { parseJson } from "./json.ts";
import { folderSource, type PartSource, readWhole, readPlainFile } from "./partsource.ts";
import type { S3Client } from "./s3client.ts";
import { S3Problem } from "./s3problem.ts";
import type { UploadedPiece } from "./s3xml.ts";
import { archiveOf } from "./writearchive.ts";

/** An archive up to this size is sent by one request, a larger one in pieces of it. The least that S3 takes, because pieces are held in memory. */
const PIECE_BYTES = 5 * 2 ** 20;
const STATE_FILE = "upload.json";

export interface Uploaded {
  readonly key: string;
  /** Size of the archive. */
  readonly bytes: number;
  /** Lower-case hex over the archive. */
  readonly sha256: string;
}

const State = z.object({
  /** What is known of one bucket means nothing for another. */
  bucket: z.string(),
  key: z.string(),
  /** Pieces that the server has, while the upload is under way. */
  unfinished: z.object({ id: z.string(), etags: z.array(z.string()) }).optional(),
  done: z.object({ bytes: z.int(), sha256: z.string(), time: z.string(), fingerprint: z.string() }).optional(),
});
export type UploadState = z.infer<typeof State>;

interface Measured {
  readonly bytes: number;
  readonly sha256: string;
  /** Of each piece, lower-case hex. */
  readonly pieces: readonly string[];
  /** The whole archive when it is one piece. */
  readonly whole: Buffer | undefined;
}

/**
 * Sends the pack in `directory` to the key `prefix` + `collection/SHA256.tar.zst`, going on where an earlier attempt stopped. Calling it again does
 * nothing but ask. Holds one piece in memory.
 * Throws S3Problem, PackChanged, and what the file system throws when the pack is removed meanwhile.
 */
export async function uploadPack(
  directory: string,
  prefix: string,
  collection: string,
  client: S3Client,
): Promise<Uploaded> {
  const source = await folderSource(directory);
  const measured = await measure(source);
  const { bytes, sha256 } = measured;
  const key = `${prefix}${collection}/${sha256}.tar.zst`;
  if (!(await isThere(key, measured, client))) {
    if (measured.whole === undefined) await sendPieces(directory, key, source, measured, client);
    else await client.put(key, measured.whole);
    if (!(await isThere(key, measured, client))) {
      await client.remove(key);
      throw new S3Problem(
        "ChecksumMismatch",
        "What the bucket gives back is not what was sent; it was deleted and will be sent again",
        { passing: true },
      );
    }
  }
  return { key, bytes, sha256 };
}

async function measure(source: PartSource): Promise<Measured> {
  const hash = createHash("sha256");
  const pieces: string[] = [];
  let bytes = 0;
  let whole: Buffer | undefined;
  for await (const piece of piecesOf(source)) {
    hash.update(piece);
    pieces.push(createHash("sha256").update(piece).digest("hex"));
    bytes += piece.length;
    // When no other piece comes, this one stays valid.
    whole = pieces.length === 1 ? piece : undefined;
  }
  return { bytes, sha256: hash.digest("hex"), pieces, whole };
}

/** The archive in pieces of equal size, the last one shorter. All are in one buffer: a piece is valid until the next one is asked for. */
async function* piecesOf(source: PartSource): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(PIECE_BYTES);
  let length = 0;
  for await (let bytes of archiveOf(source)) {
    while (bytes.length > 0) {
      const taken = bytes.subarray(0, PIECE_BYTES - length);
      buffer.set(taken, length);
      length += taken.length;
      bytes = bytes.subarray(taken.length);
      if (length < PIECE_BYTES) continue;
      yield buffer;
      length = 0;
    }
  }
  if (length > 0) yield buffer.subarray(0, length);
}

/** Whether exactly these bytes lie under the key: by the server's checksum where it tells one, else by reading them back. */
async function isThere(key: string, measured: Measured, client: S3Client): Promise<boolean> {
  const found = await client.head(key);
  if (found === undefined || found.bytes !== measured.bytes) return false;
  const digests = measured.pieces.map((hex) => Buffer.from(hex, "hex"));
  const one = Buffer.from(measured.sha256, "hex").toString("base64");
  const many = `${createHash("sha256").update(Buffer.concat(digests)).digest("base64")}-${digests.length}`;
  if (found.checksum === one || found.checksum === many) return true;
  // Another checksum may be one over other pieces (a person copied the object), so only the bytes can tell.
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of client.get(key)) {
    bytes += piece.length;
    if (bytes > measured.bytes) return false;
    hash.update(piece);
  }
  return hash.digest("hex") === measured.sha256;
}

/** Sends what is missing, piece by piece. What arrived is on disk before the next is sent, so that a new process goes on from there. */
async function sendPieces(
  directory: string,
  key: string,
  source: PartSource,
  measured: Measured,
  client: S3Client,
): Promise<void> {
  const before = await readUploadState(directory, client);
  if (before?.unfinished !== undefined && before.key !== key) await giveUp(before, client);
  let upload = before?.key === key ? before.unfinished : undefined;
  for (let attempt = 1; ; attempt++) {
    upload ??= { id: await client.begin(key), etags: [] };
    try {
      const pieces = await sendMissing(directory, key, source, measured, upload, client);
      await client.complete(key, upload.id, pieces);
      return;
    } catch (problem) {
      if (!(problem instanceof S3Problem) || problem.reason !== "NoSuchUpload" || attempt > 1) throw problem;
      // Finished, but the answer was lost; or forgotten, by a rule of the bucket or by a person: then once more from the start.
      if (await isThere(key, measured, client)) return;
      upload = undefined;
    }
  }
}

async function sendMissing(
  directory: string,
  key: string,
  source: PartSource,
  measured: Measured,
  upload: { readonly id: string; readonly etags: string[] },
  client: S3Client,
): Promise<UploadedPiece[]> {
  let at = 0;
  for await (const piece of piecesOf(source)) {
    if (at++ < upload.etags.length) continue;
    upload.etags.push(await client.putPiece(key, upload.id, at, piece));
    await writeUploadState(directory, client, { key, unfinished: upload });
  }
  return upload.etags.map((etag, index) => ({ etag, sha256: measured.pieces[index] ?? "" }));
}

async function giveUp({ key, unfinished }: UploadState, client: S3Client): Promise<void> {
  try {
    if (unfinished !== undefined) await client.abort(key, unfinished.id);
  } catch (problem) {
    // A rule of the bucket removes it in the end; the new upload matters more.
    if (!(problem instanceof S3Problem)) throw problem;
  }
}

/** What is known of the upload of the pack in `directory` to this bucket; undefined when there was none, or nothing readable is known. */
export async function readUploadState(
  directory: string,
  { address }: Pick<S3Client, "address">,
): Promise<UploadState | undefined> {
  try {
    const state = parseJson(await readWhole(readPlainFile(join(directory, STATE_FILE))), State);
    return state.bucket === address ? state : undefined;
  } catch {
    // Whatever the reason: asking the bucket again is always right.
    return undefined;
  }
}

/** Throws what the file system throws. */
export async function writeUploadState(
  directory: string,
  { address }: Pick<S3Client, "address">,
  state: Omit<UploadState, "bucket">,
): Promise<void> {
  await writeAtomically(directory, STATE_FILE, Buffer.from(`${JSON.stringify({ bucket: address, ...state })}\n`));
}

/** Stands for exactly these parts: while it is the same, the archive is the same. */
export function fingerprintOf(
  parts: readonly { readonly kind: string; readonly index: number; readonly sha256: string }[],
): string {
  const text = parts
    .map(({ kind, index, sha256 }) => `${kind} ${index} ${sha256}\n`)
    .sort()
    .join("");
  return createHash("sha256").update(text).digest("hex");
}
