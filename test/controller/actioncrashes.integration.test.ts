/**
 * The operator dies after every write of each kind of action other than a roll-back, and of taking it back, or loses the reply to the act: what is changed
 * is changed once, after the intent was written, and put back once when a person asks for that.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../src/seams.ts";
import type { Json } from "../api/crdserver.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { type Admin, investigations, type Item, NODE } from "./cluster.ts";
import { type Fault, livesAt, stage, told, until } from "./life.ts";
import { deploymentController, foundLeaky, generousCluster } from "./rolledout.ts";

const MERGE = "application/merge-patch+json";
const FINDING = "3f9c0a1b2c4d";

let server: ApiServer;
let api: Admin;
let evidence: string;
let end: (() => Promise<void>) | undefined;

beforeAll(async () => {
  ({ server, api, evidence, end } = await stage());
  const room = { cpu: "8", memory: "8Gi" };
  const status = { capacity: room, allocatable: room };
  await api.must("PATCH", `/api/v1/nodes/${NODE}/status`, { status }, MERGE);
  await generousCluster(api);
});
afterAll(() => end?.());

let scenario = 0;

interface Story {
  readonly action: Json;
  /** The path that the act patches, after the namespace. */
  readonly acts: RegExp;
  /** How often each object's spec was changed, and what it has now; `times` is 0 before the act, 1 after it, 2 when it was put back. */
  readonly check: (namespace: string, times: 0 | 1 | 2) => Promise<void>;
  readonly undone: boolean;
}

async function deployment(namespace: string): Promise<{ generation: number; spec: Json; template: Json }> {
  const { metadata, spec } = await api.must("GET", `/apis/apps/v1/namespaces/${namespace}/deployments/thumbs`);
  const { generation } = metadata as Item["metadata"] & { readonly generation: number };
  return { generation, spec: spec as Json, template: (spec as { template: Json }).template };
}

const STORIES: Readonly<Record<string, Story>> = {
  Restart: {
    action: { action: "Restart" },
    acts: /\/deployments\/thumbs$/,
    undone: false,
    check: async (namespace, times) => {
      const { generation, template } = await deployment(namespace);
      expect(generation).toBe(2 + times);
      expect(JSON.stringify(template).includes("kubectl.kubernetes.io/restartedAt")).toBe(times === 1);
    },
  },
  "Throttle by env": {
    action: { action: "Throttle", throttle: { env: { container: "app", set: { MAX: "2" } } } },
    acts: /\/deployments\/thumbs$/,
    undone: true,
    check: async (namespace, times) => {
      const { generation, template } = await deployment(namespace);
      expect(generation).toBe(2 + times);
      expect(JSON.stringify(template).includes('"MAX"')).toBe(times === 1);
    },
  },
  "Throttle by replicas": {
    action: { action: "Throttle", throttle: { replicas: { max: 1 } } },
    acts: /\/deployments\/thumbs$/,
    undone: true,
    check: async (namespace, times) => {
      const { generation, spec } = await deployment(namespace);
      expect([generation, spec["replicas"]]).toEqual([2 + times, times === 1 ? 1 : 3]);
    },
  },
  "Throttle by a ConfigMap": {
    action: { action: "Throttle", throttle: { configMap: { name: "limits", set: { MAX: "2", DEPTH: "1" } } } },
    acts: /\/configmaps\/limits$/,
    undone: true,
    check: async (namespace, times) => {
      const { data } = (await api.must("GET", `/api/v1/namespaces/${namespace}/configmaps/limits`)) as {
        data?: unknown;
      };
      expect(data).toEqual(times === 1 ? { MAX: "2", DEPTH: "1" } : { MAX: "8" });
    },
  },
  Resize: {
    action: { action: "Resize", resize: { maxBytes: "96Mi" } },
    acts: /\/pods\/thumbs-[01]\/resize$/,
    undone: true,
    check: async (namespace, times) => {
      for (const { metadata, spec } of await api.list(`/api/v1/namespaces/${namespace}/pods`)) {
        const { generation } = metadata as Item["metadata"] & { readonly generation: number };
        const [container] = (spec as { containers: { resources: unknown }[] }).containers;
        expect([generation, container?.resources]).toMatchObject([
          1 + times,
          { limits: { memory: times === 1 ? "96Mi" : "64Mi" } },
        ]);
      }
    },
  },
};

/** The pods of the newest revision, and the ConfigMap that they have mounted. */
async function pods(namespace: string): Promise<void> {
  await api.must("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: "default" } });
  await api.must("POST", `/api/v1/namespaces/${namespace}/configmaps`, {
    metadata: { name: "limits" },
    data: { MAX: "8" },
  });
  const set = await api.must("GET", `/apis/apps/v1/namespaces/${namespace}/replicasets/thumbs-h2`);
  const owner = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    name: "thumbs-h2",
    uid: set.metadata.uid,
    controller: true,
  };
  for (const index of [0, 1]) {
    await api.must("POST", `/api/v1/namespaces/${namespace}/pods`, {
      metadata: {
        name: `thumbs-${index}`,
        labels: { app: "thumbs", "pod-template-hash": "h2" },
        ownerReferences: [owner],
      },
      spec: {
        nodeName: NODE,
        automountServiceAccountToken: false,
        containers: [{ name: "app", image: "thumbs:2", resources: { limits: { memory: "64Mi" } } }],
      },
    });
  }
}

