/** When does a pack go, and is it told? A real store on a real disk, under the policies that its packs were taken in by, also after the process was replaced. */
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Collection, MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import { MemoryPolicySpec } from "../../src/api/memorypolicy.ts";
import { createRetention, type Retention, type RetentionOptions } from "../../src/controller/retention.ts";
import { createDirectoryStore, type EvidenceStore, type StoreOptions } from "../../src/evidence/store.ts";
import { systemClock } from "../../src/seams.ts";
import { manifestOf, POD_A, sha256, temporaryFolder } from "../evidence/door.ts";
import { anInvestigation } from "../incident/builders.ts";

vi.setConfig({ testTimeout: 30_000 });

const PACK_BYTES = 100_000;

let root: string;
let time: Date;
let store: EvidenceStore;
let retention: Retention;
let policies: Record<string, MemoryPolicySpec>;
let investigations: MemoryInvestigation[];
let told: string[];
let options: RetentionOptions;

beforeEach(async () => {
  root = await temporaryFolder();
  time = new Date("2030-01-01T00:00:00Z");
  policies = {
    "MemoryPolicy/media/thumbs": MemoryPolicySpec.parse({ retention: { evidence: "2d", maxBytes: "250k" } }),
  };
  investigations = [];
  told = [];
  await start();
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** A new process on the same disk, which remembers nothing. */
async function start(over: Partial<RetentionOptions> = {}, limits: Partial<StoreOptions> = {}): Promise<void> {
  const clock = { ...systemClock, now: () => time };
  store = await createDirectoryStore(root, {
    maxBytes: 2 ** 30,
    clock,
    inUse: (id) => options.inUse(id),
    elsewhere: (id) => options.elsewhere(id),
    onEvicted: (id) => retention.evicted(id),
    ...limits,
  });
  options = {
    store,
    clock,
    log: pino({ level: "silent" }),
    investigations: () => investigations,
    policy: (identity) => policies[identity],
    inUse: (id) =>
      investigations.some(({ status }) => status?.result === undefined && status?.collections?.[0]?.id === id),
    elsewhere: () => false,
    onRemoved: (id, why) => told.push(`${id} ${why}`),
    ...over,
  };
  retention = createRetention(options);
}

const pass = (): Promise<void> => retention.pass();
const here = async (): Promise<string[]> => (await readdir(join(root, "collections"))).toSorted();

/** A pack that has come to its end. */
async function pack(id: string): Promise<void> {
  const bytes = Buffer.alloc(PACK_BYTES, `{"x":1}\n`);
  const send = async (kind: "readings" | "manifest", whole: Buffer): Promise<void> => {
    const chunk = { start: 0, bytes: whole, totalBytes: whole.length, sha256: sha256(whole) };
    expect(await store.receive(id, POD_A, { kind, index: 0 }, chunk)).toEqual({ outcome: "Complete" });
  };
  await send("readings", bytes);
  await send("manifest", manifestOf([{ kind: "readings", index: 0, bytes }], { collection: id }));
}

/** The same, taken in by an investigation under the policy; it has ended unless said otherwise. */
async function taken(id: string, over: { expires?: string; active?: boolean; location?: string } = {}): Promise<void> {
  await pack(id);
  const { expires = "2030-01-03T00:00:00Z", active = false, location = `collections/${id}` } = over;
  const collection: Collection = {
    id,
    purpose: "Diagnose",
    attempt: 1,
    state: "Complete",
    job: id,
    node: "n",
    pods: [],
    requested: expires,
  };
  const status: MemoryInvestigation["status"] = {
    policy: { kind: "MemoryPolicy", name: "thumbs", mode: "Observe" },
    collections: [collection],
    evidence: { location, parts: 2, bytes: PACK_BYTES, sha256: "", expires },
    ...(active ? {} : { result: "Recommended" }),
  };
  investigations.push(anInvestigation(id, { status }));
}

const day = (n: number): Date => new Date(Date.UTC(2030, 0, 1 + n));

test("a pack goes at the time that status has promised, though policy, investigation and process are gone by then", async () => {
  await taken("a", { expires: "2030-01-04T00:00:00Z" });
  await pack("failed");
  await pass();
  investigations = [];
  policies = {};
  await start();
  time = new Date("2030-01-03T23:59:59Z");
  await pass();
  expect(await here()).toEqual(["a", "failed"]);
  time = day(3);
  await pass();
  expect(await here()).toEqual(["failed"]);
  time = day(7); // What nobody took in goes a week after its end.
  await pass();
  expect(await here()).toEqual([]);
  expect(told).toEqual(["a Expired", "failed Expired"]);
  expect(retention.gone("a")).toMatch(/^Deleted from the evidence directory at 2030-01-04T00:00:00Z: its time/);
});

test("of a pack that lies in the bucket the copy here goes by the policy's time, silently", async () => {
  await start({ elsewhere: () => true });
  await taken("a", { location: "s3://b/a", expires: "2030-02-01T00:00:00Z" });
  time = day(2);
  await pass();
  expect(await here()).toEqual([]);
  expect(retention.gone("a")).toBeUndefined();
});

test("beyond its time it stays while a decision rests on it", async () => {
  await taken("a", { active: true });
  time = day(9);
  await pass();
  expect(await here()).toEqual(["a"]);
});

test("packs of one policy that take more than maxBytes lose the oldest, never that of an active investigation", async () => {
  await taken("oldest", { active: true });
  for (const id of ["b", "c", "d"]) {
    time = new Date(time.getTime() + 1000);
    await taken(id);
  }
  await pack("nobodys");
  await pass();
  expect(await here()).toEqual(["d", "nobodys", "oldest"]);
  expect(told).toEqual(["b PolicyFull", "c PolicyFull"]);
  expect(retention.gone("b")).toContain("MemoryPolicy/media/thumbs together took more than its retention.maxBytes");
});

test("a policy that lowers maxBytes has it at once; one that is gone leaves what it said", async () => {
  await taken("a");
  time = new Date(time.getTime() + 1000);
  await taken("b");
  await pass();
  expect(await here()).toEqual(["a", "b"]);
  policies = {};
  time = new Date(time.getTime() + 1000);
  await pack("c");
  await store.setTerms("c", {
    policy: "MemoryPolicy/media/thumbs",
    expires: "2031-01-01T00:00:00Z",
    maxBytes: 250_000,
  });
  await pass();
  expect(await here()).toEqual(["b", "c"]);
  policies = { "MemoryPolicy/media/thumbs": MemoryPolicySpec.parse({ retention: { maxBytes: "100k" } }) };
  await pass();
  expect(await here()).toEqual([]); // Each of them is a little more than 100 kB with its manifest.
});

test("what lies in the bucket as well goes first", async () => {
  await start({ elsewhere: (id) => id === "c" });
  for (const id of ["a", "b", "c"]) {
    time = new Date(time.getTime() + 1000);
    await taken(id);
  }
  await pass();
  expect(await here()).toEqual(["a", "b"]);
  expect(told).toEqual(["c PolicyFull"]);
});

test("a folder that takes no note keeps no other from its time", async () => {
  await taken("a");
  await taken("b");
  await rm(join(root, "collections/a"), { recursive: true });
  await writeFile(join(root, "collections/a"), "no folder any more");
  await pass();
  expect(store.describe("a")?.terms).toBeUndefined();
  expect(store.describe("b")?.terms).toMatchObject({ policy: "MemoryPolicy/media/thumbs" });
  time = day(8);
  await pass();
  expect(await here()).toEqual([]);
});

test("a store that makes room by itself tells it", async () => {
  await start({}, { maxBytes: 250_000 });
  await pack("a");
  await pack("b");
  await pack("c");
  expect(await here()).toEqual(["b", "c"]);
  expect(told).toEqual(["a StoreFull"]);
  expect(retention.gone("a")).toContain("was full");
});
