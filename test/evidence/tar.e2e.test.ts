/** Ours against the real tools of Debian: what GNU tar and zstd make of our archives, and what we make of theirs. */
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { partFileName } from "../../src/api/collection.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { writePack } from "../../src/evidence/writearchive.ts";
import { manifestOf, temporaryFolder } from "./door.ts";

let root: string;
let directory: string;
beforeEach(async () => {
  root = await temporaryFolder();
  directory = join(root, "pack");
  await mkdir(directory);
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: "utf8", cwd: root, stdio: ["ignore", "pipe", "pipe"] });

/** Sizes around a block of tar, a block of Zstandard and the buffers of both readers. */
const SIZES = [0, 1, 511, 512, 513, 65_535, 65_536, 131_071, 131_073, 1_000_000];

async function pack(): Promise<void> {
  const parts = SIZES.map((size, at) => {
    const text = Array.from(
      { length: Math.ceil(size / 40) },
      (_, n) => `{"n":${n},"text":"${(n * 7919) % 100_003}"}\n`,
    );
    return { kind: "readings" as const, index: at, bytes: Buffer.from(text.join("").slice(0, size)) };
  });
  for (const { kind, index, bytes } of parts) await writeFile(join(directory, partFileName(kind, index)), bytes);
  await writeFile(join(directory, "manifest.json"), manifestOf(parts));
  await writeFile(
    join(directory, "context.json"),
    JSON.stringify({ target: { kind: "Pod", namespace: "a", name: "b" }, kills: [], revisions: [], pods: [] }),
  );
}

async function ours(): Promise<void> {
  await writePack(directory, createWriteStream(join(root, "ours.tar.zst")));
}

describe("an archive of ours", () => {
  it("is listed, proved and unpacked by GNU tar and zstd, without a complaint", async () => {
    await pack();
    await ours();
    expect(run("zstd", "--test", "--quiet", "ours.tar.zst")).toBe("");
    const listing = run("tar", "--zstd", "--utc", "--full-time", "--numeric-owner", "-tvf", "ours.tar.zst")
      .trim()
      .split("\n");
    expect(listing).toHaveLength(SIZES.length + 2);
    for (const line of listing) expect(line).toMatch(/^-rw------- 0\/0 +\d+ 1980-01-01 00:00:00 [a-z0-9.-]+$/);
    expect(listing[0]).toMatch(/ manifest\.json$/);
    await mkdir(join(root, "unpacked"));
    expect(run("tar", "--zstd", "-xf", "ours.tar.zst", "-C", "unpacked")).toBe("");
    expect((await readdir(join(root, "unpacked"))).toSorted()).toEqual((await readdir(directory)).toSorted());
    expect(run("diff", "--recursive", "pack", "unpacked")).toBe("");
    const again = await openPack(join(root, "unpacked"));
    expect(await again.list()).toEqual(await (await openPack(join(root, "ours.tar.zst"))).list());
  });
});

describe("an archive that a person made again", () => {
  const ways: readonly (readonly [what: string, args: readonly string[]])[] = [
    ["by GNU tar as it is", ["--zstd", "-C", "pack", "-cf", "theirs.tar.zst", "."]],
    ["as ustar", ["--zstd", "--format=ustar", "-C", "pack", "-cf", "theirs.tar.zst", "."]],
    ["with small records", ["--zstd", "-b", "1", "-C", "pack", "-cf", "theirs.tar.zst", "."]],
    ["with another level", ["-I", "zstd -12", "-C", "pack", "-cf", "theirs.tar.zst", "."]],
    ["in many blocks", ["-I", "zstd -B65536 -T2", "-C", "pack", "-cf", "theirs.tar.zst", "."]],
  ];
  it.each(ways)("%s holds the same parts", async (_what, args) => {
    await pack();
    run("tar", ...args);
    const theirs = await openPack(join(root, "theirs.tar.zst"));
    expect(theirs.problems).toEqual([]);
    expect(await theirs.verify()).toEqual({ ok: true, problems: [] });
    expect(await theirs.list()).toEqual(await (await openPack(directory)).list());
    for (const part of theirs.parts) {
      const pieces: Buffer[] = [];
      for await (const piece of theirs.read(part)) pieces.push(Buffer.from(piece));
      expect(Buffer.concat(pieces)).toEqual(await readFile(join(directory, partFileName(part.kind, part.index))));
    }
  });

  it("with what no pack has is read without it: links, pipes, sparse files, extended headers, long names", async () => {
    await pack();
    await rm(join(directory, "context.json"));
    await symlink("/etc/passwd", join(directory, "context.json"));
    run("ln", "pack/manifest.json", "pack/profile-0000.json");
    run("mkfifo", "pack/oom-reports.json");
    run("truncate", "--size=1M", "pack/mappings-0001.json");
    await writeFile(join(directory, "x".repeat(200)), "{}");
    run("tar", "--zstd", "--sparse", "--sort=name", "-C", "pack", "-cf", "theirs.tar.zst", ".");
    const theirs = await openPack(join(root, "theirs.tar.zst"));
    const kinds = new Set(theirs.parts.map(({ kind }) => kind));
    expect([...kinds].toSorted()).toEqual(["manifest", "readings"]);
    expect(theirs.problems.filter((problem) => problem.includes("left out")).toSorted()).toEqual([
      "1 entry was left out: a hard link",
      "1 entry was left out: a long name (GNU)",
      "1 entry was left out: a named pipe",
      "1 entry was left out: a sparse file",
      "1 entry was left out: a symbolic link",
      "1 entry was left out: changed by a header before it",
    ]);
    run("tar", "--zstd", "--format=posix", "-C", "pack", "-cf", "pax.tar.zst", "readings-0001.ndjson");
    const pax = await openPack(join(root, "pax.tar.zst"));
    expect(pax.parts).toEqual([]);
    expect(pax.problems).toContain("1 entry was left out: an extended (PAX) header");
  });

  it("is cut off where ours says and where GNU tar says", async () => {
    await pack();
    await ours();
    const bytes = await readFile(join(root, "ours.tar.zst"));
    for (const share of [0.2, 0.5, 0.9]) {
      await writeFile(join(root, "cut.tar.zst"), bytes.subarray(0, Math.floor(bytes.length * share)));
      const whole = (await openPack(join(root, "cut.tar.zst"))).parts.length;
      let listed = "";
      try {
        listed = run("tar", "--zstd", "-tf", "cut.tar.zst");
        expect.unreachable("tar should complain of an archive that was cut off");
      } catch (error) {
        listed = (error as { stdout: string }).stdout;
      }
      expect(Math.abs(listed.trim().split("\n").length - whole)).toBeLessThanOrEqual(1);
    }
  });
});
