/** The operator's process: settings from the environment, logs to standard output, a clean end on SIGTERM. The only place that may exit. */
import { readFileSync } from "node:fs";
import { pino } from "pino";
import { loadCredentials } from "./cluster/credentials.ts";
import { runOperator } from "./operator.ts";
import { readSettings, SettingsError } from "./settings.ts";
import { systemClock, systemRandom } from "./seams.ts";

const version = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
  .version;

try {
  const settings = readSettings(process.env);
  const log = pino({ level: settings.logLevel, base: { name: "oomscope", version } });
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const)
    process.once(name, () => stop.abort(new Error(`received ${name}`)));
  process.on("unhandledRejection", (error) => {
    log.fatal({ err: error }, "Unhandled rejection");
    process.exit(1);
  });
  try {
    const credentials = await loadCredentials({ env: process.env, clock: systemClock });
    await runOperator({
      settings,
      credentials,
      clock: systemClock,
      random: systemRandom,
      log,
      version,
      signal: stop.signal,
    });
    log.info("Ended");
    process.exit(0);
  } catch (error) {
    log.fatal({ err: error }, "Cannot go on");
    process.exit(1);
  }
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
