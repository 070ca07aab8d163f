import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  COLLECTION,
  call,
  type Door,
  get,
  lines,
  manifestOf,
  openDoor,
  partPath,
  POD_A,
  put,
  sha256,
  TOKEN_A,
  TOKEN_B,
} from "./door.ts";

// Real sockets and disks: on a busy machine they take their time.
vi.setConfig({ testTimeout: 30_000 });

let door: Door;
beforeEach(async () => {
  door = await openDoor();
});
afterEach(async () => {
  await door.stop();
});

const HOST = Buffer.from(JSON.stringify({ kernel: "6.8.0" }));

describe("an upload", () => {
  it("of one piece is stored under its own name, with its bytes", async () => {
    expect(await get(door, "host")).toMatchObject({ status: 404, body: { received: 0 } });
    expect(await put(door, { kind: "host", bytes: HOST })).toMatchObject({ status: 201 });
    expect(await get(door, "host")).toMatchObject({
      status: 200,
      body: { received: HOST.length, complete: true },
    });
    expect(await readFile(join(door.root, "collections", COLLECTION, "host.json"))).toEqual(HOST);
  });

  it("in chunks says after each how much is here, and is whole after the last", async () => {
    const bytes = lines(1000);
    expect(await put(door, { kind: "readings", index: 3, bytes, end: 700 })).toMatchObject({
      status: 202,
      body: { received: 700 },
    });
    expect(await get(door, "readings", 3)).toMatchObject({
      status: 200,
      body: { received: 700, complete: false },
    });
    expect(await put(door, { kind: "readings", index: 3, bytes, start: 700 })).toMatchObject({ status: 201 });
    expect(await readFile(join(door.root, "collections", COLLECTION, "readings-0003.ndjson"))).toEqual(bytes);
  });

  it("of nothing is a part too", async () => {
    expect(await put(door, { kind: "readings", bytes: Buffer.alloc(0) })).toMatchObject({ status: 201 });
    expect(await get(door, "readings")).toMatchObject({ status: 200, body: { received: 0, complete: true } });
  });

  it("that is repeated is answered as done, with other bytes it is refused", async () => {
    await put(door, { kind: "host", bytes: HOST });
    expect(await put(door, { kind: "host", bytes: HOST })).toMatchObject({ status: 200 });
    const other = Buffer.from(HOST).fill(0x20, 0, 1);
    expect(await put(door, { kind: "host", bytes: other })).toMatchObject({
      status: 409,
      body: { reason: "PartExists" },
    });
    expect(await readFile(join(door.root, "collections", COLLECTION, "host.json"))).toEqual(HOST);
  });

  it("with an offset that lies is told the true one", async () => {
    const bytes = lines(100);
    const mismatch = (received: number) => ({ status: 409, body: { reason: "OffsetMismatch", received } });
    expect(await put(door, { kind: "readings", bytes, start: 10 })).toMatchObject(mismatch(0));
    await put(door, { kind: "readings", bytes, end: 100 });
    for (const start of [0, 99, 101, 299]) {
      expect(await put(door, { kind: "readings", bytes, start })).toMatchObject(mismatch(100));
    }
    // Other bytes than those that were begun: nothing of them is here.
    const other = Buffer.from(bytes).fill(0x41, 0, 1);
    expect(await put(door, { kind: "readings", bytes: other, start: 100 })).toMatchObject(mismatch(0));
    expect(await put(door, { kind: "readings", bytes, start: 100 })).toMatchObject({ status: 201 });
  });

  it("whose checksum is wrong is thrown away, and can begin again", async () => {
    const bytes = lines(100);
    const wrong = { "X-Oomscope-Sha256": sha256(Buffer.from("something else")) };
    expect(await put(door, { kind: "readings", bytes, headers: wrong })).toMatchObject({
      status: 422,
      body: { reason: "ChecksumMismatch" },
    });
    expect(await get(door, "readings")).toMatchObject({ status: 404, body: { received: 0 } });
    expect(await put(door, { kind: "readings", bytes })).toMatchObject({ status: 201 });
  });

  it("restarts a part from its first byte when the collector has made it anew", async () => {
    await put(door, { kind: "readings", bytes: lines(100), end: 50 });
    expect(await put(door, { kind: "readings", bytes: lines(90), end: 30 })).toMatchObject({
      status: 202,
      body: { received: 30 },
    });
    expect(await put(door, { kind: "readings", bytes: lines(90), start: 30 })).toMatchObject({ status: 201 });
  });
});

