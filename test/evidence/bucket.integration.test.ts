/** Finished packs in a real S3 server: what gets there, what does not, and what people are told. */
import { appendFile, mkdir, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Writable } from "node:stream";
import { promisify } from "node:util";
import { pino } from "pino";
import { parseAllDocuments } from "yaml";
import { partFileName } from "../../src/api/collection.ts";
import { bucketUploads } from "../../src/controller/bucket.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { createS3Client, type S3Client, type S3Options } from "../../src/evidence/s3client.ts";
import { readS3Credentials } from "../../src/evidence/s3files.ts";
import { createDirectoryStore, type EvidenceStore } from "../../src/evidence/store.ts";
import { readUploadState } from "../../src/evidence/uploadpack.ts";
import { createPackUploads, type PackUploads, type PackUploadsOptions } from "../../src/evidence/uploads.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { readSettings } from "../../src/settings.ts";
import { kubectlPath } from "../support/apiserver.ts";
import { COLLECTION, manifestOf, POD_A, sha256, temporaryFolder } from "./door.ts";
import {
  ACCESS_KEY,
  BUCKET,
  type Fault,
  type S3Proxy,
  type S3Server,
  SECRET_KEY,
  startS3Proxy,
  startS3Server,
} from "./s3server.ts";

// Packs of many megabytes, sealed and unsealed, on a machine that does other things as well.
vi.setConfig({ testTimeout: 180_000 });

let server: S3Server;
let proxy: S3Proxy;
let root: string;
let store: EvidenceStore;
let logged: string[];
let changed: string[];
let clients: S3Client[];

beforeAll(async () => {
  server = await startS3Server();
  proxy = await startS3Proxy(server);
});
afterAll(async () => {
  await proxy.stop();
  await server.stop();
});
beforeEach(async () => {
  root = await temporaryFolder();
  store = await createDirectoryStore(join(root, "store"), { clock: systemClock, maxBytes: 2 ** 30 });
  await mkdir(join(root, "secret"));
  await writeFile(join(root, "secret", "accessKeyId"), `${ACCESS_KEY}\n`);
  await writeFile(join(root, "secret", "secretAccessKey"), SECRET_KEY);
  logged = [];
  changed = [];
  clients = [];
  proxy.seen.length = 0;
  proxy.fault = () => undefined;
});
afterEach(async () => {
  for (const client of clients) client.close();
  await rm(root, { recursive: true, force: true });
  for (const name of await readdir(server.objects)) {
    if (!name.startsWith(".")) await rm(join(server.objects, name), { recursive: true });
  }
  // Whatever happened, nobody was shown the key.
  expect(logged.join("\n")).not.toContain("canary");
});

/** Straight to the server over TLS, unless told to take the proxy. */
function client(
  over: Partial<S3Options["bucket"]> & { readonly limits?: S3Options["limits"] } = {},
  signal?: AbortSignal,
): S3Client {
  const { limits, ...bucket } = over;
  const made = createS3Client({
    bucket: {
      endpoint: server.endpoint,
      bucket: BUCKET,
      region: "us-east-1",
      pathStyle: true,
      ca: server.ca,
      ...bucket,
    },
    credentials: () => readS3Credentials(join(root, "secret")),
    clock: systemClock,
    random: systemRandom,
    limits: { backoffMs: 5, maxBackoffMs: 20, ...limits },
    ...(signal === undefined ? {} : { signal }),
  });
  clients.push(made);
  return made;
}

function uploads(with_: S3Client, over: Partial<PackUploadsOptions> = {}): PackUploads {
  const write = (fields: object, message: string): void => {
    const err = "err" in fields && fields.err instanceof Error ? fields.err.stack : undefined;
    logged.push(JSON.stringify({ ...fields, err, message }));
  };
  return createPackUploads({
    client: with_,
    store,
    bucket: BUCKET,
    prefix: "cluster-a/",
    retentionMs: 86_400_000,
    maxBytes: 2 ** 30,
    inUse: () => false,
    onChange: (collection) => changed.push(collection),
    signal: new AbortController().signal,
    clock: systemClock,
    // No waiting between two attempts at a pack.
    random: { ...systemRandom, next: () => 0 },
    log: { info: write, warn: write },
    ...over,
  });
}

