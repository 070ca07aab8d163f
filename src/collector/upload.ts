/**
 * Sends parts to the operator. An upload goes on where it stopped, sampling goes on meanwhile, and what cannot be sent is kept in a
 * bounded queue from which the oldest readings leave first. The token is read anew for each request, because the kubelet renews it.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import type { Logger } from "pino";
import { z } from "zod";
import type { PartKind } from "../api/collection.ts";
import type { Clock, Random } from "../seams.ts";
import type { Sink } from "./collect.ts";

export interface UploadOptions {
  readonly url: string;
  /** Name in the server's certificate; the address is an IP. */
  readonly serverName: string;
  /** PEM. Nobody else is trusted. */
  readonly ca: string;
  readonly tokenFile: string;
  readonly collection: string;
  /** This long after its start, in milliseconds, uploading is given up. */
  readonly patienceMs: number;
  /** Called once when the operator wants nothing more of us: sampling on would be for nobody. */
  readonly onEnded?: (ended: UploadEnded) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Nothing more can be sent: the operator said that this collection is over for us, or could not be reached. */
export class UploadEnded extends Error {
  override readonly name = "UploadEnded";
  readonly reason: string;
  constructor(reason: string) {
    super(`Nothing more can be sent to the operator: ${reason}`);
    this.reason = reason;
  }
}

const CHUNK_BYTES = 1024 * 1024;
const QUEUE_BYTES = 16 * 2 ** 20;
const REQUEST_TIMEOUT_MS = 20_000;
const BASE_MS = 250;
const MAX_MS = 15_000;
/** A refusal that has to do with one part only, for good. */
class PartRefused extends Error {
  override readonly name = "PartRefused";
  readonly reason: string;
  constructor(reason: string) {
    super(`The operator refused the part: ${reason}`);
    this.reason = reason;
  }
}

/** A new leader may not know the collection yet, so a refusal is believed only after this long. */
const REFUSAL_PATIENCE_MS = 30_000;
const MAX_ANSWER_BYTES = 4096;

const Body = z.object({
  reason: z.string().max(64).optional(),
  detail: z.string().max(500).optional(),
  received: z.int().nonnegative().optional(),
});

interface Item {
  readonly kind: PartKind;
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly sha256: string;
  readonly lines: number;
}

interface Answer {
  readonly status: number;
  readonly reason: string;
  readonly detail: string;
  readonly received: number;
  readonly retryAfterMs: number | undefined;
}

