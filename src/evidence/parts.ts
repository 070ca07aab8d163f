/**
 * Which names may lie in a collection's folder, and which may be asked for from outside?
 * A client names a kind and a number and nothing else; every file name is made here or in the contract.
 */
import { MAX_PART_INDEX, NUMBERED_KINDS, PART_KINDS, type PartKind, partFileName } from "../api/collection.ts";

export interface PartId {
  readonly kind: PartKind;
  readonly index: number;
}

const COLLECTION_ID = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const SHA256 = /^[0-9a-f]{64}$/;
const NUMBERED_FILE = /^([a-z]+)-([0-9]{4})\./;
const INCOMING_FILE = /^\.incoming-([0-9]{1,12})-([0-9a-f]{64})-([a-z0-9.-]{1,40})$/;

/** A collection's id is a DNS label: it is the Job's name, a folder's name and a part of a URL, and means the same in all three. */
export function isCollectionId(text: string): boolean {
  return COLLECTION_ID.test(text);
}

/** Lower-case hex of 32 bytes. */
export function isSha256(text: string): boolean {
  return SHA256.test(text);
}

/** Only some kinds have numbers other than 0. */
export function isPartIndex(kind: PartKind, index: number): boolean {
  return Number.isInteger(index) && index >= 0 && index <= (NUMBERED_KINDS[kind] === undefined ? 0 : MAX_PART_INDEX);
}

/** The part a file name stands for, or undefined for every name that `partFileName` would not make. */
export function parsePartFileName(name: string): PartId | undefined {
  const [, prefix, digits] = NUMBERED_FILE.exec(name) ?? [];
  const index = Number(digits ?? 0);
  const kind = PART_KINDS.find(
    (kind) => (prefix === undefined || prefix === kind) && partFileName(kind, index) === name,
  );
  return kind !== undefined && isPartIndex(kind, index) ? { kind, index } : undefined;
}

/** What an unfinished part says about itself in its own file name, so that a restart needs no other memory. */
export interface IncomingName extends PartId {
  readonly totalBytes: number;
  readonly sha256: string;
}

/** Name of the file that holds the first bytes of a part. The leading dot keeps it out of every listing of parts. */
export function incomingFileName(part: IncomingName): string {
  return `.incoming-${part.totalBytes}-${part.sha256}-${partFileName(part.kind, part.index)}`;
}

export function parseIncomingFileName(name: string): IncomingName | undefined {
  const [, total, sha256, file] = INCOMING_FILE.exec(name) ?? [];
  if (total === undefined || sha256 === undefined || file === undefined) return undefined;
  const part = parsePartFileName(file);
  return part === undefined ? undefined : { ...part, totalBytes: Number(total), sha256 };
}
