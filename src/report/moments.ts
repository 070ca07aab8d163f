/** What happened when: kills, restarts, roll-outs and events from every witness in the pack, on the clock of the readings. */
import type { Context, OomReports } from "../api/collection.ts";
import { bytesText, nameText } from "../diagnosis/words.ts";
import type { ContainerReadings, ProcessReadings, Readings } from "./readings.ts";
import { highest } from "./tracks.ts";

export const MARK_KINDS = ["Kill", "Restart", "Rollout", "Event"] as const;

export interface Mark {
  readonly kind: (typeof MARK_KINDS)[number];
  /** Milliseconds since the first sample. */
  readonly time: number;
  readonly text: string;
  /** Who says so. */
  readonly witness: string;
}

/** A page that lists more helps nobody. */
const MAX_MARKS = 300;

export interface Witnesses {
  readonly readings: Readings;
  readonly context: Context | undefined;
  readonly oomReports: OomReports | undefined;
}

/** In the order of time. What has no time, or none that can be compared with the readings, is not there. */
export function marksOf({ readings, context, oomReports }: Witnesses): {
  readonly marks: readonly Mark[];
  readonly omitted: number;
} {
  const fromReports = reportMarks(readings, oomReports);
  const fromContext = contextMarks(readings, context);
  const told = [...fromReports, ...fromContext].filter(({ kind }) => kind === "Kill");
  const marks = [
    ...fromReports,
    ...fromContext,
    ...readings.containers.flatMap((one) => readingMarks(one, told)),
    ...startMarks(readings),
  ]
    .filter(({ time }) => Number.isFinite(time))
    .toSorted((a, b) => a.time - b.time);
  // Kills and restarts stay before events.
  const [grave, rest] = [marks.filter(({ kind }) => kind !== "Event"), marks.filter(({ kind }) => kind === "Event")];
  const kept = new Set([...grave.slice(-MAX_MARKS), ...rest.slice(-Math.max(0, MAX_MARKS - grave.length))]);
  return { marks: marks.filter((mark) => kept.has(mark)), omitted: marks.length - kept.size };
}

function reportMarks({ startMs }: Readings, oomReports: OomReports | undefined): Mark[] {
  return (oomReports?.reports ?? []).flatMap(({ time, victim, limitBytes, global, group }) => {
    const at = Date.parse(time ?? "");
    if (startMs === undefined || !Number.isFinite(at)) return [];
    const who = victim === undefined ? "a process" : `${nameText(victim.comm)} (pid ${victim.pid})`;
    const why = global ? "the machine was out of memory" : limitText(limitBytes);
    const all = group ? ", with all of its cgroup" : "";
    return [{ kind: "Kill", time: at - startMs, text: `Killed ${who}${all}: ${why}`, witness: "kernel log" } as const];
  });
}

function limitText(bytes: number | undefined): string {
  return bytes === undefined ? "a limit was reached" : `the limit of ${bytesText(bytes)} was reached`;
}

function contextMarks({ startMs }: Readings, context: Context | undefined): Mark[] {
  return (context?.timeline ?? []).flatMap(({ time, kind, text, clock }) => {
    if (startMs === undefined || kind === "Metrics" || kind === "Snapshot") return [];
    const shown = kind === "NodeCondition" ? "Event" : kind;
    return [{ kind: shown, time: Date.parse(time) - startMs, text, witness: `Kubernetes (${clock} clock)` }];
  });
}

/** A counter of kills that rose is a kill of its own only where nobody else told of one in that interval. */
function readingMarks({ name, lives, kills }: ContainerReadings, told: readonly Mark[]): Mark[] {
  const who = nameText(name ?? "a container");
  return [
    ...lives.slice(1).map(({ since }): Mark => ({
      kind: "Restart",
      time: since,
      text: `${who} runs again, as another one`,
      witness: "readings",
    })),
    ...kills
      .filter(({ time, before }) => !told.some((kill) => kill.time >= before - 2000 && kill.time <= time + 2000))
      .map(({ time, count }): Mark => ({
        kind: "Kill",
        time,
        text: `oom_kill of ${who} rose by ${count} since the sample before`,
        witness: "readings",
      })),
  ];
}

/** Processes of this many bytes are worth a mark when they begin anew; a shell that runs for a moment is not. */
const LEAST_BYTES = 4 * 2 ** 20;
const MAX_STARTS = 50;

/** A process that begins where another of its name has ended, in a container that goes on. */
function startMarks({ processes, containers }: Readings): Mark[] {
  const begun = ({ container, since }: ProcessReadings): boolean =>
    container.lives.some((life) => life.since === since);
  const anew = (one: ProcessReadings): boolean =>
    processes.some(
      ({ container, comm, until }) => container === one.container && comm === one.comm && until < one.since,
    );
  return containers.flatMap((container) =>
    processes
      .filter((one) => one.container === container && one.since > 0 && highest(one.rss) >= LEAST_BYTES)
      .filter((one) => !begun(one) && anew(one))
      .slice(0, MAX_STARTS)
      .map(({ comm, pid, since }) => ({
        kind: "Restart" as const,
        time: since,
        text: `${nameText(comm)} runs again, as pid ${pid}`,
        witness: "readings",
      })),
  );
}

/** What a lane calls its marks. */
export const MARK_WORDS: Readonly<Record<Mark["kind"], string>> = {
  Kill: "Kills",
  Restart: "Restarts",
  Rollout: "Roll-outs",
  Event: "Events",
};
