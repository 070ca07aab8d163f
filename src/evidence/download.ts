/**
 * Who may take a pack away, and how does it go out? The caller shows a short-lived token of a ServiceAccount in the namespace of the investigation, made
 * for this purpose alone: whoever may make one there may change what runs there, and sees its evidence. A pack goes out as one `.tar.zst`, once it is
 * finished; nothing is ever changed (ADR 0026).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DOWNLOAD_AUDIENCE, DOWNLOAD_HEADER } from "../api/evidencedownload.ts";
import type { Review } from "./authorize.ts";
import type { EvidenceLog } from "./exchange.ts";
import { folderSource } from "./partsource.ts";
import type { EvidenceStore } from "./store.ts";
import { archiveOf } from "./writearchive.ts";

export interface DownloadOptions {
  readonly store: Pick<EvidenceStore, "describe">;
  /** Sends a TokenReview for these audiences. Throws when there is no answer. */
  readonly reviewToken: (token: string, audiences: readonly string[]) => Promise<Review>;
  /** The namespace of the investigation that a collection belongs to; undefined: none names it. */
  readonly namespaceOf: (collection: string) => string | undefined;
  readonly log: EvidenceLog;
}

/** Answers a request for a pack. Never rejects. */
export type Download = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** At once, refused ones included: compressing costs the operator's CPU, and each asks for a TokenReview. */
const MAX_RUNNING = 2;
const PATH = /^\/v1\/packs\/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/;
/** The form of a JWT: anything else is not sent on. */
const TOKEN = /^[A-Za-z0-9_-]{1,4096}\.[A-Za-z0-9_-]{1,8192}\.[A-Za-z0-9_-]{1,4096}$/;
const ACCOUNT = /^system:serviceaccount:([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?):[^:]+$/;

/** Whether a request is one for a pack, and not one of a collector. */
export function asksForPack({ url = "" }: IncomingMessage): boolean {
  return url.startsWith("/v1/packs/");
}

export function createDownload(options: DownloadOptions): Download {
  let running = 0;
  return async (request, response) => {
    if (running >= MAX_RUNNING) return refuse(response, 503, "Busy", "others are fetching evidence; try once more");
    running += 1;
    try {
      await answer(request, response, options);
    } catch (err) {
      options.log.warn({ err }, "A download of evidence broke off");
      if (response.headersSent) response.destroy();
      else refuse(response, 503, "Unavailable", "the operator could not ask who is calling");
    } finally {
      running -= 1;
    }
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, options: DownloadOptions): Promise<void> {
  const { store, log, namespaceOf } = options;
  if (request.method !== "GET") return refuse(response, 405, "MethodNotAllowed", "packs can only be fetched");
  const collection = PATH.exec(request.url ?? "")?.[1];
  const token = request.headers[DOWNLOAD_HEADER];
  if (typeof token !== "string" || !TOKEN.test(token))
    return refuse(response, 401, "Unauthenticated", "a token for oomscope-evidence-read is needed");
  const account = await accountOf(token, options);
  if (account === undefined)
    return refuse(response, 401, "Unauthenticated", "a token for oomscope-evidence-read is needed");
  const namespace = collection === undefined ? undefined : namespaceOf(collection);
  // To one of another namespace a pack that is there and one that is not look the same.
  if (collection === undefined || namespace === undefined || namespace !== account.namespace) {
    log.warn({ account: account.username }, "Refused a download of evidence");
    return refuse(response, 403, "Forbidden", "no investigation of the token's namespace has this collection");
  }
  const info = store.describe(collection);
  if (info === undefined || info.parts.length === 0)
    return refuse(response, 404, "NotFound", "the operator's directory has no such pack");
  if (info.ended === undefined) return refuse(response, 409, "NotFinished", "the collection has not ended yet");
  const source = await folderSource(info.directory);
  response.writeHead(200, { "Content-Type": "application/zstd", "Cache-Control": "no-store" });
  await pipeline(Readable.from(archiveOf(source), { objectMode: false }), response);
  log.info({ collection, account: account.username }, "Handed out evidence");
}

async function accountOf(
  token: string,
  { reviewToken }: DownloadOptions,
): Promise<{ readonly namespace: string; readonly username: string } | undefined> {
  const { authenticated, audiences, user } = await reviewToken(token, [DOWNLOAD_AUDIENCE]);
  if (authenticated !== true || audiences?.includes(DOWNLOAD_AUDIENCE) !== true) return undefined;
  const username = user?.username ?? "";
  const namespace = ACCOUNT.exec(username)?.[1];
  return namespace === undefined ? undefined : { namespace, username };
}

function refuse(response: ServerResponse, status: number, reason: string, message: string): void {
  const body = Buffer.from(`${JSON.stringify({ reason, message })}\n`);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": body.length,
    "Cache-Control": "no-store",
    ...(status === 503 ? { "Retry-After": "2" } : {}),
    Connection: "close",
  });
  response.end(body);
}
