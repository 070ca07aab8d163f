/** What do reads and writes do when the network or the server fails them? A real API server behind proxies that fail on purpose. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createApi, type Api, type ApiObject } from "../../src/cluster/api.ts";
import { ApiError, outcomeIsUnknown } from "../../src/cluster/errors.ts";
import { createEventRecorder } from "../../src/cluster/events.ts";
import { configmaps, events, namespaces, tokenreviews } from "../../src/cluster/resources.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import {
  startHttpFaultProxy,
  startTcpFaultProxy,
  type HttpFaultProxy,
  type RequestFault,
} from "../support/faultproxy.ts";
import { startOwnServer, type OwnServer } from "./ownserver.ts";

const NAMESPACE = "media";
const seams = { clock: systemClock, random: systemRandom, fieldManager: "oomscope" };
let own: OwnServer;
let proxy: HttpFaultProxy;
let api: Api;
let count = 0;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  own = await startOwnServer();
  await own.api.create(namespaces, { metadata: { name: NAMESPACE } });
  proxy = await startHttpFaultProxy({ target: new URL(own.server.url), ca: own.server.ca });
});
afterAll(async () => {
  await proxy?.close();
  await own?.stop();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function fresh(): { readonly namespace: string; readonly name: string } {
  return { namespace: NAMESPACE, name: `one-${++count}` };
}

/** The api through the proxy, which does `faults` to the first requests and lets the rest pass. Returns the requests that come from now on. */
function withFaults(...faults: readonly RequestFault[]): () => readonly string[] {
  const waiting = [...faults];
  const before = proxy.requests.length;
  proxy.choose(() => waiting.shift() ?? { kind: "Pass" });
  api = createApi(own.transport(undefined, proxy.url), seams);
  return () => proxy.requests.slice(before);
}

