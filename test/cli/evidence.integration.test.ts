/**
 * `oomscope evidence`, all of the way: a real API server that proxies, mints and reviews tokens, the real evidence server with a real store, and a recorded
 * pack in it. Who may fetch, who may not, and what a damaged or another pack is called.
 */
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../../src/cli/command.ts";
import { evidenceCommand } from "../../src/cli/evidencecommand.ts";
import { reportCommand } from "../../src/cli/reportcommand.ts";
import type { ApiObject } from "../../src/cluster/api.ts";
import { reviewToken } from "../../src/cluster/evidenceaccess.ts";
import * as kinds from "../../src/cluster/resources.ts";
import { createDownload } from "../../src/evidence/download.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { createEvidenceServer, type EvidenceServer } from "../../src/evidence/server.ts";
import { createDirectoryStore, type EvidenceStore } from "../../src/evidence/store.ts";
import { createAuthority, issueServerCertificate } from "../../src/evidence/tls.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { connect, installCrds } from "../api/crdserver.ts";
import { type OwnServer, startOwnServer } from "../cluster-door/ownserver.ts";
import { sha256 } from "../evidence/door.ts";
import { runCommand, type Ran } from "./world.ts";

const SYSTEM = "oomscope-system";
const SERVICE = "oomscope-evidence";
const noRoots = { proc: "/nowhere", cgroup: "/nowhere", kmsg: "/nowhere" };
/** The API server's proxy refuses to go to loopback. */
const address = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === "IPv4" && !one.internal)?.address;

let own: OwnServer;
let folder: string;
let store: EvidenceStore;
let door: EvidenceServer;
let collection: string;
let manifestSha: string;
const logged: string[] = [];

