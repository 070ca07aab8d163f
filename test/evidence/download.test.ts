/** The way out for packs: what is asked of whom before a byte leaves, and that nobody can keep the operator busy with it. The API server's part is a table here. */
import { afterEach, expect, test } from "vitest";
import { createDownload, type DownloadOptions } from "../../src/evidence/download.ts";
import { call, COLLECTION, type Door, lines, manifestOf, openDoor, put } from "./door.ts";

const TOKEN = "header.media.signature";
const PATH = `/v1/packs/${COLLECTION}`;
let door: Door | undefined;
afterEach(() => door?.stop());

/** A door with a finished pack, and how often the API server was asked. */
async function open(over: Partial<DownloadOptions> = {}, ended = true): Promise<{ door: Door; reviews: string[] }> {
  const reviews: string[] = [];
  let store: Door["store"] | undefined;
  const made = await openDoor({
    server: {
      download: createDownload({
        store: { describe: (id) => store?.describe(id) },
        reviewToken: async (token, audiences) => {
          reviews.push(`${token} ${audiences.join()}`);
          const user = { username: `system:serviceaccount:${token.split(".")[1] ?? ""}:default` };
          return { authenticated: true, audiences, user };
        },
        namespaceOf: (id) => (id === COLLECTION ? "media" : undefined),
        log: { info: () => undefined, warn: () => undefined, error: () => undefined },
        ...over,
      }),
    },
  });
  door = made;
  store = made.store;
  const bytes = lines(2);
  await put(made, { kind: "readings", bytes, headers: { "X-Oomscope-Lines": "2" } });
  if (ended) await put(made, { kind: "manifest", bytes: manifestOf([{ kind: "readings", index: 0, bytes }]) });
  return { door: made, reviews };
}

const fetchPack = (to: Door, token: string | undefined, path = PATH, method = "GET") =>
  call(to, { path, method, headers: token === undefined ? {} : { "x-oomscope-token": token } });

test.each([
  ["no token", undefined],
  ["what has not the form of one", "Bearer x"],
  ["a very long one", `a.${"b".repeat(9000)}.c`],
])("%s is refused without asking the API server", async (_title, token) => {
  const { door: to, reviews } = await open();
  expect((await fetchPack(to, token)).status).toBe(401);
  expect(reviews).toEqual([]);
});

test.each<[string, Partial<DownloadOptions>]>([
  ["nobody's", { reviewToken: async () => ({ authenticated: false }) }],
  [
    "one for another audience",
    {
      reviewToken: async () => ({
        authenticated: true,
        audiences: ["oomscope-evidence"],
        user: { username: "system:serviceaccount:media:default" },
      }),
    },
  ],
  [
    "a person's",
    {
      reviewToken: async (_token, audiences) => ({
        authenticated: true,
        audiences,
        user: { username: "media:default" },
      }),
    },
  ],
])("a token that is %s is refused", async (_title, over) => {
  const { door: to } = await open(over);
  expect((await fetchPack(to, TOKEN)).status).toBe(401);
});

test("the token is asked about for this purpose alone", async () => {
  const { door: to, reviews } = await open();
  await fetchPack(to, "header.shop.signature");
  expect(reviews).toEqual(["header.shop.signature oomscope-evidence-read"]);
});

test("to one of another namespace a pack that is there and one that is not look the same", async () => {
  const { door: to } = await open();
  const [there, not, odd] = await Promise.all([
    fetchPack(to, "header.shop.signature"),
    fetchPack(to, "header.shop.signature", "/v1/packs/none").catch(() => undefined),
    fetchPack(to, TOKEN, "/v1/packs/../collections"),
  ]);
  expect([there.status, there.body]).toEqual([403, not?.body]);
  expect(odd.status).toBe(403);
});

test("only finished packs, and only to fetch", async () => {
  const { door: to } = await open({}, false);
  expect(await fetchPack(to, TOKEN)).toMatchObject({ status: 409, body: { reason: "NotFinished" } });
  expect((await fetchPack(to, TOKEN, PATH, "DELETE")).status).toBe(405);
});

test("a pack that the store has not is not found, and an API server that does not answer is told as that", async () => {
  const first = await open({ namespaceOf: () => "media" });
  expect((await fetchPack(first.door, TOKEN, "/v1/packs/gone")).status).toBe(404);
  await first.door.stop();
  const second = await open({ reviewToken: () => Promise.reject(new Error("no answer")) });
  expect((await fetchPack(second.door, TOKEN)).status).toBe(503);
});

test("no more than two at once, and others after them", async () => {
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  const { door: to, reviews } = await open({
    reviewToken: async () => {
      reviews.push("asked");
      await gate;
      return { authenticated: false };
    },
  });
  const two = [fetchPack(to, TOKEN), fetchPack(to, TOKEN)];
  while (reviews.length < 2) await new Promise((resolve) => setImmediate(resolve));
  expect(await fetchPack(to, TOKEN)).toMatchObject({ status: 503, body: { reason: "Busy" } });
  letGo();
  expect((await Promise.all(two)).map(({ status }) => status)).toEqual([401, 401]);
  expect((await fetchPack(to, TOKEN)).status).toBe(401);
});
