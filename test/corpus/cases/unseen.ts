/**
 * A second set, written and labelled after the first had been answered for, and scored once before any rule was changed again: docs/calibration.md has what was said then.
 */
import type { Case } from "../case.ts";

export const UNSEEN: readonly Case[] = [
  {
    name: "leak-two-of-five",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["two-of-five", "rate=700"], as: "pool-of-five" }],
    label: {
      verdict: "AnonHeapLeak",
      also: ["Inconclusive"],
      process: "worker",
      why: "Two of five equal workers leak, one at two thirds of the other's rate.",
    },
  },
  {
    name: "workers-replaced",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["recycled", "rate=900", "life=30"], as: "prefork" }],
    seconds: 110,
    settleSeconds: 32,
    label: {
      verdict: "BoundedSteady",
      also: ["Inconclusive", "LoadProportional", "AnonHeapLeak"],
      why: "Two workers leak 900 KiB/s each and are replaced after 30 s, in turn: the sum goes up and down and does not grow.",
    },
  },
  {
    name: "processes-pile-up",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["pile-up", "each=2", "every=2000"], as: "scheduler" }],
    seconds: 80,
    label: {
      verdict: "AnonHeapLeak",
      also: ["Inconclusive", "LoadProportional"],
      why: "A child every two seconds that never ends, 2 MiB each; not one of them grows.",
    },
  },
  {
    name: "store-handed-over",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["hand-over", "size=80", "over=75"], as: "primary" }],
    label: {
      verdict: "BoundedSteady",
      also: ["Inconclusive"],
      why: "One process gives back what its successor takes; the sum stands still, the successor grows.",
    },
  },
  {
    name: "connections-kept",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["connections", "rate=1000", "each=48"], as: "proxy" }],
    seconds: 80,
    label: {
      verdict: "AnonHeapLeak",
      also: ["LoadProportional", "Inconclusive"],
      process: "proxy",
      why: "Connections are never closed: a descriptor and 48 KiB of heap for each, always the same.",
    },
  },
  {
    name: "cache-torn-up",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["torn-cache", "size=60"], as: "objects" }],
    seconds: 110,
    label: {
      verdict: "WarmupPlateau",
      also: ["BoundedSteady", "Inconclusive", "AllocatorRetention"],
      why: "Entries of any size replace one another by chance; all places are taken after 30 s, then the heap is only torn up a little more.",
    },
  },
  {
    name: "leak-after-start",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["start-then-leak", "base=90", "over=6", "rate=350"], as: "model" }],
    seconds: 100,
    label: {
      verdict: "AnonHeapLeak",
      also: ["Inconclusive"],
      process: "model",
      why: "90 MiB within the first 6 s, then 350 KiB/s to the end.",
    },
  },
  {
    name: "leak-to-the-kill",
    limitMiB: 128,
    programs: [{ run: "heap", args: ["sessions", "rate=1400"] }],
    seconds: 110,
    label: {
      verdict: "AnonHeapLeak",
      also: ["Inconclusive"],
      process: "heap",
      why: "A straight line until its limit kills it after 90 s; nobody starts it again.",
    },
  },
  {
    name: "leak-few-samples",
    limitMiB: 256,
    programs: [{ run: "variants", args: ["beside-noise", "rate=300", "jitter=12"], as: "resizer" }],
    seconds: 200,
    intervalSeconds: 10,
    label: {
      verdict: "AnonHeapLeak",
      also: ["Inconclusive"],
      process: "resizer",
      why: "300 KiB/s under noise of 12 MiB, looked at every 10 s.",
    },
  },
  {
    name: "burst-leaves-pins",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["burst", "size=100", "pins=16"], as: "reports" }],
    seconds: 90,
    label: {
      verdict: "AllocatorRetention",
      also: ["StepChange", "WarmupPlateau", "BoundedSteady"],
      why: "100 MiB of small objects at once; one in sixteen stays and pins its page, and nothing more comes.",
    },
  },
  {
    name: "burst-given-back",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["burst", "size=100", "pins=0", "for=8"], as: "reports-trim" }],
    seconds: 90,
    label: {
      verdict: "TransientSpike",
      also: ["BoundedSteady"],
      why: "The same, and all of it is freed and given back after 8 s.",
    },
  },
  {
    name: "two-steps",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["two-steps", "size=30", "every=27"], as: "tenants" }],
    seconds: 90,
    label: {
      verdict: "StepChange",
      also: ["WarmupPlateau", "BoundedSteady", "Inconclusive"],
      why: "30 MiB after 27 s, 30 more after 54 s; flat before, between and after.",
    },
  },
  {
    name: "slows-down-for-ever",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["slowing", "size=80", "over=80"], as: "words" }],
    seconds: 80,
    label: {
      verdict: "Inconclusive",
      also: ["AnonHeapLeak", "WarmupPlateau"],
      why: "It grows with the square root of time: slower and slower, without an end. A look of 80 s cannot know.",
    },
  },
  {
    name: "mappings-pile-up",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["mappings", "per-second=450"], as: "guards" }],
    label: {
      verdict: "KernelMemoryGrowth",
      also: ["Inconclusive"],
      why: "900 mappings more each second, of one page each that is never touched: kernel memory alone.",
    },
  },
  {
    name: "leak-in-huge-pages",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["huge-leak", "rate=1500"], as: "tensors" }],
    needs: "huge pages",
    label: {
      verdict: "AnonHeapLeak",
      also: ["ThpBloat"],
      process: "tensors",
      why: "Huge pages are taken and filled, 1.5 MiB/s, and never given back.",
    },
  },
  {
    name: "scratch-area",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["scratch", "size=30"], as: "sorter" }],
    label: { verdict: "BoundedSteady", why: "30 MiB are used for a second and given back, again and again." },
  },
  {
    name: "clients-of-a-morning",
    limitMiB: 256,
    programs: [{ run: "unseen", args: ["morning", "each=220", "ramp=35"], as: "chat" }],
    seconds: 100,
    label: {
      verdict: "LoadProportional",
      also: ["WarmupPlateau", "BoundedSteady"],
      why: "Clients come for 35 s and stay; each has a socket and 220 KiB.",
    },
  },
  {
    name: "files-made",
    limitMiB: 256,
    programs: [{ run: "kernel", args: ["names", "make=1", "rate=900"], as: "spool" }],
    label: {
      verdict: "KernelMemoryGrowth",
      also: ["PageCacheGrowth", "BoundedSteady"],
      why: "Empty files are made, each with an inode and a name that the kernel remembers and can forget again.",
    },
  },
  {
    name: "sidecar-fills-tmpfs",
    limitMiB: 256,
    sharedLimit: true,
    programs: [
      { run: "shapes", args: ["steady", "size=70", "jitter=20"], in: "app", as: "service" },
      { run: "sharing", args: ["file", "MEMORY/spool", "rate=700"], in: "sidecar", as: "collector" },
    ],
    seconds: 80,
    label: {
      verdict: "ShmemGrowth",
      also: ["Inconclusive"],
      why: "A busy service that stands still; beside it a file on tmpfs grows by 700 KiB/s.",
    },
  },
  {
    name: "javascript-slow-listeners",
    limitMiB: 512,
    programs: [{ run: "variants.mjs", args: ["listeners", "rate=90"], as: "node" }],
    seconds: 150,
    intervalSeconds: 3,
    settleSeconds: 10,
    label: {
      verdict: "ManagedHeapGrowth",
      also: ["AnonHeapLeak", "Inconclusive"],
      process: "MainThread",
      why: "900 listeners a second that are never taken off.",
    },
  },
  {
    name: "java-threads",
    limitMiB: 512,
    programs: [{ run: "Variants.java", args: ["threads"], as: "java" }],
    needs: "java",
    seconds: 80,
    settleSeconds: 3,
    label: {
      verdict: "ThreadStackGrowth",
      also: ["NativeLeakInManagedRuntime", "KernelMemoryGrowth", "AnonHeapLeak", "Inconclusive"],
      process: "java",
      why: "Twenty threads a second that wait for ever.",
    },
  },
  {
    name: "go-threads",
    limitMiB: 256,
    programs: [{ run: "variants.go", args: ["threads"], as: "golock" }],
    needs: "go",
    seconds: 80,
    label: {
      verdict: "ThreadStackGrowth",
      also: ["KernelMemoryGrowth", "ManagedHeapGrowth", "AnonHeapLeak", "Inconclusive", "BoundedSteady"],
      why: "Ten goroutines a second that hold a thread each; what a thread costs is little.",
    },
  },
  {
    name: "steady-beside-cache-of-a-neighbour",
    limitMiB: 160,
    programs: [
      { run: "shapes", args: ["steady", "size=70", "jitter=10"], as: "service" },
      { run: "variants", args: ["beside-churn", "rate=1", "file=150", "pause=10"], in: "neighbour", as: "backup" },
    ],
    seconds: 70,
    label: { verdict: "BoundedSteady", why: "It stands still; a neighbour writes and reads large files." },
  },
];
