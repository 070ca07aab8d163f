/**
 * The incident to its end on the real node: the fixed release is good, the leaky one is rolled out over it, a Job takes a profile, the finding says whose
 * code it is and leads back to the fixed release, by policy. The real controllers roll out, a second Job measures the new pods under the same load, and the
 * two recordings show that it helped. Needs the images of the example (`make example-images`).
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Manifest } from "../../src/api/collection.ts";
import { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import { systemClock } from "../../src/seams.ts";
import { apply, freshNamespace, inStore, kubectl, policy, ready, until } from "./lab.ts";

const NAMESPACE = "e2e-incident";
const NAME = "whose-code";
const RELEASES = join(import.meta.dirname, "..", "..", "examples", "thumbnail-service", "kubernetes");
/** For this long the fixed release has to have been the newest. */
const SERVES_MS = 15_000;
/** Every worker has seen every size of image by then; what grows after it is the leak. */
const WARM_MS = 12_000;
/** Of the validation; 75 s are measured in any case. */
const WINDOW = "1m";

async function release(which: "fixed" | "leaky"): Promise<void> {
  const manifests = (await kubectl("kustomize", join(RELEASES, which)))
    .split(/^---$/m)
    .filter((text) => !/^kind: Namespace$/m.test(text));
  const here = manifests.map((text) => text.replaceAll("namespace: media", `namespace: ${NAMESPACE}`));
  // Room enough that no pod dies in the middle: kills are another test.
  await apply(here.map((text) => text.replaceAll("memory: 128Mi", "memory: 512Mi")).join("---\n"));
  await ready(NAMESPACE, ["thumbnail-svc", "loadgen"]);
}

/** The other tests of the suite open many investigations, which is what the storm brake is for. */
async function storm(investigations: number | null): Promise<void> {
  const patch = JSON.stringify({ spec: { clusterBudget: { storm: { investigations } } } });
  await kubectl("patch", "clustermemorypolicy", "observe-everything", "--type=merge", "-p", patch);
}

async function deployment(path: string): Promise<string> {
  return kubectl("-n", NAMESPACE, "get", "deployment", "thumbnail-svc", "-o", `jsonpath=${path}`);
}

beforeAll(async () => {
  await freshNamespace(NAMESPACE);
  await storm(1000);
  const account = "--serviceaccount=oomscope-system:oomscope-operator";
  const role = "--clusterrole=oomscope-mitigation";
  await kubectl("-n", NAMESPACE, "create", "rolebinding", "oomscope-mitigation", role, account);
});
afterAll(async () => {
  await storm(null);
  await kubectl("delete", "namespace", NAMESPACE, "--wait=false");
});

async function latest(): Promise<MemoryInvestigation> {
  return MemoryInvestigation.parse(JSON.parse(await kubectl("-n", NAMESPACE, "get", "memi", NAME, "-o", "json")));
}

