import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  MAPPING_CLASSES,
  type MappingClass,
  MappingSnapshot,
  type Runtime,
  SMAPS_FIELDS,
} from "../../src/api/mappings.ts";
import { createAggregator, nameOf } from "../../src/collector/mappings.ts";
import {
  cut,
  type Described,
  FUZZ_RUNS,
  FUZZ_TIMEOUT_MS,
  hostileMap,
  printed,
  RECORDED,
  recordedMap,
} from "./smapstext.ts";

const KIB = 1024;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const NONE: ReadonlySet<string> = new Set();

function aggregate(pieces: Iterable<Uint8Array>, memoryDevices: ReadonlySet<string> = NONE) {
  const aggregator = createAggregator("key", memoryDevices);
  for (const piece of pieces) aggregator.feed(piece);
  return aggregator.end();
}

const rssKib = (sums: ReturnType<typeof aggregate>): Partial<Record<MappingClass, readonly [number, number]>> =>
  Object.fromEntries(sums.classes.map((row) => [row.class, [row.mappings, (row.sizes.Rss ?? 0) / KIB]]));

test("a C program with one of each: the amounts are those of its source", () => {
  const sums = aggregate([recordedMap("allocations")]);
  const rss = rssKib(sums);
  expect(sums.runtimes).toEqual([]);
  // 4 threads with 24 blocks of 64 KiB and 512 KiB of stack each; see allocations.c for the rest.
  expect(rss.Arena?.[0]).toBe(4);
  expect(rss.Arena?.[1]).toBeGreaterThanOrEqual(4 * 24 * 64);
  expect(rss.Arena?.[1]).toBeLessThan(4 * 24 * 64 + 64);
  expect(rss.ThreadStack?.[0]).toBe(4);
  expect(rss.ThreadStack?.[1]).toBeGreaterThanOrEqual(4 * 512);
  expect(rss.ThreadStack?.[1]).toBeLessThan(4 * 544);
  expect(rss.Heap?.[1]).toBeGreaterThanOrEqual(48 * 64);
  expect(rss.Heap?.[1]).toBeLessThan(48 * 64 + 32);
  expect(rss.Anonymous?.[1]).toBeGreaterThanOrEqual(5 * KIB);
  expect(rss.Anonymous?.[1]).toBeLessThan(5 * KIB + 64);
  expect(rss).toMatchObject({
    Jit: [1, 2 * KIB],
    SharedAnonymous: [1, 6 * KIB],
    Memfd: [1, 7 * KIB],
    SysV: [1, 9 * KIB],
    Tmpfs: [1, 10 * KIB],
    Reserved: [8, 0],
  });
});

test.each<[(typeof RECORDED)[number], Runtime, MappingClass, number, number, number]>([
  // Threads as /proc/PID/status had them; all but the first have a stack of their own.
  ["node", "V8", "V8Heap", 20_020, 7, 5],
  ["java", "JVM", "JvmHeap", 56_880, 21, 15],
  ["python", "CPython", "CPythonArena", 33_360, 4, 3],
])(
  "%s: the runtime's heap, its threads' stacks and glibc's arenas are told apart",
  (name, runtime, heap, kib, threads, arenas) => {
    const sums = aggregate([recordedMap(name)]);
    const rss = rssKib(sums);
    expect(sums.runtimes).toEqual([runtime]);
    expect(rss[heap]?.[1]).toBe(kib);
    expect(rss.ThreadStack?.[0]).toBe(threads - 1);
    expect(rss.Arena?.[0]).toBe(arenas);
    expect(sums.classes.find((row) => row.class === heap)?.certainty).toBe("Layout");
  },
);

test("go: its heap is found without a library and without a name", () => {
  const sums = aggregate([recordedMap("go")]);
  expect(sums.runtimes).toEqual(["Go"]);
  expect(rssKib(sums)).toMatchObject({ GoHeap: [1, 40_584], MainStack: [1, 16] });
  expect(rssKib(sums).ThreadStack).toBeUndefined();
});

test.each(RECORDED)("%s: nothing is lost and nothing counted twice", (name) => {
  const sums = aggregate([recordedMap(name)]);
  for (const field of SMAPS_FIELDS) {
    const inClasses = sums.classes.reduce((sum, { sizes }) => sum + (sizes[field] ?? 0), 0);
    expect(inClasses).toBe(sums.totals[field] ?? 0);
  }
  expect(sums.classes.reduce((sum, { mappings }) => sum + mappings, 0)).toBe(sums.mappings);
});

const region = (changes: Partial<Described>): Described => ({
  start: 0x7f0000000000,
  pages: 256,
  permissions: "rw-p",
  device: "00:00",
  inode: 0,
  name: "",
  flags: ["rd", "wr", "mr", "mw", "me", "ac"],
  sizes: [1024, 512],
  ...changes,
});
const file = (name: string, changes: Partial<Described> = {}): Described =>
  region({ name, device: "fe:00", inode: 7, ...changes });
