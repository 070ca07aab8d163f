/**
 * One life of the operator, in one process: the real watches, elector, loop and door, put together as src/operator.ts does it, but for what needs the
 * machine: no sockets are opened, and the evidence store is the world's.
 */
import { pino } from "pino";
import { FIELD_MANAGER } from "../../src/api/memoryinvestigation.ts";
import { createApi } from "../../src/cluster/api.ts";
import { createEventRecorder } from "../../src/cluster/events.ts";
import { openCollection } from "../../src/cluster/evidenceaccess.ts";
import { createElector, type Leadership } from "../../src/cluster/lease.ts";
import type { Transport } from "../../src/cluster/transport.ts";
import { createWatches, type Watches } from "../../src/cluster/watches.ts";
import { createMetrics } from "../../src/controller/metrics.ts";
import { createPacks } from "../../src/controller/packs.ts";
import { reconcile, type World } from "../../src/controller/reconcile.ts";
import { createWorkQueue } from "../../src/controller/workqueue.ts";
import { createWorld } from "../../src/controller/world.ts";
import { parseKey } from "../../src/incident/observation.ts";
import type { Clock, Random } from "../../src/seams.ts";
import type { Settings } from "../../src/settings.ts";
import type { Recorded, WorldEvidence } from "./evidence.ts";

export interface LifeOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: Settings;
  readonly evidence: WorldEvidence;
  readonly recorded: Recorded;
  /** What a mutant does to the loop. */
  readonly mutate?: { readonly world?: (world: World) => World; readonly reconcile?: typeof reconcile };
  readonly told: (key: string, error: unknown) => void;
}

export interface Life {
  /** Whether a collector's pod may send parts of a collection now. */
  takes(collection: string, jobUid: string): boolean;
  /** Something of a collection has arrived. */
  arrived(collection: string): void;
  /** Whether it believes that it leads. */
  leads(): boolean;
  /** The process's own end: undefined while it lives. */
  readonly over: () => string | undefined;
}

const RESYNC_MS = 5 * 60_000;
const log = pino({ level: "silent" });

export function live(options: LifeOptions): Life {
  const { transport, clock, random, settings } = options;
  let mayWrite = (): boolean => false;
  const api = createApi(transport, { clock, random, fieldManager: FIELD_MANAGER, mayWrite: () => mayWrite() });
  const elector = createElector({
    api: api.unfenced,
    clock,
    random,
    namespace: settings.namespace,
    name: "oomscope-operator",
    identity: settings.identity,
    leaseDurationMs: settings.leaseSeconds * 1000,
    renewDeadlineMs: Math.floor((settings.leaseSeconds * 1000 * 2) / 3),
    retryMs: Math.floor((settings.leaseSeconds * 1000) / 8),
    log,
  });
  mayWrite = () => elector.mayWrite();
  let enqueue: (key: string) => void = () => undefined;
  const { collectorNamespace } = settings;
  const watches = createWatches({ transport, clock, random, log, collectorNamespace, enqueue: (key) => enqueue(key) });
  const stop = new AbortController();
  watches.start(stop.signal);
  let leading: Leadership | undefined;
  let lookAgain: (collection: string) => void = () => undefined;
  let over: string | undefined;

  async function run(): Promise<void> {
    await watches.synced;
    leading = await elector.lead(stop.signal);
    const loop = lead({ ...options, watches, leadership: leading, api });
    enqueue = loop.enqueue;
    lookAgain = loop.lookAgain;
    for (const key of watches.keysAtHand()) enqueue(key);
    while (!leading.signal.aborted) {
      await clock.sleep(RESYNC_MS, leading.signal).catch(() => undefined);
      if (!leading.signal.aborted) for (const key of watches.keysAtHand()) enqueue(key);
    }
    stop.abort(new Error("the lease was lost"));
    over = "the lease was lost";
  }
  run().catch((error: unknown) => (over = String(error)));

  return {
    takes: (collection, jobUid) => {
      if (leading === undefined || leading.signal.aborted) return false;
      const open = openCollection(watches.investigations(), collection);
      return open?.state === "Open" && (open.jobUid === undefined || open.jobUid === jobUid);
    },
    arrived: (collection) => lookAgain(collection),
    leads: () => leading !== undefined && !leading.signal.aborted,
    over: () => over,
  };
}

interface LeadOptions extends LifeOptions {
  readonly watches: Watches;
  readonly leadership: Leadership;
  readonly api: ReturnType<typeof createApi>;
}

function lead(options: LeadOptions): { enqueue: (key: string) => void; lookAgain: (collection: string) => void } {
  const { clock, random, settings, evidence, recorded, watches, leadership, api, mutate, told } = options;
  const packs = createPacks({
    store: evidence,
    read: () => Promise.resolve(recorded.reading),
    compare: () => Promise.resolve([]),
    readManifest: () => Promise.resolve(recorded.manifest),
    readContext: (directory) => Promise.resolve(evidence.contextOf(directory)),
    uploads: undefined,
    enqueue: (key) => queue.add(key),
    log,
  });
  const collector = {
    namespace: settings.collectorNamespace,
    ...settings.collector,
    evidenceUrl: "https://10.96.0.10:8443",
    evidenceServerName: "evidence",
    evidenceCa: "none",
    audience: settings.evidence.audience,
  };
  const events = createEventRecorder({ api, clock, random, instance: settings.identity, log });
  const metrics = createMetrics(
    () => queue.stats(),
    () => 0,
    () => 0,
  );
  const real = createWorld({
    api,
    watches,
    store: evidence,
    packs,
    collector,
    events,
    metrics,
    settings,
    leadership,
    clock,
    alarm: () => undefined,
    notifier: undefined,
  });
  const world = mutate?.world?.(real) ?? real;
  const turn = mutate?.reconcile ?? reconcile;
  const queue = createWorkQueue({
    clock,
    random,
    workers: settings.workers,
    work: (key) => turn(parseKey(key), world, () => clock.now(), log),
    onError: (key, error) => told(key, error),
  });
  leadership.signal.addEventListener("abort", () => void queue.stop(), { once: true });
  return {
    enqueue: (key) => queue.add(key),
    lookAgain: (collection) => {
      const entry = watches
        .investigations()
        .find((i) => i.investigation.status?.collections?.some((c) => c.id === collection));
      if (entry !== undefined) queue.add(real.keyOf(entry));
    },
  };
}
