/** The picture of a running collection, as golden text: what a person sees at 80 and at 120 columns. */
import { describe, expect, test } from "vitest";
import type { LocalReading, ProcessReading, Sample } from "../../src/api/collection.ts";
import { createProgress, type Frame, type Progress } from "../../src/cli/progress.ts";

const MIB = 2 ** 20;
const PLAN = {
  title: "process thumbnail-svc (pid 4711) and its descendants",
  expected: 25,
  intervalMs: 5_000,
  durationMs: 120_000,
};

function processAt(pid: number, anonMib: number, comm = "thumbnail-svc", rollup = true): ProcessReading {
  const anon = anonMib * MIB;
  return {
    pid,
    startTicks: 100,
    ppid: 1,
    comm,
    threads: 5,
    status: { VmRSS: anon + 4 * MIB, RssAnon: anon, RssFile: 4 * MIB, RssShmem: 0, VmSwap: 0 },
    ...(rollup ? { rollup: { Pss: anon + 2 * MIB, Pss_Anon: anon, Pss_File: 2 * MIB, Pss_Shmem: 0 } } : {}),
  };
}

function localAt(anonMib: number, change: Partial<LocalReading> = {}): LocalReading {
  return {
    kind: "Cgroup",
    life: "1",
    name: "thumbnail.service",
    cgroup: {
      path: "/system.slice/thumbnail.service",
      version: 2,
      usageBytes: (anonMib + 8) * MIB,
      limitBytes: 256 * MIB,
      kinds: { anon: anonMib * MIB, file: 4 * MIB, shmem: 0, kernel: 4 * MIB },
      stat: {},
      events: { oom_kill: 0 },
    },
    processes: [processAt(4711, anonMib - 10), processAt(4712, 10, "worker")],
    ...change,
  };
}

function sampleAt(index: number, local: LocalReading | undefined): Sample {
  return {
    index,
    time: "",
    elapsedMs: index * 5_000,
    node: {
      meminfo: { MemTotal: 8192 * MIB, MemAvailable: (5120 - index * 100) * MIB },
      vmstat: {},
      pressure: {
        some: { avg10: 1.25, avg60: 0, avg300: 0, totalUs: 0 },
        full: { avg10: 0, avg60: 0, avg300: 0, totalUs: 0 },
      },
    },
    pods: [],
    ...(local === undefined ? {} : { local }),
  };
}

function leaking(count: number, change: Partial<LocalReading> = {}): Progress {
  const progress = createProgress(PLAN);
  for (let index = 0; index < count; index++) {
    const local = localAt(50 + index * 5, change);
    progress.add(sampleAt(index, local));
  }
  return progress;
}

function text(progress: Progress, frame: Partial<Frame> = {}): string {
  const full = { columns: 80, rows: 24, elapsedMs: 55_000, ending: false, ...frame };
  const lines = progress.frame(full);
  expect(lines.length).toBeLessThanOrEqual(full.rows);
  for (const line of lines) expect(line.text.length).toBeLessThan(full.columns);
  return lines.map((line) => line.text).join("\n");
}

test("before the first sample", () => {
  expect(text(createProgress(PLAN), { elapsedMs: 0 })).toMatchInlineSnapshot(`
    "oomscope collect   process thumbnail-svc (pid 4711) and its descendants
    [----------------------------------------------] 0:00 of 2:00   0 of 25 samples

    Waiting for the first sample.



    Ctrl-C ends early and keeps what there is."
  `);
});

test("a leaking cgroup at 80 columns", () => {
  expect(text(leaking(12))).toMatchInlineSnapshot(`
    "oomscope collect   process thumbnail-svc (pid 4711) and its descendants
    [#####################------------------------] 0:55 of 2:00   12 of 25 samples

                now     growth  per second
    usage   113 MiB  +55.0 MiB  +1.0 MiB/s  ▁▂▂▃▄▄▅▅▆▇▇█
    anon    105 MiB  +55.0 MiB  +1.0 MiB/s  ▁▂▂▃▄▄▅▅▆▇▇█
    file    4.0 MiB        0 B       0 B/s  ▁▁▁▁▁▁▁▁▁▁▁▁
    shmem       0 B        0 B       0 B/s  ▁▁▁▁▁▁▁▁▁▁▁▁
    kernel  4.0 MiB        0 B       0 B/s  ▁▁▁▁▁▁▁▁▁▁▁▁
    limit 256 MiB [################---------------------] 44 %   oom_kill 0

    machine: MemAvailable 3.9 GiB of 8.0 GiB (49 %)   PSI some 1.3 % full 0.0 %

     pid  process        Pss_Anon     growth  share
    4711  thumbnail-svc  95.0 MiB  +55.0 MiB  100 %
    4712  worker         10.0 MiB        0 B    0 %

    Ctrl-C ends early and keeps what there is."
  `);
});

