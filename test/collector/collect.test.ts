import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { Host, Manifest, OomReports, Sample, type CollectionPlan } from "../../src/api/collection.ts";
import { collect } from "../../src/collector/collect.ts";
import { createDirectorySink } from "../../src/collector/directorysink.ts";
import { listingProblems } from "../../src/evidence/manifestcheck.ts";
import { type Clock, systemClock } from "../../src/seams.ts";
import {
  CONTAINER,
  createNodeTree,
  FIXTURES,
  OTHER_CONTAINER,
  OTHER_POD,
  planOf,
  POD,
  type NodeTree,
} from "./nodetree.ts";

const bare = POD.replaceAll("-", "_");
const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

async function tree(version: 1 | 2): Promise<NodeTree> {
  const made = await createNodeTree(version);
  trees.push(made);
  return made;
}

async function run(
  node: NodeTree,
  plan: CollectionPlan = planOf(),
  signal = new AbortController().signal,
  clock: Clock = systemClock,
) {
  const directory = join(node.folder, "pack");
  const manifest = await collect({
    plan,
    roots: node.roots,
    sink: await createDirectorySink(directory),
    clock,
    log: pino({ level: "silent" }),
    version: "0.0.0",
    signal,
    usage: () => ({ cpuMs: 1, peakRssBytes: 1 }),
  });
  const names = await readdir(directory);
  const texts = new Map<string, string>();
  for (const name of names) texts.set(name, await readFile(join(directory, name), "utf8"));
  const samples = [...texts]
    .filter(([name]) => name.startsWith("readings-"))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, text]) => text.trimEnd().split("\n"))
    .map((line) => Sample.parse(JSON.parse(line)));
  const part = (name: string): unknown => JSON.parse(texts.get(name) ?? "null");
  return { directory, manifest, names, samples, part, text: [...texts.values()].join("\n") };
}

const LAYOUTS = [
  ["v1, cgroupfs, Burstable", 1, `/kubepods/burstable/pod${POD}/${CONTAINER}`],
  ["v1, cgroupfs, Guaranteed", 1, `/kubepods/pod${POD}/${CONTAINER}`],
  [
    "v1, systemd, containerd",
    1,
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${bare}.slice/cri-containerd-${CONTAINER}.scope`,
  ],
  ["v2, cgroupfs, BestEffort", 2, `/kubepods/besteffort/pod${POD}/${CONTAINER}`],
  [
    "v2, systemd, CRI-O",
    2,
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${bare}.slice/crio-${CONTAINER}.scope`,
  ],
  ["v2, systemd, Docker, Guaranteed", 2, `/kubepods.slice/kubepods-pod${bare}.slice/docker-${CONTAINER}.scope`],
  ["v2, a kubelet below a cgroup of its own", 2, `/kubelet/kubepods/burstable/pod${POD}/${CONTAINER}`],
  [
    "v2, systemd, as kind sets it up",
    2,
    `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${bare}.slice/cri-containerd-${CONTAINER}.scope`,
  ],
] as const;

test.each(LAYOUTS)(
  "%s: the container, its memory by kind and its processes are found",
  async (_name, version, path) => {
    const node = await tree(version);
    await node.cgroup(path, [42]);
    await node.process(42, path);
    const { manifest, samples } = await run(node);
    expect(manifest.outcome).toBe("Complete");
    expect(samples.map((sample) => sample.index)).toEqual([0, 1, 2]);
    const pod = samples[0]?.pods[0];
    expect(pod?.cgroup?.path).toBe(path.slice(0, path.lastIndexOf("/")));
    expect(pod?.containers).toHaveLength(1);
    const container = pod?.containers[0];
    expect(container).toMatchObject({ id: CONTAINER, name: "app", cgroup: { version, path } });
    expect(container?.cgroup.kinds.anon).toBe(version === 1 ? 28_000_256 : 100_200_448);
    expect(container?.processes).toHaveLength(1);
    expect(container?.processes[0]).toMatchObject({ pid: 42, comm: "thumbnail-svc", rollup: { Pss: 29_891 * 1024 } });
  },
);

