/**
 * The Job that collects on a node, as a manifest. It has no rights in the Kubernetes API, one token for the evidence channel only,
 * read-only mounts, and the named capabilities that its reads need; it is not privileged. Only where the plan asks for a profile does it share the
 * host's pid namespace and get the capabilities for that; decision 9 has the table that says what each is for.
 */
import type { CollectionPlan } from "../api/collection.ts";
import { GRACE_MS } from "./collecting.ts";

export interface CollectorSettings {
  readonly namespace: string;
  readonly image: string;
  readonly serviceAccount: string;
  readonly priorityClass: string | undefined;
  /** Where parts are sent: an address inside the cluster, with port. */
  readonly evidenceUrl: string;
  /** Name in the server's certificate. */
  readonly evidenceServerName: string;
  /** PEM of the authority that signed it. */
  readonly evidenceCa: string;
  readonly audience: string;
}

/** Labels by which the operator finds its Jobs and their pods again. */
export const INVESTIGATION_UID_LABEL = "oomscope.dev/investigation-uid";
const COLLECTION_LABEL = "oomscope.dev/collection";
/** Annotation with the queue's key of the workload. */
export const WORKLOAD_ANNOTATION = "oomscope.dev/workload";

/** After this the API server removes the Job; its outcome stands in the investigation's status by then. */
const TTL_SECONDS = 600;
const TOKEN_SECONDS = 3600;
const MEMORY_LIMIT = "160Mi";
/** With a profile: the raw recording (64 MiB) and copies of the target's files (112 MiB) lie in memory, and names are resolved beside us. */
const PROFILE_MEMORY_LIMIT = "512Mi";
const WORK_LIMIT = "192Mi";
const WORK_FOLDER = "/work";
/** Counting before, names after. */
const PROFILE_GRACE_MS = 120_000;

/**
 * SYS_PTRACE: memory maps and descriptors of other users' processes. SYSLOG: the kernel's log, by the syslog system call; the device rules of
 * containers forbid /dev/kmsg. DAC_READ_SEARCH: cgroup files that only root may read, and the list of another user's descriptors.
 */
const CAPABILITIES = ["SYS_PTRACE", "SYSLOG", "DAC_READ_SEARCH"];
/** PERFMON: perf_event_open on other users' processes. SETUID and SETGID: to become nobody before the target's files are read for names. */
const PROFILE_CAPABILITIES = ["PERFMON", "SETUID", "SETGID"];

/** @param workload the queue's key, for the watch that leads back to it */
export function collectorJob(
  plan: CollectionPlan,
  node: string,
  workload: string,
  settings: CollectorSettings,
): Record<string, unknown> {
  const labels = {
    "app.kubernetes.io/name": "oomscope",
    "app.kubernetes.io/component": "collector",
    [COLLECTION_LABEL]: plan.collection,
    ...(plan.investigation === undefined ? {} : { [INVESTIGATION_UID_LABEL]: plan.investigation.uid }),
  };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: plan.collection,
      namespace: settings.namespace,
      labels,
      annotations: { [WORKLOAD_ANNOTATION]: workload },
    },
    spec: {
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      podReplacementPolicy: "Failed",
      activeDeadlineSeconds: Math.ceil(
        (plan.durationMs + GRACE_MS + (plan.profile === undefined ? 0 : PROFILE_GRACE_MS)) / 1000,
      ),
      ttlSecondsAfterFinished: TTL_SECONDS,
      template: {
        metadata: { labels, annotations: { [WORKLOAD_ANNOTATION]: workload } },
        spec: podSpec(plan, node, settings),
      },
    },
  };
}

function podSpec(plan: CollectionPlan, node: string, settings: CollectorSettings): Record<string, unknown> {
  const profiles = plan.profile !== undefined;
  const memory = profiles ? PROFILE_MEMORY_LIMIT : MEMORY_LIMIT;
  return {
    nodeName: node,
    ...(profiles ? { hostPID: true } : {}),
    restartPolicy: "Never",
    serviceAccountName: settings.serviceAccount,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 20,
    tolerations: [{ operator: "Exists" }],
    ...(settings.priorityClass === undefined ? {} : { priorityClassName: settings.priorityClass }),
    securityContext: { seccompProfile: { type: "RuntimeDefault" } },
    containers: [
      {
        name: "collector",
        image: settings.image,
        imagePullPolicy: "IfNotPresent",
        env: [
          { name: "OOMSCOPE_PLAN", value: JSON.stringify(plan) },
          { name: "OOMSCOPE_EVIDENCE_URL", value: settings.evidenceUrl },
          { name: "OOMSCOPE_EVIDENCE_SERVER_NAME", value: settings.evidenceServerName },
          { name: "OOMSCOPE_EVIDENCE_CA", value: settings.evidenceCa },
          { name: "OOMSCOPE_TOKEN_FILE", value: "/var/run/secrets/oomscope/token" },
          ...(profiles ? [{ name: "OOMSCOPE_WORK_FOLDER", value: WORK_FOLDER }] : []),
        ],
        resources: { requests: { cpu: "50m", memory }, limits: { memory } },
        securityContext: {
          runAsUser: 0,
          runAsNonRoot: false,
          privileged: false,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"], add: [...CAPABILITIES, ...(profiles ? PROFILE_CAPABILITIES : [])] },
        },
        terminationMessagePolicy: "FallbackToLogsOnError",
        volumeMounts: [
          { name: "proc", mountPath: "/host/proc", readOnly: true },
          { name: "cgroup", mountPath: "/host/sys/fs/cgroup", readOnly: true },
          { name: "token", mountPath: "/var/run/secrets/oomscope", readOnly: true },
          ...(profiles ? [{ name: "work", mountPath: WORK_FOLDER }] : []),
        ],
      },
    ],
    volumes: [
      { name: "proc", hostPath: { path: "/proc", type: "Directory" } },
      { name: "cgroup", hostPath: { path: "/sys/fs/cgroup", type: "Directory" } },
      // In memory: the recording holds raw stacks, which must not reach a disk.
      ...(profiles ? [{ name: "work", emptyDir: { medium: "Memory", sizeLimit: WORK_LIMIT } }] : []),
      {
        name: "token",
        projected: {
          defaultMode: 0o400,
          sources: [
            { serviceAccountToken: { path: "token", audience: settings.audience, expirationSeconds: TOKEN_SECONDS } },
          ],
        },
      },
    ],
  };
}
