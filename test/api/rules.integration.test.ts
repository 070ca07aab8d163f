/** Does each rule of the CRDs accept the good and refuse the bad, with the message that was meant? Asked of a real API server. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KINDS, kindSchema } from "../../src/api/crd.ts";
import type { StructuralSchema } from "../../src/api/structural.ts";
import { type CrdServer, type Json, connect, installCrds } from "./crdserver.ts";
import { samples } from "./examples.ts";

const API = "/apis/oomscope.dev/v1alpha1";
const PATHS: Readonly<Record<string, string>> = {
  MemoryInvestigation: `${API}/namespaces/default/memoryinvestigations`,
  MemoryPolicy: `${API}/namespaces/default/memorypolicies`,
  ClusterMemoryPolicy: `${API}/clustermemorypolicies`,
};

let server: CrdServer;
beforeAll(async () => {
  server = connect();
  await installCrds(server);
});
afterAll(() => server.close());

function object(kind: string, spec: unknown, name = "rules"): Json {
  return { apiVersion: "oomscope.dev/v1alpha1", kind, metadata: { name }, spec };
}

/** `undefined` when the server takes it, otherwise what it says. */
async function refusal(kind: string, spec: unknown): Promise<string | undefined> {
  const answer = await server.call("POST", `${PATHS[kind]}?dryRun=All&fieldValidation=Strict`, object(kind, spec));
  return answer.status === 201 ? undefined : String(answer.body["message"]);
}

const MEMI = "MemoryInvestigation";
const MPOL = "MemoryPolicy";
const CMPOL = "ClusterMemoryPolicy";
const target = { apiVersion: "apps/v1", kind: "Deployment", name: "api" };
const throttle = { configMap: { name: "limits", set: { MAX: "2" } } };

/** What is sent, and what must be said about it: undefined = accepted. */
type Case = readonly [name: string, kind: string, spec: unknown, message?: string];

const DURATION = "must be a duration such as 30s, 15m or 1h30m";
const LONG_DURATION = "must be a duration such as 90m, 24h or 7d";
const ZERO = "must be longer than zero";
const QUANTITY = "must be a quantity of bytes above zero, such as 512Mi or 2Gi";
const NAME = "must be the name of an object: lower-case letters, digits, - and ., such as thumbnail-svc";
const CONTAINER = "must be the name of a container: lower-case letters, digits and -, such as app";
const VERSIONS =
  "apiVersion must be v1 for a Pod, batch/v1 for a Job and apps/v1 for a Deployment, StatefulSet or DaemonSet";
const LABEL_KEY = "each key must be a label such as app or app.kubernetes.io/name";
const VALUES = "values are needed for In and NotIn, and must be left out for Exists and DoesNotExist";

