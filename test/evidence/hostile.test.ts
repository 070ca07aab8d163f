import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect as connectPlain, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { createAuthority } from "../../src/evidence/tls.ts";
import {
  COLLECTION,
  call,
  type Door,
  type DoorOptions,
  get,
  lines,
  openDoor,
  partPath,
  put,
  sha256,
  TOKEN_A,
} from "./door.ts";

// Real sockets and disks: on a busy machine they take their time.
vi.setConfig({ testTimeout: 30_000 });

let door: Door;
const sockets: Socket[] = [];
beforeEach(async () => {
  door = await openDoor();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await door.stop();
});

async function reopen(options: DoorOptions): Promise<void> {
  await door.stop();
  door = await openDoor(options);
}

async function dial(): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: door.port, ca: door.caCert });
  sockets.push(socket);
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

/** Everything the server says on this connection until it ends it. */
async function untilClosed(socket: Socket): Promise<string> {
  const pieces: Buffer[] = [];
  socket.on("data", (piece: Buffer) => pieces.push(piece));
  await once(socket, "close");
  return Buffer.concat(pieces).toString("latin1");
}

/** Sends bytes exactly as they are, which a decent client would not. */
async function raw(text: string | Uint8Array): Promise<string> {
  const socket = await dial();
  socket.write(text);
  return await untilClosed(socket);
}

const AUTHORIZED = `Host: a\r\nAuthorization: Bearer ${TOKEN_A}\r\nConnection: close\r\n`;
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(answer)?.[1] ?? "0");
const tree = async (): Promise<string[]> => (await readdir(door.root, { recursive: true })).toSorted();

describe("the name of a part", () => {
  const hostile = [
    "parts/../../../etc/passwd/0",
    "parts/..%2f..%2fetc/0",
    "parts/%2e%2e/0",
    "parts/%252e%252e%252f/0",
    "/parts/host/0",
    "parts//host/0",
    "parts/host/0/",
    "parts/host/0?x=1",
    "parts/host/0#x",
    "parts/host%00/0",
    "parts/host/00",
    "parts/host/1",
    "parts/host/-1",
    "parts/host/0x0",
    "parts/host/1e1",
    "parts/readings/1000",
    "parts/readings/999999999999999999999",
    "parts/Host/0",
    "parts/HOST/0",
    "parts/hosT/0",
    "parts/manifest.json/0",
    "parts/session/0",
    "parts/context/0",
    "parts/host\\..\\x/0",
    `parts/${"a".repeat(300)}/0`,
    "parts/h%C3%B6st/0",
    "",
  ];
  it.each(hostile)("%j is none, and leaves nothing behind", async (path) => {
    const bytes = lines(1);
    const head = `PUT /v1/collections/${COLLECTION}/${path} HTTP/1.1\r\n${AUTHORIZED}Content-Length: 3\r\nContent-Range: bytes 0-2/3\r\nX-Oomscope-Lines: 1\r\nX-Oomscope-Sha256: ${sha256(bytes)}\r\n\r\n`;
    expect([400, 404]).toContain(statusOf(await raw(`${head}${bytes.toString()}`)));
    expect(await tree()).toEqual(["collections", "removing"]);
  });

  const collections = [
    "..",
    "%2e%2e",
    "a/../b",
    COLLECTION.toUpperCase(),
    `${COLLECTION}%00`,
    "a".repeat(300),
    "",
    ".",
  ];
  it.each(collections)("of the collection %j is nobody's", async (collection) => {
    const answer = await raw(`GET /v1/collections/${collection}/parts/host/0 HTTP/1.1\r\n${AUTHORIZED}\r\n`);
    expect([400, 403]).toContain(statusOf(answer));
    expect(await tree()).toEqual(["collections", "removing"]);
  });

  it("with a NUL or a line break in it never reaches us", async () => {
    for (const path of ["parts/host\0/0", "parts/host\r\nX: y/0", "parts/host\t/0"]) {
      const answer = await raw(`GET /v1/collections/${COLLECTION}/${path} HTTP/1.1\r\n${AUTHORIZED}\r\n`);
      expect([400, 404]).toContain(statusOf(answer));
    }
  });

  it("made of anything gives no file that the contract does not know", async () => {
    const piece = fc.oneof(fc.constantFrom("..", "parts", "host", "readings", "0", "7", "%2f", "\\"), fc.webSegment());
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
        const { status } = await call(door, {
          method: "PUT",
          path: `/v1/collections/${COLLECTION}/${pieces.join("/")}`,
          headers: {
            Authorization: `Bearer ${TOKEN_A}`,
            "Content-Length": "3",
            "Content-Range": "bytes 0-2/3",
            "X-Oomscope-Sha256": sha256(lines(1)),
            "X-Oomscope-Lines": "1",
          },
          body: lines(1),
        });
        expect([200, 201, 404]).toContain(status);
      }),
      { numRuns: 60 },
    );
    const known =
      /^(?:collections|removing|collections\/[a-z0-9-]+(?:\/(?:host\.json|session\.json|readings-0{3}[07]\.ndjson))?)$/;
    for (const name of await tree()) expect(name).toMatch(known);
  });
});

