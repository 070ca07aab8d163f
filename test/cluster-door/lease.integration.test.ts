/** Is there ever more than one operator that writes? Electors against a real API server: frozen, cut off, with wrong clocks, and giving back. */
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { ApiObject } from "../../src/cluster/api.ts";
import { createApi } from "../../src/cluster/api.ts";
import { createElector, type Elector, type ElectorOptions } from "../../src/cluster/lease.ts";
import { createReflector } from "../../src/cluster/reflector.ts";
import { wholeObject } from "../../src/cluster/projections.ts";
import { configmaps, leases, namespaces } from "../../src/cluster/resources.ts";
import { systemClock, systemRandom, type Clock } from "../../src/seams.ts";
import { startTcpFaultProxy } from "../support/faultproxy.ts";
import { startOwnServer, type OwnServer } from "./ownserver.ts";

/** Long enough that a busy machine does not lose a lease that it should keep. */
const TIMES = { leaseDurationMs: 6_000, renewDeadlineMs: 4_500, retryMs: 200 } as const;
let own: OwnServer;
let namespace = "";
let count = 0;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  own = await startOwnServer();
});
afterAll(() => own?.stop());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function freshNamespace(): Promise<void> {
  namespace = `lease-${++count}`;
  await own.api.create(namespaces, { metadata: { name: namespace } });
}

/** The machine's wall clock is wrong by this much; what measures durations is right, as on any machine. */
function skewed(ms: number): Clock {
  return { ...systemClock, now: () => new Date(systemClock.now().getTime() + ms) };
}

function elector(identity: string, more: Partial<ElectorOptions> = {}): Elector {
  const made = createElector({
    api: own.api.unfenced,
    clock: systemClock,
    random: systemRandom,
    namespace,
    name: "oomscope",
    identity,
    ...TIMES,
    ...more,
  });
  cleanups.push(() => made.release());
  return made;
}

function lead(one: Elector, timeoutMs = 20_000) {
  const abort = new AbortController();
  cleanups.push(() => abort.abort(new Error("the test is over")));
  const timer = setTimeout(() => abort.abort(new Error(`did not lead within ${timeoutMs} ms`)), timeoutMs);
  return one.lead(abort.signal).finally(() => clearTimeout(timer));
}

async function leaseSpec(): Promise<Record<string, unknown>> {
  return (await own.api.get(leases, { namespace, name: "oomscope" }))["spec"] as Record<string, unknown>;
}

test("the first one leads, with epoch 0 and nobody before it, and renews", async () => {
  await freshNamespace();
  const one = elector("one");
  expect(one.mayWrite()).toBe(false);
  const leadership = await lead(one);
  expect(leadership).toMatchObject({ epoch: 0 });
  expect(leadership.previousRenewTime).toBeUndefined();
  const first = await leaseSpec();
  expect(first).toMatchObject({ holderIdentity: "one", leaseDurationSeconds: 6, leaseTransitions: 0 });
  expect(first["renewTime"]).toMatch(/\.\d{6}Z$/);
  await systemClock.sleep(3_000);
  expect(one.mayWrite()).toBe(true);
  expect((await leaseSpec())["renewTime"]).not.toBe(first["renewTime"]);
});

test.each([-3_600_000, 3_600_000])(
  "a clock that is wrong by %i ms takes no lease from a living holder",
  async (skew) => {
    await freshNamespace();
    const holder = elector("holder");
    await lead(holder);
    const rival = elector("rival", { clock: skewed(skew) });
    await expect(lead(rival, 10_000)).rejects.toThrow();
    expect(holder.mayWrite()).toBe(true);
    expect(rival.mayWrite()).toBe(false);
  },
);

test.each([-3_600_000, 3_600_000])(
  "a holder whose clock is wrong by %i ms is followed all the same when it is gone",
  async (skew) => {
    await freshNamespace();
    const proxy = await startTcpFaultProxy(own.port);
    cleanups.push(() => proxy.close());
    const cutOff = createApi(own.transport(undefined, `https://127.0.0.1:${proxy.port}`), {
      clock: systemClock,
      random: systemRandom,
      fieldManager: "oomscope",
    });
    const holder = elector("holder", { clock: skewed(skew), api: cutOff.unfenced });
    const leadership = await lead(holder);
    const { renewTime } = await leaseSpec();
    proxy.refuse();
    proxy.cut();
    const heir = elector("heir");
    const next = await lead(heir);
    // When the heir may write, the holder has long stopped.
    expect(holder.mayWrite()).toBe(false);
    expect(leadership.signal.aborted).toBe(true);
    expect(next.epoch).toBe(1);
    expect(Date.parse(next.previousRenewTime ?? "")).toBeGreaterThanOrEqual(Date.parse(String(renewTime)));
  },
);

