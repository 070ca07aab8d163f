/** Memory and what is asked for it: does it come and go with the load, or stay when the demand has gone? */
import { classShares } from "./case.ts";
import { type Claim, type Facts, growthPoints, isProvisional, viewPoints } from "./claim.ts";
import { line } from "./evidenceline.ts";
import { followsLoad, keptAfterDemand } from "./load.ts";
import { findPlateau, findRetention, findStep, rangeOf } from "./shape.ts";
import { RETENTION, SHARE } from "./thresholds.ts";

/** Memory that goes up and down with what is asked of the process, at a price that stays the same. */
export function loadProportional(facts: Facts): Claim | undefined {
  const { container, story, gate, part } = facts;
  const trend = story.anon;
  const found = followsLoad(container, container.anonAndSwap, gate);
  // A rise of threads or processes alone is as good a sign of a leak of these.
  if (trend === undefined || found === undefined || !(found.bothWays || found.proxy === "sockets")) return undefined;
  const { proxy, bytesEach, r2Percent, bothWays } = found;
  return {
    verdict: "LoadProportional",
    subKind: bothWays ? undefined : "RampUp",
    trend,
    points: [
      ...growthPoints(facts, trend).filter((p) => p !== "loadPartly" && p !== "noisy"),
      bothWays ? "separating" : "corroborated",
    ],
    cap: bothWays ? undefined : 60,
    provisional: isProvisional(facts, trend),
    says: bothWays
      ? `goes up and down with its ${proxy}, and each costs the same all the time`
      : `rises with its ${proxy}; whether it falls with them has not been seen`,
    speaks: [
      line(`anon against ${proxy}, r²`, r2Percent, "%", part, ">= 90"),
      line(`anon for each of its ${proxy}`, bytesEach, "bytes", part),
    ],
    against: [],
    limits: bothWays
      ? []
      : [`Only a rise of ${proxy} was seen: what keeps them open can be a leak as well. Measure until the load falls.`],
    rivals: ["AnonHeapLeak"],
  };
}

/** Memory came with a demand that has gone, and did not go with it. */
export function allocatorRetention(facts: Facts): Claim | undefined {
  const { container, story, gate, part, seen } = facts;
  const trend = story.anon;
  const leader = story.processes[0];
  if (trend === undefined || trend.shape === "TooShort" || rangeOf(container.anonAndSwap.values) < gate)
    return undefined;
  const plateau = findPlateau(container.anonAndSwap, gate);
  const step = findStep(container.anonAndSwap, gate);
  if (plateau === undefined && step === undefined) return undefined;
  const kept = keptAfterDemand(container, container.anonAndSwap);
  const burst = findRetention(container.anonAndSwap, gate);
  const shares = leader === undefined ? undefined : classShares(seen, leader.process);
  const managed = [...(shares?.keys() ?? [])].some(
    (kind) => /^(V8Heap|JvmHeap|GoHeap)$/.test(kind) && (shares?.get(kind) ?? 0) >= SHARE.part,
  );
  const arenas = leader === undefined ? undefined : arenasOf(facts, leader.process);
  // A collector's heap rises and stays in the same way, and it is no allocator of C.
  if (managed || (kept === undefined && burst === undefined && arenas === undefined)) return undefined;
  return {
    verdict: "AllocatorRetention",
    subKind: arenas === undefined ? undefined : "Arenas",
    trend,
    points: [
      ...viewPoints(facts, trend),
      ...(kept === undefined && burst === undefined ? [] : (["separating"] as const)),
      ...(arenas === undefined && (kept === undefined || burst === undefined) ? [] : (["corroborated"] as const)),
    ],
    cap: 75,
    provisional: isProvisional(facts, trend),
    says: `keeps memory that its demand of a moment needed${burst === undefined ? "" : `: ${burst.keptPercent} % of the peak's growth has stayed`}, and grows no more`,
    speaks: [
      ...(kept === undefined
        ? []
        : [
            line(`${kept.proxy}, fall from the most`, kept.fellPercent, "%", part, `>= ${RETENTION.demandFalls * 100}`),
          ]),
      ...(burst === undefined
        ? []
        : [line("kept of what the burst took", burst.keptPercent, "%", part, `>= ${RETENTION.keeps * 100}`)]),
      ...(arenas === undefined
        ? []
        : [line("glibc arenas", arenas, "mappings", "mappings", `>= ${RETENTION.leastArenas}`)]),
    ],
    against: [],
    limits: [
      "Only malloc_trim or the allocator's own statistics prove it, and these need a hook in the program: seen from outside, a cache that has filled looks the same.",
    ],
    rivals: ["WarmupPlateau"],
  };
}

/** Number of glibc's arenas where the growth lies in them, and they are as many as threads and CPUs give. */
function arenasOf(
  { seen, container }: Facts,
  process: { readonly pid: number; readonly startTicks: number },
): number | undefined {
  const growth = seen.surroundings.mappingGrowth?.find(
    (one) => one.pid === process.pid && one.startTicks === process.startTicks,
  );
  const shares = classShares(seen, process);
  const arenas = growth?.classes.find((one) => one.class === "Arena")?.mappings ?? 0;
  const cpus = seen.surroundings.host?.cpus ?? 1;
  const threads = Math.max(0, ...container.sums.threads.values);
  const most = Math.min(RETENTION.arenasForEachCpu * cpus, threads);
  const enough =
    arenas >= Math.max(RETENTION.leastArenas, most / 2) && (shares?.get("Arena") ?? 0) >= RETENTION.arenaShare;
  return enough ? arenas : undefined;
}
