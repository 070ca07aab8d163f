/**
 * The kernel's OOM reports, from the records of its log. The anchor is the `oom-kill:` record (Linux 4.19 on); around it the parser gathers
 * what belongs to the same report and leaves out foreign records in between. Columns of the task table are found by their names. It never
 * throws: what it does not understand is left out.
 */
import type { OomReport } from "../api/collection.ts";
import { inNamesOfV2 } from "./cgroup.ts";
import { podOfPath } from "./podcgroups.ts";

export interface KernelRecord {
  /** Microseconds after boot; undefined where the log has no times. */
  readonly usec: number | undefined;
  readonly text: string;
}

const MAX_RECORDS = 200_000;
const KIB = 1024;
/** A report is printed in one go; a gap this long begins another. */
const REPORT_SPAN_USEC = 2_000_000;
const MAX_TASKS = 64;

/** `prio,seq,usec,flags;text` records of /dev/kmsg (Documentation/ABI/testing/dev-kmsg); continuation lines begin with a space. */
export function parseKmsg(text: string): KernelRecord[] {
  const records: KernelRecord[] = [];
  for (const line of text.split("\n")) {
    if (records.length >= MAX_RECORDS) break;
    const match = /^\d+,\d+,(\d+),[^;]*;(.*)$/.exec(line);
    // One record may hold several lines: v2's memory statistics do on some kernels.
    if (match?.[2] !== undefined)
      for (const part of match[2].split("\\x0a")) records.push({ usec: Number(match[1]), text: part });
  }
  return records;
}

/** `<prio>[ seconds.micros] text` lines of the syslog system call, as `dmesg --raw` prints them. */
export function parseSyslog(text: string): KernelRecord[] {
  const records: KernelRecord[] = [];
  for (const line of text.split("\n")) {
    if (records.length >= MAX_RECORDS) break;
    const match = /^<\d+>(?:\[\s*(\d+)\.(\d{6})\]\s?(?:\[\s*[TC]\d+\]\s?)?)?(.*)$/.exec(line);
    if (match?.[3] !== undefined) {
      const usec = match[1] === undefined ? undefined : Number(match[1]) * 1_000_000 + Number(match[2]);
      records.push({ usec, text: match[3] });
    } else if (line !== "") records.push({ usec: records.at(-1)?.usec, text: line });
  }
  return records;
}

type Draft = { -readonly [K in keyof OomReport]: OomReport[K] } & {
  columns?: readonly string[];
  startUsec: number | undefined;
};

function draft(usec: number | undefined): Draft {
  return {
    bootMs: (usec ?? 0) / 1000,
    startUsec: usec,
    global: false,
    group: false,
    stat: {},
    tasks: [],
    tasksOmitted: 0,
  };
}

export interface ParsedReports {
  readonly reports: readonly OomReport[];
  readonly notes: readonly string[];
}

/** All OOM reports in the records, oldest first. @param pageSize bytes of a page, for the task table */
export function parseOomReports(
  records: readonly KernelRecord[],
  pageSize: number,
  bootTimeMs: number | undefined,
): ParsedReports {
  const reports: OomReport[] = [];
  const notes: string[] = [];
  let open: Draft | undefined;
  let done: Draft | undefined;

  for (const { usec, text } of records) {
    const invoked = /^(.{1,64}?) invoked oom-killer: /.exec(text);
    if (invoked?.[1] !== undefined) {
      open = { ...draft(usec), invokedBy: invoked[1] };
      done = undefined;
      continue;
    }
    if (/oom_kill_process: \d+ callbacks suppressed/.test(text)) notes.push(text.slice(0, 120));
    const anchor = /^oom-kill:(.*)$/.exec(text);
    if (anchor?.[1] !== undefined) {
      done = anchorOf(open ?? draft(usec), anchor[1]);
      reports.push(done);
      open = undefined;
      continue;
    }
    if (done !== undefined && isNear(done, usec)) after(done, text);
    if (open !== undefined && isNear(open, usec)) within(open, text, pageSize);
  }
  return { reports: reports.map((report) => finish(report as Draft, bootTimeMs)), notes };
}

function isNear(report: Draft, usec: number | undefined): boolean {
  return report.startUsec === undefined || usec === undefined || usec - report.startUsec <= REPORT_SPAN_USEC;
}

/** `constraint=…,nodemask=…,cpuset=…,mems_allowed=…[,global_oom][,oom_memcg=…],task_memcg=…,task=comm,pid=…,uid=…`; comm may hold commas. */
function anchorOf(report: Draft, fields: string): Draft {
  const constraint = /^constraint=(CONSTRAINT_(?:NONE|CPUSET|MEMORY_POLICY|MEMCG))\b/.exec(
    fields,
  )?.[1] as OomReport["constraint"];
  const victim = /,task=(.*),pid=(\d+),uid=(\d+)$/.exec(fields);
  const oomMemcg = /,oom_memcg=([^,]*),task_memcg=/.exec(fields)?.[1];
  const taskMemcg = /,task_memcg=([^,]*),task=/.exec(fields)?.[1];
  if (constraint !== undefined) report.constraint = constraint;
  if (oomMemcg !== undefined) report.oomMemcg = oomMemcg;
  if (taskMemcg !== undefined) {
    report.taskMemcg = taskMemcg;
    Object.assign(report, podOfPath(taskMemcg));
  }
  report.global = /,global_oom,/.test(fields);
  if (victim?.[1] !== undefined) {
    const pid = Number(victim[2]);
    const task = report.tasks.find((t) => t.pid === pid);
    report.victim = {
      pid,
      comm: victim[1].slice(0, 64),
      uid: Number(victim[3]),
      ...(task?.rssAnonBytes === undefined ? {} : { anonRssBytes: task.rssAnonBytes }),
    };
  }
  return report;
}

