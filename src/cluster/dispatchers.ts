/**
 * Over which connections do requests go? One undici dispatcher is kept for as long as the certificates stay the same; a rotated CA or client
 * certificate makes a new one, and the old one is let go when its last request (a watch lives for minutes) is done.
 */
import { createHash } from "node:crypto";
import { Agent, ProxyAgent, type Dispatcher } from "undici";
import type { AccessSecrets, Credentials } from "./credentials.ts";

export interface Access {
  readonly dispatcher: Dispatcher;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ConnectionPool {
  /** The dispatcher and the headers for the next request. Throws what the credentials throw. */
  access(): Promise<Access>;
  close(): Promise<void>;
}

/** Watches hold one connection each; the rest is for requests. */
const MAX_CONNECTIONS = 64;
const CONNECT_TIMEOUT_MS = 10_000;
/** Below the idle timeouts of common load balancers (60 s and more), so that it is us who closes. */
const KEEP_ALIVE_MS = 30_000;

function tlsKey(secrets: AccessSecrets): string {
  const hash = createHash("sha256");
  for (const part of [secrets.ca, secrets.cert, secrets.key]) {
    // The length keeps two neighbours from being taken for each other.
    hash.update(part === undefined ? "-" : `${part.length}:`);
    if (part !== undefined) hash.update(part);
  }
  return hash.update(`${secrets.serverName ?? ""}|${secrets.skipTlsVerify}|${secrets.proxyUrl ?? ""}`).digest("hex");
}

function makeDispatcher(secrets: AccessSecrets): Dispatcher {
  const tls = {
    ...(secrets.ca === undefined ? {} : { ca: secrets.ca }),
    ...(secrets.cert === undefined ? {} : { cert: secrets.cert }),
    ...(secrets.key === undefined ? {} : { key: secrets.key }),
    ...(secrets.serverName === undefined ? {} : { servername: secrets.serverName }),
    ...(secrets.skipTlsVerify ? { rejectUnauthorized: false } : {}),
  };
  // HTTP/1.1: one socket for each watch, so that one broken stream takes no other with it.
  const common = { allowH2: false, pipelining: 1, connections: MAX_CONNECTIONS, keepAliveTimeout: KEEP_ALIVE_MS };
  const connect = { ...tls, timeout: CONNECT_TIMEOUT_MS, keepAlive: true, keepAliveInitialDelay: 30_000 };
  return secrets.proxyUrl === undefined
    ? new Agent({ ...common, connect })
    : new ProxyAgent({ ...common, uri: secrets.proxyUrl, requestTls: tls });
}

export function connectionPool(credentials: Credentials): ConnectionPool {
  let current: { readonly key: string; readonly dispatcher: Dispatcher } | undefined;
  const closing = new Set<Promise<void>>();

  function retire(dispatcher: Dispatcher): void {
    const done = dispatcher.close().catch(() => undefined);
    closing.add(done);
    void done.finally(() => closing.delete(done));
  }

  return {
    async access() {
      const secrets = await credentials.auth();
      const key = tlsKey(secrets);
      if (current?.key !== key) {
        const old = current;
        current = { key, dispatcher: makeDispatcher(secrets) };
        if (old !== undefined) retire(old.dispatcher);
      }
      return { dispatcher: current.dispatcher, headers: secrets.headers };
    },
    async close() {
      const last = current;
      current = undefined;
      await last?.dispatcher.destroy();
    },
  };
}
