/**
 * A real evidence server on loopback with a real store in a folder of its own, and a client that can misbehave.
 * Only the API server behind the token review is played, by a table of tokens.
 */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Manifest, PartKind } from "../../src/api/collection.ts";
import { createAuthorizer, type AuthorizerOptions } from "../../src/evidence/authorize.ts";
import type { Progress } from "../../src/evidence/exchange.ts";
import { createEvidenceServer, type EvidenceServerOptions } from "../../src/evidence/server.ts";
import { createDirectoryStore, type EvidenceStore, type StoreOptions } from "../../src/evidence/store.ts";
import { createAuthority, issueServerCertificate, type ServingIdentity } from "../../src/evidence/tls.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

export const COLLECTION = "thumbnail-svc-3f9c-diagnose-0";
export const POD_A = "11111111-aaaa-4aaa-8aaa-000000000001";
export const POD_B = "22222222-bbbb-4bbb-8bbb-000000000002";
/** Tokens have the form of a JWT; what they stand for is in the table below. */
export const TOKEN_A = "header.pod-a.signature";
export const TOKEN_B = "header.pod-b.signature";

const SERVING = newIdentity();

function newIdentity(): ServingIdentity {
  const authority = createAuthority(systemClock, systemRandom);
  const names = ["oomscope-evidence.oomscope-system.svc"];
  return issueServerCertificate(authority, names, ["127.0.0.1"], systemClock, systemRandom);
}

/** Where a server listens and whom to trust there. */
export interface Address {
  readonly port: number;
  readonly caCert: string;
}

export interface Door extends Address {
  readonly root: string;
  readonly store: EvidenceStore;
  readonly logged: string[];
  readonly progress: { readonly collection: string; readonly progress: Progress }[];
  /** Closes the collection in the controller's view. */
  closeCollection(): void;
  /** Serves under another authority from now on and returns its certificate. */
  replaceCertificate(): string;
  stop(): Promise<void>;
}

export interface DoorOptions {
  readonly root?: string;
  readonly store?: Partial<StoreOptions>;
  readonly authorize?: Partial<AuthorizerOptions>;
  readonly server?: Partial<EvidenceServerOptions>;
}

export async function openDoor(options: DoorOptions = {}): Promise<Door> {
  const root = options.root ?? (await temporaryFolder());
  const store = await createDirectoryStore(root, { maxBytes: 2 ** 30, clock: systemClock, ...options.store });
  const logged: string[] = [];
  const write = (fields: object, message: string): void => {
    const err = "err" in fields && fields.err instanceof Error ? fields.err.stack : undefined;
    logged.push(JSON.stringify({ ...fields, err, message }));
  };
  const progress: Door["progress"] = [];
  let state: "Open" | "Closed" = "Open";
  const server = createEvidenceServer({
    store,
    authorize: createAuthorizer({
      ...tableOfTokens(),
      openCollection: (collection) =>
        collection === COLLECTION ? { job: "collect-1", jobUid: "job-uid-1", node: "node-1", state } : undefined,
      sessionPod: (collection) => store.describe(collection)?.podUid,
      ...options.authorize,
    }),
    tls: SERVING,
    clock: systemClock,
    log: { info: write, warn: write, error: write },
    onProgress: (collection, seen) => progress.push({ collection, progress: seen }),
    ...options.server,
  });
  const port = await server.listen(0, "127.0.0.1");
  return {
    port,
    caCert: SERVING.caCert,
    root,
    store,
    logged,
    progress,
    closeCollection: () => {
      state = "Closed";
    },
    replaceCertificate: () => {
      const identity = newIdentity();
      server.replaceCertificate(identity);
      return identity.caCert;
    },
    stop: async () => {
      await server.close();
      if (options.root === undefined) await rm(root, { recursive: true, force: true });
    },
  };
}

export async function temporaryFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), "oomscope-evidence-"));
}

