/** Are the generated files those that are committed, and are the documents complete? */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ADVICE } from "../../src/api/advice.ts";
import { KINDS, customResourceDefinition } from "../../src/api/crd.ts";
import { generatedFiles } from "../../src/api/generate.ts";
import { CONDITION_TYPES, Verdict } from "../../src/api/memoryinvestigation.ts";
import { POLICY_CONDITION_TYPES } from "../../src/api/memorypolicy.ts";
import { REASONS } from "../../src/api/reasons.ts";
import { MARKED_TABLES, withTables } from "../../src/api/spectables.ts";
import { VERDICTS, slugOf } from "../../src/api/verdicts.ts";

const ROOT = join(import.meta.dirname, "../..");
const committed = (path: string): string => readFileSync(join(ROOT, path), "utf8");

describe("the generator", () => {
  test.each([...generatedFiles(committed)])(
    "makes %s as it is committed; if not, run `make generate`",
    (path, text) => {
      expect(text).toBe(committed(path));
    },
  );

  test("owns every file in crds/", () => {
    const generated = [...generatedFiles(committed).keys()].filter((path) => path.startsWith("crds/"));
    expect(
      readdirSync(join(ROOT, "crds"))
        .map((file) => `crds/${file}`)
        .toSorted(),
    ).toEqual(generated.toSorted());
  });

  test("writes YAML that reads back as the definition", () => {
    for (const definition of KINDS)
      expect(parse(committed(`crds/${definition.plural}.yaml`))).toEqual(
        JSON.parse(JSON.stringify(customResourceDefinition(definition))),
      );
  });

  test("with --check names what differs, writes nothing and fails; without, mends it", () => {
    const copy = mkdtempSync(join(tmpdir(), "oomscope-generate-"));
    try {
      for (const part of ["src/api", "crds", "docs", "package.json", "node_modules/zod", "node_modules/yaml"])
        cpSync(join(ROOT, part), join(copy, part), { recursive: true });
      const run = (...args: string[]): string =>
        execFileSync(process.execPath, ["src/api/generate.ts", ...args], { cwd: copy, encoding: "utf8" });
      expect(run("--check")).toBe("");
      const file = join(copy, "crds/memorypolicies.yaml");
      const before = readFileSync(file, "utf8");
      writeFileSync(file, before.replace("cooldown", "cooldwon"));
      expect(() => run("--check")).toThrow(
        expect.objectContaining({ status: 1, stdout: expect.stringContaining("differs: crds/memorypolicies.yaml") }),
      );
      expect(readFileSync(file, "utf8")).not.toBe(before);
      expect(run()).toBe("written: crds/memorypolicies.yaml\n");
      expect(readFileSync(file, "utf8")).toBe(before);
    } finally {
      rmSync(copy, { recursive: true });
    }
  }, 30_000);
});

describe("a page of the specification", () => {
  const [page = ""] = MARKED_TABLES.keys();

  test("without its markers is refused", () => {
    expect(() => withTables(page, "# Nothing here")).toThrow('needs the lines "<!-- generated:begin spec -->"');
  });

  test("with markers that nothing fills is refused", () => {
    expect(() => withTables(page, `${committed(page)}\n<!-- generated:begin moon -->`)).toThrow('markers for "moon"');
  });

  test("keeps what is written by hand", () => {
    const text = committed(page);
    expect(withTables(page, `Before.\n${text}\nAfter.`)).toBe(`Before.\n${text}\nAfter.`);
  });

  test.each(KINDS)("of $kind names every field and every refusal", (definition) => {
    const text = committed(`docs/spec/${definition.kind.toLowerCase()}.md`);
    const json = JSON.stringify(customResourceDefinition(definition));
    for (const [, message = ""] of json.matchAll(/"message":"((?:[^"\\]|\\.)*)"/g)) expect(text).toContain(message);
  });

  test("of MemoryInvestigation or of a policy has every reason and every condition type", () => {
    const text = committed("docs/spec/memoryinvestigation.md") + committed("docs/spec/memorypolicy.md");
    for (const [reason, sentence] of Object.entries(REASONS)) {
      expect(text).toContain(`\`${reason}\``);
      expect(text).toContain(sentence);
    }
    const used = new Set(Object.values(ADVICE).flatMap((advice) => advice.on));
    for (const type of [...CONDITION_TYPES, ...POLICY_CONDITION_TYPES])
      if (used.has(type)) expect(text).toContain(`#### ${type}`);
  });

  test("of verdicts has a section for each, by its slug, and each look-alike is another", () => {
    const text = committed("docs/verdicts.md");
    for (const verdict of Verdict.options) {
      expect(text).toContain(`### ${slugOf(verdict)}\n\n\`${verdict}\``);
      expect(VERDICTS[verdict].lookAlike).not.toBe(verdict);
      for (const [subKind, meaning] of Object.entries(VERDICTS[verdict].subKinds))
        expect(text).toContain(`| \`${subKind}\` | ${meaning} |`);
    }
    expect(slugOf("CowUnsharing")).toBe("cow-unsharing");
  });

  test("shows examples that are committed samples or parse as such", () => {
    for (const path of MARKED_TABLES.keys()) {
      if (!path.startsWith("docs/spec/")) continue;
      const [, yaml = ""] = /```yaml\n([^]*?)```/.exec(committed(path)) ?? [];
      expect(parse(yaml)).toMatchObject({ apiVersion: "oomscope.dev/v1alpha1" });
    }
  });
});

test("no reason is a sentence of its own words only", () => {
  for (const [reason, sentence] of Object.entries(REASONS)) {
    expect(reason).toMatch(/^[A-Z][A-Za-z]{2,40}$/);
    expect(sentence).toMatch(/^[A-Z].*\.$|^spec\..*\.$/);
    expect(sentence.replaceAll(/[^a-z]/gi, "").toLowerCase()).not.toBe(reason.toLowerCase());
  }
});