test.each([
  ["v1 shows no pid of another namespace", 1, [], `/kubepods/burstable/pod${POD}/${CONTAINER}`],
  ["v2 shows a zero for each", 2, [0, 0], `/../../pod${POD}/${CONTAINER}`],
  ["v2, and the collector's class is another", 2, [0, 0], `/../../../burstable/pod${POD}/${CONTAINER}/inner`],
] as const)(
  "without the host's pid namespace, where %s, processes are found by their own cgroup file",
  async (_name, version, shown, seen) => {
    const node = await tree(version);
    await node.cgroup(`/kubepods/burstable/pod${POD}/${CONTAINER}`, [...shown]);
    await node.process(42, seen);
    await node.process(43, seen.replace(POD, OTHER_POD), "canary-other");
    const { samples, text } = await run(node);
    expect(samples[0]?.pods[0]?.containers[0]?.processes.map((p) => p.pid)).toEqual([42]);
    expect(text).not.toContain("canary");
  },
);

test("a container that names a cgroup of its own like another pod is not taken for it", async () => {
  const own = `/kubepods/burstable/pod${OTHER_POD}/${OTHER_CONTAINER}`;
  const fake = `${own}/kubepods/burstable/pod${POD}/${CONTAINER}`;
  for (const [version, seen] of [
    [1, fake],
    [2, `/../../pod${OTHER_POD}/${OTHER_CONTAINER}/pod${POD}/${CONTAINER}`],
    [2, `/../../pod${OTHER_POD}/kubepods/pod${POD}/${CONTAINER}`],
  ] as const) {
    const node = await tree(version);
    await node.cgroup(own, [7]);
    await node.cgroup(fake, [7]);
    await node.process(7, seen, "attacker");
    const { samples, text } = await run(node);
    expect(samples[0]?.pods[0]).toEqual({ uid: POD, containers: [] });
    // The victim is there, but its cgroup.procs shows nothing: the attacker must not fill the gap.
    await node.cgroup(`/kubepods/burstable/pod${POD}/${CONTAINER}`, []);
    expect((await run(node)).samples[0]?.pods[0]?.containers).toEqual([]);
    expect(text).not.toContain("attacker");
  }
});

test("a pid that was given to another pod's process after it was listed is left out", async () => {
  const node = await tree(2);
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await node.cgroup(path, [42, 43]);
  await node.process(42, path);
  await node.process(43, `/kubepods/burstable/pod${OTHER_POD}/${OTHER_CONTAINER}`, "canary-other");
  const { samples, text } = await run(node);
  expect(samples[0]?.pods[0]?.containers[0]?.processes.map((p) => p.pid)).toEqual([42]);
  expect(text).not.toContain("canary-other");
});

test("names that look like the rest of the line are read as names", async () => {
  const node = await tree(2);
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await node.cgroup(path, [42]);
  await node.process(42, path, "a) R 1 (\nb");
  const process = (await run(node)).samples[0]?.pods[0]?.containers[0]?.processes[0];
  expect(process).toMatchObject({ comm: "a) R 1 (\nb", ppid: 6641, threads: 1, startTicks: 593_600 });
});

