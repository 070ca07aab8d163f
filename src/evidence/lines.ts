/**
 * How is a file of lines read when one line may be as long as the disk? Piece by piece: a line is kept only up to a cap, and
 * the rest of a longer one is passed over without being held.
 */
import { constants } from "node:fs";
import { openPlain } from "./folder.ts";

const PIECE_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/**
 * Yields each line without its newline, "TooLong" in the place of a line of more than `maxLineBytes`, and "CutOff" at last when
 * the file has more than `maxFileBytes`. Empty lines are left out. The buffers belong to the caller.
 */
export async function* readLines(
  path: string,
  maxLineBytes: number,
  maxFileBytes: number,
): AsyncGenerator<Uint8Array | "TooLong" | "CutOff"> {
  const file = await openPlain(path, constants.O_RDONLY);
  try {
    let kept: Buffer[] = [];
    let length = 0;
    const take = (): Uint8Array | "TooLong" | undefined => {
      const line = length > maxLineBytes ? "TooLong" : length === 0 ? undefined : Buffer.concat(kept, length);
      kept = [];
      length = 0;
      return line;
    };
    const keep = (piece: Buffer): void => {
      length += piece.length;
      // Copied, because the piece is read into again; a line that is too long already is not worth a copy.
      if (length <= maxLineBytes) kept.push(Buffer.from(piece));
      else kept = [];
    };
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    let position = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(PIECE_BYTES, maxFileBytes - position), position);
      if (bytesRead === 0) break;
      position += bytesRead;
      const piece = buffer.subarray(0, bytesRead);
      let from = 0;
      for (let at = piece.indexOf(NEWLINE); at !== -1; at = piece.indexOf(NEWLINE, from)) {
        keep(piece.subarray(from, at));
        from = at + 1;
        const line = take();
        if (line !== undefined) yield line;
      }
      keep(piece.subarray(from));
    }
    if (position === maxFileBytes && (await file.stat()).size > position) {
      yield "CutOff";
      return;
    }
    const last = take();
    if (last !== undefined) yield last;
  } finally {
    await file.close();
  }
}
