import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { OomReports } from "../../src/api/collection.ts";
import { parseKmsgLine, parseSyslogLine } from "../../src/collector/kernellog.ts";
import { createReportParser } from "../../src/collector/kmsg.ts";
import { podsScope } from "../../src/collector/reportscope.ts";
import { parseFields, parseFlat, parseRollup, parseStat, parseStatus } from "../../src/collector/procfs.ts";
import { CONTAINER, FIXTURES, OTHER_POD, POD } from "./nodetree.ts";

const kmsg = (name: string): string => readFileSync(join(FIXTURES, "kmsg", name), "utf8");
const V1 = kmsg("v1-6.18-memcg.kmsg.txt");
const V2 = kmsg("v2-6.1-memcg.kmsg.txt");
const GLOBAL = kmsg("v2-6.1-global.kmsg.txt");

function parse(text: string, uids: readonly string[] = [POD]): OomReports {
  const parser = createReportParser(4096, podsScope(new Set(uids)));
  for (const line of text.split("\n")) for (const record of parseKmsgLine(line)) parser.feed(record);
  return parser.finish(1_000_000);
}

test("a report of cgroup v1 with the new task table is read whole", () => {
  const { reports, othersDropped } = parse(V1);
  expect(othersDropped).toBe(0);
  expect(reports).toHaveLength(1);
  expect(reports[0]).toMatchObject({
    bootMs: 1_652_391.231,
    constraint: "CONSTRAINT_MEMCG",
    global: false,
    group: false,
    invokedBy: "thumbnail-svc",
    podUid: POD,
    containerId: CONTAINER,
    usageBytes: 134_217_728,
    limitBytes: 134_217_728,
    failcnt: 150,
    userIp: "0x7f37af705184",
    victim: { pid: 3951, comm: "thumbnail-svc", anonRssBytes: 130_304 * 1024, pgtablesBytes: 316 * 1024, uid: 0 },
  });
  expect(reports[0]?.stat).toMatchObject({ anon: 133_718_016, file: 0, pgfault: 33_976 });
  expect(reports[0]?.tasks[1]).toMatchObject({ pid: 3951, rssBytes: 32_927 * 4096, rssAnonBytes: 32_576 * 4096 });
});

test("a report of cgroup v2 with all statistics in one record and the old task table is read whole", () => {
  const report = parse(V2).reports[0];
  expect(report?.stat).toMatchObject({ anon: 100_200_448, kernel: 450_560, anon_thp: 58_720_256 });
  expect(report?.tasks.map((task) => [task.comm, task.rssBytes, task.rssAnonBytes])).toEqual([
    ["supervise.sh", 530 * 4096, undefined],
    ["thumbnail-svc", 24_370 * 4096, undefined],
  ]);
});

test("the same log by the system call, with the lines of one record each for itself, gives the same reports", () => {
  const parser = createReportParser(4096, podsScope(new Set([POD])));
  let before: number | undefined;
  for (const { usec, text } of V2.split("\n").flatMap((line) => parseKmsgLine(line)))
    for (const piece of text.split("\n")) {
      const seconds = ((usec ?? 0) / 1e6).toFixed(6).padStart(12);
      const record = parseSyslogLine(`<4>[${seconds}] ${piece}`, before);
      before = record?.usec;
      if (record !== undefined) parser.feed(record);
    }
  expect(parser.finish(1_000_000)).toEqual(parse(V2));
});

test("a report without its last line, with foreign records in between, keeps its victim", () => {
  const lines = V1.split("\n").filter((line) => !line.includes("Killed process"));
  const noisy = lines.flatMap((line) => [line, "6,9999,1652391500,-;cni0: port 3(veth1) entered blocking state"]);
  const report = parse(noisy.join("\n")).reports[0];
  expect(report?.victim).toEqual({ pid: 3951, comm: "thumbnail-svc", uid: 0, anonRssBytes: 32_576 * 4096 });
  expect(report?.tasks).toHaveLength(2);
});

