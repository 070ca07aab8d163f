/** Profiles as folded stacks: `outermost;…;innermost weight`, the text that flame graph tools and differs of profiles read. */
import type { Profile, ProfileFrame } from "../api/profile.ts";

/** What a place is called where there is one name for it: the function, or the library and the offset. */
export function frameLabel(frame: ProfileFrame): string {
  if (frame.function !== undefined) return frame.claimed === true ? `${frame.function} (claimed)` : frame.function;
  if (frame.library === undefined) return "[unknown]";
  return frame.offset === undefined ? `[${frame.library}]` : `${frame.library}+0x${frame.offset.toString(16)}`;
}

/** One line for each different stack, the heaviest first, each below the process's name. A part that was tampered with may name no frame: it is left out. */
export function foldedText(profile: Profile): string {
  const weights = new Map<string, number>();
  for (const process of profile.processes) {
    const root = process.comm === "" ? `process ${process.pid}` : process.comm;
    for (const stack of process.stacks) {
      const labels = stack.frames.flatMap((at) => profile.frames[at] ?? []).map(frameLabel);
      const line = [root, ...labels].join(";");
      weights.set(line, (weights.get(line) ?? 0) + stack.weight);
    }
  }
  const lines = [...weights].toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  return lines.map(([stack, weight]) => `${stack} ${weight}\n`).join("");
}
