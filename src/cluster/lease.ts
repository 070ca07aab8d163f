/**
 * Which of several operators may write? The one that holds the Lease. A Lease does not fence: a frozen leader wakes up and still believes.
 * So `mayWrite` is true only for as long as no other can have taken over, by this machine's own clock that never jumps, and
 * every write carries preconditions besides. Clocks of two machines are never compared.
 */
import type { Clock, Random } from "../seams.ts";
import type { Api, ApiObject } from "./api.ts";
import { isApiError } from "./errors.ts";
import type { Log } from "./reflector.ts";
import { leases } from "./resources.ts";

export interface ElectorOptions {
  readonly api: Api["unfenced"];
  readonly clock: Clock;
  readonly random: Random;
  readonly namespace: string;
  readonly name: string;
  /**
   * No two processes that run at once may share it. The pod's name is right: its next container starts when the last has ended, and then
   * takes the lease without waiting.
   */
  readonly identity: string;
  /** Others wait this long after the last renewal that they saw. Whole seconds. Default 15,000. */
  readonly leaseDurationMs?: number;
  /** The holder stops writing this long after its last renewal. Must be shorter than the lease. Default 10,000. */
  readonly renewDeadlineMs?: number;
  /** Between renewals, and between looks at another's lease. Default 2,000. */
  readonly retryMs?: number;
  readonly log?: Log;
}

/** One time of leading. */
export interface Leadership {
  /** Aborts when the lease is lost or given back: everything done as leader hangs on it. */
  readonly signal: AbortSignal;
  /** leaseTransitions: grows with each holder, so it can be written into objects as a fence. */
  readonly epoch: number;
  /** When the holder before us last renewed, by its clock; undefined when nobody ever held the lease. For finding what happened in between, not for safety. */
  readonly previousRenewTime?: string;
}

export interface Elector {
  /** Resolves when this process leads; rejects when `signal` aborts first. Call again after leadership was lost. */
  lead(signal: AbortSignal): Promise<Leadership>;
  /** Whether no other can have taken over yet. Ask right before each write. */
  mayWrite(): boolean;
  /** Stops writing, waits for `settled` (the writes that are under way), then gives the lease back so that another need not wait. */
  release(settled?: Promise<unknown>): Promise<void>;
}

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

interface Lease extends ApiObject {
  readonly spec?: LeaseSpec;
}

/** The API server wants exactly six digits of a second. */
export function microTime(date: Date): string {
  return date.toISOString().replace(/Z$/, "000Z");
}

interface Held {
  readonly lease: Lease;
  readonly renewedAt: number;
  readonly abort: AbortController;
}

interface Seen {
  readonly version: string;
  readonly at: number;
}

class LeaseElector implements Elector {
  readonly #options: Required<Omit<ElectorOptions, "log">> & Pick<ElectorOptions, "log">;
  #held: Held | undefined;
  #seen: Seen | undefined;
  #renewing: Promise<void> = Promise.resolve();

  constructor(options: ElectorOptions) {
    this.#options = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000, ...options };
    const { leaseDurationMs, renewDeadlineMs, retryMs } = this.#options;
    if (!(leaseDurationMs > renewDeadlineMs && renewDeadlineMs > retryMs && retryMs > 0)) {
      throw new RangeError("A lease needs leaseDuration > renewDeadline > retry > 0");
    }
    if (leaseDurationMs % 1000 !== 0) throw new RangeError("A lease's duration is in whole seconds");
  }

  mayWrite(): boolean {
    const { clock, renewDeadlineMs } = this.#options;
    return (
      this.#held !== undefined &&
      !this.#held.abort.signal.aborted &&
      clock.monotonicMs() < this.#held.renewedAt + renewDeadlineMs
    );
  }