/** A finished collection, received as a collector sends it. */
async function finished(
  collection = COLLECTION,
  readings: readonly Uint8Array[] = [Buffer.from("{}\n")],
): Promise<string> {
  const parts = readings.map((bytes, index) => ({ kind: "readings" as const, index, bytes }));
  for (const part of parts) await receive(collection, part);
  await receive(collection, { kind: "manifest", index: 0, bytes: manifestOf(parts, { collection }) });
  return store.describe(collection)?.directory ?? "";
}

async function receive(
  collection: string,
  { bytes, ...part }: { kind: "readings" | "manifest"; index: number; bytes: Uint8Array },
): Promise<void> {
  const chunk = { start: 0, bytes, totalBytes: bytes.length, sha256: sha256(bytes) };
  const receipt = await store.receive(collection, POD_A, part, chunk);
  expect(receipt).toEqual({ outcome: "Complete" });
}

/** Parts that no compressor makes smaller: an archive of three pieces. */
function large(): Buffer[] {
  return [randomBytes(7 * 2 ** 20), randomBytes(5 * 2 ** 20)];
}

async function objects(prefix = "cluster-a/"): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of client().list(prefix)) keys.push(key);
  return keys;
}

/** How many pieces were sent through the proxy. */
const piecesSent = (): number => proxy.seen.filter((line) => line.includes("partNumber=")).length;

