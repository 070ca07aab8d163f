/**
 * What does it cost to read a large memory map, and does the cost gate know it before? The gate's predictions and decision stand beside
 * what reads took and what the target felt. They are read whatever the gate says.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createCostGate, predictRollup, predictSmaps, type Prediction } from "../../src/collector/costgate.ts";
import {
  CAT,
  DEFAULT_BUDGET_MS,
  DEFAULT_DURATION_MS,
  footprintOf,
  installed,
  PMAP,
  processOf,
  ROLLUP,
  SMAPS,
  SMEM,
} from "./readers.ts";
import { type Shape, withTarget } from "./target.ts";

export const READINGS_OF_MAPS = 3;
const EVERY_MS = 1_000;

export const MAPS_HEAD = [
  "target",
  "read",
  "took ms",
  "predicted ms",
  "predicted hold ms",
  "the gate",
  "p99 ms",
  "longest stall ms",
];

/** What the gate of a collection with default settings says to such a read at its beginning. */
function decision(pid: number, state: string, predicted: Prediction): string {
  const gate = createCostGate(DEFAULT_BUDGET_MS, DEFAULT_DURATION_MS);
  return gate.refuses({ process: String(pid), state, predicted, elapsedMs: 0 }) ?? "read";
}

function availableMib(): number {
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) / 1024;
}

/** Rows for one target, all of them on the same memory. None where there is too little of it. */
export async function measureMaps(shape: Shape, say: (text: string) => void): Promise<readonly (readonly string[])[]> {
  const size = `${shape.mib / 1024} GiB, ${shape.mappings} mappings`;
  if (availableMib() < shape.mib * 1.25) {
    say(`${size} is left out: only ${availableMib().toFixed(0)} MiB are available`);
    return [];
  }
  say(`Memory maps: ${size}`);
  return withTarget(shape, async (target) => {
    const { pid } = target;
    const { status, state } = await processOf(pid);
    const footprint = { rssBytes: status["VmRSS"] ?? 0, ...(await footprintOf(pid)) };
    const predictions = new Map([
      [ROLLUP, predictRollup(footprint)],
      [SMAPS, predictSmaps(footprint)],
    ]);
    const idle = await target.load(EVERY_MS * READINGS_OF_MAPS);
    const rows = [[size, "nobody", "-", "-", "-", "-", idle.p99.toFixed(2), idle.max.toFixed(1)]];
    for (const reader of [ROLLUP, SMAPS, ...(await installed([CAT, PMAP, SMEM], say))]) {
      const times: number[] = [];
      const read = async (): Promise<void> => {
        for (let turn = 0; turn < READINGS_OF_MAPS; turn++) {
          await sleep(EVERY_MS / 4);
          times.push(await reader.read(pid));
          await sleep(Math.max(0, (EVERY_MS * 3) / 4 - (times.at(-1) ?? 0)));
        }
      };
      const [load] = await Promise.all([target.load(EVERY_MS * READINGS_OF_MAPS), read()]);
      const predicted = predictions.get(reader);
      const [total, hold, says] =
        predicted === undefined
          ? ["-", "-", "-"]
          : [predicted.totalMs.toFixed(0), predicted.holdMs.toFixed(1), decision(pid, state, predicted)];
      const took = `${times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]?.toFixed(1)}`;
      rows.push([size, reader.name, took, total, hold, says, load.p99.toFixed(2), load.max.toFixed(1)]);
    }
    return rows;
  });
}
