/**
 * What do the commands that speak to a cluster share? Their options, the connection, and sentences for what can go wrong on the way. The cluster's code is
 * loaded here and only when such a command runs, so that the commands for one machine start as fast as without it.
 */
import type { MemoryInvestigation, TargetRef } from "../api/memoryinvestigation.ts";
import type { ApiObject } from "../cluster/api.ts";
import type { Check } from "../cluster/checkup.ts";
import type { DryRun } from "../cluster/dryrun.ts";
import type { ApiErrorReason } from "../cluster/errors.ts";
import type { Session } from "../cluster/session.ts";
import type { ExplainQuestion } from "../incident/explain.ts";
import { type Given, nearest, type OptionSpec, UsageError } from "./arguments.ts";
import { Failed, type World } from "./command.ts";
import { shown } from "./text.ts";

export const CLUSTER_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  namespace: { value: "NAME", short: "n", help: "The namespace. The default is the context's." },
  context: { value: "NAME", help: "The context of the kubeconfig. The default is its current one." },
  kubeconfig: { value: "FILE", help: "The kubeconfig. The default is $KUBECONFIG, then ~/.kube/config." },
};

export interface Cluster extends Session {
  /** The namespace that is asked about. */
  readonly namespace: string;
}

/**
 * Runs `work` with a connection, and closes it. What is no `Failed` of its own becomes one that says what to do.
 * @param doing what is being done, for the sentence: `read investigations in namespace media`
 */
export async function withCluster<T>(
  given: Given,
  world: World,
  doing: (namespace: string) => string,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const [{ openSession }, { isApiError }] = await Promise.all([
    import("../cluster/session.ts"),
    import("../cluster/errors.ts"),
  ]).catch((cause: unknown) => {
    const missing = cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND";
    throw missing ? new Failed(NO_CLUSTER_CODE, { cause }) : cause;
  });
  const { version, clock, random } = world;
  const file = given.text("kubeconfig");
  const context = given.text("context");
  const session = await openSession({
    version,
    clock,
    random,
    ...(file === undefined ? {} : { file }),
    ...(context === undefined ? {} : { context }),
  }).catch((error: unknown) => {
    throw new Failed(kubeconfigProblem(error instanceof Error ? error.message : String(error)));
  });
  const namespace = given.text("namespace") ?? session.namespace;
  try {
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace))
      throw new UsageError(
        `${shown(namespace)} cannot be the name of a namespace: write lower-case letters, digits and -`,
      );
    return await work({ ...session, namespace });
  } catch (error) {
    if (!isApiError(error)) throw error;
    throw new Failed(clusterProblem(error, session.server, doing(namespace)));
  } finally {
    await session.close();
  }
}

/** A kubeconfig that is of no use, as a sentence that says what to do. */
export function kubeconfigProblem(message: string): string {
  return `${shown(message, 1024)}. Name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context (kubectl config get-contexts lists them)`;
}

/** What client-node takes for a cluster when it finds no kubeconfig at all, as kubectl does. */
const NO_KUBECONFIG = "http://localhost:8080";
const NO_CLUSTER_CODE =
  "This oomscope has no code for clusters: it is the one of the collector's image. Run oomscope from a checkout (make build) or from the operator's image";
const NOT_INSTALLED =
  "oomscope is not installed in this cluster: it does not know the kind MemoryInvestigation. Install it with kubectl apply --server-side -k config/default, or choose another cluster with --context";

/** What the API server's refusal, or its silence, means for the person who asked. */
export function clusterProblem(
  { reason, message }: { readonly reason: ApiErrorReason; readonly message: string },
  server: URL,
  doing: string,
): string {
  const said = shown(message, 1024);
  switch (reason) {
    case "NotFound":
      return NOT_INSTALLED;
    case "Unreachable":
      return server.origin === NO_KUBECONFIG
        ? "There is no kubeconfig: --kubeconfig is not given, KUBECONFIG is not set and ~/.kube/config is not there. For one machine without a cluster see oomscope collect"
        : `The cluster at ${server.origin} cannot be reached (${said}). See whether kubectl get --raw /readyz answers, or choose another with --context`;
    case "Unauthorized":
      return `The cluster at ${server.origin} does not accept who you are (${said}). Log in again, or choose another user with --context`;
    case "Forbidden":
      return `You may not ${doing} (${said}). Ask whoever grants rights there, or name another namespace with -n`;
    case "StaleRead":
    case "Replaced":
      return `The investigation has changed in the meantime, so nothing was written (${said}). Look at it again with oomscope show`;
    default:
      return `Could not ${doing}: ${said} (${reason})`;
  }
}

/** All investigations of a namespace, or of all; as the API server has them. Throws ApiError. */
export async function investigationsIn({ api }: Session, namespace?: string): Promise<ApiObject[]> {
  const { memoryinvestigations } = await import("../cluster/resources.ts");
  const found: ApiObject[] = [];
  for await (const { items } of api.list(memoryinvestigations, namespace === undefined ? {} : { namespace }))
    found.push(...items);
  return found;
}

