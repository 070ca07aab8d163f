/** Objects as kubectl writes them for machines: json, yaml and names. */
import type { ApiObject } from "../cluster/api.ts";
import { type Given, type OptionSpec, UsageError } from "./arguments.ts";
import { shown } from "./text.ts";

export type Format = "json" | "yaml" | "wide" | "name" | "text";

/** How an object is asked for; `text` where nothing was said. */
export function formatOf(given: Given, known: readonly Format[]): Format {
  const asked = given.text("output");
  if (asked === undefined) return "text";
  const format = known.find((one) => one === asked);
  if (format !== undefined) return format;
  throw new UsageError(
    `--output ${shown(asked)} is not known: write ${known.map((one) => `-o ${one}`).join(", ")}, or nothing`,
  );
}

export function outputOption(known: readonly Format[]): OptionSpec {
  return { value: known.join("|"), short: "o", help: "How to print, as kubectl does. The default is text for people." };
}

/** Of a list what `kubectl get -o json` prints: a List, also when it is empty or has one entry. */
export async function objectText(
  what: ApiObject | readonly ApiObject[],
  format: "json" | "yaml" | "name",
): Promise<string> {
  const many = isList(what);
  const items = many ? what : [what];
  if (format === "name")
    return items.map(({ metadata }) => `memoryinvestigation.oomscope.dev/${metadata.name ?? ""}\n`).join("");
  const plain = items.map(withoutManagedFields);
  const value = many ? { apiVersion: "v1", kind: "List", metadata: { resourceVersion: "" }, items: plain } : plain[0];
  return dataText(value, format);
}

/** What is no Kubernetes object, for machines. */
export async function dataText(value: unknown, format: "json" | "yaml"): Promise<string> {
  if (format === "json") return `${JSON.stringify(value, null, 4)}\n`;
  const { stringify } = await import("yaml");
  return stringify(value, { lineWidth: 0 });
}

function isList(what: ApiObject | readonly ApiObject[]): what is readonly ApiObject[] {
  return Array.isArray(what);
}

function withoutManagedFields(object: ApiObject): ApiObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
