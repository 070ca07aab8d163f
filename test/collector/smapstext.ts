/** Recorded memory maps, and text in the form of the kernel's with whatever a target can choose in it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { SMAPS_FIELDS } from "../../src/api/mappings.ts";
import { createSmapsParser, type Mapping } from "../../src/collector/smaps.ts";
import { FIXTURES } from "./nodetree.ts";

export const RECORDED = ["node", "python", "java", "go", "allocations"] as const;

export function recordedMap(name: (typeof RECORDED)[number]): Buffer {
  return readFileSync(join(FIXTURES, "smaps", `${name}.smaps`));
}

/** What the parser hands over, copied. */
export function parseAll(pieces: Iterable<Uint8Array>) {
  const mappings: (Omit<Mapping, "sizes"> & {
    readonly sizes: readonly number[];
    readonly next: number | undefined;
  })[] = [];
  const parser = createSmapsParser((mapping, next) => {
    mappings.push({ ...mapping, sizes: [...mapping.sizes], next: next?.start });
  });
  for (const piece of pieces) parser.feed(piece);
  return { mappings, unparsedLines: parser.end().unparsedLines };
}

/** Cuts the bytes at the given places, in any order. */
export function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

export interface Described {
  readonly start: number;
  readonly pages: number;
  readonly permissions: string;
  readonly device: string;
  readonly inode: number;
  readonly name: string;
  readonly flags: readonly string[];
  readonly sizes: readonly number[];
}

/** As fs/proc/task_mmu.c prints it. A path's line end is written as \012; the name of anonymous memory cannot hold one. */
export function printed({ start, pages, permissions, device, inode, name, flags, sizes }: Described): string {
  const hex = (value: number): string => value.toString(16).padStart(8, "0");
  const head = `${hex(start)}-${hex(start + pages * 4096)} ${permissions} 00000000 ${device} ${inode} `;
  const header = name === "" ? head : `${head.padEnd(73)}${name.replaceAll("\n", "\\012")}`;
  const fields = SMAPS_FIELDS.map((field, i) => `${`${field}:`.padEnd(16)}${String(sizes[i] ?? 0).padStart(8)} kB`);
  return [header, ...fields, "THPeligible:           0", `VmFlags: ${flags.join(" ")} `].join("\n") + "\n";
}

const HOSTILE_NAMES = [
  "/srv/x (deleted)",
  "/srv/x (deleted) (deleted)",
  "/memfd:x (deleted)",
  "/srv/Rss:    99999 kB",
  "/srv/a\nRss:    99999 kB\n",
  "/srv/a\n7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nRss:   9 kB",
  "/srv/\u001B[31m\u202Eso.evil",
  "/srv/]",
  "/SYSV0000 (deleted)",
  "[heap] ",
  "/[heap]",
  "/srv/lib;rm -rf.so",
  "/srv/libx.so.1 (deleted)",
  `/srv/${"\n".repeat(4000)}`,
  "[anon: Go: heap]",
  "[anon:v8]",
  "[anon:]",
  "anon_inode:[eventpoll]",
];

const name = fc.oneof(
  { weight: 4, arbitrary: fc.constant("") },
  { weight: 2, arbitrary: fc.constantFrom(...HOSTILE_NAMES) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("[heap]", "[stack]", "[vdso]", "/usr/lib/libjvm.so", "/usr/bin/node", "/dev/zero"),
  },
  {
    weight: 2,
    arbitrary: fc.string({ unit: "binary", maxLength: 60 }).map((text) => `/srv/${text.replaceAll("\0", "")}`),
  },
);

/** The mappings of a process whose owner wants to break us, in the order of addresses. */
export const hostileMap: fc.Arbitrary<readonly Described[]> = fc
  .array(
    fc.record({
      gap: fc.constantFrom(0, 0, 0, 1, 1024, 16_384),
      pages: fc.constantFrom(1, 2, 32, 64, 256, 1024, 2047, 16_351, 16_384),
      permissions: fc.constantFrom("rw-p", "rw-p", "---p", "r--p", "r-xp", "rwxp", "rw-s", "--xp"),
      device: fc.constantFrom("00:00", "00:01", "fe:00", "00:2f"),
      inode: fc.constantFrom(0, 0, 7),
      name,
      flags: fc.subarray(["rd", "wr", "ex", "mr", "mw", "me", "gd", "nr", "dc", "ac", "nh", "gu", "ht"]),
      sizes: fc.array(fc.nat({ max: 70_000_000 }), { maxLength: SMAPS_FIELDS.length }),
    }),
    { maxLength: 40 },
  )
  .chain((rows) =>
    fc.constantFrom(0x400000, 0x80000000, 0xc000000000, 0x7f0000000000).map((base) => {
      let start = base;
      return rows.map(({ gap, ...row }) => {
        const at = start + gap * 4096;
        start = at + row.pages * 4096;
        return { ...row, start: at };
      });
    }),
  );

/** How many inputs a fuzz test tries; more by hand with OOMSCOPE_FUZZ_RUNS. */
export const FUZZ_RUNS = Number(process.env["OOMSCOPE_FUZZ_RUNS"] ?? 300);
export const FUZZ_TIMEOUT_MS = 30_000 + 20 * FUZZ_RUNS;
