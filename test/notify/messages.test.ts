/** Which states of an investigation call for a message, and what does it say? */
import { describe, expect, test } from "vitest";
import type { MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import { messagesOf } from "../../src/notify/messages.ts";
import { ACTING, condition, DIAGNOSED, FINDING, investigation, MITIGATED, OPENED, PROPOSED, record } from "./told.ts";

const ids = (status?: MemoryInvestigationStatus): string[] => messagesOf(investigation(status)).map(({ id }) => id);
const last = (status: MemoryInvestigationStatus) => messagesOf(investigation(status)).at(-1);

describe("a state calls for", () => {
  const opened = "Opened";
  const diagnosed = `Diagnosed:${FINDING.id}`;
  const inconclusive: MemoryInvestigationStatus = {
    ...OPENED,
    finding: { ...FINDING, verdict: "Inconclusive" },
    result: "Inconclusive",
    conditions: [condition("Diagnosed", 5), condition("Succeeded", 5)],
  };
  const failed = condition("Succeeded", 7, "The node is gone");
  const states: readonly (readonly [what: string, status: MemoryInvestigationStatus | undefined, ids: string[]])[] = [
    ["nothing, before the operator has taken it up", undefined, []],
    ["nothing, while it waits for a policy", { conditions: [condition("Succeeded", 1)] }, []],
    ["one message when it has begun", OPENED, [opened]],
    ["one more with a diagnosis", DIAGNOSED, [opened, diagnosed]],
    [
      "one for a proposal, and none for the end that only waits",
      PROPOSED,
      [opened, diagnosed, `Proposed:Rollback:${FINDING.id}`],
    ],
    ["nothing new while it is done", ACTING, [opened, diagnosed]],
    [
      "one for the deed and one for the end",
      MITIGATED,
      [opened, diagnosed, `Done:Rollback:${FINDING.id}`, `Mitigated:${FINDING.id}`],
    ],
    ["one, not two, where nothing was found", inconclusive, [opened, `Inconclusive:${FINDING.id}`]],
    ["one for a failure", { ...OPENED, result: "Failed", conditions: [failed] }, [opened, "Failed:none"]],
    [
      "one for a recommendation without an action",
      { ...PROPOSED, mitigations: [] },
      [opened, diagnosed, `Recommended:${FINDING.id}`],
    ],
    [
      "one for a deed that somebody took back",
      { ...DIAGNOSED, mitigations: [record({ state: "Reverted" })] },
      [opened, diagnosed, `Reverted:Rollback:${FINDING.id}`],
    ],
    [
      "nothing for what a guard refused",
      { ...DIAGNOSED, mitigations: [record({ state: "Refused" })] },
      [opened, diagnosed],
    ],
  ];
  test.each(states)("%s", (_, status, expected) => {
    expect(ids(status)).toEqual(expected);
  });
});

describe("a message says", () => {
  test("which workload, what it is and how sure, and what to type", () => {
    expect(last(DIAGNOSED)).toEqual({
      id: `Diagnosed:${FINDING.id}`,
      kind: "Diagnosed",
      since: "2026-11-29T10:05:00Z",
      severity: "info",
      title: "Deployment media/thumbnail-svc has a diagnosis: AnonHeapLeak, 93 % sure",
      text: FINDING.summary,
      command: "oomscope show thumbs-1 -n media",
      verdict: "AnonHeapLeak",
      confidencePercent: 93,
      about: {
        namespace: "media",
        name: "thumbs-1",
        uid: "uid-thumbs-1",
        kind: "Deployment",
        workload: "thumbnail-svc",
      },
    });
  });

  test("with a proposal, the command that approves just this one", () => {
    expect(last(PROPOSED)).toMatchObject({
      severity: "warning",
      title: "Deployment media/thumbnail-svc Rollback waits for approval",
      text: `Roll back to revision 3. ${FINDING.summary}`,
      command: "oomscope approve thumbs-1 Rollback --finding 3f9c0a1b2c4d -n media",
    });
  });

  test("with a failure, why", () => {
    const failed: MemoryInvestigationStatus = {
      ...OPENED,
      result: "Failed",
      conditions: [condition("Succeeded", 7, "The node is gone")],
    };
    expect(last(failed)).toMatchObject({ kind: "Failed", severity: "warning", text: "The node is gone" });
  });

  test("at most 1,500 characters", () => {
    const long: MemoryInvestigationStatus = { ...DIAGNOSED, finding: { ...FINDING, summary: "x".repeat(1024) } };
    const both = { ...long, mitigations: [record({ message: "y".repeat(1024) })] };
    expect(last(both)?.text).toHaveLength(1500);
  });
});

test("one more finding, and what follows from it, are news; what was known is not", () => {
  const next = { ...FINDING, id: "aaaaaaaaaaaa" };
  const again = { ...PROPOSED, finding: next, mitigations: [record({ finding: next.id })] };
  expect(ids(again).filter((id) => !ids(PROPOSED).includes(id))).toEqual([
    "Diagnosed:aaaaaaaaaaaa",
    "Proposed:Rollback:aaaaaaaaaaaa",
  ]);
});
