/** The commands that speak to a cluster, against a real API server: what they print, what they write, and what they say when it cannot be done. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { approveCommand } from "../../src/cli/approvecommand.ts";
import { denyCommand } from "../../src/cli/denycommand.ts";
import { EXIT } from "../../src/cli/command.ts";
import { listCommand } from "../../src/cli/listcommand.ts";
import { releaseCommand } from "../../src/cli/releasecommand.ts";
import { showCommand } from "../../src/cli/showcommand.ts";
import type { ApiObject } from "../../src/cluster/api.ts";
import * as kinds from "../../src/cluster/resources.ts";
import { connect, installCrds } from "../api/crdserver.ts";
import { type OwnServer, startOwnServer } from "../cluster-door/ownserver.ts";
import { kubectlPath } from "../support/apiserver.ts";
import { investigationOf } from "./investigation.ts";
import { type Ran, runCommand } from "./world.ts";

const execute = promisify(execFile);
let own: OwnServer;
let folder: string;
let alice: string;
const noRoots = { proc: "/nowhere", cgroup: "/nowhere", kmsg: "/nowhere" };

const run = (command: typeof listCommand, ...words: string[]): Promise<Ran> =>
  runCommand(
    command,
    noRoots,
    words.includes("--kubeconfig") ? words : [...words, "--kubeconfig", own.server.kubeconfig],
  );

async function make(namespace: string, name: string): Promise<ApiObject> {
  const { spec, status } = investigationOf(name, namespace);
  const { targetRef, container } = spec;
  await own.api.create(kinds.memoryinvestigations, { metadata: { name, namespace }, spec: { targetRef, container } });
  return own.api.applyStatus(kinds.memoryinvestigations, { metadata: { name, namespace }, status });
}

const live = (name: string): Promise<ApiObject> =>
  own.api.get(kinds.memoryinvestigations, { namespace: "media", name });

beforeAll(async () => {
  own = await startOwnServer();
  folder = await mkdtemp(join(tmpdir(), "oomscope-cli-"));
  // The same cluster, seen by somebody without any right.
  alice = join(folder, "alice");
  const config = (await readFile(own.server.kubeconfig, "utf8")).replaceAll(
    own.server.adminToken,
    own.server.token("alice"),
  );
  await writeFile(alice, config);
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await own.stop();
});

test("a cluster without oomscope is told of, and how to install it", async () => {
  await expect(run(listCommand)).rejects.toThrow("oomscope is not installed in this cluster");
  await expect(run(showCommand, "anything")).rejects.toThrow("oomscope is not installed in this cluster");
  const { url, ca, adminToken } = own.server;
  const crds = connect({ url, ca, token: adminToken });
  await installCrds(crds);
  await crds.close();
  for (const name of ["media", "shop"]) await own.api.create(kinds.namespaces, { metadata: { name } });
});

test("nothing found is no failure", async () => {
  expect(await run(listCommand, "-n", "media")).toEqual({
    code: EXIT.done,
    printed: "",
    told: "No investigations in namespace media.\n",
  });
  expect(JSON.parse((await run(listCommand, "-A", "-o", "json")).printed)).toMatchObject({ kind: "List", items: [] });
});

test("list has the columns and cells of kubectl get", async () => {
  await make("media", "thumbs-1");
  await make("shop", "cart-1");
  const kubectl = kubectlPath();
  const wide = await run(listCommand, "-A", "-o", "wide");
  // Only what stands before the age, which goes on while we look.
  const cells = (text: string): string[][] => text.split("\n").map((line) => line.split(/ {2,}/));
  expect(cells(wide.printed)[1]?.slice(0, 8)).toEqual([
    "media",
    "thumbs-1",
    "Deployment",
    "thumbs",
    "Done",
    "Recommended",
    "AnonHeapLeak",
    "75",
  ]);
  if (kubectl !== undefined) {
    const args = ["--kubeconfig", own.server.kubeconfig, "get", "memi", "-A", "-o", "wide"];
    const { stdout } = await execute(kubectl, args);
    const heads = (text: string): string[] =>
      text
        .split("\n")[0]
        ?.split(/ {2,}/)
        .map((cell) => cell.trim()) ?? [];
    expect(heads(wide.printed)).toEqual(heads(stdout));
    expect(cells(wide.printed)[2]?.slice(0, 9)).toEqual(cells(stdout)[2]?.slice(0, 9));
  }
  const one = await run(listCommand, "-n", "media");
  expect(one.printed).not.toContain("cart-1");
  expect((await run(listCommand, "-n", "media", "-o", "name")).printed).toBe(
    "memoryinvestigation.oomscope.dev/thumbs-1\n",
  );
});

test("show tells the story, and gives the object to machines", async () => {
  const { code, printed } = await run(showCommand, "memi/thumbs-1", "-n", "media");
  expect(code).toBe(EXIT.done);
  expect(printed).toContain("thumbs-1 in namespace media");
  expect(printed).toContain("oomscope approve thumbs-1 -n media Rollback --finding 3f9c00112233");
  const object = await live("thumbs-1");
  const json = JSON.parse((await run(showCommand, "thumbs-1", "-n", "media", "-o=json")).printed) as ApiObject;
  expect(json["status"]).toEqual(object["status"]);
  expect(json.metadata).not.toHaveProperty("managedFields");
  expect(parseYaml((await run(showCommand, "thumbs-1", "-n", "media", "-o", "yaml")).printed)).toEqual(json);
});

test("as a process, also as a plugin of kubectl: it ends by itself, with its exit code", async () => {
  const main = join(import.meta.dirname, "..", "..", "src", "cli", "main.ts");
  const plugin = join(folder, "kubectl-oomscope");
  await writeFile(plugin, `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 });
  const words = ["list", "-n", "media", "-o", "name", "--kubeconfig", own.server.kubeconfig];
  const kubectl = kubectlPath();
  const env = { ...process.env, PATH: `${folder}:${process.env["PATH"] ?? ""}` };
  const { stdout, stderr } = await (kubectl === undefined
    ? execute(plugin, words, { env })
    : execute(kubectl, ["oomscope", ...words], { env }));
  expect({ stdout, stderr }).toEqual({ stdout: "memoryinvestigation.oomscope.dev/thumbs-1\n", stderr: "" });
  await expect(execute(plugin, ["show", "nothing", ...words.slice(5)], { env })).rejects.toMatchObject({ code: 1 });
});

test("what is not there is told with what was probably meant", async () => {
  await expect(run(showCommand, "thumbs-2", "-n", "media")).rejects.toThrow("did you mean thumbs-1?");
  await expect(run(showCommand, "cart-1", "-n", "media")).rejects.toThrow("but in namespace shop: add -n shop");
});

test("who may not is told which right is missing", async () => {
  await expect(run(listCommand, "-A", "--kubeconfig", alice)).rejects.toThrow(
    /You may not list memoryinvestigations in all namespaces .*alice.*Ask whoever grants rights/,
  );
  await expect(run(releaseCommand, "thumbs-1", "-n", "media", "--kubeconfig", alice)).rejects.toThrow("You may not");
});

test("kubeconfigs and clusters that are of no use", async () => {
  await expect(run(listCommand, "--kubeconfig", join(folder, "none"))).rejects.toThrow("Name a kubeconfig with");
  await expect(run(listCommand, "--context", "elsewhere")).rejects.toThrow(/no cluster for the context "elsewhere"/);
  const away = join(folder, "away");
  const config = (await readFile(own.server.kubeconfig, "utf8")).replaceAll(own.server.url, "https://127.0.0.1:1");
  await writeFile(away, config);
  await expect(run(listCommand, "--kubeconfig", away)).rejects.toThrow("https://127.0.0.1:1 cannot be reached");
  await expect(run(listCommand, "-n", "../../x")).rejects.toThrow("cannot be the name of a namespace");
});

test("approve writes the action for the finding that was read, once, and keeps other approvals", async () => {
  await expect(run(approveCommand, "thumbs-1", "-n", "media", "--finding", "000000000000")).rejects.toThrow(
    "The finding is 3f9c00112233 by now and not 000000000000",
  );
  expect((await live("thumbs-1"))["spec"]).not.toHaveProperty("approvedActions");
  const other = { action: "Restart", finding: "111111111111" };
  const at = { namespace: "media", name: "thumbs-1" };
  await own.api.mergePatch(kinds.memoryinvestigations, at, { spec: { approvedActions: [other] } });
  const { printed } = await run(approveCommand, "thumbs-1", "rollback", "-n", "media", "--finding", "3f9c00112233");
  expect(printed).toContain("Rollback of thumbs-1 is approved for finding 3f9c00112233");
  const after = await live("thumbs-1");
  expect(after["spec"]).toMatchObject({ approvedActions: [other, { action: "Rollback", finding: "3f9c00112233" }] });
  expect((await run(approveCommand, "thumbs-1", "-n", "media")).printed).toContain("was approved before");
  expect((await live("thumbs-1")).metadata.resourceVersion).toBe(after.metadata.resourceVersion);
});

test("deny takes the approval back with it, once, and a yes after it is told of", async () => {
  const { printed } = await run(denyCommand, "thumbs-1", "-n", "media", "--finding", "3f9c00112233");
  expect(printed).toContain("Rollback of thumbs-1 is denied for finding 3f9c00112233");
  const after = await live("thumbs-1");
  expect(after["spec"]).toMatchObject({
    approvedActions: [{ action: "Restart", finding: "111111111111" }],
    deniedActions: [{ action: "Rollback", finding: "3f9c00112233" }],
  });
  expect((await run(denyCommand, "thumbs-1", "-n", "media")).printed).toContain("was denied before");
  expect((await live("thumbs-1")).metadata.resourceVersion).toBe(after.metadata.resourceVersion);
  await expect(run(approveCommand, "thumbs-1", "-n", "media")).rejects.toThrow("was denied for finding 3f9c00112233");
});

test("release asks for the pod, and says when there is none", async () => {
  const { printed } = await run(releaseCommand, "thumbs-1", "-n", "media");
  expect(printed).toContain("is asked to put pod thumbs-7d9f-abcde back");
  expect((await live("thumbs-1"))["spec"]).toMatchObject({ release: true });
  await own.api.mergePatch(
    kinds.memoryinvestigations,
    { namespace: "shop", name: "cart-1" },
    { status: { preserved: { state: "Released" } } },
    { subresource: "status" },
  );
  await expect(run(releaseCommand, "cart-1", "-n", "shop")).rejects.toThrow("was given back before");
});
