/** What does the API server tell of many objects at once: rows about lists and watches, part of the suite in conformance.ts. */
import { expect, test } from "vitest";
import { classify } from "../../src/cluster/errors.ts";
import { configmaps, namespaces, pathOf, type Resource } from "../../src/cluster/resources.ts";
import { lineSplitter } from "../../src/cluster/splitter.ts";
import { api, fresh, NAMESPACE, reason, transport, widgets } from "./ground.ts";

export function reads(): void {
  test("a version that is still to come is VersionTooLarge, with patience asked for", async () => {
    const query = { resourceVersion: "99999999", resourceVersionMatch: "NotOlderThan" };
    const reply = await transport.request({ method: "GET", path: "/api/v1/configmaps", query });
    const error = classify(reply.status, reply.text, reply.headers);
    expect([error.reason, error.status, error.retryAfterMs]).toEqual(["VersionTooLarge", 504, 1_000]);
  });

  test("a list comes page by page, whole, with managedFields empty and all else as it is", async () => {
    const namespace = "paged";
    await api.create(namespaces, { metadata: { name: namespace } });
    for (let i = 0; i < 7; i++) {
      await api.create(configmaps, { metadata: { namespace, name: `c-${i}` }, data: { n: `{"${i}"}]` } });
    }
    const names: unknown[] = [];
    const sizes: number[] = [];
    for await (const page of api.list(configmaps, { namespace, limit: 3 })) {
      sizes.push(page.items.length);
      for (const item of page.items) names.push([item.metadata.name, item["data"], item.metadata["managedFields"]]);
    }
    expect(sizes).toEqual([3, 3, 1]);
    expect(names).toEqual(Array.from({ length: 7 }, (_, i) => [`c-${i}`, { n: `{"${i}"}]` }, []]));
  });

  test("a list that is longer than allowed is TooLarge, before it fills the memory", async () => {
    const all = async () => {
      for await (const page of api.list(configmaps, { namespace: "paged", limit: 3, maxItems: 5 })) void page;
    };
    expect(await reason(all())).toBe("TooLarge");
  });

  test("of a name that tries to leave its place is refused before anything is sent", async () => {
    for (const name of ["..", ".", "", "x".repeat(254)]) {
      await expect(api.get(configmaps, { namespace: NAMESPACE, name })).rejects.toThrow(TypeError);
    }
    // Escaped, so it is a name that does not exist and not a path into another namespace.
    expect(
      await reason(api.get(configmaps, { namespace: NAMESPACE, name: "../../kube-system/configmaps/x" })),
    ).not.toBe("ok");
  });
}

interface Event {
  readonly type: string;
  readonly object: {
    readonly code?: number;
    readonly data?: unknown;
    readonly metadata: {
      readonly name?: string;
      readonly resourceVersion: string;
      readonly annotations?: Readonly<Record<string, string>>;
    };
  };
}

/** The first `count` events of a watch in a namespace, on its ConfigMaps by default; `then` runs once the watch is open. */
async function told(
  namespace: string,
  query: Readonly<Record<string, string>>,
  count: number,
  then: () => Promise<unknown> = () => Promise.resolve(),
  resource: Resource = configmaps,
): Promise<Event[]> {
  const events: Event[] = [];
  const path = pathOf(resource, { namespace });
  const reply = await transport.stream({ path, query: { watch: "1", allowWatchBookmarks: "true", ...query } });
  const splitter = lineSplitter((buffer, start, end) => {
    events.push(JSON.parse(buffer.toString("utf8", start, end)) as Event);
  });
  await then();
  for await (const chunk of reply.body) {
    splitter.push(chunk);
    if (events.length >= count) break;
  }
  reply.abort();
  return events.slice(0, count);
}

const INITIAL = { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" };

async function aNamespace(): Promise<string> {
  const { name } = fresh();
  await api.create(namespaces, { metadata: { name } });
  return name;
}

/** What a watch says: kinds of events and names, `end` for the bookmark that ends the initial events. */
function words(events: readonly Event[]): string[] {
  return events.map(({ type, object: { code, metadata } }) => {
    if (type === "ERROR") return `ERROR ${code}`;
    if (type === "BOOKMARK") return metadata.annotations?.["k8s.io/initial-events-end"] === "true" ? "end" : type;
    return `${type} ${metadata.name}`;
  });
}

export function watches(): void {
  test("that ask for the initial events get all objects, a bookmark that ends them, and then what happens", async () => {
    const namespace = await aNamespace();
    for (const name of ["a", "b"]) await api.create(configmaps, { metadata: { namespace, name } });
    const events = await told(namespace, INITIAL, 4, () =>
      api.create(configmaps, { metadata: { namespace, name: "c" } }),
    );
    expect(words(events)).toEqual(["ADDED a", "ADDED b", "end", "ADDED c"]);
  });

  test("go on from a version, in order, with the last state of what was deleted under a version of its own", async () => {
    const namespace = await aNamespace();
    const where = { namespace, name: "a" };
    const made = await api.create(configmaps, { metadata: where, data: { n: "1" } });
    const changed = await api.mergePatch(configmaps, where, { data: { n: "2" } });
    await api.mergePatch(configmaps, where, { data: { n: "2" } });
    await api.remove(configmaps, where);
    await api.create(configmaps, { metadata: where });
    const events = await told(namespace, { resourceVersion: made.metadata.resourceVersion ?? "" }, 3);
    expect(words(events)).toEqual(["MODIFIED a", "DELETED a", "ADDED a"]);
    expect(events[1]?.object.data).toEqual({ n: "2" });
    const [, gone, again] = events.map(({ object }) => Number(object.metadata.resourceVersion));
    expect(gone).toBeGreaterThan(Number(changed.metadata.resourceVersion));
    expect(again).toBeGreaterThan(gone ?? Infinity);
  });

  test("from a version that history no longer has are told so as an event, with 410", async () => {
    // A kind that came when the server had long been up: what the server knows of it begins later than 1.
    const events = await told(NAMESPACE, { resourceVersion: "1" }, 1, undefined, widgets);
    expect(words(events)).toEqual(["ERROR 410"]);
  });

  test("with a selector tell of an object that no longer matches as of one that is gone", async () => {
    const namespace = await aNamespace();
    const where = { namespace, name: "a" };
    const made = await api.create(configmaps, { metadata: { ...where, labels: { app: "x" } } });
    await api.mergePatch(configmaps, where, { metadata: { labels: { app: "y" } } });
    await api.mergePatch(configmaps, where, { metadata: { labels: { app: "x" } } });
    const query = { resourceVersion: made.metadata.resourceVersion ?? "", labelSelector: "app=x" };
    expect(words(await told(namespace, query, 2))).toEqual(["DELETED a", "ADDED a"]);
  });
}
