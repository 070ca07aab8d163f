/** Profiles as a tree, for flame graphs; and the answer to "whose is it?", which must never be an allocator's name. */
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

export interface Owner {
  readonly function: string;
  readonly library: string | undefined;
  /** The nearest caller that has a name and is no plumbing. */
  readonly caller: string | undefined;
  readonly weight: number;
  readonly percent: number;
}

/**
 * Who is innermost but for plumbing, by weight: the places to look at first. Samples of which every place is plumbing or without a name belong to nobody
 * and only make the shares of the others smaller.
 */
export function ownersOf(profile: Profile): Owner[] {
  const found = new Map<string, { owner: Omit<Owner, "weight" | "percent">; weight: number }>();
  let all = 0;
  for (const process of profile.processes)
    for (const stack of process.stacks) {
      all += stack.weight;
      const frames = stack.frames.flatMap((at) => profile.frames[at] ?? []).toReversed();
      const at = frames.findIndex((frame) => frame.plumbing !== true && frame.function !== undefined);
      const frame = frames[at];
      if (frame?.function === undefined) continue;
      const caller = frames.slice(at + 1).find((f) => f.plumbing !== true && f.function !== undefined)?.function;
      const owner = { function: frame.function, library: frame.library, caller };
      const key = JSON.stringify(owner);
      const known = found.get(key) ?? { owner, weight: 0 };
      known.weight += stack.weight;
      found.set(key, known);
    }
  return [...found.values()]
    .map(({ owner, weight }) => ({ ...owner, weight, percent: all === 0 ? 0 : Math.round((weight * 100) / all) }))
    .toSorted((a, b) => b.weight - a.weight || (a.function < b.function ? -1 : 1));
}
