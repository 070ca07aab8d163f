/** The scenario: a Deployment is rolled out anew, its pods are killed for their memory, and the operator keeps one, collects, diagnoses, and rolls back, until everything it took is put back. */
import { oomKill } from "./actors/node.ts";
import { isReady, type Item, matches } from "./actors/hands.ts";
import { COLLECTORS, MEDIA, OPERATOR, type World } from "./world.ts";

/** Pods of each workload. */
export const REPLICAS = 3;

function template(name: string, version: number): object {
  const resources = { limits: { memory: "64Mi" }, requests: { memory: "64Mi" } };
  const containers = [{ name: "app", image: `${name}:${version}`, resources }];
  return { metadata: { labels: { app: name } }, spec: { containers } };
}

export interface Scenario {
  /** Workloads that leak, each in its second version. */
  readonly workloads: readonly string[];
  readonly policy: {
    readonly mode: string;
    readonly preserve: { readonly minAvailable: number; readonly [field: string]: unknown };
    readonly [field: string]: unknown;
  };
}

/** One workload, and a policy that keeps a pod and rolls back by itself. */
export const ONE_LEAK: Scenario = {
  workloads: ["thumbs"],
  policy: {
    mode: "Enforce",
    preserve: { strategy: "Isolate", minAvailable: 1, ttl: "5m" },
    collect: { interval: "10s", duration: "1m" },
    validate: { window: "90s" },
    mitigate: [
      { action: "Rollback", approval: "Automatic", when: { verdicts: ["AnonHeapLeak"], onsetAfterRollout: true } },
    ],
  },
};

/** Two workloads under one policy that allows one mitigation a day. */
export const TWO_LEAKS: Scenario = {
  workloads: ["icons", "thumbs"],
  policy: { ...ONE_LEAK.policy, budget: { maxActive: 2, maxMitigationsPerDay: 1 } },
};

/** When the operator starts, in virtual milliseconds: the first version has served for an hour by then. */
export const BEGIN_MS = 3_600_000;

/** Everything until the operator starts. */
async function prepare(world: World, { workloads, policy }: Scenario): Promise<void> {
  const admin = world.hands("admin");
  for (const name of [OPERATOR, COLLECTORS, MEDIA]) admin.create("namespaces", { metadata: { name } });
  for (const name of ["n1", "n2"]) {
    const node = admin.create("nodes", { metadata: { name } });
    admin.status("nodes", node, { conditions: [{ type: "Ready", status: "True" }] });
  }
  admin.create("memorypolicies", { metadata: { name: "act", namespace: MEDIA }, spec: policy });
  for (const name of workloads) {
    const labels = { app: name };
    admin.create("services", {
      metadata: { name, namespace: MEDIA },
      spec: { selector: labels, ports: [{ port: 80 }] },
    });
    admin.create("deployments", {
      metadata: { name, namespace: MEDIA },
      spec: { replicas: REPLICAS, selector: { matchLabels: labels }, template: template(name, 1) },
    });
  }
  await world.run(BEGIN_MS - 120_000 - world.scheduler.nowMs);
  for (const deployment of admin.list("deployments"))
    admin.patch("deployments", deployment, { spec: { template: template(deployment.metadata.name, 2) } });
  await world.run(120_000);
}

/** The operator starts, and in each workload two containers are killed, one after the other. */
async function strike(world: World, { workloads }: Scenario): Promise<void> {
  world.start();
  world.storm();
  await world.run(10_000);
  for (const name of workloads) {
    const [first, , third] = pods(world).filter((pod) => matches(pod, { app: name }));
    if (first === undefined || third === undefined) throw new Error(`${name} has not rolled out`);
    const hands = world.hands("kernel");
    oomKill(hands, first);
    world.scheduler.after(4_000, () => {
      const live = pods(world).find(({ metadata }) => metadata.uid === third.metadata.uid);
      if (live !== undefined && live.metadata.deletionTimestamp === undefined) oomKill(hands, live);
    });
  }
}

function pods(world: World): Item[] {
  return world.hands("nobody").list("pods", MEDIA);
}

export interface Told {
  readonly result?: string;
  readonly killCount?: number;
  readonly ledger?: readonly string[];
  readonly preserved?: {
    readonly pod: string;
    readonly uid: string;
    readonly how: string;
    readonly why: string;
    readonly state: string;
    readonly originalLabels?: Readonly<Record<string, string>>;
  };
  readonly collections?: readonly { readonly id: string; readonly state: string; readonly attempt: number }[];
  readonly mitigations?: readonly {
    readonly action: string;
    readonly state: string;
    readonly reason: string;
    readonly target?: { readonly uid: string };
    readonly before?: { readonly templateHash: string };
  }[];
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
}

function investigations(world: World): (Item & { readonly status?: Told })[] {
  return world.hands("nobody").list("memoryinvestigations");
}

/** Nothing is to come any more: all investigations have ended, their pods are put back, and the workload is whole. */
function isOver(world: World, { workloads }: Scenario): boolean {
  const all = investigations(world);
  // One that somebody has made of their own is no member.
  const members = pods(world).filter(({ metadata }) => metadata.ownerReferences !== undefined);
  return (
    // One that a person has deleted is over as well.
    world.opened >= workloads.length &&
    all.every(
      ({ status }) => status?.result !== undefined && ["Released", "Lost"].includes(status.preserved?.state ?? "Lost"),
    ) &&
    members.length === REPLICAS * workloads.length &&
    members.every(isReady)
  );
}

/** How long faults may strike, and how long an incident may take after that, in virtual milliseconds. */
const STORM_MS = 15 * 60_000;
const PATIENCE_MS = 40 * 60_000;
const QUIET_MS = 11 * 60_000;

export interface Outcome {
  readonly world: World;
  readonly scenario: Scenario;
  /** It came to its end in time. */
  readonly ended: boolean;
  /** Revision at the start of the operator, when all was over, and after the quiet time that followed. */
  readonly began: number;
  readonly over: number;
  readonly quiet: number;
}

/** The whole scenario, and then a quiet time, and a restart with another one. */
export async function incident(world: World, scenario: Scenario = ONE_LEAK): Promise<Outcome> {
  await prepare(world, scenario);
  const began = world.server.storage.revision;
  await strike(world, scenario);
  await world.run(STORM_MS, () => isOver(world, scenario));
  // The last writes of an incident come after its last word.
  await world.run(30_000);
  world.stormy = false;
  const ended = (await world.run(PATIENCE_MS, () => isOver(world, scenario))) && !world.exhausted;
  // What was still on its way, a roll-out's last word or the sweep of a Job, is no new input.
  await world.run(60_000);
  const over = world.server.storage.revision;
  await world.run(QUIET_MS);
  const quiet = world.server.storage.revision;
  world.kill();
  world.start();
  await world.run(QUIET_MS / 2);
  return { world, scenario, ended, began, over, quiet };
}
