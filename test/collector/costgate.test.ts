import { expect, test } from "vitest";
import { createCostGate, predictStallMs } from "../../src/collector/costgate.ts";

const GIB = 2 ** 30;

test("a first read is predicted from the resident size, later ones from what the last one took", () => {
  expect(predictStallMs(GIB)).toBe(20);
  expect(predictStallMs(GIB, { ms: 3, rssBytes: GIB })).toBe(3);
  expect(predictStallMs(2 * GIB, { ms: 3, rssBytes: GIB })).toBe(6);
  expect(predictStallMs(GIB / 2, { ms: 3, rssBytes: GIB })).toBe(3);
});

test("the first samples may not spend the whole budget", () => {
  const gate = createCostGate(100, 60_000);
  gate.paid(40);
  expect(gate.admits(1, 0)).toBe(false);
  expect(gate.admits(1, 30_000)).toBe(true);
  gate.paid(60);
  expect(gate.admits(1, 60_000)).toBe(false);
  expect(gate.totalMs()).toBe(100);
});

test("a single read of more than 50 ms needs a budget that bears it five times", () => {
  expect(createCostGate(499, 0).admits(100, 0)).toBe(false);
  expect(createCostGate(500, 0).admits(100, 0)).toBe(true);
  expect(createCostGate(100, 0).admits(49, 0)).toBe(true);
});
