/** A collection while it runs: a picture that is redrawn on a terminal, one line for each sample elsewhere; and its end when the target has ended. */
import type { CollectionPlan, Sample } from "../api/collection.ts";
import type { Clock } from "../seams.ts";
import { createProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

export interface CollectionWatch {
  /** A sample was taken. */
  readonly sample: (sample: Sample) => void;
  /** The end was asked for. */
  readonly ending: () => void;
  /** Gives the terminal back. May be called more than once. */
  readonly close: () => void;
}

/** The clock in the picture goes on between samples. */
const REDRAW_MS = 1_000;
/** A service is given this long, and this many samples, to be started again. */
const GONE_MS = 10_000;
const GONE_SAMPLES = 2;

export function watchCollection(
  plan: CollectionPlan,
  title: string,
  terminal: Terminal,
  clock: Clock,
  stop: AbortController,
): CollectionWatch {
  const expected = Math.floor(plan.durationMs / Math.max(1, plan.intervalMs)) + 1;
  const progress = createProgress({ title, expected, intervalMs: plan.intervalMs, durationMs: plan.durationMs });
  const screen = terminal.live ? terminal.openScreen() : undefined;
  let beganMs: number | undefined;
  let seenMs = clock.monotonicMs();
  let ending = false;
  let closed = false;

  function draw(): void {
    if (screen === undefined || closed) return;
    const elapsedMs = beganMs === undefined ? 0 : clock.monotonicMs() - beganMs;
    screen.draw(progress.frame({ ...screen.size(), elapsedMs, ending }));
  }

  function tick(): void {
    if (closed) return;
    draw();
    clock.after(REDRAW_MS, tick);
  }

  if (screen !== undefined) {
    screen.onResize(draw);
    tick();
  }
  return {
    sample: (sample) => {
      const now = clock.monotonicMs();
      beganMs ??= now - sample.elapsedMs;
      progress.add(sample);
      if (progress.missing() === 0) seenMs = now;
      else if (progress.missing() >= GONE_SAMPLES && now - seenMs >= GONE_MS && !ending) {
        ending = true;
        stop.abort(new Error("the target has ended"));
      }
      if (screen === undefined) terminal.tell(`${progress.line()}\n`);
      else draw();
    },
    ending: () => {
      ending = true;
      draw();
    },
    close: () => {
      closed = true;
      screen?.close();
    },
  };
}
