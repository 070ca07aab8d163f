/**
 * What does a pack say? Reads a folder of parts that may have come from anywhere: from our own store, from a collector that was
 * cut off, or from a person who wants to break us. It never follows a link, never holds more than one line of readings, and
 * never throws because of what a part contains: what it had to leave out stands in `problems`.
 */
import { constants } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import {
  Context,
  Host,
  Manifest,
  MAX_LINE_BYTES,
  MAX_PART_BYTES,
  OomReports,
  type PartKind,
  partFileName,
  Sample,
} from "../api/collection.ts";
import { MappingSnapshot } from "../api/mappings.ts";
import { checksumFile, openPlain, type StoredPart } from "./folder.ts";
import { BadJson, parseJson } from "./json.ts";
import { readLines } from "./lines.ts";
import { listingProblem } from "./manifestcheck.ts";
import { parsePartFileName, type PartId } from "./parts.ts";

/** The readings of a hostile pack could have one each. */
const MAX_PROBLEMS = 200;

export interface Pack {
  readonly directory: string;
  /** Absent: the collection was cut off, or its manifest is unreadable (then `problems` says so). */
  readonly manifest: Manifest | undefined;
  readonly host: Host | undefined;
  readonly oomReports: OomReports | undefined;
  readonly context: Context | undefined;
  /** The parts that are here, in the order of their kinds and numbers. */
  readonly parts: readonly PartId[];
  /** All readings in the order of their parts. Each call reads from the start. */
  samples(): AsyncIterable<Sample>;
  /** The snapshots of mappings in the order of their parts. Each call reads from the start. */
  mappings(): AsyncIterable<MappingSnapshot>;
  /** What is missing or had to be left out, for people. Grows while `samples` and `mappings` are read. */
  readonly problems: readonly string[];
  /** Compares every part with the manifest's checksum. Without a manifest nothing can be proved. */
  verify(): Promise<Verification>;
}

interface Verification {
  readonly ok: boolean;
  readonly problems: readonly string[];
}

/** Opens a pack. Throws only when the folder itself cannot be read. */
export async function openPack(directory: string): Promise<Pack> {
  const problems = new Map<string, string>();
  const note = (about: string, problem: string): void => {
    if (problems.has(about) || problems.size < MAX_PROBLEMS) problems.set(about, problem);
  };
  const parts = partsOf(await readdir(directory));
  const manifest = await readPart(directory, parts, "manifest", Manifest, note);
  if (manifest === undefined) note("manifest", missingManifest(parts));
  else noteMissing(manifest, parts, note);
  const readings = parts.filter((part) => part.kind === "readings");
  noteGaps(readings, note);
  return {
    directory,
    manifest,
    host: await readPart(directory, parts, "host", Host, note),
    oomReports: await readPart(directory, parts, "oom-reports", OomReports, note),
    context: await readPart(directory, parts, "context", Context, note),
    parts,
    samples: () => readSamples(directory, readings, note),
    mappings: () => readSnapshots(directory, parts, note),
    get problems() {
      return [...problems.values()];
    },
    verify: () => verify(directory, parts, manifest),
  };
}

/** The parts among the names of a folder, by kind and number, whatever order the file system has. */
export function partsOf(names: readonly string[]): PartId[] {
  return names
    .map(parsePartFileName)
    .filter((part) => part !== undefined)
    .sort((a, b) => (fileOf(a) < fileOf(b) ? -1 : 1));
}

type Note = (about: string, problem: string) => void;

async function readPart<T>(
  directory: string,
  parts: readonly PartId[],
  kind: PartKind,
  schema: z.ZodType<T>,
  note: Note,
): Promise<T | undefined> {
  const part = parts.find((part) => part.kind === kind);
  return part === undefined ? undefined : readJson(directory, part, schema, note);
}

async function* readSnapshots(
  directory: string,
  parts: readonly PartId[],
  note: Note,
): AsyncGenerator<MappingSnapshot> {
  for (const part of parts.filter(({ kind }) => kind === "mappings")) {
    const snapshot = await readJson(directory, part, MappingSnapshot, note);
    if (snapshot !== undefined) yield snapshot;
  }
}

