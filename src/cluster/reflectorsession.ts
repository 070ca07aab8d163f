/**
 * What happens between one connect and the next? A session either makes a first list (as a stream with sendInitialEvents, or page by page) or goes on
 * from the last resourceVersion, then reads the watch until it ends.
 */
import { ApiError, classify } from "./errors.ts";
import type { ReflectorOptions } from "./reflector.ts";
import { pathOf } from "./resources.ts";
import { itemSplitter, lineSplitter, parseWithoutManagedFields, type Splitter } from "./splitter.ts";
import type { ObjectStore, Tracked } from "./store.ts";
import { readText, type StreamReply } from "./transport.ts";

/** What outlives a session. */
export interface Progress<T extends Tracked> {
  readonly store: ObjectStore<T>;
  /** Goes on from here; undefined = a list is needed. */
  resourceVersion?: string | undefined;
  mode: "WatchList" | "List";
  watchListFailures: number;
  lists: number;
  connected: boolean;
  callbackErrors: number;
  activeAtMs?: number;
  readonly onListed: () => void;
}

export interface SessionResult {
  /** The stream was open and continued what we know. */
  readonly continued: boolean;
  readonly error?: ApiError;
}

interface Envelope {
  readonly type?: string;
  readonly object?: RawObject | null;
}

