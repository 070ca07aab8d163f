/**
 * The token checks against a real API server: what TokenRequest really issues, what TokenReview really says, and what the
 * evidence server makes of it.
 */
import { randomBytes } from "node:crypto";
import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createApi, type Api } from "../../src/cluster/api.ts";
import { kubeconfigCredentials } from "../../src/cluster/credentials.ts";
import { readCollectorPod, reviewToken } from "../../src/cluster/evidenceaccess.ts";
import { createTransport, type Transport } from "../../src/cluster/transport.ts";
import { type Authorizer, createAuthorizer, type OpenCollection } from "../../src/evidence/authorize.ts";
import { type Clock, systemClock, systemRandom } from "../../src/seams.ts";
import { COLLECTION, get, lines, openDoor, put } from "./door.ts";

const AUDIENCE = "oomscope-evidence";
const ACCOUNT = "oomscope-collector";
const server = inject("apiServer");
const namespace = `collectors-${randomBytes(4).toString("hex")}`;
const node = `node-${randomBytes(4).toString("hex")}`;

const dispatcher = new Agent({ connect: { ca: server.ca } });
const transports: Transport[] = [];
let api: Api;
let jobUid: string;

interface Object {
  readonly metadata: { readonly name: string; readonly uid: string };
}

async function send(method: "GET" | "POST" | "DELETE", path: string, body?: object, token = server.token) {
  const response = await request(`${server.url}${path}`, {
    method,
    dispatcher,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.statusCode, body: await response.body.json() };
}

async function create(path: string, object: object): Promise<Object> {
  const { status, body } = await send("POST", path, object);
  if (status !== 201) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
  return body as Object;
}

async function connectAs(token?: string): Promise<Api> {
  const credentials = await kubeconfigCredentials({ clock: systemClock, file: server.kubeconfig });
  const impostor = { headers: { authorization: `Bearer ${token}` } };
  const transport = createTransport({
    credentials:
      token === undefined
        ? credentials
        : { ...credentials, auth: async () => ({ ...(await credentials.auth()), ...impostor }) },
    clock: systemClock,
    userAgent: "oomscope-test",
  });
  transports.push(transport);
  return createApi(transport, { clock: systemClock, random: systemRandom, fieldManager: "oomscope" });
}

beforeAll(async () => {
  api = await connectAs();
  await create("/api/v1/namespaces", { metadata: { name: namespace } });
  await create("/api/v1/nodes", { metadata: { name: node } });
  for (const name of [ACCOUNT, "another"]) {
    await create(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } });
  }
  jobUid = await createJob("collect-1");
});

afterAll(async () => {
  await send("DELETE", `/api/v1/nodes/${node}`);
  await Promise.all(transports.map(async (transport) => await transport.close()));
  await dispatcher.destroy();
});

async function createJob(name: string): Promise<string> {
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "none" }] } };
  const { metadata } = await create(`/apis/batch/v1/namespaces/${namespace}/jobs`, {
    metadata: { name },
    spec: { template },
  });
  return metadata.uid;
}

interface PodOptions {
  readonly job?: string;
  readonly uid?: string;
  readonly account?: string;
  readonly on?: string;
}

async function createPod(name: string, options: PodOptions = {}): Promise<string> {
  const { job = "collect-1", uid = jobUid, account = ACCOUNT, on = node } = options;
  const owner = { apiVersion: "batch/v1", kind: "Job", name: job, uid, controller: true };
  const { metadata } = await create(`/api/v1/namespaces/${namespace}/pods`, {
    metadata: { name, ownerReferences: [owner] },
    spec: {
      nodeName: on,
      serviceAccountName: account,
      automountServiceAccountToken: false,
      containers: [{ name: "c", image: "none" }],
    },
  });
  return metadata.uid;
}

async function deletePod(name: string): Promise<void> {
  const { status } = await send("DELETE", `/api/v1/namespaces/${namespace}/pods/${name}?gracePeriodSeconds=0`);
  expect(status).toBe(200);
}

interface TokenOptions {
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly account?: string;
  readonly audiences?: readonly string[];
}

