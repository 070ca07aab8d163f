/**
 * Where does the evidence lie, and what may still be written to it?
 * One folder for each collection under `<root>/collections`. All rules about who may add which bytes are here; how they
 * become durable is in `folder.ts`. Every call runs alone, in the order of arrival: the disk is one, and so is the budget.
 */
import { constants } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { MAX_COLLECTION_BYTES, MAX_PART_BYTES, partFileName } from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { type Caps, checkArguments, type Receipt, refusal } from "./admission.ts";
import {
  addToChecksum,
  type Chunk,
  FOLDER_MODE,
  type Folder,
  type Incoming,
  newChecksum,
  NOBODY,
  openPlain,
  readFolder,
  type Session,
  type StoredPart,
  syncFolder,
  type Terms,
  writeAtomically,
  writeSession,
} from "./folder.ts";
import { append, checksumOf, dropIncoming, publish, rewind } from "./incoming.ts";
import { manifestProblem } from "./manifestcheck.ts";
import { incomingFileName, isCollectionId, type PartId } from "./parts.ts";
import { overBudget } from "./policybudget.ts";

/** The disk or the store's budget is used up. Nothing of what was being written is visible; trying again later is right. */
export class StorageFull extends Error {
  override name = "StorageFull";
}

interface StoreLimits {
  /** Budget of the whole store in bytes, unfinished parts included; the small session files are not counted. */
  readonly maxBytes: number;
  readonly maxCollectionBytes?: number;
  readonly maxPartBytes?: number;
}

export interface StoreOptions extends StoreLimits {
  readonly clock: Clock;
  /** Packs that somebody still works with are never evicted to make room. Called often; must answer at once. */
  readonly inUse?: (collection: string) => boolean;
  /** Packs that lie somewhere else as well: they are evicted before those that do not. Must answer at once. */
  readonly elsewhere?: (collection: string) => boolean;
  /** Told about a pack that had to make room for others. */
  readonly onEvicted?: (collection: string) => void;
  /** Told about a folder that could not be read at the start. It takes nothing any more and goes with its time. */
  readonly onDamage?: (collection: string, cause: unknown) => void;
}

interface CollectionInfo {
  readonly collection: string;
  readonly directory: string;
  readonly podUid: string | undefined;
  readonly firstSeen: string;
  readonly ended: string | undefined;
  readonly terms: Terms | undefined;
  readonly parts: readonly StoredPart[];
  /** Whole parts only. */
  readonly bytes: number;
  /** Lines of all `readings` parts: how many samples have arrived. */
  readonly lines: number;
  /** Present when the collection came to its end by itself. */
  readonly manifestSha256: string | undefined;
}

/**
 * How long a pack is kept: while somebody needs it, or until the time of its terms; one without terms so many milliseconds after its end (after its first
 * byte when it never ended).
 */
type Retention = "InUse" | number;

export interface EvidenceStore {
  /** What has arrived of one part. */
  progress(collection: string, part: PartId): Promise<{ readonly received: number; readonly complete: boolean }>;
  /** Adds bytes for the pod that owns the session; the first pod to write owns it. Throws StorageFull. */
  receive(collection: string, podUid: string, part: PartId, chunk: Chunk): Promise<Receipt>;
  /** Writes the operator's own part, replacing an earlier one; also after the end. Throws StorageFull, or RangeError when too large. */
  writeContext(collection: string, bytes: Uint8Array): Promise<void>;
  /** Nothing more may come, because the Job is over. Unfinished parts are dropped. Does nothing when already ended or unknown. */
  end(collection: string): Promise<void>;
  /** Known without waiting, so that the loop can ask while it observes. */
  describe(collection: string): CollectionInfo | undefined;
  /** In the order of their names. */
  list(): readonly CollectionInfo[];
  remove(collection: string): Promise<void>;
  /** Writes down until when the pack is kept, and on whose budget. Does nothing when that is known already, or the pack is not. */
  setTerms(collection: string, terms: Terms): Promise<void>;
  /** Removes what is older than `keep` allows and returns the names. */
  expire(now: Date, keep: (collection: string) => Retention): Promise<readonly string[]>;
  /**
   * Removes packs of policies that take more than `maxBytes` says, and returns the names: first those that lie somewhere else as well, then the oldest; never
   * one that is in use. Undefined: the policy cannot be asked, and what it said when its newest pack came in counts.
   */
  limit(maxBytes: (policy: string) => number | undefined): Promise<readonly string[]>;
  usage(): { readonly bytes: number; readonly maxBytes: number; readonly collections: number };
}

/**
 * Opens the store and reads what is there, so that uploads go on where the last process stopped.
 * Throws what the file system throws when `root` cannot be made or read.
 */
