/** The walls of ARCHITECTURE.md, read from the sources: who may import whom, and who may ask the machine for time, chance or its environment. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => ({ name, text: readFileSync(join(root, "src", name), "utf8") }));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

function importsOf({ name, text }: (typeof sources)[number]): Import[] {
  const statements = text.matchAll(/^import\s+(type\s+)?(?:[^"']*?\s+from\s+)?["']([^"']+)["'];/gms);
  return [...statements].map(([, typeOnly, target = ""]) => ({
    from: name,
    to: target.startsWith(".") ? relative(join(root, "src"), join(root, "src", dirname(name), target)) : target,
    typeOnly: typeOnly !== undefined,
  }));
}

const imports = sources.flatMap(importsOf);
const folderOf = (path: string): string => (path.includes("/") ? (path.split("/")[0] ?? "") : path);

describe("the walls", () => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    api: ["api"],
    context: ["api", "context"],
    incident: ["api", "context", "incident"],
    diagnosis: ["api", "profile", "diagnosis"],
    profile: ["api", "profile"],
    evidence: ["api", "evidence", "seams.ts"],
    collector: ["api", "collector", "seams.ts"],
    validation: ["api", "profile", "diagnosis", "validation"],
    report: ["api", "profile", "diagnosis", "report"],
    // The cluster, and what it is asked to decide, only for the commands that speak to one, and only when they run: see below.
    cli: ["api", "collector", "diagnosis", "evidence", "incident", "profile", "report", "cluster", "cli", "seams.ts"],
    cluster: ["api", "context", "incident", "evidence", "cluster", "seams.ts"],
    notify: ["api", "notify", "seams.ts"],
    controller: [
      "api",
      "incident",
      "diagnosis",
      "validation",
      "evidence",
      "cluster",
      "notify",
      "controller",
      "seams.ts",
      "settings.ts",
    ],
  };
  test.each(Object.keys(allowed))("%s imports only what lies below it", (folder) => {
    const broken = imports
      .filter(({ from, to }) => folderOf(from) === folder && to.endsWith(".ts"))
      .filter(({ to }) => !allowed[folder]?.includes(folderOf(to)));
    expect(broken).toEqual([]);
  });

  test("only the door talks to Kubernetes and undici", () => {
    const outside = imports.filter(
      ({ from, to, typeOnly }) =>
        /^(@kubernetes\/client-node|kubernetes-fluent-client|undici)/.test(to) &&
        !typeOnly &&
        folderOf(from) !== "cluster",
    );
    expect(outside).toEqual([]);
  });

  test("the collector's image holds all that its two programs load at start", () => {
    const loaded = new Set(["cli/oomscope.ts", "collector/main.ts"]);
    for (const module of loaded) {
      for (const { from, to, typeOnly } of imports) if (!typeOnly && from === module) loaded.add(to);
    }
    const needed = new Set([...loaded].filter((name) => !name.startsWith("node:")).map(folderOf));
    const stage = readFileSync(join(root, "scripts", "stage.ts"), "utf8");
    const collector = stage.slice(stage.lastIndexOf("stage("));
    expect([...needed].filter((name) => !collector.includes(`"${name.replace(/\.ts$/, ".js")}"`))).toEqual([]);
  });

  test("the command line loads the cluster's code only when a command needs it, and in one file", () => {
    const atStart = imports.filter(
      ({ from, to, typeOnly }) =>
        folderOf(from) === "cli" && ["cluster", "incident"].includes(folderOf(to)) && !typeOnly,
    );
    expect(atStart).toEqual([]);
    const later = sources.filter(
      ({ name, text }) => folderOf(name) === "cli" && /import\("\.\.\/(cluster|incident)\//.test(text),
    );
    expect(later.map(({ name }) => name)).toEqual(["cli/clustercommand.ts"]);
  });

  test("evidence is listened for in one file and sent to a bucket in one file; nothing else of it touches the network", () => {
    const network = sources
      .filter(({ name }) => folderOf(name) === "evidence")
      .filter(({ text }) =>
        /^import (?!type |\{ isIP \})[^;]*"node:(https?|http2|net|tls|dgram|dns)|\bfetch\(/m.test(text),
      );
    expect(network.map(({ name }) => name).toSorted()).toEqual([
      "evidence/s3client.ts",
      "evidence/s3request.ts",
      "evidence/server.ts",
    ]);
    const asks = network.filter(({ text }) => /^import \{[^}]*\brequest\b[^}]*\} from "node:https?"/m.test(text));
    expect(asks.map(({ name }) => name)).toEqual(["evidence/s3request.ts"]);
  });

  test("people are told in one file, and what they are told is made without input or output", () => {
    const reaching = imports.filter(
      ({ from, to, typeOnly }) => folderOf(from) === "notify" && to.startsWith("node:") && !typeOnly,
    );
    expect([...new Set(reaching.map(({ from, to }) => `${from} ${to}`))].toSorted()).toEqual([
      "notify/post.ts node:http",
      "notify/post.ts node:https",
      "notify/receivers.ts node:fs/promises",
      "notify/receivers.ts node:path",
    ]);
  });

  test("decisions, diagnosis and reports do no input or output", () => {
    const io = imports.filter(
      ({ from, to }) =>
        ["context", "incident", "diagnosis", "validation", "report"].includes(folderOf(from)) &&
        to.startsWith("node:") &&
        to !== "node:crypto",
    );
    expect(io).toEqual([]);
  });
});

describe("the seams", () => {
  const machine =
    /\b(Date\.now\(|new Date\(\)|setTimeout\(|setInterval\(|Math\.random\(|randomUUID\(|performance\.now\(|AbortSignal\.timeout\()|(setTimeout|setInterval|scheduler)\b[^;]*from "node:timers/;
  test("nobody but seams.ts asks the machine for time or chance", () => {
    const found = sources.filter(({ name, text }) => name !== "seams.ts" && machine.test(withoutComments(text)));
    expect(found.map(({ name }) => name)).toEqual([]);
  });

  test("only the processes read the environment", () => {
    const found = sources.filter(({ text }) => withoutComments(text).includes("process.env"));
    expect(found.map(({ name }) => name).toSorted()).toEqual(["cli/main.ts", "collector/main.ts", "main.ts"]);
  });
});

test("every folder of src stands in the code map", () => {
  const map = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
  const folders = new Set(sources.map(({ name }) => folderOf(name)).filter((name) => !name.endsWith(".ts")));
  expect([...folders].filter((folder) => !map.includes(`src/${folder}`))).toEqual([]);
});

function withoutComments(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, "")
    .replaceAll(/^\s*\/\/.*$/gm, "")
    .replaceAll(/\s\/\/ .*$/gm, "");
}
