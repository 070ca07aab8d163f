/**
 * Keeping one pod for evidence: which, how, until when, and how it is put back. Intent is written to status first; a pod is
 * called preserved only when it was seen so. At most one pod for each investigation, ever.
 */
import { durationMs } from "../api/fields.ts";
import type { Condition, MemoryInvestigation, PreservedPod } from "../api/memoryinvestigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { Action, Notice, Refusal } from "./actions.ts";
import { rankCandidates, type Candidate } from "./candidates.ts";
import { clip, timeText, type Fact } from "./conditions.ts";
import type { EffectivePolicy, Observation, PodView, Refused } from "./observation.ts";
import { suspectOf } from "./intake.ts";
import { selectorKeys, selects } from "./policy.ts";
import { revisionOf } from "./revisions.ts";

/** Label of a preserved pod; its value is the uid of the investigation. The guard's selector matches nothing else. */
export const PRESERVED_LABEL = "oomscope.dev/preserved";

export interface PreservationStep {
  readonly preserved: PreservedPod | undefined;
  readonly fact: { readonly status: Condition["status"]; readonly reason: Reason; readonly message: string };
  readonly actions: readonly Action[];
  readonly notices: readonly Notice[];
  /** Nothing more will come of this step, so the next one may begin. */
  readonly settled: boolean;
  /** When to look again, in milliseconds. */
  readonly againMs?: number;
}

export function preservingFact(step: PreservationStep): Fact {
  return { type: "PodPreserved", ...step.fact };
}

export function withPreserved(investigation: MemoryInvestigation, step: PreservationStep): MemoryInvestigation {
  if (step.preserved === undefined) return investigation;
  return { ...investigation, status: { ...investigation.status, preserved: step.preserved } };
}

/** Name of the PodDisruptionBudget that guards a preserved pod from evictions. */
export function guardName(investigation: MemoryInvestigation): string {
  return `oomscope-keep-${investigation.metadata.uid.slice(0, 13)}`;
}

/**
 * One step of the preservation, for an investigation that has not been deleted.
 * @param policy undefined while there is none that can be used: nothing is taken then, and what is kept is looked after to its end
 */
export function planPreservation(
  seen: Observation,
  investigation: MemoryInvestigation,
  policy: EffectivePolicy | undefined,
  now: Date,
): PreservationStep {
  const preserved = investigation.status?.preserved;
  if (preserved !== undefined) return follow(seen, investigation, preserved, policy, now);
  if (policy === undefined) return skip("PolicyNotFound", "There is no policy to keep a pod by");
  if (policy.mode === "Observe") {
    return skip(
      "ModeObserve",
      `Policy ${policy.name} is in mode Observe: no pod is touched. Recommend or Enforce would keep one for evidence`,
    );
  }
  if (policy.spec.preserve.strategy === "None")
    return skip("StrategyNone", `Policy ${policy.name} says preserve.strategy None`);
  const kept = keptBefore(seen, investigation);
  if (kept !== undefined) return skip("AlreadyKept", kept);
  return choose(seen, investigation, policy, now);
}

/**
 * A workload that is killed again and again must not lose a pod to each of its investigations: one of a revision that still holds its memory is
 * enough. Says which, and of whom.
 */
function keptBefore(seen: Observation, investigation: MemoryInvestigation): string | undefined {
  const revision = investigation.status?.kills?.at(-1)?.revision;
  for (const { metadata, status } of seen.investigations) {
    const preserved = status?.preserved;
    if (metadata.uid === investigation.metadata.uid || preserved === undefined) continue;
    if (preserved.state !== "Preserved" && preserved.state !== "Intended") continue;
    const pod = seen.pods.find((p) => p.uid === preserved.uid);
    if (pod === undefined || pod.deletionTimestamp !== undefined) continue;
    const itsRevision = revisionOf(pod, seen);
    if (revision !== undefined && itsRevision !== undefined && itsRevision !== revision) continue;
    const killed = seen.investigations.some((i) =>
      i.status?.kills?.some(
        // A container that has lost a child still holds the rest.
        (kill) =>
          kill.pod.uid === preserved.uid && kill.time >= preserved.since && kill.classification !== "ChildKilled",
      ),
    );
    if (!killed)
      return `Pod ${preserved.pod} of the same revision is kept already, by ${metadata.name}; another would show no more`;
  }
  return undefined;
}

function skip(reason: Reason, message: string): PreservationStep {
  return { preserved: undefined, fact: { status: "False", reason, message }, actions: [], notices: [], settled: true };
}

