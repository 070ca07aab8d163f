/**
 * Which pod still holds the evidence? The killed container's memory is gone with it; a sibling of the same revision that is
 * alive and nearest its limit, or has grown the longest, is the next best witness. Every pod gets a score and the reason for it.
 */
import type { ContainerView, PodView } from "./observation.ts";

export interface Candidate {
  readonly pod: PodView;
  /** Higher holds more evidence; below 0 it holds none. */
  readonly score: number;
  readonly reason: string;
}

export interface CandidateQuestion {
  readonly pods: readonly PodView[];
  readonly revisionOf: (pod: PodView) => string | undefined;
  /** Revision of the newest kill; undefined when there was none. */
  readonly revision: string | undefined;
  /** Container of the newest kill or of the spec; undefined: the pod's largest by limit. */
  readonly container: string | undefined;
  readonly usageBytes: Readonly<Record<string, number>>;
  /** Name of the pod that raised an alarm: what was seen is in it. */
  readonly suspect?: string;
  readonly now: Date;
}

/** metrics-server scrapes every 15 s by default, and a reading is served until the next. */
const METRICS_LAG_MS = 30_000;

/** The pod that raised an alarm comes before every sibling of which only the usage is known. */
const SUSPECT_SCORE = 10_000;

/** An incarnation younger than this has not grown yet: most likely it is the one that was just restarted. */
const YOUNG_MS = 15_000;

/**
 * Above this share of its limit a pod may be killed before it is out of service, and its evidence with it: from here on each
 * percent more counts against it, three times over.
 */
const RISKY_PERCENT = 85;

/** All pods, best first. The order is total, so that the same snapshot always gives the same choice. */
export function rankCandidates(question: CandidateQuestion): Candidate[] {
  return question.pods
    .map((pod) => rate(pod, question))
    .toSorted((a, b) => b.score - a.score || a.pod.name.localeCompare(b.pod.name));
}

function rate(pod: PodView, question: CandidateQuestion): Candidate {
  const out = (reason: string): Candidate => ({ pod, score: -1, reason });
  if (pod.deletionTimestamp !== undefined) return out("it is being deleted");
  if (pod.phase !== "Running") return out(`its phase is ${pod.phase}`);
  const container = suspect(pod, question.container);
  if (container === undefined) return out("it has no such container");
  if (container.state.kind !== "running") {
    return out(`container ${container.name} is not running (${container.state.reason ?? container.state.kind})`);
  }
  if (pod.labels["oomscope.dev/preserved"] !== undefined) return out("it is already preserved by an investigation");
  const revision = question.revisionOf(pod);
  if (question.revision !== undefined && revision !== undefined && revision !== question.revision) {
    return out("it runs another revision than the one that was killed");
  }

  const ageMs = question.now.getTime() - Date.parse(container.state.startedAt ?? question.now.toISOString());
  const age = Math.max(0, Math.round(ageMs / 1000));
  // Metrics lag: what they tell of a container that has just been restarted is the memory of the incarnation before.
  const usage = ageMs < METRICS_LAG_MS ? undefined : question.usageBytes[pod.uid];
  const share =
    usage !== undefined && container.limitBytes !== undefined
      ? Math.round((100 * usage) / container.limitBytes)
      : undefined;
  const risk = share === undefined ? 0 : Math.max(0, Math.min(share, 100) - RISKY_PERCENT);
  const held = share === undefined ? 0 : Math.min(share, RISKY_PERCENT) - 3 * risk;
  // Usage decides; where nobody measured it, the longest uninterrupted run has had the most time to grow.
  const suspected = pod.name === question.suspect;
  const score =
    (suspected ? SUSPECT_SCORE : 0) + (share === undefined ? 0 : 10_000 + 100 * held) + Math.min(age, 9_999) / 100;
  const restarted = container.restartCount > 0 ? `, restarted ${container.restartCount} times` : "";
  const young = ageMs < YOUNG_MS ? "; its memory is fresh, little can be seen in it" : "";
  return {
    pod,
    score: Math.round(score),
    reason:
      (suspected ? "it raised the alarm; " : "") +
      (share === undefined
        ? ""
        : `it uses ${share} % of its limit${risk > 0 ? ", so near that it may be killed at any moment" : ""}; `) +
      `container ${container.name} has run for ${age} s${restarted}${young}`,
  };
}

/** The container to look at: the named one, or the one with the largest limit. */
export function suspect(pod: PodView, name: string | undefined): ContainerView | undefined {
  const running = pod.containers.filter((c) => c.type === "Container" || c.type === "Sidecar");
  if (name !== undefined) return pod.containers.find((c) => c.name === name);
  return running.toSorted((a, b) => (b.limitBytes ?? 0) - (a.limitBytes ?? 0) || a.name.localeCompare(b.name))[0];
}
