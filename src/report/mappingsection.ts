/** Which mappings grow? Of each process the classes of mappings as bars of what was gained or given back, and the fields of smaps behind them. */
import type { SmapsField } from "../api/mappings.ts";
import { type ClassChange, held, type MappingGrowth } from "../diagnosis/mappinggrowth.ts";
import { bytesText, nameText, secondsText } from "../diagnosis/words.ts";
import { coordinate } from "./axis.ts";
import { html, type Markup, NOTHING } from "./markup.ts";
import type { Material } from "./material.ts";

const MAX_PROCESSES = 6;
/** Less is not worth a picture. */
const LEAST_BYTES = 64 * 1024;
const MAX_ROWS = 12;
const MAX_FILES = 12;
const WIDTH = 960;
const ROW = 22;
const LABEL = 150;
const VALUE = 96;

const CERTAINTY_WORDS = {
  Kernel: "the kernel says so",
  Claimed: "the process says so",
  Layout: "by its layout",
} as const;

export function mappingSection({ growths }: Material): Markup {
  const changed = growths.filter(({ heldDelta }) => Math.abs(heldDelta) >= LEAST_BYTES);
  const shown = changed.slice(0, MAX_PROCESSES);
  return html`<section aria-labelledby="mappings">
    <h2 id="mappings">Which mappings grow?</h2>
    <p class="note">${introduction(growths.length, shown.length)}</p>
    ${shown.map(processMarkup)}
    ${shown.length < growths.length ? html`<p class="note">${growths.length - shown.length} processes that grew less are not shown.</p>` : NOTHING}
  </section>`;
}

function introduction(compared: number, shown: number): string {
  if (compared === 0) return "Unknown: no process is in two snapshots of the mappings.";
  if (shown === 0) return "Nothing of note: no process that is in two snapshots holds 64 KiB more or less than before.";
  return "Held: private and copied pages with what of them is swapped out, or of shared memory its Pss. Two snapshots show a difference and no trend.";
}

function processMarkup(growth: MappingGrowth, i: number): Markup {
  const { comm, pid, heldDelta, from, to, classes, dominant, runtimes } = growth;
  const rows = classes.slice(0, MAX_ROWS);
  const runtime = runtimes.length === 0 ? "" : `, runs ${runtimes.join(" and ")}`;
  const says =
    dominant === undefined
      ? "No class has 80 % of the growth."
      : `${dominant.sharePercent} % of the growth is ${dominant.class} (${CERTAINTY_WORDS[dominant.certainty]}).`;
  return html`<h3>
      ${nameText(comm)} (pid ${pid}${runtime}): ${changeText(heldDelta)} held, in
      ${secondsText((to.elapsedMs - from.elapsedMs) / 1000)}
    </h3>
    <p>${says}</p>
    ${rows.length === 0 ? html`<p>Nothing changed.</p>` : html`${bars(rows, `mappings${i}`, says)}${classTable(rows, classes.length - rows.length)}`}
    ${files(growth)}`;
}

function changeText(bytes: number): string {
  return `${bytes > 0 ? "+" : ""}${bytesText(bytes)}`;
}

function bars(all: readonly ClassChange[], id: string, says: string): Markup {
  const rows = all.filter((row) => held(row.delta, row.class) !== 0);
  if (rows.length === 0) return NOTHING;
  const values = rows.map((row) => held(row.delta, row.class));
  const most = Math.max(1, ...values.map(Math.abs));
  const shrinks = values.some((value) => value < 0);
  const room = WIDTH - LABEL - 2 * VALUE;
  const zero = shrinks ? LABEL + VALUE + room / 3 : LABEL;
  const scale = (shrinks ? (2 * room) / 3 : room + VALUE) / most;
  const bar = (value: number, at: number): Markup => {
    const width = Math.min(Math.abs(value) * scale, value < 0 ? room / 3 : room + VALUE);
    const left = value < 0 ? zero - width : zero;
    return html`<rect
        class="bar ${value < 0 ? "less" : "more"}"
        x="${coordinate(left)}"
        y="${at * ROW + 4}"
        width="${coordinate(width)}"
        height="${ROW - 8}"
      /><text
        x="${coordinate(value < 0 ? left - 5 : left + width + 5)}"
        y="${at * ROW + 15}"
        text-anchor="${value < 0 ? "end" : "start"}"
        >${changeText(value)}</text
      >`;
  };
  return html`<div class="scroll">
    <svg class="bars" viewBox="0 0 ${WIDTH} ${rows.length * ROW}" role="img" aria-labelledby="${id}-title ${id}-says">
      <title id="${id}-title">Growth by class of mapping</title>
      <desc id="${id}-says">${says}</desc>
      ${rows.map((row, at) => html`<text x="${LABEL - 8}" y="${at * ROW + 15}" text-anchor="end">${row.class}</text>${bar(values[at] ?? 0, at)}`)}
      <path class="tick" d="M${zero} 0V${rows.length * ROW}" />
    </svg>
  </div>`;
}

const FIELDS: readonly SmapsField[] = ["Rss", "Pss", "Private_Dirty", "Anonymous", "Swap"];

function classTable(rows: readonly ClassChange[], omitted: number): Markup {
  return html`<details>
    <summary>The numbers by class</summary>
    <table>
      <caption>
        Change by class of mapping${omitted > 0 ? `; ${omitted} classes that changed least are not shown` : ""}
      </caption>
      <thead>
        <tr>
          <th scope="col">class</th>
          <th scope="col" class="n">held</th>
          ${FIELDS.map((field) => html`<th scope="col" class="n">${field}</th>`)}
          <th scope="col" class="n">Rss now</th>
          <th scope="col" class="n">mappings</th>
          <th scope="col">how it is known</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <th scope="row">${row.class}</th>
              <td class="n" data-v="${held(row.delta, row.class)}">${changeText(held(row.delta, row.class))}</td>
              ${FIELDS.map((field) => html`<td class="n">${changeText(row.delta[field] ?? 0)}</td>`)}
              <td class="n">${bytesText(row.after.Rss ?? 0)}</td>
              <td class="n">${row.mappings} (${row.mappingsDelta >= 0 ? "+" : ""}${row.mappingsDelta})</td>
              <td>${CERTAINTY_WORDS[row.certainty]}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}

function files({ names, namesUncertain }: MappingGrowth): Markup {
  const shown = names.slice(0, MAX_FILES);
  if (shown.length === 0) return NOTHING;
  const omitted = names.length - shown.length + namesUncertain;
  return html`<details>
    <summary>Libraries and files</summary>
    <table>
      <caption>
        Change by file; what is no library stands as ~ and a code${omitted > 0 ? `; ${omitted} more are not shown` : ""}
      </caption>
      <thead>
        <tr>
          <th scope="col">file</th>
          <th scope="col">class</th>
          ${FIELDS.map((field) => html`<th scope="col" class="n">${field}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${shown.map(
          (row) =>
            html`<tr>
              <th scope="row">${nameText(row.name, 80)}</th>
              <td>${row.class}</td>
              ${FIELDS.map((field) => html`<td class="n">${changeText(row.delta[field] ?? 0)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}
