/**
 * Who else holds memory on the node? The cgroups directly below the root by name, because init and the administrator name those; pods summed by
 * their class, and the few largest by their uid, which names no tenant. The rest is only counted.
 */
import { join } from "node:path";
import type { NodeCgroups } from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { number, readCgroup } from "./cgroup.ts";
import { listSubfolders } from "./hostfiles.ts";
import { listPods, type Hierarchy, type ListedPod } from "./podcgroups.ts";

/** Nobody's share of a node changes faster than this matters, and a node may have hundreds of pods. */
const EVERY_MS = 10_000;
const MAX_LISTED = 256;
const MAX_TOP = 16;
const MAX_LARGEST = 8;
/** As systemd, container engines and kubelets name them; what has another name is counted with the others. */
const PLAIN_NAME = /^[A-Za-z0-9_.:@\\-]{1,80}$/;

export interface Neighbours {
  /** Undefined where it is too soon after the last reading. */
  read(): Promise<NodeCgroups | undefined>;
}

/** @param hierarchy undefined: nothing accounts memory here, and nothing is read  @param roots paths at which kubelets keep their pods */
export function createNeighbours(hierarchy: Hierarchy | undefined, roots: readonly string[], clock: Clock): Neighbours {
  if (hierarchy === undefined) return { read: async () => undefined };
  const { root, version } = hierarchy;
  let readAtMs = Number.NEGATIVE_INFINITY;
  const file = version === 2 ? "memory.current" : "memory.usage_in_bytes";
  const usageOf = (path: string): Promise<number | undefined> => number(join(root, path, file));

  async function readTop(): Promise<Pick<NodeCgroups, "top" | "others">> {
    const names = (await listSubfolders(root)).slice(0, MAX_LISTED);
    const measured = await measure(names, (name) => usageOf(name));
    const plain = measured.filter(({ of }) => PLAIN_NAME.test(of));
    const rest = measured.filter(({ of }) => !PLAIN_NAME.test(of)).concat(plain.slice(MAX_TOP));
    const top: NodeCgroups["top"] = [];
    for (const { of: name, usageBytes } of plain.slice(0, MAX_TOP)) {
      const reading = await readCgroup(join(root, name), `/${name}`, version);
      top.push({ name, usageBytes, kinds: reading?.kinds ?? {} });
    }
    return { top, others: { cgroups: rest.length, usageBytes: sum(rest) } };
  }

  async function readPods(): Promise<Pick<NodeCgroups, "pods" | "largestPods" | "podsOmitted">> {
    const listed = await listPods({ root, version }, roots);
    const measured = await measure(listed.slice(0, MAX_LISTED), ({ path }) => usageOf(path));
    return {
      pods: (["Guaranteed", "Burstable", "BestEffort"] as const).flatMap((kind) => {
        const inClass = measured.filter(({ of }) => of.class === kind);
        return inClass.length === 0 ? [] : [{ class: kind, pods: inClass.length, usageBytes: sum(inClass) }];
      }),
      largestPods: measured.slice(0, MAX_LARGEST).map(({ of: { uid }, usageBytes }) => ({ uid, usageBytes })),
      podsOmitted: Math.max(0, listed.length - MAX_LISTED),
    };
  }

  return {
    read: async () => {
      const now = clock.monotonicMs();
      if (now - readAtMs < EVERY_MS) return undefined;
      readAtMs = now;
      return { ...(await readTop()), ...(await readPods()) };
    },
  };
}

interface Measured<T extends string | ListedPod> {
  readonly of: T;
  readonly usageBytes: number;
}

/** The largest first; what is gone is left out. */
async function measure<T extends string | ListedPod>(
  all: readonly T[],
  usageOf: (one: T) => Promise<number | undefined>,
): Promise<Measured<T>[]> {
  const measured: Measured<T>[] = [];
  for (const of of all) {
    const usageBytes = await usageOf(of);
    if (usageBytes !== undefined) measured.push({ of, usageBytes });
  }
  return measured.toSorted((a, b) => b.usageBytes - a.usageBytes);
}

function sum(measured: readonly { readonly usageBytes: number }[]): number {
  return measured.reduce((total, { usageBytes }) => total + usageBytes, 0);
}
