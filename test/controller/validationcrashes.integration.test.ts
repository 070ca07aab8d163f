/**
 * The operator dies at every write of a validation, or loses the reply: the window stays as it began, no Job is made twice under one name, a kill of a new
 * pod is counted once and fails it, the workload is left alone, and nothing that could not be measured is called a help.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { collectionName } from "../../src/api/identity.ts";
import { systemClock } from "../../src/seams.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { type Admin, investigations, type Item, jobDeleter, podStatus } from "./cluster.ts";
import { type Fault, livesAt, stage, told, until } from "./life.ts";
import { rolledBack } from "./rolledout.ts";

let server: ApiServer;
let api: Admin;
let evidence: string;
let end: (() => Promise<void>) | undefined;

beforeAll(async () => {
  ({ server, api, evidence, end } = await stage());
});
afterAll(() => end?.());

const FAULTS = ["crash before", "crash after", "lose the reply"] as const;
/** Long enough for two attempts to measure, when somebody deletes their Jobs. */
const WINDOW_S = 3;
let scenario = 0;

interface Story {
  /** Does what the world does, again and again. */
  readonly step: (namespace: string, investigation: Item | undefined) => Promise<void>;
  readonly check: (namespace: string, uid: string, ended: Item | undefined) => void;
}

/** From a roll-back that was seen complete to the end. Returns the first life's writes. */
async function play(window: string, at: number, fault: Fault, { step, check }: Story): Promise<readonly string[]> {
  const namespace = `validation-${scenario++}`;
  const uid = await rolledBack(api, namespace, window);
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
    // Made, rolled out, rolled back before all this: a validation changes nothing.
    expect((deployment.metadata as Item["metadata"] & { readonly generation: number }).generation).toBe(3);
    return first.writes;
  } finally {
    await now().end();
    await api.must("DELETE", `/apis/oomscope.dev/v1alpha1/namespaces/${namespace}/memoryinvestigations`);
    await api.must("DELETE", `/api/v1/namespaces/${namespace}/pods?gracePeriodSeconds=0`);
  }
}

async function atEveryWrite(window: string, least: number, make: () => Story): Promise<void> {
  const writes = await play(window, -1, "lose the reply", make());
  console.log(writes.map((write, index) => `${index} ${write}`).join("\n"));
  expect(writes.length).toBeGreaterThanOrEqual(least);
  for (const fault of FAULTS) {
    for (let at = 0; at < writes.length; at++) {
      await play(window, at, fault, make()).catch((error: unknown) => {
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
  await atEveryWrite(`${WINDOW_S}s`, 4, () => {
    let deleter: ReturnType<typeof jobDeleter> | undefined;
    return {
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
  await atEveryWrite("1h", 2, () => {
    let killed = false;
    return {
      step: async (namespace, investigation) => {
        if (told(investigation).validation !== undefined && !killed) {
          killed = true;
          await podStatus(api, namespace, "new-1", true);
        }
        await systemClock.sleep(25);
      },
      check: (_namespace, _uid, ended) => {
        expect(told(ended)).toMatchObject({
          result: "Failed",
          killCount: 2,
          validation: { checks: [{ name: "Kills", result: "Fail" }] },
          mitigations: [{ state: "Done" }],
        });
        expect(validated(ended)).toBe("False ValidationFailed");
      },
    };
  });
});
