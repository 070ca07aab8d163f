/**
 * Profiles in the format of pprof (profile.proto of github.com/google/pprof), written field by field: it needs two kinds of fields only, numbers and
 * things with a length. Nothing in it is an address; pprof is told that everything has been resolved.
 */
import { gzipSync } from "node:zlib";
import type { Profile } from "../api/profile.ts";
import { frameLabel } from "./folded.ts";

const MAPPING = { id: 1, start: 2, limit: 3, filename: 5, buildId: 6, hasFunctions: 7 } as const;
const LOCATION = { id: 1, mapping: 2, line: 4 } as const;

/** Gzipped, as pprof wants it; the same bytes for the same profile. */
export function pprofOf(profile: Profile): Uint8Array {
  const strings = createStrings();
  const types = typesOf(profile);
  const out: Buffer[] = types.map(([type, unit]) => message(1, valueType(strings, type, unit)));
  for (const process of profile.processes) {
    const labels = [
      message(3, join([field(1, strings("pid")), field(3, process.pid)])),
      message(3, join([field(1, strings("comm")), field(2, strings(process.comm))])),
    ];
    for (const stack of process.stacks) {
      // Innermost first; ids begin with 1.
      const places = stack.frames.toReversed().filter((at) => profile.frames[at] !== undefined);
      const ids = packed(
        1,
        places.map((at) => at + 1),
      );
      out.push(message(2, join([ids, packed(2, [stack.samples, stack.weight]), ...labels])));
    }
  }
  const mappings = mappingsOf(profile);
  for (const { id, library, buildId } of mappings.values())
    out.push(
      message(
        3,
        join([
          field(MAPPING.id, id),
          // Ranges that do not overlap, for readers that insist on one; no real address.
          field(MAPPING.start, id * 2 ** 32),
          field(MAPPING.limit, (id + 1) * 2 ** 32),
          field(MAPPING.filename, strings(library)),
          field(MAPPING.buildId, strings(buildId)),
          field(MAPPING.hasFunctions, 1),
        ]),
      ),
    );
  for (const [at, frame] of profile.frames.entries()) {
    const id = at + 1;
    const mapping = mappings.get(mappingKey(frame.library, frame.buildId))?.id ?? 0;
    const line = message(LOCATION.line, field(1, id));
    out.push(message(4, join([field(LOCATION.id, id), field(LOCATION.mapping, mapping), line])));
    const name = strings(frameLabel(frame));
    out.push(message(5, join([field(1, id), field(2, name), field(3, name), field(4, strings(frame.library ?? ""))])));
  }
  const [, [type, unit]] = types;
  const rest = [
    field(9, Date.parse(profile.started) * 1e6),
    field(10, Math.round(profile.durationMs * 1e6)),
    message(11, valueType(strings, type, unit)),
    field(12, profile.period),
    ...profile.notes.map((note) => field(13, strings(note))),
    field(14, strings(type)),
  ];
  // The table of strings comes last, when all of them are known; readers do not mind the order.
  return gzipSync(join([...out, ...rest, ...strings.all().map((text) => bytes(6, Buffer.from(text, "utf8")))]));
}

function typesOf(profile: Profile): readonly [readonly [string, string], readonly [string, string]] {
  const weight: Readonly<Record<Profile["unit"], readonly [string, string]>> = {
    nanoseconds: ["cpu", "nanoseconds"],
    faults: ["faults", "count"],
    bytes: ["inuse_space", "bytes"],
  };
  return [["samples", "count"], weight[profile.unit]];
}

function valueType(strings: Strings, type: string, unit: string): Buffer {
  return join([field(1, strings(type)), field(2, strings(unit))]);
}

function mappingKey(library: string | undefined, buildId: string | undefined): string {
  return `${library ?? ""}\n${buildId ?? ""}`;
}

function mappingsOf(profile: Profile): Map<string, { id: number; library: string; buildId: string }> {
  const found = new Map<string, { id: number; library: string; buildId: string }>();
  for (const { library, buildId } of profile.frames) {
    if (library === undefined) continue;
    const key = mappingKey(library, buildId);
    if (!found.has(key)) found.set(key, { id: found.size + 1, library, buildId: buildId ?? "" });
  }
  return found;
}

interface Strings {
  /** The text's place in the table; the first is the empty text. */
  (text: string): number;
  all(): readonly string[];
}

function createStrings(): Strings {
  const places = new Map<string, number>([["", 0]]);
  const place = (text: string): number => {
    const known = places.get(text) ?? places.size;
    places.set(text, known);
    return known;
  };
  return Object.assign(place, { all: () => [...places.keys()] });
}

const join = (parts: readonly Buffer[]): Buffer => Buffer.concat(parts);

/** Base 128, seven bits in each byte, the least first (protobuf's encoding guide). Numbers up to 2^53. */
function varint(value: number): Buffer {
  const found: number[] = [];
  let rest = Math.max(0, Math.trunc(Number.isFinite(value) ? value : 0));
  while (rest >= 128) {
    found.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...found, rest]);
}

function field(number: number, value: number): Buffer {
  return join([varint(number * 8), varint(value)]);
}

function bytes(number: number, content: Buffer): Buffer {
  return join([varint(number * 8 + 2), varint(content.length), content]);
}

const message = bytes;

function packed(number: number, values: readonly number[]): Buffer {
  return bytes(number, join(values.map(varint)));
}
