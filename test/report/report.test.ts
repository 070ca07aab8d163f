/** The report of a real pack: three kills of a leaking child, with profiles. Its numbers are those of the pack, and nothing in a pack can use it. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sample } from "../../src/api/collection.ts";
import { VERDICTS } from "../../src/api/verdicts.ts";
import { reportCommand } from "../../src/cli/reportcommand.ts";
import { EXIT } from "../../src/cli/command.ts";
import { openPack } from "../../src/evidence/pack.ts";
import { gather, type Material } from "../../src/report/material.ts";
import { reportPage } from "../../src/report/page.ts";
import { samplesOf } from "../diagnosis/samples.ts";
import { runCommand } from "../cli/world.ts";

const FIXTURE = join(import.meta.dirname, "..", "fixtures", "report", "kills.tar.zst");
let material: Material;
let page: string;
let folder: string;

beforeAll(async () => {
  material = await gather(await openPack(FIXTURE));
  page = reportPage(material);
  folder = await mkdtemp(join(tmpdir(), "oomscope-report-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A pack with these readings and nothing else. */
async function packOf(samples: Iterable<Sample>): Promise<Material> {
  const directory = await mkdtemp(join(folder, "pack-"));
  await writeFile(
    join(directory, "readings-0000.ndjson"),
    [...samples].map((one) => `${JSON.stringify(one)}\n`).join(""),
  );
  return gather(await openPack(directory));
}

/** The table behind a chart: values by time, as the page has them. */
function numbers(of: string, id: string): ReadonlyMap<number, readonly (number | undefined)[]> {
  const [, body = ""] = new RegExp(`<table id="${id}-numbers">(.*?)</table>`, "s").exec(of) ?? [];
  return new Map(
    [...body.matchAll(/<tr data-t="([\d.]+)">(.*?)<\/tr>/gs)].map(([, time, cells = ""]) => [
      Number(time),
      [...cells.matchAll(/<td class="n"(?: data-v="([^"]*)")?>/g)].map(([, value]) =>
        value === undefined ? undefined : Number(value),
      ),
    ]),
  );
}

/** What a person reads, without the tags. */
function wordsOf(text: string): string {
  return text.replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ");
}

