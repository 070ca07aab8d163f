/**
 * One request of a collector, from its headers to its answer, in the order in which things may be known: are we serving, is
 * there a token, is its bearer allowed, does the part exist, is the chunk sound, and only then: what does the store say?
 */
import type { IncomingMessage } from "node:http";
import type { Clock } from "../seams.ts";
import type { Receipt } from "./admission.ts";
import type { Authorisation, Authorizer } from "./authorize.ts";
import { partFileName } from "../api/collection.ts";
import { bearerToken, type ChunkHeaders, parseChunkHeaders, parseTarget } from "./request.ts";
import { type EvidenceStore, StorageFull } from "./store.ts";
import type { PartId } from "./parts.ts";

/** The part of a pino logger that is used here. */
export interface EvidenceLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface Progress {
  /** Whole parts, the operator's own not counted. */
  readonly parts: number;
  /** Samples that have arrived. */
  readonly lines: number;
  /** The manifest was accepted. */
  readonly closed: boolean;
}

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds?: number;
  /** The rest of the request is not wanted: close the connection. */
  readonly hangUp?: boolean;
}

export interface ExchangeOptions {
  readonly store: EvidenceStore;
  readonly authorize: Authorizer;
  readonly clock: Clock;
  readonly log: EvidenceLog;
  readonly limits: {
    readonly maxRequests: number;
    readonly maxRequestsPerAddress: number;
    readonly maxSessionBytes: number;
  };
  readonly serving?: () => boolean;
  readonly onProgress?: (collection: string, progress: Progress) => void;
}

/** Resolves to the answer, or to undefined when the caller has gone; calls `invite` when it begins to read the body. Never rejects. */
export type Exchange = (request: IncomingMessage, invite: () => void) => Promise<Answer | undefined>;

const BUSY: Answer = { status: 503, body: { reason: "Busy" }, retryAfterSeconds: 1 };
const NOT_SERVING: Answer = { status: 503, body: { reason: "NotServing" }, retryAfterSeconds: 2 };
const UNAVAILABLE: Answer = { status: 503, body: { reason: "Unavailable" }, retryAfterSeconds: 5 };
const UNAUTHENTICATED: Answer = { status: 401, body: { reason: "Unauthenticated" } };
const FORBIDDEN: Answer = { status: 403, body: { reason: "Forbidden" } };
const NOT_FOUND: Answer = { status: 404, body: { reason: "NotFound" } };
const STORAGE_FULL: Answer = { status: 507, body: { reason: "StorageFull" }, retryAfterSeconds: 30 };
/** Refusals of one kind are logged at most this often: the log must not be a way to fill a disk. */
const LOG_EVERY_MS = 10_000;
/** Above this many collections, those that have ended are no longer counted: they take nothing more anyway. */
const SPENT_ENTRIES = 256;

export function createExchange(options: ExchangeOptions): Exchange {
  const { store, limits } = options;
  const serving = options.serving ?? (() => true);
  const running = new Map<string, number>();
  const spent = new Map<string, number>();
  const logRefusal = createRefusalLog(options);
  let total = 0;

  async function answer(request: IncomingMessage, invite: () => void): Promise<Answer | undefined> {
    if (!serving()) return NOT_SERVING;
    const token = bearerToken(request.headers);
    if (token === undefined) return UNAUTHENTICATED;
    const target = parseTarget(request.url ?? "");
    if (target === undefined) return FORBIDDEN;
    const { collection, part } = target;
    const allowed = await options.authorize(token, collection);
    if (!allowed.ok) {
      logRefusal(collection, allowed.reason);
      return refusal(allowed);
    }
    if (request.method !== "GET" && request.method !== "PUT") {
      return { status: 405, body: { reason: "MethodNotAllowed" } };
    }
    if (part === undefined) return NOT_FOUND;
    if (request.method === "GET") return await tellProgress(store, collection, part);
    const chunk = parseChunkHeaders(request.headers);
    if ("status" in chunk) {
      logRefusal(collection, chunk.reason);
      return {
        status: chunk.status,
        body: { reason: chunk.reason },
        hangUp: chunk.status === 411 || chunk.status === 413,
      };
    }
    if (!spend(collection, chunk.length)) return { status: 413, body: { reason: "TooLarge" } };
    invite();
    const bytes = await readBody(request, chunk.length);
    if (bytes === undefined) return undefined;
    // Leadership may have gone while the body came.
    if (!serving()) return NOT_SERVING;
    return await receive(allowed.podUid, collection, part, chunk, bytes);
  }

  function spend(collection: string, bytes: number): boolean {
    const sum = (spent.get(collection) ?? 0) + bytes;
    if (sum > limits.maxSessionBytes) return false;
    if (spent.size >= SPENT_ENTRIES) {
      for (const other of spent.keys()) if (store.describe(other)?.ended !== undefined) spent.delete(other);
    }
    spent.set(collection, sum);
    return true;
  }

  async function receive(
    podUid: string,
    collection: string,
    part: PartId,
    headers: ChunkHeaders,
    bytes: Buffer,
  ): Promise<Answer> {
    const { start, totalBytes, sha256 } = headers;
    const receipt = await store.receive(collection, podUid, part, { start, bytes, totalBytes, sha256 });
    const file = partFileName(part.kind, part.index);
    if (receipt.outcome === "Complete") {
      options.log.info({ collection, part: file, bytes: totalBytes }, "Stored part");
      tellController(options, collection);
    } else if (receipt.outcome !== "Stored" && receipt.outcome !== "Identical") {
      logRefusal(collection, receipt.outcome, "detail" in receipt ? receipt.detail : undefined);
    }
    return receiptAnswer(receipt);
  }

  return async (request, invite) => {
    const address = request.socket.remoteAddress ?? "";
    const mine = running.get(address) ?? 0;
    if (total >= limits.maxRequests || mine >= limits.maxRequestsPerAddress) return BUSY;
    running.set(address, mine + 1);
    total++;
    try {
      return await answer(request, invite);
    } catch (cause) {
      if (cause instanceof StorageFull) {
        logRefusal("", "StorageFull", cause.message);
        return STORAGE_FULL;
      }
      options.log.error({ err: cause }, "Could not store evidence");
      return { status: 500, body: { reason: "Internal" }, retryAfterSeconds: 5 };
    } finally {
      total--;
      const left = (running.get(address) ?? 1) - 1;
      if (left === 0) running.delete(address);
      else running.set(address, left);
    }
  };
}