function choose(
  seen: Observation,
  investigation: MemoryInvestigation,
  policy: EffectivePolicy,
  now: Date,
): PreservationStep {
  const lastKill = investigation.status?.kills?.at(-1);
  const suspect = suspectOf(investigation);
  const ranked = rankCandidates({
    pods: seen.pods,
    revisionOf: (pod) => revisionOf(pod, seen),
    revision: lastKill?.revision,
    container: investigation.spec.container ?? lastKill?.container,
    usageBytes: seen.surroundings.usageBytes,
    ...(suspect === undefined ? {} : { suspect }),
    now,
  });
  const best = ranked[0];
  if (best === undefined || best.score < 0) {
    const why = ranked
      .slice(0, 3)
      .map((c) => `${c.pod.name}: ${c.reason}`)
      .join("; ");
    return skip("NoCandidate", `No pod can be kept: ${why === "" ? "the workload has no pods" : why}`);
  }

  const refusal = policy.spec.preserve.strategy === "Isolate" ? refusesIsolation(best.pod, seen, policy) : undefined;
  const how = policy.spec.preserve.strategy === "Isolate" && refusal === undefined ? "Isolate" : "Hold";
  const intended = intend(seen, investigation, policy, best, ranked, how, refusal, now);
  return {
    preserved: intended,
    fact: {
      status: "Unknown",
      reason: "Preserving",
      message: `Pod ${best.pod.name} is to be kept (${how}): ${best.reason}`,
    },
    actions: [preserveAction(investigation, intended, best.pod, seen, policy)],
    notices: [],
    settled: false,
  };
}

function intend(
  seen: Observation,
  investigation: MemoryInvestigation,
  policy: EffectivePolicy,
  best: Candidate,
  ranked: readonly Candidate[],
  how: "Isolate" | "Hold",
  refusal: Refusal | undefined,
  now: Date,
): PreservedPod {
  const { pod } = best;
  const until = new Date(now.getTime() + durationMs(policy.spec.preserve.ttl));
  const why =
    refusal === undefined ? best.reason : `${best.reason}. Held, not isolated (${refusal.reason}): ${refusal.message}`;
  const cannotShow = whatIsLost(pod, investigation);
  return {
    pod: pod.name,
    uid: pod.uid,
    ...(pod.node === undefined ? {} : { node: pod.node }),
    how,
    state: "Intended",
    since: timeText(now),
    until: timeText(until),
    why: clip(why, 1024),
    ...(cannotShow === undefined ? {} : { cannotShow }),
    ...(pod.ownerUid === undefined
      ? {}
      : { owner: { kind: pod.ownerKind ?? "", name: pod.ownerName ?? "", uid: pod.ownerUid } }),
    originalLabels: how === "Isolate" ? labelsToTake(pod, seen) : {},
    candidates: ranked.slice(0, 8).map((c) => ({ pod: c.pod.name, score: c.score, reason: clip(c.reason, 256) })),
  };
}

function whatIsLost(pod: PodView, investigation: MemoryInvestigation): string | undefined {
  const kills = investigation.status?.kills ?? [];
  const own = kills.find((kill) => kill.pod.uid === pod.uid);
  if (own !== undefined) {
    return `Its container ${own.container ?? ""} was itself killed at ${own.time}: the memory of that incarnation is gone. What remains: the pod's cgroup counters, emptyDir volumes, and what has grown since.`;
  }
  const last = kills.at(-1);
  return last === undefined
    ? undefined
    : `The killed container (${last.container ?? "evicted pod"} of ${last.pod.name}) lost its memory with the kill; this is a sibling of the same revision.`;
}

/** Every label that a selector of the namespace looks at, with its value. Our own marks are no part of it. */
export function labelsToTake(pod: PodView, seen: Observation): Record<string, string> {
  const keys = new Set<string>();
  for (const { selector } of seen.surroundings.selectors ?? []) {
    if (!selects(selector, pod.labels)) continue;
    for (const key of selectorKeys(selector)) keys.add(key);
  }
  return Object.fromEntries(
    Object.entries(pod.labels).filter(([key]) => keys.has(key) && !key.startsWith("oomscope.dev/")),
  );
}

/** The guards of isolation, in order. The first that refuses turns Isolate into Hold, and its reason is shown. */
export const ISOLATION_GUARDS: readonly ((
  pod: PodView,
  seen: Observation,
  policy: EffectivePolicy,
) => Refusal | undefined)[] = [
  ownerCannotReplace,
  selectorsUnknown,
  selectorIsInescapable,
  tooFewReady,
  quotaTooTight,
  claimsExclusive,
];

