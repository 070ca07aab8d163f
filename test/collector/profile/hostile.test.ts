/** A target that wants to harm its reader: files that are not what they seem, maps and ELF headers that lie. Nothing outside its root is ever read. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, open, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readElf } from "../../../src/collector/profile/elf.ts";
import { copyMappedFiles, parseExecutables, pathsOf } from "../../../src/collector/profile/mappings.ts";
import { parsePerfMap, readPerfMap } from "../../../src/collector/profile/perfmap.ts";
import { FileRefused, openBelow, readBelow } from "../../../src/collector/profile/targetfiles.ts";

let folder = "";
let root = "";
const SECRET = "only for the host";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-hostile-"));
  root = join(folder, "7", "root");
  await mkdir(join(root, "usr", "lib"), { recursive: true });
  await mkdir(join(root, "tmp"), { recursive: true });
  await mkdir(join(folder, "outside", "lib"), { recursive: true });
  await writeFile(join(folder, "outside", "lib", "secret.so"), SECRET);
  await writeFile(join(root, "usr", "lib", "good.so"), "good");
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function refusal(path: string): Promise<string> {
  try {
    const { handle } = await openBelow(root, path);
    await handle.close();
    return "opened";
  } catch (error) {
    return error instanceof FileRefused ? error.reason : "something else";
  }
}

test("a regular file below the root is read", async () => {
  expect((await readBelow(root, "/usr/lib/good.so", 100)).bytes.toString()).toBe("good");
});

test("links, pipes, folders, sockets of paths and ways up are refused", async () => {
  await symlink(join(folder, "outside", "lib", "secret.so"), join(root, "usr", "lib", "link.so"));
  await symlink(join(folder, "outside"), join(root, "usr", "away"));
  execFileSync("mkfifo", [join(root, "usr", "lib", "pipe.so")]);
  expect(await refusal("/usr/lib/link.so")).toBe("Link");
  expect(await refusal("/usr/away/lib/secret.so")).toBe("Link");
  expect(await refusal("/usr/lib/pipe.so")).toBe("NotRegular");
  expect(await refusal("/usr/lib")).toBe("NotRegular");
  expect(await refusal("/usr/lib/none.so")).toBe("Gone");
  expect(await refusal("/usr/lib/good.so/more")).toBe("Gone");
  expect(await refusal("/../outside/lib/secret.so")).toBe("BadPath");
  expect(await refusal("usr/lib/good.so")).toBe("BadPath");
  expect(await refusal("/usr/\0/good.so")).toBe("BadPath");
  expect(await refusal(`/${"a/".repeat(100)}x`)).toBe("BadPath");
});

test("a folder that turns into a link and back while it is walked never leads outside", async () => {
  const spot = join(root, "usr", "flip");
  await mkdir(join(folder, "spare", "lib"), { recursive: true });
  await writeFile(join(folder, "spare", "lib", "secret.so"), "inside");
  await symlink(join(folder, "outside"), join(folder, "trap"));
  const stop = new AbortController();
  const flipper = (async () => {
    while (!stop.signal.aborted) {
      await rename(join(folder, "spare"), spot).catch(() => undefined);
      await rename(spot, join(folder, "spare")).catch(() => undefined);
      await rename(join(folder, "trap"), spot).catch(() => undefined);
      await rename(spot, join(folder, "trap")).catch(() => undefined);
    }
  })();
  const seen = new Set<string>();
  for (let turn = 0; turn < 400; turn++) {
    try {
      seen.add((await readBelow(root, "/usr/flip/lib/secret.so", 100)).bytes.toString());
    } catch (error) {
      seen.add(error instanceof FileRefused ? error.reason : "something else");
    }
  }
  stop.abort();
  await flipper;
  expect(seen).not.toContain(SECRET);
  expect(seen).not.toContain("something else");
  for (const each of seen) expect(["inside", "Gone", "Link"]).toContain(each);
});

test("files too large to copy are left out, and the small ones are copied all the same", async () => {
  await writeFile(join(root, "usr", "lib", "huge.so"), "");
  await truncate(join(root, "usr", "lib", "huge.so"), 2 ** 40);
  const maps = ["huge.so", "good.so", "link.so", "pipe.so"]
    .map((name, i) => `${(i + 1) * 4096}-${(i + 2) * 4096} r-xp 00000000 fe:00 ${i + 10}    /usr/lib/${name}`)
    .join("\n");
  const target = join(folder, "copies");
  const files = await copyMappedFiles(
    folder,
    new Map([[7, parseExecutables(maps)]]),
    target,
    new AbortController().signal,
  );
  expect([...files.libraries.keys()]).toEqual(["/usr/lib/good.so"]);
  expect(Object.fromEntries(files.refused)).toEqual({ TooLarge: 1, Link: 1, NotRegular: 1 });
  expect(await readFile(join(target, "usr", "lib", "good.so"), "utf8")).toBe("good");
});

test("maps: only executable files that can still be found", () => {
  const maps = [
    "55d0c0a00000-55d0c0a02000 r--p 00000000 fe:00 10011091                   /usr/bin/app",
    "55d0c0a02000-55d0c0a04000 r-xp 00002000 fe:00 10011091                   /usr/bin/app",
    "7fc65559b000-7fc65559c000 r-xp 00001000 fe:00 10011088                   /usr/lib/with space.so",
    "7fc65559d000-7fc65559e000 r-xp 00001000 fe:00 10011089                   /usr/lib/old.so (deleted)",
    "7fc65559f000-7fc6555a0000 r-xp 00000000 00:01 2049                       /memfd:code (deleted)",
    "7fc6555a0000-7fc6555a1000 r-xp 00000000 fe:00 33                         /usr/lib/new\\012line.so",
    "7fc6555a7000-7fc6555a9000 r-xp 00000000 00:00 0                          [vdso]",
    "7fc6555b0000-7fc6555b1000 rwxp 00000000 00:00 0 ",
    "nonsense",
  ].join("\n");
  const executables = parseExecutables(maps);
  expect(executables[0]).toEqual({ start: 0x55d0c0a02000, end: 0x55d0c0a04000, offset: 0x2000, path: "/usr/bin/app" });
  expect(pathsOf(executables)).toEqual(["/usr/bin/app", "/usr/lib/with space.so"]);
});

test("a perf map that lies: overlaps, nonsense, separators, and more of it than anybody needs", () => {
  const map = parsePerfMap(
    [
      "1000 100 first",
      "1080 100 overlaps",
      "2000 10 a;b\u001b[31m",
      "3000 0 empty",
      "zzz",
      "ffffffffffffffff 10 kernel",
      "4000 10 last",
    ].join("\n"),
  );
  expect(map.nameAt(0x1000)).toBe("first");
  expect(map.nameAt(0x10ff)).toBe("first");
  expect(map.nameAt(0x1100)).toBeUndefined();
  expect(map.nameAt(0x2005)).toBe("a\\x3bb\\x1b[31m");
  expect(map.nameAt(0x400f)).toBe("last");
  expect(map.nameAt(0xfff)).toBeUndefined();
  expect(map).toMatchObject({ entries: 3, dropped: 4 });
  const many = parsePerfMap(Array.from({ length: 101_000 }, (_, i) => `${(i * 16).toString(16)} 10 f${i}`).join("\n"));
  expect(many).toMatchObject({ entries: 100_000, dropped: 1_000 });
});

test("a perf map of somebody else, a link and a huge one are not used, and the reason is told", async () => {
  const uid = process.getuid?.() ?? 0;
  const path = join(root, "tmp", "perf-3.map");
  const reasons: string[] = [];
  const read = async (owner: number) =>
    readPerfMap(folder, { pid: 7, innerPid: 3, uid: owner }, (reason) => reasons.push(reason));
  expect(await read(uid)).toBeUndefined();
  expect(reasons).toEqual([]);
  await writeFile(path, "1000 10 jitted\n");
  expect((await read(uid))?.nameAt(0x1000)).toBe("jitted");
  await truncate(path, 2 ** 31);
  expect(await read(uid)).toBeUndefined();
  await rm(path);
  await symlink("/etc/passwd", path);
  expect(await read(uid)).toBeUndefined();
  expect(reasons).toEqual(["TooLarge", "Link"]);
});

test("a real program has a build-id", async () => {
  const handle = await open(process.execPath, "r");
  const read = async (offset: number, length: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  };
  const elf = await readElf(read);
  // The notes of a program lie in its first page; the tool that would tell is not on every machine.
  const id = elf?.buildId ?? "";
  expect(id).toMatch(/^[0-9a-f]{40}$/);
  const start = await read(0, 64 * 1024);
  expect(start.includes(Buffer.concat([Buffer.from("GNU\0"), Buffer.from(id, "hex")]))).toBe(true);
  await handle.close();
  expect(elf).toMatchObject({ stripped: false, go: false });
});

test("no bytes make the ELF reader fail, read far, or read much", async () => {
  const header = Buffer.alloc(64);
  header.write("\x7fELF\x02\x01", "latin1");
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
      const file = Buffer.concat([header.subarray(0, 6), Buffer.from(bytes)]);
      let asked = 0;
      await readElf(async (offset, length) => {
        asked += length;
        return Promise.resolve(file.subarray(Math.min(offset, file.length), Math.min(offset + length, file.length)));
      });
      return asked < 64 * 2 ** 20;
    }),
    { numRuns: 200 },
  );
});
