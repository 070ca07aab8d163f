/** From packs on disk to what they mean: the finding, the kills that the kernel's own report confirms, and what became better since an earlier one. */
import type { OomReport } from "../api/collection.ts";
import type { ComparisonQuestion, ValidationCheck } from "../api/validation.ts";
import { openPack } from "../evidence/pack.ts";
import type { KernelVictim } from "../incident/observation.ts";
import { findingOf } from "../diagnosis/frompack.ts";
import { compare } from "../validation/compare.ts";
import { measure } from "../validation/measured.ts";
import type { PackReading } from "./packs.ts";

/** Throws only when the folder itself cannot be read. */
export async function readPack(directory: string): Promise<PackReading> {
  const pack = await openPack(directory);
  const finding = await findingOf(pack);
  return { finding, victims: victimsOf(pack.oomReports?.reports ?? []) };
}

/**
 * One pack after the other is read, so that only the numbers of the first are kept while the second is.
 * @param before undefined: the store has it no more. Throws only when a folder itself cannot be read.
 */
export async function comparePacks(
  before: string | undefined,
  after: string,
  question: ComparisonQuestion,
): Promise<readonly ValidationCheck[]> {
  const was = before === undefined ? undefined : await measure(await openPack(before), question);
  return compare(was, await measure(await openPack(after), question), question);
}

export function victimsOf(reports: readonly OomReport[]): KernelVictim[] {
  return reports.flatMap((report) => {
    if (report.podUid === undefined || report.victim === undefined) return [];
    const { pid, comm, anonRssBytes } = report.victim;
    return [
      {
        podUid: report.podUid,
        containerId: report.containerId ?? "",
        pid,
        comm,
        ...(anonRssBytes === undefined ? {} : { anonBytes: anonRssBytes }),
        ...(report.limitBytes === undefined ? {} : { limitBytes: report.limitBytes }),
        // The limit that was hit belongs to the container only when the two paths are one.
        podLimit: !report.global && report.oomMemcg !== report.taskMemcg,
        global: report.global,
        group: report.group,
        ...timesOf(report),
      },
    ];
  });
}

/** The report's own time is that of its first line; the kill is told of by a later one. What no clock can show is left out. */
function timesOf({ anchorMs, bootMs, time }: OomReport): Pick<KernelVictim, "bootMs" | "time"> {
  if (anchorMs === undefined || time === undefined) return {};
  const at = Math.round(Date.parse(time) + anchorMs - bootMs);
  const killed = Math.round(anchorMs);
  if (!(at >= 0 && at < YEAR_10000_MS) || !(killed >= 0 && killed < YEAR_10000_MS)) return {};
  return { bootMs: killed, time: new Date(at).toISOString() };
}

/** RFC 3339 ends here. */
const YEAR_10000_MS = Date.UTC(10_000, 0);
