/** What a reader must know of the node to understand the numbers. No host name, no addresses. */
import { access, constants, readFile } from "node:fs/promises";
import type { Host } from "../api/collection.ts";
import { listFolder, tryReadText, type HostRoots } from "./hostfiles.ts";
import { kubepodsRoots, namingOf, type Hierarchy } from "./podcgroups.ts";
import { bootTimeMs, parseFields } from "./procfs.ts";

const SMALL = 64 * 1024;
/** Positions of capabilities in the kernel's masks (linux/capability.h). */
const CAPABILITIES = {
  DAC_READ_SEARCH: 2,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  SYSLOG: 34,
  PERFMON: 38,
  CHECKPOINT_RESTORE: 40,
} as const;
const WHAT_FOR: Readonly<Record<keyof typeof CAPABILITIES, string>> = {
  DAC_READ_SEARCH: "cgroup files that only root may read, descriptors of other users' processes",
  SYS_PTRACE: "memory maps and descriptors of other users' processes",
  SYS_ADMIN: "not needed",
  SYSLOG: "the kernel's OOM reports",
  PERFMON: "profiles",
  CHECKPOINT_RESTORE: "files behind mappings",
};

export async function readHost(roots: HostRoots, hierarchy: Hierarchy | undefined): Promise<Host> {
  const [meminfoText, version, thp, clocksource, bootMs, cpus] = await Promise.all([
    tryReadText(`${roots.proc}/meminfo`, SMALL),
    tryReadText(`${roots.proc}/sys/kernel/osrelease`, 256),
    tryReadText("/sys/kernel/mm/transparent_hugepage/enabled", 256),
    tryReadText("/sys/devices/system/clocksource/clocksource0/current_clocksource", 64),
    bootTimeMs(roots.proc),
    cpuCount(roots),
  ]);
  const meminfo = parseFields(meminfoText ?? "");
  const kubepods = hierarchy === undefined ? [] : await kubepodsRoots(hierarchy);
  const naming =
    hierarchy === undefined
      ? { driver: "none" as const, runtime: "none" as const }
      : await namingOf(hierarchy, kubepods);
  return {
    kernel: (version ?? "unknown").trim(),
    architecture: process.arch,
    pageSizeBytes: await pageSize(),
    cpus,
    memTotalBytes: meminfo["MemTotal"] ?? 0,
    swapTotalBytes: meminfo["SwapTotal"] ?? 0,
    cgroup: await cgroupMode(roots, hierarchy),
    cgroupDriver: naming.driver,
    runtime: naming.runtime,
    ...(thp === undefined ? {} : { transparentHugepage: /\[(\w+)\]/.exec(thp)?.[1] ?? "unknown" }),
    ...(clocksource === undefined ? {} : { clocksource: clocksource.trim() }),
    ...(bootMs === undefined ? {} : { bootTime: new Date(bootMs).toISOString() }),
    capabilities: await capabilities(roots),
  };
}

/** Node has no sysconf, but the kernel tells every process in its auxiliary vector: pairs of words, AT_PAGESZ is 6 (getauxval(3)). */
async function pageSize(): Promise<number> {
  const vector = await readFile("/proc/self/auxv").catch(() => Buffer.alloc(0));
  for (let at = 0; at + 16 <= vector.length; at += 16)
    if (vector.readBigUInt64LE(at) === 6n) return Number(vector.readBigUInt64LE(at + 8));
  return 4096;
}

async function cpuCount(roots: HostRoots): Promise<number> {
  const stat = (await tryReadText(`${roots.proc}/stat`, SMALL * 16)) ?? "";
  return stat.split("\n").filter((line) => /^cpu\d+ /.test(line)).length;
}

async function cgroupMode(roots: HostRoots, hierarchy: Hierarchy | undefined): Promise<Host["cgroup"]> {
  if (hierarchy?.version === 2) return "v2";
  return (await listFolder(roots.cgroup)).includes("unified") ? "hybrid" : "v1";
}

async function capabilities(roots: HostRoots): Promise<Host["capabilities"]> {
  const own = (await tryReadText("/proc/self/status", SMALL)) ?? "";
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(own)?.[1] ?? "0"}`);
  const held = Object.entries(CAPABILITIES)
    .filter(([name]) => name !== "SYS_ADMIN")
    .map(([name, bit]) => ({
      name,
      available: ((mask >> BigInt(bit)) & 1n) === 1n,
      detail: WHAT_FOR[name as keyof typeof CAPABILITIES],
    }));
  const psi = await access(`${roots.proc}/pressure/memory`, constants.R_OK).then(
    () => true,
    () => false,
  );
  return [...held, { name: "PSI", available: psi, detail: "pressure of the node" }];
}
