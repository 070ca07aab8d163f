/** Does a real API server take the CRDs as they were meant, with nothing dropped on the way in? */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KINDS } from "../../src/api/crd.ts";
import { type CrdServer, type Json, committedCrd, conditionsOf, connect, crdPath, installCrds } from "./crdserver.ts";

let server: CrdServer;
beforeAll(async () => {
  server = connect();
  await installCrds(server);
});
afterAll(() => server.close());

describe.each(KINDS)("the CRD of $kind", ({ plural, shortName }) => {
  test("is established and structural", async () => {
    const { body } = await server.call("GET", crdPath(plural));
    expect(conditionsOf(body)).toEqual({ Established: "True", NamesAccepted: "True" });
  });

  test("reads back exactly as it was sent", async () => {
    const sent = (committedCrd(plural)["spec"] ?? {}) as Json;
    const stored = ((await server.call("GET", crdPath(plural))).body["spec"] ?? {}) as Json;
    expect(stored["versions"]).toEqual(sent["versions"]);
    expect(stored["names"]).toEqual(sent["names"]);
    expect({ ...stored, conversion: undefined }).toEqual({ ...sent, conversion: undefined });
  });

  test("is found by its short name and by the category", async () => {
    const { body } = await server.call("GET", "/apis/oomscope.dev/v1alpha1");
    const resource = (body["resources"] as Json[]).find((entry) => entry["name"] === plural);
    expect(resource).toMatchObject({ shortNames: [shortName], categories: ["oomscope"] });
    expect(body["resources"]).toContainEqual(expect.objectContaining({ name: `${plural}/status` }));
  });
});
