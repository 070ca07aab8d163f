/**
 * Who takes part? Builds the candidates, compiled as they would ship, and says how each is started.
 */
import { execFileSync, type StdioOptions } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { ApiServer } from "../../test/support/apiserver.ts";
import type { CandidateSpec } from "./candidate.ts";

export const CANDIDATES = [
  "ours",
  "ours-roomy",
  "client-node",
  "client-node-paged",
  "client-go",
  "client-go-trimmed",
  "client-go-json",
  "client-go-trimmed-json",
] as const;
export type CandidateName = (typeof CANDIDATES)[number];

/** Without those that only matter where the others end: ours with a larger heap, client-node's with a list in pages. */
export const DEFAULT_CANDIDATES = CANDIDATES.filter((name) => name !== "ours-roomy" && name !== "client-node-paged");

const ROOT = join(import.meta.dirname, "../..");
const COMPILED = join(ROOT, "build/bench/bench/reflector");

/** The flags that the operator's image starts Node with. Throws when the Dockerfile has none. */
export function operatorFlags(): readonly string[] {
  const dockerfile = readFileSync(join(ROOT, "Dockerfile"), "utf8");
  const stage = dockerfile.slice(dockerfile.indexOf("AS operator"));
  const entrypoint = /^ENTRYPOINT (\[.*\])$/m.exec(stage)?.[1];
  if (entrypoint === undefined) throw new Error("The operator's stage of the Dockerfile has no ENTRYPOINT");
  return (JSON.parse(entrypoint) as string[]).filter((word) => word.startsWith("--"));
}

function goBinary(): string {
  const cache =
    process.env["OOMSCOPE_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "oomscope");
  return join(cache, "bench", "clientgo");
}

/** Compiles all candidates. Throws when tsc or go fails; both say why on standard error. */
export function buildCandidates(): void {
  const quiet: { readonly stdio: StdioOptions } = { stdio: ["ignore", "inherit", "inherit"] };
  execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", join(ROOT, "bench/reflector/tsconfig.json")], quiet);
  const binary = goBinary();
  mkdirSync(join(binary, ".."), { recursive: true });
  execFileSync(process.env["GO"] ?? "go", ["build", "-trimpath", "-o", binary, "."], {
    ...quiet,
    cwd: join(ROOT, "bench/reflector/clientgo"),
    env: { ...process.env, CGO_ENABLED: "0" },
  });
}

/** Lays out the server's secrets as they are in a pod. Returns the folder. */
function serviceAccount(server: ApiServer): string {
  const directory = join(server.directory, "service-account");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "token"), server.adminToken, { mode: 0o600 });
  writeFileSync(join(directory, "ca.crt"), server.ca);
  writeFileSync(join(directory, "namespace"), "default");
  return directory;
}

/** How to start `name` against `server`. `flags` are Node's for our own; client-node gets room for whatever it needs. */
export function candidateSpec(
  name: CandidateName,
  server: ApiServer,
  marker: string,
  flags: readonly string[],
): CandidateSpec {
  if (name === "ours" || name === "ours-roomy") {
    const { hostname, port } = new URL(server.url);
    return {
      name,
      command: process.execPath,
      // The last of a kind wins.
      args: [...flags, ...(name === "ours" ? [] : ["--max-old-space-size=1024"]), join(COMPILED, "ours.js")],
      env: {
        NODE_ENV: "production",
        BENCH_MARKER: marker,
        BENCH_SERVICE_ACCOUNT: serviceAccount(server),
        KUBERNETES_SERVICE_HOST: hostname,
        KUBERNETES_SERVICE_PORT: port,
      },
    };
  }
  if (name === "client-node" || name === "client-node-paged") {
    return {
      name,
      command: process.execPath,
      args: ["--max-old-space-size=8192", join(COMPILED, "clientnode.js")],
      env: {
        NODE_ENV: "production",
        BENCH_MARKER: marker,
        KUBECONFIG: server.kubeconfig,
        ...(name === "client-node" ? {} : { BENCH_PAGE: "500" }),
      },
    };
  }
  const options = [`--kubeconfig=${server.kubeconfig}`, `--marker=${marker}`];
  if (name.includes("trimmed")) options.push("--trim");
  if (name.endsWith("json")) options.push("--json");
  return { name, command: goBinary(), args: options, env: { HOME: server.directory } };
}
