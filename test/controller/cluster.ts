/**
 * A cluster for the operator as a whole: a real API server, and the few controllers without which an incident cannot go on, played by the
 * test: one that owns and replaces pods as the ReplicaSet controller does, and somebody who deletes collection Jobs.
 */
import { systemClock } from "../../src/seams.ts";
import { connect, type CrdServer, type Json } from "../api/crdserver.ts";
import type { ApiServer } from "../support/apiserver.ts";

export interface Meta {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly uid: string }[];
  readonly deletionTimestamp?: string;
}

export interface Item {
  readonly metadata: Meta;
  readonly [field: string]: unknown;
}

export const OPERATOR = "oomscope-system";
export const COLLECTORS = "oomscope-collectors";
export const NODE = "n1";
const MERGE = "application/merge-patch+json";

export interface Admin extends CrdServer {
  /** Throws with the server's words when it refuses. */
  must(method: string, path: string, body?: unknown, contentType?: string): Promise<Item>;
  list(path: string): Promise<Item[]>;
}

export function admin(server: ApiServer): Admin {
  const connection = connect({ url: server.url, ca: server.ca, token: server.adminToken });
  return {
    ...connection,
    must: async (method, path, body, contentType) => {
      const { status, body: answer } = await connection.call(method, path, body, contentType);
      if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
      return answer as unknown as Item;
    },
    list: async (path) => ((await connection.call("GET", path)).body["items"] ?? []) as Item[],
  };
}

/** What an install brings, as far as the operator asks for it. */
export async function install(api: Admin): Promise<void> {
  for (const name of [OPERATOR, COLLECTORS]) await api.must("POST", "/api/v1/namespaces", { metadata: { name } });
  await api.must("POST", `/api/v1/namespaces/${OPERATOR}/secrets`, { metadata: { name: "oomscope-evidence-tls" } });
  await api.must("POST", `/api/v1/namespaces/${OPERATOR}/services`, {
    metadata: { name: "oomscope-evidence" },
    spec: { ports: [{ name: "evidence", port: 8443 }] },
  });
  await api.must("POST", "/api/v1/nodes", { metadata: { name: NODE } });
  await api.must(
    "PATCH",
    `/api/v1/nodes/${NODE}/status`,
    { status: { conditions: [{ type: "Ready", status: "True", reason: "Test", message: "m" }] } },
    MERGE,
  );
}

const REPLICAS = 3;

/** A Deployment with its ReplicaSet, Service and pods, one of which has just been OOM-killed, and a policy that keeps a pod. */
export async function incident(api: Admin, namespace: string): Promise<void> {
  await api.must("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await api.must("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: "default" } });
  await api.must("POST", `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memorypolicies`, {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryPolicy",
    metadata: { name: "keep" },
    spec: {
      mode: "Recommend",
      preserve: { strategy: "Isolate", minAvailable: 1, ttl: "1h" },
      budget: { maxActive: 50 },
    },
  });
  await api.must("POST", `/api/v1/namespaces/${namespace}/services`, {
    metadata: { name: "thumbs" },
    spec: { selector: { app: "thumbs" }, ports: [{ port: 80 }] },
  });
  const template = podTemplate();
  const deployment = await api.must("POST", `/apis/apps/v1/namespaces/${namespace}/deployments`, {
    metadata: { name: "thumbs" },
    spec: { replicas: REPLICAS, selector: { matchLabels: { app: "thumbs" } }, template },
  });
  const set = await api.must("POST", `/apis/apps/v1/namespaces/${namespace}/replicasets`, {
    metadata: {
      name: "thumbs-h1",
      labels: LABELS,
      annotations: { "deployment.kubernetes.io/revision": "1" },
      ownerReferences: [owner("Deployment", "thumbs", deployment.metadata.uid)],
    },
    spec: {
      replicas: REPLICAS,
      selector: { matchLabels: LABELS },
      template: { ...template, metadata: { labels: LABELS } },
    },
  });
  for (let i = 0; i < REPLICAS; i++) await makePod(api, namespace, `thumbs-${i}`, set.metadata.uid, i === 0);
}

const LABELS = { app: "thumbs", "pod-template-hash": "h1" } as const;

function owner(kind: string, name: string, uid: string): Json {
  return { apiVersion: "apps/v1", kind, name, uid, controller: true, blockOwnerDeletion: true };
}

function podTemplate(): Json {
  const container = { name: "app", image: "none", resources: { limits: { memory: "64Mi" } } };
  return { metadata: { labels: { app: "thumbs" } }, spec: { containers: [container] } };
}

/** A running pod of the ReplicaSet thumbs-h1; killed: its container has just been OOM-killed, and runs again. */
export async function makePod(
  api: Admin,
  namespace: string,
  name: string,
  setUid: string,
  killed: boolean,
): Promise<void> {
  const { spec } = podTemplate() as { spec: Json };
  await api.must("POST", `/api/v1/namespaces/${namespace}/pods`, {
    metadata: { name, labels: LABELS, ownerReferences: [owner("ReplicaSet", "thumbs-h1", setUid)] },
    spec: { ...spec, nodeName: NODE, automountServiceAccountToken: false },
  });
  await podStatus(api, namespace, name, killed);
}

