/**
 * How is JSON read that an attacker may have written?
 * Size is capped by the caller before it gets here. Depth is counted before the parser runs, because `JSON.parse` takes a
 * nesting that later recursion dies of. What comes out goes through zod, which builds new objects and drops unknown keys.
 */
import type { z } from "zod";

/** The records of a pack nest about eight deep. */
const MAX_JSON_DEPTH = 32;

/** The text is not what it should be; `message` says why, without any of the text itself. */
export class BadJson extends Error {
  override name = "BadJson";
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** True when arrays and objects nest deeper than `limit`. Linear in the size, keeps no stack. */
export function isDeeperThan(limit: number, bytes: Uint8Array): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inString = false;
      continue;
    }
    if (byte === QUOTE) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > limit) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return false;
}

/**
 * Parses and checks one JSON text. Half surrogate pairs become U+FFFD, so that what comes out can be written as UTF-8.
 * Throws BadJson for everything that is not what `schema` asks for.
 */
export function parseJson<T>(bytes: Uint8Array, schema: z.ZodType<T>): T {
  if (isDeeperThan(MAX_JSON_DEPTH, bytes)) throw new BadJson(`nested deeper than ${MAX_JSON_DEPTH}`);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  // Only an escape can bring half a pair in: the decoder has replaced malformed bytes already.
  const reviver = /\\u[dD][89a-fA-F]/.test(text) ? wellFormed : undefined;
  let value: unknown;
  try {
    value = JSON.parse(text, reviver);
  } catch {
    throw new BadJson("not JSON");
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue === undefined ? "" : ` at ${issue.path.slice(0, 6).map(safeKey).join(".") || "the top"}`;
  throw new BadJson(`not of the expected form${where}`);
}

function wellFormed(_key: string, value: unknown): unknown {
  return typeof value === "string" ? value.toWellFormed() : value;
}

/** Keys of records come from the file: they are shown only when they are plain words. */
function safeKey(key: PropertyKey): string {
  const text = String(key);
  return /^[\w-]{1,40}$/.test(text) ? text : "?";
}
