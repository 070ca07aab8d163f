/** Programs that do not end, that say too much, that are not there: does whoever started them get an answer in time? */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { runChild, type ChildEnd, type ChildOptions } from "../../../src/collector/profile/child.ts";
import { systemClock } from "../../../src/seams.ts";

function start(script: string, over: Partial<ChildOptions> = {}): Promise<ChildEnd> {
  return runChild({
    command: ["sh", "-c", script],
    cwd: "/",
    deadlineMs: 20_000,
    clock: systemClock,
    signal: new AbortController().signal,
    ...over,
  });
}

test("what it says and how it ended", async () => {
  expect(await start("echo out; echo err >&2; exit 3")).toEqual({
    code: 3,
    timedOut: false,
    stdout: "out\n",
    stderr: "err\n",
  });
});

test("a program that is not there", async () => {
  expect(await start("", { command: ["oomscope-no-such-program"] })).toMatchObject({ code: 127, timedOut: false });
});

test("none of our variables reaches it", async () => {
  const { stdout } = await start("env");
  expect(stdout).toContain("PERF_CONFIG=/dev/null");
  expect(stdout).not.toMatch(/^(?:NODE|VITEST|npm|OOMSCOPE|DEBUGINFOD)/m);
});

test("one that does not end is stopped with what it started", async () => {
  const end = await start("sleep 600 & echo $!; wait", { deadlineMs: 300 });
  expect(end).toMatchObject({ timedOut: true });
  const pid = Number(end.stdout);
  expect(pid).toBeGreaterThan(1);
  // Gone, or dead and waiting for whoever collects orphans here.
  const state = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "gone");
  expect(state).toMatch(/^gone$|\) [ZX] /);
}, 20_000);

test("one that ignores being asked is killed", async () => {
  const end = await start("trap '' INT; while :; do sleep 0.1; done", { deadlineMs: 300 });
  expect(end).toMatchObject({ timedOut: true, code: undefined });
}, 20_000);

test("when the collection ends early, so does it", async () => {
  const stop = new AbortController();
  const ended = start("sleep 600", { signal: stop.signal });
  stop.abort();
  expect(await ended).toMatchObject({ timedOut: false });
}, 20_000);

test("output without end costs no memory, and lines without end are cut", async () => {
  const kept = await start("head -c 5000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero | tr '\\0' y >&2");
  expect(kept.stdout.length).toBe(64 * 1024);
  expect(kept.stderr.length).toBe(64 * 1024);
  const lengths: number[] = [];
  await start("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last", {
    onLine: (line) => lengths.push(line.length),
  });
  expect(Math.max(...lengths)).toBeLessThanOrEqual(8192);
  expect(lengths.at(-1)).toBe(4);
}, 20_000);
