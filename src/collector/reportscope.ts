/** Whose OOM reports of the kernel are kept, and how much of them: what a report tells of other tenants is dropped before it is written. */
import type { OomReport } from "../api/collection.ts";
import { podOfPath } from "./podcgroups.ts";

export interface ReportScope {
  /** Whether the victim was one of those measured. */
  owns(report: OomReport): boolean;
  /** A report of ours, without what it tells of others. */
  withoutOthers(report: OomReport): OomReport;
}

/** Ticks of /proc/PID/stat are hundredths of a second on every architecture that Node runs on (USER_HZ). */
const MS_PER_TICK = 10;

export function podsScope(podUids: ReadonlySet<string>): ReportScope {
  return {
    owns: ({ podUid }) => podUid !== undefined && podUids.has(podUid),
    withoutOthers: (report) => {
      const limitOwner = podOfPath(report.oomMemcg ?? "").podUid;
      // In a memcg report the table lists the tasks of the limit that was hit; beyond our pod it is other people's business.
      if (limitOwner === report.podUid) return report;
      const kept = withTasks(report, (pid) => pid === report.victim?.pid);
      if (report.oomMemcg === undefined) return kept;
      return { ...kept, oomMemcg: limitOwner === undefined ? "(outside the pod)" : "(another pod)" };
    },
  };
}

/** One cgroup and everything below it. The limit that was hit may be that of a cgroup above, whose path is the beginning of ours. */
export function cgroupScope(path: string): ReportScope {
  return {
    owns: ({ taskMemcg }) => taskMemcg !== undefined && isWithin(taskMemcg, path),
    withoutOthers: (report) =>
      report.oomMemcg !== undefined && isWithin(report.oomMemcg, path)
        ? report
        : withTasks(report, (pid) => pid === report.victim?.pid),
  };
}

/**
 * Processes by pid and start. The kernel's report tells no start, so one that is older than the process that has the pid now is somebody else's.
 * The two clocks differ by the time that a machine was suspended: there a report may be missed, but none is given to the wrong process.
 */
export function processScope(startTicksOf: (pid: number) => number | undefined): ReportScope {
  return {
    owns: ({ victim, bootMs }) => {
      const start = victim === undefined ? undefined : startTicksOf(victim.pid);
      return start !== undefined && bootMs >= start * MS_PER_TICK;
    },
    withoutOthers: (report) => {
      const kept = withTasks(report, (pid) => startTicksOf(pid) !== undefined);
      return report.tasks.length > 0 && kept.tasksOmitted === 0 ? report : kept;
    },
  };
}

/** Whether a cgroup's path is this one or below it. */
export function isWithin(path: string, above: string): boolean {
  return above === "/" || path === above || path.startsWith(`${above}/`);
}

function withTasks(report: OomReport, isOurs: (pid: number) => boolean): OomReport {
  const tasks = report.tasks.filter((task) => isOurs(task.pid));
  // Who hit the limit may be one of those left out.
  const { invokedBy: _invokedBy, userIp: _userIp, ...rest } = report;
  return { ...rest, tasks, tasksOmitted: report.tasksOmitted + report.tasks.length - tasks.length };
}