function refusal(refused: Authorisation & { readonly ok: false }): Answer {
  switch (refused.status) {
    case 401:
      return UNAUTHENTICATED;
    case 403:
      return FORBIDDEN;
    case 409:
      return { status: 409, body: { reason: "AnotherCollector" } };
    case 410:
      return { status: 410, body: { reason: "Closed" } };
    case 503:
      return UNAVAILABLE;
  }
}

async function tellProgress(store: EvidenceStore, collection: string, part: PartId): Promise<Answer> {
  const { received, complete } = await store.progress(collection, part);
  if (received === 0 && !complete) return { status: 404, body: { received: 0 } };
  return { status: 200, body: { received, complete } };
}

function receiptAnswer(receipt: Receipt): Answer {
  const reason = receipt.outcome;
  switch (receipt.outcome) {
    case "Complete":
      return { status: 201, body: { complete: true } };
    case "Identical":
      return { status: 200, body: { complete: true } };
    case "Stored":
      return { status: 202, body: { received: receipt.received } };
    case "OffsetMismatch":
      return { status: 409, body: { reason, received: receipt.received } };
    case "PartExists":
    case "AnotherCollector":
      return { status: 409, body: { reason } };
    case "Closed":
      return { status: 410, body: { reason } };
    case "TooLarge":
      return { status: 413, body: { reason } };
    case "ChecksumMismatch":
      return { status: 422, body: { reason } };
    case "ManifestMismatch":
      return { status: 422, body: { reason, detail: receipt.detail } };
  }
}

/** The whole body, or undefined when the sender has gone. Node cuts a body at its Content-Length, so it cannot be longer. */
async function readBody(request: IncomingMessage, length: number): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) at += piece.copy(bytes, at);
  } catch {
    return undefined;
  }
  return at === length ? bytes : undefined;
}

function tellController(options: ExchangeOptions, collection: string): void {
  const info = options.store.describe(collection);
  if (info === undefined || options.onProgress === undefined) return;
  const parts = info.parts.filter((part) => part.kind !== "context").length;
  try {
    options.onProgress(collection, { parts, lines: info.lines, closed: info.ended !== undefined });
  } catch (cause) {
    options.log.error({ err: cause, collection }, "Could not report progress of a collection");
  }
}

function createRefusalLog({ clock, log }: ExchangeOptions) {
  const last = new Map<string, { atMs: number; suppressed: number }>();
  return (collection: string, reason: string, detail?: string): void => {
    const nowMs = clock.monotonicMs();
    const entry = last.get(reason);
    if (entry !== undefined && nowMs - entry.atMs < LOG_EVERY_MS) {
      entry.suppressed++;
      return;
    }
    log.warn({ collection, reason, detail, suppressed: entry?.suppressed ?? 0 }, "Refused evidence");
    last.set(reason, { atMs: nowMs, suppressed: 0 });
  };
}
