/**
 * How is a file of lines read when one line may be as long as the disk? Piece by piece: a line is kept only up to a cap, and
 * the rest of a longer one is passed over without being held.
 */
const NEWLINE = 0x0a;

/**
 * Yields each line without its newline, "TooLong" in the place of a line of more than `maxLineBytes`, and "CutOff" at last when
 * there are more than `maxBytes`. Empty lines are left out. The buffers belong to the caller; a piece is not looked at again once the next
 * has been asked for.
 */
export async function* readLines(
  pieces: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
  maxBytes: number,
): AsyncGenerator<Uint8Array | "TooLong" | "CutOff"> {
  let kept: Buffer[] = [];
  let length = 0;
  const take = (): Uint8Array | "TooLong" | undefined => {
    const line = length > maxLineBytes ? "TooLong" : length === 0 ? undefined : Buffer.concat(kept, length);
    kept = [];
    length = 0;
    return line;
  };
  const keep = (piece: Uint8Array): void => {
    length += piece.length;
    // Copied, because the piece is read into again; a line that is too long already is not worth a copy.
    if (length <= maxLineBytes) kept.push(Buffer.from(piece));
    else kept = [];
  };
  let left = maxBytes;
  for await (const whole of pieces) {
    const piece = whole.subarray(0, left);
    left -= piece.length;
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at !== -1; at = piece.indexOf(NEWLINE, from)) {
      keep(piece.subarray(from, at));
      from = at + 1;
      const line = take();
      if (line !== undefined) yield line;
    }
    keep(piece.subarray(from));
    if (piece.length < whole.length) {
      yield "CutOff";
      return;
    }
  }
  const last = take();
  if (last !== undefined) yield last;
}
