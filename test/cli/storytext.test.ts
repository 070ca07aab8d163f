/** What people read of a cluster's investigations: the story, the list, ages, approvals, and the sentences for what went wrong. */
import { describe, expect, test } from "vitest";
import { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import { approval } from "../../src/cli/approvecommand.ts";
import { denial } from "../../src/cli/denycommand.ts";
import { clusterProblem, notFound } from "../../src/cli/clustercommand.ts";
import { ageText, listText, valueAt } from "../../src/cli/listtext.ts";
import { nextSteps, storyText } from "../../src/cli/storytext.ts";
import type { ApiObject } from "../../src/cluster/api.ts";
import { investigationOf } from "./investigation.ts";

const now = new Date("2026-11-29T02:03:15Z");
const base = investigationOf();

test("the story of a proposal", () => {
  expect(MemoryInvestigation.safeParse(base).success).toBe(true);
  expect(storyText(base, 100, now)).toMatchSnapshot();
});

test("the story of one that the operator has not seen yet", () => {
  const { status: _, ...young } = base;
  const text = storyText(young, 100, now);
  expect(text).toContain("stage     not seen by the operator yet");
  expect(text).toContain("kubectl wait --for=condition=Succeeded memi/thumbs-1 -n media");
});

test("nothing that was written into it can control the terminal", () => {
  const hostile = JSON.parse(
    JSON.stringify(base).replaceAll("thumbnail-svc", "\\u001b[31mx\\u202e").replaceAll("Waits", "\\u009b2J"),
  ) as MemoryInvestigation;
  const text = storyText(hostile, 100, now);
  expect(text).toContain("\\u{1b}[31mx\\u{202e}");
  expect(text.replaceAll("\n", "")).not.toMatch(/\p{C}/u);
});

describe("what to do next", () => {
  const withStatus = (status: Partial<NonNullable<MemoryInvestigation["status"]>>): string =>
    nextSteps({ ...base, status: { ...base.status, ...status } }).join("\n");
  const stalled = {
    type: "Stalled",
    status: "True" as const,
    reason: "NoPolicy",
    message: "No policy.",
    lastTransitionTime: "2026-11-29T02:02:00Z",
  };
  test("the advice of what holds it up comes first", () => {
    expect(withStatus({ conditions: [stalled] })).toMatch(/^Make a MemoryPolicy that selects the workload/);
  });
  test("a reason of a newer version is passed over", () => {
    expect(withStatus({ conditions: [{ ...stalled, reason: "toString" }], mitigations: [] })).toMatch(
      /^Pod thumbs-7d9f/,
    );
  });
  test("nothing is left when all is done", () => {
    const { preserved: _, mitigations: __, conditions: ___, ...rest } = base.status ?? {};
    expect(nextSteps({ ...base, status: rest })).toEqual(["Nothing more; what the finding says is above."]);
  });
});

test("the list, as kubectl prints it", () => {
  expect(listText([base as unknown as ApiObject], { namespaces: true, wide: false, now })).toMatchInlineSnapshot(`
    "NAMESPACE  NAME      KIND        TARGET  STAGE  RESULT       VERDICT       CONFIDENCE  KILLS  PRESERVED  MITIGATED         AGE
    media      thumbs-1  Deployment  thumbs  Done   Recommended  AnonHeapLeak  75          2      Preserved  AwaitingApproval  13m
    "
  `);
});

test("paths of printer columns, and what is not there", () => {
  expect(valueAt(base, '.status.conditions[?(@.type=="Mitigated")].reason')).toBe("AwaitingApproval");
  expect(valueAt(base, '.status.conditions[?(@.type=="Never")].reason')).toBeUndefined();
  expect(valueAt(base, ".status.nothing.there")).toBeUndefined();
});

test.each([
  [0, "0s"],
  [119, "119s"],
  [125, "2m5s"],
  [660, "11m"],
  [10_800, "3h"],
  [11_100, "3h5m"],
  [86_400, "24h"],
  [187_200, "2d4h"],
  [30 * 86_400, "30d"],
  [740 * 86_400, "2y10d"],
])("an age of %d s is %s", (seconds, text) => expect(ageText(seconds * 1000)).toBe(text));

describe("approval", () => {
  const record = base.status?.mitigations?.[0];
  if (record === undefined) throw new Error("the fixture proposes nothing");
  const having = (...mitigations: (typeof record)[]): MemoryInvestigation => ({
    ...base,
    status: { ...base.status, mitigations },
  });
  test("replaces the one for an earlier finding", () => {
    const approvedActions = [{ action: "Rollback" as const, finding: "000000000000" }];
    expect(approval({ ...base, spec: { ...base.spec, approvedActions } }).spec).toEqual({
      approvedActions: [{ action: "Rollback", finding: "3f9c00112233" }],
    });
  });
  test.each([
    ["no action", having(), undefined, "proposes no action"],
    ["a refusal", having({ ...record, state: "Refused" }), undefined, "does not wait for approval, it is Refused"],
    ["an earlier finding", having({ ...record, finding: "000000000000" }), undefined, "for an earlier finding"],
    ["two", having(record, { ...record, action: "Restart" }), undefined, "More than one action is proposed"],
    ["another action", having(record), "Drain", "It has no action Drain; it has Rollback"],
  ])("of %s is refused with a reason", (_name, investigation, action, sentence) => {
    expect(() => approval(investigation, action)).toThrow(sentence);
  });
});

describe("denial", () => {
  const record = base.status?.mitigations?.[0];
  if (record === undefined) throw new Error("the fixture proposes nothing");
  const having = (state: typeof record.state, undoCommand = "kubectl rollout undo"): MemoryInvestigation => ({
    ...base,
    status: { ...base.status, mitigations: [{ ...record, state, undoCommand }] },
  });
  test("is for what is proposed or waits", () => {
    const deniedActions = [{ action: "Rollback", finding: "3f9c00112233" }];
    expect(denial(having("Proposed")).spec).toEqual({ deniedActions });
    expect(denial(having("Waiting")).spec).toEqual({ deniedActions });
  });
  test.each([
    ["what is refused", "Refused", "Rollback is refused already"],
    ["what has been begun", "RollingOut", "a no comes too late. To take it back: kubectl rollout undo"],
    ["what is done", "Done", "it is Done, so a no comes too late"],
  ] as const)("of %s is refused with a reason", (_name, state, sentence) => {
    expect(() => denial(having(state))).toThrow(sentence);
  });
});

test("without any kubeconfig it says so", () => {
  const silence = { reason: "Unreachable", message: "connect ECONNREFUSED" } as const;
  expect(clusterProblem(silence, new URL("http://localhost:8080"), "x")).toMatch(/^There is no kubeconfig/);
  expect(clusterProblem(silence, new URL("https://a:1"), "x")).toContain("https://a:1 cannot be reached");
});

test("a workload's name in place of an investigation's", () => {
  const others = ["thumbs-1", "thumbs-2"].map((name) => ({ metadata: { name, namespace: "media" } }));
  expect(notFound("thumbs", "media", others)).toContain("2 names begin so (oomscope list -n media shows them)");
  expect(notFound("thumbs", "media", others.slice(1))).toContain("did you mean thumbs-2?");
  expect(notFound("zzzzzz", "media", others)).toBe(
    "There is no investigation zzzzzz in namespace media (oomscope list -n media shows them)",
  );
});
