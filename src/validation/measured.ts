/**
 * What does one recording say about the things that a mitigation must have changed? The memory that grew, the load under which it grew, what the function at
 * fault made resident, the node, the limits: as few numbers, of which two can be compared.
 */
import { partFileName, type Host, type Manifest, type Sample } from "../api/collection.ts";
import type { Profile } from "../api/profile.ts";
import type { ComparisonQuestion } from "../api/validation.ts";
import { judgeTrend, type Trend } from "../diagnosis/trend.ts";
import { record, restartOf, type ContainerRecording, type Recording } from "../diagnosis/recording.ts";
import type { Series } from "../diagnosis/statistics.ts";
import { nameText } from "../diagnosis/words.ts";
import { ownersOf } from "../profile/owners.ts";

/** What a pack gives; each stream is read once, from its start. */
export interface MeasuredPack {
  readonly manifest: Manifest | undefined;
  readonly host: Host | undefined;
  samples(): AsyncIterable<Sample>;
  profiles(): AsyncIterable<{ readonly index: number; readonly profile: Profile }>;
}

/** One container, in the incarnation that was watched longest. */
export interface MeasuredContainer {
  readonly podUid: string;
  readonly name: string | undefined;
  readonly trend: Trend;
  /** Ticks of 10 ms in user mode for each second; undefined: not told by any process. */
  readonly load: number | undefined;
  /** As the kernel has it. Undefined: none, or no cgroup was read. */
  readonly limitBytes: number | undefined;
  readonly limitRead: boolean;
  /** What the pod asked for when the collection began; its `bytes` are absent where that is no limit. Undefined: nobody knows. */
  readonly wanted: { readonly bytes?: number } | undefined;
}

/** What one place made resident, by one growth profile. */
export interface PlaceGrowth {
  readonly part: string;
  readonly seconds: number;
  /** Pages that stayed, for each second. */
  readonly pagesPerSecond: number;
  /** Page faults of the place that were sampled. */
  readonly samples: number;
  /** Of all samples, those that were lost or left out, or whose time was cut. Percent. */
  readonly lostPercent: number;
}

export interface Measured {
  readonly containers: readonly MeasuredContainer[];
  /** MemTotal less MemAvailable; and whether both were read at all. */
  readonly nodeUsed: Trend;
  /** Undefined: no place was asked for, or no growth profile was taken of a container that is asked about. */
  readonly place: PlaceGrowth | undefined;
  /** Why there is no growth profile, in the collector's words. */
  readonly profileSkipped: string | undefined;
  readonly pageBytes: number;
}

/** Of the architectures that Linux runs on as a node; a limit is rounded down to whole pages. */
const LARGEST_PAGE = 64 * 1024;

/** Throws only what the streams throw. */
export async function measure(pack: MeasuredPack, question: ComparisonQuestion): Promise<Measured> {
  const recording = await record(pack.samples());
  const asked = new Set(
    recording.containers
      .filter((one) => question.container === undefined || nameOf(one, pack.manifest) === question.container)
      // What is measured on one machine without a cluster is the only thing in its pack, and its profile names no container.
      .map(({ podUid, id, scope }) => (scope === "Container" ? `${podUid}/${id}` : "/")),
  );
  const place = await placeGrowth(pack.profiles(), asked, question);
  const skipped = pack.manifest?.skipped.find(({ what }) => what.startsWith("profile"));
  return {
    containers: chosen(recording, pack.manifest, question).map((one) => measured(one, pack.manifest, question.series)),
    nodeUsed: judgeTrend(nodeUsed(recording), recording.node.memTotal.values.at(-1)),
    place,
    profileSkipped: skipped === undefined ? undefined : `${skipped.reason}: ${skipped.detail ?? skipped.what}`,
    pageBytes: pack.host?.pageSizeBytes ?? LARGEST_PAGE,
  };
}

/** Of each pod under load the container that is asked about, in its longest incarnation. A preserved pod gets no requests: it says nothing here. */
function chosen(
  { containers }: Recording,
  manifest: Manifest | undefined,
  { container }: ComparisonQuestion,
): ContainerRecording[] {
  const preserved = new Set(
    (manifest?.plan.pods ?? []).flatMap(({ uid, role }) => (role === "Preserved" ? [uid] : [])),
  );
  const longest = new Map<string, ContainerRecording>();
  for (const one of containers) {
    const name = nameOf(one, manifest);
    if (preserved.has(one.podUid) || name === undefined || (container !== undefined && name !== container)) continue;
    const key = `${one.podUid}/${name}`;
    const known = longest.get(key);
    if (known === undefined || lived(one) > lived(known)) longest.set(key, { ...one, name });
  }
  return [...longest.values()];
}

const lived = ({ firstSeconds, lastSeconds }: ContainerRecording): number => lastSeconds - firstSeconds;