async function requestToken({ pod, account = ACCOUNT, audiences = [AUDIENCE] }: TokenOptions) {
  const bound = pod === undefined ? {} : { boundObjectRef: { apiVersion: "v1", kind: "Pod", ...pod } };
  return await send("POST", `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`, {
    spec: { audiences, expirationSeconds: 600, ...bound },
  });
}

async function issue(options: TokenOptions): Promise<string> {
  const { status, body } = await requestToken(options);
  expect(status).toBe(201);
  return (body as { status: { token: string } }).status.token;
}

async function issueFor(name: string, pod: PodOptions = {}, token: TokenOptions = {}): Promise<string> {
  const uid = await createPod(name, pod);
  return await issue({ ...token, ...(pod.account === undefined ? {} : { account: pod.account }), pod: { name, uid } });
}

/** The operator's own checks; `later` makes it forget what the API server said before. */
function checks(ask: Api = api, sessionPod?: string): { readonly judge: Authorizer; readonly later: () => void } {
  let monotonicMs = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => monotonicMs };
  const open: OpenCollection = { job: "collect-1", jobUid, node, state: "Open" };
  const judge = createAuthorizer({
    reviewToken: async (token, audiences) => await reviewToken(ask, token, audiences),
    readPod: async (namespace, name) => await readCollectorPod(ask, namespace, name),
    openCollection: (collection) => (collection === COLLECTION ? open : undefined),
    sessionPod: () => sessionPod,
    audience: AUDIENCE,
    serviceAccount: { namespace, name: ACCOUNT },
    clock,
  });
  return {
    judge,
    later: () => {
      monotonicMs += 10_000;
    },
  };
}

async function verdict(token: string): Promise<string> {
  const result = await checks().judge(token, COLLECTION);
  return result.ok ? "ok" : `${result.status} ${result.reason}`;
}

