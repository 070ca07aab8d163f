/** One POST of JSON and what came of it: delivered, to be tried again, or refused for good. The only file of this folder that touches the network. */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Clock } from "../seams.ts";
import type { Address } from "./receivers.ts";

export type Outcome =
  | { readonly kind: "Delivered" }
  /** Worth another try, not before `afterMs` where the receiver says so. */
  | { readonly kind: "TryAgain"; readonly why: string; readonly afterMs: number | undefined }
  /** Another try of the same would be refused as well. */
  | { readonly kind: "Refused"; readonly why: string };

/** From the first byte sent to the head of the answer, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** Answers are not read; a receiver that sends more than this is cut off. */
const MAX_ANSWER = 64 * 1024;
const MAX_RETRY_AFTER_S = 600;

/** Never rejects, follows no redirect. `why` holds no part of the address and nothing that the receiver has written. */
export async function post(address: Address, body: object, clock: Clock): Promise<Outcome> {
  const bytes = Buffer.from(JSON.stringify(body));
  return await new Promise<Outcome>((resolve) => {
    const tls = address.url.protocol === "https:";
    const options = {
      method: "POST",
      agent: false,
      headers: {
        "content-type": "application/json",
        "content-length": String(bytes.length),
        "user-agent": "oomscope",
        ...(address.authorization === undefined ? {} : { authorization: address.authorization }),
      },
      ...(tls && address.ca !== undefined ? { ca: address.ca } : {}),
    } as const;
    const failed = (why: string): void => resolve({ kind: "TryAgain", why, afterMs: undefined });
    const sent = tls ? httpsRequest(address.url, options) : httpRequest(address.url, options);
    const timer = clock.after(TIMEOUT_MS, () => {
      failed(`no answer within ${TIMEOUT_MS / 1000} s`);
      sent.destroy();
    });
    sent.on("close", () => timer.cancel());
    sent.on("error", (error: NodeJS.ErrnoException) => failed(error.code ?? "the connection failed"));
    sent.on("response", (response) => {
      let length = 0;
      response.on("data", (piece: Buffer) => {
        length += piece.length;
        if (length > MAX_ANSWER) sent.destroy();
      });
      response.on("error", () => undefined);
      resolve(outcomeOf(response.statusCode ?? 0, response.headers["retry-after"]));
    });
    sent.end(bytes);
  });
}

function outcomeOf(status: number, retryAfter: string | undefined): Outcome {
  if (status >= 200 && status < 300) return { kind: "Delivered" };
  const why = `it answers ${status}`;
  // Of the refusals these say "not now".
  if (status >= 500 || status === 408 || status === 425 || status === 429) {
    const seconds = /^\d{1,6}$/.test(retryAfter ?? "") ? Math.min(Number(retryAfter), MAX_RETRY_AFTER_S) : undefined;
    return { kind: "TryAgain", why, afterMs: seconds === undefined ? undefined : seconds * 1000 };
  }
  return { kind: "Refused", why };
}
