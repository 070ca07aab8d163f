/** What does a verdict mean, and what should the engineer who reads it do next? For the report and for the terminal. */
import type { Verdict } from "../api/memoryinvestigation.ts";

export interface NextSteps {
  /** One sentence for somebody who has never read the word. */
  readonly means: string;
  /** In the order in which to try them. */
  readonly steps: readonly string[];
}

const PROFILE =
  "Take a growth profile if there is none (--profile, or collect.profile in the policy): it names the function.";
const BEFORE_AND_AFTER = "Measure again after the change: the same series must be flat for an hour.";

export const NEXT_STEPS: Readonly<Record<Verdict, NextSteps>> = {
  AnonHeapLeak: {
    means: "Private memory grows without an end and is not given back.",
    steps: [
      "Roll back to the last revision that did not grow; where there is none, restart the pods one by one to win time.",
      PROFILE,
      "Do not raise the limit as a cure: it moves the kill and does not prevent it.",
      BEFORE_AND_AFTER,
    ],
  },
  ManagedHeapGrowth: {
    means:
      "What a garbage collector leaves behind grows from one collection to the next: objects are still referenced.",
    steps: [
      "Take two heap dumps with the runtime's own tool, some minutes apart, and compare what grew. Caches without a bound come first.",
      "Roll back if the growth began with a release.",
      BEFORE_AND_AFTER,
    ],
  },
  NativeLeakInManagedRuntime: {
    means: "The process grows, and its managed heap does not: native code, direct buffers or arenas hold the memory.",
    steps: [
      "Look at native libraries, direct or mapped buffers, and the number of malloc arenas; the managed heap is not to blame.",
      PROFILE,
      BEFORE_AND_AFTER,
    ],
  },
  ThreadStackGrowth: {
    means: "Threads are started and do not end; each holds its stack.",
    steps: [
      "Count threads by name (/proc/PID/task/*/comm) and find out who starts them.",
      "Bound the pool, or let its threads end.",
      BEFORE_AND_AFTER,
    ],
  },
  ShmemGrowth: {
    means: "Shared memory grows: tmpfs files, memfd, System V segments, or an emptyDir of medium Memory.",
    steps: [
      "Look into /dev/shm and memory-backed volumes for files that nobody deletes; deleted files are held by open descriptors.",
      "Give memory-backed volumes a sizeLimit.",
      "Restarting the container does not free what lies in a volume of the pod: delete the pod.",
    ],
  },
  KernelMemoryGrowth: {
    means: "The kernel's own memory for this workload grows: page tables, dentries and inodes, sockets, stacks.",
    steps: [
      "Look at open descriptors, at how many files are created or looked up, and at the number of mappings and threads.",
      "Dentries and inodes are taken back under pressure; page tables, stacks and pipes are not.",
    ],
  },
  PageCacheGrowth: {
    means: "File cache grows. The kernel takes clean cache back before it kills anybody.",
    steps: [
      "No action for memory's sake. Alert on anon or on pressure, and not on usage or working set.",
      "If reads are slow because the cache is small, raise the limit.",
    ],
  },
  MappedDirtyFile: {
    means: "A mapped file is written to: its pages look private and dirty, and go to disk and not to a leak.",
    steps: [
      "Nothing leaks. If reclaim is slow because the disk is, write back more often (msync) or map less at once.",
    ],
  },
  SharedPageArtefact: {
    means: "Sums of RSS count shared pages many times; what is really charged does not grow.",
    steps: ["Nothing leaks. Use Pss or the cgroup's anon in dashboards, never the sum of RSS."],
  },
  CowUnsharing: {
    means: "Pages that forked processes shared are copied one by one as they are written to.",
    steps: [
      "It ends when all is copied: plan the limit for that, or write less to what is inherited.",
      "In Python freeze the collector before the fork (gc.freeze).",
    ],
  },
  AllocatorRetention: {
    means: "The program has freed the memory; its allocator keeps it.",
    steps: [
      "Set the allocator: fewer arenas (MALLOC_ARENA_MAX), a trim threshold, or decay in jemalloc.",
      "Plan the limit for the peak of demand; the floor will stay near it.",
    ],
  },
  ThpBloat: {
    means: "Transparent huge pages make 2 MiB resident where a few KiB are used.",
    steps: ["Set transparent_hugepage to madvise on the node, or switch it off for the process (PR_SET_THP_DISABLE)."],
  },
  TransientSpike: {
    means: "Memory rises for moments, and such a moment reached the limit; between them nothing grows.",
    steps: [
      "Find the request that needs it: large inputs, batch work, many at once.",
      "Bound the size of inputs and how many are worked on at once, or plan the limit for the peak.",
    ],
  },
  StepChange: {
    means: "Memory rose once and stays there: a load, a cache or a configuration that came at that moment.",
    steps: [
      "Compare the time of the step with roll-outs, configuration and traffic.",
      "If it is wanted, plan the limit for it.",
    ],
  },
  LoadProportional: {
    means: "Memory follows the load and comes back with it.",
    steps: [
      "Scale out, or bound how much is worked on at once.",
      "Plan the limit for the highest load that is wanted.",
    ],
  },
  WarmupPlateau: {
    means: "Growth after the start that flattens: caches and pools fill up.",
    steps: ["Measure again after an hour: if it still grows, it is a leak.", "Plan the limit above the plateau."],
  },
  LimitTooLow: {
    means: "Nothing grows without an end; what the program needs in ordinary work does not fit under the limit.",
    steps: [
      "Raise the limit above the peak with room to spare, or configure the program for less (heap size, workers).",
      "A runtime's configured maximum, and native memory beside it, must fit together.",
    ],
  },
  ThrottledAtMemoryHigh: {
    means: "The kernel slows the workload down at memory.high instead of killing it.",
    steps: ["Raise memory.high, or need less. Latency is the symptom, and no kill will tell of it."],
  },
  SwapColdPages: {
    means: "Pages that are not used go to swap; all together does not grow.",
    steps: ["No action, unless major faults or pressure rise: then the workload needs what was swapped out."],
  },
  NodePressureVictim: {
    means: "The node ran out of memory, and this workload was chosen; its own memory did not grow.",
    steps: [
      "Look for what grows on the node instead: the table of the machine shows who else holds memory.",
      "Set requests that fit what is used: the kernel and the kubelet choose who is above its request.",
    ],
  },
  BoundedSteady: {
    means: "No kind of memory grows.",
    steps: [
      "Nothing to do now. A leak that is slower than the bound in the summary would need a longer look, under load.",
    ],
  },
  Inconclusive: {
    means: "What was measured does not tell; the reasons stand in the summary and under what could not be seen.",
    steps: [
      "Measure for longer and under load: 24 samples over 5 minutes tell a leak from a warm-up.",
      "Mend what could not be seen: permissions, the stall budget, missing parts.",
    ],
  },
};
