/**
 * How do ten thousand pods share what is the same in them? Parsing makes a new string for each namespace, node and label of each
 * pod; here equal ones become one.
 */

export interface Interner {
  /** The first string seen that equals `text`. */
  text(text: string): string;
  /** The first record seen with the same entries in the same order. Must not be changed. */
  record(record: Readonly<Record<string, string>>): Readonly<Record<string, string>>;
  /** The first list seen with the same elements. Must not be changed. */
  list(list: readonly string[]): readonly string[];
}

const EMPTY_RECORD: Readonly<Record<string, string>> = Object.freeze({});
const EMPTY_LIST: readonly string[] = Object.freeze([]);

/** Makes an interner. It forgets everything when it holds more than `limit` entries: that costs sharing, never truth. */
export function createInterner(limit = 20_000): Interner {
  const texts = new Map<string, string>();
  const records = new Map<string, Readonly<Record<string, string>>>();
  const lists = new Map<string, readonly string[]>();

  function share<T>(known: Map<string, T>, key: string, make: () => T): T {
    const held = known.get(key);
    if (held !== undefined) return held;
    if (known.size >= limit) known.clear();
    const made = make();
    known.set(key, made);
    return made;
  }

  const text = (value: string): string => share(texts, value, () => value);

  return {
    text,
    record(record) {
      const entries = Object.entries(record);
      if (entries.length === 0) return EMPTY_RECORD;
      // fromEntries defines own properties, so a label named __proto__ stays a label.
      return share(records, JSON.stringify(entries), () =>
        Object.fromEntries(entries.map(([key, value]) => [text(key), text(value)])),
      );
    },
    list(list) {
      if (list.length === 0) return EMPTY_LIST;
      return share(lists, JSON.stringify(list), () => list.map(text));
    },
  };
}