/** Plays the kubelet: what the spec asks for is in force a moment later. */
function kubelet(namespace: string): { stop(): Promise<void> } {
  const stop = new AbortController();
  const running = (async () => {
    while (!stop.signal.aborted) {
      for (const pod of await api.list(`/api/v1/namespaces/${namespace}/pods`)) {
        const [container] = (pod["spec"] as { containers: { resources: unknown }[] }).containers;
        const { containerStatuses: [now] = [] } = (pod["status"] ?? {}) as {
          containerStatuses?: { resources?: unknown }[];
        };
        if (JSON.stringify(now?.resources) === JSON.stringify(container?.resources)) continue;
        const base = { name: "app", image: "thumbs:2", imageID: "none", ready: true, started: true, restartCount: 0 };
        const state = { running: { startedAt: "2026-01-01T00:00:00Z" } };
        const containerStatuses = [{ ...base, containerID: "containerd://1", state, resources: container?.resources }];
        const status = { phase: "Running", conditions: [{ type: "Ready", status: "True" }], containerStatuses };
        await api.must("PATCH", `/api/v1/namespaces/${namespace}/pods/${pod.metadata.name}/status`, { status }, MERGE);
      }
      await systemClock.sleep(100);
    }
  })();
  return {
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

/** From a finding to the end of the action and back again. Returns the first life's writes about the workload. */
async function actAndUndo(name: string, story: Story, at: number, fault: Fault): Promise<readonly string[]> {
  const namespace = `act-${scenario++}`;
  await api.must("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await foundLeaky(api, namespace, { mode: "Enforce", approval: "Automatic", action: story.action });
  await pods(namespace);
  await story.check(namespace, 0);
  const world = deploymentController(api, namespace);
  const node = kubelet(namespace);
  const { first, now, reborn } = await livesAt({ server, evidence }, at, fault);
  const own = `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations`;
  try {
    const only = async (): Promise<ReturnType<typeof told>> => told((await investigations(api, namespace))[0]);
    await until(`${name} has ended`, async () => (await only()).result !== undefined);
    expect(await only()).toMatchObject({ result: "Mitigated", mitigations: [{ state: "Done" }] });
    expect(world.doneBeforeComplete).toBe(false);
    await story.check(namespace, 1);
    const undoActions = [{ action: story.action["action"], finding: FINDING }];
    await api.must("PATCH", `${own}/thumbs`, { spec: { undoActions } }, MERGE);
    const answered = ["Undone", "Refused", "Failed"];
    await until(`${name} is put back`, async () =>
      answered.includes((await only()).mitigations?.[0]?.undo?.state ?? ""),
    );
    const expected = story.undone ? { state: "Undone" } : { state: "Done", undo: { reason: "NothingToUndo" } };
    expect((await only()).mitigations?.[0]).toMatchObject(expected);
    if (at >= 0 && at < first.writes.length) await reborn;
    await story.check(namespace, story.undone ? 2 : 1);
    const writes = now() === first ? first.writes : [...first.writes, ...now().writes];
    const isStatus = (write: string): boolean => write.includes("/memoryinvestigations/") && write.endsWith("/status");
    expect(writes.findIndex((write) => story.acts.test(write))).toBeGreaterThan(writes.findIndex(isStatus));
    return first.writes;
  } finally {
    await world.stop();
    await node.stop();
    await now().end();
    await api.must("DELETE", own);
  }
}

test.each(Object.entries(STORIES))("at every write of %s", { timeout: 300_000 }, async (name, story) => {
  const writes = await actAndUndo(name, story, -1, "lose the reply");
  const acts = writes.flatMap((write, index) => (story.acts.test(write) ? [index] : []));
  // Each act once, and each pod of a resize is one.
  expect(acts).toHaveLength((story.undone ? 2 : 1) * (name === "Resize" ? 2 : 1));
  // The first is about a Secret of its own. A restart goes the same way as variables do.
  const deaths = name === "Restart" ? acts : writes.map((_, at) => at).slice(1);
  const runs: [number, Fault][] = [
    ...acts.map((at): [number, Fault] => [at, "lose the reply"]),
    ...deaths.map((at): [number, Fault] => [at, "crash after"]),
  ];
  for (const [at, fault] of runs) {
    await actAndUndo(name, story, at, fault).catch((error: unknown) => {
      throw new Error(`${fault} at write ${at} (${writes[at]}) of ${writes.join("\n")}`, { cause: error });
    });
  }
});
