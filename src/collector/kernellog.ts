/**
 * Reading the kernel's log as it stands now. /dev/kmsg is the better source, but the device rules of a container forbid it even where the
 * file is mounted; there the syslog system call gives the same text to whoever has CAP_SYSLOG, by way of `dmesg -S`.
 */
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { codeOf } from "./hostfiles.ts";
import { parseKmsg, parseSyslog, type KernelRecord } from "./kmsg.ts";

export interface KernelLog {
  readonly records: readonly KernelRecord[];
  readonly source: "/dev/kmsg" | "syslog" | "none";
  /** Why there is nothing, or less than there might be. */
  readonly note?: string;
}

const MAX_BYTES = 32 * 2 ** 20;
const RECORD_BYTES = 8 * 1024;
const SYSLOG_TIMEOUT_MS = 5_000;

/** Never throws: a log that cannot be read is told of in `note`. */
export async function readKernelLog(kmsg: string): Promise<KernelLog> {
  try {
    return { records: parseKmsg(await readDevice(kmsg)), source: "/dev/kmsg" };
  } catch (error) {
    const why = codeOf(error);
    try {
      return { records: parseSyslog(await syslog()), source: "syslog" };
    } catch (second) {
      return {
        records: [],
        source: "none",
        note: `the kernel's log could not be read (${kmsg}: ${why}; syslog: ${firstLine(second)})`,
      };
    }
  }
}

/** Each read gives one record; EAGAIN is the end of what there is now, EPIPE means that records were overwritten meanwhile. */
async function readDevice(path: string): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const parts: string[] = [];
    const buffer = Buffer.alloc(RECORD_BYTES);
    let total = 0;
    while (total < MAX_BYTES) {
      try {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
        if (bytesRead === 0) break;
        total += bytesRead;
        parts.push(buffer.toString("utf8", 0, bytesRead));
      } catch (error) {
        if (codeOf(error) === "EPIPE") continue;
        if (codeOf(error) === "EAGAIN") break;
        throw error;
      }
    }
    return parts.join("");
  } finally {
    await handle.close();
  }
}

function syslog(): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: MAX_BYTES, timeout: SYSLOG_TIMEOUT_MS, env: { PATH: "/usr/bin:/bin", LC_ALL: "C" } };
    execFile("dmesg", ["-S", "--raw"], options, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error)
    .split("\n")
    .slice(0, 2)
    .join(" ")
    .slice(0, 200);
}
