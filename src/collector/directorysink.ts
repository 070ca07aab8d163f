/** Parts into a folder of this machine: a collection without a cluster. Only the owner may read what is written. */
import { chmod, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { partFileName, type PartKind } from "../api/collection.ts";
import type { Sink } from "./collect.ts";
import { codeOf } from "./hostfiles.ts";

/** A file system or a quota that is full, or a file that is larger than the process may write. */
const NO_ROOM = ["ENOSPC", "EDQUOT", "EFBIG"];

/**
 * @param directory made when it is not there. Throws what the file system throws.
 * @param onFull called when there is no room for a part. The part is lost, but what lies there already stays whole, and there may still be room
 * for a manifest that says so
 */
export async function createDirectorySink(
  directory: string,
  onFull: (error: unknown) => void = () => undefined,
): Promise<Sink> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  const lost: { readonly kind: PartKind; readonly index: number; readonly reason: string }[] = [];
  return {
    put: async (kind, index, bytes) => {
      const name = partFileName(kind, index);
      const temporary = join(directory, `.${name}.part`);
      try {
        await writeFile(temporary, bytes, { mode: 0o600, flush: true });
        // Whole or not at all, also when we are killed in between.
        await rename(temporary, join(directory, name));
      } catch (error) {
        // What was begun takes the room that the manifest needs.
        await rm(temporary, { force: true });
        if (kind === "manifest" || !NO_ROOM.includes(codeOf(error))) throw error;
        lost.push({ kind, index, reason: "StorageFull" });
        onFull(error);
      }
    },
    settled: async () => undefined,
    lost: () => lost,
  };
}
