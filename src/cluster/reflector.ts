/**
 * How does the operator come to know what is in the cluster, and stay true to it? One reflector follows one kind: it fills a store with
 * small projections and tells of each change, in order, exactly as the server told it. It may reconnect at any time; a change is never told twice,
 * and what happened while it was away is told as the difference.
 */
import type { Logger } from "pino";
import type { Clock, Random } from "../seams.ts";
import { fullJitterMs, RECONNECT_LIMITS } from "./backoff.ts";
import { ApiError } from "./errors.ts";
import { runSession, type Progress, type SessionResult } from "./reflectorsession.ts";
import type { Resource } from "./resources.ts";
import { ObjectStore, type Store, type Tracked } from "./store.ts";
import type { Transport } from "./transport.ts";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error">;

/** One change. `previous` is what the store held before, for Modified and Deleted. */
export interface ChangeEvent<T> {
  readonly type: "Added" | "Modified" | "Deleted";
  readonly object: T;
  readonly previous?: T;
}

export interface ReflectorOptions<T extends Tracked> {
  readonly transport: Transport;
  readonly resource: Resource;
  /** Default: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Takes what is needed out of the raw object, at once; undefined = not of interest (and gone, if it was before). Must not throw; if it does, the object counts as not of interest and health tells. */
  readonly project: (raw: unknown) => T | undefined;
  /** Must be quick and only note the change. What it throws is logged and counted, and the next change follows all the same. */
  readonly onChange: (event: ChangeEvent<T>) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
  /** Silence after which a stream counts as dead, in milliseconds. Bookmarks come every minute. Default 90,000. */
  readonly idleTimeoutMs?: number;
  /** Objects in one page of a list. Default 500. */
  readonly pageSize?: number;
}

export interface ReflectorHealth {
  /** The first list is complete. */
  readonly synced: boolean;
  /** A stream is open, and (if synced) what it tells continues what we know. */
  readonly connected: boolean;
  /** Since the server last said anything (event, bookmark), in milliseconds. Undefined before the first word. */
  readonly lastActivityAgeMs?: number;
  /** Complete lists after the first one. */
  readonly relists: number;
  /** Sessions that failed in a row; 0 while all is well. */
  readonly failures: number;
  /** Changes whose receiver threw, and objects whose projection threw, since the start. */
  readonly callbackErrors: number;
  readonly mode: "WatchList" | "List";
  readonly lastError?: string;
}

export interface Reflector<T extends Tracked> {
  /** Starts following until the signal aborts or `stop` is called. Call once. */
  start(signal?: AbortSignal): void;
  /** Resolves when the first list is complete; rejects when the reflector is stopped before. */
  readonly synced: Promise<void>;
  readonly store: Store<T>;
  health(): ReflectorHealth;
  /** Resolves when nothing runs any more; no change is told afterwards. */
  stop(): Promise<void>;
}

/** A session that lived for this long was no failure, however it ended. */
const HEALTHY_SESSION_MS = 5_000;

class Follower<T extends Tracked> implements Reflector<T> {
  readonly store = new ObjectStore<T>();
  readonly synced: Promise<void>;
  readonly #options: ReflectorOptions<T>;
  readonly #abort = new AbortController();
  readonly #progress: Progress<T>;
  #markSynced: () => void = () => undefined;
  #rejectSynced: (error: Error) => void = () => undefined;
  #running: Promise<void> | undefined;
  #failures = 0;
  #lastError: string | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.synced = new Promise((resolve, reject) => {
      this.#markSynced = resolve;
      this.#rejectSynced = reject;
    });
    // Whoever does not wait for it must not die of it.
    this.synced.catch(() => undefined);
    this.#progress = {
      store: this.store,
      mode: "WatchList",
      watchListFailures: 0,
      lists: 0,
      connected: false,
      callbackErrors: 0,
      onListed: () => this.#markSynced(),
    };
  }

  start(signal?: AbortSignal): void {
    if (this.#running !== undefined)
      throw new Error(`The reflector of ${this.#options.resource.plural} is already started`);
    if (signal?.aborted === true) this.#abort.abort(signal.reason);
    else
      signal?.addEventListener("abort", () => this.#abort.abort(signal.reason), {
        once: true,
        signal: this.#abort.signal,
      });
    this.#running = this.#follow(this.#abort.signal).finally(() => {
      this.#rejectSynced(
        new Error(`The reflector of ${this.#options.resource.plural} was stopped before its first list`),
      );
    });
  }

  async stop(): Promise<void> {
    this.#abort.abort(new Error("stopped"));
    await this.#running;
  }

  health(): ReflectorHealth {
    const { lists, connected, callbackErrors, mode, activeAtMs } = this.#progress;
    return {
      synced: lists > 0,
      connected,
      relists: Math.max(0, lists - 1),
      failures: this.#failures,
      callbackErrors,
      mode,
      ...(activeAtMs === undefined ? {} : { lastActivityAgeMs: this.#options.clock.monotonicMs() - activeAtMs }),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    while (!signal.aborted) {
      const startedAt = clock.monotonicMs();
      const result = await this.#session(signal);
      if (signal.aborted) return;
      const healthy = result.continued && clock.monotonicMs() - startedAt >= HEALTHY_SESSION_MS;
      // A server (or a proxy) that closes at once is as good as down: without this it would be asked without a pause.
      this.#failures = healthy && result.error === undefined ? 0 : (healthy ? 0 : this.#failures) + 1;
      const wait = Math.max(fullJitterMs(this.#failures, random, RECONNECT_LIMITS), result.error?.retryAfterMs ?? 0);
      await clock.sleep(wait, signal).catch(() => undefined);
    }
  }

  async #session(signal: AbortSignal): Promise<SessionResult> {
    const { log, resource } = this.#options;
    try {
      const result = await runSession(this.#options, this.#progress, signal);
      if (result.error !== undefined && !signal.aborted) this.#noteError(result.error);
      return result;
    } catch (error) {
      // Nothing may end the loop but the signal: a reflector that stopped in silence is the worst kind of dead.
      const known = error instanceof ApiError ? error : new ApiError("ServerError", String(error), { cause: error });
      if (!signal.aborted) this.#noteError(known);
      return { continued: false, error: known };
    } finally {
      this.#progress.connected = false;
      log?.debug({ resource: resource.plural }, "Closed watch");
    }
  }

  #noteError(error: ApiError): void {
    this.#lastError = `${error.reason}: ${error.message}`.slice(0, 500);
    this.#options.log?.warn(
      { resource: this.#options.resource.plural, reason: error.reason, err: error },
      "Lost watch, will reconnect",
    );
  }
}

/** Makes a reflector; nothing runs before `start`. */
export function createReflector<T extends Tracked>(options: ReflectorOptions<T>): Reflector<T> {
  return new Follower(options);
}
