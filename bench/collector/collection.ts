/** A whole collection by the command line as it ships, and what it cost itself. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Manifest, partFileName } from "../../src/api/collection.ts";
import { type Cost, costOf } from "../reflector/candidate.ts";

const ROOT = join(import.meta.dirname, "../..");
/** /proc says what a process cost only while it lives. */
const LOOK_MS = 250;

export interface CollectionSpec {
  readonly pid: number;
  readonly intervalMs: number;
  readonly durationMs: number;
  readonly profile: boolean;
  readonly nodeFlags: readonly string[];
}

export interface Collection {
  readonly manifest: Manifest;
  /** Of the whole process: from the start of Node to the finding that it prints. */
  readonly cost: Cost;
  /** Processes in its last sample. */
  readonly processes: number;
}

/** The flags that the collector's image starts Node with. Throws when the Dockerfile has none. */
export function imageFlags(): readonly string[] {
  const entrypoint = /^ENTRYPOINT (\[.*collector\/main\.js"\])$/m.exec(readFileSync(join(ROOT, "Dockerfile"), "utf8"));
  if (entrypoint?.[1] === undefined) throw new Error("The Dockerfile has no ENTRYPOINT of the collector");
  return (JSON.parse(entrypoint[1]) as string[]).filter((word) => word.startsWith("--"));
}

/** Throws when it left no pack, or one without a process in it. */
export async function runCollection(spec: CollectionSpec): Promise<Collection> {
  const folder = mkdtempSync(join(tmpdir(), "oomscope-bench-"));
  try {
    const pack = join(folder, "pack");
    const args = [
      "--pid",
      spec.pid,
      "--interval",
      `${spec.intervalMs / 1000}s`,
      "--duration",
      `${spec.durationMs / 1000}s`,
    ];
    const profile = spec.profile ? ["--profile"] : [];
    const main = join(ROOT, "dist/cli/main.js");
    const words = [...spec.nodeFlags, main, "collect", ...args.map(String), ...profile, "--output", pack];
    const child = spawn(process.execPath, words, { stdio: ["ignore", "ignore", "pipe"] });
    const end = (): unknown => child.kill();
    process.once("exit", end);
    let errors = "";
    child.stderr.on("data", (bytes: Buffer) => {
      errors = `${errors}${bytes.toString()}`.slice(-4000);
    });
    let cost: Cost | undefined;
    const timer = setInterval(() => {
      try {
        if (child.pid !== undefined) cost = costOf(child.pid);
      } catch {
        // It has ended since.
      }
    }, LOOK_MS);
    const code = await new Promise((resolve) => {
      child.on("close", resolve);
      child.on("error", resolve);
    });
    clearInterval(timer);
    process.off("exit", end);
    return { ...readPack(pack, `oomscope collect ended with ${String(code)}:\n${errors}`), cost: sane(cost) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function sane(cost: Cost | undefined): Cost {
  if (cost === undefined || !(cost.peakBytes > 0)) throw new Error("What the collection cost was not measured");
  return cost;
}

function readPack(pack: string, why: string): Pick<Collection, "manifest" | "processes"> {
  try {
    const manifest = Manifest.parse(JSON.parse(readFileSync(join(pack, "manifest.json"), "utf8")));
    const parts = manifest.parts.filter((part) => part.kind === "readings").length;
    const last =
      readFileSync(join(pack, partFileName("readings", parts - 1)), "utf8")
        .trimEnd()
        .split("\n")
        .at(-1) ?? "";
    const { local } = JSON.parse(last) as { local?: { processes: unknown[] } };
    if (local === undefined || local.processes.length === 0) throw new Error("no process in the last sample");
    return { manifest, processes: local.processes.length };
  } catch (error) {
    throw new Error(`The collection measured nothing (${String(error)}). ${why}`, { cause: error });
  }
}