interface RawObject {
  readonly code?: number;
  readonly metadata?: {
    readonly uid?: string;
    readonly name?: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly continue?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

const DEFAULT_IDLE_MS = 90_000;
const DEFAULT_PAGE = 500;
/** A list that is longer than this (20 million objects at 500 each) is a server that repeats itself. */
const MAX_PAGES = 40_000;
/** Answers in a row without an end of the initial events, after which this server counts as one that has no watch-list. */
const WATCH_LIST_TRIES = 3;
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

type Session<T extends Tracked> = ReflectorOptions<T> & {
  readonly progress: Progress<T>;
  readonly signal: AbortSignal;
};

export async function runSession<T extends Tracked>(
  options: ReflectorOptions<T>,
  progress: Progress<T>,
  signal: AbortSignal,
): Promise<SessionResult> {
  const session: Session<T> = { ...options, progress, signal };
  if (progress.resourceVersion === undefined && progress.mode === "List") await listPages(session);
  return progress.resourceVersion === undefined ? watchList(session) : watch(session, undefined);
}

/** Tells one change; the receiver's errors are its own. */
function tell<T extends Tracked>(
  session: Session<T>,
  type: "Added" | "Modified" | "Deleted",
  object: T,
  previous?: T,
): void {
  try {
    session.onChange(previous === undefined ? { type, object } : { type, object, previous });
  } catch (error) {
    session.progress.callbackErrors++;
    session.log?.error(
      { err: error, type, namespace: object.namespace, name: object.name },
      "Receiver of a change failed",
    );
  }
}

function projected<T extends Tracked>(session: Session<T>, raw: RawObject): T | undefined {
  try {
    return session.project(raw);
  } catch (error) {
    session.progress.callbackErrors++;
    session.log?.error(
      { err: error, namespace: raw.metadata?.namespace, name: raw.metadata?.name },
      "Could not read an object, left it out",
    );
    return undefined;
  }
}

function forget<T extends Tracked>(session: Session<T>, held: T, object: T = held): void {
  session.progress.store.remove(held);
  tell(session, "Deleted", object, held);
}

/** Takes in an object that exists. `missing` holds the uids that a running list has not shown yet. */
function upsert<T extends Tracked>(session: Session<T>, raw: RawObject, missing?: Set<string>): void {
  const { store } = session.progress;
  const uid = raw.metadata?.uid ?? "";
  missing?.delete(uid);
  const object = projected(session, raw);
  const held = store.byUid(uid);
  if (object === undefined) {
    if (held !== undefined) forget(session, held);
    return;
  }
  const namesake = store.get(object.namespace, object.name);
  if (namesake !== undefined && namesake.uid !== object.uid) {
    // Deleted and made again while we were away: two lives under one name must not look like a change of one.
    missing?.delete(namesake.uid);
    forget(session, namesake);
  }
  if (held?.resourceVersion === object.resourceVersion) return;
  store.put(object);
  if (held === undefined) tell(session, "Added", object);
  else tell(session, "Modified", object, held);
}

function erase<T extends Tracked>(session: Session<T>, raw: RawObject): void {
  const held = session.progress.store.byUid(raw.metadata?.uid ?? "");
  if (held === undefined) return;
  // The last state before the deletion comes with the event.
  forget(session, held, projected(session, raw) ?? held);
}

function listDone<T extends Tracked>(session: Session<T>, missing: Set<string>, resourceVersion: string): void {
  const { progress, log, resource } = session;
  for (const uid of missing) {
    const held = progress.store.byUid(uid);
    if (held !== undefined) forget(session, held);
  }
  progress.resourceVersion = resourceVersion;
  progress.lists++;
  progress.watchListFailures = 0;
  log?.info(
    { resource: resource.plural, objects: progress.store.size, mode: progress.mode, resourceVersion },
    progress.lists === 1 ? "Listed" : "Listed again",
  );
  progress.onListed();
}

async function open<T extends Tracked>(
  session: Session<T>,
  query: Record<string, string | undefined>,
): Promise<StreamReply> {
  const { transport, resource, namespace, labelSelector, fieldSelector, signal } = session;
  const reply = await transport.stream({
    path: pathOf(resource, namespace === undefined ? {} : { namespace }),
    query: { labelSelector, fieldSelector, ...query },
    signal,
    idleTimeoutMs: session.idleTimeoutMs ?? DEFAULT_IDLE_MS,
  });
  if (reply.status === 200) return reply;
  throw classify(reply.status, await readText(reply.body, 1024 * 1024), reply.headers);
}

async function pump<T extends Tracked>(
  session: Session<T>,
  reply: StreamReply,
  splitter: Splitter,
  failed: () => boolean = () => false,
): Promise<void> {
  const { progress, clock, signal } = session;
  try {
    for await (const chunk of reply.body) {
      // After a stop nothing is told any more, even if a chunk was already here.
      if (signal.aborted) return;
      progress.activeAtMs = clock.monotonicMs();
      splitter.push(chunk);
      // A server may report an error and leave the stream open for ever.
      if (failed()) return;
    }
    splitter.end();
  } finally {
    reply.abort();
  }
}

/** Lists page by page. Throws ApiError; what was told until then is true, and the next list completes it. */
async function listPages<T extends Tracked>(session: Session<T>): Promise<void> {
  const missing = session.progress.store.uids();
  let continueToken: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const splitter = itemSplitter((buffer, start, end) => {
      upsert(session, parseWithoutManagedFields(buffer, start, end) as RawObject, missing);
    });
    const reply = await open(session, { limit: String(session.pageSize ?? DEFAULT_PAGE), continue: continueToken });
    await pump(session, reply, splitter);
    if (session.signal.aborted) return;
    const { metadata } = JSON.parse(splitter.envelope()) as RawObject;
    const resourceVersion = metadata?.resourceVersion ?? "";
    if (resourceVersion === "") throw new ApiError("ServerError", "The list has no resourceVersion");
    continueToken = metadata?.continue === "" ? undefined : metadata?.continue;
    if (continueToken === undefined) {
      listDone(session, missing, resourceVersion);
      return;
    }
  }
  throw new ApiError("ServerError", `The list has more than ${MAX_PAGES} pages`);
}

function fallBack<T extends Tracked>(session: Session<T>, why: string): void {
  session.progress.mode = "List";
  session.log?.info({ resource: session.resource.plural, why }, "Server has no watch-list, fell back to paged lists");
}

/** Whether this answer means that the server cannot do it, now or later. */
function refusesWatchList(error: ApiError): boolean {
  if (error.reason === "Invalid") return true;
  return /RequestWatchProgress|sendInitialEvents|WatchList/.test(error.message);
}

/** Lists as a stream, then goes on watching on the same stream. */
async function watchList<T extends Tracked>(session: Session<T>): Promise<SessionResult> {
  const { progress } = session;
  const missing = progress.store.uids();
  let result: SessionResult;
  try {
    result = await watch(session, missing);
  } catch (error) {
    result = {
      continued: false,
      error: error instanceof ApiError ? error : new ApiError("ServerError", String(error), { cause: error }),
    };
  }
  const { error } = result;
  if (progress.resourceVersion !== undefined || session.signal.aborted) return result;
  if (error !== undefined && refusesWatchList(error)) fallBack(session, error.message);
  else if (error?.reason !== "Unreachable" && ++progress.watchListFailures >= WATCH_LIST_TRIES) {
    fallBack(session, `${WATCH_LIST_TRIES} streams ended before the initial events did`);
  } else return result;
  // The other way is worth a try at once.
  await listPages(session);
  return watch(session, undefined);
}

/** Reads one watch to its end. With `missing` it begins with the initial events, and those left in `missing` at their end are gone. */
async function watch<T extends Tracked>(session: Session<T>, missing: Set<string> | undefined): Promise<SessionResult> {
  const { progress, random } = session;
  let listing = missing;
  let failure: ApiError | undefined;
  const reply = await open(session, {
    watch: "1",
    allowWatchBookmarks: "true",
    // The server ends the watch itself from time to time, at a moment of its own for each, so that load spreads over its replicas.
    timeoutSeconds: String(240 + Math.floor(random.next() * 360)),
    ...(missing === undefined
      ? { resourceVersion: progress.resourceVersion }
      : { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" }),
  }).catch((error: unknown) => {
    if (error instanceof ApiError && error.reason === "Expired") progress.resourceVersion = undefined;
    throw error;
  });
  progress.connected = missing === undefined;

  const onLine = (buffer: Buffer, start: number, end: number): void => {
    if (failure !== undefined) return;
    const { type, object } = parseWithoutManagedFields(buffer, start, end) as Envelope;
    const version = object?.metadata?.resourceVersion;
    if (type === "ERROR" || object === undefined || object === null) {
      failure = classify(object?.code ?? 500, JSON.stringify(object ?? {}));
      if (failure.reason === "Expired") progress.resourceVersion = undefined;
      return;
    }
    if (type === "BOOKMARK") {
      if (listing === undefined) progress.resourceVersion = version;
      else if (object.metadata?.annotations?.[INITIAL_EVENTS_END] === "true" && version !== undefined) {
        listDone(session, listing, version);
        listing = undefined;
        progress.connected = true;
      } else failure = new ApiError("Invalid", "The server ignores sendInitialEvents");
      return;
    }
    if (type === "DELETED") erase(session, object);
    else if (type === "ADDED" || type === "MODIFIED") upsert(session, object, listing);
    // During the initial events versions come in no order and mean nothing as a place to go on from.
    if (listing === undefined && version !== undefined && version !== "") progress.resourceVersion = version;
  };

  try {
    await pump(session, reply, lineSplitter(onLine), () => failure !== undefined);
  } catch (error) {
    failure ??=
      error instanceof ApiError
        ? error
        : new ApiError("ServerError", `Could not read the watch: ${String(error)}`, { cause: error });
  }
  return { continued: listing === undefined, ...(failure === undefined ? {} : { error: failure }) };
}
