/**
 * How does a collector know that it talks to the operator, and nobody else on the node network?
 * The operator makes one authority for each install and a serving certificate under it. Both are kept as PEM text in a Secret,
 * and the authority's certificate goes to the collectors in a ConfigMap. What is written here is a small, fixed shape of
 * X.509 v3 (RFC 5280) with ECDSA P-256; certificates are only ever *written* here, reading them is left to node:crypto.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Clock, Random } from "../seams.ts";
import {
  bitString,
  boolean,
  context,
  explicit,
  time,
  integer,
  octetString,
  oid,
  pem,
  sequence,
  set,
  utf8String,
} from "./der.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LEAF_LIFE_MS = 90 * DAY_MS;
const AUTHORITY_LIFE_MS = 3650 * DAY_MS;
/** Clocks of nodes differ: a certificate is valid from one hour before it was made. */
const SKEW_MS = HOUR_MS;

const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const COMMON_NAME = "2.5.4.3";
const SUBJECT_KEY_ID = "2.5.29.14";
const KEY_USAGE = "2.5.29.15";
const SUBJECT_ALT_NAME = "2.5.29.17";
const BASIC_CONSTRAINTS = "2.5.29.19";
const AUTHORITY_KEY_ID = "2.5.29.35";
const EXTENDED_KEY_USAGE = "2.5.29.37";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/** A certificate and its private key (PKCS#8), both PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** What the Secret holds, all PEM. */
export interface ServingIdentity {
  readonly caCert: string;
  readonly caKey: string;
  readonly cert: string;
  readonly key: string;
}

/** A new authority: ECDSA P-256, ten years, may sign servers only (path length 0). */
export function createAuthority(clock: Clock, random: Random): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const keyId = keyIdentifier(spki);
  // Two authorities of one install must not share a name, or a client that trusts both picks the wrong one.
  const name = distinguishedName(`oomscope evidence authority ${random.hex(4)}`);
  const cert = certificate({
    serial: random.hex(16),
    issuer: name,
    subject: name,
    from: clock.now().getTime() - SKEW_MS,
    until: clock.now().getTime() + AUTHORITY_LIFE_MS,
    spki,
    signerKeyPem: exportKey(privateKey),
    extensions: [
      extension(BASIC_CONSTRAINTS, true, sequence(boolean(true), integer("00"))),
      extension(KEY_USAGE, true, bitString(Buffer.from([0b0000_0110]), 1)), // keyCertSign, cRLSign
      extension(SUBJECT_KEY_ID, false, octetString(keyId)),
    ],
  });
  return { cert, key: exportKey(privateKey) };
}

/**
 * A serving certificate for 90 days, for these names and addresses.
 * Throws RangeError when there is none of either or when an address is none.
 */
export function issueServerCertificate(
  authority: KeyPair,
  dnsNames: readonly string[],
  ips: readonly string[],
  clock: Clock,
  random: Random,
): ServingIdentity {
  if (dnsNames.length + ips.length === 0) throw new RangeError("a serving certificate needs a name or an address");
  const ca = new X509Certificate(authority.cert);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const now = clock.now().getTime();
  const names = [...dnsNames.map((name) => context(2, Buffer.from(name, "ascii"))), ...ips.map(addressName)];
  const cert = certificate({
    serial: random.hex(16),
    issuer: authorityName(ca),
    subject: distinguishedName("oomscope evidence"),
    from: now - SKEW_MS,
    // Never outlives its authority: some clients check only the leaf's dates and fail late and strangely.
    until: Math.min(now + LEAF_LIFE_MS, Date.parse(ca.validTo)),
    spki,
    signerKeyPem: authority.key,
    extensions: [
      extension(BASIC_CONSTRAINTS, true, sequence()),
      extension(KEY_USAGE, true, bitString(Buffer.from([0b1000_0000]), 7)), // digitalSignature
      extension(EXTENDED_KEY_USAGE, false, sequence(oid(SERVER_AUTH))),
      extension(SUBJECT_ALT_NAME, false, sequence(...names)),
      extension(SUBJECT_KEY_ID, false, octetString(keyIdentifier(spki))),
      extension(AUTHORITY_KEY_ID, false, sequence(context(0, keyIdentifier(spkiOf(ca))))),
    ],
  });
  return { caCert: authority.cert, caKey: authority.key, cert, key: exportKey(privateKey) };
}

