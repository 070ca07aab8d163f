/** Many series of one thing over the same times, kept as columns: the times are stored once, and what was not read in a sample has no point. */
import type { Series } from "./statistics.ts";

export interface Columns<F extends string> {
  readonly times: number[];
  readonly values: Readonly<Record<F, number[]>>;
}

export type Row<F extends string> = Readonly<Partial<Record<F, number | undefined>>>;

export function columns<F extends string>(fields: readonly F[]): Columns<F> {
  return {
    times: [],
    values: Object.fromEntries(fields.map((field) => [field, [] as number[]])) as Record<F, number[]>,
  };
}

/** Times must rise; whoever calls sees to it. */
export function addRow<F extends string>({ times, values }: Columns<F>, seconds: number, row: Row<F>): void {
  times.push(seconds);
  for (const field of Object.keys(values) as F[]) values[field].push(row[field] ?? Number.NaN);
}

/** A column as a series. One that has every point shares the times with its neighbours. */
export function seriesOf<F extends string>({ times, values }: Columns<F>, field: F): Series {
  const column = values[field];
  if (!column.some(Number.isNaN)) return { times, values: column };
  const kept = times.flatMap((_, i) => (Number.isNaN(column[i]) ? [] : [i]));
  return { times: kept.map((i) => times[i] ?? 0), values: kept.map((i) => column[i] ?? 0) };
}

/** Every column as a series. */
export function allSeries<F extends string>(of: Columns<F>): Record<F, Series> {
  const fields = Object.keys(of.values) as F[];
  return Object.fromEntries(fields.map((field) => [field, seriesOf(of, field)])) as Record<F, Series>;
}