const rbac = (plural: string, kind: string) => ({
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural,
  kind,
  namespaced: true,
});
const bind = (namespace: string, name: string, user: string, roleRef: object) =>
  own.api.create(rbac("rolebindings", "RoleBinding"), {
    metadata: { namespace, name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", ...roleRef },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
  });

async function kubeconfigOf(user: string): Promise<string> {
  const file = join(folder, `kubeconfig-${user}`);
  const config = await readFile(own.server.kubeconfig, "utf8");
  await writeFile(file, config.replaceAll(own.server.adminToken, own.server.token(user)));
  return file;
}

const run = (namespace: string, output: string, kubeconfig = own.server.kubeconfig, name = "thumbs-1"): Promise<Ran> =>
  runCommand(evidenceCommand, noRoots, [name, "-n", namespace, "-o", join(folder, output), "--kubeconfig", kubeconfig]);

/** The parts of a recorded pack, as a collector would have sent them. */
async function fill(): Promise<void> {
  const pack = await openPack(join(import.meta.dirname, "..", "corpus", "packs", "idle.tar.zst"));
  collection = pack.manifest?.collection ?? "";
  for (const part of pack.parts.toSorted((a, b) => Number(a.kind === "manifest") - Number(b.kind === "manifest"))) {
    const pieces: Buffer[] = [];
    for await (const piece of pack.read(part)) pieces.push(Buffer.from(piece));
    const bytes = Buffer.concat(pieces);
    if (part.kind === "context") await store.writeContext(collection, bytes);
    else
      await store.receive(collection, "pod-1", part, {
        start: 0,
        bytes,
        totalBytes: bytes.length,
        sha256: sha256(bytes),
      });
  }
  await store.end(collection);
  manifestSha = store.describe(collection)?.manifestSha256 ?? "none";
}

async function listen(): Promise<void> {
  const identity = issueServerCertificate(
    createAuthority(systemClock, systemRandom),
    [`${SERVICE}.${SYSTEM}.svc`],
    [],
    systemClock,
    systemRandom,
  );
  const write = (fields: object, message: string): void => void logged.push(JSON.stringify({ ...fields, message }));
  const log = { info: write, warn: write, error: write };
  door = createEvidenceServer({
    store,
    authorize: () => Promise.reject(new Error("no collector calls here")),
    tls: identity,
    clock: systemClock,
    log,
    download: createDownload({
      store,
      reviewToken: (token, audiences) => reviewToken(own.api, token, audiences),
      namespaceOf: (id) => (id === collection ? "media" : undefined),
      log,
    }),
  });
  const port = await door.listen(0, address);
  await own.api.create(kinds.services, {
    metadata: { namespace: SYSTEM, name: SERVICE },
    spec: { ports: [{ name: "evidence", port: 8443, targetPort: port }] },
  });
  // It proxies to pods only, which it looks up.
  const pod = { namespace: SYSTEM, name: "oomscope-operator-abc" };
  await own.api.create(kinds.pods, { metadata: pod, spec: { containers: [{ name: "operator", image: "x" }] } });
  const status = { podIP: address, podIPs: [{ ip: address }] };
  await own.api.mergePatch(kinds.pods, pod, { status }, { subresource: "status" });
  const targetRef = { kind: "Pod", ...pod };
  const core = { group: "", version: "v1", plural: "endpoints", kind: "Endpoints", namespaced: true };
  await own.api.create(core, {
    metadata: { namespace: SYSTEM, name: SERVICE },
    subsets: [{ addresses: [{ ip: address, targetRef }], ports: [{ name: "evidence", port }] }],
  });
}

async function investigation(namespace: string, name: string, status: object): Promise<ApiObject> {
  const metadata = { namespace, name };
  await own.api.create(kinds.memoryinvestigations, {
    metadata,
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbs" } },
  });
  return own.api.applyStatus(kinds.memoryinvestigations, { metadata, status });
}

const collected = (id: string, state: string) => ({
  id,
  purpose: "Diagnose",
  attempt: 1,
  state,
  job: id,
  node: "node-1",
  pods: [],
  requested: "2026-11-29T01:50:02Z",
});

describe.skipIf(address === undefined)("evidence", () => {
  beforeAll(async () => {
    own = await startOwnServer();
    folder = await mkdtemp(join(tmpdir(), "oomscope-fetch-"));
    const { url, ca, adminToken } = own.server;
    const crds = connect({ url, ca, token: adminToken });
    await installCrds(crds);
    await crds.close();
    for (const name of ["media", "shop", SYSTEM]) await own.api.create(kinds.namespaces, { metadata: { name } });
    // Their controller does not run here.
    for (const namespace of ["media", "shop"])
      await own.api.create(kinds.serviceaccounts, { metadata: { namespace, name: "default" } });
    const metadata = { namespace: SYSTEM, name: "oomscope-operator" };
    const labels = { "app.kubernetes.io/name": "oomscope", "app.kubernetes.io/component": "operator" };
    await own.api.create(kinds.deployments, {
      metadata: { ...metadata, labels },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "operator", image: "x" }] } },
      },
    });
    store = await createDirectoryStore(join(folder, "store"), { maxBytes: 2 ** 30, clock: systemClock });
    await fill();
    await listen();
    const evidence = { location: `collections/${collection}`, parts: 5, bytes: 1, sha256: manifestSha };
    await investigation("media", "thumbs-1", { collections: [collected(collection, "Complete")], evidence });
  });
  afterAll(async () => {
    await door.close();
    await rm(folder, { recursive: true, force: true });
    await own.stop();
  });

  test("is fetched whole, verified, and opens as the pack that it was", async () => {
    const { code, printed, told } = await run("media", "a.tar.zst");
    expect(code).toBe(EXIT.done);
    expect(told).toContain("It is whole: each part is as its checksum says.");
    const bytes = await readFile(join(folder, "a.tar.zst"));
    expect(printed).toContain(`sha256 ${sha256(bytes)}`);
    const [pack, recorded] = await Promise.all([
      openPack(join(folder, "a.tar.zst")),
      openPack(join(import.meta.dirname, "..", "corpus", "packs", "idle.tar.zst")),
    ]);
    expect(pack.parts.map(({ kind, index }) => [kind, index])).toEqual(
      recorded.parts.map(({ kind, index }) => [kind, index]),
    );
    await expect(run("media", "a.tar.zst")).rejects.toThrow("is there already: name another with --output");
    expect(logged.join("\n")).toContain('"account":"system:serviceaccount:media:default"');
  });

  test("becomes a report in one step", async () => {
    const page = join(folder, "page.html");
    const words = ["memi/thumbs-1", "-n", "media", "--output", page, "--kubeconfig", own.server.kubeconfig];
    const { told } = await runCommand(reportCommand, noRoots, words);
    expect(told).toMatch(/page\.html: [\d.]+ KiB, to be opened in a browser\n$/);
    expect(await readFile(page, "utf8")).toMatch(/^<!doctype html>/i);
  });

  test("takes the role edit in the namespace, and the Role for the proxy; one of them is not enough", async () => {
    const alice = await kubeconfigOf("alice");
    // What edit is made of; the controller that adds it up does not run here.
    await bind("media", "alice-edit", "alice", { kind: "ClusterRole", name: "system:aggregate-to-edit" });
    await own.api.create(rbac("roles", "Role"), {
      metadata: { namespace: "media", name: "memi" },
      rules: [{ apiGroups: ["oomscope.dev"], resources: ["memoryinvestigations"], verbs: ["get", "list"] }],
    });
    await bind("media", "alice-memi", "alice", { kind: "Role", name: "memi" });
    await expect(run("media", "b.tar.zst", alice)).rejects.toThrow("You may not fetch evidence");
    await own.api.create(rbac("roles", "Role"), {
      metadata: { namespace: SYSTEM, name: "oomscope-evidence-reader" },
      rules: [
        {
          apiGroups: [""],
          resources: ["services/proxy"],
          resourceNames: ["https:oomscope-evidence:evidence"],
          verbs: ["get"],
        },
      ],
    });
    await bind(SYSTEM, "alice", "alice", { kind: "Role", name: "oomscope-evidence-reader" });
    expect((await run("media", "b.tar.zst", alice)).code).toBe(EXIT.done);
    // The same without leave to make tokens.
    const bob = await kubeconfigOf("bob");
    await bind("media", "bob-memi", "bob", { kind: "Role", name: "memi" });
    await bind(SYSTEM, "bob", "bob", { kind: "Role", name: "oomscope-evidence-reader" });
    await expect(run("media", "c.tar.zst", bob)).rejects.toThrow(/serviceaccounts\/token.*the role edit has it/);
  });

  test("of another namespace is refused, whoever writes its name into a status of their own", async () => {
    await investigation("shop", "thumbs-1", { collections: [collected(collection, "Complete")] });
    await expect(run("shop", "d.tar.zst")).rejects.toThrow(
      "no investigation of the token's namespace has this collection",
    );
    expect(logged.at(-1)).toContain("system:serviceaccount:shop:default");
    await expect(readFile(join(folder, "d.tar.zst"))).rejects.toThrow("ENOENT");
  });

  test("that is not there is told of: none was brought, it is gone, the operator does not answer", async () => {
    await investigation("media", "young", { collections: [collected("oomc-9", "Running")] });
    await expect(run("media", "e.tar.zst", undefined, "young")).rejects.toThrow("collection oomc-9 is Running");
    await store.remove(collection);
    await expect(run("media", "e.tar.zst")).rejects.toThrow("The operator has no pack of");
    await fill();
  });

  test("another than status speaks of, or a part that was changed on the disk, is not called whole", async () => {
    const directory = store.describe(collection)?.directory ?? "";
    await appendFile(join(directory, "host.json"), " ");
    const changed = await run("media", "f.tar.zst");
    expect(changed.code).toBe(EXIT.partial);
    expect(changed.told).toContain("It is not whole:\n");
    await store.remove(collection);
    await fill();
    await own.api.mergePatch(
      kinds.memoryinvestigations,
      { namespace: "media", name: "thumbs-1" },
      { status: { evidence: { sha256: "0".repeat(64) } } },
      { subresource: "status" },
    );
    const other = await run("media", "g.tar.zst");
    expect(other.code).toBe(EXIT.partial);
    expect(other.told).toContain("it is not the pack whose checksum stands in the investigation's status");
  });
});