const CASES: readonly Case[] = [
  ["a Deployment", MEMI, { targetRef: target }],
  ["a Pod", MEMI, { targetRef: { apiVersion: "v1", kind: "Pod", name: "api-0" } }],
  ["a Job", MEMI, { targetRef: { apiVersion: "batch/v1", kind: "Job", name: "nightly" } }],
  ["no target", MEMI, {}, "spec.targetRef: Required value"],
  ["an unknown kind of target", MEMI, { targetRef: { ...target, kind: "CronJob" } }, 'supported values: "Deployment"'],
  ["a Pod of apps/v1", MEMI, { targetRef: { ...target, kind: "Pod" } }, VERSIONS],
  ["a Deployment of v1", MEMI, { targetRef: { ...target, apiVersion: "v1" } }, VERSIONS],
  ["another namespace's target", MEMI, { targetRef: { ...target, name: "kube-system/api" } }, NAME],
  ["a target with two dots", MEMI, { targetRef: { ...target, name: "a..b" } }, NAME],
  ["an empty target", MEMI, { targetRef: { ...target, name: "" } }, NAME],
  [
    "a namespace field",
    MEMI,
    { targetRef: { ...target, namespace: "kube-system" } },
    'unknown field "spec.targetRef.namespace"',
  ],
  ["a container", MEMI, { targetRef: target, container: "app" }],
  ["a container that is no label", MEMI, { targetRef: target, container: "App" }, CONTAINER],
  ["a policy", MEMI, { targetRef: target, policyRef: { name: "p" } }],
  ["an approval", MEMI, { targetRef: target, approvedActions: [{ action: "Rollback", finding: "0123456789ab" }] }],
  ["a denial", MEMI, { targetRef: target, deniedActions: [{ action: "Rollback", finding: "0123456789ab" }] }],
  [
    "a yes and a no to different findings",
    MEMI,
    {
      targetRef: target,
      approvedActions: [{ action: "Rollback", finding: "0123456789ab" }],
      deniedActions: [{ action: "Rollback", finding: "ba9876543210" }],
    },
  ],
  [
    "a yes and a no to one finding",
    MEMI,
    {
      targetRef: target,
      approvedActions: [{ action: "Rollback", finding: "0123456789ab" }],
      deniedActions: [{ action: "Rollback", finding: "0123456789ab" }],
    },
    "an action is either approved or denied for one finding; leave it in one of the two lists",
  ],
  [
    "an approval for no finding",
    MEMI,
    { targetRef: target, approvedActions: [{ action: "Rollback", finding: "latest" }] },
    "must be twelve hex digits, such as 3f9c0a1b2c4d",
  ],
  [
    "two approvals of one action",
    MEMI,
    {
      targetRef: target,
      approvedActions: ["0123456789ab", "ba9876543210"].map((finding) => ({ action: "Rollback", finding })),
    },
    "Duplicate value",
  ],

  ["an empty policy", MPOL, {}],
  ["an unknown mode", MPOL, { mode: "enforce" }, 'supported values: "Observe", "Recommend", "Enforce"'],
  ["a label key with a blank", MPOL, { selector: { matchLabels: { "a b": "c" } } }, LABEL_KEY],
  ["a label key with a prefix", MPOL, { selector: { matchLabels: { "app.kubernetes.io/name": "c" } } }],
  ["a label value with a blank", MPOL, { selector: { matchLabels: { a: "b c" } } }, "should match"],
  ["In with values", MPOL, { selector: { matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] } }],
  ["In without values", MPOL, { selector: { matchExpressions: [{ key: "a", operator: "In" }] } }, VALUES],
  [
    "Exists with values",
    MPOL,
    { selector: { matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] } },
    VALUES,
  ],
  ["zero kills", MPOL, { triggers: { oomKilled: { count: 0 } } }, "should be greater than or equal to 1"],
  ["within no time", MPOL, { triggers: { oomKilled: { within: "0s" } } }, ZERO],
  ["usage for no time", MPOL, { triggers: { memoryUsage: { for: "0m" } } }, ZERO],
  ["a projection of no time", MPOL, { triggers: { growth: { projectedOOMWithin: "0h" } } }, ZERO],
  ["a node for no time", MPOL, { triggers: { nodeMemAvailable: { for: "0s" } } }, ZERO],
  ["a full disk of triggers", MPOL, { triggers: { oomKilled: {}, memoryUsage: {}, growth: {}, nodeMemAvailable: {} } }],
  ["a duration without a unit", MPOL, { budget: { cooldown: "30" } }, DURATION],
  ["a duration in words", MPOL, { budget: { cooldown: "half an hour" } }, DURATION],
  ["an empty duration", MPOL, { budget: { cooldown: "" } }, DURATION],
  ["a duration in days", MPOL, { budget: { cooldown: "1d" } }, DURATION],
  ["a negative duration", MPOL, { budget: { cooldown: "-5m" } }, DURATION],
  ["no cool-down", MPOL, { budget: { cooldown: "0s" } }],
  ["a long duration in days", MPOL, { preserve: { ttl: "1d12h" } }],
  ["a long duration in weeks", MPOL, { preserve: { ttl: "2w" } }, LONG_DURATION],
  ["a ttl of nothing", MPOL, { preserve: { ttl: "0d" } }, ZERO],
  ["evidence kept for no time", MPOL, { retention: { evidence: "0h" } }, ZERO],
  ["an unknown strategy", MPOL, { preserve: { strategy: "isolate" } }, 'supported values: "Isolate", "Hold", "None"'],
  ["no bytes", MPOL, { retention: { maxBytes: "0" } }, QUANTITY],
  ["negative bytes", MPOL, { retention: { maxBytes: "-1Gi" } }, QUANTITY],
  ["milli-bytes", MPOL, { retention: { maxBytes: "500m" } }, QUANTITY],
  ["GB, which is no unit", MPOL, { retention: { maxBytes: "2GB" } }, QUANTITY],
  ["fractions of Gi", MPOL, { retention: { maxBytes: "1.5Gi" } }],
  ["plain bytes", MPOL, { retention: { maxBytes: "2147483648" } }],
  ["more bytes than there are", MPOL, { retention: { maxBytes: "999999Ti" } }, "must be at most 1024Ti"],
  ["an interval of 5s", MPOL, { collect: { interval: "5s" } }],
  ["an interval of 4s", MPOL, { collect: { interval: "4s" } }, "interval must be at least 5s"],
  ["two hours of samples", MPOL, { collect: { duration: "2h" } }, "duration must be at most 1h"],
  [
    "one sample only",
    MPOL,
    { collect: { interval: "30s", duration: "30s" } },
    "interval must be shorter than duration, so that there are at least two samples",
  ],
  ["a short collection without a profile", MPOL, { collect: { interval: "5s", duration: "20s" } }],
  [
    "a profile longer than its collection",
    MPOL,
    { collect: { interval: "5s", duration: "20s", profile: { enabled: true } } },
    "profile.duration must not be longer than duration while profile.enabled is true",
  ],
  [
    "a long profile",
    MPOL,
    { collect: { profile: { duration: "61s" } } },
    "profile.duration must be between 1s and 60s",
  ],
  [
    "an empty profile",
    MPOL,
    { collect: { profile: { duration: "0s" } } },
    "profile.duration must be between 1s and 60s",
  ],
  ["too fast a profile", MPOL, { collect: { profile: { frequencyHz: 1000 } } }, "should be less than or equal to 999"],
  ["a stall of a minute", MPOL, { collect: { stallBudget: "1m" } }, "stallBudget must be at most 30s"],
  ["no stall at all", MPOL, { collect: { stallBudget: "0s" } }],
  ["a manual rollback", MPOL, { mode: "Recommend", mitigate: [{ action: "Rollback" }] }],
  [
    "an automatic rollback in Recommend",
    MPOL,
    { mode: "Recommend", mitigate: [{ action: "Rollback", approval: "Automatic" }] },
    "approval Automatic needs mode Enforce; set mode: Enforce, or approval: Manual",
  ],
  [
    "an automatic rollback in Enforce",
    MPOL,
    { mode: "Enforce", mitigate: [{ action: "Rollback", approval: "Automatic" }] },
  ],
  ["one action twice", MPOL, { mitigate: [{ action: "Restart" }, { action: "Restart" }] }, "Duplicate value"],
  [
    "a guess as ground",
    MPOL,
    { mitigate: [{ action: "Restart", when: { minConfidencePercent: 49 } }] },
    "should be greater than or equal to 50",
  ],
  ["a throttle", MPOL, { mitigate: [{ action: "Throttle", throttle }] }],
  [
    "a throttle without how",
    MPOL,
    { mitigate: [{ action: "Throttle" }] },
    "action Throttle needs the field throttle, and no other action may have it",
  ],
  [
    "a restart that throttles",
    MPOL,
    { mitigate: [{ action: "Restart", throttle }] },
    "action Throttle needs the field throttle, and no other action may have it",
  ],
  [
    "an empty throttle",
    MPOL,
    { mitigate: [{ action: "Throttle", throttle: {} }] },
    "throttle needs exactly one of configMap, env or replicas",
  ],
  [
    "a throttle of two things",
    MPOL,
    { mitigate: [{ action: "Throttle", throttle: { ...throttle, replicas: { max: 1 } } }] },
    "throttle needs exactly one of configMap, env or replicas",
  ],
  [
    "a throttle that sets nothing",
    MPOL,
    { mitigate: [{ action: "Throttle", throttle: { configMap: { name: "limits", set: {} } } }] },
    "set needs at least one key, of letters, digits, -, _ and . only",
  ],
  [
    "an environment",
    MPOL,
    { mitigate: [{ action: "Throttle", throttle: { env: { container: "app", set: { MAX: "1" } } } }] },
  ],
  [
    "a variable with a blank",
    MPOL,
    { mitigate: [{ action: "Throttle", throttle: { env: { container: "app", set: { "A B": "1" } } } }] },
    "set needs at least one variable, named with letters, digits and _ only",
  ],
  ["a roll-back", MPOL, { mitigate: [{ action: "Rollback", rollback: { healthyFor: "1h" } }] }],
  [
    "a restart with the field of a roll-back",
    MPOL,
    { mitigate: [{ action: "Restart", rollback: { healthyFor: "1h" } }] },
    "only action Rollback may have the field rollback",
  ],
  ["a validation of a minute", MPOL, { validate: { window: "1m", onFailure: "Stop" } }],
  ["no validation", MPOL, { validate: { window: "0s" } }],
  ["a validation of a day", MPOL, { validate: { window: "24h" } }, "window must be at most 6h"],
  ["a validation of words", MPOL, { validate: { window: "a while" } }, DURATION],
  ["a failure that is put back", MPOL, { validate: { onFailure: "Revert" } }],
  ["a failure that is gone on from", CMPOL, { validate: { window: "10m", onFailure: "Escalate" } }],
  [
    "a failure that nothing follows",
    MPOL,
    { validate: { onFailure: "Ignore" } },
    'supported values: "Stop", "Revert", "Escalate"',
  ],
  [
    "a failure that nobody would see",
    MPOL,
    { validate: { window: "0s", onFailure: "Revert" } },
    "onFailure Revert and Escalate need a window longer than 0s: without one no failure is seen",
  ],
  ["a validation of a day in all namespaces", CMPOL, { validate: { window: "24h" } }, "window must be at most 6h"],
  ["a pause with its reason", MPOL, { pauseRequests: ["a change freeze until Monday"] }],
  ["a pause without a reason", MPOL, { pauseRequests: [""] }, "should be at least 1 chars long"],
  ["a resize", MPOL, { mitigate: [{ action: "Resize", resize: { maxBytes: "1Gi" } }] }],
  [
    "a resize without a cap",
    MPOL,
    { mitigate: [{ action: "Resize" }] },
    "action Resize needs the field resize, and no other action may have it",
  ],
  [
    "a resize that shrinks",
    MPOL,
    { mitigate: [{ action: "Resize", resize: { maxBytes: "1Gi", factorPercent: 90 } }] },
    "should be greater than or equal to 101",
  ],
  ["a MemoryPolicy that sets maxMode", MPOL, { maxMode: "Enforce" }, 'unknown field "spec.maxMode"'],

  ["an empty cluster policy", CMPOL, {}],
  ["a namespace selector", CMPOL, { namespaceSelector: { matchLabels: { team: "media" } } }],
  ["Recommend below Recommend", CMPOL, { mode: "Recommend", maxMode: "Recommend" }],
  [
    "Recommend above Observe",
    CMPOL,
    { mode: "Recommend", maxMode: "Observe" },
    "mode must not go further than maxMode (Observe, then Recommend, then Enforce)",
  ],
  [
    "Enforce above Recommend",
    CMPOL,
    { mode: "Enforce", maxMode: "Recommend" },
    "mode must not go further than maxMode (Observe, then Recommend, then Enforce)",
  ],
  [
    "a drain that nothing allows",
    CMPOL,
    { mitigate: [{ action: "DrainNode" }] },
    "mitigate may only use actions that allowedActions names",
  ],
  ["a drain that is allowed", CMPOL, { mitigate: [{ action: "DrainNode" }], allowedActions: ["DrainNode"] }],
  [
    "a restart that is not allowed",
    CMPOL,
    { mitigate: [{ action: "Restart" }], allowedActions: [] },
    "mitigate may only use actions that allowedActions names",
  ],
  [
    "an automatic action in Observe",
    CMPOL,
    { mitigate: [{ action: "Restart", approval: "Automatic" }] },
    "approval Automatic needs mode Enforce; set mode: Enforce, or approval: Manual",
  ],
  ["an action allowed twice", CMPOL, { allowedActions: ["Restart", "Restart"] }, "Duplicate value"],
];

