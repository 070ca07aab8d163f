/**
 * What a profile of a pack is: who ran, and who made memory resident, as stacks of names with weights. It holds no address: a place in a
 * program is a function, or a library and an offset. Every name in it was written by the program that was profiled.
 */
import { z } from "zod";

const Count = z.int().nonnegative();

/** OnCpu: who is busy. Growth: who touched memory for the first time. Allocations: who asked for memory that was not given back. */
export const PROFILE_KINDS = ["OnCpu", "Growth", "Allocations"] as const;
export type ProfileKind = (typeof PROFILE_KINDS)[number];

/** Names are cut to this many characters; C++ templates know no bounds. */
export const MAX_NAME_CHARACTERS = 256;
/** A profile holds at most so many different places and stacks; what is beyond is counted in `samplesOmitted`. */
export const MAX_FRAMES = 10_000;
export const MAX_STACKS = 10_000;
/** Deeper stacks keep their innermost frames. */
export const MAX_DEPTH = 127;

export const ProfileFrame = z.object({
  /** Absent: the place could not be named (`unsymbolised`). */
  function: z.string().max(MAX_NAME_CHARACTERS).optional(),
  /** Base name of the file. Absent for code that no file holds. */
  library: z.string().max(MAX_NAME_CHARACTERS).optional(),
  /** Hex, as `file` and debuginfod have it. */
  buildId: z.string().max(64).optional(),
  /** Where in the file, for a place without a name. */
  offset: Count.optional(),
  /** The name comes from a map that the program itself wrote (perf-PID.map of a just-in-time compiler): a claim, not a fact. */
  claimed: z.literal(true).optional(),
  /** Part of an allocator, of libc or of the loader: never a culprit, whoever called it may be. */
  plumbing: z.literal(true).optional(),
});
export type ProfileFrame = z.infer<typeof ProfileFrame>;

export const ProfileStack = z.object({
  /** Positions in `frames`, outermost caller first. */
  frames: z.array(Count).max(MAX_DEPTH),
  /** In the profile's unit. */
  weight: Count,
  samples: Count,
});

/** May the stacks of a Growth profile be read as "this is who grows"? See {@link beliefOf}. */
export const BELIEFS = ["Trusted", "WhereTouched", "Churn", "HugePages", "TooFew"] as const;
export type Belief = (typeof BELIEFS)[number];

/** One `profile` part. */
export const Profile = z.object({
  kind: z.enum(PROFILE_KINDS),
  /** The kernel's name of the event: cpu-clock, page-faults. */
  event: z.string(),
  /** What weights count: nanoseconds on a CPU, page faults, or bytes. */
  unit: z.enum(["nanoseconds", "faults", "bytes"]),
  /** One sample stands for so many events; for OnCpu, so many nanoseconds. */
  period: Count,
  unwinding: z.enum(["dwarf", "fp"]),
  started: z.string(),
  durationMs: z.number(),
  /** The container that was profiled, if it was one. */
  podUid: z.string().optional(),
  containerId: z.string().optional(),
  samples: Count,
  /** Samples that the kernel or perf had to drop. */
  lost: Count,
  /** Samples whose innermost place has no name. */
  unsymbolised: Count,
  /** Samples left out: too many different stacks, or of a pid that was not seen in the container before or after. */
  samplesOmitted: Count,
  /** Perf stopped at the size that it may write, before the time was over. */
  truncated: z.boolean(),
  frames: z.array(ProfileFrame).max(MAX_FRAMES),
  processes: z.array(
    z.object({
      pid: Count,
      startTicks: Count,
      comm: z.string(),
      samples: Count,
      weight: Count,
      stacks: z.array(ProfileStack),
    }),
  ),
  /** Growth only: how much of what was faulted in stayed. */
  efficiency: z
    .object({
      /** Pages by which RssAnon of all processes grew over the window; negative when it shrank. */
      anonPages: z.int(),
      /** Faults of the same processes over the same window, by the kernel's own count in /proc/PID/stat. */
      faults: Count,
      /** anonPages / faults, two decimals; absent without faults. */
      ratio: z.number().optional(),
      belief: z.enum(BELIEFS),
    })
    .optional(),
  /** What a reader must know, in plain sentences. */
  notes: z.array(z.string()),
});
export type Profile = z.infer<typeof Profile>;

