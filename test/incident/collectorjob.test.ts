/** Does a collector get what its plan needs, and nothing more? The Job without a profile is the small one. */
import { expect, test } from "vitest";
import { PACK_SCHEMA, type CollectionPlan } from "../../src/api/collection.ts";
import { collectorJob } from "../../src/incident/collectorjob.ts";

const SETTINGS = {
  namespace: "oomscope-collectors",
  image: "localhost/oomscope/collector:dev",
  serviceAccount: "oomscope-collector",
  priorityClass: undefined,
  evidenceUrl: "https://10.96.0.9:8443",
  evidenceServerName: "oomscope-evidence",
  evidenceCa: "pem",
  audience: "oomscope",
};

const PLAN: CollectionPlan = {
  schema: PACK_SCHEMA,
  collection: "oomc-1",
  purpose: "Diagnose",
  pods: [],
  intervalMs: 5_000,
  durationMs: 60_000,
  stallBudgetMs: 500,
};

interface Shape {
  readonly spec: {
    readonly activeDeadlineSeconds: number;
    readonly template: {
      readonly spec: {
        readonly hostPID?: boolean;
        readonly hostNetwork?: boolean;
        readonly containers: readonly {
          readonly env: readonly { readonly name: string; readonly value: string }[];
          readonly resources: { readonly limits: { readonly memory: string } };
          readonly volumeMounts: readonly { readonly name: string; readonly readOnly?: boolean }[];
          readonly securityContext: {
            readonly privileged: boolean;
            readonly allowPrivilegeEscalation: boolean;
            readonly readOnlyRootFilesystem: boolean;
            readonly capabilities: { readonly add: readonly string[]; readonly drop: readonly string[] };
          };
        }[];
        readonly volumes: readonly { readonly name: string; readonly emptyDir?: { readonly medium: string } }[];
      };
    };
  };
}

function podOf(plan: CollectionPlan) {
  const job = collectorJob(plan, "node-1", "media/Deployment/x", SETTINGS) as unknown as Shape;
  const pod = job.spec.template.spec;
  const [container] = pod.containers;
  if (container === undefined) throw new Error("The pod has no container");
  return { job, pod, container };
}

test("without a profile: no host's pids, three capabilities, only read-only mounts", () => {
  const { job, pod, container } = podOf(PLAN);
  expect(pod.hostPID).toBeUndefined();
  expect(container.securityContext.capabilities).toEqual({
    drop: ["ALL"],
    add: ["SYS_PTRACE", "SYSLOG", "DAC_READ_SEARCH"],
  });
  expect(container.volumeMounts.every(({ readOnly }) => readOnly === true)).toBe(true);
  expect(container.resources.limits.memory).toBe("160Mi");
  expect(job.spec.activeDeadlineSeconds).toBe(360);
});

test("with a profile: the host's pids, three more capabilities, a folder in memory, and time for it", () => {
  const { job, pod, container } = podOf({ ...PLAN, profile: { durationMs: 30_000, frequencyHz: 99 } });
  expect(pod.hostPID).toBe(true);
  expect(pod.hostNetwork).toBeUndefined();
  expect(container.securityContext).toMatchObject({
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { add: ["SYS_PTRACE", "SYSLOG", "DAC_READ_SEARCH", "PERFMON", "SETUID", "SETGID"], drop: ["ALL"] },
  });
  const writable = container.volumeMounts.filter(({ readOnly }) => readOnly !== true).map(({ name }) => name);
  expect(writable).toEqual(["work"]);
  expect(pod.volumes.find(({ name }) => name === "work")?.emptyDir?.medium).toBe("Memory");
  expect(container.env).toContainEqual({ name: "OOMSCOPE_WORK_FOLDER", value: "/work" });
  expect(job.spec.activeDeadlineSeconds).toBe(480);
});
