/** Of the pods that triggers look at: who is near a limit, who grows, and who is looked at for a node that is short of memory? */
import { durationMs } from "../api/fields.ts";
import type { MemoryPolicySpec } from "../api/memorypolicy.ts";
import { keyText, type PodView, type WorkloadKey } from "../incident/observation.ts";
import type { ContainerReading, Held, NodeReading } from "../incident/triggers.ts";
import { grown, roughSecondsToLimit, sustainedGrowth, type ContainerHistory } from "./readings.ts";

/** The trend test takes a millisecond; of the containers that may pass it so many are tested in one pass, those nearest to their limit first. */
const MAX_TESTED = 100;
/** Growth below this is none when a node's suspect is chosen. */
const LEAST_GROWTH = 8 * 2 ** 20;

/** A pod that a trigger looks at. */
export interface Watched {
  readonly key: WorkloadKey;
  readonly pod: PodView;
  readonly triggers: MemoryPolicySpec["triggers"];
}

export interface NodeState {
  atMs: number;
  availablePercent: number;
  /** By the percent that a policy names. */
  readonly low: Map<number, Held>;
  /** The workload that was chosen for it, so that the next best is not investigated when this one is. */
  readonly chosen: Map<number, { readonly sinceMs: number; readonly workload: string }>;
}

/** By the uid of the pod, then by the name of the container. */
export type Histories = ReadonlyMap<string, ReadonlyMap<string, ContainerHistory>>;

/** By workload; only containers with a limit. The trend test is run for those alone that could pass it. */
export function containerReadings(watched: Iterable<Watched>, histories: Histories): Map<string, ContainerReading[]> {
  const readings = new Map<string, ContainerReading[]>();
  const promising: { readonly seconds: number; readonly test: () => void }[] = [];
  for (const { key, pod, triggers } of watched) {
    const within = triggers.growth === undefined ? 0 : durationMs(triggers.growth.projectedOOMWithin) / 1000;
    for (const [container, history] of histories.get(pod.uid) ?? []) {
      const { limitBytes } = pod.containers.find(({ name }) => name === container) ?? {};
      if (limitBytes === undefined || history.lastMs === 0) continue;
      const own = readings.get(keyText(key)) ?? [];
      readings.set(keyText(key), own);
      const { ring, near } = history;
      const reading: ContainerReading = {
        pod: { name: pod.name, uid: pod.uid },
        revision: pod.ownerUid ?? pod.uid,
        container,
        usageBytes: history.bytes,
        limitBytes,
        atMs: history.lastMs,
        near,
        growth: undefined,
      };
      const at = own.push(reading) - 1;
      const seconds = roughSecondsToLimit(ring, limitBytes);
      if (ring === undefined || triggers.growth === undefined || seconds > 2 * within) continue;
      promising.push({ seconds, test: () => (own[at] = { ...reading, growth: sustainedGrowth(ring, limitBytes) }) });
    }
  }
  for (const { test } of promising.toSorted((a, b) => a.seconds - b.seconds).slice(0, MAX_TESTED)) test();
  return readings;
}

interface Suspect {
  readonly watched: Watched;
  readonly usageBytes: number;
  readonly grownBytes: number | undefined;
}

/** By workload: of each node that is short, the one workload that is looked at for it. */
export function nodeReadings(
  watched: Iterable<Watched>,
  histories: Histories,
  nodes: ReadonlyMap<string, NodeState>,
): Map<string, NodeReading[]> {
  const suspects = new Map<string, Suspect[]>();
  for (const one of watched) {
    const percent = one.triggers.nodeMemAvailable?.percent;
    const { node } = one.pod;
    if (percent === undefined || node === undefined || nodes.get(node)?.low.has(percent) !== true) continue;
    const own = [...(histories.get(one.pod.uid)?.values() ?? [])];
    const growth = own.map(({ ring }) => grown(ring) ?? 0).reduce((sum, bytes) => sum + bytes, 0);
    const suspect: Suspect = {
      watched: one,
      usageBytes: own.reduce((sum, { bytes }) => sum + bytes, 0),
      grownBytes: growth >= LEAST_GROWTH ? growth : undefined,
    };
    const place = `${node} ${percent}`;
    suspects.set(place, [...(suspects.get(place) ?? []), suspect]);
  }
  const readings = new Map<string, NodeReading[]>();
  for (const [place, candidates] of suspects) {
    const [node = "", percent = ""] = place.split(" ");
    const state = nodes.get(node);
    const low = state?.low.get(Number(percent));
    if (state === undefined || low === undefined) continue;
    const { watched: one, usageBytes, grownBytes } = chosen(state, Number(percent), low, candidates);
    const workload = keyText(one.key);
    const { name, uid, ownerUid } = one.pod;
    const suspect = { pod: { name, uid }, revision: ownerUid ?? uid, usageBytes, grownBytes };
    const reading = { node, availablePercent: state.availablePercent, low, suspect };
    readings.set(workload, [...(readings.get(workload) ?? []), reading]);
  }
  return readings;
}

/** The pod that grew most, or else uses most; for as long as the node stays short, of the workload that was chosen first. */
function chosen(state: NodeState, percent: number, low: Held, candidates: readonly Suspect[]): Suspect {
  const before = state.chosen.get(percent);
  const same =
    before?.sinceMs === low.sinceMs ? candidates.filter(({ watched }) => keyText(watched.key) === before.workload) : [];
  const [best] = (same.length > 0 ? same : candidates).toSorted(
    (a, b) =>
      (b.grownBytes ?? 0) - (a.grownBytes ?? 0) ||
      b.usageBytes - a.usageBytes ||
      a.watched.pod.name.localeCompare(b.watched.pod.name),
  );
  if (best === undefined) throw new RangeError("There is no candidate to choose from");
  // Who is to blame is known best at the end of the time that the policy names, so until then nobody is chosen for good.
  const forMs = durationMs(best.watched.triggers.nodeMemAvailable?.for ?? "0s");
  if (low.lastMs - low.sinceMs >= forMs)
    state.chosen.set(percent, { sinceMs: low.sinceMs, workload: keyText(best.watched.key) });
  return best;
}