describe("the headers of an upload", () => {
  const bytes = lines(100);
  const cases: [string, Record<string, string>, number][] = [
    ["no range", { "Content-Range": "" }, 416],
    ["another unit", { "Content-Range": "lines 0-299/300" }, 416],
    ["a range that ends before it starts", { "Content-Range": "bytes 299-0/300" }, 416],
    ["a range beyond the total", { "Content-Range": "bytes 1-300/300" }, 416],
    ["a range of another length than the body", { "Content-Range": "bytes 0-298/300" }, 416],
    ["an unknown total", { "Content-Range": "bytes 0-299/*" }, 416],
    ["an empty range with a body", { "Content-Range": "bytes */0" }, 416],
    ["a negative start", { "Content-Range": "bytes -1-298/300" }, 416],
    ["a number with zeros before it", { "Content-Range": "bytes 00-299/300" }, 416],
    ["a number that no double holds", { "Content-Range": "bytes 0-299/99999999999999999999" }, 416],
    ["two ranges", { "Content-Range": "bytes 0-9/300, bytes 10-299/300" }, 416],
    ["a part that is too large", { "Content-Range": "bytes 0-299/999999999999999" }, 413],
    ["no checksum", { "X-Oomscope-Sha256": "" }, 400],
    ["a checksum in capitals", { "X-Oomscope-Sha256": sha256(bytes).toUpperCase() }, 400],
    ["a path for a checksum", { "X-Oomscope-Sha256": "../../../etc/passwd" }, 400],
    ["no count of lines", { "X-Oomscope-Lines": "" }, 400],
    ["a count of lines that is none", { "X-Oomscope-Lines": "-1" }, 400],
    ["a compressed body", { "Content-Encoding": "gzip" }, 400],
  ];
  it.each(cases)("with %s are refused, and nothing is stored", async (_what, headers, status) => {
    expect((await put(door, { kind: "readings", bytes, headers })).status).toBe(status);
    expect(await get(door, "readings")).toMatchObject({ status: 404 });
  });

  it("must give a length", async () => {
    const head = `PUT ${partPath("host", 0)} HTTP/1.1\r\n${AUTHORIZED}Content-Range: bytes 0-2/3\r\nX-Oomscope-Lines: 1\r\nX-Oomscope-Sha256: ${sha256(lines(1))}\r\n`;
    expect(statusOf(await raw(`${head}\r\n`))).toBe(411);
    expect(statusOf(await raw(`${head}Transfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n`))).toBe(411);
    // Two lengths, or a length and chunks, are how requests are smuggled.
    expect(statusOf(await raw(`${head}Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}\n`))).toBe(400);
    const both = `${head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n`;
    expect([400, 411]).toContain(statusOf(await raw(both)));
    expect(await tree()).toEqual(["collections", "removing"]);
  });

  it("that announce more than a chunk may have are refused before the body", async () => {
    const size = 8 * 2 ** 20;
    const head = `PUT ${partPath("readings", 0)} HTTP/1.1\r\n${AUTHORIZED}Content-Length: ${size}\r\nContent-Range: bytes 0-${size - 1}/${size}\r\nX-Oomscope-Lines: 1\r\nX-Oomscope-Sha256: ${sha256(lines(1))}\r\n\r\n`;
    expect(statusOf(await raw(head))).toBe(413);
  });

  it("that are too many or too long are refused by the listener", async () => {
    expect(statusOf(await raw(`GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(30_000)}\r\n\r\n`))).toBe(431);
  });

  it("of any form never break the server", async () => {
    const number = fc.oneof(fc.nat(400).map(String), fc.constantFrom("", "-1", "*", "1e3", "0x1", "300", "NaN"));
    const range = fc.tuple(fc.constantFrom("bytes ", "bytes", ""), number, number, number);
    await fc.assert(
      fc.asyncProperty(range, fc.nat(300), async ([unit, from, to, total], length) => {
        const reply = await put(door, {
          kind: "readings",
          bytes,
          end: length,
          headers: { "Content-Range": `${unit}${from}-${to}/${total}` },
        });
        expect([201, 202, 400, 409, 413, 416, 422, 200]).toContain(reply.status);
        // Only the true bytes can ever become the part, because only they have its checksum.
        const { body } = await get(door, "readings");
        if (body["complete"] === true) expect(body["received"]).toBe(bytes.length);
      }),
      { numRuns: 80 },
    );
  });
});

