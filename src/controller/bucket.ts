/** From the settings to a bucket that finished packs are sent to. */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { createS3Client } from "../evidence/s3client.ts";
import { readS3Credentials } from "../evidence/s3files.ts";
import type { EvidenceStore } from "../evidence/store.ts";
import { createPackUploads, type PackUploads } from "../evidence/uploads.ts";
import type { Clock, Random } from "../seams.ts";
import type { S3Settings } from "../settings.ts";

export interface BucketOptions {
  readonly settings: S3Settings | undefined;
  readonly store: EvidenceStore;
  /** Packs that somebody still works with; they stay in the bucket beyond their time. */
  readonly inUse: (collection: string) => boolean;
  /** Told when something new is known of where a pack lies. */
  readonly onChange: (collection: string) => void;
  /** Told of every attempt that came to an end, with what went wrong. */
  readonly onAttempt?: (collection: string, problem: string | undefined) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Aborts when this process leads no more: a second leader may write to the bucket from then on. */
  readonly signal: AbortSignal;
}

/** Undefined without a bucket in the settings. Throws what the file system throws when the CA cannot be read. */
export async function bucketUploads(options: BucketOptions): Promise<PackUploads | undefined> {
  const { settings, clock, random, signal, log } = options;
  if (settings === undefined) return undefined;
  const { endpoint, bucket, region, prefix, pathStyle } = settings;
  const ca = settings.ca === undefined ? {} : { ca: await readFile(settings.ca, "utf8") };
  log.info({ endpoint, bucket, prefix }, "Sends finished packs to a bucket");
  if (endpoint.startsWith("http:")) log.warn({ endpoint }, "Packs go to the bucket unencrypted; use https");
  const client = createS3Client({
    bucket: { endpoint, bucket, region, pathStyle, ...ca },
    credentials: () => readS3Credentials(settings.credentials),
    clock,
    random,
    signal,
  });
  const { retentionMs, maxBytes } = settings;
  return createPackUploads({ ...options, client, bucket, prefix, retentionMs, maxBytes });
}