/** One investigation by its name. Throws Failed with what was probably meant when there is none, and ApiError. */
export async function investigationNamed(cluster: Cluster, name: string): Promise<ApiObject> {
  const { memoryinvestigations } = await import("../cluster/resources.ts");
  const { isApiError } = await import("../cluster/errors.ts");
  if (!/^[a-z0-9][-a-z0-9.]{0,252}$/.test(name))
    throw new UsageError(`${shown(name)} cannot be the name of an investigation (oomscope list shows them)`);
  try {
    return await cluster.api.get(memoryinvestigations, { namespace: cluster.namespace, name });
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
    // Others may be looked at only with rights in all namespaces; without the kind itself this is NotFound once more.
    const others = await investigationsIn(cluster).catch(async (all: unknown) => {
      if (!isApiError(all, "Forbidden")) throw all;
      return investigationsIn(cluster, cluster.namespace);
    });
    throw new Failed(notFound(name, cluster.namespace, others));
  }
}

/** That there is no such investigation, and which one was probably meant. */
export function notFound(name: string, namespace: string, others: readonly ApiObject[]): string {
  const none = `There is no investigation ${name} in namespace ${namespace}`;
  const namesake = others.find(({ metadata }) => metadata.name === name)?.metadata.namespace;
  if (namesake !== undefined) return `${none}, but in namespace ${namesake}: add -n ${namesake}`;
  const here = others.filter(({ metadata }) => metadata.namespace === namespace);
  const near = nearest(
    name,
    here.map(({ metadata }) => metadata.name ?? ""),
  );
  const ofWorkload = here.filter(({ metadata }) => metadata.name?.startsWith(`${name}-`) === true).length;
  const list = `(oomscope list -n ${namespace} shows them)`;
  if (ofWorkload > 1) return `${none}; ${ofWorkload} names begin so ${list}`;
  return near === undefined ? `${none} ${list}` : `${none}; did you mean ${near}? ${list}`;
}

/** Whether the cluster is ready, check by check. Throws ApiError where it cannot be asked at all. */
export async function askCheckUp(cluster: Cluster, { clock }: World): Promise<Check[]> {
  const { checkUp } = await import("../cluster/checkup.ts");
  return checkUp({ ...cluster, clock });
}

/** What would be done about a workload. Throws Failed when there is none, and ApiError. */
export async function askDryRun(
  { api, namespace }: Cluster,
  workload: Pick<TargetRef, "kind" | "name">,
  question: Pick<ExplainQuestion, "now" | "suppose">,
): Promise<DryRun> {
  const { dryRun, resolveWorkload } = await import("../cluster/dryrun.ts");
  const key = await resolveWorkload(api, { namespace, ...workload });
  if (key === undefined) throw new Failed(noWorkload(workload, namespace));
  return dryRun(api, key, question);
}

function noWorkload({ kind, name }: Pick<TargetRef, "kind" | "name">, namespace: string): string {
  return `There is no ${kind} ${name} in namespace ${namespace} (kubectl get ${kind.toLowerCase()}s -n ${namespace} lists them); name another namespace with -n`;
}

/** Makes an investigation. Throws ApiError. */
export async function createInvestigation(
  { api, namespace }: Cluster,
  name: string,
  spec: Partial<MemoryInvestigation["spec"]>,
): Promise<ApiObject> {
  const { memoryinvestigations } = await import("../cluster/resources.ts");
  return api.create(memoryinvestigations, { metadata: { name, namespace }, spec });
}

/** The bytes of a pack of the operator's, as they come. They throw ApiError. */
export async function downloadOf(cluster: Cluster, collection: string): Promise<AsyncIterable<Uint8Array>> {
  const { DEFAULT_NAMESPACE, findInstallation } = await import("../cluster/installation.ts");
  // Whoever may not look into the operator's namespace may still fetch from it, where it has the usual name.
  const found = await findInstallation(cluster.api).catch(async (error: unknown) => {
    if (!(await isRefusal(error, "Forbidden"))) throw error;
    return { namespace: DEFAULT_NAMESPACE, deployment: { metadata: {} }, env: {} };
  });
  if (found === undefined)
    throw new Failed("There is no operator in this cluster that could hold evidence (oomscope doctor says more)");
  return cluster.download(found, { namespace: cluster.namespace, collection });
}

/** Whether the API server refused for one of these reasons. */
export async function isRefusal(
  error: unknown,
  ...reasons: readonly [ApiErrorReason, ...ApiErrorReason[]]
): Promise<boolean> {
  const { isApiError } = await import("../cluster/errors.ts");
  return isApiError(error, ...reasons);
}

/** Between two looks of somebody who watches. */
const LOOK_MS = 1_000;

/** Looks once a second. While the API server cannot answer, what was seen last is given again, and that is told once; the first look must succeed. */
export async function* looks<T>({ clock, terminal }: World, look: () => Promise<T>): AsyncGenerator<T> {
  const { isApiError } = await import("../cluster/errors.ts");
  let silent = false;
  let last = await look();
  for (;;) {
    yield last;
    await clock.sleep(LOOK_MS);
    try {
      last = await look();
      silent = false;
    } catch (error) {
      if (!isApiError(error, "Unreachable", "Unknown", "ServerError", "Throttled")) throw error;
      if (!silent) terminal.tell(`The API server does not answer (${shown(error.message, 1024)}); it is asked again\n`);
      silent = true;
    }
  }
}

/**
 * Changes the spec of an investigation as it was read: nothing is written when it has changed since, or was made anew. Throws ApiError.
 */
export async function patchSpec(
  { api }: Session,
  { metadata }: MemoryInvestigation,
  spec: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { memoryinvestigations } = await import("../cluster/resources.ts");
  const { name, namespace = "", uid, resourceVersion } = metadata;
  await api.mergePatch(memoryinvestigations, { name, namespace }, { metadata: { uid, resourceVersion }, spec });
}
