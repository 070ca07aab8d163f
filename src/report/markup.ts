/**
 * How does foreign text get into a page without harm? Markup is made by the tag `html` alone: whatever is put into it is escaped, unless it
 * is markup itself. Characters that cannot be seen or that turn the direction of text are shown as their codes.
 */

/** Text that is markup already. Only this file makes it. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Piece = string | number | Markup | undefined | readonly Piece[];

/** Control, format, surrogate and private characters, line ends of Unicode, and marks that pile up on a letter. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{M}]/gu;
const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};
/** Longer text is cut: a pack may hold megabytes of it. */
const MAX_TEXT = 2000;

/** Foreign text as it may stand between tags or in a quoted attribute. */
export function escaped(text: string): string {
  const cut = text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
  return cut
    .replaceAll(UNSEEN, (found) => `\\u{${(found.codePointAt(0) ?? 0).toString(16)}}`)
    .replaceAll(/[&<>"'`]/g, (found) => ENTITIES[found] ?? "");
}

/** Attributes must be written in double quotes. */
export function html(strings: TemplateStringsArray, ...pieces: readonly Piece[]): Markup {
  const between = withoutIndents(strings);
  let text = between[0] ?? "";
  for (const [i, piece] of pieces.entries()) text += `${textOf(piece)}${between[i + 1] ?? ""}`;
  return new Markup(text);
}

const cleaned = new WeakMap<TemplateStringsArray, readonly string[]>();

/** Indents are for readers of the source: in a page of thousands of boxes they would be most of it. */
function withoutIndents(strings: TemplateStringsArray): readonly string[] {
  const known = cleaned.get(strings) ?? strings.map((text) => text.replaceAll(/\n\s+/g, "\n"));
  cleaned.set(strings, known);
  return known;
}

function textOf(piece: Piece): string {
  if (piece === undefined) return "";
  if (piece instanceof Markup) return piece.text;
  if (typeof piece === "number") return String(piece);
  return typeof piece === "string" ? escaped(piece) : piece.map(textOf).join("");
}

export const NOTHING = html``;