const LIBJVM = file("/usr/lib/jvm/lib/server/libjvm.so", { start: 0x7fff00000000, permissions: "r-xp" });
const LIBC = file("/lib/libc.so.6", { start: 0x7ffe00000000, permissions: "r-xp" });
const NODE = file("/usr/bin/node", { start: 0x400000, permissions: "r-xp" });
const guard = region({ start: 0x7f0000000000 - 4096, pages: 1, permissions: "---p", flags: ["mr", "mw", "me"] });

test.each<[string, MappingClass, readonly Described[]]>([
  [
    "a heap of an arena, with what it may still grow into",
    "Arena",
    [
      region({ start: 64 * MIB * 100, flags: ["nr"] }),
      region({ start: 64 * MIB * 100 + MIB, pages: 63 * 256, permissions: "---p", flags: ["nr"] }),
    ],
  ],
  ["a heap of an arena that is full", "Arena", [region({ start: 64 * MIB * 100, pages: 16_384, flags: ["nr"] })]],
  [
    "the same size, not at its place",
    "Anonymous",
    [region({ start: 64 * MIB * 100 + MIB, pages: 16_384, flags: ["nr"] })],
  ],
  ["low memory of a JVM", "JvmHeap", [region({ start: 3 * GIB }), LIBJVM]],
  ["low memory of another program", "Anonymous", [region({ start: 3 * GIB + 4096 }), LIBC]],
  ["high memory of a JVM", "Anonymous", [region({}), LIBJVM]],
  [
    "the JVM's heap in a memfd",
    "JvmHeap",
    [region({ name: "/memfd:java_heap (deleted)", device: "00:01", permissions: "rw-s" }), LIBJVM],
  ],
  [
    "a memfd of that name in another program",
    "Memfd",
    [region({ name: "/memfd:java_heap (deleted)", device: "00:01", permissions: "rw-s" }), LIBC],
  ],
  ["memory not copied by fork, in node", "V8Heap", [NODE, region({ flags: ["dc"] })]],
  ["memory not copied by fork, elsewhere", "Anonymous", [LIBC, region({ start: 0x7f0000001000, flags: ["dc"] })]],
  ["memory that V8 has named", "V8Heap", [region({ name: "[anon:v8]" })]],
  [
    "Go's first address",
    "GoHeap",
    [
      region({ start: 0xc000000000, pages: 1024 }),
      region({ start: 0xc000400000, pages: 15_360, permissions: "---p" }),
      LIBC,
    ],
  ],
  ["memory that Go has named", "GoHeap", [region({ name: "[anon: Go: heap]" })]],
  [
    "a stack above its guard, where the kernel marks stacks",
    "ThreadStack",
    [guard, region({ pages: 2048, flags: ["nh"] })],
  ],
  ["a stack above its guard, on older kernels", "ThreadStack", [guard, region({ pages: 2049 })]],
  [
    "what the kernel has not marked, where it marks stacks",
    "Anonymous",
    [guard, region({ pages: 2049 }), region({ start: 0x7f1000000000, permissions: "r-xp", flags: ["nh"] })],
  ],
  ["a stack whose guard is no mapping of its own", "ThreadStack", [region({ pages: 2048, flags: ["nh", "gu"] })]],
  [
    "memory after a large gap without access",
    "Anonymous",
    [{ ...guard, start: guard.start - 64 * 4096, pages: 65 }, region({ pages: 2049 })],
  ],
  ["executable memory without a file", "Jit", [region({ permissions: "rwxp" })]],
  ["memory that may not be touched", "Reserved", [region({ permissions: "---p" })]],
  [
    "shared memory without a file",
    "SharedAnonymous",
    [file("/dev/zero (deleted)", { permissions: "rw-s", device: "00:01" })],
  ],
  ["private /dev/zero", "Anonymous", [file("/dev/zero")]],
  ["System V", "SysV", [file("/SYSV0000002a (deleted)", { permissions: "rw-s", device: "00:01" })]],
  ["a file that is called like System V", "File", [file("/SYSV0000002a (deleted)")]],
  ["a memfd", "Memfd", [file("/memfd:frames (deleted)", { permissions: "rw-s", device: "00:01" })]],
  ["a file that is called like a memfd", "File", [file("/memfd:frames")]],
  ["/dev/shm", "Tmpfs", [file("/dev/shm/queue", { permissions: "rw-s", device: "00:1b" })]],
  ["a file on a tmpfs mount", "Tmpfs", [file("/cache/index", { permissions: "rw-s", device: "00:2f" })]],
  ["a library on a tmpfs mount", "Tmpfs", [file("/cache/libx.so", { device: "00:2f" })]],
  ["huge pages", "HugePages", [region({ flags: ["ht"] })]],
  ["a device", "Device", [file("/dev/nvidia0", { permissions: "rw-s" })]],
  ["an anonymous inode", "Device", [file("anon_inode:[io_uring]", { permissions: "rw-s", device: "00:10" })]],
  ["the vdso", "Kernel", [region({ name: "[vdso]", permissions: "r-xp" })]],
  ["brackets that nobody knows", "Unknown", [region({ name: "[new thing]" })]],
  ["a file without a name", "Unknown", [region({ inode: 9, device: "fe:00" })]],
  ["a library", "Library", [file("/app/libimgdecode.so.1 (deleted)")]],
  ["a data file", "File", [file("/var/lib/index.db")]],
])("%s is %s", (_what, kind, described) => {
  const map = described.toSorted((a, b) => a.start - b.start);
  const sums = aggregate([Buffer.from(map.map(printed).join(""))], new Set(["00:2f"]));
  expect(sums.unparsedLines).toBe(0);
  expect(sums.classes.find((row) => row.class === kind)?.sizes.Rss ?? 0).toBe(512 * KIB);
});

