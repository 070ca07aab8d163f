/**
 * How do numbers and foreign text look on a terminal? Names and paths were written by others: what could move the cursor, change colours or
 * reverse the direction of writing is shown as its code.
 */
import { bytesText } from "../diagnosis/words.ts";

/** Control, format and surrogate characters (C0, C1, ESC, bidi, zero width), line ends of Unicode, and marks that pile up on a letter. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}\p{M}]/gu;

/** Foreign text that is safe to print, at most `length` characters of it. */
export function shown(text: string, length = 256): string {
  const safe = text
    .slice(0, length * 4)
    .replaceAll(UNSAFE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
  return safe.length <= length ? safe : `${safe.slice(0, Math.max(0, length - 1))}…`;
}

/** `+1.2 MiB`, `-3.0 KiB`, `0 B`. */
export function change(bytes: number): string {
  return `${bytes > 0 ? "+" : ""}${bytesText(bytes)}`;
}

export function percent(part: number, whole: number): string {
  return whole <= 0 ? "?" : `${Math.round((100 * part) / whole)} %`;
}

const BLOCKS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] as const;

/**
 * The last values as a row of blocks, oldest first, from the least to the greatest of them. Where they differ by less than `flat`, all are low:
 * noise must not look like a mountain range.
 */
export function sparkline(values: readonly number[], width: number, flat = 0): string {
  const shownValues = values.slice(-width);
  const low = Math.min(...shownValues);
  const range = Math.max(...shownValues) - low;
  return shownValues
    .map((value) => (range <= flat ? BLOCKS[0] : BLOCKS[Math.round(((value - low) / range) * (BLOCKS.length - 1))]))
    .join("");
}

/** `[######------]`: filled by a share from 0 to 1. */
export function bar(share: number, width: number): string {
  const inside = Math.max(1, width - 2);
  const filled = Math.round(Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0)) * inside);
  return `[${"#".repeat(filled)}${"-".repeat(inside - filled)}]`;
}

/** `0:58`, `12:05`, `1:02:03`. */
export function clockText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number): string => String(value).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Rows of cells as aligned columns: `<` to the left, `>` to the right. The last column is not padded. */
export function table(rows: readonly (readonly string[])[], align: readonly ("<" | ">")[], indent = 2): string[] {
  const widths = align.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    `${" ".repeat(indent)}${align
      .map((side, i) =>
        side === ">" ? (row[i] ?? "").padStart(widths[i] ?? 0) : (row[i] ?? "").padEnd(widths[i] ?? 0),
      )
      .join("  ")}`.trimEnd(),
  );
}

/** Cut to a width; marked where something is missing. Only for text of single-width characters. */
export function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  return width <= 1 ? text.slice(0, Math.max(0, width)) : `${text.slice(0, width - 1)}…`;
}
