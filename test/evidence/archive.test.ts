import { mkdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { zstdCompressSync } from "node:zlib";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type PartKind, partFileName, type Sample } from "../../src/api/collection.ts";
import { openPack, type Pack } from "../../src/evidence/pack.ts";
import { folderSource } from "../../src/evidence/partsource.ts";
import { archiveOf, writePack } from "../../src/evidence/writearchive.ts";
import { decode, frameAt, viewOf } from "../../src/evidence/zstdframes.ts";
import { openPlain } from "../../src/evidence/folder.ts";
import { manifestOf, sha256, temporaryFolder } from "./door.ts";

vi.setConfig({ testTimeout: 60_000 });

let root: string;
let directory: string;
let archive: string;
beforeEach(async () => {
  root = await temporaryFolder();
  directory = join(root, "pack");
  archive = join(root, "pack.tar.zst");
  await mkdir(directory);
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const HOST = JSON.stringify({
  kernel: "6.8.0",
  architecture: "x64",
  pageSizeBytes: 4096,
  cpus: 2,
  memTotalBytes: 2 ** 33,
  swapTotalBytes: 0,
  cgroup: "v2",
  cgroupDriver: "systemd",
  runtime: "containerd",
  capabilities: [],
});
const CONTEXT = JSON.stringify({
  target: { kind: "Pod", namespace: "a", name: "b" },
  kills: [],
  revisions: [],
  pods: [],
});
const REPORTS = JSON.stringify({ reports: [], othersDropped: 3, notes: [] });

function line(index: number): string {
  const sample: Sample = {
    index,
    time: "2030-01-01T00:00:00Z",
    elapsedMs: index * 1000,
    node: { meminfo: { MemTotal: 2 ** 33, MemAvailable: 2 ** 32 - ((index * 7919) % 65536) }, vmstat: {} },
    pods: [],
  };
  return `${JSON.stringify(sample)}\n`;
}

type Part = readonly [kind: PartKind, index: number, text: string];

/** A whole pack on disk, with its manifest. */
async function write(parts: readonly Part[], withManifest = true): Promise<void> {
  for (const [kind, index, text] of parts) await writeFile(join(directory, partFileName(kind, index)), text);
  if (!withManifest) return;
  const listed = parts
    .filter(([kind]) => kind !== "context")
    .map(([kind, index, text]) => ({ kind, index, bytes: Buffer.from(text) }));
  await writeFile(join(directory, "manifest.json"), manifestOf(listed));
}

function readings(parts: number, lines: number): Part[] {
  return Array.from({ length: parts }, (_, part): Part => {
    const text = Array.from({ length: lines }, (_, at) => line(part * lines + at)).join("");
    return ["readings", part, text];
  });
}

const SMALL: readonly Part[] = [
  ["host", 0, HOST],
  ["context", 0, CONTEXT],
  ["oom-reports", 0, REPORTS],
  ...readings(2, 2),
];
const TINY: readonly Part[] = [["host", 0, HOST], ...readings(2, 1)];

async function pack(): Promise<Buffer> {
  const kept: Buffer[] = [];
  await writePack(directory, collect(kept));
  const bytes = Buffer.concat(kept);
  await writeFile(archive, bytes);
  return bytes;
}

function collect(kept: Buffer[]): Writable {
  return new Writable({
    write: (piece: Buffer, _encoding, done) => {
      kept.push(Buffer.from(piece));
      done();
    },
  });
}

async function indexes(pack: Pack): Promise<number[]> {
  const seen: number[] = [];
  for await (const { index } of pack.samples()) seen.push(index);
  return seen;
}

/** The tar inside, unpacked by our own frame reader. */
async function tarOf(path: string): Promise<Buffer> {
  const file = await openPlain(path, 0);
  const pieces: Buffer[] = [];
  const view = viewOf(file, (await file.stat()).size);
  for (let at = 0; ;) {
    const frame = await frameAt(view, at);
    if (frame === undefined || frame === "NotZstd") break;
    for await (const piece of decode(file, frame)) pieces.push(Buffer.from(piece));
    at = frame.end;
  }
  await file.close();
  return Buffer.concat(pieces);
}

describe("a pack as one file", () => {
  it("says the same as the folder it was made from", async () => {
    await write(SMALL);
    const folder = await openPack(directory);
    await pack();
    const file = await openPack(archive);
    expect(file.form).toBe("Archive");
    expect(file.problems).toEqual([]);
    expect(file.manifest).toEqual(folder.manifest);
    expect([file.host, file.context, file.oomReports]).toEqual([folder.host, folder.context, folder.oomReports]);
    expect(file.parts).toEqual(folder.parts);
    expect(await indexes(file)).toEqual([0, 1, 2, 3]);
    expect(await indexes(file)).toEqual([0, 1, 2, 3]);
    expect(await file.verify()).toEqual({ ok: true, problems: [] });
    expect(await file.list()).toEqual(await folder.list());
    expect((await file.list()).map(({ name, state }) => `${name} ${state}`)).toEqual([
      "context.json Unlisted",
      "host.json Proved",
      "manifest.json Unlisted",
      "oom-reports.json Proved",
      "readings-0000.ndjson Proved",
      "readings-0001.ndjson Proved",
    ]);
  });

  it("has the same bytes whenever and in whatever order its parts were written", async () => {
    await write(SMALL);
    await writeFile(join(directory, "notes.txt"), "not a part");
    const first = await pack();
    await rm(directory, { recursive: true });
    await mkdir(directory);
    await write(SMALL.toReversed());
    // The manifest lists parts in the order they were written, so it must be the same text again.
    await write(SMALL);
    for (const [kind, index] of SMALL) await utimes(join(directory, partFileName(kind, index)), 1, 1);
    expect(await pack()).toEqual(first);
  });

  it("has a tar inside whose bytes are fixed for ever", async () => {
    await write(SMALL);
    await pack();
    const tar = await tarOf(archive);
    // Seen once by GNU tar (see the end-to-end test). It changes only when the layout does, and then PACK_SCHEMA should be thought about.
    expect(tar.length % 512).toBe(0);
    const names: string[] = [];
    for (let at = 0; tar[at] !== 0;) {
      names.push(tar.toString("latin1", at, at + 100).replaceAll("\0", ""));
      expect(tar.toString("latin1", at + 100, at + 124)).toBe("0000600\u00000000000\u00000000000\u0000");
      expect(tar.toString("latin1", at + 136, at + 148)).toBe("02263523000\u0000");
      at += 512 + Math.ceil(Number.parseInt(tar.toString("latin1", at + 124, at + 135), 8) / 512) * 512;
    }
    expect(names).toEqual([
      "manifest.json",
      "host.json",
      "context.json",
      "oom-reports.json",
      "readings-0000.ndjson",
      "readings-0001.ndjson",
    ]);
  });

  it("is packed without a manifest when the collection was cut off", async () => {
    await write(SMALL, false);
    await pack();
    const file = await openPack(archive);
    expect(file.problems).toEqual([
      "There is no usable manifest: the collection was cut off after 2 readings parts, and nothing proves that they are whole",
    ]);
    expect(await indexes(file)).toEqual([0, 1, 2, 3]);
  });

  it("is not made from a part that changes meanwhile", async () => {
    await write(SMALL);
    const source = await folderSource(directory);
    await writeFile(join(directory, "host.json"), `${HOST} `);
    const packing = async (): Promise<void> => {
      for await (const piece of archiveOf(source)) expect(piece.length).toBeGreaterThan(0);
    };
    await expect(packing()).rejects.toThrow("host.json changed while it was packed; pack it again");
  });

  it("tells its writer what became of it", async () => {
    await write(SMALL);
    const kept: Buffer[] = [];
    const written = await writePack(directory, collect(kept));
    const bytes = Buffer.concat(kept);
    expect(written).toEqual({ bytes: bytes.length, sha256: sha256(bytes), parts: 6 });
    const broken = new Writable({ write: (_piece, _encoding, done) => done(new Error("no space")) });
    await expect(writePack(directory, broken)).rejects.toThrow("no space");
  });
});

/** What a cut pack must hold to, whatever the cut: nothing invented, what is missing said. */
async function holds(path: string, whole: ReadonlyMap<string, string>, samples: number): Promise<number> {
  const cut = await openPack(path);
  expect(cut.problems.length).toBeGreaterThan(0);
  const here = new Map(cut.parts.map((part) => [partFileName(part.kind, part.index), part]));
  for (const [name, part] of here) {
    const pieces: Buffer[] = [];
    for await (const piece of cut.read(part)) pieces.push(Buffer.from(piece));
    const text = Buffer.concat(pieces).toString();
    expect(text.length).toBe(part.bytes);
    expect(whole.get(name)?.startsWith(text)).toBe(true);
    const told = cut.problems.some((problem) => problem.startsWith(`${name} was cut off after ${text.length} of `));
    expect(told).toBe(text !== whole.get(name));
  }
  if (cut.manifest !== undefined) {
    for (const { kind, index } of cut.manifest.parts) {
      const name = partFileName(kind, index);
      if (!here.has(name)) expect(cut.problems).toContain(`${name} is missing, although the manifest lists it`);
    }
  } else expect(cut.problems.some((problem) => problem.startsWith("There is no usable manifest"))).toBe(true);
  const seen = await indexes(cut);
  expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => index));
  expect(seen.length).toBeLessThanOrEqual(samples);
  expect((await cut.verify()).ok).toBe(false);
  return seen.length;
}

