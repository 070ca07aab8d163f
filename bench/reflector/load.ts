/**
 * How do thousands of pods come into a bare API server, and change? Writes go out as fast as the server takes them, or at a given rate, with
 * each field manager writing what it writes in a real cluster, so that managedFields is what it is there.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Agent } from "undici";
import { kubeletStatus, namespacesOf, networkAnnotations, newPod, podName, type Json } from "./pods.ts";

export interface Load {
  /** Makes the namespaces and `count` pods, each with a first status. */
  createPods(count: number, onProgress: (done: number) => void): Promise<void>;
  /** Makes `changes` changes over `pods` pods at no more than `perSecond`. The last one, alone at the end, is to pod 0. Returns the seconds it took. */
  change(pods: number, changes: number, perSecond: number, onProgress: (done: number) => void): Promise<number>;
  /** Bytes of one pod as the API server sends it. */
  podBytes(index: number): Promise<number>;
  close(): Promise<void>;
}

const CONCURRENCY = 48;
const MERGE_PATCH = "application/merge-patch+json";

interface Call {
  readonly method: "GET" | "POST" | "PATCH";
  readonly path: string;
  readonly manager?: string;
  readonly body?: Json;
}

/** Runs `work` for 0 to `count` - 1, many at a time. Stops at the first failure and throws it. */
async function forEachNumber(count: number, work: (index: number) => Promise<void>): Promise<void> {
  const state = { next: 0, failed: false };
  const worker = async (): Promise<void> => {
    while (state.next < count && !state.failed) {
      await work(state.next++).catch((error: unknown) => {
        state.failed = true;
        throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

function statusPatch(index: number, change: number, made?: number): Call {
  const { namespace, name } = podName(index, made);
  return {
    method: "PATCH",
    path: `/api/v1/namespaces/${namespace}/pods/${name}/status`,
    manager: "kubelet",
    body: { status: kubeletStatus(index, change) },
  };
}

function annotationPatch(index: number, change: number, made?: number): Call {
  const { namespace, name } = podName(index, made);
  return {
    method: "PATCH",
    path: `/api/v1/namespaces/${namespace}/pods/${name}`,
    manager: "multus",
    body: { metadata: { annotations: networkAnnotations(index, change) } },
  };
}

/** Change number `change` of a run: three of four are a kubelet's status, one is an annotation. */
function changeOf(pods: number, change: number, made: number): Call {
  // Another pod each time, in an order that is not that of their names. Pod 0 is left for the end.
  const index = 1 + ((change * 7919) % (pods - 1));
  return change % 4 === 3 ? annotationPatch(index, change + 1, made) : statusPatch(index, change + 1, made);
}

/** Pods from number `made` on are copies: only their names differ. */
export function createLoad(origin: string, ca: string, token: string, made: number): Load {
  const agent = new Agent({ connect: { ca }, connections: CONCURRENCY, pipelining: 1 });

  async function send({ method, path, manager, body }: Call): Promise<string> {
    const answer = await agent.request({
      origin,
      method,
      path: manager === undefined ? path : `${path}?fieldManager=${manager}`,
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": method === "PATCH" ? MERGE_PATCH : "application/json",
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 500)}`);
    return text;
  }

  async function createPod(index: number): Promise<void> {
    const { namespace } = podName(index);
    await send({
      method: "POST",
      path: `/api/v1/namespaces/${namespace}/pods`,
      manager: "kube-controller-manager",
      body: newPod(index),
    });
    // Every write costs the server more than all that is measured here, so not every pod has a third manager from the start.
    if (index % 4 === 0) await send(annotationPatch(index, 0));
    await send(statusPatch(index, 0));
  }

  return {
    async createPods(count, onProgress) {
      for (const name of namespacesOf()) {
        const body = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
        await send({ method: "POST", path: "/api/v1/namespaces", body });
      }
      let done = 0;
      await forEachNumber(count, async (index) => {
        await createPod(index);
        onProgress(++done);
      });
    },
    async change(pods, changes, perSecond, onProgress) {
      let done = 0;
      const from = performance.now();
      await forEachNumber(changes - 1, async (change) => {
        const due = from + (change * 1000) / perSecond - performance.now();
        if (due > 0) await delay(due);
        await send(changeOf(pods, change, made));
        onProgress(++done);
      });
      await send(statusPatch(0, 1));
      return (performance.now() - from) / 1000;
    },
    async podBytes(index) {
      const { namespace, name } = podName(index, made);
      return Buffer.byteLength(await send({ method: "GET", path: `/api/v1/namespaces/${namespace}/pods/${name}` }));
    },
    close: () => agent.close(),
  };
}
