/**
 * How is the collection going? Pure: samples in, a picture or a line out. What is shown is a first look; the verdict at the end rests on
 * the whole trend test.
 */
import {
  MEMORY_KINDS,
  type LocalReading,
  type MemoryKind,
  type ProcessReading,
  type Sample,
} from "../api/collection.ts";
import { bytesText, nameText } from "../diagnosis/words.ts";
import { bar, change, clockText, cut, percent, sparkline, table } from "./text.ts";

export interface ProgressPlan {
  readonly title: string;
  readonly expected: number;
  readonly intervalMs: number;
  readonly durationMs: number;
}

export interface Frame {
  readonly columns: number;
  readonly rows: number;
  /** Since the first sample, in milliseconds. */
  readonly elapsedMs: number;
  /** The end was asked for and is on its way. */
  readonly ending: boolean;
}

/** A line of a picture; emphasis is told apart from text so that it can be left out. */
export interface FrameLine {
  readonly text: string;
  readonly style?: "bold" | "dim" | "warning";
}

export interface Progress {
  add(sample: Sample): void;
  /** At most `rows` lines of at most `columns` characters. */
  frame(frame: Frame): FrameLine[];
  /** The newest sample in one line, for output that is no terminal. */
  line(): string;
  /** Samples in a row that had no target. */
  readonly missing: () => number;
}

type Readings = Partial<Record<MemoryKind, number>> & { readonly usage: number | undefined };

interface Tracked {
  readonly pid: number;
  readonly comm: string;
  readonly first: number;
  readonly signal: "Pss_Anon" | "RssAnon";
  readonly last: number;
  readonly at: number;
}

/** Enough for the widest terminal. */
const HISTORY = 240;
const MIB = 2 ** 20;
/** A flat line that wobbles by less is drawn flat. */
const FLAT = MIB / 4;

