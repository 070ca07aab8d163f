/** What `oomscope doctor` prints. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checksText } from "../../src/cli/doctorcommand.ts";
import { CHECKS } from "../../src/cluster/checkup.ts";

test("each check on a line, what to do below it, and a count at the end", () => {
  expect(
    checksText([
      { id: "kinds", level: "Ok", says: "all 3 are served" },
      { id: "operator", level: "Problem", says: `0 of 1 available: ${"word ".repeat(24)}`, advice: "kubectl describe" },
      { id: "nodes", level: "Unknown", says: "\u001b[31mred" },
    ]),
  ).toBe(`ok       kinds     all 3 are served
problem  operator  0 of 1 available: word word word word word word word word word word word word word word word word
                   word word word word word word word word
                   -> kubectl describe
unknown  nodes     \\u{1b}[31mred

1 problem, 1 unknown.
`);
  expect(checksText([{ id: "kinds", level: "Ok", says: "yes" }])).toMatch(/\n\nAll is well\.\n$/);
});

test("every check stands on the page", () => {
  const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "cli.md"), "utf8");
  expect(CHECKS.map(([id]) => id).filter((id) => !new RegExp(`^(ok|warning|problem) +${id} `, "m").test(page))).toEqual(
    [],
  );
});
