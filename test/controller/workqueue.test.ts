import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createWorkQueue, type WorkQueue } from "../../src/controller/workqueue.ts";
import { fixedRandom, manualClock, settle } from "../cluster-door/manualclock.ts";

interface Turn {
  readonly key: string;
  readonly atMs: number;
  end(againMs?: number): void;
  fail(error: Error): void;
}

/** A queue whose work ends only when the test says so. */
function bench(workers = 2, random = fixedRandom(0.5)) {
  const clock = manualClock();
  const turns: Turn[] = [];
  const failures: { key: string; retryInMs: number }[] = [];
  const queue: WorkQueue = createWorkQueue({
    clock,
    random,
    workers,
    baseMs: 100,
    maxMs: 1000,
    work: (key) =>
      new Promise((resolve, reject) => {
        turns.push({ key, atMs: clock.monotonicMs(), end: resolve, fail: reject });
      }),
    onError: (key, _error, retryInMs) => failures.push({ key, retryInMs }),
  });
  const keys = (): string[] => turns.map((turn) => turn.key);
  return { clock, turns, failures, queue, keys };
}

describe("a key", () => {
  test("that is added twice before its turn is worked on once", async () => {
    const { queue, keys, turns } = bench(1);
    queue.add("busy");
    for (const key of ["a", "b", "a", "a", "b"]) queue.add(key);
    turns[0]?.end();
    await settle();
    turns[1]?.end();
    await settle();
    turns[2]?.end();
    await settle();
    expect(keys()).toEqual(["busy", "a", "b"]);
  });

  test("that is added while it is worked on is worked on once more afterwards, never beside itself", async () => {
    const { queue, keys, turns } = bench(4);
    queue.add("a");
    queue.add("a");
    queue.add("a");
    await settle();
    expect(keys()).toEqual(["a"]);
    turns[0]?.end();
    await settle();
    expect(keys()).toEqual(["a", "a"]);
    turns[1]?.end();
    await settle();
    expect(keys()).toHaveLength(2);
  });

  test("that asks for another look gets it then, or sooner when something happens", async () => {
    const { queue, keys, turns, clock } = bench();
    queue.add("a");
    turns[0]?.end(5000);
    await clock.advance(4999);
    expect(keys()).toHaveLength(1);
    await clock.advance(1);
    expect(keys()).toHaveLength(2);

    turns[1]?.end(5000);
    await settle();
    queue.add("a");
    await settle();
    expect(turns[2]?.atMs).toBe(5000);
    turns[2]?.end();
    await clock.advance(60_000);
    expect(keys()).toHaveLength(3); // The earlier wish for a look was met by the later one.
  });

  test("that waits for two looks gets the earlier", async () => {
    const { queue, turns, clock } = bench();
    queue.addAfter("a", 3000);
    queue.addAfter("a", 1000);
    queue.addAfter("a", 2000);
    await clock.advance(10_000);
    expect(turns.map((turn) => turn.atMs)).toEqual([1000]);
  });

  test("that fails comes back later each time, up to a cap, and starts afresh after a success", async () => {
    const { queue, turns, failures, clock } = bench(1, fixedRandom(1));
    queue.add("a");
    for (let round = 0; round < 6; round++) {
      turns.at(-1)?.fail(new Error("no"));
      await clock.advance(1000);
    }
    expect(failures.map((f) => f.retryInMs)).toEqual([100, 200, 400, 800, 1000, 1000]);
    expect(queue.stats().failing).toBe(1);
    turns.at(-1)?.end();
    await settle();
    expect(queue.stats().failing).toBe(0);
    queue.add("a");
    await settle();
    turns.at(-1)?.fail(new Error("no"));
    await settle();
    expect(failures.at(-1)?.retryInMs).toBe(100);
  });

  test("that fails does not hold back the others", async () => {
    const { queue, keys, turns } = bench(1);
    queue.add("bad");
    queue.add("good");
    turns[0]?.fail(new Error("no"));
    await settle();
    expect(keys()).toEqual(["bad", "good"]);
  });
});

describe("the queue", () => {
  test("works on no more keys at once than it has workers", async () => {
    const { queue, keys, turns } = bench(2);
    for (const key of ["a", "b", "c"]) queue.add(key);
    await settle();
    expect(keys()).toEqual(["a", "b"]);
    expect(queue.stats()).toEqual({ waiting: 1, working: 2, delayed: 0, failing: 0 });
    turns[1]?.end();
    await settle();
    expect(keys()).toEqual(["a", "b", "c"]);
  });

  test("stops when the work under way is done, and takes nothing more", async () => {
    const { queue, keys, turns, clock } = bench(1);
    queue.add("a");
    queue.add("b");
    queue.addAfter("c", 10);
    let stopped = false;
    void queue.stop().then(() => (stopped = true));
    await clock.advance(100);
    expect(stopped).toBe(false);
    turns[0]?.end(1);
    await clock.advance(100);
    queue.add("d");
    await clock.advance(100);
    expect(stopped).toBe(true);
    expect(keys()).toEqual(["a"]);
  });

  test("whatever comes in whatever order: no key is lost, none runs beside itself", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("add" as const), key: fc.constantFrom("a", "b", "c") }),
      fc.record({ do: fc.constant("later" as const), key: fc.constantFrom("a", "b", "c"), ms: fc.nat(500) }),
      fc.record({ do: fc.constantFrom("end" as const, "fail" as const), which: fc.nat(5) }),
      fc.record({ do: fc.constant("time" as const), ms: fc.nat(700) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { queue, turns, clock } = bench(2);
        const open: Turn[] = [];
        let known = 0;
        const wanted = new Map<string, number>(); // When each key was last asked for.
        const look = (): void => {
          for (; known < turns.length; known++) {
            const turn = turns[known];
            if (turn === undefined) continue;
            if (open.some((o) => o.key === turn.key)) throw new Error(`${turn.key} runs beside itself`);
            if (open.length === 2) throw new Error("three workers");
            open.push(turn);
            wanted.delete(turn.key);
          }
        };
        for (const s of steps) {
          if (s.do === "add") {
            wanted.set(s.key, clock.monotonicMs());
            queue.add(s.key);
          } else if (s.do === "later") {
            wanted.set(s.key, clock.monotonicMs());
            queue.addAfter(s.key, s.ms);
          } else if (s.do === "time") await clock.advance(s.ms);
          else {
            const [turn] = open.splice(s.which % Math.max(1, open.length), 1);
            if (s.do === "end") turn?.end();
            else {
              if (turn !== undefined) wanted.set(turn.key, clock.monotonicMs());
              turn?.fail(new Error("no"));
            }
          }
          await settle();
          look();
        }
        for (let round = 0; round < 20 && (wanted.size > 0 || open.length > 0); round++) {
          open.shift()?.end();
          await clock.advance(1000);
          look();
        }
        expect([...wanted.keys()]).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});
