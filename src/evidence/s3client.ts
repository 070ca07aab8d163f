/**
 * How do we talk to an S3-compatible bucket? The ten calls that finished packs need, each signed, checksummed, retried with full jitter and
 * bounded. Bodies are buffers that the caller holds, so that a repeated request sends the same bytes. Keys are of `[a-z0-9./_-]`, which no encoding changes.
 */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { createHash } from "node:crypto";
import type { Clock, Random } from "../seams.ts";
import { answerProblem, connectionProblem, S3Problem } from "./s3problem.ts";
import { type Incoming, open, readBody, WaitedTooLong } from "./s3request.ts";
import { completion, field, type UploadedPiece } from "./s3xml.ts";
import { queryText, type S3Credentials, sign, type Unsigned } from "./s3sign.ts";

export interface S3Bucket {
  /** `https://host[:port]`, without a path. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  readonly pathStyle: boolean;
  /** PEM of the authority that signed the server's certificate, when it is none that the system knows. */
  readonly ca?: string;
}

interface S3Limits {
  readonly attempts: number;
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
  readonly timeoutMs: number;
  readonly idleMs: number;
}

const DEFAULT_LIMITS: S3Limits = {
  attempts: 5,
  backoffMs: 500,
  maxBackoffMs: 20_000,
  timeoutMs: 300_000,
  idleMs: 30_000,
};
const MAX_XML_BYTES = 2 ** 20;
/** Objects that are listed at most; a prefix with more is somebody else's. */
const MAX_PAGES = 100;
const NOTHING = new Uint8Array(0);

export interface S3Options {
  readonly bucket: S3Bucket;
  /** Asked before each request, so that a Secret that is replaced counts at once. */
  readonly credentials: () => Promise<S3Credentials>;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits?: Partial<S3Limits>;
  /** Ends what is under way. */
  readonly signal?: AbortSignal;
}

export interface StoredObject {
  readonly bytes: number;
  /** Base64; `X-N` for an object of N pieces, and then over their checksums. Absent when the server does not tell. */
  readonly checksum?: string;
}

export interface ListedObject {
  readonly key: string;
  readonly bytes: number;
  readonly modified: Date;
}

/** Every call throws S3Problem, or the signal's reason. */
export interface S3Client {
  /** The bucket's URL. */
  readonly address: string;
  /** Undefined: there is no such object, or no such bucket. */
  head(key: string): Promise<StoredObject | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  /** Begins an upload in pieces and returns its id. */
  begin(key: string): Promise<string>;
  /** `number` counts from 1. All but the last piece have at least 5 MiB. Returns the piece's ETag. */
  putPiece(key: string, uploadId: string, number: number, bytes: Uint8Array): Promise<string>;
  complete(key: string, uploadId: string, pieces: readonly UploadedPiece[]): Promise<void>;
  abort(key: string, uploadId: string): Promise<void>;
  /** The object from its start. Not repeated when it breaks off. */
  get(key: string): AsyncIterable<Uint8Array>;
  remove(key: string): Promise<void>;
  list(prefix: string): AsyncIterable<ListedObject>;
  /** Ends idle connections. */
  close(): void;
}

interface Call {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** For messages: "may not WHAT in bucket". */
  readonly what: string;
  readonly key?: string;
  readonly query?: Unsigned["query"];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** Throws RangeError for an endpoint that is no http or https address. */
export function createS3Client(options: S3Options): S3Client {
  const { bucket, clock, random, signal } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const base = baseOf(bucket);
  const where = { origin: base.origin, bucket: bucket.bucket };
  const agent = new (base.protocol === "https:" ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 2 });

  async function once(call: Call): Promise<Incoming> {
    const body = call.body ?? NOTHING;
    const unsigned: Unsigned = {
      method: call.method,
      path: `${base.pathname === "/" ? "" : base.pathname}/${call.key ?? ""}`,
      query: call.query ?? [],
      headers: { host: base.host, ...call.headers },
      payloadSha256: sha256(body).toString("hex"),
    };
    const query = queryText(unsigned.query);
    const url = new URL(`${base.origin}${unsigned.path}${query === "" ? "" : `?${query}`}`);
    const headers = sign(unsigned, await options.credentials(), bucket.region, clock.now());
    const { timeoutMs, idleMs } = limits;
    const sending = { url, method: call.method, headers, body, agent, ca: bucket.ca, clock, timeoutMs, idleMs, signal };
    let answer: Incoming;
    try {
      answer = await open(sending);
    } catch (cause) {
      throw problemOf(cause, where, signal);
    }
    if (answer.status >= 200 && answer.status < 300) return answer;
    const text = await textOf(answer).catch(() => "");
    throw answerProblem(answer.status, field(text, "Code") ?? codeOfHead(call, answer.status), call.what, where);
  }

