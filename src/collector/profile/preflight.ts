/**
 * What may be profiled here, and why not the rest? A pure decision over facts that `facts.ts` reads from the machine. Feature by feature:
 * a version number of the kernel proves nothing where distributions carry patches back.
 */
import { z } from "zod";

const RUNTIMES = ["native", "go", "node", "jvm", "python", "dotnet"] as const;

export const ProfileFacts = z.object({
  /** `perf --version` without its first words; absent: no perf that answers. */
  perfVersion: z.string().optional(),
  kernel: z.string(),
  /** /proc/sys/kernel/perf_event_paranoid; absent: the kernel was built without perf events. */
  paranoid: z.int().optional(),
  uid: z.int(),
  /** Names of the effective capabilities of this process that bear on profiles. */
  capabilities: z.array(z.string()),
  /** Whether pids of the host's /proc are pids here: without it perf cannot name a process of the host. */
  hostPids: z.boolean(),
  /** A hardware PMU, for `cycles`; virtual machines mostly have none. */
  pmu: z.boolean(),
  /** The folder of tracefs, where it is mounted and can be read. */
  tracefs: z.string().optional(),
  /** The kernel has the uprobe PMU, and definitions of probes can be written. */
  uprobes: z.boolean(),
  transparentHugepage: z.string().optional(),
  /** Programs of util-linux and coreutils that confine what reads the target's files. */
  setpriv: z.boolean(),
  target: z
    .object({
      pids: z.int(),
      threads: z.int(),
      runtimes: z.array(z.enum(RUNTIMES)),
      /** Files mapped executable, and how many of them have no symbol table but the dynamic one. */
      files: z.int(),
      stripped: z.int(),
      /** A perf-PID.map of a just-in-time compiler lies where perf would look. */
      perfMaps: z.int(),
    })
    .optional(),
});
export type ProfileFacts = z.infer<typeof ProfileFacts>;
export type Runtime = (typeof RUNTIMES)[number];

const Capture = z.object({
  what: z.enum(["OnCpu", "Growth", "Allocations", "Symbols"]),
  available: z.boolean(),
  /** CamelCase, for machines; absent when available. */
  reason: z.string().optional(),
  /** A sentence for people: why not and what to do, or what to expect. */
  detail: z.string(),
});
type Capture = z.infer<typeof Capture>;

export const Preflight = z.object({
  captures: z.array(Capture),
  unwinding: z.enum(["dwarf", "fp"]),
  warnings: z.array(z.string()),
  facts: ProfileFacts,
});
export type Preflight = z.infer<typeof Preflight>;

/** Each of them is one file descriptor for every CPU; beyond this perf spends its time opening them. */
const MAX_THREADS = 2048;

interface Refusal {
  readonly reason: string;
  readonly detail: string;
}

export function decidePreflight(facts: ProfileFacts): Preflight {
  const refusal = noPerf(facts) ?? noKernel(facts) ?? noPermission(facts) ?? noTarget(facts);
  const fp = facts.target?.runtimes.some((r) => r !== "native" && r !== "python") === true;
  return {
    captures: [
      capture("OnCpu", refusal, facts.pmu ? "cpu-clock; cycles would work as well" : "cpu-clock: there is no PMU here"),
      capture("Growth", refusal, "page-faults, a software event: works without a PMU"),
      capture("Allocations", refusal ?? noUprobes(facts), "uprobes on malloc and free, after their rate was counted"),
      capture("Symbols", noConfinement(facts), "resolved by a process without capabilities"),
    ],
    // Generated code has no unwind tables, but these runtimes keep frame pointers or can be told to; libc of Debian and Alpine has tables, and no frame pointers.
    unwinding: fp ? "fp" : "dwarf",
    warnings: warnings(facts),
    facts,
  };
}

function capture(what: Capture["what"], refusal: Refusal | undefined, expect: string): Capture {
  return refusal === undefined
    ? { what, available: true, detail: expect }
    : { what, available: false, reason: refusal.reason, detail: refusal.detail };
}

function noPerf(facts: ProfileFacts): Refusal | undefined {
  return facts.perfVersion === undefined
    ? { reason: "NoPerf", detail: "perf is not installed; Debian has it in linux-perf, others in perf or linux-tools" }
    : undefined;
}

function noKernel(facts: ProfileFacts): Refusal | undefined {
  return facts.paranoid === undefined
    ? { reason: "NoPerfEvents", detail: "this kernel has no perf events (CONFIG_PERF_EVENTS)" }
    : undefined;
}

/** perf_event_open(2): a level above -1 asks for PERFMON (or SYS_ADMIN) from whoever measures other users' processes with kernel-mode events. */
function noPermission(facts: ProfileFacts): Refusal | undefined {
  const may = ["PERFMON", "SYS_ADMIN"].some((name) => facts.capabilities.includes(name));
  if (!may && (facts.paranoid ?? 4) > 1)
    return {
      reason: "NoPermission",
      detail: `perf_event_paranoid is ${facts.paranoid} and this process lacks PERFMON (SYS_ADMIN before Linux 5.8)`,
    };
  if (!facts.capabilities.includes("SYS_PTRACE"))
    return {
      reason: "NoPermission",
      detail: "the mappings of other users' processes cannot be read without SYS_PTRACE",
    };
  return undefined;
}

function noTarget(facts: ProfileFacts): Refusal | undefined {
  if (!facts.hostPids)
    return { reason: "NoHostPids", detail: "perf needs the host's pids: the pod must run with hostPID" };
  if (facts.target === undefined) return undefined;
  if (facts.target.pids === 0) return { reason: "NoProcess", detail: "no process of the target is alive" };
  if (facts.target.threads > MAX_THREADS)
    return { reason: "TooManyThreads", detail: `${facts.target.threads} threads; at most ${MAX_THREADS} are profiled` };
  return undefined;
}

function noUprobes(facts: ProfileFacts): Refusal | undefined {
  if (facts.tracefs === undefined)
    return { reason: "NoTracefs", detail: "tracefs is not mounted, or may not be read here" };
  return facts.uprobes
    ? undefined
    : { reason: "NoUprobes", detail: "probes cannot be defined: uprobe_events of tracefs is missing or read-only" };
}

function noConfinement(facts: ProfileFacts): Refusal | undefined {
  if (!facts.setpriv)
    return {
      reason: "NoSetpriv",
      detail: "setpriv, prlimit or timeout is missing (util-linux, coreutils): stacks stay without names",
    };
  const may = ["SETUID", "SETGID"].every((name) => facts.capabilities.includes(name));
  return facts.uid === 0 && !may
    ? {
        reason: "NoPermission",
        detail: "without SETUID and SETGID the files of the target cannot be read by a process without rights",
      }
    : undefined;
}

function warnings(facts: ProfileFacts): string[] {
  const found: string[] = [];
  const { target } = facts;
  if (facts.transparentHugepage === "always")
    found.push(
      "Transparent huge pages are on for every process: one fault may bring 512 pages, so shares of growth are skewed",
    );
  if (target !== undefined && target.stripped > 0)
    found.push(
      `${target.stripped} of ${target.files} files have no full symbol table: only exported functions have names`,
    );
  const silent = target?.runtimes.filter((r) => ["node", "jvm", "python", "dotnet"].includes(r)) ?? [];
  if (target !== undefined && silent.length > 0 && target.perfMaps === 0)
    found.push(
      `The target runs ${silent.join(", ")} and writes no perf-PID.map: frames inside the runtime stay without names (node --perf-basic-prof, java -XX:+PreserveFramePointer with jcmd Compiler.perfmap, python -X perf)`,
    );
  return found;
}
