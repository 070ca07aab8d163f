/**
 * Where are the cgroups of a pod? Found by walking from the kubepods root and matching whole path components, never parts of them:
 * a container may name a cgroup of its own like another pod, but it cannot put it above itself.
 *
 * Forms: cgroupfs driver `kubepods[/burstable|/besteffort]/pod<uid>/<id>`; systemd driver
 * `kubepods.slice[/kubepods-burstable.slice]/kubepods[-burstable]-pod<uid with _>.slice/{cri-containerd|crio|docker}-<id>.scope`.
 * A Guaranteed pod has no level of its own for its class.
 */
import { join } from "node:path";
import { listFolder, listSubfolders, tryReadText } from "./hostfiles.ts";

const UID = "[0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12}|[0-9a-f]{32}";
/** A kubelet with a cgroup root of its own repeats that in the names of its slices, as kind does: `kubelet-kubepods-burstable.slice`. */
const PREFIX = "(?:[a-z0-9_]{1,32}-){0,4}";
const ROOT = new RegExp(`^(?:kubepods|${PREFIX}kubepods\\.slice)$`);
const CLASS = new RegExp(`^(?:burstable|besteffort|${PREFIX}kubepods-(?:burstable|besteffort)\\.slice)$`);
const POD = new RegExp(`^(?:pod(${UID})|${PREFIX}kubepods-(?:burstable-|besteffort-)?pod(${UID})\\.slice)$`);
const CONTAINER = /^(?:(?:cri-containerd|crio|docker)-)?([0-9a-f]{64})(?:\.scope)?$/;
/** Kubelets may be told to live below a cgroup of their own; deeper than this nobody puts them. */
const ROOT_DEPTH = 4;
/** More processes in one container are not listed. */
export const MAX_PIDS = 512;
const PIDS_FILE_BYTES = 1024 * 1024;
/** A container may make cgroups of its own; more than these are not walked. A machine's system.slice has a hundred. */
const MAX_CGROUPS = 1024;
/** Below PATH_MAX of 4,096, less the name of the file: a path that is longer cannot be opened. */
const MAX_PATH_BYTES = 4000;

export interface Hierarchy {
  readonly version: 1 | 2;
  /** Folder of the memory hierarchy's root. */
  readonly root: string;
}

/** The hierarchy that accounts memory here: v1's own, or the unified one when it has the memory controller. */
export async function memoryHierarchy(cgroup: string): Promise<Hierarchy | undefined> {
  const controllers = await tryReadText(join(cgroup, "cgroup.controllers"), 4096);
  if (controllers?.split(/\s+/).includes("memory") === true) return { version: 2, root: cgroup };
  for (const name of ["memory", "memory,hugetlb"]) {
    if ((await tryReadText(join(cgroup, name, "memory.stat"), 64)) !== undefined)
      return { version: 1, root: join(cgroup, name) };
  }
  return undefined;
}

/** Paths below the hierarchy's root at which a kubelet keeps its pods. */
export async function kubepodsRoots(hierarchy: Hierarchy): Promise<string[]> {
  const roots: string[] = [];
  async function walk(path: string, depth: number): Promise<void> {
    for (const name of await listSubfolders(join(hierarchy.root, path))) {
      if (ROOT.test(name)) roots.push(`${path}/${name}`);
      else if (depth > 1) await walk(`${path}/${name}`, depth - 1);
    }
  }
  await walk("", ROOT_DEPTH);
  return roots;
}

export interface PodCgroup {
  /** Below the hierarchy's root. */
  readonly path: string;
  readonly containers: readonly { readonly id: string; readonly path: string }[];
}

/** The cgroup of a pod and those of its containers; undefined when the node has none. */
export async function findPod(
  hierarchy: Hierarchy,
  roots: readonly string[],
  uid: string,
): Promise<PodCgroup | undefined> {
  const wanted = bareUid(uid);
  for (const root of roots) {
    for (const parent of await classes(hierarchy, root)) {
      for (const name of await listSubfolders(join(hierarchy.root, parent))) {
        const named = uidOf(name);
        if (named === undefined || bareUid(named) !== wanted) continue;
        const path = `${parent}/${name}`;
        const inside = await listSubfolders(join(hierarchy.root, path));
        return {
          path,
          containers: inside.flatMap((child) => {
            const id = CONTAINER.exec(child)?.[1];
            return id === undefined ? [] : [{ id, path: `${path}/${child}` }];
          }),
        };
      }
    }
  }
  return undefined;
}

export interface ListedPod {
  readonly uid: string;
  readonly class: "Guaranteed" | "Burstable" | "BestEffort";
  /** Below the hierarchy's root. */
  readonly path: string;
}

/** All pods that have a cgroup on this node, by class. */
export async function listPods(hierarchy: Hierarchy, roots: readonly string[]): Promise<ListedPod[]> {
  const pods: ListedPod[] = [];
  for (const root of roots) {
    for (const parent of await classes(hierarchy, root)) {
      const kind = parent === root ? "Guaranteed" : parent.includes("besteffort") ? "BestEffort" : "Burstable";
      for (const name of await listSubfolders(join(hierarchy.root, parent))) {
        const uid = uidOf(name);
        if (uid !== undefined) pods.push({ uid: dashed(uid), class: kind, path: `${parent}/${name}` });
      }
    }
  }
  return pods;
}