describe("a token of a real API server", () => {
  it("for our audience, bound to the planned pod, is accepted with the pod's uid", async () => {
    const uid = await createPod("right");
    const token = await issue({ pod: { name: "right", uid } });
    expect(await checks().judge(token, COLLECTION)).toEqual({ ok: true, podUid: uid, podName: "right", node });
  });

  it("is no use at the API server itself", async () => {
    const token = await issueFor("own-audience");
    expect((await send("GET", "/api/v1/namespaces", undefined, token)).status).toBe(401);
  });

  it("that is not bound to a pod is refused, although it authenticates", async () => {
    expect(await verdict(await issue({}))).toBe("403 NotBoundToPod");
  });

  it("for the API server's audience, or for no audience of ours, is not authenticated", async () => {
    expect(await verdict(await issueFor("default-audience", {}, { audiences: [] }))).toMatch(/^401/);
    expect(await verdict(await issueFor("other-audience", {}, { audiences: ["vault"] }))).toMatch(/^401/);
    expect(await verdict(server.token)).toMatch(/^40[13]/);
  });

  it("for two audiences is good for ours", async () => {
    expect(await verdict(await issueFor("two-audiences", {}, { audiences: ["vault", AUDIENCE] }))).toBe("ok");
  });

  it("of another account is refused, and an account cannot borrow the collector's pod", async () => {
    expect(await verdict(await issueFor("other-account", { account: "another" }))).toBe("403 WrongServiceAccount");
    const uid = await createPod("lender");
    expect((await requestToken({ account: "another", pod: { name: "lender", uid } })).status).toBe(400);
  });

  it("of another Job's pod, and of an older Job's under the same name, is refused", async () => {
    const other = await createJob("collect-2");
    expect(await verdict(await issueFor("other-job", { job: "collect-2", uid: other }))).toBe("403 NotOurJob");
    const stale = { job: "collect-1", uid: "00000000-0000-4000-8000-000000000000" };
    expect(await verdict(await issueFor("older-job", stale))).toBe("403 NotOurJob");
  });

  it("of a pod on another node is refused", async () => {
    const elsewhere = `${node}-b`;
    await create("/api/v1/nodes", { metadata: { name: elsewhere } });
    try {
      expect(await verdict(await issueFor("elsewhere", { on: elsewhere }))).toBe("403 WrongNode");
    } finally {
      await send("DELETE", `/api/v1/nodes/${elsewhere}`);
    }
  });

  it("of the Job's second pod is refused once the first has begun", async () => {
    const first = await createPod("first");
    const second = await issueFor("second");
    const { judge } = checks(api, first);
    expect(await judge(await issue({ pod: { name: "first", uid: first } }), COLLECTION)).toMatchObject({ ok: true });
    expect(await judge(second, COLLECTION)).toMatchObject({ status: 409, reason: "AnotherCollector" });
  });

  it("dies with its pod, although the API server's review still remembers it", async () => {
    const token = await issueFor("mortal");
    const { judge, later } = checks();
    expect(await judge(token, COLLECTION)).toMatchObject({ ok: true });
    await deletePod("mortal");
    later();
    // The API server caches its reviews for ten seconds; the live read of the pod is what refuses at once.
    const gone = await judge(token, COLLECTION);
    expect([401, 403]).toContain(gone.ok ? 200 : gone.status);
  });

  it("does not pass to the pod that takes its pod's name", async () => {
    const token = await issueFor("phoenix");
    const { judge, later } = checks();
    expect(await judge(token, COLLECTION)).toMatchObject({ ok: true });
    await deletePod("phoenix");
    const uid = await createPod("phoenix");
    later();
    const replaced = await judge(token, COLLECTION);
    expect([401, 403]).toContain(replaced.ok ? 200 : replaced.status);
    const fresh = await issue({ pod: { name: "phoenix", uid } });
    expect(await judge(fresh, COLLECTION)).toMatchObject({ ok: true, podUid: uid });
  });

  it("with one changed letter is nobody's", async () => {
    const token = await issueFor("forged");
    const [header = "", payload = "", signature = ""] = token.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as Record<string, unknown>;
    const forged = Buffer.from(JSON.stringify({ ...claims, exp: Number(claims["exp"]) + 86_400 })).toString(
      "base64url",
    );
    expect(await verdict(`${header}.${forged}.${signature}`)).toBe("401 NotAuthenticated");
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    expect(await verdict(`${none}.${payload}.`)).toBe("401 NotAuthenticated");
  });

  it("cannot be judged while the API server refuses the operator's own credentials: that is our trouble", async () => {
    const token = await issueFor("innocent");
    const locked = await connectAs("not-a-token-of-anybody");
    expect(await checks(locked).judge(token, COLLECTION)).toEqual({
      ok: false,
      status: 503,
      reason: "OwnCredentialsRejected",
    });
  });
});

describe("an upload with a real token", () => {
  it("goes through the whole door, and only with it", async () => {
    const open: OpenCollection = { job: "collect-1", jobUid, node, state: "Open" };
    const door = await openDoor({
      authorize: {
        reviewToken: async (token, audiences) => await reviewToken(api, token, audiences),
        readPod: async (namespace, name) => await readCollectorPod(api, namespace, name),
        openCollection: () => open,
        audience: AUDIENCE,
        serviceAccount: { namespace, name: ACCOUNT },
      },
    });
    try {
      const uid = await createPod("uploader");
      const token = await issue({ pod: { name: "uploader", uid } });
      const bytes = lines(100);
      expect(await put(door, { kind: "readings", bytes, end: 99, token })).toMatchObject({ status: 202 });
      expect(await put(door, { kind: "readings", bytes, start: 99, token })).toMatchObject({ status: 201 });
      expect(await get(door, "readings", 0, token)).toMatchObject({ status: 200, body: { complete: true } });
      expect(door.store.describe(COLLECTION)).toMatchObject({ podUid: uid, lines: 100 });
      const unbound = await issue({});
      expect(await put(door, { kind: "host", bytes, token: unbound })).toMatchObject({
        status: 403,
        body: { reason: "Forbidden" },
      });
      expect(door.logged.join("\n")).not.toContain(token);
    } finally {
      await door.stop();
    }
  });
});