/** One that restarted is not in the plan. */
function nameOf(container: ContainerRecording, manifest: Manifest | undefined): string | undefined {
  const { name, id, podUid } = container;
  const planned = manifest?.plan.pods.find(({ uid }) => uid === podUid)?.containers ?? [];
  return (
    name ??
    planned.find((one) => one.id === id)?.name ??
    restartOf(
      container,
      planned.map((one) => one.name),
    )
  );
}

function measured(
  container: ContainerRecording,
  manifest: Manifest | undefined,
  series: string | undefined,
): MeasuredContainer {
  const { podUid, name, limitBytes, usage } = container;
  const pod = manifest?.plan.pods.find(({ uid }) => uid === podUid);
  const asked = pod?.containers.find((one) => one.name === name);
  return {
    podUid,
    name,
    trend: judgeTrend(seriesOf(container, series), limitBytes),
    load: loadOf(container),
    limitBytes,
    limitRead: usage.times.length > 0,
    wanted: asked === undefined ? undefined : asked.limitBytes === undefined ? {} : { bytes: asked.limitBytes },
  };
}

/** The series that the finding says grows. The names are those of its `growth.series`. */
function seriesOf(container: ContainerRecording, series: string | undefined): Series {
  switch (series) {
    case "file":
    case "shmem":
    case "kernel":
    case "sock":
      return container.kinds[series];
    case undefined:
    default:
      return container.anonAndSwap;
  }
}

/** Time in user mode of all processes, each from its first sight or, where it began later than the container was first seen, from its start. */
function loadOf(container: ContainerRecording): number | undefined {
  const seconds = lived(container);
  const told = container.processes.filter(({ utime }) => utime.times.length > 0);
  if (seconds <= 0 || told.length === 0) return undefined;
  const ticks = told.reduce((sum, { utime: { times, values } }) => {
    const from = (times[0] ?? 0) > container.firstSeconds ? 0 : (values[0] ?? 0);
    return sum + Math.max(0, (values.at(-1) ?? 0) - from);
  }, 0);
  return ticks / seconds;
}

function nodeUsed({ node: { memTotal, memAvailable } }: Recording): Series {
  const totalAt = new Map(memTotal.times.map((time, i) => [time, memTotal.values[i] ?? 0]));
  const points = memAvailable.times.flatMap((time, i) => {
    const total = totalAt.get(time);
    return total === undefined ? [] : [{ time, value: total - (memAvailable.values[i] ?? 0) }];
  });
  return { times: points.map(({ time }) => time), values: points.map(({ value }) => value) };
}

/**
 * The longest growth profile of a container that is asked about; a collection takes one, of whichever container grew most by then.
 * @param asked `podUid/containerId`
 */
async function placeGrowth(
  profiles: AsyncIterable<{ readonly index: number; readonly profile: Profile }>,
  asked: ReadonlySet<string>,
  { culprit }: ComparisonQuestion,
): Promise<PlaceGrowth | undefined> {
  let best: PlaceGrowth | undefined;
  for await (const { index, profile } of profiles) {
    if (profile.kind !== "Growth" || culprit === undefined) continue;
    if (!asked.has(`${profile.podUid ?? ""}/${profile.containerId ?? ""}`)) continue;
    const found = growthOf(index, profile, culprit);
    if (best === undefined || found.seconds > best.seconds) best = found;
  }
  return best;
}

/**
 * A fault is a page that was touched, not one that stayed: of buffers that come and go the faults are as many with the leak as without it. So they are
 * multiplied by the pages that stayed for each fault of the same processes over the same time.
 */
function growthOf(index: number, profile: Profile, culprit: NonNullable<ComparisonQuestion["culprit"]>): PlaceGrowth {
  const { efficiency, durationMs, samples, lost, samplesOmitted, truncated } = profile;
  // The finding has names as they are shown.
  const shown = (name: string | undefined): string | undefined =>
    name === undefined ? undefined : nameText(name, 256);
  const owned = ownersOf(profile).filter(
    (owner) => shown(owner.function) === culprit.function && shown(owner.library) === culprit.library,
  );
  const faults = owned.reduce((sum, { weight }) => sum + weight, 0);
  const staying = efficiency === undefined || efficiency.faults === 0 ? 0 : efficiency.anonPages / efficiency.faults;
  const seconds = durationMs / 1000;
  const all = samples + lost;
  return {
    part: partFileName("profile", index),
    seconds,
    pagesPerSecond: seconds <= 0 ? 0 : (faults * Math.max(0, staying)) / seconds,
    samples: owned.reduce((sum, owner) => sum + owner.samples, 0),
    lostPercent: truncated ? 100 : all === 0 ? 0 : Math.round((100 * (lost + samplesOmitted)) / all),
  };
}

/** Bytes per second by which the containers grow together, and the load under which they do. */
export function together(containers: readonly MeasuredContainer[]): {
  readonly slope: number;
  readonly load: number | undefined;
} {
  const loads = containers.flatMap(({ load }) => (load === undefined ? [] : [load]));
  return {
    slope: containers.reduce((sum, { trend }) => sum + trend.slope, 0),
    load: loads.length === 0 || loads.length < containers.length ? undefined : loads.reduce((a, b) => a + b, 0),
  };
}
