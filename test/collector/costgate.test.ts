import { expect, test } from "vitest";
import {
  COST,
  createCostGate,
  type IntendedRead,
  type Prediction,
  predictRollup,
  predictSmaps,
} from "../../src/collector/costgate.ts";

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const SMALL: Prediction = { totalMs: 1, holdMs: 1 };

const read = (predictedMs: number, changes: Partial<IntendedRead> = {}): IntendedRead => ({
  process: "42/593600",
  state: "S",
  predicted: { totalMs: predictedMs, holdMs: Math.min(predictedMs, 10) },
  elapsedMs: 60_000,
  ...changes,
});

function pay(gate: ReturnType<typeof createCostGate>, ms: number): void {
  gate.begin("1/1", { totalMs: ms, holdMs: ms }).end(ms);
}

test.each<[string, Prediction, number, number]>([
  ["rollup of 1 GiB, mappings unknown", predictRollup({ rssBytes: GIB }), 20.7, 20.7],
  ["rollup of 8 GiB in 20,000 mappings", predictRollup({ rssBytes: 8 * GIB, mappings: 20_000 }), 174, 174],
  [
    "rollup of 8 GiB of huge pages",
    predictRollup({ rssBytes: 8 * GIB, hugeBytes: 8 * GIB, mappings: 200 }),
    24.14,
    24.14,
  ],
  ["a second rollup", predictRollup({ rssBytes: GIB }, { ms: 3, rssBytes: GIB }), 3, 3],
  ["a second rollup, twice the size", predictRollup({ rssBytes: 2 * GIB }, { ms: 3, rssBytes: GIB }), 6, 6],
  ["a second rollup, half the size", predictRollup({ rssBytes: GIB / 2 }, { ms: 3, rssBytes: GIB }), 3, 3],
  [
    "smaps of 8 GiB in 20,000 mappings",
    predictSmaps({ rssBytes: 8 * GIB, mappings: 20_000, largestBytes: MIB }),
    240,
    0.02,
  ],
  ["smaps of 8 GiB in one", predictSmaps({ rssBytes: 8 * GIB, mappings: 200, largestBytes: 8 * GIB }), 160.8, 160],
])("%s", (_name, predicted, totalMs, holdMs) => {
  expect(predicted.totalMs).toBeCloseTo(totalMs, 1);
  expect(predicted.holdMs).toBeCloseTo(holdMs, 1);
});

test("the predictions are near what was measured on the reference machine", () => {
  // Rows of the measurement: mappings, GiB, milliseconds of smaps_rollup and of smaps.
  for (const [mappings, gib, rollup, smaps] of [
    [20_000, 8, 175, 309],
    [20_000, 1, 63, 139],
    [200, 8, 157, 176],
  ] as const) {
    const footprint = { rssBytes: gib * GIB, mappings };
    expect(predictRollup(footprint).totalMs / rollup).toBeGreaterThan(0.5);
    expect(predictRollup(footprint).totalMs / rollup).toBeLessThan(2);
    expect(predictSmaps(footprint).totalMs / smaps).toBeGreaterThan(0.5);
    expect(predictSmaps(footprint).totalMs / smaps).toBeLessThan(2);
  }
});

test("a read that took long because we waited for a CPU does not close a small process for good", () => {
  const predicted = predictRollup({ rssBytes: 30 * MIB, mappings: 100 }, { ms: 400, rssBytes: 30 * MIB });
  expect(createCostGate(1000, 0).refuses(read(0, { predicted }))).toBeUndefined();
});

test("the first samples may not spend the whole budget", () => {
  const gate = createCostGate(100, 60_000);
  pay(gate, 40);
  expect(gate.refuses(read(1, { elapsedMs: 0 }))).toBe("OverBudget");
  expect(gate.refuses(read(1, { elapsedMs: 30_000 }))).toBeUndefined();
  pay(gate, 60);
  expect(gate.refuses(read(1))).toBe("OverBudget");
  expect(gate.totalMs()).toBe(100);
});

test("one hold of the lock is at most 50 ms, and more only where the policy's budget is twenty times as large", () => {
  const long = (holdMs: number): IntendedRead => read(0, { predicted: { totalMs: holdMs, holdMs } });
  expect(createCostGate(1000, 0).refuses(long(50))).toBeUndefined();
  expect(createCostGate(1000, 0).refuses(long(50.1))).toBe("TooLong");
  expect(createCostGate(4000, 0).refuses(long(200))).toBeUndefined();
  expect(createCostGate(4000, 0).refuses(long(201))).toBe("TooLong");
});

test("there are never two readers of one process", async () => {
  const gate = createCostGate(1000, 0);
  const begun = gate.begin("42/593600", SMALL);
  expect(gate.refuses(read(1))).toBe("Busy");
  expect(gate.refuses(read(1, { process: "43/593600" }))).toBeUndefined();
  begun.end(1);
  expect(gate.refuses(read(1))).toBeUndefined();
});

test("a read that was left behind keeps its process closed until the kernel lets go, and two of them everything", async () => {
  const gate = createCostGate(10_000, 0);
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  gate.begin("42/593600", SMALL).leave(2000, first.promise);
  expect(gate.closed("42/593600", "S")).toBe("Busy");
  expect(gate.closed("7/7", "S")).toBeUndefined();
  gate.begin("43/1", SMALL).leave(2000, second.promise);
  expect(gate.closed("7/7", "S")).toBe("TimedOut");
  first.reject(new Error("the process was killed"));
  await first.promise.catch(() => undefined);
  await Promise.resolve();
  expect(gate.closed("42/593600", "S")).toBeUndefined();
  expect(gate.totalMs()).toBe(4000);
});

test("what a read took beyond what a slow machine needs was our own waiting, and is not charged", () => {
  const gate = createCostGate(1000, 0);
  gate.begin("42/593600", SMALL).end(3);
  gate.begin("42/593600", SMALL).end(900);
  expect(gate.totalMs()).toBe(3 + COST.slowMachine);
});

test("a task in D is left alone", () => {
  const gate = createCostGate(1000, 0);
  expect(gate.refuses(read(1, { state: "D" }))).toBe("Stopped");
  for (const state of ["R", "S", "T", "t", "I"]) expect(gate.closed("42/593600", state)).toBeUndefined();
});

test.each([
  ["a large node", 64 * GIB, COST.minAvailableShare * 64 * GIB],
  ["a small node", GIB, COST.minAvailableBytes],
])("when %s is about to die, nothing is read, and later it is again", (_name, MemTotal, floor) => {
  const gate = createCostGate(1000, 0);
  expect(gate.refuses(read(1))).toBeUndefined();
  gate.node({ MemTotal, MemAvailable: floor - 1 });
  expect(gate.refuses(read(1))).toBe("LowMemory");
  gate.node({ MemTotal, MemAvailable: floor });
  expect(gate.refuses(read(1))).toBeUndefined();
  gate.node({ MemTotal });
  expect(gate.refuses(read(1))).toBeUndefined();
});