async function readJson<T>(directory: string, part: PartId, schema: z.ZodType<T>, note: Note): Promise<T | undefined> {
  const name = fileOf(part);
  try {
    const file = await openPlain(join(directory, name), constants.O_RDONLY);
    try {
      const { size } = await file.stat();
      if (size > MAX_PART_BYTES) throw new BadJson(`larger than ${MAX_PART_BYTES} bytes`);
      return parseJson(await file.readFile(), schema);
    } finally {
      await file.close();
    }
  } catch (cause) {
    note(name, `${name} cannot be used: ${reasonOf(cause)}`);
    return undefined;
  }
}

async function* readSamples(directory: string, readings: readonly PartId[], note: Note): AsyncGenerator<Sample> {
  for (const part of readings) {
    const name = fileOf(part);
    let line = 0;
    let skipped = 0;
    let first = "";
    const skip = (reason: string): void => {
      if (skipped++ === 0) first = `line ${line}: ${reason}`;
      note(name, `${name}: skipped ${skipped} ${skipped === 1 ? "line" : "lines"}, the first is ${first}`);
    };
    try {
      for await (const bytes of readLines(join(directory, name), MAX_LINE_BYTES, MAX_PART_BYTES)) {
        line++;
        if (bytes === "TooLong") {
          skip(`longer than ${MAX_LINE_BYTES} bytes`);
          continue;
        }
        if (bytes === "CutOff") {
          note(`${name} size`, `${name} is larger than ${MAX_PART_BYTES} bytes: the rest was not read`);
          break;
        }
        const sample = parseSample(bytes, skip);
        if (sample !== undefined) yield sample;
      }
    } catch (cause) {
      note(name, `${name} cannot be read: ${reasonOf(cause)}`);
    }
  }
}

function parseSample(bytes: Uint8Array, skip: (reason: string) => void): Sample | undefined {
  try {
    return parseJson(bytes, Sample);
  } catch (cause) {
    skip(reasonOf(cause));
    return undefined;
  }
}

async function verify(
  directory: string,
  parts: readonly PartId[],
  manifest: Manifest | undefined,
): Promise<Verification> {
  const problems: string[] = [];
  const stored: StoredPart[] = [];
  for (const part of parts) {
    const name = fileOf(part);
    try {
      const { size } = await lstat(join(directory, name));
      if (size > MAX_PART_BYTES) throw new BadJson(`larger than ${MAX_PART_BYTES} bytes`);
      const sum = await checksumFile(join(directory, name), size);
      stored.push({ ...part, bytes: size, sha256: sum.hash.digest("hex"), lines: sum.lines });
    } catch (cause) {
      problems.push(`${name} cannot be read: ${reasonOf(cause)}`);
    }
  }
  if (manifest === undefined) problems.push(missingManifest(parts));
  else {
    const problem = listingProblem(manifest, stored);
    if (problem !== undefined) problems.push(problem);
  }
  return { ok: problems.length === 0, problems };
}

function missingManifest(parts: readonly PartId[]): string {
  const readings = parts.filter((part) => part.kind === "readings").length;
  return `There is no usable manifest: the collection was cut off after ${readings} readings parts, and nothing proves that they are whole`;
}

function noteMissing(manifest: Manifest, parts: readonly PartId[], note: Note): void {
  const here = new Set(parts.map(fileOf));
  for (const part of manifest.parts) {
    const name = fileOf(part);
    if (!here.has(name)) note(name, `${name} is missing, although the manifest lists it`);
  }
}

function noteGaps(readings: readonly PartId[], note: Note): void {
  let expected = 0;
  for (const { index } of readings) {
    if (index > expected) {
      note(
        `gap ${expected}`,
        `${index - expected} readings parts are missing before ${partFileName("readings", index)}`,
      );
    }
    expected = index + 1;
  }
}

function fileOf(part: PartId): string {
  return partFileName(part.kind, part.index);
}

/** Our own words or an error code; never text out of the file. */
function reasonOf(cause: unknown): string {
  if (cause instanceof BadJson) return cause.message;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ELOOP") return "it is a link";
  return typeof code === "string" ? code : "it is not a regular file";
}
