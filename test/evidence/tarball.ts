/** Archives that our writer would never make: any header, any order, any frames. */
import { zstdCompressSync } from "node:zlib";

export interface Entry {
  readonly name: string;
  readonly data?: Uint8Array | string;
  /** The type byte; "0" is a regular file. */
  readonly type?: string;
  readonly link?: string;
  readonly prefix?: string;
  readonly magic?: string;
  /** Text of the size field, when it is not the size of the data. */
  readonly size?: string;
  /** Changes the header after its checksum was made. */
  readonly spoil?: (header: Buffer) => void;
}

/** One header and its data, as any tool may write them. */
export function entry({ name, data = "", type = "0", link = "", prefix = "", ...rest }: Entry): Buffer {
  const body = Buffer.from(data);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100, "latin1");
  header.write("0004755\0", 100);
  header.write("0001750\0", 108);
  header.write("0001750\0", 116);
  header.write(rest.size ?? `${body.length.toString(8).padStart(11, "0")}\0`, 124, 12, "latin1");
  header.write("14712345670\0", 136);
  header.write("        ", 148);
  header.write(type, 156, 1, "latin1");
  header.write(link, 157, 100, "latin1");
  header.write(rest.magic ?? "ustar\u000000", 257, 8, "latin1");
  header.write("somebody", 265);
  header.write(prefix, 345, 155, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  rest.spoil?.(header);
  return Buffer.concat([header, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

export const END = Buffer.alloc(1024);

/** All entries and the end in one frame, as `tar --zstd` writes them. */
export function oneFrame(entries: readonly Entry[]): Buffer {
  return zstdCompressSync(Buffer.concat([...entries.map(entry), END]));
}

/** A PAX record: its length counts itself. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length;
  return `${length}${rest}`;
}
