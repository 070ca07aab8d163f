import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PartKind } from "../../src/api/collection.ts";
import type { Receipt } from "../../src/evidence/admission.ts";
import type { Chunk } from "../../src/evidence/folder.ts";
import { createDirectoryStore, type EvidenceStore, StorageFull, type StoreOptions } from "../../src/evidence/store.ts";
import { systemClock } from "../../src/seams.ts";
import { lines, manifestOf, POD_A, POD_B, sha256, temporaryFolder } from "./door.ts";

// Real sockets and disks: on a busy machine they take their time.
vi.setConfig({ testTimeout: 30_000 });

let root: string;
let time: Date;
beforeEach(async () => {
  root = await temporaryFolder();
  time = new Date("2030-01-01T00:00:00Z");
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function open(options: Partial<StoreOptions> = {}, at = root): Promise<EvidenceStore> {
  return await createDirectoryStore(at, { maxBytes: 2 ** 30, clock: { ...systemClock, now: () => time }, ...options });
}

interface Write {
  readonly kind?: PartKind;
  readonly index?: number;
  readonly start?: number;
  readonly end?: number;
  readonly pod?: string;
}

async function write(store: EvidenceStore, collection: string, bytes: Buffer, how: Write = {}): Promise<Receipt> {
  const { kind = "readings", index = 0, start = 0, end = bytes.length, pod = POD_A } = how;
  const chunk: Chunk = { start, bytes: bytes.subarray(start, end), totalBytes: bytes.length, sha256: sha256(bytes) };
  return await store.receive(collection, pod, { kind, index }, chunk);
}

/** A collection of one part that has come to its end. */
async function writePack(store: EvidenceStore, collection: string, bytes: Buffer): Promise<void> {
  await write(store, collection, bytes);
  const manifest = manifestOf([{ kind: "readings", index: 0, bytes }], { collection });
  expect(await write(store, collection, manifest, { kind: "manifest" })).toEqual({ outcome: "Complete" });
}

const tree = async (): Promise<string[]> => (await readdir(root, { recursive: true })).toSorted();

describe("a store", () => {
  it("keeps its files to itself", async () => {
    const store = await open();
    await write(store, "c1", lines(5));
    await write(store, "c1", lines(9), { index: 1, end: 4 });
    await store.writeContext("c1", Buffer.from("{}"));
    for (const name of await tree()) {
      const { mode } = await stat(join(root, name));
      expect(`${name} ${(mode & 0o7777).toString(8)}`).toMatch(/(?:ndjson|json) 600$|(?:c1|collections|removing) 700$/);
    }
  });

  it("makes no name but those of the contract", async () => {
    const store = await open();
    const bad = ["..", ".", "", "a/b", "a\0b", "A", "é", "a".repeat(64), "-a", "a-", "a.b", "readings-0000.ndjson"];
    for (const collection of bad) {
      await expect(async () => await write(store, collection, lines(1))).rejects.toThrow(RangeError);
      await expect(async () => await store.writeContext(collection, lines(1))).rejects.toThrow(RangeError);
    }
    for (const index of [-1, 1000, 0.5, Number.NaN]) {
      await expect(async () => await write(store, "c1", lines(1), { index })).rejects.toThrow(RangeError);
    }
    await expect(async () => await write(store, "c1", lines(1), { kind: "host", index: 1 })).rejects.toThrow(
      RangeError,
    );
    await expect(async () => await write(store, "c1", lines(1), { kind: "context" })).rejects.toThrow(RangeError);
    await expect(async () => await write(store, "c1", lines(1), { pod: "" })).rejects.toThrow(RangeError);
    expect(await tree()).toEqual(["collections", "removing"]);
  });

  it("finds after a restart everything that was there before, unfinished parts too", async () => {
    const store = await open();
    await write(store, "c1", lines(7));
    await write(store, "c1", lines(100), { index: 1, end: 150 });
    await store.writeContext("c1", Buffer.from("{}"));
    await writePack(store, "c2", lines(3));
    time = new Date("2031-01-01T00:00:00Z");
    const again = await open();
    expect(again.list()).toEqual(store.list());
    expect(again.usage()).toEqual(store.usage());
    expect(await again.progress("c1", { kind: "readings", index: 1 })).toEqual({ received: 150, complete: false });
    expect(await write(again, "c1", lines(100), { index: 1, start: 150 })).toEqual({ outcome: "Complete" });
    expect(await write(again, "c1", lines(1), { index: 2, pod: POD_B })).toEqual({ outcome: "AnotherCollector" });
  });

  it("rebuilds a session file that lags behind its folder", async () => {
    const store = await open();
    await write(store, "c1", lines(7));
    const session = await readFile(join(root, "collections/c1/session.json"));
    const manifest = manifestOf([{ kind: "readings", index: 0, bytes: lines(7) }], { collection: "c1" });
    await write(store, "c1", manifest, { kind: "manifest" });
    await writeFile(join(root, "collections/c1/session.json"), session);
    const again = await open();
    expect(again.describe("c1")).toMatchObject({ manifestSha256: sha256(manifest), podUid: POD_A, lines: 7 });
    expect(again.describe("c1")?.ended).toBeDefined();
    expect(await write(again, "c1", lines(2), { index: 1 })).toEqual({ outcome: "Closed" });
  });

  it("clears away at the start what an interrupted change left behind", async () => {
    const store = await open();
    await writePack(store, "c1", lines(1));
    await store.writeContext("c1", Buffer.from('{"a":1}'));
    const session = await readFile(join(root, "collections/c1/session.json"));
    await store.writeContext("c1", Buffer.from('{"a":2}'));
    // The process died before the session file was written, and before the unfinished part of an ended collection was deleted.
    await writeFile(join(root, "collections/c1/session.json"), session);
    await writeFile(join(root, "collections/c1/.new-session.json"), "{");
    await writeFile(join(root, "collections/c1", `.incoming-9-${sha256(lines(3))}-readings-0001.ndjson`), "{}");
    const again = await open();
    expect(await readdir(join(root, "collections/c1"))).toEqual([
      "context.json",
      "manifest.json",
      "readings-0000.ndjson",
      "session.json",
    ]);
    const context = again.describe("c1")?.parts.find(({ kind }) => kind === "context");
    expect(context?.sha256).toBe(sha256(Buffer.from('{"a":2}')));
  });

  it("finishes at the start a part that had all its bytes but not yet its name", async () => {
    const store = await open();
    const bytes = lines(9);
    await write(store, "c1", bytes, { end: 5 });
    const incoming = `.incoming-${bytes.length}-${sha256(bytes)}-readings-0000.ndjson`;
    await writeFile(join(root, "collections/c1", incoming), bytes);
    const again = await open();
    expect(await again.progress("c1", { kind: "readings", index: 0 })).toEqual({ received: 27, complete: true });
    const wrong = Buffer.alloc(27);
    await writeFile(join(root, "collections/c1", incoming.replace("0000", "0001")), wrong);
    const third = await open();
    expect(await third.progress("c1", { kind: "readings", index: 1 })).toEqual({ received: 0, complete: false });
  });

  it("lets nobody write into a collection whose owner cannot be told any more", async () => {
    for (const damage of ["", "{", JSON.stringify({ collection: "c2", podUid: POD_B, firstSeen: "2030", parts: [] })]) {
      const store = await open();
      await write(store, "c1", lines(7));
      await writeFile(join(root, "collections/c1/session.json"), damage);
      const again = await open();
      expect(again.describe("c1")).toMatchObject({ lines: 7, podUid: "" });
      for (const pod of [POD_A, POD_B]) {
        expect(await write(again, "c1", lines(1), { index: 1, pod })).toEqual({ outcome: "AnotherCollector" });
      }
      await again.remove("c1");
    }
  });

  it("begins a part again whose file lost bytes, and never trusts a file that has too many", async () => {
    const store = await open();
    const bytes = lines(100);
    await write(store, "c1", bytes, { end: 200 });
    const incoming = join(root, "collections/c1", `.incoming-300-${sha256(bytes)}-readings-0000.ndjson`);
    await truncate(incoming, 120);
    const again = await open();
    expect(await write(again, "c1", bytes, { start: 200 })).toEqual({ outcome: "OffsetMismatch", received: 120 });
    expect(await write(again, "c1", bytes, { start: 120 })).toEqual({ outcome: "Complete" });
    await writeFile(join(root, "collections/c1", `.incoming-3-${sha256(bytes)}-readings-0001.ndjson`), bytes);
    const third = await open();
    expect(await third.progress("c1", { kind: "readings", index: 1 })).toEqual({ received: 0, complete: false });
  });

  it("starts although one folder cannot be read, takes nothing more for it, and lets it go with its time", async () => {
    const store = await open();
    await writePack(store, "good", lines(2));
    await write(store, "bad", lines(1));
    // No process of ours makes a folder there.
    await mkdir(join(root, "collections/bad/.new-session.json"));
    const damaged: string[] = [];
    const again = await open({ onDamage: (collection) => damaged.push(collection) });
    expect(damaged).toEqual(["bad"]);
    expect(again.list().map(({ collection }) => collection)).toEqual(["bad", "good"]);
    expect(await write(again, "bad", lines(1), { index: 1 })).toEqual({ outcome: "AnotherCollector" });
    expect(await again.expire(new Date("2040-01-01T00:00:00Z"), () => 1000)).toEqual(["bad", "good"]);
    expect(await tree()).toEqual(["collections", "removing"]);
  });

  it("follows no link and writes through none", async () => {
    const victim = join(root, "victim");
    await writeFile(victim, "keep me");
    const store = await open();
    await write(store, "c1", lines(1));
    const bytes = lines(5);
    await symlink(victim, join(root, "collections/c1", `.incoming-${bytes.length}-${sha256(bytes)}-host.json`));
    await expect(async () => await write(store, "c1", bytes, { kind: "host" })).rejects.toThrow(/ELOOP/);
    await symlink(victim, join(root, "collections/c1/oom-reports.json"));
    await symlink(root, join(root, "collections/linked"));
    const again = await open();
    expect(again.list().map(({ collection }) => collection)).toEqual(["c1"]);
    expect(again.describe("c1")?.parts.map(({ kind }) => kind)).toEqual(["readings"]);
    expect(await readFile(victim, "utf8")).toBe("keep me");
  });

  it("keeps the operator's context apart from what the collector sends, and replaces it", async () => {
    const store = await open();
    await store.writeContext("c1", Buffer.from('{"a":1}'));
    expect(await write(store, "c1", lines(1), { pod: POD_B })).toEqual({ outcome: "Complete" });
    await store.writeContext("c1", Buffer.from('{"a":2}'));
    expect(await readFile(join(root, "collections/c1/context.json"), "utf8")).toBe('{"a":2}');
    const again = await open();
    expect(again.describe("c1")?.parts.find(({ kind }) => kind === "context")?.sha256).toBe(
      sha256(Buffer.from('{"a":2}')),
    );
  });

  it("takes nothing more after the Job's end, and drops what was not whole", async () => {
    const store = await open();
    await write(store, "c1", lines(1));
    await write(store, "c1", lines(100), { index: 1, end: 10 });
    await store.end("c1");
    expect(await write(store, "c1", lines(100), { index: 1, start: 10 })).toEqual({ outcome: "Closed" });
    expect(await write(store, "c1", lines(1))).toEqual({ outcome: "Identical" });
    expect(await readdir(join(root, "collections/c1"))).toEqual(["readings-0000.ndjson", "session.json"]);
    expect((await open()).describe("c1")).toMatchObject({ ended: time.toISOString(), manifestSha256: undefined });
    await store.end("unknown");
    expect(store.describe("unknown")).toBeUndefined();
  });
});

describe("the caps", () => {
  it("hold for a part, for a collection with all that has begun, and for the manifest", async () => {
    const store = await open({ maxPartBytes: 3000, maxCollectionBytes: 4000 });
    expect(await write(store, "c1", lines(1001))).toEqual({ outcome: "TooLarge" });
    expect(await write(store, "c1", lines(1000), { end: 1 })).toEqual({ outcome: "Stored", received: 1 });
    expect(await write(store, "c1", lines(334), { index: 1 })).toEqual({ outcome: "TooLarge" });
    expect(await write(store, "c1", lines(333), { index: 1 })).toEqual({ outcome: "Complete" });
    expect(await write(store, "c1", lines(1000), { start: 1 })).toEqual({ outcome: "Complete" });
    const wide = await open({}, join(root, "wide"));
    const large = Buffer.alloc(2 * 2 ** 20 + 1);
    expect(await write(wide, "c1", large, { kind: "manifest" })).toEqual({ outcome: "TooLarge" });
    await expect(async () => await store.writeContext("c1", Buffer.alloc(3001))).rejects.toThrow(/at most 3000/);
  });

  it("of the whole store evict the oldest ended pack that nobody uses, never one that still grows", async () => {
    const used = new Set(["c1"]);
    const store = await open({ maxBytes: 7000, inUse: (collection) => used.has(collection) });
    for (const collection of ["c1", "c2", "c3"]) {
      time = new Date(time.getTime() + 1000);
      await writePack(store, collection, lines(300));
    }
    await write(store, "growing", lines(500), { end: 1400 });
    await write(store, "new", lines(600), { end: 1600 });
    expect(store.list().map(({ collection }) => collection)).toEqual(["c1", "c3", "growing", "new"]);
    await write(store, "new", lines(1000), { index: 1, end: 1500 });
    expect(store.list().map(({ collection }) => collection)).toEqual(["c1", "growing", "new"]);
    const before = await tree();
    await expect(async () => await write(store, "new", lines(1000), { index: 2 })).rejects.toThrow(StorageFull);
    expect(await tree()).toEqual(before);
    used.clear();
    expect(await write(store, "new", lines(600), { index: 2 })).toEqual({ outcome: "Complete" });
    expect(store.usage().bytes).toBeLessThanOrEqual(7000);
    expect((await open()).usage()).toEqual({ ...store.usage(), maxBytes: 2 ** 30 });
  });

  it("never evict the very pack that is being written to", async () => {
    const store = await open({ maxBytes: 1000 });
    await writePack(store, "c1", lines(100));
    await expect(async () => await store.writeContext("c1", Buffer.alloc(900))).rejects.toThrow(StorageFull);
    expect(store.describe("c1")?.lines).toBe(100);
    expect(await readdir(join(root, "collections/c1"))).not.toContain("context.json");
  });

  it("count down to the byte", async () => {
    const store = await open({ maxBytes: 300 });
    expect(await write(store, "c1", lines(100))).toEqual({ outcome: "Complete" });
    await expect(async () => await write(store, "c1", lines(1), { index: 1 })).rejects.toThrow(/limit of 300 bytes/);
    expect(store.usage()).toEqual({ bytes: 300, maxBytes: 300, collections: 1 });
  });
});

describe("expiry", () => {
  it("removes what is past its time, counted from the end, and keeps what is in use", async () => {
    const store = await open();
    await writePack(store, "old", lines(1));
    await writePack(store, "needed", lines(1));
    await write(store, "cut-off", lines(1));
    time = new Date("2030-01-02T00:00:00Z");
    await writePack(store, "young", lines(1));
    const day = 86_400_000;
    const keep = (collection: string) => (collection === "needed" ? ("InUse" as const) : day);
    expect(await store.expire(new Date("2030-01-01T23:59:59Z"), keep)).toEqual([]);
    expect(await store.expire(new Date("2030-01-02T00:00:00Z"), keep)).toEqual(["old", "cut-off"]);
    expect(await tree()).toEqual([
      "collections",
      ...["needed", "young"].flatMap((name) => [
        `collections/${name}`,
        ...["manifest.json", "readings-0000.ndjson", "session.json"].map((file) => `collections/${name}/${file}`),
      ]),
      "removing",
    ]);
    await store.remove("young");
    expect((await open()).list().map(({ collection }) => collection)).toEqual(["needed"]);
  });

  it("that was cut off leaves no half pack", async () => {
    const store = await open();
    await writePack(store, "c1", lines(1));
    await mkdir(join(root, "removing/c9.0"), { recursive: true });
    await writeFile(join(root, "removing/c9.0/host.json"), "{}");
    expect((await open()).list()).toHaveLength(1);
    expect(await readdir(join(root, "removing"))).toEqual([]);
  });
});

describe("a full disk", () => {
  /** A small disk of its own; undefined where this user may not mount one. */
  function mountSmallDisk(at: string): boolean {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", at], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  }

  it("shows nothing half, evicts what it may, and works again when there is room", async (context) => {
    const disk = join(root, "disk");
    await mkdir(disk);
    if (!mountSmallDisk(disk)) return context.skip("mounting a small disk needs root");
    try {
      const store = await open({}, disk);
      await writePack(store, "old", lines(100_000));
      const big = lines(200_000);
      // 600 kB beside 300 kB fit; the next collection does not, until the ended one has gone.
      expect(await write(store, "c1", big)).toEqual({ outcome: "Complete" });
      expect(await write(store, "c2", lines(100_000))).toEqual({ outcome: "Complete" });
      expect(store.describe("old")).toBeUndefined();
      const full = write(store, "c3", big);
      await expect(full).rejects.toThrow(StorageFull);
      await expect(full).rejects.toThrow(/no space left/);
      expect(await store.progress("c3", { kind: "readings", index: 0 })).toEqual({ received: 0, complete: false });
      const shown = await readdir(join(disk, "collections/c3")).catch(() => []);
      expect(shown.filter((name) => name.endsWith(".ndjson") && !name.startsWith("."))).toEqual([]);
      const restarted = await open({}, disk);
      expect(restarted.describe("c1")?.bytes).toBe(600_000);
      await restarted.end("c1");
      expect(await write(restarted, "c3", big)).toEqual({ outcome: "Complete" });
      expect(await readFile(join(disk, "collections/c3/readings-0000.ndjson"))).toEqual(big);
    } finally {
      execFileSync("umount", [disk]);
    }
  });

  it("is told apart from a disk that may not be written", async () => {
    const store = await open();
    await writePack(store, "old", lines(1));
    await write(store, "c1", lines(1));
    await rm(join(root, "collections/c1"), { recursive: true });
    await expect(async () => await write(store, "c1", lines(2), { index: 1 })).rejects.toThrow(/ENOENT/);
    expect(store.describe("old")).toBeDefined();
  });
});
