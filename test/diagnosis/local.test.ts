/** The finding of one machine without a cluster: a bare cgroup, a process whose cgroup is its own, and one that shares it. */
import { describe, expect, test } from "vitest";
import type { LocalReading, OomReport, Sample } from "../../src/api/collection.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import type { Surroundings } from "../../src/diagnosis/case.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { type ContainerPlan, type Curve, MIB, samplesOf, stream } from "./samples.ts";

const leak: Curve = (seconds) => 20 + seconds * 0.5;
const flat: Curve = () => 40;

/** The samples of a container, as a local target has them. */
function* localSamples(plan: ContainerPlan, change: (local: LocalReading, sample: Sample) => LocalReading | undefined) {
  for (const sample of samplesOf([plan])) {
    const container = sample.pods[0]?.containers[0];
    const local =
      container === undefined
        ? undefined
        : change(
            {
              kind: "Cgroup",
              life: "4711",
              name: "thumbnail.service",
              cgroup: container.cgroup,
              processes: container.processes,
            },
            sample,
          );
    yield { ...sample, pods: [], ...(local === undefined ? {} : { local }) };
  }
}

async function findingOf(samples: Iterable<Sample>, surroundings: Surroundings = {}): Promise<Finding> {
  return Finding.parse(diagnose(await record(stream(samples)), surroundings));
}

const asProcess =
  (othersInCgroup: number, more: Partial<LocalReading> = {}) =>
  (local: LocalReading): LocalReading => ({
    ...local,
    kind: "Process",
    life: "7/100",
    name: "thumbnail-svc",
    othersInCgroup,
    ...more,
  });

const leaky: ContainerPlan = { processes: [{ pid: 7, anon: leak }] };

describe("a bare cgroup", () => {
  test("that leaks: named by its name, with its process, its limit and no pod", async () => {
    const finding = await findingOf(localSamples(leaky, (local) => local));
    expect(finding).toMatchObject({
      verdict: "AnonHeapLeak",
      culprit: { container: "thumbnail.service", process: { pid: 7, comm: "thumbnail-svc" } },
    });
    expect(finding.culprit).not.toHaveProperty("pod");
    expect(finding.summary).toMatch(/^Cgroup thumbnail\.service gains 512 KiB\/s of anonymous memory/);
    expect(finding.timeToOOMSeconds?.mid).toBeGreaterThan(0);
    expect(finding.limits?.join(" ")).toContain("not account swap to this cgroup");
  });

  test("that grows in memory which no process maps is seen by what the kernel charges", async () => {
    const plan = { kinds: { shmem: leak, anon: flat }, processes: [{ pid: 7, anon: flat }] };
    const finding = await findingOf(localSamples(plan, (local) => local));
    expect(finding).toMatchObject({ verdict: "ShmemGrowth", subKind: "Unmapped" });
  });

  test("the kernel's report counts although the path is a pod's", async () => {
    const report: OomReport = {
      bootMs: 1,
      global: false,
      group: false,
      podUid: "8b2a1f60-0c1e-4b7e-9d53-2f6a7c0e4d11",
      limitBytes: 100 * MIB,
      stat: { anon: 99 * MIB },
      tasks: [],
      tasksOmitted: 0,
    };
    const oomReports = { reports: [report], othersDropped: 0, notes: [] };
    const finding = await findingOf(
      localSamples(leaky, (local) => local),
      { oomReports },
    );
    expect(finding.summary).toContain("The kernel reported 1 kill");
  });

  test("that is made again in the middle is judged by each life", async () => {
    const sawtooth = { processes: [{ pid: 7, anon: (s: number) => 20 + (s % 150) * 0.5 }] };
    const finding = await findingOf(
      localSamples(sawtooth, (local, { elapsedMs }) => ({ ...local, life: elapsedMs < 150_000 ? "1" : "2" })),
    );
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.limits?.join(" ")).toContain("The cgroup restarted 1 times");
  });
});

describe("a process", () => {
  test("whose cgroup is its own is measured by what the kernel charges, limit included", async () => {
    const finding = await findingOf(localSamples(leaky, asProcess(0)));
    expect(finding).toMatchObject({ verdict: "AnonHeapLeak", culprit: { process: { pid: 7 } } });
    expect(finding.growthByKind?.map(({ kind }) => kind)).toContain("kernel");
    expect(finding.timeToOOMSeconds?.mid).toBeGreaterThan(0);
  });

  test("that shares its cgroup is measured by itself: a neighbour's growth is not its own", async () => {
    const plan = { kinds: { anon: leak }, processes: [{ pid: 7, anon: flat }] };
    const finding = await findingOf(localSamples(plan, asProcess(3)));
    expect(finding.verdict).toBe("BoundedSteady");
    expect(finding.summary).toMatch(/^Process thumbnail-svc with its descendants does not grow/);
    expect(finding.limits?.join(" ")).toContain("its cgroup is shared with 3 other processes");
    expect(finding.limits?.join(" ")).not.toContain("no memory limit of its own");
  });

  test("that shares its cgroup and leaks: no time to a limit that others use up too", async () => {
    const finding = await findingOf(localSamples(leaky, asProcess(3)));
    expect(finding).toMatchObject({
      verdict: "AnonHeapLeak",
      culprit: { process: { pid: 7, comm: "thumbnail-svc" } },
    });
    expect(finding.culprit).not.toHaveProperty("container");
    expect(finding).not.toHaveProperty("timeToOOMSeconds");
    expect(finding.evidence.map(({ signal }) => signal).join()).not.toContain("|anon - sum");
  });

  test("without any cgroup, and without rollups, is measured by RssAnon", async () => {
    const plan = { processes: [{ pid: 7, anon: leak, rollup: false }] };
    const finding = await findingOf(
      localSamples(plan, (local) => {
        const { cgroup: _cgroup, othersInCgroup: _others, ...rest } = asProcess(0)(local);
        return rest;
      }),
    );
    expect(finding).toMatchObject({ verdict: "AnonHeapLeak", culprit: { process: { pid: 7 } } });
    expect(finding.evidence.map(({ signal }) => signal)).toContain("RssAnon, share of pid 7");
    expect(finding.limits?.join(" ")).toContain("it runs in no cgroup of its own that can be read");
  });

  test.each([
    ["too seldom", 9],
    ["over too short a time", 12],
  ])("whose Pss was read %s for a trend is judged by RssAnon", async (_name, read) => {
    const samples = [...localSamples(leaky, asProcess(2))].slice(0, 14).map((sample, index) => ({
      ...sample,
      local: {
        ...sample.local,
        processes:
          sample.local?.processes.map(({ rollup, ...rest }) => (index < read ? { ...rest, rollup } : rest)) ?? [],
      } as LocalReading,
    }));
    expect(await findingOf(samples)).toMatchObject({ verdict: "AnonHeapLeak", culprit: { process: { pid: 7 } } });
  });

  test("with a zombie among its children is measured all the same", async () => {
    const finding = await findingOf(
      localSamples(leaky, (local) => ({
        ...asProcess(2)(local),
        processes: [...local.processes, { pid: 8, startTicks: 1, ppid: 7, comm: "dead", threads: 1, status: {} }],
      })),
    );
    expect(finding.verdict).toBe("AnonHeapLeak");
  });

  test("of which nothing was left to measure gives no verdict", async () => {
    const finding = await findingOf(localSamples(leaky, () => undefined));
    expect(finding).toMatchObject({ verdict: "Inconclusive", confidencePercent: 0 });
  });
});
