/**
 * What oomscope and people write on a workload: the mark of the newest mitigation, which outlives the investigation that it was for,
 * and the word of its owner that it is to be left alone. Both are other people's text when they are read.
 */
import { MitigationAction } from "../api/mitigation.ts";

/** On a workload: `true`, or a list of actions such as `Rollback,Resize`, that are never taken on it. */
export const OPT_OUT_ANNOTATION = "oomscope.dev/do-not-mitigate";
/** On a workload: the newest mitigation, as JSON. */
export const MITIGATION_ANNOTATION = "oomscope.dev/mitigation";

type Annotations = Readonly<Record<string, string>>;

export interface MitigationMark {
  readonly investigation: string;
  readonly action: MitigationAction;
  /** RFC 3339. */
  readonly time: string;
}

/** Whether the owner has opted out of the action. A value that cannot be read as a list of actions opts out of all. */
export function optedOut(annotations: Annotations, action: MitigationAction): boolean {
  const value = annotations[OPT_OUT_ANNOTATION];
  if (value === undefined || value.trim() === "false") return false;
  const names = value.split(",").map((name) => name.trim());
  const readable = names.every((name) => MitigationAction.safeParse(name).success);
  return !readable || names.includes(action);
}

export function markText(mark: MitigationMark): string {
  return JSON.stringify({ investigation: mark.investigation, action: mark.action, time: mark.time });
}

/** The mark on a workload; undefined where there is none that can be read. */
export function markOf(annotations: Annotations): MitigationMark | undefined {
  const text = annotations[MITIGATION_ANNOTATION];
  if (text === undefined || text.length > 512) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof read !== "object" || read === null) return undefined;
  const { investigation, action, time } = read as Record<string, unknown>;
  const known = MitigationAction.safeParse(action);
  if (typeof investigation !== "string" || typeof time !== "string" || !known.success) return undefined;
  return Number.isNaN(Date.parse(time)) ? undefined : { investigation, action: known.data, time };
}

/** Whether the mark is that of this action of this investigation. */
export function bearsMark(annotations: Annotations, investigation: string, action: MitigationAction): boolean {
  const mark = markOf(annotations);
  return mark?.investigation === investigation && mark.action === action;
}
