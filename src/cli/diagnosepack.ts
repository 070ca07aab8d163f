/** From a pack on disk to its finding, by the same pure diagnosis that the operator uses. */
import type { Finding } from "../api/memoryinvestigation.ts";
import { findingOf } from "../diagnosis/frompack.ts";
import { openPack, type Pack } from "../evidence/pack.ts";

/** Throws only when the folder itself cannot be read. */
export async function diagnosePack(location: string): Promise<{ readonly pack: Pack; readonly finding: Finding }> {
  const pack = await openPack(location);
  return { pack, finding: await findingOf(pack) };
}
