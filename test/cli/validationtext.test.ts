/** What people read of a validation. */
import { expect, test } from "vitest";
import type { Validation } from "../../src/api/validation.ts";
import { storyText } from "../../src/cli/storytext.ts";
import { investigationOf } from "./investigation.ts";

const VALIDATION: Validation = {
  action: "Rollback",
  started: "2026-11-29T02:03:15Z",
  until: "2026-11-29T03:03:15Z",
  checks: [
    {
      name: "Kills",
      result: "Pass",
      required: true,
      before: 3,
      after: 0,
      unit: "kills",
      detail: "No new pod was killed",
    },
    {
      name: "MemoryGrowth",
      result: "Unknown",
      required: true,
      after: 12,
      unit: "bytes per second",
      detail:
        "anon + swap of thumbnail stands still, but how much was asked of the program is not known both before and after",
    },
  ],
};

test("each check with its numbers, and what was seen", () => {
  const base = investigationOf();
  const text = storyText({ ...base, status: { ...base.status, validation: VALIDATION } }, 72, new Date(0));
  expect(text.slice(text.indexOf("Validation"), text.indexOf("What to do next"))).toMatchInlineSnapshot(`
    "Validation of Rollback, watched until 2026-11-29T03:03:15Z
      check         result   before  after  unit
      Kills         Pass          3      0  kills
      MemoryGrowth  Unknown       ?     12  bytes per second
      Kills: No new pod was killed
      MemoryGrowth: anon + swap of thumbnail stands still, but how much was
        asked of the program is not known both before and after

    "
  `);
});