/** True when two thirds of the certificate's life are over, or when it cannot be read: then it must be made again. */
export function needsRenewal(certPem: string, clock: Clock): boolean {
  try {
    const cert = new X509Certificate(certPem);
    const from = Date.parse(cert.validFrom);
    const until = Date.parse(cert.validTo);
    return !(clock.now().getTime() < from + ((until - from) * 2) / 3);
  } catch {
    return true;
  }
}

/** True when the four texts belong together: what came back from a Secret is checked before it is served. */
export function isWholeIdentity(identity: ServingIdentity): boolean {
  try {
    const ca = new X509Certificate(identity.caCert);
    const leaf = new X509Certificate(identity.cert);
    return (
      ca.ca &&
      !leaf.ca &&
      ca.checkPrivateKey(createPrivateKey(identity.caKey)) &&
      leaf.checkPrivateKey(createPrivateKey(identity.key)) &&
      leaf.verify(ca.publicKey)
    );
  } catch {
    return false;
  }
}

interface Fields {
  readonly serial: string;
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly until: number;
  readonly spki: Buffer;
  readonly signerKeyPem: string;
  readonly extensions: readonly Buffer[];
}

function certificate(fields: Fields): string {
  const body = sequence(
    explicit(0, integer("02")), // v3
    // The top bit off and a bit on: positive, and never longer than RFC 5280 4.1.2.2 allows.
    integer(`4${fields.serial.slice(1)}`),
    ECDSA_WITH_SHA256,
    fields.issuer,
    sequence(time(fields.from), time(fields.until)),
    fields.subject,
    fields.spki,
    explicit(3, sequence(...fields.extensions)),
  );
  const signature = sign("sha256", body, { key: fields.signerKeyPem, dsaEncoding: "der" });
  return pem("CERTIFICATE", sequence(body, ECDSA_WITH_SHA256, bitString(signature, 0)));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(set(sequence(oid(COMMON_NAME), utf8String(commonName))));
}

/** The issuer of a leaf must repeat the authority's subject byte for byte, so it is built the same way again. */
function authorityName(ca: X509Certificate): Buffer {
  const commonName = /^CN=(.+)$/m.exec(ca.subject)?.[1];
  if (commonName === undefined) throw new RangeError("the authority's certificate has no common name");
  return distinguishedName(commonName);
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value));
}

function addressName(ip: string): Buffer {
  return context(7, addressBytes(ip));
}

function addressBytes(ip: string): Buffer {
  const version = isIP(ip);
  if (version === 4) return Buffer.from(ip.split(".").map(Number));
  if (version !== 6 || ip.includes("%")) throw new RangeError(`${JSON.stringify(ip)} is not an IP address`);
  // The URL parser writes every form of an IPv6 address, also with an IPv4 tail, in one way.
  const plain = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros: string[] = Array.from({ length: 8 - before.length - after.length }, () => "0");
  const groups = [...before, ...zeros, ...after].map((group) => Number.parseInt(group, 16));
  return Buffer.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function spkiOf(cert: X509Certificate): Buffer {
  return createPublicKey(cert.publicKey.export({ type: "spki", format: "pem" })).export({
    type: "spki",
    format: "der",
  });
}

/** First 20 bytes of the SHA-256 over the public key (RFC 7093, method 1, over the whole SPKI). */
function keyIdentifier(spki: Buffer): Buffer {
  return createHash("sha256").update(spki).digest().subarray(0, 20);
}

function exportKey(key: ReturnType<typeof createPrivateKey>): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}
