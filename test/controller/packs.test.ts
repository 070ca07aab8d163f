/** Does the loop know which look at the surroundings a pack holds? A real store on a real disk, also after the process was replaced. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Context } from "../../src/api/collection.ts";
import type { ComparisonQuestion, ValidationCheck } from "../../src/api/validation.ts";
import { createPacks, type Packs } from "../../src/controller/packs.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { createDirectoryStore, type EvidenceStore } from "../../src/evidence/store.ts";
import { systemClock } from "../../src/seams.ts";
import { assembled } from "../context/builders.ts";
import { temporaryFolder } from "../evidence/door.ts";

vi.setConfig({ testTimeout: 30_000 });

const A_CHECK: ValidationCheck = { name: "Kills", result: "Pass", required: true, unit: "kills", detail: "none" };
const WORKLOAD = { namespace: "media", kind: "Deployment", name: "t" } as const;

let root: string;
let store: EvidenceStore;
let packs: Packs;
/** The folders that were compared. */
let compared: [string | undefined, string][];
beforeEach(async () => {
  root = await temporaryFolder();
  compared = [];
  await start();
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** A new process on the same disk. */
async function start(): Promise<void> {
  store = await createDirectoryStore(root, { maxBytes: 2 ** 30, clock: systemClock });
  packs = createPacks({
    store,
    read: () => Promise.reject(new Error("no finding is asked for")),
    compare: (before, after, { culprit }) => {
      compared.push([before, after]);
      return Promise.resolve(culprit === undefined ? [A_CHECK] : []);
    },
    readManifest: async (directory) => (await openPack(directory)).manifest,
    readContext: async (directory) => (await openPack(directory)).context,
    uploads: undefined,
    enqueue: () => undefined,
    log: pino({ level: "silent" }),
  });
}

const write = (context: Context): Promise<void> => store.writeContext("c1", Buffer.from(JSON.stringify(context)));
const look = (): string | undefined => packs.session("c1")?.context;

test("none, then the first, then the last; never an old answer for a new part", async () => {
  expect(packs.session("c1")).toBeUndefined();
  const first = assembled();
  await write(first);
  expect(look()).toBe("Unread");
  await expect.poll(look).toBe("Start");
  await write(assembled({}, { question: { stage: "End" }, earlier: first }));
  expect(look()).toBe("Unread");
  await expect.poll(look).toBe("End");
  await start();
  await expect.poll(look).toBe("End");
  expect((await packs.readContext("c1"))?.snapshots?.map(({ stage }) => stage)).toEqual(["Start", "End"]);
});

test("a part that cannot be read, and one from before there were looks, are looked at again", async () => {
  await write(assembled());
  await writeFile(join(root, "collections/c1/context.json"), "{");
  await start();
  await expect.poll(look).toBe("Start");
  expect(await packs.readContext("c1")).toBeUndefined();
  await write({ target: { kind: "Deployment", namespace: "media", name: "t" }, kills: [], revisions: [], pods: [] });
  await expect.poll(look).toBe("Start");
});

test("two packs are compared once, by a new process once more, and a first one that is gone is told of", async () => {
  const question: ComparisonQuestion = {
    before: "c1",
    after: "c2",
    container: undefined,
    series: undefined,
    culprit: undefined,
  };
  const ask = (): readonly ValidationCheck[] | undefined => packs.comparison(question, WORKLOAD);
  expect(ask()).toBeUndefined();
  await store.writeContext("c2", Buffer.from(JSON.stringify(assembled())));
  expect(ask()).toBeUndefined();
  await expect.poll(ask).toEqual([A_CHECK]);
  expect(compared).toEqual([[undefined, join(root, "collections/c2")]]);
  await write(assembled());
  await start();
  await expect.poll(ask).toEqual([A_CHECK]);
  expect(ask()).toEqual([A_CHECK]);
  expect(compared.slice(1)).toEqual([[join(root, "collections/c1"), join(root, "collections/c2")]]);
  packs.forget("c2");
  expect(ask()).toBeUndefined();
});
