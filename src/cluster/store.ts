/**
 * What do we know of one kind right now? The objects of one reflector, by uid and by namespace and name.
 */

/** What every stored projection must carry. */
export interface Tracked {
  readonly uid: string;
  /** "" for cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
}

export interface Store<T extends Tracked> {
  get(namespace: string, name: string): T | undefined;
  byUid(uid: string): T | undefined;
  /** All, or those of one namespace. The iteration is over the live store: copy before awaiting. */
  list(namespace?: string): IterableIterator<T>;
  readonly size: number;
}

export class ObjectStore<T extends Tracked> implements Store<T> {
  readonly #byUid = new Map<string, T>();
  // Two levels, so that no "namespace/name" text has to be kept for each object.
  readonly #byName = new Map<string, Map<string, T>>();

  get size(): number {
    return this.#byUid.size;
  }

  get(namespace: string, name: string): T | undefined {
    return this.#byName.get(namespace)?.get(name);
  }

  byUid(uid: string): T | undefined {
    return this.#byUid.get(uid);
  }

  list(namespace?: string): IterableIterator<T> {
    if (namespace === undefined) return this.#byUid.values();
    return this.#byName.get(namespace)?.values() ?? [].values();
  }

  /** The uids known now. */
  uids(): Set<string> {
    return new Set(this.#byUid.keys());
  }

  put(object: T): void {
    this.#byUid.set(object.uid, object);
    let names = this.#byName.get(object.namespace);
    if (names === undefined) {
      names = new Map();
      this.#byName.set(object.namespace, names);
    }
    names.set(object.name, object);
  }

  remove(object: T): void {
    this.#byUid.delete(object.uid);
    const names = this.#byName.get(object.namespace);
    // The name may belong to a successor by now.
    if (names?.get(object.name)?.uid !== object.uid) return;
    names.delete(object.name);
    if (names.size === 0) this.#byName.delete(object.namespace);
  }
}
