/**
 * The operator, put together: watches feed keys into the queue, the queue reconciles, the evidence server takes what collectors send.
 * Everything it needs of the machine comes in as an argument.
 */
import type { Logger } from "pino";
import { openPack } from "./evidence/pack.ts";
import { createAuthorizer } from "./evidence/authorize.ts";
import type { PackUploads } from "./evidence/uploads.ts";
import { createDownload } from "./evidence/download.ts";
import { createEvidenceServer } from "./evidence/server.ts";
import { createDirectoryStore, type EvidenceStore } from "./evidence/store.ts";
import { FIELD_MANAGER, GROUP, VERSION } from "./api/memoryinvestigation.ts";
import { createApi, type Api } from "./cluster/api.ts";
import type { Credentials } from "./cluster/credentials.ts";
import type { Reason } from "./api/reasons.ts";
import { createEventRecorder, type EventTarget } from "./cluster/events.ts";
import {
  evidenceUrl,
  openCollection,
  readCollectorPod,
  reviewToken,
  servingIdentity,
} from "./cluster/evidenceaccess.ts";
import { createElector, type Leadership } from "./cluster/lease.ts";
import type { TrackedInvestigation } from "./cluster/observe.ts";
import { createTransport } from "./cluster/transport.ts";
import { createWatches, type Watches } from "./cluster/watches.ts";
import { bucketUploads } from "./controller/bucket.ts";
import { createHealthServer } from "./controller/health.ts";
import { createMetrics } from "./controller/metrics.ts";
import { notifying } from "./controller/notifying.ts";
import { createPacks } from "./controller/packs.ts";
import { comparePacks, readPack } from "./controller/readpack.ts";
import { reconcile } from "./controller/reconcile.ts";
import { createPolicyWork, REPORT_MS, SAMPLE_MS } from "./controller/policywork.ts";
import { createRetention, type Retention } from "./controller/retention.ts";
import { createWorkQueue } from "./controller/workqueue.ts";
import { createWorld } from "./controller/world.ts";
import { endedAt } from "./incident/intake.ts";
import { parseKey, type PolicyView } from "./incident/observation.ts";
import type { Sampler } from "./controller/sampler.ts";
import type { CollectorSettings } from "./incident/collectorjob.ts";
import type { Clock, Random } from "./seams.ts";
import type { Settings } from "./settings.ts";

export interface OperatorOptions {
  readonly settings: Settings;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly version: string;
  /** Aborts when the process is to end. */
  readonly signal: AbortSignal;
}

/** Everything is looked at again this often, whether or not anything was told. */
const RESYNC_MS = 5 * 60_000;
/** How often packs are compared with what their policies say of them. */
const RETENTION_MS = 60_000;
const SWEEP_MS = 10 * 60_000;
/** How soon after its end a pack is sent to the bucket. */
const UPLOAD_MS = 5_000;
/** A watch that was silent for longer than this is dead: bookmarks come every minute. */
const SILENT_MS = 150_000;

/**
 * Runs until the signal aborts (resolves) or the lease is lost (rejects: the process must end, another one leads).
 * Throws when the cluster cannot be used at all, saying what is missing.
 */
export async function runOperator(options: OperatorOptions): Promise<void> {
  const { settings, credentials, clock, random, log, signal } = options;
  const transport = createTransport({ credentials, clock, userAgent: `oomscope-operator/${options.version}` });
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
    retryMs: Math.max(250, Math.floor((settings.leaseSeconds * 1000) / 8)),
    log,
  });
  mayWrite = () => elector.mayWrite();

  let enqueue: (key: string) => void = () => undefined; // Nothing is worked on before this process leads.
  const watches = createWatches({
    transport,
    clock,
    random,
    log,
    collectorNamespace: settings.collectorNamespace,
    enqueue: (key) => enqueue(key),
  });
  // Neither is there before this process leads: only the leader deletes packs and writes to the bucket.
  let uploads: PackUploads | undefined;
  let retention: Retention | undefined;
  const store = await createDirectoryStore(settings.evidence.directory, {
    clock,
    maxBytes: settings.evidence.maxBytes,
    // Until the finding stands in status the pack is needed, also when nothing more will come.
    inUse: (collection) => isNeeded(watches, collection),
    elsewhere: (collection) => uploads?.stored(collection) !== undefined,
    onEvicted: (collection) => retention?.evicted(collection),
    onDamage: (collection, cause) =>
      log.warn({ collection, err: cause }, "Left out a damaged folder of the evidence store"),
  });
  let synced = false;
  let queueStats = () => ({ waiting: 0, working: 0, delayed: 0, failing: 0 });
  const metrics = createMetrics(
    () => queueStats(),
    () => active(watches),
    () => store.usage().bytes,
  );
  const health = createHealthServer({
    alive: [{ name: "watches", problem: () => deadWatch(watches, synced) }],
    ready: [
      { name: "caches", problem: () => (synced ? undefined : "the first lists are not complete") },
      { name: "watches", problem: () => deadWatch(watches, synced) },
    ],
    metrics: async () => ({ contentType: metrics.registry.contentType, body: await metrics.registry.metrics() }),
  });
  await health.listen(settings.healthPort);
  watches.start(signal);
  const stop = async (): Promise<void> => {
    await watches.stop();
    await health.close();
    await transport.close();
  };

  try {
    await untilAborted(watches.synced, signal);
    synced = true;
    log.info({ pods: watches.stores.pods.size, investigations: watches.investigations().length }, "Knows the cluster");
    const leadership = await elector.lead(signal);
    await lead({
      ...options,
      api,
      watches,
      store,
      metrics,
      leadership,
      setKeeping: (made) => ({ uploads, retention } = made),
      setEnqueue: (fn) => (enqueue = fn),
      setStats: (fn) => (queueStats = fn),
      release: (settled) => elector.release(settled),
    });
    if (!signal.aborted) throw new Error("The lease was lost; this process ends so that it cannot do harm");
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await stop();
  }
}

