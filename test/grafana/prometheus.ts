/** A real Prometheus of the test's own: it scrapes what the test names, every second, and is asked over HTTP. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { stringify } from "yaml";

/** What a query comes to. */
interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [seconds: number, value: string];
}

export interface Prometheus {
  /** An instant query. Throws with the server's words when the expression is not valid. */
  query(expr: string): Promise<readonly Sample[]>;
  /** Rules by name, with what is wrong with each; empty: nothing. */
  rules(): Promise<Readonly<Record<string, string>>>;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @param targets addresses such as 127.0.0.1:8080 by job; @param rules contents of rule files */
export async function startPrometheus(
  targets: Readonly<Record<string, string>>,
  rules: readonly string[],
): Promise<Prometheus> {
  const binary = execFileSync(join(import.meta.dirname, "../alerts/build"), ["--server-path"], {
    encoding: "utf8",
  }).trim();
  const directory = mkdtempSync(join(tmpdir(), "oomscope-prometheus-"));
  rules.forEach((text, index) => writeFileSync(join(directory, `rules-${index}.yml`), text));
  writeFileSync(
    join(directory, "prometheus.yml"),
    stringify({
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: ["rules-*.yml"],
      scrape_configs: Object.entries(targets).map(([job, target]) => ({
        job_name: job,
        static_configs: [{ targets: [target] }],
      })),
    }),
  );
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    binary,
    [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=${address}`,
      "--log.level=error",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  child.stderr.on("data", (piece: Buffer) => (log += piece.toString("utf8")));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    rmSync(directory, { recursive: true, force: true });
  };
  const get = async (path: string): Promise<{ status: string; error?: string; data: unknown }> =>
    (await (await fetch(`http://${address}${path}`)).json()) as { status: string; error?: string; data: unknown };

  while (
    !(await fetch(`http://${address}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null) {
      await stop();
      throw new Error(`Prometheus did not start:\n${log}`);
    }
    await delay(50);
  }
  return {
    query: async (expr) => {
      const { status, error, data } = await get(`/api/v1/query?query=${encodeURIComponent(expr)}`);
      if (status !== "success") throw new Error(`${expr}: ${error}`);
      return (data as { result: readonly Sample[] }).result;
    },
    rules: async () => {
      const { data } = await get("/api/v1/rules");
      const { groups } = data as { groups: readonly { rules: readonly { name: string; lastError?: string }[] }[] };
      return Object.fromEntries(groups.flatMap(({ rules }) => rules.map((rule) => [rule.name, rule.lastError ?? ""])));
    },
    stop,
  };
}
