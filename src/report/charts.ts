/**
 * Charts: lines, and memory stacked by kind, each as an SVG with its legend and with the numbers behind it as a table. Without script they
 * are whole; with it a cursor reads the table.
 */
import type { MemoryKind } from "../api/collection.ts";
import { coordinate, momentText, type Unit, valueText } from "./axis.ts";
import { html, type Markup, NOTHING } from "./markup.ts";
import { type Mark, MARK_KINDS, MARK_WORDS } from "./moments.ts";
import { axes, level, lineOf, MARGIN, placed, type Plot, plotOf, type Range, rules, type Size } from "./plot.ts";
import { kindsOf, type Level } from "./readings.ts";
import { highest, picked, type Point, runs, thinned, type Track, usualInterval } from "./tracks.ts";

const WIDE: Size = { width: 960, height: 260 };
export const SMALL: Size = { width: 420, height: 170 };
/** Rows of the table behind a chart. */
const MAX_ROWS = 100;

interface Chart {
  /** Unique on the page, letters and digits. */
  readonly id: string;
  readonly title: string;
  /** What it shows, for whoever cannot see it. */
  readonly says: string;
  readonly range: Range;
  readonly marks: readonly Mark[];
}

export interface Line {
  readonly name: string;
  readonly track: Track;
}

export interface LineChart extends Chart {
  readonly unit: Unit;
  /** At most four: more cannot be told apart. */
  readonly lines: readonly Line[];
  /** Straight lines with a name, such as a limit. */
  readonly levels?: readonly { readonly name: string; readonly value: number }[];
  readonly size?: Size;
  /** For charts that are compared: the top of all of them. */
  readonly most?: number;
}

export function lineChart(chart: LineChart): Markup {
  const { lines, levels = [], size = WIDE, unit, range, marks } = chart;
  const most =
    chart.most ?? Math.max(0, ...lines.map(({ track }) => highest(track)), ...levels.map(({ value }) => value));
  const plot = plotOf(size, range, unit, most);
  const drawn = html`${axes(plot)}${levels.map(({ name, value }) => level(plot, value, name))}${rules(plot, marks)}
  ${lines.map(({ track }, i) => runs(track).map((run) => lineMarkup(plot, run, i)))}`;
  const legend = html`<ul class="legend">
    ${lines.map(
      ({ name, track }, i) =>
        html`<li>
          <svg width="28" height="10" aria-hidden="true"><path class="line l${i}" d="M0 5h28" /></svg>${name}
          <b>${endText(track, unit)}</b>
        </li>`,
    )}
  </ul>`;
  return figure(chart, size, [drawn, legend, tableOf(chart, columnsOf(lines, unit))], plot);
}

function endText(track: Track, unit: Unit): string {
  const value = track.values.findLast((one) => !Number.isNaN(one));
  return value === undefined ? "not measured" : valueText(value, unit);
}

/** A single value is a dot: a line of one point cannot be seen. */
function lineMarkup(plot: Plot, run: readonly Point[], i: number): Markup {
  const [only] = run;
  if (only !== undefined && run.length === 1)
    return html`<circle class="dot l${i}" cx="${plot.x(only.time)}" cy="${plot.y(only.value)}" r="2.5" />`;
  return html`<path class="line l${i}" d="${lineOf(plot, run)}" />`;
}

/** Kinds from the bottom up: what cannot be taken back first. Swap is not charged with the rest, so it is a line. */
const STACKED: readonly MemoryKind[] = ["anon", "shmem", "kernel", "sock", "file"];
const KIND_WORDS: Readonly<Record<MemoryKind, string>> = {
  anon: "anon: heap, stacks, private pages",
  shmem: "shmem: tmpfs and shared memory",
  kernel: "kernel: slab, page tables, stacks",
  sock: "sock: socket buffers",
  file: "file: page cache",
  swap: "swap: beside the rest",
};
const LANE = 20;

export interface StackChart extends Chart {
  readonly levels: readonly Level[];
  readonly limit: Track;
  /** When another life began. */
  readonly breaks: readonly number[];
}

