import { mkdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MAX_LINE_BYTES, MAX_PART_BYTES, type PartKind, partFileName, type Sample } from "../../src/api/collection.ts";
import { isDeeperThan } from "../../src/evidence/json.ts";
import { readLines } from "../../src/evidence/lines.ts";
import { openPack, type Pack } from "../../src/evidence/pack.ts";
import { partsOf, readPlainFile } from "../../src/evidence/partsource.ts";
import { manifestOf, sha256, temporaryFolder } from "./door.ts";

// Real sockets and disks: on a busy machine they take their time.
vi.setConfig({ testTimeout: 30_000 });

let directory: string;
beforeEach(async () => {
  directory = await temporaryFolder();
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const HOST = Buffer.from(
  JSON.stringify({
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
  }),
);

function sample(index: number): Sample {
  return {
    index,
    time: "2030-01-01T00:00:00Z",
    elapsedMs: index * 1000,
    node: { meminfo: { MemTotal: 2 ** 33 }, vmstat: {} },
    pods: [],
  };
}

const line = (index: number): string => `${JSON.stringify(sample(index))}\n`;

async function write(kind: PartKind, index: number, bytes: string | Uint8Array): Promise<void> {
  await writeFile(join(directory, partFileName(kind, index)), bytes);
}

async function indexes(pack: Pack): Promise<number[]> {
  const seen: number[] = [];
  for await (const { index } of pack.samples()) seen.push(index);
  return seen;
}

describe("a pack", () => {
  it("is read in the order of its parts, whatever order the folder has", async () => {
    const order = [11, 2, 0, 10, 1, 9, 3, 8, 4, 7, 5, 6];
    for (const part of order) await write("readings", part, line(part * 2) + line(part * 2 + 1));
    const pack = await openPack(directory);
    expect(await indexes(pack)).toEqual(Array.from({ length: 24 }, (_, index) => index));
    expect(await indexes(pack)).toHaveLength(24);
  });

  it("has its parts in order, however the file system lists them", () => {
    const names = ["host.json", ...Array.from({ length: 12 }, (_, index) => partFileName("readings", index))];
    const shuffled = fc.shuffledSubarray([...names, "notes.txt", ".incoming"], { minLength: names.length + 2 });
    fc.assert(
      fc.property(shuffled, (listed) => {
        expect(partsOf(listed).map(({ kind, index }) => partFileName(kind, index))).toEqual(names);
      }),
    );
  });

  it("gives its snapshots of mappings in order, and says which of them cannot be used", async () => {
    const snapshot = (index: number): string =>
      JSON.stringify({
        index,
        moment: "Start",
        time: "2030-01-01T00:00:00Z",
        elapsedMs: 0,
        processes: [],
        skipped: [],
        processesOmitted: 0,
      });
    await write("mappings", 2, snapshot(2));
    await write("mappings", 0, snapshot(0));
    await write("mappings", 1, '{"index":1,"processes":[{"comm":"\\u001b[31m"}]}');
    await symlink(join(directory, partFileName("mappings", 0)), join(directory, partFileName("mappings", 3)));
    const pack = await openPack(directory);
    const seen: number[] = [];
    for await (const { index } of pack.mappings()) seen.push(index);
    expect(seen).toEqual([0, 2]);
    const problems = pack.problems.join("\n");
    expect(problems).toContain("mappings-0001.json cannot be used: not of the expected form");
    expect(problems).toContain("mappings-0003.json cannot be used: it is a link");
    expect(problems).not.toContain("\u001b");
  });

  it("that is whole verifies against its manifest", async () => {
    const readings = Buffer.from(line(0));
    await write("host", 0, HOST);
    await write("readings", 0, readings);
    await write(
      "context",
      0,
      JSON.stringify({ target: { kind: "Pod", namespace: "a", name: "b" }, kills: [], revisions: [], pods: [] }),
    );
    const parts = [
      { kind: "host" as const, index: 0, bytes: HOST },
      { kind: "readings" as const, index: 0, bytes: readings },
    ];
    await write("manifest", 0, manifestOf(parts));
    const pack = await openPack(directory);
    expect(pack.problems).toEqual([]);
    expect(pack.host?.kernel).toBe("6.8.0");
    expect(pack.context?.target.name).toBe("b");
    expect(await pack.verify()).toEqual({ ok: true, problems: [] });
    await write("host", 0, Buffer.from(HOST).fill(0x20, 1, 1));
    expect((await (await openPack(directory)).verify()).ok).toBe(true);
    await write("host", 0, HOST.toString().replace("6.8.0", "6.8.1"));
    expect(await (await openPack(directory)).verify()).toEqual({
      ok: false,
      problems: ["host.json has another checksum than the manifest says"],
    });
    await rm(join(directory, "readings-0000.ndjson"));
    expect((await openPack(directory)).problems).toEqual([
      "readings-0000.ndjson is missing, although the manifest lists it",
    ]);
  });

  it("that was cut off is read as far as it goes, and says so", async () => {
    await write("readings", 0, line(0));
    await write("readings", 3, line(1) + line(2).slice(0, 20));
    const pack = await openPack(directory);
    expect(await indexes(pack)).toEqual([0, 1]);
    expect(pack.manifest).toBeUndefined();
    expect(pack.problems).toEqual([
      expect.stringContaining("There is no usable manifest: the collection was cut off after 2 readings parts"),
      "2 readings parts are missing before readings-0003.ndjson",
      "readings-0003.ndjson: skipped 1 line, the first is line 2: not JSON",
    ]);
    expect(await pack.verify()).toMatchObject({ ok: false });
  });

  it("with bad lines loses those lines only", async () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    const bad = [
      deep,
      `{"index":${deep}}`,
      line(7).replace('"index":7', '"index":NaN'),
      line(7).replace('"index":7', '"index":1e999'),
      line(7).replace('"elapsedMs":7000', '"elapsedMs":1e999'),
      line(7).replace('"index":7', '"index":-1'),
      line(7).replace('"index":7', '"__proto__":{"index":7}'),
      line(7).replace("8589934592", "8589934592.5"),
      "null",
      '"text"',
      "{",
      "\0",
      "\u001b[2J",
      "7".repeat(1000),
      "x".repeat(MAX_LINE_BYTES + 1),
    ];
    await write("readings", 0, `${line(0)}${bad.map((text) => text.trim()).join("\n")}\n\n${line(1)}`);
    const pack = await openPack(directory);
    expect(await indexes(pack)).toEqual([0, 1]);
    expect(pack.problems.at(-1)).toBe(
      `readings-0000.ndjson: skipped ${bad.length} lines, the first is line 2: nested deeper than 32`,
    );
  });

  it("cannot reach the prototype of anything", async () => {
    const poison = line(0).replace(
      '"MemTotal":',
      '"__proto__":1,"\\u005f_proto__":{"polluted":1},"constructor":3,"MemTotal":',
    );
    await write("readings", 0, `${poison}${line(1).replace('"vmstat":{}', '"vmstat":{"__proto__":5}')}`);
    const seen: Sample[] = [];
    for await (const each of (await openPack(directory)).samples()) seen.push(each);
    for (const { node } of seen) {
      expect(Object.keys(node.meminfo)).not.toContain("__proto__");
      expect(Object.hasOwn(node.vmstat, "__proto__")).toBe(false);
    }
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
    expect(seen.map(({ index }) => index)).toContain(1);
  });

  it("gives text that can be written as UTF-8, whatever was in it", async () => {
    const time = '"\\ud800 \\udfff \\uD83D\\uDE00 \\\\ud800"';
    const bytes = Buffer.concat([
      Buffer.from(line(0).replace('"2030-01-01T00:00:00Z"', time)),
      Buffer.from(line(1).replace("2030-01-01T00:00:00Z", "#")).map((byte) => (byte === 0x23 ? 0xff : byte)),
    ]);
    await write("readings", 0, bytes);
    const seen: string[] = [];
    for await (const each of (await openPack(directory)).samples()) seen.push(each.time);
    expect(seen).toEqual(["\ufffd \ufffd \u{1f600} \\ud800", "\ufffd"]);
  });

  it("holds no more of a huge line than a line may have", async () => {
    // A file with holes: the line is as long as the part may be and then some, without a newline.
    await write("readings", 0, line(0));
    await truncate(join(directory, "readings-0000.ndjson"), 2 ** 30);
    const pack = await openPack(directory);
    const before = process.memoryUsage().rss;
    expect(await indexes(pack)).toEqual([0]);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
    expect(pack.problems.at(-1)).toBe(
      `readings-0000.ndjson is larger than ${MAX_PART_BYTES} bytes: the rest was not read`,
    );
    expect(await pack.verify()).toMatchObject({ ok: false });
  });

  it("skips a line of exactly one byte too many and takes the longest that is allowed", async () => {
    const pad = (bytes: number): string => {
      const text = line(0).trim();
      return `${text.slice(0, -1)}${" ".repeat(bytes - text.length)}}\n`;
    };
    await write("readings", 0, pad(MAX_LINE_BYTES) + pad(MAX_LINE_BYTES + 1) + pad(MAX_LINE_BYTES));
    const pack = await openPack(directory);
    expect(await indexes(pack)).toEqual([0, 0]);
    expect(pack.problems.at(-1)).toContain(`line 2: longer than ${MAX_LINE_BYTES} bytes`);
  });

  it("follows no link and opens nothing but plain files", async () => {
    await writeFile(join(directory, "secret"), HOST);
    await symlink(join(directory, "secret"), join(directory, "host.json"));
    await mkdir(join(directory, "oom-reports.json"));
    await symlink("/dev/zero", join(directory, "readings-0000.ndjson"));
    const pack = await openPack(directory);
    expect(pack.host).toBeUndefined();
    expect(pack.problems).toContain("host.json cannot be used: it is a link");
    expect(pack.problems).toContain("oom-reports.json cannot be used: it is not a regular file");
    expect(await indexes(pack)).toEqual([]);
    expect(pack.problems).toContain("readings-0000.ndjson cannot be read: it is a link");
  });

  it("reads no document that is larger than a part may be", async () => {
    await write("host", 0, HOST);
    await truncate(join(directory, "host.json"), MAX_PART_BYTES + 1);
    const pack = await openPack(directory);
    expect(pack.host).toBeUndefined();
    expect(pack.problems).toContain(`host.json cannot be used: larger than ${MAX_PART_BYTES} bytes`);
  });

  it("has only the names of the contract", async () => {
    for (const name of ["readings-1.ndjson", "readings-1000.ndjson", "Host.json", "host.json.bak", ".host.json"]) {
      await writeFile(join(directory, name), "{}");
    }
    expect((await openPack(directory)).parts).toEqual([]);
  });

  it("whose manifest lies or is of a later version is read without it", async () => {
    await write("manifest", 0, manifestOf([]).toString().replace('"schema":1', '"schema":2'));
    const pack = await openPack(directory);
    expect(pack.manifest).toBeUndefined();
    expect(pack.problems[0]).toBe("manifest.json cannot be used: not of the expected form at schema");
  });

  it("survives any bytes", async () => {
    const text = fc.oneof(
      fc.json(),
      fc.string(),
      fc.constantFrom(line(0), line(1), "[", '{"index":', "\n", '"\\', "\\u"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(text, { maxLength: 8 }), fc.uint8Array({ maxLength: 64 }), async (texts, tail) => {
        await write("readings", 0, Buffer.concat([Buffer.from(texts.join("\n")), tail]));
        await write("manifest", 0, texts[0] ?? "");
        await write("host", 0, tail);
        const pack = await openPack(directory);
        for (const index of await indexes(pack)) expect(Number.isInteger(index)).toBe(true);
        expect((await pack.verify()).ok).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  it("knows the checksum of every byte", async () => {
    const bytes = Buffer.from(line(0));
    await write("readings", 0, bytes);
    await write("manifest", 0, manifestOf([{ kind: "readings", index: 0, bytes }]));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const other = Buffer.from(bytes);
        other[at] = (other[at] ?? 0) ^ change;
        await write("readings", 0, other);
        expect(sha256(other)).not.toBe(sha256(bytes));
        expect((await (await openPack(directory)).verify()).ok).toBe(false);
      }),
      { numRuns: 50 },
    );
  });
});

describe("a line of 256 MB", () => {
  it("is passed over without being held", async () => {
    const path = join(directory, "huge");
    await writeFile(path, "a\n");
    await truncate(path, 2 ** 28);
    let most = 0;
    const before = process.memoryUsage().arrayBuffers;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }, 2);
    try {
      const seen: (string | number)[] = [];
      for await (const each of readLines(readPlainFile(path), 2 ** 20, 2 ** 30))
        seen.push(typeof each === "string" ? each : each.length);
      expect(seen).toEqual([1, "TooLong"]);
    } finally {
      clearInterval(watch);
    }
    expect(most).toBeLessThan(32 * 2 ** 20);
  });
});

describe("the depth of JSON", () => {
  it("is what a recursive count says, for any value", () => {
    const depth = (value: unknown): number =>
      typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0;
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const bytes = Buffer.from(JSON.stringify(value));
        const real = depth(value);
        expect(isDeeperThan(real, bytes)).toBe(false);
        if (real > 0) expect(isDeeperThan(real - 1, bytes)).toBe(true);
      }),
    );
  });

  it("does not count brackets within text", () => {
    expect(isDeeperThan(1, Buffer.from(JSON.stringify(['[[[[{{{{"[[[\\"[[[', "\\"])))).toBe(false);
  });
});
