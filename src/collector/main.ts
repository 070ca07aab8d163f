/** The collector's process: one plan from the environment, parts to the operator, an exit code that says how it ended. */
import { readFileSync } from "node:fs";
import { pino } from "pino";
import { z } from "zod";
import { CollectionPlan } from "../api/collection.ts";
import { systemClock, systemRandom } from "../seams.ts";
import { collect } from "./collect.ts";
import { createUploader, UploadEnded } from "./upload.ts";

const Environment = z.object({
  OOMSCOPE_PLAN: z.string(),
  OOMSCOPE_EVIDENCE_URL: z.url({ protocol: /^https$/ }),
  OOMSCOPE_EVIDENCE_SERVER_NAME: z.string().min(1),
  OOMSCOPE_EVIDENCE_CA: z.string().includes("BEGIN CERTIFICATE"),
  OOMSCOPE_TOKEN_FILE: z.string().min(1),
  OOMSCOPE_HOST_PROC: z.string().default("/host/proc"),
  OOMSCOPE_HOST_CGROUP: z.string().default("/host/sys/fs/cgroup"),
  OOMSCOPE_HOST_KMSG: z.string().default("/host/dev/kmsg"),
  OOMSCOPE_WORK_FOLDER: z.string().min(1).default("/work"),
  OOMSCOPE_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info"),
});

/** The Job's deadline is five minutes later than the sampling; some of that is left for the last words. */
const PATIENCE_MS = 4 * 60_000;

const version = (
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
).version;
const environment = Environment.safeParse(process.env);
if (!environment.success) {
  const lines = environment.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  process.stderr.write(
    `The collector is started by the operator with these variables, and they cannot be used:\n${lines.join("\n")}\n`,
  );
  process.exit(2);
}
const env = environment.data;
const log = pino({ level: env.OOMSCOPE_LOG_LEVEL, base: { name: "oomscope-collector", version } });
const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(new Error(`received ${name}`)));

try {
  const plan = CollectionPlan.parse(JSON.parse(env.OOMSCOPE_PLAN));
  const sink = createUploader({
    url: env.OOMSCOPE_EVIDENCE_URL,
    serverName: env.OOMSCOPE_EVIDENCE_SERVER_NAME,
    ca: env.OOMSCOPE_EVIDENCE_CA,
    tokenFile: env.OOMSCOPE_TOKEN_FILE,
    collection: plan.collection,
    patienceMs: plan.durationMs + PATIENCE_MS,
    onEnded: (ended) => stop.abort(ended),
    clock: systemClock,
    random: systemRandom,
    log,
  });
  log.info(
    { collection: plan.collection, pods: plan.pods.length, intervalMs: plan.intervalMs, durationMs: plan.durationMs },
    "Collects",
  );
  await collect({
    plan,
    roots: { proc: env.OOMSCOPE_HOST_PROC, cgroup: env.OOMSCOPE_HOST_CGROUP, kmsg: env.OOMSCOPE_HOST_KMSG },
    sink,
    clock: systemClock,
    log,
    version,
    signal: stop.signal,
    profiling: { random: systemRandom, workFolder: env.OOMSCOPE_WORK_FOLDER },
    usage: () => {
      const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
      return { cpuMs: Math.round((userCPUTime + systemCPUTime) / 1000), peakRssBytes: maxRSS * 1024 };
    },
  });
  process.exit(0);
} catch (error) {
  // The operator has what it wants from somebody else, or has closed: a failure of this pod would say something untrue.
  if (error instanceof UploadEnded && ["AnotherCollector", "Closed"].includes(error.reason)) {
    log.info({ reason: error.reason }, "Not needed");
    process.exit(0);
  }
  log.fatal({ err: error }, "Could not collect");
  process.exit(1);
}
