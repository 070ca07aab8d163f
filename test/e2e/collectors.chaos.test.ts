/** A collector that hangs, and a node that goes while it is measured: minutes, because the operator is patient. Run by `make test-chaos`. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import {
  apply,
  deployEater,
  freshNamespace,
  kubectl,
  policy,
  ready,
  STATE,
  until,
  witness,
  type Witness,
} from "./lab.ts";

const NAMESPACE = "e2e-collectors";

let seen: Witness | undefined;
const stopped: number[] = [];

beforeAll(async () => {
  await freshNamespace(NAMESPACE);
  await apply(policy(NAMESPACE, { preserve: { strategy: "None" }, collect: { interval: "5s", duration: "60s" } }));
  for (const name of ["hangs", "leaves"]) await deployEater(NAMESPACE, name, 1);
  await ready(NAMESPACE, ["hangs", "leaves"]);
  seen = await witness(NAMESPACE);
});
afterAll(async () => {
  for (const pid of stopped) resume(pid);
  await seen?.stop();
  await kubectl("-n", NAMESPACE, "delete", "memoryinvestigations", "--all", "--wait=false");
  await kubectl("delete", "namespace", NAMESPACE, "--wait=false");
});

function resume(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch {
    // It has ended meanwhile.
  }
}

function stop(pid: number): void {
  process.kill(pid, "SIGSTOP");
  stopped.push(pid);
}

/** Pids of this machine's collectors; only the test cluster has any. */
function collectors(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, "utf8").includes("/opt/oomscope/dist/collector/main.js");
      } catch {
        return false;
      }
    })
    .map(Number);
}

const status = (name: string): NonNullable<MemoryInvestigation["status"]> =>
  seen?.investigations.get(name)?.latest.status ?? {};

/** Starts an investigation and returns when its collector has sent something. */
async function collecting(name: string): Promise<void> {
  await apply({
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name, namespace: NAMESPACE },
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name } },
  });
  await until("samples have arrived", 120, () => (status(name).collections?.at(-1)?.samples ?? 0) > 0);
}

test("a collector that hangs is ended by the Job's deadline, and what it sent is used", async () => {
  await collecting("hangs");
  for (const pid of collectors()) stop(pid);
  await until("the investigation has ended", 480, () => status("hangs").result !== undefined);
  const [collection] = status("hangs").collections ?? [];
  expect(collection).toMatchObject({ state: "Partial", reason: "CollectorTimedOut" });
  expect(collection?.message).toContain("its Job ran past its deadline");
  expect(status("hangs").finding?.verdict).toBe("Inconclusive");
});

test("a node that goes while it is measured is named, and what arrived is used", async () => {
  await collecting("leaves");
  for (const pid of collectors()) stop(pid);
  stop(Number(readFileSync(join(STATE, "run/kubelet.pid"), "utf8")));
  await until("the investigation has ended", 300, () => status("leaves").result !== undefined);
  const [collection] = status("leaves").collections ?? [];
  expect(collection).toMatchObject({ state: "Partial", reason: "NodeGone" });
  expect(collection?.message).toContain("is not ready and the collector is silent");
  for (const pid of stopped) resume(pid);
  await until(
    "the node is back",
    120,
    async () =>
      (await kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].status}")) ===
      "True",
  );
});
