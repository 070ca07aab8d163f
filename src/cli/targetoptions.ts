/** The three ways to name a target, which commands share. */
import type { HostRoots } from "../collector/hostfiles.ts";
import { type Given, type OptionSpec, UsageError } from "./arguments.ts";
import { resolveCgroup, resolveContainer, resolveProcess, type Resolved } from "./target.ts";

export const TARGET_OPTIONS: Readonly<Record<"pid" | "cgroup" | "container", OptionSpec>> = {
  pid: { value: "N", help: "A process, with its descendants." },
  cgroup: {
    value: "PATH",
    help: "A memory cgroup (v1 or v2): a folder, a path as in /proc/PID/cgroup, or a service's name.",
  },
  container: {
    value: "ID",
    help: "A container of containerd, CRI-O, Docker or Podman: its id, or the beginning of it.",
  },
};

/** @param operand a cgroup that was named without an option. Throws UsageError unless exactly one target is named */
export async function targetOf(given: Given, roots: HostRoots, operand?: string): Promise<Resolved> {
  const asked = (["pid", "cgroup", "container"] as const).filter((name) => given.has(name));
  const [name] = asked;
  if (asked.length + (operand === undefined ? 0 : 1) !== 1)
    throw new UsageError("Name one target: --pid N, --cgroup PATH or --container ID (--help has examples)");
  if (name === undefined) return resolveCgroup(roots, operand ?? "");
  const value = given.text(name) ?? "";
  if (name === "pid") return resolveProcess(roots, value);
  return name === "cgroup" ? resolveCgroup(roots, value) : resolveContainer(roots, value);
}
