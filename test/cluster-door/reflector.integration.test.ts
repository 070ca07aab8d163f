/**
 * Does the reflector end up with what is in the cluster, whatever happens on the way? Each test breaks something real between it and a real
 * API server, and then compares its store, and the changes it told, with a live list.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { ApiObject } from "../../src/cluster/api.ts";
import {
  createReflector,
  type ChangeEvent,
  type Reflector,
  type ReflectorOptions,
} from "../../src/cluster/reflector.ts";
import { configmaps, namespaces } from "../../src/cluster/resources.ts";
import type { Tracked } from "../../src/cluster/store.ts";
import type { StreamOptions, Transport } from "../../src/cluster/transport.ts";
import { systemClock, systemRandom, type Random } from "../../src/seams.ts";
import { startTcpFaultProxy, type TcpFaultProxy } from "../support/faultproxy.ts";
import { startOwnServer, type OwnServer } from "./ownserver.ts";

interface Seen extends Tracked {
  readonly value: string;
}

let own: OwnServer;
let namespace = "";
let count = 0;
const running: { stop(): Promise<unknown> }[] = [];

beforeAll(async () => {
  own = await startOwnServer();
});
afterAll(() => own?.stop());
afterEach(async () => {
  own.server.resume();
  for (const one of running.splice(0).toReversed()) await one.stop();
});

/** Retries come at once: these tests are about what is seen, not about when. */
const eager: Random = { ...systemRandom, next: () => 0.05 };

function project(raw: unknown): Seen | undefined {
  const { metadata, ...object } = raw as ApiObject;
  const data = object["data"] as Record<string, string> | undefined;
  const { uid = "", name = "", resourceVersion = "" } = metadata;
  if (metadata.labels?.["hidden"] === "yes" || name === "kube-root-ca.crt") return undefined;
  return { uid, name, namespace: metadata.namespace ?? "", resourceVersion, value: data?.["v"] ?? "" };
}

interface Watched {
  readonly reflector: Reflector<Seen>;
  readonly told: ChangeEvent<Seen>[];
  readonly streams: StreamOptions[];
  /** The changes as text, such as "Added a=1". */
  story(): string[];
}

async function follow(
  transport: Transport = own.transport(),
  more: Partial<ReflectorOptions<Seen>> = {},
): Promise<Watched> {
  const told: ChangeEvent<Seen>[] = [];
  const streams: StreamOptions[] = [];
  const counting: Transport = {
    ...transport,
    stream: (options) => {
      streams.push(options);
      return transport.stream(options);
    },
  };
  const reflector = createReflector<Seen>({
    transport: counting,
    resource: configmaps,
    namespace,
    project,
    onChange: (event) => told.push(event),
    clock: systemClock,
    random: eager,
    ...more,
  });
  running.push(reflector);
  reflector.start();
  await reflector.synced;
  return {
    reflector,
    told,
    streams,
    story: () => told.map(({ type, object }) => `${type} ${object.name}=${object.value}`),
  };
}

async function freshNamespace(): Promise<void> {
  namespace = `door-${++count}`;
  await own.api.create(namespaces, { metadata: { name: namespace } });
}

async function put(name: string, value: string): Promise<ApiObject> {
  return own.api.apply(configmaps, { metadata: { namespace, name }, data: { v: value } });
}

async function drop(name: string): Promise<void> {
  await own.api.remove(configmaps, { namespace, name });
}

/** name, uid and value of what is in the cluster. */
async function truth(): Promise<string[]> {
  const all: Seen[] = [];
  for await (const page of own.api.list(configmaps, { namespace })) {
    for (const item of page.items) {
      const seen = project(item);
      if (seen !== undefined) all.push(seen);
    }
  }
  return all.map(describeSeen).sort();
}

function describeSeen({ name, uid, value }: Seen): string {
  return `${name} ${uid} ${value}`;
}

/** What somebody knows who only listens to the changes. Fails on a change that makes no sense after those before it. */
function replay(told: readonly ChangeEvent<Seen>[]): string[] {
  const known = new Map<string, Seen>();
  const names = new Map<string, string>();
  for (const { type, object, previous } of told) {
    const held = known.get(object.uid);
    expect(held, `${type} ${object.name}`).toEqual(type === "Added" ? undefined : previous);
    if (type === "Deleted") {
      known.delete(object.uid);
      names.delete(object.name);
    } else {
      // Two objects of one name at one time cannot be.
      expect(names.get(object.name) ?? object.uid).toBe(object.uid);
      known.set(object.uid, object);
      names.set(object.name, object.uid);
    }
  }
  return [...known.values()].map(describeSeen).sort();
}

