/** `oomscope doctor` against a real API server, before the install, after it, and with one thing after the other out of order. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EXIT } from "../../src/cli/command.ts";
import { doctorCommand } from "../../src/cli/doctorcommand.ts";
import { createElector } from "../../src/cluster/lease.ts";
import * as kinds from "../../src/cluster/resources.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { type OwnServer, startOwnServer } from "../cluster-door/ownserver.ts";
import { kubectlPath } from "../support/apiserver.ts";
import { runCommand } from "./world.ts";

const execute = promisify(execFile);
const root = join(import.meta.dirname, "..", "..");
const OPERATOR = { namespace: "oomscope-system", name: "oomscope-operator" };
const noRoots = { proc: "/nowhere", cgroup: "/nowhere", kmsg: "/nowhere" };

interface Told {
  readonly id: string;
  readonly level: string;
  readonly says: string;
  readonly advice?: string;
}

let own: OwnServer;
let folder: string;
const stopLeading = new AbortController();

async function doctor(kubeconfig = own.server.kubeconfig): Promise<{ code: number; checks: Record<string, Told> }> {
  const words = ["-n", "media", "-o", "json", "--kubeconfig", kubeconfig];
  const { code, printed } = await runCommand(doctorCommand, noRoots, words, () => delay(100));
  const { checks } = JSON.parse(printed) as { checks: Told[] };
  return { code, checks: Object.fromEntries(checks.map((check) => [check.id, check])) };
}

const levels = (checks: Record<string, Told>): Record<string, string> =>
  Object.fromEntries(Object.values(checks).map(({ id, level }) => [id, level]));

const operatorStatus = (status: object) =>
  own.api.mergePatch(kinds.deployments, OPERATOR, { status }, { subresource: "status" });

beforeAll(async () => {
  own = await startOwnServer();
  folder = await mkdtemp(join(tmpdir(), "oomscope-doctor-"));
  await own.api.create(kinds.namespaces, { metadata: { name: "media" } });
});
afterAll(async () => {
  stopLeading.abort();
  await rm(folder, { recursive: true, force: true });
  await own.stop();
});

test("an empty cluster: what is missing, each with the command that brings it", async () => {
  const { code, checks } = await doctor();
  expect(code).toBe(EXIT.failed);
  expect(levels(checks)).toEqual({
    "api-server": "Ok",
    kinds: "Problem",
    nodes: "Problem",
    "metrics-api": "Warning",
    "your-rights": "Ok",
    operator: "Problem",
  });
  expect(checks["operator"]?.advice).toBe("kubectl apply --server-side -k config/default");
  expect(checks["api-server"]?.says).toMatch(/^Kubernetes v1\.\d+\.\d+ at https:/);
});

test("a whole install in which everything lives", async () => {
  const kubectl = kubectlPath();
  if (kubectl === undefined) throw new Error("kubectl is missing: make cluster-build-apiserver builds it");
  const args = ["--kubeconfig", own.server.kubeconfig, "apply", "--server-side", "-k"];
  await execute(kubectl, [...args, join(root, "config", "default")]);
  await execute(kubectl, [
    "--kubeconfig",
    own.server.kubeconfig,
    "wait",
    "--for=condition=Established",
    "crd",
    "--all",
  ]);
  await execute(kubectl, [...args, join(root, "config", "policies")]);
  await operatorStatus({
    observedGeneration: 1,
    replicas: 1,
    updatedReplicas: 1,
    readyReplicas: 1,
    availableReplicas: 1,
  });
  await own.api.create(kinds.nodes, { metadata: { name: "node-1" } });
  const nodeInfo = {
    kernelVersion: "6.12.9-amd64",
    containerRuntimeVersion: "containerd://2.1.4",
    operatingSystem: "linux",
    osImage: "Debian 13",
    kubeletVersion: "v1.36.2",
    architecture: "amd64",
    bootID: "b",
    machineID: "m",
    systemUUID: "s",
    kubeProxyVersion: "",
  };
  const status = { conditions: [{ type: "Ready", status: "True" }], nodeInfo };
  await own.api.mergePatch(kinds.nodes, { name: "node-1" }, { status }, { subresource: "status" });
  const tls = { data: { "tls.crt": "eA==" } };
  await own.api.mergePatch(kinds.secrets, { ...OPERATOR, name: "oomscope-evidence-tls" }, tls);
  const elector = createElector({
    api: own.api.unfenced,
    clock: systemClock,
    random: systemRandom,
    ...OPERATOR,
    identity: "oomscope-operator-abc",
    retryMs: 300,
  });
  await elector.lead(stopLeading.signal);
  const { code, checks } = await doctor();
  expect(code).toBe(EXIT.done);
  expect(levels(checks)).toEqual({
    "api-server": "Ok",
    kinds: "Ok",
    nodes: "Ok",
    "metrics-api": "Warning",
    "your-rights": "Ok",
    operator: "Ok",
    leader: "Ok",
    "operator-rights": "Ok",
    "collectors-namespace": "Ok",
    "evidence-address": "Ok",
    "evidence-volume": "Warning",
    policies: "Ok",
    "mitigation-rights": "Ok",
  });
  expect(checks["nodes"]?.says).toBe("1: Linux 6.12.9-amd64, containerd 2.1.4, Debian 13");
  expect(checks["leader"]?.says).toBe("oomscope-operator-abc leads, and was seen to renew its lease");
  await elector.release();
});

test("a policy in Enforce where nobody gave leave to change workloads: the command that gives it, and that it helps", async () => {
  const mitigate = [{ action: "Rollback", approval: "Automatic" }];
  const metadata = { namespace: "media", name: "thumbs" };
  await own.api.create(kinds.memorypolicies, { metadata, spec: { mode: "Enforce", mitigate } });
  const before = (await doctor()).checks["mitigation-rights"];
  expect(before).toMatchObject({ level: "Problem" });
  expect(before?.says).toContain("no workload may be changed in media");
  const kubectl = kubectlPath() ?? "kubectl";
  const words = (before?.advice ?? "").split(" ").slice(1);
  expect(words.slice(0, 4)).toEqual(["-n", "media", "create", "rolebinding"]);
  await execute(kubectl, ["--kubeconfig", own.server.kubeconfig, ...words]);
  expect((await doctor()).checks["mitigation-rights"]).toMatchObject({ level: "Ok" });
});

test("one thing after the other out of order", async () => {
  const leader = (await doctor()).checks["leader"];
  expect(leader).toMatchObject({ level: "Problem", says: "nobody leads: the lease was given back" });

  await own.api.mergePatch(
    kinds.leases,
    { ...OPERATOR },
    { spec: { holderIdentity: "frozen", leaseDurationSeconds: 1 } },
  );
  await operatorStatus({ availableReplicas: 0 });
  const labels = { "pod-security.kubernetes.io/enforce": "baseline" };
  await own.api.mergePatch(kinds.namespaces, { name: "oomscope-collectors" }, { metadata: { labels } });
  await own.api.mergePatch(kinds.deployments, OPERATOR, {
    spec: {
      template: {
        spec: { volumes: [{ name: "evidence", emptyDir: null, persistentVolumeClaim: { claimName: "gone" } }] },
      },
    },
  });
  const binding = {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    plural: "rolebindings",
    kind: "RoleBinding",
    namespaced: true,
  };
  await own.api.remove(binding, { namespace: "oomscope-collectors", name: "oomscope-collections" });
  const { code, checks } = await doctor();
  expect(code).toBe(EXIT.failed);
  expect(checks["leader"]?.says).toBe("frozen holds the lease and has not renewed it for 1 s");
  expect(checks["operator"]).toMatchObject({ level: "Problem" });
  expect(checks["collectors-namespace"]?.says).toContain("enforces Pod Security baseline");
  expect(checks["evidence-volume"]).toMatchObject({
    level: "Problem",
    says: "PersistentVolumeClaim gone is not there",
  });
  expect(checks["operator-rights"]?.says).toContain(
    "may not create jobs.batch in oomscope-collectors, delete jobs.batch in oomscope-collectors",
  );
});

test("kinds of another version are told of", async () => {
  const name = "memoryinvestigations.oomscope.dev";
  const live = await own.api.get(kinds.customresourcedefinitions, { name });
  const [version] = (live["spec"] as { versions: { schema: { openAPIV3Schema: { description: string } } }[] }).versions;
  if (version === undefined) throw new Error("no version");
  version.schema.openAPIV3Schema.description = "An older one.";
  await own.api.replace(kinds.customresourcedefinitions, live);
  expect((await doctor()).checks["kinds"]).toMatchObject({
    level: "Warning",
    says: `of another version of oomscope than this command: ${name}`,
  });
});

test("somebody without rights is told what could not be looked at, and never that it is well", async () => {
  const alice = join(folder, "alice");
  const config = await readFile(own.server.kubeconfig, "utf8");
  await writeFile(alice, config.replaceAll(own.server.adminToken, own.server.token("alice")));
  const { code, checks } = await doctor(alice);
  expect(code).toBe(EXIT.done);
  expect(levels(checks)).toEqual({
    "api-server": "Ok",
    kinds: "Unknown",
    nodes: "Unknown",
    "metrics-api": "Unknown",
    "your-rights": "Warning",
    operator: "Unknown",
  });
});
