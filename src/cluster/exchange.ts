/**
 * How is one HTTP exchange carried out on an undici dispatcher, with limits of time and size and with the knowledge whether it was sent?
 * Written on undici's lowest interface: its callbacks tell the moment a request goes on the wire, and chunks come without
 * the cost of Node streams, which counts when a watch carries thousands of events a second.
 */
import type { Dispatcher } from "undici";
import type { Clock, Timer } from "../seams.ts";
import { ApiError, notLeader } from "./errors.ts";

export interface ExchangeOptions {
  readonly origin: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** Asked right before the first byte is written; false = it is not. */
  readonly fence?: () => boolean;
  readonly clock: Clock;
  /** For the headers, and with {@link Exchange.text} for the whole answer. Milliseconds. */
  readonly timeoutMs: number;
}

export interface ExchangeHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Exchange {
  readonly headers: Promise<ExchangeHead>;
  /** The whole body; the timeout of the exchange runs on until it is there. */
  text(maxBytes: number): Promise<string>;
  /** The body as it comes; ends the timeout of the exchange, and from then on only silence is limited. */
  chunks(idleTimeoutMs: number): AsyncIterable<Uint8Array>;
  abort(): void;
  /** Lets go of timers and, if the answer was not read to its end, of the connection. */
  dispose(): void;
}

/** Bytes that may wait unread before the sender is asked to pause. */
const HIGH_WATER_BYTES = 256 * 1024;

type Outcome = { readonly kind: "open" } | { readonly kind: "ended" } | { readonly kind: "failed"; error: ApiError };

/** The state of one exchange, driven by undici's callbacks from one side and by one reader from the other. */
class Flow implements Dispatcher.DispatchHandler {
  readonly head: Promise<ExchangeHead>;
  readonly #what: string;
  readonly #fence: () => boolean;
  #resolveHead: (head: ExchangeHead) => void = () => undefined;
  #rejectHead: (error: ApiError) => void = () => undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #sent = false;
  #outcome: Outcome = { kind: "open" };
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #wake: (() => void) | undefined;

  constructor(what: string, fence: () => boolean) {
    this.#what = what;
    this.#fence = fence;
    this.head = new Promise((resolve, reject) => {
      this.#resolveHead = resolve;
      this.#rejectHead = reject;
    });
    // The reader may have gone (abort before the first await); the failure is kept in #outcome all the same.
    this.head.catch(() => undefined);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // undici writes in the same turn as it calls this, so between the question and the bytes there is no wait.
    if (this.open && !this.#fence()) this.#end(notLeader(this.#what));
    if (this.#outcome.kind === "failed") {
      controller.abort(this.#outcome.error);
      return;
    }
    this.#controller = controller;
    this.#sent = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    // 1xx answers precede the real one.
    if (status < 200) return;
    const flat: Record<string, string> = {};
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(", ") : value;
    }
    this.#resolveHead({ status, headers: flat });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    if (this.#queuedBytes > HIGH_WATER_BYTES) controller.pause();
    this.#wake?.();
  }

  onResponseEnd(): void {
    if (this.#outcome.kind === "open") this.#outcome = { kind: "ended" };
    this.#wake?.();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle(error, error.message);
  }

  /** Ends the exchange from our side. */
  fail(why: string, cause?: unknown): void {
    const error = this.#settle(cause, why);
    if (error !== undefined) this.#controller?.abort(error);
  }

  #settle(cause: unknown, why: string): ApiError | undefined {
    if (this.#outcome.kind !== "open") return undefined;
    return this.#end(
      this.#sent
        ? new ApiError("Unknown", `${this.#what}: sent, but no complete answer came (${why})`, { cause })
        : new ApiError("Unreachable", `${this.#what}: never sent (${why})`, { cause }),
    );
  }

  #end(error: ApiError): ApiError {
    this.#outcome = { kind: "failed", error };
    this.#rejectHead(error);
    this.#wake?.();
    return error;
  }