test("a slow console, seconds for the whole report, does not tear it", () => {
  let usec = 5_000_000;
  const slow = V1.replaceAll(/^(\d+,\d+),\d+,/gm, (_all, head: string) => `${head},${(usec += 300_000)},`);
  expect(parse(slow).reports[0]).toMatchObject({ invokedBy: "thumbnail-svc", usageBytes: 134_217_728 });
});

test("the kill of a whole group is told", () => {
  const at = V2.indexOf("3,431,");
  const group = "6,431,471263000,-;Tasks in /x are going to be killed due to memory.oom.group set\n";
  expect(parse(V2.slice(0, at) + group + V2.slice(at)).reports[0]?.group).toBe(true);
  expect(parse(V2).reports[0]?.group).toBe(false);
});

test("a report of somebody else is counted and nothing more", () => {
  expect(parse(GLOBAL)).toEqual({ reports: [], othersDropped: 1, notes: [] });
  expect(parse(V1, [OTHER_POD])).toEqual({ reports: [], othersDropped: 1, notes: [] });
});

test.each([
  [
    "a cgroup named like the fields that follow",
    `/kubepods/pod${OTHER_POD}/${"b".repeat(64)}/x,task_memcg=/kubepods/pod${POD}/${CONTAINER},task=y`,
  ],
  [
    "a cgroup named like a pod below a container",
    `/kubepods/pod${OTHER_POD}/${"b".repeat(64)}/kubepods/pod${POD}/${CONTAINER}`,
  ],
  ["a cgroup outside of kubepods", `/system.slice/evil.service/a/b/kubepods/pod${POD}/${CONTAINER}`],
  ["a cgroup that only contains the name", `/kubepods/xpod${POD}/${CONTAINER}`],
])("%s does not put a report into another pod's pack", (_name, path) => {
  const anchor = `6,1,1000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=${path},task_memcg=${path},task=evil,pid=1,uid=0`;
  expect(parse(anchor)).toEqual({ reports: [], othersDropped: 1, notes: [] });
});

test("a name with a newline cannot end a report early", () => {
  const forged = V1.replace("6,623,", "6,622,1652391649,-;oom-kill:\n6,622,1652391649,-;x\n6,623,");
  expect(parse(forged)).toEqual(parse(V1));
});

test("a storm of kills keeps the newest and says how many are missing", () => {
  const storm = Array.from({ length: 100 }, () => V2.slice(0, V2.indexOf("4,432,"))).join("");
  const { reports, notes } = parse(storm);
  expect(reports).toHaveLength(64);
  expect(notes).toEqual(["36 older reports were left out"]);
});

/** Bytes of a recorded text, flipped, cut, doubled. */
const mutated = (text: string): fc.Arbitrary<string> =>
  fc
    .array(fc.tuple(fc.nat(text.length), fc.nat(40), fc.string({ maxLength: 12, unit: "binary" })), { maxLength: 12 })
    .map((cuts) => {
      let out = text;
      for (const [at, length, insert] of cuts) out = out.slice(0, at) + insert + out.slice(at + length);
      return out;
    });

test.each([
  ["v1", V1],
  ["v2", V2],
  ["global", GLOBAL],
])("no mutation of the %s log makes the parser throw or write a record outside of the contract", (_name, text) => {
  fc.assert(
    fc.property(mutated(text), (log) => void OomReports.parse(parse(log))),
    { numRuns: 150 },
  );
});

test("no mutation of a process's or cgroup's files makes a parser throw or give anything but safe numbers", () => {
  const recorded = (name: string): string => readFileSync(join(FIXTURES, "host", "v1-6.18", name), "utf8");
  const safe = (values: Readonly<Record<string, number>>): boolean => Object.values(values).every(Number.isSafeInteger);
  for (const [name, check] of [
    ["process/status", (text: string) => safe(parseStatus(text).sizes)],
    ["process/smaps_rollup", (text: string) => safe(parseRollup(text))],
    ["meminfo", (text: string) => safe(parseFields(text))],
    ["cgroup/memory.stat", (text: string) => safe(parseFlat(text))],
    ["process/stat", (text: string) => Number.isSafeInteger(parseStat(text)?.startTicks ?? 0)],
  ] as const)
    fc.assert(fc.property(mutated(recorded(name)), check), { numRuns: 200 });
});
