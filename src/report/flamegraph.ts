/** A flame graph as SVG: callers above, what they call below, width by weight. Without script it can be read and printed; with it zoomed and searched. */
import type { FlameNode } from "../profile/flametree.ts";
import { coordinate } from "./axis.ts";
import { html, type Markup } from "./markup.ts";

const WIDTH = 960;
const ROW = 18;
/** Of a monospaced letter of 11 pixels. */
const LETTER = 6.7;
/** Boxes of less than this share of all are left out, and so are the lightest beyond the number. */
const LEAST_SHARE = 0.001;
const MAX_BOXES = 1200;
const MAX_DEPTH = 64;

interface Box {
  readonly node: FlameNode;
  readonly x: number;
  readonly depth: number;
}

export interface FlameGraph {
  readonly id: string;
  readonly title: string;
  readonly says: string;
  readonly root: FlameNode;
  /** A weight in words, such as `120 faults`. */
  readonly weightText: (weight: number) => string;
  /** Who is named in the finding. */
  readonly culprit: { readonly function?: string | undefined; readonly library?: string | undefined } | undefined;
}

export function flameGraph(graph: FlameGraph): { readonly markup: Markup; readonly omitted: number } {
  const { id, title, says, root } = graph;
  const all = boxesOf(root);
  const kept = new Set(
    all.boxes.toSorted((a, b) => b.node.total - a.node.total || a.depth - b.depth).slice(0, MAX_BOXES),
  );
  const boxes = all.boxes.filter((box) => kept.has(box));
  const rows = 1 + boxes.reduce((most, { depth }) => Math.max(most, depth), 0);
  const total = Math.max(1, root.total);
  const markup = html`<figure class="flame" data-total="${total}">
    <figcaption>${title}</figcaption>
    <div class="tools" hidden>
      <label
        >Search <input type="search" placeholder="function or library" autocomplete="off" spellcheck="false"
      /></label>
      <button type="button">Show all</button> <output aria-live="polite"></output>
    </div>
    <div class="scroll">
      <svg viewBox="0 0 ${WIDTH} ${rows * ROW}" role="group" aria-labelledby="${id}-title ${id}-says">
        <title id="${id}-title">${title}</title>
        <desc id="${id}-says">${says}</desc>
        ${boxes.map((box) => boxMarkup(box, graph, total))}
      </svg>
    </div>
  </figure>`;
  return { markup, omitted: all.omitted + all.boxes.length - boxes.length };
}

function boxesOf(root: FlameNode): { readonly boxes: readonly Box[]; readonly omitted: number } {
  const boxes: Box[] = [];
  let omitted = 0;
  const least = root.total * LEAST_SHARE;
  const walk = (node: FlameNode, x: number, depth: number): void => {
    boxes.push({ node, x, depth });
    let at = x;
    for (const child of node.children) {
      if (child.total < least || depth + 1 >= MAX_DEPTH) omitted++;
      else walk(child, at, depth + 1);
      at += child.total;
    }
  };
  walk(root, 0, 0);
  return { boxes, omitted };
}

function boxMarkup({ node, x, depth }: Box, { weightText, culprit }: FlameGraph, total: number): Markup {
  const [left, width] = [coordinate((WIDTH * x) / total), coordinate((WIDTH * node.total) / total)];
  const letters = Math.floor((width - 6) / LETTER);
  const label = letters < 3 ? "" : node.name.length <= letters ? node.name : `${node.name.slice(0, letters - 1)}…`;
  const named =
    culprit?.library !== undefined &&
    node.library === culprit.library &&
    (culprit.function === undefined || culprit.function === node.name);
  const share = `${Math.round((1000 * node.total) / total) / 10} %`;
  const where = node.library === undefined ? "" : ` in ${node.library}`;
  const hue = depth === 0 ? "root" : node.plumbing === true ? "plumbing" : `h${hueOf(node.library ?? "")}`;
  return html`<g
    class="box ${hue}${named ? " culprit" : ""}"
    tabindex="${depth === 0 ? 0 : -1}"
    data-x="${x}"
    data-w="${node.total}"
    data-d="${depth}"
    ><title>${node.name}${where}: ${share}, ${weightText(node.total)}</title
    ><rect x="${left}" y="${depth * ROW}" width="${Math.max(0.4, width)}" height="${ROW - 1}" /><text
      x="${coordinate(left + 3)}"
      y="${depth * ROW + 12}"
      >${label}</text
    ></g
  >`;
}

/** One of five hues by the library's name, the same in every report. */
function hueOf(name: string): number {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return hash % 5;
}
