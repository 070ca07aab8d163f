/** When are two templates the same, and what lies between them? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  patchText,
  plainTemplate,
  templateHash,
  templatePatch,
  type Json,
  type PatchStep,
} from "../../src/incident/templates.ts";

const template = {
  metadata: { labels: { app: "thumbs" } },
  spec: { containers: [{ name: "app", image: "thumbs:1", env: [{ name: "TOKEN", value: "s3cret" }] }] },
};

describe("a template", () => {
  test("is the same in a Deployment, its ReplicaSet and a ControllerRevision", () => {
    const inReplicaSet = {
      spec: template.spec,
      metadata: { creationTimestamp: null, labels: { "pod-template-hash": "5b1c", app: "thumbs" } },
    };
    const inControllerRevision = {
      $patch: "replace",
      metadata: { ...template.metadata, creationTimestamp: null },
      spec: template.spec,
    };
    expect(templateHash(inReplicaSet)).toBe(templateHash(template));
    expect(templateHash(inControllerRevision)).toBe(templateHash(template));
    expect(plainTemplate(inControllerRevision)).toEqual(template);
  });

  test("is another with any other value, also where only the order of a list differs", () => {
    const two = (names: readonly string[]): Json => ({ spec: { containers: names.map((name) => ({ name })) } });
    expect(templateHash(two(["a", "b"]))).not.toBe(templateHash(two(["b", "a"])));
    expect(templateHash({ ...template, spec: {} })).not.toBe(templateHash(template));
  });
});

/** RFC 6902, as far as our own patches need it. */
function applied(document: Json, steps: readonly PatchStep[]): Json {
  const root = { spec: { template: structuredClone(document) } } as unknown as Record<string, unknown>;
  for (const step of steps) {
    const parts = step.path
      .split("/")
      .slice(1)
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = parts.pop() ?? "";
    let place = root;
    for (const part of parts) place = place[part] as Record<string, unknown>;
    if (step.op === "test") expect(place[last]).toEqual(step.value);
    else if (step.op === "remove") delete place[last];
    else place[last] = structuredClone(step.value);
  }
  return (root["spec"] as { template: Json }).template;
}

describe("the patch between two templates", () => {
  const key = fc.constantFrom("a", "b", "x/y", "t~e", "image");
  const value = fc.letrec<{ json: Json }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<Json>("1", 2, true),
      fc.dictionary(key, tie("json"), { maxKeys: 3 }),
      fc.array(tie("json"), { maxLength: 3 }),
    ),
  })).json;
  const object = fc.dictionary(key, value, { maxKeys: 4 });

  test("makes the one out of the other, both ways, and is empty between equals", () => {
    fc.assert(
      fc.property(object, object, (from, to) => {
        expect(templateHash(applied(from, templatePatch(from, to)))).toBe(templateHash(to));
        expect(templateHash(applied(to, templatePatch(to, from)))).toBe(templateHash(from));
        expect(templatePatch(from, from)).toEqual([]);
      }),
    );
  });

  test("is not shown where it holds what status must not show, or is long", () => {
    const changed = (over: Record<string, Json>): Json => ({
      ...template,
      spec: { containers: [{ ...template.spec.containers[0], ...over }] },
    });
    const text = (to: Json): string | undefined => patchText(templatePatch(template, to));
    expect(text(changed({ image: "thumbs:2" }))).toContain("thumbs:2");
    for (const secret of [
      changed({ env: [{ name: "TOKEN", value: "other" }] }),
      changed({ command: ["run", "--token=s3cret"] }),
      { ...template, spec: { containers: [...template.spec.containers, { name: "b", args: ["--token=s3cret"] }] } },
      { ...template, spec: {} },
    ])
      expect(text(secret)).toBeUndefined();
    expect(text(changed({ image: "i".repeat(5000) }))).toBeUndefined();
  });
});
