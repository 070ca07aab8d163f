/**
 * May these bytes be added to this collection? The rules of the store, without the store: whose session it is, whether it is
 * over, whether the part is there already, and how large things may become.
 */
import { partFileName } from "../api/collection.ts";
import type { Chunk, Folder } from "./folder.ts";
import { MAX_MANIFEST_BYTES } from "./manifestcheck.ts";
import { isCollectionId, isPartIndex, isSha256, type PartId } from "./parts.ts";

/** In bytes. */
export interface Caps {
  readonly partBytes: number;
  readonly collectionBytes: number;
}

/** What became of a chunk. */
export type Receipt =
  /** The part is whole, its checksum is right, and it lies under its name. */
  | { readonly outcome: "Complete" }
  /** The very same bytes were there already: a repeated request. */
  | { readonly outcome: "Identical" }
  | { readonly outcome: "Stored"; readonly received: number }
  | { readonly outcome: "OffsetMismatch"; readonly received: number }
  | { readonly outcome: "PartExists" | "AnotherCollector" | "Closed" | "TooLarge" | "ChecksumMismatch" }
  | { readonly outcome: "ManifestMismatch"; readonly detail: string };

/** Why a chunk is not taken; undefined when it may go to its offset. A collection that is not known yet refuses nothing but size. */
export function refusal(
  folder: Folder | undefined,
  podUid: string,
  part: PartId,
  chunk: Chunk,
  caps: Caps,
): Receipt | undefined {
  const owner = folder?.session.podUid;
  if (owner !== undefined && owner !== podUid) return { outcome: "AnotherCollector" };
  const stored = folder?.session.parts.get(partFileName(part.kind, part.index));
  const same = stored !== undefined && stored.sha256 === chunk.sha256 && stored.bytes === chunk.totalBytes;
  // Also after the end: the reply to the manifest may have been lost, and its sender deserves to learn that it arrived.
  if (same) return { outcome: "Identical" };
  if (folder?.session.ended !== undefined) return { outcome: "Closed" };
  if (stored !== undefined) return { outcome: "PartExists" };
  const cap = part.kind === "manifest" ? Math.min(MAX_MANIFEST_BYTES, caps.partBytes) : caps.partBytes;
  if (chunk.totalBytes > cap) return { outcome: "TooLarge" };
  const promised = folder === undefined ? 0 : promisedBytes(folder, partFileName(part.kind, part.index));
  return promised + chunk.totalBytes > caps.collectionBytes ? { outcome: "TooLarge" } : undefined;
}

/** Throws RangeError for what no caller of the store may ask for: the server has refused it long before. */
export function checkArguments(collection: string, podUid: string, part: PartId, chunk: Chunk): void {
  if (!isCollectionId(collection)) throw new RangeError("a collection's name must be a DNS label");
  if (podUid === "") throw new RangeError("an upload needs the uid of its pod");
  if (!isPartIndex(part.kind, part.index) || part.kind === "context") throw new RangeError("no such part");
  if (!isSha256(chunk.sha256)) throw new RangeError("a checksum must be 64 lower-case hex digits");
  const { start, totalBytes, bytes } = chunk;
  const end = start + bytes.length;
  const inside = Number.isSafeInteger(totalBytes) && start >= 0 && end <= totalBytes;
  if (!inside || (bytes.length === 0 && totalBytes > 0)) throw new RangeError("the chunk does not lie in its part");
}

/** What the collection will hold when everything that has begun comes to its end, but for the part `except`. */
function promisedBytes(folder: Folder, except: string): number {
  let bytes = 0;
  for (const part of folder.session.parts.values()) bytes += part.bytes;
  for (const [name, incoming] of folder.incoming) if (name !== except) bytes += incoming.totalBytes;
  return bytes;
}
