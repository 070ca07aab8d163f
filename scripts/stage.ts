/**
 * Lays out under build/ what the images get: the compiled sources and exactly the packages that they import, with their own
 * dependencies. The collector's image holds nothing that it does not need on a node.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}

const root = join(import.meta.dirname, "..");

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

/** The folder that Node would load `name` from when `from` imports it. */
function resolve(name: string, from: string): string {
  for (let folder = from; folder.startsWith(root); folder = dirname(folder)) {
    const found = join(folder, "node_modules", name);
    if (existsSync(found)) return found;
  }
  throw new Error(`${name}, which ${from} needs, is not installed; run make deps`);
}

function copyPackages(names: readonly string[], from: string, target: string, seen = new Set<string>()): void {
  for (const name of names) {
    const folder = resolve(name, from);
    if (seen.has(folder)) continue;
    seen.add(folder);
    cpSync(folder, join(target, folder.slice(root.length)), {
      recursive: true,
      // Nested packages are copied when somebody needs them; types, maps and sources are no use at run time.
      filter: (path) =>
        path === folder ||
        !/\/node_modules$|\.d\.[cm]?ts$|\.map$|\/(test|tests|docs|benchmarks)$/.test(path.slice(folder.length)),
    });
    copyPackages(Object.keys(manifest(folder).dependencies ?? {}), folder, target, seen);
  }
}

function stage(image: string, packages: readonly string[], sources: readonly string[]): void {
  const target = join(root, "build", image);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  cpSync(join(root, "package.json"), join(target, "package.json"));
  for (const source of sources) cpSync(join(root, "dist", source), join(target, "dist", source), { recursive: true });
  copyPackages(packages, root, target);
}

stage("operator", Object.keys(manifest(root).dependencies ?? {}), [""]);
// With the command line, which is the collector without a cluster.
stage(
  "collector",
  ["zod", "pino"],
  ["api", "collector", "cli", "diagnosis", "evidence", "profile", "report", "seams.js"],
);
