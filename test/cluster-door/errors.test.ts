import { describe, expect, test } from "vitest";
import { ApiError, classify, isApiError, outcomeIsUnknown, type ApiErrorReason } from "../../src/cluster/errors.ts";

function status(reason: string, message: string, causes: readonly object[] = [], more: object = {}): string {
  return JSON.stringify({ kind: "Status", status: "Failure", reason, message, details: { causes, ...more } });
}

// What a real API server says is the matter of conformance.integration.test.ts; here stand the answers it gives only under duress.
const ANSWERS: readonly [title: string, code: number, body: string, reason: ApiErrorReason][] = [
  ["a stale resourceVersion", 409, status("Conflict", "the object has been modified"), "StaleRead"],
  [
    "a field conflict",
    409,
    status("Conflict", "x", [{ reason: "FieldManagerConflict", field: ".data" }]),
    "FieldConflict",
  ],
  [
    "a uid precondition",
    409,
    status("Conflict", "Precondition failed: UID in precondition: a, UID in object meta: b"),
    "Replaced",
  ],
  ["an apply with the uid of a gone object", 409, status("Conflict", "uid mismatch: no existing object"), "Replaced"],
  [
    "a uid that differs",
    422,
    status("Invalid", "x", [{ reason: "FieldValueInvalid", field: "metadata.uid" }]),
    "Replaced",
  ],
  ["an invalid field", 422, status("Invalid", "x", [{ reason: "FieldValueInvalid", field: "spec" }]), "Invalid"],
  ["a failing JSON patch test, which has no causes", 422, status("Invalid", "the test failed"), "Invalid"],
  ["a taken name", 409, status("AlreadyExists", "x"), "AlreadyExists"],
  ["a namespace on its way out", 403, status("Forbidden", "x", [{ reason: "NamespaceTerminating" }]), "Terminating"],
  ["a missing permission", 403, status("Forbidden", "x"), "Forbidden"],
  ["a disruption budget", 429, status("TooManyRequests", "x", [{ reason: "DisruptionBudget" }]), "DisruptionBudget"],
  ["priority and fairness", 429, status("TooManyRequests", "x"), "Throttled"],
  [
    "a full priority level, which answers in plain text",
    429,
    "Too many requests, please try again later.\n",
    "Throttled",
  ],
  [
    "two budgets",
    500,
    status(
      "InternalError",
      "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    ),
    "TwoDisruptionBudgets",
  ],
  ["an object too large for etcd", 500, status("InternalError", "etcdserver: request is too large"), "TooLarge"],
  ["a body too large for the server", 413, status("RequestEntityTooLarge", "x"), "TooLarge"],
  ["an expired version", 410, status("Expired", "x"), "Expired"],
  [
    "a lagging server",
    504,
    status("Timeout", "x", [{ reason: "ResourceVersionTooLarge" }], { retryAfterSeconds: 1 }),
    "VersionTooLarge",
  ],
  ["a request timeout of the server", 504, status("Timeout", "x"), "ServerError"],
  ["a proxy's page", 502, "<html>Bad gateway</html>", "ServerError"],
  ["nothing at all", 503, "", "ServerError"],
  ["JSON that is no object", 500, "null", "ServerError"],
  ["no such object", 404, status("NotFound", "x"), "NotFound"],
  ["an unknown caller", 401, status("Unauthorized", "x"), "Unauthorized"],
];

describe("classify", () => {
  test.each(ANSWERS)("tells %s", (_title, code, body, reason) => {
    const error = classify(code, body);
    expect(error.reason).toBe(reason);
    expect(error.status).toBe(code);
    expect(error.message).not.toBe("");
  });

  test("takes the header's Retry-After before the body's", () => {
    const body = status("Timeout", "x", [], { retryAfterSeconds: 7 });
    expect(classify(504, body).retryAfterMs).toBe(7_000);
    expect(classify(504, body, { "retry-after": "3" }).retryAfterMs).toBe(3_000);
  });

  test("does not let a Retry-After put the operator to sleep for longer than a minute", () => {
    expect(classify(503, "", { "retry-after": "86400" }).retryAfterMs).toBe(60_000);
  });

  test.each(["0", "-5", "soon", "Fri, 01 Jan 2027 00:00:00 GMT"])("ignores the Retry-After %s", (header) => {
    expect(classify(503, "", { "retry-after": header }).retryAfterMs).toBeUndefined();
  });

  test("survives causes of any shape", () => {
    const body = JSON.stringify({ details: { causes: [null, 3, "x", { field: 7 }, {}] } });
    expect(classify(422, body).reason).toBe("Invalid");
  });

  test("keeps an endless message out of the log", () => {
    expect(classify(500, status("InternalError", "x".repeat(100_000))).message.length).toBe(2_000);
    expect(classify(500, "x".repeat(100_000)).message.length).toBe(2_000);
  });
});

describe("outcomeIsUnknown", () => {
  test.each<[ApiErrorReason, boolean]>([
    ["Unknown", true],
    ["ServerError", true],
    ["Unreachable", false],
    ["NotLeader", false],
    ["StaleRead", false],
    ["Throttled", false],
  ])("after %s: %s", (reason, unknown) => {
    expect(outcomeIsUnknown(new ApiError(reason, "x"))).toBe(unknown);
  });

  test("takes an error of another kind for unknown", () => {
    expect(outcomeIsUnknown(new TypeError("x"))).toBe(true);
    expect(isApiError(new TypeError("x"))).toBe(false);
  });
});
