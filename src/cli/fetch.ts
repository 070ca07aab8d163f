/** How does the pack of an investigation come from the cluster onto this machine, and is it the one that the investigation speaks of? */
import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { codeOf } from "../collector/hostfiles.ts";
import type { Collection, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { openPack, type Pack } from "../evidence/pack.ts";
import { type Cluster, downloadOf, isRefusal } from "./clustercommand.ts";
import { reason } from "./collection.ts";
import { Failed } from "./command.ts";
import { shown } from "./text.ts";

/** A pack that goes on beyond this is none of ours. The operator's own cap is lower. */
const MAX_BYTES = 4 * 2 ** 30;

export interface Fetched {
  readonly pack: Pack;
  readonly collection: string;
  readonly bytes: number;
  /** Of the whole file. */
  readonly sha256: string;
  /** What is missing or does not fit; empty: every part is as its checksum says. */
  readonly problems: readonly string[];
}

/** The collection that is meant. Throws Failed where none has brought evidence. */
export function collectionOf({ metadata, status = {} }: MemoryInvestigation, asked?: string): Collection {
  const { collections = [] } = status;
  const brought = collections.filter(({ state }) => state === "Complete" || state === "Partial");
  const see = `(oomscope show ${metadata.name} -n ${metadata.namespace ?? "default"})`;
  const found = asked === undefined ? brought.at(-1) : brought.find(({ id }) => id === asked);
  if (found !== undefined) return found;
  if (asked !== undefined)
    throw new Failed(
      `It has no evidence of a collection ${shown(asked)}; it has ${brought.map(({ id }) => id).join(", ") || "none"} ${see}`,
    );
  const last = collections.at(-1);
  const why = last === undefined ? "nothing was collected yet" : `collection ${last.id} is ${last.state}`;
  throw new Failed(`${metadata.name} has no evidence: ${why} ${see}`);
}

/** Writes the pack to `file` and checks it. Throws Failed, and leaves no file then; ApiError where the cluster is at fault. */
export async function fetchPack(
  cluster: Cluster,
  investigation: MemoryInvestigation,
  { id: collection }: Collection,
  file: string,
): Promise<Fetched> {
  try {
    const { bytes, sha256 } = await receive(cluster, investigation, collection, file);
    const pack = await openPack(file).catch((error: unknown) => {
      throw new Failed(`What came is no pack (${reason(error)}); try once more`);
    });
    const { problems } = await pack.verify();
    const differs = await differsFromStatus(investigation, collection, pack, sha256);
    return { pack, collection, bytes, sha256, problems: [...problems, ...differs] };
  } catch (error) {
    await rm(file, { force: true }).catch(() => undefined);
    throw error;
  }
}

async function receive(
  cluster: Cluster,
  investigation: MemoryInvestigation,
  collection: string,
  file: string,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const handle = await open(file, "wx", 0o600).catch((error: unknown) => {
    throw new Failed(`${shown(file, 4096)} cannot be written (${codeOf(error)}): name another with --output`);
  });
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const piece of await downloadOf(cluster, collection)) {
      bytes += piece.length;
      if (bytes > MAX_BYTES) throw new Failed(`More than ${MAX_BYTES} bytes came, which is no pack of oomscope`);
      hash.update(piece);
      await handle.write(piece);
    }
    return { bytes, sha256: hash.digest("hex") };
  } catch (error) {
    throw await explained(error, cluster, investigation, collection);
  } finally {
    await handle.close();
  }
}

/** Refusals that mean something here that they do not mean elsewhere. */
async function explained(
  error: unknown,
  { namespace }: Cluster,
  { status }: MemoryInvestigation,
  collection: string,
): Promise<unknown> {
  const said = reason(error);
  if (await isRefusal(error, "NotFound")) {
    const location = shown(status?.evidence?.location ?? "", 1024);
    const elsewhere = location.includes("://") ? `; it lies in ${location}` : "";
    return new Failed(
      `The operator has no pack of ${collection} any more, or does not hand out packs${elsewhere} (${said})`,
    );
  }
  if (await isRefusal(error, "Forbidden"))
    return new Failed(
      `You may not fetch evidence (${said}). It takes two rights: to make a token of a ServiceAccount in namespace ${namespace} (the role edit has it), and the Role oomscope-evidence-reader in the operator's namespace, which an admin binds`,
    );
  if (await isRefusal(error, "ServerError", "Unknown"))
    return new Failed(
      `The evidence did not come whole (${said}). See whether the operator runs (oomscope doctor), and whether a NetworkPolicy keeps the API server from its evidence port; then try once more`,
    );
  return error;
}

/** Status names the checksum of the manifest, or that of the whole file where it lies in a bucket. */
async function differsFromStatus(
  { status }: MemoryInvestigation,
  collection: string,
  pack: Pack,
  sha256: string,
): Promise<string[]> {
  const { location = "", sha256: told = "" } = status?.evidence ?? {};
  if (told === "" || !location.includes(collection) || told === sha256) return [];
  const manifest = (await pack.list()).find(({ kind }) => kind === "manifest");
  return manifest?.sha256 === told ? [] : ["it is not the pack whose checksum stands in the investigation's status"];
}
