/**
 * How is a file of lines read when one line may be as long as the disk? Piece by piece: a line is kept only up to a cap, and
 * the rest of a longer one is passed over without being held.
 */
const NEWLINE = 0x0a;
const FIRST_BYTES = 64 * 1024;

/**
 * Yields each line without its newline, "TooLong" in the place of a line of more than `maxLineBytes`, and "CutOff" at last when
 * there are more than `maxBytes`. Empty lines are left out. A line is valid until the next one is asked for: all of them lie in one buffer, which grows to the
 * longest, because memory for each would be garbage outside of V8's heap, where it is collected late. A piece is not looked at again once the next has been asked for.
 */
export async function* readLines(
  pieces: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
  maxBytes: number,
): AsyncGenerator<Uint8Array | "TooLong" | "CutOff"> {
  let line = Buffer.alloc(FIRST_BYTES);
  let length = 0;
  const take = (): Uint8Array | "TooLong" | undefined => {
    const taken = length > maxLineBytes ? "TooLong" : length === 0 ? undefined : line.subarray(0, length);
    length = 0;
    return taken;
  };
  const keep = (piece: Uint8Array): void => {
    // A line that is too long already is not worth a copy.
    if (length + piece.length <= maxLineBytes) {
      if (length + piece.length > line.length) {
        const larger = Buffer.alloc(Math.min(maxLineBytes, Math.max(2 * line.length, length + piece.length)));
        line.copy(larger, 0, 0, length);
        line = larger;
      }
      line.set(piece, length);
    }
    length += piece.length;
  };
  let left = maxBytes;
  for await (const whole of pieces) {
    const piece = whole.subarray(0, left);
    left -= piece.length;
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at !== -1; at = piece.indexOf(NEWLINE, from)) {
      keep(piece.subarray(from, at));
      from = at + 1;
      const one = take();
      if (one !== undefined) yield one;
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