interface LeadOptions extends OperatorOptions {
  readonly api: Api;
  readonly watches: Watches;
  readonly store: EvidenceStore;
  readonly metrics: ReturnType<typeof createMetrics>;
  readonly leadership: Leadership;
  readonly setKeeping: (made: { uploads: PackUploads | undefined; retention: Retention }) => void;
  readonly setEnqueue: (enqueue: (key: string) => void) => void;
  readonly setStats: (stats: () => { waiting: number; working: number; delayed: number; failing: number }) => void;
  readonly release: (settled: Promise<unknown>) => Promise<void>;
}

/** What only the leader does. Resolves when the signal aborts or the lease is lost, after the work under way is done. */
async function lead(options: LeadOptions): Promise<void> {
  const { settings, clock, random, log, api, watches, store, metrics, leadership, signal } = options;
  const serverName = `${settings.evidence.service}.${settings.namespace}.svc`;
  const identity = await servingIdentity(
    api,
    { namespace: settings.namespace, name: settings.evidence.secret },
    serverName,
    clock,
    random,
  );
  const url = await evidenceUrl(api, { namespace: settings.namespace, name: settings.evidence.service });
  const collector: CollectorSettings = {
    namespace: settings.collectorNamespace,
    ...settings.collector,
    evidenceUrl: url,
    evidenceServerName: serverName,
    evidenceCa: identity.caCert,
    audience: settings.evidence.audience,
  };

  const done = AbortSignal.any([signal, leadership.signal]);
  const lookAgain = (collection: string): void => {
    const entry = ownerOf(watches, collection);
    if (entry !== undefined) queue.add(world.keyOf(entry));
  };
  const events = createEventRecorder({ api, clock, random, instance: settings.identity, log });
  const warn = (collection: string, reason: Reason, message: string): void => {
    const entry = ownerOf(watches, collection);
    if (entry !== undefined) events.record({ regarding: investigationTarget(entry), type: "Warning", reason, message });
  };
  const uploads = await bucketUploads({
    ...options,
    settings: settings.evidence.s3,
    inUse: (collection) => isNeeded(watches, collection),
    onChange: lookAgain,
    onAttempt: (collection, problem) => {
      metrics.uploaded(problem === undefined ? "done" : "failed");
      if (problem !== undefined) warn(collection, "UploadFailed", problem);
    },
    signal: done,
  });
  const elsewhere = (collection: string): boolean => uploads?.stored(collection) !== undefined;
  const retention = createRetention({
    store,
    clock,
    log,
    elsewhere,
    investigations: () => watches.investigations().map(({ investigation }) => investigation),
    policy: (identity) => policySpec(watches, identity),
    inUse: (collection) =>
      isNeeded(watches, collection) ||
      (uploads !== undefined && !elsewhere(collection) && waitsForUpload(store, collection)),
    onRemoved: (collection, why, message) => {
      metrics.packRemoved(why);
      if (message !== undefined && why !== "Expired") warn(collection, "EvidenceRemoved", message);
      lookAgain(collection);
    },
  });
  options.setKeeping({ uploads, retention });
  const packs = createPacks({
    store,
    read: readPack,
    compare: comparePacks,
    uploads,
    gone: (collection) => retention.gone(collection),
    readManifest: async (directory) => (await openPack(directory)).manifest,
    readContext: async (directory) => (await openPack(directory)).context,
    enqueue: (key) => queue.add(key),
    log,
  });
  const { exemptNamespaces } = settings;
  const enqueue = (key: string): void => queue.add(key);
  const { sampler, reports } = createPolicyWork({ api, watches, events, exemptNamespaces, enqueue, clock, log });
  const alarm: Sampler["alarm"] = (key) => sampler.alarm(key);
  const notifier = await notifying({
    ...options,
    settings: settings.notify,
    previousLife: leadership.previousRenewTime,
    onDelivered: (uid) => {
      const entry = watches.investigations().find(({ investigation }) => investigation.metadata.uid === uid);
      if (entry !== undefined) queue.add(world.keyOf(entry));
    },
  });
  const world = createWorld({
    api,
    watches,
    store,
    packs,
    collector,
    events,
    metrics,
    settings,
    leadership,
    clock,
    alarm,
    notifier,
  });
  const queue = createWorkQueue({
    clock,
    random,
    workers: settings.workers,
    work: async (key) => {
      const from = clock.monotonicMs();
      const again = await reconcile(parseKey(key), world, () => clock.now(), log);
      metrics.reconciled("done", (clock.monotonicMs() - from) / 1000);
      return again;
    },
    onError: (key, error, retryInMs) => {
      metrics.reconciled("failed", 0);
      log.warn({ err: error, workload: key, retryInMs: Math.round(retryInMs) }, "Could not reconcile, will try again");
    },
  });

  const server = createEvidenceServer({
    store,
    tls: identity,
    clock,
    log,
    authorize: createAuthorizer({
      reviewToken: (token, audiences) => reviewToken(api, token, audiences),
      readPod: (namespace, name) => readCollectorPod(api, namespace, name),
      openCollection: (id) => openCollection(watches.investigations(), id),
      sessionPod: (id) => store.describe(id)?.podUid,
      audience: settings.evidence.audience,
      serviceAccount: { namespace: settings.collectorNamespace, name: settings.collector.serviceAccount },
      clock,
    }),
    download: createDownload({
      store,
      reviewToken: (token, audiences) => reviewToken(api, token, audiences),
      namespaceOf: (id) => namespaceOf(watches, id),
      log,
    }),
    serving: () => !leadership.signal.aborted,
    onProgress: lookAgain,
  });
  await server.listen(settings.evidence.port);
  options.setStats(() => queue.stats());
  options.setEnqueue((key) => queue.add(key));
  for (const key of watches.keysAtHand()) queue.add(key);
  log.info({ epoch: leadership.epoch, evidence: url }, "Leads");

  void every(RESYNC_MS, clock, done, async () => {
    for (const key of watches.keysAtHand()) queue.add(key);
  });
  void every(RETENTION_MS, clock, done, () => retention.pass());
  // Readings first: what a policy says of its triggers rests on them.
  void sampler.pass().then(() => reports.pass());
  void every(SAMPLE_MS, clock, done, () => sampler.pass());
  void every(REPORT_MS, clock, done, async () => void (await reports.pass()));
  if (uploads !== undefined) {
    void every(UPLOAD_MS, clock, done, () => uploads.pass());
    void every(SWEEP_MS, clock, done, async () => void (await uploads.sweep()));
  }
  await untilAborted(new Promise<never>(() => undefined), done).catch(() => undefined);

  log.info({ reason: String(done.reason) }, "Stops");
  const settled = Promise.all([queue.stop(), server.close()]).then(() =>
    Promise.all([events.flush(), notifier?.stop()]),
  );
  await options.release(settled);
  await settled;
}

