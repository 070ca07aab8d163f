/** What `--pid`, `--cgroup` and `--container` mean, on folders laid out as kernels and runtimes lay them out. */
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { LocalTarget } from "../../src/api/collection.ts";
import { NoTarget, resolveCgroup, resolveContainer, resolveProcess } from "../../src/cli/target.ts";
import { CONTAINER, createNodeTree, type NodeTree, OTHER_CONTAINER, POD } from "../collector/nodetree.ts";

const trees: NodeTree[] = [];
afterEach(async () => {
  for (const tree of trees.splice(0)) await tree.remove();
});

async function machine(version: 1 | 2 = 2): Promise<NodeTree> {
  const tree = await createNodeTree(version);
  trees.push(tree);
  return tree;
}

/** The sentence of the refusal. */
async function refusal(resolving: Promise<unknown>): Promise<string> {
  const error = await resolving.then(
    () => new Error("accepted"),
    (e: unknown) => e,
  );
  if (error instanceof NoTarget) return error.message;
  throw error;
}

async function edit(tree: NodeTree, pid: number, file: string, change: (text: string) => string): Promise<void> {
  const path = join(tree.roots.proc, String(pid), file);
  await writeFile(path, change(await readFile(path, "utf8")));
}

describe("a process", () => {
  test("is its pid and its start, with its name and its cgroup for people", async () => {
    const tree = await machine();
    await tree.process(42, "/system.slice/a.service", "worker \u001b[31m)");
    const found = await resolveProcess(tree.roots, "42");
    expect(LocalTarget.parse(found.target)).toMatchObject({ kind: "Process", pid: 42 });
    expect(found.target).toHaveProperty("startTicks", expect.any(Number));
    expect(found.title).toBe("process worker \\u{1b}[31m) (pid 42) and its descendants");
    expect(found.notes).toEqual(["its memory cgroup is /system.slice/a.service"]);
  });

  test.each(["0", "-1", "abc", "1.5", "99999999999", "../1"])("%s is no pid", async (pid) => {
    const tree = await machine();
    expect(await refusal(resolveProcess(tree.roots, pid))).toContain("is not a process id");
  });

  test("that is not there: how to find one", async () => {
    const tree = await machine();
    expect(await refusal(resolveProcess(tree.roots, "42"))).toBe(
      "There is no process 42 that can be seen from here: ps -e lists them",
    );
  });

  test("that has this number only inside of a container: which numbers it has outside", async () => {
    const tree = await machine();
    await tree.process(31_932, `/kubepods/burstable/pod${POD}/${CONTAINER}`);
    await edit(tree, 31_932, "status", (text) => text.replace(/^NSpid:.*$/m, "NSpid:\t31932\t17"));
    expect(await refusal(resolveProcess(tree.roots, "17"))).toBe(
      `There is no process 17 that can be seen from here. Inside of a container, 17 is:\n  --pid 31932   thumbnail-svc, in /kubepods/burstable/pod${POD}/${CONTAINER}`,
    );
  });

  test("that is a thread, a kernel thread or dead is told apart", async () => {
    const tree = await machine();
    for (const pid of [43, 44, 45]) await tree.process(pid, "/");
    await edit(tree, 43, "status", (text) => text.replace(/^Tgid:.*$/m, "Tgid:\t42"));
    for (const pid of [44, 45]) {
      await edit(tree, pid, "status", (text) =>
        text.replace(/^Tgid:.*$/m, `Tgid:\t${pid}`).replaceAll(/^(Vm|Rss).*\n/gm, ""),
      );
    }
    await edit(tree, 45, "stat", (text) =>
      text.replace(/\) \S /, ") Z ").replace(/^((?:\S+ ){19})\S+/, (_all, before: string) => `${before}1`),
    );
    expect(await refusal(resolveProcess(tree.roots, "43"))).toContain("write --pid 42");
    expect(await refusal(resolveProcess(tree.roots, "44"))).toContain("is a kernel thread");
    expect(await refusal(resolveProcess(tree.roots, "45"))).toContain("has ended and waits for its parent");
  });
});

describe.each([1, 2] as const)("a cgroup of v%i", (version) => {
  const SERVICE = "/system.slice/thumbnail.service";
  async function services(): Promise<{ tree: NodeTree; memory: string }> {
    const tree = await machine(version);
    await tree.cgroup(SERVICE, [7]);
    await tree.cgroup("/a/worker.service", []);
    await tree.cgroup("/b/worker.service", []);
    return { tree, memory: version === 1 ? join(tree.roots.cgroup, "memory") : tree.roots.cgroup };
  }

  test("is found by its folder, by its path and by its name", async () => {
    const { tree, memory } = await services();
    await symlink(join(memory, SERVICE), join(tree.folder, "link"));
    for (const given of [
      join(memory, SERVICE),
      `${join(memory, SERVICE)}/`,
      join(tree.folder, "link"),
      SERVICE,
      `${SERVICE}/`,
      SERVICE.slice(1),
      "thumbnail.service",
    ]) {
      const { target, title } = await resolveCgroup(tree.roots, given);
      expect(target).toEqual({ kind: "Cgroup", path: SERVICE, name: "thumbnail.service" });
      expect(title).toBe(`cgroup ${SERVICE}`);
    }
  });

  test("of which there are two with this name is not guessed", async () => {
    const { tree } = await services();
    expect(await refusal(resolveCgroup(tree.roots, "worker.service"))).toMatch(
      /^2 cgroups are named worker\.service; write the path of one:\n {2}--cgroup \/[ab]\/worker\.service\n {2}--cgroup \/[ab]\/worker\.service$/,
    );
  });

  test.each(["nothing.service", "/no/such", "../../etc", "", "."])("%j is none", async (given) => {
    const { tree } = await services();
    const sentence = await resolveCgroup(tree.roots, given).then(
      ({ target }) => target,
      (error: Error) => error.message,
    );
    // The root of v1 can be measured; nothing outside of the hierarchy ever is.
    if (typeof sentence === "string") expect(sentence).toMatch(/no memory cgroup|root of cgroup v2/);
    else expect(sentence).toMatchObject({ path: "/" });
  });

  test("without processes is taken, and said to be empty", async () => {
    const { tree } = await services();
    expect((await resolveCgroup(tree.roots, "/a/worker.service")).notes).toEqual(["there is no process in it now"]);
  });
});

