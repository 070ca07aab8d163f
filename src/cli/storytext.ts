/** One investigation as a story in a terminal: where it stands, what happened, what it is, what was done, what to do next. All of it is from its status. */
import { ADVICE } from "../api/advice.ts";
import type { Kill, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MitigationRecord, ValueChange } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import { bytesText } from "../diagnosis/words.ts";
import { wrap } from "./arguments.ts";
import { findingText } from "./findingtext.ts";
import { ageText } from "./listtext.ts";
import { shown, table } from "./text.ts";
import { validationLines } from "./validationtext.ts";

/** Kills that are shown; the count is that of all. */
const MAX_KILLS_SHOWN = 8;
/** Longest text of a field: an action's patch is longer, and not shown. */
const MAX_TEXT = 2048;

/** @param width columns to which sentences are broken; commands stay whole, to be copied */
export function storyText(investigation: MemoryInvestigation, width: number, now: Date): string {
  const story = printable(investigation);
  const { status = {} } = story;
  const lines = [
    ...headLines(story, width, now),
    ...timelineLines(story, width),
    ...killLines(status.kills ?? [], status.killCount ?? 0),
    ...preservedLines(story, width, now),
    ...collectionLines(story, width),
  ];
  if (status.finding !== undefined)
    lines.push("", `Finding ${status.finding.id}`, ...findingLines(findingText(status.finding, width - 2)));
  for (const record of status.mitigations ?? []) lines.push("", ...mitigationLines(record, width));
  if (status.validation !== undefined) lines.push("", ...validationLines(status.validation, width));
  lines.push("", "What to do next");
  for (const step of nextSteps(story)) lines.push(...bullet(step, width));
  return `${lines.join("\n")}\n`;
}

/** Whatever wrote the object: nothing in it can control the terminal. */
function printable<T>(value: T): T {
  if (typeof value === "string") return shown(value, MAX_TEXT) as T;
  if (Array.isArray(value)) return value.map((entry: unknown) => printable(entry)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, printable(entry as unknown)])) as T;
}

function headLines({ metadata, spec, status = {} }: MemoryInvestigation, width: number, now: Date): string[] {
  const { targetRef, container } = spec;
  const { policy, evidence } = status;
  const succeeded = status.conditions?.find(({ type }) => type === "Succeeded");
  const opened = metadata.creationTimestamp;
  const because = metadata.annotations?.["oomscope.dev/opened-because"] ?? "by hand";
  const facts: (readonly [string, string])[] = [
    ["target", `${targetRef.kind} ${targetRef.name}${container === undefined ? "" : `, container ${container}`}`],
    ["opened", opened === undefined ? because : `${timeText(opened)} (${age(opened, now)} ago), ${because}`],
    ["policy", policy === undefined ? "none yet" : `${policy.kind} ${policy.name}, mode ${policy.mode}`],
    ["kills", status.killsByPod ?? String(status.killCount ?? 0)],
    ["stage", status.stage ?? "not seen by the operator yet"],
    ["result", resultText(status.result, succeeded)],
  ];
  if (evidence !== undefined)
    facts.push(["evidence", `${evidence.location}, ${evidence.parts} parts, ${bytesText(evidence.bytes)}`]);
  return [
    `${metadata.name} in namespace ${metadata.namespace ?? "?"}`,
    ...facts.flatMap(([name, text]) => hanging(`  ${name.padEnd(8)}  `, text, width)),
  ];
}

function resultText(
  result: string | undefined,
  succeeded: { readonly reason: string; readonly message: string } | undefined,
): string {
  const why = succeeded === undefined ? "" : `${succeeded.reason}: ${succeeded.message}`;
  if (result === undefined) return why === "" ? "none yet" : `none yet (${why})`;
  return why === "" ? result : `${result} (${why})`;
}

