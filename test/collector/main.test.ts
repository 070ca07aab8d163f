/** The collector as a process of its own, with the real evidence server at its other end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type CollectionPlan, Manifest } from "../../src/api/collection.ts";
import { systemClock } from "../../src/seams.ts";
import { COLLECTION, type Door, openDoor, temporaryFolder, TOKEN_A, TOKEN_B } from "../evidence/door.ts";
import { CONTAINER, createNodeTree, FIXTURES, type NodeTree, planOf, POD } from "./nodetree.ts";

const MAIN = join(import.meta.dirname, "..", "..", "src", "collector", "main.ts");
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

interface Run {
  readonly child: ChildProcess;
  /** The exit code, and what was written to standard output and standard error. */
  readonly ended: Promise<{ readonly code: number | null; readonly text: string }>;
}

function start(environment: NodeJS.ProcessEnv): Run {
  const child = spawn(process.execPath, [MAIN], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], ...environment },
  });
  closing.push(async () => child.kill("SIGKILL"));
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => (text += bytes.toString()));
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, text }));
  return { child, ended };
}

async function setup(plan: Partial<CollectionPlan>, token = TOKEN_A) {
  const door = await openDoor();
  closing.push(() => door.stop());
  const tree = await createNodeTree(2);
  closing.push(() => tree.remove());
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await tree.cgroup(path, [42]);
  await tree.process(42, path);
  return { door, tree, environment: await environmentOf(door, tree, plan, token) };
}

async function environmentOf(door: Door, tree: NodeTree, plan: Partial<CollectionPlan>, token: string) {
  const folder = await temporaryFolder();
  closing.push(() => rm(folder, { recursive: true, force: true }));
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, token);
  return {
    OOMSCOPE_PLAN: JSON.stringify(planOf({ collection: COLLECTION, ...plan })),
    OOMSCOPE_EVIDENCE_URL: `https://127.0.0.1:${door.port}`,
    OOMSCOPE_EVIDENCE_SERVER_NAME: "oomscope-evidence.oomscope-system.svc",
    OOMSCOPE_EVIDENCE_CA: door.caCert,
    OOMSCOPE_TOKEN_FILE: tokenFile,
    OOMSCOPE_HOST_PROC: tree.roots.proc,
    OOMSCOPE_HOST_CGROUP: tree.roots.cgroup,
    OOMSCOPE_HOST_KMSG: tree.roots.kmsg,
  };
}

async function manifestIn(door: Door): Promise<Manifest> {
  return Manifest.parse(
    JSON.parse(await readFile(join(door.root, "collections", COLLECTION, "manifest.json"), "utf8")),
  );
}

test("a plan is carried out, and the pack at the operator is whole", async () => {
  const { door, environment } = await setup({ intervalMs: 50, durationMs: 200 });
  const { code, text } = await start(environment).ended;
  expect(text).not.toContain(TOKEN_A);
  expect(code).toBe(0);
  const manifest = await manifestIn(door);
  expect(manifest).toMatchObject({ outcome: "Complete", samples: 5 });
  // The process knows what it cost.
  expect(manifest.cost.peakRssBytes).toBeGreaterThan(10 * 2 ** 20);
  expect(manifest.cost.cpuMs).toBeGreaterThan(0);
});

test("ended by a signal, the collector hands over what it has, with a manifest that says so", async () => {
  const { door, tree, environment } = await setup({ intervalMs: 1000, durationMs: 600_000 });
  await writeFile(tree.roots.kmsg, await readFile(join(FIXTURES, "kmsg", "v2-6.1-memcg.kmsg.txt")));
  const { child, ended } = start(environment);
  // What the kernel has said already is handed over after the first sample.
  while ((door.store.describe(COLLECTION)?.parts.length ?? 0) < 2) await systemClock.sleep(20);
  child.kill("SIGTERM");
  expect(await ended).toMatchObject({ code: 0 });
  const manifest = await manifestIn(door);
  expect(manifest.outcome).toBe("Partial");
  expect(manifest.samples).toBeGreaterThan(0);
  expect(manifest.skipped).toContainEqual(expect.objectContaining({ reason: "Interrupted" }));
  expect(manifest.parts.map((part) => part.kind)).toEqual(expect.arrayContaining(["host", "readings", "oom-reports"]));
});

test("a collector whose place another has taken ends at once, and not as a failure", async () => {
  // It does not wait until it has something to send.
  const { door, tree, environment } = await setup({ intervalMs: 600_000, durationMs: 600_000 });
  // Somebody else's first part makes the collection theirs.
  const first = await environmentOf(door, tree, { intervalMs: 1000, durationMs: 600_000 }, TOKEN_B);
  start(first);
  while ((door.store.describe(COLLECTION)?.parts.length ?? 0) === 0) await systemClock.sleep(20);
  const { code, text } = await start(environment).ended;
  expect(text).toContain("AnotherCollector");
  expect(code).toBe(0);
});

test("missing variables are named, each with what is wrong", async () => {
  const { environment } = await setup({});
  const { OOMSCOPE_TOKEN_FILE: _file, ...rest } = environment;
  const { code, text } = await start({ ...rest, OOMSCOPE_EVIDENCE_URL: "http://127.0.0.1:1" }).ended;
  expect(code).toBe(2);
  expect(text).toContain("OOMSCOPE_TOKEN_FILE");
  expect(text).toContain("OOMSCOPE_EVIDENCE_URL");
  expect(text).not.toContain("OOMSCOPE_PLAN");
});

test.each([
  ["no JSON", "{"],
  ["a plan of a later version", JSON.stringify({ ...planOf(), schema: 2 })],
])("%s as a plan is refused", async (_what, plan) => {
  const { environment } = await setup({});
  const { code, text } = await start({ ...environment, OOMSCOPE_PLAN: plan }).ended;
  expect(code).toBe(1);
  expect(text).toContain("Could not collect");
});
