/** Where do the ticks of an axis stand, and what is written at them? Bytes in steps of IEC units, times as UTC. */
import { bytesText } from "../diagnosis/words.ts";

export type Unit = "bytes" | "percent";

/** Two decimals are a hundredth of a pixel. */
export function coordinate(value: number): number {
  return Math.round(value * 10) / 10;
}

export function valueText(value: number, unit: Unit): string {
  return unit === "bytes" ? bytesText(value) : `${Math.round(value * 10) / 10} %`;
}

/** A pressure of a few thousandths must not look like a mountain range. */
const LEAST_PERCENT = 4;
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500] as const;

/** From 0 to the first step at or above `most`, about four steps. */
export function valueTicks(most: number, unit: Unit): readonly number[] {
  const wanted = Math.max(most, unit === "bytes" ? 4096 : LEAST_PERCENT) / 4;
  let step = 0;
  for (let scale = unit === "bytes" ? 1 : 0.1; step < wanted; scale *= unit === "bytes" ? 1024 : 1000)
    step = STEPS.map((one) => one * scale).find((one) => one >= wanted) ?? 0;
  const count = Math.max(unit === "percent" ? Math.ceil(LEAST_PERCENT / step) : 1, Math.ceil(most / step));
  return Array.from({ length: count + 1 }, (_, i) => i * step);
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const TIME_STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((one) => one * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((one) => one * MINUTE),
  ...[1, 2, 3, 6, 12, 24, 48, 168].map((one) => one * HOUR),
];

/** Wall-clock times in milliseconds, on whole steps, at most about eight. */
export function timeTicks(from: number, to: number): readonly number[] {
  const wanted = Math.max(SECOND, to - from) / 8;
  const step = TIME_STEPS.find((one) => one >= wanted) ?? Math.ceil(wanted / (168 * HOUR)) * 168 * HOUR;
  const ticks: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push(at);
  return ticks;
}

/** `02:03:15`, UTC; without the seconds where the steps are whole minutes. A moment that no date can hold is a dash. */
export function timeText(ms: number, withSeconds = true): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "–" : date.toISOString().slice(11, withSeconds ? 19 : 16);
}

/** `2026-11-29 02:03:15 UTC`. */
export function momentText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "–" : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
