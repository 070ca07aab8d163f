/**
 * How does the reflector behave towards a server that misbehaves? A scripted transport and a clock that the test moves; what a real
 * server does stands in reflector.integration.test.ts.
 */
import { describe, expect, test } from "vitest";
import { fullJitterMs, RECONNECT_LIMITS } from "../../src/cluster/backoff.ts";
import { ApiError } from "../../src/cluster/errors.ts";
import { createReflector, type ChangeEvent, type Reflector } from "../../src/cluster/reflector.ts";
import { pods } from "../../src/cluster/resources.ts";
import { wholeObject, type TrackedRaw } from "../../src/cluster/projections.ts";
import type { StreamOptions, Transport } from "../../src/cluster/transport.ts";
import { fixedRandom, manualClock, settle, type ManualClock } from "./manualclock.ts";

type Line = object | string;
interface Script {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly lines: readonly Line[];
  /** How the stream goes on after its lines. */
  readonly ending: "end" | "open" | ApiError;
}

/** Plays a script for each stream that is opened. */
function scripted(answer: (options: StreamOptions, call: number) => Script | ApiError) {
  const calls: StreamOptions[] = [];
  let aborted = 0;
  const transport: Transport = {
    request: () => Promise.reject(new Error("The reflector only streams")),
    close: () => Promise.resolve(),
    stream: (options) => {
      calls.push(options);
      const script = answer(options, calls.length);
      if (script instanceof ApiError) return Promise.reject(script);
      const { status = 200, headers = {}, lines, ending } = script;
      const bytes = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");
      const broken = new Promise<never>((_resolve, reject) => {
        options.signal?.addEventListener("abort", () => reject(new ApiError("Unknown", "cancelled")));
      });
      broken.catch(() => undefined);
      return Promise.resolve({
        status,
        headers,
        body: (async function* () {
          if (bytes !== "") yield await Promise.resolve(Buffer.from(`${bytes}\n`));
          if (ending instanceof ApiError) throw ending;
          if (ending === "open") await broken;
        })(),
        abort: () => void aborted++,
      });
    },
  };
  return {
    transport,
    calls,
    get aborted() {
      return aborted;
    },
    lists: () => calls.filter((call) => call.query?.["watch"] === undefined).length,
    watchLists: () => calls.filter((call) => call.query?.["sendInitialEvents"] !== undefined).length,
  };
}

function pod(name: string, version: number, uid = name): object {
  return { kind: "Pod", metadata: { namespace: "media", name, uid, resourceVersion: String(version) } };
}
const added = (name: string, version: number, uid?: string) => ({ type: "ADDED", object: pod(name, version, uid) });
const modified = (name: string, version: number) => ({ type: "MODIFIED", object: pod(name, version) });
const bookmark = (version: number) => ({
  type: "BOOKMARK",
  object: { metadata: { resourceVersion: String(version) } },
});
const listed = (version: number) => ({
  type: "BOOKMARK",
  object: { metadata: { resourceVersion: String(version), annotations: { "k8s.io/initial-events-end": "true" } } },
});
const failed = (code: number, message = "x") => ({ type: "ERROR", object: { kind: "Status", code, message } });
const page = (version: number, ...items: readonly object[]): Script => ({
  lines: [{ kind: "PodList", metadata: { resourceVersion: String(version) }, items }],
  ending: "end",
});

function follow(transport: Transport, clock: ManualClock, random = fixedRandom(1)) {
  const told: ChangeEvent<TrackedRaw>[] = [];
  const reflector: Reflector<TrackedRaw> = createReflector({
    transport,
    resource: pods,
    project: (raw) => {
      const object = wholeObject(raw);
      if (object?.name === "unreadable") throw new Error("Cannot read it");
      return object;
    },
    onChange: (event) => told.push(event),
    clock,
    random,
  });
  reflector.start();
  return { reflector, story: () => told.map(({ type, object }) => `${type} ${object.name}@${object.resourceVersion}`) };
}

