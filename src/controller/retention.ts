/**
 * Which packs must go, and on whose word? The policy that a pack was taken in by says how long it is kept and how much all of its packs may take. Level-triggered:
 * each pass compares the store with what status and policies say now.
 */
import type { Logger } from "pino";
import { durationMs, quantityBytes } from "../api/fields.ts";
import { DEFAULT_RETENTION, type MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MemoryPolicySpec } from "../api/memorypolicy.ts";
import type { EvidenceStore } from "../evidence/store.ts";
import { policyIdentity } from "../incident/budgetguards.ts";
import type { Clock } from "../seams.ts";

/** Why a pack was deleted. Expired: its time was over. PolicyFull: `retention.maxBytes`. StoreFull: others needed the room. */
export type Removal = "Expired" | "PolicyFull" | "StoreFull";

export interface RetentionOptions {
  readonly store: EvidenceStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly investigations: () => readonly MemoryInvestigation[];
  /** The policy of that identity (`Kind/namespace/name`); undefined when it is gone or cannot be read. */
  readonly policy: (identity: string) => Pick<MemoryPolicySpec, "retention"> | undefined;
  /** A decision still rests on the pack, or an upload is to come: it is not deleted for its age. */
  readonly inUse: (collection: string) => boolean;
  /** It lies in a bucket as well, so that nothing is lost. */
  readonly elsewhere: (collection: string) => boolean;
  /** Told of each pack that is gone from here, with a sentence for people; undefined when it still lies in the bucket. */
  readonly onRemoved: (collection: string, why: Removal, message: string | undefined) => void;
}

export interface Retention {
  /** Takes note of terms, then deletes what is too old or too much. Never throws: what fails now is tried again in the next pass. */
  pass(): Promise<void>;
  /** What became of a pack that is gone, for as long as this process remembers. */
  gone(collection: string): string | undefined;
  /** The store itself has given a pack up to make room. */
  evicted(collection: string): void;
}

/** Packs that are gone and remembered; what was written to status is remembered there. */
const MAX_REMEMBERED = 1_000;

export function createRetention(options: RetentionOptions): Retention {
  const { store, clock, log, policy, inUse, elsewhere } = options;
  const gone = new Map<string, string>();

  function removed(collection: string, why: Removal, message: string | undefined): void {
    if (message !== undefined) gone.set(collection, message);
    for (const oldest of gone.keys()) {
      if (gone.size <= MAX_REMEMBERED) break;
      gone.delete(oldest);
    }
    log.info({ collection, why }, "Deleted a pack");
    options.onRemoved(collection, why, message);
  }

  function sentence(what: string): string {
    return `Deleted from the evidence directory at ${clock.now().toISOString().slice(0, 19)}Z: ${what}`;
  }

  async function pass(): Promise<void> {
    for (const { collection, ended, terms } of store.list()) {
      if (ended === undefined || terms !== undefined) continue;
      const known = termsOf(collection, ended, options);
      // A damaged folder takes no note, and must not keep the others from theirs.
      if (known !== undefined)
        await store
          .setTerms(collection, known)
          .catch((err: unknown) => log.warn({ err, collection }, "Could not write down how long a pack is kept"));
    }
    // Asked before anything goes: afterwards nobody knows any more where else it lies.
    const packs = new Map(
      store.list().map((pack) => [pack.collection, { ...pack, saved: elsewhere(pack.collection) }]),
    );
    const tell = (collections: readonly string[], why: Removal, what: (owner: string) => string): void => {
      for (const collection of collections) {
        const pack = packs.get(collection);
        const message = sentence(what(pack?.terms?.policy ?? ""));
        removed(collection, why, pack?.saved === true ? undefined : message);
      }
    };
    const keep = (id: string): "InUse" | number => (inUse(id) ? "InUse" : durationMs(DEFAULT_RETENTION));
    tell(await store.expire(clock.now(), keep), "Expired", () => "its time was over");
    const most = (identity: string): number | undefined => {
      const retention = policy(identity)?.retention;
      return retention === undefined ? undefined : quantityBytes(retention.maxBytes);
    };
    tell(
      await store.limit(most),
      "PolicyFull",
      (owner) => `all packs of ${owner} together took more than its retention.maxBytes, and this was the oldest`,
    );
  }

  return {
    pass: () => pass().catch((err: unknown) => log.warn({ err }, "Could not delete packs, will try again")),
    gone: (collection) => gone.get(collection),
    evicted: (collection) =>
      removed(
        collection,
        "StoreFull",
        elsewhere(collection) ? undefined : sentence("the evidence directory was full, and this was the oldest pack"),
      ),
  };
}

/** By the investigation that has taken the pack in; undefined while none has. */
function termsOf(
  collection: string,
  ended: string,
  { investigations, policy }: RetentionOptions,
): { policy: string; expires: string; maxBytes: number } | undefined {
  const owner = investigations().find((i) => i.status?.collections?.some((c) => c.id === collection) === true);
  const { evidence, policy: followed } = owner?.status ?? {};
  if (owner === undefined || evidence === undefined || followed === undefined) return undefined;
  const identity = policyIdentity(followed, owner.metadata.namespace ?? "");
  const retention = policy(identity)?.retention;
  const maxBytes = quantityBytes(retention?.maxBytes ?? "") ?? Number.MAX_SAFE_INTEGER;
  // Once the pack is in a bucket status speaks of that copy.
  const promised = evidence.location === `collections/${collection}` ? evidence.expires : undefined;
  const byAge = Date.parse(ended) + durationMs(retention?.evidence ?? DEFAULT_RETENTION);
  return { policy: identity, expires: promised ?? `${new Date(byAge).toISOString().slice(0, 19)}Z`, maxBytes };
}
