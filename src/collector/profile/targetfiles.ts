/**
 * Files of the target, opened without being led astray. A path that a process shows was chosen by that process: a link in it would lead into
 * our own root, a FIFO would hold us, a device would do things. So a path is walked one component at a time and every link is refused, and only a
 * regular file is opened for reading. The walk needs no right beyond that to see /proc/PID/root (SYS_PTRACE).
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { codeOf } from "../hostfiles.ts";

/** Why a file was not read: a word for machines, to be counted. */
export class FileRefused extends Error {
  override readonly name = "FileRefused";
  readonly reason: "Link" | "NotRegular" | "BadPath" | "TooLarge" | "Gone" | "NoPermission" | "Failed";
  constructor(reason: FileRefused["reason"]) {
    super(`The file was not read: ${reason}`);
    this.reason = reason;
  }
}

/** linux/fcntl.h; Node does not export it. */
const O_PATH = 0o10000000;
const MAX_COMPONENTS = 64;
const CHUNK = 256 * 1024;

export interface OpenedFile {
  readonly handle: FileHandle;
  readonly bytes: number;
  readonly uid: number;
}

/** Opens a regular file at an absolute path below a root folder, such as /proc/PID/root. Throws {@link FileRefused}. */
export async function openBelow(root: string, path: string): Promise<OpenedFile> {
  const components = path.split("/").filter((part) => part !== "");
  if (!path.startsWith("/") || path.includes("\0") || components.length === 0 || components.length > MAX_COMPONENTS)
    throw new FileRefused("BadPath");
  if (components.some((part) => part === "." || part === "..")) throw new FileRefused("BadPath");
  try {
    // The root itself is a link of the kernel's own (proc_pid_root(5)), which leads to a folder and cannot be moved by the target.
    let at = await open(root, O_PATH | constants.O_DIRECTORY);
    try {
      for (const component of components) at = await step(at, component);
      return await reopen(at);
    } finally {
      await at.close();
    }
  } catch (error) {
    throw refusalOf(error);
  }
}

/** One component further; the folder before is closed. With O_PATH a FIFO or a device is only named, never opened. */
async function step(from: FileHandle, component: string): Promise<FileHandle> {
  try {
    const next = await open(`/proc/self/fd/${from.fd}/${component}`, O_PATH | constants.O_NOFOLLOW);
    try {
      if ((await next.stat()).isSymbolicLink()) throw new FileRefused("Link");
    } catch (error) {
      await next.close();
      throw error;
    }
    return next;
  } finally {
    await from.close();
  }
}

/** The very file that was looked at, not its name again. */
async function reopen(at: FileHandle): Promise<OpenedFile> {
  const seen = await at.stat();
  if (!seen.isFile()) throw new FileRefused("NotRegular");
  const handle = await open(`/proc/self/fd/${at.fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
  return { handle, bytes: seen.size, uid: seen.uid };
}

function refusalOf(error: unknown): FileRefused {
  if (error instanceof FileRefused) return error;
  const code = codeOf(error);
  if (["ENOENT", "ENOTDIR", "ESRCH", "ENXIO"].includes(code)) return new FileRefused("Gone");
  return new FileRefused(code === "EACCES" || code === "EPERM" ? "NoPermission" : "Failed");
}

/** The whole of a small file as bytes. Throws {@link FileRefused} when it is larger. */
export async function readBelow(
  root: string,
  path: string,
  maxBytes: number,
): Promise<{ readonly bytes: Buffer; readonly uid: number }> {
  const { handle, bytes, uid } = await openBelow(root, path);
  try {
    if (bytes > maxBytes) throw new FileRefused("TooLarge");
    const chunks: Buffer[] = [];
    for await (const chunk of contentOf(handle, maxBytes)) chunks.push(chunk);
    return { bytes: Buffer.concat(chunks), uid };
  } finally {
    await handle.close();
  }
}

/**
 * Copies a file of the target to `path` below `target`, readable for all. @returns bytes written. Throws {@link FileRefused}; what was written of a file
 * that grew meanwhile stays and is of no harm.
 */
export async function copyBelow(root: string, path: string, target: string, maxBytes: number): Promise<number> {
  const { handle, bytes } = await openBelow(root, path);
  try {
    if (bytes > maxBytes) throw new FileRefused("TooLarge");
    const to = join(target, path);
    await mkdir(dirname(to), { recursive: true, mode: 0o755 });
    const copy = await open(to, "wx", 0o644);
    let written = 0;
    try {
      for await (const chunk of contentOf(handle, maxBytes)) {
        await copy.write(chunk);
        written += chunk.length;
      }
    } finally {
      await copy.close();
    }
    return written;
  } catch (error) {
    throw refusalOf(error);
  } finally {
    await handle.close();
  }
}

async function* contentOf(handle: FileHandle, maxBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < maxBytes;) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, maxBytes - at));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}
