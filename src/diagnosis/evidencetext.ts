/** A line of evidence as people read it: sizes with their units, and the parts of a pack in short. */
import type { EvidenceLine } from "../api/memoryinvestigation.ts";
import { bytesText, nameText } from "./words.ts";

/** `1.7 MiB/s`, `12 samples`. */
export function measureText({ value, unit }: Pick<EvidenceLine, "value" | "unit">): string {
  const number = Number(value);
  if (unit === "bytes" && Number.isFinite(number)) return bytesText(number);
  if (unit === "bytes/s" && Number.isFinite(number)) return `${bytesText(number)}/s`;
  return `${nameText(value)} ${nameText(unit)}`;
}

/** `>= 5242880` of bytes as `>= 5.0 MiB`; empty where nothing was compared. */
export function comparedText({ threshold, unit }: Pick<EvidenceLine, "threshold" | "unit">): string {
  const text = nameText(threshold ?? "");
  const [, sign, number] = /^([<>]=? )(\d{1,15})$/.exec(text) ?? [];
  return unit === "bytes" && number !== undefined ? `${sign ?? ""}${bytesText(Number(number))}` : text;
}

/** `readings-0000.ndjson..readings-0005.ndjson` as `readings-0000..0005.ndjson`. */
export function partText(part: string): string {
  return nameText(part, 128).replace(/^([a-z-]+)-(\d+)(\.\w+)\.\.\1-(\d+)\3$/, "$1-$2..$4$3");
}
