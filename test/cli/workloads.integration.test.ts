/**
 * The commands that begin with a workload, against a real API server. `explain`: the policy in force and why, and every guard's answer as things stand.
 * `investigate` and `watch`: one is made where it makes sense, and told as it happens; the operator's part is played by the test.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT, type Command } from "../../src/cli/command.ts";
import { investigateCommand } from "../../src/cli/investigatecommand.ts";
import { watchCommand } from "../../src/cli/watchcommand.ts";
import { explainCommand } from "../../src/cli/explaincommand.ts";
import type { DryRun } from "../../src/cluster/dryrun.ts";
import * as kinds from "../../src/cluster/resources.ts";
import { connect, installCrds } from "../api/crdserver.ts";
import { type OwnServer, startOwnServer } from "../cluster-door/ownserver.ts";
import { investigationOf } from "./investigation.ts";
import { type Ran, runCommand } from "./world.ts";

let own: OwnServer;
let folder: string;
let alice: string;
const noRoots = { proc: "/nowhere", cgroup: "/nowhere", kmsg: "/nowhere" };

const runOf = (command: Command, words: readonly string[], onWait?: () => Promise<void>): Promise<Ran> =>
  runCommand(
    command,
    noRoots,
    words.includes("--kubeconfig") ? words : [...words, "--kubeconfig", own.server.kubeconfig],
    onWait,
  );
const run = (...words: string[]): Promise<Ran> => runOf(explainCommand, words);
const asked = async (...words: string[]): Promise<DryRun> =>
  JSON.parse((await run(...words, "-n", "media", "-o", "json")).printed) as DryRun;

const labels = { app: "thumbs" };
const template = (image: string, more: Record<string, string> = {}) => ({
  metadata: { labels: { ...labels, ...more } },
  spec: { containers: [{ name: "app", image }] },
});

/** A Deployment on its second revision with two ready pods, as its controllers would have left it. */
async function makeWorkload(): Promise<void> {
  const metadata = { namespace: "media", name: "thumbs" };
  const made = await own.api.create(kinds.deployments, {
    metadata,
    spec: { replicas: 2, selector: { matchLabels: labels }, template: template("thumbs:2") },
  });
  const generation = made.metadata.generation ?? 1;
  const counts = { replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 };
  await own.api.mergePatch(
    kinds.deployments,
    metadata,
    { status: { observedGeneration: generation, ...counts } },
    { subresource: "status" },
  );
  for (const number of [1, 2]) {
    const hash = { "pod-template-hash": `h${number}` };
    const replicaSet = await own.api.create(kinds.replicasets, {
      metadata: {
        namespace: "media",
        name: `thumbs-h${number}`,
        labels: { ...labels, ...hash },
        annotations: { "deployment.kubernetes.io/revision": String(number) },
        ownerReferences: [
          { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs", uid: made.metadata.uid ?? "", controller: true },
        ],
      },
      spec: {
        replicas: number === 2 ? 2 : 0,
        selector: { matchLabels: { ...labels, ...hash } },
        template: template(`thumbs:${number}`, hash),
      },
    });
    if (number === 2) await makePods(replicaSet.metadata.uid ?? "", { ...labels, ...hash });
  }
}

async function makePods(ownerUid: string, podLabels: Record<string, string>): Promise<void> {
  for (const name of ["thumbs-h2-a", "thumbs-h2-b"]) {
    await own.api.create(kinds.pods, {
      metadata: {
        namespace: "media",
        name,
        labels: podLabels,
        ownerReferences: [
          { apiVersion: "apps/v1", kind: "ReplicaSet", name: "thumbs-h2", uid: ownerUid, controller: true },
        ],
      },
      spec: { nodeName: "node-1", containers: [{ name: "app", image: "thumbs:2" }] },
    });
    const state = { running: { startedAt: "2026-11-29T01:00:00Z" } };
    const container = { name: "app", image: "thumbs:2", imageID: "x", ready: true, restartCount: 0, state };
    const conditions = [{ type: "Ready", status: "True" }];
    await own.api.mergePatch(
      kinds.pods,
      { namespace: "media", name },
      { status: { phase: "Running", conditions, containerStatuses: [container] } },
      { subresource: "status" },
    );
  }
}

beforeAll(async () => {
  own = await startOwnServer();
  folder = await mkdtemp(join(tmpdir(), "oomscope-explain-"));
  alice = join(folder, "alice");
  const config = (await readFile(own.server.kubeconfig, "utf8")).replaceAll(
    own.server.adminToken,
    own.server.token("alice"),
  );
  await writeFile(alice, config);
  await own.api.create(kinds.namespaces, { metadata: { name: "media", labels: { team: "images" } } });
  await makeWorkload();
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await own.stop();
});

test("a cluster without oomscope is told of", async () => {
  await expect(run("deploy/thumbs", "-n", "media")).rejects.toThrow("oomscope is not installed in this cluster");
  const { url, ca, adminToken } = own.server;
  const crds = connect({ url, ca, token: adminToken });
  await installCrds(crds);
  await crds.close();
});

test("without any policy the answer is that there is none", async () => {
  const { code, printed } = await run("deployment/thumbs", "-n", "media");
  expect(code).toBe(EXIT.done);
  expect(printed).toContain("Deployment thumbs in namespace media: 2 pods, 2 ready, no kills in their status");
  expect(printed).toContain("none (NoPolicy)");
});

test("which policy is in force, which come after it and why, and which are not for the workload", async () => {
  const policy = (name: string, spec: object) =>
    own.api.create(kinds.memorypolicies, { metadata: { namespace: "media", name }, spec });
  const clusterPolicy = (name: string, spec: object) =>
    own.api.create(kinds.clustermemorypolicies, { metadata: { name }, spec });
  await policy("whole-namespace", { mode: "Observe" });
  await policy("other-app", { selector: { matchLabels: { app: "cart" } } });
  await policy("thumbs", {
    selector: { matchLabels: labels },
    mode: "Enforce",
    mitigate: [
      { action: "Rollback", approval: "Automatic", when: { verdicts: ["AnonHeapLeak"] } },
      { action: "DrainNode", approval: "Manual" },
    ],
  });
  await clusterPolicy("everywhere", { maxMode: "Recommend" });
  await clusterPolicy("elsewhere", { namespaceSelector: { matchLabels: { team: "other" } } });
  const { policies, inForce } = await asked("deploy/thumbs");
  expect(policies.map(({ name, matches, why }) => [name, matches, why])).toEqual([
    ["thumbs", true, "it is in force"],
    ["whole-namespace", true, "MemoryPolicy thumbs comes first: it has a selector"],
    ["everywhere", true, "MemoryPolicy whole-namespace comes first: a MemoryPolicy goes before a ClusterMemoryPolicy"],
    ["other-app", false, "its selector does not match the labels of the workload's pods"],
    ["elsewhere", false, "its namespaceSelector does not match the labels of namespace media"],
  ]);
  expect(inForce).toMatchObject({
    name: "thumbs",
    mode: "Recommend",
    declaredMode: "Enforce",
    narrowedBy: ["ClusterMemoryPolicy everywhere"],
  });
});

test("every guard answers on the workload as it stands, and nothing is written", async () => {
  const before = await own.api.get(kinds.deployments, { namespace: "media", name: "thumbs" });
  const { now, unread } = await asked("deploy/thumbs");
  expect(unread).toEqual([]);
  expect(now?.onKill).toEqual({ does: "Opens", message: "an OOM kill would open an investigation" });
  expect(now?.preservation).toMatchObject({ reason: "Preserving", how: "Isolate", pod: "thumbs-h2-a" });
  expect(now?.collection).toMatchObject({ node: "node-1", pods: ["thumbs-h2-a", "thumbs-h2-b"] });
  expect(now?.finding).toEqual({ from: "Supposed", verdict: "AnonHeapLeak", confidencePercent: 100 });
  const said = (action: string) =>
    now?.actions
      .find((one) => one.action === action)
      ?.guards.filter(({ says }) => says !== "Nothing")
      .map(({ says, reason }) => [says, reason]);
  // The first revision was the newest for no time at all.
  expect(said("Rollback")).toEqual([
    ["No", "NoHealthyRevision"],
    ["Ask", "AwaitingApproval"],
  ]);
  expect(said("DrainNode")?.[0]).toEqual(["No", "ActionNotAllowed"]);
  const after = await own.api.get(kinds.deployments, { namespace: "media", name: "thumbs" });
  expect(after.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
});

test("another verdict than the one that was found can be supposed", async () => {
  const { now } = await asked("deploy/thumbs", "--verdict", "anonheapleak", "--confidence", "60");
  expect(now?.finding).toEqual({ from: "Supposed", verdict: "AnonHeapLeak", confidencePercent: 60 });
  expect(now?.actions[0]).toMatchObject({ would: "Refuse", reason: "VerdictTooWeak" });
  await expect(run("deploy/thumbs", "--verdict", "AnonHeapLaek")).rejects.toThrow("did you mean AnonHeapLeak?");
  await expect(run("deploy/thumbs", "--confidence", "90")).rejects.toThrow("--confidence means nothing without");
});

test("a pod stands for its controller, and an investigation that goes on for itself", async () => {
  const metadata = { namespace: "media", name: "thumbs-0" };
  await own.api.create(kinds.memoryinvestigations, {
    metadata,
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" } },
  });
  const { workload, now } = await asked("pod/thumbs-h2-b");
  expect(workload).toMatchObject({ kind: "Deployment", name: "thumbs" });
  expect(now).toMatchObject({
    investigation: "thumbs-0",
    onKill: { does: "Joins", message: "an OOM kill would join thumbs-0" },
  });
  await own.api.remove(kinds.memoryinvestigations, metadata);
});

test("the text says the same", async () => {
  const { printed } = await run("deploy/thumbs", "-n", "media");
  for (const line of [
    "  policy    MemoryPolicy thumbs, mode Recommend; its spec says Enforce, narrowed by ClusterMemoryPolicy everywhere\n",
    "  for it      MemoryPolicy whole-namespace    MemoryPolicy thumbs comes first: it has a selector\n",
    "  not for it  MemoryPolicy other-app          its selector does not match the labels of the workload's pods\n",
    "  a kill    an OOM kill would open an investigation\n",
    "  keeps     Pod thumbs-h2-a is to be kept (Isolate): container app has run for",
    "  measures  thumbs-h2-a, thumbs-h2-b on node node-1\n",
    "Actions, supposing AnonHeapLeak, 100 % sure (--verdict and --confidence ask for another)\n",
    "  Rollback (approval Automatic) would be refused: NoHealthyRevision\n",
    "    Ask     AwaitingApproval   Rollback waits for approval",
    "guards have nothing against it\n",
  ])
    expect(printed).toContain(line);
});

test("what is not there, or may not be read, is told", async () => {
  await expect(run("deploy/thumbnails", "-n", "media")).rejects.toThrow(
    "There is no Deployment thumbnails in namespace",
  );
  await expect(run("thumbs")).rejects.toThrow("write the kind as well, such as deployment/thumbs");
  await expect(run("deplyoment/thumbs")).rejects.toThrow("did you mean deployment?");
  await expect(run("deploy/thumbs", "-n", "media", "--kubeconfig", alice)).rejects.toThrow(
    "You may not read Deployment",
  );
});

test("whoever may look into one namespace only gets an answer, with what is missing in it", async () => {
  const role = { group: "rbac.authorization.k8s.io", version: "v1", namespaced: true } as const;
  const roles = { ...role, plural: "roles", kind: "Role" };
  const bindings = { ...role, plural: "rolebindings", kind: "RoleBinding" };
  const metadata = { namespace: "media", name: "viewer" };
  await own.api.create(roles, {
    metadata,
    rules: [{ apiGroups: ["", "apps", "oomscope.dev"], resources: ["*"], verbs: ["get", "list"] }],
  });
  await own.api.create(bindings, {
    metadata,
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "viewer" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "alice" }],
  });
  const { inForce, unread } = await asked("deploy/thumbs", "--kubeconfig", alice);
  expect(inForce).toMatchObject({ name: "thumbs", mode: "Enforce" });
  expect(unread.map((text) => text.split(" could not")[0])).toEqual([
    "the operator's settings",
    "ClusterMemoryPolicies",
    "investigations of other namespaces, which budgets count,",
  ]);
});

