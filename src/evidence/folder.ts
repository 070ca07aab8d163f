/**
 * How does one collection lie on disk, and how is that read back after the process died at any moment?
 * Every change is: write beside, fsync, rename, fsync the folder. So a name that `partFileName` makes always holds a whole,
 * checked part. `session.json` repeats what the folder shows, except for two facts that it alone holds: whose session it is, and until when it is kept.
 */
import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { PART_KINDS, partFileName } from "../api/collection.ts";
import { parseJson } from "./json.ts";
import { type IncomingName, incomingFileName, parseIncomingFileName, parsePartFileName } from "./parts.ts";

const SESSION_FILE = "session.json";
const FILE_MODE = 0o600;
export const FOLDER_MODE = 0o700;
const NEW_FILE_PREFIX = ".new-";
const READ_BYTES = 256 * 1024;
const MAX_SESSION_BYTES = 2 ** 20;

const StoredPart = z.object({
  kind: z.enum(PART_KINDS),
  index: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  sha256: z.string(),
  /** Lines of a `readings` part as counted while it came in; 0 for every other kind. */
  lines: z.int().nonnegative(),
});
export type StoredPart = Readonly<z.infer<typeof StoredPart>>;

const Time = z.string().refine((text) => Number.isFinite(Date.parse(text)));

/** By which policy a pack was taken in, and what that means for it. */
const Terms = z.object({
  /** `Kind/namespace/name`; packs of one policy share a budget. */
  policy: z.string().max(512),
  /** RFC 3339: the pack goes then, whatever has become of policy and investigation. */
  expires: Time,
  /** What all packs of the policy may take together, in bytes, where the policy itself cannot be asked any more. */
  maxBytes: z.int().positive(),
});
export type Terms = Readonly<z.infer<typeof Terms>>;

const SessionFile = z.object({
  collection: z.string(),
  /** Uid of the only pod that may write here; absent until the first byte of a collector. */
  podUid: z.string().optional(),
  firstSeen: Time,
  /** When the manifest was accepted, or when the store was told that nothing more may come. */
  ended: Time.optional(),
  terms: Terms.optional(),
  parts: z.array(StoredPart),
});

/** The uid of a session whose owner cannot be told any more: no pod has it, so nobody can write into it. */
export const NOBODY = "";

export interface Session {
  readonly collection: string;
  podUid: string | undefined;
  readonly firstSeen: string;
  ended: string | undefined;
  /** Absent until the pack was taken in. */
  terms: Terms | undefined;
  readonly parts: Map<string, StoredPart>;
}

/** A part of which only the first `received` bytes are here. */
export interface Incoming extends IncomingName {
  received: number;
  /** Hash and line count over the first `received` bytes; absent after a restart, until they are read again. */
  sum: Checksum | undefined;
}

/** A run of bytes of one part, and what the sender says about the whole of it. */
export interface Chunk {
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly totalBytes: number;
  /** Lower-case hex over the whole part. */
  readonly sha256: string;
}

export interface Checksum {
  readonly hash: Hash;
  lines: number;
}

export interface Folder {
  readonly directory: string;
  readonly session: Session;
  readonly incoming: Map<string, Incoming>;
}

export function newChecksum(): Checksum {
  return { hash: createHash("sha256"), lines: 0 };
}

export function addToChecksum(sum: Checksum, bytes: Uint8Array): void {
  sum.hash.update(bytes);
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) sum.lines++;
}

/** Reads the first `limit` bytes of a file through the checksum. Never follows a link. */
export async function checksumFile(path: string, limit: number): Promise<Checksum> {
  const sum = newChecksum();
  const file = await openPlain(path, constants.O_RDONLY);
  try {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, Math.max(1, limit)));
    let position = 0;
    while (position < limit) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, limit - position), position);
      if (bytesRead === 0) break;
      addToChecksum(sum, buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
  } finally {
    await file.close();
  }
  return sum;
}

