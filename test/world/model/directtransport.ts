/** Our transport straight into the model: no wire, no delay, no faults. For the conformance suite. */
import type { RequestOptions, StreamOptions, Transport } from "../../../src/cluster/transport.ts";
import type { ApiServer, Request, Right } from "./apiserver.ts";
import { Chunks, whole } from "./chunks.ts";

/** What of a call reaches the server. */
export function requestOf(options: RequestOptions | StreamOptions, by: string): Request {
  const { path, query = {} } = options;
  if (!("method" in options)) return { method: "GET", path, query, by };
  const { method, body, contentType } = options;
  return {
    method,
    path,
    query,
    by,
    ...(body === undefined ? {} : { body }),
    ...(contentType === undefined ? {} : { contentType }),
  };
}

/** @param right what the caller's token allows */
export function directTransport(server: ApiServer, right: Right = "All"): Transport {
  return {
    request: (options) => {
      const { status, headers, body } = server.handle(requestOf(options, "test"), right);
      return Promise.resolve({ status, headers, text: body });
    },
    stream: (options) => {
      const request = requestOf(options, "test");
      const chunks = new Chunks();
      const answer =
        options.query?.["watch"] === undefined
          ? server.handle(request, right)
          : server.watch(request, (line) => chunks.push(`${line}\n`), right);
      if ("status" in answer) {
        const { status, headers, body } = answer;
        return Promise.resolve({ status, headers, body: whole(body).read(), abort: () => undefined });
      }
      const abort = (): void => {
        answer.close();
        chunks.end();
      };
      options.signal?.addEventListener("abort", abort, { once: true });
      return Promise.resolve({ status: 200, headers: {}, body: chunks.read(), abort });
    },
    close: () => Promise.resolve(),
  };
}