  get open(): boolean {
    return this.#outcome.kind === "open";
  }

  /** The chunk that came first of those not yet taken; undefined when none waits. Throws when the exchange has failed. */
  take(): Uint8Array | undefined {
    // After a failure nothing that still waits is handed out: a cut line must not be taken for a whole one.
    if (this.#outcome.kind === "failed") throw this.#outcome.error;
    const chunk = this.#queue.shift();
    if (chunk === undefined) return undefined;
    this.#queuedBytes -= chunk.length;
    if (this.#queuedBytes === 0 && this.#controller?.paused === true) this.#controller.resume();
    return chunk;
  }

  /** Resolves when something has changed: a chunk, the end, a failure. */
  change(): Promise<void> {
    if (this.#queue.length > 0 || this.#outcome.kind !== "open") return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

/** Ends the flow when its reader has waited for `idleMs` in vain. One timer for the whole stream: a watch may bring thousands of chunks a second. */
function guardSilence(flow: Flow, clock: Clock, idleMs: number) {
  let waitingSince: number | undefined;
  let timer: Timer;
  const arm = (ms: number): void => {
    timer = clock.after(ms, () => {
      // A reader that is busy is not silence of the sender.
      const left = waitingSince === undefined ? idleMs : waitingSince + idleMs - clock.monotonicMs();
      if (left > 0) arm(left);
      else flow.fail(`silent for ${idleMs} ms`);
    });
  };
  arm(idleMs);
  return {
    async change(): Promise<void> {
      waitingSince = clock.monotonicMs();
      await flow.change();
      waitingSince = undefined;
    },
    cancel: () => timer.cancel(),
  };
}

async function* readChunks(flow: Flow, clock: Clock, idleMs: number, done: () => void): AsyncIterable<Uint8Array> {
  const silence = guardSilence(flow, clock, idleMs);
  try {
    for (;;) {
      const chunk = flow.take();
      if (chunk !== undefined) yield chunk;
      else if (flow.open) await silence.change();
      else return;
    }
  } finally {
    silence.cancel();
    done();
  }
}

async function readText(flow: Flow, maxBytes: number, what: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const chunk = flow.take();
    if (chunk !== undefined) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new ApiError("TooLarge", `${what}: the answer is over ${maxBytes} bytes`);
      }
      chunks.push(chunk);
    } else if (flow.open) {
      await flow.change();
    } else {
      return Buffer.concat(chunks).toString("utf8");
    }
  }
}

/** Sends one request. Failures come out of `headers`, `text` and `chunks` as ApiError Unknown or Unreachable. */
export function exchange(dispatcher: Dispatcher, options: ExchangeOptions): Exchange {
  const { origin, method, path, headers, body, signal, clock, timeoutMs, fence = () => true } = options;
  const what = `${method} ${path.replace(/\?.*/, "")}`;
  const flow = new Flow(what, fence);
  const onAbort = (): void => flow.fail("cancelled", signal?.reason);
  let timer: Timer | undefined = clock.after(timeoutMs, () => flow.fail(`no answer within ${timeoutMs} ms`));
  const dispose = (): void => {
    timer?.cancel();
    timer = undefined;
    signal?.removeEventListener("abort", onAbort);
    flow.fail("abandoned");
  };

  if (signal?.aborted === true) onAbort();
  else {
    signal?.addEventListener("abort", onAbort, { once: true });
    dispatcher.dispatch(
      {
        origin,
        path,
        method,
        headers: { ...headers },
        body: body ?? null,
        // Our own limits stand in for undici's, so that an injected clock rules them.
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      flow,
    );
  }

  return {
    headers: flow.head,
    text: (maxBytes) => readText(flow, maxBytes, what),
    chunks(idleTimeoutMs) {
      timer?.cancel();
      timer = undefined;
      return readChunks(flow, clock, idleTimeoutMs, dispose);
    },
    abort: () => flow.fail("cancelled"),
    dispose,
  };
}
