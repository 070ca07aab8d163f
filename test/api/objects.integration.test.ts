/** What becomes of our objects inside a real API server: defaults, pruning, status by server-side apply, and what kubectl shows. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { FIELD_MANAGER } from "../../src/api/memoryinvestigation.ts";
import { ClusterMemoryPolicySpec, MemoryPolicySpec } from "../../src/api/memorypolicy.ts";
import { parseClusterPolicy, parseInvestigation, parsePolicy } from "../../src/api/parse.ts";
import { kubectlPath } from "../support/apiserver.ts";
import { APPLY, type CrdServer, type Json, connect, installCrds } from "./crdserver.ts";
import { FULL_STATUS } from "./examples.ts";

const API = "/apis/oomscope.dev/v1alpha1";
const MEMIS = `${API}/namespaces/default/memoryinvestigations`;
const targetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "api" };

let server: CrdServer;
beforeAll(async () => {
  server = connect();
  await installCrds(server);
});
afterAll(() => server.close());

function object(kind: string, name: string, spec: unknown): Json {
  return { apiVersion: "oomscope.dev/v1alpha1", kind, metadata: { name }, spec };
}

async function made(path: string, body: Json): Promise<Json> {
  const answer = await server.call("POST", `${path}${path.includes("?") ? "&" : "?"}fieldValidation=Strict`, body);
  expect(answer.body).not.toHaveProperty("message");
  return answer.body;
}

describe("defaults", () => {
  test("of an empty policy are those of zod, down to the last field", async () => {
    const policy = await made(`${API}/namespaces/default/memorypolicies?dryRun=All`, object("MemoryPolicy", "d", {}));
    expect(policy["spec"]).toEqual(MemoryPolicySpec.parse({}));
    expect(policy["spec"]).toMatchObject({
      mode: "Observe",
      collect: { profile: { enabled: false, frequencyHz: 99 } },
    });
  });

  test("of an empty cluster policy too", async () => {
    const policy = await made(`${API}/clustermemorypolicies?dryRun=All`, object("ClusterMemoryPolicy", "d", {}));
    expect(policy["spec"]).toEqual(ClusterMemoryPolicySpec.parse({}));
  });

  test("fill what a half-written policy leaves out", async () => {
    const spec = {
      preserve: { ttl: "1h" },
      collect: { profile: { enabled: true } },
      mitigate: [{ action: "Rollback" }],
    };
    const policy = await made(`${API}/namespaces/default/memorypolicies?dryRun=All`, object("MemoryPolicy", "d", spec));
    expect(policy["spec"]).toEqual(MemoryPolicySpec.parse(spec));
    expect(policy["spec"]).toMatchObject({ mitigate: [{ approval: "Manual", when: { minConfidencePercent: 80 } }] });
  });

  test("a policy without a spec is refused, because it would get no defaults", async () => {
    const { spec: _, ...bare } = object("MemoryPolicy", "d", {});
    const answer = await server.call("POST", `${API}/namespaces/default/memorypolicies?dryRun=All`, bare);
    expect(answer.body["message"]).toContain("spec: Required value");
  });
});

describe("an object as the server gives it", () => {
  test("can be read by our own parsers, before and after the first status", async () => {
    await server.call("DELETE", `${MEMIS}/door`);
    const raw = await made(MEMIS, object("MemoryInvestigation", "door", { targetRef }));
    expect(parseInvestigation(raw)).toMatchObject({ ok: true, value: { spec: { suspend: false, release: false } } });
    const empty = await server.call("PATCH", `${MEMIS}/door/status`, { status: {} }, "application/merge-patch+json");
    expect(empty.status).toBe(200);
    expect(parseInvestigation(empty.body)).toMatchObject({ ok: true });
    await server.call("DELETE", `${API}/namespaces/default/memorypolicies/door`);
    const policy = await made(`${API}/namespaces/default/memorypolicies`, object("MemoryPolicy", "door", {}));
    expect(parsePolicy(policy)).toMatchObject({ ok: true, value: { spec: policy["spec"] } });
    await server.call("DELETE", `${API}/clustermemorypolicies/door`);
    const cluster = await made(`${API}/clustermemorypolicies`, object("ClusterMemoryPolicy", "door", {}));
    expect(parseClusterPolicy(cluster)).toMatchObject({ ok: true, value: { spec: cluster["spec"] } });
  });

  test("has lost its unknown fields, or is refused when the client asks for strictness", async () => {
    const body = object("MemoryInvestigation", "extra", { targetRef, colour: "red" });
    const kept = await server.call("POST", `${MEMIS}?dryRun=All&fieldValidation=Ignore`, body);
    expect(kept.body["spec"]).toEqual({ targetRef, release: false, suspend: false });
    const strict = await server.call("POST", `${MEMIS}?dryRun=All&fieldValidation=Strict`, body);
    expect(strict.body["message"]).toContain('unknown field "spec.colour"');
  });
});

describe("status by server-side apply", () => {
  const path = `${MEMIS}/story`;
  beforeEach(async () => {
    await server.call("DELETE", path);
    await made(MEMIS, object("MemoryInvestigation", "story", { targetRef }));
  });

  function apply(status: unknown): Promise<{ status: number; body: Json }> {
    const body = {
      apiVersion: "oomscope.dev/v1alpha1",
      kind: "MemoryInvestigation",
      metadata: { name: "story" },
      status,
    };
    return server.call(
      "PATCH",
      `${path}/status?fieldManager=${FIELD_MANAGER}&force=true&fieldValidation=Strict`,
      body,
      APPLY,
    );
  }

  test("a full status comes back whole, and our parser reads it whole", async () => {
    const answer = await apply(FULL_STATUS);
    expect(answer.body["status"]).toEqual(FULL_STATUS);
    const read = parseInvestigation((await server.call("GET", path)).body);
    expect(read).toMatchObject({ ok: true, value: { status: FULL_STATUS } });
    expect(read.ok && read.value.status).toEqual(FULL_STATUS);
  });

  test("an entry that we no longer send goes away, and the others stay", async () => {
    await apply(FULL_STATUS);
    const [first] = FULL_STATUS.kills ?? [];
    const answer = await apply({ ...FULL_STATUS, kills: [first], ledger: ["0123456789ab"], result: undefined });
    expect(answer.body["status"]).toMatchObject({ kills: [first], ledger: ["0123456789ab"] });
    expect(answer.body["status"]).not.toHaveProperty("result");
  });

  test("entries of another manager are merged by their key, not overwritten", async () => {
    await apply({ conditions: FULL_STATUS.conditions });
    const other = {
      type: "Reviewed",
      status: "True",
      reason: "ByHand",
      message: "",
      lastTransitionTime: "2026-03-01T03:12:45Z",
    };
    const body = {
      apiVersion: "oomscope.dev/v1alpha1",
      kind: "MemoryInvestigation",
      metadata: { name: "story" },
      status: { conditions: [other] },
    };
    await server.call("PATCH", `${path}/status?fieldManager=someone-else`, body, APPLY);
    const { body: after } = await apply({ conditions: FULL_STATUS.conditions?.slice(0, 1) });
    const types = ((after["status"] as Json)["conditions"] as { type: string }[]).map((c) => c.type);
    expect(types.toSorted()).toEqual(["Reviewed", "Succeeded"]);
  });

  test("a write to the object itself does not touch status", async () => {
    await apply(FULL_STATUS);
    const answer = await server.call("PATCH", path, { status: { killCount: 99 } }, "application/merge-patch+json");
    expect(answer.body["status"]).toEqual(FULL_STATUS);
  });

  test("a status that is not ours to write is refused with the field's name", async () => {
    const answer = await apply({ ...FULL_STATUS, result: "Splendid" });
    expect(answer.status).toBe(422);
    expect(answer.body["message"]).toContain("status.result: Unsupported value");
  });

  test("can be asked for by target and by result", async () => {
    await apply(FULL_STATUS);
    const selector = encodeURIComponent(
      "spec.targetRef.name=api,status.result=Mitigated,status.finding.verdict=AnonHeapLeak",
    );
    const { body } = await server.call("GET", `${MEMIS}?fieldSelector=${selector}`);
    expect((body["items"] as { metadata: { name: string } }[]).map((item) => item.metadata.name)).toEqual(["story"]);
    const none = await server.call("GET", `${MEMIS}?fieldSelector=${encodeURIComponent("status.result=Failed")}`);
    expect(none.body["items"]).toEqual([]);
  });
});

const kubectl = kubectlPath();
describe.skipIf(kubectl === undefined)("kubectl", () => {
  const run = promisify(execFile);
  async function said(...args: string[]): Promise<string> {
    const { kubeconfig } = inject("apiServer");
    return (await run(kubectl ?? "kubectl", ["--kubeconfig", kubeconfig, ...args])).stdout;
  }
  beforeAll(async () => {
    await server.call("DELETE", `${MEMIS}/shown`);
    await made(MEMIS, object("MemoryInvestigation", "shown", { targetRef }));
    const body = {
      apiVersion: "oomscope.dev/v1alpha1",
      kind: "MemoryInvestigation",
      metadata: { name: "shown" },
      status: FULL_STATUS,
    };
    await server.call("PATCH", `${MEMIS}/shown/status?fieldManager=${FIELD_MANAGER}&force=true`, body, APPLY);
  });

  test("get shows the story in a line", async () => {
    const [head = "", line = ""] = (await said("get", "memi", "shown")).split("\n");
    expect(head.split(/\s{2,}/).filter(Boolean)).toEqual([
      "NAME",
      "KIND",
      "TARGET",
      "STAGE",
      "RESULT",
      "VERDICT",
      "CONFIDENCE",
      "KILLS",
      "PRESERVED",
      "MITIGATED",
      "AGE",
    ]);
    expect(line.split(/\s{2,}/).slice(0, 10)).toEqual([
      "shown",
      "Deployment",
      "api",
      "Done",
      "Mitigated",
      "AnonHeapLeak",
      "87",
      "2",
      "Preserved",
      "RolledBack",
    ]);
    const wide = await said("get", "memi", "shown", "-o", "wide");
    for (const part of [
      "POD",
      "NODE",
      "POLICY",
      "SUMMARY",
      "thumbnail-svc-7d9c-k4k2z",
      "worker-1",
      "thumbnails",
      "grows by 1.2 MiB/s",
    ])
      expect(wide).toContain(part);
  });

  test("get oomscope finds all kinds by their category", async () => {
    await server.call("DELETE", `${API}/clustermemorypolicies/shown`);
    await made(`${API}/clustermemorypolicies`, object("ClusterMemoryPolicy", "shown", {}));
    const all = await said("get", "oomscope");
    expect(all).toContain("memoryinvestigation.oomscope.dev/shown");
    expect(all).toContain("clustermemorypolicy.oomscope.dev/shown");
    const [head = "", line = ""] = (await said("get", "cmpol", "shown")).split("\n");
    const columns = ["NAME", "MODE", "READY", "REASON", "WORKLOADS", "ACTIVE", "MITIGATED", "TRIGGERS", "AGE"];
    expect(head.split(/\s{2,}/).filter(Boolean)).toEqual(columns);
    expect(line.split(/\s{2,}/).slice(0, 2)).toEqual(["shown", "Observe"]);
    expect(await said("get", "cmpol", "shown", "-o", "wide")).toMatch(
      /PRESERVE\s+MESSAGE\s+shown\s+Observe\s.*\sIsolate/s,
    );
  });

  test("explain teaches every field of spec and status", async () => {
    const text = await said("explain", "memi.spec", "--recursive");
    for (const field of ["targetRef", "approvedActions", "policyRef", "release", "suspend", "-required-"])
      expect(text).toContain(field);
    expect(await said("explain", "memi.status.preserved.until")).toContain("When it is released by itself.");
    expect(await said("explain", "memi")).toMatch(/one memory\s+incident\s+of\s+one\s+workload/);
    expect(await said("explain", "mpol.spec.mode")).toMatch(/Recommend: also preserve a\s+pod/);
  });

  test("describe stays short enough to read", async () => {
    const text = await said("describe", "memi", "shown");
    expect(text).toContain("Anonymous memory of worker grows");
    expect(text).not.toContain("<nil>");
  });

  test("wait understands the conditions", async () => {
    const text = await said("wait", "--for=condition=Succeeded", "memi/shown", "--timeout=5s");
    expect(text).toContain("condition met");
  });
});
