/**
 * Where does one JSON document end and the next begin in a stream of bytes? Two splitters that work on the chunks as they come, so that a list of
 * thousands of objects is never held as one text: lines (a watch) and the items of a list.
 */

/** One object is at most some MiB in etcd; anything larger is no answer of an API server. */
export const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;

/** Bytes of a document: `buffer` from `start` to before `end`. Only valid until the callback returns. */
export type OnDocument = (buffer: Buffer, start: number, end: number) => void;

/** The stream is not what it should be: cut in the middle, too large, or no JSON. */
export class SplitError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "SplitError";
  }
}

export interface Splitter {
  push(chunk: Uint8Array): void;
  /** To be called when the stream ended well. Throws SplitError when it ended inside a document. */
  end(): void;
}

function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

/** Collects a document that spans chunks in one buffer that is used again for the next. */
class Carry {
  #buffer = Buffer.allocUnsafe(32 * 1024);
  length = 0;

  add(chunk: Buffer, start: number, end: number): void {
    const needed = this.length + end - start;
    if (needed > MAX_DOCUMENT_BYTES) throw new SplitError(`A document is over ${MAX_DOCUMENT_BYTES} bytes`);
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.min(Math.max(needed, this.#buffer.length * 2), MAX_DOCUMENT_BYTES));
      this.#buffer.copy(larger, 0, 0, this.length);
      this.#buffer = larger;
    }
    chunk.copy(this.#buffer, this.length, start, end);
    this.length = needed;
  }

  /** What was collected; empty afterwards. */
  take(): Buffer {
    const whole = this.#buffer.subarray(0, this.length);
    this.length = 0;
    // One huge object must not keep its memory for the life of the watch.
    if (this.#buffer.length > 1024 * 1024) this.#buffer = Buffer.allocUnsafe(32 * 1024);
    return whole;
  }
}

const NEWLINE = 0x0a;

/** Splits newline-delimited JSON. Empty lines are skipped. */
export function lineSplitter(onLine: OnDocument): Splitter {
  const carry = new Carry();
  return {
    push(raw) {
      const chunk = asBuffer(raw);
      let start = 0;
      for (;;) {
        const newline = chunk.indexOf(NEWLINE, start);
        if (newline === -1) break;
        if (carry.length > 0) {
          carry.add(chunk, start, newline);
          const line = carry.take();
          onLine(line, 0, line.length);
        } else if (newline > start) {
          onLine(chunk, start, newline);
        }
        start = newline + 1;
      }
      if (start < chunk.length) carry.add(chunk, start, chunk.length);
    },
    end() {
      if (carry.length > 0) throw new SplitError("The stream ended in the middle of a line");
    },
  };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** After which the array at depth 1 holds the items. */
const ITEMS_KEY = /"items"\s*:\s*$/;

export interface ItemSplitter extends Splitter {
  /** The list without its items (`"items":[]`), as text, once the list is complete. */
  envelope(): string;
}

/**
 * Splits `{"kind":"PodList","metadata":{…},"items":[{…},{…}]}` into its items and the rest. Looks at each byte once; knows of JSON only
 * strings and brackets, so the parser has the last word on what is in between.
 */
export function itemSplitter(onItem: OnDocument): ItemSplitter {
  const carry = new Carry();
  const rest = new Carry();
  let depth = 0;
  let inString = false;
  let escaped = false;
  let inItems = false;
  let seenItems = false;
  let finished = false;

  // Returns the index after the item that goes on at `from`, or -1 when the chunk ends first.
  function itemEnd(chunk: Buffer, from: number): number {
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth--;
        if (depth === 2) return i + 1;
      }
    }
    return -1;
  }

  // Inside the items array but between items: returns where to go on, having set depth to 3 when an item begins.
  function betweenItems(chunk: Buffer, from: number): number {
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i];
      if (byte === OPEN_BRACE) return i;
      if (byte === CLOSE_BRACKET) {
        inItems = false;
        // The bracket itself is for `outside` to count.
        depth = 2;
        return i;
      }
      // A comma or white space; anything else would be no object.
      if (byte !== 0x2c && byte !== 0x20 && byte !== NEWLINE && byte !== 0x0d && byte !== 0x09) {
        throw new SplitError("The list holds something that is not an object");
      }
    }
    return chunk.length;
  }

  // Outside the items array. Returns where to go on.
  function outside(chunk: Buffer, from: number): number {
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE) depth++;
      else if (byte === OPEN_BRACKET) {
        depth++;
        if (depth !== 2) continue;
        rest.add(chunk, from, i + 1);
        if (!seenItems && ITEMS_KEY.test(peek(rest).slice(0, -1))) {
          seenItems = true;
          inItems = true;
        }
        return i + 1;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth--;
        if (depth === 0) finished = true;
      }
    }
    rest.add(chunk, from, chunk.length);
    return chunk.length;
  }

  function peek(part: Carry): string {
    const length = part.length;
    const bytes = part.take();
    const tail = bytes.toString("latin1", Math.max(0, length - 64));
    part.length = length;
    return tail;
  }

  return {
    push(raw) {
      const chunk = asBuffer(raw);
      let at = 0;
      while (at < chunk.length) {
        if (!inItems) {
          at = outside(chunk, at);
          continue;
        }
        if (depth === 2) {
          at = betweenItems(chunk, at);
          if (!inItems || at === chunk.length) continue;
        }
        const end = itemEnd(chunk, at);
        if (end === -1) {
          carry.add(chunk, at, chunk.length);
          return;
        }
        if (carry.length > 0) {
          carry.add(chunk, at, end);
          const item = carry.take();
          onItem(item, 0, item.length);
        } else {
          onItem(chunk, at, end);
        }
        at = end;
      }
    },
    end() {
      if (!finished) throw new SplitError("The list ended before it was complete");
    },
    envelope() {
      const bytes = rest.take();
      return bytes.toString("utf8");
    },
  };
}

const MANAGED_FIELDS = Buffer.from('"managedFields":[');

/**
 * Parses one document, with the content of its first `managedFields` left out: it is a third of a pod's bytes and nobody here reads it.
 * The search cannot hit text inside a string, since a quote there is always escaped. Throws SyntaxError.
 */
export function parseWithoutManagedFields(buffer: Buffer, start: number, end: number): unknown {
  const found = buffer.indexOf(MANAGED_FIELDS, start);
  if (found === -1) return JSON.parse(buffer.toString("utf8", start, end));
  const open = found + MANAGED_FIELDS.length;
  // -1 also when it was found in the next document of the chunk.
  const close = arrayEnd(buffer, open, end);
  if (close === -1) return JSON.parse(buffer.toString("utf8", start, end));
  return JSON.parse(buffer.toString("utf8", start, open) + buffer.toString("utf8", close, end));
}

/** Index of the bracket that closes the array whose content begins at `from`; -1 when there is none. */
function arrayEnd(buffer: Buffer, from: number, end: number): number {
  let depth = 1;
  for (let i = from; i < end; i++) {
    const byte = buffer[i];
    if (byte === QUOTE) {
      i = stringEnd(buffer, i + 1, end);
    } else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) depth++;
    else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) {
      depth--;
      if (depth === 0) return i;
    }
  }
  return -1;
}

/** Index of the quote that ends the string whose content begins at `from`; `end` when there is none. */
function stringEnd(buffer: Buffer, from: number, end: number): number {
  for (let i = from; i < end; i++) {
    const byte = buffer[i];
    if (byte === BACKSLASH) i++;
    else if (byte === QUOTE) return i;
  }
  return end;
}