test("and at 120", () => {
  expect(text(leaking(12), { columns: 120, rows: 40, ending: true })).toMatchInlineSnapshot(`
    "oomscope collect   process thumbnail-svc (pid 4711) and its descendants
    [###########################-------------------------------] 0:55 of 2:00   12 of 25 samples

                now     growth  per second
    usage   113 MiB  +55.0 MiB  +1.0 MiB/s  ▁▂▂▃▄▄▅▅▆▇▇█
    anon    105 MiB  +55.0 MiB  +1.0 MiB/s  ▁▂▂▃▄▄▅▅▆▇▇█
    file    4.0 MiB        0 B       0 B/s  ▁▁▁▁▁▁▁▁▁▁▁▁
    shmem       0 B        0 B       0 B/s  ▁▁▁▁▁▁▁▁▁▁▁▁
    kernel  4.0 MiB        0 B       0 B/s  ▁▁▁▁▁▁▁▁▁▁▁▁
    limit 256 MiB [#################---------------------] 44 %   oom_kill 0

    machine: MemAvailable 3.9 GiB of 8.0 GiB (49 %)   PSI some 1.3 % full 0.0 %   █▇▇▆▅▅▄▄▃▂▂▁

     pid  process        Pss_Anon     growth  share
    4711  thumbnail-svc  95.0 MiB  +55.0 MiB  100 %
    4712  worker         10.0 MiB        0 B    0 %

    Ending: what there is is being kept. Ctrl-C again leaves at once."
  `);
});

test("a small window keeps the beginning and how to end it", () => {
  expect(text(leaking(12), { columns: 40, rows: 8 })).toMatchInlineSnapshot(`
    "oomscope collect   process thumbnail-s…
    [####----] 0:55 of 2:00   12 of 25 sam…

                now     growth  per second
    usage   113 MiB  +55.0 MiB  +1.0 MiB/s…
    anon    105 MiB  +55.0 MiB  +1.0 MiB/s…

    Ctrl-C ends early and keeps what there…"
  `);
  for (let rows = 1; rows < 30; rows++) text(leaking(3), { rows, columns: 20 + rows });
});

test("a process that shares its cgroup is shown by its own sums, without the others' limit", () => {
  const progress = leaking(3, { kind: "Process", othersInCgroup: 4 });
  const picture = text(progress);
  expect(picture).toContain("Sums of its processes");
  expect(picture).not.toContain("256 MiB");
  expect(picture).not.toContain("kernel");
});

test("near its limit, or after a kill, the limit is a warning", () => {
  const styleOf = (progress: Progress): string | undefined =>
    progress.frame({ columns: 80, rows: 24, elapsedMs: 0, ending: false }).find((line) => line.text.startsWith("limit"))
      ?.style;
  expect(styleOf(leaking(3))).toBeUndefined();
  const full = createProgress(PLAN);
  full.add(sampleAt(0, localAt(240)));
  expect(styleOf(full)).toBe("warning");
});

describe("growth", () => {
  test("is not counted across a restart", () => {
    const progress = leaking(5);
    progress.add(sampleAt(5, localAt(20, { life: "2" })));
    expect(progress.line()).toContain("anon 20.0 MiB (0 B)");
  });

  test("of a process rests on its last Pss_Anon where the newest was left out", () => {
    const progress = createProgress(PLAN);
    progress.add(sampleAt(0, localAt(50, { processes: [processAt(1, 50)] })));
    progress.add(sampleAt(1, localAt(60, { processes: [processAt(1, 60)] })));
    progress.add(sampleAt(2, localAt(70, { processes: [processAt(1, 70, "thumbnail-svc", false)] })));
    expect(text(progress)).toMatch(/1 {2}thumbnail-svc {2}60\.0 MiB {2}\+10\.0 MiB {2}100 %$/m);
  });

  test("of a process without any Pss is that of RssAnon, and says so", () => {
    const progress = createProgress(PLAN);
    for (const [index, anon] of [50, 60].entries())
      progress.add(sampleAt(index, localAt(anon, { processes: [processAt(1, anon, "thumbnail-svc", false)] })));
    expect(text(progress)).toMatch(/\+10\.0 MiB {2}100 % {2}RssAnon$/m);
  });
});

test("a target that is gone is said to be, and counted", () => {
  const progress = leaking(3);
  progress.add(sampleAt(3, undefined));
  progress.add(sampleAt(4, undefined));
  expect(progress.missing()).toBe(2);
  expect(progress.line()).toBe("5/25  +0:20  the target is gone");
  expect(text(progress)).toContain("The target is gone.");
});

test("one line for each sample where there is no terminal", () => {
  expect(leaking(12).line()).toBe(
    "12/25  +0:55  usage 113 MiB  anon 105 MiB (+55.0 MiB)  MemAvailable 3.9 GiB  2 processes",
  );
});

test("names from the target cannot move the cursor", () => {
  const progress = createProgress(PLAN);
  progress.add(sampleAt(0, localAt(50, { processes: [processAt(1, 50, "\u001b[2J\u202e")] })));
  // oxlint-disable-next-line no-control-regex
  expect(text(progress)).not.toMatch(/[\u001b\u202e]/);
  expect(text(progress)).toContain("\\u{1b}[2J");
});
