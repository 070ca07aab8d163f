/** Page cache: it grows until the limit, and the kernel takes it back when something else needs the place. */
import type { Case } from "../case.ts";

export const FILES: readonly Case[] = [
  {
    name: "file-read",
    limitMiB: 384,
    programs: [{ run: "files", args: ["read", "size=280", "rate=2500"], as: "reader" }],
    settleSeconds: 5,
    label: { verdict: "PageCacheGrowth", also: ["BoundedSteady"], why: "A file of 280 MiB is read, 2.5 MiB/s." },
  },
  {
    name: "log-written",
    limitMiB: 256,
    programs: [{ run: "files", args: ["append", "rate=1500"], as: "logger" }],
    label: {
      verdict: "PageCacheGrowth",
      also: ["BoundedSteady"],
      why: "A log is appended to, 1.5 MiB/s, and written back by the kernel.",
    },
  },
  {
    name: "file-mapped-dirty",
    limitMiB: 384,
    programs: [{ run: "files", args: ["mapped-dirty", "size=256", "rate=2000"], as: "database" }],
    settleSeconds: 5,
    label: {
      verdict: "MappedDirtyFile",
      also: ["PageCacheGrowth"],
      why: "A mapped file is written to: Private_Dirty grows like a leak, Anonymous is 0.",
    },
  },
  {
    name: "file-mapped-read",
    limitMiB: 384,
    programs: [{ run: "files", args: ["mapped-read", "size=256", "rate=2000"], as: "search" }],
    settleSeconds: 5,
    label: {
      verdict: "PageCacheGrowth",
      also: ["BoundedSteady"],
      why: "A mapped file is read: Rss and Uss grow, and all of it can be dropped.",
    },
  },
];
