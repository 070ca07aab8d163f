/** Who started it? The parents of a process, as far as they were measured in the same container. */
import type { ContainerRecording, ProcessRecording } from "./recording.ts";

/** Of a chain that forks on and on, the nearest are kept. */
export const MAX_PARENTS = 8;

/** The nearest first. A parent that was never measured, or whose pid another process has now, ends the chain. */
export function parentsOf(
  { processes }: Pick<ContainerRecording, "processes">,
  process: ProcessRecording,
): readonly ProcessRecording[] {
  const parents: ProcessRecording[] = [];
  for (let child = process; parents.length < MAX_PARENTS;) {
    const { ppid, startTicks } = child;
    // Who started later only has the number. Of several the newest was the one.
    const parent = processes
      .filter((one) => one.pid === ppid && one.startTicks <= startTicks)
      .reduce<ProcessRecording | undefined>(
        (newest, one) => (newest !== undefined && newest.startTicks >= one.startTicks ? newest : one),
        undefined,
      );
    // A made-up recording can name itself as its own ancestor.
    if (parent === undefined || parent === process || parents.includes(parent)) break;
    parents.push(parent);
    child = parent;
  }
  return parents;
}
