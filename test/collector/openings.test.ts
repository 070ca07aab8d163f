/** What a process holds open, and the sockets of its network: of a real process, and of trees in which somebody has written what he likes. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, symlinkSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDescriptors, kindOf } from "../../src/collector/descriptors.ts";
import { createNetworks, machineSockets, parseSockstat } from "../../src/collector/networks.ts";
import { systemClock } from "../../src/seams.ts";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "./smapstext.ts";

const children: ChildProcessByStdio<Writable, Readable, null>[] = [];
let proc = "";
beforeAll(async () => {
  proc = await mkdtemp(join(tmpdir(), "oomscope-open-"));
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(proc, { recursive: true, force: true });
});

function addProcess(pid: number, targets: readonly string[]): void {
  const folder = join(proc, String(pid), "fd");
  mkdirSync(folder, { recursive: true });
  for (const [fd, target] of targets.entries()) symlinkSync(target, join(folder, String(fd)));
}

test.each([
  ["socket:[12345]", "socket"],
  ["pipe:[12345]", "pipe"],
  ["anon_inode:[eventpoll]", "anon_inode:eventpoll"],
  ["anon_inode:inotify", "anon_inode:inotify"],
  ["anon_inode:[io_uring]", "anon_inode:io_uring"],
  ["anon_inode:kvm-vcpu:3", "anon_inode:kvm-vcpu"],
  ["anon_inode:[acme-secret-driver]", "anon_inode:other"],
  ["pidfd:[77]", "anon_inode:pidfd"],
  ["/memfd:frames (deleted)", "memfd"],
  ["/dev/shm/queue", "tmpfs"],
  ["/dev/null", "device"],
  ["/var/lib/customers.db", "file"],
  ["/tmp/spool (deleted)", "deleted"],
  ["/memfd:frames", "file"],
  ["net:[4026531833]", "other"],
  ["", "other"],
])("a link to %j is a %s", (target, kind) => {
  expect(kindOf(target)).toBe(kind);
});

test(
  "a kind never holds what the target has written",
  () => {
    const kinds = /^(?:socket|pipe|memfd|tmpfs|device|file|deleted|other|anon_inode:[a-z_-]{1,12})$/;
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.string().map((text) => `anon_inode:[${text}`),
        ),
        (target) => {
          expect(kindOf(target)).toMatch(kinds);
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);

/** A process of our own that has run the program. */
async function running(program: string, argument: string): Promise<ChildProcessByStdio<Writable, Readable, null>> {
  const child = spawn(process.execPath, ["-e", program, argument], { stdio: ["pipe", "pipe", "ignore"] });
  children.push(child);
  await once(child.stdout, "data");
  return child;
}

test("a real process: the kinds of what it has opened, and how many", async () => {
  const program = `const fs = require("fs"), net = require("net");
    for (let i = 0; i < 5; i++) fs.openSync(process.execPath);
    for (let i = 0; i < 3; i++) { const f = process.argv[1] + i; fs.openSync(f, "w"); fs.unlinkSync(f); }
    for (let i = 0; i < 4; i++) fs.openSync("/dev/zero");
    net.createServer().listen(0, "127.0.0.1", () => process.stdout.write("ready"));
    process.stdin.resume();`;
  const { pid = 0 } = await running(program, join(proc, "deleted-"));
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder);
  const { descriptors } = createDescriptors("/proc").of(pid);
  expect(descriptors).toMatchObject({ open: names.length, looked: names.length });
  const targets = await Promise.all(names.map((name) => readlink(join(folder, name))));
  const counted = (pattern: RegExp): number => targets.filter((target) => pattern.test(target)).length;
  expect(descriptors?.kinds).toMatchObject({
    deleted: counted(/^\/(?!memfd:|dev\/).* \(deleted\)$/),
    file: counted(/^\/(?!memfd:|dev\/).*(?<! \(deleted\))$/),
    socket: counted(/^socket:/),
    "anon_inode:eventpoll": counted(/^anon_inode:\[eventpoll\]$/),
    "anon_inode:eventfd": counted(/^anon_inode:\[eventfd\]$/),
  });
  expect(descriptors?.kinds["deleted"]).toBeGreaterThanOrEqual(3);
  expect(descriptors?.kinds["file"]).toBeGreaterThanOrEqual(5);
  // Its standard error and what else Node keeps open are there as well.
  expect(descriptors?.kinds["device"]).toBe(counted(/^\/dev\/(?!shm\/)/));
  expect(descriptors?.kinds["device"]).toBeGreaterThanOrEqual(5);
  expect(Object.values(descriptors?.kinds ?? {}).reduce((a, b) => a + b, 0)).toBe(names.length);
});

