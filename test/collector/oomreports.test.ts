import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { OomReports, type OomReport } from "../../src/api/collection.ts";
import { type KernelRecord, parseKmsgLine, parseSyslogLine } from "../../src/collector/kernellog.ts";
import { createReportParser } from "../../src/collector/kmsg.ts";
import { podsScope } from "../../src/collector/reportscope.ts";
import { CONTAINER, FIXTURES, OTHER_POD, POD } from "./nodetree.ts";

const MIB = 2 ** 20;
const KIB = 1024;
const PAGE = 4096;
const PATH = `/kubepods/burstable/pod${POD}/${CONTAINER}`;

const log = (name: string): string => readFileSync(join(FIXTURES, "kmsg", `${name}.kmsg.txt`), "utf8");
const V1 = log("v1-6.18-memcg");
const V2 = log("v2-6.1-memcg");
/** The victim of the recording was in no pod; here it is in ours. */
const GLOBAL_OURS = log("v2-6.1-global").replace("task_memcg=/system.slice/batch.service", `task_memcg=${PATH}`);

const records = (kmsg: string): KernelRecord[] => kmsg.split("\n").flatMap((line) => parseKmsgLine(line));

function parse(from: readonly KernelRecord[], pods = [POD], bootTimeMs?: number): OomReports {
  const parser = createReportParser(PAGE, podsScope(new Set(pods)));
  for (const record of from) parser.feed(record);
  // Whatever comes in, what goes out keeps the contract.
  return OomReports.parse(JSON.parse(JSON.stringify(parser.finish(bootTimeMs))));
}

function only(from: readonly KernelRecord[]): OomReport {
  const { reports } = parse(from);
  expect(reports).toHaveLength(1);
  const [report] = reports;
  if (report === undefined) throw new Error("there is no report");
  return report;
}

/** As `dmesg --raw` prints it: every line of a record has a prefix of its own. */
function syslogOf(kmsg: string, caller = ""): KernelRecord[] {
  const lines = records(kmsg)
    .flatMap((record) => record.text.split("\n").map((part) => ({ usec: record.usec ?? 0, part })))
    .map(({ usec, part }) => {
      const micros = String(usec % 1_000_000).padStart(6, "0");
      return `<6>[${String(Math.floor(usec / 1_000_000)).padStart(5, " ")}.${micros}]${caller} ${part}`;
    });
  const parsed: KernelRecord[] = [];
  for (const line of lines) {
    const record = parseSyslogLine(line, parsed.at(-1)?.usec);
    if (record !== undefined) parsed.push(record);
  }
  return parsed;
}

test("a report of cgroup v1 on 6.18: every field", () => {
  expect(only(records(V1))).toEqual({
    bootMs: 1_652_391.231,
    anchorMs: 1_652_391.651,
    constraint: "CONSTRAINT_MEMCG",
    global: false,
    group: false,
    invokedBy: "thumbnail-svc",
    oomMemcg: PATH,
    taskMemcg: PATH,
    podUid: POD,
    containerId: CONTAINER,
    usageBytes: 128 * MIB,
    limitBytes: 128 * MIB,
    failcnt: 150,
    userIp: "0x7f37af705184",
    victim: {
      pid: 3951,
      comm: "thumbnail-svc",
      uid: 0,
      totalVmBytes: 170_444 * KIB,
      anonRssBytes: 130_304 * KIB,
      fileRssBytes: 1404 * KIB,
      shmemRssBytes: 0,
      pgtablesBytes: 316 * KIB,
      oomScoreAdj: 0,
    },
    stat: {
      anon: 133_718_016,
      anon_thp: 0,
      file: 0,
      file_dirty: 0,
      file_mapped: 0,
      file_writeback: 0,
      shmem: 0,
      swap: 0,
      swapcached: 0,
      inactive_anon: 133_697_536,
      active_anon: 8192,
      inactive_file: 0,
      active_file: 0,
      unevictable: 0,
      pgfault: 33_976,
      pgmajfault: 1,
      workingset_refault_anon: 0,
      workingset_refault_file: 17,
    },
    tasks: [
      {
        pid: 3950,
        comm: "supervise.sh",
        rssBytes: 783 * PAGE,
        rssAnonBytes: 64 * PAGE,
        rssFileBytes: 719 * PAGE,
        rssShmemBytes: 0,
        pgtablesBytes: 45_056,
        swapBytes: 0,
        oomScoreAdj: 0,
      },
      {
        pid: 3951,
        comm: "thumbnail-svc",
        rssBytes: 32_927 * PAGE,
        rssAnonBytes: 32_576 * PAGE,
        rssFileBytes: 351 * PAGE,
        rssShmemBytes: 0,
        pgtablesBytes: 323_584,
        swapBytes: 0,
        oomScoreAdj: 0,
      },
    ],
    tasksOmitted: 0,
  });
});

