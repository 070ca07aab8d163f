/** The recorded packs, each with its case, through the same pure diagnosis as `oomscope analyze`. */
import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { createZstdDecompress } from "node:zlib";
import { diagnosePack } from "../../src/cli/diagnosepack.ts";
import { systemClock as clock } from "../../src/seams.ts";
import type { Case } from "./case.ts";
import { CASES } from "./cases.ts";
import type { Scored } from "./score.ts";

export interface Analysed extends Scored {
  readonly summary: string;
  /** What the finding took, and reading the pack. */
  readonly ms: number;
}

export function packOf({ name }: Case): string {
  return join(import.meta.dirname, "packs", `${name}.tar.zst`);
}

export const RECORDED: readonly Case[] = CASES.filter((one) => existsSync(packOf(one)));

/** The same, recorded on cgroup v2. */
export function packOfV2({ name }: Case): string {
  return join(import.meta.dirname, "packs-v2", `${name}.tar.zst`);
}

export const RECORDED_V2: readonly Case[] = CASES.filter((one) => existsSync(packOfV2(one)));

/** Throws when a pack cannot be read: all of them are whole. */
export async function analyse(one: Case, file: string = packOf(one)): Promise<Analysed> {
  const began = clock.monotonicMs();
  const { pack, finding } = await diagnosePack(file);
  if (pack.problems.length > 0) throw new Error(`${one.name}: ${pack.problems.join("; ")}`);
  return {
    name: one.name,
    label: one.label,
    finding,
    summary: finding.summary,
    profiled: pack.parts.some(({ kind }) => kind === "profile"),
    ms: clock.monotonicMs() - began,
  };
}

/** All that is written in a pack. */
export async function textOf(file: string): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(file).pipe(createZstdDecompress())) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("latin1");
}
