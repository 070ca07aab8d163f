/**
 * How sure is a verdict? A sum that anyone can add up: fifty, and points for what was measured or is missing; and over it what recordings have shown such sums to be worth. This is the only
 * place that knows the points.
 */

/** What a claim may count. */
export const POINTS = {
  /** At least 24 samples. */
  samples: 15,
  /** cgroup anon is the sum of the processes' Pss_Anon, within 5 %. */
  identity: 10,
  /** One process, or one kind of memory, has 80 % of the growth. */
  concentrated: 15,
  /** One class of mappings has 80 % of the growth. */
  mapping: 10,
  /** Growth profile and kernel's report name the same place. */
  attributors: 10,
  /** The kernel reported kills with the limit full of what grows. */
  kills: 10,
  /** Another pod, or another life, shows the same. */
  otherLives: 20,
  /** The signal that the nearest look-alike does not show was read and is there. */
  separating: 15,
  /** A second, independent one. */
  corroborated: 10,
  /** It moved by less than the growth that matters. */
  still: 15,
  /** Restarts in the window. */
  restarts: -20,
  /** The test of the next best verdict passes as well. */
  rival: -20,
  /** What was asked of the target is not known: nothing that goes with it could be read. */
  loadUnknown: -10,
  /** Sockets, threads and descriptors were read, which say something of the load. */
  loadPartly: -5,
  /** A gap between samples of more than three intervals. */
  gap: -10,
  /** The slope's 95 % interval is wider than half the slope. */
  noisy: -10,
  /** The separating signal could not be read. */
  unseen: -15,
} as const;
export type Point = keyof typeof POINTS;

const START = 50;
/** Nothing that is seen from outside, by one collection, is surer than this. */
const MOST = 95;
/** Below this a verdict is not named. */
export const LEAST_CONFIDENCE = 50;

/**
 * The most that a provisional claim may say: it rests on fewer than 24 samples or five minutes, and what rises can be a warm-up. `percent` was measured (docs/calibration.md): on windows cut
 * from the corpus's recordings it is below the lower end of Wilson's 95 % interval for the share of recordings of which every such claim was right. Where there are fewer than
 * 20 recordings to tell by, nothing is raised. `points`: counted at least. Only claims of growth with 24 samples that do not rest on other lives or pods: of others too few were measured, or too many were wrong.
 */
export const PROVISIONAL = {
  growth: [
    { points: 85, percent: 90 },
    { points: 75, percent: 85 },
  ],
  otherwise: 75,
} as const;

export interface Certainty {
  readonly provisional: boolean;
  /** It says that something grows without an end. */
  readonly grows: boolean;
  /** Percent: the claim's own, lower than what every verdict is capped at. */
  readonly cap?: number | undefined;
}

export function sumOf(points: readonly Point[]): number {
  return points.reduce((total, point) => total + POINTS[point], START);
}

/** Percent. */
export function confidenceOf(points: readonly Point[], certainty: Certainty): number {
  const { provisional, cap = MOST } = certainty;
  const most = provisional ? mostProvisional(points, certainty) : MOST;
  return Math.max(0, Math.min(sumOf(points), cap, most));
}

function mostProvisional(points: readonly Point[], { grows }: Certainty): number {
  const step = PROVISIONAL.growth.find((one) => sumOf(points) >= one.points);
  return grows && isMeasured(points) && step !== undefined ? step.percent : PROVISIONAL.otherwise;
}

/** Claims of this kind were seen in enough recordings to say what they are worth. */
export function isMeasured(points: readonly Point[]): boolean {
  return points.includes("samples") && !points.includes("otherLives");
}
