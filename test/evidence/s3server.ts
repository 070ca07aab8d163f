/**
 * A real S3 server (versitygw on a folder) with TLS, and a proxy before it that can do what networks and servers do: fail, be slow, change bytes.
 * The proxy keeps the Host header, so that signatures stay right.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { request as tlsRequest } from "node:https";
import { type AddressInfo, createServer as createSocket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createAuthority, issueServerCertificate } from "../../src/evidence/tls.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { temporaryFolder } from "./door.ts";

export const ACCESS_KEY = "OOMSCOPETESTKEY";
export const SECRET_KEY = "canary-secret-key-of-the-bucket";
export const BUCKET = "evidence";

export interface S3Server {
  /** https://127.0.0.1:PORT */
  readonly endpoint: string;
  /** PEM of what its certificate is checked with. */
  readonly ca: string;
  /** Folder that holds the objects of the bucket, by key. */
  readonly objects: string;
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes everything. */
  stop(): Promise<void>;
}

/** Throws, saying what to run, when the server has not been built. */
export async function startS3Server(): Promise<S3Server> {
  const script = join(import.meta.dirname, "..", "s3", "build");
  const binary = execFileSync(script, ["--path"], { encoding: "utf8" }).trim();
  try {
    accessSync(binary, constants.X_OK);
  } catch {
    throw new Error("There is no S3 server to test against. Run `make s3-build`, which builds it once and keeps it.");
  }
  const root = await temporaryFolder();
  const authority = createAuthority(systemClock, systemRandom);
  const { certPem, keyPem, caCert } = pemOf(authority);
  for (const name of ["data", "side"]) await mkdir(join(root, name));
  await mkdir(join(root, "data", BUCKET));
  await writeFile(join(root, "cert"), certPem);
  await writeFile(join(root, "key"), keyPem);
  const port = await freePort();
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    child = spawn(
      binary,
      ["--quiet", "--port", `127.0.0.1:${port}`, "--cert", join(root, "cert"), "--key", join(root, "key")].concat(
        "posix",
        ["--sidecar", join(root, "side"), join(root, "data")],
      ),
      { env: { ROOT_ACCESS_KEY_ID: ACCESS_KEY, ROOT_SECRET_ACCESS_KEY: SECRET_KEY }, stdio: "ignore" },
    );
    for (let tries = 0; !(await answers(port, caCert)); tries++) {
      if (tries > 300 || child.exitCode !== null) throw new Error("The S3 server did not start");
      await delay(50);
    }
  }

  async function kill(): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  await start();
  return {
    endpoint: `https://127.0.0.1:${port}`,
    ca: caCert,
    objects: join(root, "data", BUCKET),
    kill,
    start,
    stop: async () => {
      await kill();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function pemOf(authority: ReturnType<typeof createAuthority>): { certPem: string; keyPem: string; caCert: string } {
  const { cert, key, caCert } = issueServerCertificate(
    authority,
    ["localhost"],
    ["127.0.0.1"],
    systemClock,
    systemRandom,
  );
  return { certPem: cert, keyPem: key, caCert };
}

async function freePort(): Promise<number> {
  const socket = createSocket().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address() as AddressInfo;
  socket.close();
  await once(socket, "close");
  return port;
}

function answers(port: number, ca: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = tlsRequest({ host: "127.0.0.1", port, ca, agent: false }, (response) => {
      response.resume();
      resolve(true);
    });
    asked.on("error", () => resolve(false));
    asked.end();
  });
}

/** What the proxy does with a request; undefined passes it on. */
export interface Fault {
  /** Answers this instead. */
  readonly answer?: { readonly status: number; readonly body?: string };
  /** Breaks the connection instead. */
  readonly hangUp?: boolean;
  /** Passes it on, and breaks the connection instead of giving the answer back. */
  readonly loseAnswer?: boolean;
  /** Waits before passing it on, in milliseconds. */
  readonly waitMs?: number;
  /** Changes the body on its way to the server. */
  readonly spoil?: boolean;
  /** Leaves out these headers of the answer. */
  readonly withoutHeaders?: readonly string[];
  /** Waited for before passing it on. */
  readonly before?: () => Promise<void>;
}

export interface S3Proxy {
  readonly endpoint: string;
  /** Every request that came, as `METHOD /path?query`. */
  readonly seen: string[];
  fault: (line: string) => Fault | undefined;
  stop(): Promise<void>;
}

export async function startS3Proxy(server: S3Server): Promise<S3Proxy> {
  const seen: string[] = [];
  const proxy = { seen, fault: (_line: string): Fault | undefined => undefined };
  const listener: Server = createServer((from, to) => {
    const line = `${from.method} ${from.url}`;
    seen.push(line);
    void pass(server, proxy.fault(line) ?? {}, from, to);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return Object.assign(proxy, {
    endpoint: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    stop: async () => {
      listener.closeAllConnections();
      listener.close();
      await once(listener, "close");
    },
  });
}

async function pass(server: S3Server, fault: Fault, from: IncomingMessage, to: ServerResponse): Promise<void> {
  const pieces: Buffer[] = [];
  for await (const piece of from as AsyncIterable<Buffer>) pieces.push(piece);
  const body = Buffer.concat(pieces);
  if (fault.hangUp === true) return void to.destroy();
  if (fault.answer !== undefined) {
    to.writeHead(fault.answer.status, { "content-type": "application/xml" });
    return void to.end(fault.answer.body ?? "");
  }
  await fault.before?.();
  if (fault.waitMs !== undefined) await delay(fault.waitMs);
  if (fault.spoil === true && body.length > 0) body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 1;
  const url = new URL(server.endpoint);
  const options = { host: url.hostname, port: url.port, method: from.method, path: from.url, headers: from.headers };
  const asked = tlsRequest({ ...options, ca: server.ca, agent: false }, (answer) => {
    if (fault.loseAnswer === true) {
      answer.resume().on("end", () => to.destroy());
      return;
    }
    const headers = Object.entries(answer.headers).filter(([name]) => fault.withoutHeaders?.includes(name) !== true);
    to.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers));
    answer.pipe(to);
  });
  asked.on("error", () => to.destroy());
  asked.end(body);
}
