/** Are names and identities the same for the same fact, different for different facts, and always valid? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KillIdentity, collectionName, investigationName, killId } from "../../src/api/identity.ts";

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const kill: fc.Arbitrary<KillIdentity> = fc.record(
  {
    podUid: fc.uuid(),
    container: fc.string(),
    containerId: fc.string(),
    restartCount: fc.nat(),
    finishedAt: fc.string(),
  },
  { requiredKeys: ["podUid", "container", "finishedAt"] },
);

describe("killId", () => {
  test("is twelve hex digits and depends on nothing but the kill", () => {
    fc.assert(
      fc.property(kill, (one) => {
        expect(killId(one)).toMatch(/^[0-9a-f]{12}$/);
        expect(killId({ ...one })).toBe(killId(one));
      }),
    );
  });

  test("differs as soon as one part of the identity differs", () => {
    fc.assert(
      fc.property(kill, kill, (a, b) => {
        const identity = (k: KillIdentity): unknown => [
          k.podUid,
          k.container,
          k.containerId ?? ["#", k.restartCount ?? 0],
          k.finishedAt,
        ];
        fc.pre(JSON.stringify(identity(a)) !== JSON.stringify(identity(b)));
        expect(killId(a)).not.toBe(killId(b));
      }),
    );
  });

  test("a container id wins over the restart count, which lags behind it", () => {
    const base = { podUid: "u", container: "c", finishedAt: "2026-03-01T03:12:45Z" };
    expect(killId({ ...base, containerId: "x", restartCount: 1 })).toBe(
      killId({ ...base, containerId: "x", restartCount: 2 }),
    );
    expect(killId({ ...base, restartCount: 1 })).not.toBe(killId({ ...base, restartCount: 2 }));
  });

  test("does not run neighbouring parts into one another", () => {
    const finishedAt = "t";
    expect(killId({ podUid: "ab", container: "c", finishedAt })).not.toBe(
      killId({ podUid: "a", container: "bc", finishedAt }),
    );
  });

  test("never changes: kills that are in status already must be known again after an upgrade", () => {
    expect(
      killId({ podUid: "0f8d9d0e", container: "app", containerId: "abc", finishedAt: "2026-03-01T03:12:45Z" }),
    ).toBe("75dcc053489b");
    expect(investigationName("thumbnail-svc", "0123456789ab")).toBe("thumbnail-svc-8e49f997");
    expect(collectionName("0f8d9d0e", "Diagnose", 1)).toBe("oomc-4eaccf9bf1-1");
  });
});

/** Names as the API server allows them: DNS subdomains of up to 253 characters. */
const objectName = fc
  .array(fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$/), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join("."));

describe("investigationName", () => {
  test("is a DNS label of at most 63 characters for every workload", () => {
    fc.assert(
      fc.property(objectName, fc.string(), (workload, first) => {
        const name = investigationName(workload, first);
        expect(name).toMatch(LABEL);
        expect(name.length).toBeLessThanOrEqual(63);
        expect(name).toMatch(/-[0-9a-f]{8}$/);
      }),
    );
  });

  test("even for text that no API server would let through", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(investigationName(text, "x")).toMatch(LABEL);
      }),
    );
  });

  test("keeps workloads apart whose names are cut to the same beginning", () => {
    const long = "a".repeat(80);
    expect(investigationName(`${long}1`, "x")).not.toBe(investigationName(`${long}2`, "x"));
    expect(investigationName("api", "x")).not.toBe(investigationName("api", "y"));
  });
});

describe("collectionName", () => {
  test("leaves room for the suffix of a Job's pod, and is new for each attempt", () => {
    fc.assert(
      fc.property(
        fc.uuid(),
        fc.constantFrom("Diagnose", "Validate"),
        fc.integer({ min: 1, max: 999 }),
        (uid, purpose, attempt) => {
          const name = collectionName(uid, purpose, attempt);
          expect(name).toMatch(LABEL);
          expect(name.length).toBeLessThanOrEqual(52);
          expect(name).not.toBe(collectionName(uid, purpose, attempt + 1));
          expect(name).not.toBe(collectionName(uid, purpose === "Diagnose" ? "Validate" : "Diagnose", attempt));
        },
      ),
    );
  });
});
