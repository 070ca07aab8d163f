/**
 * The operator killed with SIGKILL at random moments of real incidents, and the API server stopped for 75 seconds. The operator runs as a process of
 * this machine here, so that it can be killed as often as we like; what it does to the cluster is real. Run by `make test-chaos`.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../src/seams.ts";
import {
  accounts,
  apply,
  deployEater,
  freshNamespace,
  kill,
  KUBECONFIG,
  kubectl,
  policy,
  ready,
  STATE,
  until,
  witness,
  type Witness,
} from "./lab.ts";

const NAMESPACE = "e2e-chaos";
const DEATHS = 50;
const WORKLOADS = Array.from({ length: 10 }, (_, i) => `eater-${i}`);
const LATE = ["late-0", "late-1", "late-2"];
const STOPPED_MS = 75_000;

let seen: Witness;
let evidence: string;
let operator: ChildProcess | undefined;
let ending = false;

/** As the kubelet does: a process that ends by itself, for it lost its lease, is started again. */
function supervise(child: ChildProcess): void {
  child.once("exit", () => {
    if (!ending && operator === child) systemClock.after(1000, start);
  });
}

function start(): void {
  operator = spawn(process.execPath, [join(import.meta.dirname, "../../src/main.ts")], {
    stdio: ["ignore", process.env["OOMSCOPE_LOG_LEVEL"] === undefined ? "ignore" : "inherit", "inherit"],
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      KUBECONFIG,
      OOMSCOPE_NAMESPACE: "oomscope-system",
      OOMSCOPE_POD_NAME: "chaos",
      OOMSCOPE_COLLECTOR_IMAGE: "localhost/oomscope/collector:dev",
      OOMSCOPE_EVIDENCE_DIRECTORY: evidence,
      OOMSCOPE_EVIDENCE_PORT: "0",
      OOMSCOPE_HEALTH_PORT: "0",
      OOMSCOPE_LOG_LEVEL: process.env["OOMSCOPE_LOG_LEVEL"] ?? "error",
    },
  });
  supervise(operator);
}

async function end(signal: NodeJS.Signals): Promise<void> {
  const dying = operator;
  operator = undefined;
  if (dying === undefined || dying.exitCode !== null || dying.signalCode !== null) return;
  await new Promise((resolve) => {
    dying.once("exit", resolve);
    dying.kill(signal);
  });
}

beforeAll(async () => {
  evidence = mkdtempSync(join(tmpdir(), "oomscope-chaos-"));
  await kubectl("-n", "oomscope-system", "scale", "deployment/oomscope-operator", "--replicas=0");
  await kubectl(
    "-n",
    "oomscope-system",
    "wait",
    "--for=delete",
    "pod",
    "-l",
    "app.kubernetes.io/component=operator",
    "--timeout=60s",
  );
  await freshNamespace(NAMESPACE);
  await apply(policy(NAMESPACE));
  for (const name of [...WORKLOADS, ...LATE]) await deployEater(NAMESPACE, name, 2);
  await ready(NAMESPACE, [...WORKLOADS, ...LATE]);
  seen = await witness(NAMESPACE);
});

afterAll(async () => {
  ending = true;
  await end("SIGTERM");
  await seen.stop();
  await kubectl("-n", NAMESPACE, "delete", "memoryinvestigations", "--all", "--wait=false");
  await kubectl("-n", "oomscope-system", "scale", "deployment/oomscope-operator", "--replicas=1");
  await kubectl("delete", "namespace", NAMESPACE, "--wait=false");
  rmSync(evidence, { recursive: true, force: true });
});

/** Waits until every kill is in a ledger; says which are not, and how their investigations stand. */
async function counted(): Promise<void> {
  try {
    await until("every kill is counted", 120, () => accounts(seen).missed.length === 0);
  } catch (error) {
    const missed = accounts(seen).missed.map((id) => ({ id, ...seen.kills.get(id) }));
    const workloads = new Set(missed.map((kill) => kill.workload));
    const stand = [...seen.investigations.values()]
      .filter(({ latest }) => workloads.has(latest.spec.targetRef.name))
      .map(({ latest: { metadata, status = {} } }) => ({
        name: metadata.name,
        stage: status.stage,
        result: status.result,
        preserved: status.preserved?.state,
        counted: status.ledger?.length,
        conditions: status.conditions?.map((c) => `${c.type}=${c.status} ${c.reason}`),
      }));
    throw new Error(JSON.stringify({ missed, stand }, undefined, 1), { cause: error });
  }
}

test(`${DEATHS} SIGKILLs at random moments: nothing missed, nothing doubled, at most one pod kept for each investigation`, async () => {
  let deaths = 0;
  start();
  for (let round = 0; deaths < DEATHS; round++) {
    const name = WORKLOADS[round % WORKLOADS.length] ?? "";
    const victim = seen.pods(name).find((pod) => pod.ready);
    if (victim !== undefined) await kill(NAMESPACE, victim.name).catch(() => undefined);
    // From right at the kill to long after it: in between lie all the writes of an incident.
    await systemClock.sleep(100 + systemRandom.next() * 2900);
    await end("SIGKILL");
    deaths += 1;
    start();
  }
  await counted();
  await until("every investigation has decided on a pod", 120, () =>
    [...seen.investigations.values()].every((i) =>
      i.latest.status?.conditions?.some((c) => c.type === "PodPreserved" && c.status !== "Unknown"),
    ),
  );
  console.log(`${deaths} deaths of the operator, ${seen.kills.size} kills, ${seen.investigations.size} investigations`);
  expect(accounts(seen)).toEqual({ missed: [], doubled: [], preservedTwice: [] });
  const targets = [...seen.investigations.values()].map((i) => i.latest.spec.targetRef.name);
  expect(new Set(targets).size).toBe(targets.length);
});

test("the API server stopped for 75 s while containers die: every kill is found afterwards", async () => {
  const apiServer = Number(readFileSync(join(STATE, "run/kube-apiserver.pid"), "utf8"));
  if (operator === undefined) start();
  const before = seen.kills.size;
  for (const name of LATE) {
    const victim = seen.pods(name)[0]?.name ?? "";
    await kubectl("-n", NAMESPACE, "exec", victim, "--", "sh", "-c", "(sleep 10; kill -USR2 1) >/dev/null 2>&1 &");
  }
  process.kill(apiServer, "SIGSTOP");
  try {
    await systemClock.sleep(STOPPED_MS);
  } finally {
    process.kill(apiServer, "SIGCONT");
  }
  const resumed = performance.now();
  await until("the kills show", 120, () => seen.kills.size >= before + LATE.length);
  await counted();
  console.log(`all counted ${Math.round((performance.now() - resumed) / 1000)} s after the API server came back`);
  expect(accounts(seen)).toEqual({ missed: [], doubled: [], preservedTwice: [] });
});
