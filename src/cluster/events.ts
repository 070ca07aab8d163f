/**
 * How do people see what happened in `kubectl describe`? Events are told once each and counted when they repeat. They are a courtesy: recording never
 * waits, never fails the caller, and drops what is too much. What must be kept stands in status, not here.
 */
import type { Clock, Random } from "../seams.ts";
import type { ApiObject, Writes } from "./api.ts";
import { isApiError } from "./errors.ts";
import type { Log } from "./reflector.ts";
import { events } from "./resources.ts";

export interface EventTarget {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Absent for cluster-scoped objects; their events go to the namespace `default`. */
  readonly namespace?: string;
  readonly uid: string;
}

export interface EventNote {
  readonly regarding: EventTarget;
  readonly type: "Normal" | "Warning";
  /** CamelCase, the same as in the condition it goes with. */
  readonly reason: string;
  readonly message: string;
  /** What was done or tried, CamelCase. Default: the reason. */
  readonly action?: string;
}

export interface EventRecorder {
  /** Notes an event; returns at once and never throws. */
  record(note: EventNote): void;
  /** Resolves when all that was noted is sent or dropped. */
  flush(): Promise<void>;
  stats(): { readonly sent: number; readonly dropped: number; readonly failed: number };
}

export interface EventRecorderOptions {
  readonly api: Pick<Writes, "create" | "mergePatch">;
  readonly clock: Clock;
  readonly random: Random;
  /** Pod name or host, for `reportingInstance`. */
  readonly instance: string;
  readonly log?: Log;
}

const REPORTING_CONTROLLER = "oomscope.dev/operator";

const MAX_QUEUED = 1_000;
const MAX_REMEMBERED = 2_000;
/** Equal events within this time are one event with a count. */
const WINDOW_MS = 10 * 60_000;
/** So many different messages of one reason about one object in the window; further ones share one event. */
const MAX_SIMILAR = 10;
/** The API server refuses more. */
const MAX_MESSAGE = 1024;
const COMBINED = "(combined from similar events) ";

interface Series {
  readonly since: number;
  readonly namespace: string;
  readonly name: string;
  count: number;
}

interface Similar {
  readonly since: number;
  readonly messages: Set<string>;
}

/** A map that forgets its oldest entries. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MAX_REMEMBERED) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

class Recorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #queue: EventNote[] = [];
  readonly #series = new Map<string, Series>();
  readonly #similar = new Map<string, Similar>();
  #draining: Promise<void> | undefined;
  #sent = 0;
  #dropped = 0;
  #failed = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  record(note: EventNote): void {
    if (this.#queue.length >= MAX_QUEUED) {
      this.#dropped++;
      return;
    }
    this.#queue.push(note);
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
    });
  }

  async flush(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
  }

  stats(): { readonly sent: number; readonly dropped: number; readonly failed: number } {
    return { sent: this.#sent, dropped: this.#dropped, failed: this.#failed };
  }

  async #drain(): Promise<void> {
    // Lets the caller go on before the first request is built.
    await Promise.resolve();
    for (let note = this.#queue.shift(); note !== undefined; note = this.#queue.shift()) {
      try {
        await this.#send(note);
        this.#sent++;
      } catch (error) {
        this.#failed++;
        this.#options.log?.debug({ err: error, reason: note.reason }, "Could not record an event");
      }
    }
  }

  async #send(note: EventNote): Promise<void> {
    const message = this.#combine(note).slice(0, MAX_MESSAGE);
    const key = [note.regarding.uid, note.type, note.reason, message.startsWith(COMBINED) ? COMBINED : message].join(
      "\n",
    );
    const known = this.#series.get(key);
    if (known === undefined || this.#options.clock.monotonicMs() - known.since > WINDOW_MS) {
      await this.#create(key, note, message);
      return;
    }
    try {
      const now = this.#options.clock.now().toISOString();
      const patch = { count: known.count + 1, lastTimestamp: seconds(now), message };
      await this.#options.api.mergePatch(events, { namespace: known.namespace, name: known.name }, patch);
      known.count++;
    } catch (error) {
      // Events are deleted by the server after an hour, or by people.
      if (!isApiError(error, "NotFound")) throw error;
      await this.#create(key, note, message);
    }
  }

  /** The message, or a combined one when there have been too many different ones. */
  #combine({ regarding, type, reason, message }: EventNote): string {
    const key = [regarding.uid, type, reason].join("\n");
    const now = this.#options.clock.monotonicMs();
    const known = this.#similar.get(key);
    const similar =
      known === undefined || now - known.since > WINDOW_MS ? { since: now, messages: new Set<string>() } : known;
    remember(this.#similar, key, similar);
    if (similar.messages.has(message)) return message;
    if (similar.messages.size >= MAX_SIMILAR) return COMBINED + message;
    similar.messages.add(message);
    return message;
  }

  async #create(key: string, note: EventNote, message: string): Promise<void> {
    const { api, clock, random, instance } = this.#options;
    const { regarding } = note;
    const now = clock.now().toISOString();
    const namespace = regarding.namespace ?? "default";
    const name = `${regarding.name.slice(0, 230)}.${random.hex(8)}`;
    const event: ApiObject = {
      metadata: { name, namespace },
      involvedObject: { ...regarding },
      type: note.type,
      reason: note.reason,
      message,
      action: note.action ?? note.reason,
      count: 1,
      firstTimestamp: seconds(now),
      lastTimestamp: seconds(now),
      reportingComponent: REPORTING_CONTROLLER,
      reportingInstance: instance,
      source: { component: REPORTING_CONTROLLER, host: instance },
    };
    await api.create(events, event);
    remember(this.#series, key, { since: clock.monotonicMs(), namespace, name, count: 1 });
  }
}

/** metav1.Time has whole seconds. */
function seconds(iso: string): string {
  return iso.replace(/\.\d+Z$/, "Z");
}

/** Makes a recorder; sends one event after the other. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new Recorder(options);
}
