/** Uploads over a network and to an operator that misbehave. The evidence server is the real one; in one test a server of ours answers in its place. */
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import type { Sink } from "../../src/collector/collect.ts";
import { createUploader, type UploadOptions } from "../../src/collector/upload.ts";
import { createAuthority, issueServerCertificate } from "../../src/evidence/tls.ts";
import { type Clock, systemClock, systemRandom } from "../../src/seams.ts";
import { COLLECTION, type Door, openDoor, temporaryFolder, TOKEN_A } from "../evidence/door.ts";

const MIB = 2 ** 20;
const READINGS = { kind: "readings", index: 0 } as const;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function door(...options: Parameters<typeof openDoor>): Promise<Door> {
  const opened = await openDoor(...options);
  closing.push(() => opened.stop());
  return opened;
}

interface Made {
  readonly sink: Sink;
  readonly tokenFile: string;
}

async function uploader(at: Pick<Door, "port" | "caCert">, changes: Partial<UploadOptions> = {}): Promise<Made> {
  const folder = await temporaryFolder();
  closing.push(() => rm(folder, { recursive: true, force: true }));
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, `${TOKEN_A}\n`);
  const sink = createUploader({
    url: `https://127.0.0.1:${at.port}`,
    serverName: "oomscope-evidence.oomscope-system.svc",
    ca: at.caCert,
    tokenFile,
    collection: COLLECTION,
    patienceMs: 20_000,
    clock: systemClock,
    random: { ...systemRandom, next: () => 0.1 },
    log: pino({ level: "silent" }),
    ...changes,
  });
  return { sink, tokenFile };
}

/** When a connection is reset: after this many bytes to the server, or at a byte from it while `answer` is true. */
interface Cut {
  readonly up?: number;
  readonly answer?: () => boolean;
}

