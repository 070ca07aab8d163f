/**
 * How sure is a verdict? A sum that anyone can add up: fifty, and points for what was measured or is missing. This is the only place that knows the points;
 * {@link confidenceOf} is where a calibration would be laid over them.
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
/** A provisional trend can be a warm-up: it is never surer than this. */
const MOST_PROVISIONAL = 75;
/** Below this a verdict is not named. */
export const LEAST_CONFIDENCE = 50;

/** Percent. @param cap  of the claim itself */
export function confidenceOf(points: readonly Point[], provisional: boolean, cap = MOST): number {
  const sum = points.reduce((total, point) => total + POINTS[point], START);
  return Math.max(0, Math.min(sum, cap, provisional ? MOST_PROVISIONAL : MOST));
}
