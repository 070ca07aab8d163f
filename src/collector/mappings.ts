/**
 * The mappings of one process, summed by class and by file while they are read: no mapping is kept, and the number of sums is bounded
 * whatever the target maps.
 */
import { createHmac } from "node:crypto";
import {
  CERTAINTIES,
  type Certainty,
  type MappingClass,
  type MappingSizes,
  MAPPING_CLASSES,
  type NamedSums,
  type ProcessMappings,
  SMAPS_FIELDS,
  type SmapsField,
} from "../api/mappings.ts";
import { baseName, createClassifier, isLibraryName } from "./mappingclasses.ts";
import { createSmapsParser, type Mapping } from "./smaps.ts";

/** Files of a process that are told apart; a process with more has the rest counted together. */
const MAX_FILES = 2048;
/** Of those, as many are listed. */
const MAX_NAMES = 48;
/** A sum of these is told even when it is zero. */
const ALWAYS: ReadonlySet<SmapsField> = new Set(["Size", "Rss", "Pss", "Private_Dirty", "Anonymous"]);
const RSS = SMAPS_FIELDS.indexOf("Rss");
const SWAP = SMAPS_FIELDS.indexOf("Swap");

interface Sums {
  mappings: number;
  readonly sizes: Float64Array;
}

interface FileSums extends Sums {
  class: MappingClass;
  readonly name: string;
}

export interface Aggregator {
  feed(bytes: Uint8Array): void;
  /** The sums of all that was fed. */
  end(): Pick<
    ProcessMappings,
    "runtimes" | "mappings" | "totals" | "classes" | "names" | "namesOmitted" | "unparsedLines"
  >;
}

/**
 * @param nameKey  of one collection and nowhere written: whoever has only the pack cannot try names against their hashes
 * @param memoryDevices  devices of tmpfs mounts, as a mapping shows them
 */
export function createAggregator(nameKey: string, memoryDevices: ReadonlySet<string>): Aggregator {
  const classifier = createClassifier(memoryDevices);
  const totals = emptySums();
  const certain = new Map<string, Sums & { readonly class: MappingClass; readonly certainty: Certainty }>();
  const open = new Map<number, Sums>();
  const files = new Map<string, FileSums>();
  const crowd = { names: 0, ...emptySums() };

  function take(mapping: Mapping, next: Mapping | undefined): void {
    add(totals, mapping);
    const placed = classifier.place(mapping, next);
    if ("candidates" in placed) {
      add(getOrMake(open, placed.candidates, emptySums), mapping);
      return;
    }
    const { class: kind, certainty, file } = placed;
    if (file !== undefined) addFile(kind, file, mapping);
    // A program's parts that are not executable look like any file's until all are seen: such classes come from the files.
    if (file === undefined || !isFromFiles(kind))
      add(
        getOrMake(certain, `${kind} ${certainty}`, () => ({ ...emptySums(), class: kind, certainty })),
        mapping,
      );
  }

  function addFile(kind: MappingClass, file: string, mapping: Mapping): void {
    const key = `${mapping.device} ${mapping.inode} ${file}`;
    const known = files.get(key);
    if (known === undefined && files.size >= MAX_FILES) {
      crowd.names += 1;
      add(crowd, mapping);
      return;
    }
    const sums = known ?? { ...emptySums(), class: kind, name: nameOf(file, nameKey) };
    if (known === undefined) files.set(key, sums);
    // Also what a program maps of itself without the right to execute is the program.
    if (kind === "Program") sums.class = kind;
    add(sums, mapping);
  }

  const parser = createSmapsParser(take);
  return {
    feed: (bytes) => parser.feed(bytes),
    end: () => {
      const { mappings, unparsedLines } = parser.end();
      const runtimes = [...classifier.runtimes()];
      const classes = new Map<MappingClass, Sums & { certainty: Certainty }>();
      const put = (kind: MappingClass, certainty: Certainty, sums: Sums): void => {
        const row = getOrMake(classes, kind, () => ({ ...emptySums(), certainty }));
        if (CERTAINTIES.indexOf(certainty) > CERTAINTIES.indexOf(row.certainty)) row.certainty = certainty;
        merge(row, sums);
      };
      for (const row of certain.values()) put(row.class, row.certainty, row);
      for (const file of files.values()) if (isFromFiles(file.class)) put(file.class, "Kernel", file);
      if (crowd.names > 0) put("File", "Kernel", crowd);
      for (const [candidates, sums] of open) {
        const resolved = classifier.resolve(candidates);
        put(resolved.class, resolved.certainty, sums);
      }
      const listed = listNames(files.values());
      const rest = { names: crowd.names + Math.max(0, listed.length - MAX_NAMES), ...emptySums() };
      merge(rest, crowd);
      for (const row of listed.slice(MAX_NAMES)) merge(rest, row);
      return {
        runtimes,
        mappings,
        totals: sizesOf(totals),
        classes: MAPPING_CLASSES.flatMap((kind) => {
          const row = classes.get(kind);
          if (row === undefined) return [];
          return [{ class: kind, certainty: row.certainty, mappings: row.mappings, sizes: sizesOf(row) }];
        }),
        names: listed
          .slice(0, MAX_NAMES)
          .map((row): NamedSums => ({ class: row.class, name: row.name, mappings: row.mappings, sizes: sizesOf(row) })),
        ...(rest.names === 0 ? {} : { namesOmitted: { names: rest.names, sizes: sizesOf(rest) } }),
        unparsedLines,
      };
    },
  };
}

function isFromFiles(kind: MappingClass): boolean {
  return kind === "Program" || kind === "Library" || kind === "File";
}

/** Files of one class and name together, the largest first. */
function listNames(files: Iterable<FileSums>): FileSums[] {
  const rows = new Map<string, FileSums>();
  for (const file of files) {
    const row = getOrMake(rows, `${file.class} ${file.name}`, () => ({
      ...emptySums(),
      class: file.class,
      name: file.name,
    }));
    merge(row, file);
  }
  const weight = ({ sizes }: FileSums): number => (sizes[RSS] ?? 0) + (sizes[SWAP] ?? 0);
  return [...rows.values()].toSorted((a, b) => weight(b) - weight(a) || (a.name < b.name ? -1 : 1));
}

/** What a file is called in a pack. */
export function nameOf(file: string, nameKey: string): string {
  const base = baseName(file);
  if (isLibraryName(base)) return base;
  return `~${createHmac("sha256", nameKey).update(file).digest("hex").slice(0, 12)}`;
}

function emptySums(): Sums {
  return { mappings: 0, sizes: new Float64Array(SMAPS_FIELDS.length) };
}

function add(sums: Sums, mapping: Mapping): void {
  sums.mappings += 1;
  addSizes(sums.sizes, mapping.sizes);
}

function merge(into: Sums, from: Sums): void {
  into.mappings += from.mappings;
  addSizes(into.sizes, from.sizes);
}

function addSizes(into: Float64Array, from: Float64Array): void {
  for (let i = 0; i < into.length; i++) into[i] = (into[i] ?? 0) + (from[i] ?? 0);
}

function sizesOf({ sizes }: Sums): MappingSizes {
  const told: MappingSizes = {};
  for (const [i, field] of SMAPS_FIELDS.entries()) {
    const value = Math.min(sizes[i] ?? 0, Number.MAX_SAFE_INTEGER);
    if (value > 0 || ALWAYS.has(field)) told[field] = value;
  }
  return told;
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
