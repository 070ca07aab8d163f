/**
 * What is one header of a tar archive, written so that the same part always gives the same bytes, and read so strictly that no two
 * tools can take the same header for different files? Only regular files with flat names exist here: everything that lets a tar
 * archive point elsewhere (links, devices, folders, long names, PAX records, sparse files) is refused, with a reason.
 * The format is POSIX.1-1988 ustar (pax(1), "ustar Interchange Format").
 */

export const BLOCK_BYTES = 512;

const NAME = { at: 0, bytes: 100 };
const MODE = { at: 100, bytes: 8 };
const UID = { at: 108, bytes: 8 };
const GID = { at: 116, bytes: 8 };
const SIZE = { at: 124, bytes: 12 };
const MTIME = { at: 136, bytes: 12 };
const CHECKSUM = { at: 148, bytes: 8 };
const TYPE_AT = 156;
const MAGIC = { at: 257, bytes: 8 };
const DEVMAJOR = { at: 329, bytes: 8 };
const DEVMINOR = { at: 337, bytes: 8 };
/** ustar: a folder to put before the name. GNU: times and sparse maps. Nothing we read has either. */
const PREFIX_AT = 345;

const USTAR = "ustar\u000000";
const GNU = "ustar  \0";
/** 1980-01-01T00:00:00Z. Not 0, which GNU tar calls implausibly old. */
const FIXED_MTIME_SECONDS = 315_532_800;
const FILE_MODE = 0o600;

const REGULAR = new Set(["0", "\0"]);
const REFUSED_TYPES: Readonly<Record<string, string>> = {
  "1": "a hard link",
  "2": "a symbolic link",
  "3": "a device",
  "4": "a device",
  "5": "a folder",
  "6": "a named pipe",
  "7": "a contiguous file",
  x: "an extended (PAX) header",
  g: "a global (PAX) header",
  L: "a long name (GNU)",
  K: "a long link (GNU)",
  S: "a sparse file",
  D: "a folder's listing (GNU)",
  M: "a continued volume",
  V: "a volume's label",
};

export type TarHeader =
  | { readonly kind: "File"; readonly name: string; readonly bytes: number }
  /** Of `bytes` of data that follow, none is used. `taints`: it changes what the entry after it means, which is then refused too. */
  | {
      readonly kind: "Refused";
      readonly reason: string;
      readonly bytes: number;
      readonly taints: "Nothing" | "Next" | "Rest";
    }
  /** Only zeros: the end of the archive. */
  | { readonly kind: "End" }
  /** Not a header: its checksum is wrong, or a number in it cannot be read. What follows cannot be told apart any more. */
  | { readonly kind: "Damaged" };

/** The header of a regular file. `name` is at most 100 ASCII bytes, as every name of the contract is. */
export function encodeTarHeader(name: string, bytes: number): Buffer {
  if (name.length > NAME.bytes || !/^[\w.-]+$/.test(name)) throw new RangeError("not a flat name of at most 100 bytes");
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(name, NAME.at, "latin1");
  writeOctal(header, MODE, FILE_MODE);
  writeOctal(header, UID, 0);
  writeOctal(header, GID, 0);
  writeOctal(header, SIZE, bytes);
  writeOctal(header, MTIME, FIXED_MTIME_SECONDS);
  header.write("0", TYPE_AT, "latin1");
  header.write(USTAR, MAGIC.at, "latin1");
  writeOctal(header, DEVMAJOR, 0);
  writeOctal(header, DEVMINOR, 0);
  header.write(`${checksumOf(header).toString(8).padStart(6, "0")}\0 `, CHECKSUM.at, "latin1");
  return header;
}

/** Bytes of zeros that follow `bytes` of data, up to a whole block. */
export function paddingOf(bytes: number): number {
  return (BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** Reads one block of 512 bytes. */
export function decodeTarHeader(block: Uint8Array): TarHeader {
  const header = Buffer.from(block.buffer, block.byteOffset, BLOCK_BYTES);
  if (header.every((byte) => byte === 0)) return { kind: "End" };
  const bytes = readOctal(header, SIZE);
  if (bytes === undefined || readOctal(header, CHECKSUM) !== checksumOf(header)) return { kind: "Damaged" };
  const type = String.fromCharCode(header[TYPE_AT] ?? 0);
  const refuse = (reason: string): TarHeader => ({ kind: "Refused", reason, bytes, taints: "Nothing" });
  if (!REGULAR.has(type)) {
    const reason = REFUSED_TYPES[type] ?? "of a kind that no pack has";
    const taints = type === "g" ? "Rest" : type === "x" || type === "L" || type === "K" ? "Next" : "Nothing";
    // POSIX: a link, a device and a folder have no data, whatever their size field says.
    return { kind: "Refused", reason, bytes: /[1-6]/.test(type) ? 0 : bytes, taints };
  }
  const magic = header.toString("latin1", MAGIC.at, MAGIC.at + MAGIC.bytes);
  if (magic !== USTAR && magic !== GNU) return refuse("in an older form than ustar");
  if (header[PREFIX_AT] !== 0) return refuse("inside a folder, or carries fields that only some tools know");
  return { kind: "File", name: textOf(header, NAME), bytes };
}

interface Field {
  readonly at: number;
  readonly bytes: number;
}

function writeOctal(header: Buffer, field: Field, value: number): void {
  header.write(`${value.toString(8).padStart(field.bytes - 1, "0")}\0`, field.at, "latin1");
}

/** Octal digits, with spaces before and a space or NUL after, as all tools write them. GNU's binary numbers are not for files this small. */
function readOctal(header: Buffer, field: Field): number | undefined {
  const text = header.toString("latin1", field.at, field.at + field.bytes);
  const [, digits] = /^ *([0-7]+)[ \0]*$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

function textOf(header: Buffer, field: Field): string {
  const text = header.toString("latin1", field.at, field.at + field.bytes);
  const end = text.indexOf("\0");
  return end === -1 ? text : text.slice(0, end);
}

/** The sum of all bytes, with the checksum's own field taken as spaces. */
function checksumOf(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < BLOCK_BYTES; at++) {
    sum += at >= CHECKSUM.at && at < CHECKSUM.at + CHECKSUM.bytes ? 0x20 : (header[at] ?? 0);
  }
  return sum;
}
