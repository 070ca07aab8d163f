/** The whole operator, running in the test's own process against a real API server, through a proxy that may harm one of its writes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { runOperator } from "../../src/operator.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { readSettings } from "../../src/settings.ts";
import { installCrds } from "../api/crdserver.ts";
import { type ApiServer, startApiServer } from "../support/apiserver.ts";
import { startHttpFaultProxy } from "../support/faultproxy.ts";
import { type Admin, admin, COLLECTORS, install, type Item, OPERATOR } from "./cluster.ts";

export type Fault = "crash before" | "crash after" | "lose the reply";

/** Where it lives: the API server, and the folder of its evidence. */
export interface Place {
  readonly server: ApiServer;
  readonly evidence: string;
  /** Settings beside those that every test needs. */
  readonly environment?: Readonly<Record<string, string>>;
}

export async function until(what: string, holds: () => Promise<boolean>, seconds = 30): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await systemClock.sleep(25);
  }
}

/** Writes beside the story of an incident, which come when they come. */
const BESIDE = /\/leases|\/events|\/tokenreviews|policies\/[^/]+\/status/;

export interface Life {
  /** Writes that came from it, leases, Events and what policies say of themselves left out. */
  readonly writes: readonly string[];
  /** Resolves when the fault has struck. */
  readonly struck: Promise<void>;
  end(): Promise<void>;
}

/** One life of the operator, whose write number `at` (from 0) meets a fault. After a crash nothing of it reaches the server any more. */
export async function liveAt({ server, evidence, environment }: Place, at: number, fault: Fault): Promise<Life> {
  const proxy = await startHttpFaultProxy({ target: new URL(server.url), ca: server.ca });
  const writes: string[] = [];
  let dead = false;
  let strike: () => void = () => undefined;
  const struck = new Promise<void>((resolve) => (strike = resolve));
  proxy.choose((method, path) => {
    if (dead) return { kind: "LoseRequest" };
    if (method === "GET" || BESIDE.test(path)) return { kind: "Pass" };
    writes.push(`${method} ${path.split("?")[0]}`);
    if (writes.length - 1 !== at) return { kind: "Pass" };
    strike();
    dead = fault !== "lose the reply";
    return { kind: fault === "crash before" ? "LoseRequest" : "LoseReply" };
  });
  const stop = new AbortController();
  const running = runOperator({
    settings: readSettings({
      OOMSCOPE_NAMESPACE: OPERATOR,
      OOMSCOPE_COLLECTOR_NAMESPACE: COLLECTORS,
      OOMSCOPE_POD_NAME: "operator-0",
      OOMSCOPE_COLLECTOR_IMAGE: "none",
      OOMSCOPE_EVIDENCE_DIRECTORY: evidence,
      OOMSCOPE_EVIDENCE_PORT: "0",
      OOMSCOPE_HEALTH_PORT: "0",
      ...environment,
    }),
    credentials: {
      server: new URL(proxy.url),
      auth: () => Promise.resolve({ headers: { authorization: `Bearer ${server.adminToken}` }, skipTlsVerify: false }),
      forget: () => undefined,
    },
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: process.env["OOMSCOPE_LOG_LEVEL"] ?? "silent" }),
    version: "test",
    signal: stop.signal,
  });
  return {
    writes,
    struck,
    end: async () => {
      dead ||= fault !== "lose the reply";
      stop.abort(new Error("the test is over"));
      await running.catch(() => undefined);
      await proxy.close();
    },
  };
}

export interface Lives {
  readonly first: Life;
  /** The one that lives now: the first, or after a crash the second. */
  readonly now: () => Life;
  /** Resolves when the fault has struck and whoever is to live on lives. */
  readonly reborn: Promise<void>;
}

/** A life whose write number `at` meets a fault, and after a crash a second one that meets none. */
export async function livesAt(place: Place, at: number, fault: Fault): Promise<Lives> {
  const first = await liveAt(place, at, fault);
  let life = first;
  const rebirth = async (): Promise<void> => {
    await first.struck;
    if (fault === "lose the reply") return;
    await first.end();
    life = await liveAt(place, -1, fault);
  };
  return { first, now: () => life, reborn: rebirth() };
}

/** An API server with our kinds and one place for evidence, which outlives every operator of a test file. */
export interface Stage extends Place {
  readonly api: Admin;
  readonly end: () => Promise<void>;
}

export async function stage(): Promise<Stage> {
  const server = await startApiServer();
  const api = admin(server);
  const evidence = mkdtempSync(join(tmpdir(), "oomscope-crash-"));
  await installCrds(api);
  await install(api);
  const end = async (): Promise<void> => {
    await api.close();
    await server.stop();
    rmSync(evidence, { recursive: true, force: true });
  };
  return { server, api, evidence, end };
}

/** What these tests read of an investigation's status. */
interface Told {
  readonly mitigations?: readonly {
    readonly state: string;
    readonly intended?: string;
    readonly validated?: string;
    readonly undo?: { readonly state: string; readonly reason: string; readonly askedBy: string };
  }[];
  readonly ledger?: readonly string[];
  readonly killCount?: number;
  readonly result?: string;
  readonly preserved?: { readonly uid: string; readonly pod: string; readonly state: string };
  readonly collections?: readonly {
    readonly id: string;
    readonly purpose: string;
    readonly state: string;
    readonly attempt: number;
  }[];
  readonly validation?: {
    readonly started: string;
    readonly until: string;
    readonly checks: readonly { readonly name: string; readonly result: string }[];
  };
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
}

export const told = (investigation: Item | undefined): Told => investigation?.["status"] ?? {};
