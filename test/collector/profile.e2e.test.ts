/**
 * The real perf on the example of the incident, under load, without a cluster. Does the growth profile of the leaky release name who allocates, may it be
 * believed, and does the mended release show nothing of it? Needs root, perf (linux-perf) and a compiler.
 */
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Profile } from "../../src/api/profile.ts";
import { takeProfiles, type ProfileOutcome } from "../../src/collector/profile/stage.ts";
import { flameTree, type FlameNode } from "../../src/profile/flametree.ts";
import { foldedText } from "../../src/profile/folded.ts";
import { ownersOf } from "../../src/profile/owners.ts";
import { pprofOf } from "../../src/profile/pprof.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

const EXAMPLE = join(import.meta.dirname, "..", "..", "examples", "thumbnail-service");
/** Every worker has seen every size of image by then; what grows after it is the leak. */
const WARM_MS = 12_000;
const run = promisify(execFile);
const children: ChildProcess[] = [];
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oomscope-e2e-profile-"));
  await cp(EXAMPLE, join(folder, "example"), {
    recursive: true,
    filter: (path) => !path.slice(EXAMPLE.length).startsWith("/build"),
  });
  for (const version of ["1.1.0", "1.1.1"])
    await run("make", ["-s", "-C", join(folder, "example"), `LIBRARY_VERSION=${version}`]);
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** The service under load, warm. @returns its pid */
async function serve(version: string): Promise<number> {
  const port = await freePort();
  const built = join(folder, "example", "build", version, "bin");
  const service = spawn(join(built, "thumbnail-svc"), {
    env: { PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(service);
  await new Promise((resolve) => service.stdout.once("data", resolve));
  const url = `http://127.0.0.1:${port}`;
  children.push(spawn(join(built, "loadgen"), ["--url", url, "--rps", "20", "--duration", "0"], { stdio: "ignore" }));
  await systemClock.sleep(WARM_MS);
  return service.pid ?? 0;
}

/** Waits for its turn: a collector of a cluster on this machine may be taking a profile just now. */
async function profile(pid: number, workFolder: string, durationMs: number): Promise<ProfileOutcome> {
  for (let attempt = 0; ; attempt++) {
    const outcome = await profileOnce(pid, workFolder, durationMs);
    if (outcome.skipped[0]?.reason !== "Busy" || attempt >= 60) return outcome;
    await systemClock.sleep(2_000);
  }
}

async function profileOnce(pid: number, workFolder: string, durationMs: number): Promise<ProfileOutcome> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const startTicks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  return takeProfiles({
    proc: "/proc",
    processes: () => [{ pid, startTicks, comm: "thumbnail-svc" }],
    durationMs,
    frequencyHz: 99,
    workFolder,
    clock: systemClock,
    random: systemRandom,
    signal: new AbortController().signal,
  });
}

function of(outcome: ProfileOutcome, kind: Profile["kind"]): Profile {
  expect(outcome.skipped).toEqual([]);
  // What goes into a pack is what its readers accept.
  return Profile.parse(JSON.parse(JSON.stringify(outcome.profiles.find((each) => each.kind === kind))));
}

/** Weight below a caller whose direct callee is this. */
function weightUnder(node: FlameNode, caller: string, callee: string): number {
  const direct = node.name === caller ? node.children.filter((child) => child.name === callee) : [];
  return (
    direct.reduce((sum, child) => sum + child.total, 0) +
    node.children.reduce((sum, child) => sum + weightUnder(child, caller, callee), 0)
  );
}

async function endChildren(): Promise<void> {
  for (const child of children.splice(0)) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}

test("the leaky release: who allocates is named, with library and build-id, and the profile may be believed", async () => {
  const pid = await serve("1.1.0");
  const outcome = await profile(pid, folder, 10_000);
  const growth = of(outcome, "Growth");
  expect(growth.efficiency).toMatchObject({ belief: "Trusted" });
  expect(growth.efficiency?.faults).toBeGreaterThan(1000);

  const [owner] = ownersOf(growth);
  expect(owner).toMatchObject({
    function: "allocate_decode_buffer",
    library: "libimgdecode.so",
    caller: "tiff_decode_tiles",
  });
  expect(owner?.percent).toBeGreaterThanOrEqual(80);
  const tree = flameTree(growth);
  expect(weightUnder(tree, "tiff_decode_tiles", "allocate_decode_buffer") / tree.total).toBeGreaterThan(0.8);

  const library = join(folder, "example", "build", "1.1.0", "lib", "libimgdecode.so");
  const frame = growth.frames.find((each) => each.function === "allocate_decode_buffer");
  expect(frame?.buildId).toMatch(/^[0-9a-f]{40}$/);
  expect((await readFile(library)).includes(Buffer.from(frame?.buildId ?? "", "hex"))).toBe(true);

  // Nothing raw is left, and no address of the process is told.
  expect((await readdir(folder)).filter((name) => name.startsWith("oomscope-profile-"))).toEqual([]);
  const text = JSON.stringify(outcome.profiles);
  const maps = await readFile(`/proc/${pid}/maps`, "utf8");
  for (const [, start = ""] of maps.matchAll(/^([0-9a-f]+)-/gm)) {
    expect(text).not.toContain(start);
    expect(text).not.toContain(String(Number.parseInt(start, 16)));
  }
  await readByPprof(growth);
  expect(foldedText(growth)).toMatch(/^thumbnail-svc;.*;tiff_decode_tiles;allocate_decode_buffer \d+$/m);
  await endChildren();
});

/** The tool of the format itself, where Go is present. */
async function readByPprof(growth: Profile): Promise<void> {
  if (spawnSync("go", ["version"]).status !== 0) return;
  const file = join(folder, "growth.pb.gz");
  await writeFile(file, pprofOf(growth));
  const env = { ...process.env, PPROF_TMPDIR: folder };
  const { stdout } = await run("go", ["tool", "pprof", "-symbolize=none", "-top", file], { env });
  expect(stdout).toMatch(/Type: faults/);
  expect(stdout).toMatch(/ allocate_decode_buffer$/m);
}

test("the mended release: still busy with the same work, but nothing grows there", async () => {
  const pid = await serve("1.1.1");
  const outcome = await profile(pid, folder, 8_000);
  const growth = of(outcome, "Growth");
  const tree = flameTree(growth);
  // What the leak would have brought in this time: 20/s x 0.3 large x 0.5 corrupt x 256 pages.
  const leak = 8 * 20 * 0.3 * 0.5 * 256;
  expect(weightUnder(tree, "tiff_decode_tiles", "allocate_decode_buffer")).toBeLessThan(leak * 0.2);
  expect(growth.efficiency?.anonPages ?? 0).toBeLessThan(leak * 0.2);
  expect(of(outcome, "OnCpu").processes.map((each) => each.comm)).toEqual(["thumbnail-svc"]);
  await endChildren();
});

test("one profile at a time on a node; the second says why there is none", async () => {
  const lock = ["/proc/sys/kernel/perf_event_paranoid", "sh", "-c", "echo held; sleep 60"];
  const held = spawn("flock", lock, { detached: true, stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => held.stdout.once("data", resolve));
    const outcome = await profileOnce(process.pid, folder, 1_000);
    expect(outcome.profiles).toEqual([]);
    expect(outcome.skipped).toMatchObject([{ what: "profile", reason: "Busy" }]);
  } finally {
    if (held.pid !== undefined) process.kill(-held.pid, "SIGKILL");
  }
});

test("a target that dies meanwhile, and one that was never there, end in a reason", async () => {
  const victim = spawn("sleep", ["3"]);
  const dying = await profile(victim.pid ?? 0, folder, 5_000);
  expect(
    [...dying.skipped.map(({ reason }) => reason), ...dying.profiles.map(({ kind }) => kind)].length,
  ).toBeGreaterThan(0);
  const gone = await takeProfiles({
    proc: "/proc",
    processes: () => [{ pid: 2 ** 22 - 1, startTicks: 1, comm: "x" }],
    durationMs: 1_000,
    frequencyHz: 99,
    workFolder: folder,
    clock: systemClock,
    random: systemRandom,
    signal: new AbortController().signal,
  });
  expect(gone.skipped).toMatchObject([{ what: "profile", reason: "NoProcess" }]);
  expect((await readdir(folder)).filter((name) => name.startsWith("oomscope-profile-"))).toEqual([]);
});

test("files that break their reader cost names, not the profile", async () => {
  // A program whose section headers and unwind tables lead everywhere: the ELF header stays, so that the kernel runs it.
  const source = join(folder, "touch.c");
  await writeFile(
    source,
    `#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) { for (;;) { char *p = malloc(1 << 20); memset(p, 1, 1 << 20); usleep(50000); } }
`,
  );
  const program = join(folder, "touch");
  execFileSync("gcc", ["-O1", "-o", program, source]);
  const elf = await readFile(program);
  elf.writeBigUInt64LE(BigInt(elf.length - 100), 40);
  elf.writeUInt16LE(0xffff, 60);
  await writeFile(program, elf);
  const child = spawn(program);
  children.push(child);
  await systemClock.sleep(500);
  const outcome = await profile(child.pid ?? 0, folder, 3_000);
  const growth = of(outcome, "Growth");
  expect(growth.samples).toBeGreaterThan(50);
  expect(growth.efficiency?.belief).toBe("Trusted");
  expect(growth.frames.some(({ library }) => library === "touch" || library === "libc.so.6")).toBe(true);
  await endChildren();
});
