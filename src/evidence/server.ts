/**
 * The door for evidence: who may come in, how long may it take, and what is answered?
 * TLS and HTTP/1.1 from node:https. Nothing of a body is read before its sender is authorised; every wait has an end; tokens
 * and URLs are never logged. What an answer means for the bytes on disk is decided in `store.ts`, who may write in `authorize.ts`.
 */
import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../seams.ts";
import type { Authorizer } from "./authorize.ts";
import { asksForPack, type Download } from "./download.ts";
import { createExchange, type Answer, type EvidenceLog, type Progress } from "./exchange.ts";
import type { EvidenceStore } from "./store.ts";

interface ServerLimits {
  /** Connections in all; more are dropped at once. */
  readonly maxConnections: number;
  /** Connections from one address, so that one hostile pod cannot use up all. */
  readonly maxConnectionsPerAddress: number;
  /** Requests that are being worked on, in all and from one address; more get 503. Bounds memory and TokenReviews. */
  readonly maxRequests: number;
  readonly maxRequestsPerAddress: number;
  readonly handshakeTimeoutMs: number;
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to the last of its body. */
  readonly requestTimeoutMs: number;
  /** A connection on which nothing moves. */
  readonly idleTimeoutMs: number;
  /** A connection between two requests. Longer than the collectors keep one, so that they end it and no request is lost. */
  readonly keepAliveTimeoutMs: number;
  /** How often the timeouts of requests are looked at. */
  readonly checkIntervalMs: number;
  /** All bodies of one collection together, failed attempts included, in bytes. */
  readonly maxSessionBytes: number;
  /** How long `close` waits for running requests. */
  readonly closeTimeoutMs: number;
}

const DEFAULT_LIMITS: ServerLimits = {
  maxConnections: 256,
  maxConnectionsPerAddress: 32,
  maxRequests: 32,
  maxRequestsPerAddress: 8,
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  idleTimeoutMs: 30_000,
  keepAliveTimeoutMs: 65_000,
  checkIntervalMs: 1000,
  maxSessionBytes: 2 ** 30,
  closeTimeoutMs: 5000,
};
const MAX_HEADER_BYTES = 20 * 1024;

export interface EvidenceServerOptions {
  readonly store: EvidenceStore;
  readonly authorize: Authorizer;
  /** PEM texts. */
  readonly tls: { readonly cert: string; readonly key: string };
  readonly clock: Clock;
  readonly log: EvidenceLog;
  readonly limits?: Partial<ServerLimits>;
  /** False while this replica is not the leader: everything is answered with 503. */
  readonly serving?: () => boolean;
  /** Answers those who take packs away; absent: nobody can. */
  readonly download?: Download;
  /** Told after each part that arrived. What it throws is logged and forgotten. */
  readonly onProgress?: (collection: string, progress: Progress) => void;
}

export interface EvidenceServer {
  /** Starts to listen and resolves to the port. */
  listen(port: number, host?: string): Promise<number>;
  /** For new connections; running ones keep the certificate they began with. */
  replaceCertificate(tls: { readonly cert: string; readonly key: string }): void;
  /** Takes no new connections, lets running requests end, then closes what is left. */
  close(): Promise<void>;
}

export function createEvidenceServer(options: EvidenceServerOptions): EvidenceServer {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const exchange = createExchange({ ...options, limits });
  const server = createServer({
    cert: options.tls.cert,
    key: options.tls.key,
    minVersion: "TLSv1.3",
    ALPNProtocols: ["http/1.1"],
    handshakeTimeout: limits.handshakeTimeoutMs,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: limits.checkIntervalMs,
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  server.timeout = limits.idleTimeoutMs;
  server.maxConnections = limits.maxConnections;
  const sockets = limitConnections(server, limits.maxConnectionsPerAddress);
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const reply = async (): Promise<void> => {
      if (options.download !== undefined && asksForPack(request) && options.serving?.() !== false)
        return options.download(request, response);
      const answer = await exchange(request, () => {
        if (request.headers.expect !== undefined) response.writeContinue();
      });
      // To one who was not invited Node says `Connection: close`: nobody knows whether the next bytes are a body.
      if (answer !== undefined) send(response, answer);
    };
    void reply();
  };
  server.on("request", handle);
  // Without this Node invites the body before we know who sends it.
  server.on("checkContinue", handle);
  server.on("error", (err) => options.log.error({ err }, "Evidence server failed"));
  return {
    listen: (port, host) => listen(server, port, host),
    replaceCertificate: (tls) => server.setSecureContext({ ...tls, minVersion: "TLSv1.3" }),
    close: () => close(server, sockets, options.clock, limits.closeTimeoutMs),
  };
}

/**
 * Drops a connection at once when its address has too many: a slow reader of headers costs its own address only.
 * Returns the connections that are open, also those that have not come as far as TLS.
 */
function limitConnections(server: Server, perAddress: number): ReadonlySet<Socket> {
  const open = new Map<string, number>();
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    const count = (open.get(address) ?? 0) + 1;
    open.set(address, count);
    sockets.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
    if (count > perAddress) socket.destroy();
  });
  return sockets;
}

function send(response: ServerResponse, answer: Answer): void {
  if (response.destroyed || response.headersSent) return;
  const body = Buffer.from(`${JSON.stringify(answer.body)}\n`);
  response.writeHead(answer.status, {
    "Content-Type": "application/json",
    "Content-Length": body.length,
    "Cache-Control": "no-store",
    ...(answer.retryAfterSeconds === undefined ? {} : { "Retry-After": String(answer.retryAfterSeconds) }),
    ...(answer.status === 401 ? { "WWW-Authenticate": "Bearer" } : {}),
    ...(answer.status === 405 ? { Allow: "GET, PUT" } : {}),
    ...(answer.hangUp === true ? { Connection: "close" } : {}),
  });
  response.end(body);
}

function listen(server: Server, port: number, host: string | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function close(server: Server, sockets: ReadonlySet<Socket>, clock: Clock, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(timeoutMs, () => {
      for (const socket of sockets) socket.destroy();
    });
    server.close(() => {
      timer.cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}
