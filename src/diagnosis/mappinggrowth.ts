/**
 * Which mapping, and which kind of mapping, grew between snapshots (incident S5, T3)? Compares a process with itself only: a process is (pid, start
 * time). Two snapshots show a difference and no trend; whether memory really grows is for the readings to say.
 */
import {
  type Certainty,
  type MappingClass,
  type MappingSizes,
  type MappingSnapshot,
  type ProcessMappings,
  SMAPS_FIELDS,
  type SmapsField,
} from "../api/mappings.ts";

export interface SumsChange {
  /** Mappings now, and how many more than before. */
  readonly mappings: number;
  readonly mappingsDelta: number;
  readonly after: MappingSizes;
  /** Bytes by which each field changed; fields that did not change are absent. */
  readonly delta: Readonly<Partial<Record<SmapsField, number>>>;
}

export interface ClassChange extends SumsChange {
  readonly class: MappingClass;
  readonly certainty: Certainty;
}

export interface NameChange extends SumsChange {
  readonly class: MappingClass;
  readonly name: string;
}

export interface Dominant {
  readonly class: MappingClass;
  readonly certainty: Certainty;
  /** Growth of the memory that the class holds, in bytes. */
  readonly bytes: number;
  readonly sharePercent: number;
}

export interface MappingGrowth {
  readonly pid: number;
  readonly startTicks: number;
  readonly comm: string;
  readonly podUid: string | undefined;
  readonly containerId: string | undefined;
  readonly runtimes: ProcessMappings["runtimes"];
  /** Between which snapshots: the first and the last that have the process. */
  readonly from: Pick<MappingSnapshot, "index" | "moment" | "elapsedMs">;
  readonly to: Pick<MappingSnapshot, "index" | "moment" | "elapsedMs">;
  readonly totals: SumsChange;
  /** Growth of the memory that the process holds, over all classes: see {@link held}. */
  readonly heldDelta: number;
  /** What changed, by growth of the memory that is held, the largest first. */
  readonly classes: readonly ClassChange[];
  readonly names: readonly NameChange[];
  /** Names that are in one of the two lists only, while the other was cut: whether they grew cannot be told. */
  readonly namesUncertain: number;
  /** The class with at least 80 % of the growth of held memory, if one has it and the growth is at least 1 MiB. */
  readonly dominant: Dominant | undefined;
}

const MIB = 2 ** 20;
/** Of all growth, so that a class may be named as what grows (a share below it is a mixture). */
const DOMINANT_SHARE = 0.8;
/** Processes whose growth is told; a pack cannot have more in one snapshot. */
const MAX_PROCESSES = 256;

interface Seen {
  readonly first: ProcessMappings;
  readonly firstAt: MappingSnapshot;
  last: ProcessMappings;
  lastAt: MappingSnapshot;
}

/** Growth of each process that is in two snapshots or more, the one that grew most first. */
export async function mappingGrowth(
  snapshots: AsyncIterable<MappingSnapshot> | Iterable<MappingSnapshot>,
): Promise<readonly MappingGrowth[]> {
  const seen = new Map<string, Seen>();
  for await (const snapshot of snapshots) {
    for (const process of snapshot.processes) {
      const key = `${process.pid}/${process.startTicks}`;
      const known = seen.get(key);
      if (known === undefined && seen.size < MAX_PROCESSES)
        seen.set(key, { first: process, firstAt: snapshot, last: process, lastAt: snapshot });
      // Of what stands twice or backwards in a pack the first counts.
      else if (known !== undefined && snapshot.index > known.lastAt.index) {
        known.last = process;
        known.lastAt = snapshot;
      }
    }
  }
  return [...seen.values()]
    .filter(({ firstAt, lastAt }) => firstAt !== lastAt)
    .map(({ first, firstAt, last, lastAt }) => compareProcess(first, firstAt, last, lastAt))
    .toSorted((a, b) => b.heldDelta - a.heldDelta || a.pid - b.pid || a.startTicks - b.startTicks);
}

