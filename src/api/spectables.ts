/**
 * The tables in the pages of docs/spec, made from the same schemas as the CRDs: fields, refusals, reasons; and the list of docs/verdicts.md.
 * A page holds each between two marker lines; the text around them is written by hand.
 */
import { ADVICE } from "./advice.ts";
import { KINDS, kindSchema } from "./crd.ts";
import { CONDITION_TYPES, type ConditionType, Verdict } from "./memoryinvestigation.ts";
import { POLICY_CONDITION_TYPES, type PolicyConditionType } from "./memorypolicy.ts";
import { REASONS, type Reason } from "./reasons.ts";
import type { StructuralSchema } from "./structural.ts";
import { VERDICTS, slugOf } from "./verdicts.ts";

/** The pages and the names of the tables in each. */
export const MARKED_TABLES: ReadonlyMap<string, readonly string[]> = new Map([
  ["docs/spec/memoryinvestigation.md", ["spec", "refusals", "status", "conditions", "held", "events"]],
  ["docs/spec/memorypolicy.md", ["spec", "refusals", "status", "conditions"]],
  ["docs/spec/clustermemorypolicy.md", ["spec", "refusals", "status"]],
  ["docs/verdicts.md", ["verdicts"]],
]);

/** The page with its tables renewed. Throws when a pair of markers is missing or a pair is there that nobody fills. */
export function withTables(page: string, text: string): string {
  const names = MARKED_TABLES.get(page) ?? [];
  let result = text;
  for (const name of names) {
    const [open, close] = markers(name);
    const from = result.indexOf(open);
    const to = result.indexOf(close);
    if (from < 0 || to < from) throw new Error(`${page} needs the lines "${open}" and "${close}"`);
    result = `${result.slice(0, from + open.length)}\n\n${table(page, name)}\n\n${result.slice(to)}`;
  }
  for (const [, name = ""] of result.matchAll(/<!-- generated:begin ([a-z]+) -->/g)) {
    if (!names.includes(name)) throw new Error(`${page} has markers for "${name}", which nothing fills`);
  }
  return result;
}

function markers(name: string): [string, string] {
  return [`<!-- generated:begin ${name} -->`, `<!-- generated:end ${name} -->`];
}

function table(page: string, name: string): string {
  if (name === "verdicts") return Verdict.options.map(verdictSection).join("\n\n");
  if (name === "conditions")
    return conditionTables(page.endsWith("policy.md") ? POLICY_CONDITION_TYPES : CONDITION_TYPES);
  if (name === "held") return reasonTable(reasonsOf((on) => on.includes("Hold")));
  if (name === "events") return reasonTable(reasonsOf((on) => on.includes("Event")));
  const definition = KINDS.find((kind) => page.endsWith(`/${kind.kind.toLowerCase()}.md`));
  if (definition === undefined) throw new Error(`${page} belongs to no kind`);
  const { spec, status } = kindSchema(definition).properties ?? {};
  if (spec === undefined || status === undefined) throw new Error(`${definition.kind} has no spec or status`);
  switch (name) {
    case "spec":
      return fieldTable(spec, true);
    case "status":
      return fieldTable(status, false);
    case "refusals":
      return refusals(spec);
    default:
      throw new Error(`Nothing makes the table "${name}"`);
  }
}

interface Row {
  readonly path: string;
  readonly schema: StructuralSchema;
  readonly required: boolean;
}

function rows(schema: StructuralSchema, prefix = ""): Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    const row = { path, schema: field, required: schema.required?.includes(name) ?? false };
    const inner = field.type === "array" ? field.items : field;
    return [row, ...rows(inner ?? field, `${path}${field.type === "array" ? "[]" : ""}.`)];
  });
}

function fieldTable(schema: StructuralSchema, withDefaults: boolean): string {
  const head = withDefaults ? ["Field", "Type", "Default", "Meaning"] : ["Field", "Type", "Meaning"];
  const body = rows(schema).map(({ path, schema: field, required }) => {
    const fallback = required ? "required" : field.default === undefined ? "" : defaultText(field.default);
    return [`\`${path}\``, typeText(field), ...(withDefaults ? [fallback] : []), field.description ?? ""];
  });
  return markdownTable(head, body);
}

function defaultText(value: unknown): string {
  // An object's default only repeats those of its fields, which have lines of their own.
  if (typeof value === "object" && !Array.isArray(value)) return "";
  return Array.isArray(value) ? `\`[${value.join(", ")}]\`` : `\`${JSON.stringify(value).replaceAll('"', "")}\``;
}

function typeText(schema: StructuralSchema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(", ");
  if (schema.format === "date-time") return "time";
  if (schema.type === "array") {
    const { items } = schema;
    return items?.enum === undefined ? `list of ${items?.type ?? "object"}s` : `list of ${typeText(items)}`;
  }
  if (schema.additionalProperties !== undefined) return `map to ${schema.additionalProperties.type}`;
  if (schema.type === "integer" && schema.minimum !== undefined && schema.maximum !== undefined)
    return `integer, ${schema.minimum} to ${schema.maximum}`;
  return schema.type;
}

function refusals(spec: StructuralSchema): string {
  const all = [{ path: "", schema: spec }, ...rows(spec), ...itemRows(spec)];
  const lines = all.flatMap(({ path, schema }) =>
    (schema["x-kubernetes-validations"] ?? []).map((rule) => [
      `\`spec${path === "" ? "" : `.${path}`}\``,
      rule.message,
    ]),
  );
  return markdownTable(["Where", "What the API server says"], lines);
}

/** Items of lists have rules of their own. */
function itemRows(schema: StructuralSchema): { path: string; schema: StructuralSchema }[] {
  return rows(schema).flatMap(({ path, schema: field }) =>
    field.items?.type === "object" ? [{ path: `${path}[]`, schema: field.items }] : [],
  );
}

function conditionTables(types: readonly (ConditionType | PolicyConditionType)[]): string {
  return types
    .flatMap((type) => {
      const reasons = reasonsOf((on) => on.includes(type));
      if (reasons.length === 0) return [];
      return [`#### ${type}`, reasonTable(reasons)];
    })
    .join("\n\n");
}

function reasonsOf(accepts: (on: readonly string[]) => boolean): Reason[] {
  return (Object.keys(REASONS) as Reason[]).filter((reason) => accepts(ADVICE[reason].on));
}

function reasonTable(reasons: readonly Reason[]): string {
  return markdownTable(
    ["Reason", "Meaning", "What to do"],
    reasons.map((reason) => [`\`${reason}\``, REASONS[reason], ADVICE[reason].advice]),
  );
}

function verdictSection(verdict: Verdict): string {
  const { nature, meaning, known, lookAlike, apart, advice, subKinds } = VERDICTS[verdict];
  const finer = Object.entries(subKinds).map(([name, text]) => [`\`${name}\``, text]);
  return [
    `### ${slugOf(verdict)}`,
    `\`${verdict}\` · ${NATURES[nature]}`,
    meaning,
    `**How we know.** ${known}`,
    `**Nearest look-alike:** [\`${lookAlike}\`](#${slugOf(lookAlike)}). ${apart}`,
    `**What to do.** ${advice}`,
    ...(finer.length === 0 ? [] : [markdownTable(["`subKind`", "Meaning"], finer)]),
  ].join("\n\n");
}

const NATURES: Readonly<Record<(typeof VERDICTS)[Verdict]["nature"], string>> = {
  Grows: "it grows without end",
  Limit: "what it is given is the trouble",
  Harmless: "nothing grows without end",
  Unknown: "no verdict",
};

function markdownTable(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", String.raw`\|`)).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}
