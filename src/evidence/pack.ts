/**
 * What does a pack say? Reads a folder of parts or a `.tar.zst` that may have come from anywhere: from our own store, from a collector that was
 * cut off, or from a person who wants to break us. It never follows a link in a pack, never holds more than one line of readings, and
 * never throws because of what a part contains: what it had to leave out stands in `problems`.
 */
import { realpath, stat } from "node:fs/promises";
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
import { Profile } from "../api/profile.ts";
import { BadJson, parseJson } from "./json.ts";
import { readLines } from "./lines.ts";
import { listingProblems } from "./manifestcheck.ts";
import type { PartId } from "./parts.ts";
import { fileOf, folderSource, type PartSource, type PartSum, readWhole, type SourcePart } from "./partsource.ts";
import { archiveSource } from "./readarchive.ts";

/** The readings of a hostile pack could have one each. */
const MAX_PROBLEMS = 200;

export interface Pack {
  /** What was opened: a folder, or a `.tar.zst`. */
  readonly path: string;
  readonly form: PartSource["form"];
  /** Absent: the collection was cut off, or its manifest is unreadable (then `problems` says so). */
  readonly manifest: Manifest | undefined;
  readonly host: Host | undefined;
  readonly oomReports: OomReports | undefined;
  readonly context: Context | undefined;
  /** The parts that are here, in the order of their kinds and numbers. */
  readonly parts: readonly SourcePart[];
  /** The bytes of one part that is here, from its start; a piece is valid until the next one is asked for. */
  read(part: PartId): AsyncIterable<Uint8Array>;
  /** All readings in the order of their parts. Each call reads from the start. */
  samples(): AsyncIterable<Sample>;
  /** The snapshots of mappings in the order of their parts. Each call reads from the start. */
  mappings(): AsyncIterable<MappingSnapshot>;
  /** The profiles in the order of their parts, with the number of the part. Each call reads from the start. */
  profiles(): AsyncIterable<{ readonly index: number; readonly profile: Profile }>;
  /** What is missing or had to be left out, for people. Grows while `samples`, `mappings` and `profiles` are read. */
  readonly problems: readonly string[];
  /**
   * Compares every part with the manifest's checksum, and tells what is wrong with an archive itself. Without a manifest nothing can
   * be proved. The operator's `context` is in no manifest: only the checksum of a whole archive proves it.
   */
  verify(): Promise<Verification>;
  /** Size and checksum of every part that is here, and whether the manifest confirms them. */
  list(): Promise<readonly ListedPart[]>;
}

export interface Verification {
  readonly ok: boolean;
  readonly problems: readonly string[];
}

export interface ListedPart extends PartSum, PartId {
  readonly name: string;
  /** Unlisted: the manifest says nothing of it, or there is none. Unreadable: `bytes` and `lines` are 0, `sha256` is empty. */
  readonly state: "Proved" | "Differs" | "Unlisted" | "Unreadable";
}

/**
 * Opens a pack: a folder of parts, or a `.tar.zst` of them, whole or cut off anywhere.
 * Throws NotAPack for a file that is no such archive, and what the file system throws when `path` cannot be read.
 */
export async function openPack(path: string): Promise<Pack> {
  // A person may name a link; in the pack itself none is followed.
  const real = await realpath(path);
  const source = (await stat(real)).isDirectory() ? await folderSource(real) : await archiveSource(real);
  const problems = new Map<string, string>();
  const note = (about: string, problem: string): void => {
    if (problems.has(about) || problems.size < MAX_PROBLEMS) problems.set(about, problem);
  };
  const { parts } = source;
  for (const problem of source.problems) note(problem, problem);
  const manifest = await readPart(source, "manifest", Manifest, note);
  if (manifest === undefined) note("manifest", missingManifest(parts));
  else noteMissing(manifest, parts, note);
  const readings = parts.filter((part) => part.kind === "readings");
  noteGaps(readings, note);
  return {
    path,
    form: source.form,
    manifest,
    host: await readPart(source, "host", Host, note),
    oomReports: await readPart(source, "oom-reports", OomReports, note),
    context: await readPart(source, "context", Context, note),
    parts,
    read: (part) => source.read(part),
    samples: () => readSamples(source, readings, note),
    mappings: () => readSnapshots(source, note),
    profiles: () => readProfiles(source, note),
    get problems() {
      return [...problems.values()];
    },
    verify: () => verify(source, manifest),
    list: () => list(source, manifest),
  };
}

type Note = (about: string, problem: string) => void;

async function readPart<T>(
  source: PartSource,
  kind: PartKind,
  schema: z.ZodType<T>,
  note: Note,
): Promise<T | undefined> {
  const part = source.parts.find((part) => part.kind === kind);
  return part === undefined ? undefined : readJson(source, part, schema, note);
}

async function* readSnapshots(source: PartSource, note: Note): AsyncGenerator<MappingSnapshot> {
  for (const part of source.parts.filter(({ kind }) => kind === "mappings")) {
    const snapshot = await readJson(source, part, MappingSnapshot, note);
    if (snapshot !== undefined) yield snapshot;
  }
}

async function* readProfiles(
  source: PartSource,
  note: Note,
): AsyncGenerator<{ readonly index: number; readonly profile: Profile }> {
  for (const part of source.parts.filter(({ kind }) => kind === "profile")) {
    const profile = await readJson(source, part, Profile, note);
    if (profile !== undefined) yield { index: part.index, profile };
  }
}

async function readJson<T>(source: PartSource, part: PartId, schema: z.ZodType<T>, note: Note): Promise<T | undefined> {
  const name = fileOf(part);
  try {
    return parseJson(await readWhole(source.read(part)), schema);
  } catch (cause) {
    note(name, `${name} cannot be used: ${reasonOf(cause)}`);
    return undefined;
  }
}

async function* readSamples(source: PartSource, readings: readonly PartId[], note: Note): AsyncGenerator<Sample> {
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
      for await (const bytes of readLines(source.read(part), MAX_LINE_BYTES, MAX_PART_BYTES)) {
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

async function verify(source: PartSource, manifest: Manifest | undefined): Promise<Verification> {
  const problems = [...source.problems];
  const stored: (PartId & PartSum)[] = [];
  for (const part of source.parts) {
    try {
      stored.push({ ...part, ...(await source.sum(part)) });
    } catch (cause) {
      problems.push(`${fileOf(part)} cannot be read: ${reasonOf(cause)}`);
    }
  }
  if (manifest === undefined) problems.push(missingManifest(source.parts));
  else problems.push(...listingProblems(manifest, stored));
  return { ok: problems.length === 0, problems };
}

async function list(source: PartSource, manifest: Manifest | undefined): Promise<ListedPart[]> {
  const claims = new Map(manifest?.parts.map((claim) => [fileOf(claim), claim]));
  const listed: ListedPart[] = [];
  for (const { kind, index } of source.parts) {
    const name = fileOf({ kind, index });
    const claim = claims.get(name);
    try {
      const sum = await source.sum({ kind, index });
      const same = claim?.bytes === sum.bytes && claim.sha256 === sum.sha256;
      listed.push({ kind, index, name, ...sum, state: claim === undefined ? "Unlisted" : same ? "Proved" : "Differs" });
    } catch {
      listed.push({ kind, index, name, bytes: 0, sha256: "", lines: 0, state: "Unreadable" });
    }
  }
  return listed;
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

/** Our own words or an error code; never text out of the file. */
function reasonOf(cause: unknown): string {
  if (cause instanceof BadJson) return cause.message;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ELOOP") return "it is a link";
  return typeof code === "string" ? code : "it is not a regular file";
}
