import { afterEach, describe, expect, test } from "vitest";
import { createHealthServer, type HealthServer } from "../../src/controller/health.ts";

let server: HealthServer | undefined;
let alive: string | undefined;
let ready: string | undefined;

async function ask(path: string, method = "GET"): Promise<{ status: number; body: string; type: string | null }> {
  server ??= createHealthServer({
    alive: [{ name: "watches", problem: () => alive }],
    ready: [
      { name: "caches", problem: () => ready },
      { name: "watches", problem: () => alive },
    ],
    metrics: () => Promise.resolve({ contentType: "text/plain; version=0.0.4", body: "oomscope_up 1\n" }),
  });
  const port = await (listening ??= server.listen(0));
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
  return { status: response.status, body: await response.text(), type: response.headers.get("content-type") };
}
let listening: Promise<number> | undefined;

afterEach(async () => {
  await server?.close();
  server = undefined;
  listening = undefined;
  alive = undefined;
  ready = undefined;
});

describe("health", () => {
  test("is good when nothing is wrong", async () => {
    expect(await ask("/healthz")).toMatchObject({ status: 200, body: "[+] watches ok\n" });
    expect(await ask("/readyz?verbose")).toMatchObject({ status: 200, body: "[+] caches ok\n[+] watches ok\n" });
  });

  test("a dead watch is neither healthy nor ready, and the answer says which and why", async () => {
    alive = "nothing was heard of pods for 160 s: the stream is silent";
    expect(await ask("/healthz")).toMatchObject({
      status: 503,
      body: "[-] watches: nothing was heard of pods for 160 s: the stream is silent\n",
    });
    expect((await ask("/readyz")).status).toBe(503);
  });

  test("an operator that does not know the cluster yet is alive, so that it is not restarted for it", async () => {
    ready = "the first lists are not complete";
    expect((await ask("/healthz")).status).toBe(200);
    expect(await ask("/readyz")).toMatchObject({
      status: 503,
      body: "[-] caches: the first lists are not complete\n[+] watches ok\n",
    });
  });

  test("metrics are served in the format of Prometheus, and a wrong path says what there is", async () => {
    expect(await ask("/metrics")).toMatchObject({
      status: 200,
      body: "oomscope_up 1\n",
      type: "text/plain; version=0.0.4",
    });
    expect(await ask("/")).toMatchObject({ status: 404, body: "try /healthz, /readyz or /metrics\n" });
    expect(await ask("/healthz", "HEAD")).toMatchObject({ status: 200, body: "" });
  });
});
