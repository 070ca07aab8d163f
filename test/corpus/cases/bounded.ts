/** Anonymous memory that is bounded, in the shapes that are taken for leaks; and what stands still. */
import type { Case } from "../case.ts";

export const BOUNDED: readonly Case[] = [
  {
    name: "cache-fills-to-cap",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["cache-linear", "size=96", "rate=4096"] }],
    seconds: 80,
    label: {
      verdict: "WarmupPlateau",
      also: ["BoundedSteady"],
      why: "A cache of 96 MiB is full after 24 s; from then on each entry takes the place of another.",
    },
  },
  {
    name: "cache-saturates",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["cache-saturating", "size=96", "tau=15"] }],
    seconds: 100,
    label: {
      verdict: "WarmupPlateau",
      also: ["BoundedSteady"],
      why: "A cache fills ever more slowly, time constant 15 s: after 100 s nothing is missing.",
    },
  },
  {
    name: "cache-still-filling",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["cache-saturating", "size=120", "tau=25"] }],
    label: {
      verdict: "WarmupPlateau",
      also: ["Inconclusive"],
      why: "The same seen only while it fills: it slows down, which a leak does not.",
    },
  },
  {
    name: "one-step",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["step", "base=24", "at=30", "size=64"] }],
    label: {
      verdict: "StepChange",
      also: ["BoundedSteady"],
      why: "64 MiB at once after half of the time; flat before and after.",
    },
  },
  {
    name: "one-spike",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["spike", "base=48", "at=28", "for=7", "size=120"] }],
    label: {
      verdict: "TransientSpike",
      also: ["BoundedSteady"],
      why: "120 MiB for 7 s, then as before.",
    },
  },
  {
    name: "load-up-and-down",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["load", "most=300", "each=320", "period=40"] }],
    seconds: 110,
    label: {
      verdict: "LoadProportional",
      also: ["BoundedSteady"],
      why: "Each connection has a descriptor and 320 KiB, and gives both back; two and a half waves.",
    },
  },
  {
    name: "load-ramp",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["load", "most=300", "each=320", "period=0", "ramp=120"] }],
    label: {
      verdict: "LoadProportional",
      also: ["Inconclusive"],
      why: "Connections come and none has gone yet: always 320 KiB for each.",
    },
  },
  {
    name: "allocator-keeps",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["retention", "size=96", "rising=6", "pause=4000"] }],
    seconds: 90,
    label: {
      verdict: "AllocatorRetention",
      also: ["WarmupPlateau", "BoundedSteady", "StepChange"],
      why: "Each batch frees nearly all that it took; what is left over pins pages. New high-water marks for 27 s, none after.",
    },
  },
  {
    name: "javascript-flat-floor",
    limitMiB: 512,
    programs: [{ run: "heap.mjs", args: ["flat"], as: "node" }],
    seconds: 120,
    settleSeconds: 8,
    label: {
      verdict: "BoundedSteady",
      also: ["WarmupPlateau", "LoadProportional"],
      why: "Garbage comes and goes in cycles of 6 s; what stays after each is the same.",
    },
  },
  {
    name: "huge-pages",
    limitMiB: 256,
    programs: [{ run: "files", args: ["huge", "size=160", "per-second=3"], as: "table" }],
    needs: "huge pages",
    seconds: 80,
    label: {
      verdict: "ThpBloat",
      also: ["WarmupPlateau", "BoundedSteady"],
      why: "80 entries of one byte, each in a huge page of its own: 160 MiB after 27 s, then nothing more.",
    },
  },
  {
    name: "idle",
    limitMiB: 128,
    programs: [{ run: "shapes", args: ["steady", "size=64"] }],
    label: { verdict: "BoundedSteady", why: "Nothing happens." },
  },
  {
    name: "busy-steady-long",
    limitMiB: 256,
    programs: [{ run: "shapes", args: ["steady", "size=64", "jitter=24"] }],
    seconds: 300,
    intervalSeconds: 5,
    label: {
      verdict: "BoundedSteady",
      why: "Requests take up to 24 MiB for less than a second each, for five minutes.",
    },
  },
  {
    name: "busy-churn",
    limitMiB: 128,
    programs: [{ run: "heap", args: ["behind-churn", "rate=0", "churn=4096"] }],
    label: { verdict: "BoundedSteady", why: "200 MiB/s are taken and given back; nothing stays." },
  },
  {
    name: "full-but-steady",
    limitMiB: 100,
    programs: [{ run: "shapes", args: ["steady", "size=90"] }],
    label: { verdict: "BoundedSteady", also: ["LimitTooLow"], why: "At 90 % of its limit, and not one page more." },
  },
];
