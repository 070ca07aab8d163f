/**
 * What does an elector believe in the first moment after its process was frozen, before any of its timers has run? That moment cannot be caught with
 * a real process; all else stands in lease.integration.test.ts.
 */
import { expect, test } from "vitest";
import type { Api, ApiObject } from "../../src/cluster/api.ts";
import { ApiError } from "../../src/cluster/errors.ts";
import { createElector, microTime } from "../../src/cluster/lease.ts";
import { fixedRandom, manualClock } from "./manualclock.ts";

/** One lease, as far as an elector needs it. What a server really answers is known from conformance.integration.test.ts. */
function leaseServer(): Api["unfenced"] & { readonly puts: number } {
  let lease: ApiObject | undefined;
  let version = 0;
  let puts = 0;
  const unused = (): never => {
    throw new Error("An elector does not do this");
  };
  const store = (object: ApiObject): ApiObject => {
    lease = { ...object, metadata: { ...object.metadata, uid: "u", resourceVersion: String(++version) } };
    return lease;
  };
  return {
    get: async <T extends ApiObject>() => {
      if (lease === undefined) throw new ApiError("NotFound", "no lease");
      return (await Promise.resolve(lease)) as T;
    },
    create: async <T extends ApiObject>(_resource: unknown, object: ApiObject) =>
      (await Promise.resolve(store(object))) as T,
    replace: async <T extends ApiObject>(_resource: unknown, object: ApiObject) => {
      puts++;
      if (object.metadata.resourceVersion !== String(version)) throw new ApiError("StaleRead", "stale");
      return (await Promise.resolve(store(object))) as T;
    },
    get puts() {
      return puts;
    },
    list: unused,
    text: unused,
    apply: unused,
    applyStatus: unused,
    mergePatch: unused,
    jsonPatch: unused,
    remove: unused,
    evict: unused,
  };
}

test("a leader that was frozen beyond its deadline may not write, even before it has noticed", async () => {
  const clock = manualClock();
  let frozenMs = 0;
  const elector = createElector({
    api: leaseServer(),
    clock: { ...clock, monotonicMs: () => clock.monotonicMs() + frozenMs },
    random: fixedRandom(),
    namespace: "oomscope-system",
    name: "oomscope",
    identity: "one",
  });
  const { signal } = await elector.lead(new AbortController().signal);
  await clock.advance(30_000);
  expect(elector.mayWrite()).toBe(true);
  frozenMs = 11_000;
  expect(signal.aborted).toBe(false);
  expect(elector.mayWrite()).toBe(false);
  await clock.advance(2_500);
  expect(signal.aborted).toBe(true);
});

test("a renewal whose answer comes after the deadline makes no leader again", async () => {
  const clock = manualClock();
  const server = leaseServer();
  let hold: Promise<void> | undefined;
  let letGo = (): void => undefined;
  const elector = createElector({
    api: {
      ...server,
      replace: async <T extends ApiObject>(...call: Parameters<typeof server.replace>) => {
        const answer = await server.replace<T>(...call);
        await hold;
        return answer;
      },
    },
    clock,
    random: fixedRandom(),
    namespace: "oomscope-system",
    name: "oomscope",
    identity: "one",
  });
  await elector.lead(new AbortController().signal);
  await clock.advance(5_000);
  hold = new Promise((resolve) => (letGo = resolve));
  await clock.advance(20_000);
  expect(elector.mayWrite()).toBe(false);
  letGo();
  await clock.advance(0);
  // The server has taken the renewal, but long ago: by now another may hold the lease.
  expect(elector.mayWrite()).toBe(false);
});

test("a leader renews every two seconds or so, and not after it gave the lease back", async () => {
  const clock = manualClock();
  const server = leaseServer();
  const elector = createElector({
    api: server,
    clock,
    random: fixedRandom(),
    namespace: "oomscope-system",
    name: "oomscope",
    identity: "one",
  });
  await elector.lead(new AbortController().signal);
  await clock.advance(20_000);
  expect(server.puts).toBe(10);
  await elector.release();
  await clock.advance(60_000);
  expect(server.puts).toBe(11);
  expect(clock.pending).toBe(0);
});

test("microTime has six digits", () => {
  expect(microTime(new Date("2026-01-01T00:00:00.12Z"))).toBe("2026-01-01T00:00:00.120000Z");
});