describe("a manifest", () => {
  const readings = lines(7);
  const parts = [
    { kind: "host" as const, index: 0, bytes: HOST },
    { kind: "readings" as const, index: 0, bytes: readings },
  ];

  async function uploadParts(): Promise<void> {
    await put(door, { kind: "host", bytes: HOST });
    await put(door, { kind: "readings", bytes: readings });
  }

  it("that lists what is here ends the collection", async () => {
    await uploadParts();
    await door.store.writeContext(COLLECTION, Buffer.from("{}"));
    const manifest = manifestOf(parts);
    expect(await put(door, { kind: "manifest", bytes: manifest })).toMatchObject({ status: 201 });
    expect(door.store.describe(COLLECTION)).toMatchObject({
      podUid: POD_A,
      lines: 7,
      manifestSha256: sha256(manifest),
    });
    expect(door.progress.map(({ progress }) => progress)).toEqual([
      { parts: 1, lines: 0, closed: false },
      { parts: 2, lines: 7, closed: false },
      { parts: 3, lines: 7, closed: true },
    ]);
  });

  it("is not the end of a collection until it is true", async () => {
    await uploadParts();
    const cases: [Buffer, string][] = [
      [manifestOf(parts.slice(0, 1)), "readings-0000.ndjson is here, but the manifest does not list it"],
      [manifestOf([...parts, { kind: "oom-reports", index: 0, bytes: HOST }]), "oom-reports.json, which is not here"],
      [manifestOf([parts[0], parts[0], parts[1]].filter((part) => part !== undefined)), "lists host.json twice"],
      [manifestOf([{ kind: "host", index: 0, bytes: lines(1) }, ...parts.slice(1)]), "host.json has"],
      [
        manifestOf([{ kind: "host", index: 0, bytes: Buffer.from(HOST).fill(0x20, 0, 1) }, ...parts.slice(1)]),
        "host.json has another checksum",
      ],
      [manifestOf([...parts, { kind: "context", index: 0, bytes: HOST }]), "may not list context.json"],
      [manifestOf(parts, { collection: "another" }), "names another collection"],
      [Buffer.from("{}"), "not of the expected form"],
      [Buffer.from("[".repeat(200_000)), "nested deeper"],
      [Buffer.from("not json"), "not JSON"],
    ];
    for (const [bytes, detail] of cases) {
      const reply = await put(door, { kind: "manifest", bytes });
      expect(reply).toMatchObject({ status: 422, body: { reason: "ManifestMismatch" } });
      expect(reply.body["detail"]).toContain(detail);
    }
    expect(door.store.describe(COLLECTION)?.ended).toBeUndefined();
    expect(await put(door, { kind: "manifest", bytes: manifestOf(parts) })).toMatchObject({ status: 201 });
  });

  it("lets nothing in after it, but answers its own repetition", async () => {
    await uploadParts();
    const manifest = manifestOf(parts);
    await put(door, { kind: "manifest", bytes: manifest });
    expect(await put(door, { kind: "manifest", bytes: manifest })).toMatchObject({ status: 200 });
    const closed = { status: 410, body: { reason: "Closed" } };
    expect(await put(door, { kind: "oom-reports", bytes: HOST })).toMatchObject(closed);
    expect(await put(door, { kind: "host", bytes: lines(1) })).toMatchObject(closed);
    expect(await put(door, { kind: "manifest", bytes: manifestOf([]) })).toMatchObject(closed);
    door.closeCollection();
    expect(await put(door, { kind: "host", bytes: HOST })).toMatchObject(closed);
    expect(await get(door, "host")).toMatchObject(closed);
  });
});