describe("a finished pack", () => {
  it("gets into the bucket as one archive that opens, and its place is known", async () => {
    const directory = await finished();
    const made = uploads(client());
    await made.pass();
    const pack = made.stored(COLLECTION);
    const [key = "none"] = await objects();
    expect(pack?.location).toBe(`s3://${BUCKET}/${key}`);
    expect(key).toBe(`cluster-a/${COLLECTION}/${pack?.sha256}.tar.zst`);
    const bytes = await readFile(join(server.objects, key));
    expect(sha256(bytes)).toBe(pack?.sha256);
    expect(bytes.length).toBe(pack?.bytes);
    expect(Date.parse(pack?.expires ?? "") - Date.now()).toBeGreaterThan(86_000_000);
    await writeFile(join(root, "copy.tar.zst"), bytes);
    expect(await (await openPack(join(root, "copy.tar.zst"))).verify()).toEqual({ ok: true, problems: [] });
    expect(changed).toEqual([COLLECTION]);
    expect((await openPack(directory)).problems).toEqual([]);
  });

  it("is not sent twice, not even by a process that knows nothing of the first time", async () => {
    const directory = await finished();
    await uploads(client()).pass();
    await rm(join(directory, "upload.json"));
    const second = uploads(client({ endpoint: proxy.endpoint }));
    await second.pass();
    await second.pass();
    expect(proxy.seen.map((line) => line.split(" ")[0])).toEqual(["HEAD"]);
    expect(second.stored(COLLECTION)?.location).toContain("s3://");
    // And one that finds a note of that does not even ask.
    const third = uploads(client({ endpoint: proxy.endpoint }));
    await third.pass();
    expect(proxy.seen).toHaveLength(1);
    expect(third.stored(COLLECTION)).toEqual(second.stored(COLLECTION));
  });

  it("is not taken to be in a bucket because it is in another", async () => {
    await finished();
    await uploads(client()).pass();
    const elsewhere = uploads(client({ bucket: "not-there" }));
    await elsewhere.pass();
    expect(elsewhere.stored(COLLECTION)).toBeUndefined();
    expect(elsewhere.problem(COLLECTION)).toContain("There is no bucket not-there");
  });

  it("is sent only when nothing more may come, and again when the operator adds to it", async () => {
    await receive(COLLECTION, { kind: "readings", index: 0, bytes: Buffer.from("{}\n") });
    const made = uploads(client());
    await made.pass();
    expect(await objects()).toEqual([]);
    await store.end(COLLECTION);
    await made.pass();
    const first = await objects();
    expect(first).toHaveLength(1);
    await store.writeContext(COLLECTION, Buffer.from("{}"));
    await made.pass();
    const second = await objects();
    expect(second).toHaveLength(1);
    expect(second).not.toEqual(first);
    expect(made.stored(COLLECTION)?.location).toBe(`s3://${BUCKET}/${second[0]}`);
  });

  it("of many megabytes goes in pieces", async () => {
    await finished(COLLECTION, large());
    const made = uploads(client());
    await made.pass();
    expect(made.problem(COLLECTION)).toBeUndefined();
    const [key = "none"] = await objects();
    expect(sha256(await readFile(join(server.objects, key)))).toBe(made.stored(COLLECTION)?.sha256);
  });

  it("is never held in memory, however large", async () => {
    const size = 12 * 2 ** 20;
    const noise = randomBytes(size);
    await mkdir(join(root, "big"));
    // Each a little different, so that the pack cannot be folded into one of them.
    for (let index = 0; index < 6; index++) {
      noise[index * 1000] = 0;
      await writeFile(join(root, "big", partFileName("readings", index)), noise);
    }
    await writeFile(join(root, "ca.crt"), server.ca);
    const child = join(import.meta.dirname, "upload.child.ts");
    const args = ["--max-old-space-size=160", "--max-semi-space-size=2", child, server.endpoint, BUCKET];
    const said = await promisify(execFile)(process.execPath, [
      ...args,
      join(root, "ca.crt"),
      join(root, "secret"),
      join(root, "big"),
    ]);
    const { bytes, grew } = JSON.parse(said.stdout) as { bytes: number; grew: number };
    expect(bytes).toBeGreaterThan(6 * size);
    // About 45 MiB are seen, also for the largest pack: one piece, the compressor, sockets, and what the collector has not taken away yet.
    expect(grew).toBeLessThan(64 * 2 ** 20);
  });
});

