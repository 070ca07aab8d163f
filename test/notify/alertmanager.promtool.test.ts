/** Does a real Alertmanager understand what it is sent: one alert that follows the investigation, and is resolved with it? `make test-alerts` */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { MemoryInvestigation, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import { MESSAGE_KINDS } from "../../src/notify/messages.ts";
import { createNotifier, type Notifier } from "../../src/notify/notifier.ts";
import { receiversIn } from "../../src/notify/receivers.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { DIAGNOSED, investigation, MITIGATED, OPENED, PROPOSED } from "./told.ts";

interface Shown {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly generatorURL: string;
}

let folder: string;
let url: string;
let alertmanager: ChildProcess;
let notifier: Notifier;
const problems: unknown[] = [];

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

beforeAll(async () => {
  const build = join(import.meta.dirname, "../alerts/build");
  const binary = execFileSync(build, ["--alertmanager-path"], { encoding: "utf8" }).trim();
  folder = await mkdtemp(join(tmpdir(), "oomscope-alertmanager-"));
  await writeFile(join(folder, "alertmanager.yml"), "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n");
  const address = `127.0.0.1:${await freePort()}`;
  url = `http://${address}`;
  alertmanager = spawn(
    binary,
    [
      `--config.file=${join(folder, "alertmanager.yml")}`,
      `--storage.path=${join(folder, "data")}`,
      `--web.listen-address=${address}`,
      "--cluster.listen-address=",
    ],
    { stdio: "ignore" },
  );
  await vi.waitFor(async () => expect((await fetch(`${url}/-/ready`)).ok).toBe(true), {
    timeout: 60_000,
    interval: 100,
  });
  await writeFile(join(folder, "alertmanager-url"), `${url}\n`);
  const note = (...words: unknown[]): void => void problems.push(words);
  notifier = createNotifier({
    directory: folder,
    receivers: await receiversIn(folder),
    horizon: "2026-01-01T00:00:00Z",
    kinds: MESSAGE_KINDS,
    link: "https://example.com/{namespace}/{name}",
    clock: systemClock,
    random: systemRandom,
    log: { info: note, warn: note, error: note },
    onDelivered: () => undefined,
    onOutcome: () => undefined,
  });
}, 120_000);
afterAll(async () => {
  await notifier?.stop();
  if (alertmanager?.exitCode === null) {
    alertmanager.kill("SIGKILL");
    await once(alertmanager, "exit");
  }
  await rm(folder, { recursive: true });
});

const shown = async (): Promise<Shown[]> => (await (await fetch(`${url}/api/v2/alerts?active=true`)).json()) as Shown[];

/** As if its times, which are written down for 10 o'clock of a day, were those of the last minutes. */
function now(status: MemoryInvestigationStatus): MemoryInvestigation {
  const shiftMs = Date.now() - Date.parse("2026-11-29T10:10:00Z");
  const text = JSON.stringify(investigation(status));
  const shifted = text.replaceAll(/2026-11-29T10:\d\d:00Z/g, (time) =>
    new Date(Date.parse(time) + shiftMs).toISOString(),
  );
  return JSON.parse(shifted) as MemoryInvestigation;
}

async function summaryOf(status: MemoryInvestigationStatus, words: string): Promise<Shown> {
  notifier.look(now(status));
  await vi.waitFor(async () => expect((await shown())[0]?.annotations["summary"]).toContain(words), {
    timeout: 30_000,
    interval: 100,
  });
  const [alert, ...others] = await shown();
  expect(others).toEqual([]); // Each state takes the place of the last.
  if (alert === undefined) throw new Error("There is no alert");
  return alert;
}

test("one alert follows the investigation, and is resolved with it", async () => {
  const opened = await summaryOf(OPENED, "is investigated");
  expect(opened.labels).toMatchObject({
    alertname: "OOMScopeInvestigation",
    namespace: "media",
    workload: "thumbnail-svc",
  });
  expect(opened.generatorURL).toBe("https://example.com/media/thumbs-1");
  const diagnosed = await summaryOf(DIAGNOSED, "has a diagnosis");
  expect(diagnosed.annotations["verdict"]).toBe("AnonHeapLeak, 93 % sure");
  const proposed = await summaryOf(PROPOSED, "waits for approval");
  expect(proposed.annotations["command"]).toContain("oomscope approve thumbs-1 Rollback");
  notifier.look(now(MITIGATED));
  await vi.waitFor(async () => expect(await shown()).toEqual([]), { timeout: 30_000, interval: 100 });
  expect(problems).toEqual([]);
});