async function expectTruth({ reflector, told }: Watched, timeout = 20_000): Promise<void> {
  await expect
    .poll(async () => ({ store: [...reflector.store.list()].map(describeSeen).sort(), truth: await truth() }), {
      timeout,
    })
    .toSatisfy(
      (seen: { store: string[]; truth: string[] }) => JSON.stringify(seen.store) === JSON.stringify(seen.truth),
    );
  expect(replay(told)).toEqual(await truth());
}

async function throughProxy(): Promise<{ readonly proxy: TcpFaultProxy; readonly transport: Transport }> {
  const proxy = await startTcpFaultProxy(own.port);
  running.push({ stop: () => proxy.close() });
  return { proxy, transport: own.transport(undefined, `https://127.0.0.1:${proxy.port}`) };
}

/** Answers a watch-list as an API server on etcd 3.4 does: 200, then an ERROR event. */
function likeEtcd34(transport: Transport): Transport {
  const line = JSON.stringify({
    type: "ERROR",
    object: { kind: "Status", code: 500, message: "storage feature RequestWatchProgress is disabled" },
  });
  return {
    ...transport,
    stream: (options) =>
      options.query?.["sendInitialEvents"] === undefined
        ? transport.stream(options)
        : Promise.resolve({
            status: 200,
            headers: {},
            body: (async function* () {
              yield await Promise.resolve(Buffer.from(`${line}\n`));
              // The stream stays open.
              await systemClock.sleep(3_600_000);
            })(),
            abort: () => undefined,
          }),
  };
}

describe.each(["WatchList", "List"] as const)("by %s", (mode) => {
  const transportFor = (base: Transport = own.transport()): Transport => (mode === "List" ? likeEtcd34(base) : base);

  test("knows what is there, and tells each change once and in order", async () => {
    await freshNamespace();
    await put("a", "1");
    await put("b", "1");
    const watched = await follow(transportFor(), { pageSize: 1 });
    expect(watched.reflector.health().mode).toBe(mode);
    expect(watched.story().sort()).toEqual(["Added a=1", "Added b=1"]);
    await put("a", "2");
    await put("c", "1");
    await drop("b");
    await put("a", "3");
    await expect
      .poll(() => watched.story().slice(2))
      .toEqual(["Modified a=2", "Added c=1", "Deleted b=1", "Modified a=3"]);
    expect(watched.told[2]?.previous?.value).toBe("1");
    expect(watched.reflector.store.get(namespace, "a")?.value).toBe("3");
    expect([...watched.reflector.store.list(namespace)].length).toBe(2);
    expect(watched.reflector.health()).toMatchObject({ synced: true, connected: true, relists: 0, failures: 0 });
    await expectTruth(watched);
  });

  test("after its connection was cut goes on where it was, without a new list", async () => {
    await freshNamespace();
    const { proxy, transport } = await throughProxy();
    await put("a", "1");
    const watched = await follow(transportFor(transport));
    await put("a", "2");
    await expect.poll(() => watched.story()).toContain("Modified a=2");
    proxy.refuse();
    proxy.cut();
    await put("a", "3");
    await put("b", "1");
    await drop("b");
    await expect.poll(() => watched.reflector.health().connected).toBe(false);
    proxy.accept();
    await expect
      .poll(() => watched.story().slice(-3), { timeout: 15_000 })
      .toEqual(["Modified a=3", "Added b=1", "Deleted b=1"]);
    expect(watched.reflector.health()).toMatchObject({ relists: 0, connected: true });
    await expectTruth(watched);
  });
});

test("takes a stream that fell silent for dead, and comes back", async () => {
  await freshNamespace();
  const { proxy, transport } = await throughProxy();
  const watched = await follow(transport, { idleTimeoutMs: 1_000 });
  proxy.stall();
  await put("a", "1");
  await expect
    .poll(() => watched.reflector.health().lastError ?? "", { timeout: 10_000 })
    .toContain("silent for 1000 ms");
  proxy.resume();
  await expect.poll(() => watched.story(), { timeout: 15_000 }).toEqual(["Added a=1"]);
  await expectTruth(watched);
});

test("notices a half-open connection, of which no packet tells", async () => {
  await freshNamespace();
  const { proxy, transport } = await throughProxy();
  const watched = await follow(transport, { idleTimeoutMs: 1_000 });
  proxy.halfOpen();
  await put("a", "1");
  await expect.poll(() => watched.story(), { timeout: 15_000 }).toEqual(["Added a=1"]);
  expect(watched.reflector.health().relists).toBe(0);
});

test("outlives an API server that stands still", async () => {
  await freshNamespace();
  const watched = await follow(own.transport(), { idleTimeoutMs: 1_500 });
  await put("a", "1");
  await expect.poll(() => watched.story()).toEqual(["Added a=1"]);
  await own.server.pause();
  await expect.poll(() => watched.reflector.health().connected, { timeout: 10_000 }).toBe(false);
  expect(watched.reflector.health().lastActivityAgeMs).toBeGreaterThan(1_000);
  await systemClock.sleep(2_000);
  own.server.resume();
  await put("a", "2");
  await expect.poll(() => watched.story(), { timeout: 40_000 }).toEqual(["Added a=1", "Modified a=2"]);
  await expectTruth(watched);
});

