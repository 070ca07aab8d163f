/**
 * What is in a `.tar.zst` that may come from anywhere? It is read once from end to end when it is opened: which parts there are, where they begin, and
 * the checksum of each. Later reads of a part start at its frame. Nothing is extracted, little is held, and whatever is wrong with the
 * archive becomes a problem in words of our own, never an exception.
 */
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { MAX_COLLECTION_BYTES, partFileName } from "../api/collection.ts";
import { openPlain } from "./folder.ts";
import { BadJson } from "./json.ts";
import { parsePartFileName, type PartId } from "./parts.ts";
import { fileOf, inOrder, type PartSource, type PartSum } from "./partsource.ts";
import { createTarScan, MAX_ENTRIES, type ScannedPart } from "./tarscan.ts";
import { decode, frameAt, mayBeZstd, type FileView, viewOf } from "./zstdframes.ts";

/** Unpacked: all parts, and a header and padding for each. */
const MAX_UNPACKED_BYTES = MAX_COLLECTION_BYTES + MAX_ENTRIES * 1024;
/** Packed, an archive that does not compress is hardly larger than its contents. */
const MAX_PACKED_BYTES = MAX_UNPACKED_BYTES + 2 ** 20;
/** Real packs shrink 5 to 20 times. Nothing honest that is larger than `RATIO_FROM_BYTES` shrinks a thousand times. */
const MAX_RATIO = 1000;
const RATIO_FROM_BYTES = 8 * 2 ** 20;
/** Frames without content would keep us busy for nothing. */
const MAX_FRAMES = 4 * MAX_ENTRIES;
/** All that may be unpacked later to get at parts in the middle of foreign frames: reading each part of a full pack once costs a tenth. */
const MAX_SKIPPED_BYTES = 8 * 2 ** 30;

/** The file is no archive of ours at all. The message says what it should be. */
export class NotAPack extends Error {
  override name = "NotAPack";
}

interface Place extends ScannedPart {
  /** Where the frame begins that holds the part's first byte. */
  readonly frame: number;
  /** Bytes of that frame, unpacked, before the part's first. */
  readonly skip: number;
}

/** Throws NotAPack, and what the file system throws when the file cannot be read. */
export async function archiveSource(path: string): Promise<PartSource> {
  const file = await openPlain(path, constants.O_RDONLY);
  try {
    const { places, problems } = await scan(file, (await file.stat()).size);
    const find = (part: PartId): Place => {
      const place = places.get(fileOf(part));
      if (place === undefined) throw new BadJson("not in the archive");
      return place;
    };
    const budget = { left: MAX_SKIPPED_BYTES };
    return {
      form: "Archive",
      parts: inOrder([...places.values()].map(({ kind, index, bytes }) => ({ kind, index, bytes }))),
      problems,
      read: (part) => readPlace(path, find(part), budget),
      sum: async (part): Promise<PartSum> => {
        const { bytes, sha256, lines } = find(part);
        return { bytes, sha256, lines };
      },
    };
  } finally {
    await file.close();
  }
}

async function scan(file: FileHandle, size: number): Promise<{ places: Map<string, Place>; problems: string[] }> {
  if (size > MAX_PACKED_BYTES)
    throw new NotAPack(`The file has ${size} bytes; no pack has more than ${MAX_PACKED_BYTES}`);
  const view = viewOf(file, size);
  if (!mayBeZstd(await view.load(0, 4)))
    throw new NotAPack("The file is not a .tar.zst: it does not begin with a Zstandard frame");
  const places = new Map<string, Place>();
  const problems: string[] = [];
  let frameStart = 0;
  let inFrame = 0;
  const tar = createTarScan({
    accept: (name) => parsePartFileName(name.startsWith("./") ? name.slice(2) : name),
    begin: () => ({ frame: frameStart, skip: inFrame }),
    add: (part, { frame, skip }) => places.set(partFileName(part.kind, part.index), { ...part, frame, skip }),
  });
  let unpacked = 0;
  let frames = 0;
  let cut = size === 0;
  for (let at = 0; problems.length === 0 && !tar.done();) {
    const frame = await frameAt(view, at);
    if (frame === undefined) break;
    if (frame === "NotZstd") {
      problems.push(`The archive is damaged at byte ${at} of ${size}: the rest was not read`);
      break;
    }
    if (++frames > MAX_FRAMES) {
      problems.push(`The archive has more than ${MAX_FRAMES} Zstandard frames: the rest was not read`);
      break;
    }
    frameStart = at;
    inFrame = 0;
    try {
      for await (const piece of decode(file, frame)) {
        unpacked += piece.length;
        const packed = frame.end;
        if (unpacked > MAX_UNPACKED_BYTES || (unpacked > RATIO_FROM_BYTES && unpacked / packed > MAX_RATIO)) {
          problems.push(bombText(unpacked, packed));
          break;
        }
        const before = inFrame;
        // The scan asks for the place of an entry while it looks at a piece, so the count moves with what it has consumed.
        tar.push(piece, (consumed) => (inFrame = before + consumed));
        inFrame = before + piece.length;
        if (tar.done()) break;
      }
    } catch {
      tar.damaged(`in the Zstandard frame at byte ${at}`);
    }
    cut = frame.kind === "Cut";
    at = frame.end;
  }
  problems.push(...tar.finish(cut ? size : undefined));
  return { places, problems };
}

function bombText(unpacked: number, packed: number): string {
  return unpacked > MAX_UNPACKED_BYTES
    ? `The archive unpacks to more than ${MAX_UNPACKED_BYTES} bytes, the most that a pack may have: the rest was not read`
    : `The archive unpacks to more than ${MAX_RATIO} times its size after ${packed} bytes, which no pack does: the rest was not read`;
}

async function* readPlace(path: string, place: Place, budget: { left: number }): AsyncGenerator<Uint8Array> {
  budget.left -= place.skip;
  if (budget.left < 0)
    throw new BadJson("too deep in a frame to be read again and again; unpack the archive and open the folder");
  const file = await openPlain(path, constants.O_RDONLY);
  try {
    let skip = place.skip;
    let left = place.bytes;
    for await (const piece of unpack(file, viewOf(file, (await file.stat()).size), place.frame)) {
      const from = Math.min(skip, piece.length);
      skip -= from;
      const wanted = piece.subarray(from, from + left);
      left -= wanted.length;
      if (wanted.length > 0) yield wanted;
      if (left === 0) return;
    }
  } finally {
    await file.close();
  }
}

async function* unpack(file: FileHandle, view: FileView, start: number): AsyncGenerator<Uint8Array> {
  for (let at = start; ;) {
    const frame = await frameAt(view, at);
    if (frame === undefined || frame === "NotZstd") return;
    yield* decode(file, frame);
    at = frame.end;
  }
}
