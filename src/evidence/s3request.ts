/** One request to an S3 server and its answer, with an end to every wait and a cap on what is read. Says nothing about what it means. */
import type { Agent as HttpAgent, IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { request as httpRequest } from "node:http";
import { type Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Clock } from "../seams.ts";

export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly agent: HttpAgent | HttpsAgent;
  readonly ca: string | undefined;
  readonly clock: Clock;
  /** From the first byte sent to the last read. */
  readonly timeoutMs: number;
  /** A connection on which nothing moves. */
  readonly idleMs: number;
  readonly signal: AbortSignal | undefined;
}

export interface Incoming {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** What came of the body; read to its end or destroyed by the caller of `open`. */
  readonly body: IncomingMessage;
}

/** A wait was over before the answer was. */
export class WaitedTooLong extends Error {
  override name = "WaitedTooLong";
}

/** Sends and resolves with the head of the answer. Rejects with WaitedTooLong, the signal's reason, or what the network says. */
export async function open(out: Outgoing): Promise<Incoming> {
  out.signal?.throwIfAborted();
  return await new Promise<Incoming>((resolve, reject) => {
    const tls = out.url.protocol === "https:";
    const headers: OutgoingHttpHeaders = { ...out.headers, "content-length": String(out.body.length) };
    const options = {
      method: out.method,
      headers,
      agent: out.agent,
      timeout: out.idleMs,
      ...(tls && out.ca !== undefined ? { ca: out.ca } : {}),
    };
    const sent = tls ? httpsRequest(out.url, options) : httpRequest(out.url, options);
    const timer = out.clock.after(out.timeoutMs, () => sent.destroy(new WaitedTooLong("no answer in time")));
    const onAbort = (): void => void sent.destroy(toError(out.signal?.reason));
    out.signal?.addEventListener("abort", onAbort, { once: true });
    sent.on("timeout", () => sent.destroy(new WaitedTooLong("nothing moved")));
    sent.on("close", () => {
      timer.cancel();
      out.signal?.removeEventListener("abort", onAbort);
    });
    sent.on("error", reject);
    sent.on("response", (body) => resolve({ status: body.statusCode ?? 0, headers: body.headers, body }));
    sent.end(out.body);
  });
}

/** The whole body, at most `maxBytes` of it: a server that writes more is cut off. */
export async function readBody(body: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of body as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length > maxBytes) {
      body.destroy();
      break;
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