describe("the door", () => {
  it("knows two pods of one Job apart: the first to write is the collector", async () => {
    const bytes = lines(100);
    const first = await Promise.all(
      [TOKEN_A, TOKEN_B].map((token) => put(door, { kind: "readings", bytes, end: 60, token })),
    );
    expect(first.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409]);
    const [winner, loser] = first[0]?.status === 202 ? [TOKEN_A, TOKEN_B] : [TOKEN_B, TOKEN_A];
    const another = { status: 409, body: { reason: "AnotherCollector" } };
    expect(await put(door, { kind: "readings", bytes, start: 60, token: loser })).toMatchObject(another);
    expect(await put(door, { kind: "host", bytes: HOST, token: loser })).toMatchObject(another);
    expect(await get(door, "readings", 0, loser)).toMatchObject(another);
    expect(await put(door, { kind: "readings", bytes, start: 60, token: winner })).toMatchObject({ status: 201 });
  });

  it("says the same to everybody whom it does not let in", async () => {
    const path = partPath("host", 0);
    const authorizations = ["", "Basic dXNlcjpwdw==", "Bearer", "Bearer x", "Bearer a.b.c d", "bearer a.b.c"];
    for (const Authorization of [...authorizations, `Bearer ${"a".repeat(5000)}.b.c`, "Bearer nobody.is.this"]) {
      const reply = await call(door, { path, headers: { Authorization } });
      expect(reply).toMatchObject({ status: 401, body: { reason: "Unauthenticated" } });
      expect(Object.keys(reply.body)).toEqual(["reason"]);
    }
    expect(await call(door, { path })).toMatchObject({ status: 401 });
    // A genuine collector of another collection learns nothing about this one, not even whether a part exists.
    for (const other of ["another-collection", "x"]) {
      for (const kind of ["host", "nonsense"]) {
        const headers = { Authorization: `Bearer ${TOKEN_A}` };
        const reply = await call(door, { path: partPath(kind, 0, other), headers });
        expect(reply).toMatchObject({ status: 403, body: { reason: "Forbidden" } });
        expect(Object.keys(reply.body)).toEqual(["reason"]);
      }
    }
  });

  it("stays shut with a reason to come back while this replica is not the leader", async () => {
    let leader = false;
    const standby = await openDoor({ server: { serving: () => leader } });
    try {
      const reply = await put(standby, { kind: "host", bytes: HOST });
      expect(reply).toMatchObject({ status: 503, body: { reason: "NotServing" } });
      expect(reply.headers["retry-after"]).toBe("2");
      leader = true;
      expect(await put(standby, { kind: "host", bytes: HOST })).toMatchObject({ status: 201 });
    } finally {
      await standby.stop();
    }
  });

  it("asks nobody and stores nothing when this replica is not the leader, also when it just ceased to be", async () => {
    let reviews = 0;
    let asked = 0;
    const reviewToken = async () => await Promise.resolve({ authenticated: reviews++ < 0 });
    const standby = await openDoor({ server: { serving: () => false }, authorize: { reviewToken } });
    expect(await get(standby, "host")).toMatchObject({ status: 503 });
    expect(reviews).toBe(0);
    await standby.stop();
    const ceasing = await openDoor({ server: { serving: () => asked++ === 0 } });
    try {
      expect(await put(ceasing, { kind: "host", bytes: HOST })).toMatchObject({ status: 503 });
      expect(ceasing.store.list()).toEqual([]);
    } finally {
      await ceasing.stop();
    }
  });

  it("answers 503, never 401, when the API server refuses our own credentials or does not answer", async () => {
    const failures = [Object.assign(new Error("no"), { reason: "Unauthorized" }), new Error("connect ECONNREFUSED")];
    for (const failure of failures) {
      const lame = await openDoor({ authorize: { reviewToken: async () => await Promise.reject(failure) } });
      try {
        const reply = await get(lame, "host");
        expect(reply).toMatchObject({ status: 503, body: { reason: "Unavailable" } });
        expect(reply.headers["retry-after"]).toBe("5");
      } finally {
        await lame.stop();
      }
    }
  });

  it("never lets a listener's mistake hurt an upload", async () => {
    const fragile = await openDoor({
      server: {
        onProgress: () => {
          throw new Error("the controller stumbled");
        },
      },
    });
    try {
      expect(await put(fragile, { kind: "host", bytes: HOST })).toMatchObject({ status: 201 });
      expect(fragile.logged.join("\n")).toContain("the controller stumbled");
    } finally {
      await fragile.stop();
    }
  });

  it("never writes a token into the log", async () => {
    await put(door, { kind: "host", bytes: HOST });
    await put(door, { kind: "host", bytes: lines(3) });
    await get(door, "host", 0, "header.canary-token.signature");
    await call(door, { path: `/v1/collections/${COLLECTION}/parts/host/0?token=${TOKEN_A}` });
    const log = door.logged.join("\n");
    expect(log).toContain("Refused evidence");
    expect(log).not.toContain("canary-token");
    expect(log).not.toContain(TOKEN_A);
  });
});