test("of very many descriptors a part is looked at, spread over all of them, and a sample looks at no more than it may", async () => {
  const program = `const fs = require("fs");
    for (let i = 0; i < 600; i++) fs.openSync("/dev/zero");
    for (let i = 0; i < 600; i++) fs.openSync(process.execPath);
    process.stdout.write("ready");
    process.stdin.resume();`;
  const { pid = 0 } = await running(program, "");
  const all = createDescriptors("/proc");
  const { open, looked, kinds } = all.of(pid).descriptors ?? { open: 0, looked: 0, kinds: {} };
  expect(open).toBe((await readdir(`/proc/${pid}/fd`)).length);
  expect(open).toBeGreaterThan(1200);
  expect(looked).toBeLessThanOrEqual(512);
  expect(looked).toBeGreaterThan(300);
  expect(Math.abs((kinds["device"] ?? 0) / looked - 0.5)).toBeLessThan(0.1);
  let taken = 1;
  for (; taken < 100 && all.of(pid).descriptorsSkipped === undefined; taken++);
  expect(taken).toBeLessThan(40);
  expect(all.of(pid)).toEqual({ descriptorsSkipped: "TooMany" });
  all.renew();
  expect(all.of(pid).descriptors?.open).toBe(open);
});

test("who has gone has nothing open, and what is no link is no descriptor", async () => {
  expect(createDescriptors(proc).of(4)).toEqual({});
  addProcess(52, ["pipe:[1]"]);
  await writeFile(join(proc, "52", "fd", "7"), "");
  await writeFile(join(proc, "52", "fd", "notes"), "");
  expect(createDescriptors(proc).of(52)).toEqual({ descriptors: { open: 2, looked: 1, kinds: { pipe: 1 } } });
});

const SOCKSTAT = `sockets: used 112
TCP: inuse 90 orphan 4 tw 49 alloc 786 mem 92287
UDP: inuse 2 mem 3
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 0 memory 0
`;
const SOCKSTAT6 = "TCP6: inuse 7\nUDP6: inuse 1\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n";

test("sockstat, as recorded", () => {
  expect(parseSockstat(SOCKSTAT + SOCKSTAT6)).toMatchObject({
    sockets_used: 112,
    TCP_inuse: 90,
    TCP_mem: 92_287,
    UDP_mem: 3,
    TCP6_inuse: 7,
  });
  expect(parseSockstat("TCP: inuse -1 mem 5x alloc 3\nlower: a 1\n\nTCP inuse 3\n")).toEqual({ TCP_alloc: 3 });
});

async function addNetwork(pid: number, namespace: number | string, used: number): Promise<void> {
  await mkdir(join(proc, String(pid), "net"), { recursive: true });
  await mkdir(join(proc, String(pid), "ns"), { recursive: true });
  await symlink(typeof namespace === "number" ? `net:[${namespace}]` : namespace, join(proc, String(pid), "ns", "net"));
  await writeFile(join(proc, String(pid), "net", "sockstat"), SOCKSTAT.replace("112", String(used)));
  await writeFile(join(proc, String(pid), "net", "sockstat6"), SOCKSTAT6);
}

test("each namespace is read once, and the machine's own counters are not taken for a namespace's", async () => {
  await addNetwork(1, 4_026_531_833, 112);
  await addNetwork(60, 4_026_532_900, 5);
  await addNetwork(61, 4_026_532_900, 5);
  await addNetwork(62, "/etc/passwd", 5);
  const networks = createNetworks(proc, systemClock);
  expect([60, 61, 1, 62, 63].map((pid) => networks.namespaceOf(pid))).toEqual([
    4_026_532_900,
    4_026_532_900,
    4_026_531_833,
    undefined,
    undefined,
  ]);
  const sockets = { TCP_inuse: 90, TCP_tw: 49, UDP_inuse: 2, TCP6_inuse: 7, UDP6_inuse: 1 };
  expect(await networks.read()).toEqual([
    { namespace: 4_026_532_900, sockets: { used: 5, ...sockets } },
    { namespace: 4_026_531_833, sockets: { used: 112, ...sockets } },
  ]);
  networks.renew();
  expect(await networks.read()).toEqual([]);
  expect(await machineSockets(proc, systemClock)).toEqual({
    TCP_orphan: 4,
    TCP_alloc: 786,
    TCP_mem: 92_287,
    UDP_mem: 3,
  });
});

test("a pid that was given to somebody else in another network does not speak for the first", async () => {
  await addNetwork(64, 4_026_533_000, 5);
  const networks = createNetworks(proc, systemClock);
  networks.namespaceOf(64);
  await rm(join(proc, "64", "ns", "net"));
  await symlink("net:[4026531833]", join(proc, "64", "ns", "net"));
  expect(await networks.read()).toEqual([]);
});
