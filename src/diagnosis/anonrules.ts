/** Anonymous memory grows to the end: whose is it, and what kind of memory of a process is it? */
import type { Verdict } from "../api/memoryinvestigation.ts";
import type { MappingClass, Runtime } from "../api/mappings.ts";
import { attribute } from "./attribution.ts";
import { type Case, RUNTIME_HEAPS, classShares, killsByAnon } from "./case.ts";
import { type Claim, type Doubt, type Facts, doubt, growthPoints, isProvisional, netOf } from "./claim.ts";
import { line } from "./evidenceline.ts";
import { type ContainerGrowth, type ProcessGrowth, otherLivesGrowing } from "./growth.ts";
import { hugeFilling } from "./hugepages.ts";
import { togetherness } from "./load.ts";
import type { Point } from "./score.ts";
import { HUGE, SHARE, THREADS } from "./thresholds.ts";
import type { Trend } from "./trend.ts";
import { bytesText, nameText } from "./words.ts";

/** A claim about anon that grows, as far as all of them share it. */
interface Blame {
  readonly leader: ProcessGrowth;
  readonly trend: Trend;
  readonly points: readonly Point[];
  /** More than one process of the same program grows; the leader is the one that grew most. */
  readonly family: number;
}

/** Anonymous memory grows: a leak of some kind, or a doubt about whose it is. */
export function growingAnon(facts: Facts): Claim | Doubt | undefined {
  if (facts.growing[0] !== "anon") return undefined;
  const blame = blameOf(facts);
  if ("verdict" in blame) return blame;
  return threadStacks(facts, blame) ?? managedHeap(facts, blame) ?? plainLeak(facts, blame);
}

function blameOf(facts: Facts): Blame | Doubt {
  const { story } = facts;
  const trend = story.anon;
  if (trend === undefined) return doubt(["anon could not be read"]);
  const leader = story.processes[0];
  if (leader === undefined) return doubt(["anon grows, but none of its processes could be read"], "AnonHeapLeak", 40);
  const share = shareOf(trend, [leader]);
  const family = familyOf(story, leader);
  const together = family.length > 1 && shareOf(trend, family) >= SHARE.leader;
  if (share < SHARE.leader && !together) {
    const percent = Math.max(0, Math.round(100 * share));
    const demanded = Math.round(100 * SHARE.leader);
    return doubt(
      [`anon grows, but the process that grew most holds ${percent} % of it (${demanded} % are demanded)`],
      "AnonHeapLeak",
      40,
    );
  }
  if (leader.trend.trend !== "Growing") {
    const reason = `anon grows, but not one process by the whole test: ${leader.trend.reasons.join("; ")}`;
    return doubt([reason], "AnonHeapLeak", 40);
  }
  const points: Point[] = [
    ...growthPoints(facts, trend),
    ...(share >= SHARE.sure ? (["concentrated"] as const) : []),
    ...(identityResidual(story) < SHARE.identity ? (["identity"] as const) : []),
    ...(killsByAnon(facts.seen) > 0 ? (["kills"] as const) : []),
    ...(otherLivesGrowing(facts.seen.growths, story).length > 0 ? (["otherLives"] as const) : []),
  ];
  return { leader, trend, points, family: share < SHARE.leader ? family.length : 1 };
}

/**
 * The whole goes up and down by more than one of its processes gains: then the process tells what the sum hides. It must pass the whole test by itself, and the floor of
 * the whole must rise with it, by half as much: otherwise it only took over what another gave back, or is one of many that are started anew.
 */
export function hiddenInNoise(facts: Facts): Claim | undefined {
  const { story, part } = facts;
  const leader = story.processes.find(({ trend }) => trend.trend === "Growing");
  const whole = story.anon;
  if (facts.growing.length > 0 || leader === undefined || whole === undefined) return undefined;
  const { process, trend } = leader;
  if (whole.floorBytes < SHARE.part * trend.netBytes) return undefined;
  const points: readonly Point[] = [...growthPoints(facts, trend), "corroborated"];
  const blame: Blame = { leader, trend, points, family: 1 };
  const claim = threadStacks(facts, blame) ?? managedHeap(facts, blame) ?? plainLeak(facts, blame);
  return {
    ...claim,
    says: `holds a process that gains ${bytesText(trend.slope)}/s of anonymous memory to the end: ${nameText(process.comm)} (pid ${process.pid}). The sum goes up and down by more than that, and its floor rises with it`,
    speaks: [...claim.speaks, line("anon of all, rise of the floor", whole.floorBytes, "bytes", part, ">= half of it")],
    against: [...claim.against, line("anon of all, slope", whole.slope, "bytes/s", part)],
  };
}

/** Of what the processes gained and of what the cgroup gained, whichever is less: unread processes count against it. 0 to 1. */
function shareOf(trend: Trend, processes: readonly ProcessGrowth[]): number {
  const net = processes.reduce((sum, one) => sum + one.trend.netBytes, 0);
  const ofProcesses = processes.reduce((sum, one) => sum + one.sharePercent, 0) / 100;
  return Math.min(ofProcesses, net / Math.max(1, trend.netBytes));
}