describe("numbers", () => {
  test("usage and kinds in the chart are those of the samples", async () => {
    const table = numbers(page, "kinds0");
    let seen = 0;
    for await (const { elapsedMs, local } of (await openPack(FIXTURE)).samples()) {
      const row = table.get(Math.round(elapsedMs * 10) / 10);
      const { usageBytes, kinds } = local?.cgroup ?? { usageBytes: undefined, kinds: {} };
      expect(row).toEqual([usageBytes, kinds.anon, kinds.shmem, kinds.kernel, kinds.file]);
      seen++;
    }
    expect(seen).toBe(81);
    expect(table.size).toBe(81);
  });

  test("MemAvailable and pressure are those of the samples", async () => {
    const [memory, pressure] = [numbers(page, "available"), numbers(page, "pressure")];
    for await (const { elapsedMs, node } of (await openPack(FIXTURE)).samples()) {
      const time = Math.round(elapsedMs * 10) / 10;
      expect(memory.get(time)?.[0]).toBe(node.meminfo["MemAvailable"]);
      expect(pressure.get(time)).toEqual([node.pressure?.some.avg10, node.pressure?.full?.avg10]);
    }
  });

  test("Pss, Uss and Rss of the process that grew most", async () => {
    const { pid } = material.readings.processes.toSorted(
      (a, b) => Math.max(...b.rss.values) - Math.max(...a.rss.values),
    )[0] ?? { pid: 0 };
    const at = [...page.matchAll(/<table id="process(\d)-numbers">\s*<caption>\s*[^(]*\(pid (\d+)\)/g)].find(
      ([, , one]) => Number(one) === pid,
    )?.[1];
    const table = numbers(page, `process${at ?? "none"}`);
    let read = 0;
    for await (const { elapsedMs, local } of (await openPack(FIXTURE)).samples()) {
      const process = local?.processes.find((one) => one.pid === pid);
      if (process === undefined) continue;
      const { rollup, status } = process;
      const uss = rollup === undefined ? undefined : (rollup["Private_Clean"] ?? 0) + (rollup["Private_Dirty"] ?? 0);
      expect(table.get(Math.round(elapsedMs * 10) / 10)).toEqual([rollup?.["Pss"], uss, status["VmRSS"]]);
      read++;
    }
    expect(read).toBeGreaterThan(5);
  });
});

describe("the story", () => {
  test("every kill of the kernel's log stands on the axis, and the worker that runs again after each", () => {
    const told = material.marks.map(({ kind, witness }) => `${kind} by ${witness}`);
    expect(told).toEqual(Array.from({ length: 3 }, () => ["Kill by kernel log", "Restart by readings"]).flat());
    expect(page.match(/<path class="mark kill"/g)).toHaveLength(3);
    expect(page).toContain("Killed thumbnail-svc (pid 5925): the limit of 200 MiB was reached");
  });

  test("who made memory resident, whether that may be believed, and the verdict with its reasons", () => {
    expect(page).toContain("decode_tile in libimgdecode.so: 100 %");
    expect(page).toContain("Nearly every page that was touched stayed");
    expect(wordsOf(page)).toContain(
      `What is it? AnonHeapLeak RestartSawtooth 75 % sure ${VERDICTS.AnonHeapLeak.meaning}`,
    );
    expect(page).toContain("It is made resident by decode_tile of libimgdecode.so, called by serve");
  });

  test("helpers of the same name beside each life are no workers: each life is judged, and its own profile counts", () => {
    const { verdict, subKind, culprit } = material.finding;
    expect({ verdict, subKind }).toEqual({ verdict: "AnonHeapLeak", subKind: "RestartSawtooth" });
    expect(culprit).toMatchObject({ process: { pid: 7203, comm: "thumbnail-svc" }, function: "decode_tile" });
  });

  test("a kill that only the counter shows, and a container that began anew", async () => {
    const samples = [
      ...samplesOf([
        { id: "a", processes: [{ pid: 7, anon: (s) => 20 + s }], until: 100 },
        { id: "b", processes: [{ pid: 8, anon: (s) => s - 80 }], from: 110 },
      ]),
    ];
    for (const { pods, elapsedMs } of samples)
      for (const { containers } of pods)
        for (const one of containers) if (elapsedMs >= 200_000) one.cgroup.events["oom_kill"] = 2;
    const { marks } = await packOf(samples);
    expect(marks.map(({ kind, time, text }) => [kind, time, text])).toEqual([
      ["Restart", 110_000, "thumbnail runs again, as another one"],
      ["Kill", 200_000, "oom_kill of thumbnail rose by 2 since the sample before"],
    ]);
  });

  test("a finding that names somebody, with growth and what to do", async () => {
    const leak = await packOf(samplesOf([{ processes: [{ pid: 7, anon: (s) => 20 + s / 4 }] }]));
    const text = reportPage(leak);
    expect(leak.finding.verdict).toBe("AnonHeapLeak");
    expect(text).toContain("<dt>Growth</dt>");
    expect(text).toContain(VERDICTS.AnonHeapLeak.meaning);
    expect(text).toContain("Roll back to the revision before the growth began");
    expect(text).toContain("thumbnail-svc (pid 7), named in the finding");
    expect(text).toContain("The collection was cut off: it has no manifest.");
  });

  test("a pack that says nothing is told as that", async () => {
    const text = reportPage(await packOf([]));
    for (const said of [
      "No container, cgroup or process was measured.",
      "The machine's memory was not measured.",
      "No process was measured.",
      "No profile was taken",
      "charts count from the first sample",
    ])
      expect(wordsOf(text)).toContain(said);
  });
});

describe("the file", () => {
  test("the same pack gives the same bytes", async () => {
    expect(reportPage(await gather(await openPack(FIXTURE)))).toBe(page);
  });

  test("names no other place, and its policy lets run only what its checksums say", () => {
    expect(page.match(/(?:src|href|action|data)="[^"#]*"/g)).toEqual([`href="data:,"`]);
    expect(page).not.toMatch(/@import|url\(|https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? "";
    expect(policy).toMatch(/^default-src 'none';/);
    for (const [tag, source] of [
      ["style", "style-src"],
      ["script", "script-src"],
    ] as const) {
      const [only, ...more] = [...page.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, "gs"))];
      expect(more).toEqual([]);
      expect(policy).toContain(
        `${source} 'sha256-${createHash("sha256")
          .update(only?.[1] ?? "")
          .digest("base64")}'`,
      );
    }
  });

  test("every id is there once, and every reference leads to one", () => {
    const ids = [...page.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const references = [...page.matchAll(/(?:aria-labelledby="|href="#)([^"]*)"/g)].flatMap(([, some = ""]) =>
      some.split(" "),
    );
    expect(references.filter((id) => !ids.includes(id))).toEqual([]);
  });

  test("a day of a crowd fits into five megabytes", async () => {
    const processes = Array.from({ length: 12 }, (_, i) => ({
      pid: 100 + i,
      anon: (s: number) => 5 + ((s * (i + 1)) % 977) / 9,
    }));
    const containers = Array.from({ length: 8 }, (_, i) => ({
      id: `c${i}`,
      name: `n${i}`,
      processes: processes.slice(i, i + 2).map((one) => ({ ...one, startTicks: i })),
    }));
    const text = reportPage(await packOf(samplesOf(containers, { count: 500, interval: 172 })));
    expect(text.length).toBeLessThan(5e6);
    expect(text.length).toBeGreaterThan(1e5);
  });
});

describe("hostile packs", () => {
  const WORDS = `</script></style></title>"'\`><img src=x onerror=alert(1)><script>alert(2)</script>\u202e\u2028$& --> ]]>`;
  /** What a reader of packs has compared with a list; all other strings are free text. */
  const LISTED = new Set([
    "verdict",
    "kind",
    "class",
    "certainty",
    "scope",
    "trend",
    "moment",
    "outcome",
    "unwinding",
    "unit",
    "constraint",
    "stage",
    "clock",
    "role",
    "runtimes",
  ]);

  function poisoned<T>(value: T, key = ""): T {
    if (typeof value === "string") return (LISTED.has(key) ? value : WORDS) as T;
    if (Array.isArray(value)) return value.map((one: unknown) => poisoned(one, key)) as T;
    if (value instanceof Map)
      return new Map([...value].map(([name, one]: [unknown, unknown]) => [poisoned(name), one])) as T;
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, one]: [string, unknown]) => [name, poisoned(one, name)]),
    ) as T;
  }

  test("every free text of a pack may be an attack, and stays text", () => {
    const attacked = reportPage(
      poisoned({
        ...material,
        problems: [WORDS],
        manifest: {
          ...(material.manifest as NonNullable<Material["manifest"]>),
          skipped: [{ what: "x", reason: "y", detail: "z" }],
        },
      }),
    );
    const structure = (text: string): readonly string[] =>
      [...new Set([...text.matchAll(/<\/?([a-z][a-z0-9]*)/gi)].map(([, tag = ""]) => tag))].toSorted();
    const outside = (text: string): string =>
      text.replace(/<style>.*?<\/style>/s, "").replace(/<script>.*?<\/script>/s, "");
    expect(outside(attacked)).toContain("&lt;img src=x onerror=alert(1)&gt;");
    expect(structure(outside(attacked))).not.toContain("img");
    expect(structure(outside(attacked)).filter((tag) => !structure(outside(page)).includes(tag))).toEqual([]);
    expect(outside(attacked)).not.toMatch(/<[^>]*\son[a-z]+=/i);
    expect(attacked.match(/<script/g)).toHaveLength(1);
    expect(attacked).not.toMatch(/[\u202a-\u202e\u2028]/);
  });

  test("names of processes and a kernel's report are attacks all the way from the file", async () => {
    const directory = await mkdtemp(join(folder, "hostile-"));
    const samples = [
      ...samplesOf([{ name: "</script><script>", processes: [{ pid: 7, anon: (s) => s, comm: `<svg onload=` }] }]),
    ];
    await writeFile(join(directory, "readings-0000.ndjson"), samples.map((one) => `${JSON.stringify(one)}\n`).join(""));
    const report = {
      bootMs: 1,
      time: `1970-01-01T00:01:00Z`,
      global: false,
      group: false,
      stat: {},
      tasks: [{ pid: 7, comm: WORDS, rssBytes: 1, pgtablesBytes: 1, oomScoreAdj: 0 }],
      tasksOmitted: 0,
      oomMemcg: WORDS,
      victim: { pid: 7, comm: WORDS },
    };
    await writeFile(
      join(directory, "oom-reports.json"),
      JSON.stringify({ reports: [report], othersDropped: 0, notes: [WORDS] }),
    );
    const text = reportPage(await gather(await openPack(directory)));
    expect(text).toContain("&lt;svg onload=");
    expect(text).toContain(
      "&lt;/script&gt;&lt;img src=x".replace("&lt;img", "&lt;/style&gt;&lt;/title&gt;&quot;&#39;&#96;&gt;&lt;img"),
    );
    expect(text.match(/<script/g)).toHaveLength(1);
    expect(text).not.toMatch(/<svg onload|<img/);
  });

  test.each([
    ["times that no date can hold", { time: "9999999-01-01", elapsedMs: 1e300 }],
    ["no time at all", { time: "soon" }],
    ["readings from before the first", { elapsedMs: -5 }],
    [
      "numbers beyond all memory",
      { node: { meminfo: { MemAvailable: Number.MAX_SAFE_INTEGER, MemTotal: -1 }, vmstat: {} } },
    ],
  ])("%s give a page", async (_, change) => {
    const samples = [...samplesOf([{ processes: [{ pid: 7, anon: (s) => s }] }])].map((one, i) =>
      i % 2 === 0 ? one : { ...one, ...change },
    );
    const text = reportPage(await packOf(samples));
    expect(/NaN|Infinity|undefined/.exec(text.replace(/<script>.*/s, ""))?.[0]).toBeUndefined();
    expect(text).toContain("</html>");
  });
});

describe("oomscope report", () => {
  const roots = { proc: "/nowhere", cgroup: "/nowhere", kmsg: "/nowhere" };

  test("writes the file whole, and says by its exit code that there is a verdict", async () => {
    const file = join(folder, "report.html");
    await writeFile(file, "an older one");
    const { code, printed, told } = await runCommand(reportCommand, roots, [FIXTURE, "--output", file]);
    expect([code, printed]).toEqual([EXIT.done, ""]);
    expect(told).toMatch(/report\.html: \d+ KiB/);
    expect(await readFile(file, "utf8")).toBe(page);
  });

  test("prints it where the output is -", async () => {
    expect((await runCommand(reportCommand, roots, [FIXTURE, "--output", "-"])).printed).toBe(page);
  });

  test.each([
    ["what is no pack", ["/nowhere/at/all"], "cannot be read as a pack (ENOENT)"],
    ["a place that cannot be written", [FIXTURE, "--output", "/nowhere/at/all.html"], "could not be written (ENOENT)"],
  ])("%s is refused", async (_, words, says) => {
    await expect(runCommand(reportCommand, roots, words)).rejects.toThrow(says);
  });
});