export async function podStatus(api: Admin, namespace: string, name: string, killed: boolean): Promise<void> {
  const now = Date.now();
  const ago = (seconds: number): string => `${new Date(now - seconds * 1000).toISOString().slice(0, 19)}Z`;
  const last = {
    terminated: {
      reason: "OOMKilled",
      exitCode: 137,
      startedAt: ago(60),
      finishedAt: ago(2),
      containerID: `containerd://${"1".padStart(64, "0")}`,
    },
  };
  const status = {
    phase: "Running",
    startTime: ago(60),
    conditions: [{ type: "Ready", status: "True" }],
    containerStatuses: [
      {
        name: "app",
        image: "none",
        imageID: "none",
        ready: true,
        started: true,
        restartCount: killed ? 1 : 0,
        containerID: `containerd://${"2".padStart(64, "0")}`,
        state: { running: { startedAt: ago(killed ? 1 : 60) } },
        ...(killed ? { lastState: last } : {}),
      },
    ],
  };
  await api.must("PATCH", `/api/v1/namespaces/${namespace}/pods/${name}/status`, { status }, MERGE);
}

export interface Controllers {
  /** Uids of the pods that ever bore the mark of preservation. */
  readonly preserved: ReadonlySet<string>;
  /** Uids under each name of a collection Job that ever was. */
  readonly jobs: ReadonlyMap<string, ReadonlySet<string>>;
  /** The fewest ready pods that the Service ever selected. */
  readonly fewestServing: number;
  stop(): Promise<void>;
}

const MARK = "oomscope.dev/preserved";

/** Plays the ReplicaSet controller for the namespace, and deletes every collection Job that the operator has seen. */
export function controllers(api: Admin, namespace: string): Controllers {
  const preserved = new Set<string>();
  const collections = jobDeleter(api, namespace);
  let fewestServing = REPLICAS;
  let made = 0;
  const stop = new AbortController();

  async function pods(): Promise<void> {
    const [set] = await api.list(`/apis/apps/v1/namespaces/${namespace}/replicasets`);
    if (set === undefined) return;
    const all = await api.list(`/api/v1/namespaces/${namespace}/pods`);
    for (const pod of all) if (pod.metadata.labels?.[MARK] !== undefined) preserved.add(pod.metadata.uid);
    fewestServing = Math.min(fewestServing, all.filter(selected).length);
    for (const pod of all) {
      const owned = pod.metadata.ownerReferences?.some((o) => o.uid === set.metadata.uid) === true;
      if (owned !== selected(pod)) await adopt(pod, set.metadata.uid, !owned);
    }
    const members = all.filter(selected);
    if (members.length < REPLICAS) await makePod(api, namespace, `thumbs-new-${made++}`, set.metadata.uid, false);
    if (members.length > REPLICAS) {
      const cost = (pod: Item): number =>
        Number(pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? 0);
      const victim = members.toSorted((a, b) => cost(a) - cost(b))[0];
      await api.call("DELETE", `/api/v1/namespaces/${namespace}/pods/${victim?.metadata.name}?gracePeriodSeconds=0`);
    }
  }

  async function adopt(pod: Item, setUid: string, join: boolean): Promise<void> {
    const { name, uid, resourceVersion } = pod.metadata;
    const ownerReferences = join ? [owner("ReplicaSet", "thumbs-h1", setUid)] : null;
    // A conflict is no failure: it is looked at again.
    await api.call(
      "PATCH",
      `/api/v1/namespaces/${namespace}/pods/${name}`,
      { metadata: { uid, resourceVersion, ownerReferences } },
      MERGE,
    );
  }

  const running = (async () => {
    while (!stop.signal.aborted) {
      await pods();
      await collections.step();
      await systemClock.sleep(25);
    }
  })();
  return {
    preserved,
    jobs: collections.jobs,
    get fewestServing() {
      return fewestServing;
    },
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

export interface JobDeleter {
  /** Uids under each name of a collection Job that ever was. */
  readonly jobs: ReadonlyMap<string, ReadonlySet<string>>;
  step(): Promise<void>;
}

/** Somebody who deletes every collection Job as soon as the operator has seen it. */
export function jobDeleter(api: Admin, namespace: string): JobDeleter {
  const jobs = new Map<string, Set<string>>();
  return {
    jobs,
    step: async () => {
      const seen = new Set((await investigations(api, namespace)).flatMap(jobUids));
      for (const { metadata } of await api.list(`/apis/batch/v1/namespaces/${COLLECTORS}/jobs`)) {
        jobs.set(metadata.name, (jobs.get(metadata.name) ?? new Set()).add(metadata.uid));
        if (seen.has(metadata.uid))
          await api.call(
            "DELETE",
            `/apis/batch/v1/namespaces/${COLLECTORS}/jobs/${metadata.name}?propagationPolicy=Background`,
          );
      }
    },
  };
}

function selected(pod: Item): boolean {
  return pod.metadata.labels?.["app"] === "thumbs" && pod.metadata.deletionTimestamp === undefined;
}

function jobUids(investigation: Item): string[] {
  const { collections = [] } = (investigation["status"] ?? {}) as { collections?: { jobUid?: string }[] };
  return collections.flatMap((c) => (c.jobUid === undefined ? [] : [c.jobUid]));
}

export async function investigations(api: Admin, namespace: string): Promise<Item[]> {
  return api.list(`/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations`);
}