  /** Repeats what may pass. Waits with full jitter, so that many operators do not come back together. */
  async function send<T>(call: Call, read: (answer: Incoming) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await once(call);
        try {
          return await read(answer);
        } catch (cause) {
          throw problemOf(cause, where, signal);
        }
      } catch (problem) {
        if (!(problem instanceof S3Problem) || !problem.passing || attempt >= limits.attempts) throw problem;
        const most = Math.min(limits.maxBackoffMs, limits.backoffMs * 2 ** (attempt - 1));
        await clock.sleep(random.next() * most, signal);
      }
    }
  }

  /** An answer whose body may say, after a status of 200, that it went wrong after all. */
  const document = (call: Call): Promise<string> =>
    send(call, async (answer) => {
      const text = await textOf(answer);
      if (/<Error[\s>]/.test(text)) throw answerProblem(500, field(text, "Code"), call.what, where);
      return text;
    });

  return {
    address: base.href,
    head: async (key) => {
      try {
        return await send({ method: "HEAD", what: "look for a pack", key, headers: CHECKSUM_MODE }, async (answer) => {
          await textOf(answer);
          const checksum = answer.headers["x-amz-checksum-sha256"];
          const bytes = Number(answer.headers["content-length"] ?? Number.NaN);
          return { bytes, ...(typeof checksum === "string" ? { checksum } : {}) };
        });
      } catch (problem) {
        if (problem instanceof S3Problem && problem.reason === "NotFound") return undefined;
        throw problem;
      }
    },
    put: (key, bytes) =>
      send({ method: "PUT", what: "write", key, body: bytes, headers: { ...TYPE, ...checksumOf(bytes) } }, drain),
    begin: async (key) => {
      const text = await document({
        method: "POST",
        what: "begin an upload",
        key,
        query: [["uploads", ""]],
        headers: { ...TYPE, "x-amz-checksum-algorithm": "SHA256" },
      });
      const id = field(text, "UploadId");
      if (id === undefined || id === "") throw new S3Problem("Refused", `${base.origin} began an upload without an id`);
      return id;
    },
    putPiece: (key, uploadId, number, bytes) => {
      const query = [
        ["partNumber", String(number)],
        ["uploadId", uploadId],
      ] as const;
      return send(
        { method: "PUT", what: "write", key, query, body: bytes, headers: checksumOf(bytes) },
        async (answer) => {
          await textOf(answer);
          return answer.headers.etag ?? "";
        },
      );
    },
    complete: async (key, uploadId, pieces) => {
      const body = Buffer.from(completion(pieces));
      await document({ method: "POST", what: "finish an upload", key, query: [["uploadId", uploadId]], body });
    },
    abort: (key, uploadId) =>
      send({ method: "DELETE", what: "give up an upload", key, query: [["uploadId", uploadId]] }, drain),
    get: (key) => streamOf(() => send({ method: "GET", what: "read", key }, async (answer) => answer), where, signal),
    remove: (key) => send({ method: "DELETE", what: "delete", key }, drain),
    list: (prefix) => listing(document, prefix),
    close: () => agent.destroy(),
  };
}

const CHECKSUM_MODE = { "x-amz-checksum-mode": "ENABLED" };
const TYPE = { "content-type": "application/zstd" };

function baseOf({ endpoint, bucket, pathStyle }: S3Bucket): URL {
  const url = new URL(endpoint);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new RangeError("the endpoint must be http or https");
  return pathStyle ? new URL(`${url.origin}/${bucket}`) : new URL(`${url.protocol}//${bucket}.${url.host}`);
}

function problemOf(
  cause: unknown,
  where: { origin: string; bucket: string },
  signal: AbortSignal | undefined,
): unknown {
  if (cause instanceof S3Problem) return cause;
  if (signal?.aborted) return signal.reason;
  if (cause instanceof WaitedTooLong)
    return new S3Problem("TimedOut", `The S3 server at ${where.origin} answers too slowly`, { passing: true, cause });
  return connectionProblem(cause, where);
}

/** The answer to HEAD has no body, so that a missing object and a missing bucket look the same. */
function codeOfHead(call: Call, status: number): string | undefined {
  return call.method === "HEAD" && status === 404 ? "NoSuchKey" : undefined;
}

async function textOf(answer: Incoming): Promise<string> {
  return (await readBody(answer.body, MAX_XML_BYTES)).toString("utf8");
}

async function drain(answer: Incoming): Promise<void> {
  await textOf(answer);
}

async function* streamOf(
  begin: () => Promise<Incoming>,
  where: { origin: string; bucket: string },
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { body } = await begin();
  try {
    yield* body as AsyncIterable<Buffer>;
  } catch (cause) {
    throw problemOf(cause, where, signal);
  } finally {
    body.destroy();
  }
}

async function* listing(document: (call: Call) => Promise<string>, prefix: string): AsyncGenerator<ListedObject> {
  let token: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const text = await document({
      method: "GET",
      what: "list",
      query: [
        ["list-type", "2"],
        ["prefix", prefix],
        ...(token === undefined ? [] : [["continuation-token", token] as const]),
      ],
    });
    for (const [, contents = ""] of text.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)) {
      const modified = new Date(field(contents, "LastModified") ?? "");
      const bytes = Number(field(contents, "Size"));
      if (!Number.isNaN(modified.getTime()) && Number.isSafeInteger(bytes))
        yield { key: field(contents, "Key") ?? "", bytes, modified };
    }
    token = field(text, "NextContinuationToken");
    if (token === undefined) return;
  }
}

function checksumOf(bytes: Uint8Array): Record<string, string> {
  return { "x-amz-checksum-sha256": sha256(bytes).toString("base64") };
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