/** Processes of the same program and parent that grow by the whole test, each by itself: every worker leaks. */
function familyOf({ processes }: ContainerGrowth, { process: leader }: ProcessGrowth): readonly ProcessGrowth[] {
  return processes.filter(
    ({ process, trend }) => process.comm === leader.comm && process.ppid === leader.ppid && trend.trend === "Growing",
  );
}

function base(facts: Facts, { leader, trend, points }: Blame): Omit<Claim, "verdict" | "rivals"> {
  const attribution = attribute(facts.seen, facts.story, leader);
  return {
    kind: "anon",
    trend,
    leader,
    attribution,
    points: [
      ...points,
      ...(attribution.corroborated ? (["attributors"] as const) : []),
      ...(largestClass(facts.seen, leader) === undefined ? [] : (["mapping"] as const)),
    ],
    provisional: isProvisional(facts, trend),
    speaks: [],
    against: [],
    limits: [],
  };
}

/** Threads rise with anon, and each brings what a stack can be; where mappings were read, the growth lies in stacks. */
function threadStacks(facts: Facts, blame: Blame): Claim | undefined {
  const { leader } = blame;
  const threads = threadGrowth(leader);
  if (threads === undefined) return undefined;
  const shares = classShares(facts.seen, leader.process);
  const stacks = shares === undefined ? undefined : (shares.get("ThreadStack") ?? 0);
  // Each thread of glibc brings an arena as well.
  const withArenas = (stacks ?? 0) + (shares?.get("Arena") ?? 0);
  if (stacks !== undefined && stacks < THREADS.stackShare && !(stacks > 0.1 && withArenas >= SHARE.sure))
    return undefined;
  const common = base(facts, blame);
  const { part } = facts;
  return {
    ...common,
    verdict: "ThreadStackGrowth",
    points: [...common.points, ...(stacks === undefined ? [] : (["separating"] as const))],
    speaks: [
      line(`Threads of pid ${leader.process.pid}, net`, threads.more, "threads", part, `>= ${THREADS.more}`),
      line("correlation of Threads and anon", 100 * threads.correlation, "%", part, `> ${100 * THREADS.correlation}`),
      line("anon for each new thread", threads.each, "bytes", part, `${THREADS.leastEach} to ${THREADS.mostEach}`),
    ],
    limits:
      stacks === undefined
        ? ["Mappings were not read twice: that the growth lies in thread stacks rests on the count of threads alone."]
        : [],
    rivals: ["LoadProportional", "AnonHeapLeak"],
  };
}

interface ThreadGrowth {
  readonly more: number;
  readonly each: number;
  readonly correlation: number;
}

export function threadGrowth({ process, trend }: ProcessGrowth): ThreadGrowth | undefined {
  const more = netOf(process.threads.values);
  const each = trend.netBytes / Math.max(1, more);
  const correlation = togetherness(process.rssAnon, process.threads);
  if (more < THREADS.more || each < THREADS.leastEach || each > THREADS.mostEach) return undefined;
  return correlation > THREADS.correlation ? { more, each, correlation } : undefined;
}

/** A process that runs a runtime: does the runtime's own heap grow, or memory beside it? */
function managedHeap(facts: Facts, blame: Blame): Claim | undefined {
  const { leader, trend } = blame;
  const growth = facts.seen.surroundings.mappingGrowth?.find(
    ({ pid, startTicks }) => pid === leader.process.pid && startTicks === leader.process.startTicks,
  );
  const runtime = growth?.runtimes[0];
  const shares = classShares(facts.seen, leader.process);
  if (runtime === undefined || growth === undefined || shares === undefined) return undefined;
  const own = [...shares].filter(([kind]) => growth.runtimes.includes(RUNTIME_HEAPS[kind] as Runtime));
  const heapShare = own.reduce((sum, [, share]) => sum + share, 0);
  const common = base(facts, blame);
  // In CPython only objects up to 512 bytes lie in its own arenas; larger ones come from malloc like everybody's.
  const unclear = runtime === "CPython" && heapShare < SHARE.part && common.attribution?.named === undefined;
  const managed = heapShare >= SHARE.part || unclear;
  const sawTooth = trend.shape === "SawTooth";
  const parts = `mappings, of pid ${growth.pid}`;
  const heapLine = line(
    `the ${runtime} heap's share of the growth`,
    100 * heapShare,
    "%",
    parts,
    managed ? ">= 50" : "< 50",
  );
  const points: Point[] = [...common.points, ...(unclear ? (["unseen"] as const) : [])];
  return {
    ...common,
    verdict: managed ? "ManagedHeapGrowth" : "NativeLeakInManagedRuntime",
    subKind: runtime,
    points: managed && !unclear && sawTooth ? [...points, "separating"] : points,
    cap: sawTooth || !managed ? undefined : 80,
    speaks: unclear ? [] : [heapLine],
    against: unclear ? [heapLine] : [],
    limits: [
      ...(unclear
        ? [
            "CPython takes objects above 512 bytes from malloc: whether Python's objects or native code grow cannot be told from outside.",
          ]
        : [
            `The ${runtime} runtime's own counters were not read: that its heap is in use after a collection is inferred from its floor.`,
          ]),
      ...(managed && !sawTooth
        ? ["No five collections were seen: a heap that only expands to its configured size looks the same."]
        : []),
    ],
    rivals: managed ? ["WarmupPlateau", "NativeLeakInManagedRuntime"] : ["ManagedHeapGrowth", "AnonHeapLeak"],
  };
}

