/**
 * Who has been told what? It is shown every investigation whenever one is looked at, compares what its status calls for with what its status says was
 * delivered, and hands the rest to the receivers' queues. It never throws and nobody waits for it.
 */
import type { Logger } from "pino";
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Clock, Random } from "../seams.ts";
import { ALERT_LIMITS, CHAT_LIMITS, createLane, type Lane, type LaneLimits, type LetterOutcome } from "./lane.ts";
import { messagesOf, type Message, type MessageKind } from "./messages.ts";
import { ALERT_TTL_MS, alertBody, alertState, slackBody, webhookBody, type Receiver } from "./payloads.ts";
import { post, type Outcome } from "./post.ts";
import { addressOf, ReceiverProblem } from "./receivers.ts";

export interface NotifierOptions {
  readonly directory: string;
  readonly receivers: readonly Receiver[];
  /** States that were reached before this are history: nobody is told of them. RFC 3339. */
  readonly horizon: string;
  readonly kinds: readonly MessageKind[];
  /** A page about an investigation, with {namespace} and {name} where they belong. */
  readonly link: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Told when something was delivered that the investigation's status does not say yet. */
  readonly onDelivered: (uid: string) => void;
  readonly onOutcome: (receiver: Receiver, outcome: LetterOutcome) => void;
  readonly limits?: LaneLimits;
}

export interface Notifier {
  /** Shows it an investigation as it is. Returns at once and never throws. */
  look(investigation: MemoryInvestigation): void;
  /** What was delivered in this life, as status is to say it; until it does. */
  delivered(uid: string): readonly string[];
  /** Resolves when the messages on their way have their answers. */
  stop(): Promise<void>;
}

/** Investigations whose messages are remembered; beyond it those that were looked at longest ago are forgotten. */
const MAX_REMEMBERED = 5_000;
/** An alert that is firing is sent again this often, well before it would end by itself. */
const RENEW_MS = 4 * 60_000;

export function createNotifier(options: NotifierOptions): Notifier {
  const { receivers, clock, log } = options;
  const lanes = new Map(receivers.map((receiver) => [receiver, laneFor(receiver)] as const));
  const delivered = new Map<string, Set<string>>();
  // Refused or given up: it is not offered again in this life.
  const hopeless = new Map<string, Set<string>>();
  const alerts = new Map<string, { readonly text: string; readonly atMs: number }>();

  function laneFor(receiver: Receiver): Lane {
    return createLane({
      clock,
      random: options.random,
      limits: options.limits ?? (receiver === "alertmanager" ? ALERT_LIMITS : CHAT_LIMITS),
      onRetry: (why, inMs) =>
        log.warn({ receiver, why, retryInMs: Math.round(inMs) }, "Could not tell people, will try again"),
      onOutcome: (outcome, { subject, ids }, why) => {
        options.onOutcome(receiver, outcome);
        if (outcome !== "Delivered") log.error({ receiver, why, outcome }, "Could not tell people");
        if (receiver === "alertmanager") {
          if (outcome !== "Delivered") alerts.delete(subject);
          return;
        }
        remember(outcome === "Delivered" ? delivered : hopeless, subject, ids);
        if (outcome === "Delivered") options.onDelivered(subject);
      },
    });
  }

  async function send(receiver: Receiver, body: object): Promise<Outcome> {
    try {
      return await post(await addressOf(options.directory, receiver), body, clock);
    } catch (error) {
      // The Secret may be mended while we wait.
      const why = error instanceof ReceiverProblem ? error.message : "the message could not be sent";
      return { kind: "TryAgain", why, afterMs: undefined };
    }
  }

  function tell(receiver: "webhook" | "slack", lane: Lane, investigation: MemoryInvestigation): void {
    const { uid } = investigation.metadata;
    const known = new Set([
      ...(investigation.status?.notified ?? []),
      ...(delivered.get(uid) ?? []),
      ...(hopeless.get(uid) ?? []),
      ...lane.pending(uid),
    ]);
    const owed = messagesOf(investigation).filter((message) => isOwed(receiver, message, known));
    // A pass may reach several states at once; the last one tells of all.
    const message = owed.at(-1);
    if (message === undefined) return;
    const body = receiver === "slack" ? slackBody(message, options.link) : webhookBody(message, options.link);
    const ids = owed.map(({ id }) => toldAs(receiver, id));
    if (!lane.add({ subject: uid, ids, send: () => send(receiver, body) })) options.onOutcome(receiver, "Dropped");
  }

  function isOwed(receiver: Receiver, { id, kind, since }: Message, known: ReadonlySet<string>): boolean {
    return (
      options.kinds.includes(kind) &&
      Date.parse(since) >= Date.parse(options.horizon) &&
      !known.has(toldAs(receiver, id))
    );
  }

  function alert(lane: Lane, investigation: MemoryInvestigation): void {
    const now = clock.now();
    const { uid } = investigation.metadata;
    const state = alertState(investigation, now);
    if (state === undefined) return;
    const text = `${state.firing}/${state.message.id}`;
    const before = alerts.get(uid);
    // Resolved is told once, and not by one who finds an investigation that ended long ago.
    const stale = state.ended === undefined || now.getTime() - Date.parse(state.ended) > ALERT_TTL_MS;
    if (!state.firing && before === undefined && stale) return;
    if (before?.text === text && (!state.firing || clock.monotonicMs() - before.atMs < RENEW_MS)) return;
    const body = [alertBody(investigation, state, now, options.link)];
    if (lane.add({ subject: uid, ids: [], send: () => send("alertmanager", body) }))
      put(alerts, uid, { text, atMs: clock.monotonicMs() });
  }

  return {
    look(investigation) {
      const { uid } = investigation.metadata;
      const told = investigation.status?.notified ?? [];
      if ([...(delivered.get(uid) ?? [])].every((id) => told.includes(id))) delivered.delete(uid);
      for (const [receiver, lane] of lanes) {
        if (receiver === "alertmanager") alert(lane, investigation);
        else tell(receiver, lane, investigation);
      }
    },
    delivered: (uid) => [...(delivered.get(uid) ?? [])],
    stop: async () => void (await Promise.all([...lanes.values()].map((lane) => lane.stop()))),
  };
}

/** How status says that a message was delivered to a receiver. */
function toldAs(receiver: Receiver, id: string): string {
  return `${receiver}/${id}`;
}

function remember(memory: Map<string, Set<string>>, uid: string, ids: readonly string[]): void {
  put(memory, uid, new Set([...(memory.get(uid) ?? []), ...ids]));
}

/** Puts it last, and forgets the first when there are too many. */
function put<T>(memory: Map<string, T>, uid: string, value: T): void {
  memory.delete(uid);
  memory.set(uid, value);
  for (const oldest of memory.keys()) {
    if (memory.size <= MAX_REMEMBERED) return;
    memory.delete(oldest);
  }
}
