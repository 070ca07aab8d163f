/**
 * What was read of one container or node, over time, in bounded memory: a ring of a few readings for the trend, and since when it has been near its limit. Times are
 * those of the readings.
 */
import { gateOf, judgeTrend } from "../diagnosis/trend.ts";
import { GAP_MS, heldAfter, type Held } from "../incident/triggers.ts";

/** Enough for a trend that is not provisional (24 points) with room for readings that fail: 640 bytes for each container. */
export const RING = 40;

export interface Ring {
  readonly times: Float64Array;
  readonly values: Float64Array;
  /** Readings ever written; the newest is at `(written - 1) % RING`. */
  written: number;
}

export interface ContainerHistory {
  /** Of the incarnation that the readings are of; another has a memory of its own. */
  containerId: string | undefined;
  lastMs: number;
  bytes: number;
  /** What `near` was measured against: percent of which limit. */
  threshold: string;
  near: Held | undefined;
  /** Only where growth is asked for. */
  ring: Ring | undefined;
}

export function newHistory(containerId: string | undefined): ContainerHistory {
  return { containerId, lastMs: 0, bytes: 0, threshold: "", near: undefined, ring: undefined };
}

export interface Watching {
  readonly limitBytes: number | undefined;
  /** Undefined: nobody asks whether it is near its limit. */
  readonly percentOfLimit: number | undefined;
  /** Time between two readings of the ring; undefined: nobody asks whether it grows. */
  readonly spacingMs: number | undefined;
}

/** Takes a reading in. One that is no newer than the last is the same reading, told again. */
export function take(history: ContainerHistory, atMs: number, bytes: number, watching: Watching): void {
  if (atMs <= history.lastMs) return;
  const { limitBytes, percentOfLimit, spacingMs } = watching;
  const threshold = `${percentOfLimit ?? ""} of ${limitBytes ?? ""}`;
  if (threshold !== history.threshold) history.near = undefined;
  history.threshold = threshold;
  const holds = limitBytes !== undefined && percentOfLimit !== undefined && bytes * 100 >= limitBytes * percentOfLimit;
  history.near = heldAfter(history.near, atMs, holds);
  history.lastMs = atMs;
  history.bytes = bytes;
  if (spacingMs === undefined) history.ring = undefined;
  else history.ring = added(history.ring, atMs, bytes, spacingMs);
}

function added(ring: Ring | undefined, atMs: number, bytes: number, spacingMs: number): Ring {
  const last = ring === undefined || ring.written === 0 ? undefined : ring.times[(ring.written - 1) % RING];
  // A pause as long as several readings would be taken for growth by the readings beside it.
  const broken = last !== undefined && atMs - last > Math.max(GAP_MS, 3 * spacingMs);
  const into =
    ring === undefined || broken ? { times: new Float64Array(RING), values: new Float64Array(RING), written: 0 } : ring;
  if (into === ring && last !== undefined && atMs - last < spacingMs) return ring;
  into.times[into.written % RING] = atMs;
  into.values[into.written % RING] = bytes;
  into.written++;
  return into;
}

interface Series {
  readonly times: readonly number[];
  readonly values: readonly number[];
}

/** The readings of a ring, oldest first; times in seconds. */
function seriesOf({ times, values, written }: Ring): Series {
  const length = Math.min(written, RING);
  const order = Array.from({ length }, (_, i) => (written - length + i) % RING);
  return { times: order.map((i) => (times[i] ?? 0) / 1000), values: order.map((i) => values[i] ?? 0) };
}

/** Bytes by which the newest reading of the ring is above the oldest; undefined with fewer than two. */
export function grown(ring: Ring | undefined): number | undefined {
  if (ring === undefined || ring.written < 2) return undefined;
  const newest = ring.values[(ring.written - 1) % RING] ?? 0;
  return newest - (ring.values[ring.written > RING ? ring.written % RING : 0] ?? 0);
}

/**
 * Seconds until the limit at the rate from the oldest to the newest reading; Infinity when that is no growth that matters. Cheap, for choosing who is worth a real test.
 */
export function roughSecondsToLimit(ring: Ring | undefined, limitBytes: number): number {
  const bytes = grown(ring);
  if (ring === undefined || bytes === undefined) return Number.POSITIVE_INFINITY;
  const newest = (ring.written - 1) % RING;
  const oldest = ring.written > RING ? ring.written % RING : 0;
  const usage = ring.values[newest] ?? 0;
  if (bytes < gateOf([usage], limitBytes) / 2) return Number.POSITIVE_INFINITY;
  const seconds = ((ring.times[newest] ?? 0) - (ring.times[oldest] ?? 0)) / 1000;
  return (Math.max(0, limitBytes - usage) * seconds) / bytes;
}

/** What the trend test of the diagnosis says: growth that is sustained, and not only a start. Undefined otherwise. */
export function sustainedGrowth(
  ring: Ring,
  limitBytes: number,
): { readonly bytesPerSecond: number; readonly spanSeconds: number } | undefined {
  const trend = judgeTrend(seriesOf(ring), limitBytes);
  if (trend.trend !== "Growing" || trend.provisional) return undefined;
  return { bytesPerSecond: trend.slope, spanSeconds: trend.spanSeconds };
}
