/** How are single objects and whole lists read, without ever holding the text of a list? */
import type { ApiObject, CallOptions, ListOptions, ListPage, ObjectAddress, Reads } from "./api.ts";
import { READ_TIMEOUT_MS, send } from "./call.ts";
import { ApiError, classify } from "./errors.ts";
import { pathOf, type Resource } from "./resources.ts";
import { itemSplitter, parseWithoutManagedFields } from "./splitter.ts";
import { readText, type Transport } from "./transport.ts";

const PAGE = 500;
const MAX_LIST_ITEMS = 20_000;

async function readPage(
  transport: Transport,
  path: string,
  query: Record<string, string | undefined>,
  options: ListOptions,
) {
  const reply = await transport.stream({
    path,
    query,
    timeoutMs: options.timeoutMs ?? READ_TIMEOUT_MS,
    idleTimeoutMs: options.timeoutMs ?? READ_TIMEOUT_MS,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (reply.status !== 200) throw classify(reply.status, await readText(reply.body, 1024 * 1024), reply.headers);
  const items: unknown[] = [];
  const splitter = itemSplitter((buffer, start, end) => {
    items.push(parseWithoutManagedFields(buffer, start, end));
  });
  try {
    for await (const chunk of reply.body) splitter.push(chunk);
    splitter.end();
    const { metadata } = JSON.parse(splitter.envelope()) as {
      metadata?: { resourceVersion?: string; continue?: string };
    };
    return { items, resourceVersion: metadata?.resourceVersion ?? "", next: metadata?.continue ?? "" };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError("Unknown", `GET ${path}: the list cannot be read: ${String(error)}`, { cause: error });
  } finally {
    reply.abort();
  }
}

/** How a read is repeated while the server asks for patience. */
export type PatientRead = <T>(call: CallOptions, read: () => Promise<T>) => Promise<T>;

export function reads(transport: Transport, patient: PatientRead): Reads {
  return {
    get: async <T extends ApiObject>(resource: Resource, address: ObjectAddress, options: CallOptions = {}) => {
      const path = pathOf(resource, address);
      return (await patient(options, () => send(transport, { ...options, method: "GET", path }))) as T;
    },
    async *list<T extends ApiObject>(resource: Resource, options: ListOptions = {}): AsyncGenerator<ListPage<T>> {
      const { namespace, labelSelector, fieldSelector, limit = PAGE, maxItems = MAX_LIST_ITEMS } = options;
      const path = pathOf(resource, namespace === undefined ? {} : { namespace });
      let next = "";
      let seen = 0;
      do {
        const query = { labelSelector, fieldSelector, limit: String(limit), continue: next === "" ? undefined : next };
        const page = await patient(options, () => readPage(transport, path, query, options));
        seen += page.items.length;
        if (seen > maxItems) throw new ApiError("TooLarge", `GET ${path}: more than ${maxItems} objects`);
        yield { items: page.items as T[], resourceVersion: page.resourceVersion };
        next = page.next;
      } while (next !== "");
    },
    text: (resource, address, query, options) =>
      patient(options, async () => {
        const { signal, timeoutMs = READ_TIMEOUT_MS, maxBytes } = options;
        const reply = await transport.request({
          method: "GET",
          path: pathOf(resource, address),
          query,
          accept: "text/plain, */*",
          timeoutMs,
          maxBytes,
          ...(signal === undefined ? {} : { signal }),
        });
        if (reply.status !== 200) throw classify(reply.status, reply.text, reply.headers);
        return reply.text;
      }),
  };
}
