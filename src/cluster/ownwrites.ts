/**
 * A watch tells of our own write a moment after it was made. Until then this remembers what the API server answered, so that a
 * decision never rests on a state that we have already changed.
 */
import type { Clock } from "../seams.ts";
import type { Tracked } from "./store.ts";

/** Longer than any healthy watch lags; after this the watch is believed again, whatever it says. */
const REMEMBER_MS = 30_000;

export interface OwnWrites<T extends Tracked> {
  /** Takes note of an object as the API server returned it from a write. */
  wrote(object: T): void;
  /** The object was seen deleted: nothing of it is remembered. */
  forget(uid: string): void;
  /** The newer of what the watch has and what we wrote. */
  newest(watched: T | undefined, namespace: string, name: string): T | undefined;
  /** All objects of a namespace (or of all), with our writes laid over them. */
  overlay(watched: Iterable<T>, namespace?: string): T[];
}

export function createOwnWrites<T extends Tracked>(clock: Clock): OwnWrites<T> {
  const byUid = new Map<string, { readonly object: T; readonly atMs: number }>();

  function live(uid: string): T | undefined {
    const entry = byUid.get(uid);
    if (entry === undefined) return undefined;
    if (clock.monotonicMs() - entry.atMs <= REMEMBER_MS) return entry.object;
    byUid.delete(uid);
    return undefined;
  }

  function newer(watched: T): T {
    const own = live(watched.uid);
    if (own === undefined) return watched;
    if (isNewer(own.resourceVersion, watched.resourceVersion)) return own;
    byUid.delete(watched.uid);
    return watched;
  }

  function overlay(watched: Iterable<T>, namespace?: string): T[] {
    const objects = new Map<string, T>();
    for (const object of watched) objects.set(object.uid, newer(object));
    for (const uid of byUid.keys()) {
      const own = live(uid);
      if (own !== undefined && !objects.has(uid) && (namespace === undefined || own.namespace === namespace))
        objects.set(uid, own);
    }
    return [...objects.values()];
  }

  return {
    wrote: (object) => void byUid.set(object.uid, { object, atMs: clock.monotonicMs() }),
    forget: (uid) => void byUid.delete(uid),
    overlay,
    newest: (watched, namespace, name) =>
      overlay(watched === undefined ? [] : [watched], namespace).find(
        (o) => o.namespace === namespace && o.name === name,
      ),
  };
}

/** Resource versions of one kind compare as numbers. Text that is none counts as older: then the watch decides. */
export function isNewer(a: string, b: string): boolean {
  if (!/^\d+$/.test(a) || !/^\d+$/.test(b)) return false;
  return BigInt(a) > BigInt(b);
}