describe("the way to a first list", () => {
  test("asks for a list as a stream, of nothing older than now", async () => {
    const server = scripted(() => ({ lines: [added("a", 5), listed(9)], ending: "open" }));
    const { reflector } = follow(server.transport, manualClock());
    await reflector.synced;
    expect(server.calls[0]?.path).toBe("/api/v1/pods");
    expect(server.calls[0]?.query).toMatchObject({
      watch: "1",
      sendInitialEvents: "true",
      resourceVersionMatch: "NotOlderThan",
      allowWatchBookmarks: "true",
    });
    expect(server.calls[0]?.query?.["resourceVersion"]).toBeUndefined();
    await reflector.stop();
  });

  test.each<[string, Script]>([
    [
      "refuses the parameter",
      { status: 422, lines: [{ reason: "Invalid", message: "sendInitialEvents is forbidden" }], ending: "end" },
    ],
    [
      "stands on etcd 3.4",
      { lines: [failed(500, "storage feature RequestWatchProgress is disabled")], ending: "open" },
    ],
    [
      "does not know the parameter and sends a bookmark without the mark",
      { lines: [added("a", 5), bookmark(6)], ending: "open" },
    ],
  ])("falls back to pages for good when the server %s", async (_title, refusal) => {
    const clock = manualClock();
    const server = scripted(({ query }) => {
      if (query?.["sendInitialEvents"] !== undefined) return refusal;
      return query?.["watch"] === undefined ? page(7, pod("a", 5)) : { lines: [failed(410)], ending: "end" };
    });
    const { reflector, story } = follow(server.transport, clock);
    await reflector.synced;
    expect(reflector.health().mode).toBe("List");
    await clock.advance(600_000);
    expect(server.watchLists()).toBe(1);
    expect(server.lists()).toBeGreaterThan(3);
    expect(story()).toEqual(["Added a@5"]);
    await reflector.stop();
  });

  test("does not take a server that is down for one without a watch-list", async () => {
    const clock = manualClock();
    let up = false;
    const server = scripted(() =>
      up ? { lines: [listed(9)], ending: "open" } : new ApiError("Unreachable", "connection refused"),
    );
    const { reflector } = follow(server.transport, clock);
    await clock.advance(300_000);
    expect(server.lists()).toBe(0);
    up = true;
    await clock.advance(30_000);
    await reflector.synced;
    expect(reflector.health()).toMatchObject({ mode: "WatchList", synced: true });
    await reflector.stop();
  });

  test("falls back after three streams that never came to the end of the list", async () => {
    const clock = manualClock();
    const server = scripted(({ query }) => {
      if (query?.["sendInitialEvents"] !== undefined) return { lines: [added("a", 5)], ending: "end" };
      return query?.["watch"] === undefined ? page(7, pod("a", 5)) : { lines: [], ending: "open" };
    });
    const { reflector, story } = follow(server.transport, clock);
    await clock.advance(60_000);
    await reflector.synced;
    expect(server.watchLists()).toBe(3);
    expect(story()).toEqual(["Added a@5"]);
    await reflector.stop();
  });

  test("follows continue tokens, and takes a list that is cut for no list", async () => {
    const clock = manualClock();
    let pages = 0;
    const server = scripted(({ query }) => {
      if (query?.["sendInitialEvents"] !== undefined) return { status: 422, lines: [{}], ending: "end" };
      if (query?.["watch"] !== undefined) return { lines: [], ending: "open" };
      pages++;
      if (pages === 1) {
        return {
          lines: [{ metadata: { resourceVersion: "7", continue: "more" }, items: [pod("a", 5)] }],
          ending: "end",
        };
      }
      if (pages === 2)
        return {
          lines: [`{"metadata":{"resourceVersion":"7"},"items":[${JSON.stringify(pod("b", 6))}`],
          ending: "end",
        };
      return page(8, pod("a", 5), pod("c", 8));
    });
    const { reflector, story } = follow(server.transport, clock);
    await settle();
    expect(reflector.health().synced).toBe(false);
    await clock.advance(60_000);
    expect(server.calls[2]?.query?.["continue"]).toBe("more");
    // b was in the list that broke, and is not in the one that did not.
    expect(story()).toEqual(["Added a@5", "Added b@6", "Added c@8", "Deleted b@6"]);
    await reflector.stop();
  });
});

