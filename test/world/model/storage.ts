/** What is stored, and what has happened to it? One counter of revisions for everything, the objects as they are now, and the log of how they came to be so. */
import type { Kind } from "./kinds.ts";
import type { Owners } from "./ownership.ts";
import type { JsonObject } from "./values.ts";

export interface Stored {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly object: JsonObject;
  readonly owners: Owners;
}

export interface Commit {
  readonly revision: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  /** With the commit's own resourceVersion; of a deletion the last state. */
  readonly object: JsonObject;
  readonly before: JsonObject | undefined;
  /** Who asked for it. */
  readonly by: string;
}

type Listener = (commit: Commit) => void;

const addressOf = (namespace: string, name: string): string => `${namespace}/${name}`;

export class Storage {
  #revision = 1;
  #floor = 1;
  readonly #objects = new Map<Kind, Map<string, Stored>>();
  readonly #listeners = new Set<Listener>();
  readonly log: Commit[] = [];

  get revision(): number {
    return this.#revision;
  }

  /** Watches from before this revision are refused. */
  get floor(): number {
    return this.#floor;
  }

  compact(): void {
    this.#floor = this.#revision;
  }

  get(kind: Kind, namespace: string, name: string): Stored | undefined {
    return this.#objects.get(kind)?.get(addressOf(namespace, name));
  }

  /** In the order of their names. An empty namespace means all. */
  list(kind: Kind, namespace = ""): Stored[] {
    return [...(this.#objects.get(kind)?.entries() ?? [])]
      .filter(([, stored]) => namespace === "" || stored.namespace === namespace)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, stored]) => stored);
  }

  /** Everything of all kinds. */
  all(): Stored[] {
    return [...this.#objects.values()].flatMap((objects) => [...objects.values()]);
  }

  /** Stores a new state; the log and the listeners get it with its resourceVersion. */
  put(stored: Stored, by: string): Stored {
    const { kind, namespace, name } = stored;
    let objects = this.#objects.get(kind);
    if (objects === undefined) this.#objects.set(kind, (objects = new Map()));
    const before = objects.get(addressOf(namespace, name));
    const next = { ...stored, object: versioned(stored.object, ++this.#revision) };
    objects.set(addressOf(namespace, name), next);
    this.#tell(next, before?.object, before === undefined ? "ADDED" : "MODIFIED", by);
    return next;
  }

  remove(stored: Stored, by: string): JsonObject {
    this.#objects.get(stored.kind)?.delete(addressOf(stored.namespace, stored.name));
    const object = versioned(stored.object, ++this.#revision);
    this.#tell({ ...stored, object }, stored.object, "DELETED", by);
    return object;
  }

  /** Hears of every commit from now on, at once. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(stored: Stored, before: JsonObject | undefined, type: Commit["type"], by: string): void {
    const { kind, namespace, name, object } = stored;
    const commit: Commit = { revision: this.#revision, type, kind, namespace, name, object, before, by };
    this.log.push(commit);
    for (const listener of this.#listeners) listener(commit);
  }
}

function versioned(object: JsonObject, revision: number): JsonObject {
  return { ...object, metadata: { ...(object["metadata"] as JsonObject), resourceVersion: String(revision) } };
}
