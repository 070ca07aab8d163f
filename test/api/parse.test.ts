/** Does the door let in what can be used, and say of the rest which field is wrong? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Parsed, parseClusterPolicy, parseInvestigation, parsePolicy } from "../../src/api/parse.ts";
import { FULL_STATUS, samples } from "./examples.ts";

const PARSERS: Readonly<Record<string, (raw: unknown) => Parsed<unknown>>> = {
  MemoryInvestigation: parseInvestigation,
  MemoryPolicy: parsePolicy,
  ClusterMemoryPolicy: parseClusterPolicy,
};
const metadata = { name: "x", namespace: "media", uid: "u", resourceVersion: "1" };
const good = {
  apiVersion: "oomscope.dev/v1alpha1",
  kind: "MemoryInvestigation",
  metadata,
  spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "api" } },
};

function problem(parsed: Parsed<unknown>): string {
  return parsed.ok ? "accepted" : parsed.problem;
}

describe("accepts", () => {
  test.each(samples())("the sample $file", ({ object }) => {
    const raw = { ...object, metadata: { ...object.metadata, uid: "u", resourceVersion: "1" } };
    expect(problem(PARSERS[object.kind]?.(raw) ?? { ok: false, problem: "no parser" })).toBe("accepted");
  });

  test("a full status, and gives it back whole", () => {
    const parsed = parseInvestigation({ ...good, status: FULL_STATUS });
    expect(parsed.ok && parsed.value.status).toEqual(FULL_STATUS);
  });

  test("fields of a newer version, wherever they stand", () => {
    const raw = {
      ...good,
      future: 1,
      metadata: { ...metadata, managedFields: [] },
      spec: { ...good.spec, future: 1, targetRef: { ...good.spec.targetRef, future: 1 } },
      status: { ...FULL_STATUS, future: {}, finding: { ...FULL_STATUS.finding, future: 1 } },
    };
    expect(problem(parseInvestigation(raw))).toBe("accepted");
  });

  test("an object that has no status yet, or an empty one, and fills the defaults", () => {
    expect(parseInvestigation(good)).toMatchObject({ ok: true, value: { spec: { suspend: false, release: false } } });
    expect(problem(parseInvestigation({ ...good, status: {} }))).toBe("accepted");
  });
});

const spec = (change: object): unknown => ({ ...good, spec: { ...good.spec, ...change } });
const policy = (of: unknown): unknown => ({ ...good, kind: "MemoryPolicy", spec: of });

const BAD: readonly (readonly [name: string, (raw: unknown) => Parsed<unknown>, unknown, message: string])[] = [
  ["nothing", parseInvestigation, undefined, "The object is missing"],
  ["a string", parseInvestigation, "hello", 'The object must be an object, not "hello"'],
  ["another kind", parseInvestigation, { ...good, kind: "Pod" }, 'kind must be MemoryInvestigation, not "Pod"'],
  [
    "another version",
    parseInvestigation,
    { ...good, apiVersion: "oomscope.dev/v2" },
    "apiVersion must be oomscope.dev/v1alpha1",
  ],
  ["no uid", parseInvestigation, { ...good, metadata: { ...metadata, uid: undefined } }, "metadata.uid is missing"],
  ["no spec", parseInvestigation, { ...good, spec: undefined }, "spec is missing"],
  ["no target", parseInvestigation, { ...good, spec: {} }, "spec.targetRef is missing"],
  [
    "an unknown kind of target",
    parseInvestigation,
    spec({ targetRef: { ...good.spec.targetRef, kind: "CronJob" } }),
    'spec.targetRef.kind must be one of Deployment, StatefulSet, DaemonSet, Job, Pod, not "CronJob"',
  ],
  ["a suspend of text", parseInvestigation, spec({ suspend: "yes" }), 'spec.suspend must be a boolean, not "yes"'],
  [
    "a bad approval",
    parseInvestigation,
    spec({ approvedActions: [{ action: "Rollback", finding: "x" }] }),
    'spec.approvedActions[0].finding must be twelve hex digits, such as 3f9c0a1b2c4d, not "x"',
  ],
  [
    "a status with a word that we do not know",
    parseInvestigation,
    { ...good, status: { ...FULL_STATUS, result: "Splendid" } },
    'status.result must be one of Resolved, Mitigated, Recommended, Inconclusive, Failed, not "Splendid"',
  ],
  [
    "a fraction of a kill",
    parseInvestigation,
    { ...good, status: { killCount: 1.5 } },
    "status.killCount must be a whole number, not 1.5",
  ],
  [
    "too many kills",
    parseInvestigation,
    { ...good, status: { kills: Array.from({ length: 65 }, () => FULL_STATUS.kills?.[0]) } },
    "status.kills must have at most 64 entries",
  ],
  [
    "a bad duration",
    parsePolicy,
    policy({ collect: { interval: "soon" } }),
    'spec.collect.interval must be a duration such as 30s, 15m or 1h30m, not "soon"',
  ],
  [
    "an empty duration",
    parsePolicy,
    policy({ preserve: { ttl: "" } }),
    'spec.preserve.ttl must be a duration such as 90m, 24h or 7d, not ""',
  ],
  [
    "zero kills",
    parsePolicy,
    policy({ triggers: { oomKilled: { count: 0 } } }),
    "spec.triggers.oomKilled.count must be at least 1",
  ],
  [
    "zero bytes",
    parsePolicy,
    policy({ retention: { maxBytes: "0" } }),
    "spec.retention.maxBytes must be a quantity of bytes above zero",
  ],
  [
    "a MemoryPolicy as a cluster policy",
    parseClusterPolicy,
    policy({}),
    'kind must be ClusterMemoryPolicy, not "MemoryPolicy"',
  ],
  ["two problems", parsePolicy, policy({ mode: "x", preserve: { strategy: "y" } }), "(more problems: 1)"],
];

test.each(BAD)("refuses %s and names the field", (_name, parse, raw, message) => {
  expect(problem(parse(raw))).toContain(message);
});

test("a problem quotes no more than a line of what somebody else wrote", () => {
  expect(problem(parseInvestigation(spec({ container: "x".repeat(5_000_000) }))).length).toBeLessThan(200);
});

test("whatever comes in, it answers and does not throw", () => {
  fc.assert(
    fc.property(fc.anything(), fc.constantFrom(...Object.values(PARSERS)), (raw, parse) => {
      const parsed = parse(raw);
      expect(parsed.ok || parsed.problem.length > 0).toBe(true);
    }),
  );
  fc.assert(
    fc.property(fc.object({ maxDepth: 4 }), (status) => {
      const parsed = parseInvestigation({ ...good, status });
      expect(typeof parsed.ok).toBe("boolean");
    }),
  );
});
