/**
 * Which packs still have to get into the bucket, what became of each, and what must go from it again? Level-triggered: each pass looks at the
 * store as it is. One upload at a time; a failed one waits longer each time, with full jitter, and never holds up the others.
 */
import type { Clock, Random } from "../seams.ts";
import { isCollectionId } from "./parts.ts";
import type { ListedObject, S3Client } from "./s3client.ts";
import { S3Problem } from "./s3problem.ts";
import type { EvidenceStore } from "./store.ts";
import { fingerprintOf, readUploadState, uploadPack, writeUploadState } from "./uploadpack.ts";
import { PackChanged } from "./writearchive.ts";

/** Where a pack lies in the bucket. */
export interface BucketPack {
  /** `s3://BUCKET/KEY` */
  readonly location: string;
  /** Size of the archive. */
  readonly bytes: number;
  /** Lower-case hex over the archive. */
  readonly sha256: string;
  /** RFC 3339. After this the operator deletes it. */
  readonly expires: string;
}

export interface PackUploads {
  /** Uploads what is ended and not there yet, as far as it is due. Never throws; ends early when the client's signal aborts. */
  pass(): Promise<void>;
  /** Known without waiting; undefined while it is not (all) there. */
  stored(collection: string): BucketPack | undefined;
  /** What keeps it from getting there, in a sentence for people. */
  problem(collection: string): string | undefined;
  /** Deletes what is too old and, oldest first, what is too much. Never what `inUse` says is needed. Returns how many packs went. Never throws. */
  sweep(): Promise<number>;
}

export interface PackUploadsOptions {
  readonly client: S3Client;
  readonly store: EvidenceStore;
  readonly bucket: string;
  /** Before the collection's name in every key: empty, or ends with a slash. Whatever lies below it and is named like a pack is ours. */
  readonly prefix: string;
  readonly retentionMs: number;
  /** All packs in the bucket together. */
  readonly maxBytes: number;
  readonly inUse: (collection: string) => boolean;
  /** Told when `stored` or `problem` says something new. */
  readonly onChange: (collection: string) => void;
  /** Told of every attempt that came to an end; with a problem, in a sentence for people, when it failed. */
  readonly onAttempt?: (collection: string, problem: string | undefined) => void;
  /** The same that the client has: when it aborts, nothing more is begun and nothing is held against a pack. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
}

const RETRY_MS = 15_000;
const MAX_RETRY_MS = 10 * 60_000;
const KEY = /^(.*)\/([0-9a-f]{64})\.tar\.zst$/;

interface Known {
  readonly fingerprint: string;
  readonly pack?: BucketPack;
  readonly problem?: string;
  readonly failures: number;
  readonly dueMs: number;
}

export function createPackUploads(options: PackUploadsOptions): PackUploads {
  const { client, store, bucket, prefix, clock, random, log } = options;
  const known = new Map<string, Known>();

  function note(collection: string, next: Known): void {
    const before = known.get(collection);
    known.set(collection, next);
    if (before?.pack?.location !== next.pack?.location || before?.problem !== next.problem)
      options.onChange(collection);
  }

  function bucketPack(key: string, bytes: number, sha256: string, time: string): BucketPack {
    const expires = new Date(Date.parse(time) + options.retentionMs);
    return { location: `s3://${bucket}/${key}`, bytes, sha256, expires: `${expires.toISOString().slice(0, 19)}Z` };
  }

  async function upload(collection: string, directory: string, fingerprint: string): Promise<void> {
    const before = await readUploadState(directory, client);
    if (before?.done?.fingerprint === fingerprint) {
      const { bytes, sha256, time } = before.done;
      return note(collection, {
        fingerprint,
        failures: 0,
        dueMs: 0,
        pack: bucketPack(before.key, bytes, sha256, time),
      });
    }
    const from = clock.monotonicMs();
    const { key, bytes, sha256 } = await uploadPack(directory, prefix, collection, client);
    const time = clock.now().toISOString();
    await writeUploadState(directory, client, { key, done: { bytes, sha256, time, fingerprint } });
    // The pack has grown by a part since it was uploaded: the older archive says nothing that this one does not.
    if (before?.done !== undefined && before.key !== key) await client.remove(before.key).catch(() => undefined);
    const pack = bucketPack(key, bytes, sha256, time);
    log.info(
      { collection, location: pack.location, bytes, ms: Math.round(clock.monotonicMs() - from) },
      "Uploaded a pack",
    );
    note(collection, { fingerprint, failures: 0, dueMs: 0, pack });
    options.onAttempt?.(collection, undefined);
  }

  function failed(collection: string, fingerprint: string, cause: unknown): void {
    const before = known.get(collection);
    const failures = (before?.failures ?? 0) + 1;
    const retryInMs = random.next() * Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** Math.min(failures - 1, 10));
    const problem =
      cause instanceof S3Problem
        ? cause.message
        : cause instanceof PackChanged
          ? "The pack changed while it was uploaded"
          : "The pack could not be read";
    log.warn(
      { collection, err: cause, failures, retryInMs: Math.round(retryInMs) },
      "Could not upload a pack, will try again",
    );
    note(collection, { fingerprint, problem, failures, dueMs: clock.monotonicMs() + retryInMs });
    options.onAttempt?.(collection, problem);
  }

  return {
    pass: async () => {
      const here = store.list();
      const names = new Set(here.map(({ collection }) => collection));
      for (const collection of known.keys()) if (!names.has(collection)) known.delete(collection);
      for (const { collection, directory, ended, parts } of here) {
        if (options.signal.aborted) return;
        if (ended === undefined || parts.length === 0) continue;
        const fingerprint = fingerprintOf(parts);
        const before = known.get(collection);
        if (before?.fingerprint === fingerprint && (before.pack !== undefined || before.dueMs > clock.monotonicMs()))
          continue;
        try {
          await upload(collection, directory, fingerprint);
        } catch (cause) {
          // The store gave it up meanwhile, or this process is to end.
          if (store.describe(collection)?.directory !== directory) continue;
          if (options.signal.aborted) return;
          failed(collection, fingerprint, cause);
        }
      }
    },
    stored: (collection) => known.get(collection)?.pack,
    problem: (collection) => known.get(collection)?.problem,
    sweep: async () => {
      try {
        const removed = await sweep(options);
        if (removed > 0) log.info({ packs: removed }, "Deleted packs from the bucket, for their age or to make room");
        return removed;
      } catch (err) {
        if (!options.signal.aborted) log.warn({ err }, "Could not expire packs in the bucket, will try again");
        return 0;
      }
    },
  };
}

async function sweep({ client, prefix, retentionMs, maxBytes, inUse, clock }: PackUploadsOptions): Promise<number> {
  const ours: (ListedObject & { readonly collection: string })[] = [];
  for await (const object of client.list(prefix)) {
    const [, collection = ""] = KEY.exec(object.key.slice(prefix.length)) ?? [];
    if (object.key.startsWith(prefix) && isCollectionId(collection)) ours.push({ ...object, collection });
  }
  ours.sort((a, b) => a.modified.getTime() - b.modified.getTime());
  let bytes = ours.reduce((sum, object) => sum + object.bytes, 0);
  let removed = 0;
  for (const object of ours) {
    const old = object.modified.getTime() + retentionMs <= clock.now().getTime();
    if ((!old && bytes <= maxBytes) || inUse(object.collection)) continue;
    await client.remove(object.key);
    bytes -= object.bytes;
    removed++;
  }
  return removed;
}
