/**
 * The kernel's OOM reports, from the records of its log. The anchor is the `oom-kill:` record (Linux 4.19 on); around it the parser gathers
 * what belongs to the same report and leaves out foreign records in between. Columns of the task table are found by their names. It never
 * throws: what it does not understand is left out.
 */
import type { OomReport, OomReports } from "../api/collection.ts";
import { inNamesOfV2 } from "./cgroup.ts";
import type { KernelRecord } from "./kernellog.ts";
import { podOfPath } from "./podcgroups.ts";
import { parseFlat } from "./procfs.ts";
import type { ReportScope } from "./reportscope.ts";
import { parseCode, type UserCode } from "./userplace.ts";

const KIB = 1024;
/** A report is printed in one go, on a slow console as well; a gap this long between two of its lines begins another. */
const GAP_USEC = 2_000_000;
/** Rows of a table that are kept, the victim's always among them, and rows that are looked at. */
const MAX_TASKS = 512;
const MAX_ROWS = 32_768;
/** Of the plan's targets; of more than these the newest are kept. */
const MAX_REPORTS = 64;
const MAX_NOTES = 32;

type Draft = { -readonly [K in keyof OomReport]: OomReport[K] } & {
  columns?: readonly string[];
  code?: UserCode;
  lastUsec: number | undefined;
};

function draft(usec: number | undefined): Draft {
  return {
    bootMs: (usec ?? 0) / 1000,
    lastUsec: usec,
    global: false,
    group: false,
    stat: {},
    tasks: [],
    tasksOmitted: 0,
  };
}

export interface ReportParser {
  feed(record: KernelRecord): void;
  /** What was found, oldest first. @param bootTimeMs when the machine was started, milliseconds since the epoch */
  finish(bootTimeMs: number | undefined): OomReports;
  /** The code at the user's instruction pointer of a report that was found. It belongs in no pack: it may be data. */
  codeOf(report: OomReport): UserCode | undefined;
}

/**
 * Gathers the reports of this scope from the records it is fed. Reports of anybody else are only counted, and in those that are kept the
 * tasks of anybody else are only counted too. @param pageSize bytes of a page, for the task table
 */
export function createReportParser(pageSize: number, scope: ReportScope): ReportParser {
  const own: OomReport[] = [];
  const codes = new Map<number, UserCode>();
  const notes: string[] = [];
  let othersDropped = 0;
  let older = 0;
  let open: Draft | undefined;
  let done: Draft | undefined;

  function close(): void {
    if (done === undefined) return;
    const report = finish(done);
    if (scope.owns(report)) {
      const kept = scope.withoutOthers(report);
      own.push(kept);
      if (done.code !== undefined && kept.userIp !== undefined) codes.set(kept.bootMs, done.code);
    } else othersDropped += 1;
    if (own.length > MAX_REPORTS) {
      codes.delete(own.shift()?.bootMs ?? 0);
      older += 1;
    }
    done = undefined;
  }

  return {
    feed: ({ usec, text }) => {
      const invoked = /^(.{1,64}?) invoked oom-killer: /s.exec(text);
      if (invoked?.[1] !== undefined) {
        close();
        open = { ...draft(usec), invokedBy: invoked[1] };
        return;
      }
      // Only our own words: whoever may write to the log must not write into a pack.
      const suppressed = /oom_kill_process: (\d{1,9}) callbacks suppressed/.exec(text);
      if (suppressed !== null && notes.length < MAX_NOTES)
        notes.push(`oom_kill_process: ${suppressed[1]} callbacks suppressed`);
      // A name of 15 bytes may hold a newline, but never this much: nobody can forge an anchor.
      const anchor = /^oom-kill:(constraint=CONSTRAINT_.*)$/s.exec(text);
      if (anchor?.[1] !== undefined) {
        close();
        done = anchorOf(open !== undefined && isNear(open, usec) ? open : draft(usec), anchor[1]);
        done.lastUsec = usec;
        if (usec !== undefined) done.anchorMs = usec / 1000;
        open = undefined;
        return;
      }
      if (done !== undefined && isNear(done, usec)) after(done, text);
      if (open !== undefined && isNear(open, usec)) within(open, text, pageSize);
    },
    finish: (bootTimeMs) => {
      close();
      if (older > 0) notes.push(`${older} older reports were left out`);
      return { reports: own.map((report) => dated(report, bootTimeMs)), othersDropped, notes };
    },
    codeOf: (report) => codes.get(report.bootMs),
  };
}

/** Every record between two lines of a report is taken to be near it, so that a slow console does not tear it. */
function isNear(report: Draft, usec: number | undefined): boolean {
  if (report.lastUsec === undefined || usec === undefined) return true;
  if (usec - report.lastUsec > GAP_USEC) return false;
  report.lastUsec = usec;
  return true;
}

/**
 * The kernel prints these fields in this order. No path may hold a comma here: a container can give a cgroup of its own a name that
 * looks like the fields that follow, and the report of such a name is left without an owner rather than given to the wrong one. For the same
 * reason no more than a name, a pid and a uid may follow the last field's name.
 */
const ANCHOR =
  /^constraint=(CONSTRAINT_(?:NONE|CPUSET|MEMORY_POLICY|MEMCG)),nodemask=(?:\(null\)|[0-9,-]{1,200}),cpuset=[^,]{0,255},mems_allowed=[0-9,-]{0,200}(?:(,global_oom)|,oom_memcg=([^,]{0,4096})),task_memcg=([^,]{0,4096}),task=(.{0,96})$/s;
