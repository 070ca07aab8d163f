/**
 * Is this JSON one of our kinds, and if not, what is wrong with it? The one door through which objects of ours come in.
 * Unknown fields are no problem (a newer version may have written them); a field that we use and cannot read is.
 */
import type { z } from "zod";
import { MemoryInvestigation } from "./memoryinvestigation.ts";
import { ClusterMemoryPolicy, ClusterMemoryPolicySpec, MemoryPolicy, MemoryPolicySpec } from "./memorypolicy.ts";

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  /** `problem` is a sentence that names the field. */
  | { readonly ok: false; readonly problem: string };

/** Reads a MemoryInvestigation as the API server gives it. Never throws. */
export function parseInvestigation(raw: unknown): Parsed<MemoryInvestigation> {
  return parsed(MemoryInvestigation, raw);
}

/** Reads a MemoryPolicy as the API server gives it. Never throws. */
export function parsePolicy(raw: unknown): Parsed<MemoryPolicy> {
  return parsed(MemoryPolicy, raw);
}

/** Reads a ClusterMemoryPolicy as the API server gives it. Never throws. */
export function parseClusterPolicy(raw: unknown): Parsed<ClusterMemoryPolicy> {
  return parsed(ClusterMemoryPolicy, raw);
}

/** Reads the spec of a policy alone: whatever somebody has written into its status is no reason not to heed it. Never throws. */
export function parsePolicySpec(
  kind: "MemoryPolicy" | "ClusterMemoryPolicy",
  spec: unknown,
): Parsed<MemoryPolicySpec | ClusterMemoryPolicySpec> {
  const result = kind === "MemoryPolicy" ? parsed(MemoryPolicySpec, spec) : parsed(ClusterMemoryPolicySpec, spec);
  return result.ok || result.problem.startsWith("The object ")
    ? result
    : { ok: false, problem: `spec.${result.problem}` };
}

function parsed<T>(schema: z.ZodType<T>, raw: unknown): Parsed<T> {
  const result = schema.safeParse(raw, { reportInput: true });
  if (result.success) return { ok: true, value: result.data };
  const [first, ...rest] = result.error.issues;
  if (first === undefined) return { ok: false, problem: "The object cannot be read" };
  const more = rest.length === 0 ? "" : ` (more problems: ${rest.length})`;
  return { ok: false, problem: `${pathText(first.path)} ${said(first)}${more}` };
}

function pathText(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "The object";
  return path
    .map((step, i) => (typeof step === "number" ? `[${step}]` : `${i === 0 ? "" : "."}${String(step)}`))
    .join("");
}

/** Longest excerpt of somebody else's text in a problem. */
const MAX_QUOTE = 80;

function said(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is missing" : `must be ${article(issue.expected)}, not ${quote(issue.input)}`;
    case "invalid_value":
      return `must be ${issue.values.length === 1 ? "" : "one of "}${issue.values.join(", ")}, not ${quote(issue.input)}`;
    case "too_big":
      return `must ${bound(issue.origin, "at most", Number(issue.maximum))}`;
    case "too_small":
      return `must ${bound(issue.origin, "at least", Number(issue.minimum))}`;
    case "invalid_format":
      // A field with a message of its own says "must be …"; zod's own text names only a regex.
      return issue.message.startsWith("must ")
        ? `${issue.message}, not ${quote(issue.input)}`
        : `has the wrong form: ${quote(issue.input)}`;
    default:
      return `cannot be read: ${issue.message}`;
  }
}

function article(type: string): string {
  return type === "int" ? "a whole number" : /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

function bound(origin: string, word: string, limit: number): string {
  if (origin === "string") return `have ${word} ${limit} characters`;
  if (origin === "array") return `have ${word} ${limit} entries`;
  return `be ${word} ${limit}`;
}

function quote(input: unknown): string {
  const text = JSON.stringify(input) ?? typeof input;
  return text.length <= MAX_QUOTE ? text : `${text.slice(0, MAX_QUOTE - 1)}…`;
}