/** Carries bytes to the server. The nth connection is cut as `cuts[n]` says; those after the last are not. */
async function cuttingProxy(
  target: number,
  cuts: readonly Cut[],
): Promise<{ readonly port: number; up(): number; cut(): number }> {
  let count = 0;
  let up = 0;
  let broken = 0;
  const proxy = createServer((client) => {
    const { up: maxUp = Infinity, answer = () => false } = cuts[count++] ?? {};
    const server = connect(target, "127.0.0.1");
    let sent = 0;
    const cut = (): void => {
      broken += 1;
      client.resetAndDestroy();
      server.resetAndDestroy();
    };
    client.on("data", (bytes) => {
      const rest = bytes.subarray(0, Math.max(0, maxUp - sent));
      sent += bytes.length;
      up += bytes.length;
      server.write(rest, () => (sent > maxUp ? cut() : undefined));
    });
    server.on("data", (bytes) => {
      if (answer()) cut();
      else client.write(bytes);
    });
    for (const [a, b] of [
      [client, server],
      [server, client],
    ] as const) {
      a.on("error", () => b.destroy());
      a.on("close", () => b.destroy());
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  closing.push(() => new Promise((resolve) => proxy.close(resolve)));
  return { port: (proxy.address() as AddressInfo).port, up: () => up, cut: () => broken };
}

/** Goes by at once, and keeps what it was asked for. */
function hurriedClock(slept: number[]): Clock {
  let ahead = 0;
  return {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + ahead,
    sleep: async (ms) => {
      slept.push(ms);
      ahead += ms;
      await systemClock.sleep(0);
    },
  };
}

test("a connection that is cut in the middle of a chunk: the upload goes on after what has arrived", async () => {
  const at = await door();
  const proxy = await cuttingProxy(at.port, [{}, { up: MIB / 2 }]);
  const { sink } = await uploader({ ...at, port: proxy.port });
  const bytes = randomBytes(3 * MIB);
  await sink.put("readings", 0, bytes, 1);
  await sink.settled();
  expect(sink.lost()).toEqual([]);
  expect(await at.store.progress(COLLECTION, READINGS)).toMatchObject({ complete: true, received: bytes.length });
  expect(proxy.cut()).toBe(1);
  // The first chunk went over the wire once.
  expect(proxy.up()).toBeLessThan(3.9 * MIB);
  expect(proxy.up()).toBeGreaterThan(3 * MIB);
});

test("the answer to the last chunk is lost: the part is not sent again", async () => {
  const at = await door();
  const proxy = await cuttingProxy(at.port, [
    {},
    { answer: () => at.logged.some((line) => line.includes("Stored part")) },
  ]);
  const { sink } = await uploader({ ...at, port: proxy.port });
  const bytes = randomBytes(2 * MIB);
  await sink.put("readings", 0, bytes, 1);
  await sink.settled();
  expect(sink.lost()).toEqual([]);
  expect(await at.store.progress(COLLECTION, READINGS)).toMatchObject({ complete: true });
  expect(proxy.cut()).toBe(1);
  expect(proxy.up()).toBeLessThan(2.2 * MIB);
});

test("an operator that does not serve is asked again when it said, not earlier", async () => {
  let serving = false;
  const at = await door({ server: { serving: () => serving } });
  const slept: number[] = [];
  const clock = hurriedClock(slept);
  const sleep = clock.sleep.bind(clock);
  const turn = { ...clock, sleep: async (ms: number) => ((serving = slept.length >= 2), sleep(ms)) };
  const { sink } = await uploader(at, { clock: turn, patienceMs: 60_000 });
  await sink.put("host", 0, new TextEncoder().encode("{}"));
  await sink.settled();
  // A replica that is not the leader says two seconds.
  expect(slept).toEqual([2000, 2000, 2000]);
  expect(await at.store.progress(COLLECTION, { kind: "host", index: 0 })).toMatchObject({ complete: true });
});

test("patience ends when it ends, also when the operator asks for much more", async () => {
  const identity = issueServerCertificate(
    createAuthority(systemClock, systemRandom),
    ["oomscope-evidence.oomscope-system.svc"],
    ["127.0.0.1"],
    systemClock,
    systemRandom,
  );
  const server = createHttpsServer(identity, (_request, response) =>
    response.writeHead(503, { "retry-after": "9000", connection: "close" }).end('{"reason":"NotServing"}'),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  const slept: number[] = [];
  const { sink } = await uploader(
    { port: (server.address() as AddressInfo).port, caCert: identity.caCert },
    { clock: hurriedClock(slept), patienceMs: 60_000 },
  );
  await sink.put("host", 0, new TextEncoder().encode("{}"));
  await expect(sink.settled()).rejects.toThrow("503 NotServing");
  const total = slept.reduce((sum, ms) => sum + ms, 0);
  expect(total).toBeGreaterThan(59_000);
  expect(total).toBeLessThan(62_000);
});

test("a token that the kubelet has renewed is used", async () => {
  const at = await door();
  const { sink, tokenFile } = await uploader(at);
  await writeFile(tokenFile, "header.nobody.signature");
  await sink.put("host", 0, new TextEncoder().encode("{}"));
  await systemClock.sleep(200);
  expect(at.store.describe(COLLECTION)?.parts ?? []).toEqual([]);
  await writeFile(tokenFile, TOKEN_A);
  await sink.settled();
  expect(await at.store.progress(COLLECTION, { kind: "host", index: 0 })).toMatchObject({ complete: true });
});

test("a bearer whom the operator keeps refusing gives up, in less than its patience", async () => {
  const at = await door();
  const slept: number[] = [];
  const { sink, tokenFile } = await uploader(at, { clock: hurriedClock(slept), patienceMs: 3_600_000 });
  await writeFile(tokenFile, "header.nobody.signature");
  await sink.put("host", 0, new TextEncoder().encode("{}"));
  await expect(sink.settled()).rejects.toThrow("401");
  expect(slept.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(60_000);
});

test("the part that is on its way is not dropped from a full queue, and what is left arrives", async () => {
  let serving = false;
  const at = await door({ server: { serving: () => serving } });
  const { sink } = await uploader(at);
  const parts = Array.from({ length: 20 }, (_, index) => ({ kind: "readings" as const, index }));
  for (const { kind, index } of parts) await sink.put(kind, index, randomBytes(MIB), 1);
  const lost = sink.lost().map((part) => part.index);
  expect(lost).toEqual([1, 2, 3, 4]);
  serving = true;
  await sink.settled();
  for (const part of parts) {
    const { complete } = await at.store.progress(COLLECTION, part);
    expect(complete).toBe(!lost.includes(part.index));
  }
});