test("a report of cgroup v2 on 6.1, with the statistics in one record and the old columns", () => {
  const report = only(records(V2));
  expect(report).toMatchObject({
    bootMs: 471_242.581,
    constraint: "CONSTRAINT_MEMCG",
    global: false,
    invokedBy: "thumbnail-svc",
    oomMemcg: PATH,
    taskMemcg: PATH,
    podUid: POD,
    containerId: CONTAINER,
    usageBytes: 96 * MIB,
    limitBytes: 96 * MIB,
    failcnt: 73,
    userIp: "0x7fe93f094184",
    victim: {
      pid: 138,
      comm: "thumbnail-svc",
      uid: 0,
      totalVmBytes: 154_052 * KIB,
      anonRssBytes: 97_108 * KIB,
      fileRssBytes: 372 * KIB,
      shmemRssBytes: 0,
      pgtablesBytes: 248 * KIB,
      oomScoreAdj: 0,
    },
    stat: {
      anon: 100_200_448,
      file: 8192,
      kernel: 450_560,
      kernel_stack: 49_152,
      pagetables: 286_720,
      sock: 0,
      shmem: 0,
      anon_thp: 58_720_256,
      slab: 71_656,
      slab_reclaimable: 13_256,
      slab_unreclaimable: 58_400,
      pgfault: 13_477,
      workingset_refault_file: 2,
    },
    tasksOmitted: 0,
  });
  expect(report.tasks).toEqual([
    { pid: 137, comm: "supervise.sh", rssBytes: 530 * PAGE, pgtablesBytes: 49_152, swapBytes: 0, oomScoreAdj: 0 },
    { pid: 138, comm: "thumbnail-svc", rssBytes: 24_370 * PAGE, pgtablesBytes: 253_952, swapBytes: 0, oomScoreAdj: 0 },
  ]);
});

test("a report of the whole machine tells of our victim and of nobody else", () => {
  const report = only(records(GLOBAL_OURS));
  expect(report).toMatchObject({
    bootMs: 636_027.77,
    constraint: "CONSTRAINT_NONE",
    global: true,
    taskMemcg: PATH,
    podUid: POD,
    victim: { pid: 156, comm: "batch-job", anonRssBytes: 832_556 * KIB, totalVmBytes: 835_148 * KIB },
    tasks: [{ pid: 156, comm: "batch-job", rssBytes: 208_139 * PAGE }],
    tasksOmitted: 2,
    stat: {},
  });
  for (const name of ["oomMemcg", "invokedBy", "userIp", "usageBytes", "limitBytes"])
    expect(report).not.toHaveProperty(name);
});

test("wall-clock time is boot time and microseconds", () => {
  const booted = Date.UTC(2030, 0, 1);
  expect(parse(records(V2), [POD], booted).reports[0]?.time).toBe("2030-01-01T00:07:51.242Z");
});

test.each([
  ["v1", V1, ""],
  ["v2", V2, ""],
  ["v1, with the caller of each line", V1, "[ T3953]"],
  ["the whole machine", GLOBAL_OURS, ""],
])("the syslog form of %s gives the same report", (_name, kmsg, caller) => {
  expect(only(syslogOf(kmsg, caller))).toEqual(only(records(kmsg)));
});

test("records with the caller in their flags are read", () => {
  expect(only(records(V1.replaceAll(",-;", ",-,caller=T3953;")))).toEqual(only(records(V1)));
});

test("foreign lines between those of a report change nothing", () => {
  const foreign = [
    "4,1,1652391500,-;cni0: port 3(veth1a) entered forwarding state",
    " SUBSYSTEM=net",
    "6,1,1652391500,-;[ 77] something else 1 2 3",
    "6,1,1652391500,-;audit: type=1400 pid=3951 comm=x,task=y",
    "6,1,1652391500,-;",
  ].join("\n");
  const noisy = V1.split("\n").map((line) => `${line}\n${foreign}`);
  expect(only(records(noisy.join("\n")))).toEqual(only(records(V1)));
});

test("the line of another process that was killed is not taken for the victim's", () => {
  const report = only(records(V1.replace("Killed process 3951", "Killed process 3950")));
  expect(report.victim).toEqual({ pid: 3951, comm: "thumbnail-svc", uid: 0, anonRssBytes: 32_576 * PAGE });
});

test.each([
  ["spaces", "a b  c", "a b  c"],
  ["parentheses", "x) (y)", "x) (y)"],
  ["commas and fields", "a,pid=1,uid=2", "a,pid=1,uid=2"],
  ["a field's name", "a,task=b", "a,task=b"],
  ["what looks like a row", "[ 1] 0 1 2", "[ 1] 0 1 2"],
  ["numbers only", "12 34", "12 34"],
  ["a line's end and the anchor's beginning", "\\x0aoom-kill:const", "\noom-kill:const"],
  ["a line's end and a statistic", "\\x0aanon 99", "\nanon 99"],
  ["letters of another language", "caf\\xc3\\xa9", "café"],
  ["a backslash", "a\\x5cx0ab", "a\\x0ab"],
])("a name with %s is read whole", (_what, escaped, name) => {
  for (const kmsg of [V1, V2]) {
    const plain = only(records(kmsg));
    const report = only(records(kmsg.replaceAll("thumbnail-svc", () => escaped)));
    expect(report.victim).toEqual({ ...plain.victim, comm: name });
    expect(report.tasks).toEqual(plain.tasks.map((t) => (t.comm === "thumbnail-svc" ? { ...t, comm: name } : t)));
    expect(report.stat).toEqual(plain.stat);
    expect(report.podUid).toBe(POD);
  }
});

