/** Do huge pages make the growth, where nobody has asked for more? */
import type { MappingClass } from "../api/mappings.ts";
import { classShares } from "./case.ts";
import { type Claim, type Facts, isProvisional, netOf, viewPoints } from "./claim.ts";
import { line } from "./evidenceline.ts";
import type { ProcessGrowth } from "./growth.ts";
import type { ContainerRecording } from "./recording.ts";
import { findPlateau } from "./shape.ts";
import { HUGE, SHARE } from "./thresholds.ts";
import { gateOf } from "./trend.ts";
import { bytesText } from "./words.ts";

interface Filling {
  readonly ofGrowth: number;
  readonly ofAnon: number;
  readonly addressSpaceBytes: number;
}

/**
 * Huge pages make the growth, and the process has not asked for more address space meanwhile. By its own AnonHugePages, or where that was read seldom by the
 * cgroup's anon_thp.
 */
export function hugeFilling(container: ContainerRecording, { process }: ProcessGrowth): Filling | undefined {
  const { hugePages, rssAnon, vmSize } = process;
  const own = hugePages.times.length > rssAnon.times.length / 2;
  const huge = own ? hugePages : container.stat.anon_thp;
  const anonAt = new Map((own ? rssAnon : container.kinds.anon).times.map((time, i) => [time, i]));
  const values = (own ? rssAnon : container.kinds.anon).values;
  const anon = huge.times.map((time) => values[anonAt.get(time) ?? -1] ?? 0);
  const net = netOf(anon);
  if (anon.length < 2 || vmSize.times.length < 2 || net < gateOf(anon, container.limitBytes)) return undefined;
  const ofGrowth = Math.min(1, netOf(huge.values) / net);
  const ofAnon = (huge.values.at(-1) ?? 0) / Math.max(1, anon.at(-1) ?? 1);
  const addressSpaceBytes = netOf(vmSize.values);
  if (ofGrowth < HUGE.ofGrowth || ofAnon < HUGE.share || addressSpaceBytes > HUGE.addressSpace * net) return undefined;
  return { ofGrowth, ofAnon, addressSpaceBytes };
}

/** Huge pages filled what little pages would have left empty. Only where it has come to its end: while it grows, a leak looks the same. */
export function thpBloat(facts: Facts): Claim | undefined {
  const { story, seen, part, gate, container } = facts;
  const leader = story.processes[0];
  const trend = story.anon;
  const plateau = findPlateau(container.anonAndSwap, gate);
  if (leader === undefined || trend === undefined || plateau === undefined) return undefined;
  const found = hugeFilling(container, leader);
  const shares = classShares(seen, leader.process);
  const runtime = (["V8Heap", "JvmHeap", "GoHeap"] as const).some(
    (kind: MappingClass) => (shares?.get(kind) ?? 0) >= SHARE.part,
  );
  if (found === undefined || runtime) return undefined;
  const { ofGrowth, ofAnon, addressSpaceBytes } = found;
  return {
    verdict: "ThpBloat",
    trend,
    points: [...viewPoints(facts, trend), "separating"],
    cap: 70,
    provisional: isProvisional(facts, trend),
    says: `gained ${bytesText(plateau.riseBytes)} in huge pages without asking for more address space: each is 2 MiB, however little of it is used`,
    speaks: [
      line(
        `AnonHugePages of pid ${leader.process.pid}, share of the growth`,
        100 * ofGrowth,
        "%",
        part,
        `>= ${HUGE.ofGrowth * 100}`,
      ),
      line(
        `AnonHugePages of pid ${leader.process.pid}, share of anon`,
        100 * ofAnon,
        "%",
        part,
        `>= ${HUGE.share * 100}`,
      ),
      line(`VmSize of pid ${leader.process.pid}, net`, addressSpaceBytes, "bytes", part),
    ],
    against: [],
    limits: ["How much of the huge pages is in use cannot be seen without writing to the target."],
    rivals: ["WarmupPlateau"],
  };
}
