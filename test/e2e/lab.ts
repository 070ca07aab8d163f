/**
 * What the end-to-end tests share: the cluster, workloads that can be killed on command, and a witness that notes when each thing became visible
 * in the API. Writes go through kubernetes-fluent-client, what is measured through our own reflector.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { K8s, kind } from "kubernetes-fluent-client";
import { pino } from "pino";
import { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import { loadCredentials } from "../../src/cluster/credentials.ts";
import { projectPod, wholeObject, type TrackedRaw } from "../../src/cluster/projections.ts";
import { createReflector } from "../../src/cluster/reflector.ts";
import { memoryinvestigations, pods } from "../../src/cluster/resources.ts";
import { createTransport } from "../../src/cluster/transport.ts";
import { killsOf, opensInvestigation } from "../../src/incident/kills.ts";
import type { PodView } from "../../src/incident/observation.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { kubectlPath } from "../support/apiserver.ts";

export const STATE = process.env["OOMSCOPE_CLUSTER_DIR"] ?? "/var/lib/oomscope-cluster";
export const KUBECONFIG = process.env["KUBECONFIG"] ?? `${STATE}/kubeconfig`;
process.env["KUBECONFIG"] = KUBECONFIG; // kubernetes-fluent-client takes it from here.

const run = promisify(execFile);
const KUBECTL = kubectlPath() ?? "kubectl";

export async function kubectl(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(KUBECTL, ["--kubeconfig", KUBECONFIG, ...args], { maxBuffer: 64 * 2 ** 20 });
  return stdout;
}

export async function apply(manifest: unknown): Promise<void> {
  const child = run(KUBECTL, ["--kubeconfig", KUBECONFIG, "apply", "--server-side", "--force-conflicts", "-f", "-"]);
  child.child.stdin?.end(JSON.stringify(manifest));
  await child;
}

/** What the API server says to an eviction that is not carried out. */
export async function evict(namespace: string, pod: string): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/pods/${pod}/eviction`;
  const child = run(KUBECTL, ["--kubeconfig", KUBECONFIG, "create", "--raw", path, "-f", "-"]);
  child.child.stdin?.end(
    JSON.stringify({
      apiVersion: "policy/v1",
      kind: "Eviction",
      metadata: { name: pod, namespace },
      deleteOptions: { dryRun: ["All"] },
    }),
  );
  try {
    return (await child).stdout;
  } catch (error) {
    return error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
  }
}

export async function freshNamespace(name: string): Promise<void> {
  await kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=120s");
  await K8s(kind.Namespace).Apply({ metadata: { name } });
}

/** Sleeps until SIGUSR2, then takes memory until the kernel ends it. The file says that it listens: before that, a signal to pid 1 is lost. */
const EATER = `
process.on("SIGUSR2", () => { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); });
setInterval(() => undefined, 1000);
process.on("SIGTERM", () => process.exit(0));
require("node:fs").writeFileSync("/tmp/listens", "");`;

/** A Deployment whose pods die of OOM on command. */
export async function deployEater(namespace: string, name: string, replicas: number): Promise<void> {
  await K8s(kind.Deployment).Apply({
    metadata: { namespace, name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name, suite: "eaters" } },
        spec: {
          terminationGracePeriodSeconds: 1,
          automountServiceAccountToken: false,
          containers: [
            {
              name: "eater",
              image: "localhost/oomscope/collector:dev",
              imagePullPolicy: "IfNotPresent",
              command: ["/usr/local/bin/node", "-e", EATER],
              resources: { requests: { cpu: "1m", memory: "16Mi" }, limits: { memory: "96Mi" } },
            },
          ],
        },
      },
    },
  });
}

export async function ready(namespace: string, names: readonly string[]): Promise<void> {
  for (const name of names) await kubectl("-n", namespace, "rollout", "status", `deployment/${name}`, "--timeout=300s");
}

/** Sends the signal to the pod's own process once that listens (a container is Ready earlier); returns when it was sent, not when the pod is dead. */
export async function kill(namespace: string, pod: string): Promise<void> {
  const wait = "for i in $(seq 600); do [ -f /tmp/listens ] && break; sleep 0.1; done; [ -f /tmp/listens ]";
  await kubectl("-n", namespace, "exec", pod, "--", "sh", "-c", `${wait} && kill -USR2 1`);
}

/** A second process of the container takes memory until the kernel ends it: it is the larger one, so the container's own process lives on. */
export async function killChild(namespace: string, pod: string): Promise<void> {
  const eat = "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1));";
  const exec = kubectl("-n", namespace, "exec", pod, "--", "/usr/local/bin/node", "-e", eat);
  const ended = await exec.then(
    () => "it ended by itself",
    (error: unknown) => String(error),
  );
  if (!ended.includes("exit code 137")) throw new Error(`the child was not killed: ${ended}`);
}

export interface Investigation {
  readonly openedMs: number;
  preservedMs?: number;
  latest: MemoryInvestigation;
}

export interface Witness {
  /** When each kill was first visible, in milliseconds of a clock that never jumps, by the ledger's identity. */
  readonly kills: ReadonlyMap<string, { readonly atMs: number; readonly pod: string; readonly workload: string }>;
  /** When each investigation was first visible, and when its pod was first seen preserved, by name. */
  readonly investigations: ReadonlyMap<
    string,
    { readonly openedMs: number; preservedMs?: number; latest: MemoryInvestigation }
  >;
  pods(app: string): PodView[];
  /** Whatever its labels are now: a pod that is kept has lost them. */
  podNamed(name: string): PodView | undefined;
  stop(): Promise<void>;
}

/** Watches a namespace from now on. */
export async function witness(namespace: string): Promise<Witness> {
  const credentials = await loadCredentials({ env: {}, clock: systemClock, file: KUBECONFIG });
  const transport = createTransport({ credentials, clock: systemClock, userAgent: "oomscope-e2e" });
  const log = pino({ level: "silent" });
  const kills = new Map<string, { atMs: number; pod: string; workload: string }>();
  const investigations = new Map<string, Investigation>();
  const common = { transport, namespace, clock: systemClock, random: systemRandom, log };

  const podWatch = createReflector<PodView>({
    ...common,
    resource: pods,
    project: (raw) => projectPod(raw),
    onChange: ({ object }) => {
      for (const found of killsOf(object).filter(opensInvestigation)) {
        if (!kills.has(found.id))
          kills.set(found.id, { atMs: performance.now(), pod: object.name, workload: object.labels["app"] ?? "" });
      }
    },
  });
  const investigationWatch = createReflector<TrackedRaw>({
    ...common,
    resource: memoryinvestigations,
    project: wholeObject,
    onChange: ({ type, object }) => {
      const parsed = MemoryInvestigation.safeParse(object.raw);
      if (!parsed.success || type === "Deleted") return;
      const entry: Investigation = investigations.get(object.name) ?? {
        openedMs: performance.now(),
        latest: parsed.data,
      };
      entry.latest = parsed.data;
      if (parsed.data.status?.preserved?.state === "Preserved") entry.preservedMs ??= performance.now();
      investigations.set(object.name, entry);
    },
  });
  const end = new AbortController();
  podWatch.start(end.signal);
  investigationWatch.start(end.signal);
  await Promise.all([podWatch.synced, investigationWatch.synced]);
  return {
    kills,
    investigations,
    pods: (app) => [...podWatch.store.list(namespace)].filter((pod) => pod.labels["app"] === app),
    podNamed: (name) => podWatch.store.get(namespace, name),
    stop: async () => {
      await Promise.all([podWatch.stop(), investigationWatch.stop()]);
      await transport.close();
    },
  };
}

export async function until(what: string, seconds: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await systemClock.sleep(200);
  }
}

/** The value below which `share` of the sorted numbers lie. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function policy(namespace: string, over: Record<string, unknown> = {}): unknown {
  return {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryPolicy",
    metadata: { name: "e2e", namespace },
    spec: {
      mode: "Recommend",
      preserve: { strategy: "Isolate", minAvailable: 1, ttl: "1h" },
      collect: { interval: "5s", duration: "10s" },
      budget: { cooldown: "1h", maxActive: 100 },
      ...over,
    },
  };
}

/** What must hold after any run: every kill in one ledger, once; at most one preserved pod for each investigation. */
export function accounts(seen: Witness): { missed: string[]; doubled: string[]; preservedTwice: string[] } {
  const counted = [...seen.investigations.values()].flatMap(({ latest }) => latest.status?.ledger ?? []);
  const times = new Map<string, number>();
  for (const id of counted) times.set(id, (times.get(id) ?? 0) + 1);
  const byInvestigation = new Map<string, string[]>();
  const namespacePods = [...new Set([...seen.kills.values()].map((k) => k.workload))].flatMap((app) => seen.pods(app));
  for (const pod of namespacePods) {
    const owner = pod.labels["oomscope.dev/preserved"];
    if (owner !== undefined) byInvestigation.set(owner, [...(byInvestigation.get(owner) ?? []), pod.name]);
  }
  return {
    missed: [...seen.kills.keys()].filter((id) => !times.has(id)),
    doubled: [...times].filter(([, n]) => n > 1).map(([id]) => id),
    preservedTwice: [...byInvestigation].filter(([, names]) => names.length > 1).map(([uid]) => uid),
  };
}
