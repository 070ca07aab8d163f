/**
 * The incident of the example on the real node: the leaky release under load, a policy that asks for a profile, a Job that takes it. Does the finding say
 * whose code it is? Needs the images of the example (`make example-images`).
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Manifest } from "../../src/api/collection.ts";
import { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import { systemClock } from "../../src/seams.ts";
import { apply, freshNamespace, inStore, kubectl, policy, ready, until } from "./lab.ts";

const NAMESPACE = "e2e-thumbnail";
const NAME = "whose-code";
const LEAKY = join(import.meta.dirname, "..", "..", "examples", "thumbnail-service", "kubernetes", "leaky");
/** Every worker has seen every size of image by then; what grows after it is the leak. */
const WARM_MS = 12_000;

beforeAll(async () => {
  await freshNamespace(NAMESPACE);
  const manifests = (await kubectl("kustomize", LEAKY))
    .split(/^---$/m)
    .filter((text) => !/^kind: Namespace$/m.test(text));
  // Room enough that no pod dies in the middle: kills are another test.
  const here = manifests.map((text) => text.replaceAll("namespace: media", `namespace: ${NAMESPACE}`));
  await apply(here.map((text) => text.replaceAll("memory: 128Mi", "memory: 512Mi")).join("---\n"));
  await ready(NAMESPACE, ["thumbnail-svc", "loadgen"]);
  await systemClock.sleep(WARM_MS);
});
afterAll(() => kubectl("delete", "namespace", NAMESPACE, "--wait=false"));

async function latest(): Promise<MemoryInvestigation> {
  return MemoryInvestigation.parse(JSON.parse(await kubectl("-n", NAMESPACE, "get", "memi", NAME, "-o", "json")));
}

test("the leaky release under load: the finding names the function and the library, from the profile that the Job took", async () => {
  const collect = { interval: "5s", duration: "90s", profile: { enabled: true, duration: "15s" } };
  await apply(policy(NAMESPACE, { mode: "Observe", collect }));
  await apply({
    apiVersion: "oomscope.dev/v1alpha1",
    kind: "MemoryInvestigation",
    metadata: { name: NAME, namespace: NAMESPACE },
    spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "thumbnail-svc" } },
  });
  await until("the investigation has ended", 200, async () => (await latest()).status?.result !== undefined);

  const { finding, collections = [] } = (await latest()).status ?? {};
  expect(finding).toMatchObject({
    verdict: "AnonHeapLeak",
    culprit: {
      container: "thumbnail",
      process: { comm: "thumbnail-svc" },
      library: "libimgdecode.so",
      function: "allocate_decode_buffer",
      functionSource: "SymbolTable",
    },
  });
  expect(finding?.summary).toContain("allocate_decode_buffer of libimgdecode.so, called by tiff_decode_tiles");
  const share = finding?.evidence.find(({ signal }) => signal.startsWith("page faults in allocate_decode_buffer"));
  expect(share).toMatchObject({ unit: "%", part: expect.stringMatching(/^profile-\d{4}\.json$/) });
  expect(Number(share?.value)).toBeGreaterThanOrEqual(70);

  const collection = collections.at(-1);
  const manifest = Manifest.parse(JSON.parse(await inStore(`collections/${collection?.id}/manifest.json`)));
  expect(manifest.parts.filter(({ kind }) => kind === "profile")).toHaveLength(2);
  expect(manifest.skipped.filter(({ what }) => what.startsWith("profile"))).toEqual([]);
});
