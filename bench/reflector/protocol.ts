/**
 * How does a candidate talk to the bench? It prints "ready WHAT" when its code is loaded, starts at the line "go" on standard input, prints
 * "synced N" after the first list and "changed N" when the change of the marker pod has come (the last of a run), and answers "digest"
 * with a hash of what it holds: two candidates with the same hash know the same cluster.
 */
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

export interface Follower {
  /** Follows all pods. Calls `onChange` for each change after the first list, resolves when that is complete. */
  start(onChange: (namespace: string, name: string) => void): Promise<void>;
  /** Pods that are held. */
  size(): number;
  /** "namespace/name uid resourceVersion" of each pod that is held. */
  lines(): string[];
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function follow(follower: Follower, marker: string): Promise<void> {
  let changes = 0;
  let synced = false;
  await follower.start((namespace, name) => {
    if (!synced) return;
    changes++;
    if (`${namespace}/${name}` === marker) say(`changed ${changes}`);
  });
  synced = true;
  say(`synced ${follower.size()}`);
}

/** Runs a candidate until standard input ends. `marker` is namespace/name. */
export async function runCandidate(what: string, follower: Follower, marker: string): Promise<void> {
  say(`ready ${what}`);
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "go") await follow(follower, marker);
    else if (line === "digest") {
      const text = follower.lines().toSorted().join("\n");
      say(`digest ${createHash("sha256").update(text).digest("hex")}`);
    }
  }
  process.exit(0);
}

/** A setting that the bench gives each candidate in its environment. */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set: start this with make bench`);
  return value;
}