async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await promise.then(
    () => new Error("It did not fail"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw error;
  return error;
}

const exists = async (where: { namespace: string; name: string }): Promise<boolean> =>
  own.api.get(configmaps, where).then(
    () => true,
    () => false,
  );
const throttled: RequestFault = {
  kind: "Answer",
  status: 429,
  headers: { "retry-after": "1" },
  body: "Too many requests, please try again later.",
};

describe("a write", () => {
  test("whose reply is lost has happened, is Unknown, and is not sent again", async () => {
    const requests = withFaults({ kind: "LoseReply" });
    const where = fresh();
    const error = await failure(api.create(configmaps, { metadata: where }));
    expect(error.reason).toBe("Unknown");
    expect(outcomeIsUnknown(error)).toBe(true);
    expect(await exists(where)).toBe(true);
    expect(requests().length).toBe(1);
  });

  test("whose request is lost has not happened, and is Unknown all the same", async () => {
    const requests = withFaults({ kind: "LoseRequest" });
    const where = fresh();
    const error = await failure(api.create(configmaps, { metadata: where }));
    expect(error.reason).toBe("Unknown");
    expect(await exists(where)).toBe(false);
    expect(requests().length).toBe(1);
  });

  test.each<[string, RequestFault, string]>([
    ["429", throttled, "Throttled"],
    ["503", { kind: "Answer", status: 503, headers: { "retry-after": "1" }, body: "" }, "ServerError"],
    ["500", { kind: "Answer", status: 500, body: "{}" }, "ServerError"],
    ["a page of a proxy with status 200", { kind: "Answer", status: 200, body: "<html>" }, "Unknown"],
  ])("that is answered with %s is not sent again", async (_title, fault, reason) => {
    const requests = withFaults(fault);
    expect((await failure(api.create(configmaps, { metadata: fresh() }))).reason).toBe(reason);
    expect(requests().length).toBe(1);
  });

  test("is held back for as long as the server asked another one to wait", async () => {
    const requests = withFaults(throttled);
    await failure(api.create(configmaps, { metadata: fresh() }));
    const startedAt = systemClock.monotonicMs();
    await api.create(configmaps, { metadata: fresh() });
    expect(systemClock.monotonicMs() - startedAt).toBeGreaterThan(900);
    expect(requests().length).toBe(2);
  });

  test("without the lease is refused before anything is sent; the elector's passes", async () => {
    const requests = withFaults();
    const fenced = createApi(own.transport(undefined, proxy.url), { ...seams, mayWrite: () => false });
    const where = fresh();
    const writes = [
      fenced.create(configmaps, { metadata: where }),
      fenced.replace(configmaps, { metadata: where }),
      fenced.apply(configmaps, { metadata: where }),
      fenced.applyStatus(configmaps, { metadata: where }),
      fenced.mergePatch(configmaps, where, {}),
      fenced.jsonPatch(configmaps, where, []),
      fenced.remove(configmaps, where),
      fenced.evict(where),
    ];
    for (const write of writes) expect((await failure(write)).reason).toBe("NotLeader");
    expect(requests()).toEqual([]);
    await fenced.unfenced.create(configmaps, { metadata: where });
    expect(await exists(where)).toBe(true);
  });

  test("that waits for its connection while the lease runs out is not sent", async () => {
    const slow = await startTcpFaultProxy(own.port);
    cleanups.push(() => slow.close());
    let leading = true;
    const fenced = createApi(own.transport(undefined, `https://127.0.0.1:${slow.port}`), {
      ...seams,
      mayWrite: () => leading,
    });
    const where = fresh();
    slow.stall();
    const writing = failure(fenced.create(configmaps, { metadata: where }));
    await expect.poll(() => slow.open).toBe(1);
    leading = false;
    slow.resume();
    expect((await writing).reason).toBe("NotLeader");
    await systemClock.sleep(200);
    expect(await exists(where)).toBe(false);
  });
});

describe("a read", () => {
  test("is asked again when the server asks for patience, and no sooner", async () => {
    const requests = withFaults(throttled);
    const startedAt = systemClock.monotonicMs();
    const { metadata } = await api.get(namespaces, { name: NAMESPACE });
    expect(metadata.name).toBe(NAMESPACE);
    expect(systemClock.monotonicMs() - startedAt).toBeGreaterThan(900);
    expect(requests().length).toBe(2);
  });

  test("is not asked for ever", async () => {
    const requests = withFaults(throttled, throttled, throttled, throttled, throttled);
    expect((await failure(api.get(namespaces, { name: NAMESPACE }))).reason).toBe("Throttled");
    expect(requests().length).toBe(4);
  });

  test("does not wait longer than its caller", async () => {
    withFaults(throttled);
    const abort = new AbortController();
    const read = api.get(namespaces, { name: NAMESPACE }, { signal: abort.signal });
    setTimeout(() => abort.abort(new Error("enough")), 100);
    await expect(read).rejects.toThrow();
  });

  test("of a list goes on after a page for which the server asked for patience", async () => {
    withFaults({ kind: "Pass" }, throttled);
    for (let i = 0; i < 3; i++) await own.api.create(configmaps, { metadata: fresh() });
    let pages = 0;
    for await (const page of api.list(configmaps, { namespace: NAMESPACE, limit: 2 }))
      pages += page.items.length > 0 ? 1 : 0;
    expect(pages).toBeGreaterThan(1);
  });
});

test("a review is asked without the lease", async () => {
  const follower = createApi(own.transport(), { ...seams, mayWrite: () => false });
  const review = await follower.createReview<{ status?: { authenticated?: boolean } }>(tokenreviews, {
    spec: { token: "no-such-token" },
  });
  expect(review.status?.authenticated).not.toBe(true);
});

describe("events", () => {
  const regarding = (name: string) => ({
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    namespace: NAMESPACE,
    name,
    uid: `uid-of-${name}`,
  });
  const recorder = (of: Api) => createEventRecorder({ ...seams, api: of, instance: "operator-1" });

  async function recorded(name: string): Promise<ApiObject[]> {
    const found: ApiObject[] = [];
    for await (const page of own.api.list(events, {
      namespace: NAMESPACE,
      fieldSelector: `involvedObject.name=${name}`,
    })) {
      found.push(...page.items);
    }
    return found;
  }

  test("are told once, and counted when they repeat", async () => {
    const { record, flush, stats } = bound(recorder(own.api));
    for (let i = 0; i < 3; i++) {
      record({ regarding: regarding("repeat"), type: "Warning", reason: "OOMKilled", message: "Killed" });
    }
    record({ regarding: regarding("repeat"), type: "Normal", reason: "PodPreserved", message: "Kept" });
    await flush();
    expect(stats()).toEqual({ sent: 4, dropped: 0, failed: 0 });
    const found = (await recorded("repeat")).map(({ reason, count, type, reportingComponent, message }) => ({
      reason,
      count,
      type,
      reportingComponent,
      message,
    }));
    expect(found).toHaveLength(2);
    expect(found).toContainEqual({
      reason: "OOMKilled",
      count: 3,
      type: "Warning",
      reportingComponent: "oomscope.dev/operator",
      message: "Killed",
    });
  });

  test("with ever new messages end up as one", async () => {
    const { record, flush } = bound(recorder(own.api));
    for (let i = 0; i < 50; i++) {
      record({ regarding: regarding("chatty"), type: "Warning", reason: "Refused", message: `Attempt ${i}` });
    }
    await flush();
    const found = await recorded("chatty");
    expect(found).toHaveLength(11);
    const combined = found.find((event) => String(event["message"]).startsWith("(combined"));
    expect(combined).toMatchObject({ count: 40, message: "(combined from similar events) Attempt 49" });
  });

  test("that were deleted are told anew", async () => {
    const { record, flush } = bound(recorder(own.api));
    const note = { regarding: regarding("anew"), type: "Normal", reason: "Seen", message: "Seen" } as const;
    record(note);
    await flush();
    const [first] = await recorded("anew");
    await own.api.remove(events, { namespace: NAMESPACE, name: first?.metadata.name ?? "" });
    record(note);
    await flush();
    expect(await recorded("anew")).toHaveLength(1);
  });

  test("never fail or stop the caller, whatever the server says", async () => {
    const fenced = createApi(own.transport(), { ...seams, mayWrite: () => false });
    const { record, flush, stats } = bound(recorder(fenced));
    for (let i = 0; i < 1_500; i++) {
      record({ regarding: regarding("nobody"), type: "Normal", reason: "X", message: `${i}` });
    }
    await flush();
    expect(stats()).toEqual({ sent: 0, dropped: 500, failed: 1_000 });
  });
});

function bound(one: ReturnType<typeof createEventRecorder>) {
  return {
    record: one.record.bind(one),
    flush: one.flush.bind(one),
    stats: one.stats.bind(one),
  };
}
