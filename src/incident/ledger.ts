/**
 * The kill ledger: every kill once, whatever is re-read, re-listed or restarted, and whichever witness tells of it first. It lives in the status of
 * investigations; nothing of it is kept in memory.
 */
import { endId } from "../api/identity.ts";
import {
  MAX_KILLS,
  MAX_LEDGER,
  type Kill,
  type MemoryInvestigation,
  type MemoryInvestigationStatus,
} from "../api/memoryinvestigation.ts";
import {
  incarnationOf,
  inOrder,
  isEnd,
  isSameKill,
  killsOfIncarnation,
  reportFrom,
  reportIdOf,
  sameReport,
  type Report,
} from "./incarnations.ts";

/** What the witnesses say now, for one investigation. */
export interface Witnesses {
  /** Kills that pod status shows and that no investigation has counted; this one shall. */
  readonly joined: readonly Kill[];
  /** All kills that pod status shows, counted or not. */
  readonly shown: readonly Kill[];
  /** The kernel's reports that are this investigation's business. */
  readonly reports: readonly Report[];
}

/** Identities that any of these investigations has counted. */
export function knownKills(investigations: readonly MemoryInvestigation[]): ReadonlySet<string> {
  const known = new Set<string>();
  for (const investigation of investigations) {
    for (const id of investigation.status?.ledger ?? []) known.add(id);
    for (const kill of investigation.status?.kills ?? []) known.add(kill.id);
  }
  return known;
}

/** Whether one of these entries is the kill that pod status shows here, told of by the kernel before pod status did. */
export function toldByKernel(shown: Kill, kills: readonly Kill[]): boolean {
  const incarnation = incarnationOf(shown);
  if (incarnation === undefined) return false;
  const same = kills.filter((kill) => incarnationOf(kill) === incarnation);
  const last = inOrder(same.flatMap((kill) => reportFrom(kill) ?? [])).at(-1);
  return last !== undefined && !same.some(isEnd) && isSameKill(shown, last);
}

/**
 * Counts into a status what the witnesses say. What it knows is left alone. The newest {@link MAX_KILLS} kills stay in full; identities
 * stay up to {@link MAX_LEDGER}, and those of pods that are gone leave first: their kills can never be read again.
 *
 * @param livePods uids of the workload's pods that still exist
 */
export function countKills(
  status: MemoryInvestigationStatus,
  witnesses: Witnesses,
  livePods: ReadonlySet<string>,
): MemoryInvestigationStatus {
  const before = status.kills ?? [];
  const ledger = new Set(status.ledger);
  const loose = witnesses.joined.filter((kill) => incarnationOf(kill) === undefined && !ledger.has(kill.id));
  const told = incarnationsOf(before, ledger, witnesses);
  const all = [
    ...before.filter((kill) => !told.has(incarnationOf(kill) ?? "")),
    ...loose,
    ...[...told.values()].flatMap(({ kills }) => kills),
  ].toSorted((a, b) => a.time.localeCompare(b.time) || a.id.localeCompare(b.id));
  const more = [...told.values()].reduce((sum, { kills, known }) => sum + kills.length - known, 0);
  const killCount = (status.killCount ?? 0) + more + loose.filter((k) => k.classification !== "NotAKill").length;

  const kept = all.slice(-MAX_KILLS);
  const podOf = new Map<string, string>();
  const note = (id: string | undefined, kill: Kill): void => {
    if (id === undefined) return;
    ledger.add(id);
    podOf.set(id, kill.pod.uid);
  };
  for (const kill of all) for (const id of [kill.id, reportIdOf(kill)]) note(id, kill);
  // The kernel's report of an end whose entry is dropped may still come.
  for (const kill of all.slice(0, -MAX_KILLS))
    if (isEnd(kill) && kill.containerId !== undefined) note(endId(kill.pod.uid, kill.containerId), kill);
  if (all.length === 0) return status;
  return {
    ...status,
    kills: kept,
    ledger: trimLedger([...ledger], podOf, livePods),
    killCount,
    killsByPod: sentence(kept, killCount),
  };
}

interface Told {
  readonly kills: readonly Kill[];
  /** How many of them have been counted before. */
  readonly known: number;
}

/** The kills of every incarnation that a witness speaks of now. */
function incarnationsOf(
  before: readonly Kill[],
  ledger: ReadonlySet<string>,
  { joined, shown, reports }: Witnesses,
): Map<string, Told> {
  const mine = groups(before, incarnationOf);
  const late = shown.filter((kill) => toldByKernel(kill, mine.get(incarnationOf(kill) ?? "") ?? []));
  const ends = new Map<string, Kill>();
  for (const kill of [...late, ...joined]) {
    const incarnation = incarnationOf(kill);
    if (incarnation !== undefined && !ledger.has(kill.id)) ends.set(incarnation, kill);
  }
  const batches = groups(reports, ({ kill }) => incarnationOf(kill));
  const told = new Map<string, Told>();
  for (const incarnation of new Set([...ends.keys(), ...batches.keys()])) {
    const known = mine.get(incarnation) ?? [];
    const merged = new Map<string, Report>();
    for (const report of known.flatMap((kill) => reportFrom(kill) ?? [])) merged.set(report.id, report);
    for (const report of batches.get(incarnation) ?? []) {
      const entry = merged.get(report.id);
      // One that is in the ledger and has no entry was counted, and its entry was dropped.
      if (entry !== undefined) merged.set(report.id, sameReport(entry, report));
      else if (!ledger.has(report.id)) merged.set(report.id, report);
    }
    const end = known.find(isEnd) ?? ends.get(incarnation);
    told.set(incarnation, { kills: killsOfIncarnation(end, merged.values()), known: known.length });
  }
  return told;
}

function groups<T>(items: readonly T[], keyOf: (item: T) => string | undefined): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    if (key === undefined) continue;
    const group = found.get(key);
    if (group === undefined) found.set(key, [item]);
    else group.push(item);
  }
  return found;
}

/**
 * Kills that a status lists and the one before it had not counted. An entry that the kernel made, and that pod status has told of since, has another
 * identity and is the same kill.
 */
export function freshKills(before: readonly Kill[] = [], after: readonly Kill[] = []): Kill[] {
  const ids = new Set(before.map((kill) => kill.id));
  const left = new Set(ids);
  for (const { id } of after) left.delete(id);
  return after.filter((kill) => !ids.has(kill.id) && !left.delete(reportIdOf(kill) ?? ""));
}

function trimLedger(ids: string[], podOf: ReadonlyMap<string, string>, livePods: ReadonlySet<string>): string[] {
  if (ids.length <= MAX_LEDGER) return ids;
  const dead = new Set(ids.filter((id) => !livePods.has(podOf.get(id) ?? "")));
  let excess = ids.length - MAX_LEDGER;
  const kept = ids.filter((id) => {
    if (excess === 0 || !dead.has(id)) return true;
    excess -= 1;
    return false;
  });
  return kept.slice(-MAX_LEDGER);
}

function sentence(kills: readonly Kill[], total: number): string {
  const pods = new Set(kills.map((kill) => kill.pod.uid)).size;
  const nodes = new Set(kills.map((kill) => kill.node ?? "")).size;
  const of = total > kills.length ? `; the newest ${kills.length} are listed` : "";
  return `${total} ${total === 1 ? "kill" : "kills"} in ${pods} ${pods === 1 ? "pod" : "pods"} on ${nodes} ${nodes === 1 ? "node" : "nodes"}${of}`;
}