/**
 * Limits of the fault efficiency e = pages of anonymous memory gained / page faults. Measured with this project's example and with a leak that hides
 * behind churn: 1.0 for a leak of large buffers, 0.006 where buffers come and go. With huge pages one fault brings up to 512 pages, so e is above 1.
 */
export const EFFICIENCY = { trust: 0.7, churn: 0.1, hugePages: 1.5, leastFaults: 256 } as const;

/** @param anonPages gained, @param faults over the same window */
export function beliefOf(anonPages: number, faults: number): Belief {
  if (faults < EFFICIENCY.leastFaults) return "TooFew";
  const ratio = anonPages / faults;
  if (ratio > EFFICIENCY.hugePages) return "HugePages";
  if (ratio >= EFFICIENCY.trust) return "Trusted";
  return ratio >= EFFICIENCY.churn ? "WhereTouched" : "Churn";
}

/** What a belief means, for people. */
export const BELIEF_TEXT: Readonly<Record<Belief, string>> = {
  Trusted: "nearly every page that was touched stayed: the stacks are those of the growth",
  WhereTouched: "only part of the pages stayed: the stacks say where memory is touched, not who keeps it",
  Churn: "hardly any page stayed: memory comes and goes, and no culprit may be named from these stacks",
  HugePages: "one fault brought many pages (huge pages): the stacks are right, their shares are not",
  TooFew: "too few page faults to say anything",
};

const PLUMBING_LIBRARY =
  /^(?:libc[.-]|libc\.so|ld-linux|ld-musl|libpthread|libjemalloc|libtcmalloc|libmimalloc|libhoard|librpmalloc|libsnmalloc|libasan|\[vdso\]|\[vsyscall\])/;
const PLUMBING_FUNCTION =
  /^(?:_*(?:GI_*)?(?:libc_)?(?:malloc|calloc|realloc|reallocarray|free|cfree|memalign|aligned_alloc|posix_memalign|valloc|pvalloc|brk|sbrk|mmap(?:64)?|munmap|mremap|mem(?:cpy|move|set|pcpy)(?:_.*)?|str(?:n?cpy|n?cat|n?dup)(?:_.*)?)|(?:j?e|t[ce]|mi)_(?:malloc|calloc|realloc|free|memalign)\w*|operator (?:new|delete)(?:\[\])?.*|_Zn[wa].*|_int_(?:malloc|free|realloc|memalign)|sysmalloc|malloc_consolidate|arena_get\w*|runtime\.(?:mallocgc|newobject|makeslice|growslice|newarray|persistentalloc|sysAlloc|memclrNoHeapPointers|memmove|\(\*m(?:heap|cache|central|span)\)\..*)|__rust_(?:alloc|realloc|dealloc)\w*|__rdl_\w+|alloc::alloc::\w+|alloc::raw_vec::.*)(?:\(.*\))?$/;

/** Whether a place only serves others: allocators, libc, the loader, the allocating parts of runtimes. */
export function isPlumbing(frame: Pick<ProfileFrame, "function" | "library">): boolean {
  if (frame.library !== undefined && PLUMBING_LIBRARY.test(frame.library)) return true;
  return frame.function !== undefined && PLUMBING_FUNCTION.test(frame.function.replace(/@.*$/, ""));
}

/**
 * Text that others wrote, made harmless: control characters, marks that turn the direction of text, and the `;` that separates folded
 * frames become visible escapes; long text is cut.
 */
export function plainName(text: string): string {
  const clean = text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp};]/gu,
    (found) => `\\x${(found.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`,
  );
  return clean.length <= MAX_NAME_CHARACTERS ? clean : `${cutWhole(clean, MAX_NAME_CHARACTERS - 1)}…`;
}

/** The first `length` code units, without half a character at the end. */
function cutWhole(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? length - 1 : length);
}