export async function createDirectoryStore(root: string, options: StoreOptions): Promise<EvidenceStore> {
  const store = new DirectoryStore(root, options);
  await store.load();
  return store;
}

class DirectoryStore implements EvidenceStore {
  readonly #collectionsRoot: string;
  readonly #removingRoot: string;
  readonly #clock: Clock;
  readonly #inUse: (collection: string) => boolean;
  readonly #elsewhere: (collection: string) => boolean;
  readonly #onEvicted: (collection: string) => void;
  readonly #onDamage: (collection: string, cause: unknown) => void;
  readonly #maxBytes: number;
  readonly #caps: Caps;
  readonly #folders = new Map<string, Folder>();
  #last: Promise<unknown> = Promise.resolve();
  #removals = 0;

  constructor(root: string, options: StoreOptions) {
    this.#collectionsRoot = join(root, "collections");
    this.#removingRoot = join(root, "removing");
    this.#clock = options.clock;
    this.#inUse = options.inUse ?? (() => false);
    this.#elsewhere = options.elsewhere ?? (() => false);
    this.#onEvicted = options.onEvicted ?? (() => undefined);
    this.#onDamage = options.onDamage ?? (() => undefined);
    this.#maxBytes = options.maxBytes;
    this.#caps = {
      collectionBytes: options.maxCollectionBytes ?? MAX_COLLECTION_BYTES,
      partBytes: options.maxPartBytes ?? MAX_PART_BYTES,
    };
  }

  async load(): Promise<void> {
    await mkdir(this.#collectionsRoot, { recursive: true, mode: FOLDER_MODE });
    await rm(this.#removingRoot, { recursive: true, force: true });
    await mkdir(this.#removingRoot, { recursive: true, mode: FOLDER_MODE });
    for (const entry of await readdir(this.#collectionsRoot, { withFileTypes: true })) {
      if (!entry.isDirectory() || !isCollectionId(entry.name)) continue;
      const directory = join(this.#collectionsRoot, entry.name);
      try {
        const folder = await readFolder(directory, entry.name, this.#clock.now());
        this.#folders.set(entry.name, folder);
        await this.#recover(folder);
      } catch (cause) {
        this.#folders.set(entry.name, damagedFolder(directory, entry.name, this.#clock.now()));
        this.#onDamage(entry.name, cause);
      }
    }
  }

  async progress(collection: string, part: PartId): Promise<{ received: number; complete: boolean }> {
    const folder = this.#folders.get(collection);
    const name = partFileName(part.kind, part.index);
    const stored = folder?.session.parts.get(name);
    if (stored !== undefined) return { received: stored.bytes, complete: true };
    return { received: folder?.incoming.get(name)?.received ?? 0, complete: false };
  }

  receive(collection: string, podUid: string, part: PartId, chunk: Chunk): Promise<Receipt> {
    checkArguments(collection, podUid, part, chunk);
    return this.#alone(async () => {
      const known = this.#folders.get(collection);
      const refused = refusal(known, podUid, part, chunk, this.#caps);
      if (refused !== undefined) return refused;
      const folder = known ?? (await this.#newFolder(collection));
      if (folder.session.podUid === undefined) await this.#bind(folder, podUid);
      const incoming = await this.#incomingFor(folder, part, chunk);
      if (incoming.received !== chunk.start) return { outcome: "OffsetMismatch", received: incoming.received };
      await this.#withRoom(chunk.bytes.length, collection, () => append(folder, incoming, chunk));
      if (incoming.received < incoming.totalBytes) return { outcome: "Stored", received: incoming.received };
      return await this.#finish(folder, incoming, chunk.start);
    });
  }

  writeContext(collection: string, bytes: Uint8Array): Promise<void> {
    if (!isCollectionId(collection)) throw new RangeError("a collection's name must be a DNS label");
    if (bytes.length > this.#caps.partBytes) {
      throw new RangeError(`the context part has ${bytes.length} bytes; at most ${this.#caps.partBytes} are stored`);
    }
    return this.#alone(async () => {
      const folder = this.#folders.get(collection) ?? (await this.#newFolder(collection));
      const name = partFileName("context", 0);
      const sum = newChecksum();
      addToChecksum(sum, bytes);
      await this.#withRoom(bytes.length, collection, () => writeAtomically(folder.directory, name, bytes));
      const sha256 = sum.hash.digest("hex");
      folder.session.parts.set(name, { kind: "context", index: 0, bytes: bytes.length, sha256, lines: 0 });
      await this.#withRoom(0, collection, () => writeSession(folder));
    });
  }

  end(collection: string): Promise<void> {
    return this.#alone(async () => {
      const folder = this.#folders.get(collection);
      if (folder === undefined || folder.session.ended !== undefined) return;
      folder.session.ended = this.#clock.now().toISOString();
      await dropIncoming(folder);
      await this.#withRoom(0, collection, () => writeSession(folder));
    });
  }

  describe(collection: string): CollectionInfo | undefined {
    const folder = this.#folders.get(collection);
    return folder === undefined ? undefined : info(folder);
  }

  list(): readonly CollectionInfo[] {
    return [...this.#folders.values()].map(info).sort((a, b) => (a.collection < b.collection ? -1 : 1));
  }

  remove(collection: string): Promise<void> {
    return this.#alone(() => this.#discard(collection));
  }

  setTerms(collection: string, terms: Terms): Promise<void> {
    return this.#alone(async () => {
      const folder = this.#folders.get(collection);
      if (folder === undefined || folder.session.terms !== undefined) return;
      await this.#withRoom(0, collection, () => writeSession({ ...folder, session: { ...folder.session, terms } }));
      folder.session.terms = terms;
    });
  }

  expire(now: Date, keep: (collection: string) => Retention): Promise<readonly string[]> {
    return this.#alone(async () => {
      const removed: string[] = [];
      for (const [collection, { session }] of this.#folders) {
        const retention = keep(collection);
        if (retention === "InUse") continue;
        const byAge = Date.parse(session.ended ?? session.firstSeen) + retention;
        const until = session.terms === undefined ? byAge : Date.parse(session.terms.expires);
        if (until > now.getTime()) continue;
        await this.#discard(collection);
        removed.push(collection);
      }
      return removed;
    });
  }

  limit(maxBytes: (policy: string) => number | undefined): Promise<readonly string[]> {
    return this.#alone(async () => {
      const packs = [...this.#folders.values()].map((folder) => ({ ...folder.session, bytes: heldBytes(folder) }));
      const going = overBudget(packs, { maxBytes, inUse: this.#inUse, elsewhere: this.#elsewhere });
      for (const collection of going) await this.#discard(collection);
      return going;
    });
  }

  usage(): { bytes: number; maxBytes: number; collections: number } {
    let bytes = 0;
    for (const folder of this.#folders.values()) bytes += heldBytes(folder);
    return { bytes, maxBytes: this.#maxBytes, collections: this.#folders.size };
  }

  /** Runs after everything that was asked for before it, whether that went well or not. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #newFolder(collection: string): Promise<Folder> {
    const directory = join(this.#collectionsRoot, collection);
    await this.#withRoom(0, collection, async () => {
      await mkdir(directory, { recursive: true, mode: FOLDER_MODE });
      await syncFolder(this.#collectionsRoot);
    });
    const firstSeen = this.#clock.now().toISOString();
    const session: Session = {
      collection,
      podUid: undefined,
      firstSeen,
      ended: undefined,
      terms: undefined,
      parts: new Map(),
    };
    const folder: Folder = { directory, session, incoming: new Map() };
    this.#folders.set(collection, folder);
    return folder;
  }

  /** The owner is on disk before the first byte of a part is: after a crash no second pod can take the session over. */
  async #bind(folder: Folder, podUid: string): Promise<void> {
    folder.session.podUid = podUid;
    try {
      await this.#withRoom(0, folder.session.collection, () => writeSession(folder));
    } catch (cause) {
      folder.session.podUid = undefined;
      throw cause;
    }
  }

  async #incomingFor(folder: Folder, part: PartId, chunk: Chunk): Promise<Incoming> {
    const name = partFileName(part.kind, part.index);
    const found = folder.incoming.get(name);
    const same = found !== undefined && found.sha256 === chunk.sha256 && found.totalBytes === chunk.totalBytes;
    if (same) return found;
    const { totalBytes, sha256 } = chunk;
    const fresh: Incoming = { ...part, totalBytes, sha256, received: 0, sum: newChecksum() };
    // A chunk from the middle of other bytes than we hold: say 0, and drop the old ones only when the new ones really come.
    if (chunk.start !== 0) return fresh;
    if (found !== undefined) await dropIncoming(folder, name);
    folder.incoming.set(name, fresh);
    return fresh;
  }

  async #finish(folder: Folder, incoming: Incoming, start: number): Promise<Receipt> {
    const name = partFileName(incoming.kind, incoming.index);
    const from = join(folder.directory, incomingFileName(incoming));
    const sum = await checksumOf(folder, incoming);
    if (sum.hash.copy().digest("hex") !== incoming.sha256) {
      await dropIncoming(folder, name);
      return { outcome: "ChecksumMismatch" };
    }
    if (incoming.kind === "manifest") {
      const detail = await readManifestProblem(folder, from);
      if (detail !== undefined) {
        await dropIncoming(folder, name);
        return { outcome: "ManifestMismatch", detail };
      }
    }
    try {
      await this.#withRoom(0, folder.session.collection, () => publish(folder.directory, from, name));
    } catch (cause) {
      // The sender must be able to repeat its last chunk, so the part must not look whole.
      await rewind(folder, incoming, start);
      throw cause;
    }
    folder.incoming.delete(name);
    const { kind, index, totalBytes: bytes, sha256 } = incoming;
    folder.session.parts.set(name, { kind, index, bytes, sha256, lines: kind === "readings" ? sum.lines : 0 });
    if (kind === "manifest") {
      folder.session.ended = this.#clock.now().toISOString();
      await dropIncoming(folder);
    }
    await this.#withRoom(0, folder.session.collection, () => writeSession(folder));
    return { outcome: "Complete" };
  }

  /** Parts that had all their bytes when the process died are finished now; nobody would send another byte for them. */
  async #recover(folder: Folder): Promise<void> {
    if (folder.session.ended !== undefined) await dropIncoming(folder);
    for (const [name, incoming] of folder.incoming) {
      if (incoming.received < incoming.totalBytes) continue;
      try {
        await this.#finish(folder, incoming, 0);
      } catch (cause) {
        if (!(cause instanceof StorageFull)) throw cause;
        await dropIncoming(folder, name);
      }
    }
  }

  /** Does `work`, evicting the oldest ended packs while the budget or the disk has no room for `bytes` more. `work` may run twice. */
  async #withRoom<T>(bytes: number, except: string, work: () => Promise<T>): Promise<T> {
    const fits = (): boolean => bytes === 0 || this.usage().bytes + bytes <= this.#maxBytes;
    while (!fits()) {
      if (await this.#evictOldest(except)) continue;
      throw new StorageFull(
        `The evidence store has reached its limit of ${this.#maxBytes} bytes and holds nothing that it may evict`,
      );
    }
    for (;;) {
      try {
        return await work();
      } catch (cause) {
        if (!isDiskFull(cause)) throw cause;
        if (await this.#evictOldest(except)) continue;
        throw new StorageFull("The evidence volume has no space left and holds nothing that may be evicted", { cause });
      }
    }
  }

  async #evictOldest(except: string): Promise<boolean> {
    let first: { readonly collection: string; readonly rank: string } | undefined;
    for (const { session } of this.#folders.values()) {
      const { collection, ended } = session;
      if (ended === undefined || collection === except || this.#inUse(collection)) continue;
      const rank = `${this.#elsewhere(collection) ? 0 : 1} ${ended}`;
      if (first === undefined || rank < first.rank) first = { collection, rank };
    }
    if (first === undefined) return false;
    await this.#discard(first.collection);
    this.#onEvicted(first.collection);
    return true;
  }

  /** The whole pack vanishes by one rename, so that a crash in the middle of deleting leaves no half pack behind. */
  async #discard(collection: string): Promise<void> {
    const folder = this.#folders.get(collection);
    if (folder === undefined) return;
    const aside = join(this.#removingRoot, `${collection}.${this.#removals++}`);
    this.#folders.delete(collection);
    try {
      await rename(folder.directory, aside);
    } catch {
      // On a full disk even a rename may fail; deleting in place is then the only way to get room.
      await rm(folder.directory, { recursive: true, force: true });
      return;
    }
    await rm(aside, { recursive: true, force: true });
  }
}

