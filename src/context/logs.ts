/** What of a container's log may be kept: the last whole lines, each capped, without what looks like a secret. */
import type { LogTail } from "../api/context.ts";
import { redact } from "./redact.ts";
import { cut } from "./untrusted.ts";

/** Of one log. */
const MAX_BYTES = 16 * 1024;
const MAX_LINE = 1024;

export interface RawLog {
  readonly pod: string;
  readonly uid: string;
  readonly container: string;
  readonly text: string;
}

/**
 * @param maxLines at most this many, the newest
 * @param cutOff the API server stopped at its limit of bytes: the last line is not whole, and half a secret is not recognised
 */
export function logTail(raw: RawLog, containerId: string | undefined, maxLines: number, cutOff: boolean): LogTail {
  // Secrets may span lines, so they are looked for before the text is taken apart.
  const { text, count } = redact(raw.text);
  const all = text.split("\n").filter((line) => line.trim() !== "");
  const whole = cutOff ? all.slice(0, -1) : all;
  const lines: string[] = [];
  let bytes = 0;
  for (const line of whole.toReversed()) {
    const kept = cut(line, MAX_LINE);
    bytes += Buffer.byteLength(kept) + 1;
    if (lines.length >= maxLines || bytes > MAX_BYTES) break;
    lines.push(kept);
  }
  const { pod, uid, container } = raw;
  return {
    pod,
    uid,
    container,
    containerId,
    lines: lines.toReversed(),
    linesOmitted: all.length - lines.length,
    redactions: count,
  };
}
