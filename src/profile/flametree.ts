/** Profiles as a tree, for flame graphs. */
import type { Profile, ProfileFrame } from "../api/profile.ts";
import { frameLabel } from "./folded.ts";

export interface FlameNode {
  readonly name: string;
  readonly library?: string;
  readonly plumbing?: true;
  readonly claimed?: true;
  /** With everything below it. */
  readonly total: number;
  /** Of samples whose innermost place this is. */
  readonly self: number;
  /** The heaviest first. */
  readonly children: readonly FlameNode[];
}

interface Growing {
  readonly frame: ProfileFrame | undefined;
  readonly name: string;
  total: number;
  self: number;
  readonly children: Map<string, Growing>;
}

/** All processes below one root. Equal names in equal libraries are one node. */
export function flameTree(profile: Profile): FlameNode {
  const root = growing("all", undefined);
  for (const process of profile.processes) {
    const name = process.comm === "" ? `process ${process.pid}` : process.comm;
    for (const stack of process.stacks) {
      let at = root;
      at.total += stack.weight;
      at = child(at, `\n${name}`, name, undefined);
      at.total += stack.weight;
      for (const position of stack.frames) {
        const frame = profile.frames[position];
        if (frame === undefined) continue;
        at = child(at, `${frameLabel(frame)}\n${frame.library ?? ""}`, frameLabel(frame), frame);
        at.total += stack.weight;
      }
      at.self += stack.weight;
    }
  }
  return settled(root);
}

function growing(name: string, frame: ProfileFrame | undefined): Growing {
  return { frame, name, total: 0, self: 0, children: new Map() };
}

function child(of: Growing, key: string, name: string, frame: ProfileFrame | undefined): Growing {
  const known = of.children.get(key) ?? growing(name, frame);
  of.children.set(key, known);
  return known;
}

function settled({ frame, name, total, self, children }: Growing): FlameNode {
  return {
    name,
    ...(frame?.library === undefined ? {} : { library: frame.library }),
    ...(frame?.plumbing === undefined ? {} : { plumbing: true }),
    ...(frame?.claimed === undefined ? {} : { claimed: true }),
    total,
    self,
    children: [...children.values()].map(settled).toSorted((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1)),
  };
}