function timelineLines({ status = {} }: MemoryInvestigation, width: number): string[] {
  const { timeline = [] } = status;
  if (timeline.length === 0) return [];
  const named = Math.max(...timeline.map(({ event }) => event.length));
  return [
    "",
    "Timeline",
    ...timeline.flatMap(({ time, event, message }) =>
      hanging(`  ${timeText(time)}  ${event.padEnd(named)}  `, message, width),
    ),
  ];
}

function killLines(kills: readonly Kill[], count: number): string[] {
  if (kills.length === 0) return [];
  const newest = kills.toSorted((a, b) => Date.parse(a.time) - Date.parse(b.time)).slice(-MAX_KILLS_SHOWN);
  const rows = newest.map((kill) => [
    timeText(kill.time),
    kill.classification,
    `${kill.pod.name}${kill.container === undefined ? "" : `/${kill.container}`}`,
    kill.limitBytes === undefined ? "none" : bytesText(kill.limitBytes),
    kill.exitCode === undefined ? "" : String(kill.exitCode),
    kill.victim === undefined ? "" : `${kill.victim.comm} (pid ${kill.victim.pid})`,
    kill.sources.join(", "),
  ]);
  const head = ["time", "kind", "pod/container", "limit", "exit", "process", "seen by"];
  const title = count > newest.length ? `Kills, the newest ${newest.length} of ${count}` : "Kills";
  return ["", title, ...table([head, ...rows], ["<", "<", "<", ">", ">", "<", "<"])];
}

function preservedLines({ status = {} }: MemoryInvestigation, width: number, now: Date): string[] {
  const { preserved } = status;
  if (preserved === undefined) return [];
  const { pod, node, how, state, until, why, cannotShow } = preserved;
  const ends =
    state === "Preserved" && until !== undefined
      ? `, until ${timeText(until)} (in ${ageText(Date.parse(until) - now.getTime())})`
      : "";
  return [
    "",
    "Kept pod",
    ...hanging("  ", `${pod}${node === undefined ? "" : ` on ${node}`}: ${state}, ${how}${ends}`, width),
    ...hanging("  ", why, width),
    ...(cannotShow === undefined ? [] : hanging("  ", `What it cannot show: ${cannotShow}`, width)),
  ];
}

function collectionLines({ status = {} }: MemoryInvestigation, width: number): string[] {
  const { collections = [] } = status;
  if (collections.length === 0) return [];
  return [
    "",
    "Collections",
    ...collections.flatMap(({ id, node, state, samples = 0, samplesExpected = 0, message }) => {
      const counted = samplesExpected === 0 ? "" : `, ${samples} of ${samplesExpected} samples`;
      return hanging("  ", `${id} on ${node}: ${state}${counted}${message === undefined ? "" : `. ${message}`}`, width);
    }),
  ];
}

function findingLines(text: string): string[] {
  const lines = text.trimEnd().split("\n");
  return lines.map((line) => (line === "" ? "" : `  ${line}`));
}

function mitigationLines(record: MitigationRecord, width: number): string[] {
  const { action, state, reason, message, why, approvedBy, before, after, command, undoCommand, undo } = record;
  const leave = approvedBy === undefined ? "" : `, approved by ${approvedBy === "Policy" ? "the policy" : "a person"}`;
  const lines = [`${action}: ${state} (${reason})${leave}`, ...hanging("  ", message, width)];
  if (why !== undefined) lines.push(...hanging("  ", why, width));
  if (before !== undefined && after !== undefined)
    lines.push(...hanging("  ", `from ${templateText(before)} to ${templateText(after)}`, width));
  for (const change of (record.changes ?? []).slice(0, MAX_CHANGES_TOLD))
    lines.push(...hanging("  ", changeText(change), width));
  if (undo !== undefined)
    lines.push(...hanging("  ", `put back: ${undo.state} (${undo.reason}): ${undo.message}`, width));
  if (command !== undefined) lines.push("  by hand:", `    ${command}`);
  if (undoCommand !== undefined) lines.push("  to take it back:", `    ${undoCommand}`);
  return lines;
}

