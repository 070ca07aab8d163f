/** The paper under every chart: axes, ticks, limits, and the moments at which something happened, as SVG. */
import { coordinate, timeText, timeTicks, type Unit, valueText, valueTicks } from "./axis.ts";
import { html, type Markup } from "./markup.ts";
import type { Mark } from "./moments.ts";
import type { Point } from "./tracks.ts";

/** The same for every chart of a page: milliseconds since the first sample. */
export interface Range {
  readonly from: number;
  readonly to: number;
  /** Wall-clock time of 0 in milliseconds; undefined: unknown, and the axis counts from the first sample. */
  readonly startMs: number | undefined;
}

export interface Plot {
  readonly width: number;
  readonly height: number;
  readonly range: Range;
  readonly unit: Unit;
  readonly top: number;
  x(time: number): number;
  y(value: number): number;
  readonly ticks: readonly number[];
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export const MARGIN = { left: 72, right: 14, top: 12, bottom: 26 } as const;

/** @param most the largest value that is drawn */
export function plotOf(size: Size, range: Range, unit: Unit, most: number): Plot {
  const ticks = valueTicks(most, unit);
  const top = ticks.at(-1) ?? 1;
  const span = Math.max(1, range.to - range.from);
  const inner = { width: size.width - MARGIN.left - MARGIN.right, height: size.height - MARGIN.top - MARGIN.bottom };
  return {
    ...size,
    range,
    unit,
    top,
    ticks,
    x: (time) => coordinate(MARGIN.left + (inner.width * (time - range.from)) / span),
    y: (value) => coordinate(MARGIN.top + inner.height * (1 - Math.max(0, Math.min(1, value / top)))),
  };
}

export function axes(plot: Plot): Markup {
  const { range } = plot;
  const offset = range.startMs ?? 0;
  const times = timeTicks(range.from + offset, range.to + offset);
  const withSeconds = (times[1] ?? 0) - (times[0] ?? 0) < 60_000;
  const bottom = plot.height - MARGIN.bottom;
  const sparse = plot.width < 500 ? times.filter((_, i) => i % 3 === 0) : times;
  return html`<g class="axis">
    ${plot.ticks.map(
      (tick) =>
        html`<path class="grid" d="M${MARGIN.left} ${plot.y(tick)}H${plot.width - MARGIN.right}" />
          <text x="${MARGIN.left - 6}" y="${plot.y(tick) + 4}" text-anchor="end">${valueText(tick, plot.unit)}</text>`,
    )}
    ${sparse.map((tick) => {
      const x = plot.x(tick - offset);
      const text = range.startMs === undefined ? `+${Math.round(tick / 1000)} s` : timeText(tick, withSeconds);
      return html`<path class="tick" d="M${x} ${bottom}v4" /><text x="${x}" y="${bottom + 18}" text-anchor="middle"
          >${text}</text
        >`;
    })}
  </g>`;
}

/** A straight line such as a limit, with its name at its left end. */
export function level(plot: Plot, value: number, name: string): Markup {
  const y = plot.y(value);
  return html`<path class="level" d="M${MARGIN.left} ${y}H${plot.width - MARGIN.right}" /><text
      class="name"
      x="${MARGIN.left + 6}"
      y="${y < MARGIN.top + 14 ? y + 14 : y - 5}"
    >
      ${name}
    </text>`;
}

/** Rules through a chart at kills and restarts. */
export function rules(plot: Plot, marks: readonly Mark[]): Markup {
  const shown = placed(
    plot,
    marks.filter(({ kind }) => kind === "Kill" || kind === "Restart"),
  );
  return html`${shown.map(
    ({ x, kind, text }) =>
      html`<path class="rule ${kind.toLowerCase()}" d="M${x} ${MARGIN.top}V${plot.height - MARGIN.bottom}"
        ><title>${text}</title></path
      >`,
  )}`;
}

export interface Placed {
  readonly x: number;
  readonly kind: Mark["kind"];
  /** What happened here; of several on one pixel all of it. */
  readonly text: string;
  readonly count: number;
}

/** Marks inside the range; those of one kind that would stand on one another are one. */
export function placed(plot: Plot, marks: readonly Mark[]): readonly Placed[] {
  const at = new Map<string, { x: number; kind: Mark["kind"]; text: string; count: number }>();
  for (const { time, kind, text } of marks) {
    if (time < plot.range.from || time > plot.range.to) continue;
    const x = plot.x(time);
    const key = `${kind}/${Math.round(x / 4)}`;
    const known = at.get(key);
    if (known === undefined) at.set(key, { x, kind, text, count: 1 });
    else {
      known.count++;
      if (known.text.length < 400) known.text += `; ${text}`;
    }
  }
  return [...at.values()];
}

export function lineOf(plot: Plot, points: readonly Point[]): string {
  return points.map(({ time, value }, i) => `${i === 0 ? "M" : "L"}${plot.x(time)} ${plot.y(value)}`).join("");
}
