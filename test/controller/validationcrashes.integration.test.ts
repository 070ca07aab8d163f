/**
 * The operator dies at every write of a validation, or loses the reply: the window stays as it began, no Job is made twice under one name, a kill of a new
 * pod is counted once and fails it, and nothing that could not be measured is called a help. The workload is left alone.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { collectionName } from "../../src/api/identity.ts";
import { systemClock } from "../../src/seams.ts";
import { jobDeleter } from "./cluster.ts";
import { told } from "./life.ts";
import { atEveryWrite, killedOnce, theatre, type Theatre, validated } from "./validationlives.ts";

/** Long enough for two attempts to measure, when somebody deletes their Jobs. */
const WINDOW_S = 3;

let lives: Theatre;
beforeAll(async () => {
  lives = await theatre();
});
afterAll(() => lives.end());

test("at every write of a validation whose Jobs are deleted", { timeout: 600_000 }, async () => {
  await atEveryWrite(lives, 4, () => {
    let deleter: ReturnType<typeof jobDeleter> | undefined;
    return {
      policy: { validate: { window: `${WINDOW_S}s` } },
      changes: 0,
      step: async (namespace) => {
        deleter ??= jobDeleter(lives.api, namespace);
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
  await atEveryWrite(lives, 2, () => ({
    policy: { validate: { window: "1h" } },
    changes: 0,
    step: killedOnce(lives.api),
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