export function stackChart(chart: StackChart): Markup {
  const { levels, limit, range, marks } = chart;
  const kinds = STACKED.filter((kind) => kindsOf({ levels }).includes(kind));
  const usage: Track = { times: levels.map(({ time }) => time), values: levels.map((one) => one.usage) };
  const swap = swapOf(levels);
  const sum = (one: Level): number => kinds.reduce((total, kind) => total + (one.kinds[kind] ?? 0), 0);
  const most = Math.max(0, highest(limit), highest(usage), ...levels.map(sum), highest(swap));
  const lanes = MARK_KINDS.filter((kind) => marks.some((mark) => mark.kind === kind && mark.time >= range.from));
  const plot = plotOf({ width: WIDE.width, height: 320 }, range, "bytes", most);
  const drawn = html`${axes(plot)}${stacks(levels, chart.breaks).map((run) => kinds.map((_, i) => band(plot, run, kinds, i)))}
  ${runs(usage).map((run) => html`<path class="usage" d="${lineOf(plot, run)}" />`)}
  ${highest(swap) > 0 ? runs(swap).map((run) => lineMarkup(plot, run, 3)) : NOTHING}
  ${runs(limit).map((run) => limitMarkup(plot, run))}${rules(plot, marks)}
  ${lanes.map((kind, i) =>
    lane(
      plot,
      kind,
      marks.filter((mark) => mark.kind === kind),
      plot.height + LANE * (i + 0.5),
    ),
  )}`;
  const size = { width: plot.width, height: plot.height + LANE * lanes.length + 4 };
  const columns = [
    { name: "usage", unit: "bytes" as const, track: usage },
    ...[...kinds, ...(highest(swap) > 0 ? (["swap"] as const) : [])].map((kind) => ({
      name: kind,
      unit: "bytes" as const,
      track: kindTrack(levels, kind),
    })),
  ];
  return figure(chart, size, [drawn, stackLegend(kinds, levels, highest(swap) > 0), tableOf(chart, columns)], plot);
}

function stackLegend(kinds: readonly MemoryKind[], levels: readonly Level[], swap: boolean): Markup {
  const end = levels.at(-1);
  const swatch = (inner: Markup): Markup => html`<svg width="14" height="12" aria-hidden="true">${inner}</svg>`;
  return html`<ul class="legend">
    ${kinds.toReversed().map((kind) => html`<li>${swatch(html`<rect class="band k-${kind}" width="14" height="12" />`)}${KIND_WORDS[kind]} <b>${valueText(end?.kinds[kind] ?? 0, "bytes")}</b></li>`)}
    <li>
      ${swatch(html`<path class="usage" d="M0 6h14" />`)}usage, as the kernel counts it
      <b>${valueText(end?.usage ?? 0, "bytes")}</b>
    </li>
    ${swap ? html`<li>${swatch(html`<path class="line l3" d="M0 6h14" />`)}${KIND_WORDS.swap}</li>` : NOTHING}
  </ul>`;
}

function kindTrack(levels: readonly Level[], kind: MemoryKind): Track {
  return { times: levels.map(({ time }) => time), values: levels.map(({ kinds }) => kinds[kind] ?? Number.NaN) };
}

function swapOf(levels: readonly Level[]): Track {
  return kindTrack(levels, "swap");
}

/** Runs of levels without a gap or another life in them, thinned by their usage. */
function stacks(levels: readonly Level[], breaks: readonly number[]): readonly (readonly Level[])[] {
  const longest = 3.5 * usualInterval(levels.map(({ time }) => time));
  const found: Level[][] = [[]];
  for (const one of levels) {
    const before = found.at(-1)?.at(-1);
    if (before !== undefined && (one.time - before.time > longest || breaks.includes(one.time))) found.push([]);
    found.at(-1)?.push(one);
  }
  const span = (levels.at(-1)?.time ?? 0) - (levels[0]?.time ?? 0);
  return found.filter((run) => run.length > 0).map((run) => thinned(run, span / 300, ({ usage }) => usage));
}

function band(plot: Plot, run: readonly Level[], kinds: readonly MemoryKind[], i: number): Markup {
  const height = (one: Level, upTo: number): number =>
    kinds.slice(0, upTo).reduce((sum, kind) => sum + (one.kinds[kind] ?? 0), 0);
  const kind = kinds[i] ?? "anon";
  if (!run.some((one) => (one.kinds[kind] ?? 0) > 0)) return NOTHING;
  const upper = run.map((one) => ({ time: one.time, value: height(one, i + 1) }));
  const lower = run.map((one) => ({ time: one.time, value: height(one, i) })).toReversed();
  return html`<path class="band k-${kind}" d="${lineOf(plot, upper)}${lineOf(plot, lower).replace("M", "L")}Z" />`;
}

