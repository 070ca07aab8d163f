/** The policies of docs/policies.md, as they stand there. */
import { readFileSync } from "node:fs";
import { parse } from "yaml";

export interface Recipe {
  readonly apiVersion: string;
  readonly kind: "MemoryPolicy" | "ClusterMemoryPolicy";
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

export function cookbook(): Recipe[] {
  const page = readFileSync(new URL("../../docs/policies.md", import.meta.url), "utf8");
  return [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = ""]) => parse(text) as Recipe);
}
