/** How often is the status of policies written? As rarely as it can be, and nobody waits for somebody whose write fails. */
import { pino } from "pino";
import { beforeEach, expect, test } from "vitest";
import { MemoryPolicySpec, type PolicyStatus } from "../../src/api/memorypolicy.ts";
import type { ApiObject } from "../../src/cluster/api.ts";
import type { CensusEntry } from "../../src/cluster/census.ts";
import { ApiError } from "../../src/cluster/errors.ts";
import type { TrackedPolicy } from "../../src/cluster/observe.ts";
import { createPolicyReports, type PolicyReports } from "../../src/controller/policyreports.ts";
import { type ManualClock, manualClock } from "../cluster-door/manualclock.ts";
import { aPod } from "../incident/builders.ts";

let clock: ManualClock;
let policies: TrackedPolicy[];
let entries: CensusEntry[];
let writes: string[];
let events: string[];
/** Whether the watch shows what was written. */
let watching: boolean;
let refuses: (name: string) => ApiError | undefined;
let reports: PolicyReports;

beforeEach(() => {
  clock = manualClock();
  policies = [];
  entries = [];
  writes = [];
  events = [];
  watching = true;
  refuses = () => undefined;
  reports = createPolicyReports({
    api: { applyStatus },
    clock,
    log: pino({ level: "silent" }),
    policies: () => policies,
    census: () => entries,
    investigations: () => [],
    triggers: () => undefined,
    announce: ({ regarding, reason }) => events.push(`${regarding.name} ${reason}`),
  });
});

async function applyStatus<T extends ApiObject>(_: unknown, object: ApiObject): Promise<T> {
  await Promise.resolve();
  const { name = "" } = object.metadata;
  const error = refuses(name);
  if (error !== undefined) throw error;
  writes.push(name);
  if (watching)
    policies = policies.map((p) => (p.name === name ? { ...p, status: object["status"] as PolicyStatus } : p));
  return object as T;
}

function policy(name: string, over: Partial<TrackedPolicy> = {}): TrackedPolicy {
  return {
    kind: "MemoryPolicy",
    name,
    namespace: "media",
    uid: `uid-${name}`,
    resourceVersion: "1",
    generation: 1,
    created: "2026-01-01T00:00:00Z",
    spec: MemoryPolicySpec.parse({}),
    status: {},
    ...over,
  };
}

/** That many workloads under the policy. */
function workloads(of: TrackedPolicy, count: number): CensusEntry[] {
  return Array.from({ length: count }, (_, i) => ({
    key: { namespace: "media", kind: "Pod", name: `w${i}` },
    pods: [aPod(`w${i}`)],
    ranked: [of],
    policy: undefined,
  }));
}

async function passes(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await reports.pass();
    await clock.advance(5_000);
  }
}

test("each is written once, so many in one pass, and then there is quiet", async () => {
  policies = Array.from({ length: 45 }, (_, i) => policy(`p${i}`));
  await passes(1);
  expect(writes).toHaveLength(20);
  await passes(2);
  expect(new Set(writes).size).toBe(45);
  await passes(20);
  expect(writes).toHaveLength(45);
});

test("writes that fail do not keep the others from their turn", async () => {
  policies = Array.from({ length: 45 }, (_, i) => policy(`p${i}`));
  refuses = (name) => (Number(name.slice(1)) < 25 ? new ApiError("Forbidden", "no") : undefined);
  await passes(4);
  expect(new Set(writes).size).toBe(20);
  refuses = () => undefined;
  await passes(4);
  expect(new Set(writes).size).toBe(45);
});

test("one that was deleted meanwhile is no failure, and the next pass does not ask for it", async () => {
  policies = [policy("gone")];
  refuses = () => new ApiError("NotFound", "no");
  await passes(1);
  policies = [];
  await passes(1);
  expect(writes).toEqual([]);
});

test("a watch that lags does not make it written again, and one that shows something else does", async () => {
  const one = policy("a");
  policies = [one];
  watching = false;
  await passes(2);
  expect(writes).toEqual(["a"]);
  watching = true;
  await clock.advance(10_000);
  await passes(1);
  expect(writes).toEqual(["a", "a"]);
  policies = policies.map((p) => ({ ...p, status: { ...p.status, conditions: [] } }));
  await clock.advance(10_000);
  await passes(1);
  expect(writes).toEqual(["a", "a", "a"]);
});

test("the number of workloads alone is written twice a minute at most; facts at once", async () => {
  const one = policy("a");
  policies = [one];
  for (let i = 1; i <= 24; i++) {
    entries = workloads(one, i);
    await passes(1);
  }
  expect(writes.length).toBeLessThanOrEqual(5);
  const before = writes.length;
  policies = policies.map((p) => ({ ...p, problem: "spec.mode is wrong", generation: 2 }));
  await passes(1);
  expect(writes).toHaveLength(before + 1);
  expect(policies[0]?.status).toMatchObject({ observedGeneration: 2, matchedWorkloads: 24 });
  expect(events).toEqual(["a InvalidSpec"]);
  await passes(10);
  expect(events).toEqual(["a InvalidSpec"]);
});
