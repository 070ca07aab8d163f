/** Does a real API server take each policy of docs/policies.md as it stands there, and keep all of it? */
import { afterAll, beforeAll, expect, test } from "vitest";
import { cookbook } from "./cookbook.ts";
import { type CrdServer, connect, installCrds } from "./crdserver.ts";

let server: CrdServer;
beforeAll(async () => {
  server = connect();
  await installCrds(server);
});
afterAll(() => server.close());

test.each(cookbook().map((recipe) => [recipe.metadata.name, recipe] as const))("%s is taken", async (_name, recipe) => {
  const { kind, metadata } = recipe;
  const namespace = metadata.namespace === undefined ? undefined : "default";
  const path = kind === "MemoryPolicy" ? `namespaces/${namespace}/memorypolicies` : "clustermemorypolicies";
  const body = { ...recipe, metadata: { ...metadata, namespace } };
  const answer = await server.call(
    "POST",
    `/apis/oomscope.dev/v1alpha1/${path}?dryRun=All&fieldValidation=Strict`,
    body,
  );
  expect(answer.body).toMatchObject({ kind, spec: recipe.spec });
});