  async lead(signal: AbortSignal): Promise<Leadership> {
    const { clock, random, retryMs, log } = this.#options;
    if (this.#held !== undefined && !this.#held.abort.signal.aborted) throw new Error("Already leading");
    // The loop of an earlier leadership writes to the same lease.
    await this.#renewing;
    for (;;) {
      signal.throwIfAborted();
      try {
        const won = await this.#tryAcquire(signal);
        if (won !== undefined) return won;
      } catch (error) {
        signal.throwIfAborted();
        log?.warn({ err: error }, "Could not take the lease, will try again");
      }
      await clock.sleep(retryMs * (0.8 + 0.4 * random.next()), signal);
    }
  }

  async release(settled: Promise<unknown> = Promise.resolve()): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    const stillOurs = this.mayWrite();
    held.abort.abort(new Error("the lease is given back"));
    await this.#renewing;
    await settled.catch(() => undefined);
    const last = this.#held ?? held;
    this.#held = undefined;
    if (!stillOurs) return;
    try {
      // The resourceVersion makes this fail if another took the lease meanwhile.
      await this.#put(last.lease, {
        ...last.lease.spec,
        holderIdentity: "",
        renewTime: microTime(this.#options.clock.now()),
      });
    } catch (error) {
      this.#options.log?.warn({ err: error }, "Could not give the lease back; it will run out by itself");
    }
  }

  async #tryAcquire(signal: AbortSignal): Promise<Leadership | undefined> {
    const { api, clock, namespace, name, identity, renewDeadlineMs } = this.#options;
    const found = await api
      .get<Lease>(leases, { namespace, name }, { signal, timeoutMs: renewDeadlineMs })
      .catch((error: unknown) => {
        if (isApiError(error, "NotFound")) return undefined;
        throw error;
      });
    if (found !== undefined && !this.#isFree(found)) return undefined;
    // Taken before the request: the lease may count from any moment after this.
    const startedAt = clock.monotonicMs();
    const now = microTime(clock.now());
    const spec = {
      holderIdentity: identity,
      leaseDurationSeconds: this.#options.leaseDurationMs / 1000,
      acquireTime: now,
      renewTime: now,
      leaseTransitions: found === undefined ? 0 : (found.spec?.leaseTransitions ?? 0) + 1,
    };
    try {
      const lease =
        found === undefined
          ? await api.create<Lease>(leases, { metadata: { namespace, name }, spec }, { timeoutMs: renewDeadlineMs })
          : await this.#put(found, spec);
      return this.#won(lease, startedAt, found?.spec?.renewTime);
    } catch (error) {
      if (isApiError(error, "StaleRead", "AlreadyExists", "Replaced")) return undefined;
      throw error;
    }
  }

  /** Whether the lease was given back, or has not changed for its whole duration as seen by our own clock. */
  #isFree(lease: Lease): boolean {
    const { clock, leaseDurationMs } = this.#options;
    const holder = lease.spec?.holderIdentity ?? "";
    // Our own name on it: an earlier process of this very pod, which ended before this one was started.
    if (holder === "" || holder === this.#options.identity) return true;
    const version = `${lease.metadata.uid ?? ""}/${holder}/${lease.spec?.renewTime ?? ""}/${lease.spec?.leaseTransitions ?? 0}`;
    if (this.#seen?.version !== version) {
      this.#seen = { version, at: clock.monotonicMs() };
      return false;
    }
    // The holder may have been started with a longer duration than we were.
    const duration = Math.max(leaseDurationMs, (lease.spec?.leaseDurationSeconds ?? 0) * 1000);
    return clock.monotonicMs() - this.#seen.at > duration;
  }

  #won(lease: Lease, renewedAt: number, previousRenewTime: string | undefined): Leadership {
    const abort = new AbortController();
    this.#held = { lease, renewedAt, abort };
    this.#seen = undefined;
    const epoch = lease.spec?.leaseTransitions ?? 0;
    this.#options.log?.info({ lease: this.#options.name, identity: this.#options.identity, epoch }, "Took the lease");
    this.#renewing = this.#renew(abort);
    return { signal: abort.signal, epoch, ...(previousRenewTime === undefined ? {} : { previousRenewTime }) };
  }

  /** Renews until the lease is lost or given back. Never rejects. */
  async #renew(abort: AbortController): Promise<void> {
    const { clock, random, retryMs, renewDeadlineMs, log } = this.#options;
    const { signal } = abort;
    while (!signal.aborted) {
      const untilDeadline = (this.#held?.renewedAt ?? 0) + renewDeadlineMs - clock.monotonicMs();
      // Never sleeping beyond the deadline: the signal is to abort when writing must stop, not a moment later.
      const pause = Math.min(retryMs * (0.8 + 0.4 * random.next()), Math.max(0, untilDeadline));
      await clock.sleep(pause, signal).catch(() => undefined);
      const held = this.#held;
      if (signal.aborted || held === undefined) return;
      const left = held.renewedAt + renewDeadlineMs - clock.monotonicMs();
      try {
        if (left <= 0) throw new Error(`not renewed within ${renewDeadlineMs} ms`);
        await this.#renewOnce(held, left);
      } catch (error) {
        const expired = clock.monotonicMs() >= held.renewedAt + renewDeadlineMs;
        if (!expired && !isApiError(error, "StaleRead", "Replaced", "NotFound")) {
          log?.warn({ err: error }, "Could not renew the lease, will try again");
          continue;
        }
        if (!expired && (await this.#isStillOurs(held))) continue;
        log?.error({ err: error }, "Lost the lease");
        abort.abort(new Error("the lease is lost", { cause: error }));
      }
    }
  }

  async #renewOnce(held: Held, timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    const startedAt = clock.monotonicMs();
    const lease = await this.#put(held.lease, { ...held.lease.spec, renewTime: microTime(clock.now()) }, timeoutMs);
    // A frozen process may find the answer to a renewal that others have long seen run out: it counts from when it was sent.
    this.#held = { ...held, lease, renewedAt: startedAt };
  }

  /** After a conflict: a renewal of ours whose reply was lost is no loss, if nobody else holds the lease. Takes in the newest version. */
  async #isStillOurs(held: Held): Promise<boolean> {
    const { api, clock, namespace, name, identity, renewDeadlineMs } = this.#options;
    const timeoutMs = Math.max(1, held.renewedAt + renewDeadlineMs - clock.monotonicMs());
    try {
      const lease = await api.get<Lease>(leases, { namespace, name }, { timeoutMs });
      const ours =
        lease.metadata.uid === held.lease.metadata.uid &&
        lease.spec?.holderIdentity === identity &&
        lease.spec.leaseTransitions === held.lease.spec?.leaseTransitions;
      if (ours) this.#held = { ...held, lease };
      return ours;
    } catch (error) {
      return isApiError(error) && error.reason !== "NotFound";
    }
  }

  async #put(lease: Lease, spec: LeaseSpec, timeoutMs = this.#options.renewDeadlineMs): Promise<Lease> {
    const { namespace, name, uid, resourceVersion, labels, annotations } = lease.metadata;
    const metadata = {
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    };
    return this.#options.api.replace<Lease>(leases, { metadata, spec }, { timeoutMs });
  }
}

/** Makes an elector; nothing is asked of the server before `lead`. Throws RangeError on durations that are not safe. */
export function createElector(options: ElectorOptions): Elector {
  return new LeaseElector(options);
}
