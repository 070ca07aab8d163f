/**
 * Many series of one thing over the same times, kept as rows: the time is stored once, and what was not read in a sample has no point. Rows lie in typed arrays,
 * outside of V8's heap. An hour of 200 processes is a million and a half numbers; as arrays that grow they would be copied again and again, each copy garbage of
 * the old generation that nobody collects in time.
 */
import type { Series } from "./statistics.ts";

/** Rows in one piece: what is wasted for a process that lives for a moment, against the number of pieces for one that lives for hours. */
const PIECE_ROWS = 64;

export interface Columns<F extends string> {
  readonly fields: readonly F[];
  /** Rows of the time and then each field; NaN: not read. */
  readonly pieces: Float64Array[];
  rows: number;
}

export type Row<F extends string> = Readonly<Partial<Record<F, number | undefined>>>;

export function columns<F extends string>(fields: readonly F[]): Columns<F> {
  return { fields, pieces: [], rows: 0 };
}

/** Times must rise; whoever calls sees to it. */
export function addRow<F extends string>(to: Columns<F>, seconds: number, row: Row<F>): void {
  addValues(to, seconds, (field) => row[field]);
}

/** As {@link addRow}, without an object in between. */
export function addValues<F extends string>(
  to: Columns<F>,
  seconds: number,
  valueOf: (field: F) => number | undefined,
): void {
  const width = to.fields.length + 1;
  const at = (to.rows % PIECE_ROWS) * width;
  if (at === 0) to.pieces.push(new Float64Array(PIECE_ROWS * width));
  const piece = to.pieces.at(-1) as Float64Array;
  piece[at] = seconds;
  to.fields.forEach((field, i) => (piece[at + 1 + i] = valueOf(field) ?? Number.NaN));
  to.rows++;
}

/** Undefined before the first row. */
export function lastTime<F extends string>({ fields, pieces, rows }: Columns<F>): number | undefined {
  return rows === 0 ? undefined : pieces.at(-1)?.[((rows - 1) % PIECE_ROWS) * (fields.length + 1)];
}

/** A column as a series. */
export function seriesOf<F extends string>({ fields, pieces, rows }: Columns<F>, field: F): Series {
  const width = fields.length + 1;
  const column = 1 + fields.indexOf(field);
  const times: number[] = [];
  const values: number[] = [];
  for (let row = 0; row < rows; row++) {
    const piece = pieces[Math.floor(row / PIECE_ROWS)];
    const at = (row % PIECE_ROWS) * width;
    const value = piece?.[at + column] ?? Number.NaN;
    if (Number.isNaN(value)) continue;
    times.push(piece?.[at] ?? 0);
    values.push(value);
  }
  return { times, values };
}

/** Every column as a series, which is made when it is first looked at: of most processes of a large target only a few ever are. */
export function allSeries<F extends string>(of: Columns<F>): Record<F, Series> {
  const made = new Map<F, Series>();
  const all = {} as Record<F, Series>;
  const get = (field: F): Series => {
    const series = made.get(field) ?? seriesOf(of, field);
    made.set(field, series);
    return series;
  };
  for (const field of of.fields) Object.defineProperty(all, field, { enumerable: true, get: () => get(field) });
  return all;
}