test("takes an object that it is no longer interested in for deleted", async () => {
  await freshNamespace();
  await put("a", "1");
  const watched = await follow();
  await own.api.mergePatch(configmaps, { namespace, name: "a" }, { metadata: { labels: { hidden: "yes" } } });
  await expect.poll(() => watched.story()).toEqual(["Added a=1", "Deleted a=1"]);
  expect(watched.reflector.store.size).toBe(0);
});

test("loses no change when the receiver of one throws", async () => {
  await freshNamespace();
  const told: string[] = [];
  const { reflector } = await follow(own.transport(), {
    onChange: ({ object }) => {
      told.push(object.name);
      if (object.name === "bad") throw new Error("The receiver failed");
    },
  });
  await put("bad", "1");
  await put("good", "1");
  await expect.poll(() => told).toEqual(["bad", "good"]);
  expect(reflector.health()).toMatchObject({ callbackErrors: 1, connected: true, failures: 0 });
});

test("tells nothing any more after it was stopped, and closes its connection", async () => {
  await freshNamespace();
  const { proxy, transport } = await throughProxy();
  const watched = await follow(transport);
  await watched.reflector.stop();
  await put("a", "1");
  await systemClock.sleep(300);
  expect(watched.told).toEqual([]);
  expect(proxy.open).toBe(0);
});

test("rejects the wait for the first list when it is stopped before", async () => {
  await freshNamespace();
  const { proxy, transport } = await throughProxy();
  proxy.stall();
  const reflector = createReflector<Seen>({
    transport,
    resource: configmaps,
    project,
    onChange: () => undefined,
    clock: systemClock,
    random: eager,
  });
  const abort = new AbortController();
  reflector.start(abort.signal);
  abort.abort(new Error("enough"));
  await expect(reflector.synced).rejects.toThrow(/stopped before its first list/);
});

describe("without a watch cache, so that a version is gone once etcd has compacted it", () => {
  let cached: OwnServer;
  beforeAll(async () => {
    cached = own;
    own = await startOwnServer(["--watch-cache=false"]);
  });
  afterAll(async () => {
    await own.stop();
    own = cached;
  });

  test("tells of an object that was made again under its name as of two", async () => {
    await freshNamespace();
    const { proxy, transport } = await throughProxy();
    const old = await put("a", "old");
    const watched = await follow(transport);
    proxy.refuse();
    proxy.cut();
    await drop("a");
    const fresh = await put("a", "new");
    await own.compact();
    proxy.accept();
    await expect
      .poll(() => watched.story(), { timeout: 15_000 })
      .toEqual(["Added a=old", "Deleted a=old", "Added a=new"]);
    expect(watched.told.map((event) => event.object.uid)).toEqual([
      old.metadata.uid,
      old.metadata.uid,
      fresh.metadata.uid,
    ]);
    expect(watched.reflector.store.byUid(old.metadata.uid ?? "")).toBeUndefined();
    // The list is complete a moment after its last object.
    await expect.poll(() => watched.reflector.health().relists).toBe(1);
  });

  test("after a version that is too old lists again and tells only the difference", async () => {
    await freshNamespace();
    const { proxy, transport } = await throughProxy();
    for (const name of ["a", "b", "c", "d"]) await put(name, "1");
    const watched = await follow(transport);
    const before = watched.told.length;
    proxy.refuse();
    proxy.cut();
    await put("a", "2");
    await drop("b");
    await put("e", "1");
    await own.compact();
    proxy.accept();
    await expect
      .poll(() => watched.story().slice(before).sort(), { timeout: 15_000 })
      .toEqual(["Added e=1", "Deleted b=1", "Modified a=2"]);
    // The list is complete a moment after its last object.
    await expect.poll(() => watched.reflector.health().relists).toBe(1);
    await expectTruth(watched);
  });

  test("stays true through a storm of cuts and changes", async () => {
    await freshNamespace();
    const { proxy, transport } = await throughProxy();
    const watched = await follow(transport, { idleTimeoutMs: 2_000, pageSize: 3 });
    for (let round = 0; round < 60; round++) {
      const name = `o-${round % 9}`;
      if (round % 7 === 3) await drop(name).catch(() => undefined);
      else await put(name, String(round));
      if (round % 5 === 0) proxy.cut();
      if (round % 13 === 0) await own.compact();
      if (round % 17 === 0) proxy.halfOpen();
    }
    await expectTruth(watched, 40_000);
  });
});