function templateText({ revision, number, images }: NonNullable<MitigationRecord["before"]>): string {
  const counted = number === undefined ? "" : ` (revision ${number})`;
  return `${revision ?? "a new template"}${counted} with ${images.join(", ")}`;
}

const MAX_CHANGES_TOLD = 8;

function changeText({ kind, name, container, field, before, after }: ValueChange): string {
  const where = container === undefined ? `${kind} ${name}` : `${kind} ${name}, container ${container}`;
  return `${field} of ${where}: from ${before ?? "nothing"} to ${after ?? "nothing"}`;
}

/**
 * What a person can do now, the most urgent first. A line that begins with `$ ` is a command.
 * @returns at least one
 */
export function nextSteps(investigation: MemoryInvestigation): string[] {
  const { metadata, spec, status = {} } = investigation;
  const { result, conditions = [], preserved, mitigations = [], finding } = status;
  const at = `${metadata.name} -n ${metadata.namespace ?? "default"}`;
  const steps: string[] = [];
  const advise = (reason: string | undefined): void => {
    const advice = adviceFor(reason);
    if (advice !== undefined && !steps.includes(advice)) steps.push(advice);
  };
  const of = (type: string): (typeof conditions)[number] | undefined => conditions.find((one) => one.type === type);
  if (spec.suspend) advise("Suspended");
  if (of("Stalled")?.status === "True") advise(of("Stalled")?.reason);
  for (const { state, action } of mitigations)
    if (state === "Proposed")
      steps.push(
        `${action} waits for a person. To let it happen, for this finding and no other:`,
        `$ oomscope approve ${at} ${action} --finding ${finding?.id ?? "ID"}`,
      );
  const mitigated = of("Mitigated");
  if (mitigated !== undefined && mitigated.reason !== "AwaitingApproval") advise(mitigated.reason);
  const validated = of("Validated");
  if (validated?.status === "Unknown" && mitigated?.status === "True") advise(validated.reason);
  if (preserved?.state === "Preserved")
    steps.push(
      `Pod ${preserved.pod} is kept for you to look into. When you are done, give it back:`,
      `$ oomscope release ${at}`,
    );
  if (result === undefined && !spec.suspend) {
    steps.push("It has not ended yet. To wait for its end:");
    steps.push(`$ kubectl wait --for=condition=Succeeded memi/${at} --timeout=15m`);
  }
  if (result === "Failed" || result === "Inconclusive") advise(of("Succeeded")?.reason);
  return steps.length === 0 ? ["Nothing more; what the finding says is above."] : steps;
}

function adviceFor(reason: string | undefined): string | undefined {
  const known = reason !== undefined && Object.hasOwn(ADVICE, reason) ? ADVICE[reason as Reason].advice : undefined;
  return known === "Nothing." ? undefined : known;
}

function bullet(step: string, width: number): string[] {
  if (step.startsWith("$ ")) return [`      ${step.slice(2)}`];
  const [first = "", ...rest] = wrap(step, width - 4);
  return [`  - ${first}`, ...rest.map((line) => `    ${line}`)];
}

/** Text behind a lead, its further lines below its first. */
function hanging(lead: string, text: string, width: number): string[] {
  const [first = "", ...rest] = wrap(text, Math.max(24, width - lead.length));
  return [`${lead}${first}`.trimEnd(), ...rest.map((line) => `${" ".repeat(lead.length)}${line}`)];
}

/** `2026-11-29 02:03:15Z`; what is no time as it is. */
function timeText(time: string): string {
  const at = Date.parse(time);
  return Number.isFinite(at) ? `${new Date(at).toISOString().slice(0, 19).replace("T", " ")}Z` : time;
}

function age(time: string, now: Date): string {
  return ageText(now.getTime() - Date.parse(time));
}
