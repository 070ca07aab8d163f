/** Is the place where the limit was hit found by its code, in this very process's files, and nowhere when it is not there or in two places? */
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { functionAt } from "../../src/collector/profile/elfsymbols.ts";
import { readExecutables } from "../../src/collector/profile/mappings.ts";
import { parseStat } from "../../src/collector/procfs.ts";
import { findUserPlace, parseCode } from "../../src/collector/userplace.ts";

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** The line of the kernel for a place of code, as show_opcodes prints it: 42 bytes before, 21 after. */
function codeLine(bytes: Buffer, at: number): string {
  const hex = [...bytes].map((byte, i) =>
    i === at ? `<${byte.toString(16).padStart(2, "0")}>` : byte.toString(16).padStart(2, "0"),
  );
  return `Code: ${hex.join(" ")}`;
}

test("a place in a program that runs: file, offset and function", async () => {
  const part = (await readExecutables("/proc", process.pid)).find(({ path }) => path === process.execPath);
  if (part === undefined) throw new Error("This process maps no program");
  const ours = parseStat(await readFile("/proc/self/stat", "utf8"));
  if (ours === undefined) throw new Error("This process has no stat");
  const handle = await open(process.execPath, "r");
  let named = 0;
  for (const step of [1, 2, 3]) {
    const offset = part.offset + step * 2 ** 20 + 123;
    const { buffer } = await handle.read(Buffer.alloc(64), 0, 64, offset - 42);
    // Another process has the file at another address; only the place in the page is the same.
    const code = parseCode(codeLine(buffer, 42), 0x7f0000000000 + (offset % 4096));
    const place = code === undefined ? undefined : await findUserPlace("/proc", [ours], code);
    if (place === undefined) continue;
    named += place.function === undefined ? 0 : 1;
    expect(place).toMatchObject({
      library: "node",
      offset,
      buildId: expect.stringMatching(/^[0-9a-f]{40}$/) as string,
    });
  }
  await handle.close();
  expect(named).toBeGreaterThan(0);
}, 20_000);

async function tree(files: Readonly<Record<string, Buffer>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oomscope-place-"));
  folders.push(folder);
  await mkdir(join(folder, "7", "root", "lib"), { recursive: true });
  let maps = "";
  for (const [at, [name, content]] of Object.entries(files).entries()) {
    await writeFile(join(folder, "7", "root", "lib", name), content);
    const start = 0x7f0000000000 + at * 2 ** 24;
    maps += `${start.toString(16)}-${(start + content.length).toString(16)} r-xp 00000000 fe:00 ${at + 1} /lib/${name}\n`;
  }
  await writeFile(join(folder, "7", "maps"), maps);
  await writeFile(join(folder, "7", "stat"), statOf(7));
  return folder;
}

const STARTED = 4711;

function statOf(pid: number): string {
  return `${pid} (a) S 1 ${"0 ".repeat(15)}1 0 ${STARTED} 0\n`;
}

function started(pid: number): { pid: number; startTicks: number } {
  return { pid, startTicks: STARTED };
}

const CODE = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 37 + 11) % 256));
const LINE = codeLine(CODE, 42);

function library(size: number, places: readonly number[]): Buffer {
  const bytes = Buffer.alloc(size);
  for (const place of places) CODE.copy(bytes, place - 42);
  return bytes;
}

test.each<[string, Record<string, Buffer>, number, number | undefined]>([
  ["in one file", { "a.so": library(8192, []), "b.so": library(16_384, [4096 + 300]) }, 300, 4396],
  ["at another place of the page", { "b.so": library(16_384, [4096 + 300]) }, 301, undefined],
  ["nowhere", { "a.so": library(8192, []) }, 300, undefined],
  ["in two files", { "a.so": library(8192, [300]), "b.so": library(8192, [300]) }, 300, undefined],
  ["twice, but once at the right place", { "a.so": library(16_384, [300, 8192 + 40]) }, 40, 8232],
  ["across a chunk of reading", { "a.so": library(2 ** 20 + 8192, [2 ** 20 + 10]) }, 10, 2 ** 20 + 10],
])("code that is %s", async (_what, files, inPage, expected) => {
  const code = parseCode(LINE, 0x55d0c0a00000 + inPage);
  const place = code === undefined ? undefined : await findUserPlace(await tree(files), [started(7), started(8)], code);
  expect(place?.offset).toBe(expected);
});

test("a pid that was given to another process since the sample: its files are not searched", async () => {
  const code = parseCode(LINE, 0x55d0c0a00000 + 300);
  if (code === undefined) throw new Error("the line has no code");
  const proc = await tree({ "a.so": library(8192, [300]) });
  expect((await findUserPlace(proc, [started(7)], code))?.offset).toBe(300);
  expect(await findUserPlace(proc, [{ pid: 7, startTicks: STARTED - 1 }], code)).toBeUndefined();
});

test("a line that is no code, or too little of it, is none", () => {
  expect(parseCode("Code: Unable to access opcode bytes at 0x5adbcb.", 1)).toBeUndefined();
  expect(parseCode("Code: 0f <af> e0", 1)).toBeUndefined();
  expect(parseCode(LINE.replace("<", "").replace(">", ""), 1)).toBeUndefined();
  expect(parseCode(LINE, 2 ** 60)).toBeUndefined();
  expect(parseCode(LINE, 7)).toMatchObject({ ip: 7, at: 42 });
});

test("no bytes make the reader of symbols fail", async () => {
  const magic = Buffer.from("\x7fELF\x02\x01", "latin1");
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), fc.nat(1000), async (bytes, offset) => {
      const file = Buffer.concat([magic, Buffer.from(bytes)]);
      let asked = 0;
      await functionAt(async (at, length) => {
        asked += length;
        return Promise.resolve(file.subarray(Math.min(at, file.length), Math.min(at + length, file.length)));
      }, offset);
      return asked < 64 * 2 ** 20;
    }),
    { numRuns: 200 },
  );
}, 30_000);
