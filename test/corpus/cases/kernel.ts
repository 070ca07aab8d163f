/** Memory that the kernel holds for processes. */
import type { Case } from "../case.ts";

export const KERNEL: readonly Case[] = [
  {
    name: "page-tables",
    limitMiB: 256,
    programs: [{ run: "kernel", args: ["page-tables", "rate=1200"], as: "index" }],
    label: {
      verdict: "KernelMemoryGrowth",
      process: "index",
      why: "A sparse index is read: page tables grow by 1.2 MiB/s, Rss by nothing.",
    },
  },
  {
    name: "pipes",
    limitMiB: 256,
    programs: [{ run: "kernel", args: ["pipes", "rate=1200"], as: "relay" }],
    label: { verdict: "KernelMemoryGrowth", process: "relay", why: "Pipes are filled, and nobody reads them." },
  },
  {
    name: "unix-sockets",
    limitMiB: 256,
    programs: [{ run: "kernel", args: ["unix-sockets", "rate=1200"], as: "relay" }],
    label: { verdict: "KernelMemoryGrowth", process: "relay", why: "Local sockets hold data that nobody reads." },
  },
  {
    name: "tcp-sockets",
    limitMiB: 256,
    programs: [{ run: "kernel", args: ["tcp-sockets", "rate=2400"], as: "relay" }],
    label: {
      verdict: "KernelMemoryGrowth",
      also: ["Inconclusive"],
      process: "relay",
      why: "TCP connections hold data that nobody reads. cgroup v1 charges it to nobody: only descriptors and the network's own sum show it.",
    },
  },
  {
    name: "names-that-are-not-there",
    limitMiB: 256,
    programs: [{ run: "kernel", args: ["names", "rate=1200"], as: "scanner" }],
    label: {
      verdict: "KernelMemoryGrowth",
      also: ["BoundedSteady"],
      why: "Names of files that do not exist are looked up, a new one each time; the kernel remembers them, and can take that back.",
    },
  },
  {
    name: "descriptors-kept",
    limitMiB: 256,
    programs: [{ run: "kernel", args: ["descriptors", "rate=500"], as: "poller" }],
    label: {
      verdict: "KernelMemoryGrowth",
      process: "poller",
      why: "250 sockets a second are opened and forgotten, each with small objects of the kernel that cannot be reclaimed.",
    },
  },
];
