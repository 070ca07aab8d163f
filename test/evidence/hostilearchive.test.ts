/** Archives that somebody made to break us (reliability row 9). Each must open, give nothing but what the contract allows, and say why. */
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { constants, zstdCompressSync } from "node:zlib";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MAX_PART_BYTES } from "../../src/api/collection.ts";
import { openPack, type Pack } from "../../src/evidence/pack.ts";
import { temporaryFolder } from "./door.ts";
import { END, type Entry, entry, oneFrame, paxRecord } from "./tarball.ts";

vi.setConfig({ testTimeout: 60_000 });

let root: string;
let archive: string;
beforeEach(async () => {
  root = await temporaryFolder();
  archive = join(root, "pack.tar.zst");
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function open(bytes: Uint8Array): Promise<Pack> {
  await writeFile(archive, bytes);
  return await openPack(archive);
}

/** Four values without an order: shrinks four times, as text may. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0, state = 1; at < length; at++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    bytes[at] = 0x61 + (state >>> 30);
  }
  return bytes;
}

const GOOD: Entry = { name: "oom-reports.json", data: '{"reports":[],"othersDropped":0,"notes":[]}' };
const FILE: Entry = { name: "host.json", data: "{}" };
const NO_MANIFEST = expect.stringContaining("There is no usable manifest");

describe("an archive with entries that no pack has", () => {
  const cases: readonly (readonly [what: string, entries: readonly Entry[], reason: string])[] = [
    ["a symbolic link", [{ name: "host.json", type: "2", link: "/etc/shadow" }], "a symbolic link"],
    ["a hard link", [{ name: "host.json", type: "1", link: "oom-reports.json" }], "a hard link"],
    ["a link that says it has data", [{ name: "host.json", type: "2", size: "00000010000\0" }], "a symbolic link"],
    ["a character device", [{ name: "host.json", type: "3" }], "a device"],
    ["a block device", [{ name: "host.json", type: "4" }], "a device"],
    ["a named pipe", [{ name: "host.json", type: "6" }], "a named pipe"],
    ["a folder", [{ name: "host.json/", type: "5" }], "a folder"],
    ["a contiguous file", [{ ...FILE, type: "7" }], "a contiguous file"],
    ["a sparse file", [{ ...FILE, type: "S" }], "a sparse file"],
    ["a volume's label", [{ name: "host.json", type: "V" }], "a volume's label"],
    ["a vendor's own type", [{ ...FILE, type: "Z" }], "of a kind that no pack has"],
    ["a way up", [{ ...FILE, name: "../host.json" }], "not named like a part"],
    ["an absolute name", [{ ...FILE, name: "/host.json" }], "not named like a part"],
    ["two dots in front", [{ ...FILE, name: "././host.json" }], "not named like a part"],
    ["a Windows path", [{ ...FILE, name: "..\\host.json" }], "not named like a part"],
    ["a case twin", [{ ...FILE, name: "HOST.json" }], "not named like a part"],
    ["a Unicode twin", [{ ...FILE, name: "h\u00f6st.json" }], "not named like a part"],
    ["an escape sequence", [{ ...FILE, name: "\u001b[2Jhost.json" }], "not named like a part"],
    ["a name without an end", [{ ...FILE, name: "h".repeat(100) }], "not named like a part"],
    ["an empty name", [{ ...FILE, name: "" }], "not named like a part"],
    ["the store's own file", [{ ...FILE, name: "session.json" }], "not named like a part"],
    ["an unfinished part", [{ ...FILE, name: ".incoming-1-host.json" }], "not named like a part"],
    ["a prefix", [{ ...FILE, prefix: "../../etc" }], "inside a folder, or carries fields that only some tools know"],
    ["no magic", [{ ...FILE, magic: "\0\0\0\0\0\0\0\0" }], "in an older form than ustar"],
  ];
  it.each(cases)("leaves out %s and reads the rest", async (_what, entries, reason) => {
    const pack = await open(oneFrame([...entries, GOOD]));
    expect(pack.parts).toEqual([{ kind: "oom-reports", index: 0, bytes: 43 }]);
    expect(pack.oomReports?.notes).toEqual([]);
    expect(pack.problems).toEqual([`1 entry was left out: ${reason}`, NO_MANIFEST]);
    expect((await pack.verify()).ok).toBe(false);
  });

  it("does not let a long or extended header rename the entry after it", async () => {
    const pax = (key: string, value: string): Entry => ({ name: "x", type: "x", data: paxRecord(key, value) });
    for (const header of [
      pax("path", "host.json"),
      pax("size", "1"),
      pax("GNU.sparse.name", "host.json"),
      { name: "././@LongLink", type: "L", data: "host.json\0" },
      { name: "././@LongLink", type: "K", data: "/etc/shadow\0" },
    ]) {
      const pack = await open(oneFrame([header, { ...FILE, name: "context.json" }, GOOD]));
      expect(pack.parts.map(({ kind }) => kind)).toEqual(["oom-reports"]);
      expect(pack.problems).toContain("1 entry was left out: changed by a header before it");
    }
  });

  it("takes nothing more after a global header", async () => {
    const pack = await open(
      oneFrame([GOOD, { name: "g", type: "g", data: paxRecord("path", "host.json") }, FILE, FILE]),
    );
    expect(pack.parts.map(({ kind }) => kind)).toEqual(["oom-reports"]);
    expect(pack.problems).toContain("2 entries were left out: changed by a header before it");
  });

  it("uses the first of two parts with one name", async () => {
    const second = { ...GOOD, data: '{"reports":[],"othersDropped":9,"notes":[]}' };
    const pack = await open(oneFrame([GOOD, second, { ...second, name: "./oom-reports.json" }]));
    expect(pack.oomReports?.othersDropped).toBe(0);
    expect(pack.problems).toContain("2 entries were left out: there twice, of which the first is used");
  });

  it("reads an archive of `tar -C folder .`", async () => {
    const pack = await open(
      oneFrame([
        { name: "./", type: "5" },
        { ...GOOD, name: "./oom-reports.json" },
      ]),
    );
    expect(pack.oomReports?.othersDropped).toBe(0);
  });

  it("passes over a part that is too large without holding it", async () => {
    const before = process.memoryUsage().rss;
    const pack = await open(oneFrame([{ name: "host.json", data: noise(MAX_PART_BYTES + 1) }, GOOD]));
    expect(pack.problems).toContain(`1 entry was left out: larger than ${MAX_PART_BYTES} bytes`);
    expect(pack.oomReports?.othersDropped).toBe(0);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
  });
});

describe("an archive whose numbers lie", () => {
  const sizes = [
    "77777777777\0",
    "-0000000001\0",
    "0x000000010\0",
    "           \0",
    "\u0080\0\0\0\0\0\0\0\0\0\0\u0001",
    "00000000008\0",
  ];
  it.each(sizes)("is read up to the size %j", async (size) => {
    const pack = await open(oneFrame([GOOD, { ...FILE, size }, FILE]));
    expect(pack.parts[0]).toEqual({ kind: "oom-reports", index: 0, bytes: 43 });
    expect(pack.oomReports?.othersDropped).toBe(0);
    expect(pack.problems.length).toBeGreaterThan(1);
  });

  it("is not read past a header with a wrong checksum", async () => {
    const spoil = (header: Buffer): void => void header.write("9", 20);
    const pack = await open(oneFrame([GOOD, { ...FILE, spoil }, FILE]));
    expect(pack.parts.map(({ kind }) => kind)).toEqual(["oom-reports"]);
    expect(pack.problems).toContain(
      "The archive is damaged: what should be a tar header is none, and the rest was not read",
    );
  });

  it("is not read past its end mark", async () => {
    const tar = Buffer.concat([entry(GOOD), END, entry(FILE), END]);
    const pack = await open(zstdCompressSync(tar));
    expect(pack.parts.map(({ kind }) => kind)).toEqual(["oom-reports"]);
    expect(pack.problems).toContain("There are bytes after the end of the archive, which were not read");
  });

  it("without an end mark, or of nothing at all, is said to be incomplete", async () => {
    expect((await open(zstdCompressSync(entry(GOOD)))).problems).toContain(
      "The archive ends without its end mark: something may be missing",
    );
    expect((await open(Buffer.alloc(0))).problems).toContain("The archive is cut off after 0 bytes");
    expect((await open(zstdCompressSync(Buffer.alloc(0)))).problems).toContain("The archive ends too early");
  });
});

describe("an archive that unpacks to more than it should", () => {
  it("is left after a ratio that no pack has", async () => {
    // 200 MiB in about 10 KB.
    const zeros = Buffer.alloc(100 * 2 ** 20);
    const bomb = Buffer.concat([zstdCompressSync(entry(GOOD)), zstdCompressSync(zeros), zstdCompressSync(zeros)]);
    expect(bomb.length).toBeLessThan(40_000);
    const pack = await open(Buffer.concat([zstdCompressSync(entry({ name: "x", data: zeros })), bomb]));
    expect(pack.problems[0]).toMatch(/unpacks to more than 1000 times its size after \d+ bytes/);
    expect(pack.parts).toEqual([]);
  });

  it("is left after the most that a pack may have, however well it hides", async () => {
    // Bytes that shrink 4 to 1, over and over: below the ratio.
    const frame = zstdCompressSync(entry({ name: "notes", data: noise(16 * 2 ** 20) }), {
      params: { [constants.ZSTD_c_compressionLevel]: 1 },
    });
    const pack = await open(Buffer.concat(Array.from({ length: 18 }, () => frame)));
    expect(pack.problems[0]).toMatch(/unpacks to more than \d+ bytes, the most that a pack may have/);
  });

  it("does not get the window it asks for", async () => {
    const wide = zstdCompressSync(entry(GOOD), {
      params: { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_contentSizeFlag]: 0 },
    });
    // A window of 128 MiB in the frame's header: exponent 17 above 1 KiB.
    const header = Buffer.concat([wide.subarray(0, 4), Buffer.from([0x00, 17 << 3]), Buffer.from([1, 0, 0])]);
    const pack = await open(header);
    expect(pack.parts).toEqual([]);
    expect(pack.problems[0]).toContain("The archive is damaged in the Zstandard frame at byte 0");
  });

  it("is left after more entries than the contract has names", async () => {
    const many = Buffer.concat(Array.from({ length: 100_000 }, (_, index) => entry({ name: `note-${index}` })));
    const pack = await open(zstdCompressSync(Buffer.concat([entry(GOOD), many, END])));
    expect(pack.oomReports?.othersDropped).toBe(0);
    expect(pack.problems).toContain("The archive has more than 4096 entries: the rest was not read");
  });

  it("is left after more frames than entries could need", async () => {
    const empty = zstdCompressSync(Buffer.alloc(0));
    const pack = await open(Buffer.concat(Array.from({ length: 100_000 }, () => empty)));
    expect(pack.problems[0]).toBe("The archive has more than 16384 Zstandard frames: the rest was not read");
  });
});

it("any bytes open, and nothing appears beside the archive", async () => {
  const header = fc
    .record({
      name: fc.oneof(fc.constantFrom("host.json", "manifest.json", "readings-0000.ndjson", "../x"), fc.string()),
      type: fc.constantFrom("0", "1", "2", "5", "x", "g", "L", "S", "\0"),
      data: fc.uint8Array({ maxLength: 700 }),
    })
    .map((made) => entry(made));
  const tar = fc.array(
    fc.oneof(
      header,
      fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
    ),
    {
      maxLength: 6,
    },
  );
  await fc.assert(
    fc.asyncProperty(tar, fc.uint8Array({ maxLength: 40 }), fc.boolean(), async (blocks, tail, packed) => {
      const inside = Buffer.concat(blocks);
      const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
      const pack = await open(Buffer.concat([packed ? zstdCompressSync(inside) : magic, packed ? tail : inside]));
      for await (const { index } of pack.samples()) expect(Number.isInteger(index)).toBe(true);
      expect((await pack.verify()).ok).toBe(false);
      expect(await readdir(root)).toEqual(["pack.tar.zst"]);
    }),
    { numRuns: 200 },
  );
});