function refusesIsolation(pod: PodView, seen: Observation, policy: EffectivePolicy): Refusal | undefined {
  for (const guard of ISOLATION_GUARDS) {
    const refusal = guard(pod, seen, policy);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function ownerCannotReplace(pod: PodView): Refusal | undefined {
  if (pod.ownerKind === "ReplicaSet") return undefined;
  const owner = pod.ownerKind ?? "no controller";
  return {
    reason: "OwnerCannotReplace",
    message: `the pod belongs to ${owner}, which cannot make a replacement while its name or place is taken`,
  };
}

function selectorsUnknown(_pod: PodView, seen: Observation): Refusal | undefined {
  if (seen.surroundings.selectors !== undefined) return undefined;
  return {
    reason: "SelectorsUnknown",
    message: "the selectors of the namespace could not be read, so it is not known what to take away",
  };
}

/** A selector that matches without looking at a label of the pod would still match after every label is taken. */
function selectorIsInescapable(pod: PodView, seen: Observation): Refusal | undefined {
  const taken = new Set(Object.keys(labelsToTake(pod, seen)));
  const left = Object.fromEntries(Object.entries(pod.labels).filter(([key]) => !taken.has(key)));
  for (const { owner, kind, selector } of seen.surroundings.selectors ?? []) {
    if (kind === "NetworkPolicy") continue; // One for all pods is a fence that the pod should stay behind.
    if (selects(selector, pod.labels) && selects(selector, left)) {
      return { reason: "SelectorInescapable", message: `${owner} selects the pod whatever its labels are` };
    }
  }
  return undefined;
}

function tooFewReady(pod: PodView, seen: Observation, policy: EffectivePolicy): Refusal | undefined {
  const { minAvailable } = policy.spec.preserve;
  const others = seen.pods.filter((p) => p.uid !== pod.uid && isServing(p)).length;
  if (others >= minAvailable) return undefined;
  return {
    reason: "MinAvailable",
    message: `${others} ready ${others === 1 ? "pod" : "pods"} would remain, preserve.minAvailable is ${minAvailable}`,
  };
}

function quotaTooTight(_pod: PodView, seen: Observation): Refusal | undefined {
  const tight = seen.surroundings.quotaTight;
  return tight === undefined
    ? undefined
    : { reason: "QuotaTooTight", message: `a replacement could not start: ${tight}` };
}

function claimsExclusive(pod: PodView, seen: Observation): Refusal | undefined {
  const held = pod.claims.filter((claim) => seen.surroundings.exclusiveClaims.includes(claim));
  if (held.length === 0) return undefined;
  return { reason: "VolumeHeld", message: `the pod holds ${held.join(", ")}, which a replacement could not mount` };
}

/** Ready, not leaving, and still a member of its workload. */
export function isServing(pod: PodView): boolean {
  return pod.ready && pod.deletionTimestamp === undefined && pod.labels[PRESERVED_LABEL] === undefined;
}

function preserveAction(
  investigation: MemoryInvestigation,
  preserved: PreservedPod,
  pod: PodView,
  seen: Observation,
  policy: EffectivePolicy | undefined,
): Action {
  return {
    kind: "PreservePod",
    investigation: { name: investigation.metadata.name, uid: investigation.metadata.uid },
    how: preserved.how,
    pod,
    container: investigation.spec.container ?? investigation.status?.kills?.at(-1)?.container,
    labels: preserved.originalLabels ?? {},
    minAvailable: preserved.how === "Isolate" ? (policy?.spec.preserve.minAvailable ?? 1) : 0,
    siblings: seen.pods.filter((p) => p.uid !== pod.uid && isServing(p)).map((p) => p.uid),
  };
}

function follow(
  seen: Observation,
  investigation: MemoryInvestigation,
  preserved: PreservedPod,
  policy: EffectivePolicy | undefined,
  now: Date,
): PreservationStep {
  if (preserved.state === "Lost") return ended(preserved, "PodLost", `Pod ${preserved.pod} is gone`);
  if (preserved.state === "Released") return ended(preserved, "Released", `Pod ${preserved.pod} was released`);

  const pod = seen.pods.find((p) => p.uid === preserved.uid);
  const over = whyOver(investigation, preserved, now);
  if (pod === undefined || pod.deletionTimestamp !== undefined) {
    // Its controller may take the released pod, being one too many, before anybody sees it without our mark.
    return preserved.state === "Preserved" && over !== undefined
      ? released(preserved, `Pod ${preserved.pod} is gone, so nothing of it is left to put back: ${over}`)
      : lost(preserved);
  }
  const ours = pod.labels[PRESERVED_LABEL] === investigation.metadata.uid;

  if (preserved.state === "Intended") {
    const refused = seen.refused[investigation.metadata.uid];
    const withdrawn = over ?? whyWithdrawn(policy);
    if (ours && over !== undefined) return release(seen, investigation, preserved, over, ours);
    if (!ours && withdrawn !== undefined) return withdraw(seen, investigation, preserved, withdrawn, now);
    if (!ours && refused?.action === "PreservePod" && preserved.how === "Isolate")
      return holdInstead(seen, investigation, preserved, pod, refused);
    if (!ours) return resume(seen, investigation, preserved, pod);
    if (preserved.how === "Isolate" && pod.ownerUid !== undefined) {
      return waiting(preserved, `Pod ${preserved.pod} has lost its labels; its controller has yet to let it go`);
    }
    return guarded(seen, investigation, preserved, pod);
  }
  if (over !== undefined) return release(seen, investigation, preserved, over, ours);
  if (!ours) return lost(preserved);
  const current = killedSince(investigation, preserved);
  return {
    preserved: current,
    fact: preservedFact(current),
    actions: [],
    notices: [],
    settled: true,
    againMs: Math.max(1000, Date.parse(preserved.until ?? "") - now.getTime()),
  };
}

/** Why a pod that was to be taken is left alone after all; undefined: it is taken. */
function whyWithdrawn(policy: EffectivePolicy | undefined): string | undefined {
  if (policy === undefined) return "there is no policy any more to take it by";
  if (policy.mode === "Observe") return `policy ${policy.name} is in mode Observe now`;
  return policy.spec.preserve.strategy === "None" ? `policy ${policy.name} says preserve.strategy None now` : undefined;
}

/**
 * The pod has not been seen with our mark, but a reply may have been lost. So the end of the intent is written down first, and a live read puts the pod back if it is
 * marked; only the pass after that says that nothing was changed.
 */
function withdraw(
  seen: Observation,
  investigation: MemoryInvestigation,
  preserved: PreservedPod,
  why: string,
  now: Date,
): PreservationStep {
  if (now.getTime() >= Date.parse(preserved.until ?? ""))
    return released(preserved, `Pod ${preserved.pod} was left as it was: ${why}`);
  return {
    ...waiting({ ...preserved, until: timeText(now) }, `Pod ${preserved.pod} is not to be kept: ${why}`),
    actions: [releaseAction(seen, investigation, preserved)],
  };
}

/** Why the pod is to be kept no longer; undefined while it is. */
function whyOver(investigation: MemoryInvestigation, preserved: PreservedPod, now: Date): string | undefined {
  if (investigation.spec.release) return "a person asked for it";
  return now.getTime() >= Date.parse(preserved.until ?? "") ? "its ttl has passed" : undefined;
}

function preservedFact(preserved: PreservedPod): PreservationStep["fact"] {
  const until = preserved.until === undefined ? "" : ` until ${preserved.until}`;
  const what = preserved.how === "Isolate" ? "isolated" : "held";
  return {
    status: "True",
    reason: preserved.how === "Isolate" ? "Isolated" : "Held",
    message: `Pod ${preserved.pod} is ${what}${until}: ${preserved.why}`,
  };
}

/** A pod is called preserved once nothing can evict it: the guard is made first, and seen. */
function guarded(
  seen: Observation,
  investigation: MemoryInvestigation,
  preserved: PreservedPod,
  pod: PodView,
): PreservationStep {
  const { name, uid } = investigation.metadata;
  const refused = seen.refused[uid];
  const unguarded =
    seen.surroundings.selectors === undefined
      ? { reason: "SelectorsUnknown", message: "PodDisruptionBudgets could not be read" }
      : refused?.action === "EnsureGuard"
        ? refused
        : undefined;
  if (unguarded !== undefined) {
    const why = `${preserved.why}. Not guarded from evictions (${unguarded.reason}): ${unguarded.message}`;
    return seenPreserved({ ...preserved, why: clip(why, 1024) });
  }
  // Two budgets that match one pod make every eviction a server error, so the one of a pod that keeps its labels is enough.
  const hasGuard = seen.surroundings.selectors?.some(
    (s) => s.kind === "PodDisruptionBudget" && selects(s.selector, pod.labels),
  );
  if (hasGuard === true) return seenPreserved(preserved);
  return {
    ...waiting(preserved, `Pod ${preserved.pod} is kept (${preserved.how}); its guard from evictions is being made`),
    actions: [{ kind: "EnsureGuard", investigation: { name, uid }, name: guardName(investigation) }],
  };
}

function seenPreserved(preserved: PreservedPod): PreservationStep {
  const next: PreservedPod = { ...preserved, state: "Preserved" };
  const fact = preservedFact(next);
  return {
    preserved: next,
    fact,
    actions: [],
    notices: [{ type: "Normal", reason: fact.reason, message: fact.message, also: [{ pod: next.pod, uid: next.uid }] }],
    settled: true,
  };
}

/** The intent is on record, but the pod does not show it: the change is made, or made again after a lost reply. */
function resume(
  seen: Observation,
  investigation: MemoryInvestigation,
  preserved: PreservedPod,
  pod: PodView,
): PreservationStep {
  const policy = "problem" in seen.policy ? undefined : seen.policy;
  return {
    ...waiting(preserved, `Pod ${preserved.pod} is to be kept (${preserved.how})`),
    actions: [preserveAction(investigation, preserved, pod, seen, policy)],
  };
}

/** A preserved pod may still be killed, by requests that were under way or by its own growth: then it shows less, and says so. */
function killedSince(investigation: MemoryInvestigation, preserved: PreservedPod): PreservedPod {
  const kills = (investigation.status?.kills ?? []).filter(
    (k) => k.pod.uid === preserved.uid && k.time >= preserved.since,
  );
  const kill = kills.findLast((k) => k.classification !== "ChildKilled") ?? kills.at(-1);
  if (kill === undefined) return preserved;
  if (kill.classification === "ChildKilled") {
    const cannotShow = `A process of its container ${kill.container ?? ""} was killed at ${kill.time}, after the pod was chosen: what that process held is gone; the container goes on.`;
    return { ...preserved, cannotShow };
  }
  return {
    ...preserved,
    cannotShow: `Its container ${kill.container ?? ""} was killed at ${kill.time}, after the pod was chosen: the memory it was kept for is gone. What remains: the pod's cgroup counters, emptyDir volumes, and what the pod was measured at before.`,
  };
}

/** A guard said no at the last moment: the pod is held where it is. The labels were never taken. */
function holdInstead(
  seen: Observation,
  investigation: MemoryInvestigation,
  preserved: PreservedPod,
  pod: PodView,
  refused: Refused,
): PreservationStep {
  const next: PreservedPod = {
    ...preserved,
    how: "Hold",
    originalLabels: {},
    why: clip(`${preserved.why}. Held, not isolated (${refused.reason}): ${refused.message}`, 1024),
  };
  return resume(seen, { ...investigation, status: { ...investigation.status, preserved: next } }, next, pod);
}

function waiting(preserved: PreservedPod, message: string): PreservationStep {
  return {
    preserved,
    fact: { status: "Unknown", reason: "Preserving", message },
    actions: [],
    notices: [],
    settled: false,
    againMs: 1000,
  };
}

function ended(preserved: PreservedPod, reason: Reason, message: string): PreservationStep {
  return { preserved, fact: { status: "False", reason, message }, actions: [], notices: [], settled: true };
}

function lost(preserved: PreservedPod): PreservationStep {
  const message = `Pod ${preserved.pod} is gone; no other is taken in its place`;
  return {
    ...ended({ ...preserved, state: "Lost" }, "PodLost", message),
    notices: [{ type: "Warning", reason: "PodLost", message, also: [] }],
  };
}

/** Puts the pod back. Called until the pod is seen without our mark. */
function release(
  seen: Observation,
  investigation: MemoryInvestigation,
  preserved: PreservedPod,
  why: string,
  ours: boolean,
): PreservationStep {
  if (!ours) return released(preserved, `Pod ${preserved.pod} was released: ${why}`);
  return {
    ...waiting(preserved, `Pod ${preserved.pod} is being released: ${why}`),
    actions: [releaseAction(seen, investigation, preserved)],
    settled: true,
  };
}

function released(preserved: PreservedPod, message: string): PreservationStep {
  return {
    ...ended({ ...preserved, state: "Released" }, "Released", message),
    notices: [{ type: "Normal", reason: "Released", message, also: [] }],
  };
}

export function releaseAction(seen: Observation, investigation: MemoryInvestigation, preserved: PreservedPod): Action {
  return {
    kind: "ReleasePod",
    investigation: { name: investigation.metadata.name, uid: investigation.metadata.uid },
    pod: { name: preserved.pod, uid: preserved.uid },
    how: preserved.how,
    labels: preserved.originalLabels ?? {},
    ownerExists:
      preserved.how === "Hold" ||
      preserved.owner === undefined ||
      seen.replicaSets.some((rs) => rs.uid === preserved.owner?.uid),
  };
}