async function contents(): Promise<Map<string, string>> {
  const { parts } = await folderSource(directory);
  const names = parts.map(({ kind, index }) => partFileName(kind, index));
  return new Map(
    await Promise.all(
      names.map(async (name) => [name, await readFile(join(directory, name), "utf8")] as [string, string]),
    ),
  );
}

describe("a pack that was cut off", () => {
  it("opens at every byte and says what is missing", async () => {
    await write(TINY);
    const bytes = await pack();
    const whole = await contents();
    let most = 0;
    for (let length = 0; length < bytes.length; length++) {
      await writeFile(archive, bytes.subarray(0, length));
      const seen = await holds(archive, whole, 2);
      // The more there is, the more is read.
      expect(seen).toBeGreaterThanOrEqual(most);
      most = seen;
    }
    expect(most).toBe(2);
  });

  it("keeps all but the last blocks of a large part", async () => {
    await write([["host", 0, HOST], ...readings(6, 4000)]);
    const bytes = await pack();
    const whole = await contents();
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), async (length) => {
        await writeFile(archive, bytes.subarray(0, length));
        const seen = await holds(archive, whole, 24_000);
        // A Zstandard block holds at most 128 KiB: about a thousand of these lines. Twice that for the lines at both of its ends.
        expect(seen).toBeGreaterThan((24_000 * length) / bytes.length - 3000);
      }),
      { numRuns: 8 },
    );
  });

  it("loses one part where one byte is wrong, and says so", async () => {
    await write([["host", 0, HOST], ...readings(5, 50)]);
    const bytes = await pack();
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const other = Buffer.from(bytes);
        other[at] = (other[at] ?? 0) ^ change;
        await writeFile(archive, other);
        const opening = openPack(archive);
        if (at < 4) {
          await expect(opening).rejects.toThrow("not a .tar.zst");
          return;
        }
        const damaged = await opening;
        const seen = await indexes(damaged);
        expect(seen.length).toBeLessThanOrEqual(250);
        // A flag of a frame's header may be spoiled without a consequence; then everything is here and proved.
        if ((await damaged.verify()).ok) expect(seen).toHaveLength(250);
        else expect((await damaged.verify()).problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 100 },
    );
    const spoiled = Buffer.from(bytes);
    const middle = bytes.length >> 1;
    spoiled[middle] = (spoiled[middle] ?? 0) ^ 0x55;
    await writeFile(archive, spoiled);
    expect((await indexes(await openPack(archive))).length).toBeGreaterThanOrEqual(150);
  });
});

