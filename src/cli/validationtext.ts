/** Whether a mitigation helped, as a table for a terminal: each check with its numbers, and what was seen. */
import type { Validation } from "../api/validation.ts";
import { wrap } from "./arguments.ts";
import { table } from "./text.ts";

/** Lines for a story, after an empty one. Its text must be safe to print. */
export function validationLines({ action, until, checks }: Validation, width: number): string[] {
  const rows = checks.map(({ name, result, before, after, unit }) => [
    name,
    result,
    before === undefined ? "?" : String(before),
    after === undefined ? "?" : String(after),
    unit,
  ]);
  const details = checks.flatMap(({ name, detail }) => {
    const [first = "", ...rest] = wrap(`${name}: ${detail}`, Math.max(24, width - 2));
    return [`  ${first}`, ...rest.map((line) => `    ${line}`)];
  });
  return [
    `Validation of ${action}, watched until ${until}`,
    ...table([["check", "result", "before", "after", "unit"], ...rows], ["<", "<", ">", ">", "<"]),
    ...details,
  ];
}
