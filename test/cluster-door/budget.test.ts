import { expect, test } from "vitest";
import type { MemoryInvestigation } from "../../src/api/memoryinvestigation.ts";
import { countActive } from "../../src/cluster/observe.ts";
import { anInvestigation } from "../incident/builders.ts";

function under(
  namespace: string,
  policy?: { readonly kind: "MemoryPolicy" | "ClusterMemoryPolicy"; readonly name: string },
) {
  const made = anInvestigation("one");
  const status: MemoryInvestigation["status"] = policy === undefined ? {} : { policy: { ...policy, mode: "Observe" } };
  const investigation = { ...made, metadata: { ...made.metadata, namespace }, status };
  return { uid: namespace, name: "one", namespace, resourceVersion: "1", investigation };
}

const count = (policy: { kind: string; name: string }, ...active: ReturnType<typeof under>[]) =>
  countActive(policy, "media", { investigations: () => active });

test("a MemoryPolicy has a budget of its own, whatever others of its name do elsewhere", () => {
  const policy = { kind: "MemoryPolicy", name: "default" } as const;
  expect(count(policy, under("media", policy), under("shop", policy), under("shop"))).toEqual({
    policy: 1,
    cluster: 3,
  });
});

test("a ClusterMemoryPolicy counts everywhere, and what has no status yet may be under it", () => {
  const policy = { kind: "ClusterMemoryPolicy", name: "all" } as const;
  expect(count(policy, under("media", policy), under("shop", policy), under("shop"))).toEqual({
    policy: 3,
    cluster: 3,
  });
});
