/**
 * What a `mappings` part says: the memory map of each process of the suspect at one moment, summed by class and by file. No address, no path
 * and no other name than that of a shared library leaves the node. How each class is recognised stands in docs/decisions/0008.
 */
import { z } from "zod";

/**
 * Classes of mappings. What the kernel itself names comes first; the runtimes' heaps are recognised by a layout, and only in a process
 * that is known to run that runtime. What fits nowhere is Anonymous or File; what could not be understood is Unknown.
 */
export const MAPPING_CLASSES = [
  /** `[heap]`: the brk area, where glibc's main arena lies. */
  "Heap",
  /** Heaps of glibc's other arenas. */
  "Arena",
  "V8Heap",
  "JvmHeap",
  "GoHeap",
  "CPythonArena",
  /** Private memory of no known owner: large malloc blocks, other allocators, data segments. */
  "Anonymous",
  "MainStack",
  "ThreadStack",
  /** Executable memory without a file: code that a runtime has compiled. */
  "Jit",
  /** Address space that was reserved and may not be touched: no memory. */
  "Reserved",
  /** Files that are executed and are no shared libraries. */
  "Program",
  "Library",
  "File",
  "Memfd",
  /** Files of a tmpfs, /dev/shm included. */
  "Tmpfs",
  "SysV",
  /** Shared memory without a name (`/dev/zero`, MAP_SHARED | MAP_ANONYMOUS). */
  "SharedAnonymous",
  "HugePages",
  "Device",
  /** vdso, vvar, vsyscall. */
  "Kernel",
  "Unknown",
] as const;
export type MappingClass = (typeof MAPPING_CLASSES)[number];

/** The fields of smaps (Documentation/filesystems/proc.rst) that are summed, in bytes. A sum of zero is left out, but for the five of every report. */
export const SMAPS_FIELDS = [
  "Size",
  "Rss",
  "Pss",
  "Pss_Dirty",
  "Shared_Clean",
  "Shared_Dirty",
  "Private_Clean",
  "Private_Dirty",
  "Referenced",
  "Anonymous",
  "KSM",
  "LazyFree",
  "AnonHugePages",
  "ShmemPmdMapped",
  "FilePmdMapped",
  "Shared_Hugetlb",
  "Private_Hugetlb",
  "Swap",
  "SwapPss",
  "Locked",
] as const;
export type SmapsField = (typeof SMAPS_FIELDS)[number];

const Count = z.int().nonnegative();

export const MappingSizes = z.partialRecord(z.enum(SMAPS_FIELDS), z.int());
export type MappingSizes = z.infer<typeof MappingSizes>;

/** How the class is known: the kernel says so, the process itself says so (prctl, a file's name), or the layout is that of the runtime. */
export const CERTAINTIES = ["Kernel", "Claimed", "Layout"] as const;
export type Certainty = (typeof CERTAINTIES)[number];

export const ClassSums = z.object({
  class: z.enum(MAPPING_CLASSES),
  /** The weakest by which a mapping came into this class. */
  certainty: z.enum(CERTAINTIES),
  mappings: Count,
  sizes: MappingSizes,
});
export type ClassSums = z.infer<typeof ClassSums>;

export const NamedSums = z.object({
  class: z.enum(MAPPING_CLASSES),
  /** A shared library's base name; for every other file `~` and 12 hex digits, which are the same for the same name within one pack. */
  name: z.string().max(80),
  mappings: Count,
  sizes: MappingSizes,
});
export type NamedSums = z.infer<typeof NamedSums>;

export const RUNTIMES = ["V8", "JVM", "Go", "CPython"] as const;
export type Runtime = (typeof RUNTIMES)[number];

export const ProcessMappings = z.object({
  podUid: z.string().optional(),
  containerId: z.string().optional(),
  pid: Count,
  startTicks: Count,
  comm: z.string().max(64),
  /** Runtimes that were recognised in the process, by its libraries, its program's name or names of its memory. */
  runtimes: z.array(z.enum(RUNTIMES)).max(RUNTIMES.length),
  mappings: Count,
  /** Sums over all mappings; Size, Rss, Pss, Private_Dirty and Anonymous are always there. */
  totals: MappingSizes,
  classes: z.array(ClassSums).max(MAPPING_CLASSES.length),
  /** Files by Rss + Swap, the largest first. */
  names: z.array(NamedSums).max(64),
  /** Files that had no room, together. */
  namesOmitted: z.object({ names: Count, sizes: MappingSizes }).optional(),
  /** Lines that could not be understood; 0 on every kernel that is known. */
  unparsedLines: Count,
  /** How long the whole read took, and the longest of its system calls: no lock of the target was held longer than that. */
  readMs: z.number(),
  longestCallMs: z.number(),
});
export type ProcessMappings = z.infer<typeof ProcessMappings>;

export const SNAPSHOT_MOMENTS = ["Start", "Middle", "End"] as const;
export type SnapshotMoment = (typeof SNAPSHOT_MOMENTS)[number];

/** One `mappings` part. Its number counts the snapshots of a collection. */
export const MappingSnapshot = z.object({
  index: Count,
  moment: z.enum(SNAPSHOT_MOMENTS),
  time: z.string(),
  /** Milliseconds since the first sample. */
  elapsedMs: z.number(),
  processes: z.array(ProcessMappings).max(32),
  /** Processes that were left out: OverBudget, TooLong, LowMemory, Stopped, TimedOut, Busy, NoPermission, Gone, TooLarge, Replaced (it called execve meanwhile). */
  skipped: z
    .array(
      z.object({
        pid: Count,
        startTicks: Count,
        comm: z.string().max(64),
        reason: z.string().max(32),
        predictedMs: z.number().optional(),
      }),
    )
    .max(64),
  /** Smaller processes beyond the bound of a snapshot. */
  processesOmitted: Count,
});
export type MappingSnapshot = z.infer<typeof MappingSnapshot>;
