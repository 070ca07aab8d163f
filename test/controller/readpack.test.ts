/** What does the operator take from the kernel's reports of a pack? */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { OomReport } from "../../src/api/collection.ts";
import { parseKmsgLine } from "../../src/collector/kernellog.ts";
import { createReportParser } from "../../src/collector/kmsg.ts";
import { podsScope } from "../../src/collector/reportscope.ts";
import { victimsOf } from "../../src/controller/readpack.ts";
import { CONTAINER, FIXTURES, POD } from "../collector/nodetree.ts";

const KMSG = readFileSync(`${FIXTURES}/kmsg/v1-6.18-memcg.kmsg.txt`, "utf8");
const BOOT_MS = Date.parse("2026-11-20T00:00:00Z");

function reports(bootTimeMs: number | undefined): readonly OomReport[] {
  const parser = createReportParser(4096, podsScope(new Set([POD])));
  for (const line of KMSG.split("\n")) for (const record of parseKmsgLine(line)) parser.feed(record);
  return parser.finish(bootTimeMs).reports;
}

test("a victim is dated by the record that names it, not by the report's first line", () => {
  expect(victimsOf(reports(BOOT_MS))).toMatchObject([
    {
      podUid: POD,
      containerId: CONTAINER,
      pid: 3951,
      group: false,
      bootMs: 1_652_392,
      time: "2026-11-20T00:27:32.391Z",
    },
  ]);
});

test("a report without a time that a clock can show keeps none", () => {
  const [report] = reports(BOOT_MS);
  if (report === undefined) throw new Error("there is no report");
  const { anchorMs: _anchor, ...old } = report;
  const odd: OomReport[] = [
    ...reports(undefined),
    old,
    { ...report, time: "yesterday" },
    { ...report, anchorMs: 1e300 },
    { ...report, anchorMs: -5 },
    { ...report, time: "9999-12-31T23:59:59.999Z", anchorMs: report.bootMs + 1 },
    { ...report, bootMs: Number.MAX_SAFE_INTEGER },
  ];
  const victims = victimsOf(odd);
  expect(victims).toHaveLength(odd.length);
  expect(victims.map(({ time }) => time)).toEqual(odd.map(() => undefined));
});
