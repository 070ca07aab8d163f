/**
 * How is a certificate written down? The few ASN.1 types that ours needs, in DER (ITU-T X.690). Writing only: nothing that
 * comes from outside is ever parsed here.
 */

function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body]);
}

/** Short form up to 127, then the count of bytes and the number itself, biggest byte first (X.690, 8.1.3). */
function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

export function sequence(...items: readonly Uint8Array[]): Buffer {
  return element(0x30, ...items);
}

/** Of one item only: DER would have to sort more. */
export function set(item: Uint8Array): Buffer {
  return element(0x31, item);
}

/** From hex of a whole number of bytes; the top bit of the first one is the sign and must be 0. */
export function integer(hex: string): Buffer {
  const bytes = Buffer.from(hex, "hex");
  const first = bytes[0];
  if (bytes.length * 2 !== hex.length || first === undefined || first > 0x7f) {
    throw new RangeError("a DER integer here is positive and has a whole number of bytes");
  }
  return element(0x02, bytes);
}

export function boolean(value: boolean): Buffer {
  return element(0x01, Buffer.from([value ? 0xff : 0]));
}

export function bitString(bytes: Uint8Array, unusedBits: number): Buffer {
  return element(0x03, Buffer.from([unusedBits]), bytes);
}

export function octetString(bytes: Uint8Array): Buffer {
  return element(0x04, bytes);
}

export function utf8String(text: string): Buffer {
  return element(0x0c, Buffer.from(text, "utf8"));
}

/** An object identifier from its dotted form: the first two numbers share a byte, the others are base 128 (X.690, 8.19). */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) digits.unshift((left % 128) | 0x80);
    bytes.push(...digits);
  }
  return element(0x06, Buffer.from(bytes));
}

/** RFC 5280 wants UTCTime for the years before 2050 and GeneralizedTime from then on. */
export function time(epochMs: number): Buffer {
  const iso = new Date(epochMs).toISOString();
  const digits = `${iso.slice(0, 19).replace(/[-:T]/g, "")}Z`;
  return Number(iso.slice(0, 4)) < 2050
    ? element(0x17, Buffer.from(digits.slice(2)))
    : element(0x18, Buffer.from(digits));
}

/** Context-specific, primitive: [n] IMPLICIT. */
export function context(number: number, bytes: Uint8Array): Buffer {
  return element(0x80 | number, bytes);
}

/** Context-specific, constructed: [n] EXPLICIT. */
export function explicit(number: number, item: Uint8Array): Buffer {
  return element(0xa0 | number, item);
}

export function pem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