function plainLeak(facts: Facts, blame: Blame): Claim {
  const { leader, trend, family } = blame;
  const common = base(facts, blame);
  const huge = hugeFilling(facts.container, leader);
  const other: Verdict =
    facts.growing[1] !== undefined
      ? verdictOfKind(facts.growing[1])
      : trend.provisional
        ? "WarmupPlateau"
        : "LoadProportional";
  return {
    ...common,
    verdict: "AnonHeapLeak",
    subKind: anonSubKind(facts, blame),
    points: huge === undefined ? common.points : [...common.points, "rival"],
    speaks:
      family > 1 ? [line("processes of the same program that grow", family, "processes", facts.part, ">= 2")] : [],
    against:
      huge === undefined
        ? []
        : [
            line(
              "AnonHugePages, share of the growth",
              huge.ofGrowth * 100,
              "%",
              facts.part,
              `< ${HUGE.ofGrowth * 100}`,
            ),
          ],
    limits:
      facts.seen.surroundings.mappingGrowth === undefined
        ? ["Mappings were not read twice: which runtime it is, if any, is not known."]
        : [],
    rivals: huge === undefined ? [other] : ["ThpBloat", other],
  };
}

export function verdictOfKind(kind: "anon" | "shmem" | "kernel" | "sock" | "file"): Exclude<Verdict, "Inconclusive"> {
  switch (kind) {
    case "anon":
      return "AnonHeapLeak";
    case "shmem":
      return "ShmemGrowth";
    case "kernel":
    case "sock":
      return "KernelMemoryGrowth";
    case "file":
      return "PageCacheGrowth";
  }
}

/** The one that says most: how it hides, then whose it is, then where it lies. */
function anonSubKind(facts: Facts, { leader, trend, family }: Blame): string | undefined {
  const { story, seen, restarts, kills } = facts;
  const { kinds, usage } = story;
  const file = kinds.file?.slope ?? 0;
  if (restarts > 0 && kills > 0) return "RestartSawtooth";
  if (usage.trend !== "Growing" && file < 0 && Math.abs(trend.slope + file) < 0.1 * trend.slope) return "HiddenByCache";
  if ((kinds.swap?.slope ?? 0) > 0.5 * trend.slope) return "HiddenBySwap";
  if (family > 1) return "EveryWorker";
  if (isSidecar(seen, story)) return "Sidecar";
  if (isChild(story, leader)) return "ChildProcess";
  const shares = classShares(seen, leader.process);
  return (shares?.get("Anonymous") ?? 0) >= SHARE.sure ? "MmapLeak" : undefined;
}

/** Not the container that the investigation is about, or one that Kubernetes itself calls a sidecar. */
function isSidecar({ surroundings }: Case, { container }: ContainerGrowth): boolean {
  const about = surroundings.context?.container;
  if (about !== undefined && container.name !== undefined) return about !== container.name;
  const facts = surroundings.context?.snapshots
    ?.flatMap(({ pods }) => pods)
    .find(({ uid }) => uid === container.podUid);
  return facts?.containers.find(({ name }) => name === container.name)?.type === "Sidecar";
}

/** Its parent runs in the same container. */
function isChild({ container }: ContainerGrowth, { process }: ProcessGrowth): boolean {
  return container.processes.some(({ pid }) => pid === process.ppid);
}

function largestClass(seen: Case, { process }: ProcessGrowth): MappingClass | undefined {
  const shares = classShares(seen, process) ?? new Map<MappingClass, number>();
  return [...shares].find(([, share]) => share >= SHARE.sure)?.[0];
}

/**
 * |cgroup anon - sum over processes| as a share of anon, at the newest sample where every process was read; 1 when there is none, and where
 * anon is that sum itself.
 * RssAnon counts a page of a forked family once for each process; it serves only where Pss_Anon is missing.
 */
export function identityResidual({ container }: ContainerGrowth): number {
  if (container.scope === "Process") return 1;
  const { pssAnon, rssAnon } = container.sums;
  const sum = pssAnon.times.length > 0 ? pssAnon : rssAnon;
  const { times, values } = container.kinds.anon;
  const at = times.lastIndexOf(sum.times.at(-1) ?? Number.NaN);
  const anon = values[at] ?? 0;
  return at < 0 || anon <= 0 ? 1 : Math.abs(anon - (sum.values.at(-1) ?? 0)) / anon;
}