export function createUploader(options: UploadOptions): Sink {
  const { clock, random, log } = options;
  const startedMs = clock.monotonicMs();
  const queue: Item[] = [];
  const lost: { kind: PartKind; index: number; reason: string }[] = [];
  let running: Promise<void> | undefined;
  let ended: UploadEnded | undefined;

  async function put(kind: PartKind, index: number, bytes: Uint8Array, lines = 0): Promise<void> {
    if (ended !== undefined) throw ended;
    queue.push({ kind, index, bytes, lines, sha256: createHash("sha256").update(bytes).digest("hex") });
    makeRoom();
    start();
    // The manifest is the last word, and the caller waits for it.
    if (kind === "manifest") await settled();
  }

  function start(): void {
    running ??= drain().finally(() => (running = undefined));
    running.catch(() => undefined);
  }

  function makeRoom(): void {
    let total = queue.reduce((sum, item) => sum + item.bytes.length, 0);
    while (total > QUEUE_BYTES) {
      // The first may be on its way.
      const oldest = queue.findIndex((item, position) => position > 0 && item.kind === "readings");
      const [dropped] = oldest < 0 ? [] : queue.splice(oldest, 1);
      if (dropped === undefined) return;
      lost.push({ kind: dropped.kind, index: dropped.index, reason: "QueueFull" });
      total -= dropped.bytes.length;
    }
  }

  async function drain(): Promise<void> {
    for (let item = queue[0]; item !== undefined; item = queue[0]) {
      try {
        await send(item);
      } catch (error) {
        if (!(error instanceof PartRefused) || item.kind === "manifest") {
          const end = error instanceof UploadEnded ? error : new UploadEnded(messageOf(error));
          ended = end;
          queue.length = 0;
          options.onEnded?.(end);
          throw end;
        }
        lost.push({ kind: item.kind, index: item.index, reason: error.reason });
        log.error({ part: `${item.kind}/${item.index}`, reason: error.reason }, "Could not upload a part");
      }
      queue.shift();
    }
  }

  async function settled(): Promise<void> {
    await running;
    if (ended !== undefined) throw ended;
    if (queue.length === 0) return;
    // Something was queued at the very moment at which the run ended.
    start();
    await settled();
  }

  async function send(item: Item): Promise<void> {
    const sinceMs = clock.monotonicMs();
    let offset = 0;
    let mismatches = 0;
    for (let failures = 0; ;) {
      const answer = await attempt(item, offset);
      if (answer?.status === 201 || answer?.status === 200) return;
      // Only a step forward counts as one: an answer that leads nowhere must not become a busy loop.
      if (answer?.status === 202 && answer.received > offset && answer.received < item.bytes.length) {
        offset = answer.received;
        failures = 0;
        continue;
      }
      if (answer?.reason === "ChecksumMismatch") mismatches += 1;
      refuse(answer, mismatches, clock.monotonicMs() - sinceMs);
      log.warn(
        { part: `${item.kind}/${item.index}`, status: answer?.status, reason: answer?.reason },
        "Could not upload, will try again",
      );
      failures += 1;
      const cap = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(failures, 10));
      // An hour that the operator asks for is not ours to give.
      const leftMs = Math.max(0, startedMs + options.patienceMs - clock.monotonicMs()) + 1;
      await clock.sleep(Math.min(leftMs, answer?.retryAfterMs ?? random.next() * cap));
      // After a lost connection nobody knows what has arrived: ask.
      offset = (await progress(item)) ?? 0;
    }
  }

  /** Throws when trying again cannot help. */
  function refuse(answer: Answer | undefined, mismatches: number, waitedMs: number): void {
    if (clock.monotonicMs() - startedMs > options.patienceMs)
      throw new UploadEnded(`the operator could not be reached in time; its last answer was ${told(answer)}`);
    if (answer === undefined) return;
    const { status, reason } = answer;
    if (status === 409 && reason === "AnotherCollector") throw new UploadEnded(reason);
    if (status === 410) throw new UploadEnded(reason === "" ? "Closed" : reason);
    if ((status === 401 || status === 403) && waitedMs > REFUSAL_PATIENCE_MS)
      throw new UploadEnded(`refused with ${told(answer)}`);
    if (status === 413 || (status === 409 && reason === "PartExists")) throw new PartRefused(reason);
    // Sent twice, arrived wrong twice: it is not the network.
    if (mismatches > 1 || reason === "ManifestMismatch") throw new PartRefused(`${reason} ${answer.detail}`.trim());
    if ([400, 404, 405, 411, 416].includes(status)) throw new PartRefused(told(answer));
  }

  async function attempt(item: Item, offset: number): Promise<Answer | undefined> {
    const total = item.bytes.length;
    const end = Math.min(total, offset + CHUNK_BYTES);
    const range = total === 0 ? "bytes */0" : `bytes ${offset}-${end - 1}/${total}`;
    const headers = {
      "content-range": range,
      "content-type": "application/octet-stream",
      "content-length": String(end - offset),
      "x-oomscope-sha256": item.sha256,
      "x-oomscope-lines": String(item.lines),
    };
    return call("PUT", item, headers, item.bytes.subarray(offset, end));
  }

  async function progress(item: Item): Promise<number | undefined> {
    const answer = await call("GET", item, {}, undefined);
    return answer?.status === 200 || answer?.status === 404
      ? Math.min(answer.received, Math.max(0, item.bytes.length - 1))
      : undefined;
  }

  /** One request; undefined when no answer came. */
  async function call(
    method: string,
    item: Item,
    headers: Record<string, string>,
    body: Uint8Array | undefined,
  ): Promise<Answer | undefined> {
    const token = await readFile(options.tokenFile, "utf8").catch(() => undefined);
    if (token === undefined) {
      log.warn({ file: options.tokenFile }, "Could not read the token");
      return undefined;
    }
    const path = `/v1/collections/${options.collection}/parts/${item.kind}/${item.index}`;
    return new Promise((resolve) => {
      const sent = request(
        new URL(path, options.url),
        {
          method,
          ca: options.ca,
          servername: options.serverName,
          agent: false,
          timeout: REQUEST_TIMEOUT_MS,
          headers: { ...headers, authorization: `Bearer ${token.trim()}` },
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => {
            if (text.length < MAX_ANSWER_BYTES) text += chunk;
          });
          response.on("end", () => resolve(answerOf(response.statusCode ?? 0, text, response.headers["retry-after"])));
          response.on("error", () => resolve(undefined));
        },
      );
      sent.on("timeout", () => sent.destroy(new Error("timed out")));
      sent.on("error", (error) => {
        log.debug({ err: error }, "No answer from the operator");
        resolve(undefined);
      });
      sent.end(body);
    });
  }

  return { put, settled, lost: () => lost };
}

function told(answer: Answer | undefined): string {
  return answer === undefined ? "none" : `${answer.status} ${answer.reason}`.trim();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function answerOf(status: number, text: string, retryAfter: string | undefined): Answer {
  const { reason, detail, received } = bodyOf(text);
  return {
    status,
    reason: reason ?? "",
    detail: detail ?? "",
    received: received ?? 0,
    retryAfterMs: retryAfter !== undefined && /^\d{1,4}$/.test(retryAfter) ? Number(retryAfter) * 1000 : undefined,
  };
}

/** A proxy's page tells nothing; then the status says enough. */
function bodyOf(text: string): Partial<z.infer<typeof Body>> {
  try {
    return Body.safeParse(JSON.parse(text)).data ?? {};
  } catch {
    return {};
  }
}
