/** What the machine says of itself and of the target, for `preflight.ts`. Reads only; a fact that cannot be read is the one that allows less. */
import { access, constants, readlink } from "node:fs/promises";
import { basename } from "node:path";
import type { Clock } from "../../seams.ts";
import { listFolder, tryReadText } from "../hostfiles.ts";
import { runChild } from "./child.ts";
import { readElf } from "./elf.ts";
import { pathsOf, readExecutables } from "./mappings.ts";
import type { ProfileFacts, Runtime } from "./preflight.ts";
import { openBelow, readBelow } from "./targetfiles.ts";

/** Positions in the kernel's masks (linux/capability.h). */
const CAPABILITIES = {
  SETGID: 6,
  SETUID: 7,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  PERFMON: 38,
} as const;
const FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const TRACEFS = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const SMALL = 64 * 1024;
const MAX_FILES = 64;
const MAP_BYTES = 16;

/** @param pids of the target, host's pids; without them only the machine is asked */
export async function readProfileFacts(
  proc: string,
  pids: readonly number[] | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<ProfileFacts> {
  const [perfVersion, paranoid, thp, tracefs, programs, devices] = await Promise.all([
    versionOfPerf(clock, signal),
    tryReadText(`${proc}/sys/kernel/perf_event_paranoid`, 64),
    tryReadText("/sys/kernel/mm/transparent_hugepage/enabled", 256),
    tracefsFolder(),
    Promise.all(["setpriv", "prlimit", "timeout", "flock"].map(isProgram)),
    listFolder("/sys/bus/event_source/devices"),
  ]);
  const level = Number.parseInt(paranoid ?? "", 10);
  const transparent = /\[(\w+)\]/.exec(thp ?? "")?.[1];
  return {
    ...(perfVersion === undefined ? {} : { perfVersion }),
    kernel: ((await tryReadText(`${proc}/sys/kernel/osrelease`, 256)) ?? "unknown").trim(),
    ...(Number.isNaN(level) ? {} : { paranoid: level }),
    uid: process.getuid?.() ?? 0,
    capabilities: await capabilities(),
    hostPids: await seesHostPids(proc),
    pmu: devices.some((name) => /^(?:cpu|cpu_core|armv\d.*|arm_.*pmu.*)$/.test(name)),
    ...(tracefs === undefined ? {} : { tracefs }),
    uprobes:
      tracefs !== undefined && devices.includes("uprobe") && (await may(`${tracefs}/uprobe_events`, constants.W_OK)),
    ...(transparent === undefined ? {} : { transparentHugepage: transparent }),
    setpriv: programs.every(Boolean),
    ...(pids === undefined ? {} : { target: await targetFacts(proc, pids) }),
  };
}

async function versionOfPerf(clock: Clock, signal: AbortSignal): Promise<string | undefined> {
  const { code, stdout } = await runChild({
    command: ["perf", "--version"],
    cwd: "/",
    deadlineMs: 5_000,
    clock,
    signal,
  });
  const version = /^perf version (\S{1,64})/.exec(stdout)?.[1];
  return code === 0 ? version : undefined;
}

async function capabilities(): Promise<string[]> {
  const status = (await tryReadText("/proc/self/status", SMALL)) ?? "";
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return Object.entries(CAPABILITIES)
    .filter(([, bit]) => ((mask >> BigInt(bit)) & 1n) === 1n)
    .map(([name]) => name);
}

/** `self` of a procfs is the reader's pid in the namespace of that procfs; it is ours only where that namespace is our own. */
async function seesHostPids(proc: string): Promise<boolean> {
  return (await readlink(`${proc}/self`).catch(() => "")) === String(process.pid);
}

async function tracefsFolder(): Promise<string | undefined> {
  for (const folder of TRACEFS) if (await may(`${folder}/uprobe_events`, constants.R_OK)) return folder;
  return undefined;
}

async function isProgram(name: string): Promise<boolean> {
  for (const folder of FOLDERS) if (await may(`${folder}/${name}`, constants.X_OK)) return true;
  return false;
}

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

async function targetFacts(proc: string, pids: readonly number[]): Promise<NonNullable<ProfileFacts["target"]>> {
  const runtimes = new Set<Runtime>();
  const paths = new Map<string, number>();
  let threads = 0;
  let alive = 0;
  let perfMaps = 0;
  for (const pid of pids) {
    const status = await tryReadText(`${proc}/${pid}/status`, SMALL);
    if (status === undefined) continue;
    alive += 1;
    threads += Number(/^Threads:\s+(\d{1,9})$/m.exec(status)?.[1] ?? 1);
    for (const path of pathsOf(await readExecutables(proc, pid))) if (paths.size < MAX_FILES) paths.set(path, pid);
    if (await hasPerfMap(proc, pid, status)) perfMaps += 1;
  }
  let stripped = 0;
  for (const [path, pid] of paths) {
    const elf = await elfBelow(`${proc}/${pid}/root`, path);
    if (elf?.stripped !== false) stripped += 1;
    for (const runtime of runtimesOf(basename(path), elf?.go === true)) runtimes.add(runtime);
  }
  return {
    pids: alive,
    threads,
    runtimes: runtimes.size === 0 ? ["native"] : [...runtimes].toSorted(),
    files: paths.size,
    stripped,
    perfMaps,
  };
}

function runtimesOf(name: string, go: boolean): Runtime[] {
  if (name === "libjvm.so") return ["jvm"];
  if (name === "libcoreclr.so") return ["dotnet"];
  if (name === "node" || name === "nodejs" || name.startsWith("libnode.so")) return ["node"];
  if (/^(?:libpython|python)[\d.]/.test(name)) return ["python"];
  return go ? ["go"] : [];
}

async function elfBelow(root: string, path: string): ReturnType<typeof readElf> {
  try {
    const { handle } = await openBelow(root, path);
    try {
      return await readElf(async (offset, length) => {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      });
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}

/** The innermost number of NSpid (proc_pid_status(5)), by which the program knows itself. */
export function innerPidOf(status: string): number | undefined {
  const pid = /^NSpid:.*\s(\d{1,10})$/m.exec(status)?.[1];
  return pid === undefined ? undefined : Number(pid);
}

async function hasPerfMap(proc: string, pid: number, status: string): Promise<boolean> {
  try {
    await readBelow(`${proc}/${pid}/root`, `/tmp/perf-${innerPidOf(status) ?? pid}.map`, MAP_BYTES);
    return true;
  } catch (error) {
    return error instanceof Error && "reason" in error && error.reason === "TooLarge";
  }
}
