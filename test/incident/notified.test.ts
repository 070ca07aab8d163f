/** Does status say what people were told, and stay as it is when there is nothing new? */
import { expect, test } from "vitest";
import { MAX_NOTIFIED, MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import { withNotified } from "../../src/incident/notified.ts";
import { plan } from "../../src/incident/plan.ts";
import { anInvestigation, anObservation, NOW } from "./builders.ts";

test("what was delivered is added, in order and once", () => {
  const status = { notified: ["slack/Opened"] };
  const seen = { notified: { u: ["slack/Opened", "slack/Failed:none"], other: ["slack/x"] } };
  expect(withNotified(status, "u", seen).notified).toEqual(["slack/Opened", "slack/Failed:none"]);
});

test.each([
  ["nobody is told", {}],
  ["nothing was delivered", { notified: { u: [] } }],
  ["status says it already", { notified: { u: ["slack/Opened"] } }],
])("the status stays the very same where %s", (_, seen) => {
  const status = { notified: ["slack/Opened"] };
  expect(withNotified(status, "u", seen)).toBe(status);
});

test("the oldest leaves first, so that the API server takes it", () => {
  const many = Array.from({ length: MAX_NOTIFIED + 5 }, (_, n) => `slack/${n}`);
  const { notified = [] } = withNotified({}, "u", { notified: { u: many } });
  expect(notified.at(-1)).toBe(`slack/${MAX_NOTIFIED + 4}`);
  expect(MemoryInvestigationStatus.parse({ notified })).toEqual({ notified });
});

test("also of an investigation that has ended, without another change of its status", () => {
  const ended = anInvestigation("thumbs-1", { status: plainStatus() });
  const told = {
    ...anObservation(),
    investigations: [ended],
    notified: { [ended.metadata.uid]: ["slack/Failed:none"] },
  };
  const [before] = plan({ ...told, notified: {} }, NOW).investigations;
  const [after] = plan(told, NOW).investigations;
  expect(after?.status).toEqual({ ...before?.status, notified: ["slack/Failed:none"] });
});

function plainStatus(): MemoryInvestigationStatus {
  const lastTransitionTime = "2026-11-23T11:59:30Z";
  return {
    result: "Failed",
    conditions: [{ type: "Succeeded", status: "False", reason: "CollectorFailed", message: "no", lastTransitionTime }],
  };
}
