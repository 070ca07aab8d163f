/**
 * What happens on disk to a part that is not whole yet: it grows, takes back, gets its name, or goes.
 * The file itself is the only memory of how much has arrived; the checksum in memory is a shortcut that may be missing.
 */
import { constants } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { partFileName } from "../api/collection.ts";
import {
  addToChecksum,
  type Checksum,
  checksumFile,
  type Chunk,
  type Folder,
  type Incoming,
  openPlain,
  syncFolder,
} from "./folder.ts";
import { incomingFileName } from "./parts.ts";

/** Hash and line count of what is here, read again from the disk after a restart. */
export async function checksumOf(folder: Folder, incoming: Incoming): Promise<Checksum> {
  incoming.sum ??= await checksumFile(join(folder.directory, incomingFileName(incoming)), incoming.received);
  return incoming.sum;
}

/** Adds a chunk at the end. When the disk takes only a part of it, that part is taken back and the error thrown. */
export async function append(folder: Folder, incoming: Incoming, chunk: Chunk): Promise<void> {
  const sum = await checksumOf(folder, incoming);
  const path = join(folder.directory, incomingFileName(incoming));
  const file = await openPlain(path, constants.O_WRONLY | constants.O_CREAT);
  try {
    let written = 0;
    while (written < chunk.bytes.length) {
      const rest = chunk.bytes.length - written;
      const { bytesWritten } = await file.write(chunk.bytes, written, rest, incoming.received + written);
      written += bytesWritten;
    }
  } catch (cause) {
    await file.truncate(incoming.received).catch(() => undefined);
    throw cause;
  } finally {
    await file.close();
  }
  addToChecksum(sum, chunk.bytes);
  incoming.received += chunk.bytes.length;
}

/** Gives a whole, checked part its name. */
export async function publish(directory: string, from: string, name: string): Promise<void> {
  const file = await openPlain(from, constants.O_RDWR);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(from, join(directory, name));
  await syncFolder(directory);
}

/** Takes the last chunk back, so that its sender can repeat it. */
export async function rewind(folder: Folder, incoming: Incoming, start: number): Promise<void> {
  const path = join(folder.directory, incomingFileName(incoming));
  try {
    const file = await openPlain(path, constants.O_RDWR);
    try {
      await file.truncate(start);
    } finally {
      await file.close();
    }
    incoming.received = start;
    incoming.sum = undefined;
  } catch {
    await dropIncoming(folder, partFileName(incoming.kind, incoming.index));
  }
}

/** Forgets one unfinished part, or all. */
export async function dropIncoming(folder: Folder, only?: string): Promise<void> {
  for (const [name, incoming] of folder.incoming) {
    if (only !== undefined && name !== only) continue;
    folder.incoming.delete(name);
    await rm(join(folder.directory, incomingFileName(incoming)), { force: true });
  }
}