/** Opens a regular file. A link, a pipe or a device in our own folder is somebody's trick and throws. */
export async function openPlain(path: string, flags: number): Promise<FileHandle> {
  const file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, FILE_MODE);
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${path} is not a regular file`);
    return file;
  } catch (cause) {
    await file.close();
    throw cause;
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(directory: string): Promise<void> {
  const folder = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Writes a whole file so that its name shows either the old bytes or the new ones, also after SIGKILL or a power cut. */
export async function writeAtomically(directory: string, name: string, bytes: Uint8Array): Promise<void> {
  const beside = join(directory, `${NEW_FILE_PREFIX}${name}`);
  try {
    const file = await openPlain(beside, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, join(directory, name));
  } catch (cause) {
    await rm(beside, { force: true });
    throw cause;
  }
  await syncFolder(directory);
}

export async function writeSession(folder: Folder): Promise<void> {
  const { collection, podUid, firstSeen, ended, terms, parts } = folder.session;
  const file = { collection, podUid, firstSeen, ended, terms, parts: [...parts.values()] };
  await writeAtomically(folder.directory, SESSION_FILE, Buffer.from(`${JSON.stringify(file, undefined, 1)}\n`));
}

/**
 * Builds a collection's state from its folder. Parts that the session file does not know yet (the process died between the
 * rename and the session's write) are hashed and taken in; parts it knows but that are gone are forgotten.
 * Unfinished parts keep what they have. `now` is the first-seen time of a folder without a readable session file.
 */
export async function readFolder(directory: string, collection: string, now: Date): Promise<Folder> {
  const stored = await readSession(directory, collection);
  const parts = new Map<string, StoredPart>();
  const incoming = new Map<string, Incoming>();
  for (const name of await readdir(directory)) {
    const part = parsePartFileName(name);
    if (part !== undefined) {
      const known = stored?.parts.find((known) => known.kind === part.kind && known.index === part.index);
      const found = await readPart(directory, name, known, part);
      if (found !== undefined) parts.set(name, found);
      continue;
    }
    const unfinished = parseIncomingFileName(name);
    if (unfinished !== undefined) await keepIncoming(directory, unfinished, incoming);
    else if (name.startsWith(NEW_FILE_PREFIX)) await rm(join(directory, name), { force: true });
  }
  const fromCollector = incoming.size > 0 || [...parts.values()].some((part) => part.kind !== "context");
  const session: Session = {
    collection,
    podUid: stored?.podUid ?? (fromCollector ? NOBODY : undefined),
    firstSeen: stored?.firstSeen ?? now.toISOString(),
    ended: stored?.ended ?? (parts.has(partFileName("manifest", 0)) ? now.toISOString() : undefined),
    terms: stored?.terms,
    parts,
  };
  return { directory, session, incoming };
}

async function readSession(directory: string, collection: string): Promise<z.infer<typeof SessionFile> | undefined> {
  const path = join(directory, SESSION_FILE);
  try {
    const file = await openPlain(path, constants.O_RDONLY);
    try {
      if ((await file.stat()).size > MAX_SESSION_BYTES) return undefined;
      const session = parseJson(await file.readFile(), SessionFile);
      return session.collection === collection ? session : undefined;
    } finally {
      await file.close();
    }
  } catch {
    // Whatever the reason, the folder itself tells everything but the owner, and without an owner nobody may write.
    return undefined;
  }
}

async function readPart(
  directory: string,
  name: string,
  known: StoredPart | undefined,
  part: { readonly kind: StoredPart["kind"]; readonly index: number },
): Promise<StoredPart | undefined> {
  const path = join(directory, name);
  const stat = await lstat(path);
  if (!stat.isFile()) return undefined;
  // The context part may be replaced by another of the same size; all others are written once.
  if (known !== undefined && known.bytes === stat.size && known.kind !== "context") return known;
  const sum = await checksumFile(path, stat.size);
  const lines = part.kind === "readings" ? sum.lines : 0;
  return { kind: part.kind, index: part.index, bytes: stat.size, sha256: sum.hash.digest("hex"), lines };
}

async function keepIncoming(directory: string, name: IncomingName, incoming: Map<string, Incoming>): Promise<void> {
  const path = join(directory, incomingFileName(name));
  const file = partFileName(name.kind, name.index);
  const stat = await lstat(path);
  // Bytes beyond the total can only come from a disk that lost its mind; starting over is always safe.
  if (!stat.isFile() || stat.size > name.totalBytes || incoming.has(file)) {
    await rm(path, { force: true, recursive: true });
    return;
  }
  incoming.set(file, { ...name, received: stat.size, sum: undefined });
}
