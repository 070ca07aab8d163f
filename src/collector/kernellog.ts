/**
 * Reading the kernel's log as it stands now, record by record, so that a large log needs no memory. /dev/kmsg is the better source, but the
 * device rules of a container forbid it even where the file is mounted; there the syslog system call gives the same text to whoever has
 * CAP_SYSLOG, by way of `dmesg -S`.
 */
import { spawn } from "node:child_process";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { setImmediate as yieldToOthers } from "node:timers/promises";
import { codeOf } from "./hostfiles.ts";

export interface KernelRecord {
  /** Microseconds after boot; undefined where the log has no times. */
  readonly usec: number | undefined;
  readonly text: string;
}

export interface KernelLog {
  readonly source: "/dev/kmsg" | "syslog" | "none";
  /** Why there is nothing, or less than there might be. */
  readonly note?: string;
}

type OnRecord = (record: KernelRecord) => void;

const MAX_BYTES = 64 * 2 ** 20;
/** The longest record that the kernel hands out (CONSOLE_EXT_LOG_MAX). */
const RECORD_BYTES = 8 * 1024;
const MAX_LINE = 2 * RECORD_BYTES;
const RECORDS_A_TURN = 500;
/** The log is overwritten faster than we read: give up after this many times. */
const MAX_OVERTAKEN = 1000;
const SYSLOG_TIMEOUT_MS = 5_000;

/** Never throws: a log that cannot be read is told of in `note`. */
export async function readKernelLog(kmsg: string, onRecord: OnRecord): Promise<KernelLog> {
  let some = false;
  const line = (text: string): void => {
    some = true;
    for (const record of parseKmsgLine(text)) onRecord(record);
  };
  try {
    await readDevice(kmsg, line);
    return { source: "/dev/kmsg" };
  } catch (error) {
    const why = codeOf(error) || firstLine(error);
    // What was read once must not be read twice.
    if (some) return { source: "/dev/kmsg", note: `the kernel's log was read in part (${kmsg}: ${why})` };
    try {
      await readSyslog(onRecord);
      return { source: "syslog" };
    } catch (second) {
      const note = `the kernel's log could not be read (${kmsg}: ${why}; syslog: ${firstLine(second)})`;
      return { source: "none", note };
    }
  }
}

/**
 * `prio,seq,usec,flags;text` of /dev/kmsg (Documentation/ABI/testing/dev-kmsg), or nothing for a line that is none. The text of one record
 * may hold line ends: those of a kernel that prints several lines at once, and those in the name of a process.
 */
export function parseKmsgLine(line: string): KernelRecord[] {
  const match = /^(\d{1,10}),\d{1,20},(\d{1,16}),[^;]{0,64};(.*)$/.exec(line);
  if (match?.[3] === undefined || !isKernels(match[1])) return [];
  return [{ usec: Number(match[2]), text: unescaped(match[3]) }];
}

/**
 * Whether the kernel itself said it: its facility is 0, and the kernel gives whoever writes into /dev/kmsg another (devkmsg_write in
 * kernel/printk/printk.c). A report counts kills, so nobody else may make one. The lowest three bits are the level.
 */
function isKernels(priority: string | undefined): boolean {
  return Number(priority) < 8;
}

/** The kernel writes a backslash and each byte that is not printable ASCII as \xNN. */
function unescaped(text: string): string {
  return text.replaceAll(/(?:\\x[0-9a-f]{2})+/g, (run) =>
    Buffer.from(run.replaceAll("\\x", ""), "hex").toString("utf8"),
  );
}

/** `<prio>[ seconds.micros] text` of the syslog system call; a line without that belongs to the one before. */
export function parseSyslogLine(line: string, before: number | undefined): KernelRecord | undefined {
  const match = /^<(\d{1,4})>(?:\[\s{0,12}(\d{1,10})\.(\d{6})\]\s?(?:\[\s{0,8}[TC]\d{1,10}\]\s?)?)?(.*)$/.exec(line);
  if (match?.[4] === undefined) return line === "" ? undefined : { usec: before, text: line };
  if (!isKernels(match[1])) return undefined;
  const usec = match[2] === undefined ? undefined : Number(match[2]) * 1_000_000 + Number(match[3]);
  return { usec, text: match[4] };
}

/** Each read gives one record; EAGAIN is the end of what there is now, EPIPE means that records were overwritten meanwhile. */
async function readDevice(path: string, onLine: (line: string) => void): Promise<void> {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const lines = splitLines(onLine);
    const buffer = Buffer.alloc(RECORD_BYTES);
    let total = 0;
    let overtaken = 0;
    for (let reads = 1; total < MAX_BYTES; reads++) {
      if (reads % RECORDS_A_TURN === 0) await yieldToOthers();
      try {
        const got = readSync(file, buffer, 0, buffer.length, null);
        if (got === 0) break;
        total += got;
        lines.add(buffer.toString("utf8", 0, got));
      } catch (error) {
        if (codeOf(error) === "EAGAIN") break;
        overtaken += 1;
        if (codeOf(error) !== "EPIPE" || overtaken > MAX_OVERTAKEN) throw error;
      }
    }
    lines.end();
  } finally {
    closeSync(file);
  }
}

function readSyslog(onRecord: OnRecord): Promise<void> {
  return new Promise((resolve, reject) => {
    let usec: number | undefined;
    let complaint = "";
    const lines = splitLines((line) => {
      const record = parseSyslogLine(line, usec);
      if (record === undefined) return;
      usec = record.usec;
      onRecord(record);
    });
    const child = spawn("dmesg", ["-S", "--raw"], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: SYSLOG_TIMEOUT_MS,
      env: { PATH: "/usr/bin:/bin", LC_ALL: "C" },
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => lines.add(text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint = (complaint + text).slice(0, 400)));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      lines.end();
      if (code === 0) resolve();
      else reject(new Error(complaint || `dmesg ended with ${code ?? signal}`));
    });
  });
}

/** Cuts a stream into lines; one that grows beyond all bounds is dropped. */
function splitLines(onLine: (line: string) => void): { add(text: string): void; end(): void } {
  let rest = "";
  return {
    add: (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE) rest = "";
      for (const line of lines) if (line.length <= MAX_LINE) onLine(line);
    },
    end: () => {
      if (rest !== "") onLine(rest);
      rest = "";
    },
  };
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error)
    .split("\n")
    .slice(0, 2)
    .join(" ")
    .slice(0, 200);
}