describe("the watch", () => {
  test("goes on from the newest version it has seen, bookmarks included", async () => {
    const clock = manualClock();
    const server = scripted((_options, call) => {
      if (call === 1) return { lines: [added("a", 5), listed(9), modified("a", 12)], ending: "end" };
      if (call === 2) return { lines: [bookmark(40)], ending: "end" };
      return { lines: [], ending: "open" };
    });
    const { reflector } = follow(server.transport, clock);
    await clock.advance(5_000);
    expect(server.calls.map((call) => call.query?.["resourceVersion"])).toEqual([undefined, "12", "40"]);
    await reflector.stop();
  });

  test("is not fooled by a server that closes at once: no list, and ever longer pauses", async () => {
    const clock = manualClock();
    const server = scripted((_options, call) =>
      call === 1 ? { lines: [listed(9)], ending: "end" } : { lines: [], ending: "end" },
    );
    const { reflector } = follow(server.transport, clock);
    await clock.advance(600_000);
    expect(server.lists() + server.watchLists()).toBe(1);
    // 0.5 + 1 + 2 + 4 + 8 + 16 s, and then one each 30 s.
    expect(server.calls.length).toBeLessThanOrEqual(27);
    expect(reflector.health().failures).toBeGreaterThan(20);
    await reflector.stop();
  });

  test("is not fooled by a server that expires every version: lists with ever longer pauses", async () => {
    const clock = manualClock();
    const server = scripted(({ query }) =>
      query?.["sendInitialEvents"] === undefined
        ? { status: 410, lines: [{ reason: "Expired" }], ending: "end" }
        : { lines: [added("a", 5), listed(9)], ending: "end" },
    );
    const { reflector, story } = follow(server.transport, clock);
    await clock.advance(600_000);
    expect(server.watchLists()).toBeLessThanOrEqual(14);
    expect(story()).toEqual(["Added a@5"]);
    await reflector.stop();
  });

  test("leaves a stream that reports an error and stays open", async () => {
    const clock = manualClock();
    const server = scripted((_options, call) =>
      call === 1
        ? { lines: [listed(9), failed(500, "boom"), added("late", 10)], ending: "open" }
        : { lines: [], ending: "open" },
    );
    const { reflector, story } = follow(server.transport, clock);
    await clock.advance(1_000);
    expect(server.aborted).toBe(1);
    expect(server.calls[1]?.query?.["resourceVersion"]).toBe("9");
    expect(story()).toEqual([]);
    expect(reflector.health().lastError).toContain("boom");
    await reflector.stop();
  });

  test("waits for as long as the server asks", async () => {
    const clock = manualClock();
    const server = scripted((_options, call) =>
      call === 2
        ? { status: 429, headers: { "retry-after": "20" }, lines: ["Too many requests"], ending: "end" }
        : { lines: [listed(9)], ending: call === 1 ? "end" : "open" },
    );
    const { reflector } = follow(server.transport, clock, fixedRandom(0));
    await clock.advance(19_000);
    expect(server.calls.length).toBe(2);
    await clock.advance(2_000);
    expect(server.calls.length).toBe(3);
    await reflector.stop();
  });

  test("survives a line that is no JSON, and goes on from before it", async () => {
    const clock = manualClock();
    const server = scripted((_options, call) =>
      call === 1
        ? { lines: [added("a", 5), listed(9), modified("a", 11), "<html>"], ending: "open" }
        : { lines: [], ending: "open" },
    );
    const { reflector, story } = follow(server.transport, clock);
    await clock.advance(1_000);
    expect(server.calls[1]?.query?.["resourceVersion"]).toBe("11");
    expect(story()).toEqual(["Added a@5", "Modified a@11"]);
    await reflector.stop();
  });

  test("does not tell a change twice that it has already seen", async () => {
    const clock = manualClock();
    const server = scripted((_options, call) => {
      if (call === 1) return { lines: [added("a", 5), listed(9)], ending: new ApiError("Unknown", "cut") };
      return call === 2
        ? { lines: [failed(410)], ending: "end" }
        : { lines: [added("a", 5), added("b", 8), listed(20)], ending: "open" };
    });
    const { reflector, story } = follow(server.transport, clock);
    await clock.advance(5_000);
    expect(story()).toEqual(["Added a@5", "Added b@8"]);
    expect(reflector.health().relists).toBe(1);
    await reflector.stop();
  });

  test("counts an object that cannot be read, and goes on", async () => {
    const clock = manualClock();
    const server = scripted(() => ({
      lines: [added("a", 5), added("unreadable", 6), listed(9)],
      ending: "open",
    }));
    const { reflector, story } = follow(server.transport, clock);
    await reflector.synced;
    expect(story()).toEqual(["Added a@5"]);
    expect(reflector.health().callbackErrors).toBe(1);
    await reflector.stop();
  });

  test("tells how long ago the server last spoke", async () => {
    const clock = manualClock();
    const server = scripted(() => ({ lines: [listed(9)], ending: "open" }));
    const { reflector } = follow(server.transport, clock);
    await reflector.synced;
    await clock.advance(42_000);
    expect(reflector.health()).toMatchObject({ connected: true, lastActivityAgeMs: 42_000 });
    await reflector.stop();
    expect(reflector.health().connected).toBe(false);
  });

  test("tells nothing of what still comes after it was stopped", async () => {
    const clock = manualClock();
    let more = (): void => undefined;
    const late = new Promise<void>((resolve) => (more = resolve));
    const server = scripted(() => ({ lines: [], ending: "end" }));
    const transport: Transport = {
      ...server.transport,
      stream: () =>
        Promise.resolve({
          status: 200,
          headers: {},
          body: (async function* () {
            yield await Promise.resolve(Buffer.from(`${JSON.stringify(listed(9))}\n`));
            await late;
            yield Buffer.from(`${JSON.stringify(added("late", 10))}\n`);
          })(),
          abort: () => undefined,
        }),
    };
    const { reflector, story } = follow(transport, clock);
    await reflector.synced;
    const stopped = reflector.stop();
    more();
    await stopped;
    expect(story()).toEqual([]);
  });

  test("leaves no timer behind when it is stopped in a pause", async () => {
    const clock = manualClock();
    const server = scripted(() => new ApiError("Unreachable", "down"));
    const { reflector } = follow(server.transport, clock);
    await clock.advance(100);
    await reflector.stop();
    expect(clock.pending).toBe(0);
  });
});

describe("fullJitterMs", () => {
  test("doubles up to its maximum and spreads over all of it", () => {
    const most = [0, 1, 2, 3, 8, 1_000].map((failures) => fullJitterMs(failures, fixedRandom(1), RECONNECT_LIMITS));
    expect(most).toEqual([0, 500, 1_000, 2_000, 30_000, 30_000]);
    expect(fullJitterMs(5, fixedRandom(0), RECONNECT_LIMITS)).toBe(0);
  });
});
