/** Everything a verdict may rest on, gathered once: growth, names, roles, kills and the kernel's reports. */
import type { Context, Host, Manifest, OomReport, OomReports } from "../api/collection.ts";
import { ObjectName } from "../api/fields.ts";
import type { MappingClass, Runtime } from "../api/mappings.ts";
import { type ContainerGrowth, chooseStory, containerGrowth } from "./growth.ts";
import { type MappingGrowth, held } from "./mappinggrowth.ts";
import type { ProfileReading } from "./profilereading.ts";
import { restartOf, type ContainerRecording, type Recording } from "./recording.ts";
import { LOOP } from "./thresholds.ts";

/** What is known beside the readings. Every part may be missing: the collection may have been cut off. */
export interface Surroundings {
  readonly host?: Host | undefined;
  readonly oomReports?: OomReports | undefined;
  readonly context?: Context | undefined;
  readonly manifest?: Manifest | undefined;
  /** What grew between the snapshots of mappings. */
  readonly mappingGrowth?: readonly MappingGrowth[];
  /** What the profiles say. */
  readonly profiles?: readonly ProfileReading[];
  /** What the reader of the pack had to leave out, for people. */
  readonly problems?: readonly string[];
}

interface PodNames {
  readonly name: string | undefined;
  readonly role: "Preserved" | "Serving" | undefined;
  readonly revision: string | undefined;
  readonly containers: readonly { readonly name: string; readonly id?: string | undefined }[];
}

export interface Case {
  readonly recording: Recording;
  readonly surroundings: Surroundings;
  readonly growths: readonly ContainerGrowth[];
  readonly story: ContainerGrowth | undefined;
  readonly pods: ReadonlyMap<string, PodNames>;
  /** Kernel reports of kills inside the measured pods. */
  readonly reports: readonly OomReport[];
}

export function openCase(recording: Recording, surroundings: Surroundings): Case {
  const pods = podNames(surroundings);
  const named = nameContainers(recording, pods);
  const growths = named.containers.map(containerGrowth);
  const wanted = surroundings.context?.container;
  const story = chooseStory(growths, (c) =>
    wanted === undefined ? pods.get(c.podUid)?.role === "Serving" : c.name === wanted,
  );
  const onOneMachine = named.containers.some(({ scope }) => scope !== "Container");
  const known = new Set([...pods.keys(), ...named.containers.map((c) => c.podUid)]);
  const reports = (surroundings.oomReports?.reports ?? []).filter(
    // On one machine there are no pods, and every report in the pack belongs to what was measured.
    ({ podUid }) => podUid === undefined || onOneMachine || known.has(podUid),
  );
  return { recording: named, surroundings, growths, story, pods, reports };
}

function podNames({ context, manifest }: Surroundings): Map<string, PodNames> {
  const pods = new Map<string, PodNames>();
  for (const pod of manifest?.plan.pods ?? []) {
    pods.set(pod.uid, { name: pod.name, role: pod.role, revision: undefined, containers: pod.containers });
  }
  for (const pod of context?.pods ?? []) {
    pods.set(pod.uid, {
      name: pod.name,
      role: pod.role,
      revision: pod.revision,
      containers: [...pod.containers, ...(pods.get(pod.uid)?.containers ?? [])],
    });
  }
  return pods;
}

/** Fills in names that the collector could not know: of a container that restarted in a pod that has only one. */
function nameContainers(recording: Recording, pods: ReadonlyMap<string, PodNames>): Recording {
  const name = (container: ContainerRecording): string | undefined => {
    if (container.name !== undefined) return container.name;
    const known = pods.get(container.podUid)?.containers ?? [];
    const byId = known.find(({ id }) => id === container.id);
    if (byId !== undefined) return byId.name;
    return restartOf(container, [...new Set(known.map((one) => one.name))]);
  };
  return { ...recording, containers: recording.containers.map((c) => ({ ...c, name: name(c) })) };
}

/** The pod's name; undefined when it is unknown or could not be a name. */
export function podName(seen: Case, uid: string): string | undefined {
  const parsed = ObjectName.safeParse(seen.pods.get(uid)?.name);
  return parsed.success ? parsed.data : undefined;
}

/** The class of mappings that makes up most of what this process grew by; undefined when none does, or nobody looked. */
export function growingMapping(
  { surroundings }: Case,
  { pid, startTicks }: Pick<MappingGrowth, "pid" | "startTicks">,
): { readonly growth: MappingGrowth; readonly dominant: NonNullable<MappingGrowth["dominant"]> } | undefined {
  const growth = surroundings.mappingGrowth?.find((one) => one.pid === pid && one.startTicks === startTicks);
  return growth?.dominant === undefined ? undefined : { growth, dominant: growth.dominant };
}

/** Each class's share of what the process grew by, 0 to 1, the largest first; undefined when nobody looked twice, or nothing grew by a mebibyte. */
export function classShares(
  { surroundings }: Case,
  { pid, startTicks }: Pick<MappingGrowth, "pid" | "startTicks">,
): ReadonlyMap<MappingClass, number> | undefined {
  const growth = surroundings.mappingGrowth?.find((one) => one.pid === pid && one.startTicks === startTicks);
  const grown = (growth?.classes ?? []).map((row) => [row.class, Math.max(0, held(row.delta, row.class))] as const);
  const all = grown.reduce((sum, [, bytes]) => sum + bytes, 0);
  if (all < 2 ** 20) return undefined;
  return new Map(grown.map(([kind, bytes]) => [kind, bytes / all] as const).toSorted(([, a], [, b]) => b - a));
}

/** What grows in a process that runs a runtime, as its own heap. */
export const RUNTIME_HEAPS: Readonly<Partial<Record<MappingClass, Runtime>>> = {
  V8Heap: "V8",
  JvmHeap: "JVM",
  GoHeap: "Go",
  CPythonArena: "CPython",
};

/** How many of the kernel's reports say that anon was at least 80 % of the limit. */
export function killsByAnon({ reports }: Case): number {
  return reports.filter((report) => {
    const anon = anonAtKill(report);
    return anon !== undefined && report.limitBytes !== undefined && anon >= LOOP.ofLimit * report.limitBytes;
  }).length;
}

/** Kills in the context, and in the kernel's reports. */
export function killsSeen({ surroundings, reports }: Case): number {
  return Math.max(surroundings.context?.kills.length ?? 0, reports.length);
}

/** anon at a kill as the kernel reported it: v2's key, or v1's. */
export function anonAtKill(report: OomReport): number | undefined {
  return report.stat["anon"] ?? report.stat["total_rss"] ?? report.stat["rss"];
}
