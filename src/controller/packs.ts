/**
 * What the loop may know of evidence without waiting: how far an upload has come, and, once it has ended, what the pack says. Packs
 * are read in the background, one at a time; when one has been read its workload is looked at again.
 */
import type { Logger } from "pino";
import type { Context, Manifest } from "../api/collection.ts";
import type { Finding } from "../api/memoryinvestigation.ts";
import type { ComparisonQuestion, ValidationCheck } from "../api/validation.ts";
import type { EvidenceStore } from "../evidence/store.ts";
import type { PackUploads } from "../evidence/uploads.ts";
import {
  type ArchiveView,
  keyText,
  type KernelVictim,
  type SessionView,
  type WorkloadKey,
} from "../incident/observation.ts";

export interface PackReading {
  readonly finding: Finding;
  readonly victims: readonly KernelVictim[];
}

export interface PacksOptions {
  readonly store: EvidenceStore;
  /** Reads a pack and says what it means. Throws only when the folder itself cannot be read. */
  readonly read: (directory: string) => Promise<PackReading>;
  /** Compares two packs; `before` is undefined where the store has it no more. Throws only when a folder itself cannot be read. */
  readonly compare: (
    before: string | undefined,
    after: string,
    question: ComparisonQuestion,
  ) => Promise<readonly ValidationCheck[]>;
  readonly readManifest: (directory: string) => Promise<Manifest | undefined>;
  readonly readContext: (directory: string) => Promise<Context | undefined>;
  /** Where finished packs lie beside the store; undefined when nowhere. */
  readonly uploads: PackUploads | undefined;
  /** What became of a pack that was deleted here and lies nowhere else, in a sentence for people. */
  readonly gone?: (collection: string) => string | undefined;
  readonly enqueue: (key: string) => void;
  readonly log: Logger;
}

export interface Packs {
  session(collection: string): SessionView | undefined;
  finding(collection: string, workload: WorkloadKey): Finding | undefined;
  victims(collection: string): readonly KernelVictim[];
  comparison(question: ComparisonQuestion, workload: WorkloadKey): readonly ValidationCheck[] | undefined;
  /** The context part as it is now; undefined when there is none that can be read. */
  readContext(collection: string): Promise<Context | undefined>;
  archive(collection: string): ArchiveView | undefined;
  /** Forgets what was read of collections that are over. */
  forget(collection: string): void;
}

/** Which look at the surroundings the context part with this checksum holds. */
interface Look {
  readonly sha256: string;
  readonly look: "Start" | "End";
}

/** How many readings are kept; the rest can be read again. */
const KEEP = 64;

export function createPacks(options: PacksOptions): Packs {
  const { store, read, compare, readManifest, readContext, uploads, enqueue, log } = options;
  const readings = new Map<string, PackReading>();
  const manifests = new Map<string, Manifest>();
  const looks = new Map<string, Look>();
  const comparisons = new Map<string, readonly ValidationCheck[]>();
  const underWay = new Set<string>();
  let chain: Promise<void> = Promise.resolve();

  function later(name: string, workload: string | undefined, task: () => Promise<void>): void {
    if (underWay.has(name)) return;
    underWay.add(name);
    chain = chain.then(run);

    async function run(): Promise<void> {
      try {
        await task();
        // Only then: whoever waits for it asks again by the clock, and what fails would fail at once, as fast as the machine can.
        if (workload !== undefined) enqueue(workload);
      } catch (error) {
        log.error({ err: error, pack: name }, "Could not read a pack");
      } finally {
        underWay.delete(name);
      }
    }
  }

  function session(collection: string): SessionView | undefined {
    const info = store.describe(collection);
    if (info === undefined) return undefined;
    const manifest = info.manifestSha256 === undefined ? undefined : manifests.get(collection);
    if (info.manifestSha256 !== undefined && manifest === undefined) {
      later(`manifest of ${collection}`, undefined, async () => {
        const found = await readManifest(info.directory);
        if (found !== undefined) keep(manifests, collection, found);
      });
    }
    const context = lookOf(info);
    return {
      collection,
      ...(context === undefined ? {} : { context }),
      ...(info.podUid === undefined ? {} : { started: `${info.firstSeen.slice(0, 19)}Z` }),
      samples: info.lines,
      parts: info.parts.length,
      bytes: info.bytes,
      closed: manifest !== undefined,
      ...(manifest === undefined
        ? {}
        : {
            manifest: {
              outcome: manifest.outcome,
              samples: manifest.samples,
              stallMs: manifest.cost.stallMs,
              cpuMs: manifest.cost.cpuMs,
              sha256: info.manifestSha256 ?? "",
              skipped: manifest.skipped.map(
                (s) => `${s.what} (${s.reason}${s.detail === undefined ? "" : `: ${s.detail}`})`,
              ),
            },
          }),
    };
  }

  /** By the checksum of the part: what was read of an earlier one says nothing about this one. */
  function lookOf(info: NonNullable<ReturnType<EvidenceStore["describe"]>>): SessionView["context"] {
    const part = info.parts.find(({ kind }) => kind === "context");
    if (part === undefined) return undefined;
    const known = looks.get(info.collection);
    if (known?.sha256 === part.sha256) return known.look;
    later(`context of ${info.collection}`, undefined, async () => {
      const context = await readContext(info.directory);
      // One that cannot be read is as good as one without the last look: it is written again.
      const look = context?.snapshots?.some(({ stage }) => stage === "End") === true ? "End" : "Start";
      keep(looks, info.collection, { sha256: part.sha256, look });
    });
    return "Unread";
  }

  function finding(collection: string, workload: WorkloadKey): Finding | undefined {
    const known = readings.get(collection);
    if (known !== undefined) return known.finding;
    const info = store.describe(collection);
    if (info === undefined) return undefined;
    later(collection, keyText(workload), async () => {
      // Nothing more may come: what is read now is what the finding rests on.
      await store.end(collection);
      keep(readings, collection, await read(info.directory));
    });
    return undefined;
  }

  /** By the later pack: what an earlier comparison of it was asked is the same as long as the finding is. */
  function comparison(question: ComparisonQuestion, workload: WorkloadKey): readonly ValidationCheck[] | undefined {
    const known = comparisons.get(question.after);
    if (known !== undefined) return known;
    const after = store.describe(question.after);
    if (after === undefined) return undefined;
    later(`comparison of ${question.after}`, keyText(workload), async () => {
      await store.end(question.after);
      const before = question.before === undefined ? undefined : store.describe(question.before)?.directory;
      keep(comparisons, question.after, await compare(before, after.directory, question));
    });
    return undefined;
  }

  return {
    session,
    finding,
    comparison,
    victims: (collection) => readings.get(collection)?.victims ?? [],
    readContext: async (collection) => {
      const info = store.describe(collection);
      return info === undefined ? undefined : readContext(info.directory);
    },
    archive: (collection) => {
      const pack = uploads?.stored(collection);
      const problem = uploads?.problem(collection) ?? options.gone?.(collection);
      if (pack === undefined && problem === undefined) return undefined;
      return { ...(pack === undefined ? {} : { pack }), ...(problem === undefined ? {} : { problem }) };
    },
    forget: (collection) => {
      readings.delete(collection);
      manifests.delete(collection);
      looks.delete(collection);
      comparisons.delete(collection);
    },
  };
}

function keep<T>(map: Map<string, T>, name: string, value: T): void {
  map.set(name, value);
  for (const oldest of map.keys()) {
    if (map.size <= KEEP) return;
    map.delete(oldest);
  }
}
