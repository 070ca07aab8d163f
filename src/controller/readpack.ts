/** From a pack on disk to what it means: the finding, and the kills that the kernel's own report confirms. */
import type { OomReport } from "../api/collection.ts";
import { openPack } from "../evidence/pack.ts";
import type { KernelVictim } from "../incident/observation.ts";
import { findingOf } from "../diagnosis/frompack.ts";
import type { PackReading } from "./packs.ts";

/** Throws only when the folder itself cannot be read. */
export async function readPack(directory: string): Promise<PackReading> {
  const pack = await openPack(directory);
  const finding = await findingOf(pack);
  return { finding, victims: victimsOf(pack.oomReports?.reports ?? []) };
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
      },
    ];
  });
}
