/** How does an actor of the world see and change what the API server holds? Each of its steps is one moment: what it read has not changed when it writes. */
import type { Answer } from "../model/answers.ts";
import type { ApiServer } from "../model/apiserver.ts";
import type { Commit } from "../model/storage.ts";
import type { JsonObject } from "../model/values.ts";
import type { Scheduler } from "../scheduler.ts";

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface Item {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation: number;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly OwnerReference[];
    readonly finalizers?: readonly string[];
  };
  readonly spec: JsonObject;
  readonly status?: JsonObject;
}

/** Part of the world that does something by itself. */
export interface Actor {
  readonly name: string;
  /** Kinds whose changes wake it. */
  readonly heeds: readonly string[];
  step(hands: Hands): void;
}

const PREFIXES: Readonly<Record<string, string>> = {
  deployments: "/apis/apps/v1",
  replicasets: "/apis/apps/v1",
  jobs: "/apis/batch/v1",
  poddisruptionbudgets: "/apis/policy/v1",
  leases: "/apis/coordination.k8s.io/v1",
  memorypolicies: "/apis/oomscope.dev/v1alpha1",
  memoryinvestigations: "/apis/oomscope.dev/v1alpha1",
  clustermemorypolicies: "/apis/oomscope.dev/v1alpha1",
};

export class Hands {
  readonly server: ApiServer;
  readonly scheduler: Scheduler;
  readonly #by: string;

  constructor(server: ApiServer, scheduler: Scheduler, by: string) {
    this.server = server;
    this.scheduler = scheduler;
    this.#by = by;
  }

  list(plural: string, namespace = ""): Item[] {
    return this.server.storage.list(this.server.kind(plural), namespace).map(({ object }) => object as unknown as Item);
  }

  create(
    plural: string,
    object: {
      readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown };
      readonly [field: string]: unknown;
    },
  ): Item {
    return this.#must("POST", this.#path(plural, object.metadata.namespace), object);
  }

  patch(plural: string, { metadata }: Pick<Item, "metadata">, patch: object, subresource = ""): Item {
    const path = `${this.#path(plural, metadata.namespace)}/${metadata.name}${subresource === "" ? "" : `/${subresource}`}`;
    return this.#must("PATCH", path, patch);
  }

  status(plural: string, item: Pick<Item, "metadata">, status: object): Item {
    return this.patch(plural, item, { status }, "status");
  }

  remove(plural: string, { metadata }: Pick<Item, "metadata">, options: object = {}): void {
    this.#must("DELETE", `${this.#path(plural, metadata.namespace)}/${metadata.name}`, options);
  }

  #path(plural: string, namespace: string | undefined): string {
    const prefix = PREFIXES[plural] ?? "/api/v1";
    return namespace === undefined ? `${prefix}/${plural}` : `${prefix}/namespaces/${namespace}/${plural}`;
  }

  /** The object as it is afterwards; one that is gone is given as it was. */
  #must(method: string, path: string, body: object): Item {
    const contentType = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const answer: Answer = this.server.handle({ method, path, body: JSON.stringify(body), contentType, by: this.#by });
    if (answer.status >= 300) throw new Error(`${this.#by}: ${method} ${path}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body) as Item;
  }
}

export function ownedBy(item: Item, uid: string): boolean {
  return item.metadata.ownerReferences?.some((owner) => owner.controller === true && owner.uid === uid) === true;
}

export function ownerOf(item: Item, apiVersion: string, kind: string): OwnerReference {
  const { name, uid } = item.metadata;
  return { apiVersion, kind, name, uid, controller: true };
}

export function isReady(pod: Item): boolean {
  const conditions = (pod.status?.["conditions"] ?? []) as unknown as readonly { type: string; status: string }[];
  return (
    pod.metadata.deletionTimestamp === undefined && conditions.some((c) => c.type === "Ready" && c.status === "True")
  );
}

export function matches(item: Item, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(labels).every(([key, value]) => item.metadata.labels?.[key] === value);
}

/** Lets actors live: each takes a step some time after a kind that it heeds has changed. */
export function animate(
  actors: readonly Actor[],
  server: ApiServer,
  scheduler: Scheduler,
  delayMs: () => number,
): void {
  for (const actor of actors) {
    const hands = new Hands(server, scheduler, actor.name);
    const heeds = new Set(actor.heeds);
    let awake = false;
    server.storage.listen(({ kind }: Commit) => {
      if (awake || !heeds.has(kind.resource.plural)) return;
      awake = true;
      scheduler.after(delayMs(), () => {
        awake = false;
        actor.step(hands);
      });
    });
  }
}
