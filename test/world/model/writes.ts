/** What does each kind of write do to an object? Identity and versions are checked first, then the halves of the object are kept apart, and what changes nothing is not written. */
import { apiVersionOf } from "../../../src/cluster/resources.ts";
import * as answers from "./answers.ts";
import type { Kind } from "./kinds.ts";
import { applied, managedFields, type Manager, type Owners, updated } from "./ownership.ts";
import { admitted, refused } from "./schema.ts";
import type { Storage, Stored } from "./storage.ts";
import {
  type Json,
  jsonPatch,
  type JsonObject,
  mergePatch,
  type PatchOperation,
  PatchFailed,
  same,
  withKey,
} from "./values.ts";

export interface Address {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

export interface Writer {
  /** Field manager. */
  readonly manager: string;
  /** Who asked, for the log. */
  readonly by: string;
}

export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface Meta {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
}

export const metaOf = (object: JsonObject): Meta => (object["metadata"] ?? {}) as Meta;

/** etcd takes requests of up to 1.5 MiB. */
const MAX_OBJECT_BYTES = 1_572_864;
const MAX_ANNOTATION_BYTES = 256 * 1024;
const MAX_GRACE_SECONDS = 30;

export class Writes {
  readonly #storage: Storage;
  readonly #now: () => Date;
  readonly #namespaces: () => Kind;
  #uids = 0;

  constructor(storage: Storage, now: () => Date, namespaces: () => Kind) {
    this.#storage = storage;
    this.#now = now;
    this.#namespaces = namespaces;
  }

  create(address: Omit<Address, "name">, body: JsonObject, writer: Writer): Stored {
    const { kind, namespace } = address;
    const { name = "", resourceVersion } = metaOf(body);
    if (resourceVersion !== undefined)
      throw new answers.Refusal(400, "BadRequest", "resourceVersion should not be set on objects to be created");
    return this.#insert(kind, namespace, name, body, { ...writer, operation: "Update" });
  }

  replace(address: Address, body: JsonObject, writer: Writer): Stored {
    const { kind, namespace, name } = address;
    const { uid, resourceVersion } = metaOf(body);
    const live = this.#storage.get(kind, namespace, name);
    if (live === undefined) {
      if (uid !== undefined) throw answers.conflict(kind, name, uidPrecondition(uid, ""));
      if (!kind.createsOnPut) throw answers.notFound(kind, name);
      return this.#insert(kind, namespace, name, body, { ...writer, operation: "Update" });
    }
    if (uid !== undefined && uid !== metaOf(live.object).uid)
      throw answers.conflict(kind, name, uidPrecondition(uid, metaOf(live.object).uid ?? ""));
    if (resourceVersion === undefined && !kind.unconditional)
      throw answers.invalid(kind, name, [
        { field: "metadata.resourceVersion", reason: "FieldValueInvalid", message: "must be specified for an update" },
      ]);
    return this.#update(live, body, address.subresource, writer);
  }

  patch(address: Address, contentType: string, body: Json, writer: Writer): Stored {
    const { kind, namespace, name, subresource } = address;
    const live = this.#storage.get(kind, namespace, name);
    if (live === undefined) throw answers.notFound(kind, name);
    let next: JsonObject;
    try {
      next = contentType.startsWith("application/json-patch")
        ? jsonPatch(live.object, body as unknown as PatchOperation[])
        : (mergePatch(live.object, body) as JsonObject);
    } catch (error) {
      if (!(error instanceof PatchFailed)) throw error;
      throw answers.unprocessable("the server rejected our request due to an error in our request");
    }
    return this.#update(live, next, subresource, writer);
  }

  apply(address: Address, config: JsonObject, writer: Writer, force: boolean): Stored {
    const { kind, namespace, name, subresource } = address;
    const live = this.#storage.get(kind, namespace, name);
    const { uid, resourceVersion } = metaOf(config);
    if (live === undefined) {
      if (subresource !== "") throw answers.notFound(kind, name);
      if (uid !== undefined) {
        const why = `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`;
        throw answers.conflict(kind, name, why);
      }
      return this.#insert(kind, namespace, name, config, { ...writer, operation: "Apply" });
    }
    this.#checkIdentity(live, uid, resourceVersion);
    const by: Manager = { manager: writer.manager, operation: "Apply", subresource };
    const half = halfOf(config, kind, subresource);
    const result = applied(live.object, live.owners, half, by, force, kind.schema);
    if (result.conflicts.length > 0) throw answers.fieldConflict(result.conflicts);
    const object = this.#admit(live, result.object, subresource);
    return this.#store(live, object, result.owners, writer.by);
  }

