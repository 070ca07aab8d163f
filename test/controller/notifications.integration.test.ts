/**
 * People are told of a whole incident, by the whole operator on a real API server and through a real HTTP server: once, also by a second life, and
 * never so that the incident would wait for them.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startReceiver, type TestReceiver } from "../notify/receiver.ts";
import { controllers, incident, investigations, type Item } from "./cluster.ts";
import { liveAt, stage, type Place, type Stage, told, until } from "./life.ts";

let here: Stage;
let place: Place;
let folder: string;
let receiver: TestReceiver;

beforeAll(async () => {
  here = await stage();
  receiver = await startReceiver();
  folder = await mkdtemp(join(tmpdir(), "oomscope-notify-"));
  await writeFile(join(folder, "webhook-url"), `${receiver.url}/hook\n`);
  place = { ...here, environment: { OOMSCOPE_NOTIFY_DIRECTORY: folder } };
});
afterAll(async () => {
  await receiver.close();
  await here.end();
  await rm(folder, { recursive: true });
});

const only = async (namespace: string): Promise<Item | undefined> => (await investigations(here.api, namespace))[0];
const notified = async (namespace: string): Promise<readonly string[] | undefined> =>
  (told(await only(namespace)) as { notified?: readonly string[] }).notified;
const heard = (namespace: string): unknown[] =>
  receiver.received
    .filter(({ body }) => (body["investigation"] as { namespace: string }).namespace === namespace)
    .map(({ body }) => body["kind"]);

/** An incident that ends as Failed, because nobody runs the Jobs, and a life of the operator for each `part`, one after the other. */
async function lives(namespace: string, ...parts: readonly (() => Promise<void>)[]): Promise<void> {
  await incident(here.api, namespace);
  const world = controllers(here.api, namespace);
  try {
    for (const part of parts) {
      const life = await liveAt(place, -1, "lose the reply");
      try {
        await part();
      } finally {
        await life.end();
      }
    }
  } finally {
    await world.stop();
  }
}

const isTold = (namespace: string): Promise<void> =>
  until(
    "status says that people were told of the end",
    async () => (await notified(namespace))?.includes("webhook/Failed:none") ?? false,
    60,
  );

test("of its beginning and its end, once, and a second life tells nothing again", { timeout: 180_000 }, async () => {
  const [namespace, later] = ["told", "later"];
  await lives(namespace, () => isTold(namespace));
  expect(heard(namespace)).toEqual(["Opened", "Failed"]);
  expect(await notified(namespace)).toEqual(["webhook/Opened", "webhook/Failed:none"]);

  const before = (await only(namespace))?.metadata.resourceVersion;
  // When the second life has told of another incident, it has long looked at the first.
  await lives(later, () => isTold(later));
  expect(heard(namespace)).toEqual(["Opened", "Failed"]);
  expect((await only(namespace))?.metadata.resourceVersion).toBe(before);
});

test(
  "of the end by the next life, when the receiver was silent; the incident did not wait",
  { timeout: 180_000 },
  async () => {
    const namespace = "untold";
    receiver.silence(true);
    await lives(
      namespace,
      async () => {
        await until("the investigation ends", async () => told(await only(namespace)).result !== undefined, 60);
        expect(await notified(namespace)).toBeUndefined();
      },
      async () => {
        receiver.silence(false);
        await isTold(namespace);
      },
    );
    expect(heard(namespace).at(-1)).toBe("Failed");
    expect(await notified(namespace)).toEqual(["webhook/Opened", "webhook/Failed:none"]);
  },
);
