/**
 * A workload whose newest roll-out was found to leak, on a real API server: the Deployment with both its ReplicaSets, and an investigation that
 * has its finding; and the Deployment controller as far as a roll-back needs it, played by the test.
 */
import { systemClock } from "../../src/seams.ts";
import type { Json } from "../api/crdserver.ts";
import { templateHash, type Json as TemplateJson } from "../../src/incident/templates.ts";
import { type Admin, type Item, makePod } from "./cluster.ts";

const MERGE = "application/merge-patch+json";
const REPLICAS = 3;
const LABELS = { app: "thumbs" } as const;

/** Without it the scenarios of one test would be taken for a storm, and would spend the cluster's budget. */
export async function generousCluster(api: Admin): Promise<void> {
  await api.must("POST", "/apis/oomscope.dev/v1alpha1/clustermemorypolicies", {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "ClusterMemoryPolicy",
    metadata: { name: "generous" },
    spec: { clusterBudget: { maxMitigationsPerDay: 1000, storm: { investigations: 1000, within: "1m" } } },
  });
}

function template(version: number): Json {
  const volumeMounts = [{ name: "limits", mountPath: "/etc/limits" }];
  const containers = [{ name: "app", image: `thumbs:${version}`, volumeMounts }];
  const volumes = [{ name: "limits", configMap: { name: "limits" } }];
  return { metadata: { labels: LABELS }, spec: { containers, volumes } };
}

/** How far the policy goes; without approval a person is asked in every mode. */
export interface PolicyChoice {
  readonly mode: "Observe" | "Recommend" | "Enforce";
  readonly approval: "Automatic" | "Manual";
  /** How its effect is watched; by default nobody looks. */
  readonly validate?: { readonly window: string; readonly onFailure?: "Revert" | "Escalate" };
  /** The actions after it. */
  readonly next?: readonly Json[];
  /** Instead of a roll-back: an action with its own fields. */
  readonly action?: Json;
}

/** @returns the uid of the investigation, which waits for an operator */
export async function foundLeaky(
  api: Admin,
  namespace: string,
  { mode, approval, validate = { window: "0s" }, action, next = [] }: PolicyChoice = {
    mode: "Enforce",
    approval: "Automatic",
  },
): Promise<string> {
  // May be there already.
  await api.call("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await api.must("POST", `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memorypolicies`, {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryPolicy",
    metadata: { name: "act" },
    spec: {
      mode,
      preserve: { strategy: "None" },
      validate,
      mitigate: [
        {
          approval,
          when: { verdicts: ["AnonHeapLeak"], onsetAfterRollout: true },
          ...(action ?? { action: "Rollback", rollback: { healthyFor: "1s" } }),
        },
        ...next,
      ],
    },
  });
  const deployments = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  const first = await api.must("POST", deployments, {
    metadata: { name: "thumbs" },
    spec: { replicas: REPLICAS, selector: { matchLabels: LABELS }, template: template(1) },
  });
  await replicaSet(api, namespace, first, 1);
  // Times of creation are whole seconds, and the first revision has to have served for one.
  await systemClock.sleep(1_100);
  const second = await api.must("PATCH", `${deployments}/thumbs`, { spec: { template: template(2) } }, MERGE);
  await replicaSet(api, namespace, second, 2);
  await rolledOut(api, namespace, second, REPLICAS);
  return investigation(api, namespace);
}