/** Two pods of one Job, both genuine. Every other token is nobody's. */
function tableOfTokens(): Omit<AuthorizerOptions, "openCollection" | "sessionPod"> {
  const pods = new Map([
    [TOKEN_A, { name: "collect-1-a", uid: POD_A }],
    [TOKEN_B, { name: "collect-1-b", uid: POD_B }],
  ]);
  return {
    audience: "oomscope-evidence",
    serviceAccount: { namespace: "oomscope-collectors", name: "oomscope-collector" },
    clock: systemClock,
    reviewToken: async (token) => {
      const pod = pods.get(token);
      if (pod === undefined) return { authenticated: false };
      return {
        authenticated: true,
        audiences: ["oomscope-evidence"],
        user: {
          username: "system:serviceaccount:oomscope-collectors:oomscope-collector",
          extra: {
            "authentication.kubernetes.io/pod-name": [pod.name],
            "authentication.kubernetes.io/pod-uid": [pod.uid],
            "authentication.kubernetes.io/node-name": ["node-1"],
          },
        },
      };
    },
    readPod: async (_namespace, name) => {
      const pod = [...pods.values()].find((pod) => pod.name === name);
      if (pod === undefined) return undefined;
      return { uid: pod.uid, ownerJobUid: "job-uid-1", ownerJobName: "collect-1", node: "node-1", phase: "Running" };
    },
  };
}

export interface Reply {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Record<string, unknown>;
}

export interface Call {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
  readonly localAddress?: string;
}

/** One request on a connection of its own. Rejects when the connection breaks before an answer. */
export function call(to: Address, { method = "GET", path, headers = {}, body, localAddress }: Call): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const address = localAddress === undefined ? {} : { localAddress };
    const options = {
      host: "127.0.0.1",
      port: to.port,
      ca: to.caCert,
      method,
      path,
      headers,
      agent: false,
      ...address,
    };
    const request = httpsRequest(options, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(pieces).toString("utf8");
        const json = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
        resolve({ status: response.statusCode ?? 0, body: json, headers: response.headers });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

export function partPath(kind: string, index: number | string, collection = COLLECTION): string {
  return `/v1/collections/${collection}/parts/${kind}/${index}`;
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export interface Upload {
  readonly kind: string;
  readonly index?: number;
  /** The whole part. */
  readonly bytes: Uint8Array;
  readonly start?: number;
  /** First byte that is not sent. */
  readonly end?: number;
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

/** A well-behaved PUT of a part or of a piece of it; `headers` replace ours. */
export function put(to: Address, upload: Upload): Promise<Reply> {
  const { kind, index = 0, bytes, start = 0, end = bytes.length, token = TOKEN_A } = upload;
  return call(to, {
    method: "PUT",
    path: partPath(kind, index),
    headers: {
      Authorization: `Bearer ${token}`,
      "Content-Length": String(end - start),
      "Content-Range": bytes.length === 0 ? "bytes */0" : `bytes ${start}-${end - 1}/${bytes.length}`,
      "X-Oomscope-Sha256": sha256(bytes),
      "X-Oomscope-Lines": "0",
      ...upload.headers,
    },
    body: bytes.subarray(start, end),
  });
}

export function get(to: Address, kind: string, index = 0, token = TOKEN_A): Promise<Reply> {
  return call(to, { path: partPath(kind, index), headers: { Authorization: `Bearer ${token}` } });
}

interface ManifestPart {
  readonly kind: PartKind;
  readonly index: number;
  readonly bytes: Uint8Array;
}

export function manifestOf(parts: readonly ManifestPart[], change: Partial<Manifest> = {}): Buffer {
  const manifest: Manifest = {
    schema: 1,
    collection: COLLECTION,
    tool: { name: "oomscope", version: "0.1.0" },
    started: "2030-01-01T00:00:00Z",
    finished: "2030-01-01T00:05:00Z",
    plan: {
      schema: 1,
      collection: COLLECTION,
      purpose: "Diagnose",
      pods: [],
      intervalMs: 30_000,
      durationMs: 300_000,
      stallBudgetMs: 1000,
    },
    samples: 0,
    samplesExpected: 10,
    outcome: "Complete",
    parts: parts.map(({ kind, index, bytes }) => ({ kind, index, bytes: bytes.length, sha256: sha256(bytes) })),
    skipped: [],
    cost: { stallMs: 1, cpuMs: 2, peakRssBytes: 3 },
    ...change,
  };
  return Buffer.from(JSON.stringify(manifest));
}

export const lines = (count: number): Buffer => Buffer.from("{}\n".repeat(count));
