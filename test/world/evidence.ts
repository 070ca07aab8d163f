/**
 * The evidence store of the world: it outlives every operator, as the volume does. The real one is on a disk, whose time nobody rules; its own tests are in
 * test/evidence. What is handed over is a recorded pack of the corpus, with the finding that the real diagnosis makes of it.
 */
import { createHash } from "node:crypto";
import { Context, type Manifest } from "../../src/api/collection.ts";
import { diagnosePack } from "../../src/cli/diagnosepack.ts";
import type { PackReading } from "../../src/controller/packs.ts";
import type { EvidenceStore } from "../../src/evidence/store.ts";
import { packOf } from "../corpus/packs.ts";
import { CASES } from "../corpus/cases.ts";

type Info = NonNullable<ReturnType<EvidenceStore["describe"]>>;

/** A pack as a collector hands it over, and what it means. */
export interface Recorded {
  readonly manifest: Manifest;
  readonly reading: PackReading;
}

/** A service that keeps sessions for ever, recorded for long enough to be sure. */
const LEAK = "leak-sessions-long";

export async function recordedLeak(): Promise<Recorded> {
  const found = CASES.find(({ name }) => name === LEAK);
  if (found === undefined) throw new Error(`The corpus has no ${LEAK}`);
  const { pack, finding } = await diagnosePack(packOf(found));
  if (pack.manifest === undefined) throw new Error(`${LEAK} has no manifest`);
  return { manifest: pack.manifest, reading: { finding, victims: [] } };
}

export class WorldEvidence implements EvidenceStore {
  readonly #collections = new Map<string, Info>();
  readonly #contexts = new Map<string, Context>();
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** Samples of a pod; the first one to send any owns the session. @returns whether they were taken */
  samples(collection: string, podUid: string, lines: number): boolean {
    const info = this.#collections.get(collection) ?? this.#empty(collection);
    if ((info.podUid ?? podUid) !== podUid || info.ended !== undefined) return false;
    this.#collections.set(collection, { ...info, podUid, lines: Math.max(info.lines, lines) });
    return true;
  }

  /** The manifest ends it. */
  finish(collection: string, podUid: string): boolean {
    const info = this.#collections.get(collection);
    if (info?.podUid !== podUid || info.ended !== undefined) return false;
    const sha256 = createHash("sha256").update(collection).digest("hex");
    this.#collections.set(collection, { ...info, manifestSha256: sha256, ended: this.#now().toISOString() });
    return true;
  }

  contextOf(collection: string): Context | undefined {
    return this.#contexts.get(collection);
  }

  describe(collection: string): Info | undefined {
    return this.#collections.get(collection);
  }

  list(): readonly Info[] {
    return [...this.#collections.values()];
  }

  writeContext(collection: string, bytes: Uint8Array): Promise<void> {
    const text = Buffer.from(bytes).toString("utf8");
    this.#contexts.set(collection, Context.parse(JSON.parse(text)));
    const info = this.#collections.get(collection) ?? this.#empty(collection);
    const sha256 = createHash("sha256").update(text).digest("hex");
    const part = { kind: "context" as const, index: 0, bytes: text.length, lines: 1, sha256 };
    const parts = [...info.parts.filter(({ kind }) => kind !== "context"), part];
    this.#collections.set(collection, { ...info, parts, bytes: text.length });
    return Promise.resolve();
  }

  end(collection: string): Promise<void> {
    const info = this.#collections.get(collection);
    if (info !== undefined)
      this.#collections.set(collection, { ...info, ended: info.ended ?? this.#now().toISOString() });
    return Promise.resolve();
  }

  remove(collection: string): Promise<void> {
    this.#collections.delete(collection);
    return Promise.resolve();
  }

  usage(): { bytes: number; maxBytes: number; collections: number } {
    return { bytes: 0, maxBytes: 2 ** 30, collections: this.#collections.size };
  }

  setTerms(collection: string, terms: NonNullable<Info["terms"]>): Promise<void> {
    const info = this.#collections.get(collection);
    if (info !== undefined && info.terms === undefined) this.#collections.set(collection, { ...info, terms });
    return Promise.resolve();
  }

  expire(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  limit(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  progress(): never {
    throw new Error("The world has no evidence server");
  }

  receive(): never {
    throw new Error("The world has no evidence server");
  }

  #empty(collection: string): Info {
    return {
      collection,
      directory: collection,
      podUid: undefined,
      firstSeen: this.#now().toISOString(),
      ended: undefined,
      parts: [],
      bytes: 0,
      lines: 0,
      manifestSha256: undefined,
      terms: undefined,
    };
  }
}
