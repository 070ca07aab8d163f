/** Does the API server for tests do what the tests rely on? */
import { readFileSync, existsSync } from "node:fs";
import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { type ApiServer, startApiServer } from "./apiserver.ts";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("an API server of one's own", () => {
  let server: ApiServer;
  let dispatcher: Agent;

  beforeAll(async () => {
    server = await startApiServer({ audit: "Metadata", users: [{ name: "carol", groups: ["auditors"] }] });
    dispatcher = new Agent({ connect: { ca: server.ca } });
  });
  afterAll(async () => {
    await dispatcher.destroy();
    await server.stop();
    expect(isAlive(server.apiServerPid)).toBe(false);
    expect(isAlive(server.etcdPid)).toBe(false);
    expect(existsSync(server.directory)).toBe(false);
    await server.stop();
  });

  async function call(method: "GET" | "POST", path: string, token: string, body?: unknown, timeout = 10_000) {
    const response = await request(`${server.url}${path}`, {
      method,
      dispatcher,
      headersTimeout: timeout,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.statusCode, body: (await response.body.json()) as Record<string, unknown> };
  }

  test("issues tokens for service accounts and reviews them", async () => {
    const account = { metadata: { name: "robot" } };
    expect((await call("POST", "/api/v1/namespaces/default/serviceaccounts", server.adminToken, account)).status).toBe(
      201,
    );
    const issued = await call("POST", "/api/v1/namespaces/default/serviceaccounts/robot/token", server.adminToken, {
      spec: { audiences: ["oomscope-evidence"], expirationSeconds: 600 },
    });
    expect(issued.status).toBe(201);
    const review = await call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", server.adminToken, {
      spec: { token: (issued.body["status"] as { token: string }).token, audiences: ["oomscope-evidence"] },
    });
    expect(review.body["status"]).toMatchObject({
      authenticated: true,
      user: { username: "system:serviceaccount:default:robot" },
    });
  });

  test("gives a named user no right, and knows who it is", async () => {
    const refused = await call("GET", "/api/v1/namespaces/default/pods", server.token("carol"));
    expect(refused.status).toBe(403);
    expect(refused.body["message"]).toContain('User "carol" cannot list resource "pods"');
    expect(() => server.token("mallory")).toThrow('No user "mallory"');
  });

  test("answers nothing while paused and goes on after", async () => {
    await server.pause();
    await expect(call("GET", "/readyz", server.adminToken, undefined, 300)).rejects.toThrow(/headers timeout/i);
    server.resume();
    expect((await call("GET", "/api/v1/namespaces/default", server.adminToken)).status).toBe(200);
  });

  test("writes an audit log", () => {
    expect(readFileSync(server.auditLogPath ?? "", "utf8")).toContain('"username":"carol"');
  });
});

test("the shared API server is provided to every test file", async () => {
  const shared = inject("apiServer");
  const dispatcher = new Agent({ connect: { ca: shared.ca } });
  const response = await request(`${shared.url}/version`, {
    dispatcher,
    headers: { authorization: `Bearer ${shared.token}` },
  });
  expect(response.statusCode).toBe(200);
  await response.body.dump();
  await dispatcher.destroy();
});

test("a server that cannot start says why", async () => {
  await expect(startApiServer({ apiServerArgs: ["--no-such-flag"] })).rejects.toThrow("unknown flag: --no-such-flag");
});

test("without the binaries it says what to run", async () => {
  vi.stubEnv("KUBEBUILDER_ASSETS", "/nowhere");
  await expect(startApiServer()).rejects.toThrow("There is no etcd in /nowhere. Run `make cluster-build`");
  vi.unstubAllEnvs();
});
