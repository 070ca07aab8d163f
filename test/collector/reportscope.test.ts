/** Which of the kernel's reports are the local target's, on recorded logs. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { OomReports } from "../../src/api/collection.ts";
import { parseKmsgLine } from "../../src/collector/kernellog.ts";
import { createReportParser } from "../../src/collector/kmsg.ts";
import { cgroupScope, isWithin, processScope, type ReportScope } from "../../src/collector/reportscope.ts";
import { CONTAINER, FIXTURES, POD } from "./nodetree.ts";

const PATH = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
const log = (name: string): string => readFileSync(join(FIXTURES, "kmsg", `${name}.kmsg.txt`), "utf8");
const V1 = log("v1-6.18-memcg");
const GLOBAL = log("v2-6.1-global");

function parse(kmsg: string, scope: ReportScope): OomReports {
  const parser = createReportParser(4096, scope);
  for (const line of kmsg.split("\n")) for (const record of parseKmsgLine(line)) parser.feed(record);
  return OomReports.parse(JSON.parse(JSON.stringify(parser.finish(undefined))));
}

test.each([PATH, `/kubepods/burstable/pod${POD}`, "/kubepods", "/"])("a cgroup has the kills below it: %s", (path) => {
  const { reports } = parse(V1, cgroupScope(path));
  expect(reports).toHaveLength(1);
  expect(reports[0]?.invokedBy).toBe("thumbnail-svc");
  expect(reports[0]?.tasks.length).toBeGreaterThan(0);
});

test.each(["/kubepods/burst", `${PATH}/below`, "/system.slice"])("a cgroup has no kills beside it: %s", (path) => {
  expect(parse(V1, cgroupScope(path))).toMatchObject({ reports: [], othersDropped: 1 });
});

test("of a kill by the whole machine, a cgroup keeps its victim and no other task", () => {
  const { reports } = parse(GLOBAL, cgroupScope("/system.slice/batch.service"));
  expect(reports).toHaveLength(1);
  expect(reports[0]).not.toHaveProperty("invokedBy");
  expect(reports[0]?.tasks.map(({ pid }) => pid)).toEqual([reports[0]?.victim?.pid]);
  expect(reports[0]?.tasksOmitted).toBeGreaterThan(0);
});

test("a process has the kill of its pid, unless it was started after the kill", () => {
  const [victim] = parse(V1, cgroupScope("/")).reports;
  const pid = victim?.victim?.pid ?? 0;
  const start = (ticks: number): ReportScope => processScope((asked) => (asked === pid ? ticks : undefined));
  const killedTicks = Math.floor((victim?.bootMs ?? 0) / 10);
  expect(parse(V1, start(killedTicks - 1)).reports).toHaveLength(1);
  expect(parse(V1, start(killedTicks + 1))).toMatchObject({ reports: [], othersDropped: 1 });
  expect(
    parse(
      V1,
      processScope(() => undefined),
    ).reports,
  ).toEqual([]);
});

test("the tasks of a report that are not the process's are dropped, and then nobody is said to have hit the limit", () => {
  const [whole] = parse(V1, cgroupScope("/")).reports;
  const pids = whole?.tasks.map(({ pid }) => pid) ?? [];
  const all = parse(
    V1,
    processScope((pid) => (pids.includes(pid) ? 0 : undefined)),
  ).reports[0];
  expect(all).toEqual(whole);
  const [global] = parse(GLOBAL, cgroupScope("/")).reports;
  const only = global?.victim?.pid;
  const [mine] = parse(
    GLOBAL,
    processScope((pid) => (pid === only ? 0 : undefined)),
  ).reports;
  expect(mine?.tasks.map(({ pid }) => pid)).toEqual([only]);
  expect(mine).not.toHaveProperty("invokedBy");
  expect(mine).not.toHaveProperty("userIp");
});

test("below means below, not beginning with the same letters", () => {
  expect(isWithin("/a/b", "/a")).toBe(true);
  expect(isWithin("/a", "/a")).toBe(true);
  expect(isWithin("/ab", "/a")).toBe(false);
});