describe("an upload that is interrupted", () => {
  it("goes on where it was when the server died in the middle", async () => {
    await finished(COLLECTION, large());
    let killed = 0;
    proxy.fault = (line): Fault | undefined => {
      if (!line.includes("partNumber=2") || killed++ > 0) return undefined;
      return { before: () => server.kill(), hangUp: false };
    };
    const attempts: (string | undefined)[] = [];
    const onAttempt = (_: string, problem: string | undefined): void => void attempts.push(problem);
    const made = uploads(client({ endpoint: proxy.endpoint, limits: { attempts: 2 } }), { onAttempt });
    await made.pass();
    expect(made.problem(COLLECTION)).toMatch(/^The S3 server at http:\S+ cannot be reached \(\w+\)$/);
    expect(attempts).toEqual([made.problem(COLLECTION)]);
    expect(logged.join()).toContain("Could not upload a pack, will try again");
    await server.start();
    await made.pass();
    expect(made.problem(COLLECTION)).toBeUndefined();
    expect(attempts).toHaveLength(2);
    expect(attempts[1]).toBeUndefined();
    expect(proxy.seen.filter((line) => line.includes("partNumber=1"))).toHaveLength(1);
    expect(proxy.seen.filter((line) => line.includes("?uploads="))).toHaveLength(1);
    const [key = "none"] = await objects();
    expect(sha256(await readFile(join(server.objects, key)))).toBe(made.stored(COLLECTION)?.sha256);
    expect(changed).toEqual([COLLECTION, COLLECTION]);
  });

  it("is taken up by the next process, piece by piece", async () => {
    const directory = await finished(COLLECTION, large());
    proxy.fault = (line) => (line.includes("partNumber=3") ? { hangUp: true } : undefined);
    const broken = client({ endpoint: proxy.endpoint, limits: { attempts: 1 } });
    await uploads(broken).pass();
    expect((await readUploadState(directory, broken))?.unfinished?.etags).toHaveLength(2);
    store = await createDirectoryStore(join(root, "store"), { clock: systemClock, maxBytes: 2 ** 30 });
    proxy.fault = () => undefined;
    proxy.seen.length = 0;
    const next = uploads(client({ endpoint: proxy.endpoint }));
    await next.pass();
    expect(next.problem(COLLECTION)).toBeUndefined();
    expect(piecesSent()).toBe(1);
    expect(next.stored(COLLECTION)?.location).toContain("s3://");
  });

  it("is not sent again when only the answers are lost, each of them once", async () => {
    await finished(COLLECTION, large());
    const met = new Set<string>();
    proxy.fault = (line) => {
      if (met.has(line)) return undefined;
      met.add(line);
      return { loseAnswer: true };
    };
    const made = uploads(client({ endpoint: proxy.endpoint }));
    await made.pass();
    expect(made.problem(COLLECTION)).toBeUndefined();
    // Each piece and its repetition, and nothing more: the upload that was finished is not begun again.
    expect(piecesSent()).toBe(6);
    const [key = "none"] = await objects();
    expect(sha256(await readFile(join(server.objects, key)))).toBe(made.stored(COLLECTION)?.sha256);
  });

  it("ends at once when the process is to end, and nothing is held against the pack", async () => {
    await finished(COLLECTION, large());
    const stop = new AbortController();
    proxy.fault = (line) =>
      line.includes("partNumber=2") ? { before: async () => stop.abort(new Error("SIGTERM")) } : undefined;
    const made = uploads(client({ endpoint: proxy.endpoint }, stop.signal), { signal: stop.signal });
    await made.pass();
    expect(made.problem(COLLECTION)).toBeUndefined();
    expect(made.stored(COLLECTION)).toBeUndefined();
    expect(logged).toEqual([]);
  });

  it("begins again when the server has forgotten what it had", async () => {
    const directory = await finished(COLLECTION, large());
    proxy.fault = (line) => (line.includes("partNumber=3") ? { hangUp: true } : undefined);
    const broken = client({ endpoint: proxy.endpoint, limits: { attempts: 1 } });
    await uploads(broken).pass();
    const state = await readUploadState(directory, broken);
    await client().abort(state?.key ?? "", state?.unfinished?.id ?? "");
    proxy.fault = () => undefined;
    proxy.seen.length = 0;
    const next = uploads(client({ endpoint: proxy.endpoint }));
    await next.pass();
    expect(next.problem(COLLECTION)).toBeUndefined();
    expect(piecesSent()).toBe(4);
    expect(await objects()).toHaveLength(1);
  });
});