test("the finding names the function and the library; the roll-out is rolled back to the release before it, once; and measured once more it is shown to have helped", async () => {
  await release("fixed");
  const good = await deployment("{.spec.template.spec.containers[0].image}");
  await systemClock.sleep(SERVES_MS);
  await release("leaky");
  const bad = await deployment("{.spec.template.spec.containers[0].image}");
  expect(bad).not.toBe(good);
  const generation = Number(await deployment("{.metadata.generation}"));
  await systemClock.sleep(WARM_MS);

  const when = { verdicts: ["AnonHeapLeak"], minConfidencePercent: 50, onsetAfterRollout: true };
  const rollback = { healthyFor: `${SERVES_MS / 1000}s` };
  const mitigate = [{ action: "Rollback", approval: "Automatic", when, rollback }];
  const collect = { interval: "5s", duration: "75s", profile: { enabled: true, duration: "15s" } };
  const validate = { window: WINDOW };
  await apply(policy(NAMESPACE, { mode: "Enforce", preserve: { strategy: "None" }, collect, mitigate, validate }));
  await apply({
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name: NAME, namespace: NAMESPACE },
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbnail-svc" } },
  });
  await until("the investigation has ended", 600, async () => (await latest()).status?.result !== undefined);

  const { status } = await latest();
  expect(status?.finding).toMatchObject({
    verdict: "AnonHeapLeak",
    culprit: {
      container: "thumbnail",
      process: { comm: "thumbnail-svc" },
      library: "libimgdecode.so",
      function: "allocate_decode_buffer",
      functionSource: "SymbolTable",
    },
  });
  expect(status?.finding?.summary).toContain("allocate_decode_buffer of libimgdecode.so, called by tiff_decode_tiles");
  const share = status?.finding?.evidence.find(({ signal }) =>
    signal.startsWith("page faults in allocate_decode_buffer"),
  );
  expect(share).toMatchObject({ unit: "%", part: expect.stringMatching(/^profile-\d{4}\.json$/) });
  expect(Number(share?.value)).toBeGreaterThanOrEqual(70);
  const collection = status?.collections?.find(({ purpose }) => purpose === "Diagnose");
  const manifest = Manifest.parse(JSON.parse(await inStore(`collections/${collection?.id}/manifest.json`)));
  expect(manifest.parts.filter(({ kind }) => kind === "profile")).toHaveLength(2);
  expect(manifest.skipped.filter(({ what }) => what.startsWith("profile"))).toEqual([]);

  expect(status?.mitigations).toMatchObject([
    {
      action: "Rollback",
      state: "Done",
      reason: "RolledBack",
      approvedBy: "Policy",
      before: { images: [bad] },
      after: { images: [good] },
    },
  ]);
  expectHelped(status);
  expect(await deployment("{.spec.template.spec.containers[0].image}")).toBe(good);
  expect(Number(await deployment("{.metadata.generation}"))).toBe(generation + 1);
  expect(await deployment("{.status.updatedReplicas}")).toBe(await deployment("{.status.replicas}"));
}, 900_000);

/** The second recording, of pods of the release that was gone back to, beside the first. */
function expectHelped(status: MemoryInvestigation["status"]): void {
  const { checks = [], action, started, until: watched } = status?.validation ?? {};
  console.log(
    checks
      .map((one) => `${one.name} ${one.result}: ${one.before} -> ${one.after} ${one.unit}. ${one.detail}`)
      .join("\n"),
  );
  const of = (name: string): (typeof checks)[number] | undefined => checks.find((one) => one.name === name);
  expect(action).toBe("Rollback");
  expect(Date.parse(watched ?? "") - Date.parse(started ?? "")).toBe(60_000);
  expect(of("Kills")).toMatchObject({ result: "Pass", before: 0, after: 0 });
  const growth = of("MemoryGrowth");
  expect(growth).toMatchObject({ result: "Pass", unit: "bytes per second of CPU time" });
  expect(growth?.before).toBeGreaterThan(2 ** 20);
  expect(growth?.after).toBeLessThan((growth?.before ?? 0) / 10);
  const profile = of("GrowthProfile");
  expect(profile).toMatchObject({ result: "Pass", required: true, unit: "pages per second" });
  expect(profile?.after).toBeLessThanOrEqual((profile?.before ?? 0) / 20);
  expect(of("MemoryLimit")).toMatchObject({ result: "Pass", before: 512 * 2 ** 20, after: 512 * 2 ** 20 });
  // Others live on the node as well.
  expect(["Pass", "Unknown"]).toContain(of("NodeMemAvailable")?.result);
  expect(status?.collections?.map(({ purpose, state }) => [purpose, state])).toEqual([
    ["Diagnose", "Complete"],
    ["Validate", "Complete"],
  ]);
  expect(status?.conditions?.find(({ type }) => type === "Validated")).toMatchObject({
    status: "True",
    reason: "Validated",
  });
  expect(status?.conditions?.find(({ type }) => type === "Succeeded")).toMatchObject({ status: "True" });
  expect(status?.result).toBe("Resolved");
}
