/** What the tests of a validation under death share: one incident after another, from a roll-back that was seen complete to its end, on a real API server. */
import { expect } from "vitest";
import { systemClock } from "../../src/seams.ts";
import { type Admin, investigations, type Item, podStatus } from "./cluster.ts";
import { type Fault, livesAt, stage, told, until } from "./life.ts";
import { deploymentController, generousCluster, type PolicyChoice, rolledBack } from "./rolledout.ts";

const FAULTS = ["crash before", "crash after", "lose the reply"] as const;

export interface Theatre {
  readonly server: Awaited<ReturnType<typeof stage>>["server"];
  readonly api: Admin;
  readonly evidence: string;
  readonly end: () => Promise<void>;
  /** The number of the next scenario. */
  readonly next: () => number;
}

export async function theatre(): Promise<Theatre> {
  const { server, api, evidence, end } = await stage();
  await generousCluster(api);
  let scenario = 0;
  return { server, api, evidence, end, next: () => scenario++ };
}

export interface Story {
  readonly policy: Pick<PolicyChoice, "validate" | "next">;
  /** How often the workload's spec is changed after its roll-back was seen complete. */
  readonly changes: number;
  /** Does what the world does, again and again. */
  readonly step: (namespace: string, investigation: Item | undefined) => Promise<void>;
  readonly check: (namespace: string, uid: string, ended: Item | undefined) => void;
}

/** From a roll-back that was seen complete to the end. Returns the first life's writes. */
async function play(
  { server, api, evidence, next }: Theatre,
  at: number,
  fault: Fault,
  { policy, changes, step, check }: Story,
): Promise<readonly string[]> {
  const namespace = `validation-${next()}`;
  const uid = await rolledBack(api, namespace, policy);
  const world = deploymentController(api, namespace);
  const { first, now, reborn } = await livesAt({ server, evidence }, at, fault);
  const windows = new Set<string>();
  try {
    const only = async (): Promise<Item | undefined> => (await investigations(api, namespace))[0];
    await until("the validation has ended", async () => {
      const investigation = await only();
      const { result, validation } = told(investigation);
      if (validation !== undefined) windows.add(`${validation.started} ${validation.until}`);
      await step(namespace, investigation);
      return result !== undefined;
    });
    if (at >= 0 && at < first.writes.length) await reborn;
    const ended = await only();
    expect([...windows]).toEqual([`${told(ended).validation?.started} ${told(ended).validation?.until}`]);
    check(namespace, uid, ended);
    const deployment = await api.must("GET", `/apis/apps/v1/namespaces/${namespace}/deployments/thumbs`);
    // Made, rolled out, rolled back before all this.
    const { generation } = deployment.metadata as Item["metadata"] & { readonly generation: number };
    expect(generation).toBe(3 + changes);
    const { template } = deployment["spec"] as { template: { spec: { containers: { image: string }[] } } };
    expect(template.spec.containers[0]?.image).toBe(changes === 0 ? "thumbs:1" : "thumbs:2");
    expect(world.doneBeforeComplete).toBe(false);
    return first.writes;
  } finally {
    await world.stop();
    await now().end();
    await api.must("DELETE", `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations`);
    await api.must("DELETE", `/api/v1/namespaces/${namespace}/pods?gracePeriodSeconds=0`);
  }
}

/** Every fault at every write. @param least so many writes there are */
export async function atEveryWrite(
  theatre: Theatre,
  least: number,
  make: () => Story,
  faults: readonly Fault[] = FAULTS,
): Promise<void> {
  const writes = await play(theatre, -1, "lose the reply", make());
  console.log(writes.map((write, index) => `${index} ${write}`).join("\n"));
  expect(writes.length).toBeGreaterThanOrEqual(least);
  for (const fault of faults) {
    for (let at = 0; at < writes.length; at++) {
      await play(theatre, at, fault, make()).catch((error: unknown) => {
        throw new Error(`${fault} at write ${at} (${writes[at]})`, { cause: error });
      });
    }
  }
}

/** Status and reason of the condition. */
export const validated = (it: Item | undefined): string | undefined => {
  const condition = told(it).conditions?.find(({ type }) => type === "Validated");
  return `${condition?.status} ${condition?.reason}`;
};

/** A new pod is killed as soon as it is watched. */
export function killedOnce(api: Admin): Story["step"] {
  let killed = false;
  return async (namespace, investigation) => {
    if (told(investigation).validation !== undefined && !killed) {
      killed = true;
      await podStatus(api, namespace, "new-1", true);
    }
    await systemClock.sleep(25);
  };
}
