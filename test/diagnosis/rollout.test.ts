/** Did a roll-out bring it, and who started the process? From the context part beside the readings. */
import { describe, expect, test } from "vitest";
import type { Context, Manifest } from "../../src/api/collection.ts";
import type { Kill } from "../../src/api/memoryinvestigation.ts";
import { Finding } from "../../src/api/memoryinvestigation.ts";
import { diagnose } from "../../src/diagnosis/diagnose.ts";
import { record } from "../../src/diagnosis/recording.ts";
import { type ContainerPlan, samplesOf, stream } from "./samples.ts";

const OLD = "thumbs-5d9c7b8f64";
const NEW = "thumbs-7c6f9d8b55";
const revision = (name: string, number: number, created: string, image: string): Context["revisions"][number] => ({
  name,
  revision: String(number),
  created,
  images: [image],
  current: name === NEW,
  currentSince: { time: created, clock: "Server", from: "Created" },
  containers: [],
});
const REVISIONS = [
  revision(OLD, 4, "2026-11-29T02:00:00Z", "thumbs:1.0.0"),
  revision(NEW, 5, "2026-11-29T05:00:00Z", "thumbs:1.1.0"),
];
const kill = (of: string | undefined, time: string, more: Partial<Kill> = {}): Context["kills"][number] => ({
  id: `k-${time}`,
  pod: { name: "thumbs-a", uid: "gone" },
  container: "thumbnail",
  time,
  ...(of === undefined ? {} : { revision: of }),
  classification: "ContainerKilled",
  sources: ["PodStatus"],
  ...more,
});
const pod = (uid: string, of: string): Context["pods"][number] => ({
  name: uid,
  uid,
  role: "Serving",
  revision: of,
  containers: [{ name: "thumbnail" }],
});
const context = (more: Partial<Context>): Context => ({
  target: { kind: "Deployment", namespace: "media", name: "thumbs" },
  kills: [],
  revisions: REVISIONS,
  pods: [pod("pod-new", NEW)],
  ...more,
});

const leaking = (uid = "pod-new"): ContainerPlan => ({
  pod: uid,
  id: `c-${uid}`,
  processes: [{ pid: 30, anon: (t) => 40 + 0.5 * t }],
});
const still = (uid: string): ContainerPlan => ({ pod: uid, id: `c-${uid}`, processes: [{ pid: 40, anon: () => 60 }] });

async function findingOf(plan: readonly ContainerPlan[], of: Context, manifest?: Manifest): Promise<Finding> {
  const finding = diagnose(await record(stream(samplesOf(plan, { count: 72 }))), {
    context: of,
    ...(manifest === undefined ? {} : { manifest }),
  });
  expect(Finding.parse(finding)).toEqual(finding);
  return finding;
}
const signals = (lines: Finding["evidence"]): string[] => lines.map(({ signal, value }) => `${signal} ${value}`);

