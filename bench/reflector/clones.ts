/**
 * How do fifty thousand pods come to be within minutes? The API server takes a hundred a second, so beyond some thousands the stored bytes
 * of a pod that went through it are put into etcd again under another name and uid of the same length. The server cannot tell them apart.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "undici";
import { podName } from "./pods.ts";

const AT_ONCE = 32;

/** Where etcd listens: its command line says so. */
export function etcdUrlOf(pid: number): string {
  const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  const flag = words.find((word) => word.startsWith("--listen-client-urls="));
  if (flag === undefined) throw new Error("etcd was not started with --listen-client-urls");
  return flag.slice(flag.indexOf("=") + 1);
}

async function call(etcdUrl: string, method: "range" | "put", body: object): Promise<unknown> {
  const answer = await request(`${etcdUrl}/v3/kv/${method}`, { method: "POST", body: JSON.stringify(body) });
  if (answer.statusCode !== 200) throw new Error(`etcd ${method}: ${answer.statusCode} ${await answer.body.text()}`);
  return answer.body.json();
}

function replaced(stored: Buffer, from: string, to: string): Buffer {
  if (from.length !== to.length) throw new Error("A clone's bytes must be as long as those of the pod");
  return Buffer.from(stored.toString("latin1").replaceAll(from, to), "latin1");
}

async function clone(etcdUrl: string, index: number, made: number, copies: readonly number[]): Promise<void> {
  const { namespace, name } = podName(index);
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const found = (await call(etcdUrl, "range", { key: base64(`/registry/pods/${namespace}/${name}`) })) as {
    readonly kvs?: readonly { readonly value: string }[];
  };
  const stored = Buffer.from(found.kvs?.[0]?.value ?? "", "base64");
  // The pod's own uid is the first in the bytes: owner references come later in metadata.
  const uid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(stored.toString("latin1"))?.[0];
  if (uid === undefined) throw new Error(`etcd holds no pod ${namespace}/${name}`);
  for (const copy of copies) {
    const to = podName(copy, made).name;
    const value = replaced(replaced(stored, name, to), uid, randomUUID()).toString("base64");
    await call(etcdUrl, "put", { key: base64(`/registry/pods/${namespace}/${to}`), value });
  }
}

/** Fills up to `count` pods, of which the first `made` are there. `count` must be a multiple of `made`. */
export async function clonePods(etcdUrl: string, made: number, count: number): Promise<void> {
  if (count % made !== 0) throw new Error(`${count} pods cannot be made by copying ${made}`);
  for (let first = 0; first < made; first += AT_ONCE) {
    const bases = Array.from({ length: Math.min(AT_ONCE, made - first) }, (_, offset) => first + offset);
    await Promise.all(
      bases.map((index) =>
        clone(
          etcdUrl,
          index,
          made,
          Array.from({ length: count / made - 1 }, (_, round) => index + made * (round + 1)),
        ),
      ),
    );
  }
}
