/**
 * What should people have been told of an investigation by now? A pure function of its status: it asks nothing, remembers nothing and may be asked at
 * any time. Each message has an identity, so that whoever sends knows which of them are new.
 */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MitigationRecord } from "../api/mitigation.ts";

export const MESSAGE_KINDS = ["Opened", "Diagnosed", "Proposed", "Done", "Failed", "Ended"] as const;
export type MessageKind = (typeof MESSAGE_KINDS)[number];

export interface Message {
  /** The same for the same state of the same investigation, over restarts: `Proposed:Rollback:3f9c0a1b2c4d`. */
  readonly id: string;
  readonly kind: MessageKind;
  /** When the state was reached, RFC 3339. */
  readonly since: string;
  readonly severity: "info" | "warning";
  /** A few words: which workload, and what. */
  readonly title: string;
  /** What there is to know, with the verdict once there is one. */
  readonly text: string;
  /** What to type next. */
  readonly command: string;
  readonly verdict?: string;
  readonly confidencePercent?: number;
  readonly result?: string;
  readonly about: About;
}

/** Which investigation, of which workload. */
export interface About {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly kind: string;
  readonly workload: string;
}

/** States of a mitigation that somebody should hear of. The others are on their way to one of these. */
const TOLD_STATES: Readonly<Record<string, "Proposed" | "Done" | "Failed">> = {
  Proposed: "Proposed",
  Done: "Done",
  Undone: "Done",
  Reverted: "Failed",
  Failed: "Failed",
};

/** Longest text of a message, in characters. */
const MAX_TEXT = 1500;

/** Every message that the state of the investigation calls for, in the order in which it came to them. */
export function messagesOf(investigation: MemoryInvestigation): Message[] {
  const { status } = investigation;
  if (status === undefined) return [];
  const messages = [opened(investigation), diagnosed(investigation)];
  for (const record of status.mitigations ?? []) messages.push(mitigated(investigation, record));
  messages.push(ended(investigation));
  // Times are written to the second: in one second the order of a life decides, which is the one above.
  return messages
    .filter((message) => message !== undefined)
    .toSorted((a, b) => Date.parse(a.since) - Date.parse(b.since));
}

function opened(investigation: MemoryInvestigation): Message | undefined {
  const { metadata, status = {} } = investigation;
  const since = metadata.creationTimestamp;
  // Before the operator has taken it up there is nothing to tell, and it may never do so.
  if (since === undefined || status.policy === undefined) return undefined;
  const kill = status.kills?.at(-1);
  const because =
    status.killsByPod ??
    (kill === undefined
      ? "It was asked for, without a kill."
      : `${kill.container} of ${kill.pod.name} was killed for memory.`);
  return message(investigation, "Opened", "Opened", since, "is investigated", because);
}

function diagnosed(investigation: MemoryInvestigation): Message | undefined {
  const { finding } = investigation.status ?? {};
  const since = timeOf(investigation, "Diagnosed");
  // That nothing was found is told once, with the end.
  if (finding === undefined || since === undefined || finding.verdict === "Inconclusive") return undefined;
  const name = `Diagnosed:${finding.id}`;
  return message(investigation, "Diagnosed", name, since, `has a diagnosis: ${verdictText(investigation)}`, "");
}

function mitigated(investigation: MemoryInvestigation, record: MitigationRecord): Message | undefined {
  const kind = TOLD_STATES[record.state];
  if (kind === undefined) return undefined;
  const { name, namespace } = aboutOf(investigation);
  const id = `${record.state}:${record.action}:${record.finding}`;
  const title = { Proposed: "waits for approval", Done: "is done", Failed: "did not work" }[kind];
  const approve = `oomscope approve ${name} ${record.action} --finding ${record.finding} -n ${namespace}`;
  return {
    ...message(investigation, kind, id, record.since, `${record.action} ${title}`, record.message),
    ...(kind === "Proposed" ? { command: approve } : {}),
  };
}

function ended(investigation: MemoryInvestigation): Message | undefined {
  const { result, finding, conditions = [], mitigations = [] } = investigation.status ?? {};
  const since = timeOf(investigation, "Succeeded");
  if (result === undefined || since === undefined) return undefined;
  // It has ended only to wait for a person, and that was told with what to type.
  if (result === "Recommended" && mitigations.some(({ state }) => state === "Proposed")) return undefined;
  const kind = result === "Failed" ? "Failed" : "Ended";
  const why = conditions.find(({ type }) => type === "Succeeded")?.message ?? "";
  return message(investigation, kind, `${result}:${finding?.id ?? "none"}`, since, `ended: ${result}`, why);
}

function message(
  investigation: MemoryInvestigation,
  kind: MessageKind,
  id: string,
  since: string,
  title: string,
  text: string,
): Message {
  const { finding, result } = investigation.status ?? {};
  const about = aboutOf(investigation);
  const parts = [text, finding?.summary ?? ""].filter((part) => part !== "");
  return {
    id,
    kind,
    since,
    severity: kind === "Proposed" || kind === "Failed" ? "warning" : "info",
    title: `${about.kind} ${about.namespace}/${about.workload} ${title}`,
    text: clip([...new Set(parts)].join(" ")),
    command: `oomscope show ${about.name} -n ${about.namespace}`,
    ...(finding === undefined ? {} : { verdict: finding.verdict, confidencePercent: finding.confidencePercent }),
    ...(result === undefined ? {} : { result }),
    about,
  };
}

/** The verdict in a few words: `AnonHeapLeak, 93 % sure`. */
export function verdictText({ status }: MemoryInvestigation): string {
  const { finding } = status ?? {};
  return finding === undefined ? "no finding" : `${finding.verdict}, ${finding.confidencePercent} % sure`;
}

export function aboutOf({ metadata, spec }: MemoryInvestigation): About {
  const { namespace = "", name, uid } = metadata;
  return { namespace, name, uid, kind: spec.targetRef.kind, workload: spec.targetRef.name };
}

/** When the fact was last reached, provided that it is one now. */
function timeOf({ status }: MemoryInvestigation, type: "Diagnosed" | "Succeeded"): string | undefined {
  const condition = status?.conditions?.find((entry) => entry.type === type);
  return condition === undefined || condition.status === "Unknown" ? undefined : condition.lastTransitionTime;
}

function clip(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
}
