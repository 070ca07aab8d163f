/**
 * What does each verdict mean, how is it known, what looks most like it, and what should a person do? The command line prints it, and docs/verdicts.md is made
 * from it.
 */
import type { Verdict } from "./memoryinvestigation.ts";

export interface VerdictMeaning {
  /** Grows: something is wrong with the program, and it ends in a kill. Limit: the trouble is what it is given. Harmless: nothing grows without end. */
  readonly nature: "Grows" | "Limit" | "Harmless" | "Unknown";
  readonly meaning: string;
  /** The signal that the nearest look-alike does not show. */
  readonly known: string;
  readonly lookAlike: Verdict;
  /** How the two are told apart. */
  readonly apart: string;
  readonly advice: string;
  readonly subKinds: Readonly<Record<string, string>>;
}

export const VERDICTS: Readonly<Record<Verdict, VerdictMeaning>> = {
  AnonHeapLeak: {
    nature: "Grows",
    meaning: "A process keeps anonymous memory that it does not give back: a heap, arenas, or maps of its own.",
    known:
      "anon with swap rises to the end of the window, its floor with it; one process, or each worker of one program, has at least 70 % of it; it is no step, no load, no copy of shared pages.",
    lookAlike: "WarmupPlateau",
    apart: "A warm-up slows down and ends; a leak goes on at the rate it began with.",
    advice:
      "Roll back to the revision before the growth began, or restart one by one before the projected time. Then look for what is kept at the function that the finding names; without one, take a profile (`collect.profile`) or a heap profiler of the language.",
    subKinds: {
      HiddenByCache: "Usage stands still at the limit while the heap takes the place of the page cache.",
      HiddenBySwap: "RSS stands still while pages go to swap; anon and swap together grow.",
      RestartSawtooth: "Each life ends in a kill and grows like the one before.",
      EveryWorker: "Several processes of one program grow, each by itself.",
      Sidecar: "Another container of the pod than the one that was asked about.",
      ChildProcess: "A child of the container's first process.",
      MmapLeak: "The growth lies in large maps, not in the allocator's heap.",
    },
  },
  ManagedHeapGrowth: {
    nature: "Grows",
    meaning:
      "The heap of a language's runtime keeps more after each collection: something still refers to what is not needed.",
    known: "The runtime's own heap mapping has most of the growth, and the floor between collections rises.",
    lookAlike: "WarmupPlateau",
    apart: "A heap that expands to its configured size stands still there; a leak's floor goes on rising.",
    advice:
      "Take two heap snapshots some minutes apart with the runtime's own tool and compare what is retained: V8 `--heapsnapshot-signal`, JVM `jcmd PID GC.heap_dump` or JFR, Go `pprof` heap, Python `tracemalloc`. Check that the runtime's maximum fits into the limit.",
    subKinds: { V8: "Node.js and its like.", JVM: "Java.", Go: "Go.", CPython: "Python." },
  },
  NativeLeakInManagedRuntime: {
    nature: "Grows",
    meaning:
      "A process with a managed runtime grows beside the runtime's heap: buffers, a native library, or an allocator's arenas.",
    known:
      "The growth lies in `[heap]`, arenas or plain anonymous maps, and the runtime's own heap mapping stands still.",
    lookAlike: "ManagedHeapGrowth",
    apart: "A snapshot of the managed heap shows nothing of it; the mapping that grows is not the runtime's.",
    advice:
      "Do not look in heap snapshots. Check buffers outside the heap (V8 `process.memoryUsage().arrayBuffers`, JVM NMT `jcmd PID VM.native_memory`, direct buffers), then native add-ons, with a growth profile; try `MALLOC_ARENA_MAX=2` for a JVM on glibc.",
    subKinds: { V8: "Node.js and its like.", JVM: "Java.", Go: "Go, by cgo.", CPython: "Python, by an extension." },
  },
  ThreadStackGrowth: {
    nature: "Grows",
    meaning: "Threads are made and do not end; each holds a stack, and 16 KiB in the kernel.",
    known:
      "Threads rise with anon (correlation above 0.95), at what a stack can be for each; the growth lies in stacks.",
    lookAlike: "LoadProportional",
    apart: "Threads of load go away with it; look again when it falls.",
    advice: "Find who starts threads without joining or pooling them: a thread dump names them. Bound the pool.",
    subKinds: { KernelStacks: "The threads' own stacks are hardly touched; those in the kernel are what grows." },
  },
  ShmemGrowth: {
    nature: "Grows",
    meaning:
      "Shared memory grows: tmpfs files, memfds or System V segments. It counts against who wrote it and goes only to swap.",
    known: "The cgroup's shmem grows and anon does not.",
    lookAlike: "PageCacheGrowth",
    apart: "Page cache is dropped when memory is short; shared memory is not, although both are `file` to the kernel.",
    advice:
      "Mapped: the process that the finding names holds it. Unmapped: look for files in emptyDir volumes of medium Memory and in /dev/shm, for descriptors to `/memfd:`, and for segments in `ipcs -m`. Delete them, or give the volume a sizeLimit.",
    subKinds: { Mapped: "Processes map it.", Unmapped: "No process maps it: files, or memfds that are only open." },
  },
  KernelMemoryGrowth: {
    nature: "Grows",
    meaning:
      "The kernel holds more and more memory for the container: for sockets, pipes, page tables, files it knows.",
    known: "kernel or sock makes at least a fifth of the growth and passes the whole test.",
    lookAlike: "PageCacheGrowth",
    apart: "A little kernel memory follows the page cache; a fifth of the growth and more does not.",
    advice:
      "SlabReclaimable is given back when memory is short: no leak. Otherwise close what is open: sockets that are not read, pipes, descriptors, sparse maps. `ss -tm` and the descriptors in the readings tell which.",
    subKinds: {
      SlabReclaimable: "Names and inodes of files; given back under pressure.",
      SlabUnreclaimable: "Objects that descriptors, sockets or watches pin.",
      PageTables: "A large space is mapped thinly: tables for it, and little in it.",
      KernelStacks: "Stacks of threads in the kernel.",
      PerCpu: "Counters for each CPU, of cgroups or BPF maps.",
      Vmalloc: "Large areas of the kernel's own.",
      SocketBuffers: "Data that was sent and not read.",
      PipeBuffers: "Data in pipes.",
    },
  },
  PageCacheGrowth: {
    nature: "Harmless",
    meaning:
      "The container reads or writes files, and the kernel keeps them. It takes clean cache back before anything is killed.",
    known: "file grows; anon, shmem and kernel do not.",
    lookAlike: "AnonHeapLeak",
    apart: "Of a leak anon grows as well, even where usage looks the same.",
    advice:
      "Nothing, unless pages are read again and again: then the limit is too low. Do not size the limit by usage or by the working set alone.",
    subKinds: {
      MappedFile: "Files that are mapped: they show in RSS and USS, and are no heap.",
      DirtyWriteback: "Much of it waits to be written: writers are slowed down, and on cgroup v1 may be killed.",
    },
  },
  MappedDirtyFile: {
    nature: "Harmless",
    meaning: "A file is mapped and written to, as databases do. Its dirty pages look like a heap, and go to disk.",
    known: "Dirty pages grow that are not anonymous, with mapped file pages.",
    lookAlike: "AnonHeapLeak",
    apart: "Anonymous stands still; `pmap`'s Dirty does not tell the two apart, smaps does.",
    advice:
      "Nothing for a leak. Bound the store's map or cache by its own setting, and let the limit leave room for it.",
    subKinds: {},
  },
  SharedPageArtefact: {
    nature: "Harmless",
    meaning: "Nothing grows. The sum of RSS counts pages that several processes share once for each of them.",
    known: "The sum of RSS is above usage, and more than 30 % of it is counted twice by PSS.",
    lookAlike: "BoundedSteady",
    apart: "Only the complaint differs: here somebody has added up RSS.",
    advice: "Use PSS, or the cgroup's own numbers, in the dashboard that gave the alarm.",
    subKinds: {},
  },
  CowUnsharing: {
    nature: "Harmless",
    meaning:
      "Forked processes write to the memory that they inherited, and each gets a copy. It is bounded by the parent's heap times the number of processes.",
    known: "anon grows while RssAnon of each process stands still: what they share less they hold alone.",
    lookAlike: "AnonHeapLeak",
    apart: "In a leak a process gets larger; here none does.",
    advice:
      "Compare the bound that the summary gives with the limit. If it does not fit: fewer workers, load less before the fork, `gc.freeze()` in Python, or a limit that holds the bound.",
    subKinds: {},
  },
  AllocatorRetention: {
    nature: "Harmless",
    meaning: "The program has freed memory, and its allocator keeps it: fragments, arenas, caches of threads.",
    known: "Memory came with a burst or a demand that has gone, and most of it stayed; it grows no more.",
    lookAlike: "WarmupPlateau",
    apart:
      "A cache is full of something; only the allocator's own statistics, or malloc_trim, show that this is empty.",
    advice:
      "Do not look for a leak. `MALLOC_ARENA_MAX=2`, `MALLOC_TRIM_THRESHOLD_`, or jemalloc; or a limit that holds the peak.",
    subKinds: { Arenas: "glibc's arenas, one for each few threads." },
  },
  ThpBloat: {
    nature: "Harmless",
    meaning: "Huge pages fill 2 MiB where a program uses a few KiB.",
    known: "AnonHugePages make the growth, it has ended, and the address space did not grow.",
    lookAlike: "WarmupPlateau",
    apart:
      "Only what is in use inside the huge pages would tell, and that cannot be read without writing to the target.",
    advice: "Try the program with huge pages set to `madvise` or off (`PR_SET_THP_DISABLE`), and compare its RSS.",
    subKinds: {},
  },
  TransientSpike: {
    nature: "Harmless",
    meaning: "A burst that came and went.",
    known:
      "The highest reading is more than 1.5 times the median; it came back to where it was, and took less than a fifth of the time.",
    lookAlike: "AllocatorRetention",
    apart: "After a burst that is retained the floor stays up.",
    advice:
      "If the peak comes near the limit, bound the concurrency or the size of one request; a few at once may be a kill.",
    subKinds: {},
  },
  StepChange: {
    nature: "Harmless",
    meaning: "Memory rose once, and stands still before and after: a configuration, a model, a tenant was loaded.",
    known: "One changepoint has at least 70 % of the growth, within two intervals.",
    lookAlike: "AllocatorRetention",
    apart: "Three steps of like size with time between are a staircase, and that is a leak.",
    advice: "Find what happened at that time, and whether it will happen again. Size the limit for the new level.",
    subKinds: {},
  },
  LoadProportional: {
    nature: "Harmless",
    meaning: "Memory follows what is asked of the program, at a price for each that stays the same.",
    known: "anon moves with sockets, threads, processes or descriptors, in both directions.",
    lookAlike: "AnonHeapLeak",
    apart: "When the load falls, memory falls; a leak's price for each request rises.",
    advice:
      "Size limit and replicas for the peak load, or bound the connections. RampUp: keep measuring until the load falls.",
    subKinds: { RampUp: "Only a rise was seen; this is provisional." },
  },
  WarmupPlateau: {
    nature: "Harmless",
    meaning: "Caches, pools or a heap filled up, and have come to their end.",
    known: "The last third stands still, within 5 % of its level, after a rise that mattered.",
    lookAlike: "AllocatorRetention",
    apart: "What is retained came with a burst, and is empty.",
    advice: "Nothing, if the level leaves room to the limit. Decelerating: look again after twice the time.",
    subKinds: { Decelerating: "It still rises, along a curve that ends below the limit." },
  },
  LimitTooLow: {
    nature: "Limit",
    meaning: "Nothing leaks: what the program needs does not fit into what it is given.",
    known:
      "Its working set is read again and again at the limit, or it is killed at the same point soon after each start.",
    lookAlike: "AnonHeapLeak",
    apart: "A leak goes on rising to each kill, at a rate; a start that does not fit takes all it needs at once.",
    advice: "Raise the limit, or lower what the program is configured to take: workers, caches, the runtime's maximum.",
    subKinds: {
      Thrash: "File pages are dropped at the limit and read again.",
      OomLoop: "Killed soon after each start, or with a flat heap that fills the limit.",
      WarmupBeyondLimit: "A warm-up whose curve ends above the limit.",
    },
  },
  ThrottledAtMemoryHigh: {
    nature: "Limit",
    meaning: "The container is held at its memory.high: it waits for reclaim and is not killed.",
    known: "Usage at memory.high, its events rising, and much of the time lost to pressure.",
    lookAlike: "AnonHeapLeak",
    apart:
      "Growth while it is held is not that of the leak that may be behind; the rate before it was held is nearer to it.",
    advice:
      "Raise or remove memory.high (MemoryQoS sets it in Kubernetes), and measure again: a leak would then show its rate.",
    subKinds: {},
  },
  SwapColdPages: {
    nature: "Harmless",
    meaning: "Pages that nobody uses went to swap, and are not missed.",
    known: "Swap rose and stands still; nothing comes back from it.",
    lookAlike: "LimitTooLow",
    apart: "Where memory is short, pages are read back from swap all the time.",
    advice: "Nothing.",
    subKinds: {},
  },
  NodePressureVictim: {
    nature: "Limit",
    meaning:
      "The container is small or still. The machine, or what contains the container, ran out of memory by somebody else.",
    known: "Kills by a limit above its own or by the machine, MemAvailable at its end, and its own usage flat.",
    lookAlike: "AnonHeapLeak",
    apart: "Its own anon does not grow.",
    advice:
      "Look at the cgroups that the evidence names, and at the largest pods of the node. Give the container requests that equal what it uses, so that others are killed first.",
    subKinds: {
      GlobalOom: "The kernel killed because the machine had nothing left.",
      AncestorLimit: "The limit of the pod or of a slice above was hit.",
      NodeShort: "No kill by others was seen; the machine is nearly out of memory.",
    },
  },
  BoundedSteady: {
    nature: "Harmless",
    meaning: "Nothing grows.",
    known: "No kind of memory passes the test, and enough was measured to see a leak of the size that is told.",
    lookAlike: "TransientSpike",
    apart: "A burst goes above one and a half times the median.",
    advice: "Nothing. A slower leak than the one that the finding tells needs a longer collection.",
    subKinds: {},
  },
  Inconclusive: {
    nature: "Unknown",
    meaning: "Nobody could know from what was measured.",
    known: "The finding's limits say what is missing.",
    lookAlike: "BoundedSteady",
    apart: "A verdict needs at least 12 samples over a minute, and one that lasts 24 over five minutes.",
    advice: "Measure longer, under load (`collect.duration`); read the limits of the finding for what else is missing.",
    subKinds: {},
  },
};

/** It says that nothing leaks: then how small a leak could hide belongs beside it. */
export function isNegative(verdict: Verdict): boolean {
  const { nature } = VERDICTS[verdict];
  return nature === "Harmless" || nature === "Limit";
}

/** `AnonHeapLeak` as `anon-heap-leak`. */
export function slugOf(verdict: Verdict): string {
  return verdict.replace(/(?<!^)[A-Z]/g, (letter) => `-${letter}`).toLowerCase();
}