  /** @returns undefined when the object is gone with this; otherwise it is being deleted */
  remove(
    address: Address,
    preconditions: Preconditions,
    graceSeconds: number | undefined,
    by: string,
  ): Stored | undefined {
    const { kind, namespace, name } = address;
    const live = this.#storage.get(kind, namespace, name);
    if (live === undefined) throw answers.notFound(kind, name);
    const meta = metaOf(live.object);
    const { uid, resourceVersion } = preconditions;
    if (uid !== undefined && uid !== meta.uid)
      throw answers.conflict(
        kind,
        name,
        `the UID in the precondition (${uid}) does not match the UID in record (${meta.uid})`,
      );
    if (resourceVersion !== undefined && resourceVersion !== meta.resourceVersion)
      throw answers.conflict(
        kind,
        name,
        `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${meta.resourceVersion})`,
      );
    const grace = graceOf(live, graceSeconds);
    const held = (meta.finalizers ?? []).length > 0 || kind === this.#namespaces();
    if (grace === 0 && !held) {
      this.#storage.remove(live, by);
      return undefined;
    }
    if (meta.deletionTimestamp !== undefined) return live;
    const marked = {
      ...(live.object["metadata"] as JsonObject),
      deletionTimestamp: time(new Date(this.#now().getTime() + grace * 1000)),
      ...(kind.resource.plural === "pods" ? { deletionGracePeriodSeconds: grace } : {}),
      ...(meta.generation === undefined ? {} : { generation: meta.generation + 1 }),
    };
    const status = kind === this.#namespaces() ? { status: { phase: "Terminating" } } : {};
    return this.#storage.put({ ...live, object: { ...live.object, ...status, metadata: marked } }, by);
  }

  #insert(
    kind: Kind,
    namespace: string,
    name: string,
    body: JsonObject,
    writer: Writer & Pick<Manager, "operation">,
  ): Stored {
    if (kind.resource.namespaced) this.#checkNamespace(kind, namespace, name);
    if (this.#storage.get(kind, namespace, name) !== undefined) throw answers.alreadyExists(kind, name);
    const half = halfOf(body, kind, "");
    const { labels, annotations, ownerReferences, finalizers } = (half["metadata"] ?? {}) as JsonObject;
    const metadata = {
      name,
      ...(kind.resource.namespaced ? { namespace } : {}),
      uid: `${(++this.#uids).toString(16).padStart(8, "0")}-0000-4000-8000-000000000000`,
      creationTimestamp: time(this.#now()),
      ...(kind.generation === undefined ? {} : { generation: 1 }),
      ...defined({ labels, annotations, ownerReferences, finalizers }),
    };
    const shaped = kind.schema === undefined ? half : admitted(half, kind.schema);
    const whole = { ...shaped, apiVersion: apiVersionOf(kind.resource), kind: kind.resource.kind, metadata };
    const object = kind.prepare?.(whole) ?? whole;
    this.#check(kind, name, object, undefined);
    const by: Manager = { manager: writer.manager, operation: writer.operation, subresource: "" };
    const owners = updated({}, half, new Map(), by, kind.schema);
    return this.#storage.put({ kind, namespace, name, owners, object: this.#managed(object, owners, kind) }, writer.by);
  }

  #checkNamespace(kind: Kind, namespace: string, name: string): void {
    const found = this.#storage.get(this.#namespaces(), "", namespace);
    if (found === undefined) throw answers.notFound(this.#namespaces(), namespace);
    if (metaOf(found.object).deletionTimestamp !== undefined) throw answers.terminating(kind, name, namespace);
  }

  #checkIdentity(live: Stored, uid: string | undefined, resourceVersion: string | undefined): void {
    const { kind, name, object } = live;
    const meta = metaOf(object);
    if (resourceVersion !== undefined && resourceVersion !== meta.resourceVersion)
      throw answers.conflict(kind, name, answers.STALE);
    if (uid !== undefined && uid !== meta.uid) throw answers.invalid(kind, name, [answers.immutable("metadata.uid")]);
  }

  #update(live: Stored, next: JsonObject, subresource: string, writer: Writer): Stored {
    const { uid, resourceVersion } = metaOf(next);
    this.#checkIdentity(live, uid, resourceVersion);
    const object = this.#admit(live, next, subresource);
    const by: Manager = { manager: writer.manager, operation: "Update", subresource };
    const owners = updated(live.object, object, live.owners, by, live.kind.schema);
    return this.#store(live, object, owners, writer.by);
  }

  /** The new object with what this writer may not change as it was. */
  #admit(live: Stored, next: JsonObject, subresource: string): JsonObject {
    const { kind, object: before } = live;
    const old = before["metadata"] as JsonObject;
    if (subresource === "status") {
      const half = withKey(before, "status", next["status"]);
      const object = kind.schema === undefined ? half : admitted(half, kind.schema);
      this.#check(kind, live.name, object, before);
      return object;
    }
    const { labels, annotations, ownerReferences, finalizers } = (next["metadata"] ?? {}) as JsonObject;
    const { labels: _l, annotations: _a, ownerReferences: _o, finalizers: _f, ...kept } = old;
    const metadata = { ...kept, ...defined({ labels, annotations, ownerReferences, finalizers }) };
    const whole = { ...next, apiVersion: before["apiVersion"], kind: before["kind"], metadata } as JsonObject;
    const half = kind.status ? withKey(whole, "status", before["status"]) : whole;
    const object = kind.schema === undefined ? half : admitted(half, kind.schema);
    this.#check(kind, live.name, object, before);
    return withGeneration(kind, before, object);
  }