describe("investigate", () => {
  test("makes one, of the controller where a pod was named, and not a second one", async () => {
    const words = ["pod/thumbs-h2-a", "-n", "media", "--container", "app"];
    const { printed } = await runOf(investigateCommand, words);
    const name = /^Investigation (thumbs-[0-9a-f]{8}) is opened; to follow it: oomscope watch \1 -n media\n$/.exec(
      printed,
    )?.[1];
    const live = await own.api.get(kinds.memoryinvestigations, { namespace: "media", name: name ?? "" });
    expect(live["spec"]).toMatchObject({
      targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" },
      container: "app",
    });
    await expect(runOf(investigateCommand, words)).rejects.toThrow(
      `${name ?? "?"} looks into Deployment thumbs already; to follow it: oomscope watch ${name ?? "?"} -n media`,
    );
    await own.api.remove(kinds.memoryinvestigations, { namespace: "media", name: name ?? "" });
  });

  test("says what is missing where nothing would come of it", async () => {
    await own.api.create(kinds.namespaces, { metadata: { name: "kube-alike" } });
    await own.api.mergePatch(
      kinds.clustermemorypolicies,
      { name: "everywhere" },
      {
        spec: { namespaceSelector: { matchLabels: { team: "images" } } },
      },
    );
    await own.api.create(kinds.pods, {
      metadata: { namespace: "kube-alike", name: "lonely" },
      spec: { containers: [{ name: "app", image: "x" }] },
    });
    await expect(runOf(investigateCommand, ["pod/lonely", "-n", "kube-alike"])).rejects.toThrow(
      "No investigation is made, because nothing would come of it: No MemoryPolicy or ClusterMemoryPolicy selects this workload",
    );
    await expect(runOf(investigateCommand, ["pod/lonely", "--timeout", "5s"])).rejects.toThrow(
      "--timeout means nothing",
    );
  });
});