describe("what people are told when it cannot get there", () => {
  async function problemWith(made: PackUploads): Promise<string | undefined> {
    await finished();
    await made.pass();
    expect(made.stored(COLLECTION)).toBeUndefined();
    expect(await readdir(store.describe(COLLECTION)?.directory ?? "")).toContain("manifest.json");
    return made.problem(COLLECTION);
  }

  it("there is no such bucket", async () => {
    const made = uploads(client({ bucket: "not-there" }));
    expect(await problemWith(made)).toBe(
      `There is no bucket not-there at ${server.endpoint}; make it, or correct OOMSCOPE_EVIDENCE_S3_BUCKET`,
    );
  });

  it("the credentials are wrong", async () => {
    await writeFile(join(root, "secret", "secretAccessKey"), "canary-of-another-bucket");
    const made = uploads(client());
    expect(await problemWith(made)).toMatch(/does not accept the credentials|The credentials may not/);
    // The Secret is corrected, and the next pass sees it without a restart.
    await writeFile(join(root, "secret", "secretAccessKey"), SECRET_KEY);
    await made.pass();
    expect(made.stored(COLLECTION)?.location).toContain("s3://");
  });

  it("the Secret has no key, or one that is no text", async () => {
    await rm(join(root, "secret", "secretAccessKey"));
    const made = uploads(client());
    expect(await problemWith(made)).toBe(
      `There is no file secretAccessKey in ${join(root, "secret")}; give the Secret a key of that name`,
    );
    await appendFile(join(root, "secret", "secretAccessKey"), "canary\nHost: elsewhere");
    await made.pass();
    expect(made.problem(COLLECTION)).toContain("is empty or not one line of plain text");
  });

  it("the server's certificate is of nobody known", async () => {
    const options = { endpoint: server.endpoint, bucket: BUCKET, region: "us-east-1", pathStyle: true };
    const untrusting = createS3Client({
      bucket: options,
      credentials: () => readS3Credentials(join(root, "secret")),
      clock: systemClock,
      random: systemRandom,
    });
    clients.push(untrusting);
    expect(await problemWith(uploads(untrusting))).toMatch(
      /^The certificate of https:\S+ is not trusted \([A-Z_]+\); give the authority that signed it with OOMSCOPE_EVIDENCE_S3_CA$/,
    );
  });

  it("it may not write there", async () => {
    const body = "<Error><Code>AccessDenied</Code><Message>canary \u001b[2J</Message></Error>";
    proxy.fault = (line) => (line.startsWith("PUT") ? { answer: { status: 403, body } } : undefined);
    expect(await problemWith(uploads(client({ endpoint: proxy.endpoint })))).toBe(
      "The credentials may not write in bucket evidence (403 AccessDenied); grant s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket",
    );
    expect(proxy.seen.filter((line) => line.startsWith("PUT"))).toHaveLength(1);
  });

  it("the server fails, and goes on failing", async () => {
    proxy.fault = () => ({ answer: { status: 500, body: "<html>canary" } });
    expect(await problemWith(uploads(client({ endpoint: proxy.endpoint })))).toMatch(
      /^The S3 server at http:\S+ failed \(500\)$/,
    );
    expect(proxy.seen).toHaveLength(5);
  });

  it("the server answers too slowly", async () => {
    proxy.fault = () => ({ waitMs: 400 });
    const slow = client({ endpoint: proxy.endpoint, limits: { idleMs: 60_000, timeoutMs: 100, attempts: 2 } });
    expect(await problemWith(uploads(slow))).toMatch(/answers too slowly$/);
    const silent = client({ endpoint: proxy.endpoint, limits: { idleMs: 100, attempts: 1 } });
    const again = uploads(silent);
    await again.pass();
    expect(again.problem(COLLECTION)).toMatch(/answers too slowly$/);
  });

  it("the bytes do not arrive as they were sent", async () => {
    proxy.fault = (line) => (line.startsWith("PUT") ? { spoil: true } : undefined);
    expect(await problemWith(uploads(client({ endpoint: proxy.endpoint })))).toMatch(/^Bytes were changed on the way/);
    expect(await objects()).toEqual([]);
  });
});

