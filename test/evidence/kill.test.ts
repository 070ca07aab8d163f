import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { type PartKind, partFileName } from "../../src/api/collection.ts";
import { systemClock } from "../../src/seams.ts";
import { createDirectoryStore } from "../../src/evidence/store.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { type Address, COLLECTION, get, manifestOf, POD_A, put, temporaryFolder } from "./door.ts";

const KILLS = 12;
const CHUNK = 48 * 1024;

interface Part {
  readonly kind: PartKind;
  readonly index: number;
  readonly bytes: Buffer;
}

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function startServer(root: string): Promise<{ readonly child: ChildProcess; readonly address: Address }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "server.child.ts"), root], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanups.push(() => void child.kill("SIGKILL"));
  for await (const line of createInterface({ input: child.stdout })) {
    return { child, address: JSON.parse(line) as Address };
  }
  throw new Error("the server ended before it listened");
}

/** What a collector does: ask how much is there, send the rest in chunks, and go on with the next part. */
async function upload(to: Address, parts: readonly Part[], acknowledged: Map<Part, number>): Promise<void> {
  for (const part of parts) {
    const { kind, index, bytes } = part;
    const { body } = await get(to, kind, index);
    if (body["complete"] === true) continue;
    let start = Number(body["received"]);
    while (start < bytes.length) {
      const end = Math.min(start + CHUNK, bytes.length);
      const reply = await put(to, { kind, index, bytes, start, end });
      if (reply.status !== 202 && reply.status !== 201) throw new Error(`unexpected ${JSON.stringify(reply)}`);
      start = end;
      acknowledged.set(part, end);
    }
  }
}

/** Whatever has a part's name is that part, whole. */
async function expectNothingHalfVisible(root: string, parts: readonly Part[]): Promise<void> {
  const directory = join(root, "collections", COLLECTION);
  const names: readonly string[] = await readdir(directory).catch(() => []);
  for (const part of parts) {
    const name = partFileName(part.kind, part.index);
    if (names.includes(name)) expect((await readFile(join(directory, name))).equals(part.bytes)).toBe(true);
  }
}

describe("a server that is killed again and again while parts come in", () => {
  it("shows no half part, loses no acknowledged byte, and lets the upload go on", { timeout: 300_000 }, async () => {
    const root = await temporaryFolder();
    cleanups.push(async () => await rm(root, { recursive: true, force: true }));
    const line = Buffer.from(`${"x".repeat(1023)}\n`);
    const readings: Part[] = Array.from({ length: 40 }, (_, index) => ({
      kind: "readings",
      index,
      bytes: Buffer.concat(Array.from({ length: 150 + index }, () => line)),
    }));
    const parts: Part[] = [...readings, { kind: "manifest", index: 0, bytes: manifestOf(readings) }];
    const acknowledged = new Map<Part, number>();
    let cut = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const { child, address } = await startServer(root);
      const uploading = upload(address, parts, acknowledged).then(
        () => 0,
        () => 1,
      );
      await systemClock.sleep(Math.random() * 60);
      child.kill("SIGKILL");
      await once(child, "exit");
      cut += await uploading;
      await expectNothingHalfVisible(root, parts);
      const store = await createDirectoryStore(root, { maxBytes: 2 ** 30, clock: systemClock });
      for (const [part, end] of acknowledged) {
        expect((await store.progress(COLLECTION, part)).received).toBeGreaterThanOrEqual(end);
        expect(store.describe(COLLECTION)?.podUid).toBe(POD_A);
      }
    }
    // Otherwise the kills came too late to prove anything.
    expect(cut).toBeGreaterThan(KILLS / 3);

    const { address } = await startServer(root);
    await upload(address, parts, acknowledged);
    await expectNothingHalfVisible(root, parts);
    const pack = await openPack(join(root, "collections", COLLECTION));
    expect(await pack.verify()).toEqual({ ok: true, problems: [] });
    expect((await readdir(pack.path)).toSorted()).toEqual(
      [...parts.map((part) => partFileName(part.kind, part.index)), "session.json"].toSorted(),
    );
  });
});
