/**
 * What does a client see when the network or the server misbehaves? Two proxies in front of a real API server: one that carries bytes (cut, stall,
 * half-open, delay, refuse) and one that understands requests (lose the request, lose the reply, answer something else).
 */
import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface TcpFaultProxy {
  readonly port: number;
  /** Connections that were ever made. */
  readonly connections: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Breaks every connection with a reset. */
  cut(): void;
  /** From now on no byte passes, in either direction; nothing is lost. */
  stall(): void;
  /** Lets the held bytes pass. */
  resume(): void;
  /** Closes the server's side of each connection and tells the client nothing, like a machine that is gone. */
  halfOpen(): void;
  /** New connections are reset at once, until `accept`. */
  refuse(): void;
  accept(): void;
  /** Delays each piece of the server's bytes by this much. */
  delay(ms: number): void;
  close(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** Carries bytes to 127.0.0.1:`targetPort`. */
export async function startTcpFaultProxy(targetPort: number): Promise<TcpFaultProxy> {
  const pairs = new Set<Pair>();
  let connections = 0;
  let stalled = false;
  let refusing = false;
  let delayMs = 0;

  const listener = createServer((client) => {
    connections++;
    client.on("error", () => undefined);
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    const server = connect(targetPort, "127.0.0.1");
    server.on("error", () => client.destroy());
    const pair = { client, server };
    pairs.add(pair);
    if (stalled) {
      client.pause();
      server.pause();
    }
    client.on("data", (chunk) => server.write(chunk));
    server.on("data", (chunk) => {
      if (delayMs === 0) client.write(chunk);
      else setTimeout(() => client.write(chunk), delayMs);
    });
    client.on("close", () => {
      pairs.delete(pair);
      server.destroy();
    });
    server.on("end", () => client.end());
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");

  return {
    port: (listener.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    get open() {
      return pairs.size;
    },
    cut() {
      for (const { client } of pairs) client.resetAndDestroy();
    },
    stall() {
      stalled = true;
      for (const { client, server } of pairs) {
        client.pause();
        server.pause();
      }
    },
    resume() {
      stalled = false;
      for (const { client, server } of pairs) {
        client.resume();
        server.resume();
      }
    },
    halfOpen() {
      for (const { client, server } of pairs) {
        server.removeAllListeners();
        server.on("error", () => undefined);
        server.destroy();
        client.removeAllListeners("data");
        client.on("data", () => undefined);
      }
    },
    refuse() {
      refusing = true;
    },
    accept() {
      refusing = false;
    },
    delay(ms) {
      delayMs = ms;
    },
    async close() {
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      listener.close();
      await once(listener, "close");
    },
  };
}

/** What happens to one request. */
export type RequestFault =
  /** Passes. */
  | { readonly kind: "Pass" }
  /** The connection breaks before the server sees it. */
  | { readonly kind: "LoseRequest" }
  /** The server carries it out; the answer never arrives. */
  | { readonly kind: "LoseReply" }
  /** The client loses its connection at once; the server gets the request when `until` resolves. Tells what it answered then. */
  | { readonly kind: "Late"; readonly until: Promise<void>; readonly answered: (status: number) => void }
  /** The server never sees it; this is the answer. */
  | {
      readonly kind: "Answer";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body: string;
    };

export interface HttpFaultProxy {
  /** Plain http: the proxy ends TLS on the server's side. */
  readonly url: string;
  /** Method and path (with query) of each request that came, in order. */
  readonly requests: readonly string[];
  /** Decides on each request from now on. */
  choose(fault: (method: string, path: string) => RequestFault): void;
  close(): Promise<void>;
}

export interface HttpFaultProxyOptions {
  /** https URL of the API server. */
  readonly target: URL;
  readonly ca: string | Buffer;
}

/** Carries requests to `target`, with the headers (and so the identity) of the client. */
export async function startHttpFaultProxy({ target, ca }: HttpFaultProxyOptions): Promise<HttpFaultProxy> {
  const requests: string[] = [];
  let decide: (method: string, path: string) => RequestFault = () => ({ kind: "Pass" });

  const forward = (request: IncomingMessage, response: ServerResponse, lose: boolean): void => {
    const { host: _host, ...headers } = request.headers;
    const upstream = httpsRequest(
      new URL(request.url ?? "/", target),
      { method: request.method, headers, ca },
      (answer) => {
        if (lose) {
          // Only when the whole answer is here has the server surely done it.
          answer.resume();
          answer.on("end", () => request.socket.destroy());
          return;
        }
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on("error", () => response.destroy());
      },
    );
    upstream.on("error", () => request.socket.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  };

  const forwardLate = async (
    request: IncomingMessage,
    { until, answered }: Extract<RequestFault, { kind: "Late" }>,
  ): Promise<void> => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const { host: _host, ...headers } = request.headers;
    request.socket.destroy();
    await until;
    const upstream = httpsRequest(new URL(request.url ?? "/", target), { method: request.method, headers, ca });
    upstream.on("response", (answer) => {
      answer.resume();
      answered(answer.statusCode ?? 0);
    });
    upstream.on("error", () => answered(0));
    upstream.end(Buffer.concat(parts));
  };

  const listener = createHttpServer((request, response) => {
    const method = request.method ?? "";
    const path = request.url ?? "";
    requests.push(`${method} ${path}`);
    const fault = decide(method, path);
    if (fault.kind === "LoseRequest") request.socket.destroy();
    else if (fault.kind === "Late") void forwardLate(request, fault);
    else if (fault.kind === "Answer") {
      request.resume();
      response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers });
      response.end(fault.body);
    } else forward(request, response, fault.kind === "LoseReply");
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    requests,
    choose(fault) {
      decide = fault;
    },
    async close() {
      listener.closeAllConnections();
      listener.close();
      await once(listener, "close");
    },
  };
}