test("a holder that cannot reach the server stops by itself, in time", async () => {
  await freshNamespace();
  const proxy = await startTcpFaultProxy(own.port);
  cleanups.push(() => proxy.close());
  const api = createApi(own.transport(undefined, `https://127.0.0.1:${proxy.port}`), {
    clock: systemClock,
    random: systemRandom,
    fieldManager: "oomscope",
  });
  const holder = elector("holder", { api: api.unfenced });
  const { signal } = await lead(holder);
  proxy.stall();
  const stalledAt = systemClock.monotonicMs();
  await expect.poll(() => signal.aborted, { timeout: 10_000, interval: 10 }).toBe(true);
  expect(systemClock.monotonicMs() - stalledAt).toBeLessThan(TIMES.leaseDurationMs);
  expect(holder.mayWrite()).toBe(false);
  proxy.resume();
});

test("giving back lets the next one lead at once, and only after what was under way is settled", async () => {
  await freshNamespace();
  const one = elector("one", { leaseDurationMs: 60_000, renewDeadlineMs: 40_000 });
  const { signal } = await lead(one);
  let settle = (): void => undefined;
  const settled = new Promise<void>((resolve) => (settle = resolve));
  const released = one.release(settled);
  expect(one.mayWrite()).toBe(false);
  expect(signal.aborted).toBe(true);
  await systemClock.sleep(300);
  expect((await leaseSpec())["holderIdentity"]).toBe("one");
  settle();
  await released;
  const next = await lead(elector("two"), 3_000);
  expect(next.epoch).toBe(1);
  expect(next.previousRenewTime).toMatch(/\.\d{6}Z$/);
});

test("a holder whose lease was deleted stops and does not bring it back", async () => {
  await freshNamespace();
  const one = elector("one");
  const { signal } = await lead(one);
  await own.api.remove(leases, { namespace, name: "oomscope" });
  await expect.poll(() => signal.aborted, { timeout: 5_000 }).toBe(true);
  await expect(own.api.get(leases, { namespace, name: "oomscope" })).rejects.toThrow(/not found/);
});

test("a holder whose lease was taken by force stops", async () => {
  await freshNamespace();
  const one = elector("one");
  const { signal } = await lead(one);
  await own.api.mergePatch(leases, { namespace, name: "oomscope" }, { spec: { holderIdentity: "thief" } });
  await expect.poll(() => signal.aborted, { timeout: 5_000 }).toBe(true);
  expect(one.mayWrite()).toBe(false);
});

test("a change of the lease by somebody else that leaves the holder is no loss", async () => {
  await freshNamespace();
  const one = elector("one");
  const { signal } = await lead(one);
  for (let i = 0; i < 5; i++) {
    const patch = { metadata: { labels: { touched: String(i) } } };
    await own.api.mergePatch(leases, { namespace, name: "oomscope" }, patch);
    await systemClock.sleep(300);
  }
  expect(signal.aborted).toBe(false);
  expect(one.mayWrite()).toBe(true);
  const lease = await own.api.get(leases, { namespace, name: "oomscope" });
  expect(lease.metadata.labels).toEqual({ touched: "4" });
});

test("durations that leave no time to stop are refused", async () => {
  await freshNamespace();
  expect(() => elector("x", { renewDeadlineMs: 6_000 })).toThrow(RangeError);
  expect(() => elector("x", { leaseDurationMs: 6_500 })).toThrow(/whole seconds/);
});

function operator(identity: string): { readonly child: ChildProcess; readonly lines: string[] } {
  const script = fileURLToPath(new URL("lease.child.ts", import.meta.url));
  const { url, adminToken, caPath } = own.server;
  const child = spawn(process.execPath, [script, url, adminToken, caPath, namespace, identity], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  child.stdout?.setEncoding("utf8");
  child.stdout?.on("data", (text: string) => lines.push(...text.trim().split("\n")));
  cleanups.push(() => {
    child.kill("SIGCONT");
    child.kill("SIGKILL");
  });
  return { child, lines };
}

test("a frozen leader is followed, and when it wakes up it never writes over its heir", async () => {
  await freshNamespace();
  await own.api.create(configmaps, { metadata: { namespace, name: "written" }, data: {} });
  const writers: string[] = [];
  const history = createReflector({
    transport: own.transport(),
    resource: configmaps,
    namespace,
    project: wholeObject,
    onChange: ({ object }) => {
      const { data } = object.raw as ApiObject & { readonly data?: Record<string, string> };
      const by = data?.["by"];
      if (by !== undefined && writers.at(-1) !== by) writers.push(by);
    },
    clock: systemClock,
    random: systemRandom,
  });
  cleanups.push(() => history.stop());
  history.start();
  await history.synced;

  const first = operator("first");
  await expect.poll(() => writers, { timeout: 20_000 }).toEqual(["first"]);
  const second = operator("second");
  await systemClock.sleep(1_000);
  for (const [frozen, heir, so] of [
    [first, second, ["first", "second"]],
    [second, first, ["first", "second", "first"]],
  ] as const) {
    frozen.child.kill("SIGSTOP");
    await expect.poll(() => writers, { timeout: 20_000 }).toEqual(so);
    frozen.child.kill("SIGCONT");
    await systemClock.sleep(1_500);
    expect(frozen.lines.at(-1)).toBe("lost");
    expect(writers).toEqual(so);
    expect(heir.lines.at(-1)).toMatch(/^leads/);
  }
});
