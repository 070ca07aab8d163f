/**
 * When is profiled, and whom? Beside the readings, after their first third, the container whose anonymous memory has grown most by then.
 * A preserved pod that gets no requests any more stands still, so the one that grows is often another.
 */
import type { CollectionPlan, Sample } from "../../api/collection.ts";
import type { Clock, Random } from "../../seams.ts";
import type { ProfiledProcess } from "./fold.ts";
import { type ProfileOutcome, takeProfiles } from "./stage.ts";

export interface ProfilingOptions {
  readonly plan: CollectionPlan & { readonly profile: NonNullable<CollectionPlan["profile"]> };
  readonly proc: string;
  readonly workFolder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

export interface Profiling {
  /** Told of every sample; starts the profile when its time has come, and does not wait for it. */
  seen(sample: Sample): void;
  /** The outcome, when the readings are over. Starts what has not been started. Never rejects. */
  finish(): Promise<ProfileOutcome>;
}

export function createProfiling(options: ProfilingOptions): Profiling {
  const { plan } = options;
  const startMs = Math.max(0, Math.min(plan.durationMs / 3, plan.durationMs - plan.profile.durationMs));
  let first: Sample | undefined;
  let latest: Sample | undefined;
  let running: Promise<ProfileOutcome> | undefined;

  function start(): Promise<ProfileOutcome> {
    const local = latest?.local !== undefined;
    const suspect = first === undefined || latest === undefined ? undefined : chooseSuspect(first, latest);
    if ((suspect === undefined && !local) || options.signal.aborted) {
      const [reason, detail] = options.signal.aborted
        ? ["Interrupted", "the collection ended before the profile began"]
        : ["NoProcess", "no process of the planned targets was seen"];
      return Promise.resolve({ profiles: [], skipped: [{ what: "profile", reason, detail }], preflight: undefined });
    }
    return takeProfiles({
      proc: options.proc,
      processes: () => (latest === undefined ? [] : processesOf(latest, suspect)),
      ...suspect,
      durationMs: plan.profile.durationMs,
      frequencyHz: plan.profile.frequencyHz,
      workFolder: options.workFolder,
      clock: options.clock,
      random: options.random,
      signal: options.signal,
    });
  }

  return {
    seen: (sample) => {
      first ??= sample;
      latest = sample;
      if (sample.index > 0 && sample.elapsedMs >= startMs) running ??= start();
    },
    finish: () => (running ??= start()),
  };
}

export interface Suspect {
  readonly podUid: string;
  readonly containerId: string;
}

/** The container with living processes whose anonymous memory grew most between two samples; when none grew, the one that holds most of it. */
export function chooseSuspect(first: Sample, latest: Sample): Suspect | undefined {
  const before = new Map(containersOf(first).map((c) => [`${c.podUid}/${c.containerId}`, c.anonBytes]));
  const candidates = containersOf(latest)
    .filter((c) => c.processes > 0)
    .map((c) => ({
      ...c,
      grown: Math.max(0, c.anonBytes - (before.get(`${c.podUid}/${c.containerId}`) ?? c.anonBytes)),
    }))
    .toSorted((a, b) => b.grown - a.grown || b.anonBytes - a.anonBytes || (a.containerId < b.containerId ? -1 : 1));
  const best = candidates[0];
  return best === undefined ? undefined : { podUid: best.podUid, containerId: best.containerId };
}

function containersOf(sample: Sample): (Suspect & { readonly anonBytes: number; readonly processes: number })[] {
  return sample.pods.flatMap((pod) =>
    pod.containers.map((container) => ({
      podUid: pod.uid,
      containerId: container.id,
      anonBytes: container.cgroup.kinds.anon ?? 0,
      processes: container.processes.length,
    })),
  );
}

/** @param suspect undefined: the target of one machine */
function processesOf({ pods, local }: Sample, suspect: Suspect | undefined): ProfiledProcess[] {
  const pod = pods.find(({ uid }) => uid === suspect?.podUid);
  const container = pod?.containers.find(({ id }) => id === suspect?.containerId);
  const measured = suspect === undefined ? local?.processes : container?.processes;
  return (measured ?? []).map(({ pid, startTicks, comm }) => ({ pid, startTicks, comm }));
}