function within(report: Draft, text: string, pageSize: number): void {
  const usage = /^memory: usage (\d+)kB, limit (\d+)kB, failcnt (\d+)/.exec(text);
  if (usage !== null) {
    report.usageBytes = Number(usage[1]) * KIB;
    report.limitBytes = Number(usage[2]) * KIB;
    report.failcnt = Number(usage[3]);
    return;
  }
  const ip = /^RIP: 0033:(0x[0-9a-f]{1,16})/.exec(text)?.[1];
  if (ip !== undefined) report.userIp = ip;
  const stat = /^([a-z_]{1,40}) (\d{1,18})$/.exec(text);
  if (stat?.[1] !== undefined && Object.keys(report.stat).length < 128) report.stat[stat[1]] = Number(stat[2]);
  const header = /^\[\s*pid\s*\]\s+(.*)$/.exec(text)?.[1];
  if (header !== undefined) report.columns = header.trim().split(/\s+/);
  else if (report.columns !== undefined) taskRow(report, report.columns, text, pageSize);
}

/** `[ pid ] uid tgid total_vm rss [rss_anon rss_file rss_shmem] pgtables_bytes swapents oom_score_adj name`; the name may hold spaces. */
function taskRow(report: Draft, columns: readonly string[], text: string, pageSize: number): void {
  const row = /^\[\s*(\d+)\]\s+(.*)$/.exec(text);
  if (row?.[2] === undefined) return;
  const cells = row[2].trim().split(/\s+/);
  const at = (name: string): number | undefined => {
    const index = columns.indexOf(name);
    const value = Number(cells[index]);
    return index < 0 || !Number.isSafeInteger(value) ? undefined : value;
  };
  const pages = (name: string): number | undefined => {
    const value = at(name);
    return value === undefined ? undefined : value * pageSize;
  };
  const rss = pages("rss");
  const nameAt = columns.indexOf("name");
  if (rss === undefined || nameAt < 0) return;
  if (report.tasks.length >= MAX_TASKS) {
    report.tasksOmitted += 1;
    return;
  }
  const [anon, file, shmem, swap] = [pages("rss_anon"), pages("rss_file"), pages("rss_shmem"), pages("swapents")];
  report.tasks.push({
    pid: Number(row[1]),
    comm: cells.slice(nameAt).join(" ").slice(0, 64),
    rssBytes: rss,
    ...(anon === undefined ? {} : { rssAnonBytes: anon }),
    ...(file === undefined ? {} : { rssFileBytes: file }),
    ...(shmem === undefined ? {} : { rssShmemBytes: shmem }),
    pgtablesBytes: at("pgtables_bytes") ?? 0,
    ...(swap === undefined ? {} : { swapBytes: swap }),
    oomScoreAdj: at("oom_score_adj") ?? 0,
  });
}

/** The line that says what was killed comes after the anchor, or not at all when it is rate-limited. */
function after(report: Draft, text: string): void {
  if (/^Tasks in .* are going to be killed due to memory\.oom\.group set/.test(text)) report.group = true;
  const killed =
    /Killed process (\d+) \((.*)\) total-vm:(\d+)kB, anon-rss:(\d+)kB, file-rss:(\d+)kB, shmem-rss:(\d+)kB(?:, UID:(\d+) pgtables:(\d+)kB oom_score_adj:(-?\d+))?/.exec(
      text,
    );
  if (killed === null || report.victim === undefined || Number(killed[1]) !== report.victim.pid) return;
  const kb = (index: number): number => Number(killed[index]) * KIB;
  report.victim = {
    ...report.victim,
    totalVmBytes: kb(3),
    anonRssBytes: kb(4),
    fileRssBytes: kb(5),
    shmemRssBytes: kb(6),
    ...(killed[8] === undefined ? {} : { pgtablesBytes: kb(8), oomScoreAdj: Number(killed[9]) }),
  };
}

function finish(
  { columns: _columns, startUsec: _startUsec, ...rest }: Draft,
  bootTimeMs: number | undefined,
): OomReport {
  const report: OomReport = { ...rest, stat: inNamesOfV2(rest.stat) };
  if (bootTimeMs === undefined || report.bootMs === 0) return report;
  return { ...report, time: new Date(bootTimeMs + report.bootMs).toISOString() };
}

/**
 * The reports that a pack may hold: those of its own pods. In each, tasks of anybody else are dropped and counted; the rest are only counted.
 */
export function ownReports(
  parsed: ParsedReports,
  podUids: ReadonlySet<string>,
): { readonly reports: OomReport[]; readonly othersDropped: number } {
  const own = parsed.reports.filter((report) => report.podUid !== undefined && podUids.has(report.podUid));
  return {
    reports: own.map((report) => {
      // In a memcg report the table lists the tasks of the limit that was hit; beyond our pod it is other people's business.
      const mine = podOfPath(report.oomMemcg ?? "").podUid === report.podUid;
      const tasks = mine ? report.tasks : report.tasks.filter((task) => task.pid === report.victim?.pid);
      const { invokedBy, ...rest } = report;
      return {
        ...rest,
        ...(mine && invokedBy !== undefined ? { invokedBy } : {}),
        ...(mine
          ? {}
          : {
              oomMemcg: podOfPath(report.oomMemcg ?? "").podUid === undefined ? "(outside the pod)" : "(another pod)",
            }),
        tasks,
        tasksOmitted: report.tasksOmitted + report.tasks.length - tasks.length,
      };
    }),
    othersDropped: parsed.reports.length - own.length,
  };
}