describe("the roll-out before a leak", () => {
  test("is named with how long after it the first kill came, and how long the revision before it served", async () => {
    const kills = [kill(NEW, "2026-11-29T05:40:00Z"), kill(NEW, "2026-11-29T05:20:00Z")];
    const finding = await findingOf([leaking()], context({ kills }));
    expect(finding.culprit?.revision).toBe(NEW);
    expect(finding.summary).toContain(
      `Its first kill came 20 min after the roll-out of revision ${NEW} (thumbs:1.1.0); ${OLD} before it was current for 3.0 h with no kill on record.`,
    );
    expect(signals(finding.evidence)).toEqual(
      expect.arrayContaining([
        `first kill of ${NEW}, after its roll-out 1200`,
        `${OLD} was current before, for 10800`,
        `kills of revisions before ${NEW} 0`,
      ]),
    );
    expect(finding.limits?.join(" ")).toContain(`No pod of revision ${OLD} was measured`);
  });

  test("did not bring what a revision before it was killed for; that speaks against it, and no revision is blamed", async () => {
    const kills = [kill(NEW, "2026-11-29T05:20:00Z"), kill(OLD, "2026-11-29T04:00:00Z")];
    const finding = await findingOf([leaking()], context({ kills }));
    expect(finding.verdict).toBe("AnonHeapLeak");
    expect(finding.culprit).not.toHaveProperty("revision");
    expect(signals(finding.counterEvidence)).toContain(`kills of revisions before ${NEW} 1`);
    expect(finding.summary).toContain(
      `Revision ${NEW} did not bring it: revision ${OLD} was killed as well, at 2026-11-29T04:00:00.000Z.`,
    );
  });

  test.each([
    ["a revision that is in no list any more", kill("thumbs-gone", "2026-11-28T04:00:00Z"), true],
    ["nobody knows which, before the roll-out", kill(undefined, "2026-11-29T04:59:00Z"), true],
    ["nobody knows which, after the roll-out", kill(undefined, "2026-11-29T05:01:00Z"), false],
    ["an eviction", kill(OLD, "2026-11-29T04:00:00Z", { classification: "Evicted" }), false],
    ["the machine's want of memory", kill(OLD, "2026-11-29T04:00:00Z", { classification: "NodeKilled" }), false],
    ["another container", kill(OLD, "2026-11-29T04:00:00Z", { container: "log-shipper" }), false],
    ["a time that is none", kill(OLD, "soon"), false],
  ])("kills of %s", async (_, earlier, contradicts) => {
    const finding = await findingOf([leaking()], context({ kills: [earlier] }));
    expect(finding.culprit?.revision).toBe(contradicts ? undefined : NEW);
  });

  test("is confirmed by a pod of the revision before that stands still, and refuted by one that grows", async () => {
    const both = context({ pods: [pod("pod-new", NEW), pod("pod-old", OLD)] });
    const flat = await findingOf([leaking(), still("pod-old")], both);
    expect(flat.culprit?.revision).toBe(NEW);
    expect(signals(flat.evidence)).toContain(`anon, slope in a pod of revision ${OLD} 0`);
    expect(flat.summary).toContain("and a pod of an earlier revision does not grow");

    const grows = await findingOf([leaking(), leaking("pod-old")], both);
    expect(grows.culprit).not.toHaveProperty("revision");
    expect(grows.summary).toContain(`Revision ${NEW} did not bring it: a pod of revision ${OLD} grows as well.`);
  });

  test("is compared by the node's clock: a kill on a node whose clock is ahead was not before it", async () => {
    const kills = [kill(undefined, "2026-11-29T04:58:00Z")];
    const behind = { nodeAheadOfServerMs: { low: -181_000, high: -179_000 } };
    expect((await findingOf([leaking()], context({ kills }))).culprit).not.toHaveProperty("revision");
    expect((await findingOf([leaking()], context({ kills, clocks: behind }))).culprit?.revision).toBe(NEW);
  });

  test("cannot be told of the first revision, of one taken up again, or of one that is only a name", async () => {
    const [old, young] = REVISIONS as [Context["revisions"][number], Context["revisions"][number]];
    const first = await findingOf([leaking()], context({ revisions: [young] }));
    expect(first.limits?.join(" ")).toContain(`No revision before ${NEW} is known`);
    const { currentSince: _, ...again } = young;
    const unknown = await findingOf([leaking()], context({ revisions: [old, again] }));
    expect(unknown.limits?.join(" ")).toContain(`Nothing tells when revision ${NEW} became current`);
    expect(unknown.summary).not.toContain("roll-out");
    const none = await findingOf([leaking()], context({ revisions: [] }));
    expect(none.limits?.join(" ")).toContain(`Nothing is known of revision ${NEW} but its name`);
    for (const finding of [first, unknown, none]) expect(finding.culprit?.revision).toBe(NEW);
  });

  test("of a DaemonSet is known by the hash at the end of the revision's name", async () => {
    const pods = [pod("pod-new", "7c6f9d8b55")];
    const kills = [kill("5d9c7b8f64", "2026-11-29T05:20:00Z")];
    const finding = await findingOf([leaking()], context({ pods, kills }));
    expect(signals(finding.counterEvidence)).toContain(`kills of revisions before ${NEW} 1`);
  });

  test("is not asked for where nothing is blamed", async () => {
    const finding = await findingOf([still("pod-new")], context({ kills: [kill(OLD, "2026-11-29T04:00:00Z")] }));
    expect(finding.verdict).toBe("BoundedSteady");
    expect(finding.summary).not.toContain(NEW);
  });
});

describe("the process", () => {
  test("is told with its start and with whoever started it, the nearest first", async () => {
    const finding = await findingOf(
      [
        {
          pod: "pod-new",
          processes: [
            { pid: 10, startTicks: 90, ppid: 1, comm: "tini", anon: () => 1 },
            { pid: 20, startTicks: 95, ppid: 10, comm: "gunicorn", anon: () => 20 },
            { pid: 30, startTicks: 99, ppid: 20, comm: "worker", anon: (t) => 20 + 0.5 * t },
          ],
        },
      ],
      context({}),
    );
    expect(finding.culprit?.process).toEqual({
      pid: 30,
      comm: "worker",
      startTicks: 99,
      parents: [
        { pid: 20, comm: "gunicorn" },
        { pid: 10, comm: "tini" },
      ],
    });
    expect(finding.summary).toContain("in process worker (pid 30), started by gunicorn (pid 20)");
  });

  test("has no parent in whoever has its parent's number now, and a chain ends after eight, also where it runs in a ring", async () => {
    const later = await findingOf(
      [
        {
          pod: "pod-new",
          processes: [
            { pid: 20, startTicks: 500, ppid: 1, comm: "late", anon: () => 20 },
            { pid: 30, startTicks: 99, ppid: 20, comm: "worker", anon: (t) => 20 + 0.5 * t },
          ],
        },
      ],
      context({}),
    );
    expect(later.culprit?.process).toEqual({ pid: 30, comm: "worker", startTicks: 99 });

    const chain = Array.from({ length: 20 }, (_, i) => ({
      pid: 100 + i,
      startTicks: 100,
      ppid: i === 0 ? 119 : 99 + i,
      comm: `p${i}`,
      anon: (t: number) => (i === 19 ? 20 + 0.5 * t : 1),
    }));
    const ring = await findingOf([{ pod: "pod-new", processes: chain }], context({}));
    expect(ring.culprit?.process?.parents?.map(({ pid }) => pid)).toEqual([118, 117, 116, 115, 114, 113, 112, 111]);
  });
});
