import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import {
  findPod,
  type Hierarchy,
  kubepodsRoots,
  memoryHierarchy,
  namingOf,
  pidsOf,
  podOfPath,
  podOfProcess,
} from "../../src/collector/podcgroups.ts";
import { CONTAINER, OTHER_CONTAINER, OTHER_POD, POD } from "./nodetree.ts";

const bare = POD.replaceAll("-", "_");
const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** A hierarchy with these cgroups in it. */
async function hierarchy(paths: readonly string[]): Promise<Hierarchy> {
  const root = await mkdtemp(join(tmpdir(), "oomscope-pods-"));
  folders.push(root);
  for (const path of paths) await mkdir(join(root, path), { recursive: true });
  return { version: 2, root };
}

const find = async (made: Hierarchy, uid = POD) => findPod(made, await kubepodsRoots(made), uid);

/** The folder of the pod, the name of its container's, driver, runtime. */
const FORMS = [
  ["cgroupfs, Guaranteed", `/kubepods/pod${POD}`, CONTAINER, "cgroupfs", "unknown"],
  ["cgroupfs, Burstable", `/kubepods/burstable/pod${POD}`, CONTAINER, "cgroupfs", "unknown"],
  ["cgroupfs, BestEffort", `/kubepods/besteffort/pod${POD}`, CONTAINER, "cgroupfs", "unknown"],
  [
    "systemd, containerd, Guaranteed",
    `/kubepods.slice/kubepods-pod${bare}.slice`,
    `cri-containerd-${CONTAINER}.scope`,
    "systemd",
    "containerd",
  ],
  [
    "systemd, containerd, Burstable",
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${bare}.slice`,
    `cri-containerd-${CONTAINER}.scope`,
    "systemd",
    "containerd",
  ],
  [
    "systemd, CRI-O, BestEffort",
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${bare}.slice`,
    `crio-${CONTAINER}.scope`,
    "systemd",
    "cri-o",
  ],
  [
    "systemd, Docker, Burstable",
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${bare}.slice`,
    `docker-${CONTAINER}.scope`,
    "systemd",
    "docker",
  ],
  ["a kubelet below a cgroup of its own", `/a/b/kubepods/burstable/pod${POD}`, CONTAINER, "cgroupfs", "unknown"],
  [
    "a static pod, whose uid has no dashes",
    `/kubepods/pod${POD.replaceAll("-", "")}`,
    CONTAINER,
    "cgroupfs",
    "unknown",
  ],
] as const;

test.each(FORMS)(
  "%s: the pod and its container are found, and told from the path",
  async (_n, pod, name, driver, runtime) => {
    const path = `${pod}/${name}`;
    const made = await hierarchy([path, path.replace(/\/[^/]*$/, "/not-a-container")]);
    expect(await find(made)).toEqual({ path: pod, containers: [{ id: CONTAINER, path }] });
    expect(await find(made, OTHER_POD)).toBeUndefined();
    expect(podOfPath(path)).toEqual({ podUid: POD, containerId: CONTAINER });
    expect(podOfPath(pod)).toEqual({ podUid: POD });
    // What the container makes below itself is the container's.
    expect(podOfPath(`${path}/init.scope/x`)).toEqual({ podUid: POD, containerId: CONTAINER });
    expect(await namingOf(made, await kubepodsRoots(made))).toEqual({ driver, runtime });
  },
);

test("the helper of CRI-O is no container", async () => {
  const pod = `/kubepods.slice/kubepods-pod${bare}.slice`;
  const made = await hierarchy([
    `${pod}/crio-${CONTAINER}.scope`,
    `${pod}/crio-conmon-${OTHER_CONTAINER}.scope`,
    `${pod}/cri-containerd-${"c".repeat(63)}.scope`,
    `${pod}/${"g".repeat(64)}`,
  ]);
  expect((await find(made))?.containers.map((container) => container.id)).toEqual([CONTAINER]);
  expect(podOfPath(`${pod}/crio-conmon-${CONTAINER}.scope`)).toEqual({ podUid: POD });
});

test.each([
  ["below a container of another pod", `/kubepods/burstable/pod${OTHER_POD}/${OTHER_CONTAINER}/pod${POD}/${CONTAINER}`],
  [
    "with a kubepods of its own",
    `/kubepods/pod${OTHER_POD}/${OTHER_CONTAINER}/kubepods/burstable/pod${POD}/${CONTAINER}`,
  ],
  ["in place of a container", `/kubepods/pod${OTHER_POD}/pod${POD}/${CONTAINER}`],
])("a cgroup %s is never the pod whose uid it bears", async (_where, path) => {
  expect(await find(await hierarchy([path]))).toBeUndefined();
  expect(podOfPath(path).podUid).toBe(OTHER_POD);
});

test.each([
  "",
  "/",
  "/kubepods",
  `/system.slice/pod${POD}/${CONTAINER}`,
  `/kubepods/xpod${POD}/${CONTAINER}`,
  `/kubepods/pod${POD}x/${CONTAINER}`,
  `/xkubepods/pod${POD}/${CONTAINER}`,
  `/kubepods/guaranteed/pod${POD}/${CONTAINER}`,
  `/kubepods/burstable/besteffort/pod${POD}/${CONTAINER}`,
  `/a/b/c/d/kubepods/pod${POD}/${CONTAINER}`,
])("the path %j is no pod's", (path) => {
  expect(podOfPath(path)).toEqual({});
});

test("links are not followed", async () => {
  const made = await hierarchy([`/elsewhere/pod${POD}/${CONTAINER}`, "/kubepods"]);
  await symlink(join(made.root, "elsewhere", `pod${POD}`), join(made.root, "kubepods", `pod${POD}`));
  expect(await find(made)).toBeUndefined();
});

test("of two drivers' trees, as a changed kubelet leaves them, the pod is found in its own", async () => {
  const made = await hierarchy([
    `/kubepods/burstable/pod${OTHER_POD}/${OTHER_CONTAINER}`,
    `/kubepods.slice/kubepods-pod${bare}.slice/cri-containerd-${CONTAINER}.scope`,
  ]);
  expect((await find(made))?.containers.map((container) => container.id)).toEqual([CONTAINER]);
  expect((await find(made, OTHER_POD))?.containers.map((container) => container.id)).toEqual([OTHER_CONTAINER]);
});

test("the processes of nested cgroups are the container's, each once, lowest first, and bounded", async () => {
  const made = await hierarchy(["/c/inner/deeper", "/c/other"]);
  const procs = async (path: string, pids: readonly number[]): Promise<void> =>
    writeFile(join(made.root, path, "cgroup.procs"), pids.map((pid) => `${pid}\n`).join(""));
  await procs("/c", [30, 2]);
  await procs("/c/inner", [7, 0]);
  await procs("/c/inner/deeper", [100, 7]);
  await procs("/c/other", []);
  expect(await pidsOf(join(made.root, "/c"))).toEqual({ pids: [2, 7, 30, 100], omitted: 0, cut: false });
  await procs(
    "/c/other",
    Array.from({ length: 1000 }, (_, i) => 1000 + i),
  );
  const { pids, omitted } = await pidsOf(join(made.root, "/c"));
  expect(pids.slice(0, 4)).toEqual([2, 7, 30, 100]);
  expect(pids).toHaveLength(512);
  expect(omitted).toBe(1004 - 512);
  expect(await pidsOf(join(made.root, "/gone"))).toEqual({ pids: [], omitted: 0, cut: false });
});

test("cgroups that a container makes by the thousand, too deep to open or with a name that is no text, are not walked, and that is told", async () => {
  const procs = async (path: string, pid: number): Promise<void> =>
    writeFile(join(made.root, path, "cgroup.procs"), `${pid}\n`);
  const made = await hierarchy(["/many", "/deep", "/odd"]);
  for (let i = 0; i < 1100; i++) await mkdir(join(made.root, "many", `c${i}`));
  await procs("/many", 1);
  await procs("/many/c7", 2);
  expect(await pidsOf(join(made.root, "/many"))).toMatchObject({ omitted: 0, cut: true });
  expect((await pidsOf(join(made.root, "/many"))).pids[0]).toBe(1);

  const names = Array.from({ length: 14 }, () => "d".repeat(255));
  const deep = join("/deep", ...names);
  await mkdir(join(made.root, deep), { recursive: true });
  await procs(deep, 3);
  expect(await pidsOf(join(made.root, "/deep"))).toEqual({ pids: [3], omitted: 0, cut: false });
  // One step further than a path may be long.
  execFileSync("mkdir", ["-p", `${names[0]}/${names[0]}`], { cwd: join(made.root, deep) });
  const tooDeep = await pidsOf(join(made.root, "/deep"));
  execFileSync("rm", ["-rf", "deep"], { cwd: made.root });
  expect(tooDeep).toEqual({ pids: [3], omitted: 0, cut: true });

  await mkdir(Buffer.concat([Buffer.from(join(made.root, "odd/")), Buffer.from([0xff, 0xfe])]));
  await procs("/odd", 4);
  expect(await pidsOf(join(made.root, "/odd"))).toEqual({ pids: [4], omitted: 0, cut: true });
});

test("the hierarchy that accounts memory: unified only when it has the controller", async () => {
  const v2 = (await hierarchy([])).root;
  await writeFile(join(v2, "cgroup.controllers"), "cpuset cpu io memory pids\n");
  expect(await memoryHierarchy(v2)).toEqual({ version: 2, root: v2 });
  const hybrid = (await hierarchy(["/memory", "/unified"])).root;
  await writeFile(join(hybrid, "memory", "memory.stat"), "cache 0\n");
  await writeFile(join(hybrid, "unified", "cgroup.controllers"), "\n");
  expect(await memoryHierarchy(hybrid)).toEqual({ version: 1, root: join(hybrid, "memory") });
  const none = (await hierarchy([])).root;
  await writeFile(join(none, "cgroup.controllers"), "cpu io\n");
  expect(await memoryHierarchy(none)).toBeUndefined();
});

const component = fc.oneof(
  fc.constantFrom(
    "kubepods",
    "kubepods.slice",
    "burstable",
    "besteffort",
    "..",
    "",
    `pod${POD}`,
    CONTAINER,
    `pod${OTHER_POD}`,
    `kubepods-burstable-pod${bare}.slice`,
    `cri-containerd-${CONTAINER}.scope`,
    "a-b-c-d-kubepods.slice",
  ),
  fc.string({ maxLength: 200, unit: "binary" }),
);

test("whatever a container makes below itself, its path stays its own", () => {
  const own = `/kubepods/burstable/pod${OTHER_POD}/${OTHER_CONTAINER}`;
  fc.assert(
    fc.property(fc.array(component, { maxLength: 8 }), (below) => {
      const suffix = below.filter((name) => !name.includes("/")).join("/");
      expect(podOfPath(`${own}/${suffix}`)).toEqual({ podUid: OTHER_POD, containerId: OTHER_CONTAINER });
      // A reader beside it, in a cgroup namespace of its own, sees the same.
      const seen = `/../../pod${OTHER_POD}/${OTHER_CONTAINER}/${suffix}`;
      expect(podOfProcess(seen)).toEqual({ podUid: OTHER_POD, containerId: OTHER_CONTAINER });
    }),
  );
});

test("no path makes the reader throw or take long", () => {
  fc.assert(
    fc.property(fc.array(component, { maxLength: 12 }), (parts) => {
      for (const path of [parts.join("/"), `/${parts.join("/")}`]) {
        for (const found of [podOfPath(path), podOfProcess(path)])
          expect([undefined, POD, OTHER_POD]).toContain(found.podUid);
      }
    }),
  );
  const long = `${"a-".repeat(50_000)}kubepods.slice`;
  expect(podOfPath(`/${long}/${long}/${"/".repeat(100_000)}`)).toEqual({});
});
