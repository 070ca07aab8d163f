/** One line of evidence: what was measured, its number, what it was compared with, and where in the pack it stands. */
import type { EvidenceLine } from "../api/memoryinvestigation.ts";
import { whole } from "./words.ts";

export function line(signal: string, value: number, unit: string, part: string, threshold?: string): EvidenceLine {
  return {
    signal: signal.slice(0, 128),
    value: String(whole(value)),
    unit,
    ...(threshold === undefined ? {} : { threshold: threshold.slice(0, 64) }),
    part: part.slice(0, 128),
  };
}
