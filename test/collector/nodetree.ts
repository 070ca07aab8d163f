/** A node's /proc and /sys/fs/cgroup as folders, laid out as a kubelet with a given driver and runtime lays them out, with recorded contents. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { CollectionPlan } from "../../src/api/collection.ts";
import type { HostRoots } from "../../src/collector/hostfiles.ts";

export const FIXTURES = join(import.meta.dirname, "..", "fixtures");
export const POD = "8b2a1f60-0c1e-4b7e-9d53-2f6a7c0e4d11";
export const OTHER_POD = "11111111-2222-4333-8444-555555555555";
export const CONTAINER = "3c7b9a52e6d84f01b8c2a9d07e5f46138a1d2c3b4e5f60718293a4b5c6d7e8f9";
export const OTHER_CONTAINER = "a".repeat(64);

export interface NodeTree {
  readonly roots: HostRoots;
  readonly folder: string;
  /** A memory cgroup; `pids` as its cgroup.procs shows them to the reader. */
  cgroup(path: string, pids: readonly number[]): Promise<void>;
  /** A process with the recorded readings, under another pid and name. @param cgroup its path as /proc/PID/cgroup shows it */
  process(pid: number, cgroup: string, comm?: string): Promise<void>;
  remove(): Promise<void>;
}

export async function createNodeTree(version: 1 | 2): Promise<NodeTree> {
  const folder = await mkdtemp(join(tmpdir(), "oomscope-node-"));
  const recorded = join(FIXTURES, "host", "v1-6.18");
  const roots = { proc: join(folder, "proc"), cgroup: join(folder, "cgroup"), kmsg: join(folder, "kmsg") };
  const memory = version === 2 ? roots.cgroup : join(roots.cgroup, "memory");
  await mkdir(join(roots.proc, "pressure"), { recursive: true });
  await mkdir(memory, { recursive: true });
  for (const name of ["meminfo", "vmstat"]) await cp(join(recorded, name), join(roots.proc, name));
  await cp(join(recorded, "pressure-memory"), join(roots.proc, "pressure", "memory"));
  await writeFile(join(roots.proc, "stat"), "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\nbtime 1763900000\n");
  await writeFile(roots.kmsg, "");
  if (version === 2) await writeFile(join(memory, "cgroup.controllers"), "cpuset cpu io memory pids\n");
  else await cp(join(recorded, "cgroup", "memory.stat"), join(memory, "memory.stat"));

  return {
    roots,
    folder,
    cgroup: async (path, pids) => {
      const directory = join(memory, path);
      await mkdir(directory, { recursive: true });
      await writeFile(join(directory, "cgroup.procs"), pids.map((pid) => `${pid}\n`).join(""));
      if (version === 1) await cp(join(recorded, "cgroup"), directory, { recursive: true });
      else await writeV2(directory);
      // Every level above has its files too.
      for (let above = dirname(path); above !== "/" && above !== "."; above = dirname(above))
        if (version === 1) await cp(join(recorded, "cgroup"), join(memory, above), { recursive: true });
        else await writeV2(join(memory, above));
    },
    process: async (pid, cgroup, comm = "thumbnail-svc") => {
      const directory = join(roots.proc, String(pid));
      await mkdir(directory, { recursive: true });
      const stat = await readFile(join(recorded, "process", "stat"), "utf8");
      await writeFile(
        join(directory, "stat"),
        stat.replace(/^\d+ \(.*\)/, () => `${pid} (${comm})`),
      );
      const status = await readFile(join(recorded, "process", "status"), "utf8");
      await writeFile(join(directory, "status"), status.replace(/^Tgid:.*$/m, `Tgid:\t${pid}`));
      await cp(join(recorded, "process", "smaps_rollup"), join(directory, "smaps_rollup"));
      const line = version === 2 ? `0::${cgroup}\n` : `9:name=systemd:/\n4:memory:${cgroup}\n0::/elsewhere\n`;
      await writeFile(join(directory, "cgroup"), line);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The statistics are those of the kernel's report in v2-6.1-memcg.kmsg.txt. */
async function writeV2(directory: string): Promise<void> {
  const kmsg = await readFile(join(FIXTURES, "kmsg", "v2-6.1-memcg.kmsg.txt"), "utf8");
  const stat = /-;(anon \d+.*)$/m.exec(kmsg)?.[1]?.replaceAll("\\x0a", "\n") ?? "";
  await writeFile(join(directory, "memory.stat"), `${stat}\n`);
  await writeFile(join(directory, "memory.current"), "100663296\n");
  await writeFile(join(directory, "memory.max"), "100663296\n");
  await writeFile(join(directory, "memory.high"), "max\n");
  await writeFile(join(directory, "memory.swap.current"), "0\n");
  await writeFile(join(directory, "memory.events"), "low 0\nhigh 0\nmax 73\noom 1\noom_kill 1\noom_group_kill 0\n");
}

export function planOf(changes: Partial<CollectionPlan> = {}): CollectionPlan {
  return {
    schema: 1,
    collection: "thumbnail-svc-3f9c-diagnose-0",
    purpose: "Diagnose",
    pods: [
      {
        namespace: "media",
        name: "thumbnail-svc-1",
        uid: POD,
        role: "Preserved",
        containers: [{ name: "app", id: CONTAINER }],
      },
    ],
    intervalMs: 10,
    durationMs: 20,
    stallBudgetMs: 500,
    ...changes,
  };
}