async function classes(hierarchy: Hierarchy, root: string): Promise<string[]> {
  const names = await listSubfolders(join(hierarchy.root, root));
  return [root, ...names.filter((name) => CLASS.test(name)).map((name) => `${root}/${name}`)];
}

function uidOf(component: string | undefined): string | undefined {
  const match = POD.exec(component ?? "");
  return match?.[1] ?? match?.[2];
}

function bareUid(uid: string): string {
  return uid.replaceAll(/[-_]/g, "");
}

/** Pods have a uid with dashes. */
function dashed(uid: string): string {
  const bare = bareUid(uid);
  return [bare.slice(0, 8), bare.slice(8, 12), bare.slice(12, 16), bare.slice(16, 20), bare.slice(20)].join("-");
}

/**
 * Pod uid and container id of a cgroup's path as the kernel prints it, or nothing for a path that is no pod's. Read from the root on:
 * the first component that is kubepods decides, and what a container adds below itself changes nothing.
 */
export function podOfPath(path: string): PodOfPath {
  const components = path.split("/").filter((part) => part !== "");
  const root = components.findIndex((part) => ROOT.test(part));
  return root < 0 || root >= ROOT_DEPTH ? {} : podBelowRoot(components.slice(root + 1));
}

export interface PodOfPath {
  readonly podUid?: string;
  readonly containerId?: string;
}

/**
 * The same for a path of /proc/PID/cgroup, which a reader in a cgroup namespace of its own sees from where it stands itself
 * (`/../../pod<uid>/<id>`, cgroup_namespaces(7)). Both are pods, so the paths part at the pod's component or above it: the first
 * component that is left must be the pod's, its class's, or lead to the kubepods root.
 */
export function podOfProcess(path: string): PodOfPath {
  if (!path.startsWith("/../")) return podOfPath(path);
  const components = path.split("/").filter((part) => part !== "" && part !== "..");
  const below = podBelowRoot(components);
  return below.podUid === undefined ? podOfPath(path.replace(/^(?:\/\.\.)+/, "")) : below;
}

function podBelowRoot(components: readonly string[]): PodOfPath {
  const pod = components[0] !== undefined && CLASS.test(components[0]) ? components.slice(1) : components;
  const uid = uidOf(pod[0]);
  if (uid === undefined) return {};
  const id = CONTAINER.exec(pod[1] ?? "")?.[1];
  return { podUid: dashed(uid), ...(id === undefined ? {} : { containerId: id }) };
}

export interface ListedPids {
  readonly pids: number[];
  /** Processes that were seen and left out. */
  readonly omitted: number;
  /** There are cgroups below that were not walked, and nobody has counted who is in them. */
  readonly cut: boolean;
}

/**
 * Pids in a cgroup and everything below it (systemd or another container engine inside), lowest first. The upper cgroups come first, so that who makes
 * thousands of them hides only what lies below these. */
export async function pidsOf(directory: string): Promise<ListedPids> {
  const pids = new Set<number>();
  const found = [directory];
  let cut = false;
  for (let next = 0; next < found.length; next++) {
    const path = found[next] ?? directory;
    const text = await tryReadText(join(path, "cgroup.procs"), PIDS_FILE_BYTES);
    for (const line of text?.split("\n") ?? []) if (/^\d+$/.test(line) && line !== "0") pids.add(Number(line));
    for (const name of await listSubfolders(path)) {
      const child = join(path, name);
      // A name that is no UTF-8 has come to us as another one, which leads nowhere.
      const unreachable = name.includes("\uFFFD") || Buffer.byteLength(child) > MAX_PATH_BYTES;
      if (unreachable || found.length >= MAX_CGROUPS) cut = true;
      else found.push(child);
    }
  }
  const sorted = [...pids].toSorted((a, b) => a - b);
  return { pids: sorted.slice(0, MAX_PIDS), omitted: Math.max(0, sorted.length - MAX_PIDS), cut };
}

/** Which driver and runtime name the cgroups here, for the reader of a pack. */
export async function namingOf(
  hierarchy: Hierarchy,
  roots: readonly string[],
): Promise<{
  readonly driver: "cgroupfs" | "systemd" | "none";
  readonly runtime: "containerd" | "cri-o" | "docker" | "unknown" | "none";
}> {
  const first = roots[0];
  if (first === undefined) return { driver: "none", runtime: "none" };
  const driver = first.endsWith(".slice") ? "systemd" : "cgroupfs";
  for (const parent of await classes(hierarchy, first)) {
    for (const pod of await listSubfolders(join(hierarchy.root, parent))) {
      if (!POD.test(pod)) continue;
      const names = await listFolder(join(hierarchy.root, parent, pod));
      if (names.some((name) => name.startsWith("cri-containerd-"))) return { driver, runtime: "containerd" };
      if (names.some((name) => name.startsWith("crio-"))) return { driver, runtime: "cri-o" };
      if (names.some((name) => name.startsWith("docker-"))) return { driver, runtime: "docker" };
    }
  }
  return { driver, runtime: "unknown" };
}