describe("opening", () => {
  it("refuses what is no pack, and says what a pack is", async () => {
    await writeFile(archive, "PK\u0003\u0004");
    await expect(openPack(archive)).rejects.toThrow(
      "The file is not a .tar.zst: it does not begin with a Zstandard frame",
    );
    await expect(openPack(join(root, "nothing"))).rejects.toThrow("ENOENT");
    await expect(openPack("/dev/null")).rejects.toThrow("not a regular file");
  });

  it("holds little of a pack, however large its parts are", async () => {
    const text = readings(1, 30_000)[0]?.[2] ?? "";
    await write(Array.from({ length: 10 }, (_, index): Part => ["readings", index, text]));
    await pack();
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const opened = await openPack(archive);
    for await (const { index } of opened.samples()) {
      if (index % 5000 === 0) most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    expect(text.length * 10).toBeGreaterThan(40 * 2 ** 20);
    expect(most).toBeLessThan(16 * 2 ** 20);
  });

  it("reads an archive of any number of frames, also skippable ones", async () => {
    await write(SMALL);
    await pack();
    const tar = await tarOf(archive);
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const expected = await (await openPack(directory)).list();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 12 }), async (cuts) => {
        const frames: Buffer[] = [];
        let at = 0;
        for (const length of [...cuts, tar.length]) {
          frames.push(zstdCompressSync(tar.subarray(at, at + length)), skippable);
          at += length;
          if (at >= tar.length) break;
        }
        await writeFile(archive, Buffer.concat(frames));
        const opened = await openPack(archive);
        expect(opened.problems).toEqual([]);
        expect(await opened.list()).toEqual(expected);
        expect(await indexes(opened)).toEqual([0, 1, 2, 3]);
      }),
      { numRuns: 30 },
    );
  });
});
