/**
 * What does a request ask for? The URL and the headers of an upload, read strictly: nothing is decoded, trimmed or guessed,
 * so there is one way to write each thing and no two names for the same part.
 */
import type { IncomingHttpHeaders } from "node:http";
import { COLLECTOR_PART_KINDS } from "../api/collection.ts";
import { isPartIndex, isSha256, type PartId } from "./parts.ts";

/** A chunk's body may be this long, in bytes. */
export const MAX_CHUNK_BYTES = 2 ** 20;
/** Senders that cut on line ends may go over by one small record. */
const CHUNK_SLACK_BYTES = 64 * 1024;

export interface Target {
  readonly collection: string;
  /** Absent when the path below the collection names no part that a collector may write. */
  readonly part: PartId | undefined;
}

export interface ChunkHeaders {
  readonly start: number;
  readonly length: number;
  readonly totalBytes: number;
  readonly sha256: string;
}

export interface BadRequest {
  readonly status: 400 | 411 | 413 | 416;
  readonly reason: "BadHeader" | "LengthRequired" | "TooLarge" | "BadRange";
}

const COLLECTION_PATH = /^\/v1\/collections\/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/(.*)$/;
const PART_PATH = /^parts\/([a-z-]{1,20})\/(0|[1-9][0-9]{0,2})$/;
const BEARER = /^Bearer ([A-Za-z0-9_-]{1,4096}\.[A-Za-z0-9_-]{1,8192}\.[A-Za-z0-9_-]{1,4096})$/;
const RANGE = /^bytes (0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})\/(0|[1-9][0-9]{0,14})$/;
const EMPTY_RANGE = "bytes */0";
const DECIMAL = /^(?:0|[1-9][0-9]{0,14})$/;

/** The collection and part of a URL; undefined when it names no collection. */
export function parseTarget(url: string): Target | undefined {
  const [, collection, rest] = COLLECTION_PATH.exec(url) ?? [];
  if (collection === undefined || rest === undefined) return undefined;
  const [, kindText, indexText] = PART_PATH.exec(rest) ?? [];
  const kind = COLLECTOR_PART_KINDS.find((kind) => kind === kindText);
  const index = Number(indexText);
  return { collection, part: kind !== undefined && isPartIndex(kind, index) ? { kind, index } : undefined };
}

/** The token of `Authorization: Bearer`, when it has the form of a JWT: anything else cannot be ours and is not sent on. */
export function bearerToken(headers: IncomingHttpHeaders): string | undefined {
  return BEARER.exec(headers.authorization ?? "")?.[1];
}

/** Reads the headers of a PUT. Content-Length must say the same as Content-Range. */
export function parseChunkHeaders(headers: IncomingHttpHeaders): ChunkHeaders | BadRequest {
  const lengthText = headers["content-length"];
  // Node refuses a request that has both a length and a transfer encoding, so this covers chunked bodies too.
  if (lengthText === undefined) return { status: 411, reason: "LengthRequired" };
  if (headers["content-encoding"] !== undefined) return { status: 400, reason: "BadHeader" };
  const length = DECIMAL.test(lengthText) ? Number(lengthText) : Number.NaN;
  if (!(length <= MAX_CHUNK_BYTES + CHUNK_SLACK_BYTES)) return { status: 413, reason: "TooLarge" };
  const range = parseRange(headers["content-range"]);
  if (range === undefined || range.length !== length) return { status: 416, reason: "BadRange" };
  const sha256 = headers["x-oomscope-sha256"];
  const lines = headers["x-oomscope-lines"];
  if (typeof sha256 !== "string" || !isSha256(sha256)) return { status: 400, reason: "BadHeader" };
  // Only its form is checked: the store counts the lines itself.
  if (typeof lines !== "string" || !DECIMAL.test(lines)) return { status: 400, reason: "BadHeader" };
  return { ...range, sha256 };
}

function parseRange(text: string | undefined): Omit<ChunkHeaders, "sha256"> | undefined {
  if (text === EMPTY_RANGE) return { start: 0, length: 0, totalBytes: 0 };
  const [, first, last, total] = RANGE.exec(text ?? "") ?? [];
  if (first === undefined || last === undefined || total === undefined) return undefined;
  const start = Number(first);
  const end = Number(last);
  const totalBytes = Number(total);
  return start <= end && end < totalBytes ? { start, length: end - start + 1, totalBytes } : undefined;
}
