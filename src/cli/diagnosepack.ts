/** From a pack on disk to its finding, by the same pure diagnosis that the operator uses. */
import type { Finding } from "../api/memoryinvestigation.ts";
import { diagnose } from "../diagnosis/diagnose.ts";
import { mappingGrowth } from "../diagnosis/mappinggrowth.ts";
import { record } from "../diagnosis/recording.ts";
import { openPack, type Pack } from "../evidence/pack.ts";

/** Throws only when the folder itself cannot be read. */
export async function diagnosePack(location: string): Promise<{ readonly pack: Pack; readonly finding: Finding }> {
  const pack = await openPack(location);
  const recording = await record(pack.samples());
  const growth = await mappingGrowth(pack.mappings());
  return { pack, finding: diagnose(recording, { ...pack, mappingGrowth: growth }) };
}