describe("faults that pass", () => {
  it("of every kind, at every request, cost a repetition and nothing else", async () => {
    const faults: readonly Fault[] = [
      { answer: { status: 503, body: "<Error><Code>SlowDown</Code></Error>" } },
      { answer: { status: 500 } },
      { hangUp: true },
      { spoil: true },
    ];
    await finished(COLLECTION, large());
    let turn = 0;
    const met = new Set<string>();
    // Each request meets one fault the first time it is made.
    proxy.fault = (line) => {
      if (met.has(line)) return undefined;
      met.add(line);
      return faults[turn++ % faults.length];
    };
    const made = uploads(client({ endpoint: proxy.endpoint }));
    await made.pass();
    expect(made.problem(COLLECTION)).toBeUndefined();
    expect(turn).toBeGreaterThan(5);
    const [key = "none"] = await objects();
    expect(sha256(await readFile(join(server.objects, key)))).toBe(made.stored(COLLECTION)?.sha256);
  });

  it("are not believed: a server without checksums is read back, and wrong bytes are deleted", async () => {
    await finished();
    let after = false;
    proxy.fault = (line) => {
      if (line.startsWith("HEAD")) return { withoutHeaders: ["x-amz-checksum-sha256"] };
      if (!line.startsWith("GET") || after) return undefined;
      after = true;
      // The disk of the server loses a bit between the upload and the check.
      return {
        before: async () => {
          const [key = ""] = await objects();
          const path = join(server.objects, key);
          const bytes = await readFile(path);
          bytes[100] = (bytes[100] ?? 0) ^ 1;
          await writeFile(path, bytes);
        },
      };
    };
    const made = uploads(client({ endpoint: proxy.endpoint }));
    await made.pass();
    expect(made.problem(COLLECTION)).toContain("What the bucket gives back is not what was sent; it was deleted");
    expect(await objects()).toEqual([]);
    await made.pass();
    expect(made.stored(COLLECTION)?.location).toContain("s3://");
  });
});

describe("the settings", () => {
  const environment = (): Record<string, string> => ({
    OOMSCOPE_NAMESPACE: "oomscope-system",
    OOMSCOPE_POD_NAME: "operator",
    OOMSCOPE_COLLECTOR_IMAGE: "collector",
    OOMSCOPE_EVIDENCE_S3_BUCKET: BUCKET,
    OOMSCOPE_EVIDENCE_S3_ENDPOINT: server.endpoint,
    OOMSCOPE_EVIDENCE_S3_PATH_STYLE: "true",
    OOMSCOPE_EVIDENCE_S3_CA: join(root, "ca.crt"),
    OOMSCOPE_EVIDENCE_S3_CREDENTIALS: join(root, "secret"),
  });

  it("lead from the environment to a pack in the bucket", async () => {
    await writeFile(join(root, "ca.crt"), server.ca);
    await finished();
    const settings = readSettings(environment()).evidence.s3;
    const write = new Writable({
      write: (line, _encoding, done) => {
        logged.push(String(line));
        done();
      },
    });
    const made = await bucketUploads({
      settings,
      store,
      inUse: () => false,
      onChange: (collection) => changed.push(collection),
      clock: systemClock,
      random: systemRandom,
      log: pino(write),
      signal: new AbortController().signal,
    });
    await made?.pass();
    expect(made?.stored(COLLECTION)?.location).toMatch(
      new RegExp(`^s3://${BUCKET}/${COLLECTION}/[0-9a-f]{64}\\.tar\\.zst$`),
    );
    expect(logged.join()).toContain("Uploaded a pack");
    expect(await made?.sweep()).toBe(0);
  });

  it("that name no CA file end the start with the file's name", async () => {
    const settings = readSettings(environment()).evidence.s3;
    const options = { settings, store, inUse: () => false, onChange: () => undefined, log: pino({ level: "silent" }) };
    const seams = { clock: systemClock, random: systemRandom, signal: new AbortController().signal };
    await expect(bucketUploads({ ...options, ...seams })).rejects.toThrow("ca.crt");
  });
});