test("a program is one file, whichever of its parts are executable", () => {
  const map = [
    file("/srv/app", { start: 0x400000, pages: 16, permissions: "r--p" }),
    file("/srv/app", { start: 0x410000, pages: 16, permissions: "r-xp" }),
    file("/srv/app", { start: 0x420000, pages: 16, permissions: "rw-p" }),
  ];
  const sums = aggregate([Buffer.from(map.map(printed).join(""))]);
  expect(sums.classes.map((row) => [row.class, row.mappings])).toEqual([["Program", 3]]);
  expect(sums.names).toHaveLength(1);
});

test("only names of shared libraries leave the node; others are the same for the same name, and cannot be tried without the key", () => {
  expect(nameOf("/opt/acme/libimgdecode.so.1.1.0", "key")).toBe("libimgdecode.so.1.1.0");
  for (const name of [
    "/home/ann/customers.db",
    "/opt/acme/lib\u001B[31m.so",
    `/x/${"a".repeat(90)}.so`,
    "/memfd:secret",
    "/x/lib.so/data",
  ])
    expect(nameOf(name, "key")).toMatch(/^~[0-9a-f]{12}$/);
  expect(nameOf("/a/b", "key")).toBe(nameOf("/a/b", "key"));
  expect(nameOf("/a/b", "key")).not.toBe(nameOf("/a/b", "other key"));
  expect(nameOf("/a/b", "key")).not.toBe(nameOf("/c/b", "key"));
});

test("65,000 mappings of as many files: exact totals, few names, and the rest counted", () => {
  const count = 65_000;
  function* pieces() {
    for (let i = 0; i < count; i++) {
      const start = 0x7f0000000000 + i * 8192;
      const header = `${start.toString(16)}-${(start + 4096).toString(16)} rw-p 00000000 fe:00 ${i} /data/segment-${i}`;
      yield Buffer.from(`${header}\nSize:  4 kB\nRss:  ${i === 7 ? 4000 : 4} kB\nVmFlags: rd wr \n`);
    }
  }
  const sums = aggregate(pieces());
  expect(sums.mappings).toBe(count);
  expect(sums.totals.Rss).toBe((count * 4 - 4 + 4000) * KIB);
  expect(sums.names).toHaveLength(48);
  expect(sums.names[0]?.sizes.Rss).toBe(4000 * KIB);
  expect(sums.names.length + (sums.namesOmitted?.names ?? 0)).toBe(count);
  const named = sums.names.reduce((sum, { sizes }) => sum + (sizes.Rss ?? 0), sums.namesOmitted?.sizes.Rss ?? 0);
  expect(named).toBe(sums.totals.Rss);
  expect(rssKib(sums).File?.[0]).toBe(count);
});

test(
  "whatever a target maps: no byte is lost, nothing it chose is told, and the part is of its form",
  () => {
    fc.assert(
      fc.property(hostileMap, fc.array(fc.nat(), { maxLength: 6 }), (described, places) => {
        const sums = aggregate(cut(Buffer.from(described.map(printed).join("")), places), new Set(["00:2f"]));
        expect(sums.mappings).toBe(described.length);
        for (const [i, field] of SMAPS_FIELDS.entries()) {
          const all = described.reduce((sum, { sizes }) => sum + (sizes[i] ?? 0) * KIB, 0);
          expect(sums.totals[field] ?? 0).toBe(all);
          expect(sums.classes.reduce((sum, { sizes }) => sum + (sizes[field] ?? 0), 0)).toBe(all);
        }
        expect(sums.classes.reduce((sum, { mappings }) => sum + mappings, 0)).toBe(described.length);
        for (const { name } of sums.names) expect(name).toMatch(/^(?:~[0-9a-f]{12}|[\w.+@-]{1,76})$/);
        const order = sums.classes.map((row) => MAPPING_CLASSES.indexOf(row.class));
        expect(order).toEqual([...new Set(order)].toSorted((a, b) => a - b));
        const process = { pid: 1, startTicks: 1, comm: "a", readMs: 1, longestCallMs: 1, ...sums };
        MappingSnapshot.parse({
          index: 0,
          moment: "Start",
          time: "",
          elapsedMs: 0,
          processes: [process],
          skipped: [],
          processesOmitted: 0,
        });
      }),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);
