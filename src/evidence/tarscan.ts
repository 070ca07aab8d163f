/**
 * Which parts are in a stream of tar blocks? Takes the stream in pieces of any length, keeps one block, sums up each part, and says what
 * it left out. It never holds a part.
 */
import { MAX_PART_BYTES, partFileName } from "../api/collection.ts";
import { addToChecksum, type Checksum, newChecksum } from "./folder.ts";
import type { PartId } from "./parts.ts";
import type { PartSum } from "./partsource.ts";
import { BLOCK_BYTES, decodeTarHeader, paddingOf, type TarHeader } from "./tar.ts";

/** More entries than the contract has names for (three numbered kinds of a thousand, and the rest). */
export const MAX_ENTRIES = 4096;

export interface ScannedPart extends PartId, PartSum {}

export interface TarScanOptions<Place> {
  /** The part that a name stands for; undefined for every other name. */
  readonly accept: (name: string) => PartId | undefined;
  /** Asked as the first byte of a part's data is due: where are we? */
  readonly begin: () => Place;
  /** Told after the last byte of a part, or after the last that is here. */
  readonly add: (part: ScannedPart, place: Place) => void;
}

export interface TarScan {
  /** `consumed` is told how many bytes of the piece have been looked at before `begin` is asked. */
  push(piece: Uint8Array, consumed: (bytes: number) => void): void;
  /** Bytes are lost here: what is open ends, and the next push begins a header. `where` is for people. */
  damaged(where: string): void;
  /** True when nothing that comes could be of use any more. */
  done(): boolean;
  /** Ends the scan; `cutAt`: the size of the file, when its last frame is not whole. Returns what was wrong, for people. */
  finish(cutAt: number | undefined): string[];
}

interface OpenEntry<Place> {
  readonly part: PartId | undefined;
  readonly bytes: number;
  readonly place: Place | undefined;
  readonly sum: Checksum;
  received: number;
}

export function createTarScan<Place>(options: TarScanOptions<Place>): TarScan {
  const refused = new Map<string, number>();
  const problems: string[] = [];
  const seen = new Set<string>();
  const header = Buffer.alloc(BLOCK_BYTES);
  let headerBytes = 0;
  let open: OpenEntry<Place> | undefined;
  let padding = 0;
  let entries = 0;
  let taint: "Nothing" | "Next" | "Rest" = "Nothing";
  let state: "Reading" | "Ended" | "Trailing" | "Lost" | "Full" = "Reading";

  const refuse = (reason: string): undefined => void refused.set(reason, (refused.get(reason) ?? 0) + 1);

  function close(): void {
    if (open?.part !== undefined && open.place !== undefined) {
      const { part, bytes, received, sum, place } = open;
      const sha256 = sum.hash.digest("hex");
      options.add({ ...part, bytes: received, sha256, lines: sum.lines }, place);
      if (received < bytes)
        problems.push(`${partFileName(part.kind, part.index)} was cut off after ${received} of ${bytes} bytes`);
    }
    open = undefined;
  }

  /** The part that an entry is, or undefined when its data is to be passed over. */
  function partOf(entry: TarHeader & { kind: "File" }): PartId | undefined {
    if (taint !== "Nothing") return refuse("changed by a header before it");
    const part = options.accept(entry.name);
    if (part === undefined) return refuse("not named like a part");
    if (entry.bytes > MAX_PART_BYTES) return refuse(`larger than ${MAX_PART_BYTES} bytes`);
    const name = partFileName(part.kind, part.index);
    if (seen.has(name)) return refuse("there twice, of which the first is used");
    seen.add(name);
    return part;
  }

  function begin(): void {
    const entry = decodeTarHeader(header);
    if (entry.kind === "End") {
      state = "Ended";
      return;
    }
    if (entry.kind === "Damaged") {
      state = "Lost";
      return;
    }
    if (++entries > MAX_ENTRIES) {
      state = "Full";
      problems.push(`The archive has more than ${MAX_ENTRIES} entries: the rest was not read`);
      return;
    }
    const part = entry.kind === "File" ? partOf(entry) : refuse(entry.reason);
    if (entry.kind === "Refused" && entry.taints !== "Nothing" && taint !== "Rest") taint = entry.taints;
    else if (taint === "Next") taint = "Nothing";
    padding = paddingOf(entry.bytes);
    const place = part === undefined ? undefined : options.begin();
    open = { part, bytes: entry.bytes, place, sum: newChecksum(), received: 0 };
    if (entry.bytes === 0) close();
  }

  /** Takes what belongs together from the front of a piece and says how much that was. */
  function take(piece: Uint8Array): number {
    if (open !== undefined) {
      const data = piece.subarray(0, open.bytes - open.received);
      if (open.part !== undefined) addToChecksum(open.sum, data);
      open.received += data.length;
      if (open.received === open.bytes) close();
      return data.length;
    }
    if (padding > 0) {
      const zeros = Math.min(padding, piece.length);
      padding -= zeros;
      return zeros;
    }
    const part = piece.subarray(0, BLOCK_BYTES - headerBytes);
    header.set(part, headerBytes);
    headerBytes += part.length;
    return part.length;
  }

  return {
    push: (piece, consumed) => {
      let at = 0;
      while (at < piece.length && state === "Reading") {
        at += take(piece.subarray(at));
        if (headerBytes < BLOCK_BYTES) continue;
        headerBytes = 0;
        consumed(at);
        begin();
      }
      if (state === "Ended" && !isZero(piece, at)) {
        state = "Trailing";
        problems.push("There are bytes after the end of the archive, which were not read");
      }
    },
    damaged: (where) => {
      problems.push(`The archive is damaged ${where}`);
      close();
      if (state === "Lost") state = "Reading";
      headerBytes = 0;
      padding = 0;
    },
    done: () => state === "Full" || state === "Trailing",
    finish: (cutAt) => {
      const inside = open !== undefined;
      close();
      const reasons = [...refused].map(
        ([reason, count]) => `${count} ${count === 1 ? "entry was" : "entries were"} left out: ${reason}`,
      );
      if (state === "Ended" && cutAt !== undefined)
        problems.push(`The archive is cut off after ${cutAt} bytes, behind its last part`);
      if (state === "Reading" && (cutAt !== undefined || inside || headerBytes > 0 || padding > 0 || entries === 0))
        problems.push(
          cutAt === undefined ? "The archive ends too early" : `The archive is cut off after ${cutAt} bytes`,
        );
      else if (state === "Lost")
        problems.push("The archive is damaged: what should be a tar header is none, and the rest was not read");
      else if (state === "Reading") problems.push("The archive ends without its end mark: something may be missing");
      return [...problems, ...reasons];
    },
  };
}

function isZero(bytes: Uint8Array, from: number): boolean {
  for (let at = from; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}