describe("watch", () => {
  const at = { namespace: "media", name: "thumbs-1" };
  const { status } = investigationOf("thumbs-1", "media");
  const write = (over: object) =>
    own.api.applyStatus(kinds.memoryinvestigations, { metadata: at, status: over }, { force: true });
  const conditions = status?.conditions;
  const collection = { ...status?.collections?.[0], state: "Running", samplesExpected: 24 };

  test("tells each thing once, from before the investigation was there until its end", async () => {
    const steps: (() => Promise<unknown>)[] = [
      () =>
        own.api.create(kinds.memoryinvestigations, {
          metadata: at,
          spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" } },
        }),
      () => write({ kills: status?.kills?.slice(0, 1) }),
      () => write({ kills: status?.kills, preserved: status?.preserved }),
      ...[1, 7, 8, 13].map(
        (samples) => () =>
          write({
            ...status,
            result: undefined,
            finding: undefined,
            mitigations: undefined,
            conditions: undefined,
            collections: [{ ...collection, samples }],
          }),
      ),
      () => write({ ...status, conditions, result: undefined }),
      () => write({ ...status }),
    ];
    const { code, printed, told } = await runOf(watchCommand, ["deploy/thumbs", "-n", "media"], async () => {
      await steps.shift()?.();
    });
    expect(code).toBe(EXIT.done);
    expect(told).toBe("");
    const lines = printed.split("\n").filter((line) => line.startsWith("  +"));
    expect(lines.map((line) => line.replace(/^ {2}\+ *\d+s {2}/, "").slice(0, 66))).toEqual([
      "investigation thumbs-1 of Deployment thumbs was opened (by hand)",
      "ContainerKilled: thumbnail of thumbs-7d9f-abcde at its limit of 25",
      "  the kernel confirms: it killed thumbnail-svc (pid 4711), 250 MiB",
      "Evicted: pod of thumbs-7d9f-abcde",
      "pod thumbs-7d9f-abcde is kept (Isolate): It was killed last and ru",
      "  The memory of before the kill: the container was started again.",
      "collection thumbs-1-d1 on node-1: Running",
      "  [##------------------------------------] 1 of 24 samples",
      "  [###########---------------------------] 7 of 24 samples",
      "  [#####################-----------------] 13 of 24 samples",
      "collection thumbs-1-d1 on node-1: Complete",
      "finding: AnonHeapLeak (75 % sure): Container thumbnail gains 1.1 M",
      "Rollback: Proposed (AwaitingApproval): Waits for a person's approv",
    ]);
    expect(printed).toContain("\nAnonHeapLeak, 75 % sure\n");
    expect(printed).toContain("\nResult: Recommended; 2 kills in 1 pod on 1 node\n\nWhat to do next\n");
    expect(printed).toContain("oomscope approve thumbs-1 -n media Rollback --finding 3f9c00112233\n");
  });

  test("the exit code tells the result, and a time that is over, and one that was deleted", async () => {
    await write({ ...status, result: "Inconclusive" });
    expect((await runOf(watchCommand, ["thumbs-1", "-n", "media"])).code).toBe(EXIT.inconclusive);
    await write({ ...status, result: "Failed" });
    expect((await runOf(watchCommand, ["-n", "media"])).code).toBe(EXIT.failed);
    await write({ ...status, result: undefined });
    const late = await runOf(watchCommand, ["thumbs-1", "-n", "media", "--timeout", "1s"], () => delay(300));
    expect(late).toMatchObject({ code: EXIT.timedOut });
    expect(late.told).toBe("thumbs-1 has not ended in the time that --timeout gives; it goes on in the cluster\n");
    const gone = runOf(watchCommand, ["thumbs-1", "-n", "media"], () => own.api.remove(kinds.memoryinvestigations, at));
    await expect(gone).rejects.toThrow("Investigation thumbs-1 was deleted while it was watched");
  });
});