describe("a body", () => {
  const bytes = lines(100);
  const head = (more = ""): string =>
    `PUT ${partPath("readings", 0)} HTTP/1.1\r\n${AUTHORIZED}${more}Content-Length: 300\r\nContent-Range: bytes 0-299/300\r\nX-Oomscope-Lines: 1\r\nX-Oomscope-Sha256: ${sha256(bytes)}\r\n\r\n`;

  it("that breaks off leaves nothing", async () => {
    const socket = await dial();
    socket.write(`${head()}${bytes.subarray(0, 200).toString()}`);
    socket.end();
    await untilClosed(socket);
    expect(await get(door, "readings")).toMatchObject({ status: 404 });
    expect(await put(door, { kind: "readings", bytes })).toMatchObject({ status: 201 });
  });

  it("that goes on after its end is cut there", async () => {
    const answer = await raw(`${head()}${bytes.toString()}${"{}\n".repeat(50)}`);
    // What follows is another request, and a bad one. It may end the connection before the first is answered.
    expect([201, 400]).toContain(statusOf(answer));
    expect([201, 200]).toContain((await put(door, { kind: "readings", bytes })).status);
    expect(await get(door, "readings")).toMatchObject({ body: { received: 300, complete: true } });
  });

  it("is invited only from someone who may send it", async () => {
    const allowed = await raw(`${head("Expect: 100-continue\r\n")}${bytes.toString()}`);
    expect(allowed).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201/);
    const refused = await raw(head("Expect: 100-continue\r\n").replace(TOKEN_A, "no.such.token"));
    expect(refused).toMatch(/^HTTP\/1\.1 401/);
    // What was not invited is not taken for a body, and not for another request either.
    const socket = await dial();
    const path = partPath("readings", 0);
    socket.write(`PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\nExpect: 100-continue\r\n\r\n`);
    const answer = await untilClosed(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 401/);
    expect(answer).toContain("Connection: close");
  });

  it("that never comes costs its sender the connection", async () => {
    await reopen({ server: { limits: { requestTimeoutMs: 300, headersTimeoutMs: 200, checkIntervalMs: 50 } } });
    const socket = await dial();
    socket.write(`${head()}{`);
    expect([0, 408]).toContain(statusOf(await untilClosed(socket)));
    expect(await get(door, "readings")).toMatchObject({ status: 404 });
  });

  it("counts against what a session may send, also when it was in vain", async () => {
    await reopen({ server: { limits: { maxSessionBytes: 1000 } } });
    const wrong = { "X-Oomscope-Sha256": sha256(lines(1)) };
    for (const status of [422, 422, 422, 413]) {
      expect((await put(door, { kind: "readings", bytes, headers: wrong })).status).toBe(status);
    }
  });
});

