/**
 * How does one request reach the API server and its answer come back? A small interface, so that a deterministic world can stand in
 * for the network, and its real form on undici. Whether a request that failed was ever sent is told apart, because a write
 * that was sent may have happened. Nothing here is ever repeated on its own.
 */
import type { Credentials } from "./credentials.ts";
import type { Clock } from "../seams.ts";
import { connectionPool } from "./dispatchers.ts";
import { exchange } from "./exchange.ts";
import { ApiError } from "./errors.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface RequestOptions {
  readonly method: Method;
  /** Absolute path, without the query. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** JSON text. */
  readonly body?: string;
  /** Default application/json. */
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
  /** From the call to the last byte of the answer, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
  /**
   * Asked at the very moment at which the request would go on the wire, after any wait for a connection. False: it is not sent, and the call
   * fails with NotLeader.
   */
  readonly fence?: () => boolean;
  /** An answer over this many bytes is refused as TooLarge. Default 32 MiB. */
  readonly maxBytes?: number;
}

export interface StreamOptions {
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** More headers, in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly accept?: string;
  readonly signal?: AbortSignal;
  /** Until the headers are there, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
  /** A stream that is silent for this long, in milliseconds, counts as broken. Default 90,000. */
  readonly idleTimeoutMs?: number;
}

export interface Reply {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

export interface StreamReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends when the server ends the answer; throws ApiError Unknown when the connection breaks or stays silent. */
  readonly body: AsyncIterable<Uint8Array>;
  abort(): void;
}

/**
 * The wire. Any HTTP status is a reply; both methods throw ApiError with reason Unreachable (never sent) or Unknown (sent, no answer).
 */
export interface Transport {
  request(options: RequestOptions): Promise<Reply>;
  /** A GET whose answer is read as it comes. */
  stream(options: StreamOptions): Promise<StreamReply>;
  close(): Promise<void>;
}

export interface TransportOptions {
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly userAgent: string;
}

const MIB = 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_IDLE_MS = 90_000;
const DEFAULT_MAX_BYTES = 32 * MIB;

/** `path` with the defined entries of `query`. */
function pathWithQuery(path: string, query: Readonly<Record<string, string | undefined>> = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, value);
  }
  const text = parameters.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** Reads a body to its end as text. Throws ApiError TooLarge beyond `maxBytes`. */
export async function readText(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new ApiError("TooLarge", `The answer is over ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The transport that talks to a real API server. One pool of connections for each set of certificates. */
export function createTransport({ credentials, clock, userAgent }: TransportOptions): Transport {
  const pool = connectionPool(credentials);
  const prefix = credentials.server.pathname.replace(/\/$/, "");

  async function open(options: RequestOptions | (StreamOptions & { readonly method: "GET" })) {
    let access;
    try {
      access = await pool.access();
    } catch (cause) {
      throw new ApiError(
        "Unreachable",
        `Could not get credentials for ${credentials.server.origin}: ${String(cause)}`,
        {
          cause,
        },
      );
    }
    const body = "body" in options ? options.body : undefined;
    return exchange(access.dispatcher, {
      origin: credentials.server.origin,
      method: options.method,
      path: prefix + pathWithQuery(options.path, options.query),
      headers: {
        ...("headers" in options ? options.headers : {}),
        ...access.headers,
        accept: options.accept ?? "application/json",
        "user-agent": userAgent,
        ...(body === undefined
          ? {}
          : { "content-type": ("contentType" in options ? options.contentType : undefined) ?? "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...("fence" in options && options.fence !== undefined ? { fence: options.fence } : {}),
      clock,
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    });
  }

  return {
    async request(options) {
      const opened = await open(options);
      try {
        const reply = await opened.headers;
        if (reply.status === 401) credentials.forget();
        const text = await opened.text(options.maxBytes ?? DEFAULT_MAX_BYTES);
        return { ...reply, text };
      } finally {
        opened.dispose();
      }
    },
    async stream(options) {
      const opened = await open({ ...options, method: "GET" });
      try {
        const reply = await opened.headers;
        if (reply.status === 401) credentials.forget();
        return {
          ...reply,
          body: opened.chunks(options.idleTimeoutMs ?? DEFAULT_IDLE_MS),
          abort: () => opened.abort(),
        };
      } catch (error) {
        opened.dispose();
        throw error;
      }
    },
    close: () => pool.close(),
  };
}