test("the pack is what its manifest lists, readable by its owner only, and each part has the form of the contract", async () => {
  const node = await tree(1);
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await node.cgroup(path, [42]);
  await node.process(42, path);
  await writeFile(node.roots.kmsg, await readFile(join(FIXTURES, "kmsg", "v1-6.18-memcg.kmsg.txt")));
  const { directory, manifest, names, part } = await run(node);
  expect(Host.parse(part("host.json"))).toMatchObject({
    cgroup: "v1",
    cgroupDriver: "cgroupfs",
    cpus: 2,
    bootTime: "2025-11-23T12:13:20.000Z",
    clocksource: expect.stringMatching(/^[\w-]+$/),
  });
  expect(Math.abs(manifest.clock?.steppedMs ?? Number.NaN)).toBeLessThan(1000);
  expect(Manifest.parse(part("manifest.json"))).toEqual(manifest);
  expect(OomReports.parse(part("oom-reports.json")).reports).toHaveLength(1);
  const stored = manifest.parts.map((claim) => ({ ...claim, lines: claim.lines ?? 0 }));
  expect(listingProblems(manifest, stored)).toEqual([]);
  // How many snapshots fit depends on how late samples are.
  expect(names).toContain("mappings-0000.json");
  expect(names.filter((name) => !name.startsWith("mappings-")).toSorted()).toEqual([
    "host.json",
    "manifest.json",
    "oom-reports.json",
    "readings-0000.ndjson",
  ]);
  for (const name of names) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
});

test("no secret, host name or other tenant's name gets into any part", async () => {
  const node = await tree(2);
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  const foreign = `/kubepods/burstable/pod${OTHER_POD}/${OTHER_CONTAINER}`;
  await node.cgroup(path, [42]);
  await node.process(42, path);
  await node.cgroup(foreign, [77]);
  await node.process(77, foreign, "canary-tenant");
  for (const name of ["environ", "cmdline"])
    await writeFile(join(node.roots.proc, "42", name), `TOKEN=canary-${name}\0`);
  await mkdir(join(node.roots.proc, "sys", "kernel"), { recursive: true });
  await writeFile(join(node.roots.proc, "sys", "kernel", "hostname"), "canary-host\n");
  const global = await readFile(join(FIXTURES, "kmsg", "v2-6.1-global.kmsg.txt"), "utf8");
  const ours = global
    .replaceAll("api-svc", "canary-task")
    .replaceAll("python3", "canary-invoker")
    .replace("task_memcg=/system.slice/batch.service", `task_memcg=${path}`);
  const theirs = global.replaceAll("batch-job", "canary-victim");
  await writeFile(
    node.roots.kmsg,
    `${ours}6,900,636047000,-;audit: canary-log oom_kill_process: 3 callbacks suppressed\n${theirs}`,
  );
  const { part, text } = await run(node);
  const reports = OomReports.parse(part("oom-reports.json"));
  expect(reports).toMatchObject({ othersDropped: 1, notes: ["oom_kill_process: 3 callbacks suppressed"] });
  expect(reports.reports[0]).toMatchObject({ global: true, podUid: POD, tasksOmitted: 2 });
  expect(reports.reports[0]?.userIp).toBeUndefined();
  expect(text).not.toContain("canary");
});

test("a clock that was set meanwhile is told of, with how far", async () => {
  const node = await tree(2);
  let asked = 0;
  // Somebody sets the wall clock an hour back after the collection has begun; the other clock goes on.
  const now = (): Date => new Date(Date.now() - (asked++ === 0 ? 0 : 3_600_000));
  const { manifest } = await run(node, planOf(), undefined, { ...systemClock, now });
  expect(manifest.clock?.steppedMs).toBeGreaterThan(-3_601_000);
  expect(manifest.clock?.steppedMs).toBeLessThan(-3_599_000);
});

test("a stop in the middle leaves a partial pack that says so", async () => {
  const node = await tree(2);
  const path = `/kubepods/burstable/pod${POD}/${CONTAINER}`;
  await node.cgroup(path, [42]);
  await node.process(42, path);
  const stop = new AbortController();
  const pending = run(node, planOf({ intervalMs: 60_000, durationMs: 600_000 }), stop.signal);
  setTimeout(() => stop.abort(), 300);
  const { manifest, samples } = await pending;
  expect(manifest).toMatchObject({ outcome: "Partial", samples: samples.length, samplesExpected: 11 });
  expect(manifest.skipped).toContainEqual(expect.objectContaining({ what: "readings", reason: "Interrupted" }));
});
