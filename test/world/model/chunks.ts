/** The body of an answer that comes bit by bit: what was pushed can be read, until it ends or breaks. */
export class Chunks {
  readonly #waiting: Uint8Array[] = [];
  #over: { readonly error: Error | undefined } | undefined;
  #wake: () => void = () => undefined;

  push(text: string): void {
    if (this.#over !== undefined) return;
    this.#waiting.push(Buffer.from(text));
    this.#wake();
  }

  /** Nothing comes any more. With an error the reader gets that instead of what it has not read yet. */
  end(error?: Error): void {
    this.#over ??= { error };
    this.#wake();
  }

  async *read(): AsyncIterable<Uint8Array> {
    for (;;) {
      if (this.#over?.error !== undefined) throw this.#over.error;
      const chunk = this.#waiting.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#over !== undefined) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** All of it at once. */
export function whole(text: string): Chunks {
  const chunks = new Chunks();
  chunks.push(text);
  chunks.end();
  return chunks;
}
