/** The alert rules in the real promtool: they are valid, fire on their incidents and stay silent on their look-alikes. `make test-alerts` */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { plainRules, RULE_FILES } from "./rules.ts";

const run = promisify(execFile);
let promtool: string;
let folder: string;

beforeAll(async () => {
  promtool = (await run(join(import.meta.dirname, "build"), ["--path"])).stdout.trim();
  folder = await mkdtemp(join(tmpdir(), "oomscope-alerts-"));
  for (const file of RULE_FILES) await writeFile(join(folder, file), plainRules(file));
});
afterAll(() => rm(folder, { recursive: true }));

/** What promtool says, when it fails too. */
async function asked(...words: string[]): Promise<string> {
  const { stdout, stderr } = await run(promtool, words, { cwd: folder }).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  return `${stdout}${stderr}`;
}

async function tested(change: (rules: string) => string = (rules) => rules): Promise<string> {
  const text = await readFile(join(import.meta.dirname, "alerts.promtool.yaml"), "utf8");
  for (const file of RULE_FILES) await writeFile(join(folder, file), change(plainRules(file)));
  await writeFile(join(folder, "tests.yaml"), stringify({ ...(parse(text) as object), rule_files: RULE_FILES }));
  return asked("test", "rules", "tests.yaml");
}

test("the rules are valid, and promtool's linter has nothing to say", async () => {
  for (const file of RULE_FILES)
    expect(await asked("check", "rules", "--lint=all", "--lint-fatal", file)).toContain("SUCCESS");
});

test("each fires on its incident and is silent on its look-alikes", async () => {
  expect(await tested()).toMatch(/SUCCESS/);
});

test.each([
  ["the ten minutes of a node", (rules: string) => rules.replace("for: 10m", "for: 1m")],
  ["the age of a kill", (rules: string) => rules.replace("< 900", "< 1e9")],
  ["the floors of growth", (rules: string) => rules.replaceAll("> 1.01 *", "> 0 *")],
  ["the limit that growth would reach", (rules: string) => rules.replace("4 * 3600", "4 * 36000")],
  ["kills that are none", (rules: string) => rules.replace("NotAKill|", "")],
  [
    "the share of large inputs",
    (rules: string) =>
      rules.replace(
        "ratio > 0.05 and oomscope:large_inputs:ratio > 1.5",
        "ratio > 0.01 and oomscope:large_inputs:ratio > 0",
      ),
  ],
])("without %s the tests fail", async (_, change) => {
  expect(RULE_FILES.some((file) => change(plainRules(file)) !== plainRules(file))).toBe(true);
  expect(await tested(change)).toMatch(/FAILED/);
});