for (const [name, kind, spec, message] of CASES) {
  test(`${name} (${kind})`, async () => {
    const said = await refusal(kind, spec);
    if (message === undefined) expect(said).toBeUndefined();
    else expect(said).toContain(message);
  });
}

test("a malformed duration is not also called too short, too long or unreadable", async () => {
  const FIELDS = [
    ["collect", "interval"],
    ["collect", "duration"],
    ["collect", "stallBudget"],
    ["validate", "window"],
  ] as const;
  for (const [part, field] of FIELDS) {
    const said = await refusal(MPOL, { [part]: { [field]: "soon" } });
    expect(said).toContain(`spec.${part}.${field}: Invalid value: "soon": ${DURATION}`);
    expect(said).not.toContain("conversion error");
    expect(said).not.toContain("at most");
  }
});

test.each(samples())("the sample $file is accepted", async ({ object: sample }) => {
  expect(await refusal(sample.kind, sample.spec)).toBeUndefined();
});

describe("a change of an investigation", () => {
  const path = `${PATHS[MEMI]}/rules`;
  beforeAll(async () => {
    await server.call("DELETE", path);
    const made = await server.call(
      "POST",
      PATHS[MEMI] ?? "",
      object(MEMI, { targetRef: target, container: "app", policyRef: { name: "p" } }),
    );
    expect(made.status).toBe(201);
  });
  afterAll(() => server.call("DELETE", path));

  const CHANGES: readonly (readonly [name: string, spec: unknown, message?: string])[] = [
    ["suspend", { suspend: true }],
    ["release", { release: true }],
    ["an approval", { approvedActions: [{ action: "Restart", finding: "0123456789ab" }] }],
    [
      "another target",
      { targetRef: { ...target, name: "other" } },
      "targetRef cannot be changed; create another MemoryInvestigation instead",
    ],
    [
      "another container",
      { container: "sidecar" },
      "container cannot be changed; create another MemoryInvestigation instead",
    ],
    ["no container", { container: null }, "container cannot be changed; create another MemoryInvestigation instead"],
    [
      "another policy",
      { policyRef: { name: "q" } },
      "policyRef cannot be changed; create another MemoryInvestigation instead",
    ],
    ["no policy", { policyRef: null }, "policyRef cannot be changed; create another MemoryInvestigation instead"],
  ];
  for (const [name, spec, message] of CHANGES) {
    test(`to ${name}`, async () => {
      const answer = await server.call("PATCH", `${path}?dryRun=All`, { spec }, "application/merge-patch+json");
      if (message === undefined) expect(answer.status).toBe(200);
      else expect(answer.body["message"]).toContain(message);
    });
  }

  test("no rule is without a case above", () => {
    const tried: readonly unknown[] = [
      ...CASES.map(([, , , message]) => message),
      ...CHANGES.map(([, , message]) => message),
    ];
    const all = KINDS.flatMap((kind) => messages(kindSchema(kind).properties?.["spec"]));
    expect(all.length).toBeGreaterThan(30);
    expect([...new Set(all)].filter((message) => !tried.includes(message))).toEqual([]);
  });
});

function messages(schema: StructuralSchema | undefined): string[] {
  if (schema === undefined) return [];
  return [
    ...(schema["x-kubernetes-validations"] ?? []).map((rule) => rule.message),
    ...Object.values(schema.properties ?? {}).flatMap(messages),
    ...messages(schema.items),
    ...messages(schema.additionalProperties),
  ];
}
