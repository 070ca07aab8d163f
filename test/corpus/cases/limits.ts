/** Too little room: a limit below what is needed, and neighbours that take it. */
import type { Case } from "../case.ts";

export const LIMITS: readonly Case[] = [
  {
    name: "thrash",
    limitMiB: 64,
    programs: [{ run: "files", args: ["thrash", "base=24", "size=96", "pause=4"], as: "search" }],
    seconds: 80,
    settleSeconds: 8,
    label: {
      verdict: "LimitTooLow",
      why: "24 MiB of its own and files of 96 MiB that it reads again and again, at a limit of 64 MiB: what was let go is fetched again.",
    },
  },
  {
    name: "oom-loop",
    limitMiB: 96,
    programs: [{ run: "shapes", args: ["cache-saturating", "size=150", "tau=2"], restartAfterSeconds: 5 }],
    seconds: 80,
    intervalSeconds: 1,
    label: {
      verdict: "LimitTooLow",
      also: ["Inconclusive"],
      why: "It needs 150 MiB, most of it at its start, and has 96: killed 2 s after each start, always at the same size.",
    },
  },
  {
    name: "killed-for-a-neighbour",
    limitMiB: 160,
    target: "app",
    sharedLimit: true,
    programs: [
      { run: "shapes", args: ["steady", "size=90"], in: "app", as: "service", restartAfterSeconds: 3 },
      { run: "heap", args: ["sessions", "rate=2200"], in: "sidecar", as: "batch" },
    ],
    seconds: 80,
    label: {
      verdict: "NodePressureVictim",
      also: ["BoundedSteady", "Inconclusive"],
      why: "It stands still at 90 MiB. Another below the same limit grows, and the kernel kills the larger one.",
    },
  },
  {
    name: "neighbour-grows",
    limitMiB: 160,
    programs: [
      { run: "shapes", args: ["steady", "size=60", "jitter=6"], as: "service" },
      { run: "heap", args: ["sessions", "rate=6000"], in: "neighbour", as: "batch" },
    ],
    label: {
      verdict: "BoundedSteady",
      also: ["NodePressureVictim"],
      why: "It stands still; a neighbour takes 360 MiB of the machine, which has more than enough.",
    },
  },
  {
    name: "cold-pages-in-swap",
    limitMiB: 64,
    programs: [{ run: "shapes", args: ["steady", "size=80"] }],
    seconds: 80,
    needs: "swap",
    swapMiB: 256,
    label: {
      verdict: "SwapColdPages",
      also: ["BoundedSteady"],
      why: "16 MiB that nobody needs went to swap at the start, and stay there.",
    },
  },
  {
    name: "leak-at-memory-high",
    limitMiB: 256,
    highMiB: 96,
    programs: [{ run: "heap", args: ["sessions", "rate=4000"] }],
    seconds: 80,
    needs: "cgroup v2",
    label: {
      verdict: "ThrottledAtMemoryHigh",
      also: ["AnonHeapLeak"],
      process: "heap",
      why: "It leaks 4 MB/s until memory.high; from there on the kernel makes it wait, and there is nothing that could be taken back.",
    },
  },
];