/** The same, after its roll-back was seen complete: the investigation has the record, and the workload shows it. */
export async function rolledBack(
  api: Admin,
  namespace: string,
  choice: Pick<PolicyChoice, "validate" | "next">,
): Promise<string> {
  const uid = await foundLeaky(api, namespace, { mode: "Enforce", approval: "Automatic", ...choice });
  const deployment = `/apis/apps/v1/namespaces/${namespace}/deployments/thumbs`;
  const hashOf = ({ spec }: Item): string => templateHash((spec as { template: TemplateJson }).template);
  const bad = await api.must("GET", deployment);
  const good = await api.must("PATCH", deployment, { spec: { template: template(1) } }, MERGE);
  await rolledOut(api, namespace, good, REPLICAS);
  const time = `${new Date(Date.now() - 30_000).toISOString().slice(0, 19)}Z`;
  const sets = await api.list(`/apis/apps/v1/namespaces/${namespace}/replicasets`);
  const uidOf = (name: string): string => sets.find(({ metadata }) => metadata.name === name)?.metadata.uid ?? "";
  const facts = (number: number, from: Item) => ({
    revision: `thumbs-h${number}`,
    uid: uidOf(`thumbs-h${number}`),
    templateHash: hashOf(from),
    images: [`thumbs:${number}`],
  });
  const { resourceVersion } = bad.metadata;
  const record = {
    action: "Rollback",
    state: "Done",
    reason: "RolledBack",
    message: "went back",
    finding: "3f9c0a1b2c4d",
    since: time,
    intended: time,
    applied: time,
    finished: time,
    approvedBy: "Policy",
    target: { kind: "Deployment", name: "thumbs", uid: bad.metadata.uid, resourceVersion, generation: 2 },
    before: facts(2, bad),
    after: facts(1, good),
  };
  const path = `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations/thumbs/status`;
  await api.must("PATCH", path, { status: { mitigations: [record] } }, MERGE);
  await api.must("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: "default" } });
  for (const name of ["new-0", "new-1"]) await makePod(api, namespace, name, uidOf("thumbs-h1"), false);
  return uid;
}

async function replicaSet(api: Admin, namespace: string, deployment: Item, number: number): Promise<void> {
  const spec = deployment["spec"] as { template: { spec: Json } };
  const labels = { ...LABELS, "pod-template-hash": `h${number}` };
  const { uid } = deployment.metadata;
  await api.must("POST", `/apis/apps/v1/namespaces/${namespace}/replicasets`, {
    metadata: {
      name: `thumbs-h${number}`,
      labels,
      annotations: { "deployment.kubernetes.io/revision": String(number) },
      ownerReferences: [{ apiVersion: "apps/v1", kind: "Deployment", name: "thumbs", uid, controller: true }],
    },
    spec: {
      replicas: number === 2 ? REPLICAS : 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: spec.template.spec },
    },
  });
}

/** @param total pods of all templates */
async function rolledOut(
  api: Admin,
  namespace: string,
  deployment: Item,
  updated: number,
  total = REPLICAS,
): Promise<void> {
  const { generation } = deployment.metadata as Item["metadata"] & { readonly generation: number };
  await api.must(
    "PATCH",
    `/apis/apps/v1/namespaces/${namespace}/deployments/thumbs/status`,
    {
      status: {
        observedGeneration: generation,
        replicas: total,
        updatedReplicas: updated,
        readyReplicas: total,
        availableReplicas: total,
      },
    },
    MERGE,
  );
}

async function investigation(api: Admin, namespace: string): Promise<string> {
  const path = `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations`;
  const made = await api.must("POST", path, {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name: "thumbs" },
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" } },
  });
  const time = `${new Date().toISOString().slice(0, 19)}Z`;
  const kill = {
    id: "0123456789ab",
    pod: { name: "thumbs-h2-gone", uid: "gone" },
    container: "app",
    time,
    revision: "thumbs-h2",
    classification: "ContainerKilled",
    sources: ["PodStatus"],
  };
  const finding = {
    id: "3f9c0a1b2c4d",
    verdict: "AnonHeapLeak",
    confidencePercent: 90,
    summary: "it grows",
    culprit: { container: "app", revision: "thumbs-h2" },
    evidence: [],
    counterEvidence: [],
  };
  const status = { kills: [kill], killCount: 1, ledger: [kill.id], finding };
  await api.must("PATCH", `${path}/thumbs/status`, { status }, MERGE);
  return made.metadata.uid;
}

export interface DeploymentController {
  /** Whether a roll-back was called done while its roll-out was not complete. */
  readonly doneBeforeComplete: boolean;
  stop(): Promise<void>;
}

/** Rolls out what the Deployment asks for, in two steps: one pod first, then all. */
export function deploymentController(api: Admin, namespace: string): DeploymentController {
  let doneBeforeComplete = false;
  const stop = new AbortController();
  const deployment = `/apis/apps/v1/namespaces/${namespace}/deployments/thumbs`;
  const own = `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations/thumbs`;

  async function step(): Promise<void> {
    const seen = await api.must("GET", deployment);
    const { generation } = seen.metadata as Item["metadata"] & { readonly generation: number };
    const { replicas } = seen["spec"] as { replicas: number };
    const status = (seen["status"] ?? {}) as {
      observedGeneration?: number;
      updatedReplicas?: number;
      replicas?: number;
    };
    const observed = status.observedGeneration === generation;
    if (observed && status.updatedReplicas === replicas && status.replicas === replicas) return;
    const { status: told } = (await api.must("GET", own)) as unknown as { status?: { result?: string } };
    if (told?.result !== undefined) doneBeforeComplete = true;
    await (observed
      ? rolledOut(api, namespace, seen, replicas, replicas)
      : rolledOut(api, namespace, seen, 1, Math.max(replicas, status.replicas ?? 0)));
  }

  const running = (async () => {
    while (!stop.signal.aborted) {
      await step();
      await systemClock.sleep(100);
    }
  })();
  return {
    get doneBeforeComplete() {
      return doneBeforeComplete;
    },
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}
