/** The world as the loop knows it, made of watches, live reads and writes. Holds no decision. */
import { GROUP, VERSION, type MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { Metrics } from "./metrics.ts";
import type { Packs } from "./packs.ts";
import type { World } from "./reconcile.ts";
import type { EvidenceStore } from "../evidence/store.ts";
import type { Notice } from "../incident/actions.ts";
import type { CollectorSettings } from "../incident/collectorjob.ts";
import { freshKills } from "../incident/ledger.ts";
import { freshSteps } from "../incident/mitigation.ts";
import type { Alarm } from "../incident/triggers.ts";
import { keyText, type Observation, type Refused, type TargetKind, type WorkloadKey } from "../incident/observation.ts";
import type { Notifier } from "../notify/notifier.ts";
import type { Clock } from "../seams.ts";
import type { Settings } from "../settings.ts";
import type { Api, ApiObject } from "../cluster/api.ts";
import { isApiError } from "../cluster/errors.ts";
import type { EventRecorder, EventTarget } from "../cluster/events.ts";
import type { Leadership } from "../cluster/lease.ts";
import { countActive, observe, type ObserveOptions, type TrackedInvestigation } from "../cluster/observe.ts";
import { perform, type PerformOptions } from "../cluster/perform.ts";
import { memoryinvestigations } from "../cluster/resources.ts";
import { keyOf, type Watches } from "../cluster/watches.ts";
import { targetOf } from "../cluster/workloads.ts";

export interface WorldOptions {
  readonly api: Api;
  readonly watches: Watches;
  readonly store: EvidenceStore;
  readonly packs: Packs;
  readonly collector: CollectorSettings;
  readonly events: EventRecorder;
  readonly metrics: Metrics;
  readonly settings: Settings;
  readonly leadership: Leadership;
  readonly clock: Clock;
  /** What the readings of a workload call for. */
  readonly alarm: (key: WorkloadKey) => Alarm | undefined;
  /** Who tells people; undefined where nobody is told. */
  readonly notifier: Notifier | undefined;
}

export function createWorld(options: WorldOptions): World & { keyOf(entry: TrackedInvestigation): string } {
  const { api, watches, store, packs, collector, events, metrics, settings, leadership, clock } = options;
  /** Investigations whose last status may or may not have been written, by uid. */
  const doubtful = new Map<string, { readonly namespace: string; readonly name: string }>();
  const refusals = new Map<string, Refused>();
  const previous = leadership.previousRenewTime === undefined ? undefined : new Date(leadership.previousRenewTime);
  // Only one investigation is opened at a time, so that a budget is counted with every place that is taken.
  let opening: Promise<unknown> = Promise.resolve();

  const observing: ObserveOptions = {
    api,
    stores: watches.stores,
    investigations: (namespace) => watches.investigations(namespace),
    evidence: packs,
    collectorNamespace: settings.collectorNamespace,
    exemptNamespaces: settings.exemptNamespaces,
    previousLife: () => previous,
    startedAt: clock.now(),
    epoch: () => leadership.epoch,
    settled: watches.settled,
    alarm: options.alarm,
    refused: (uid) => {
      const refused = refusals.get(uid);
      refusals.delete(uid); // It speaks of one attempt; the next observation decides anew.
      return refused;
    },
  };
  const performing: PerformOptions = {
    api,
    collector: () => collector,
    clock,
    writeContext: (collection, bytes) => store.writeContext(collection, bytes),
    readContext: (collection) => packs.readContext(collection),
    wrote: (raw) => noteWrite(raw),
    admits: (policy, namespace) => {
      const { policy: under, cluster } = countActive(policy, namespace, observing);
      return under < policy.maxActive && cluster < policy.clusterMaxActive;
    },
  };

  function noteWrite(raw: ApiObject): void {
    // The answer to taking the last finalizer from a deleted object shows an object that is no more.
    const { deletionTimestamp, finalizers } = raw.metadata as {
      deletionTimestamp?: string;
      finalizers?: readonly string[];
    };
    if (deletionTimestamp !== undefined && (finalizers ?? []).length === 0) return;
    const entry = watches.readInvestigation(raw);
    if (entry !== undefined) watches.ownWrites.wrote(entry);
  }

  return {
    keyOf: (entry) => keyText(keyOf(entry)),
    observe: async (key) => {
      await settleDoubts(key.namespace);
      return withNotifier(await observe(key, observing), options.notifier);
    },
    perform: async (key, action) => {
      if (action.kind !== "OpenInvestigation") {
        const refused = await perform(key, action, performing);
        metrics.acted(action.kind, refused === undefined ? "done" : "refused");
        return refused;
      }
      const turn = opening.then(() => perform(key, action, performing));
      opening = turn.catch(() => undefined);
      const refused = await turn;
      metrics.acted(action.kind, "done");
      return refused;
    },
    writeStatus: async (investigation, status) => {
      const { name, namespace = "", uid, resourceVersion } = investigation.metadata;
      const writing = api.applyStatus(
        memoryinvestigations,
        {
          apiVersion: `${GROUP}/${VERSION}`,
          kind: "MemoryInvestigation",
          // The resourceVersion fences off a leader that was replaced; the uid one that speaks of an object that is gone.
          metadata: { name, namespace, uid, resourceVersion },
          status: { ...status, leaderEpoch: leadership.epoch },
        },
        { force: true },
      );
      const written = await writing.catch((error: unknown) => {
        if (isApiError(error, "Unknown", "ServerError", "StaleRead")) doubtful.set(uid, { namespace, name });
        throw error;
      });
      for (const kill of freshKills(investigation.status?.kills, status.kills)) metrics.kill(kill.classification);
      for (const { action, state, reason } of freshSteps(investigation.status?.mitigations, status.mitigations))
        metrics.mitigation(action, state, reason);
      if (status.result !== undefined && investigation.status?.result === undefined) metrics.ended(status.result);
      noteWrite(written);
    },
    announce: (key, investigation, notices) => {
      for (const notice of notices) announce(key, investigation, notice);
    },
    remember: (investigation, refused) => void refusals.set(investigation.metadata.uid, refused),
  };

  /**
   * A write without an answer may have happened, and the watch may not have told of it yet: what is decided next must not rest on what was there before it.
   * Throws when it cannot be read: then nothing is decided.
   */
  async function settleDoubts(namespace: string): Promise<void> {
    for (const [uid, at] of doubtful) {
      if (at.namespace !== namespace) continue;
      try {
        noteWrite(await api.get(memoryinvestigations, at));
      } catch (error) {
        if (!isApiError(error, "NotFound")) throw error;
      }
      doubtful.delete(uid);
    }
  }

  function announce(key: WorkloadKey, investigation: MemoryInvestigation | undefined, notice: Notice): void {
    const { type, reason, message } = notice;
    for (const regarding of targetsOf(key, investigation, notice)) events.record({ regarding, type, reason, message });
  }

  function targetsOf(key: WorkloadKey, investigation: MemoryInvestigation | undefined, notice: Notice): EventTarget[] {
    const { namespace } = key;
    const targets: EventTarget[] = [];
    if (investigation !== undefined) {
      const { name, uid } = investigation.metadata;
      targets.push({ apiVersion: `${GROUP}/${VERSION}`, kind: "MemoryInvestigation", namespace, name, uid });
    }
    for (const other of notice.also) {
      if (other === "Target") {
        const target = targetOf(key, watches.stores);
        if (target !== undefined)
          targets.push({
            apiVersion: API_VERSIONS[key.kind],
            kind: key.kind,
            namespace,
            name: key.name,
            uid: target.uid,
          });
      } else {
        targets.push({ apiVersion: "v1", kind: "Pod", namespace, name: other.pod, uid: other.uid });
      }
    }
    return targets;
  }
}

/** People are told of what was seen, never of what is about to be written; and the next status says what they were told. */
function withNotifier(seen: Observation, notifier: Notifier | undefined): Observation {
  if (notifier === undefined) return seen;
  for (const investigation of seen.investigations)
    if (investigation.metadata.deletionTimestamp === undefined) notifier.look(investigation);
  return {
    ...seen,
    notified: Object.fromEntries(seen.investigations.map(({ metadata: { uid } }) => [uid, notifier.delivered(uid)])),
  };
}

const API_VERSIONS: Readonly<Record<TargetKind, string>> = {
  Deployment: "apps/v1",
  StatefulSet: "apps/v1",
  DaemonSet: "apps/v1",
  Job: "batch/v1",
  Pod: "v1",
};