/** What stands for a folder that cannot be read: over, and nobody's. One bad folder must not keep the operator from starting. */
function damagedFolder(directory: string, collection: string, now: Date): Folder {
  const time = now.toISOString();
  const session: Session = {
    collection,
    podUid: NOBODY,
    firstSeen: time,
    ended: time,
    terms: undefined,
    parts: new Map(),
  };
  return { directory, session, incoming: new Map() };
}

function heldBytes(folder: Folder): number {
  let bytes = 0;
  for (const part of folder.session.parts.values()) bytes += part.bytes;
  for (const incoming of folder.incoming.values()) bytes += incoming.received;
  return bytes;
}

function info({ directory, session }: Folder): CollectionInfo {
  const parts = [...session.parts.values()].sort((a, b) =>
    partFileName(a.kind, a.index) < partFileName(b.kind, b.index) ? -1 : 1,
  );
  return {
    collection: session.collection,
    directory,
    podUid: session.podUid,
    firstSeen: session.firstSeen,
    ended: session.ended,
    terms: session.terms,
    parts,
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    lines: parts.reduce((sum, part) => sum + part.lines, 0),
    manifestSha256: session.parts.get(partFileName("manifest", 0))?.sha256,
  };
}

async function readManifestProblem(folder: Folder, path: string): Promise<string | undefined> {
  const file = await openPlain(path, constants.O_RDONLY);
  try {
    return manifestProblem(await file.readFile(), folder.session.collection, folder.session.parts.values());
  } finally {
    await file.close();
  }
}

function isDiskFull(cause: unknown): boolean {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT";
}
