/** The alert rules as they are shipped, and as a plain Prometheus reads them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
}
interface Shipped {
  readonly spec: { readonly groups: readonly { readonly rules: readonly Rule[] }[] };
}

export const RULE_FILES = ["alerts.yaml", "latency-template.yaml"] as const;

function shipped(file: string): Shipped {
  return parse(readFileSync(join(import.meta.dirname, "../../config/prometheus", file), "utf8")) as Shipped;
}

export function rulesOf(file: string): readonly Rule[] {
  return shipped(file).spec.groups.flatMap(({ rules }) => rules);
}

/** What stands below `spec`: a rule file of Prometheus. */
export function plainRules(file: string): string {
  return stringify(shipped(file).spec, { lineWidth: 0 });
}
