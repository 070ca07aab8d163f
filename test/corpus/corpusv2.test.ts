/** The cases that were recorded on cgroup v2: the same labels, and not one verdict that is wrong. */
import { beforeAll, expect, test } from "vitest";
import { openPack } from "../../src/evidence/pack.ts";
import { type Analysed, analyse, packOfV2, RECORDED_V2 } from "./packs.ts";
import { score } from "./score.ts";

let all: readonly Analysed[] = [];
beforeAll(async () => {
  all = await Promise.all(RECORDED_V2.map((one) => analyse(one, packOfV2(one))));
});

test("there are leaks and steady programs among them, and each pack says that it is of cgroup v2", async () => {
  expect(new Set(RECORDED_V2.map(({ label }) => label.verdict)).size).toBeGreaterThanOrEqual(3);
  for (const one of RECORDED_V2) {
    const pack = await openPack(packOfV2(one));
    for await (const { local } of pack.samples()) expect(local?.cgroup?.version, one.name).toBe(2);
  }
});

test("every verdict is right, and no process is blamed that is not at fault", () => {
  const { verdicts, processes, boundedCalledLeak, leakCalledHarmless } = score(all);
  expect([...verdicts.wrong, ...boundedCalledLeak, ...leakCalledHarmless]).toEqual([]);
  // Where memory.high holds a leak back, who leaks is not named yet.
  expect(processes).toMatchObject({ wrong: [], silent: [expect.stringContaining("leak-at-memory-high")] });
});
