/**
 * The operator dies at every write of a roll-back, or loses the reply: the template changes once, after the intent was written, and is called done when it was.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ApiServer } from "../support/apiserver.ts";
import { type Admin, investigations, type Item } from "./cluster.ts";
import { type Fault, livesAt, stage, told, until } from "./life.ts";
import { deploymentController, foundLeaky, generousCluster } from "./rolledout.ts";

let server: ApiServer;
let api: Admin;
let evidence: string;
let end: (() => Promise<void>) | undefined;

beforeAll(async () => {
  ({ server, api, evidence, end } = await stage());
});
afterAll(() => end?.());

let scenario = 0;

const isStatus = (write: string): boolean => write.includes("/memoryinvestigations/") && write.endsWith("/status");
const isDeployment = (write: string): boolean => write.endsWith("/deployments/thumbs");

/** From a finding to the end of its roll-back. Returns the first life's writes. */
async function rollBackStory(at: number, fault: Fault): Promise<readonly string[]> {
  const namespace = `rollback-${scenario++}`;
  const uid = await foundLeaky(api, namespace);
  const world = deploymentController(api, namespace);
  const { first, now, reborn } = await livesAt({ server, evidence }, at, fault);
  try {
    const only = async (): Promise<Item | undefined> => (await investigations(api, namespace))[0];
    await until("the roll-back has ended", async () => told(await only()).result !== undefined);
    if (at >= 0 && at < first.writes.length) await reborn;
    expect(told(await only())).toMatchObject({ result: "Mitigated", mitigations: [{ state: "Done" }] });
    const deployment = await api.must("GET", `/apis/apps/v1/namespaces/${namespace}/deployments/thumbs`);
    const { generation, annotations } = deployment.metadata as Item["metadata"] & { readonly generation: number };
    // Made, rolled out, rolled back: whatever was tried, the spec changed once.
    expect(generation).toBe(3);
    expect(JSON.parse(annotations?.["oomscope.dev/mitigation"] ?? "{}")).toMatchObject({ investigation: uid });
    expect(world.doneBeforeComplete).toBe(false);
    const writes = now() === first ? first.writes : [...first.writes, ...now().writes];
    expect(writes.findIndex(isStatus)).toBeGreaterThanOrEqual(0);
    expect(writes.findIndex(isDeployment)).toBeGreaterThan(writes.findIndex(isStatus));
    return first.writes;
  } finally {
    await world.stop();
    await now().end();
    await api.must("DELETE", `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations`);
  }
}

test("at every write of a roll-back", { timeout: 600_000 }, async () => {
  await generousCluster(api);
  const writes = await rollBackStory(-1, "lose the reply");
  console.log(writes.map((write, index) => `${index} ${write}`).join("\n"));
  expect(writes.filter(isDeployment)).toHaveLength(1);
  expect(writes.length).toBeGreaterThanOrEqual(4);
  for (const fault of ["crash before", "crash after", "lose the reply"] as const) {
    for (let at = 0; at < writes.length; at++) {
      await rollBackStory(at, fault).catch((error: unknown) => {
        throw new Error(`${fault} at write ${at} (${writes[at]})`, { cause: error });
      });
    }
  }
});
