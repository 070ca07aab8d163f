/** The thumbnail incident as a real API server told it: can an engineer read from the context part alone what happened? */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Context } from "../../src/api/collection.ts";
import { assembleContext } from "../../src/context/assemble.ts";
import type { ContextAnswers, ContextQuestion } from "../../src/context/question.ts";
import { selects } from "../../src/incident/policy.ts";

interface Recorded {
  readonly question: ContextQuestion;
  readonly answers: ContextAnswers;
}
const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/context/thumbnail.json"), "utf8"),
) as Readonly<Record<"start" | "end", Recorded>>;

const kill = (name: string, uid: string, time: string) => ({
  time,
  classification: "ContainerKilled",
  container: "thumbnail",
  exitCode: 137,
  pod: { name, uid },
});
const uidOf = (name: string): string => recorded.end.question.pods.find((pod) => pod.name.endsWith(name))?.uid ?? "";
const base: Context = {
  target: { kind: "Deployment", namespace: "media", name: "thumbnail-svc" },
  kills: [
    kill("thumbnail-svc-67574dbd4-n2zxv", uidOf("n2zxv"), "2026-11-29T02:25:55Z"),
    kill("thumbnail-svc-67574dbd4-7l4dj", uidOf("7l4dj"), "2026-11-29T02:25:58Z"),
  ],
  revisions: [],
  pods: [],
};
const start = assembleContext(base, undefined, recorded.start.question, recorded.start.answers, selects);
const context = assembleContext(base, start, recorded.end.question, recorded.end.answers, selects);

test("the roll-out, the kills and what came of them, in order", () => {
  expect(context.snapshots?.flatMap(({ skipped }) => skipped)).toEqual([]);
  const told = (context.timeline ?? [])
    .filter(({ kind }) => ["Rollout", "Kill", "Restart"].includes(kind))
    .map(({ time, kind, about, text }) => `${time.slice(11, 19)} ${kind} ${about.name.slice(14)}: ${text}`);
  expect(told.slice(0, 8)).toEqual([
    "02:24:02 Rollout 85bccd98cf: Revision 1 (thumbnail-svc-85bccd98cf) was made: localhost/thumbnail-svc:1.0.0",
    "02:24:13 Rollout 67574dbd4: Revision 2 (thumbnail-svc-67574dbd4) was made: localhost/thumbnail-svc:1.1.0",
    "02:24:15 Restart 67574dbd4-6wlrh: Started",
    "02:25:55 Kill 67574dbd4-n2zxv: ContainerKilled, exit code 137",
    "02:25:57 Restart 67574dbd4-n2zxv: Started again (restart 1)",
    "02:25:58 Kill 67574dbd4-7l4dj: ContainerKilled, exit code 137",
    "02:25:59 Restart 67574dbd4-thgwq: Started",
    "02:25:59 Restart 67574dbd4-7l4dj: Started again (restart 1)",
  ]);
});

test("which image runs since when, and that nobody changed the limit", () => {
  expect(context.revisions).toMatchObject([
    {
      revision: "2",
      current: true,
      currentSince: { time: "2026-11-29T02:24:13Z", from: "Created" },
      containers: [
        {
          image: "localhost/thumbnail-svc:1.1.0",
          imageIds: [expect.stringMatching(/^sha256:/)],
          limitBytes: 128 << 20,
        },
      ],
    },
    { revision: "1", current: false, containers: [{ image: "localhost/thumbnail-svc:1.0.0", limitBytes: 128 << 20 }] },
  ]);
  for (const pod of context.snapshots?.[1]?.pods ?? [])
    expect(pod.containers[0]?.memoryLimit).toMatchObject({ from: "ContainerSpec", bytes: 128 << 20 });
});

test("the preserved pod has lost its owner, its siblings lead up to the Deployment", () => {
  const owners = (context.snapshots?.[1]?.pods ?? []).map((pod) => [
    pod.role,
    pod.owners.map(({ kind }) => kind).join("/"),
  ]);
  expect(owners).toContainEqual(["Preserved", ""]);
  expect(owners).toContainEqual([undefined, "ReplicaSet/Deployment"]);
});

test("metrics at both ends, the killed incarnations' last words, and clocks that agree", () => {
  const usage = context.snapshots?.map(({ metrics }) =>
    metrics.map(({ containers }) => (containers[0]?.memoryBytes ?? 0) >> 20),
  );
  expect(usage?.map((list) => list.length)).toEqual([4, 5]);
  // The limit is 128 MiB.
  expect(Math.max(...(usage?.[1] ?? []))).toBe(119);
  expect(context.logs?.map(({ lines }) => lines.length)).toEqual([1, 1, 1, 1, 1]);
  expect(context.logs?.[0]?.lines[0]).toContain("libimgdecode 1.1.0");
  expect(context.clocks?.nodeAheadOfServerMs).toEqual({ low: -1000, high: 2000 });
});

test("is small, and in the form that readers take", () => {
  const text = JSON.stringify(context);
  expect(text.length).toBeLessThan(80_000);
  expect(Context.parse(JSON.parse(text))).toEqual(JSON.parse(text));
});
