/** What a command gets from the process around it, and the exit codes that every command shares. */
import type { HostRoots } from "../collector/hostfiles.ts";
import type { Clock, Random } from "../seams.ts";
import type { CommandSpec, Given } from "./arguments.ts";
import type { Terminal } from "./terminal.ts";

export interface World {
  readonly roots: HostRoots;
  readonly terminal: Terminal;
  readonly clock: Clock;
  readonly random: Random;
  readonly version: string;
  /** Calls back at the first SIGINT, SIGTERM or SIGHUP. A second one ends the process at once. */
  onStop(fn: (signal: string) => void): void;
}

export interface Command {
  readonly spec: CommandSpec;
  /** Returns one of {@link EXIT}. Throws UsageError for a call that cannot be meant, and anything else for what could not be done. */
  run(given: Given, world: World): Promise<number>;
}

/** Each means one thing. The table in docs/cli.md is compared with this one by a test. */
export const EXIT = {
  /** It was done; where a verdict was asked for, there is one. */
  done: 0,
  /** It could not be done: no such target, no such pack, no permission. */
  failed: 1,
  /** The command line cannot be meant. */
  usage: 2,
  /** There is a valid pack, but not all of what was asked for: Ctrl-C, a target that ended, a full disk. */
  partial: 3,
  /** All was collected or read, and the verdict is Inconclusive. */
  inconclusive: 4,
  /** What was waited for did not come in the time that was given. */
  timedOut: 124,
} as const;

/** Thrown for what could not be done, with a sentence that says why and what to do. Exit code 1. */
export class Failed extends Error {
  override readonly name = "Failed";
}