test("the root of v2 has no memory of its own", async () => {
  const tree = await machine(2);
  expect(await refusal(resolveCgroup(tree.roots, "/"))).toContain("oomscope scene shows the whole machine");
});

test("a cgroup without the memory controller is told apart from one that is not there", async () => {
  const tree = await machine(2);
  await mkdir(join(tree.roots.cgroup, "bare"));
  expect(await refusal(resolveCgroup(tree.roots, "/bare"))).toContain("cgroup.subtree_control");
});

test("a folder of another controller leads to the one that accounts memory", async () => {
  const tree = await machine(1);
  await tree.cgroup("/a.service", [7]);
  const other = join(tree.roots.cgroup, "cpu", "a.service");
  await mkdir(other, { recursive: true });
  expect(await refusal(resolveCgroup(tree.roots, other))).toContain(
    `write --cgroup ${join(tree.roots.cgroup, "memory", "a.service")}`,
  );
});

test("a machine that accounts no memory to cgroups says what can be measured there", async () => {
  const tree = await machine(2);
  const roots = { ...tree.roots, cgroup: join(tree.folder, "nothing") };
  expect(await refusal(resolveCgroup(roots, "/a"))).toContain("with --pid");
});

describe("a container", () => {
  test.each([
    ["containerd, systemd", `/kubepods.slice/kubepods-pod1.slice/cri-containerd-${CONTAINER}.scope`],
    ["containerd, cgroupfs", `/kubepods/burstable/pod${POD}/${CONTAINER}`],
    ["CRI-O", `/kubepods.slice/kubepods-pod1.slice/crio-${CONTAINER}.scope`],
    ["Docker, systemd", `/system.slice/docker-${CONTAINER}.scope`],
    ["Docker, cgroupfs", `/docker/${CONTAINER}`],
    ["Podman", `/machine.slice/libpod-${CONTAINER}.scope`],
  ])("of %s is found by its id or the beginning of it", async (_name, path) => {
    const tree = await machine();
    await tree.cgroup(path, [42]);
    await tree.process(42, path);
    await tree.cgroup(`/docker/${OTHER_CONTAINER}`, []);
    for (const given of [
      CONTAINER,
      CONTAINER.slice(0, 12),
      CONTAINER.slice(0, 4).toUpperCase(),
      `containerd://${CONTAINER}`,
    ]) {
      const { target, title } = await resolveContainer(tree.roots, given);
      expect(target).toEqual({ kind: "Cgroup", path, name: CONTAINER.slice(0, 12) });
      expect(title).toBe(`container ${CONTAINER.slice(0, 12)} (thumbnail-svc, ${path})`);
    }
  });

  test("whose beginning is that of two is not guessed", async () => {
    const tree = await machine();
    const second = `${CONTAINER.slice(0, 60)}0000`;
    for (const [index, id] of [CONTAINER, second].entries()) {
      await tree.cgroup(`/docker/${id}`, [42 + index]);
      await tree.process(42 + index, `/docker/${id}`);
    }
    const sentence = await refusal(resolveContainer(tree.roots, CONTAINER.slice(0, 8)));
    expect(sentence).toContain(`2 containers begin with ${CONTAINER.slice(0, 8)}; write more of the id`);
    expect(sentence).toContain(`thumbnail-svc, /docker/${second}`);
  });

  test("that makes a cgroup of its own name below itself is one", async () => {
    const tree = await machine();
    await tree.cgroup(`/docker/${CONTAINER}`, [42]);
    await tree.cgroup(`/docker/${CONTAINER}/docker/${CONTAINER}`, []);
    await tree.process(42, `/docker/${CONTAINER}`);
    expect((await resolveContainer(tree.roots, CONTAINER)).target).toMatchObject({ path: `/docker/${CONTAINER}` });
  });

  test("is never its monitor", async () => {
    const tree = await machine();
    await tree.cgroup(`/machine.slice/libpod-conmon-${CONTAINER}.scope`, [42]);
    await tree.cgroup(`/system.slice/crio-conmon-${CONTAINER}.scope`, [43]);
    expect(await refusal(resolveContainer(tree.roots, CONTAINER))).toContain("No container");
  });

  test.each(["abc", "xyz12345", "", "thumbnail", `${CONTAINER}0`])("%j is no id", async (given) => {
    const tree = await machine();
    expect(await refusal(resolveContainer(tree.roots, given))).toContain("is not a container id");
  });
});