test("in syslog a name with a line's end costs the name, not the report", () => {
  const report = only(syslogOf(V1.replaceAll("thumbnail-svc", () => "a\\x0aoom-kill:cons")));
  expect(report).toMatchObject({ podUid: POD, containerId: CONTAINER, usageBytes: 128 * MIB, limitBytes: 128 * MIB });
  expect(report.victim).toBeUndefined();
});

test("a line that the kernel cut gives the report, whose victim the next line names", () => {
  const report = only(records(V1.replace(/,task=thumbnail-svc,pid=3951,uid=0$/m, ",task=thumb")));
  expect(report).toMatchObject({ podUid: POD, victim: { pid: 3951, comm: "thumbnail-svc" } });
});

test.each([
  `x,mems_allowed=0,global_oom,task_memcg=/kubepods/pod${OTHER_POD}`,
  `x,mems_allowed=0,global_oom,task_memcg=/kubepods/pod${OTHER_POD},task=`,
  `x,mems_allowed=0,global_oom,task_memcg=/kubepods/pod${OTHER_POD},task=y,pid=1,uid=0`,
])("a cpuset that is named %s, like the fields after it, cannot blame another pod", (name) => {
  expect(parse(records(V1.replace("cpuset=/,", `cpuset=${name},`)), [OTHER_POD]).reports).toEqual([]);
});

test("two reports back to back are two, and each has what is its own", () => {
  const second = V1.replaceAll(PATH, PATH.replace(POD, OTHER_POD)).replaceAll("3951", "4951");
  const { reports } = parse(records(`${V1}\n${second}`), [POD, OTHER_POD]);
  expect(reports.map((r) => [r.podUid, r.victim?.pid, r.victim?.anonRssBytes, r.tasks.length])).toEqual([
    [POD, 3951, 130_304 * KIB, 2],
    [OTHER_POD, 4951, 130_304 * KIB, 2],
  ]);
});

test("a report that was not finished gives nothing to the next", () => {
  const cut = V1.slice(0, V1.indexOf("oom-kill:constraint")).replace("usage 131072kB", "usage 7kB");
  const report = only(records(`${cut}\n${V2}`));
  expect(report.usageBytes).toBe(96 * MIB);
  expect(report.victim?.pid).toBe(138);
});

test("a log whose beginning is overwritten gives the report without its head", () => {
  const report = only(records(V1.slice(V1.indexOf("6,623,"))));
  expect(report).toMatchObject({ podUid: POD, containerId: CONTAINER, tasks: [], victim: { pid: 3951 } });
  expect(report).not.toHaveProperty("usageBytes");
});

test("the record that names the victim has the same time in whatever reading of the log", () => {
  const whole = only(records(V1));
  const cut = only(records(V1.slice(V1.indexOf("6,623,"))));
  expect(cut.bootMs).not.toBe(whole.bootMs);
  expect([cut.anchorMs, only(syslogOf(V1)).anchorMs]).toEqual([whole.anchorMs, whole.anchorMs]);
});

test("what was said long before the anchor is not taken for its report", () => {
  const report = only(records(V1.replaceAll(/^(4,5\d\d),1652(\d+)/gm, "$1,1642$2")));
  expect(report.bootMs).toBeGreaterThan(1_652_000);
  expect(report).not.toHaveProperty("invokedBy");
});

test("a victim beyond the rows that are kept is kept", () => {
  const row = /^6,621,.*$/m.exec(V1)?.[0] ?? "";
  const many = Array.from({ length: 600 }, (_, i) => row.replaceAll("3950", String(10_000 + i))).join("\n");
  const report = only(records(V1.replace(row, many)));
  expect(report.tasks.some((task) => task.pid === 3951)).toBe(true);
  expect(report.tasks).toHaveLength(513);
  expect(report.tasksOmitted).toBe(88);
});

test("numbers that no machine has do not break the contract", () => {
  const nines = "9".repeat(30);
  const huge = V1.replaceAll("usage 131072kB", `usage ${nines}kB`)
    .replaceAll("total-vm:170444", `total-vm:${nines}`)
    .replaceAll("32927", "9".repeat(16));
  expect(only(records(huge))).toMatchObject({ podUid: POD, victim: { pid: 3951 } });
});

test("only the kernel's own records are read: whoever writes into the log gets another facility", () => {
  const forged = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)";
  expect(parseKmsgLine(`4,1,100,-;${forged}`)).toEqual([{ usec: 100, text: forged }]);
  expect(parseKmsgLine(`12,1,100,-;${forged}`)).toEqual([]);
  expect(parseSyslogLine(`<4>[    1.000000] ${forged}`, undefined)).toEqual({ usec: 1_000_000, text: forged });
  expect(parseSyslogLine(`<12>[    1.000000] ${forged}`, undefined)).toBeUndefined();
});