/** What one snapshot and another say of one process. */
export function compareProcess(
  before: ProcessMappings,
  beforeAt: MappingSnapshot,
  after: ProcessMappings,
  afterAt: MappingSnapshot,
): MappingGrowth {
  const { pid, startTicks, comm, podUid, containerId, runtimes } = after;
  const classes = compareRows(before.classes, after.classes, (row) => row.class).map(({ row, change }) => ({
    class: row.class,
    certainty: row.certainty,
    ...change,
  }));
  const cut = before.namesOmitted !== undefined;
  const cutNow = after.namesOmitted !== undefined;
  const named = compareRows(before.names, after.names, (row) => `${row.class} ${row.name}`);
  const certain = named.filter(({ had, has }) => (had || !cut) && (has || !cutNow));
  return {
    pid,
    startTicks,
    comm,
    podUid,
    containerId,
    runtimes,
    from: momentOf(beforeAt),
    to: momentOf(afterAt),
    totals: changeOf(
      { mappings: before.mappings, sizes: before.totals },
      { mappings: after.mappings, sizes: after.totals },
    ),
    heldDelta: classes.reduce((sum, row) => sum + held(row.delta, row.class), 0),
    classes,
    names: certain.map(({ row, change }) => ({ class: row.class, name: row.name, ...change })),
    namesUncertain: named.length - certain.length,
    dominant: dominantOf(classes),
  };
}

/**
 * Memory that the process holds and that can end in a kill, as it grows: private and copied pages, and what of them is swapped out. Shared memory
 * (tmpfs, memfd, System V) has Anonymous 0 and counts by its Pss.
 */
export function held(delta: SumsChange["delta"], kind: MappingClass): number {
  const anonymous = (delta.Anonymous ?? 0) + (delta.Swap ?? 0) + (delta.Private_Hugetlb ?? 0);
  return SHARED.has(kind) ? (delta.Pss ?? 0) + (delta.SwapPss ?? 0) : anonymous;
}

const SHARED: ReadonlySet<MappingClass> = new Set(["Memfd", "Tmpfs", "SysV", "SharedAnonymous"]);

function momentOf({ index, moment, elapsedMs }: MappingSnapshot): MappingGrowth["from"] {
  return { index, moment, elapsedMs };
}

interface Row {
  readonly class: MappingClass;
  readonly mappings: number;
  readonly sizes: MappingSizes;
}

interface Compared<R> {
  readonly row: R;
  readonly change: SumsChange;
  readonly had: boolean;
  readonly has: boolean;
}

/** The rows of both that are not the same, the largest growth first. */
function compareRows<R extends Row>(
  before: readonly R[],
  after: readonly R[],
  keyOf: (row: R) => string,
): Compared<R>[] {
  const old = new Map(before.map((row) => [keyOf(row), row]));
  const now = new Map(after.map((row) => [keyOf(row), row]));
  const rows: Compared<R>[] = [];
  for (const key of new Set([...old.keys(), ...now.keys()])) {
    const had = old.get(key);
    const has = now.get(key);
    const row = has ?? had;
    if (row === undefined) continue;
    const change = changeOf(had, has);
    if (change.mappingsDelta !== 0 || Object.keys(change.delta).length > 0)
      rows.push({ row, change, had: had !== undefined, has: has !== undefined });
  }
  return rows.toSorted(
    (a, b) =>
      held(b.change.delta, b.row.class) - held(a.change.delta, a.row.class) ||
      (b.change.delta.Rss ?? 0) - (a.change.delta.Rss ?? 0) ||
      (keyOf(a.row) < keyOf(b.row) ? -1 : 1),
  );
}

function changeOf(
  before: Pick<Row, "mappings" | "sizes"> | undefined,
  after: Pick<Row, "mappings" | "sizes"> | undefined,
): SumsChange {
  const delta: Partial<Record<SmapsField, number>> = {};
  for (const field of SMAPS_FIELDS) {
    const change = (after?.sizes[field] ?? 0) - (before?.sizes[field] ?? 0);
    if (change !== 0) delta[field] = change;
  }
  const mappings = after?.mappings ?? 0;
  return { mappings, mappingsDelta: mappings - (before?.mappings ?? 0), after: after?.sizes ?? {}, delta };
}

function dominantOf(classes: readonly ClassChange[]): MappingGrowth["dominant"] {
  const grown = classes.map((row) => ({ row, bytes: Math.max(0, held(row.delta, row.class)) }));
  const all = grown.reduce((sum, { bytes }) => sum + bytes, 0);
  const largest = grown.toSorted((a, b) => b.bytes - a.bytes)[0];
  if (largest === undefined || all < MIB || largest.bytes < DOMINANT_SHARE * all) return undefined;
  const { class: kind, certainty } = largest.row;
  return { class: kind, certainty, bytes: largest.bytes, sharePercent: Math.round((100 * largest.bytes) / all) };
}
