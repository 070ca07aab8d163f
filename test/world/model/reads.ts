/** What does a list or a watch tell? Lists are of one moment over all their pages; a watch goes on from a revision, in order, and says when that one is too old. */
import { apiVersionOf } from "../../../src/cluster/resources.ts";
import { expired, Refusal, versionTooLarge } from "./answers.ts";
import type { Kind } from "./kinds.ts";
import type { Commit, Storage } from "./storage.ts";
import { isObject, type JsonObject } from "./values.ts";
import { metaOf } from "./writes.ts";

export type Query = Readonly<Record<string, string | undefined>>;

/** One open watch. `tell` gets one event at a time, as a line of JSON. */
export interface Watch {
  /** A bookmark with the newest revision. */
  bookmark(): void;
  close(): void;
}

type Tell = (line: string) => void;
type Matches = (object: JsonObject) => boolean;

const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

export class Reads {
  readonly #storage: Storage;
  /** What is left of lists that were begun, by continue token. */
  readonly #pages = new Map<string, { readonly revision: number; readonly items: readonly JsonObject[] }>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  list(kind: Kind, namespace: string, query: Query): JsonObject {
    const { limit, continue: token } = query;
    this.#checkVersion(query);
    const begun = token === undefined ? undefined : this.#pages.get(token);
    if (token !== undefined && (begun === undefined || begun.revision < this.#storage.floor))
      throw expired(String(begun?.revision ?? 0), this.#storage.floor);
    const matches = selector(query);
    const items =
      begun?.items ??
      this.#storage
        .list(kind, namespace)
        .map(({ object }) => object)
        .filter(matches);
    const revision = begun?.revision ?? this.#storage.revision;
    const size = limit === undefined || query["resourceVersion"] === "0" ? items.length : Number(limit);
    const left = items.slice(size);
    const metadata = {
      resourceVersion: String(revision),
      ...(left.length === 0 ? {} : { continue: this.#keep(revision, left) }),
    };
    const { resource } = kind;
    return {
      kind: `${resource.kind}List`,
      apiVersion: apiVersionOf(resource),
      metadata,
      items: items.slice(0, size),
    };
  }

  #keep(revision: number, items: readonly JsonObject[]): string {
    const token = `page-${this.#pages.size + 1}`;
    this.#pages.set(token, { revision, items });
    return token;
  }

  #checkVersion({ resourceVersion }: Query): void {
    if (resourceVersion === undefined || Number(resourceVersion) <= this.#storage.revision) return;
    throw versionTooLarge(resourceVersion, this.#storage.revision);
  }

  watch(kind: Kind, namespace: string, query: Query, tell: Tell): Watch {
    this.#checkVersion(query);
    const { resourceVersion, sendInitialEvents } = query;
    const matches = selector(query);
    const concerns = (commit: Commit): boolean =>
      commit.kind === kind && (namespace === "" || commit.namespace === namespace);
    const pass = (commit: Commit): void => {
      const event = concerns(commit) ? eventOf(commit, matches) : undefined;
      if (event !== undefined) tell(JSON.stringify(event));
    };
    const bookmark = (annotations?: JsonObject): void => tell(JSON.stringify(this.#bookmark(kind, annotations)));
    const floor = Math.max(this.#storage.floor, kind.since ?? 0);
    const initial = sendInitialEvents === "true" || resourceVersion === undefined || resourceVersion === "0";
    if (initial) {
      for (const { object } of this.#storage.list(kind, namespace))
        if (matches(object)) tell(JSON.stringify({ type: "ADDED", object }));
      if (sendInitialEvents === "true") bookmark({ [INITIAL_EVENTS_END]: "true" });
    } else if (Number(resourceVersion) < floor) {
      tell(JSON.stringify({ type: "ERROR", object: expired(resourceVersion, floor).object }));
    } else {
      for (const commit of this.#storage.log) if (commit.revision > Number(resourceVersion)) pass(commit);
    }
    return { bookmark, close: this.#storage.listen(pass) };
  }

  #bookmark({ resource }: Kind, annotations: JsonObject | undefined): JsonObject {
    const resourceVersion = String(this.#storage.revision);
    const metadata = { resourceVersion, ...(annotations === undefined ? {} : { annotations }) };
    return { type: "BOOKMARK", object: { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata } };
  }
}

/** An object that comes to match, or no longer does, is told of as made or gone. */
function eventOf({ type, object, before }: Commit, matches: Matches): JsonObject | undefined {
  const did = before !== undefined && matches(before);
  const does = type !== "DELETED" && matches(object);
  if (!did && !does) return undefined;
  return { type: does ? (did ? "MODIFIED" : "ADDED") : "DELETED", object };
}

/** Selectors of equalities; others are refused rather than ignored. */
function selector({ labelSelector = "", fieldSelector = "" }: Query): Matches {
  const labels = equalities(labelSelector);
  const fields = equalities(fieldSelector);
  return (object) => {
    const own = (metaOf(object) as { labels?: Record<string, string> }).labels ?? {};
    return (
      labels.every(([key, value]) => own[key] === value) &&
      fields.every(([path, value]) => fieldOf(object, path) === value)
    );
  };
}

function equalities(text: string): [string, string][] {
  if (text === "") return [];
  return text.split(",").map((part) => {
    const found = /^([^=!]+)==?([^=]*)$/.exec(part);
    if (found === null) throw new Refusal(400, "BadRequest", `unable to parse requirement: ${part}`);
    return [found[1] ?? "", found[2] ?? ""];
  });
}

function fieldOf(object: JsonObject, path: string): string {
  let value: unknown = object;
  for (const segment of path.split(".")) value = isObject(value) ? value[segment] : undefined;
  return typeof value === "string" ? value : "";
}
