/** What does `kubectl kustomize` make of a folder of config/? The kubectl is the one that the test cluster's build has left in the cache. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { kubectlPath } from "../support/apiserver.ts";

export const ROOT = join(import.meta.dirname, "../..");

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
}

/** Runs kubectl. Rejects with what it wrote to standard error. */
export async function kubectl(...words: string[]): Promise<string> {
  const path = kubectlPath();
  if (path === undefined)
    throw new Error("There is no kubectl beside kube-apiserver: run `make cluster-build-apiserver`");
  return (await promisify(execFile)(path, words, { cwd: ROOT, maxBuffer: 2 ** 26 })).stdout;
}

/** The objects of a folder, such as `config/default`. */
export async function kustomize(folder: string): Promise<Manifest[]> {
  return manifests(await kubectl("kustomize", folder));
}

/** The objects of a stream of YAML documents; empty ones are left out. */
export function manifests(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null);
}

/** Such as `apps/v1 Deployment oomscope-system/oomscope-operator`. */
export function idOf({ apiVersion, kind, metadata: { name, namespace } }: Manifest): string {
  return `${apiVersion} ${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}
