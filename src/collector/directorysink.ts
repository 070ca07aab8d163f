/** Parts into a folder of this machine: a collection without a cluster. Only the owner may read what is written. */
import { chmod, mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { partFileName } from "../api/collection.ts";
import type { Sink } from "./collect.ts";

/** @param directory made when it is not there. Throws what the file system throws. */
export async function createDirectorySink(directory: string): Promise<Sink> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  return {
    put: async (kind, index, bytes) => {
      const name = partFileName(kind, index);
      const temporary = join(directory, `.${name}.part`);
      await writeFile(temporary, bytes, { mode: 0o600, flush: true });
      // Whole or not at all, also when we are killed in between.
      await rename(temporary, join(directory, name));
    },
    settled: async () => undefined,
    lost: () => [],
  };
}