export function createProgress(plan: ProgressPlan): Progress {
  const history: { readonly seconds: number; readonly readings: Readings }[] = [];
  let first: { readonly seconds: number; readonly readings: Readings } | undefined;
  const available: number[] = [];
  const tracked = new Map<string, Tracked>();
  let life: string | undefined;
  let latest: Sample | undefined;
  let taken = 0;
  let missing = 0;

  function add(sample: Sample): void {
    taken += 1;
    latest = sample;
    push(available, sample.node.meminfo["MemAvailable"] ?? 0);
    const { local } = sample;
    missing = local === undefined ? missing + 1 : 0;
    if (local === undefined) return;
    // Another life begins at nothing: growth is not counted across it.
    if (life !== undefined && life !== local.life) {
      history.length = 0;
      first = undefined;
    }
    life = local.life;
    const entry = { seconds: sample.elapsedMs / 1000, readings: readingsOf(local) };
    first ??= entry;
    push(history, entry);
    const alive = new Set<string>();
    for (const process of local.processes) {
      const key = `${process.pid}/${process.startTicks}`;
      alive.add(key);
      track(key, process, taken);
    }
    for (const key of tracked.keys()) if (!alive.has(key)) tracked.delete(key);
  }

  /** Pss_Anon where it was ever read: a rollup that is not due keeps the last one. */
  function track(key: string, process: ProcessReading, at: number): void {
    const pss = process.rollup?.["Pss_Anon"];
    const before = tracked.get(key);
    const signal = pss !== undefined || before?.signal === "Pss_Anon" ? "Pss_Anon" : "RssAnon";
    const value = signal === "Pss_Anon" ? (pss ?? before?.last ?? 0) : (process.status["RssAnon"] ?? 0);
    const begin = before !== undefined && before.signal === signal ? before.first : value;
    tracked.set(key, { pid: process.pid, comm: process.comm, first: begin, signal, last: value, at });
  }

  function frame({ columns, rows, elapsedMs, ending }: Frame): FrameLine[] {
    // Never the last column: there the cursor waits before the end of the line, and clearing the rest would take the letter.
    const width = Math.max(20, columns) - 1;
    const lines: FrameLine[] = [
      { text: `oomscope collect   ${plan.title}`, style: "bold" },
      { text: progressLine(width, elapsedMs) },
      { text: "" },
      ...kindLines(width),
      { text: "" },
      ...nodeLines(width),
    ];
    const foot: FrameLine[] = [{ text: "" }, footer(ending)];
    // What is left of the screen is for processes; on a small one they go first.
    const room = rows - lines.length - foot.length - 2;
    if (room >= 1) lines.push({ text: "" }, ...processLines(width, Math.min(8, room)));
    return [...lines.slice(0, Math.max(1, rows - foot.length)), ...foot]
      .slice(0, rows)
      .map(({ text, ...style }) => ({ text: cut(text, width), ...style }));
  }

  function progressLine(width: number, elapsedMs: number): string {
    const share = plan.durationMs === 0 ? 1 : Math.min(1, elapsedMs / plan.durationMs);
    const right = ` ${clockText(Math.min(elapsedMs, plan.durationMs))} of ${clockText(plan.durationMs)}   ${taken} of ${plan.expected} samples`;
    return `${bar(share, Math.max(10, Math.min(60, width - right.length)))}${right}`;
  }

  function kindLines(width: number): FrameLine[] {
    const now = history.at(-1);
    if (now === undefined || first === undefined)
      return [{ text: taken === 0 ? "Waiting for the first sample." : "The target is gone.", style: "warning" }];
    const seconds = Math.max(1e-9, now.seconds - first.seconds);
    const rows = (["usage", ...MEMORY_KINDS] as const).flatMap((kind) => {
      const value = now.readings[kind];
      if (value === undefined) return [];
      const grown = value - (first?.readings[kind] ?? value);
      const series = history.map(({ readings }) => readings[kind] ?? 0);
      const rate = history.length < 2 ? "" : `${change(grown / seconds)}/s`;
      return [
        [
          kind,
          bytesText(value),
          change(grown),
          rate,
          sparkline(series, Math.max(8, Math.min(HISTORY, width - 48)), FLAT),
        ],
      ];
    });
    const header = ["", "now", "growth", "per second", ""];
    const [head = "", ...body] = table([header, ...rows], ["<", ">", ">", ">", "<"], 0);
    return [{ text: head, style: "dim" }, ...body.map((text) => ({ text })), ...limitLine(width)];
  }

  function limitLine(width: number): FrameLine[] {
    const { local } = latest ?? {};
    if (local === undefined) return [{ text: "The target is gone.", style: "warning" }];
    const { cgroup } = local;
    if (!isCharged(local))
      return [{ text: "Sums of its processes: the cgroup is not its own, or cannot be read.", style: "dim" }];
    if (cgroup?.limitBytes === undefined) return [{ text: "No memory limit of its own.", style: "dim" }];
    const share = cgroup.usageBytes / cgroup.limitBytes;
    const kills = cgroup.events["oom_kill"] ?? 0;
    const text = `limit ${bytesText(cgroup.limitBytes)} ${bar(share, Math.max(10, Math.min(40, width - 40)))} ${percent(cgroup.usageBytes, cgroup.limitBytes)}   oom_kill ${kills}`;
    return [{ text, ...(share >= 0.9 || kills > 0 ? { style: "warning" as const } : {}) }];
  }

  function nodeLines(width: number): FrameLine[] {
    if (latest === undefined) return [];
    const { meminfo, pressure } = latest.node;
    const [free, total] = [meminfo["MemAvailable"] ?? 0, meminfo["MemTotal"] ?? 0];
    const psi =
      pressure === undefined
        ? "PSI is not told"
        : `PSI some ${pressure.some.avg10.toFixed(1)} % full ${(pressure.full?.avg10 ?? 0).toFixed(1)} %`;
    const text = `machine: MemAvailable ${bytesText(free)} of ${bytesText(total)} (${percent(free, total)})   ${psi}`;
    const room = Math.min(HISTORY, width - text.length - 3);
    return [{ text: room < 8 ? text : `${text}   ${sparkline(available, room, total / 100)}` }];
  }

  function processLines(width: number, room: number): FrameLine[] {
    const all = [...tracked.values()].toSorted((a, b) => b.last - b.first - (a.last - a.first) || b.last - a.last);
    if (all.length === 0) return [];
    const total = all.reduce((sum, { first: from, last }) => sum + Math.max(0, last - from), 0);
    const rows = all
      .slice(0, room)
      .map((one) => [
        String(one.pid),
        nameText(one.comm, 24),
        bytesText(one.last),
        change(one.last - one.first),
        total === 0 ? "" : percent(Math.max(0, one.last - one.first), total),
        one.signal === "Pss_Anon" ? "" : "RssAnon",
      ]);
    const header = ["pid", "process", "Pss_Anon", "growth", "share", ""];
    const [head = "", ...body] = table([header, ...rows], [">", "<", ">", ">", ">", "<"], 0);
    const more = all.length - rows.length;
    return [
      { text: cut(`${head}${more > 0 ? `   and ${more} more` : ""}`, width), style: "dim" },
      ...body.map((text) => ({ text })),
    ];
  }

  return {
    add,
    frame,
    missing: () => missing,
    line: () => {
      const now = history.at(-1);
      const sample = `${taken}/${plan.expected}`;
      if (latest === undefined) return sample;
      const at = `+${clockText(latest.elapsedMs)}`;
      if (latest.local === undefined || now === undefined) return `${sample}  ${at}  the target is gone`;
      const { anon, usage } = now.readings;
      const grown = (anon ?? 0) - (first?.readings.anon ?? anon ?? 0);
      const parts = [
        ...(usage === undefined ? [] : [`usage ${bytesText(usage)}`]),
        ...(anon === undefined ? [] : [`anon ${bytesText(anon)} (${change(grown)})`]),
        `MemAvailable ${bytesText(latest.node.meminfo["MemAvailable"] ?? 0)}`,
        `${latest.local.processes.length} processes`,
      ];
      return `${sample}  ${at}  ${parts.join("  ")}`;
    },
  };
}

function footer(ending: boolean): FrameLine {
  return ending
    ? { text: "Ending: what there is is being kept. Ctrl-C again leaves at once.", style: "warning" }
    : { text: "Ctrl-C ends early and keeps what there is.", style: "dim" };
}

/** Whether the cgroup's numbers are those of the target alone. */
function isCharged({ kind, cgroup, othersInCgroup }: LocalReading): boolean {
  return cgroup !== undefined && (kind === "Cgroup" || othersInCgroup === 0);
}

function readingsOf(local: LocalReading): Readings {
  if (isCharged(local) && local.cgroup !== undefined) return { ...local.cgroup.kinds, usage: local.cgroup.usageBytes };
  const alive = local.processes.filter(({ status }) => status["VmRSS"] !== undefined);
  const sum = (pss: string, rss: string): number =>
    alive.reduce((total, { rollup, status }) => total + (rollup?.[pss] ?? status[rss] ?? 0), 0);
  return {
    usage: sum("Pss", "VmRSS"),
    anon: sum("Pss_Anon", "RssAnon"),
    file: sum("Pss_File", "RssFile"),
    shmem: sum("Pss_Shmem", "RssShmem"),
    swap: alive.reduce((total, { status }) => total + (status["VmSwap"] ?? 0), 0),
  };
}

function push<T>(list: T[], value: T): void {
  list.push(value);
  if (list.length > HISTORY) list.shift();
}
