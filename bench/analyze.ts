/**
 * What does a finding cost on a long collection of many processes? Samples of the corpus are multiplied: real readings of a real kernel, each process many times over
 * under a pid of its own. `oomscope analyze` then reads the pack, in a process of its own, which tells its peak of resident memory when it ends.
 * `make bench-analyze` runs it; exit code 1 when the peak or the time is over the aim.
 */
import { spawnSync } from "node:child_process";
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MAX_PART_BYTES, partFileName, type Sample } from "../src/api/collection.ts";
import { openPack } from "../src/evidence/pack.ts";
import { writePack } from "../src/evidence/writearchive.ts";
import { systemClock as clock } from "../src/seams.ts";

const ROOT = join(import.meta.dirname, "..");
const SOURCE = join(ROOT, "test/corpus/packs/leak-one-of-many.tar.zst");
const INTERVAL_MS = 5_000;
/** The aim: 200 MB, and seconds. */
const MOST_BYTES = 200e6;
const MOST_MS = 30_000;
/** VmHWM cannot be asked for when a process has gone, so it says so itself. */
const TELL = `data:text/javascript,${encodeURIComponent(
  `process.on("exit", () => { const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage(); process.stderr.write("cost " + JSON.stringify({ maxRSS, cpuMs: (userCPUTime + systemCPUTime) / 1000 }) + "\\n"); });`,
)}`;

const { values } = parseArgs({
  options: {
    samples: { type: "string", default: "720" },
    processes: { type: "string", default: "200" },
    main: { type: "string", default: "dist/cli/main.js" },
    flags: { type: "string", default: "" },
    forms: { type: "string", default: "folder,archive" },
  },
});

/** A sample of the source as one of many: `processes` of them, each (pid, start time) the same in every sample. */
function multiplied(source: Sample, index: number, processes: number): Sample {
  const local = source.local;
  if (local === undefined) throw new Error(`${SOURCE} is no recording of one machine`);
  const copies = Array.from({ length: processes }, (_, i) => {
    const one = local.processes[i % local.processes.length];
    if (one === undefined) throw new Error(`${SOURCE} has a sample without a process`);
    // No two of them move alike: numbers have as many digits as real ones, and no string is the same twice.
    const status = Object.fromEntries(
      Object.entries(one.status).map(([key, bytes]) => [key, bytes + 4096 * (i + index)]),
    );
    return { ...one, pid: 10_000 + i, startTicks: 1_000_000 + i, status };
  });
  return {
    ...source,
    index,
    time: new Date(Date.parse(source.time) + index * INTERVAL_MS).toISOString(),
    elapsedMs: index * INTERVAL_MS,
    local: { ...local, processes: copies },
  };
}

async function writeFolder(folder: string, samples: number, processes: number): Promise<number> {
  const pack = await openPack(SOURCE);
  const real: Sample[] = [];
  for await (const sample of pack.samples()) real.push(sample);
  writeFileSync(join(folder, "host.json"), JSON.stringify(pack.host));
  let part = 0;
  let size = 0;
  let all = 0;
  let lines: string[] = [];
  const flush = (): void => {
    writeFileSync(join(folder, partFileName("readings", part++)), lines.join(""));
    lines = [];
    size = 0;
  };
  for (let index = 0; index < samples; index++) {
    const source = real[index % real.length];
    if (source === undefined) throw new Error(`${SOURCE} has no sample`);
    const line = `${JSON.stringify(multiplied(source, index, processes))}\n`;
    if (size + line.length > MAX_PART_BYTES / 2) flush();
    lines.push(line);
    size += line.length;
    all += line.length;
  }
  flush();
  return all;
}

function analyse(pack: string): { readonly rssBytes: number; readonly cpuMs: number; readonly ms: number } {
  const began = clock.monotonicMs();
  const flags = values.flags.split(" ").filter(Boolean);
  const words = ["--import", TELL, ...flags, join(ROOT, values.main), "analyze", pack, "--output", "json"];
  const { status, stderr, stdout } = spawnSync(process.execPath, words, { encoding: "utf8", maxBuffer: 2 ** 26 });
  const ms = clock.monotonicMs() - began;
  const cost = /^cost (.*)$/m.exec(stderr)?.[1];
  if (cost === undefined || !stdout.startsWith("{"))
    throw new Error(`oomscope analyze ended with ${status}: ${stderr}`);
  const { maxRSS, cpuMs } = JSON.parse(cost) as { maxRSS: number; cpuMs: number };
  return { rssBytes: maxRSS * 1024, cpuMs, ms };
}

const samples = Number(values.samples);
const processes = Number(values.processes);
const folder = mkdtempSync(join(tmpdir(), "oomscope-bench-"));
try {
  const parts = join(folder, "pack");
  mkdirSync(parts);
  const bytes = await writeFolder(parts, samples, processes);
  const archive = join(folder, "pack.tar.zst");
  const written = await writePack(parts, createWriteStream(archive));
  const mb = (n: number): string => (n / 1e6).toFixed(0);
  process.stdout.write(
    `${samples} samples of ${processes} processes: ${mb(bytes)} MB of readings, ${mb(written.bytes)} MB packed\n\n`,
  );
  process.stdout.write("| form | peak RSS MB | CPU s | s |\n| --- | ---: | ---: | ---: |\n");
  for (const form of values.forms.split(",")) {
    const { rssBytes, cpuMs, ms } = analyse(form === "folder" ? parts : archive);
    process.stdout.write(`| ${form} | ${mb(rssBytes)} | ${(cpuMs / 1000).toFixed(1)} | ${(ms / 1000).toFixed(1)} |\n`);
    if (rssBytes > MOST_BYTES || ms > MOST_MS) process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
