/**
 * Does a manifest tell the truth about what lies in its collection?
 * It must list exactly the parts that the collector sent, by kind, number, size and checksum. The operator's own `context`
 * is not in it, because the collector does not know it.
 */
import { Manifest, type PartKind, partFileName } from "../api/collection.ts";
import type { StoredPart } from "./folder.ts";
import { BadJson, parseJson } from "./json.ts";

/** Only this much is ever parsed inside the operator: a thousand parts, the plan and what was skipped fit many times over. */
export const MAX_MANIFEST_BYTES = 2 * 2 ** 20;

/** Why the manifest is refused, in one line made of our own words; undefined when it is right. */
export function manifestProblem(
  bytes: Uint8Array,
  collection: string,
  stored: Iterable<StoredPart>,
): string | undefined {
  let manifest: Manifest;
  try {
    manifest = parseJson(bytes, Manifest);
  } catch (cause) {
    if (cause instanceof BadJson) return `manifest.json is ${cause.message}`;
    throw cause;
  }
  if (manifest.collection !== collection) return "manifest.json names another collection";
  return listingProblems(manifest, stored)[0];
}

/** What differs between the list and what is here; also how a reader checks a pack that came from elsewhere. */
export function listingProblems(manifest: Manifest, stored: Iterable<Omit<StoredPart, "lines">>): string[] {
  const here = new Map<string, Omit<StoredPart, "lines">>();
  for (const part of stored) if (isListed(part.kind)) here.set(partFileName(part.kind, part.index), part);
  const listed = new Set<string>();
  const problems: string[] = [];
  for (const claim of manifest.parts) {
    const name = partFileName(claim.kind, claim.index);
    const part = here.get(name);
    if (!isListed(claim.kind)) problems.push(`the manifest may not list ${name}`);
    else if (listed.has(name)) problems.push(`the manifest lists ${name} twice`);
    else if (part === undefined) problems.push(`the manifest lists ${name}, which is not here`);
    else if (part.bytes !== claim.bytes)
      problems.push(`${name} has ${part.bytes} bytes, the manifest says ${claim.bytes}`);
    else if (part.sha256 !== claim.sha256) problems.push(`${name} has another checksum than the manifest says`);
    listed.add(name);
  }
  for (const name of here.keys())
    if (!listed.has(name)) problems.push(`${name} is here, but the manifest does not list it`);
  return problems;
}

function isListed(kind: PartKind): boolean {
  return kind !== "manifest" && kind !== "context";
}
