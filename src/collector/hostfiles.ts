/**
 * Reading the host's files: small, bounded, and never for long. Everything under /proc and /sys was written by somebody who may be hostile,
 * so sizes are capped, links are not followed, and a read that hangs is left behind instead of waited for.
 */
import { constants } from "node:fs";
import { open, readdir } from "node:fs/promises";
import type { Clock } from "../seams.ts";

/** The folders that lead to the host's view. On a plain machine they are /proc and /sys/fs/cgroup themselves. */
export interface HostRoots {
  readonly proc: string;
  readonly cgroup: string;
  readonly kmsg: string;
}

/** Thrown when a read was not answered in time; the caller goes on without it. */
export class ReadTimedOut extends Error {
  override readonly name = "ReadTimedOut";
}

const CHUNK = 64 * 1024;

/**
 * The text of a file, at most `maxBytes` of it. Throws what the file system throws (ENOENT and ESRCH mean gone, EACCES and
 * EPERM mean not permitted).
 */
export async function readText(path: string, maxBytes: number): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const chunks: Buffer[] = [];
    let total = 0;
    while (total < maxBytes) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK, maxBytes - total));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) break;
      chunks.push(buffer.subarray(0, bytesRead));
      total += bytesRead;
    }
    return Buffer.concat(chunks).toString("utf8");
  } finally {
    await handle.close();
  }
}

/** The kernel's ways to say that a file of its own has no content for this reader. ENAMETOOLONG: /proc/PID/cgroup, where cgroups are nested beyond PATH_MAX (Linux before 6.8). */
const NO_CONTENT: ReadonlySet<string> = new Set(["EINVAL", "EOPNOTSUPP", "ENAMETOOLONG"]);

/** The same; undefined when the file is not there, may not be read, or has nothing to read. */
export async function tryReadText(path: string, maxBytes: number): Promise<string | undefined> {
  try {
    return await readText(path, maxBytes);
  } catch (error) {
    if (isGone(error) || isDenied(error) || NO_CONTENT.has(codeOf(error))) return undefined;
    throw error;
  }
}

/** Names in a folder; empty when it is gone. */
export async function listFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (isGone(error) || isDenied(error)) return [];
    throw error;
  }
}

/** Names of the folders in a folder, links not counted. */
export async function listSubfolders(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (isGone(error) || isDenied(error)) return [];
    throw error;
  }
}

/** Rejects with {@link ReadTimedOut} when the promise takes longer. The read itself cannot be called back; it is left to end by itself. */
export async function within<T>(promise: Promise<T>, ms: number, clock: Clock): Promise<T> {
  let timer: { cancel(): void } | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = clock.after(ms, () => reject(new ReadTimedOut(`not answered within ${ms} ms`)));
  });
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer?.cancel();
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

export function isGone(error: unknown): boolean {
  return ["ENOENT", "ESRCH", "ENODEV", "ENOTDIR"].includes(codeOf(error));
}

export function isDenied(error: unknown): boolean {
  return ["EACCES", "EPERM"].includes(codeOf(error));
}
