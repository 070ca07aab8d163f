/** Which processes of this machine are the largest now? Rss of all is cheap; Pss is read of the largest only, within a budget. */
import { createCostGate, predictRollup } from "../collector/costgate.ts";
import { listFolder } from "../collector/hostfiles.ts";
import { readProcess, readRollup } from "../collector/procfs.ts";
import type { Clock } from "../seams.ts";

export interface Sized {
  readonly pid: number;
  /** Hostile text. */
  readonly comm: string;
  /** All in bytes. */
  readonly rss: number;
  readonly rssAnon: number | undefined;
  readonly swap: number | undefined;
  /** Absent where smaps_rollup could not be read. */
  readonly pss?: number;
  /** Private_Clean + Private_Dirty. */
  readonly uss?: number;
  readonly pssAnon?: number;
}

export interface Crowd {
  /** Largest first, by Pss where it is known. */
  readonly processes: readonly Sized[];
  /** Processes with memory of their own. */
  readonly total: number;
  /** Why some have no Pss. */
  readonly withoutPss?: string;
}

/** For all reads of page tables together, in milliseconds. */
const BUDGET_MS = 1_000;

/**
 * @param meminfo of the machine: where it is nearly out of memory, no page tables are walked
 * @param count how many to list; rollups are read of twice as many, because the order by Pss is another than that by Rss
 */
export async function largestProcesses(
  proc: string,
  count: number,
  meminfo: Readonly<Record<string, number>>,
  clock: Clock,
): Promise<Crowd> {
  const all: (Sized & { readonly startTicks: number; readonly state: string })[] = [];
  for (const name of await listFolder(proc)) {
    if (!/^[1-9]\d{0,9}$/.test(name)) continue;
    const process = await readProcess(proc, Number(name), clock);
    const rss = process?.status["VmRSS"];
    if (process === undefined || rss === undefined) continue;
    const { pid, comm, startTicks, state, status } = process;
    all.push({ pid, comm, startTicks, state, rss, rssAnon: status["RssAnon"], swap: status["VmSwap"] });
  }
  const gate = createCostGate(BUDGET_MS, 0);
  gate.node(meminfo);
  const reasons = new Map<string, number>();
  const sized: Sized[] = [];
  for (const { startTicks, state, ...process } of all.toSorted((a, b) => b.rss - a.rss).slice(0, count * 2)) {
    const identity = `${process.pid}/${startTicks}`;
    const predicted = predictRollup({ rssBytes: process.rss });
    const refusal = gate.refuses({ process: identity, state, predicted, elapsedMs: 0 });
    if (refusal !== undefined) {
      reasons.set(refusal, (reasons.get(refusal) ?? 0) + 1);
      sized.push(process);
      continue;
    }
    const begun = gate.begin(identity, predicted);
    let held: Promise<unknown> | undefined;
    const rollup = await readRollup(proc, { pid: process.pid, startTicks }, clock, (ending) => {
      held = ending;
    });
    if (held === undefined) begun.end(rollup.ms);
    else begun.leave(rollup.ms, held);
    if ("skipped" in rollup) {
      if (rollup.skipped === "Gone") continue;
      reasons.set(rollup.skipped, (reasons.get(rollup.skipped) ?? 0) + 1);
      sized.push(process);
    } else sized.push({ ...process, ...sizesOf(rollup.sizes) });
  }
  const processes = sized.toSorted((a, b) => (b.pss ?? b.rss) - (a.pss ?? a.rss)).slice(0, count);
  return { processes, total: all.length, ...explained(reasons) };
}

function sizesOf(sizes: Readonly<Record<string, number>>): Pick<Sized, "pss" | "uss" | "pssAnon"> {
  const { Pss: pss, Pss_Anon: pssAnon } = sizes;
  const uss = (sizes["Private_Clean"] ?? 0) + (sizes["Private_Dirty"] ?? 0);
  return { ...(pss === undefined ? {} : { pss, uss }), ...(pssAnon === undefined ? {} : { pssAnon }) };
}

function explained(reasons: ReadonlyMap<string, number>): Pick<Crowd, "withoutPss"> {
  const denied = reasons.get("NoPermission") ?? 0;
  const others = [...reasons]
    .filter(([reason]) => reason !== "NoPermission")
    .reduce((sum, [, count]) => sum + count, 0);
  const parts = [
    ...(denied > 0 ? [`Pss of ${denied} may not be read by this user: run as root for it.`] : []),
    ...(others > 0 ? [`Pss of ${others} was left out, because reading it would hold them up for too long.`] : []),
  ];
  return parts.length === 0 ? {} : { withoutPss: parts.join(" ") };
}
