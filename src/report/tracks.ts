/**
 * How does a long series become a line that is no wider than the paper? The largest and the smallest value of each bucket stay, so that no
 * peak is lost; where nothing was measured, or where another life begins, the line is broken and never joined.
 */

/** Values over time; a value of NaN ends the line, and another begins after it. */
export interface Track {
  /** Milliseconds since the first sample, rising. */
  readonly times: number[];
  readonly values: number[];
}

export interface Point {
  readonly time: number;
  readonly value: number;
}

/** Buckets of a whole width; two points each. */
const BUCKETS = 300;
/** A pause of so many usual intervals is a gap. */
const GAP_INTERVALS = 3.5;

export function emptyTrack(): Track {
  return { times: [], values: [] };
}

export function put(track: Track, time: number, value: number | undefined): void {
  if (value === undefined) return;
  track.times.push(time);
  track.values.push(value);
}

/** Ends the line here. */
export function cut(track: Track, time: number): void {
  if (track.times.length > 0 && !Number.isNaN(track.values.at(-1))) put(track, time, Number.NaN);
}

export function last(track: Track): number | undefined {
  return track.values.findLast((value) => !Number.isNaN(value));
}

export function first(track: Track): number | undefined {
  return track.values.find((value) => !Number.isNaN(value));
}

export function highest(track: Track): number {
  return track.values.reduce((most, value) => (value > most ? value : most), 0);
}

/** The runs of a track without a gap in them, each thinned out to what a picture can show. */
export function runs(track: Track): readonly (readonly Point[])[] {
  const longest = GAP_INTERVALS * usualInterval(track.times);
  const found: Point[][] = [];
  let run: Point[] = [];
  for (const [i, time] of track.times.entries()) {
    const value = track.values[i] ?? Number.NaN;
    const before = run.at(-1);
    if (Number.isNaN(value) || (before !== undefined && time - before.time > longest)) {
      if (run.length > 0) found.push(run);
      run = [];
    }
    if (!Number.isNaN(value)) run.push({ time, value });
  }
  if (run.length > 0) found.push(run);
  const span = (track.times.at(-1) ?? 0) - (track.times[0] ?? 0);
  return found.map((one) => thinned(one, span / BUCKETS, ({ value }) => value));
}

/** The median pause between two values; infinite where there are fewer than two. */
export function usualInterval(times: readonly number[]): number {
  const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  return pauses.length === 0 ? Number.POSITIVE_INFINITY : (pauses.toSorted((a, b) => a - b)[pauses.length >> 1] ?? 0);
}

/** Of each bucket of `width` milliseconds the first, the lowest, the highest and the last at most; the ends of the run stay. */
export function thinned<T extends { readonly time: number }>(
  run: readonly T[],
  width: number,
  valueOf: (one: T) => number,
): readonly T[] {
  if (run.length <= 2 * BUCKETS || !(width > 0)) return run;
  const kept = new Set<T>([run[0] as T, run.at(-1) as T]);
  const start = run[0]?.time ?? 0;
  let at = -1;
  let [low, high] = [run[0] as T, run[0] as T];
  for (const one of run) {
    const bucket = Math.floor((one.time - start) / width);
    if (bucket !== at) {
      kept.add(low).add(high);
      at = bucket;
      [low, high] = [one, one];
    }
    if (valueOf(one) < valueOf(low)) low = one;
    if (valueOf(one) > valueOf(high)) high = one;
  }
  kept.add(low).add(high);
  return run.filter((one) => kept.has(one));
}

/** At most `most` of the rows, evenly spread, the last among them. */
export function picked<T>(rows: readonly T[], most: number): readonly T[] {
  if (rows.length <= most) return rows;
  const step = (rows.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, i) => rows[Math.round(i * step)] as T);
}