async function every(ms: number, clock: Clock, signal: AbortSignal, task: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(ms, signal).catch(() => undefined);
    if (!signal.aborted) await task().catch(() => undefined);
  }
}

/** Rejects with the signal's reason when it aborts first. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void =>
      reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function active(watches: Watches): number {
  return watches.investigations().filter((i) => endedAt(i.investigation) === undefined).length;
}

function deadWatch(watches: Watches, synced: boolean): string | undefined {
  if (!synced) return undefined; // Not there yet is for readiness; a restart would not help.
  for (const [kind, health] of Object.entries(watches.health())) {
    if ((health.lastActivityAgeMs ?? 0) > SILENT_MS)
      return `nothing was heard of ${kind} for ${Math.round((health.lastActivityAgeMs ?? 0) / 1000)} s: ${health.lastError ?? "the stream is silent"}`;
  }
  return undefined;
}

function namespaceOf(watches: Watches, collection: string): string | undefined {
  return watches
    .investigations()
    .find(({ investigation: i }) => i.status?.collections?.some((c) => c.id === collection) === true)?.namespace;
}

function isNeeded(watches: Watches, collection: string): boolean {
  return watches
    .investigations()
    .some(
      ({ investigation: i }) =>
        endedAt(i) === undefined && i.status?.collections?.some((c) => c.id === collection) === true,
    );
}

function ownerOf(watches: Watches, collection: string): TrackedInvestigation | undefined {
  return watches.investigations().find((i) => i.investigation.status?.collections?.some((c) => c.id === collection));
}

function investigationTarget({ uid, namespace, name }: TrackedInvestigation): EventTarget {
  return { apiVersion: `${GROUP}/${VERSION}`, kind: "MemoryInvestigation", namespace, name, uid };
}

/** @param identity `Kind/namespace/name`, as budgets and packs name a policy */
function policySpec({ stores }: Watches, identity: string): PolicyView["spec"] | undefined {
  const [kind, namespace = "", name = ""] = identity.split("/");
  const found = kind === "MemoryPolicy" ? stores.policies.get(namespace, name) : stores.clusterPolicies.get("", name);
  return found?.problem === undefined ? found?.spec : undefined;
}

/** One that is to get into the bucket waits for that beyond its time, as long as there is room. */
function waitsForUpload(store: EvidenceStore, collection: string): boolean {
  const info = store.describe(collection);
  return info?.ended !== undefined && info.parts.length > 0;
}
