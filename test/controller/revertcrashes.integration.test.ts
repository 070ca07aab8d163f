/** The operator dies at every write, or loses the reply, while what did not help is put back, and on the way to the next action: put back as it was, once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { told } from "./life.ts";
import { atEveryWrite, killedOnce, theatre, type Theatre, validated } from "./validationlives.ts";

let lives: Theatre;
beforeAll(async () => {
  lives = await theatre();
});
afterAll(() => lives.end());

const PUT_BACK = { state: "Undone", validated: "Fail", undo: { state: "Undone", askedBy: "Validation" } } as const;

test(
  "at every write of a validation that failed, and of putting back what did not help",
  { timeout: 600_000 },
  async () => {
    await atEveryWrite(lives, 6, () => ({
      policy: { validate: { window: "1h", onFailure: "Revert" } },
      changes: 1,
      step: killedOnce(lives.api),
      check: (_namespace, _uid, ended) => {
        expect(told(ended)).toMatchObject({ result: "Failed", killCount: 2, mitigations: [PUT_BACK] });
        expect(validated(ended)).toBe("False ValidationFailed");
      },
    }));
  },
);

test("a death after every write on the way to the next action", { timeout: 600_000 }, async () => {
  await atEveryWrite(
    lives,
    6,
    () => ({
      policy: {
        validate: { window: "1h", onFailure: "Escalate" },
        next: [{ action: "Restart", approval: "Manual", when: { verdicts: ["AnonHeapLeak"] } }],
      },
      changes: 1,
      step: killedOnce(lives.api),
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