  #check(kind: Kind, name: string, object: JsonObject, before: JsonObject | undefined): void {
    const { annotations } = object["metadata"] as JsonObject;
    const bytes = Object.entries(annotations ?? {}).reduce(
      (sum, [key, value]) => sum + key.length + String(value).length,
      0,
    );
    const causes = [
      ...(bytes > MAX_ANNOTATION_BYTES
        ? [{ field: "metadata.annotations", reason: "FieldValueTooLong", message: "may not be more than 262144 bytes" }]
        : []),
      ...(kind.check?.(object, before) ?? []),
      ...(kind.schema === undefined ? [] : refused(object, kind.schema)),
    ];
    if (causes.length > 0) throw answers.invalid(kind, name, causes);
    if (kind.schema !== undefined && JSON.stringify(object).length > MAX_OBJECT_BYTES)
      throw new answers.Refusal(500, "InternalError", "etcdserver: request is too large");
  }

  #store(live: Stored, object: JsonObject, owners: Owners, by: string): Stored {
    const meta = metaOf(object);
    const waits = isGraceful(live) || live.kind === this.#namespaces();
    if (meta.deletionTimestamp !== undefined && (meta.finalizers ?? []).length === 0 && !waits) {
      return { ...live, object: this.#storage.remove({ ...live, object }, by) };
    }
    if (same(object, live.object) && same(owners, live.owners)) return live;
    return this.#storage.put({ ...live, owners, object: this.#managed(object, owners, live.kind) }, by);
  }

  #managed(object: JsonObject, owners: Owners, kind: Kind): JsonObject {
    const fields = managedFields(owners, apiVersionOf(kind.resource), time(this.#now()));
    return { ...object, metadata: { ...(object["metadata"] as JsonObject), managedFields: fields } };
  }
}

/** What of a request's body counts: the status and the rest are written apart. */
function halfOf(body: JsonObject, kind: Kind, subresource: string): JsonObject {
  if (subresource === "status") return withKey({}, "status", body["status"]);
  return kind.status ? withKey(body, "status", undefined) : body;
}

function withGeneration(kind: Kind, before: JsonObject, after: JsonObject): JsonObject {
  const { generation } = metaOf(before);
  if (generation === undefined) return after;
  const annotations = (object: JsonObject): unknown => (object["metadata"] as JsonObject)["annotations"];
  const changed =
    !same(before["spec"], after["spec"]) ||
    (kind.generation === "SpecAndAnnotations" && !same(annotations(before), annotations(after)));
  if (!changed) return after;
  return { ...after, metadata: { ...(after["metadata"] as JsonObject), generation: generation + 1 } };
}

/** A pod on a node is deleted by its kubelet, once its containers have ended. */
function graceOf(live: Stored, asked: number | undefined): number {
  if (live.kind.resource.plural !== "pods") return 0;
  const { spec, status } = live.object as { spec?: { nodeName?: string }; status?: { phase?: string } };
  if (spec?.nodeName === undefined || status?.phase === "Succeeded" || status?.phase === "Failed") return 0;
  return Math.min(asked ?? MAX_GRACE_SECONDS, MAX_GRACE_SECONDS);
}

function isGraceful({ object }: Stored): boolean {
  return Number((object["metadata"] as JsonObject)["deletionGracePeriodSeconds"] ?? 0) > 0;
}

function defined(fields: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
}

function uidPrecondition(asked: string, live: string): string {
  return `Precondition failed: UID in precondition: ${asked}, UID in object meta: ${live}`;
}

/** metav1.Time has whole seconds. */
function time(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