describe("a crowd of slow sockets", () => {
  it("keeps nobody out and is sent away", { timeout: 20_000 }, async () => {
    const limits = {
      headersTimeoutMs: 1500,
      handshakeTimeoutMs: 1500,
      checkIntervalMs: 100,
      maxConnections: 100,
      maxConnectionsPerAddress: 40,
    };
    await reopen({ server: { limits } });
    const slow: Socket[] = [];
    let closed = 0;
    for (let n = 0; n < 200; n++) {
      // Half of them say hello and begin a request, the others say nothing at all.
      const options = { host: "127.0.0.1", port: door.port, localAddress: "127.0.0.2" };
      const socket = n % 2 === 0 ? connect({ ...options, ca: door.caCert }) : connectPlain(options);
      socket.on("error", () => undefined);
      socket.once("close", () => closed++);
      socket.resume();
      if (n % 2 === 0) socket.write("GET / HTTP/1.1\r\nX-Slow: ");
      slow.push(socket);
      sockets.push(socket);
    }
    expect(await put(door, { kind: "host", bytes: lines(1) })).toMatchObject({ status: 201 });
    while (closed < slow.length) await systemClock.sleep(20);
    expect(await get(door, "host")).toMatchObject({ status: 200 });
  });

  it("finds no more places than there are", async () => {
    await reopen({ server: { limits: { maxConnections: 5 } } });
    const crowd = Array.from({ length: 12 }, () => connectPlain({ host: "127.0.0.1", port: door.port }));
    sockets.push(...crowd);
    const closed: Socket[] = [];
    for (const socket of crowd) {
      socket.on("error", () => undefined);
      socket.once("close", () => closed.push(socket));
      socket.resume();
    }
    while (closed.length < 7) await systemClock.sleep(10);
    await systemClock.sleep(100);
    expect(closed).toHaveLength(7);
  });

  it("is not kept for long when it says nothing", async () => {
    await reopen({ server: { limits: { idleTimeoutMs: 200 } } });
    expect(await untilClosed(await dial())).toBe("");
  });

  it("that is refused again and again fills no log", async () => {
    let monotonicMs = 0;
    await reopen({ server: { clock: { ...systemClock, monotonicMs: () => monotonicMs } } });
    const refuse = async () => await get(door, "host", 0, "not.a-real.token");
    for (let n = 0; n < 20; n++) await refuse();
    expect(door.logged).toHaveLength(1);
    monotonicMs = 10_000;
    await refuse();
    expect(door.logged).toHaveLength(2);
    expect(door.logged[1]).toContain('"suppressed":19');
  });

  it("of many addresses cannot make more work at once than the server does", async () => {
    let asked = 0;
    let most = 0;
    // Reviews go on until somebody was turned away: how fast the machine is decides nothing.
    const turnedAway = Promise.withResolvers<void>();
    const reviewToken = async () => {
      most = Math.max(most, ++asked);
      await Promise.race([turnedAway.promise, systemClock.sleep(10_000)]);
      asked--;
      return { authenticated: false };
    };
    await reopen({ authorize: { reviewToken }, server: { limits: { maxRequests: 3 } } });
    const ask = async (n: number) => {
      const headers = { Authorization: `Bearer not.a-token.${n}` };
      const reply = await call(door, { path: partPath("host", 0), headers, localAddress: `127.0.0.${10 + (n % 8)}` });
      if (reply.status === 503) turnedAway.resolve();
      return reply;
    };
    const replies = await Promise.all(Array.from({ length: 16 }, async (_, n) => await ask(n)));
    expect(most).toBeLessThanOrEqual(3);
    expect(replies.find(({ status }) => status === 503)?.body).toEqual({ reason: "Busy" });
  });

  it("cannot make the API server review more than a few tokens at once", async () => {
    let asked = 0;
    let most = 0;
    // Reviews go on until somebody was turned away: how fast the machine is decides nothing.
    const turnedAway = Promise.withResolvers<void>();
    const reviewToken = async () => {
      most = Math.max(most, ++asked);
      await Promise.race([turnedAway.promise, systemClock.sleep(10_000)]);
      asked--;
      return { authenticated: false };
    };
    await reopen({ authorize: { reviewToken }, server: { limits: { maxRequestsPerAddress: 4 } } });
    const replies = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const reply = await get(door, "host", 0, `not.a-token.${n}`);
        if (reply.status === 503) turnedAway.resolve();
        return reply;
      }),
    );
    expect(most).toBeLessThanOrEqual(4);
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([401, 503]));
  });
});

