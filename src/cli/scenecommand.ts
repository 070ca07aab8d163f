/** `oomscope scene`: the machine at one moment, as free, vmstat, smem and /proc/pressure would show it, in one call. */
import type { NodeReading } from "../api/collection.ts";
import { readNode } from "../collector/procfs.ts";
import { bytesText, nameText } from "../diagnosis/words.ts";
import { type CommandSpec, type Given, OUTPUT, outputOf, UsageError, wrap } from "./arguments.ts";
import { pressureLines } from "./cgroupcommand.ts";
import { EXIT, type Command, type World } from "./command.ts";
import { largestProcesses, type Crowd } from "./processes.ts";
import { percent, shown, table } from "./text.ts";

const spec: CommandSpec = {
  name: "scene",
  summary: "Show the machine now: free, vmstat, pressure, the largest processes",
  usage: "[--top N] [--output text|json]",
  about:
    "One look at the whole machine, for the first minute of an incident. It takes a second, because paging is a rate. A full page cache is no danger and a large one no proof of safety: what counts is MemAvailable and pressure. Processes are sorted by Pss, which counts a shared page once; Rss counts it in each of them.",
  options: { top: { value: "N", help: "How many processes to list (1 to 100; the default is 10)." }, output: OUTPUT },
  examples: [
    ["oomscope scene", "Now, as your own user; as root with Pss of everybody."],
    ["oomscope scene --top 30 --output json > scene.json", "To keep."],
  ],
};

/** Rates are taken over this long. */
const RATE_MS = 1_000;
/** The counters of /proc/vmstat whose rate says that memory is short. */
const RATES = ["pswpin", "pswpout", "pgmajfault", "pgscan_direct", "allocstall_normal", "allocstall_movable"] as const;

export interface Scene {
  readonly time: string;
  /** As free(1) counts since procps 4: used = total - available. */
  readonly free: Readonly<
    Record<"total" | "used" | "free" | "shared" | "buffCache" | "available" | "swapTotal" | "swapUsed", number>
  >;
  readonly node: NodeReading;
  /** Per second, over the last second. */
  readonly rates: Readonly<Record<string, number>>;
  readonly crowd: Crowd;
  readonly meaning: readonly string[];
}

async function run(given: Given, { roots, terminal, clock }: World): Promise<number> {
  const output = outputOf(given);
  const asked = given.text("top") ?? "10";
  const top = /^\d{1,3}$/.test(asked) ? Number(asked) : 0;
  if (top < 1 || top > 100)
    throw new UsageError(`--top ${shown(asked)} is out of bounds: write a number from 1 to 100`);
  const before = await readNode(roots.proc);
  const from = clock.monotonicMs();
  const crowd = await largestProcesses(roots.proc, top, before.meminfo, clock);
  await clock.sleep(Math.max(0, RATE_MS - (clock.monotonicMs() - from)));
  const node = await readNode(roots.proc);
  const scene = sceneOf(clock.now().toISOString(), before, node, (clock.monotonicMs() - from) / 1000, crowd);
  terminal.print(output === "json" ? `${JSON.stringify(scene, null, 2)}\n` : sceneText(scene));
  return EXIT.done;
}

export function sceneOf(time: string, before: NodeReading, node: NodeReading, seconds: number, crowd: Crowd): Scene {
  const of = (name: string): number => node.meminfo[name] ?? 0;
  const free = {
    total: of("MemTotal"),
    used: of("MemTotal") - of("MemAvailable"),
    free: of("MemFree"),
    shared: of("Shmem"),
    buffCache: of("Buffers") + of("Cached") + of("SReclaimable"),
    available: of("MemAvailable"),
    swapTotal: of("SwapTotal"),
    swapUsed: of("SwapTotal") - of("SwapFree"),
  };
  const rates = Object.fromEntries(
    RATES.flatMap((name) => {
      const [was, is] = [before.vmstat[name], node.vmstat[name]];
      return was === undefined || is === undefined
        ? []
        : [[name, Math.round(Math.max(0, is - was) / Math.max(0.001, seconds))]];
    }),
  );
  return { time, free, node, rates, crowd, meaning: meaningOf(free, node, rates) };
}

