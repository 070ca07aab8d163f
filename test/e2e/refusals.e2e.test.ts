/** Bad input and bad luck, as a user meets them: what each shows in the resource, with the real operator on the real node. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import { apply, deployEater, freshNamespace, kubectl, policy, ready, until, witness, type Witness } from "./lab.ts";

const NAMESPACE = "e2e-refusals";
const COLLECTORS = "oomscope-collectors";

type Status = NonNullable<MemoryInvestigation["status"]>;
type Told = Partial<NonNullable<Status["conditions"]>[number]>;
type Collected = Partial<NonNullable<Status["collections"]>[number]>;

const TARGET = { apiVersion: "apps/v1", kind: "Deployment" } as const;

function investigation(name: string, target: string, spec: Record<string, unknown> = {}): unknown {
  return {
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name, namespace: NAMESPACE },
    spec: { targetRef: { ...TARGET, name: target }, ...spec },
  };
}

async function refusal(manifest: unknown): Promise<string> {
  try {
    await apply(manifest);
    return "it was accepted";
  } catch (error) {
    return error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
  }
}

describe("bad input and bad luck", () => {
  let seen: Witness;

  const latest = (name: string): MemoryInvestigation | undefined => seen.investigations.get(name)?.latest;
  const condition = (name: string, type: string): Told =>
    latest(name)?.status?.conditions?.find((c) => c.type === type) ?? {};
  const collection = (name: string): Collected => latest(name)?.status?.collections?.at(-1) ?? {};

  beforeAll(async () => {
    await freshNamespace(NAMESPACE);
    await apply(policy(NAMESPACE, { preserve: { strategy: "None" } }));
    await deployEater(NAMESPACE, "sleeper", 1);
    await ready(NAMESPACE, ["sleeper"]);
    seen = await witness(NAMESPACE);
  });
  afterAll(async () => {
    await seen.stop();
    await kubectl("-n", NAMESPACE, "delete", "memoryinvestigations", "--all", "--wait=false");
    await kubectl("delete", "namespace", NAMESPACE, "--wait=false");
  });

  test("an invalid resource is refused at the door with a sentence", async () => {
    expect(await refusal(investigation("bad", "../escape"))).toContain(
      "must be the name of an object: lower-case letters, digits, - and ., such as thumbnail-svc",
    );
    expect(
      await refusal(investigation("bad", "sleeper", { targetRef: { ...TARGET, kind: "Secret", name: "sleeper" } })),
    ).toContain('Unsupported value: "Secret"');
  });

  test("a policy that does not exist is named, and the investigation goes on once it is there", async () => {
    await apply(investigation("no-policy", "sleeper", { policyRef: { kind: "MemoryPolicy", name: "later" } }));
    await until("it is stalled", 30, () => condition("no-policy", "Stalled").status === "True");
    expect(condition("no-policy", "Stalled")).toMatchObject({
      reason: "PolicyNotFound",
      message: "MemoryPolicy later does not exist; create it, or leave policyRef out",
    });
    const late = policy(NAMESPACE, { preserve: { strategy: "None" } }) as { metadata: Record<string, string> };
    await apply({ ...late, metadata: { ...late.metadata, name: "later" } });
    await until("it has ended", 120, () => latest("no-policy")?.status?.result !== undefined);
    expect(latest("no-policy")?.status?.policy?.name).toBe("later");
    expect(condition("no-policy", "Stalled").status).toBe("False");
  });

  test("a target that does not exist is named, and the investigation begins when it appears", async () => {
    await apply(investigation("no-target", "absent"));
    await until("it is stalled", 30, () => condition("no-target", "Stalled").status === "True");
    expect(condition("no-target", "Stalled")).toMatchObject({
      reason: "TargetNotFound",
      message: `No Deployment named absent is in namespace ${NAMESPACE}; the investigation begins when there is one`,
    });
    await deployEater(NAMESPACE, "absent", 1);
    await until("it collects", 120, () => (collection("no-target").samples ?? 0) > 0);
  });

  test("without permission for the Job the API server's sentence stands in status, and the investigation fails", async () => {
    const binding = await kubectl("-n", COLLECTORS, "get", "rolebinding", "oomscope-collections", "-o", "json");
    await kubectl("-n", COLLECTORS, "delete", "rolebinding", "oomscope-collections");
    try {
      await deployEater(NAMESPACE, "forbidden", 1);
      await ready(NAMESPACE, ["forbidden"]);
      await apply(investigation("forbidden", "forbidden"));
      await until("it has failed", 60, () => condition("forbidden", "Succeeded").status === "False");
    } finally {
      const { apiVersion, kind, roleRef, subjects } = JSON.parse(binding) as Record<string, unknown>;
      await apply({
        apiVersion,
        kind,
        roleRef,
        subjects,
        metadata: { name: "oomscope-collections", namespace: COLLECTORS },
      });
    }
    expect(collection("forbidden")).toMatchObject({ state: "Failed", reason: "Forbidden" });
    expect(collection("forbidden").message).toMatch(/cannot create resource "jobs"/);
    expect(latest("forbidden")?.status?.result).toBe("Failed");
  });

  test("a Job that somebody deletes is Lost, and what its collector sent is used", async () => {
    await deployEater(NAMESPACE, "robbed", 1);
    await ready(NAMESPACE, ["robbed"]);
    await apply(investigation("robbed", "robbed"));
    await until("samples have arrived", 120, () => (collection("robbed").samples ?? 0) > 0);
    await kubectl("-n", COLLECTORS, "delete", "job", collection("robbed").job ?? "", "--wait=false");
    await until("it has ended", 120, () => latest("robbed")?.status?.result !== undefined);
    const { collections = [], result } = latest("robbed")?.status ?? {};
    expect(collections).toHaveLength(1);
    expect(["Partial", "Complete"]).toContain(collections[0]?.state);
    expect(result).toBe("Inconclusive");
  });
});
