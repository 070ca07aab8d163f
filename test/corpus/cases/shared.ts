/** Memory that several processes share, or none maps. */
import type { Case } from "../case.ts";

export const SHARED: readonly Case[] = [
  {
    name: "workers-unshare",
    limitMiB: 400,
    programs: [{ run: "sharing", args: ["prefork", "size=48", "workers=4", "rate=900"] }],
    seconds: 80,
    label: {
      verdict: "CowUnsharing",
      also: ["WarmupPlateau"],
      why: "Four workers write to the heap that they share with their parent; each has a copy of all 48 MiB after 55 s.",
    },
  },
  {
    name: "workers-still-unsharing",
    limitMiB: 400,
    programs: [{ run: "sharing", args: ["prefork", "size=56", "workers=4", "rate=600"] }],
    label: {
      verdict: "CowUnsharing",
      also: ["Inconclusive"],
      why: "The same, seen only while it goes on: all workers together, and Shared_* falls by as much.",
    },
  },
  {
    name: "python-unshares",
    limitMiB: 400,
    programs: [{ run: "worker.py", args: ["prefork", "entries=600000", "workers=3", "rate=9000"], as: "python3" }],
    needs: "python3",
    settleSeconds: 2,
    label: {
      verdict: "CowUnsharing",
      also: ["Inconclusive", "WarmupPlateau"],
      why: "Workers only read a table of their parent; counting references writes to every page of it.",
    },
  },
  {
    name: "workers-share",
    limitMiB: 128,
    programs: [{ run: "sharing", args: ["prefork", "size=56", "workers=6"] }],
    label: {
      verdict: "SharedPageArtefact",
      also: ["BoundedSteady"],
      why: "Seven processes show 56 MiB of Rss each, and there are 56 MiB. Nothing grows.",
    },
  },
  {
    name: "memfd-mapped",
    limitMiB: 256,
    programs: [{ run: "sharing", args: ["memfd-mapped", "rate=1200"], as: "encoder" }],
    label: {
      verdict: "ShmemGrowth",
      process: "encoder",
      why: "A file in memory grows and stays mapped: Private_Dirty in smaps, and no heap.",
    },
  },
  {
    name: "memfd-unmapped",
    limitMiB: 256,
    programs: [{ run: "sharing", args: ["memfd", "rate=1200"], as: "encoder" }],
    label: { verdict: "ShmemGrowth", why: "The same by write(2): no process maps it, only a descriptor holds it." },
  },
  {
    name: "tmpfs-file",
    limitMiB: 256,
    programs: [{ run: "sharing", args: ["file", "MEMORY/spool", "rate=1200"], as: "spooler" }],
    label: { verdict: "ShmemGrowth", why: "A file on tmpfs grows, as in an emptyDir in memory." },
  },
  {
    name: "tmpfs-buffer-bounded",
    limitMiB: 256,
    programs: [{ run: "sharing", args: ["memfd-mapped", "rate=4096", "most=80"], as: "encoder" }],
    seconds: 80,
    label: {
      verdict: "WarmupPlateau",
      also: ["BoundedSteady"],
      why: "Shared buffers are filled for 20 s up to their 80 MiB, then nothing more.",
    },
  },
];
