/**
 * Did the mitigation help? After it was seen complete the workload is watched for a window: a kill of a new pod fails it at once, and a second collection
 * is compared with the first. The window is in status from its first pass on, so that no restart and no change of the policy moves it.
 */
import { durationMs } from "../api/fields.ts";
import type { Collection, Condition, Kill, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { CheckResult, MitigationRecord } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { ComparisonQuestion, Validation, ValidationCheck } from "../api/validation.ts";
import type { Action, Notice } from "./actions.ts";
import { lastAttempt, planCollecting, stopCollecting, type CollectingStep, type Errand } from "./collecting.ts";
import { clip, timeText } from "./conditions.ts";
import type { EffectivePolicy, Observation, PodView } from "./observation.ts";
import { PRESERVED_LABEL } from "./preservation.ts";
import { remedyOf } from "./remedies/remedies.ts";
import { revisionOf } from "./revisions.ts";

/** New pods warm up before they are measured: for a sixth of the window, at most five minutes. */
const SETTLE = { share: 1 / 6, mostMs: 5 * 60_000 } as const;
/** Samples are taken for at least this long: below a minute nothing can be said about a trend. */
const LEAST_MS = 75_000;
/** As often as a policy lets a collection sample; and enough samples for a trend that is no longer provisional. */
const SAMPLING = { leastIntervalMs: 5_000, samples: 24 } as const;
/** Measured at once, on one node. */
const MAX_PODS = 3;
/** How often the workload is looked at beside what the watches tell. */
const WATCH_MS = 30_000;
/** How soon the comparison is asked for again. */
const COMPARING_MS = 1_000;

/** By the workload's own doing. The node's lack of memory, and a death that nobody explains, prove nothing about the new pods. */
const OWN: ReadonlySet<Kill["classification"]> = new Set(["ContainerKilled", "ChildKilled", "PodLimit"]);

interface Course {
  readonly seen: Observation;
  readonly investigation: MemoryInvestigation;
  /** The mitigation, as it was seen complete. */
  readonly record: MitigationRecord;
  readonly now: Date;
}

export interface ValidationStep {
  /** Undefined: nobody looks. */
  readonly validation: Validation | undefined;
  readonly collections: readonly Collection[];
  readonly fact: { readonly status: Condition["status"]; readonly reason: Reason; readonly message: string };
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  readonly againMs?: number;
  readonly outcome: "Working" | CheckResult;
}

/** A mitigation has been seen complete, and whether it helped is still being found out. */
export function validating({ status }: MemoryInvestigation): boolean {
  const { validation, result, mitigations = [] } = status ?? {};
  if (validation === undefined || result !== undefined) return false;
  return mitigations.some(({ action, validated }) => action === validation.action && validated === undefined);
}

/**
 * What follows when a mitigation did not help, by the policy as it stands when that is decided.
 * @param policy undefined while there is none that can be used
 */
export function afterFailure(policy: EffectivePolicy | undefined): EffectivePolicy["spec"]["validate"]["onFailure"] {
  // In mode Observe nothing is touched, not even to put it back.
  return policy === undefined || policy.mode === "Observe" ? "Stop" : policy.spec.validate.onFailure;
}

/** What is compared for it, once the second collection is over; from status alone. */
export function comparisonOf(investigation: MemoryInvestigation): ComparisonQuestion | undefined {
  const { collections = [], finding, validation } = investigation.status ?? {};
  if (!validating(investigation) || finding === undefined || validation === undefined) return undefined;
  const after = secondOf(collections, validation);
  if (after === undefined || !hasArrived(after)) return undefined;
  const { culprit, growth } = finding;
  const named = culprit?.library !== undefined || culprit?.function !== undefined;
  return {
    before: collections.findLast((one) => one.purpose === "Diagnose" && hasArrived(one))?.id,
    after: after.id,
    container: culprit?.container ?? investigation.spec.container,
    series: growth?.series,
    culprit: named ? { library: culprit.library, function: culprit.function } : undefined,
  };
}

/** The newest attempt to measure what this validation is about. */
function secondOf(collections: readonly Collection[], { started }: Validation): Collection | undefined {
  return lastAttempt(collections, { purpose: "Validate", from: Date.parse(started) });
}

function hasArrived({ state }: Collection): boolean {
  return state === "Complete" || state === "Partial";
}

/**
 * One step of the validation.
 * @param policy undefined while there is none that can be used: nothing new is measured then, but the watch goes on to its end
 */
export function planValidation(course: Course, policy: EffectivePolicy | undefined): ValidationStep {
  const { investigation, record, now } = course;
  const before = investigation.status?.validation;
  const begun = before?.action === record.action ? before : undefined;
  if (begun === undefined && policy === undefined)
    return nobodyLooks(course, "There is no policy that says for how long");
  const windowMs = begun === undefined && policy !== undefined ? durationMs(policy.spec.validate.window) : 0;
  if (begun === undefined && windowMs === 0)
    return nobodyLooks(course, `Policy ${policy?.name ?? ""} asks for none: validate.window is 0s`);
  const validation: Validation = begun ?? {
    action: record.action,
    started: timeText(now),
    until: timeText(new Date(now.getTime() + windowMs)),
    checks: [],
  };
  return watch(course, policy, validation);
}

function nobodyLooks({ investigation }: Course, message: string): ValidationStep {
  return {
    validation: undefined,
    collections: investigation.status?.collections ?? [],
    fact: { status: "Unknown", reason: "NotValidated", message },
    actions: [],
    notices: [],
    outcome: "Unknown",
  };
}

function watch(course: Course, policy: EffectivePolicy | undefined, validation: Validation): ValidationStep {
  const { investigation, seen, now } = course;
  const over = now.getTime() >= Date.parse(validation.until);
  const kills = killsCheck(course, over);
  const known = { ...validation, checks: [kills, ...validation.checks.filter(({ name }) => name !== "Kills")] };
  if (kills.result === "Fail") return conclude(course, known);
  const moved = movedOn(course);
  if (moved !== undefined) return conclude(course, known, moved);

  const collecting = policy === undefined ? undefined : measure(course, policy, validation);
  const collections = collecting?.collections ?? investigation.status?.collections ?? [];
  const after = secondOf(collections, validation);
  // What the policy's absence keeps from being measured is not waited for beyond the window.
  const settled = collecting === undefined ? over : collecting.evidence !== undefined || collecting.failed;
  const compared = after === undefined ? undefined : seen.comparisons[after.id];
  const checks = compared === undefined ? known.checks : [kills, ...compared];
  const next = { ...known, checks };
  const arrived = after !== undefined && hasArrived(after);
  // The kernel's reports of kills come with the reading of the same pack: both are in before anything is concluded.
  const awaited =
    arrived &&
    (compared === undefined || seen.findings[after.id] === undefined) &&
    seen.sessions[after.id] !== undefined;
  if (checks.some(({ result }) => result === "Fail") && !awaited) return conclude(course, next, undefined, collecting);
  if (over && settled && !awaited) return conclude(course, next, undefined, collecting);
  const againMs = awaited
    ? COMPARING_MS
    : Math.max(0, Math.min(WATCH_MS, Date.parse(validation.until) - now.getTime()));
  return {
    validation: next,
    collections,
    fact: { status: "Unknown", reason: "Validating", message: progressText(validation, collecting, awaited, over) },
    actions: collecting?.actions ?? [],
    notices: collecting?.notices ?? [],
    // When the window is over, what is measured is waited for.
    againMs: Math.min(collecting?.againMs ?? WATCH_MS, againMs === 0 ? WATCH_MS : againMs),
    outcome: "Working",
  };
}

function progressText(
  { until }: Validation,
  collecting: CollectingStep | undefined,
  awaited: boolean,
  over: boolean,
): string {
  if (awaited) return "What was measured is compared with what was measured before";
  const watched = over ? "The window is over" : `Kills are watched for until ${until}`;
  return collecting === undefined ? watched : `${watched}. ${collecting.fact.message}`;
}

/** Kills of new pods since the mitigation: one is enough to fail, and only a whole window without any is enough to pass. */
function killsCheck(course: Course, over: boolean): ValidationCheck {
  const all = course.investigation.status?.kills ?? [];
  const since = all.filter((kill) => kill.classification !== "NotAKill" && isOfNew(course, kill));
  const own = since.filter(({ classification }) => OWN.has(classification));
  const doubtful = since.filter(({ classification }) => !OWN.has(classification));
  const [first] = own;
  const common = {
    name: "Kills",
    required: true,
    before: all.filter((kill) => OWN.has(kill.classification)).length - own.length,
    after: own.length,
    unit: "kills",
  } as const;
  if (first !== undefined) {
    const detail = `${first.container ?? "A container"} of the new pod ${first.pod.name} was killed at ${first.time} (${first.classification})`;
    return { ...common, result: "Fail", detail };
  }
  const [doubt] = doubtful;
  if (doubt !== undefined) {
    const detail = `${doubt.pod.name} ended at ${doubt.time} (${doubt.classification}), which may have been the doing of others`;
    return { ...common, result: "Unknown", detail };
  }
  if (!over) return { ...common, result: "Unknown", detail: "No new pod was killed so far" };
  return { ...common, result: "Pass", detail: "No new pod was killed in the whole window" };
}

/** Whether a kill happened to a pod as the mitigation left it. Of one whose revision nobody knows, it is assumed. */
function isOfNew({ seen, investigation, record }: Course, kill: Kill): boolean {
  // By revision a pod is new from the moment of the intent on; where no template was changed, from when the change was seen.
  const from = record.after === undefined ? (record.applied ?? record.finished) : record.intended;
  if (Date.parse(kill.time) < Date.parse(from ?? record.since)) return false;
  if (kill.pod.uid === investigation.status?.preserved?.uid || !isTreated(record, kill.pod.uid)) return false;
  return kill.revision === undefined || isNewRevision(seen, record, kill.revision);
}

/** Where pods themselves were changed, only these show what that did. */
function isTreated({ changes = [] }: MitigationRecord, uid: string): boolean {
  return changes.every((change) => change.kind !== "Pod") || changes.some((change) => change.uid === uid);
}

/** The revision that the mitigation has rolled out, by any of its names. Where it rolled out none, all are new. */
function isNewRevision(seen: Observation, { after }: MitigationRecord, revision: string | undefined): boolean {
  if (after === undefined) return true;
  if (revision === undefined) return false;
  if (revision === after.revision) return true;
  const state = seen.targetState;
  if (state === undefined || "problem" in state) return false;
  return state.revisions.some(
    ({ templateHash, marks }) => templateHash === after.templateHash && marks.includes(revision),
  );
}

/** Somebody has taken the matter further: what would be measured is not the mitigation any more. */
function movedOn(course: Course): { readonly reason: Reason; readonly message: string } | undefined {
  const { seen, investigation, record, now } = course;
  const state = seen.targetState;
  const replaced = state === undefined || (!("problem" in state) && state.uid !== record.target?.uid);
  const gone = (what: string): { readonly reason: Reason; readonly message: string } => ({
    reason: "TargetReplaced",
    message: `${what}, before its validation had ended`,
  });
  if (replaced) return gone("The workload is gone, or was made anew");
  const standing = remedyOf(record)?.stand(seen, record, investigation.metadata.uid, now);
  if (standing?.at === "Gone") return gone(standing.message);
  if (standing?.at === "Before")
    return {
      reason: "ValueReplaced",
      message: `${standing.what} was put back in part, before its validation had ended`,
    };
  if (standing?.at !== "Other") return undefined;
  return { reason: standing.reason, message: `${standing.message}, before its validation had ended` };
}

/** The second collection, of new pods that have warmed up. No attempt begins when the window is over. */
function measure(course: Course, policy: EffectivePolicy, validation: Validation): CollectingStep | undefined {
  const { seen, investigation, now } = course;
  const [started, until] = [Date.parse(validation.started), Date.parse(validation.until)];
  const from = started + Math.min(SETTLE.mostMs, (until - started) * SETTLE.share);
  const collections = investigation.status?.collections ?? [];
  const last = secondOf(collections, validation);
  const message = "The new pods warm up before they are measured";
  const quiet = { collections, actions: [], notices: [], evidence: undefined } as const;
  if (last === undefined && now.getTime() < from) {
    const fact = { status: "Unknown", reason: "Validating", message } as const;
    return { ...quiet, fact, failed: false, againMs: from - now.getTime() };
  }
  const begins = last === undefined || last.state === "Failed" || last.state === "Lost";
  if (begins && now.getTime() >= until) {
    const fact = { status: "False", reason: "NothingToMeasure", message: "The window is over" } as const;
    return { ...quiet, fact, failed: true };
  }
  return planCollecting(seen, investigation, policy, now, errandOf(course, policy, validation));
}

function errandOf(course: Course, { spec: { collect } }: EffectivePolicy, validation: Validation): Errand {
  const until = Date.parse(validation.until);
  return {
    purpose: "Validate",
    key: `Validate ${validation.action}`,
    from: Date.parse(validation.started),
    pods: () => newPods(course),
    timing: (requested) => {
      const lastsMs = Math.max(LEAST_MS, until - requested.getTime());
      const evenMs = Math.floor(lastsMs / SAMPLING.samples / 1000) * 1000;
      const intervalMs = Math.max(SAMPLING.leastIntervalMs, Math.min(durationMs(collect.interval), evenMs));
      return { intervalMs, durationMs: lastsMs };
    },
    // Pods that are slow to come are waited for as long as the window lasts.
    since: until,
  };
}

/** New pods under load, on the node that was measured before if there are any, otherwise where most of them are. */
function newPods({ seen, investigation, record }: Course): readonly PodView[] {
  const found = seen.pods.filter(
    (pod) =>
      pod.phase === "Running" &&
      pod.deletionTimestamp === undefined &&
      pod.node !== undefined &&
      pod.labels[PRESERVED_LABEL] === undefined &&
      isTreated(record, pod.uid) &&
      isNewRevision(seen, record, revisionOf(pod, seen)),
  );
  const measured = investigation.status?.collections?.findLast(({ purpose }) => purpose === "Diagnose")?.node;
  const on = new Map<string, PodView[]>();
  for (const pod of found.toSorted((a, b) => Number(b.ready) - Number(a.ready) || a.name.localeCompare(b.name)))
    on.set(pod.node ?? "", [...(on.get(pod.node ?? "") ?? []), pod]);
  const [best] = [...on].toSorted(
    ([a, x], [b, y]) => Number(b === measured) - Number(a === measured) || y.length - x.length || a.localeCompare(b),
  );
  return best?.[1].slice(0, MAX_PODS) ?? [];
}

/** Any Fail fails it; Pass needs every check that is required. */
function verdictOf(checks: readonly ValidationCheck[]): CheckResult {
  if (checks.some(({ result }) => result === "Fail")) return "Fail";
  const required = checks.filter((check) => check.required);
  // Kills alone are no proof: without a comparison nothing is known of growth.
  return required.length > 1 && required.every(({ result }) => result === "Pass") ? "Pass" : "Unknown";
}

const ENDINGS = {
  Pass: { status: "True", reason: "Validated", type: "Normal" },
  Fail: { status: "False", reason: "ValidationFailed", type: "Warning" },
  Unknown: { status: "Unknown", reason: "ValidationInconclusive", type: "Normal" },
} as const;

/** @param moved why it ends before its time; then only what has failed until now is counted */
function conclude(
  course: Course,
  validation: Validation,
  moved?: { readonly reason: Reason; readonly message: string },
  collecting?: CollectingStep,
): ValidationStep {
  const outcome = verdictOf(validation.checks);
  const { status, reason, type } = ENDINGS[outcome];
  const missing = collecting?.failed === true ? `. ${collecting.fact.message}` : "";
  const message = clip(moved?.message ?? `${checksText(validation.checks, outcome)}${missing}`, 1024);
  const told = moved?.reason ?? reason;
  const stopped = stopCollecting(
    course.seen,
    collecting?.collections ?? course.investigation.status?.collections ?? [],
    course.now,
  );
  return {
    validation,
    collections: stopped.collections,
    fact: { status, reason: told, message },
    actions: [...(collecting?.actions ?? []), ...stopped.actions],
    notices: [...(collecting?.notices ?? []), { type, reason: told, message, also: ["Target"] }],
    outcome,
  };
}

/** What decided, first. */
function checksText(checks: readonly ValidationCheck[], outcome: CheckResult): string {
  const decisive = checks.filter(({ result, required }) => result === outcome && (required || outcome === "Fail"));
  const names = decisive.map(({ name, detail }) => `${name}: ${detail}`);
  return names.length === 0 ? "Nothing could be compared" : names.join(". ");
}
