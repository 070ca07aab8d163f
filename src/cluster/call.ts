/** How does one call with a JSON body become one request, and its answer an object or an ApiError? */
import type { CallOptions } from "./api.ts";
import { ApiError, classify } from "./errors.ts";
import type { Method, Transport } from "./transport.ts";

const WRITE_TIMEOUT_MS = 10_000;
export const READ_TIMEOUT_MS = 30_000;

export interface Call extends CallOptions {
  readonly method: Method;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly fence?: () => boolean;
}

export type Send = (call: Call) => Promise<unknown>;

function parseObject(text: string, call: Call): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // A 2xx that is not JSON comes from something in between; what it did with a write, nobody knows.
    throw new ApiError("Unknown", `${call.method} ${call.path}: the answer is not JSON`, { cause });
  }
}

/** Sends a call once. Throws ApiError. */
export async function send(transport: Transport, call: Call): Promise<unknown> {
  const { method, path, query, body, contentType, signal, fence } = call;
  const reply = await transport.request({
    method,
    path,
    timeoutMs: call.timeoutMs ?? (method === "GET" ? READ_TIMEOUT_MS : WRITE_TIMEOUT_MS),
    ...(query === undefined ? {} : { query }),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(signal === undefined ? {} : { signal }),
    ...(fence === undefined ? {} : { fence }),
  });
  if (reply.status < 200 || reply.status > 299) throw classify(reply.status, reply.text, reply.headers);
  return parseObject(reply.text, call);
}
