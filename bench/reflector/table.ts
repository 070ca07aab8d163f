/** How are the results shown? As a Markdown table with what ours costs as a part of each other's. */
import type { Cost } from "./candidate.ts";

export interface Result {
  readonly name: string;
  /** When its code was loaded. */
  readonly start: Cost;
  /** When the list was complete. */
  readonly list: Cost;
  /** The moment before the first change. */
  readonly idle: Cost;
  readonly end: Cost;
  readonly listSeconds: number;
  /** Changes it told of. */
  readonly changes: number;
  readonly digest: string;
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

function seconds(value: number): string {
  return value.toFixed(2);
}

function changesCpu({ end, idle }: Result): number {
  return end.cpuSeconds - idle.cpuSeconds;
}

function share(ours: number, theirs: number): string {
  return theirs === 0 ? "-" : (ours / theirs).toFixed(2);
}

const HEAD = [
  "candidate",
  "loaded: RSS MB",
  "list: s",
  "list: CPU s",
  "list: peak RSS MB",
  "changes: CPU s",
  "peak RSS MB",
  "RSS at the end MB",
  "ours/its list CPU",
  "ours/its changes CPU",
  "ours/its peak RSS",
];

/** CPU of the list includes the start of the process. MB are 10^6 bytes. */
export function markdownTable(results: readonly Result[]): string {
  const ours = results.find(({ name }) => name.startsWith("ours"));
  const rows = results.map((result) => {
    const { name, start, list, end, listSeconds } = result;
    const shares =
      ours === undefined
        ? ["-", "-", "-"]
        : [
            share(ours.list.cpuSeconds, list.cpuSeconds),
            share(changesCpu(ours), changesCpu(result)),
            share(ours.end.peakBytes, end.peakBytes),
          ];
    return [
      name,
      mb(start.rssBytes),
      listSeconds.toFixed(1),
      seconds(list.cpuSeconds),
      mb(list.peakBytes),
      seconds(changesCpu(result)),
      mb(end.peakBytes),
      mb(end.rssBytes),
      ...shares,
    ];
  });
  return [HEAD, HEAD.map((_, column) => (column === 0 ? "---" : "---:")), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}
