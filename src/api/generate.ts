/**
 * Writes what follows from the contract: `crds/*.yaml` and the tables in `docs/spec/*.md`.
 * `node src/api/generate.ts` writes; with `--check` it writes nothing and exits 1 with the names of the files that differ.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { KINDS, customResourceDefinition } from "./crd.ts";
import { MARKED_TABLES, withTables } from "./spectables.ts";

const HEADER = "# Generated from src/api by `make generate`. Do not edit.\n";

/** Every generated file: its path from the root of the repository, and its text. `read` gives the text that a page has now. */
export function generatedFiles(read: (path: string) => string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const definition of KINDS)
    files.set(`crds/${definition.plural}.yaml`, HEADER + yaml(customResourceDefinition(definition)));
  files.set(
    "crds/kustomization.yaml",
    HEADER +
      yaml({
        apiVersion: "kustomize.config.k8s.io/v1beta1",
        kind: "Kustomization",
        resources: KINDS.map((definition) => `${definition.plural}.yaml`),
      }),
  );
  for (const page of MARKED_TABLES.keys()) files.set(page, withTables(page, read(page)));
  return files;
}

function yaml(value: unknown): string {
  // No anchors and no folding surprises: the same object gives the same text, and `git diff` shows one line for one change.
  return stringify(value, { aliasDuplicateObjects: false, lineWidth: 120, indentSeq: false });
}

function main(check: boolean): number {
  const root = join(import.meta.dirname, "../..");
  const read = (path: string): string => {
    try {
      return readFileSync(join(root, path), "utf8");
    } catch {
      return "";
    }
  };
  const stale = [...generatedFiles(read)].filter(([path, text]) => read(path) !== text);
  for (const [path, text] of stale) {
    process.stdout.write(`${check ? "differs" : "written"}: ${path}\n`);
    if (check) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  if (check && stale.length > 0) {
    process.stdout.write("Run `make generate` and commit the result.\n");
    return 1;
  }
  return 0;
}

if (import.meta.main) process.exitCode = main(process.argv.includes("--check"));