it("the overlay sets what the settings know, and mounts the Secret where they look for it", () => {
  const folder = join(import.meta.dirname, "..", "..", "config", "overlays", "s3");
  const text = execFileSync(kubectlPath() ?? "kubectl", ["kustomize", folder], { encoding: "utf8" });
  const documents = parseAllDocuments(text).map((document) => document.toJS() as { kind: string; spec: unknown });
  const deployment = documents.find(({ kind }) => kind === "Deployment")?.spec as {
    template: {
      spec: {
        containers: { env: { name: string; value?: string }[]; volumeMounts: { name: string; mountPath: string }[] }[];
        volumes: { name: string; secret?: { secretName: string } }[];
      };
    };
  };
  const [operator] = deployment.template.spec.containers;
  const environment = Object.fromEntries(operator?.env.map(({ name, value }) => [name, value ?? "from a field"]) ?? []);
  const known = readSettings(environment).evidence.s3;
  expect(known).toMatchObject({ bucket: "oomscope-evidence", prefix: "my-cluster/", pathStyle: true });
  const mounted = operator?.volumeMounts.find(({ mountPath }) => mountPath === known?.credentials);
  const volume = deployment.template.spec.volumes.find(({ name }) => name === mounted?.name);
  expect(volume?.secret?.secretName).toBe("oomscope-evidence-s3");
  // Each name must be one that is read: a typing error would be taken for a default.
  const read = readFileSync(join(import.meta.dirname, "..", "..", "src", "settings.ts"), "utf8");
  for (const name of Object.keys(environment)) expect(read).toContain(`  ${name}: `);
});

describe("the bucket", () => {
  it("is swept: what is too old and what is too much goes, oldest first, but never what is needed or not ours", async () => {
    // The first by name is the newest.
    const age = { "oomc-1": 10, "oomc-2": 20, "oomc-3": 30 };
    let size = 0;
    for (const [name, seconds] of Object.entries(age)) {
      await finished(name);
      const made = uploads(client());
      await made.pass();
      size = made.stored(name)?.bytes ?? 0;
      const then = Date.now() / 1000 - seconds;
      await utimes(join(server.objects, made.stored(name)?.location.slice(`s3://${BUCKET}/`.length) ?? ""), then, then);
    }
    await client().put("cluster-a/notes.txt", Buffer.from("of a person"));
    await client().put("cluster-b/oomc-1/x.tar.zst", Buffer.from("of another cluster"));
    expect(await uploads(client()).sweep()).toBe(0);
    const inUse = (name: string): boolean => name === "oomc-3";
    expect(await uploads(client(), { maxBytes: 2.5 * size, inUse }).sweep()).toBe(1);
    expect((await objects()).map((key) => key.split("/")[1])).toEqual(["notes.txt", "oomc-1", "oomc-3"]);
    expect(await uploads(client(), { retentionMs: 20_000 }).sweep()).toBe(1);
    expect((await objects()).map((key) => key.split("/")[1])).toEqual(["notes.txt", "oomc-1"]);
    expect(await uploads(client(), { retentionMs: 1 }).sweep()).toBe(1);
    expect(await objects("")).toEqual(["cluster-a/notes.txt", "cluster-b/oomc-1/x.tar.zst"]);
  });

  it("is a cache's backing: the packs that lie there are evicted first", async () => {
    const bytes = randomBytes(100_000);
    let made: PackUploads | undefined;
    store = await createDirectoryStore(join(root, "small"), {
      clock: systemClock,
      maxBytes: 350_000,
      elsewhere: (collection) => made?.stored(collection) !== undefined,
    });
    await finished("oomc-1", [bytes]);
    made = uploads(client({ endpoint: proxy.endpoint }));
    proxy.fault = () => ({ answer: { status: 500 } });
    await made.pass();
    proxy.fault = () => undefined;
    await finished("oomc-2", [bytes]);
    proxy.fault = (line) => (line.includes("oomc-1") ? { answer: { status: 500 } } : undefined);
    await made.pass();
    expect(made.stored("oomc-2")).toBeDefined();
    await finished("oomc-3", [bytes]);
    await finished("oomc-4", [bytes]);
    expect(store.list().map(({ collection }) => collection)).toEqual(["oomc-1", "oomc-3", "oomc-4"]);
    expect(await readdir(join(root, "small", "collections", "oomc-1"))).toContain(partFileName("readings", 0));
  });
});