describe("the listener", () => {
  it("speaks TLS 1.3 and nothing else", async () => {
    const plain = connectPlain({ host: "127.0.0.1", port: door.port });
    sockets.push(plain);
    plain.on("error", () => undefined);
    plain.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await untilClosed(plain)).not.toContain("HTTP/1.1");
    const old = connect({ host: "127.0.0.1", port: door.port, ca: door.caCert, maxVersion: "TLSv1.2" });
    sockets.push(old);
    await expect(once(old, "secureConnect")).rejects.toThrow(/alert protocol version/);
  });

  it("is not trusted by a collector that knows another authority", async () => {
    const caCert = createAuthority(systemClock, systemRandom).cert;
    await expect(get({ port: door.port, caCert }, "host")).rejects.toThrow(/certificate|signature/);
  });

  it("answers other methods with the two it knows, after it knows the caller", async () => {
    for (const method of ["POST", "DELETE", "PATCH", "OPTIONS", "HEAD"]) {
      const path = partPath("host", 0);
      expect((await call(door, { method, path })).status).toBe(401);
      const reply = await call(door, { method, path, headers: { Authorization: `Bearer ${TOKEN_A}` } });
      expect(reply.status).toBe(405);
      expect(reply.headers["allow"]).toBe("GET, PUT");
    }
  });

  it("lets a running upload end when it is stopped, and takes no new one", async () => {
    const socket = await dial();
    const bytes = lines(100);
    socket.write(
      `PUT ${partPath("readings", 0)} HTTP/1.1\r\n${AUTHORIZED}Content-Length: 300\r\nContent-Range: bytes 0-299/300\r\nX-Oomscope-Lines: 1\r\nX-Oomscope-Sha256: ${sha256(bytes)}\r\nExpect: 100-continue\r\n\r\n`,
    );
    await once(socket, "data");
    const stopped = door.stop();
    await expect(get(door, "readings")).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
    socket.write(bytes);
    expect(await untilClosed(socket)).toContain("HTTP/1.1 201");
    await stopped;
    door = await openDoor();
  });

  it("is not held up when it is stopped by those who say nothing", async () => {
    await reopen({ server: { limits: { closeTimeoutMs: 100, handshakeTimeoutMs: 60_000 } } });
    const silent = connectPlain({ host: "127.0.0.1", port: door.port });
    sockets.push(silent);
    silent.on("error", () => undefined);
    await once(silent, "connect");
    const slow = await dial();
    slow.write("GET / HTTP/1.1\r\n");
    const closed = Promise.all([untilClosed(silent), untilClosed(slow)]);
    await door.stop();
    await closed;
    door = await openDoor();
  });

  it("shows a new certificate to new connections", async () => {
    expect(await get(door, "host")).toMatchObject({ status: 404 });
    const caCert = door.replaceCertificate();
    expect(await get({ port: door.port, caCert }, "host")).toMatchObject({ status: 404 });
    await expect(get(door, "host")).rejects.toThrow(/certificate|signature/);
  });
});
