/** What docs/cli.md and the help say is what the commands are. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { helpText } from "../../src/cli/arguments.ts";
import { EXIT } from "../../src/cli/command.ts";
import { COMMANDS } from "../../src/cli/commands.ts";

const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "cli.md"), "utf8");

test("every exit code stands in the table", () => {
  const documented = [...page.matchAll(/^\| (\d+) +\|/gm)].map(([, code]) => Number(code));
  expect(documented).toEqual([...Object.values(EXIT), 130]);
});

test.each(COMMANDS.map(({ spec }) => [spec.name, spec] as const))(
  "%s stands on the page, and its help teaches with an example within 80 columns",
  (name, spec) => {
    expect(page).toContain(name);
    const text = helpText(spec);
    expect(text).toMatch(new RegExp(`^Usage: oomscope ${name} `));
    const [about = "", examples = ""] = text.split("Examples:\n");
    expect(examples).toContain(`oomscope ${name}`);
    expect(Math.max(...about.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  },
);