/** What the numbers say by the rules that an engineer on call goes by. One moment proves no growth. */
function meaningOf(free: Scene["free"], { pressure }: NodeReading, rates: Scene["rates"]): string[] {
  const share = free.total === 0 ? 1 : free.available / free.total;
  const some = pressure?.some.avg60 ?? 0;
  const paging = (rates["pswpin"] ?? 0) + (rates["pgscan_direct"] ?? 0);
  return [
    share < 0.08
      ? "MemAvailable is below 8 % of the total: if that lasts, the kernel will kill."
      : `MemAvailable is ${percent(free.available, free.total)} of the total.`,
    ...(free.buffCache > free.total / 2
      ? ["Most of the memory is page cache: the clean part of it is given back on demand."]
      : []),
    ...(pressure === undefined
      ? ["This kernel tells no pressure (PSI)."]
      : [
          some >= 10
            ? `Work waits for memory ${some.toFixed(1)} % of the time: the pressure is real.`
            : "Hardly any work waits for memory.",
        ]),
    ...(paging > 0 ? ["Pages are being fetched from swap or reclaimed by those who need them."] : []),
    "Whether something grows takes time to see: oomscope collect --pid N.",
  ];
}

export function sceneText({ time, free, node, rates, crowd, meaning }: Scene): string {
  const size = bytesText;
  const lines = [`Memory of this machine at ${time}`, ""];
  const head = ["", "total", "used", "free", "shared", "buff/cache", "available"];
  lines.push(
    ...table(
      [
        head,
        [
          "Mem",
          size(free.total),
          size(free.used),
          size(free.free),
          size(free.shared),
          size(free.buffCache),
          size(free.available),
        ],
        ["Swap", size(free.swapTotal), size(free.swapUsed), size(free.swapTotal - free.swapUsed), "", "", ""],
      ],
      ["<", ">", ">", ">", ">", ">", ">"],
    ),
  );
  const parts = [
    "AnonPages",
    "Mapped",
    "Slab",
    "SUnreclaim",
    "PageTables",
    "KernelStack",
    "Percpu",
    "Mlocked",
    "Dirty",
  ].flatMap((name) => {
    const value = node.meminfo[name];
    return value === undefined ? [] : [`${name} ${size(value)}`];
  });
  lines.push(
    "",
    ...wrap(parts.join(", ").replaceAll(" MiB", "\u00a0MiB"), 76).map((line) => `  ${line.replaceAll("\u00a0", " ")}`),
  );
  lines.push("", ...pressureLines(node.pressure));
  const paging = Object.entries(rates).map(([name, rate]) => `${name} ${rate}/s`);
  lines.push(
    "",
    ...wrap(`${paging.join(", ")}; oom_kill ${node.vmstat["oom_kill"] ?? "?"} since boot`, 76).map(
      (line) => `  ${line}`,
    ),
  );
  lines.push("", ...crowdLines(crowd), "");
  for (const sentence of meaning) lines.push(...wrap(sentence, 76).map((line) => `  ${line}`));
  return `${lines.join("\n")}\n`;
}

function crowdLines({ processes, total, withoutPss }: Crowd): string[] {
  const size = (bytes: number | undefined): string => (bytes === undefined ? "-" : bytesText(bytes));
  const rows = processes.map(({ pid, comm, rss, pss, uss, pssAnon, swap }) => [
    String(pid),
    nameText(comm, 24),
    size(pss),
    size(uss),
    size(rss),
    size(pssAnon),
    size(swap),
  ]);
  const lines = table(
    [["pid", "process", "Pss", "Uss", "Rss", "Pss_Anon", "Swap"], ...rows],
    [">", "<", ">", ">", ">", ">", ">"],
  );
  lines.push(`  the ${processes.length} largest of ${total} processes`);
  if (withoutPss !== undefined) lines.push(...wrap(withoutPss, 76).map((line) => `  ${line}`));
  return lines;
}

export const sceneCommand: Command = { spec, run };