/** May be missing: the kernel cuts a long line, and syslog breaks one at a name's own line end. */
const VICTIM = /^(.{0,64}),pid=(\d{1,10}),uid=(\d{1,10})$/s;

function anchorOf(report: Draft, fields: string): Draft {
  const [, constraint, globally, oomMemcg, taskMemcg, task] = ANCHOR.exec(fields) ?? [];
  if (constraint === undefined || taskMemcg === undefined || task === undefined) return report;
  report.constraint = constraint as NonNullable<OomReport["constraint"]>;
  report.global = globally !== undefined;
  if (oomMemcg !== undefined) report.oomMemcg = oomMemcg;
  report.taskMemcg = taskMemcg;
  // The victim is always below the limit that was hit.
  if (oomMemcg === undefined || oomMemcg === "/" || `${taskMemcg}/`.startsWith(`${oomMemcg}/`))
    Object.assign(report, podOfPath(taskMemcg));
  const [, comm, pid, uid] = VICTIM.exec(task) ?? [];
  if (comm === undefined) return report;
  const row = report.tasks.find((t) => t.pid === Number(pid));
  report.victim = {
    pid: Number(pid),
    comm,
    uid: Number(uid),
    ...(row?.rssAnonBytes === undefined ? {} : { anonRssBytes: row.rssAnonBytes }),
  };
  return report;
}

function within(report: Draft, text: string, pageSize: number): void {
  const usage = /^memory: usage (\d{1,12})kB, limit (\d{1,12})kB, failcnt (\d{1,15})/.exec(text);
  if (usage !== null) {
    report.usageBytes = Number(usage[1]) * KIB;
    report.limitBytes = Number(usage[2]) * KIB;
    report.failcnt = Number(usage[3]);
    return;
  }
  const ip = /^RIP: 0033:(0x[0-9a-f]{1,16})/.exec(text)?.[1];
  if (ip !== undefined) report.userIp = ip;
  const code = report.userIp === undefined ? undefined : parseCode(text, Number(report.userIp));
  if (code !== undefined) report.code ??= code;
  // Some kernels print one statistic in a record, some all of them in one.
  if (/^[a-z_]{1,40} \d/.test(text)) Object.assign(report.stat, parseFlat(text));
  const header = /^\[\s*pid\s*\]\s+(.{1,300})$/.exec(text)?.[1];
  if (header !== undefined) report.columns = header.trim().split(/\s+/);
  else if (report.columns !== undefined) taskRow(report, report.columns, text, pageSize);
}

/** `[ pid ] uid tgid total_vm rss [rss_anon rss_file rss_shmem] pgtables_bytes swapents oom_score_adj name`; the name may hold anything. */
function taskRow(report: Draft, columns: readonly string[], text: string, pageSize: number): void {
  const row = /^\[\s{0,12}(\d{1,10})\]((?:\s{1,20}-?\d{1,15}){1,16}) (.*)$/s.exec(text);
  const cells = row?.[2]?.trim().split(/\s+/) ?? [];
  const nameAt = columns.indexOf("name");
  if (row === null || nameAt < 1) return;
  // A name of digits looks like one more number; the columns tell where the name begins.
  const comm = [...cells.slice(nameAt), row[3]].join(" ");
  const at = (name: string): number | undefined => {
    const index = columns.indexOf(name);
    return index < 0 || index >= nameAt || cells[index] === undefined ? undefined : Number(cells[index]);
  };
  const pages = (name: string): number | undefined => {
    const value = at(name);
    return value === undefined || value < 0 || value * pageSize > Number.MAX_SAFE_INTEGER
      ? undefined
      : value * pageSize;
  };
  const rss = pages("rss");
  if (rss === undefined || cells.length < nameAt) return;
  if (report.tasks.length >= MAX_ROWS) {
    report.tasksOmitted += 1;
    return;
  }
  const [anon, file, shmem, swap] = [pages("rss_anon"), pages("rss_file"), pages("rss_shmem"), pages("swapents")];
  report.tasks.push({
    pid: Number(row[1]),
    comm: comm.slice(0, 64),
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
    /Killed process (\d{1,10}) \((.{0,64})\) total-vm:(\d{1,12})kB, anon-rss:(\d{1,12})kB, file-rss:(\d{1,12})kB, shmem-rss:(\d{1,12})kB(?:, UID:(\d{1,10}) pgtables:(\d{1,12})kB oom_score_adj:(-?\d{1,5}))?/s.exec(
      text,
    );
  if (killed?.[2] === undefined) return;
  report.victim ??= { pid: Number(killed[1]), comm: killed[2] };
  if (Number(killed[1]) !== report.victim.pid) return;
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

function finish({ columns: _columns, lastUsec: _lastUsec, code: _code, ...rest }: Draft): OomReport {
  const tasks = rest.tasks.filter((task, row) => row < MAX_TASKS || task.pid === rest.victim?.pid);
  const tasksOmitted = rest.tasksOmitted + rest.tasks.length - tasks.length;
  return { ...rest, tasks, tasksOmitted, stat: inNamesOfV2(rest.stat) };
}

function dated(report: OomReport, bootTimeMs: number | undefined): OomReport {
  if (bootTimeMs === undefined || report.bootMs === 0) return report;
  return { ...report, time: new Date(bootTimeMs + report.bootMs).toISOString() };
}
