/**
 * How does the operator read one object, and how does it write? Raw JSON in and out, since a typed client drops fields it does not know. A write is sent at
 * most once; whether to repeat it is for the caller to decide after a live read. Without the lease no write leaves this file.
 */
import type { Clock, Random } from "../seams.ts";
import { send, type Send } from "./call.ts";
import { ApiError, notLeader } from "./errors.ts";
import { asksForPatience, createLimiter, type Limiter } from "./limiter.ts";
import { reads } from "./reads.ts";
import { apiVersionOf, pathOf, type Resource } from "./resources.ts";
import type { Transport } from "./transport.ts";
import { writes } from "./writes.ts";

export interface ObjectMeta {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly [field: string]: unknown;
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** An object as the wire carries it; timestamps are strings. */
export interface ApiObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface ObjectAddress {
  /** Absent for cluster-scoped kinds. */
  readonly namespace?: string;
  readonly name: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /**
   * Reads only: asked once, and an answer that asks for patience is the answer. For what stands behind the API server (metrics, logs): when that is down,
   * 503 says nothing about the API server, and nobody else is to be held back.
   */
  readonly once?: boolean;
}

export interface ListOptions extends CallOptions {
  /** Default: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Objects per page, default 500. */
  readonly limit?: number;
  /** Objects in all, default 20,000; one more is an ApiError TooLarge. */
  readonly maxItems?: number;
}

export interface ListPage<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface RemoveOptions extends CallOptions {
  readonly preconditions?: Preconditions;
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  readonly gracePeriodSeconds?: number;
}

export interface PatchOptions extends CallOptions {
  readonly subresource?: string;
}

export interface ApplyOptions extends CallOptions {
  /** Takes fields over from other managers. */
  readonly force?: boolean;
}

export type JsonPatch = readonly {
  readonly op: "add" | "remove" | "replace" | "test";
  readonly path: string;
  readonly value?: unknown;
}[];

/** Reads; all throw ApiError. Always answered by the newest state, never from a cache that may be behind. */
export interface Reads {
  get<T extends ApiObject = ApiObject>(resource: Resource, address: ObjectAddress, options?: CallOptions): Promise<T>;
  /** Page by page, one consistent state over all pages (Expired when it takes too long). managedFields come empty. */
  list<T extends ApiObject = ApiObject>(resource: Resource, options?: ListOptions): AsyncIterable<ListPage<T>>;
  /** The text of a subresource, such as a log. TooLarge over `maxBytes`. */
  text(
    resource: Resource,
    address: ObjectAddress & { readonly subresource: string },
    query: Readonly<Record<string, string>>,
    options: CallOptions & { readonly maxBytes: number },
  ): Promise<string>;
}

/**
 * Writes; all throw ApiError, NotLeader among others. After Unknown or ServerError the write may have happened: read, then decide.
 */
export interface Writes {
  create<T extends ApiObject = ApiObject>(resource: Resource, object: ApiObject, options?: CallOptions): Promise<T>;
  /** PUT; a resourceVersion in the object guards it. */
  replace<T extends ApiObject = ApiObject>(resource: Resource, object: ApiObject, options?: CallOptions): Promise<T>;
  /**
   * Server-side apply. Creates the object when it is missing, unless metadata.uid is given; metadata.resourceVersion guards against
   * a stale read, but not against creation.
   */
  apply<T extends ApiObject = ApiObject>(resource: Resource, object: ApiObject, options?: ApplyOptions): Promise<T>;
  /** Server-side apply of the status; never creates. */
  applyStatus<T extends ApiObject = ApiObject>(
    resource: Resource,
    object: ApiObject,
    options?: ApplyOptions,
  ): Promise<T>;
  /** JSON merge patch. Put metadata.uid and metadata.resourceVersion of the read it rests on into the patch. */
  mergePatch<T extends ApiObject = ApiObject>(
    resource: Resource,
    address: ObjectAddress,
    patch: Readonly<Record<string, unknown>>,
    options?: PatchOptions,
  ): Promise<T>;
  /** JSON patch. Guard with `test`, never with `replace`: the server adds a missing key on replace. */
  jsonPatch<T extends ApiObject = ApiObject>(
    resource: Resource,
    address: ObjectAddress,
    patch: JsonPatch,
    options?: PatchOptions,
  ): Promise<T>;
  remove(resource: Resource, address: ObjectAddress, options?: RemoveOptions): Promise<void>;
  /** Asks to evict a pod, which budgets may refuse (DisruptionBudget, TwoDisruptionBudgets). */
  evict(address: ObjectAddress, preconditions?: Preconditions, options?: CallOptions): Promise<void>;
}

export interface Api extends Reads, Writes {
  /** TokenReview, SubjectAccessReview: a question in the form of a create, so it needs no lease. */
  createReview<T extends object>(
    resource: Resource,
    review: Readonly<Record<string, unknown>>,
    options?: CallOptions,
  ): Promise<T>;
  /** The same without the lease check and without the shared limiter: for the elector alone. */
  readonly unfenced: Reads & Writes;
}

export interface ApiOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly fieldManager: string;
  /** Whether this process may write now; asked right before each write. Default: always. */
  readonly mayWrite?: () => boolean;
}

const READ_TRIES = 4;

/** Repeats a read while the server asks for patience. */
async function patiently<T>(
  limiter: Limiter,
  { signal, once = false }: CallOptions,
  read: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    await limiter.ready(signal);
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof ApiError) || !asksForPatience(error) || once) throw error;
      limiter.note(error);
      if (tries >= READ_TRIES) throw error;
    }
  }
}

/** The operator's reads and writes over `transport`. */
export function createApi(transport: Transport, options: ApiOptions): Api {
  const { clock, random, fieldManager, mayWrite = () => true } = options;
  const limiter = createLimiter(clock, random);

  const fenced: Send = async (call) => {
    if (!mayWrite()) throw notLeader(`${call.method} ${call.path}`);
    await limiter.ready(call.signal);
    try {
      // The lease may run out while we wait for patience or for a connection: asked once more when the first byte is due.
      return await send(transport, { ...call, fence: mayWrite });
    } catch (error) {
      if (error instanceof ApiError) limiter.note(error);
      throw error;
    }
  };

  return {
    ...reads(transport, (call, read) => patiently(limiter, call, read)),
    ...writes(fenced, fieldManager),
    createReview: async <T extends object>(
      resource: Resource,
      review: Readonly<Record<string, unknown>>,
      call: CallOptions = {},
    ) => {
      const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...review };
      await limiter.ready(call.signal);
      return (await send(transport, { ...call, method: "POST", path: pathOf(resource), body })) as T;
    },
    unfenced: {
      ...reads(transport, (_call, read) => read()),
      ...writes((call) => send(transport, call), fieldManager),
    },
  };
}
