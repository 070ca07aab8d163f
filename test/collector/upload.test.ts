import { createHash, randomBytes } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import type { Manifest, PartKind } from "../../src/api/collection.ts";
import { collect, type Sink } from "../../src/collector/collect.ts";
import { createUploader, UploadEnded, type UploadOptions } from "../../src/collector/upload.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import {
  COLLECTION,
  openDoor,
  temporaryFolder,
  TOKEN_A,
  TOKEN_B,
  type Door,
  type DoorOptions,
} from "../evidence/door.ts";
import { CONTAINER, createNodeTree, FIXTURES, planOf, POD } from "./nodetree.ts";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function door(options: DoorOptions = {}): Promise<Door> {
  const opened = await openDoor(options);
  closing.push(() => opened.stop());
  return opened;
}

async function uploader(at: Door, changes: Partial<UploadOptions> = {}, token = TOKEN_A): Promise<Sink> {
  const folder = await temporaryFolder();
  closing.push(() => rm(folder, { recursive: true, force: true }));
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, `${token}\n`);
  return createUploader({
    url: `https://127.0.0.1:${at.port}`,
    serverName: "oomscope-evidence.oomscope-system.svc",
    ca: at.caCert,
    tokenFile,
    collection: COLLECTION,
    patienceMs: 20_000,
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: "silent" }),
    ...changes,
  });
}

function manifestOf(parts: { kind: PartKind; index: number; bytes: Uint8Array }[]): Uint8Array {
  const manifest: Manifest = {
    schema: 1,
    collection: COLLECTION,
    tool: { name: "oomscope", version: "0.0.0" },
    started: "2026-11-23T10:00:00.000Z",
    finished: "2026-11-23T10:00:01.000Z",
    plan: planOf({ collection: COLLECTION }),
    samples: 0,
    samplesExpected: 0,
    outcome: "Complete",
    parts: parts.map(({ kind, index, bytes }) => ({
      kind,
      index,
      bytes: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
    })),
    skipped: [],
    cost: { stallMs: 0, cpuMs: 0, peakRssBytes: 0 },
  };
  return new TextEncoder().encode(JSON.stringify(manifest));
}

test("a whole collection arrives at the real evidence server and is accepted", async () => {
  const at = await door();
  const node = await createNodeTree(2);
  closing.push(() => node.remove());
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await node.cgroup(path, [42]);
  await node.process(42, path);
  await writeFile(node.roots.kmsg, await readFile(join(FIXTURES, "kmsg", "v2-6.1-memcg.kmsg.txt")));
  const manifest = await collect({
    plan: planOf({ collection: COLLECTION }),
    roots: node.roots,
    sink: await uploader(at),
    clock: systemClock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal: new AbortController().signal,
    usage: () => ({ cpuMs: 1, peakRssBytes: 1 }),
  });
  expect(manifest.outcome).toBe("Complete");
  expect(at.store.describe(COLLECTION)?.ended).toBeDefined();
  expect(at.progress.at(-1)).toMatchObject({ collection: COLLECTION, progress: { lines: 3, closed: true } });
});

test("a part of several chunks arrives whole", async () => {
  const at = await door();
  const sink = await uploader(at);
  const bytes = randomBytes(3 * 2 ** 20 + 17);
  await sink.put("readings", 0, bytes, 1);
  await sink.settled();
  await sink.put("manifest", 0, manifestOf([{ kind: "readings", index: 0, bytes }]));
  expect(at.store.describe(COLLECTION)?.ended).toBeDefined();
  expect(sink.lost()).toEqual([]);
});

test("an upload survives an operator that is gone for a while, and goes on where it stopped", async () => {
  let serving = true;
  const at = await door({ server: { serving: () => serving } });
  const sink = await uploader(at);
  serving = false;
  const bytes = randomBytes(2 ** 21);
  await sink.put("readings", 0, bytes, 1);
  setTimeout(() => (serving = true), 700);
  await sink.settled();
  expect(await at.store.progress(COLLECTION, { kind: "readings", index: 0 })).toMatchObject({ complete: true });
});

test("a session that belongs to another pod, or is closed, ends the uploader at once and tells its owner", async () => {
  const at = await door();
  const first = await uploader(at);
  await first.put("host", 0, new TextEncoder().encode("{}"));
  await first.settled();
  const told: string[] = [];
  const second = await uploader(at, { onEnded: (ended) => told.push(ended.reason) }, TOKEN_B);
  await second.put("host", 0, new TextEncoder().encode("{}"));
  await expect(second.settled()).rejects.toThrow(UploadEnded);
  expect(told).toEqual(["AnotherCollector"]);
  await expect(second.put("readings", 0, new Uint8Array(1))).rejects.toThrow("AnotherCollector");

  at.closeCollection();
  const third = await uploader(at);
  await third.put("readings", 0, new Uint8Array(1), 0);
  await expect(third.settled()).rejects.toThrow("Closed");
});

test("a part that the server has already with other contents is lost, and the rest goes on", async () => {
  const at = await door();
  const sink = await uploader(at);
  await sink.put("host", 0, new TextEncoder().encode("{}"));
  await sink.put("host", 0, new TextEncoder().encode("[]"));
  await sink.put("oom-reports", 0, new TextEncoder().encode("{}"));
  await sink.settled();
  expect(sink.lost()).toEqual([{ kind: "host", index: 0, reason: "PartExists" }]);
  expect(await at.store.progress(COLLECTION, { kind: "oom-reports", index: 0 })).toMatchObject({ complete: true });
});

test("a server under another authority is never spoken to, and patience ends", async () => {
  const at = await door();
  at.replaceCertificate();
  const sink = await uploader(at, { patienceMs: 300 });
  await sink.put("host", 0, new TextEncoder().encode("{}"));
  await expect(sink.settled()).rejects.toThrow("could not be reached in time");
  expect(at.store.describe(COLLECTION)?.parts ?? []).toEqual([]);
});

test("what cannot be sent is bounded: the oldest readings leave first, the host and the reports stay", async () => {
  let serving = false;
  const at = await door({ server: { serving: () => serving } });
  const sink = await uploader(at);
  await sink.put("host", 0, new TextEncoder().encode("{}"));
  for (let index = 0; index < 20; index++) await sink.put("readings", index, randomBytes(2 ** 20), 1);
  expect(sink.lost().map((part) => part.index)).toEqual([0, 1, 2, 3, 4]);
  serving = true;
  await sink.settled();
  expect(
    at.store
      .describe(COLLECTION)
      ?.parts.map((part) => part.kind)
      .filter((kind) => kind === "host"),
  ).toEqual(["host"]);
});