function limitMarkup(plot: Plot, run: readonly Point[]): Markup {
  const end = run.at(-1);
  if (end === undefined) return NOTHING;
  const y = plot.y(end.value);
  return html`<path class="level" d="${lineOf(plot, run)}H${plot.width - MARGIN.right}" /><text
      class="name"
      x="${plot.width - MARGIN.right - 4}"
      y="${y < MARGIN.top + 14 ? y + 14 : y - 5}"
      text-anchor="end"
    >
      limit ${valueText(end.value, "bytes")}
    </text>`;
}

/** Shapes, so that no colour is needed to tell them apart. */
const SHAPES: Readonly<Record<Mark["kind"], string>> = {
  Kill: "m-5 -5 l10 10 m0 -10 l-10 10",
  Restart: "m0 -6 l6 11 h-12 z",
  Rollout: "m0 -6 l6 6 l-6 6 l-6 -6 z",
  Event: "m-3 0 a3 3 0 1 0 6 0 a3 3 0 1 0 -6 0",
};

function lane(plot: Plot, kind: Mark["kind"], marks: readonly Mark[], y: number): Markup {
  return html`<g class="lane"
    ><text x="${MARGIN.left - 6}" y="${y + 4}" text-anchor="end">${MARK_WORDS[kind]}</text>
    <path class="grid" d="M${MARGIN.left} ${y}H${plot.width - MARGIN.right}" />
    ${placed(plot, marks).map(({ x, text, count }) => html`<path class="mark ${kind.toLowerCase()}" d="M${x} ${y}${SHAPES[kind]}"><title>${count > 1 ? `${count} times: ` : ""}${text}</title></path>`)}</g
  >`;
}

interface Column extends Line {
  readonly unit: Unit;
}

function columnsOf(lines: readonly Line[], unit: Unit): readonly Column[] {
  return lines.map((line) => ({ ...line, unit }));
}

function tableOf({ range, title, id }: Chart, columns: readonly Column[]): Markup {
  const times = [...new Set(columns.flatMap(({ track }) => track.times))].toSorted((a, b) => a - b);
  const values = columns.map(({ track }) => new Map(track.times.map((time, i) => [time, track.values[i]])));
  const rows = picked(times, MAX_ROWS);
  const cell = (value: number | undefined, unit: Unit): Markup =>
    value === undefined || Number.isNaN(value)
      ? html`<td class="n">–</td>`
      : html`<td class="n" data-v="${value}">${valueText(value, unit)}</td>`;
  return html`<details class="numbers">
    <summary>The numbers: ${title}</summary>
    <table id="${id}-numbers">
      <caption>
        ${title}${rows.length < times.length ? `: ${rows.length} of ${times.length} readings, evenly spread` : ""}
      </caption>
      <thead>
        <tr>
          <th scope="col">time</th>
          ${columns.map(({ name }) => html`<th scope="col" class="n">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (time) =>
            html`<tr data-t="${coordinate(time)}">
              <th scope="row">${clock(range, time)}</th>
              ${columns.map(({ unit }, i) => cell(values[i]?.get(time), unit))}
            </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}

export function clock({ startMs }: Range, time: number): string {
  return startMs === undefined ? `+${Math.round(time / 1000)} s` : momentText(startMs + time).slice(11);
}

function figure(
  chart: Chart,
  size: Size,
  [drawn, legend, table]: readonly [Markup, Markup, Markup],
  plot: Plot,
): Markup {
  const { id, title, says, range } = chart;
  const box = { x: [MARGIN.left, size.width - MARGIN.right], y: [MARGIN.top, plot.height - MARGIN.bottom] };
  return html`<figure
    class="chart"
    data-from="${coordinate(range.from)}"
    data-to="${coordinate(range.to)}"
    data-x="${box.x.join(" ")}"
    data-y="${box.y.join(" ")}"
  >
    <figcaption>${title}</figcaption>
    <div class="scroll">
      <svg viewBox="0 0 ${size.width} ${size.height}" role="img" tabindex="0" aria-labelledby="${id}-title ${id}-says">
        <title id="${id}-title">${title}</title>
        <desc id="${id}-says">${says}</desc>
        ${drawn}
      </svg>
    </div>
    ${legend}<output></output>${table}
  </figure>`;
}
