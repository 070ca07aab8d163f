/**
 * The operator dies at every write of a validation, or loses the reply: the window stays as it began, no Job is made twice under one name, a kill of a new
 * pod is counted once and fails it, and nothing that could not be measured is called a help. The workload is left alone, or where the policy says so put
 * back as it was, once.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { collectionName } from "../../src/api/identity.ts";
import { systemClock } from "../../src/seams.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { type Admin, investigations, type Item, jobDeleter, podStatus } from "./cluster.ts";
import { type Fault, livesAt, stage, told, until } from "./life.ts";
import { deploymentController, generousCluster, type PolicyChoice, rolledBack } from "./rolledout.ts";

let server: ApiServer;
let api: Admin;
let evidence: string;
let end: (() => Promise<void>) | undefined;

beforeAll(async () => {
  ({ server, api, evidence, end } = await stage());
  await generousCluster(api);
});
afterAll(() => end?.());

const FAULTS = ["crash before", "crash after", "lose the reply"] as const;
/** Long enough for two attempts to measure, when somebody deletes their Jobs. */
const WINDOW_S = 3;
let scenario = 0;

interface Story {
  readonly policy: Pick<PolicyChoice, "validate" | "next">;
  /** How often the workload's spec is changed after its roll-back was seen complete. */
  readonly changes: number;
  /** Does what the world does, again and again. */
  readonly step: (namespace: string, investigation: Item | undefined) => Promise<void>;
  readonly check: (namespace: string, uid: string, ended: Item | undefined) => void;
}

/** From a roll-back that was seen complete to the end. Returns the first life's writes. */
async function play(at: number, fault: Fault, { policy, changes, step, check }: Story): Promise<readonly string[]> {
  const namespace = `validation-${scenario++}`;
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

async function atEveryWrite(least: number, make: () => Story, faults: readonly Fault[] = FAULTS): Promise<void> {
  const writes = await play(-1, "lose the reply", make());
  console.log(writes.map((write, index) => `${index} ${write}`).join("\n"));
  expect(writes.length).toBeGreaterThanOrEqual(least);
  for (const fault of faults) {
    for (let at = 0; at < writes.length; at++) {
      await play(at, fault, make()).catch((error: unknown) => {
        throw new Error(`${fault} at write ${at} (${writes[at]})`, { cause: error });
      });
    }
  }
}

const validated = (it: Item | undefined): string | undefined => {
  const condition = told(it).conditions?.find(({ type }) => type === "Validated");
  return `${condition?.status} ${condition?.reason}`;
};

test("at every write of a validation whose Jobs are deleted", { timeout: 600_000 }, async () => {
  await atEveryWrite(4, () => {
    let deleter: ReturnType<typeof jobDeleter> | undefined;
    return {
      policy: { validate: { window: `${WINDOW_S}s` } },
      changes: 0,
      step: async (namespace) => {
        deleter ??= jobDeleter(api, namespace);
        await deleter.step();
        await systemClock.sleep(25);
      },
      check: (_namespace, uid, ended) => {
        const { result, validation, collections = [] } = told(ended);
        expect([result, validated(ended)]).toEqual(["Mitigated", "Unknown ValidationInconclusive"]);
        expect(validation?.checks).toMatchObject([{ name: "Kills", result: "Pass" }]);
        expect(Date.parse(validation?.until ?? "") - Date.parse(validation?.started ?? "")).toBe(WINDOW_S * 1000);
        const names = [1, 2].map((attempt) => collectionName(uid, "Validate Rollback", attempt));
        expect(names.slice(0, collections.length)).toEqual(collections.map(({ id }) => id));
        for (const { state } of collections) expect(["Lost", "Failed"]).toContain(state);
        for (const [name, uids] of deleter?.jobs ?? []) if (names.includes(name)) expect(uids.size).toBe(1);
      },
    };
  });
});

test("at every write of a validation in which a new pod is killed", { timeout: 600_000 }, async () => {
  await atEveryWrite(2, () => ({
    policy: { validate: { window: "1h" } },
    changes: 0,
    step: killedOnce(),
    check: (_namespace, _uid, ended) => {
      expect(told(ended)).toMatchObject({
        result: "Failed",
        killCount: 2,
        validation: { checks: [{ name: "Kills", result: "Fail" }] },
        mitigations: [{ state: "Done", validated: "Fail" }],
      });
      expect(validated(ended)).toBe("False ValidationFailed");
    },
  }));
});

/** A new pod is killed as soon as it is watched. */
function killedOnce(): Story["step"] {
  let killed = false;
  return async (namespace, investigation) => {
    if (told(investigation).validation !== undefined && !killed) {
      killed = true;
      await podStatus(api, namespace, "new-1", true);
    }
    await systemClock.sleep(25);
  };
}

const PUT_BACK = { state: "Undone", validated: "Fail", undo: { state: "Undone", askedBy: "Validation" } } as const;

test(
  "at every write of a validation that failed, and of putting back what did not help",
  { timeout: 600_000 },
  async () => {
    await atEveryWrite(6, () => ({
      policy: { validate: { window: "1h", onFailure: "Revert" } },
      changes: 1,
      step: killedOnce(),
      check: (_namespace, _uid, ended) => {
        expect(told(ended)).toMatchObject({ result: "Failed", killCount: 2, mitigations: [PUT_BACK] });
        expect(validated(ended)).toBe("False ValidationFailed");
      },
    }));
  },
);

test("a death after every write on the way to the next action", { timeout: 600_000 }, async () => {
  await atEveryWrite(
    6,
    () => ({
      policy: {
        validate: { window: "1h", onFailure: "Escalate" },
        next: [{ action: "Restart", approval: "Manual", when: { verdicts: ["AnonHeapLeak"] } }],
      },
      changes: 1,
      step: killedOnce(),
      check: (_namespace, _uid, ended) => {
        expect(told(ended)).toMatchObject({
          result: "Recommended",
          killCount: 2,
          mitigations: [PUT_BACK, { action: "Restart", state: "Proposed" }],
        });
        expect(validated(ended)).toBe("False ValidationFailed");
      },
    }),
    ["crash after"],
  );
});
