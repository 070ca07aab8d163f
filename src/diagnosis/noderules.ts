/** Whose trouble is it: the container's, or that of the machine, or of the pod or slice around it? */
import type { OomReport } from "../api/collection.ts";
import { type Claim, type Facts, isProvisional, netOf, viewPoints } from "./claim.ts";
import { line } from "./evidenceline.ts";
import type { NodeRecording } from "./recording.ts";
import type { Point } from "./score.ts";
import { median } from "./statistics.ts";
import { NODE } from "./thresholds.ts";
import { judgeTrend } from "./trend.ts";
import { bytesText, nameText } from "./words.ts";

/** The suspect is small or still, and the machine, or what contains the suspect, runs out of memory by somebody else. */
export function nodeVictim(facts: Facts): Claim | undefined {
  const { seen, story, container, growing, part } = facts;
  const { node } = seen.recording;
  const outside = seen.reports.filter((report) => isFromOutside(report, container.path));
  const total = median(node.memTotal.values);
  const available = judgeTrend(node.memAvailable);
  const lost = Math.max(0, -available.netBytes);
  const taken = Math.max(0, netOf(container.usage.values));
  const least = node.memAvailable.values.reduce((min, value) => Math.min(min, value), total);
  const short = total > 0 && least < NODE.left * total && lost >= NODE.lost * total;
  if (
    growing.length > 0 ||
    (outside.length === 0 && !short) ||
    taken > NODE.suspect * Math.max(lost, container.limitBytes ?? 0)
  )
    return undefined;
  const others = othersOf(node);
  const largest = others[0];
  const explained = others.reduce((sum, { bytes }) => sum + Math.max(0, bytes), 0);
  const points: Point[] = [
    ...(outside.length > 0 ? (["separating", "kills"] as const) : []),
    ...(short ? (["corroborated"] as const) : []),
    ...(lost > 0 && explained >= (1 - NODE.unaccounted) * lost ? (["separating"] as const) : []),
  ];
  const report = outside.at(-1);
  const why =
    report === undefined ? `the machine has ${bytesText(least)} left of ${bytesText(total)}` : whyText(report);
  return {
    verdict: "NodePressureVictim",
    subKind: report === undefined ? "NodeShort" : report.global ? "GlobalOom" : "AncestorLimit",
    trend: story.usage,
    points: [...viewPoints(facts, story.usage), ...points],
    provisional: isProvisional(facts, story.usage),
    says: `does not grow; ${why}${largest === undefined || lost === 0 ? "" : `, and ${nameText(largest.name, 48)} took ${bytesText(largest.bytes)} meanwhile`}`,
    speaks: [
      ...(outside.length === 0
        ? []
        : [line("kills that were not by its own limit", outside.length, "kills", "oom-reports.json", ">= 1")]),
      line("MemAvailable, net", available.netBytes, "bytes", part),
      line(
        "MemAvailable, least, of MemTotal",
        total === 0 ? 0 : (100 * least) / total,
        "%",
        part,
        `< ${NODE.left * 100}`,
      ),
      line("its own usage, net", netOf(container.usage.values), "bytes", part),
      ...others.slice(0, 3).map(({ name, bytes }) => line(`usage of ${nameText(name, 48)}, net`, bytes, "bytes", part)),
    ],
    against: [],
    limits:
      lost > 0 && explained < (1 - NODE.unaccounted) * lost
        ? [
            `${bytesText(lost - explained)} of what the machine lost are in no cgroup that was read: kernel memory, or processes outside of them.`,
          ]
        : [],
    rivals: ["BoundedSteady", "AnonHeapLeak"],
  };
}

function isFromOutside({ global, oomMemcg }: OomReport, path: string | undefined): boolean {
  if (global) return true;
  // A limit above the container's own: the pod's, or a slice's.
  return (
    path !== undefined &&
    oomMemcg !== undefined &&
    oomMemcg !== path &&
    (oomMemcg === "/" || path.startsWith(`${oomMemcg}/`))
  );
}

function whyText({ global, limitBytes }: OomReport): string {
  if (global) return "the machine itself ran out of memory";
  return `the limit above it${limitBytes === undefined ? "" : `, ${bytesText(limitBytes)},`} was hit, and not its own`;
}

function othersOf({ neighbours }: NodeRecording): { readonly name: string; readonly bytes: number }[] {
  return [...neighbours]
    .map(([name, { values }]) => ({ name, bytes: netOf(values) }))
    .filter(({ bytes }) => bytes > 0)
    .toSorted((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
}
